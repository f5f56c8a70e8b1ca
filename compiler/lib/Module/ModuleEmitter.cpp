//===- ModuleEmitter.cpp - From a schedule to a module file ---------------===//

#include "ModuleEmitter.h"
#include "CompileKernels.h"
#include "ElementBytes.h"
#include "SymbolLowering.h"
#include "TaskShares.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/CPU/WeightPacking.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "tacq/ModuleWriter.h"

using namespace mlir;
using namespace tacq;

static constexpr uint32_t none = 0xFFFFFFFFu;

namespace {
class ModuleEmitter {
public:
  ModuleEmitter(ModuleOp module, const ParameterStore &parameters,
                const llvm::StringMap<MixedWeight> *mixed, KernelCache *cache,
                const std::string &file, ModuleWriter &writer)
      : module(module), parameters(parameters), mixed(mixed), file(file), writer(writer),
        contents(writer.module()), symbols(contents),
        kernels(module, mixed, this->file, cache, writer) {}

  Error run(const ModuleTargets &targets);
  std::vector<std::string> remarks() const { return kernels.remarks(); }

private:
  Error emitInput(StringRef name, Type type);
  Error emitInterface(rt::ScheduleOp schedule);
  void emitOutputs(rt::ScheduleOp schedule);
  uint32_t bufferNumber(Value buffer);
  uint32_t workspaceNumber(uint32_t size, bool ofShaders);
  void emitUnusedSlots();
  Error emitConstants(rt::ScheduleOp schedule);
  void findWeightOrders(rt::ScheduleOp schedule);
  Error emitConstant(rt::BufferOp op, uint32_t &index);
  Error emitValue(ElementsAttr value, uint32_t &index);
  Error emitDense(rt::BufferOp op, const std::string &key, uint32_t &index,
                  format::TensorInfoT &info);
  Error emitMixed(rt::BufferOp op, MixedType type, const std::string &key, uint32_t &index,
                  format::TensorInfoT &info);
  Error emitCommands(Block &block, std::vector<format::CommandUnion> &commands);
  void emitLaunch(rt::LaunchOp op, std::vector<format::CommandUnion> &commands);
  Error emitIf(rt::IfOp op, std::vector<format::CommandUnion> &commands);
  void closeSegment(std::vector<format::CommandUnion> &commands);

  ModuleOp module;
  const ParameterStore &parameters;
  const llvm::StringMap<MixedWeight> *mixed;
  std::string file;
  ModuleWriter &writer;
  format::ModuleT &contents;
  SymbolLowering symbols;
  KernelCompiler kernels;
  llvm::DenseMap<Value, uint32_t> buffers;
  /// Buffers of the workspaces by the slot and the symbols of their sizes. What shaders alone use
  /// has another slot: behind the schedule's, and behind that.
  llvm::DenseMap<std::pair<uint32_t, uint32_t>, uint32_t> workspaces;
  uint32_t workspaceSlot = 0;
  bool hasShaderSlot = false;
  llvm::DenseMap<Operation *, uint32_t> constantNumbers;
  llvm::DenseMap<Operation *, WeightOrder> weightOrders;
  llvm::StringMap<uint32_t> constants;
  /// An input dimension that is an expression: the symbol of its extent, and what it must be.
  struct CheckedDim {
    std::string symbol;
    Sym dim;
    std::string input;
  };
  std::vector<CheckedDim> checkedDims;
  /// Where the Eval command of the open segment goes; nothing while the prologue is open.
  std::optional<size_t> evalPosition;
  bool inBranch = false;
};
} // namespace

/// True for a dimension that is one name, not an expression.
static bool isName(const Sym &dim) {
  return dim.terms().size() == 1 && dim.terms()[0].coefficient == 1 &&
         dim.terms()[0].factors.size() == 1 &&
         dim.terms()[0].factors[0]->kind == Sym::AtomKind::Name;
}

Error ModuleEmitter::emitInput(StringRef name, Type type) {
  auto tensor = std::make_unique<format::TensorDeclT>();
  tensor->name = name.str();
  tensor->element_type = formatType(cast<ShapedType>(type).getElementType());
  Dims dims = *dimsOf(type);
  for (const Sym &dim : dims) {
    std::string text = dim.str();
    tensor->dim_texts.push_back(text);
    if (std::optional<int64_t> extent = dim.constant()) {
      tensor->dims.push_back(format::Dim(*extent, none));
    } else if (isName(dim)) {
      uint32_t symbol = symbols.isDefined(text) ? symbols.lower(dim) : symbols.define(text);
      tensor->dims.push_back(format::Dim(-1, symbol));
    } else {
      // The extent is a symbol of its own, which is compared once all names are known.
      std::string own = "%dim." + std::to_string(checkedDims.size());
      tensor->dims.push_back(format::Dim(-1, symbols.define(own)));
      checkedDims.push_back({own, dim, name.str()});
    }
  }
  contents.inputs.push_back(std::move(tensor));
  return Error();
}

