//===- HeatMap.cpp - A quantity by layer and projection -------------------===//

#include "HeatMap.h"

#include "Html.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace tacq;
using namespace tacq::tools;

namespace {

/// Of some tensors.
class Total {
public:
  void add(const std::optional<Quantity> &quantity) {
    if (!quantity)
      return;
    isKnown = true;
    amount += quantity->amount;
    of += quantity->of;
  }
  std::optional<double> value(bool isSum) const {
    if (!isKnown || (!isSum && !(of > 0)))
      return std::nullopt;
    return isSum ? amount : amount / of;
  }

private:
  bool isKnown = false;
  double amount = 0, of = 0;
};

} // namespace

static void writeTotal(llvm::raw_ostream &os, const HeatMap &heat, const Total &total) {
  os << "<td class=\"sum\">";
  if (auto value = total.value(heat.isSum))
    os << Escaped{heat.text(*value)};
  os << "</td>";
}

void tools::writeHeatMap(llvm::raw_ostream &os, const HeatMap &heat, const NetworkMap &map,
                         const std::vector<NamedTensor> &tensors) {
  size_t columns = map.projections.size();
  std::vector<std::vector<Total>> cells(map.layers.size(), std::vector<Total>(columns));
  std::vector<Total> byLayer(map.layers.size()), byProjection(columns);
  Total all;
  double largest = 0;
  for (size_t layer = 0; layer < map.layers.size(); ++layer)
    for (size_t column = 0; column < columns; ++column) {
      for (size_t tensor : map.cells[layer][column])
        for (Total *total : {&cells[layer][column], &byLayer[layer], &byProjection[column], &all})
          total->add(heat.values[tensor]);
      largest = std::max(largest, cells[layer][column].value(heat.isSum).value_or(0));
    }
  if (!all.value(heat.isSum))
    return;
  os << "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"" << heat.id
     << "-caption\">\n<table id=\"" << heat.id << "\">\n<caption id=\"" << heat.id << "-caption\">"
     << Escaped{heat.caption} << "</caption>\n<thead><tr><th scope=\"col\">layer</th>";
  for (const std::string &projection : map.projections)
    os << "<th scope=\"col\"><bdi>" << Escaped{projection} << "</bdi></th>";
  os << "<th scope=\"col\" class=\"sum\">all</th></tr></thead>\n<tbody>\n";
  for (size_t layer = 0; layer < map.layers.size(); ++layer) {
    os << "<tr><th scope=\"row\"><bdi>" << Escaped{map.layers[layer]} << "</bdi></th>";
    for (size_t column = 0; column < columns; ++column) {
      auto value = cells[layer][column].value(heat.isSum);
      if (!value) {
        os << "<td></td>";
        continue;
      }
      double part = largest > 0 ? std::clamp(*value / largest, 0.0, 1.0) : 0;
      os << llvm::format("<td class=\"heat\" style=\"--part:%.3f\" title=\"", part);
      for (auto [i, tensor] : llvm::enumerate(map.cells[layer][column]))
        os << (i ? ", " : "") << Escaped{tensors[tensor].name};
      os << "\">" << Escaped{heat.text(*value)} << "</td>";
    }
    writeTotal(os, heat, byLayer[layer]);
    os << "</tr>\n";
  }
  os << "</tbody>\n<tfoot><tr><th scope=\"row\">all</th>";
  for (const Total &total : byProjection)
    writeTotal(os, heat, total);
  writeTotal(os, heat, all);
  os << "</tr></tfoot>\n</table>\n</div>\n";
}
