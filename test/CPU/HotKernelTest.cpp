//===- HotKernelTest.cpp - Runs the kernel of one operation ---------------===//

#include "HotKernelTest.h"
#include "KernelServer.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/APFloat.h"
#include <cstring>
#include <random>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;

static const llvm::fltSemantics &semantics(const std::string &type) {
  return type == "f16" ? llvm::APFloat::IEEEhalf() : llvm::APFloat::BFloat();
}

static unsigned widthOf(const std::string &type) {
  return type == "f32" ? 4 : type == "i64" ? 8 : type == "i1" ? 1 : 2;
}

Tensor Tensor::filled(size_t count, const std::string &type, float value) {
  Tensor tensor{type, widthOf(type), {}};
  tensor.bytes.resize(count * tensor.width);
  for (size_t i = 0; i < count; ++i)
    tensor.set(i, value);
  return tensor;
}

Tensor Tensor::random(size_t count, const std::string &type, unsigned seed, float scale) {
  Tensor tensor{type, widthOf(type), {}};
  tensor.bytes.resize(count * tensor.width);
  std::mt19937 generator(seed);
  for (size_t i = 0; i < count; ++i)
    tensor.set(i, scale * (float(generator() >> 8) / float(1 << 23) - 1.0f));
  return tensor;
}

float Tensor::at(size_t i) const {
  const char *from = bytes.data() + i * width;
  if (type == "f32") {
    float value;
    std::memcpy(&value, from, 4);
    return value;
  }
  if (type == "i1")
    return float(*from);
  if (type == "i64") {
    int64_t value;
    std::memcpy(&value, from, 8);
    return float(value);
  }
  uint16_t bits;
  std::memcpy(&bits, from, 2);
  llvm::APFloat value(semantics(type), llvm::APInt(16, bits));
  bool lossy;
  value.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &lossy);
  return value.convertToFloat();
}

void Tensor::set(size_t i, float number) {
  char *to = bytes.data() + i * width;
  if (type == "f32") {
    std::memcpy(to, &number, 4);
  } else if (type == "i1") {
    *to = char(number);
  } else if (type == "i64") {
    int64_t value = int64_t(number);
    std::memcpy(to, &value, 8);
  } else {
    llvm::APFloat value(number);
    bool lossy;
    value.convert(semantics(type), llvm::APFloat::rmNearestTiesToEven, &lossy);
    uint16_t bits = uint16_t(value.bitcastToAPInt().getZExtValue());
    std::memcpy(to, &bits, 2);
  }
}

float test::roundTo(const std::string &type, float value) {
  Tensor tensor = Tensor::filled(1, type, value);
  return tensor.at(0);
}

HotKernel HotKernel::compile(llvm::StringRef text, const CpuTarget &target,
                             const KernelOptions &options, std::string *assembly) {
  HotKernel result;
  std::unique_ptr<MLIRContext> context = makeContext();
  auto module = parseSourceString<ModuleOp>(text, context.get());
  if (!module) {
    ADD_FAILURE() << "the text does not parse";
    return result;
  }
  auto function = *module->getOps<func::FuncOp>().begin();
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(UnknownLoc::get(context.get()));
  OpBuilder builder = OpBuilder::atBlockEnd(kernels->getBody());
  std::unique_ptr<KernelBuilder> kernel =
      KernelBuilder::create(builder, "k", function.getBody(), result.symbols);
  if (failed(emitCpuKernel(*kernel, target, options))) {
    ADD_FAILURE() << "no kernel for this operation";
    return result;
  }
  result.tasks = kernel->taskCount();
  result.workspace = kernel->workspaceSize();
  result.kernels = LoadedKernels::compile(*kernels, target, assembly);
  EXPECT_TRUE(result.kernels.loaded());
  return result;
}

int64_t HotKernel::evaluate(const Sym &sym, const std::map<std::string, int64_t> &dims) const {
  return *sym.evaluate(
      [&](llvm::StringRef name) -> std::optional<int64_t> { return dims.at(name.str()); });
}

void HotKernel::run(const std::vector<Tensor *> &bindings,
                    const std::map<std::string, int64_t> &dims, int pieces) {
  if (!kernels.loaded())
    return;
  std::vector<int64_t> values;
  for (const Sym &sym : symbols.list())
    values.push_back(evaluate(sym, dims));
  if (kernels.remoteNumber() >= 0) {
    std::vector<std::vector<char> *> buffers;
    for (Tensor *tensor : bindings)
      buffers.push_back(&tensor->bytes);
    EXPECT_EQ(KernelServer::get()->run(kernels.remoteNumber(), buffers, values,
                                       evaluate(tasks, dims), pieces),
              0);
    return;
  }
  std::vector<void *> pointers;
  for (Tensor *tensor : bindings)
    pointers.push_back(tensor->data());
  EXPECT_EQ(test::run(kernels.find("k"), pointers, values, evaluate(tasks, dims), pieces), 0);
}