Error ModuleEmitter::emitInterface(rt::ScheduleOp schedule) {
  Block &body = schedule.getBody().front();
  for (auto input : body.getOps<rt::InputOp>())
    if (Error error = emitInput(input.getName(), input.getType()))
      return error;
  for (const CheckedDim &checked : checkedDims) {
    std::string unknown;
    checked.dim.collectNames([&](StringRef part) {
      if (!symbols.isDefined(part))
        unknown = part.str();
    });
    if (!unknown.empty())
      return Error(TACQ_UNSUPPORTED, "'" + file + "': the dimension " + checked.dim.str() +
                                         " of input '" + checked.input + "' names " + unknown +
                                         ", which is no dimension of any input");
    symbols.require(Sym::name(checked.symbol), checked.dim, false,
                    "input '" + checked.input + "': a dimension is not " + checked.dim.str());
  }
  for (auto state : body.getOps<rt::StateOp>()) {
    auto made = std::make_unique<format::StateT>();
    made->name = state.getName().str();
    made->input = state.getInput();
    made->output = state.getOutput();
    made->axis = state.getAxis();
    made->in_place = state.getInPlace();
    if (made->in_place)
      symbols.capacity("%capacity." + std::to_string(contents.states.size()),
                       contents.states.size());
    contents.states.push_back(std::move(made));
  }
  return Error();
}

/// Outputs are declared last: their dimensions may depend on what is read while the model runs.
void ModuleEmitter::emitOutputs(rt::ScheduleOp schedule) {
  for (auto output : schedule.getBody().getOps<rt::OutputOp>()) {
    auto tensor = std::make_unique<format::TensorDeclT>();
    tensor->name = output.getName().str();
    tensor->element_type = formatType(cast<ShapedType>(output.getType()).getElementType());
    Dims dims = *dimsOf(output.getType());
    for (const Sym &dim : dims) {
      tensor->dim_texts.push_back(dim.str());
      std::optional<int64_t> extent = dim.constant();
      if (extent && *extent >= 0)
        tensor->dims.push_back(format::Dim(*extent, none));
      else
        tensor->dims.push_back(format::Dim(-1, symbols.lower(dim)));
    }
    contents.outputs.push_back(std::move(tensor));
  }
}

Error ModuleEmitter::emitValue(ElementsAttr value, uint32_t &index) {
  std::vector<char> bytes = elementBytes(value);
  return writer.addConstant("constant." + std::to_string(contents.constants.size()), bytes.data(),
                            bytes.size(), index);
}

template <typename T> static std::string textOf(T attributeOrType) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << attributeOrType;
  return text;
}

/// One constant for each form of a parameter that is used.
Error ModuleEmitter::emitConstant(rt::BufferOp op, uint32_t &index) {
  if (op.getValue())
    return emitValue(*op.getValue(), index);
  StringRef name = op.getParamAttr().getValue();
  Attribute layout = op.getLayout().value_or(Attribute());
  std::string key = name.str();
  if (layout)
    key += " " + textOf(layout);
  if (isa_and_nonnull<PanelAttr>(layout) && weightOrders.lookup(op) == WeightOrder::KN)
    key += " kn";
  auto known = constants.find(key);
  if (known != constants.end()) {
    index = known->second;
    return Error();
  }
  auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(op, op.getParamAttr());
  auto info = std::make_unique<format::TensorInfoT>();
  info->name = name.str();
  auto shape = cast<ShapedType>(param.getType()).getShape();
  info->shape.assign(shape.begin(), shape.end());
  if (layout)
    info->layout = textOf(layout);
  auto type = dyn_cast<MixedType>(op.getElement());
  if (Error error =
          type ? emitMixed(op, type, key, index, *info) : emitDense(op, key, index, *info))
    return error;
  constants[key] = index;
  contents.tensors.push_back(std::move(info));
  return Error();
}

