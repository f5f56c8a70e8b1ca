//===- VulkanDenseTest.cpp - Dense products and attention on a device -----===//
//
// Compared with sums in double of the same numbers. Sums in f32 of some hundred products leave 1e-5
// of the results' norm.
//
//===----------------------------------------------------------------------===//

#include "VulkanModule.h"
#include <cmath>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;

namespace {

constexpr double tolerance = 1e-5;

class VulkanDense : public VulkanModule {
protected:
  std::vector<float> numbers(size_t count) {
    std::vector<float> result(count);
    for (float &number : result)
      number = float(int(random() % 2001) - 1000) / 1000;
    return result;
  }
  void expectClose(ArrayRef<float> actual, ArrayRef<double> expected, double bound = tolerance) {
    double difference = 0, norm = 0;
    for (auto [x, y] : llvm::zip(actual, expected)) {
      difference += (x - y) * (x - y);
      norm += y * y;
    }
    EXPECT_LT(std::sqrt(difference / norm), bound);
  }
  struct Product {
    int64_t features, columns;
    bool half = false, halfInput = false; // weights, and all else, are f16
    bool gated = false;
    std::string profile = deviceProfile();
  };
  void checkProduct(const Product &p);
  struct Attention {
    int64_t heads = 4, keyHeads = 2, features = 16, valueFeatures = 16, batch = 1;
    bool causal = false, mask = false, bias = false;
    std::string profile = deviceProfile();
  };
  void checkAttention(const Attention &a, std::vector<std::pair<int64_t, int64_t>> sizes);

  std::mt19937 random{1};
};

/// Numbers of an element type, which are rounded to it, as bytes.
std::vector<char> bytesOf(std::vector<float> &numbers, bool half) {
  std::vector<char> bytes;
  for (float &number : numbers) {
    uint16_t bits = floatToHalf(number);
    if (half)
      number = halfToFloat(bits);
    auto *from = half ? reinterpret_cast<const char *>(&bits) : reinterpret_cast<char *>(&number);
    bytes.insert(bytes.end(), from, from + (half ? 2 : 4));
  }
  return bytes;
}

void VulkanDense::checkProduct(const Product &p) {
  auto count = size_t(p.features);
  std::vector<float> weight = numbers(count * size_t(p.columns)), other = weight,
                     bias = numbers(count), otherBias = numbers(count);
  std::reverse(other.begin(), other.end());
  ParameterStore parameters;
  std::string n = std::to_string(p.features), k = std::to_string(p.columns);
  std::string inner = p.halfInput ? "xf16" : "xf32";
  std::string x = "tensor<?x" + k + inner + ", #tacq.shape<[\"rows\", \"" + k + "\"]>>";
  std::string y = "tensor<?x" + n + inner + ", #tacq.shape<[\"rows\", \"" + n + "\"]>>";
  std::string w = "tensor<" + n + "x" + k + (p.half ? "xf16>" : "xf32>");
  std::string b = "tensor<" + n + inner + ">", text, loads;
  auto add = [&](const std::string &name, const std::string &type, std::vector<float> &values,
                 bool half) {
    parameters.add(name, parameters.own(bytesOf(values, half)));
    text += "tacq.param @" + name + " : " + type + " from <\"w.bin\", 0, 0>\n";
    loads += "%" + name + " = tacq.get_param @" + name + " : " + type + "\n";
  };
  add("w", w, weight, p.half);
  add("b", b, bias, p.halfInput);
  if (p.gated) {
    add("v", w, other, p.half);
    add("c", b, otherBias, p.halfInput);
  }
  text += "func.func @main(%x: " + x + " {tacq.name = \"x\"}) -> (" + y +
          " {tacq.name = \"y\"}) {\n" + loads + "%y = tacq.linear %x, weights(%w" +
          (p.gated ? ", %v" : "") + ") biases(%b" + (p.gated ? ", %c" : "") +
          ") {weight_order = [0 : i32" +
          (p.gated ? ", 0 : i32], gated, activation = 1 : i32" : "]") + ", node_name = \"y\"} : (" +
          x + ", " + w + (p.gated ? ", " + w : "") + ", " + b + (p.gated ? ", " + b : "") +
          ") -> " + y + "\nreturn %y : " + y + "\n}";
  emit(text, p.profile, parameters);
  if (HasFatalFailure())
    return;
  for (int64_t rows : {2, 8, 37, 130}) {
    SCOPED_TRACE(rows);
    std::vector<float> input = numbers(size_t(rows * p.columns));
    std::vector<char> bytes = bytesOf(input, p.halfInput);
    std::vector<double> expected;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t n = 0; n < p.features; ++n) {
        auto sumOf = [&](ArrayRef<float> factors, double sum) {
          for (int64_t k = 0; k < p.columns; ++k)
            sum += double(factors[size_t(n * p.columns + k)]) * input[size_t(row * p.columns + k)];
          return sum;
        };
        double sum = sumOf(weight, bias[size_t(n)]);
        if (p.gated)
          sum = sum / (1 + std::exp(-sum)) * sumOf(other, otherBias[size_t(n)]);
        expected.push_back(sum);
      }
    InputTensor tensor = {
        p.halfInput ? TACQ_F16 : TACQ_F32, {rows, p.columns}, bytes.data(), bytes.size()};
    size_t size = size_t(rows * p.features);
    std::vector<float> actual = run({tensor}, {p.halfInput ? size / 2 : size})[0];
    if (p.halfInput) {
      std::vector<float> words = std::move(actual);
      actual.clear();
      for (size_t i = 0; i < size; ++i) {
        uint16_t bits;
        memcpy(&bits, reinterpret_cast<const char *>(words.data()) + 2 * i, 2);
        actual.push_back(halfToFloat(bits));
      }
    }
    // Results of f16 are rounded to it.
    expectClose(actual, expected, p.halfInput ? 5e-4 : tolerance);
  }
}

