//===- NormRopeTest.cpp - Normalization and rotary embedding --------------===//

#include "HotKernelTest.h"
#include <cmath>

using namespace tacq;
using namespace tacq::test;

namespace {

class Norm : public testing::TestWithParam<CpuTarget> {
protected:
  void check(bool layer, bool gain, bool bias, int64_t columns, const std::string &type) {
    SCOPED_TRACE(std::to_string(columns) + " columns of " + type);
    std::string n = std::to_string(columns);
    std::string x = "tensor<?x" + n + "x" + type + ", #tacq.shape<[\"rows\", \"" + n + "\"]>>";
    std::string row = "tensor<" + n + "x" + type + ">";
    std::string text =
        "func.func @k(%x: " + x + (gain ? ", %g: " + row : "") + (bias ? ", %b: " + row : "") +
        ") -> " + x + " {\n  %y = tacq.norm " + (layer ? "layer" : "rms") + " %x" +
        (gain ? " gain(%g)" : "") + (bias ? " bias(%b)" : "") +
        " {epsilon = 1.0e-5 : f64, node_name = \"y\"} : (" + x + (gain ? ", " + row : "") +
        (bias ? ", " + row : "") + ") -> " + x + "\n  return %y : " + x + "\n}\n";
    HotKernel kernel = HotKernel::compile(text, GetParam());
    for (int64_t rows : {1, 6}) {
      Tensor in = Tensor::random(rows * columns, type, 1), g = Tensor::random(columns, type, 2),
             b = Tensor::random(columns, type, 3);
      for (size_t i = 0; i < in.size(); ++i)
        in.set(i, in.at(i) + 3.0f); // a mean that is not zero
      Tensor out = Tensor::filled(rows * columns + 1, type, 5.0f);
      std::vector<Tensor *> bindings = {&in};
      if (gain)
        bindings.push_back(&g);
      if (bias)
        bindings.push_back(&b);
      bindings.push_back(&out);
      kernel.run(bindings, {{"rows", rows}});
      for (int64_t r = 0; r < rows; ++r) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < columns && layer; ++i)
          mean += in.at(r * columns + i) / double(columns);
        for (int64_t i = 0; i < columns; ++i)
          variance += std::pow(in.at(r * columns + i) - mean, 2) / double(columns);
        for (int64_t i = 0; i < columns; ++i) {
          double expected = (in.at(r * columns + i) - mean) / std::sqrt(variance + 1e-5);
          expected = expected * (gain ? g.at(i) : 1.0) + (bias ? b.at(i) : 0.0);
          ASSERT_NEAR(out.at(r * columns + i), expected, type == "f32" ? 1e-5 : 4e-3)
              << "row " << r << " column " << i;
        }
      }
      EXPECT_EQ(out.at(rows * columns), 5.0f);
    }
  }
};

TEST_P(Norm, RMS) {
  for (int64_t columns : {1, 15, 16, 64, 100, 512})
    check(false, true, false, columns, "f32");
  check(false, false, false, 77, "f32");
  check(false, true, false, 130, "f16");
}
TEST_P(Norm, Layer) {
  for (int64_t columns : {16, 70, 256})
    check(true, true, true, columns, "f32");
  check(true, false, false, 33, "f32");
  check(true, true, true, 33, "f16");
}

// The kernels of one operation each are the reference, which this one must agree with to the bit.
TEST_P(Norm, Quantized) {
  for (int64_t columns : {64, 200, 2048}) {
    SCOPED_TRACE(columns);
    auto rows = [](int64_t width, const char *element) {
      std::string d = std::to_string(width);
      return "tensor<?x" + d + "x" + element + ", #tacq.shape<[\"n\", \"" + d + "\"]>>";
    };
    int64_t stored = (columns + 127) / 128 * 128, blocks = (columns + 63) / 64;
    std::string x = rows(columns, "f16"), q = rows(stored, "i8"),
                gain = "tensor<" + std::to_string(columns) + "xf16>",
                scales = "tensor<?x" + std::to_string(blocks) + "x2xf32, #tacq.shape<[\"n\", \"" +
                         std::to_string(blocks) + "\", \"2\"]>>";
    std::string norm = "  %y = tacq.norm rms %x gain(%g) {epsilon = 1.0e-5 : f64, node_name = "
                       "\"y\"} : (" +
                       x + ", " + gain + ") -> " + x + "\n";
    std::string quantize = "  %q, %s = tacq.quantize_rows %y {block = 64 : i64, node_name = "
                           "\"q\"} : (" +
                           x + ") -> (" + q + ", " + scales + ")\n";
    std::string head = "func.func @k(%x: " + x + ", %g: " + gain + ") -> (",
                ofBoth = q + ", " + scales, yield = "  return %q, %s : " + ofBoth + "\n}\n";
    HotKernel first =
        HotKernel::compile(head + x + ") {\n" + norm + "  return %y : " + x + "\n}\n", GetParam());
    HotKernel second = HotKernel::compile(
        "func.func @k(%y: " + x + ") -> (" + ofBoth + ") {\n" + quantize + yield, GetParam());
    HotKernel both =
        HotKernel::compile(head + ofBoth + ") {\n" + norm + quantize + yield, GetParam());
    int64_t n = 5;
    Tensor in = Tensor::random(n * columns, "f16", 1), g = Tensor::random(columns, "f16", 2);
    in.set(columns + 3, NAN);
    in.set(2 * columns + 3, INFINITY);
    Tensor y = Tensor::filled(n * columns, "f16", 0);
    Tensor q1 = Tensor::filled(n * stored, "i1", 9), s1 = Tensor::filled(n * blocks * 2, "f32", 9);
    Tensor q2 = q1, s2 = s1;
    first.run({&in, &g, &y}, {{"n", n}});
    second.run({&y, &q1, &s1}, {{"n", n}});
    both.run({&in, &g, &q2, &s2}, {{"n", n}});
    EXPECT_EQ(q1.bytes, q2.bytes);
    EXPECT_EQ(s1.bytes, s2.bytes);
  }
}

