//===- Workers.h - Threads that share a list of work ------------*- C++ -*-===//

#ifndef TACQ_DRIVERS_VULKAN_WORKERS_H
#define TACQ_DRIVERS_VULKAN_WORKERS_H

#include <atomic>
#include <cstddef>
#include <functional>
#include <pthread.h>
#include <vector>

namespace tacq {

/// Calls `work(i)` for each i below `count`, from threads of its own that take the next one each,
/// and from the thread that calls wait(). Where no thread can be made, the latter does all of it.
class Workers {
public:
  Workers(size_t count, std::function<void(size_t)> work);
  ~Workers() { wait(); }
  Workers(const Workers &) = delete;
  Workers &operator=(const Workers &) = delete;

  void wait();

private:
  void takeAll();

  const size_t count;
  const std::function<void(size_t)> work;
  std::atomic<size_t> next{0};
  std::vector<pthread_t> threads;
};

} // namespace tacq

#endif // TACQ_DRIVERS_VULKAN_WORKERS_H
