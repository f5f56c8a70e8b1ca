//===- MixedLinearTest.cpp - Products with mixed-precision weights --------===//
//
// The reference multiplies the decoded weights with the integers and scales that the kernel of
// tacq.quantize_rows gives, in double. What is left is the rounding of sums in f32: a tolerance of
// 1e-5 of the sum of the products' magnitudes; of results of 16 bits also their rounding.
//
//===----------------------------------------------------------------------===//

#include "HotKernelTest.h"
#include "RandomMixedWeight.h"
#include "tacq/CPU/LinearTiling.h"
#include "tacq/CPU/MixedPacking.h"
#include "llvm/Support/MathExtras.h"
#include <array>
#include <cmath>

using namespace tacq;
using namespace tacq::test;
using Circuit = WeightFormat::Circuit;

namespace {

struct WeightCase {
  int64_t rows;
  WeightFormat format;
  double share = 0.01;
};

struct Case {
  std::vector<WeightCase> weights;
  int64_t columns;
  int64_t block = 128;
  std::string type = "f32";
  bool bias = false, residual = false, gated = false;
  /// The input is multiplied as it is, not as int8.
  bool floats = false;
  /// Integers of 8 bits for a number of the input.
  int64_t planes = 1;
  /// The first row of the input has a NaN, the second an infinity.
  bool notFinite = false;
  /// Compare with the product of the input itself, too.
  bool checksRounding = false;
  std::string activation = "none";
  /// Of the tiling; the cost model's without.
  std::optional<int64_t> taskRows = std::nullopt;
  WeightPrefetch prefetch = {};
};

std::string shaped(std::vector<int64_t> dims, const std::string &element) {
  std::string extents = "?", names = "\"rows\"";
  for (int64_t dim : dims) {
    extents += "x" + std::to_string(dim);
    names += ", \"" + std::to_string(dim) + "\"";
  }
  return "tensor<" + extents + "x" + element + ", #tacq.shape<[" + names + "]>>";
}

template <typename T> std::string textOf(T value) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << value;
  return text;
}

double activate(const std::string &activation, double x) {
  if (activation == "silu")
    return x / (1 + std::exp(-x));
  return activation == "relu" ? std::max(x, 0.0) : x;
}

/// Integers and scales of rows.
struct Quantized {
  Tensor q, scales;
  /// Blocks of a plane.
  int64_t columns, blocks, block;
  int64_t rows, planes;
  int8_t number(int64_t row, int64_t k, int64_t plane = 0) const {
    int64_t tile = k / quantizedColumns + plane * llvm::divideCeil(columns, quantizedColumns);
    return int8_t(q.bytes[(tile * rows + row) * quantizedColumns + k % quantizedColumns]);
  }
  /// The scale of a block's numbers, or their sum.
  double scale(int64_t row, int64_t number, int64_t plane = 0, bool ofSum = false) const {
    return scales.at(2 * ((row * planes + plane) * blocks + number) + ofSum);
  }
  double at(int64_t row, int64_t k) const {
    double sum = 0;
    for (int64_t plane = 0; plane < planes; ++plane)
      sum += double(number(row, k, plane)) * scale(row, k / block, plane);
    return sum;
  }
  /// The largest error of a number, in units of its block's scale: a half of the last plane's, and
  /// what rounding in f32 does to a number of up to 127 of these units.
  double rounding() const { return 0.5 / (planes > 1 ? 254 : 1) + 2e-5; }
};

