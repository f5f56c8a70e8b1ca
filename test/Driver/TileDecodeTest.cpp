//===- TileDecodeTest.cpp - What products through matrices multiply -------===//
//
// The shader that decodes weights and rows to f16 needs no cooperative matrices, and so runs on a
// software device. What it leaves in the workspace is compared with the numbers themselves: a
// weight is off by two roundings to f16, one of its low section and one of the sum with the
// circuit's value, or is an exact multiple of the smallest number of f16.
//
//===----------------------------------------------------------------------===//

#include "TestModule.h"
#include "VulkanModule.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/VulkanExecutable.h"
#include <cmath>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;
using Circuit = WeightFormat::Circuit;

namespace {

constexpr double halfEpsilon = 1.0 / 2048, smallestHalf = 1.0 / (1 << 24);
constexpr int64_t pageBytes = 4096, tileFeatures = 128, tileRows = 64;

class TileDecode : public VulkanModule {
protected:
  /// The workspace after rows of `x` with `scales`, and the weight, were decoded.
  std::vector<char> decode(const MixedWeight &weight, int64_t rows, ArrayRef<int8_t> x,
                           ArrayRef<float> scales, int64_t blocks);
  void check(const MixedWeight &weight);
};

std::vector<char> TileDecode::decode(const MixedWeight &weight, int64_t rows, ArrayRef<int8_t> x,
                                     ArrayRef<float> scales, int64_t blocks) {
  auto size = [](int64_t n) { return std::to_string(n); };
  MixedType type = cpuMixedType(&context, weight);
  LayoutAttr layout = cpuMixedLayout(type, !weight.order.empty());
  std::vector<char> packed;
  Error error = packMixedWeight(weight, type, layout, [&](const void *data, size_t count) {
    auto *from = static_cast<const char *>(data);
    packed.insert(packed.end(), from, from + count);
    return true;
  });
  EXPECT_FALSE(error) << error.message();
  int64_t stored = int64_t(x.size()) / rows;
  std::string text, xs = "tensor<" + size(rows) + "x" + size(stored) + "xi8>",
                    ss = "tensor<" + size(rows) + "x" + size(blocks) + "x2xf32>",
                    ys = "tensor<" + size(rows) + "x" + size(weight.rows) + "xf32>";
  llvm::raw_string_ostream stream(text);
  stream << "func.func @k(%x: " << xs << ", %s: " << ss << ", %w: " << type << ") -> " << ys
         << " {\n%y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], "
         << "weight_layouts = [" << layout << "], node_name = \"y\"} : (" << xs << ", " << ss
         << ", " << type << ") -> " << ys << "\nreturn %y : " << ys << "\n}";
  auto source = parseSourceString<ModuleOp>(text, &context);
  EXPECT_TRUE(source);
  // The device's profile, as if it had matrices.
  VulkanProfileAttr profile = vulkanProfile(&context, deviceProfile());
  SmallVector<StringAttr> features(profile.getFeatures());
  features.push_back(StringAttr::get(&context, "matrix16"));
  auto withMatrices =
      VulkanProfileAttr::get(&context, profile.getName(), profile.getSubgroup(),
                             profile.getWorkgroup(), profile.getBuffers(), features);
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(&context));
  OpBuilder builder = OpBuilder::atBlockEnd(kernels->getBody());
  KernelSymbols symbols;
  std::unique_ptr<KernelBuilder> kernel = KernelBuilder::create(
      builder, "k", (*source->getOps<func::FuncOp>().begin()).getBody(), symbols);
  EXPECT_TRUE(emitVulkanVariant(*kernel, withMatrices, 0, /*first=*/true));
  int64_t bytes = *kernel->workspaceSize().constant(), tasks = *kernel->taskCount().constant();
  VulkanShader shader = compileVulkanKernels(*kernels, profile).front();
  EXPECT_EQ(shader.refusal, "");

