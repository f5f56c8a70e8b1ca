//===- AttentionTest.cpp - Attention against a scalar reference -----------===//

#include "HotKernelTest.h"
#include <cmath>

using namespace tacq;
using namespace tacq::test;

namespace {

struct Case {
  int64_t heads, keyHeads, features, valueFeatures;
  std::string type = "f32";
  bool cache = false, causal = false, perHeadBias = false;
  std::string mask = {}; // element type of the key mask, if there is one
  bool bias = false;
  bool capacity = false; // the cache has room; it is used in place
  bool poisoned = false; // the queries of one head are NaN
  bool rope = false;     // the rotary embeddings of queries and keys are part of the kernel
  bool attendAppends = false;
};

std::string tensor(const std::vector<std::string> &dims, const std::string &type) {
  std::string shape, encoding;
  bool isStatic = true;
  for (const std::string &dim : dims) {
    bool number = dim.find_first_not_of("0123456789") == std::string::npos;
    shape += (number ? dim : "?") + "x";
    encoding += (encoding.empty() ? "\"" : ", \"") + dim + "\"";
    isStatic &= number;
  }
  return "tensor<" + shape + type + (isStatic ? "" : ", #tacq.shape<[" + encoding + "]>") + ">";
}

std::string describe(const Case &c) {
  auto number = [](int64_t n) { return std::to_string(n); };
  std::string total = c.cache ? "past + sequence" : "total", added = c.cache ? "sequence" : "total";
  std::vector<std::pair<std::string, std::string>> arguments = {
      {"%q", tensor({"batch", "sequence", number(c.heads), number(c.features)}, c.type)},
      {"%k", tensor({"batch", added, number(c.keyHeads), number(c.features)}, c.type)},
      {"%v", tensor({"batch", added, number(c.keyHeads), number(c.valueFeatures)}, c.type)}};
  std::string text = c.rope ? "tacq.attention %rq, %rk, %v" : "tacq.attention %q, %k, %v";
  if (c.cache) {
    arguments.push_back(
        {"%pk", tensor({"batch", number(c.keyHeads), "past", number(c.features)}, c.type)});
    arguments.push_back(
        {"%pv", tensor({"batch", number(c.keyHeads), "past", number(c.valueFeatures)}, c.type)});
    text += " past(%pk, %pv)";
  }
  if (!c.mask.empty()) {
    arguments.push_back({"%m", tensor({"batch", total}, c.mask)});
    text += " key_mask(%m)";
  }
  if (c.bias) {
    arguments.push_back(
        {"%b", tensor({"1", c.perHeadBias ? number(c.heads) : "1", "sequence", total}, "f32")});
    text += " bias(%b)";
  }
  std::string ropes;
  std::string rotated = arguments[0].second;
  if (c.rope) {
    std::string table = tensor({"1", "sequence", number(c.features / 2)}, "f32");
    for (unsigned i : {0, 1}) {
      std::string type = arguments[i].second, name = i == 0 ? "q" : "k";
      ropes += "  %r" + name + " = tacq.rope %" + name + ", %cos, %sin {node_name = \"" + name +
               "\"} : (" + type + ", " + table + ", " + table + ") -> " + type + "\n";
    }
  }
  std::string results =
      tensor({"batch", "sequence", number(c.heads), number(c.valueFeatures)}, c.type);
  if (c.cache)
    results += ", " + tensor({"batch", number(c.keyHeads), total, number(c.features)}, c.type) +
               ", " + tensor({"batch", number(c.keyHeads), total, number(c.valueFeatures)}, c.type);
  std::string list, types;
  if (c.rope) {
    std::string table = tensor({"1", "sequence", number(c.features / 2)}, "f32");
    list = "%cos: " + table + ", %sin: " + table;
  }
  for (auto &[name, type] : arguments) {
    list += (list.empty() ? "" : ", ") + name + ": " + type;
    types += (types.empty() ? "" : ", ") + type;
  }
  std::string names = c.cache ? "%y#0, %y#1, %y#2" : "%y#0";
  std::string yielded = results + (c.rope ? ", " + rotated : "");
  return "func.func @k(" + list + ") -> (" + yielded + ") {\n" + ropes +
         "  %y:" + (c.cache ? "3" : "1") + " = " + text + " {scale = 0.3 : f64" +
         (c.causal ? ", causal" : "") + ", resultSegmentSizes = array<i32: 1, " +
         (c.cache ? "1, 1" : "0, 0") + ">, node_name = \"y\"} : (" + types + ") -> (" + results +
         ")\n  return " + names + (c.rope ? ", %rq" : "") + " : " + yielded + "\n}\n";
}

/// The rotary embedding of heads, with tables of f32 for each position.
Tensor rotate(const Tensor &x, const Tensor &cosines, const Tensor &sines, int64_t sequence,
              int64_t heads, int64_t features) {
  Tensor result = x;
  int64_t pairs = features / 2;
  for (size_t row = 0; row < x.size() / features; ++row)
    for (int64_t i = 0; i < pairs; ++i) {
      size_t low = row * features + i, at = row / heads % sequence * pairs + i;
      double c = cosines.at(at), s = sines.at(at), first = x.at(low), second = x.at(low + pairs);
      result.set(low, float(first * c - second * s));
      result.set(low + pairs, float(second * c + first * s));
    }
  return result;
}

struct Sizes {
  int64_t batch, sequence, past;
};

class Attention : public testing::TestWithParam<CpuTarget> {
protected:
  void check(const Case &c, const std::vector<Sizes> &sizes) {
    std::string text = describe(c);
    KernelOptions options;
    if (c.capacity)
      options.capacity = Sym::name("capacity");
    options.attendAppends = c.attendAppends;
    HotKernel kernel = HotKernel::compile(text, GetParam(), options);
    HotKernel append;
    if (c.cache) {
      options.append = true;
      append = HotKernel::compile(text, GetParam(), options);
    }
    for (const Sizes &size : sizes) {
      SCOPED_TRACE("batch " + std::to_string(size.batch) + " sequence " +
                   std::to_string(size.sequence) + " past " + std::to_string(size.past));
      checkOne(c, size, kernel, append);
    }
  }

