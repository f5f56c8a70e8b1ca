//===- FrontierChart.cpp - Bytes against predicted loss -------------------===//

#include "FrontierChart.h"

#include "tacq/Error.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <cmath>

using namespace tacq;
using namespace tacq::tools;

std::vector<bool> tools::paretoFrontier(const std::vector<PricedPlan> &candidates) {
  std::vector<size_t> order(candidates.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  llvm::stable_sort(order, [&](size_t a, size_t b) {
    return std::pair(candidates[a].bytes, candidates[a].predictedLoss) <
           std::pair(candidates[b].bytes, candidates[b].predictedLoss);
  });
  std::vector<bool> best(candidates.size());
  double least = INFINITY;
  for (size_t i : order)
    if (candidates[i].predictedLoss < least) {
      least = candidates[i].predictedLoss;
      best[i] = true;
    }
  return best;
}

std::string tools::formatName(unsigned bits, int64_t group, bool levels) {
  return std::to_string(bits) + " bits, " +
         (levels       ? "levels of each row"
          : group == 0 ? "whole rows"
                       : "groups of " + std::to_string(group));
}

std::string tools::formatName(const PricedPlan &candidate) {
  return candidate.mixed ? "a format for each tensor"
                         : formatName(candidate.bits, candidate.group, candidate.codebook);
}

namespace {

/// A logarithmic axis from the least to the largest value, with a margin, onto pixels.
class Axis {
public:
  Axis(double least, double largest, double begin, double end) : begin(begin), end(end) {
    double margin = 0.05 * std::max(std::log(largest / least), 0.5);
    low = std::log(least) - margin;
    high = std::log(largest) + margin;
  }
  double at(double value) const {
    return begin + (std::log(value) - low) / (high - low) * (end - begin);
  }
  /// Round numbers within, some of them: whole digits times powers of ten.
  std::vector<double> ticks() const {
    double decades = (high - low) / std::log(10.0);
    std::vector<double> digits = {1};
    if (decades < 1)
      digits = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 8};
    else if (decades < 4)
      digits = {1, 2, 5};
    std::vector<double> found;
    for (int power = int(std::floor(low / std::log(10.0))); power <= high / std::log(10.0); ++power)
      for (double digit : digits)
        if (double value = digit * std::pow(10.0, power);
            std::log(value) >= low && std::log(value) <= high)
          found.push_back(value);
    return found;
  }

private:
  double begin, end, low, high;
};

constexpr double width = 760, height = 420;
constexpr double left = 84, right = 16, top = 16, bottom = 52;

} // namespace