  tacq_vulkan_header header = {
      TACQ_VULKAN_EXECUTABLE_MAGIC, TACQ_VULKAN_EXECUTABLE_VERSION, 1, 0, 0, 0};
  tacq_vulkan_kernel entry = {};
  entry.code_offset = sizeof(header) + sizeof(entry);
  entry.code_size = shader.code.size() * sizeof(uint32_t);
  entry.read_count = 3;
  entry.buffer_count = 5;
  entry.task_symbol = TACQ_VULKAN_NO_SYMBOL;
  entry.tasks_per_group = shader.tasksPerGroup;
  entry.task_count = tasks;
  entry.variant = entry.first = TACQ_VULKAN_NO_SHADER;
  std::vector<char> code(entry.code_offset + entry.code_size);
  memcpy(code.data(), &header, sizeof(header));
  memcpy(code.data() + sizeof(header), &entry, sizeof(entry));
  memcpy(code.data() + entry.code_offset, shader.code.data(), entry.code_size);
  {
    TestModule module(path);
    uint32_t number = 0, task = module.number(tasks), words = uint32_t(bytes / 4);
    auto input = [&](const char *name, format::ElementType element, int64_t count) {
      return module.addBuffer(format::BufferKind_Input,
                              module.addInput(name, element, {fixed(count)}));
    };
    uint32_t xBuffer = input("x", format::ElementType_I8, int64_t(x.size()));
    uint32_t sBuffer = input("s", format::ElementType_F32, int64_t(scales.size()));
    uint32_t wBuffer = input("w", format::ElementType_U8, int64_t(packed.size()));
    uint32_t output =
        module.addBuffer(format::BufferKind_Output,
                         module.addOutput("workspace", format::ElementType_F32, {fixed(words)}));
    module.endPrologue();
    // The product's result is not written.
    module.dispatch(0, 0, {xBuffer, sBuffer, wBuffer, output, output}, {}, task);
    format::ExecutableT executable;
    executable.driver = "vulkan";
    executable.target = deviceProfile();
    executable.format = "spirv";
    executable.features = shader.features;
    executable.kernels = {"k"};
    module.module().kernel_count = 1;
    require(module.output().addExecutable(executable, code.data(), code.size(), number));
    module.finish();
  }
  std::vector<float> result = run({inputOf(TACQ_I8, {int64_t(x.size())}, x.vec()),
                                   inputOf(TACQ_F32, {int64_t(scales.size())}, scales.vec()),
                                   inputOf(TACQ_U8, {int64_t(packed.size())}, packed)},
                                  {size_t(bytes / 4)})[0];
  auto *from = reinterpret_cast<const char *>(result.data());
  return {from, from + bytes};
}

/// The number of a row and column of a tile, of which the workspace has so many rows.
double numberAt(const std::vector<char> &workspace, int64_t begin, int64_t rowsOfTile, int64_t row,
                int64_t column) {
  // Eight columns of all rows stand side by side, and of four the middle ones are exchanged.
  static const int64_t places[] = {0, 2, 1, 3};
  int64_t quad = column / 8, inQuad = column % 8;
  int64_t half = inQuad / 4 * 4 + places[inQuad % 4];
  uint16_t bits;
  memcpy(&bits, &workspace[size_t(begin + ((quad * rowsOfTile + row) * 8 + half) * 2)], 2);
  return halfToFloat(bits);
}

