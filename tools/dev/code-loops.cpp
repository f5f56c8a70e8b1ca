//===- code-loops.cpp - What codes cost in a product with one row ---------===//
//
// Inner loops of tiles of 16 rows for codes that compare-codes.py compares, with AVX-512, VNNI and
// VBMI: one iteration multiplies 256 weights, 16 of each row, whose codes are 64 bytes at 2 bits.
// `compare-codes.py --loops` compiles this file and has llvm-mca count. A lane of 32 bits is a row;
// activations are bytes, in the order in which a code's weights come out.
//
//===----------------------------------------------------------------------===//

#include <immintrin.h>

#define REGION(name, body)                                                                         \
  extern "C" __m512i loop_##name(const char *codes, const int *x, const __m512i *tables,           \
                                 long count) {                                                     \
    __m512i sum = _mm512_setzero_si512(), other = sum;                                             \
    const __m512i low2 = _mm512_set1_epi8(3), low4 = _mm512_set1_epi8(15);                         \
    const __m512i rows = _mm512_set1_epi32(0x0c080400);                                            \
    (void)low2, (void)low4, (void)rows, (void)tables;                                              \
    for (long i = 0; i < count; ++i, codes += 64, x += 4) {                                        \
      asm volatile("# LLVM-MCA-BEGIN " #name ::: "memory");                                        \
      __m512i code = _mm512_loadu_si512(codes);                                                    \
      body asm volatile("# LLVM-MCA-END" :: : "memory");                                           \
    }                                                                                              \
    return _mm512_add_epi32(sum, other);                                                           \
  }
#define DOT(sum, at, weights) sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(x[at]), weights);
#define SHUFFLE(table, index) _mm512_shuffle_epi8(table, index)

// 2 bits, uniform levels; scales are applied behind the loop.
#define UNIFORM(sum, at)                                                                           \
  sum = _mm512_dpbusd_epi32(sum, _mm512_and_si512(_mm512_srli_epi16(code, 2 * (at)), low2),        \
                            _mm512_set1_epi32(x[at]));
REGION(uniform, UNIFORM(sum, 0) UNIFORM(other, 1) UNIFORM(sum, 2) UNIFORM(other, 3))

// 2 bits, four levels of each row: 128 bits have those of four rows.
#define LEVELS(sum, at)                                                                            \
  DOT(sum, at,                                                                                     \
      SHUFFLE(table,                                                                               \
              _mm512_ternarylogic_epi32(_mm512_srli_epi16(code, 2 * (at)), low2, rows, 0xea)))
REGION(levels_of_rows, __m512i table = tables[i];
       LEVELS(sum, 0) LEVELS(other, 1) LEVELS(sum, 2) LEVELS(other, 3))

// Vectors of 2 weights, 16 entries, 4 bits.
REGION(vectors_of_2, __m512i first = _mm512_and_si512(code, low4);
       __m512i second = _mm512_and_si512(_mm512_srli_epi16(code, 4), low4);
       DOT(sum, 0, SHUFFLE(tables[0], first)) DOT(other, 1, SHUFFLE(tables[1], first))
           DOT(sum, 2, SHUFFLE(tables[0], second)) DOT(other, 3, SHUFFLE(tables[1], second)))

// Vectors of 4 weights, 256 entries, 8 bits: two halves of the table, chosen by the upper bit.
#define LOOKUP(at)                                                                                 \
  _mm512_mask_blend_epi8(                                                                          \
      upper, _mm512_permutex2var_epi8(tables[4 * (at)], code, tables[4 * (at) + 1]),               \
      _mm512_permutex2var_epi8(tables[4 * (at) + 2], code, tables[4 * (at) + 3]))
REGION(vectors_of_4, __mmask64 upper = _mm512_movepi8_mask(code); DOT(sum, 0, LOOKUP(0))
           DOT(other, 1, LOOKUP(1)) DOT(sum, 2, LOOKUP(2)) DOT(other, 3, LOOKUP(3)))

// Vectors of 4 weights, 16 magnitudes and 4 signs, 8 bits.
#define SIGNED(at)                                                                                 \
  _mm512_mask_sub_epi8(SHUFFLE(tables[at], entry),                                                 \
                       _mm512_test_epi8_mask(code, _mm512_set1_epi8(char(16 << (at)))),            \
                       _mm512_setzero_si512(), SHUFFLE(tables[at], entry))
REGION(vectors_of_4_with_signs, __m512i entry = _mm512_and_si512(code, low4); DOT(sum, 0, SIGNED(0))
           DOT(other, 1, SIGNED(1)) DOT(sum, 2, SIGNED(2)) DOT(other, 3, SIGNED(3)))

// Uniform levels with scales and least levels of 4 bits in groups of the iteration's 16 columns.
REGION(
    uniform_in_groups_of_16, UNIFORM(sum, 0) UNIFORM(other, 1) UNIFORM(sum, 2) UNIFORM(other, 3) {
      __m512i both = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)tables + i));
      __m512i scaled = _mm512_mullo_epi32(_mm512_and_si512(both, _mm512_set1_epi32(15)),
                                          _mm512_add_epi32(sum, other));
      __m512i least = _mm512_mullo_epi32(_mm512_srli_epi32(both, 4), _mm512_set1_epi32(x[4]));
      sum = _mm512_sub_epi32(scaled, least);
      other = _mm512_setzero_si512();
    })
