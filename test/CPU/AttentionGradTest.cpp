//===- AttentionGradTest.cpp - Attention's gradients, scalar reference ----===//
//
// The reference is in double. Sums of up to 200 products of numbers of size 1 are rounded to about
// 1e-5 in f32; probabilities scale what they meet by at most 1.
//
//===----------------------------------------------------------------------===//

#include "HotKernelTest.h"
#include <cmath>

using namespace tacq;
using namespace tacq::test;

namespace {

struct Case {
  int64_t heads, keyHeads, features, valueFeatures;
  bool causal = false, mask = false, bias = false;
  std::string type = "f32";
};

struct Sizes {
  int64_t batch, queries, keys;
};

constexpr double scale = 0.3;

std::string tensor(const std::vector<int64_t> &dims, const std::string &type) {
  std::string shape;
  for (int64_t dim : dims)
    shape += std::to_string(dim) + "x";
  return "tensor<" + shape + type + ">";
}

/// Numbers in double, addressed as [batch, position, head, feature].
struct Numbers {
  std::vector<double> values;
  int64_t length, heads, features;

  Numbers(int64_t batch, int64_t length, int64_t heads, int64_t features)
      : values(batch * length * heads * features), length(length), heads(heads),
        features(features) {}
  double *row(int64_t b, int64_t position, int64_t head) {
    return &values[((b * length + position) * heads + head) * features];
  }
  void read(const Tensor &tensor) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = tensor.at(i);
  }
};

double dot(const double *x, const double *y, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += x[i] * y[i];
  return sum;
}

void addScaled(double *to, double factor, const double *from, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    to[i] += factor * from[i];
}

class AttentionGrad : public testing::TestWithParam<CpuTarget> {
protected:
  void check(const Case &c, const Sizes &s) {
    SCOPED_TRACE("batch " + std::to_string(s.batch) + " queries " + std::to_string(s.queries) +
                 " keys " + std::to_string(s.keys));
    std::vector<int64_t> q = {s.batch, s.queries, c.heads, c.features};
    std::vector<int64_t> out = {s.batch, s.queries, c.heads, c.valueFeatures};
    std::vector<int64_t> k = {s.batch, s.keys, c.keyHeads, c.features};
    std::vector<int64_t> v = {s.batch, s.keys, c.keyHeads, c.valueFeatures};
    std::vector<std::string> types = {tensor(out, c.type), tensor(q, c.type), tensor(k, c.type),
                                      tensor(v, c.type), tensor(out, c.type)};
    std::string extra;
    if (c.mask) {
      types.push_back(tensor({s.batch, s.keys}, "i64"));
      extra += " key_mask(%a5)";
    }
    if (c.bias) {
      types.push_back(tensor({1, c.heads, s.queries, s.keys}, "f32"));
      extra += " bias(%a" + std::to_string(types.size() - 1) + ")";
    }
    std::string arguments, list;
    for (size_t i = 0; i < types.size(); ++i) {
      arguments += (i ? ", %a" : "%a") + std::to_string(i) + ": " + types[i];
      list += (i ? ", " : "") + types[i];
    }
    std::string results = tensor(q, "f32") + ", " +
                          tensor({s.batch, s.keys, c.heads, c.features}, "f32") + ", " +
                          tensor({s.batch, s.keys, c.heads, c.valueFeatures}, "f32");
    HotKernel kernel = HotKernel::compile(
        "func.func @k(" + arguments + ") -> (" + results +
            ") {\n  %y:3 = tacq.attention_grad %a0 of %a1, %a2, %a3 to %a4" + extra + " {" +
            (c.causal ? "causal, " : "") + "scale = 0.3 : f64, node_name = \"y\"} : (" + list +
            ") -> (" + results + ")\n  return %y#0, %y#1, %y#2 : " + results + "\n}\n",
        GetParam());
    run(c, s, kernel);
  }

