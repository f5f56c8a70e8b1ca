//===- SessionRuns.cpp - Runs, started and finished -----------------------===//

#include "Session.h"
#include "Status.h"

#include <ctime>
#include <utility>

using namespace tacq;

static uint64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1000000000u + static_cast<uint64_t>(time.tv_nsec);
}

Error tacq_session::run() {
  if (!started.empty())
    return makeError(TACQ_INVALID_ARGUMENT,
                     "a run that was started is not finished; call tacq_session_finish first");
  if (Error error = start())
    return error;
  return finish();
}

Error tacq_session::start() {
  if (started.size() > 1)
    return makeError(TACQ_INVALID_ARGUMENT,
                     "two runs are started already; call tacq_session_finish first");
  hasOutputs = false;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!inputs[i].set && !isKept(i))
      return makeError(TACQ_INVALID_INPUT, "%s is not set",
                       module->inputs[i].describe("input").c_str());
  side = started.empty() ? 0 : 1 - side;
  StartedRun run;
  run.startedAt = now();
  for (const SessionState &state : states) {
    run.lengths.push_back(state.length);
    run.stateDims.push_back(state.dims);
  }
  if (Error error = takeLinked())
    return error;
  if (Error error = resolveShapes())
    return error;
  if (Error error = prepareStates())
    return error;
  if (Error error = prepareInputs())
    return error;
  for (size_t i = 0; i < outputs.size(); ++i) {
    // Memory that a consumer still looks at is left to it.
    if (!outputs[i].memory)
      outputs[i].memory = std::move(results[i].memory);
    results[i].memory.reset();
    if (outputs[i].memory && !canReuse(outputs[i].memory))
      outputs[i].memory.reset();
    outputBuffers[i] = outputs[i].memory ? outputs[i].memory->buffer : nullptr;
    outputSizes[i] = 0;
  }
  if (Error error = launch())
    return error;
  run.outputs = std::move(outputs);
  for (const SessionInput &input : inputs)
    if (input.linked)
      run.linked.push_back(input.linked);
  run.done = !device->driver->start;
  outputs.assign(run.outputs.size(), SessionOutput());
  started.push_back(std::move(run));
  return success();
}

Error tacq_session::finish() {
  if (started.empty())
    return makeError(TACQ_INVALID_ARGUMENT, "no run was started");
  StartedRun run = std::move(started.front());
  started.pop_front();
  if (!run.done)
    run.error = fromStatus(device->driver->finish(program));
  uint64_t end = now();
  runNs += end - std::max(run.startedAt, lastEnd);
  lastEnd = end;
  if (run.error)
    return fail(std::move(run));
  results = std::move(run.outputs);
  hasOutputs = true;
  ++runs;
  return success();
}

Error tacq_session::fail(StartedRun run) {
  waitForStarted();
  started.clear();
  for (size_t i = 0; options.stateful && i < states.size(); ++i) {
    SessionState &kept = states[i];
    kept.length = run.lengths[i];
    if (stateOf(i).in_place())
      continue;
    std::swap(kept.memory, kept.spare);
    kept.dims = run.stateDims[i];
  }
  return std::move(run.error);
}

void tacq_session::waitForStarted() {
  for (StartedRun &run : started)
    if (!run.done) {
      run.error = fromStatus(device->driver->finish(program));
      run.done = true;
    }
}

Error tacq_session::link(size_t output, size_t input) {
  if (output >= module->outputs.size() || input >= inputs.size())
    return makeError(TACQ_INVALID_ARGUMENT, "there is no output %zu or no input %zu", output,
                     input);
  const TensorDescription &from = module->outputs[output], &to = module->inputs[input];
  auto refuse = [&](const char *why) {
    return makeError(TACQ_INVALID_ARGUMENT, "%s cannot follow %s: %s", to.describe("input").c_str(),
                     from.describe("output").c_str(), why);
  };
  if (from.type != to.type || from.dims.size() != to.dims.size())
    return refuse("they have other types");
  if (from.state >= 0 || to.state >= 0)
    return refuse("it belongs to a state");
  for (uint32_t i = 0; i < metadata->prologue(); ++i) {
    const format::SymbolOp &op = *metadata->symbol_ops()->Get(i);
    if (op.op() != format::SymbolOpcode_Read)
      continue;
    const format::Buffer &buffer = *metadata->buffers()->Get(op.a());
    if (buffer.kind() == format::BufferKind_Input && buffer.index() == input)
      return refuse("shapes depend on its elements");
  }
  inputs[input].link = static_cast<int64_t>(output);
  inputs[input].set = true;
  return success();
}

/// Whether a run may write to memory of an output: nobody else holds it, and no input of the run,
/// nor a result that is still to be seen, lies there. Runs that are going on may be reading it;
/// what comes behind them waits for that.
bool tacq_session::canReuse(const std::shared_ptr<DeviceMemory> &memory) const {
  auto holds = [&](const auto &list) {
    return std::count_if(list.begin(), list.end(),
                         [&](const auto &each) { return each.memory == memory; });
  };
  long known = holds(outputs) + holds(results);
  for (const StartedRun &run : started) {
    if (holds(run.outputs))
      return false;
    known += std::count(run.linked.begin(), run.linked.end(), memory);
  }
  for (const SessionInput &input : inputs)
    if (input.linked == memory)
      return false;
  if (memory.use_count() != known)
    return false;
  // What others did with it has happened before.
  std::atomic_thread_fence(std::memory_order_acquire);
  return true;
}

