//===- TileGradients.cpp - Gradients of weights by matrix tiles -----------===//
//
// Tokens are what is summed over, so both factors are read along it: two tokens are the halves of a
// word. X has its words in the order in which the instruction takes a right factor; those of dY are
// transposed, 16 x 16 at a time.
//
//===----------------------------------------------------------------------===//

#include "TileGradients.h"
#include "AmxTiles.h"
#include "CpuFeatures.h"

using namespace tacq;

/// Features of a tile, tokens of a step, and words of a tile: pairs of tokens of 16 features.
static constexpr int64_t tileFeatures = 16, stepTokens = 32, tileWords = 256;

bool tacq::hasGradientTiles() {
#if defined(__x86_64__)
  static const bool has = [] {
    CpuFeatures features = CpuFeatures::detect();
    return features.has("avx512bf16") && features.has("amx-bf16") && enableAmx();
  }();
  return has;
#else
  return false;
#endif
}

#if defined(__x86_64__)

/// 16 features of two tokens, those of the second in the high halves; null is a token of zeros.
TACQ_WITH("avx512f,avx512bw,avx512bf16")
static __m512i pairOf(const float *first, const float *second) {
  auto rounded = [](const float *values) TACQ_WITH("avx512f,avx512bw,avx512bf16") {
    __m512 x = values ? _mm512_loadu_ps(values) : _mm512_setzero_ps();
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
  };
  return _mm512_or_si512(rounded(first), _mm512_slli_epi32(rounded(second), 16));
}

/// A 16 x 16 matrix of words, by rows of four, then by quarters of rows.
TACQ_WITH("avx512f") static void transpose(__m512i (&rows)[16]) {
  __m512i next[16];
  for (int i = 0; i < 16; i += 4) {
    __m512i a = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    __m512i b = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    __m512i c = _mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]);
    __m512i d = _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]);
    next[i] = _mm512_unpacklo_epi64(a, c);
    next[i + 1] = _mm512_unpackhi_epi64(a, c);
    next[i + 2] = _mm512_unpacklo_epi64(b, d);
    next[i + 3] = _mm512_unpackhi_epi64(b, d);
  }
  // next[4 q + j] has column 4 l + j of rows 4 q ... 4 q + 3 in its quarter l.
  for (int j = 0; j < 4; ++j) {
    __m512i even = _mm512_shuffle_i32x4(next[j], next[4 + j], 0x88);
    __m512i odd = _mm512_shuffle_i32x4(next[j], next[4 + j], 0xdd);
    __m512i evenBelow = _mm512_shuffle_i32x4(next[8 + j], next[12 + j], 0x88);
    __m512i oddBelow = _mm512_shuffle_i32x4(next[8 + j], next[12 + j], 0xdd);
    rows[j] = _mm512_shuffle_i32x4(even, evenBelow, 0x88);
    rows[4 + j] = _mm512_shuffle_i32x4(odd, oddBelow, 0x88);
    rows[8 + j] = _mm512_shuffle_i32x4(even, evenBelow, 0xdd);
    rows[12 + j] = _mm512_shuffle_i32x4(odd, oddBelow, 0xdd);
  }
}

/// The tiles of a factor [tokens, features], those of 16 features one after the other.
TACQ_WITH("avx512f,avx512bw,avx512bf16")
static void packTiles(const float *values, int64_t tokens, int64_t features, bool transposed,
                      float *tiles) {
  for (int64_t feature = 0; feature < features; feature += tileFeatures)
    for (int64_t step = 0; step < tokens; step += stepTokens) {
      __m512i rows[16];
      for (int64_t pair = 0; pair < 16; ++pair) {
        int64_t token = step + 2 * pair;
        auto at = [&](int64_t token) {
          return token < tokens ? values + token * features + feature : nullptr;
        };
        rows[pair] = pairOf(at(token), at(token + 1));
      }
      if (transposed)
        transpose(rows);
      for (const __m512i &row : rows) {
        _mm512_storeu_si512(tiles, row);
        tiles += tileWords / 16;
      }
    }
}

/// Two by two tiles of sums at a time.
TACQ_WITH("amx-tile,amx-bf16")
static void multiplyTiles(const float *left, const float *right, int64_t rows, int64_t columns,
                          int64_t steps, float *sum) {
  WholeTiles shape;
  _tile_loadconfig(&shape);
  int64_t stride = columns * int64_t(sizeof(float)), strip = steps * tileWords;
  for (int64_t row = 0; row < rows; row += 2 * tileFeatures)
    for (int64_t column = 0; column < columns; column += 2 * tileFeatures) {
      float *upper = sum + row * columns + column, *lower = upper + tileFeatures * columns;
      const float *a = left + row / tileFeatures * strip;
      const float *b = right + column / tileFeatures * strip;
      _tile_loadd(0, upper, stride);
      _tile_loadd(1, upper + tileFeatures, stride);
      _tile_loadd(2, lower, stride);
      _tile_loadd(3, lower + tileFeatures, stride);
      for (int64_t step = 0; step < steps; ++step, a += tileWords, b += tileWords) {
        _tile_loadd(4, a, 64);
        _tile_loadd(5, a + strip, 64);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + strip, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_stored(0, upper, stride);
      _tile_stored(1, upper + tileFeatures, stride);
      _tile_stored(2, lower, stride);
      _tile_stored(3, lower + tileFeatures, stride);
    }
  _tile_release();
}

#endif

bool tacq::addOnTiles(const WeightGradient &gradient, std::vector<float> &scratch) {
  int64_t rows = gradient.rows, columns = gradient.columns;
  if (rows % (2 * tileFeatures) != 0 || columns % (2 * tileFeatures) != 0)
    return false;
#if defined(__x86_64__)
  for (const TappedRows &use : gradient.uses) {
    int64_t steps = (use.tokens + stepTokens - 1) / stepTokens;
    int64_t words = steps * stepTokens / 2;
    scratch.resize(std::max<size_t>(scratch.size(), (rows + columns) * words));
    float *left = scratch.data(), *right = left + rows * words;
    packTiles(use.outputGradient, use.tokens, rows, /*transposed=*/true, left);
    packTiles(use.input, use.tokens, columns, /*transposed=*/false, right);
    multiplyTiles(left, right, rows, columns, steps, gradient.sum);
  }
  return true;
#else
  return false;
#endif
}
