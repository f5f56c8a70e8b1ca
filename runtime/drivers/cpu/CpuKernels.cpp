//===- CpuKernels.cpp - Kernels in the host's code ------------------------===//

#include "CpuKernels.h"
#include "Status.h"

#include <algorithm>
#include <cstring>
#include <mutex>

using namespace tacq;

namespace {

/// One dispatch in flight, on the caller's stack.
struct Job {
  tacq_kernel_fn kernel;
  tacq_kernel_args args; // status and scratch are each worker's own
  uint8_t *scratch;
  int64_t scratchStride;
  int64_t tasks;
  const uint16_t *shares;
  uint32_t shareCount;
  int32_t workers;
  int32_t failed; // lowest worker with an error; INT32_MAX: none
  int32_t words[TACQ_STATUS_WORDS];
  std::mutex failure;
};

void runWorker(void *context, int32_t worker) {
  Job &job = *static_cast<Job *>(context);
  int64_t begin, end;
  if (job.shareCount > 0)
    splitByShares(job.shares, job.shareCount, job.tasks, job.workers, worker, begin, end);
  else
    splitTasks(job.tasks, job.workers, worker, begin, end);
  if (begin == end)
    return;
  alignas(64) int32_t status[TACQ_STATUS_WORDS] = {};
  tacq_kernel_args args = job.args;
  args.status = status;
  if (job.scratch)
    args.scratch = job.scratch + worker * job.scratchStride;
  job.kernel(&args, begin, end, worker);
  if (status[0] == 0)
    return;
  // The error of the first tasks wins, so that messages do not depend on timing.
  std::lock_guard<std::mutex> lock(job.failure);
  if (worker < job.failed) {
    job.failed = worker;
    memcpy(job.words, status, sizeof(status));
  }
}

} // namespace

Error CpuKernels::load(const tacq_program_desc_t &desc, const format::Executable &executable) {
  std::string what =
      formatText("module '%s', executable '%s'", desc.name, executable.target()->c_str());
  if (Error error = LoadedElf::load(static_cast<const uint8_t *>(desc.data) + executable.offset(),
                                    executable.size(), what, code))
    return error;
  functions.assign(sizeOf(executable.kernels()), nullptr);
  for (uint32_t i = 0; i < functions.size(); ++i) {
    if (!hasKernel(executable, i))
      continue;
    const char *name = executable.kernels()->Get(i)->c_str();
    void *address = code->function(name);
    if (!address)
      return makeError(TACQ_INVALID_MODULE, "%s: the code exports no function '%s'", what.c_str(),
                       name);
    functions[i] = reinterpret_cast<tacq_kernel_fn>(address);
  }
  return success();
}

Error CpuKernels::loadFor(const tacq_program_desc_t &desc, const std::vector<uint32_t> &kernels) {
  const format::Module &module = *format::GetModule(desc.metadata);
  const format::Executable &own =
      *module.executables()->Get(static_cast<uint32_t>(desc.executable));
  const format::Executable *best = nullptr;
  std::string reasons;
  for (const format::Executable *executable : *module.executables()) {
    if (!isForHost(*executable) || !hasKernels(*executable, kernels))
      continue;
    std::vector<std::string> features;
    for (uint32_t i = 0; i < sizeOf(executable->features()); ++i)
      features.push_back(executable->features()->Get(i)->str());
    std::string reason;
    if (!device.supports(executable->format()->str(), features, reason))
      reasons += formatText("%s'%s' %s", reasons.empty() ? "" : "; ", executable->target()->c_str(),
                            reason.c_str());
    else if (!best || executable->rank() > best->rank())
      best = executable;
  }
  if (best)
    return load(desc, *best);
  return makeError(TACQ_UNSUPPORTED,
                   "module '%s': executable '%s' leaves %zu of its kernels to the CPU, and has no "
                   "code for them that this machine can run%s%s; the CPU is %s; compile the model "
                   "for it, too",
                   desc.name, own.target()->c_str(), kernels.size(), reasons.empty() ? "" : ": ",
                   reasons.c_str(), device.features.model.c_str());
}

int32_t CpuKernels::workersFor(const tacq_dispatch_t &dispatch) const {
  int64_t workers = std::min<int64_t>(device.pool.size(), dispatch.tasks);
  // What a worker takes over must be worth the barrier, and the lines that move to its cache.
  int64_t leastWork = 2 * device.pool.barrierCost();
  if (dispatch.cost > 0)
    workers = std::min(workers, std::max<int64_t>(1, dispatch.cost / leastWork));
  return static_cast<int32_t>(workers);
}

tacq_status_t *CpuKernels::run(const tacq_dispatch_t &dispatch, void *const *bindings,
                               tacq_run_t &active, const tacq_module_t *module) {
  Job job = {};
  job.kernel = functions[dispatch.kernel];
  job.tasks = dispatch.tasks;
  job.shares = dispatch.shares;
  job.shareCount = dispatch.share_count;
  job.workers = workersFor(dispatch);
  job.failed = INT32_MAX;
  job.args.bindings = bindings;
  job.args.symbols = dispatch.symbols;
  job.args.scratch_size = dispatch.scratch;
  if (dispatch.scratch > 0) {
    int64_t padded, total;
    if (__builtin_add_overflow(dispatch.scratch, int64_t(63), &padded) ||
        __builtin_mul_overflow(padded & ~int64_t(63), int64_t(job.workers), &total))
      return tacq_status_create(TACQ_OUT_OF_MEMORY, "scratch memory of a dispatch overflows");
    job.scratchStride = padded & ~int64_t(63);
    if (scratch.size < total) {
      device.release(scratch);
      if (Error error = device.allocate(total, false, scratch))
        return toStatus(error);
      ++*active.allocations;
    }
    job.scratch = scratch.memory;
  }
  device.pool.run(job.workers, runWorker, &job);
  return job.failed == INT32_MAX ? nullptr : tacq_kernel_error(module, job.words);
}
