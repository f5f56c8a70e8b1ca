//===- KernelBuilder.cpp - Buffers, elements and loops of a kernel --------===//

#include "tacq/Codegen/KernelBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace tacq;

unsigned KernelSymbols::indexOf(const Sym &sym) {
  for (auto [i, known] : llvm::enumerate(symbols))
    if (known == sym)
      return i;
  symbols.push_back(sym);
  return symbols.size() - 1;
}

Type tacq::computeType(Type element) {
  MLIRContext *context = element.getContext();
  if (element.isF16() || element.isBF16())
    return Float32Type::get(context);
  if (auto integer = dyn_cast<IntegerType>(element))
    return IntegerType::get(context, integer.getWidth());
  return element;
}

Type tacq::storageType(Type element) {
  auto integer = dyn_cast<IntegerType>(element);
  if (!integer)
    return element;
  return IntegerType::get(element.getContext(), std::max(8u, integer.getWidth()));
}

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

std::unique_ptr<KernelBuilder> KernelBuilder::create(OpBuilder &builder, StringRef name,
                                                     Region &body, KernelSymbols &symbols) {
  Location loc = body.getLoc();
  std::unique_ptr<KernelBuilder> kernel(new KernelBuilder(builder, loc, body, symbols));
  ImplicitLocOpBuilder &b = kernel->b;

  auto bufferType = [&](Type tensor) {
    // A mixed-precision weight is bytes.
    Type element = b.getI8Type();
    if (auto shaped = llvm::dyn_cast<ShapedType>(tensor))
      element = shaped.getElementType();
    return MemRefType::get({ShapedType::kDynamic}, storageType(element));
  };
  SmallVector<Type> types;
  for (Type type : body.getArgumentTypes())
    types.push_back(bufferType(type));
  for (Value value : body.front().getTerminator()->getOperands())
    types.push_back(bufferType(value.getType()));
  size_t buffers = types.size();

  // Symbols are added as they are asked for, in front of begin, end and status.
  types.append({b.getIndexType(), b.getIndexType(),
                MemRefType::get({ShapedType::kDynamic}, b.getI32Type())});
  kernel->func = b.create<func::FuncOp>(name, b.getFunctionType(types, {}));
  Block *entry = kernel->func.addEntryBlock();
  b.setInsertionPointToStart(entry);
  b.create<func::ReturnOp>();
  b.setInsertionPointToStart(entry);
  size_t inputCount = body.getNumArguments();
  for (size_t i = 0; i < buffers; ++i)
    (i < inputCount ? kernel->inputs : kernel->outputs).push_back(entry->getArgument(i));
  kernel->begin = entry->getArgument(buffers);
  kernel->end = entry->getArgument(buffers + 1);
  kernel->status = entry->getArgument(buffers + 2);
  // Symbols that another target's build of this kernel has asked for keep their positions.
  for (const Sym &known : llvm::to_vector(symbols.list()))
    kernel->sym(known);
  return kernel;
}

Value KernelBuilder::sym(const Sym &value) {
  if (std::optional<int64_t> constant = value.constant())
    return index(*constant);
  unsigned position = symbols.indexOf(value);
  while (symbolArgs.size() <= position) {
    unsigned argument = inputs.size() + outputs.size() + workspaces + symbolArgs.size();
    (void)func.insertArgument(argument, b.getIndexType(), {}, b.getLoc());
    symbolArgs.push_back(func.getArgument(argument));
  }
  return symbolArgs[position];
}

Value KernelBuilder::workspace(const Sym &bytes, Type element) {
  assert(workspaces == 0 && "a kernel has one workspace");
  workspaceBytes = bytes;
  unsigned argument = inputs.size() + outputs.size() + workspaces++;
  // Tasks of other threads write it, too.
  NamedAttribute shared(b.getStringAttr("tacq.may_alias"), b.getUnitAttr());
  (void)func.insertArgument(argument, MemRefType::get({ShapedType::kDynamic}, element),
                            b.getDictionaryAttr(shared), b.getLoc());
  return func.getArgument(argument);
}