Error ModuleEmitter::emitDense(rt::BufferOp op, const std::string &key, uint32_t &index,
                               format::TensorInfoT &info) {
  ArrayRef<char> bytes = parameters.bytes(op.getParamAttr().getValue());
  auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(op, op.getParamAttr());
  auto type = cast<ShapedType>(param.getType());
  uint64_t size = bytes.size();
  if (auto panel = dyn_cast_or_null<PanelAttr>(op.getLayout().value_or(Attribute()))) {
    WeightOrder order = weightOrders.lookup(op);
    bool rowsFirst = order == WeightOrder::NK;
    int64_t n = type.getDimSize(rowsFirst ? 0 : 1), k = type.getDimSize(rowsFirst ? 1 : 0);
    size = packedWeightBytes(n, k, panel);
    if (Error error = writer.beginConstant(key, index))
      return error;
    Error failed;
    packWeight(bytes.data(), order, n, k, panel, [&](const void *data, size_t count) {
      failed = writer.append(data, count);
      return !failed;
    });
    if (failed)
      return failed;
    if (Error error = writer.endConstant())
      return error;
  } else if (Error error = writer.addConstant(key, bytes.data(), bytes.size(), index)) {
    return error;
  }
  info.bits = std::max(8u, type.getElementTypeBitWidth());
  info.scheme = "dense";
  info.parts.push_back(format::TensorPart(size, index, format::PartRole_Dense));
  return Error();
}

Error ModuleEmitter::emitMixed(rt::BufferOp op, MixedType type, const std::string &key,
                               uint32_t &index, format::TensorInfoT &info) {
  StringRef name = op.getParamAttr().getValue();
  auto weight = mixed ? mixed->find(name) : llvm::StringMap<MixedWeight>::const_iterator();
  if (!mixed || weight == mixed->end())
    return Error(TACQ_INTERNAL, "'" + file + "': there are no quantized values for the weight '" +
                                    name.str() + "'");
  auto layout = cast<LayoutAttr>(*op.getLayout());
  if (Error error = writer.beginConstant(key, index))
    return error;
  Error failed;
  if (Error error =
          packMixedWeight(weight->second, type, layout, [&](const void *data, size_t count) {
            failed = writer.append(data, count);
            return !failed;
          }))
    return Error(error.code(), "'" + file + "': weight '" + name.str() + "': " + error.message());
  if (failed)
    return failed;
  if (Error error = writer.endConstant())
    return error;
  info.bits = type.getBits();
  info.group = type.getGroup();
  info.scheme = "mixed";
  info.type = textOf(type);
  info.circuit_count = weight->second.circuitEntries();
  using namespace tacq::format;
  MixedParts parts = mixedParts(type, layout);
  for (auto [role, bytes] : {std::pair(PartRole_Codes, parts.codes),
                             {PartRole_Scales, parts.scales},
                             {PartRole_ZeroPoints, parts.zeros},
                             {PartRole_Codebook, parts.levels},
                             {PartRole_RowOrder, parts.permutation},
                             {PartRole_CircuitPositions, parts.circuitPositions},
                             {PartRole_CircuitValues, parts.circuitValues},
                             {PartRole_Padding, parts.padding}})
    if (bytes != 0)
      info.parts.push_back(TensorPart(bytes, index, role));
  return Error();
}

/// A packed weight's bytes are read in the order that the linear operation states.
void ModuleEmitter::findWeightOrders(rt::ScheduleOp schedule) {
  schedule.walk([&](rt::LaunchOp launch) {
    auto kernel =
        SymbolTable::lookupNearestSymbolFrom<rt::KernelOp>(launch, launch.getKernelAttr());
    for (auto linear : kernel.getBody().getOps<LinearOp>())
      for (auto [weight, order] :
           llvm::zip(linear.getWeights(), linear.getWeightOrder().getAsRange<IntegerAttr>()))
        if (auto argument = dyn_cast<BlockArgument>(weight))
          weightOrders[launch.getReads()[argument.getArgNumber()].getDefiningOp()] =
              WeightOrder(order.getInt());
  });
}

Error ModuleEmitter::emitConstants(rt::ScheduleOp schedule) {
  findWeightOrders(schedule);
  for (auto op : schedule.getBody().getOps<rt::BufferOp>())
    if (op.getKind() == rt::BufferKind::Constant)
      if (Error error = emitConstant(op, constantNumbers[op]))
        return error;
  return Error();
}

/// The buffer's number; it is made at its first use, when the names in its size are known.
uint32_t ModuleEmitter::bufferNumber(Value buffer) {
  auto known = buffers.find(buffer);
  if (known != buffers.end())
    return known->second;
  static const format::BufferKind kinds[] = {
      format::BufferKind_Input, format::BufferKind_Output, format::BufferKind_Constant,
      format::BufferKind_Transient, format::BufferKind_State};
  auto op = buffer.getDefiningOp<rt::BufferOp>();
  uint32_t index = op.getIndex(), size = none;
  if (op.getKind() == rt::BufferKind::Constant) {
    index = constantNumbers[op];
  } else if (op.getKind() == rt::BufferKind::Transient) {
    size = symbols.lower(*Sym::parse(op.getSize()));
    contents.slot_count = std::max(contents.slot_count, index + 1);
  }
  contents.buffers.push_back(format::Buffer(kinds[size_t(op.getKind())],
                                            formatType(op.getElement()), 0, index, size, none));
  return buffers[buffer] = contents.buffers.size() - 1;
}