Quantized quantize(const CpuTarget &target, Tensor &x, int64_t rows, int64_t columns, int64_t block,
                   int64_t planes) {
  int64_t blocks = llvm::divideCeil(columns, block);
  int64_t stored = llvm::alignTo(columns, quantizedColumns);
  std::string from = shaped({columns}, x.type), q = shaped({planes * stored}, "i8"),
              scales = shaped({planes * blocks, 2}, "f32");
  std::string text = "func.func @k(%x: " + from + ") -> (" + q + ", " + scales +
                     ") {\n  %q, %s = tacq.quantize_rows %x {block = " + std::to_string(block) +
                     " : i64, bits = " + std::to_string(8 * planes) +
                     " : i64, node_name = \"q\"} : (" + from + ") -> (" + q + ", " + scales +
                     ")\n  return %q, %s : " + q + ", " + scales + "\n}\n";
  static std::map<std::string, HotKernel> kernels;
  auto known = kernels.find(target.name + text);
  if (known == kernels.end())
    known = kernels.emplace(target.name + text, HotKernel::compile(text, target)).first;
  HotKernel &kernel = known->second;
  Quantized result{{"i8", 1, std::vector<char>(rows * planes * stored, 77)},
                   Tensor::filled(rows * planes * blocks * 2, "f32", 77),
                   columns,
                   blocks,
                   block,
                   rows,
                   planes};
  kernel.run({&x, &result.q, &result.scales}, {{"rows", rows}});
  return result;
}

class MixedLinear : public testing::TestWithParam<CpuTarget> {
protected:
  void check(const Case &c, const std::vector<int64_t> &rowCounts);
};

