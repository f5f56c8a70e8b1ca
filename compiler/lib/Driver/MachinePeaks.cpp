//===- MachinePeaks.cpp - What this machine can do at most ----------------===//

#include "MachinePeaks.h"
#include "../Calibrate/AmxTiles.h"
#include <algorithm>
#include <chrono>
#include <cstring>

using namespace tacq;

/// So many sums are under way at once: more than a multiply-add has cycles times units.
static constexpr int chains = 12;
static constexpr int64_t rounds = 200'000;
/// A product of tiles takes longer than one of registers.
static constexpr int64_t tileRounds = 8;

#if defined(__x86_64__)

TACQ_WITH("avx512f,avx512vnni") static void productsOfVnni512() {
  __m512i sums[chains], x = _mm512_set1_epi8(1), y = x;
  for (__m512i &sum : sums)
    sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < rounds; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < chains; ++j) {
      sums[j] = _mm512_dpbusd_epi32(sums[j], x, y);
      asm volatile("" : "+v"(sums[j])); // or the products would be moved out of the loop
    }
}

TACQ_WITH("amx-tile,amx-int8") static void productsOfTiles() {
  WholeTiles shape;
  _tile_loadconfig(&shape);
  for (int64_t i = 0; i < rounds / tileRounds; ++i) {
    // Four sums of two tiles each way; the instruction is volatile.
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
}

TACQ_WITH("avx2,avxvnni") static void productsOfVnni256() {
  __m256i sums[chains], x = _mm256_set1_epi8(1), y = x;
  for (__m256i &sum : sums)
    sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < rounds; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < chains; ++j) {
      sums[j] = _mm256_dpbusd_avx_epi32(sums[j], x, y);
      asm volatile("" : "+x"(sums[j]));
    }
}

TACQ_WITH("avx2") static void productsOfBytes256() {
  __m256i sums[chains], x = _mm256_set1_epi8(1), y = x;
  for (__m256i &sum : sums)
    sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < rounds; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < chains; ++j) {
      asm volatile("" : "+x"(x));
      sums[j] = _mm256_add_epi16(sums[j], _mm256_maddubs_epi16(x, y));
      asm volatile("" : "+x"(sums[j]));
    }
}

TACQ_WITH("avx512f") static void productsOfFloats512() {
  __m512 sums[chains], x = _mm512_set1_ps(1), y = x;
  for (__m512 &sum : sums)
    sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < rounds; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < chains; ++j) {
      sums[j] = _mm512_fmadd_ps(x, y, sums[j]);
      asm volatile("" : "+v"(sums[j]));
    }
}

TACQ_WITH("avx2,fma") static void productsOfFloats256() {
  __m256 sums[chains], x = _mm256_set1_ps(1), y = x;
  for (__m256 &sum : sums)
    sum = _mm256_setzero_ps();
  for (int64_t i = 0; i < rounds; ++i)
#pragma clang loop unroll(full)
    for (int j = 0; j < chains; ++j) {
      sums[j] = _mm256_fmadd_ps(x, y, sums[j]);
      asm volatile("" : "+x"(sums[j]));
    }
}

TACQ_WITH("avx512f") static uint64_t readInSteps512(const uint8_t *begin, const uint8_t *end) {
  __m512i sums[4] = {};
  for (; end - begin >= 256; begin += 256)
#pragma clang loop unroll(full)
    for (int j = 0; j < 4; ++j) {
      _mm_prefetch(reinterpret_cast<const char *>(begin) + 64 * j + 2048, _MM_HINT_T0);
      sums[j] = _mm512_add_epi64(sums[j], _mm512_loadu_si512(begin + 64 * j));
    }
  __m512i sum =
      _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(sum));
}

TACQ_WITH("avx2") static uint64_t readInSteps256(const uint8_t *begin, const uint8_t *end) {
  __m256i sums[8] = {};
  for (; end - begin >= 256; begin += 256)
#pragma clang loop unroll(full)
    for (int j = 0; j < 8; ++j) {
      if (j % 2 == 0)
        _mm_prefetch(reinterpret_cast<const char *>(begin) + 32 * j + 2048, _MM_HINT_T0);
      sums[j] = _mm256_add_epi64(
          sums[j], _mm256_loadu_si256(reinterpret_cast<const __m256i *>(begin + 32 * j)));
    }
  uint64_t words[4], sum = 0;
  for (const __m256i &part : sums) {
    std::memcpy(words, &part, sizeof(words));
    sum += words[0] + words[1] + words[2] + words[3];
  }
  return sum;
}

#endif

static void productsOfScalars() {
  float sums[chains] = {}, x = 1, y = 1;
  for (int64_t i = 0; i < rounds; ++i)
    for (float &sum : sums) {
      sum += x * y;
      asm volatile("" : "+m"(sum));
    }
}

static uint64_t readInWords(const uint8_t *begin, const uint8_t *end) {
  uint64_t sum = 0, word;
  for (; end - begin >= int64_t(sizeof(word)); begin += sizeof(word)) {
    std::memcpy(&word, begin, sizeof(word));
    sum += word;
  }
  return sum;
}

uint64_t tacq::readMemory(const uint8_t *begin, const uint8_t *end) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return readInSteps512(begin, end);
  if (__builtin_cpu_supports("avx2"))
    return readInSteps256(begin, end);
#endif
  return readInWords(begin, end);
}

static double secondsOf(void (*loop)()) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    Clock::time_point start = Clock::now();
    loop();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

ComputePeak tacq::measureComputePeak(const CpuTarget &target, bool integers) {
  auto perSecond = [](double macs, void (*loop)()) { return macs / secondsOf(loop); };
  auto measured = [&](const char *instruction, int lanes, void (*loop)()) {
    return ComputePeak{instruction, perSecond(double(rounds) * chains * lanes, loop)};
  };
#if defined(__x86_64__)
  auto has = [&](const char *feature) {
    return std::find(target.requiredFeatures.begin(), target.requiredFeatures.end(), feature) !=
           target.requiredFeatures.end();
  };
  if (integers && has("amx-int8"))
    return {"tdpbusd", perSecond(double(rounds) / tileRounds * 4 * 16 * 16 * 64, productsOfTiles)};
  if (integers && has("avx512vnni"))
    return measured("vpdpbusd zmm", 64, productsOfVnni512);
  if (integers && has("avxvnni"))
    return measured("vpdpbusd ymm", 32, productsOfVnni256);
  if (integers && has("avx2"))
    return measured("vpmaddubsw ymm, vpaddw ymm", 32, productsOfBytes256);
  if (has("avx512f"))
    return measured("vfmadd ps zmm", 16, productsOfFloats512);
  if (has("fma"))
    return measured("vfmadd ps ymm", 8, productsOfFloats256);
#endif
  return measured("scalar multiplication and addition", 1, productsOfScalars);
}