/// A buffer of the slot that all workspaces share: launches run one after the other.
uint32_t ModuleEmitter::workspaceNumber(uint32_t size, bool ofShaders) {
  uint32_t slot = workspaceSlot + ofShaders;
  hasShaderSlot |= ofShaders;
  auto [known, isNew] = workspaces.try_emplace({slot, size}, uint32_t(contents.buffers.size()));
  if (isNew)
    contents.buffers.push_back(format::Buffer(format::BufferKind_Transient,
                                              format::ElementType_None, 0, slot, size, none));
  contents.slot_count = std::max(contents.slot_count, slot + 1);
  return known->second;
}

/// Runs on the CPU need no memory for what shaders alone use.
void ModuleEmitter::emitUnusedSlots() {
  for (std::unique_ptr<format::ExecutableT> &executable : contents.executables)
    if (hasShaderSlot && executable->driver == "cpu")
      executable->unused_slots.push_back(workspaceSlot + 1);
}

void ModuleEmitter::emitLaunch(rt::LaunchOp op, std::vector<format::CommandUnion> &commands) {
  format::DispatchT dispatch;
  dispatch.kernel = kernels.numbers.lookup(op.getKernel());
  for (Value buffer : op->getOperands())
    dispatch.bindings.push_back(bufferNumber(buffer));
  dispatch.node = op.getNodes().empty() ? none : uint32_t(contents.nodes.size());
  auto specialize = [&](const Sym &value) {
    return value.substitute([&](StringRef name) -> std::optional<Sym> {
      if (name == "%node")
        return Sym(int64_t(contents.nodes.size()));
      if (name == "%capacity" && op.getCapacityOf())
        return Sym::name("%capacity." + std::to_string(*op.getCapacityOf()));
      return std::nullopt;
    });
  };
  KernelCode &code = kernels.codes[op.getKernel()];
  Sym workspace = Sym::max(code.workspace, code.shaderWorkspace);
  if (!workspace.isConstant(0))
    dispatch.bindings.push_back(
        workspaceNumber(symbols.lower(specialize(workspace)), code.workspace.isConstant(0)));
  for (const Sym &symbol : code.symbols.list())
    dispatch.symbols.push_back(symbols.lower(specialize(symbol)));
  Sym tasks = specialize(code.tasks ? *code.tasks : *code.launchTasks);
  dispatch.tasks = symbols.lower(tasks);
  if (mixed)
    dispatch.shares = taskShares(op, *mixed);
  auto one = [](StringRef) { return std::optional<int64_t>(1); };
  if (!dispatch.shares.empty())
    dispatch.share_tasks = tasks.evaluate(one).value_or(0);
  if (code.cost)
    dispatch.cost = symbols.lower(specialize(*code.cost));
  for (auto [name, type] : llvm::zip(op.getNodes().getAsValueRange<StringAttr>(),
                                     op.getNodeOps().getAsValueRange<StringAttr>())) {
    auto node = std::make_unique<format::NodeInfoT>();
    node->name = name.str();
    node->op = type.str();
    node->file = file;
    contents.nodes.push_back(std::move(node));
  }
  commands.emplace_back().Set(std::move(dispatch));
}

/// Gives the operations gathered so far to the prologue, or to the Eval command that waits for
/// them.
void ModuleEmitter::closeSegment(std::vector<format::CommandUnion> &commands) {
  auto [begin, count] = symbols.endSegment();
  if (!evalPosition) {
    contents.prologue = count;
    return;
  }
  format::EvalT *eval = commands[*evalPosition].AsEval();
  eval->begin = begin;
  eval->count = count;
}

