//===- ThreadPool.cpp - Workers of a cpu device ---------------------------===//

#include "ThreadPool.h"

#include <algorithm>
#include <cfenv>
#include <ctime>
#include <sched.h>
#include <unistd.h>

using namespace tacq;

namespace {

/// Rounds of the spin loops, about 50 microseconds: longer than the gap between two dispatches of
/// one run, shorter than anything a user would notice on a busy machine.
constexpr int kSpinRounds = 1000;

/// Empty jobs of which the quickest is the cost of a barrier, and how long they may take together.
constexpr int kBarrierSamples = 100;
constexpr int64_t kBarrierSampling = 2000000; // ns
/// Where nothing quicker was seen: the machine is busy now, and need not be later.
constexpr int64_t kLongestBarrier = 4000; // ns

int64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<int64_t>(time.tv_sec) * 1000000000 + static_cast<int64_t>(time.tv_nsec);
}

void pauseBriefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

} // namespace

int32_t ThreadPool::availableCores() {
  // The set has room for 1024 cores; on larger machines the call fails and all are counted.
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
}

/// Attributes of a thread that runs on one core only. Large machines have more cores than a
/// cpu_set_t has room for.
static bool bindTo(int32_t core, pthread_attr_t &attributes) {
  cpu_set_t *set = CPU_ALLOC(static_cast<size_t>(core) + 1);
  if (!set)
    return false;
  size_t size = CPU_ALLOC_SIZE(static_cast<size_t>(core) + 1);
  CPU_ZERO_S(size, set);
  CPU_SET_S(static_cast<size_t>(core), size, set);
  bool bound = pthread_attr_setaffinity_np(&attributes, size, set) == 0;
  CPU_FREE(set);
  return bound;
}

ThreadPool::ThreadPool(int32_t wanted, const std::vector<int32_t> &cores) {
  // pthread_create instead of std::thread, which can only report failure by an exception.
  for (int32_t i = 1; i < wanted; ++i)
    starts.push_back({this, i});
  for (Start &start : starts) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    auto worker = static_cast<size_t>(start.worker);
    bool ready = worker >= cores.size() || bindTo(cores[worker], attributes);
    pthread_t thread;
    bool started = ready && pthread_create(&thread, &attributes, enter, &start) == 0;
    pthread_attr_destroy(&attributes);
    if (!started)
      break;
    threads.push_back(thread);
  }
  // The workers read it after the first job only.
  count = static_cast<int32_t>(threads.size()) + 1;
  barrier = measureBarrier();
}

int64_t ThreadPool::measureBarrier() {
  int64_t best = kLongestBarrier;
  // The first one waits for the threads to start.
  run(count, [](void *, int32_t) {}, nullptr);
  int64_t begin = now();
  for (int i = 0; count > 1 && i < kBarrierSamples && now() - begin < kBarrierSampling; ++i) {
    int64_t start = now();
    run(count, [](void *, int32_t) {}, nullptr);
    best = std::min(best, now() - start);
  }
  return std::max<int64_t>(best, 1);
}

/// The task before which `target` of the `total` cost lies.
static int64_t taskAt(const uint16_t *shares, uint32_t shareCount, int64_t tasks, int64_t target) {
  int64_t before = 0;
  for (uint32_t part = 0; part < shareCount; ++part) {
    int64_t share = shares[part], rest = target - before;
    if (rest < share) {
      int64_t whole = shareCount * share;
      return std::min(tasks, (tasks * (part * share + rest) + whole / 2) / whole);
    }
    before += share;
  }
  return tasks;
}

void tacq::splitByShares(const uint16_t *shares, uint32_t shareCount, int64_t tasks,
                         int32_t workers, int32_t worker, int64_t &begin, int64_t &end) {
  int64_t total = 0;
  for (uint32_t part = 0; part < shareCount; ++part)
    total += shares[part];
  if (total == 0)
    return splitTasks(tasks, workers, worker, begin, end);
  auto boundary = [&](int32_t i) {
    return i == 0         ? 0
           : i == workers ? tasks
                          : taskAt(shares, shareCount, tasks, total * i / workers);
  };
  begin = boundary(worker);
  end = boundary(worker + 1);
}

void *ThreadPool::enter(void *start) {
  auto *self = static_cast<Start *>(start);
  // Threads inherit it from their creator; kernels expect the default.
  fesetenv(FE_DFL_ENV);
  self->pool->work(self->worker);
  return nullptr;
}

ThreadPool::~ThreadPool() {
  stop = true;
  generation.fetch_add(1);
  {
    std::lock_guard<std::mutex> lock(sleepMutex);
  }
  wake.notify_all();
  for (pthread_t thread : threads)
    pthread_join(thread, nullptr);
}

void ThreadPool::work(int32_t worker) {
  uint64_t seen = 0;
  for (;;) {
    for (int i = 0; i < kSpinRounds && generation.load(std::memory_order_acquire) == seen; ++i)
      pauseBriefly();
    if (generation.load(std::memory_order_acquire) == seen) {
      std::unique_lock<std::mutex> lock(sleepMutex);
      // Sequentially consistent with run(): either it sees the sleeper or the sleeper sees the job.
      sleeping.fetch_add(1);
      wake.wait(lock, [&] { return generation.load() != seen; });
      sleeping.fetch_sub(1);
    }
    seen = generation.load(std::memory_order_acquire);
    if (stop)
      return;
    if (worker < workers)
      function(context, worker);
    pending.fetch_sub(1, std::memory_order_release);
  }
}

void ThreadPool::run(int32_t wanted, Function job, void *jobContext) {
  if (wanted <= 1 || count == 1) {
    job(jobContext, 0);
    return;
  }
  std::lock_guard<std::mutex> runLock(runMutex);
  function = job;
  context = jobContext;
  workers = std::min(wanted, count);
  // Workers without a part count, too: nobody may look at the job after it has been replaced.
  pending.store(count - 1, std::memory_order_relaxed);
  generation.fetch_add(1);
  if (sleeping.load() > 0) {
    {
      std::lock_guard<std::mutex> lock(sleepMutex);
    }
    wake.notify_all();
  }
  job(jobContext, 0);
  for (int i = 0; pending.load(std::memory_order_acquire) != 0; ++i) {
    if (i < kSpinRounds)
      pauseBriefly();
    else
      sched_yield();
  }
}
