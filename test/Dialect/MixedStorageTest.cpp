//===- MixedStorageTest.cpp - Bytes of mixed-precision weights ------------===//
//
// The expected bytes are counted by hand from docs/Spec.md.
//
//===----------------------------------------------------------------------===//

#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "mlir/AsmParser/AsmParser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace tacq;

namespace {
class MixedStorageTest : public ::testing::Test {
protected:
  MixedStorageTest() { context.loadDialect<TACQDialect>(); }

  MixedType type(llvm::StringRef text) {
    return cast<MixedType>(parseType(("!tacq.mixed<" + text + ">").str(), &context));
  }
  LayoutAttr layout(llvm::StringRef text) {
    return cast<LayoutAttr>(parseAttribute(("#tacq.layout<" + text + ">").str(), &context));
  }

  MLIRContext context;
};
} // namespace

TEST_F(MixedStorageTest, wholeTilesWithoutCircuit) {
  MixedStorage bytes = storedBytes(
      type("16x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16, zero = ui2>"),
      layout("tile = 16x128, planes = [2], interleave = 4, align = 1, rows = natural, "
             "circuit = none, little"));
  EXPECT_EQ(bytes.codes, 512);
  // 32 groups with 2 bytes of scale, and 32 zero points of 2 bits.
  EXPECT_EQ(bytes.metadata, 64 + 8);
  EXPECT_EQ(bytes.codebooks, 0);
  EXPECT_EQ(bytes.circuit, 0);
  EXPECT_EQ(bytes.permutation, 0);
}

TEST_F(MixedStorageTest, scatteredCircuitIsThePapersCount) {
  MixedType weight = type("1024x1024, bits = 2, group = 0, decode = #tacq.affine<scale = f16, "
                          "zero = f16>, circuit = <scattered, count = 3670, difference>");
  LayoutAttr list = layout("tile = 1x8, planes = [2], interleave = 1, align = 1, rows = natural, "
                           "circuit = list, little");
  MixedStorage bytes = storedBytes(weight, list);
  EXPECT_EQ(bytes.circuit, 3670 * 4 + 1025 * 4);
  EXPECT_EQ(bytes.total(), 262144 + 4096 + 14680 + 4100);
  EXPECT_DOUBLE_EQ(bitsPerWeight(weight, list), 8.0 * 285020 / 1048576);
}

TEST_F(MixedStorageTest, wideRowsNeedWidePositions) {
  MixedStorage bytes =
      storedBytes(type("1x65544, bits = 8, group = 0, decode = #tacq.affine<scale = f32>, "
                       "circuit = <scattered, count = 10, exact>"),
                  layout("tile = 1x8, planes = [8], interleave = 1, align = 1, rows = natural, "
                         "circuit = list, little"));
  EXPECT_EQ(bytes.circuit, 10 * 6 + 2 * 4);
}

TEST_F(MixedStorageTest, slotsOfPartialTiles) {
  // 17 rows and 130 columns are 2 x 2 tiles of 16 x 128, 32 stored rows with 3 groups of 64
  // columns. The narrower plane has blocks of 32 columns: 160 are stored.
  MixedStorage bytes =
      storedBytes(type("17x130, bits = 3, group = 64, decode = #tacq.codebook<row, levels = f16, "
                       "scale = ui6 span = 2>, circuit = <slots, count = 5, exact>"),
                  layout("tile = 16x128, planes = [2, 1], interleave = 4, align = 64, "
                         "rows = sorted, circuit = tiles, little"));
  EXPECT_EQ(bytes.codes, 32 * 160 * 3 / 8);
  // 96 scales of 6 bits are 72 bytes; 32 rows have 2 fp16 numbers each: 200, to a multiple of 64.
  EXPECT_EQ(bytes.metadata, 256);
  EXPECT_EQ(bytes.codebooks, 32 * 8 * 2);
  EXPECT_EQ(bytes.permutation, 64);
  // The first slots of 2 rows of tiles, the counts of 4 tiles; a slot is 16 positions of a byte and
  // 16 values: 252, padded.
  EXPECT_EQ(bytes.circuit, 256);
}

TEST_F(MixedStorageTest, lastTileIsAsWideAsNeeded) {
  LayoutAttr twoBits = layout("tile = 16x128, planes = [2], interleave = 4, align = 1, "
                              "rows = natural, circuit = none, little");
  auto columns = [&](llvm::StringRef extents) {
    return storedColumns(
        type((extents + ", bits = 2, group = 0, decode = #tacq.affine<scale = f16>").str()),
        twoBits);
  };
  EXPECT_EQ(columns("16x576"), 576);
  EXPECT_EQ(columns("16x577"), 592);
  EXPECT_EQ(columns("16x128"), 128);
  EXPECT_EQ(columns("16x1"), 16);
}

TEST_F(MixedStorageTest, wideTilesCountTheirSlotsInTwoBytes) {
  MixedStorage bytes =
      storedBytes(type("100000x256, bits = 2, group = 0, decode = #tacq.codebook<row, levels = "
                       "ui8, scale = f16>, circuit = <slots, count = 3, exact>"),
                  layout("tile = 16x256, planes = [2], interleave = 4, align = 1, "
                         "rows = sorted, circuit = tiles, little"));
  EXPECT_EQ(bytes.codebooks, 100000 * 4);
  EXPECT_EQ(bytes.permutation, 100000);
  EXPECT_EQ(bytes.circuit, 6250 * 4 + 6250 * 2 + 3 * 48);
}

TEST_F(MixedStorageTest, kernelsDoNotDependOnCounts) {
  MixedType slots = type("16x256, bits = 2, group = 0, decode = #tacq.affine<scale = f16>, "
                         "circuit = <slots, count = 3, difference>");
  EXPECT_EQ(withoutCount(slots).getCircuit().getCount(), 0);
  MixedType uniform = type("16x256, bits = 2, group = 0, decode = #tacq.affine<scale = f16>, "
                           "circuit = <uniform, count = 3, difference>");
  EXPECT_EQ(withoutCount(uniform), uniform);
}

TEST_F(MixedStorageTest, uniformCircuitHasNoStarts) {
  MixedStorage bytes =
      storedBytes(type("16x1024, bits = 2, group = 512, decode = #tacq.codebook<tensor, "
                       "levels = f32>, circuit = <uniform, count = 3, exact>"),
                  layout("tile = 8x512, planes = [1, 1], interleave = 8, align = 1, "
                         "rows = absorbed, circuit = tiles, little"));
  EXPECT_EQ(bytes.codebooks, 16);
  EXPECT_EQ(bytes.metadata, 0);
  // 4 tiles of 3 slots, each with 8 positions of 2 bytes and 8 values.
  EXPECT_EQ(bytes.circuit, 4 * 3 * 8 * 4);
  EXPECT_EQ(bytes.permutation, 0);
}
