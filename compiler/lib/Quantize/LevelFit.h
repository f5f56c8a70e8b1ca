//===- LevelFit.h - The levels of one row -----------------------*- C++ -*-===//

#ifndef TACQ_LIB_QUANTIZE_LEVELFIT_H
#define TACQ_LIB_QUANTIZE_LEVELFIT_H

#include <cstdint>

namespace tacq {

constexpr int mostLevels = 16;

/// The quadratic form of a row's levels: f(L + d) = f(L) - 2 dᵀ slope + dᵀ curvature d.
struct LevelForm {
  int levels = 0;
  double curvature[mostLevels][mostLevels] = {};
  double slope[mostLevels] = {};

  /// The step to the minimum. Levels without weights stay. False if the form has no minimum.
  bool solve(double (&step)[mostLevels]) const;
  double quadratic(const double (&d)[mostLevels]) const;
};

/// levels as scale * (integer - 128).
struct RoundedLevels {
  uint16_t scaleBits = 0;
  float scale = 0;
  uint8_t integers[mostLevels] = {};

  double value(int level) const { return double(scale) * (int(integers[level]) - 128); }
};

/// 8-bit levels that cost the form least, of several scales. `levels` is the form's minimum.
RoundedLevels roundLevels(const LevelForm &form, const double *levels);

} // namespace tacq

#endif // TACQ_LIB_QUANTIZE_LEVELFIT_H