  void checkOne(const Case &c, const Sizes &size, HotKernel &kernel, HotKernel &append) {
    int64_t total = size.past + size.sequence, added = c.cache ? size.sequence : total;
    int64_t capacity = c.capacity ? total + 5 : total;
    auto count = [](std::initializer_list<int64_t> dims) {
      int64_t n = 1;
      for (int64_t dim : dims)
        n *= dim;
      return size_t(n);
    };
    Tensor q =
        Tensor::random(count({size.batch, size.sequence, c.heads, c.features}), c.type, 1, 2);
    if (c.poisoned)
      for (int64_t s = 0; s < size.sequence; ++s)
        q.set((s * c.heads + 1) * c.features, NAN);
    Tensor k = Tensor::random(count({size.batch, added, c.keyHeads, c.features}), c.type, 2);
    Tensor v = Tensor::random(count({size.batch, added, c.keyHeads, c.valueFeatures}), c.type, 3);
    Tensor pastK =
        Tensor::random(count({size.batch, c.keyHeads, size.past, c.features}), c.type, 4);
    Tensor pastV =
        Tensor::random(count({size.batch, c.keyHeads, size.past, c.valueFeatures}), c.type, 5);
    Tensor mask = Tensor::filled(count({size.batch, total}), c.mask.empty() ? "i1" : c.mask, 1);
    if (!c.mask.empty())
      // Left padding; the last sequence of a batch sees nothing at all.
      for (int64_t b = 0; b < size.batch; ++b)
        for (int64_t t = 0; t < total; ++t)
          mask.set(b * total + t, b > 0 && b + 1 == size.batch ? 0 : t >= b + 2 || total < 3);
    int64_t biasHeads = c.perHeadBias ? c.heads : 1;
    Tensor bias = Tensor::random(count({biasHeads, size.sequence, total}), "f32", 6, 3);
    Tensor out =
        Tensor::filled(count({size.batch, size.sequence, c.heads, c.valueFeatures}) + 1, c.type, 9);
    // Unused room of the cache is NaN: it must not be looked at.
    Tensor presentK =
        Tensor::filled(count({size.batch, c.keyHeads, capacity, c.features}), c.type, NAN);
    Tensor presentV =
        Tensor::filled(count({size.batch, c.keyHeads, capacity, c.valueFeatures}), c.type, NAN);
    if (c.capacity)
      for (int64_t head = 0; head < size.batch * c.keyHeads; ++head) {
        for (int64_t i = 0; i < size.past * c.features; ++i)
          presentK.set(head * capacity * c.features + i,
                       pastK.at(head * size.past * c.features + i));
        for (int64_t i = 0; i < size.past * c.valueFeatures; ++i)
          presentV.set(head * capacity * c.valueFeatures + i,
                       pastV.at(head * size.past * c.valueFeatures + i));
      }
    Tensor cosines = Tensor::random(size.sequence * c.features / 2, "f32", 7);
    Tensor sines = Tensor::random(size.sequence * c.features / 2, "f32", 8);
    std::vector<Tensor *> bindings = {&q, &k, &v};
    Tensor rawQ = q, rawK = k, yieldedQ = Tensor::filled(q.size(), c.type, 0);
    if (c.rope) {
      bindings = {&cosines, &sines, &rawQ, &rawK, &v};
      q = rotate(rawQ, cosines, sines, size.sequence, c.heads, c.features);
      k = rotate(rawK, cosines, sines, size.sequence, c.keyHeads, c.features);
    }
    if (c.cache)
      bindings.insert(bindings.end(), {&pastK, &pastV});
    if (!c.mask.empty())
      bindings.push_back(&mask);
    if (c.bias)
      bindings.push_back(&bias);
    bindings.push_back(&out);
    if (c.cache)
      bindings.insert(bindings.end(), {&presentK, &presentV});
    if (c.rope)
      bindings.push_back(&yieldedQ);
    std::map<std::string, int64_t> dims = {{"batch", size.batch},
                                           {"sequence", size.sequence},
                                           {"past", size.past},
                                           {"total", total},
                                           {"capacity", capacity}};
    // Its first page holds zeros, before and after.
    Tensor workspace = Tensor::filled(kernel.evaluate(kernel.workspace, dims) / 4, "f32", NAN);
    size_t page = std::min<size_t>(workspace.size(), 1024);
    for (size_t i = 0; i < page; ++i)
      workspace.set(i, 0);
    bindings.push_back(&workspace);
    if (c.cache)
      append.run(bindings, dims);
    kernel.run(bindings, dims);
    for (size_t i = 0; i < page; ++i)
      ASSERT_EQ(workspace.at(i), 0.0f);

    auto key = [&](bool value, int64_t b, int64_t head, int64_t t, int64_t i) {
      int64_t d = value ? c.valueFeatures : c.features;
      if (c.cache && t < size.past)
        return double(
            (value ? pastV : pastK).at(((b * c.keyHeads + head) * size.past + t) * d + i));
      int64_t at = t - (c.cache ? size.past : 0);
      return double((value ? v : k).at(((b * added + at) * c.keyHeads + head) * d + i));
    };
    if (c.cache)
      for (int64_t b = 0; b < size.batch; ++b)
        for (int64_t head = 0; head < c.keyHeads; ++head)
          for (int64_t t = 0; t < total; ++t)
            ASSERT_NEAR(presentK.at(((b * c.keyHeads + head) * capacity + t) * c.features),
                        key(false, b, head, t, 0), c.rope ? 2e-3 : 0)
                << "key " << t;
    double tolerance = c.type == "f32" ? 2e-5 : 2e-3;
    for (int64_t b = 0; b < size.batch; ++b)
      for (int64_t s = 0; s < size.sequence; ++s)
        for (int64_t h = 0; h < c.heads; ++h) {
          int64_t keyHead = h / (c.heads / c.keyHeads);
          int64_t row = (b * size.sequence + s) * c.heads + h;
          std::vector<double> weights(total, 0.0);
          double sum = 0, largest = -INFINITY;
          for (int pass = 0; pass < 2; ++pass)
            for (int64_t t = 0; t < total; ++t) {
              bool visible = (!c.causal || t <= s + (c.cache ? size.past : 0)) &&
                             (c.mask.empty() || mask.at(b * total + t) != 0);
              double score = 0;
              for (int64_t i = 0; i < c.features; ++i)
                score += 0.3 * q.at(row * c.features + i) * key(false, b, keyHead, t, i);
              if (c.bias)
                score += bias.at(((c.perHeadBias ? h : 0) * size.sequence + s) * total + t);
              if (!visible)
                continue;
              if (pass == 0) {
                largest = std::max(largest, score);
              } else {
                weights[t] = std::exp(score - largest);
                sum += weights[t];
              }
            }
          for (int64_t i = 0; i < c.valueFeatures; ++i) {
            double expected = 0;
            for (int64_t t = 0; t < total && sum != 0; ++t)
              expected += weights[t] / sum * key(true, b, keyHead, t, i);
            if (std::isnan(expected)) {
              ASSERT_TRUE(std::isnan(out.at(row * c.valueFeatures + i)));
              continue;
            }
            ASSERT_NEAR(out.at(row * c.valueFeatures + i), expected, tolerance)
                << "batch " << b << " position " << s << " head " << h << " feature " << i;
          }
        }
    EXPECT_EQ(out.at(out.size() - 1), 9.0f);
  }
};

TEST_P(Attention, WithoutCache) {
  check({4, 4, 32, 32}, {{1, 1, 0}, {2, 7, 0}, {1, 70, 60}});
  check({4, 2, 20, 12}, {{1, 5, 0}, {2, 65, 0}});
}
TEST_P(Attention, Causal) {
  Case c{4, 2, 64, 64};
  c.causal = true;
  check(c, {{1, 1, 0}, {1, 2, 0}, {2, 64, 0}, {1, 131, 0}});
}
TEST_P(Attention, CacheInPlace) {
  Case c{8, 4, 32, 32};
  c.causal = c.cache = c.capacity = true;
  check(c, {{1, 1, 0}, {1, 1, 1}, {1, 1, 63}, {1, 1, 64}, {2, 1, 200}, {1, 5, 17}, {2, 70, 9}});
}
TEST_P(Attention, CacheWithoutRoomIsCopied) {
  Case c{4, 2, 16, 24};
  c.causal = c.cache = true;
  check(c, {{1, 1, 0}, {2, 3, 70}, {1, 66, 1}});
}
TEST_P(Attention, KeyMask) {
  for (const char *type : {"i1", "i64"}) {
    Case c{4, 2, 32, 32};
    c.causal = c.cache = c.capacity = true;
    c.mask = type;
    check(c, {{1, 4, 0}, {3, 1, 6}, {3, 40, 30}});
  }
}
TEST_P(Attention, Bias) {
  Case c{4, 2, 32, 32};
  c.bias = true;
  check(c, {{2, 5, 0}, {1, 70, 0}});
  c.perHeadBias = true;
  c.cache = c.capacity = true;
  check(c, {{2, 1, 20}, {1, 9, 70}});
}
TEST_P(Attention, FewQueries) {
  // One query and a few, in every tile of query heads by keys, and chunks of the keys.
  for (int64_t group : {1, 3, 8, 12}) {
    Case c{2 * group, 2, 24, 40, "f16"};
    c.causal = c.cache = c.capacity = true;
    check(c, {{1, 1, 0}, {1, 1, 255}, {1, 2, 255}, {2, 2, 700}});
  }
  Case c{70, 70, 16, 16};
  c.causal = c.cache = c.capacity = true;
  check(c, {{1, 1, 600}});
}
TEST_P(Attention, NotANumberStaysInItsHead) {
  Case c{8, 2, 16, 16};
  c.causal = c.cache = c.capacity = c.poisoned = true;
  check(c, {{1, 1, 7}, {1, 1, 300}, {1, 20, 50}});
}
TEST_P(Attention, AppendedWhileAttending) {
  Case c{8, 2, 32, 32, "f16"};
  c.causal = c.cache = c.capacity = c.attendAppends = true;
  check(c, {{1, 1, 0}, {1, 1, 256}, {2, 2, 255}, {1, 20, 50}});
  c.rope = true;
  check(c, {{1, 1, 0}, {1, 1, 300}, {1, 2, 255}, {2, 20, 50}});
  c.attendAppends = false;
  check(c, {{1, 1, 300}, {1, 70, 3}});
}
TEST_P(Attention, HalfPrecision) {
  Case c{6, 2, 40, 40, "f16"};
  c.causal = c.cache = c.capacity = true;
  check(c, {{1, 1, 0}, {1, 1, 100}, {2, 50, 20}});
}

INSTANTIATE_TEST_SUITE_P(Targets, Attention, testing::ValuesIn(kernelTargets()), targetName);

} // namespace