TEST_F(VulkanDense, Products) {
  checkProduct({70, 100, /*half=*/true});
  checkProduct({130, 64, /*half=*/false});
  checkProduct({70, 100, /*half=*/false, /*halfInput=*/false, /*gated=*/true});
}

/// What cooperative matrices multiply, on devices that have them.
TEST_F(VulkanDense, ProductsOfHalves) {
  checkProduct({300, 96, /*half=*/true, /*halfInput=*/true});
  checkProduct({200, 64, /*half=*/true, /*halfInput=*/true, /*gated=*/true});
}

TEST_F(VulkanDense, ProductsOfGeneric) {
  checkProduct({70, 100, /*half=*/true, /*halfInput=*/true, /*gated=*/false, "generic"});
}

/// sizes: numbers of queries and of keys.
void VulkanDense::checkAttention(const Attention &a,
                                 std::vector<std::pair<int64_t, int64_t>> sizes) {
  auto text = [](int64_t n) { return std::to_string(n); };
  auto type = [&](const std::vector<std::string> &dims, const std::string &element) {
    std::string shape, encoding;
    for (const std::string &dim : dims) {
      bool isNumber = dim.find_first_not_of("0123456789") == std::string::npos;
      shape += (isNumber ? dim : "?") + "x";
      encoding += (encoding.empty() ? "\"" : ", \"") + dim + "\"";
    }
    return "tensor<" + shape + element + ", #tacq.shape<[" + encoding + "]>>";
  };
  std::string q = type({text(a.batch), "queries", text(a.heads), text(a.features)}, "f32"),
              key = type({text(a.batch), "keys", text(a.keyHeads), text(a.features)}, "f32"),
              v = type({text(a.batch), "keys", text(a.keyHeads), text(a.valueFeatures)}, "f32"),
              m = type({text(a.batch), "keys"}, "i64"),
              bias = type({"1", text(a.heads), "queries", "keys"}, "f32"),
              y = type({text(a.batch), "queries", text(a.heads), text(a.valueFeatures)}, "f32");
  emit("func.func @main(%q: " + q + " {tacq.name = \"q\"}, %k: " + key +
           " {tacq.name = \"k\"}, %v: " + v + " {tacq.name = \"v\"}" +
           (a.mask ? ", %m: " + m + " {tacq.name = \"m\"}" : "") +
           (a.bias ? ", %b: " + bias + " {tacq.name = \"b\"}" : "") + ") -> (" + y +
           " {tacq.name = \"y\"}) {\n%y = tacq.attention %q, %k, %v" +
           (a.mask ? " key_mask(%m)" : "") + (a.bias ? " bias(%b)" : "") + " {scale = 0.3 : f64" +
           (a.causal ? ", causal" : "") +
           ", resultSegmentSizes = array<i32: 1, 0, 0>, node_name = \"y\"} : (" + q + ", " + key +
           ", " + v + (a.mask ? ", " + m : "") + (a.bias ? ", " + bias : "") + ") -> " + y +
           "\nreturn %y : " + y + "\n}",
       a.profile);
  if (HasFatalFailure())
    return;
  for (auto [queries, keys] : sizes) {
    SCOPED_TRACE(keys);
    std::vector<float> qs = numbers(size_t(a.batch * queries * a.heads * a.features)),
                       ks = numbers(size_t(a.batch * keys * a.keyHeads * a.features)),
                       vs = numbers(size_t(a.batch * keys * a.keyHeads * a.valueFeatures)),
                       bs = numbers(size_t(a.heads * queries * keys));
    std::vector<int64_t> ms(size_t(a.batch * keys));
    for (int64_t &visible : ms)
      visible = random() % 3 != 0;
    std::vector<InputTensor> inputs = {
        inputOf(TACQ_F32, {a.batch, queries, a.heads, a.features}, qs),
        inputOf(TACQ_F32, {a.batch, keys, a.keyHeads, a.features}, ks),
        inputOf(TACQ_F32, {a.batch, keys, a.keyHeads, a.valueFeatures}, vs)};
    if (a.mask)
      inputs.push_back(inputOf(TACQ_I64, {a.batch, keys}, ms));
    if (a.bias)
      inputs.push_back(inputOf(TACQ_F32, {1, a.heads, queries, keys}, bs));
    std::vector<double> expected;
    for (int64_t batch = 0; batch < a.batch; ++batch)
      for (int64_t i = 0; i < queries; ++i)
        for (int64_t head = 0; head < a.heads; ++head) {
          int64_t keyHead = head / (a.heads / a.keyHeads);
          double denominator = 0;
          std::vector<double> sums(size_t(a.valueFeatures));
          for (int64_t j = 0; j < (a.causal ? std::min(keys, i + 1) : keys); ++j) {
            if (a.mask && !ms[size_t(batch * keys + j)])
              continue;
            double score = 0;
            for (int64_t c = 0; c < a.features; ++c)
              score +=
                  double(qs[size_t(((batch * queries + i) * a.heads + head) * a.features + c)]) *
                  ks[size_t(((batch * keys + j) * a.keyHeads + keyHead) * a.features + c)];
            score *= 0.3;
            if (a.bias)
              score += bs[size_t((head * queries + i) * keys + j)];
            double weight = std::exp(score);
            denominator += weight;
            for (int64_t c = 0; c < a.valueFeatures; ++c)
              sums[size_t(c)] +=
                  weight *
                  vs[size_t(((batch * keys + j) * a.keyHeads + keyHead) * a.valueFeatures + c)];
          }
          for (double sum : sums)
            expected.push_back(denominator > 0 ? sum / denominator : 0);
        }
    expectClose(run(inputs, {expected.size()})[0], expected);
  }
}