void MixedLinear::check(const Case &c, const std::vector<int64_t> &rowCounts) {
  static const std::map<std::string, std::string> activations = {
      {"none", "0"}, {"silu", "1"}, {"relu", "4"}};
  std::unique_ptr<mlir::MLIRContext> context = makeContext();
  int64_t blocks = llvm::divideCeil(c.columns, c.block);
  std::vector<Tensor> packed, biases;
  std::vector<std::vector<double>> decoded;
  KernelOptions options;
  std::string x = shaped({c.planes * int64_t(llvm::alignTo(c.columns, quantizedColumns))}, "i8");
  std::string scales = shaped({c.planes * blocks, 2}, "f32");
  std::string arguments = "%x: " + x + ", %s: " + scales, types = x + ", " + scales;
  if (c.floats) {
    types = shaped({c.columns}, c.type);
    arguments = "%x: " + types;
  }
  std::string weights, biasNames, order, layouts, results, names;
  auto append = [](std::string &list, const std::string &item) {
    list += (list.empty() ? "" : ", ") + item;
  };
  for (auto [i, w] : llvm::enumerate(c.weights)) {
    MixedWeight weight = randomMixedWeight(w.rows, c.columns, w.format, w.share, 7 + i);
    MixedType type = cpuMixedType(context.get(), weight);
    LayoutAttr layout = cpuMixedLayout(type);
    if (c.gated && layout.getRows() == RowOrder::Sorted) {
      layout = LayoutAttr::get(context.get(), layout.getTileRows(), layout.getTileColumns(),
                               layout.getPlanes(), layout.getInterleave(), layout.getAlignment(),
                               RowOrder::Natural, layout.getCircuit(), layout.getEndianness());
      weight.order.clear();
      type = cpuMixedType(context.get(), weight);
    }
    Tensor bytes{"i8", 1, {}};
    Error error = packMixedWeight(weight, type, layout, [&](const void *data, size_t size) {
      auto *from = static_cast<const char *>(data);
      bytes.bytes.insert(bytes.bytes.end(), from, from + size);
      return true;
    });
    ASSERT_FALSE(error) << error.message();
    decoded.push_back(decodeReference(weight));
    packed.push_back(std::move(bytes));
    biases.push_back(Tensor::random(w.rows, c.type, 20 + i));
    std::string name = "%w" + std::to_string(i), text = textOf(withoutCount(type));
    if (c.taskRows)
      options.tilings.push_back(TilingAttr::get(context.get(), GetParam().name, withoutCount(type),
                                                *c.taskRows, c.prefetch.numbers()));
    append(weights, name);
    append(arguments, name + ": " + text);
    append(types, text);
    append(order, "0 : i32");
    append(layouts, textOf(layout));
  }
  for (size_t i = 0; c.bias && i < c.weights.size(); ++i) {
    std::string type = "tensor<" + std::to_string(c.weights[i].rows) + "x" + c.type + ">";
    append(biasNames, "%b" + std::to_string(i));
    append(arguments, "%b" + std::to_string(i) + ": " + type);
    append(types, type);
  }
  if (c.residual) {
    append(arguments, "%r: " + shaped({c.weights[0].rows}, c.type));
    append(types, shaped({c.weights[0].rows}, c.type));
  }
  size_t resultCount = c.gated ? 1 : c.weights.size();
  for (size_t i = 0; i < resultCount; ++i) {
    append(results, shaped({c.weights[i].rows}, c.type));
    append(names, "%y#" + std::to_string(i));
  }
  std::string text = "func.func @k(" + arguments + ") -> (" + results +
                     ") {\n  %y:" + std::to_string(resultCount) + " = tacq.linear %x" +
                     (c.floats ? "" : " x_scales(%s)") + ", weights(" + weights + ")" +
                     (c.bias ? " biases(" + biasNames + ")" : "") +
                     (c.residual ? " residual(%r)" : "") + " {weight_order = [" + order +
                     "], weight_layouts = [" + layouts +
                     "], activation = " + activations.at(c.activation) + " : i32" +
                     (c.gated ? ", gated" : "") + ", node_name = \"y\"} : (" + types + ") -> (" +
                     results + ")\n  return " + names + " : " + results + "\n}\n";
  HotKernel kernel = HotKernel::compile(text, GetParam(), options);
  for (int64_t rows : rowCounts) {
    SCOPED_TRACE(rows);
    Tensor input = Tensor::random(rows * c.columns, c.type, 1);
    if (c.notFinite) {
      input.set(c.columns / 2, NAN);
      if (rows > 1)
        input.set(c.columns + c.columns / 3, -INFINITY);
    }
    Quantized quantized = quantize(GetParam(), input, rows, c.columns, c.block, c.planes);
    Tensor residual = Tensor::random(rows * c.weights[0].rows, c.type, 2);
    std::vector<Tensor> outputs;
    for (size_t i = 0; i < resultCount; ++i)
      // One row more, which must stay as it is.
      outputs.push_back(Tensor::filled((rows + 1) * c.weights[i].rows, c.type, 77.0f));
    std::vector<Tensor *> bindings = {&quantized.q, &quantized.scales};
    if (c.floats)
      bindings = {&input};
    for (Tensor &tensor : packed)
      bindings.push_back(&tensor);
    for (size_t i = 0; c.bias && i < biases.size(); ++i)
      bindings.push_back(&biases[i]);
    if (c.residual)
      bindings.push_back(&residual);
    for (Tensor &tensor : outputs)
      bindings.push_back(&tensor);
    kernel.run(bindings, {{"rows", rows}});

    // The product and what rounding in f32 may do to it.
    auto dot = [&](size_t i, int64_t row, int64_t n) {
      double sum = c.bias ? biases[i].at(n) : 0, magnitude = std::fabs(sum) + 1;
      for (int64_t k = 0; k < c.columns; ++k) {
        double number = c.floats ? input.at(row * c.columns + k) : quantized.at(row, k);
        double product = number * decoded[i][n * c.columns + k];
        sum += product;
        magnitude += std::fabs(product);
      }
      return std::pair(sum, 1e-5 * magnitude);
    };
    auto checkRounding = [&](int64_t row, int64_t n, double actual) {
      double sum = 0, tolerance = dot(0, row, n).second;
      for (int64_t k = 0; k < c.columns; ++k) {
        double weight = decoded[0][n * c.columns + k];
        sum += input.at(row * c.columns + k) * weight;
        double step = quantized.rounding() * quantized.scale(row, k / c.block);
        tolerance += step * std::fabs(weight);
      }
      EXPECT_NEAR(actual, sum, tolerance) << "row " << row << " feature " << n;
    };
    int failures = 0;
    for (size_t i = 0; i < resultCount; ++i)
      for (int64_t row = 0; row <= rows; ++row)
        for (int64_t n = 0; n < c.weights[i].rows && failures < 3; ++n) {
          double expected = 77.0, tolerance = 0;
          if (row < rows) {
            auto [y, error] = dot(i, row, n);
            expected = activate(c.activation, y);
            tolerance = 2 * error;
            if (c.gated) {
              auto [other, otherError] = dot(1, row, n);
              tolerance = tolerance * (std::fabs(other) + 1) + otherError * std::fabs(expected);
              expected *= other;
            }
            if (c.residual)
              expected += residual.at(row * c.weights[0].rows + n);
            tolerance += c.type == "f16" ? 1e-3 * std::fabs(expected) : 0;
          }
          double actual = outputs[i].at(row * c.weights[i].rows + n);
          if (!std::isfinite(expected)) {
            EXPECT_FALSE(std::isfinite(actual)) << "row " << row << " feature " << n;
            failures += std::isfinite(actual);
            continue;
          }
          EXPECT_NEAR(actual, expected, tolerance)
              << "result " << i << " row " << row << " feature " << n;
          failures += !(std::fabs(actual - expected) <= tolerance);
          if (c.checksRounding && row < rows)
            checkRounding(row, n, actual);
        }
  }
}