static std::string bytesText(double bytes) {
  static const char *units[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  for (; bytes >= 1000 && unit + 1 < std::size(units); ++unit)
    bytes /= 1000;
  return formatText("%.3g %s", bytes, units[unit]);
}

/// A shape for each number of bits, so that colours need not be told apart.
static void writeMarker(llvm::raw_ostream &os, const PricedPlan &candidate, double x, double y) {
  auto path = [&](const char *name, std::initializer_list<std::pair<double, double>> points) {
    os << "<path class=\"" << name << "\" d=\"";
    for (auto [i, point] : llvm::enumerate(points))
      os << (i ? "L" : "M") << llvm::format("%.1f %.1f", x + point.first, y + point.second);
    os << "Z\">";
  };
  if (candidate.mixed)
    path("mixed", {{0, -7}, {2, -2}, {7, 0}, {2, 2}, {0, 7}, {-2, 2}, {-7, 0}, {-2, -2}});
  else if (candidate.bits == 2)
    path("b2", {{-4, -4}, {4, -4}, {4, 4}, {-4, 4}});
  else if (candidate.bits == 3)
    path("b3", {{0, -5}, {5, 4}, {-5, 4}});
  else if (candidate.bits == 4)
    path("b4", {{0, -5}, {5, 0}, {0, 5}, {-5, 0}});
  else
    path("b8", {{-2, -5}, {2, -5}, {5, -2}, {5, 2}, {2, 5}, {-2, 5}, {-5, 2}, {-5, -2}});
}

void tools::writeFrontier(llvm::raw_ostream &os, const std::vector<PricedPlan> &candidates,
                          double meanLoss) {
  double scale = meanLoss > 0 ? 100 / meanLoss : 1;
  const char *unit = meanLoss > 0 ? " %" : "";
  auto isShown = [](const PricedPlan &candidate) {
    return candidate.bytes > 0 && candidate.predictedLoss > 0 &&
           std::isfinite(candidate.predictedLoss);
  };
  auto isMeasured = [](const PricedPlan &candidate) {
    return candidate.measuredLoss && *candidate.measuredLoss > 0 &&
           std::isfinite(*candidate.measuredLoss);
  };
  double bytes[2] = {INFINITY, 0}, losses[2] = {INFINITY, 0};
  for (const PricedPlan &candidate : candidates)
    if (isShown(candidate)) {
      bytes[0] = std::min(bytes[0], double(candidate.bytes));
      bytes[1] = std::max(bytes[1], double(candidate.bytes));
      losses[0] = std::min(losses[0], candidate.predictedLoss * scale);
      losses[1] = std::max(losses[1], candidate.predictedLoss * scale);
      if (isMeasured(candidate)) {
        losses[0] = std::min(losses[0], *candidate.measuredLoss * scale);
        losses[1] = std::max(losses[1], *candidate.measuredLoss * scale);
      }
    }
  if (bytes[1] == 0)
    return;
  Axis x(bytes[0], bytes[1], left, width - right);
  Axis y(losses[0], losses[1], height - bottom, top);
  os << llvm::format("<svg id=\"frontier-chart\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
                     "aria-labelledby=\"frontier-title\">\n",
                     width, height)
     << "<title id=\"frontier-title\">Candidates by bytes and predicted loss increase; the numbers "
        "are in the table below</title>\n";
  for (double tick : x.ticks())
    os << llvm::format("<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>", x.at(tick), top,
                       height - bottom)
       << llvm::format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">", x.at(tick),
                       height - bottom + 18)
       << bytesText(tick) << "</text>\n";
  for (double tick : y.ticks())
    os << llvm::format("<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", left, y.at(tick),
                       width - right)
       << llvm::format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", left - 8, y.at(tick) + 4)
       << llvm::format("%.4g", tick) << unit << "</text>\n";
  os << llvm::format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">bytes of the planned "
                     "weights</text>\n",
                     (left + width - right) / 2, height - 10)
     << llvm::format("<text transform=\"translate(14 %.1f) rotate(-90)\" "
                     "text-anchor=\"middle\">predicted loss increase</text>\n",
                     (top + height - bottom) / 2);

  std::vector<bool> best = paretoFrontier(candidates);
  std::vector<const PricedPlan *> frontier;
  for (auto [candidate, isBest] : llvm::zip(candidates, best))
    if (isBest && isShown(candidate))
      frontier.push_back(&candidate);
  llvm::sort(frontier, [](auto *a, auto *b) { return a->bytes < b->bytes; });
  os << "<path class=\"frontier\" d=\"";
  for (auto [i, point] : llvm::enumerate(frontier)) {
    double px = x.at(double(point->bytes)), py = y.at(point->predictedLoss * scale);
    if (i == 0)
      os << llvm::format("M%.1f %.1f", px, py);
    else
      os << llvm::format("H%.1fV%.1f", px, py);
  }
  os << "\"/>\n";
  for (const PricedPlan &candidate : candidates) {
    if (!isShown(candidate))
      continue;
    double px = x.at(double(candidate.bytes)), py = y.at(candidate.predictedLoss * scale);
    writeMarker(os, candidate, px, py);
    os << "<title>" << formatName(candidate)
       << llvm::format(", circuit %.2f %%: ", candidate.circuit * 100) << candidate.bytes
       << llvm::format(" bytes, %+.4g", candidate.predictedLoss * scale) << unit
       << "</title></path>\n";
    if (isMeasured(candidate))
      os << llvm::format("<circle class=\"measured\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>", px,
                         y.at(*candidate.measuredLoss * scale))
         << formatName(candidate)
         << llvm::format(", measured: %+.4g", *candidate.measuredLoss * scale) << unit
         << "</title></circle>\n";
    if (!candidate.chosen)
      continue;
    bool isRight = px > width / 2;
    os << llvm::format("<circle class=\"chosen\" cx=\"%.1f\" cy=\"%.1f\" r=\"11\"/>", px, py)
       << llvm::format(
              "<text class=\"chosen\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">chosen</text>",
              isRight ? px - 16 : px + 16, py + 4, isRight ? "end" : "start")
       << "\n";
  }
  os << "</svg>\n";
}
