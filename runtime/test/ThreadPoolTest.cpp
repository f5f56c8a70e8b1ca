//===- ThreadPoolTest.cpp - Workers and the splitting of tasks ------------===//

#include "ThreadPool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

using namespace tacq;

namespace {

TEST(SplitTasks, CoversEverythingOnceAndEvenly) {
  for (int64_t tasks : {1, 2, 3, 7, 64, 1000, 12345})
    for (int32_t workers = 1; workers <= 9 && workers <= tasks; ++workers) {
      int64_t next = 0;
      for (int32_t w = 0; w < workers; ++w) {
        int64_t begin, end;
        splitTasks(tasks, workers, w, begin, end);
        EXPECT_EQ(begin, next);
        EXPECT_GE(end - begin, tasks / workers);
        EXPECT_LE(end - begin, tasks / workers + 1);
        next = end;
      }
      EXPECT_EQ(next, tasks);
    }
}

struct Counts {
  std::vector<int> calls;
  std::atomic<int> total{0};
};

void countCall(void *context, int32_t worker) {
  auto &counts = *static_cast<Counts *>(context);
  ++counts.calls[static_cast<size_t>(worker)]; // each worker its own, without a lock
  counts.total.fetch_add(1);
}

TEST(ThreadPool, EachWorkerIsCalledOnceForEachJob) {
  for (int32_t threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    Counts counts;
    counts.calls.assign(static_cast<size_t>(threads), 0);
    int jobs = 2000;
    for (int job = 0; job < jobs; ++job) {
      int32_t workers = 1 + job % threads;
      int before = counts.total.load();
      pool.run(workers, countCall, &counts);
      // All calls have returned, and what they wrote is visible.
      ASSERT_EQ(counts.total.load() - before, workers);
      ASSERT_EQ(std::accumulate(counts.calls.begin(), counts.calls.end(), 0), before + workers);
    }
    for (int32_t w = 0; w < threads; ++w) {
      int expected = 0;
      for (int job = 0; job < jobs; ++job)
        expected += w < 1 + job % threads;
      EXPECT_EQ(counts.calls[static_cast<size_t>(w)], expected);
    }
  }
}

TEST(ThreadPool, WakesSleepingWorkers) {
  ThreadPool pool(3);
  Counts counts;
  counts.calls.assign(3, 0);
  for (int job = 0; job < 20; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    pool.run(3, countCall, &counts);
    ASSERT_EQ(counts.total.load(), 3 * (job + 1));
  }
}

TEST(ThreadPool, JobsOfSeveralCallersDoNotMix) {
  ThreadPool pool(3);
  auto caller = [&pool] {
    Counts counts;
    counts.calls.assign(3, 0);
    for (int job = 0; job < 300; ++job) {
      pool.run(3, countCall, &counts);
      EXPECT_EQ(counts.total.load(), 3 * (job + 1));
    }
  };
  std::thread first(caller), second(caller);
  first.join();
  second.join();
}

TEST(ThreadPool, CountsAvailableCores) { EXPECT_GE(ThreadPool::availableCores(), 1); }

} // namespace