TEST_P(Norm, QuantizedNodes) {
  std::string x = "tensor<3x200xf16>", q = "tensor<3x256xi8>", scales = "tensor<3x2x2xf32>";
  std::string nodes = "  %0 = tacq.node \"Sigmoid\" opset 13 (%x) named \"s\" : (" + x + ") -> " +
                      x + "\n  %y = tacq.node \"Mul\" opset 14 (%0, %x) named \"m\" : (" + x +
                      ", " + x + ") -> " + x + "\n";
  std::string quantize = "  %q, %s = tacq.quantize_rows %y {node_name = \"q\"} : (" + x + ") -> (" +
                         q + ", " + scales + ")\n  return %q, %s : " + q + ", " + scales + "\n}\n";
  std::string results = ") -> (" + q + ", " + scales + ") {\n";
  HotKernel first = HotKernel::compile("func.func @k(%x: " + x + ") -> " + x + " {\n" + nodes +
                                           "  return %y : " + x + "\n}\n",
                                       GetParam());
  HotKernel second = HotKernel::compile("func.func @k(%y: " + x + results + quantize, GetParam());
  HotKernel both =
      HotKernel::compile("func.func @k(%x: " + x + results + nodes + quantize, GetParam());
  Tensor in = Tensor::random(600, "f16", 1, 4), y = Tensor::filled(600, "f16", 0);
  in.set(201, NAN);
  Tensor q1 = Tensor::filled(3 * 256, "i1", 9), s1 = Tensor::filled(3 * 2 * 2, "f32", 9);
  Tensor q2 = q1, s2 = s1;
  first.run({&in, &y});
  second.run({&y, &q1, &s1});
  both.run({&in, &q2, &s2});
  EXPECT_EQ(q1.bytes, q2.bytes);
  EXPECT_EQ(s1.bytes, s2.bytes);
}

INSTANTIATE_TEST_SUITE_P(Targets, Norm, testing::ValuesIn(kernelTargets()), targetName);

class Rope : public testing::TestWithParam<CpuTarget> {
protected:
  void check(int64_t features, int64_t rotated, bool interleaved, bool sharedTable,
             const std::string &type) {
    SCOPED_TRACE(std::to_string(rotated) + " of " + std::to_string(features));
    std::string d = std::to_string(features), half = std::to_string(rotated / 2);
    std::string x = "tensor<?x?x3x" + d + "x" + type +
                    ", #tacq.shape<[\"batch\", \"sequence\", \"3\", \"" + d + "\"]>>";
    std::string table = std::string("tensor<") + (sharedTable ? "1" : "?") + "x?x" + half + "x" +
                        type + ", #tacq.shape<[\"" + (sharedTable ? "1" : "batch") +
                        "\", \"sequence\", \"" + half + "\"]>>";
    std::string text = "func.func @k(%x: " + x + ", %c: " + table + ", %s: " + table + ") -> " + x +
                       " {\n  %y = tacq.rope %x, %c, %s {" + (interleaved ? "interleaved, " : "") +
                       "node_name = \"y\"} : (" + x + ", " + table + ", " + table + ") -> " + x +
                       "\n  return %y : " + x + "\n}\n";
    HotKernel kernel = HotKernel::compile(text, GetParam());
    int64_t batch = 2, sequence = 7, heads = 3, pairs = rotated / 2;
    Tensor in = Tensor::random(batch * sequence * heads * features, type, 1);
    Tensor c = Tensor::random((sharedTable ? 1 : batch) * sequence * pairs, type, 2);
    Tensor s = Tensor::random((sharedTable ? 1 : batch) * sequence * pairs, type, 3);
    Tensor out = Tensor::filled(in.size(), type, 0);
    kernel.run({&in, &c, &s, &out}, {{"batch", batch}, {"sequence", sequence}});
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t t = 0; t < sequence; ++t)
        for (int64_t h = 0; h < heads; ++h) {
          int64_t start = ((b * sequence + t) * heads + h) * features;
          int64_t angle = ((sharedTable ? 0 : b) * sequence + t) * pairs;
          for (int64_t i = 0; i < features; ++i) {
            double expected = in.at(start + i);
            if (i < rotated) {
              int64_t pair = interleaved ? i / 2 : i % pairs;
              bool second = interleaved ? i % 2 : i >= pairs;
              int64_t low = interleaved ? 2 * pair : pair;
              double x0 = in.at(start + low), x1 = in.at(start + low + (interleaved ? 1 : pairs));
              double cosine = c.at(angle + pair), sine = s.at(angle + pair);
              expected = second ? x1 * cosine + x0 * sine : x0 * cosine - x1 * sine;
            }
            ASSERT_NEAR(out.at(start + i), expected, type == "f32" ? 1e-6 : 2e-3)
                << "batch " << b << " position " << t << " head " << h << " feature " << i;
          }
        }
  }
};

TEST_P(Rope, Halves) {
  check(64, 64, false, true, "f32");
  check(40, 40, false, false, "f32");
  check(50, 24, false, true, "f32");
  check(32, 32, false, false, "f16");
}
TEST_P(Rope, Interleaved) {
  check(16, 16, true, true, "f32");
  check(30, 20, true, false, "f32");
  check(16, 16, true, false, "f16");
}

INSTANTIATE_TEST_SUITE_P(Targets, Rope, testing::ValuesIn(kernelTargets()), targetName);

} // namespace