/// Gives linked inputs what the run before has left, or will have.
Error tacq_session::takeLinked() {
  for (size_t i = 0; i < inputs.size(); ++i) {
    SessionInput &input = inputs[i];
    if (input.link < 0)
      continue;
    const SessionOutput &last =
        (started.empty() ? results : started.back().outputs)[static_cast<size_t>(input.link)];
    if (!last.memory)
      return makeError(TACQ_INVALID_ARGUMENT,
                       "%s follows an output, but no run has left one; set it for the first run",
                       module->inputs[i].describe("input").c_str());
    const std::vector<int64_t> &declared = module->inputs[i].dims;
    for (size_t axis = 0; axis < declared.size(); ++axis)
      if (declared[axis] >= 0 && declared[axis] != last.dims[axis])
        return makeError(TACQ_INVALID_INPUT,
                         "%s follows an output of shape %s, but axis %zu must be %lld",
                         module->inputs[i].describe("input").c_str(), shapeText(last.dims).c_str(),
                         axis, static_cast<long long>(declared[axis]));
    std::shared_ptr<DeviceMemory> before = std::exchange(input.linked, last.memory);
    if (before != input.linked && !outputs[static_cast<size_t>(input.link)].memory)
      outputs[static_cast<size_t>(input.link)].memory = std::move(before);
    input.dims = last.dims;
    input.bytes = last.bytes;
  }
  return success();
}

/// Hands the run to the driver, and learns the shapes of its outputs.
Error tacq_session::launch() {
  tacq_run_t active = {};
  active.struct_size = sizeof(active);
  active.module = module;
  active.symbols = context.symbols.data();
  active.symbol_count = static_cast<uint32_t>(context.symbols.size());
  active.inputs = inputBuffers.data();
  active.input_sizes = inputSizes.data();
  active.states = stateBuffers.data();
  active.state_sizes = stateSizes.data();
  active.outputs = outputBuffers.data();
  active.output_sizes = outputSizes.data();
  active.reserve_output = reserveOutput;
  active.dispatches = &dispatches;
  active.commands = &commands;
  active.allocations = &allocations;
  active.bytes_transient = &bytesTransient;
  active.device_ns = &deviceNs;
  active.profile_ns = options.profile ? profileNs.data() : nullptr;
  active.profile_count = options.profile ? profileCount.data() : nullptr;
  // The interpreter's context is the session's; reserveOutput finds the session from there.
  context.owner = this;
  active.internal = &context;
  auto *launched = device->driver->start ? device->driver->start : device->driver->run;
  if (tacq_status_t *status = launched(program, &active))
    return fromStatus(status);
  Error error = finishOutputs();
  if (error && device->driver->start) {
    // Behind what was started before.
    waitForStarted();
    tacq_status_free(device->driver->finish(program));
  }
  if (!error && options.stateful)
    advanceStates();
  return error;
}

tacq_status_t *tacq_session::reserveOutput(tacq_run_t *run, uint32_t index, int64_t bytes) {
  auto &self = *static_cast<tacq_session *>(static_cast<RunContext *>(run->internal)->owner);
  SessionOutput &output = self.outputs[index];
  int64_t used = self.outputSizes[index];
  if (bytes <= used)
    return nullptr;
  if (!output.memory || output.memory->size < bytes) {
    std::shared_ptr<DeviceMemory> larger;
    if (Error error = DeviceMemory::create(self.device, bytes, larger))
      return toStatus(error);
    ++self.allocations;
    if (output.memory && used > 0)
      if (tacq_status_t *status = self.device->driver->copy(
              self.device->handle, larger->buffer, {0, 0}, output.memory->buffer, {0, 0}, used, 1))
        return status;
    output.memory = std::move(larger);
  }
  self.outputBuffers[index] = output.memory->buffer;
  self.outputSizes[index] = bytes;
  return nullptr;
}

/// Takes the shapes of the outputs from the symbols.
Error tacq_session::finishOutputs() {
  for (uint32_t i = 0; i < outputs.size(); ++i) {
    const format::TensorDecl &decl = *metadata->outputs()->Get(i);
    SessionOutput &output = outputs[i];
    output.dims.resize(sizeOf(decl.dims()));
    for (uint32_t axis = 0; axis < output.dims.size(); ++axis) {
      const format::Dim &dim = *decl.dims()->Get(axis);
      output.dims[axis] = dim.extent() >= 0 ? dim.extent() : context.symbols[dim.symbol()];
    }
    if (!tensorBytes(decl, context.symbols.data(), output.bytes))
      return makeError(
          TACQ_INVALID_INPUT, "%s would have the impossible shape %s with these inputs",
          module->outputs[i].describe("output").c_str(), shapeText(output.dims).c_str());
    int32_t state = module->outputs[i].state;
    if (state >= 0) {
      // The links of module.fbs: all extents but the one along the axis are the input's.
      const std::vector<int64_t> &before = context.inputDims[stateOf(state).input()];
      for (size_t axis = 0; axis < output.dims.size(); ++axis) {
        bool grows = static_cast<int32_t>(axis) == stateOf(state).axis();
        if (grows ? output.dims[axis] < before[axis] : output.dims[axis] != before[axis])
          return makeError(TACQ_INTERNAL, "%s has shape %s, which does not continue %s",
                           module->outputs[i].describe("output").c_str(),
                           shapeText(output.dims).c_str(), shapeText(before).c_str());
      }
      if (stateOf(state).in_place())
        continue;
    }
    if (output.bytes > outputSizes[i])
      return makeError(
          TACQ_INTERNAL, "%s has %lld bytes, but the module's buffers for it have only %lld",
          module->outputs[i].describe("output").c_str(), static_cast<long long>(output.bytes),
          static_cast<long long>(outputSizes[i]));
  }
  return success();
}