/// Below and above where keys are split, and where a chunk begins.
TEST_F(VulkanDense, ManyKeys) {
  checkAttention({}, {{1, 1}, {1, 1023}, {1, 1024}, {1, 1025}, {1, 1280}, {1, 1281}, {3, 1100}});
}

TEST_F(VulkanDense, ManyKeysOfBatches) {
  Attention a;
  a.batch = 2;
  a.mask = a.bias = true;
  a.valueFeatures = 32;
  // Of the queries, the first ones see none of the later chunks.
  a.causal = true;
  checkAttention(a, {{2, 1030}, {5, 1300}});
  a.causal = false;
  checkAttention(a, {{1, 1537}});
}

/// A cache in place: the last chunk's workgroup attends to the new key, and appends it.
TEST_F(VulkanDense, ManyKeysOfACache) {
  constexpr int64_t heads = 4, keyHeads = 2, features = 16;
  auto type = [&](const std::string &dims, const std::string &shape) {
    return "tensor<" + shape + "xf32, #tacq.shape<[" + dims + "]>>";
  };
  std::string q = type(R"("1", "s", "4", "16")", "1x?x4x16"),
              kv = type(R"("1", "s", "2", "16")", "1x?x2x16"),
              past = type(R"("1", "2", "p", "16")", "1x2x?x16"),
              present = type(R"("1", "2", "p + s", "16")", "1x2x?x16");
  emit("func.func @main(%q: " + q + " {tacq.name = \"q\"}, %k: " + kv +
           " {tacq.name = \"k\"}, %v: " + kv + " {tacq.name = \"v\"}, %pk: " + past +
           " {tacq.name = \"past_key_values.0.key\"}, %pv: " + past +
           " {tacq.name = \"past_key_values.0.value\"}) -> (" + q + " {tacq.name = \"y\"}, " +
           present + " {tacq.name = \"present.0.key\"}, " + present +
           " {tacq.name = \"present.0.value\"}) {\n%y:3 = tacq.attention %q, %k, %v past(%pk, %pv) "
           "{scale = 0.3 : f64, causal, resultSegmentSizes = array<i32: 1, 1, 1>, node_name = "
           "\"y\"} : (" +
           q + ", " + kv + ", " + kv + ", " + past + ", " + past + ") -> (" + q + ", " + present +
           ", " + present + ")\nreturn %y#0, %y#1, %y#2 : " + q + ", " + present + ", " + present +
           "\n}",
       deviceProfile());
  if (HasFatalFailure())
    return;
  tacq_module_t *module = nullptr;
  tacq_session_t *session = nullptr;
  tacq_session_options_t options = {};
  options.struct_size = sizeof(options);
  options.stateful = 1;
  options.cache_capacity = 1100;
  good(tacq_module_open(runtime, path.c_str(), nullptr, &module));
  good(tacq_session_create(module, device, &options, &session));
  std::vector<float> keys, values;
  for (int64_t count : {1022, 1, 1, 1, 1}) {
    SCOPED_TRACE(keys.size() / (keyHeads * features));
    std::vector<float> qs = numbers(size_t(count * heads * features)),
                       ks = numbers(size_t(count * keyHeads * features)),
                       vs = numbers(size_t(count * keyHeads * features)), y(qs.size());
    keys.insert(keys.end(), ks.begin(), ks.end());
    values.insert(values.end(), vs.begin(), vs.end());
    int64_t dims[] = {1, count, heads, features}, keyDims[] = {1, count, keyHeads, features};
    good(tacq_session_set_input_data(session, 0, TACQ_F32, dims, 4, qs.data(), qs.size() * 4));
    good(tacq_session_set_input_data(session, 1, TACQ_F32, keyDims, 4, ks.data(), ks.size() * 4));
    good(tacq_session_set_input_data(session, 2, TACQ_F32, keyDims, 4, vs.data(), vs.size() * 4));
    good(tacq_session_run(session));
    good(tacq_session_copy_output(session, 0, y.data(), y.size() * 4));
    if (count > 1)
      continue;
    auto total = int64_t(keys.size()) / (keyHeads * features);
    std::vector<double> expected;
    for (int64_t head = 0; head < heads; ++head) {
      double denominator = 0;
      std::vector<double> sums(features);
      for (int64_t j = 0; j < total; ++j) {
        size_t row = size_t((j * keyHeads + head / (heads / keyHeads)) * features);
        double score = 0;
        for (size_t c = 0; c < size_t(features); ++c)
          score += double(qs[size_t(head * features) + c]) * keys[row + c];
        double weight = std::exp(0.3 * score);
        denominator += weight;
        for (size_t c = 0; c < size_t(features); ++c)
          sums[c] += weight * values[row + c];
      }
      for (double sum : sums)
        expected.push_back(sum / denominator);
    }
    expectClose(y, expected);
  }
  tacq_session_release(session);
  tacq_module_release(module);
}

/// A chunk for an invocation: features are no multiple of a subgroup's size, or that is not known.
TEST_F(VulkanDense, ManyKeysWithoutSubgroups) {
  Attention a;
  a.features = 10;
  a.valueFeatures = 12;
  a.mask = true;
  checkAttention(a, {{1, 191}, {1, 192}, {1, 193}, {2, 257}});
  a.profile = "generic";
  a.bias = true;
  checkAttention(a, {{1, 191}, {1, 256}, {1, 257}});
}

} // namespace
