//===- TACQDialect.cpp - The tensor-level dialect -------------------------===//

#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tacq;

#include "tacq/Dialect/TACQ/TACQDialect.cpp.inc"
#include "tacq/Dialect/TACQ/TACQEnums.cpp.inc"
/// "4096x4096": a lexer of its own, since 0x10 is a number elsewhere.
static ParseResult parseExtents(AsmParser &parser, int64_t &rows, int64_t &columns) {
  SmallVector<int64_t> extents;
  SMLoc place = parser.getCurrentLocation();
  if (parser.parseDimensionList(extents, /*allowDynamic=*/false, /*withTrailingX=*/false))
    return failure();
  if (extents.size() != 2)
    return parser.emitError(place, "expected two extents");
  rows = extents[0];
  columns = extents[1];
  return success();
}

static void printExtents(AsmPrinter &printer, int64_t rows, int64_t columns) {
  printer << rows << "x" << columns;
}

#define GET_ATTRDEF_CLASSES
#include "tacq/Dialect/TACQ/TACQAttributes.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "tacq/Dialect/TACQ/TACQTypes.cpp.inc"

void TACQDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "tacq/Dialect/TACQ/TACQAttributes.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "tacq/Dialect/TACQ/TACQTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "tacq/Dialect/TACQ/TACQOps.cpp.inc"
      >();
}

LogicalResult VulkanProfileAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringRef,
                                        unsigned, unsigned workgroup, unsigned buffers,
                                        ArrayRef<StringAttr> features) {
  if (workgroup == 0 || buffers < 4)
    return emitError() << "vulkan_profile.limits: a workgroup has at least one invocation, and a "
                          "shader may bind at least 4 buffers";
  static const StringRef known[] = {"int64",   "float64", "storage8",          "storage16",
                                    "float16", "dot8",    "cooperative_matrix"};
  for (StringAttr feature : features)
    if (!llvm::is_contained(known, feature.getValue()))
      return emitError() << "vulkan_profile.features: '" << feature.getValue()
                         << "' is no feature of a device; known are "
                         << llvm::join(ArrayRef(known), ", ");
  return success();
}

LogicalResult TilingAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringRef,
                                 Type weight, int64_t taskRows, int64_t prefetch) {
  if (!llvm::isa<MixedType>(weight))
    return emitError() << "tiling.weight: " << weight << " is no type of a mixed-precision weight";
  if (taskRows < 1 || prefetch < 0)
    return emitError() << "tiling.numbers: a task has at least one row, and codes are asked for in "
                          "advance, not behind";
  return success();
}

LogicalResult ShapeAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                ArrayRef<StringAttr> dims) {
  for (StringAttr dim : dims)
    if (!Sym::parse(dim.getValue()))
      return emitError() << "shape.dims: '" << dim.getValue() << "' is not a symbolic expression";
  return success();
}

Operation *TACQDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type,
                                            Location loc) {
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements || elements.getType() != type)
    return nullptr;
  return builder.create<ConstantOp>(loc, type, elements);
}

std::optional<Dims> tacq::dimsOf(Type type) {
  auto ranked = dyn_cast<RankedTensorType>(type);
  if (!ranked)
    return std::nullopt;
  auto shape = dyn_cast_or_null<ShapeAttr>(ranked.getEncoding());
  Dims dims;
  for (auto [i, extent] : llvm::enumerate(ranked.getShape())) {
    if (!ShapedType::isDynamic(extent)) {
      dims.push_back(Sym(extent));
      continue;
    }
    if (!shape || i >= shape.getDims().size())
      return std::nullopt;
    std::optional<Sym> dim = Sym::parse(shape.getDims()[i].getValue());
    if (!dim)
      return std::nullopt;
    dims.push_back(*dim);
  }
  return dims;
}

RankedTensorType tacq::tensorType(Type element, ArrayRef<Sym> dims) {
  SmallVector<int64_t> shape;
  SmallVector<StringAttr> texts;
  bool dynamic = false;
  for (const Sym &dim : dims) {
    std::optional<int64_t> constant = dim.constant();
    // A negative extent cannot occur in a valid call; it stays an expression so that the run-time
    // check, which names the node, reports it.
    bool isStatic = constant && *constant >= 0;
    dynamic |= !isStatic;
    shape.push_back(isStatic ? *constant : ShapedType::kDynamic);
    texts.push_back(StringAttr::get(element.getContext(), dim.str()));
  }
  if (!dynamic)
    return RankedTensorType::get(shape, element);
  return RankedTensorType::get(shape, element, ShapeAttr::get(element.getContext(), texts));
}
