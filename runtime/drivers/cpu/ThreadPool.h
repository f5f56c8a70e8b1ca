//===- ThreadPool.h - Workers of a cpu device -------------------*- C++ -*-===//
//
// A fixed number of workers, of which the caller is number 0. Between two jobs that follow each
// other closely workers spin; after that they sleep. One job at a time: run() is serialized.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_DRIVERS_CPU_THREADPOOL_H
#define TACQ_DRIVERS_CPU_THREADPOOL_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <pthread.h>
#include <vector>

namespace tacq {

class ThreadPool {
public:
  /// Work of one worker.
  using Function = void (*)(void *context, int32_t worker);

  /// Starts threads - 1 threads, or as many as the system allows. Worker w > 0 stays on the core
  /// cores[w], if there are cores; the caller is not moved.
  explicit ThreadPool(int32_t threads, const std::vector<int32_t> &cores = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int32_t size() const { return count; }
  /// What run() costs besides the work, in nanoseconds, as measured when the pool was made.
  int64_t barrierCost() const { return barrier; }

  /// Calls function(context, w) for w in [0, workers), w = 0 on the calling thread, and returns
  /// when all calls have. 1 <= workers <= size().
  void run(int32_t workers, Function function, void *context);

  /// Cores that this process may use.
  static int32_t availableCores();

private:
  struct Start {
    ThreadPool *pool;
    int32_t worker;
  };
  static void *enter(void *start);
  void work(int32_t worker);
  int64_t measureBarrier();

  int64_t barrier = 0;
  int32_t count = 1;
  std::vector<Start> starts;
  std::vector<pthread_t> threads;
  std::mutex runMutex; // one job at a time

  // The job; written before `generation` changes, read after.
  Function function = nullptr;
  void *context = nullptr;
  int32_t workers = 0;
  bool stop = false;

  alignas(64) std::atomic<uint64_t> generation{0};
  alignas(64) std::atomic<int32_t> pending{0};
  alignas(64) std::atomic<int32_t> sleeping{0};
  std::mutex sleepMutex;
  std::condition_variable wake;
};

/// Tasks [begin, end) of worker w when `tasks` are split over `workers`.
inline void splitTasks(int64_t tasks, int32_t workers, int32_t worker, int64_t &begin,
                       int64_t &end) {
  int64_t each = tasks / workers, rest = tasks % workers;
  begin = each * worker + (worker < rest ? worker : rest);
  end = begin + each + (worker < rest ? 1 : 0);
}

/// The same where consecutive parts of the tasks cost in proportion to `shares`.
void splitByShares(const uint16_t *shares, uint32_t shareCount, int64_t tasks, int32_t workers,
                   int32_t worker, int64_t &begin, int64_t &end);

} // namespace tacq

#endif // TACQ_DRIVERS_CPU_THREADPOOL_H
