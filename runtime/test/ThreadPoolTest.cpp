//===- ThreadPoolTest.cpp - Workers and the splitting of tasks ------------===//

#include "ThreadPool.h"
#include "CpuOptions.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <sched.h>
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

TEST(CpuOptions, ListsOfCores) {
  std::vector<int32_t> cores;
  ASSERT_TRUE(parseCoreList("0-3,8", cores));
  EXPECT_EQ(cores, (std::vector<int32_t>{0, 1, 2, 3, 8}));
  ASSERT_TRUE(parseCoreList("5+2-2", cores));
  EXPECT_EQ(cores, (std::vector<int32_t>{5, 2}));
  for (const char *text : {"", ",", "1,", "1-", "-1", "3-2", "x", "1 ", "1--2", "65536", "1-2-3"})
    EXPECT_FALSE(parseCoreList(text, cores)) << text;
}

TEST(CpuOptions, ThreadsFollowTheChosenCores) {
  std::vector<int32_t> allowed = allowedCores();
  ASSERT_FALSE(allowed.empty());
  CpuOptions options;
  ASSERT_FALSE(CpuOptions::parse("", options));
  EXPECT_EQ(options.threads, int32_t(allowed.size()));
  EXPECT_TRUE(options.cores.empty());
  ASSERT_FALSE(CpuOptions::parse("pin=1", options));
  EXPECT_EQ(options.cores, allowed);
  CpuOptions last;
  ASSERT_FALSE(CpuOptions::parse("cores=" + std::to_string(allowed.back()), last));
  EXPECT_EQ(last.threads, 1);
  EXPECT_EQ(last.cores, std::vector<int32_t>{allowed.back()});
}

void noteCore(void *context, int32_t worker) {
  (*static_cast<std::vector<int> *>(context))[static_cast<size_t>(worker)] = sched_getcpu();
}

TEST(ThreadPool, WorkersStayOnTheirCores) {
  std::vector<int32_t> allowed = allowedCores();
  // All on one core, where the system would not put them by itself.
  std::vector<int32_t> cores(3, allowed.back());
  ThreadPool pool(3, cores);
  ASSERT_EQ(pool.size(), 3);
  std::vector<int> seen(3, -1);
  for (int i = 0; i < 50; ++i) {
    pool.run(3, noteCore, &seen);
    EXPECT_EQ(seen[1], allowed.back());
    EXPECT_EQ(seen[2], allowed.back());
  }
  cpu_set_t own;
  CPU_ZERO(&own);
  ASSERT_EQ(sched_getaffinity(0, sizeof(own), &own), 0);
  EXPECT_EQ(size_t(CPU_COUNT(&own)), allowed.size()); // the caller was not bound
}

} // namespace