  void run(const Case &c, const Sizes &s, HotKernel &kernel) {
    size_t queryRows = s.batch * s.queries * c.heads, keyRows = s.batch * s.keys * c.keyHeads;
    Tensor gradient = Tensor::random(queryRows * c.valueFeatures, c.type, 1);
    Tensor q = Tensor::random(queryRows * c.features, c.type, 2, 2);
    Tensor k = Tensor::random(keyRows * c.features, c.type, 3);
    Tensor v = Tensor::random(keyRows * c.valueFeatures, c.type, 4);
    Tensor out = Tensor::filled(queryRows * c.valueFeatures, c.type, 0);
    Tensor mask = Tensor::filled(s.batch * s.keys, "i64", 1);
    // Left padding; the last sequence of a batch sees nothing at all.
    for (int64_t b = 0; b < s.batch; ++b)
      for (int64_t t = 0; t < s.keys; ++t)
        mask.set(b * s.keys + t, b > 0 && b + 1 == s.batch ? 0 : t >= b + 2 || s.keys < 3);
    Tensor bias = Tensor::random(c.heads * s.queries * s.keys, "f32", 6, 3);

    Numbers dOut(s.batch, s.queries, c.heads, c.valueFeatures);
    Numbers query(s.batch, s.queries, c.heads, c.features);
    Numbers key(s.batch, s.keys, c.keyHeads, c.features);
    Numbers value(s.batch, s.keys, c.keyHeads, c.valueFeatures);
    dOut.read(gradient), query.read(q), key.read(k), value.read(v);
    Numbers dQuery(s.batch, s.queries, c.heads, c.features);
    Numbers dKey(s.batch, s.keys, c.heads, c.features);
    Numbers dValue(s.batch, s.keys, c.heads, c.valueFeatures);
    for (int64_t b = 0; b < s.batch; ++b)
      for (int64_t h = 0; h < c.heads; ++h)
        for (int64_t i = 0; i < s.queries; ++i) {
          int64_t keyHead = h / (c.heads / c.keyHeads);
          std::vector<double> p(s.keys, -INFINITY);
          double largest = -INFINITY, sum = 0, delta = 0;
          for (int64_t t = 0; t < s.keys; ++t) {
            if ((c.causal && t > i) || (c.mask && mask.at(b * s.keys + t) == 0))
              continue;
            p[t] = scale * dot(query.row(b, i, h), key.row(b, t, keyHead), c.features);
            if (c.bias)
              p[t] += bias.at((h * s.queries + i) * s.keys + t);
            largest = std::max(largest, p[t]);
          }
          for (double &score : p)
            sum += score = score == -INFINITY ? 0 : std::exp(score - largest);
          std::vector<double> result(c.valueFeatures);
          for (int64_t t = 0; t < s.keys; ++t) {
            p[t] = sum > 0 ? p[t] / sum : 0;
            addScaled(result.data(), p[t], value.row(b, t, keyHead), c.valueFeatures);
          }
          for (int64_t f = 0; f < c.valueFeatures; ++f)
            out.set(((b * s.queries + i) * c.heads + h) * c.valueFeatures + f, float(result[f]));
          delta = dot(result.data(), dOut.row(b, i, h), c.valueFeatures);
          for (int64_t t = 0; t < s.keys; ++t) {
            addScaled(dValue.row(b, t, h), p[t], dOut.row(b, i, h), c.valueFeatures);
            double slope =
                p[t] * (dot(dOut.row(b, i, h), value.row(b, t, keyHead), c.valueFeatures) - delta) *
                scale;
            addScaled(dQuery.row(b, i, h), slope, key.row(b, t, keyHead), c.features);
            addScaled(dKey.row(b, t, h), slope, query.row(b, i, h), c.features);
          }
        }

    // An element behind each result tells whether a kernel writes beyond it.
    Tensor results[] = {Tensor::filled(dQuery.values.size() + 1, "f32", 9),
                        Tensor::filled(dKey.values.size() + 1, "f32", 9),
                        Tensor::filled(dValue.values.size() + 1, "f32", 9)};
    std::vector<Tensor *> bindings = {&gradient, &q, &k, &v, &out};
    if (c.mask)
      bindings.push_back(&mask);
    if (c.bias)
      bindings.push_back(&bias);
    for (Tensor &result : results)
      bindings.push_back(&result);
    kernel.run(bindings);
    const Numbers *expected[] = {&dQuery, &dKey, &dValue};
    // δ is of the rounded result where that has 16 bits.
    double tolerance = c.type == "f32" ? 5e-5 : 5e-3;
    for (int which = 0; which < 3; ++which) {
      const std::vector<double> &values = expected[which]->values;
      for (size_t i = 0; i < values.size(); ++i)
        ASSERT_NEAR(results[which].at(i), values[i], tolerance * (1 + std::abs(values[i])))
            << "gradient of " << "qkv"[which] << ", element " << i;
      EXPECT_EQ(results[which].at(values.size()), 9.0f);
    }
  }
};

TEST_P(AttentionGrad, Full) {
  check({2, 2, 32, 32}, {1, 1, 1});
  check({2, 2, 16, 16}, {2, 7, 13});
  check({2, 1, 64, 32}, {1, 100, 65});
}
TEST_P(AttentionGrad, Causal) {
  for (int64_t length : {1, 2, 47, 48, 49, 64, 131})
    check({4, 2, 32, 32, /*causal=*/true}, {1, length, length});
}
TEST_P(AttentionGrad, FeaturesThatFillNoVector) {
  check({2, 1, 20, 12, /*causal=*/true}, {2, 70, 70});
  check({2, 2, 5, 33}, {1, 9, 66});
}
TEST_P(AttentionGrad, KeyMask) {
  check({4, 2, 32, 32, /*causal=*/false, /*mask=*/true}, {3, 50, 70});
  check({2, 2, 16, 16, /*causal=*/true, /*mask=*/true}, {2, 60, 60});
}
TEST_P(AttentionGrad, Bias) {
  check({4, 2, 16, 16, /*causal=*/false, /*mask=*/true, /*bias=*/true}, {2, 50, 67});
}
TEST_P(AttentionGrad, HalfPrecision) {
  check({2, 1, 40, 40, /*causal=*/true, false, false, "f16"}, {1, 70, 70});
}

INSTANTIATE_TEST_SUITE_P(Targets, AttentionGrad, testing::ValuesIn(kernelTargets()), targetName);

} // namespace
