//===- DecodedWeights.cpp - A module's mixed-precision weights ------------===//

#include "DecodedWeights.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/Npy.h"
#include "tacq/Register.h"

#include <filesystem>

using namespace tacq;
using namespace tacq::tools;

static Error writeWeight(mlir::MLIRContext &context, const ModuleView &view,
                         const format::TensorInfo &info, const std::string &folder) {
  std::string name = textOf(info.name());
  auto type = llvm::dyn_cast_or_null<MixedType>(mlir::parseType(textOf(info.type()), &context));
  auto layout =
      llvm::dyn_cast_or_null<LayoutAttr>(mlir::parseAttribute(textOf(info.layout()), &context));
  if (!type || !layout || sizeOf(info.parts()) == 0)
    return Error(TACQ_INVALID_MODULE, view.name() + ": the tensor '" + name +
                                          "' has no type and layout that can be read");
  const format::Constant &constant =
      *view.metadata().constants()->Get(info.parts()->Get(0)->constant());
  MixedWeight weight;
  if (Error error = unpackMixedWeight(llvm::ArrayRef(view.bytes(constant), constant.size()), type,
                                      layout, weight))
    return Error(error.code(), view.name() + ": the tensor '" + name + "': " + error.message());
  std::vector<float> elements = weight.decode();
  std::string file = name;
  for (char &c : file)
    if (c == '/')
      c = '_';
  if (Error error = writeNpy(folder + "/" + file + ".npy", TACQ_F32, {weight.rows, weight.columns},
                             elements.data()))
    return error;
  if (weight.circuitEntries() == 0)
    return success();
  std::vector<int64_t> circuit;
  for (int64_t row = 0; row < weight.rows; ++row)
    for (uint32_t i = weight.starts[row]; i < weight.starts[row + 1]; ++i)
      circuit.push_back(row * weight.columns + weight.positions[i]);
  return writeNpy(folder + "/circuit/" + file + ".npy", TACQ_I64, {int64_t(circuit.size())},
                  circuit.data());
}

Error tools::writeDecodedWeights(const ModuleView &view, const std::string &folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder + "/circuit", failed);
  if (failed)
    return Error(TACQ_IO, "the folder '" + folder + "' cannot be made: " + failed.message());
  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  const auto *tensors = view.metadata().tensors();
  for (size_t i = 0; i < sizeOf(tensors); ++i)
    if (textOf(tensors->Get(i)->scheme()) == std::string("mixed"))
      if (Error error = writeWeight(context, view, *tensors->Get(i), folder))
        return error;
  return success();
}
