//===- VulkanProductTest.cpp - Products of many rows on a device ----------===//
//
// Compared with products in double of the decoded weights with inputs that are rounded as
// tacq.quantize_rows says. Sums of integers are exact: what is left is the rounding of sums in f32,
// 1e-5 of the results' norm, of some hundred columns.
//
//===----------------------------------------------------------------------===//

#include "VulkanModule.h"
#include "tacq/Quantize/RandomCircuit.h"
#include <cmath>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;
using Circuit = WeightFormat::Circuit;

namespace {

constexpr double tolerance = 1e-5;

std::vector<float> randomNumbers(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> numbers(count);
  for (float &number : numbers)
    number = float(int32_t(random())) / 2147483648.0f;
  return numbers;
}

/// A circuit with the same number of slots in each tile of a row.
void addUniformCircuit(MixedWeight &weight, double share) {
  CircuitMask circuit = randomCircuit(weight.rows, weight.columns, Circuit::Uniform, share, 3);
  weight.format.circuit = Circuit::Uniform;
  weight.starts = circuit.starts;
  weight.positions = circuit.positions;
  weight.order = circuit.order;
  for (size_t i = 0; i < weight.positions.size(); ++i)
    weight.values.push_back(floatToHalf(0.01f * float(1 + i % 90)));
}

std::string tensor(const std::string &rows, int64_t columns) {
  std::string text =
      "tensor<" + std::string(rows == "rows" ? "?" : rows) + "x" + std::to_string(columns) + "xf32";
  return text +
         (rows == "rows" ? ", #tacq.shape<[\"rows\", \"" + std::to_string(columns) + "\"]>>" : ">");
}

double relativeError(ArrayRef<float> actual, ArrayRef<double> expected) {
  double difference = 0, norm = 0;
  for (auto [x, y] : llvm::zip(actual, expected)) {
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  return std::sqrt(difference / norm);
}

class VulkanProduct : public VulkanModule {
protected:
  struct Options {
    bool gated = false, residual = false;
    std::string profile = deviceProfile();
    double scale = 1;        // of the input
    bool perFeature = false; // errors are those of each feature
    int64_t mostRows = 45;
    int64_t planes = 1; // of the input's integers
  };
  void check(std::vector<MixedWeight> list, Options options);
};

/// One operation with these weights, for few rows and for several tiles of them.
void VulkanProduct::check(std::vector<MixedWeight> list, Options options) {
  int64_t columns = list[0].columns, block = quantizedColumns;
  activations = options.planes > 1 ? "int16" : "int8";
  llvm::StringMap<MixedWeight> weights;
  std::string parameters, loads, names, types, results, resultTypes, order, returned;
  for (auto [i, weight] : llvm::enumerate(list)) {
    std::string name = "w" + std::to_string(i), type = typeText(weight);
    if (weight.groups() > 1)
      block = std::min(block, weight.format.group);
    parameters += "tacq.param @" + name + " : tensor<" + std::to_string(weight.rows) + "x" +
                  std::to_string(columns) + "xf32> from <\"w.bin\", 0, 0>\n";
    loads += "%" + name + " = tacq.get_param @" + name + " : " + type + "\n";
    std::string comma = i ? ", " : "";
    names += comma + "%" + name;
    types += comma + type;
    order += comma + "0 : i32";
    weights[name] = std::move(weight);
    if (options.gated && i)
      continue;
    std::string y = tensor("rows", list[i].rows);
    results += comma + y + " {tacq.name = \"y" + std::to_string(i) + "\"}";
    resultTypes += comma + y;
    returned += comma + "%y" + (options.gated || list.size() == 1 ? "" : "#" + std::to_string(i));
  }
  std::string x = tensor("rows", columns), bias;
  int64_t count = options.gated ? 1 : int64_t(list.size());
  std::string text =
      parameters + "func.func @main(%x: " + x + " {tacq.name = \"x\"}) -> (" + results + ") {\n" +
      loads + "%y" + (count > 1 ? ":" + std::to_string(count) : "") +
      " = tacq.linear %x, weights(" + names + ")" + (options.residual ? " residual(%x)" : "") +
      " {weight_order = [" + order + "]" + (options.gated ? ", gated, activation = 1 : i32" : "") +
      ", node_name = \"y\"} : (" + x + ", " + types + (options.residual ? ", " + x : "") + ") -> " +
      (count > 1 ? "(" + resultTypes + ")" : resultTypes) + "\nreturn " + returned + " : " +
      resultTypes + "\n}";
  emit(text, options.profile, ParameterStore(), weights);
  if (HasFatalFailure())
    return;
  std::vector<std::vector<double>> decoded;
  for (size_t i = 0; i < list.size(); ++i)
    decoded.push_back(decodeReference(weights["w" + std::to_string(i)]));
  for (int64_t rows : {int64_t(1), int64_t(3), int64_t(8), options.mostRows}) {
    SCOPED_TRACE(rows);
    std::vector<float> input = randomNumbers(size_t(rows * columns), 5);
    for (float &number : input)
      number = float(number * options.scale);
    std::vector<size_t> sizes;
    for (int64_t i = 0; i < count; ++i)
      sizes.push_back(size_t(rows * weights["w" + std::to_string(i)].rows));
    std::vector<std::vector<float>> actual =
        run({inputOf(TACQ_F32, {rows, columns}, input)}, sizes);
    std::vector<double> rounded(input.begin(), input.end());
    for (int64_t row = 0; row < rows; ++row)
      roundRow(&rounded[size_t(row * columns)], columns, block, options.planes);
    auto product = [&](size_t weight, int64_t row, int64_t feature) {
      double sum = 0;
      for (int64_t k = 0; k < columns; ++k)
        sum += decoded[weight][size_t(feature * columns + k)] * rounded[size_t(row * columns + k)];
      return sum;
    };
    for (int64_t i = 0; i < count; ++i) {
      SCOPED_TRACE(i);
      int64_t features = weights["w" + std::to_string(i)].rows;
      std::vector<double> expected;
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t n = 0; n < features; ++n) {
          double y = product(size_t(i), row, n);
          if (options.gated)
            y = y / (1 + std::exp(-y)) * product(1, row, n);
          if (options.residual)
            y += input[size_t(row * columns + n)];
          expected.push_back(y);
        }
      // Matrices multiply what is rounded to f16.
      bool inHalves = hasMatrices() && options.profile == deviceProfile() && options.planes == 1;
      double bound = inHalves ? 1e-3 : tolerance;
      if (!options.perFeature) {
        EXPECT_LT(relativeError(actual[size_t(i)], expected), bound);
        continue;
      }
      for (int64_t n = 0; n < features; ++n) {
        std::vector<float> own;
        std::vector<double> ownExpected;
        for (int64_t row = 0; row < rows; ++row) {
          own.push_back(actual[size_t(i)][size_t(row * features + n)]);
          ownExpected.push_back(expected[size_t(row * features + n)]);
        }
        // Few results of a feature may all be small differences of large numbers.
        EXPECT_LT(relativeError(own, ownExpected), bound * 10) << "feature " << n;
      }
    }
  }
}

/// 200 columns end in the middle of a tile, 72 features in the middle of four panels.
TEST_F(VulkanProduct, Formats) {
  const WeightFormat formats[] = {
      {2, 64, false, Circuit::Slots},   {3, 0, true, Circuit::Slots},
      {3, 32, false, Circuit::None},    {4, 128, false, Circuit::Scattered},
      {4, 0, true, Circuit::Scattered}, {8, 0, false, Circuit::None}};
  for (const WeightFormat &format : formats) {
    SCOPED_TRACE(format.bits);
    check({randomMixedWeight(72, 200, format, 0.03, 1)}, {});
  }
}

TEST_F(VulkanProduct, UniformCircuit) {
  MixedWeight weight = randomMixedWeight(64, 256, {2, 128, false, Circuit::None}, 0, 1);
  addUniformCircuit(weight, 0.02);
  check({weight}, {});
}

/// Input of 16 bits: panels, tiles and the code of profiles without integer dot products.
TEST_F(VulkanProduct, TwoPlanes) {
  Options options;
  options.planes = 2;
  options.profile = "generic";
  check({randomMixedWeight(72, 200, {2, 64, false, Circuit::Slots}, 0.03, 1)}, options);
  options.profile = deviceProfile();
  check({randomMixedWeight(72, 200, {3, 0, true, Circuit::Scattered}, 0.03, 2)}, options);
  MixedWeight weight = randomMixedWeight(64, 256, {2, 128, false, Circuit::None}, 0, 1);
  addUniformCircuit(weight, 0.02);
  check({weight}, options);
  // A single row is made in the product's kernel.
  repeatsRows = true;
  check({weight}, options);
  check({randomMixedWeight(72, 256, {3, 64, false, Circuit::Slots}, 0.03, 2)}, options);
  repeatsRows = false;
  options.gated = true;
  check({randomMixedWeight(72, 200, {4, 64, false, Circuit::Scattered}, 0.02, 1),
         randomMixedWeight(72, 200, {4, 64, false, Circuit::Scattered}, 0.01, 2)},
        options);
}

TEST_F(VulkanProduct, SeveralWeights) {
  check({randomMixedWeight(130, 256, {2, 128, false, Circuit::Slots}, 0.01, 1),
         randomMixedWeight(40, 256, {3, 128, false, Circuit::Slots}, 0.01, 2),
         randomMixedWeight(40, 256, {2, 128, false, Circuit::None}, 0, 3)},
        {});
}

TEST_F(VulkanProduct, Gated) {
  std::vector<MixedWeight> list = {
      randomMixedWeight(72, 200, {2, 64, false, Circuit::Scattered}, 0.02, 1),
      randomMixedWeight(72, 200, {4, 64, false, Circuit::Scattered}, 0.01, 2)};
  check(list, {/*gated=*/true});
  check(list, {/*gated=*/true, /*residual=*/false, "intel-xe"});
}

/// More rows than any page of the workspace has numbers.
TEST_F(VulkanProduct, VeryManyRows) {
  Options options;
  options.mostRows = 1100;
  check({randomMixedWeight(72, 200, {2, 64, false, Circuit::Slots}, 0.03, 1)}, options);
}

/// Weights from the smallest to the largest numbers of f16, with rows that are large, too.
TEST_F(VulkanProduct, LargeAndSmallWeights) {
  MixedWeight weight = randomMixedWeight(96, 256, {4, 64, false, Circuit::Slots}, 0.02, 1);
  int64_t groups = weight.groups();
  for (int64_t n = 0; n < weight.rows; ++n) {
    double largest = std::exp2(double(n % 32) - 16) * 1.99;
    for (int64_t i = n * groups; i < (n + 1) * groups; ++i)
      weight.scales[size_t(i)] = floatToHalf(float(largest / 15));
    for (uint32_t i = weight.starts[size_t(n)]; i < weight.starts[size_t(n) + 1]; ++i)
      weight.values[i] = floatToHalf(float(largest / (i % 2 ? 8 : -16)));
  }
  Options options;
  options.perFeature = true;
  options.scale = 1e12;
  check({weight}, options);
}

/// Without integer dot products, and without elements of 8 and 16 bits.
TEST_F(VulkanProduct, Generic) {
  check({randomMixedWeight(200, 200, {2, 64, false, Circuit::Slots}, 0.03, 1)},
        {/*gated=*/false, /*residual=*/true, "generic"});
  check({randomMixedWeight(72, 200, {3, 0, true, Circuit::Scattered}, 0.03, 1)},
        {/*gated=*/false, /*residual=*/false, "generic"});
}

/// 128 invocations in a workgroup.
TEST_F(VulkanProduct, WideWorkgroups) {
  check({randomMixedWeight(200, 200, {3, 64, false, Circuit::Slots}, 0.03, 1)},
        {/*gated=*/false, /*residual=*/true, "arm-mali"});
}

/// Weights beyond the range of f16 do not take what decodes to it.
TEST_F(VulkanProduct, WideWeights) {
  MixedWeight weight = randomMixedWeight(72, 256, {8, 128, false, Circuit::Slots}, 0.01, 1);
  auto usesMatrices = [&] {
    std::string text;
    std::string y = tensor("rows", 72), x = tensor("rows", 256), type = typeText(weight);
    text = "tacq.param @w : tensor<72x256xf32> from <\"w.bin\", 0, 0>\nfunc.func @main(%x: " + x +
           " {tacq.name = \"x\"}) -> (" + y +
           " {tacq.name = \"y\"}) {\n%w = tacq.get_param @w : " + type +
           "\n%y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = " +
           "\"y\"} : (" + x + ", " + type + ") -> " + y + "\nreturn %y : " + y + "\n}";
    llvm::StringMap<MixedWeight> weights;
    weights["w"] = weight;
    emit(text, "nvidia-hopper", ParameterStore(), weights);
    return llvm::is_contained(features(), "matrix16");
  };
  EXPECT_TRUE(usesMatrices());
  weight.scales[5] = floatToHalf(2000);
  EXPECT_FALSE(usesMatrices());
  check({weight}, {/*gated=*/false, /*residual=*/false, deviceProfile(), /*scale=*/1e20});
}

} // namespace
