//===- KernelCases.cpp - Kernels to be measured ---------------------------===//

#include "KernelCases.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/CPU/WeightPacking.h"
#include "tacq/Quantize/RandomCircuit.h"
#include "llvm/Support/MathExtras.h"
#include <random>

using namespace mlir;
using namespace tacq;
using Circuit = WeightFormat::Circuit;

/// Rows of a vector may be stored in whole registers.
constexpr size_t behindBuffers = 256;

static std::string tensorType(std::initializer_list<int64_t> dims, const char *element) {
  std::string text = "tensor<";
  for (int64_t dim : dims)
    text += std::to_string(dim) + "x";
  return text + element + ">";
}

/// Numbers of f16 from 2^-6 to 2^-5.
static void fillHalves(std::vector<uint8_t> &bytes, std::mt19937 &random) {
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    uint16_t half = 0x2400 + random() % 1024;
    bytes[i] = half & 255;
    bytes[i + 1] = half >> 8;
  }
}

//===----------------------------------------------------------------------===//
// Linear
//===----------------------------------------------------------------------===//

MixedWeight tacq::randomWeight(const KernelBenchmarkOptions &options) {
  std::mt19937 random(7);
  MixedWeight weight;
  weight.rows = options.outputs;
  weight.columns = options.inputs;
  weight.format = options.format;
  unsigned mask = (1u << weight.format.bits) - 1;
  weight.codes.resize(weight.rows * weight.columns);
  for (uint8_t &code : weight.codes)
    code = (random() >> 8) & mask;
  // f16 numbers from 2^-6 on.
  weight.scales.resize(weight.rows * weight.groups());
  for (uint16_t &scale : weight.scales)
    scale = 0x2400 + random() % 512;
  if (weight.format.codebook) {
    weight.levels.resize(weight.rows << weight.format.bits);
    for (uint8_t &level : weight.levels)
      level = random() >> 8;
  } else {
    weight.zeros.resize(weight.scales.size());
    for (uint8_t &zero : weight.zeros)
      zero = (random() >> 8) & mask;
  }
  CircuitMask circuit = randomCircuit(weight.rows, weight.columns, weight.format.circuit,
                                      options.circuitShare, random());
  if (circuit.empty())
    weight.format.circuit = Circuit::None;
  weight.starts = std::move(circuit.starts);
  weight.positions = std::move(circuit.positions);
  weight.order = std::move(circuit.order);
  weight.values.resize(weight.positions.size());
  for (uint16_t &value : weight.values)
    value = 0x3000 + random() % 1024;
  return weight;
}

/// Columns of a block of the quantized input.
static int64_t blockOf(const KernelBenchmarkOptions &options) {
  int64_t group = options.format.group;
  return group == 0 || group >= options.inputs ? quantizedColumns
                                               : std::min(group, quantizedColumns);
}

