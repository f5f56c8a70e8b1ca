//===- WeightPacking.cpp - Stores weights in panels -----------------------===//

#include "tacq/CPU/WeightPacking.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>

using namespace mlir;
using namespace tacq;

static unsigned elementBytes(PanelAttr layout) {
  return layout.getElement().getIntOrFloatBitWidth() / 8;
}

uint64_t tacq::packedWeightBytes(int64_t n, int64_t k, PanelAttr layout) {
  return llvm::alignTo(n, layout.getWidth()) * k * elementBytes(layout);
}

namespace {

template <typename Element>
void packPanel(const Element *source, WeightOrder order, int64_t first, int64_t n, int64_t k,
               unsigned width, Element *panel) {
  int64_t columns = std::min<int64_t>(width, n - first);
  if (order == WeightOrder::KN) {
    for (int64_t i = 0; i < k; ++i)
      std::memcpy(panel + i * width, source + i * n + first, columns * sizeof(Element));
    return;
  }
  for (int64_t column = 0; column < columns; ++column) {
    const Element *row = source + (first + column) * k;
    for (int64_t i = 0; i < k; ++i)
      panel[i * width + column] = row[i];
  }
}

template <typename Element>
bool packPanels(const void *bytes, WeightOrder order, int64_t n, int64_t k, unsigned width,
                llvm::function_ref<bool(const void *, size_t)> write) {
  std::vector<Element> panel(size_t(k) * width);
  for (int64_t first = 0; first < n; first += width) {
    if (n - first < width)
      std::fill(panel.begin(), panel.end(), Element(0));
    packPanel(static_cast<const Element *>(bytes), order, first, n, k, width, panel.data());
    if (!write(panel.data(), panel.size() * sizeof(Element)))
      return false;
  }
  return true;
}

} // namespace

bool tacq::packWeight(const void *bytes, WeightOrder order, int64_t n, int64_t k, PanelAttr layout,
                      llvm::function_ref<bool(const void *, size_t)> write) {
  if (elementBytes(layout) == 2)
    return packPanels<uint16_t>(bytes, order, n, k, layout.getWidth(), write);
  return packPanels<uint32_t>(bytes, order, n, k, layout.getWidth(), write);
}