Error ModuleEmitter::emitCommands(Block &block, std::vector<format::CommandUnion> &commands) {
  for (Operation &op : block) {
    if (auto launch = dyn_cast<rt::LaunchOp>(op)) {
      emitLaunch(launch, commands);
    } else if (auto choice = dyn_cast<rt::IfOp>(op)) {
      if (Error error = emitIf(choice, commands))
        return error;
    } else if (auto copy = dyn_cast<rt::CopyOp>(op)) {
      format::CopyT made;
      made.src = bufferNumber(copy.getSource());
      made.dst = bufferNumber(copy.getTarget());
      made.size = symbols.lower(*Sym::parse(copy.getSize()));
      commands.emplace_back().Set(made);
    } else if (auto read = dyn_cast<rt::ReadOp>(op)) {
      auto buffer = read.getSource().getDefiningOp<rt::BufferOp>();
      bool early =
          buffer.getKind() == rt::BufferKind::Input || buffer.getKind() == rt::BufferKind::Constant;
      // What is computed is there only when this point is reached.
      if (!early) {
        if (inBranch)
          return Error(TACQ_UNSUPPORTED,
                       "'" + file +
                           "': inside of a branch of an If, a shape (or "
                           "another If) depends on values that are computed there");
        closeSegment(commands);
        evalPosition = commands.size();
        commands.emplace_back().Set(format::EvalT());
      }
      symbols.read(read.getName(), bufferNumber(read.getSource()), read.getCount());
    } else if (auto require = dyn_cast<rt::RequireOp>(op)) {
      symbols.require(*Sym::parse(require.getLhs()), *Sym::parse(require.getRhs()),
                      require.getAtMost(), require.getMessage());
    } else if (!isa<rt::InputOp, rt::OutputOp, rt::StateOp, rt::BufferOp>(op)) {
      return Error(TACQ_INTERNAL, "no module form for " + op.getName().getStringRef().str());
    }
  }
  return Error();
}

Error ModuleEmitter::emitIf(rt::IfOp op, std::vector<format::CommandUnion> &commands) {
  format::IfT choice;
  choice.condition = symbols.lower(*Sym::parse(op.getCondition()));
  size_t position = commands.size();
  commands.emplace_back();
  bool outer = std::exchange(inBranch, true);
  for (auto [body, number] : {std::pair{&op.getThenBody(), &choice.then_block},
                              {&op.getElseBody(), &choice.else_block}}) {
    *number = contents.blocks.size();
    contents.blocks.push_back(std::make_unique<format::BlockT>());
    std::vector<format::CommandUnion> nested;
    if (Error error = emitCommands(body->front(), nested))
      return error;
    contents.blocks[*number]->commands = std::move(nested);
  }
  inBranch = outer;
  commands[position].Set(choice);
  return Error();
}

Error ModuleEmitter::run(const ModuleTargets &targets) {
  auto schedules = module.getOps<rt::ScheduleOp>();
  if (schedules.empty())
    return Error(TACQ_INTERNAL, "there is no schedule to write");
  rt::ScheduleOp schedule = *schedules.begin();
  if (Error error = kernels.run(targets))
    return error;
  contents.kernel_count = kernels.numbers.size();
  if (Error error = emitInterface(schedule))
    return error;
  if (Error error = emitConstants(schedule))
    return error;
  for (auto buffer : schedule.getBody().getOps<rt::BufferOp>())
    if (buffer.getKind() == rt::BufferKind::Transient)
      workspaceSlot = std::max(workspaceSlot, uint32_t(buffer.getIndex()) + 1);
  contents.blocks.push_back(std::make_unique<format::BlockT>());
  std::vector<format::CommandUnion> commands;
  if (Error error = emitCommands(schedule.getBody().front(), commands))
    return error;
  emitOutputs(schedule);
  closeSegment(commands);
  emitUnusedSlots();
  contents.blocks.front()->commands = std::move(commands);
  contents.producer = "tacq-compile " TACQ_VERSION;
  contents.model_name = file;
  contents.model_hash = parameters.contentHash();
  if (auto metadata = module->getAttrOfType<DictionaryAttr>(metadataAttribute))
    for (NamedAttribute entry : metadata) {
      auto pair = std::make_unique<format::KeyValueT>();
      pair->key = entry.getName().str();
      pair->value = cast<StringAttr>(entry.getValue()).str();
      contents.metadata.push_back(std::move(pair));
    }
  return writer.finish();
}

Error tacq::emitModule(ModuleOp module, const ModuleTargets &targets,
                       const ParameterStore &parameters, const std::string &file,
                       const std::string &path, const llvm::StringMap<MixedWeight> *mixed,
                       KernelCache *cache, std::vector<std::string> *remarks) {
  std::unique_ptr<ModuleWriter> writer;
  if (Error error = ModuleWriter::create(path, writer))
    return error;
  ModuleEmitter emitter(module, parameters, mixed, cache, file, *writer);
  Error error = emitter.run(targets);
  if (!error && remarks)
    *remarks = emitter.remarks();
  return error;
}