TEST_P(MixedLinear, EveryFormat) {
  unsigned seed = 1;
  for (unsigned bits : {2, 3, 4, 8})
    for (int64_t group : {0, 32, 64, 128, 256})
      for (Circuit circuit :
           {Circuit::None, Circuit::Scattered, Circuit::Slots, Circuit::Uniform}) {
        std::mt19937 random(++seed);
        int64_t rows = 1 + random() % 50, columns = std::max<int64_t>(group, 1) + random() % 300;
        SCOPED_TRACE(testing::Message() << bits << " bits, group " << group << ", circuit "
                                        << int(circuit) << ", " << rows << "x" << columns);
        int64_t block = group == 0 ? 128 : std::min<int64_t>(group, 128);
        check({{{rows, {bits, group, false, circuit}}}, columns, block}, {1, 5});
      }
}

TEST_P(MixedLinear, Codebooks) {
  for (unsigned bits : {2, 3, 4, 8})
    for (Circuit circuit : {Circuit::None, Circuit::Slots, Circuit::Scattered})
      for (int64_t columns : {40, 300}) {
        SCOPED_TRACE(testing::Message() << bits << " bits, circuit " << int(circuit));
        check({{{37, {bits, 0, true, circuit}}}, columns}, {1, 4});
      }
}

TEST_P(MixedLinear, EveryRemainderOfRowsAndColumns) {
  for (int64_t i = 0; i < 16; ++i) {
    int64_t columns = 128 * (i % 3) + 1 + i * 8 + i % 7;
    SCOPED_TRACE(testing::Message() << 16 + i << "x" << columns);
    check({{{16 + i, {2, 0, false, Circuit::Slots}}}, columns}, {1, 3});
    check({{{16 + i, {3, 0, false, Circuit::None}}}, columns, 32}, {1, 3});
  }
}

TEST_P(MixedLinear, RowCounts) {
  std::vector<int64_t> counts = {1, 2, 3, 4, 5, 7, 11, 12, 13, 24, 30, 32, 63, 96, 97, 200};
  check({{{50, {2, 64, false, Circuit::Slots}, 0.02}}, 200, 64}, counts);
  check({{{50, {3, 0, false, Circuit::Uniform}, 0.02}}, 200}, counts);
}

TEST_P(MixedLinear, EveryTiling) {
  for (int64_t taskRows : taskRowsChoices()) {
    SCOPED_TRACE(taskRows);
    Case c{{{50, {2, 64, false, Circuit::Slots}, 0.02}}, 200, 64};
    c.taskRows = taskRows;
    c.prefetch = prefetchChoices()[size_t(taskRows / 96) % prefetchChoices().size()];
    check(c, {1, taskRows - 1, taskRows, taskRows + 1});
  }
}

