//===- MixedPackingTest.cpp - Packing there and back ----------------------===//

#include "tacq/CPU/MixedPacking.h"
#include "KernelRunner.h"
#include "RandomMixedWeight.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;
using Circuit = WeightFormat::Circuit;

namespace {

std::vector<uint8_t> pack(const MixedWeight &weight, MixedType type, LayoutAttr layout) {
  std::vector<uint8_t> bytes;
  Error error = packMixedWeight(weight, type, layout, [&](const void *data, size_t size) {
    auto *from = static_cast<const uint8_t *>(data);
    bytes.insert(bytes.end(), from, from + size);
    return true;
  });
  EXPECT_FALSE(error) << error.message();
  return bytes;
}

void expectSame(const MixedWeight &a, const MixedWeight &b) {
  EXPECT_EQ(a.rows, b.rows);
  EXPECT_EQ(a.columns, b.columns);
  EXPECT_EQ(a.codes, b.codes);
  EXPECT_EQ(a.scales, b.scales);
  EXPECT_EQ(a.zeros, b.zeros);
  EXPECT_EQ(a.levels, b.levels);
  EXPECT_EQ(a.starts, b.starts);
  EXPECT_EQ(a.positions, b.positions);
  EXPECT_EQ(a.values, b.values);
  EXPECT_EQ(a.order, b.order);
}

class MixedPacking : public testing::Test {
protected:
  MixedPacking() : context(makeContext()) {}

  void roundTrip(const MixedWeight &weight, LayoutAttr layout = {}) {
    MixedType type = cpuMixedType(context.get(), weight);
    if (!layout)
      layout = cpuMixedLayout(type);
    std::vector<uint8_t> bytes = pack(weight, type, layout);
    EXPECT_EQ(int64_t(bytes.size()), storedBytes(type, layout).total());
    MixedParts parts = mixedParts(type, layout);
    EXPECT_EQ(parts.codes + parts.scales + parts.zeros + parts.levels + parts.circuitValues +
                  parts.circuitPositions + parts.permutation + parts.padding,
              bytes.size());
    EXPECT_LT(parts.padding, 5 * uint64_t(layout.getAlignment()));
    MixedWeight back;
    Error error = unpackMixedWeight(bytes, type, layout, back);
    ASSERT_FALSE(error) << error.message();
    expectSame(weight, back);
  }

  std::unique_ptr<MLIRContext> context;
};

TEST_F(MixedPacking, EveryFormatWithRemainders) {
  unsigned seed = 1;
  for (unsigned bits : {2, 3, 4, 8})
    for (int64_t group : {0, 32, 64, 128, 256})
      for (Circuit circuit : {Circuit::None, Circuit::Scattered, Circuit::Slots, Circuit::Uniform})
        for (bool codebook : {false, true}) {
          if (codebook && group != 0)
            continue;
          std::mt19937 random(++seed);
          int64_t rows = 1 + random() % 50, columns = std::max<int64_t>(group, 1) + random() % 300;
          SCOPED_TRACE(testing::Message()
                       << bits << " bits, group " << group << ", circuit " << int(circuit)
                       << ", codebook " << codebook << ", " << rows << "x" << columns);
          WeightFormat format{bits, group, codebook, circuit};
          roundTrip(randomMixedWeight(rows, columns, format, 0.02, seed));
        }
}

TEST_F(MixedPacking, EveryRemainderOfColumns) {
  for (unsigned bits : {2, 3, 4, 8})
    for (int64_t columns = 1; columns <= 160; ++columns) {
      SCOPED_TRACE(testing::Message() << bits << " bits, " << columns << " columns");
      roundTrip(randomMixedWeight(3, columns, {bits, 0, false, Circuit::Slots}, 0.05, columns));
    }
}

TEST_F(MixedPacking, EmptyAndFullCircuits) {
  for (Circuit circuit : {Circuit::Scattered, Circuit::Slots, Circuit::Uniform})
    for (double share : {0.0, 1.0})
      roundTrip(randomMixedWeight(20, 200, {2, 0, false, circuit}, share, 5));
}

TEST_F(MixedPacking, OtherLayouts) {
  MixedWeight weight = randomMixedWeight(21, 300, {3, 64, false, Circuit::Scattered}, 0.02, 3);
  for (llvm::StringRef text :
       {"tile = 8x64, planes = [1, 2], interleave = 8, align = 64, rows = natural",
        "tile = 4x320, planes = [1, 1, 1], interleave = 2, align = 1, rows = natural"}) {
    auto layout = cast<LayoutAttr>(parseAttribute(
        ("#tacq.layout<" + text + ", circuit = list, little>").str(), context.get()));
    roundTrip(weight, layout);
  }
}

TEST_F(MixedPacking, LastTileIsAsWideAsNeeded) {
  // 576 columns are four tiles and a half: no byte is lost.
  MixedWeight weight = randomMixedWeight(16, 576, {2, 0, false, Circuit::None}, 0, 1);
  MixedType type = cpuMixedType(context.get(), weight);
  EXPECT_EQ(mixedParts(type, cpuMixedLayout(type)).codes, 16u * 576 / 4);
}

TEST_F(MixedPacking, BitOrder) {
  // Row 1, column 6 of a tile: the second quad of the first block of 16 columns.
  MixedWeight weight;
  weight.rows = 16;
  weight.columns = 16;
  weight.format.bits = 2;
  weight.codes.assign(256, 0);
  weight.codes[16 + 6] = 3;
  weight.scales.assign(16, 0);
  weight.zeros.assign(16, 0);
  MixedType type = cpuMixedType(context.get(), weight);
  std::vector<uint8_t> bytes = pack(weight, type, cpuMixedLayout(type));
  for (size_t i = 0; i < bytes.size(); ++i)
    EXPECT_EQ(bytes[i], i == 1 * 4 + 2 ? 3 << 2 : 0) << i;
}

TEST_F(MixedPacking, WeightOfAnotherType) {
  MixedWeight weight = randomMixedWeight(16, 64, {2, 0, false, Circuit::Slots}, 0.1, 1);
  MixedType type = cpuMixedType(context.get(), weight);
  LayoutAttr layout = cpuMixedLayout(type);
  auto write = [](const void *, size_t) { return true; };
  MixedWeight other = randomMixedWeight(16, 64, {2, 0, false, Circuit::Slots}, 0.9, 2);
  Error error = packMixedWeight(other, type, layout, write);
  EXPECT_EQ(error.message(), "a quantized weight does not have the number of slots of its type");
  other = randomMixedWeight(16, 63, {2, 0, false, Circuit::None}, 0, 2);
  error = packMixedWeight(other, type, layout, write);
  EXPECT_EQ(error.message(), "a quantized weight does not have the codes of its type");
}

TEST_F(MixedPacking, BrokenBytesAreRefused) {
  MixedWeight weight = randomMixedWeight(40, 200, {2, 0, false, Circuit::Slots}, 0.05, 1);
  MixedType type = cpuMixedType(context.get(), weight);
  LayoutAttr layout = cpuMixedLayout(type);
  std::vector<uint8_t> bytes = pack(weight, type, layout);
  MixedWeight back;
  EXPECT_TRUE(unpackMixedWeight(ArrayRef(bytes).drop_back(), type, layout, back));
  // Nothing is read out of bounds, whatever the bytes are.
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    std::vector<uint8_t> broken = bytes;
    for (int j = 0; j < 20; ++j)
      broken[random() % broken.size()] = random();
    if (Error error = unpackMixedWeight(broken, type, layout, back))
      EXPECT_EQ(error.message().find("a stored weight is broken: "), 0u);
  }
}

} // namespace
