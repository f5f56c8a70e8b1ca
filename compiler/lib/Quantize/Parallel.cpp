//===- Parallel.cpp - Chunks of rows on all cores -------------------------===//

#include "Parallel.h"
#include "SerialBlas.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

using namespace tacq;

void tacq::forEachChunk(int64_t count, int64_t chunk, unsigned threads,
                        llvm::function_ref<void(int64_t, int64_t)> work) {
  SerialBlas serial;
  int64_t chunks = (count + chunk - 1) / chunk;
  std::atomic<int64_t> next{0};
  auto run = [&] {
    for (int64_t i = next++; i < chunks; i = next++)
      work(i * chunk, std::min(count, (i + 1) * chunk));
  };
  if (threads == 0)
    threads = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min<int64_t>(threads, chunks); ++i)
    others.emplace_back(run);
  run();
  for (std::thread &other : others)
    other.join();
}