/// As many rows as targets with registers of rows take at a time, and more.
TEST_P(MixedLinear, ManyRowsOfEveryFormat) {
  for (unsigned bits : {2, 3, 4, 8})
    for (Circuit circuit : {Circuit::None, Circuit::Slots, Circuit::Scattered}) {
      SCOPED_TRACE(testing::Message() << bits << " bits, circuit " << int(circuit));
      check({{{37, {bits, 128, false, circuit}}}, 300}, {35});
      check({{{20, {bits, 0, true, circuit}}}, 200, 64}, {64});
    }
  check({{{20, {2, 0, false, Circuit::Slots}, 1.0}}, 200}, {33});
  Case c{{{44, {2, 0, false, Circuit::Slots}}, {44, {3, 64, false, Circuit::Uniform}}}, 113, 64};
  c.gated = true;
  c.activation = "silu";
  check(c, {32, 47});
}

TEST_P(MixedLinear, TinyAndHugeDepth) {
  check({{{5, {2, 0, false, Circuit::Slots}, 0.5}}, 1}, {1, 2});
  check({{{17, {4, 0, false, Circuit::Scattered}}}, 3}, {1, 2});
  check({{{3, {2, 0, false, Circuit::Scattered}, 0.001}}, 70001}, {1, 2});
  check({{{18, {2, 128, false, Circuit::Slots}, 0.005}}, 20000}, {1, 2});
}

TEST_P(MixedLinear, EmptyAndFullCircuit) {
  for (Circuit circuit : {Circuit::Scattered, Circuit::Slots, Circuit::Uniform})
    for (double share : {0.0, 1.0})
      check({{{20, {2, 0, false, circuit}, share}}, 200}, {1, 3});
}

TEST_P(MixedLinear, BiasActivationResidual) {
  for (const char *type : {"f32", "f16"})
    for (Circuit circuit : {Circuit::None, Circuit::Slots}) {
      Case c{{{45, {2, 64, false, circuit}}}, 150, 64, type};
      c.bias = c.residual = true;
      c.activation = "silu";
      check(c, {1, 14});
    }
}

TEST_P(MixedLinear, Gated) {
  Case c{{{44, {2, 0, false, Circuit::Slots}}, {44, {3, 64, false, Circuit::Uniform}}}, 113, 64};
  c.gated = true;
  c.activation = "silu";
  check(c, {1, 2, 5, 13});
  c.bias = c.residual = true;
  c.type = "f16";
  check(c, {1, 9});
}

TEST_P(MixedLinear, SeveralWeightsOfDifferentFormats) {
  Case c{{{64, {2, 64, false, Circuit::Slots}},
          {17, {4, 0, false, Circuit::None}},
          {40, {3, 0, true, Circuit::Scattered}}},
         160,
         64};
  check(c, {1, 2, 13, 100});
  c.bias = true;
  check(c, {1, 13});
}

TEST_P(MixedLinear, NumbersThatAreNoneReachTheResult) {
  for (bool floats : {false, true})
    for (Circuit circuit : {Circuit::None, Circuit::Scattered, Circuit::Slots, Circuit::Uniform}) {
      SCOPED_TRACE(testing::Message() << "circuit " << int(circuit));
      Case c{{{20, {2, 64, false, circuit}}}, 200, 64};
      c.floats = floats;
      c.planes = !floats && circuit == Circuit::Slots ? 2 : 1;
      c.notFinite = true;
      check(c, {1, 5});
    }
}

/// Each element of quantized input is off by half of the last plane's scale at most.
TEST_P(MixedLinear, ProductsAreWithinTheRoundingOfTheInput) {
  for (int64_t block : {32, 128})
    for (int64_t planes : {1, 2}) {
      Case c{{{20, {2, block, false, Circuit::Slots}}}, 300, block};
      c.checksRounding = true;
      c.planes = planes;
      check(c, {1, 5});
    }
}

