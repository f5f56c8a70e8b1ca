//===- PlanAttributes.cpp - A plan in the IR ------------------------------===//

#include "tacq/Quantize/PlanAttributes.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Quantize/QuantizeModel.h"

using namespace mlir;
using namespace tacq;

static constexpr llvm::StringLiteral tensorAttribute = "tacq.plan";
static constexpr llvm::StringLiteral moduleAttribute = "tacq.circuit_plan";

Error tacq::setPlan(ModuleOp module, const Plan &plan, const std::string &file) {
  std::vector<std::string> known = quantizableWeights(module);
  llvm::append_range(known, quantizableHeads(module));
  Builder builder(module.getContext());
  for (const TensorPlan &tensor : plan.tensors) {
    if (tensor.bits == 16)
      continue;
    if (!llvm::is_contained(known, tensor.name))
      return Error(TACQ_INVALID_INPUT, "the plan names the tensor '" + tensor.name +
                                           "', which is no weight of an attention or MLP "
                                           "projection or of an untied head in '" +
                                           file + "'; tacq-plan lists those that are");
    SmallVector<NamedAttribute> members = {
        builder.getNamedAttr("bits", builder.getI64IntegerAttr(tensor.bits)),
        builder.getNamedAttr("group", builder.getI64IntegerAttr(tensor.group)),
        builder.getNamedAttr("codebook", builder.getBoolAttr(tensor.codebook))};
    if (tensor.circuit)
      members.push_back(builder.getNamedAttr("circuit", builder.getF64FloatAttr(*tensor.circuit)));
    auto param = module.lookupSymbol<ParamOp>(tensor.name);
    param->setAttr(tensorAttribute, builder.getDictionaryAttr(members));
  }
  StringRef layout = circuitLayoutName(plan.circuitLayout);
  module->setAttr(moduleAttribute,
                  builder.getDictionaryAttr(
                      {builder.getNamedAttr("layout", builder.getStringAttr(layout)),
                       builder.getNamedAttr("part", builder.getF64FloatAttr(plan.circuit))}));
  return Error();
}

static Error readTensor(ParamOp param, Attribute attribute, TensorPlan &tensor) {
  tensor.name = param.getSymName().str();
  auto members = dyn_cast<DictionaryAttr>(attribute);
  auto bits = members ? members.getAs<IntegerAttr>("bits") : IntegerAttr();
  auto group = members ? members.getAs<IntegerAttr>("group") : IntegerAttr();
  auto codebook = members ? members.getAs<BoolAttr>("codebook") : BoolAttr();
  if (!bits || !group || !codebook || !llvm::is_contained({2, 3, 4, 8}, bits.getInt()) ||
      group.getInt() < 0)
    return Error(TACQ_INVALID_INPUT,
                 "parameter '" + tensor.name + "': '" + tensorAttribute.str() +
                     "' is {bits = 2, 3, 4 or 8, group = columns or 0, codebook = a bool}");
  tensor.bits = unsigned(bits.getInt());
  tensor.group = group.getInt();
  tensor.codebook = codebook.getValue();
  if (auto circuit = members.getAs<FloatAttr>("circuit"))
    tensor.circuit = circuit.getValueAsDouble();
  return Error();
}

Error tacq::planOf(ModuleOp module, Plan &plan) {
  auto members = module->getAttrOfType<DictionaryAttr>(moduleAttribute);
  auto layout = members ? members.getAs<StringAttr>("layout") : StringAttr();
  auto part = members ? members.getAs<FloatAttr>("part") : FloatAttr();
  std::optional<WeightFormat::Circuit> known;
  if (layout)
    known = parseCircuitLayout(layout.str());
  if (!known || !part)
    return Error(TACQ_INVALID_INPUT, "the module has no plan, or one whose '" +
                                         moduleAttribute.str() +
                                         "' is not {layout = a name, part = a number}: run "
                                         "tacq-plan-weights before");
  plan.circuitLayout = *known;
  plan.circuit = part.getValueAsDouble();
  for (auto param : module.getOps<ParamOp>()) {
    Attribute attribute = param->getAttr(tensorAttribute);
    if (!attribute)
      continue;
    if (Error error = readTensor(param, attribute, plan.tensors.emplace_back()))
      return error;
  }
  return Error();
}
