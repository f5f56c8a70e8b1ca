//===- Workers.cpp - Threads that share a list of work --------------------===//

#include "Workers.h"

#include <algorithm>
#include <unistd.h>

using namespace tacq;

/// What is done here waits for the device's compiler or for memory more than it computes.
static constexpr size_t kMostThreads = 8;

Workers::Workers(size_t count, std::function<void(size_t)> work)
    : count(count), work(std::move(work)) {
  auto cores = static_cast<size_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  for (size_t i = 0; i < std::min({count, cores, kMostThreads}); ++i) {
    pthread_t thread;
    auto run = [](void *self) -> void * {
      static_cast<Workers *>(self)->takeAll();
      return nullptr;
    };
    if (pthread_create(&thread, nullptr, run, this) != 0)
      return;
    threads.push_back(thread);
  }
}

void Workers::takeAll() {
  for (size_t i; (i = next.fetch_add(1)) < count;)
    work(i);
}

void Workers::wait() {
  takeAll();
  for (pthread_t thread : threads)
    pthread_join(thread, nullptr);
  threads.clear();
}