/// Integers of 16 bits, with codes of each width and each circuit.
TEST_P(MixedLinear, TwoPlanes) {
  auto checkPlanes = [&](Case c, const std::vector<int64_t> &rowCounts) {
    c.planes = 2;
    check(c, rowCounts);
  };
  // More rows than a task has.
  checkPlanes({{{37, {2, 32, false, Circuit::Slots}}}, 302, 32}, {1, 130});
  checkPlanes({{{37, {3, 0, false, Circuit::Uniform}}}, 303}, {1, 41});
  checkPlanes({{{37, {4, 256, false, Circuit::Scattered}}}, 304}, {1, 41});
  checkPlanes({{{37, {8, 64, false, Circuit::None}}}, 308, 64}, {1, 41});
  checkPlanes({{{20, {2, 0, true, Circuit::Slots}, 1.0}}, 140}, {1, 3});
  checkPlanes({{{64, {2, 64, false, Circuit::Slots}}, {17, {4, 0, false, Circuit::None}}}, 160, 64},
              {1, 33});
  Case c{{{44, {2, 0, false, Circuit::Slots}}, {44, {2, 0, false, Circuit::Slots}}}, 113, 64};
  c.gated = c.bias = c.residual = true;
  c.activation = "silu";
  c.type = "f16";
  checkPlanes(c, {1, 9});
}

/// Input that is not quantized, with every way to decode and every circuit.
TEST_P(MixedLinear, Floats) {
  auto checkFloats = [&](Case c, const std::vector<int64_t> &rowCounts) {
    c.floats = true;
    check(c, rowCounts);
  };
  for (unsigned bits : {2, 3, 4, 8})
    for (Circuit circuit : {Circuit::None, Circuit::Scattered, Circuit::Slots, Circuit::Uniform}) {
      SCOPED_TRACE(testing::Message() << bits << " bits, circuit " << int(circuit));
      int64_t group = std::array{0, 32, 64, 256}[(bits + unsigned(circuit)) % 4];
      checkFloats({{{37, {bits, group, false, circuit}}}, 300 + int64_t(bits)}, {1, 11});
      checkFloats({{{20, {bits, 0, true, circuit}}}, 140}, {2});
    }
  for (double share : {0.0, 1.0})
    checkFloats({{{20, {2, 128, false, Circuit::Slots}, share}}, 200}, {1, 70});
  checkFloats({{{5, {3, 0, false, Circuit::Slots}, 0.5}}, 1}, {1, 2});
  Case c{{{44, {2, 0, false, Circuit::Slots}}, {44, {3, 64, false, Circuit::Uniform}}}, 113, 64};
  c.gated = c.bias = c.residual = true;
  c.activation = "silu";
  for (const char *type : {"f32", "f16"}) {
    c.type = type;
    checkFloats(c, {1, 9});
  }
  checkFloats({{{64, {2, 64, false, Circuit::Slots}}, {17, {4, 0, false, Circuit::None}}}, 160},
              {1, 33});
}

TEST(MixedLinearAssembly, DecodingStaysInRegisters) {
  std::optional<CpuTarget> host = parseCpuTarget("host"), target = parseCpuTarget("x86-64-v4");
  if (!host || host->rank < target->rank)
    GTEST_SKIP() << "this machine has no AVX-512";
  std::string text = R"(
    !x = tensor<1x4096xi8>
    !s = tensor<1x32x2xf32>
    !w = !tacq.mixed<4096x4096, bits = 2, group = 128,
      decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>
    func.func @k(%x: !x, %s: !s, %w: !w) -> tensor<1x4096xf32> {
      %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "y",
        weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16,
                                       rows = sorted, circuit = tiles, little>]}
        : (!x, !s, !w) -> tensor<1x4096xf32>
      return %y : tensor<1x4096xf32>
    })";
  std::string assembly;
  HotKernel kernel = HotKernel::compile(text, *target, {}, &assembly);
  auto count = [&](llvm::StringRef instruction) {
    return llvm::StringRef(assembly).count(instruction);
  };
  // The 32 products of a tile, once: nothing is unrolled or done again.
  EXPECT_EQ(count("vpdpbusd"), 32u);
  EXPECT_GE(count("vpermi2b") + count("vpermt2b"), 1u);
  // Neither gathers nor sums across lanes nor single bytes; results are scattered once.
  EXPECT_EQ(count("gather"), 0u);
  EXPECT_EQ(count("vhadd") + count("vpinsrb") + count("vpextrb"), 0u);
  EXPECT_EQ(count("vscatterdps") + count("vscatterqps"), 1u);
}