static Error makeLinear(const KernelBenchmarkOptions &options, MLIRContext &context,
                        KernelCase &result) {
  std::mt19937 random(7);
  int64_t m = options.rows, n = options.outputs, k = options.inputs;
  bool dense = options.format.bits == 16;
  auto write = [&](const void *data, size_t size) {
    auto *bytes = static_cast<const uint8_t *>(data);
    result.streamed.insert(result.streamed.end(), bytes, bytes + size);
    return true;
  };
  std::string weightType, layoutText;
  llvm::raw_string_ostream typeStream(weightType), layoutStream(layoutText);
  if (dense) {
    std::vector<uint8_t> numbers(n * k * sizeof(uint16_t));
    fillHalves(numbers, random);
    auto layout = PanelAttr::get(&context, cpuPanelWidth, Float16Type::get(&context));
    packWeight(numbers.data(), WeightOrder::NK, n, k, layout, write);
    typeStream << RankedTensorType::get({n, k}, Float16Type::get(&context));
    layoutStream << layout;
  } else {
    MixedWeight made;
    if (!options.weight)
      made = randomWeight(options);
    const MixedWeight &weight = options.weight ? *options.weight : made;
    MixedType type = cpuMixedType(&context, weight);
    LayoutAttr layout = cpuMixedLayout(type, !weight.order.empty());
    if (Error error = packMixedWeight(weight, type, layout, write))
      return error;
    typeStream << withoutCount(type);
    layoutStream << layout;
  }
  result.bitsPerWeight = 8.0 * double(result.streamed.size()) / double(n * k);
  result.macs = double(m) * double(n) * double(k);
  result.integers = !dense;

  std::string y = tensorType({m, n}, "f16"), x, scales;
  if (dense) {
    x = tensorType({m, k}, "f16");
    fillHalves(result.buffers.emplace_back(m * k * sizeof(uint16_t) + behindBuffers), random);
    result.bindings = {0, ~0, 1};
  } else {
    auto stored = int64_t(llvm::alignTo(k, quantizedColumns));
    auto blocks = int64_t(llvm::divideCeil(k, blockOf(options)));
    x = tensorType({m, stored}, "i8");
    scales = tensorType({m, blocks, 2}, "f32");
    for (uint8_t &byte : result.buffers.emplace_back(m * stored + behindBuffers))
      byte = uint8_t(int(random() % 255) - 127);
    std::vector<float> numbers(m * blocks * 2, 0.01f);
    auto *bytes = reinterpret_cast<const uint8_t *>(numbers.data());
    result.buffers.emplace_back(bytes, bytes + numbers.size() * sizeof(float));
    result.bindings = {0, 1, ~0, 2};
  }
  result.buffers.emplace_back(m * n * sizeof(uint16_t) + behindBuffers);
  result.text = "func.func @k(%x: " + x + (dense ? "" : ", %s: " + scales) + ", %w: " + weightType +
                ") -> " + y + " {\n  %y = tacq.linear %x" + (dense ? "" : " x_scales(%s)") +
                ", weights(%w) {weight_order = [0 : i32], weight_layouts = [" + layoutText +
                "], node_name = \"y\"} : (" + x + (dense ? "" : ", " + scales) + ", " + weightType +
                ") -> " + y + "\n  return %y : " + y + "\n}\n";
  return Error();
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

static Error makeAttention(const KernelBenchmarkOptions &options, KernelCase &result) {
  if (options.heads % options.keyHeads != 0)
    return makeError(
        TACQ_INVALID_ARGUMENT, "%lld heads are not shared evenly by %lld heads of keys and values",
        static_cast<long long>(options.heads), static_cast<long long>(options.keyHeads));
  std::mt19937 random(7);
  int64_t rows = options.rows, heads = options.heads, keyHeads = options.keyHeads;
  int64_t size = options.headSize, total = options.past + rows;
  std::string q = tensorType({1, rows, heads, size}, "f16");
  std::string kv = tensorType({1, rows, keyHeads, size}, "f16");
  std::string past = tensorType({1, keyHeads, options.past, size}, "f16");
  std::string present = tensorType({1, keyHeads, total, size}, "f16");
  result.text = "func.func @k(%q: " + q + ", %k: " + kv + ", %v: " + kv + ", %pk: " + past +
                ", %pv: " + past + ") -> (" + q + ", " + present + ", " + present +
                ") {\n  %y:3 = tacq.attention %q, %k, %v past(%pk, %pv) {scale = 0.1 : f64, "
                "causal, resultSegmentSizes = array<i32: 1, 1, 1>, node_name = \"y\"} : (" +
                q + ", " + kv + ", " + kv + ", " + past + ", " + past + ") -> (" + q + ", " +
                present + ", " + present + ")\n  return %y#0, %y#1, %y#2 : " + q + ", " + present +
                ", " + present + "\n}\n";
  int64_t cacheBytes = keyHeads * total * size * int64_t(sizeof(uint16_t));
  int64_t valuesAt = int64_t(llvm::alignTo(cacheBytes, 64));
  result.streamed.resize(valuesAt + cacheBytes);
  fillHalves(result.streamed, random);
  fillHalves(result.buffers.emplace_back(rows * heads * size * 2 + behindBuffers), random);
  fillHalves(result.buffers.emplace_back(rows * keyHeads * size * 2 + behindBuffers), random);
  result.buffers.emplace_back(rows * heads * size * 2 + behindBuffers);
  // The past lies in the present buffers; keys and values were appended before.
  result.bindings = {0, 1, 1, ~0, ~valuesAt, 2, ~0, ~valuesAt};
  // Query i sees past + i + 1 entries, once as keys and once as values.
  double seen = double(rows) * double(options.past) + double(rows) * double(rows + 1) / 2;
  result.macs = 2 * seen * double(heads) * double(size);
  return Error();
}

Error tacq::makeKernelCase(const KernelBenchmarkOptions &options, MLIRContext &context,
                           KernelCase &result) {
  return options.kernel == KernelBenchmarkOptions::Kernel::Attention
             ? makeAttention(options, result)
             : makeLinear(options, context, result);
}
