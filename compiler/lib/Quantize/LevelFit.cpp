//===- LevelFit.cpp - The levels of one row -------------------------------===//

#include "LevelFit.h"
#include "tacq/Half.h"
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

using namespace tacq;

bool LevelForm::solve(double (&step)[mostLevels]) const {
  // Cholesky in place.
  double lower[mostLevels][mostLevels];
  for (int i = 0; i < levels; ++i) {
    bool unused = curvature[i][i] == 0;
    for (int j = 0; j <= i; ++j) {
      double sum = unused || curvature[j][j] == 0 ? double(i == j) : curvature[i][j];
      for (int k = 0; k < j; ++k)
        sum -= lower[i][k] * lower[j][k];
      if (i != j)
        lower[i][j] = sum / lower[j][j];
      else if (sum > 0)
        lower[i][i] = std::sqrt(sum);
      else
        return false;
    }
  }
  for (int i = 0; i < levels; ++i) {
    double sum = curvature[i][i] == 0 ? 0 : slope[i];
    for (int k = 0; k < i; ++k)
      sum -= lower[i][k] * step[k];
    step[i] = sum / lower[i][i];
  }
  for (int i = levels - 1; i >= 0; --i) {
    for (int k = i + 1; k < levels; ++k)
      step[i] -= lower[k][i] * step[k];
    step[i] /= lower[i][i];
  }
  return true;
}

double LevelForm::quadratic(const double (&d)[mostLevels]) const {
  double sum = 0;
  for (int i = 0; i < levels; ++i)
    for (int j = 0; j < levels; ++j)
      sum += d[i] * curvature[i][j] * d[j];
  return sum;
}

RoundedLevels tacq::roundLevels(const LevelForm &form, const double *levels) {
  double largest = 0;
  for (int i = 0; i < form.levels; ++i)
    if (form.curvature[i][i] != 0)
      largest = std::max(largest, std::fabs(levels[i]));
  RoundedLevels best;
  std::fill(std::begin(best.integers), std::end(best.integers), uint8_t(128));
  double least = std::numeric_limits<double>::infinity();
  for (int top = 127; top >= 64; --top) {
    RoundedLevels rounded;
    rounded.scaleBits = halfFromDouble(std::min<double>(largest / top, largestHalf));
    rounded.scale = floatFromHalf(rounded.scaleBits);
    if (rounded.scale == 0)
      continue;
    double error[mostLevels] = {};
    for (int i = 0; i < form.levels; ++i) {
      double integer = std::nearbyint(std::clamp(levels[i] / rounded.scale, -128.0, 127.0));
      rounded.integers[i] = static_cast<uint8_t>(integer + 128);
      error[i] = rounded.value(i) - levels[i];
    }
    double cost = form.quadratic(error);
    if (cost < least) {
      least = cost;
      best = rounded;
    }
  }
  return best;
}