void TileDecode::check(const MixedWeight &weight) {
  constexpr int64_t rows = 40;
  int64_t columns = weight.columns, stored = (columns + 127) / 128 * 128;
  int64_t block = weight.groups() > 1 ? std::min<int64_t>(weight.format.group, 128) : 128;
  int64_t blocks = (columns + block - 1) / block;
  std::mt19937 random(4);
  std::vector<int8_t> x(size_t(rows * stored));
  std::vector<float> scales(size_t(rows * blocks * 2));
  for (int64_t row = 0; row < rows; ++row) {
    // From the smallest to the largest rows that there are.
    double scale = std::pow(10.0, double(row) * 1.6 - 29);
    for (int64_t i = 0; i < blocks; ++i)
      scales[size_t((row * blocks + i) * 2)] =
          float(scale * std::pow(10.0, -int64_t(random() % 6)));
    for (int64_t k = 0; k < columns; ++k)
      x[size_t(row * stored + k)] = int8_t(int(random() % 255) - 127);
  }
  std::vector<char> workspace = decode(weight, rows, x, scales, blocks);

  std::vector<double> decoded = decodeReference(weight);
  MixedWeight lowSection = weight;
  lowSection.starts.clear();
  std::vector<double> low = decodeReference(lowSection);
  for (int64_t i = 0; i < weight.rows; ++i) {
    int64_t row = weight.order.empty() ? i : weight.order[size_t(i)];
    for (int64_t k = 0; k < columns; ++k) {
      double expected = decoded[size_t(row * columns + k)];
      double most = std::fabs(expected) + std::fabs(low[size_t(row * columns + k)]);
      double actual = numberAt(workspace, pageBytes, tileFeatures, i, k);
      ASSERT_LE(std::fabs(actual - expected), most * halfEpsilon + smallestHalf / 2)
          << "row " << row << " stored as " << i << ", column " << k << ": " << actual << " for "
          << expected;
    }
  }
  int64_t inputAt = pageBytes + stored * tileFeatures * 2;
  int64_t factorsAt = inputAt + stored * tileRows * 2;
  for (int64_t row = 0; row < rows; ++row) {
    float factor;
    memcpy(&factor, &workspace[size_t(factorsAt + row * 4)], 4);
    double largest = 0;
    for (int64_t i = 0; i < blocks; ++i)
      largest = std::max<double>(largest, scales[size_t((row * blocks + i) * 2)]);
    for (int64_t k = 0; k < columns; ++k) {
      double expected =
          double(x[size_t(row * stored + k)]) * scales[size_t((row * blocks + k / block) * 2)];
      double actual = numberAt(workspace, inputAt, tileRows, row, k) * factor;
      // The scale, the number and the row's factor are rounded.
      ASSERT_LE(std::fabs(actual - expected),
                std::fabs(expected) * 2 * halfEpsilon + largest * 1e-7)
          << "row " << row << ", column " << k << ": " << actual << " for " << expected;
    }
  }
}

TEST_F(TileDecode, Formats) {
  const WeightFormat formats[] = {{2, 64, false, Circuit::Slots},
                                  {3, 0, true, Circuit::Slots},
                                  {3, 128, false, Circuit::Scattered},
                                  {4, 32, false, Circuit::None},
                                  {8, 0, false, Circuit::Scattered}};
  for (const WeightFormat &format : formats) {
    SCOPED_TRACE(format.bits);
    check(randomMixedWeight(72, 288, format, 0.03, 1));
  }
}

/// From subnormal weights to the largest ones of f16.
TEST_F(TileDecode, LargeAndSmallWeights) {
  for (unsigned bits : {2u, 3u, 4u, 8u}) {
    SCOPED_TRACE(bits);
    MixedWeight weight = randomMixedWeight(72, 288, {bits, 32, false, Circuit::Slots}, 0.05, 1);
    int64_t groups = weight.groups();
    for (size_t i = 0; i < weight.scales.size(); ++i) {
      double exponent = double(i % 40) - 24; // of the largest weight
      double most = std::max<double>(weight.zeros[i], (1 << bits) - 1 - weight.zeros[i]);
      weight.scales[i] = floatToHalf(float(std::exp2(exponent) * 1.99 / most));
    }
    // Large values beside weights that are not: a difference must not be larger than f16, either.
    for (int64_t n = 0; n < weight.rows; ++n)
      for (uint32_t i = weight.starts[size_t(n)]; i < weight.starts[size_t(n) + 1]; ++i)
        if (size_t(n * groups + weight.positions[i] / 32) % 40 < 36)
          weight.values[i] = floatToHalf(i % 2 ? 50000 : -3000);
    check(weight);
  }
}

} // namespace