TEST_P(MixedLinear, RoundingOfTheInputIsBounded) {
  // Against the product of the input itself: each element is off by half of its block's scale.
  int64_t columns = 300, rows = 2;
  Tensor x = Tensor::random(rows * columns, "f32", 3);
  for (int64_t planes : {1, 2}) {
    Quantized quantized = quantize(GetParam(), x, rows, columns, 64, planes);
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t k = 0; k < columns; ++k)
        EXPECT_LE(std::fabs(quantized.at(row, k) - x.at(row * columns + k)),
                  quantized.rounding() * quantized.scale(row, k / 64));
  }
}

TEST_P(MixedLinear, QuantizedRows) {
  for (const char *type : {"f32", "f16", "bf16"})
    for (int64_t block : {32, 64, 128})
      for (int64_t columns : {1, 31, 40, 128, 300}) {
        Tensor x = Tensor::random(3 * columns, type, 9, 50.0f);
        int64_t planes = block == 64 ? 2 : 1;
        Quantized quantized = quantize(GetParam(), x, 3, columns, block, planes);
        int64_t stored = llvm::alignTo(columns, quantizedColumns);
        for (int64_t row = 0; row < 3; ++row)
          for (int64_t i = 0; i < quantized.blocks; ++i) {
            double largest = 0, sums[2] = {};
            int64_t end = std::min(columns, (i + 1) * block);
            for (int64_t k = i * block; k < end; ++k)
              largest = std::max(largest, double(std::fabs(x.at(row * columns + k))));
            double scale = quantized.scale(row, i);
            EXPECT_NEAR(scale, largest / 127, 1e-6 * largest);
            for (int64_t k = i * block; k < end; ++k) {
              EXPECT_NEAR(quantized.at(row, k), x.at(row * columns + k),
                          quantized.rounding() * scale);
              for (int64_t plane = 0; plane < planes; ++plane)
                sums[plane] += quantized.number(row, k, plane);
            }
            for (int64_t plane = 0; plane < planes; ++plane) {
              double own = quantized.scale(row, i, plane), sum = own * sums[plane];
              EXPECT_NEAR(own, plane ? scale / 254 : scale, 1e-6 * own);
              EXPECT_NEAR(quantized.scale(row, i, plane, /*ofSum=*/true), sum,
                          1e-6 * std::fabs(sum));
            }
          }
        for (int64_t row = 0; row < 3; ++row)
          for (int64_t k = columns; k < stored; ++k)
            for (int64_t plane = 0; plane < planes; ++plane)
              EXPECT_EQ(quantized.number(row, k, plane), 0);
      }
}

TEST_P(MixedLinear, NumbersThatAreNone) {
  Tensor x = Tensor::filled(4 * 128, "f32", 0.0f);
  x.set(0, NAN);
  x.set(128 + 5, INFINITY);
  x.set(2 * 128, 1e-38f);
  x.set(3 * 128 + 7, -std::numeric_limits<float>::max());
  for (int64_t planes : {1, 2}) {
    Quantized quantized = quantize(GetParam(), x, 4, 128, 128, planes);
    for (int64_t plane = 0; plane < planes; ++plane) {
      for (int row : {0, 1})
        for (bool ofSum : {false, true})
          EXPECT_TRUE(std::isnan(quantized.scale(row, 0, plane, ofSum)));
      EXPECT_EQ(quantized.scale(2, 0, plane), 0.0);
    }
    EXPECT_EQ(quantized.number(3, 7), -127);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, MixedLinear,
                         testing::ValuesIn(kernelTargets(/*everyByteProduct=*/true)), targetName);

} // namespace
