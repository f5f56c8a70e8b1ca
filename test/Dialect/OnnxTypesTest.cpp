//===- OnnxTypesTest.cpp - ONNX's numbers of element types ----------------===//

#include "tacq/Dialect/TACQ/OnnxTypes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace tacq;

TEST(OnnxTypesTest, numbersAndTypesAreOneToOne) {
  MLIRContext context;
  int64_t known = 0;
  for (int64_t number = -1; number < 40; ++number) {
    Type type = elementTypeOfOnnx(number, &context);
    EXPECT_EQ(static_cast<bool>(type), isOnnxElementType(number)) << number;
    if (!type)
      continue;
    ++known;
    EXPECT_EQ(onnxNumberOf(type), number);
  }
  EXPECT_EQ(known, 13);
}

TEST(OnnxTypesTest, numbersOfTheStandard) {
  MLIRContext context;
  Builder builder(&context);
  EXPECT_EQ(onnxNumberOf(builder.getF32Type()), 1);
  EXPECT_EQ(onnxNumberOf(builder.getIntegerType(8, /*isSigned=*/false)), 2);
  EXPECT_EQ(onnxNumberOf(builder.getIntegerType(8)), 3);
  EXPECT_EQ(onnxNumberOf(builder.getI64Type()), 7);
  EXPECT_EQ(onnxNumberOf(builder.getI1Type()), 9);
  EXPECT_EQ(onnxNumberOf(builder.getF16Type()), 10);
  EXPECT_EQ(onnxNumberOf(builder.getBF16Type()), 16);
}

TEST(OnnxTypesTest, otherTypesHaveNoNumber) {
  MLIRContext context;
  Builder builder(&context);
  EXPECT_EQ(onnxNumberOf(builder.getIntegerType(8, /*isSigned=*/true)), std::nullopt);
  EXPECT_EQ(onnxNumberOf(builder.getIntegerType(3)), std::nullopt);
  EXPECT_EQ(onnxNumberOf(builder.getIndexType()), std::nullopt);
  // STRING and FLOAT8E4M3FN.
  EXPECT_FALSE(isOnnxElementType(8));
  EXPECT_FALSE(isOnnxElementType(17));
}