std::optional<unsigned> KernelBuilder::inputOf(Value tensor) {
  auto argument = dyn_cast<BlockArgument>(tensor);
  if (argument && argument.getOwner()->getParent() == body)
    return argument.getArgNumber();
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

Value KernelBuilder::linearize(ValueRange index, ArrayRef<Sym> dims) {
  Value position = this->index(0);
  for (auto [i, dim] : llvm::zip(index, dims)) {
    if (!dim.isConstant(1))
      position = add(mul(position, sym(dim)), i);
  }
  return position;
}

KernelBuilder::Index KernelBuilder::delinearize(Value position, ArrayRef<Sym> dims) {
  Index result(dims.size());
  for (size_t i = dims.size(); i-- > 0;) {
    if (i == 0) {
      result[i] = position;
    } else if (dims[i].isConstant(1)) {
      result[i] = index(0);
    } else {
      // Positions are never negative.
      Value extent = sym(dims[i]);
      result[i] = b.create<arith::RemUIOp>(position, extent);
      position = b.create<arith::DivUIOp>(position, extent);
    }
  }
  return result;
}

Value KernelBuilder::roundTo(Type element, Value value) {
  if (!element.isF16() && !element.isBF16())
    return value;
  Value rounded = b.create<arith::TruncFOp>(element, value);
  return b.create<arith::ExtFOp>(value.getType(), rounded);
}

Value KernelBuilder::loadFlat(Value buffer, Value position, Type element) {
  Value raw = b.create<memref::LoadOp>(buffer, ValueRange{position});
  if (element.isInteger(1))
    return b.create<arith::CmpIOp>(arith::CmpIPredicate::ne, raw, integer(raw.getType(), 0));
  if (element.isF16() || element.isBF16())
    return b.create<arith::ExtFOp>(b.getF32Type(), raw);
  return raw;
}

/// True if a value defined in `from` can be used in `at`, given that code is appended in order.
static bool isVisible(Value value, Block *at) {
  Region *from = value.getParentRegion();
  return from->isAncestor(at->getParent());
}

Value KernelBuilder::load(Value tensor, ValueRange index) {
  for (CachedElement &cached : cache[tensor])
    if (ValueRange(cached.index) == index && isVisible(cached.element, b.getInsertionBlock()))
      return cached.element;
  if (std::optional<unsigned> input = inputOf(tensor))
    return loadFlat(inputs[*input], linearize(index, dims(tensor)), elementType(tensor));
  Value element = elementOf(tensor, index);
  define(tensor, index, element);
  return element;
}

Value KernelBuilder::loadFromPanel(Value matrix, int64_t width, Value row, Value column) {
  Value rows = index(width);
  Value panel = b.create<arith::DivUIOp>(row, rows), inPanel = b.create<arith::RemUIOp>(row, rows);
  Value start = mul(add(mul(panel, sym(dims(matrix)[1])), column), rows);
  return loadFlat(inputs[*inputOf(matrix)], add(start, inPanel), elementType(matrix));
}

void KernelBuilder::define(Value tensor, ValueRange index, Value element) {
  cache[tensor].push_back({llvm::SmallVector<Value, 6>(index), element});
}

Value KernelBuilder::loadBroadcast(Value tensor, ValueRange index, ArrayRef<Sym> outDims) {
  Dims dims = this->dims(tensor);
  Index own;
  size_t dropped = outDims.size() - dims.size();
  for (auto [i, dim] : llvm::enumerate(dims)) {
    Value at = index[dropped + i];
    if (dim.isConstant(1))
      own.push_back(this->index(0));
    else if (dim == outDims[dropped + i] || dim.constant())
      own.push_back(at);
    else
      own.push_back(select(equal(sym(dim), this->index(1)), this->index(0), at));
  }
  return load(tensor, own);
}

void KernelBuilder::store(unsigned output, ValueRange index, Value element) {
  Value tensor = body->front().getTerminator()->getOperand(output);
  Type type = elementType(tensor);
  if (type.isInteger(1))
    element = b.create<arith::ExtUIOp>(b.getI8Type(), element);
  else if (type.isF16() || type.isBF16())
    element = b.create<arith::TruncFOp>(type, element);
  Value position = linearize(index, dims(tensor));
  b.create<memref::StoreOp>(element, outputs[output], ValueRange{position});
}

Value KernelBuilder::loadOutput(unsigned output, ValueRange index) {
  Value tensor = body->front().getTerminator()->getOperand(output);
  return loadFlat(outputs[output], linearize(index, dims(tensor)), elementType(tensor));
}

/// Element `index` of a constant or symbolic tensor: a chain of selects for the few there are, so
/// that no data section is needed.
static Value elementOfList(KernelBuilder &k, ArrayRef<Value> elements, Value position) {
  Value result = elements.back();
  for (size_t i = elements.size() - 1; i-- > 0;)
    result = k.select(k.equal(position, k.index(i)), elements[i], result);
  return result;
}

static Value constantElement(KernelBuilder &k, Type type, ElementsAttr value, uint64_t i) {
  Type compute = computeType(type);
  if (isFloat(type)) {
    APFloat element = value.getValues<APFloat>()[i];
    bool lossy;
    element.convert(llvm::cast<FloatType>(compute).getFloatSemantics(),
                    APFloat::rmNearestTiesToEven, &lossy);
    return k.b.create<arith::ConstantOp>(k.b.getFloatAttr(compute, element));
  }
  APInt element = value.getValues<APInt>()[i];
  return k.b.create<arith::ConstantOp>(k.b.getIntegerAttr(compute, element));
}

Value KernelBuilder::elementOf(Value tensor, ValueRange index) {
  Operation *op = tensor.getDefiningOp();
  Type type = elementType(tensor);
  // A tensor without elements is never read, but the code that would do so is built.
  if (isa<ConstantOp, SymbolicOp>(op) && elementCount(dims(tensor)).isConstant(0))
    return constant(computeType(type), 0);
  if (auto constant = dyn_cast<ConstantOp>(op)) {
    ElementsAttr value = constant.getValue();
    if (value.isSplat() || value.getNumElements() == 1)
      return constantElement(*this, type, value, 0);
    SmallVector<Value> elements;
    for (int64_t i = 0; i < value.getNumElements(); ++i)
      elements.push_back(constantElement(*this, type, value, i));
    return elementOfList(*this, elements, linearize(index, dims(tensor)));
  }
  if (auto symbolic = dyn_cast<SymbolicOp>(op)) {
    SmallVector<Value> elements;
    for (StringRef text : symbolic.getValues().getAsValueRange<StringAttr>())
      elements.push_back(fromIndex(sym(*Sym::parse(text)), type));
    return elementOfList(*this, elements, linearize(index, dims(tensor)));
  }
  auto node = llvm::cast<NodeOp>(op);
  const OpSpec *spec = lookupOp(node);
  Value element = spec->element(*this, node, llvm::cast<OpResult>(tensor).getResultNumber(), index);
  return roundTo(type, element);
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

void KernelBuilder::parallel(const Sym &taskCount, function_ref<void(Value)> emitTask) {
  tasks = taskCount;
  auto loop = b.create<scf::ForOp>(begin, end, index(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  emitTask(loop.getInductionVar());
}

void KernelBuilder::loop(Value extent, function_ref<void(Value)> emitIteration) {
  auto loop = b.create<scf::ForOp>(index(0), extent, index(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  emitIteration(loop.getInductionVar());
}

SmallVector<Value>
KernelBuilder::reduce(ArrayRef<Sym> extents, ValueRange init,
                      function_ref<SmallVector<Value>(ValueRange, ValueRange)> emitStep) {
  Index at;
  std::function<SmallVector<Value>(size_t, ValueRange)> nest =
      [&](size_t level, ValueRange carried) -> SmallVector<Value> {
    if (level == extents.size())
      return emitStep(at, carried);
    Value extent = sym(extents[level]);
    auto loop = b.create<scf::ForOp>(index(0), extent, index(1), carried);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    at.push_back(loop.getInductionVar());
    SmallVector<Value> next = nest(level + 1, loop.getRegionIterArgs());
    at.pop_back();
    // Without carried values the loop has been built with its terminator.
    if (!next.empty())
      b.create<scf::YieldOp>(next);
    return SmallVector<Value>(loop.getResults());
  };
  return nest(0, init);
}

SmallVector<Value> KernelBuilder::branch(Value condition, function_ref<SmallVector<Value>()> then,
                                         function_ref<SmallVector<Value>()> otherwise) {
  // The result types are known only when a branch is built: build into an operation without
  // results, then move its regions.
  auto probe = b.create<scf::IfOp>(TypeRange(), condition, /*addThenBlock=*/true,
                                   /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&probe.getThenRegion().front());
  SmallVector<Value> thenValues = then();
  b.create<scf::YieldOp>(thenValues);
  b.setInsertionPointToStart(&probe.getElseRegion().front());
  SmallVector<Value> elseValues = otherwise();
  b.create<scf::YieldOp>(elseValues);
  b.setInsertionPoint(probe);
  auto result = b.create<scf::IfOp>(ValueRange(thenValues).getTypes(), condition,
                                    /*addThenBlock=*/false, /*addElseBlock=*/false);
  result.getThenRegion().takeBody(probe.getThenRegion());
  result.getElseRegion().takeBody(probe.getElseRegion());
  probe.erase();
  return SmallVector<Value>(result.getResults());
}

LogicalResult
tacq::replaceByKernels(ModuleOp module,
                       llvm::function_ref<LogicalResult(KernelBuilder &kernel)> emit) {
  for (auto region : llvm::to_vector(module.getOps<func::FuncOp>())) {
    OpBuilder builder(region);
    KernelSymbols symbols;
    std::unique_ptr<KernelBuilder> kernel =
        KernelBuilder::create(builder, region.getName(), region.getBody(), symbols);
    if (failed(emit(*kernel)))
      return mlir::failure();
    region.erase();
  }
  return mlir::success();
}
