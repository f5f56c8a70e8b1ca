//===- AmxTiles.h - Code with instructions of its own -----------*- C++ -*-===//
//
// For functions that are called only where the processor has what they were compiled for.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CALIBRATE_AMXTILES_H
#define TACQ_CALIBRATE_AMXTILES_H

#if defined(__x86_64__)
#include <cstdint>
#include <immintrin.h>

#define TACQ_WITH(features) __attribute__((target(features)))

namespace tacq {

/// What _tile_loadconfig takes: eight tiles of 16 rows of 64 bytes. The system must have admitted
/// the process to them.
struct alignas(64) WholeTiles {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

} // namespace tacq

#endif

#endif // TACQ_CALIBRATE_AMXTILES_H
