//===- ModuleVerifier.cpp - The rules of module.fbs -----------------------===//
//
// Checks everything that later code relies on: indices, ranges, counts, enumerations, the tree of
// blocks. Every message names the module, the entity with its number, and the broken rule.
//
//===----------------------------------------------------------------------===//

#include "tacq/ModuleFormat.h"
#include "tacq/ModuleView.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <unordered_set>
#include <vector>

using namespace tacq;
using namespace tacq::format;

namespace {

/// Tables with that many entries are a sign of damage; it also bounds what a session allocates.
constexpr uint32_t kMaxCount = 1u << 22;
/// If and Loop inside each other; bounds the recursion of interpreters.
constexpr uint32_t kMaxNesting = 128;
constexpr size_t kMaxRank = 64;

struct Range {
  uint64_t offset, size;
  const char *what, *label;
};

class Verification {
public:
  Verification(const Module &module, uint64_t dataSize, const std::string &name)
      : module(module), dataSize(dataSize), name(name) {}

  Error run();

private:
  Error bad(const char *format, ...) __attribute__((format(printf, 2, 3)));
  Error symbol(uint32_t index, const std::string &what, bool optional);
  Error buffer(uint32_t index, const std::string &what);
  /// FlatBuffers aligns the length of a vector; elements of 8 bytes need more.
  template <typename Vector> Error aligned(const Vector *vector, const std::string &what) {
    if (!vector || reinterpret_cast<uintptr_t>(vector->Data()) % 8 == 0)
      return success();
    return bad("%s is not aligned to 8 bytes", what.c_str());
  }
  Error tensors(const flatbuffers::Vector<flatbuffers::Offset<TensorDecl>> *decls,
                const char *kind);
  Error states();
  Error symbolOps();
  Error constants();
  Error weights();
  Error buffers();
  Error blocks();
  Error command(uint32_t block, uint32_t number, Command type, const void *value);
  Error child(uint32_t index, uint32_t parent, const std::string &what);
  Error executables();
  Error absentKernels(const Executable &executable, const std::string &what);
  Error overlaps();

  const Module &module;
  const uint64_t dataSize;
  const std::string &name;
  std::vector<Range> ranges;
  std::vector<uint32_t> nesting;                 // by block; 0: not named yet (block 0 has 1)
  std::vector<bool> stateInput, stateOutput;     // belongs to a state
  std::vector<bool> inPlaceInput, inPlaceOutput; // ... that is in place
};

Error Verification::bad(const char *format, ...) {
  char text[512];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof(text), format, list);
  va_end(list);
  return makeError(TACQ_INVALID_MODULE, "module '%s': %s", name.c_str(), text);
}

Error Verification::symbol(uint32_t index, const std::string &what, bool optional) {
  if ((optional && index == kNone) || index < module.symbol_count())
    return success();
  return bad("%s names symbol %u, but there are %u symbols", what.c_str(), index,
             module.symbol_count());
}

Error Verification::buffer(uint32_t index, const std::string &what) {
  if (index < sizeOf(module.buffers()))
    return success();
  return bad("%s names buffer %u, but there are %zu buffers", what.c_str(), index,
             sizeOf(module.buffers()));
}

Error Verification::tensors(const flatbuffers::Vector<flatbuffers::Offset<TensorDecl>> *decls,
                            const char *kind) {
  std::unordered_set<std::string> names;
  for (size_t i = 0; i < sizeOf(decls); ++i) {
    const TensorDecl &decl = *decls->Get(i);
    std::string what = formatText("%s %zu ('%s')", kind, i, decl.name()->c_str());
    if (!names.insert(decl.name()->str()).second)
      return bad("%s has the name of another %s", what.c_str(), kind);
    if (decl.element_type() == ElementType_None || decl.element_type() > ElementType_MAX)
      return bad("%s has the unknown element type %u", what.c_str(), decl.element_type());
    if (Error error = aligned(decl.dims(), "the shape of " + what))
      return error;
    if (sizeOf(decl.dims()) > kMaxRank)
      return bad("%s has rank %zu, more than %zu", what.c_str(), sizeOf(decl.dims()), kMaxRank);
    if (sizeOf(decl.dims()) != sizeOf(decl.dim_texts()))
      return bad("%s has %zu dims but %zu dim_texts", what.c_str(), sizeOf(decl.dims()),
                 sizeOf(decl.dim_texts()));
    int64_t bytes = static_cast<int64_t>(elementSize(decl.element_type()));
    for (size_t axis = 0; axis < sizeOf(decl.dims()); ++axis) {
      const Dim &dim = *decl.dims()->Get(axis);
      if (dim.extent() >= 0) {
        // Zero extents are fine; without them the fixed extents alone must not overflow.
        if (dim.extent() > 0 && __builtin_mul_overflow(bytes, dim.extent(), &bytes))
          return bad("%s is too large: its fixed extents overflow", what.c_str());
      } else if (Error error =
                     symbol(dim.symbol(), formatText("axis %zu of %s", axis, what.c_str()), false))
        return error;
    }
  }
  return success();
}

Error Verification::states() {
  stateInput.assign(sizeOf(module.inputs()), false);
  stateOutput.assign(sizeOf(module.outputs()), false);
  inPlaceInput = stateInput;
  inPlaceOutput = stateOutput;
  for (size_t i = 0; i < sizeOf(module.states()); ++i) {
    const State &state = *module.states()->Get(i);
    std::string what = formatText("state %zu ('%s')", i, state.name()->c_str());
    if (state.input() >= stateInput.size())
      return bad("%s names input %u, but there are %zu inputs", what.c_str(), state.input(),
                 stateInput.size());
    if (state.output() >= stateOutput.size())
      return bad("%s names output %u, but there are %zu outputs", what.c_str(), state.output(),
                 stateOutput.size());
    if (stateInput[state.input()] || stateOutput[state.output()])
      return bad("%s shares its input or output with another state", what.c_str());
    stateInput[state.input()] = stateOutput[state.output()] = true;
    inPlaceInput[state.input()] = inPlaceOutput[state.output()] = state.in_place();
    const TensorDecl &input = *module.inputs()->Get(state.input());
    const TensorDecl &output = *module.outputs()->Get(state.output());
    size_t rank = sizeOf(input.dims());
    if (rank != sizeOf(output.dims()) || input.element_type() != output.element_type())
      return bad("%s: its input and output differ in rank or element type", what.c_str());
    if (state.axis() >= static_cast<int64_t>(rank) || state.axis() < -1)
      return bad("%s: axis %d does not exist in rank %zu", what.c_str(), state.axis(), rank);
    if (state.in_place() && state.axis() < 0)
      return bad("%s: in_place needs an axis", what.c_str());
    for (size_t axis = 0; axis < rank; ++axis) {
      int64_t in = input.dims()->Get(axis)->extent(), out = output.dims()->Get(axis)->extent();
      if (static_cast<int64_t>(axis) == state.axis()) {
        if (in >= 0 || out >= 0)
          return bad("%s: the extent along its axis is fixed", what.c_str());
      } else if (in >= 0 && out >= 0 && in != out)
        return bad("%s: its input and output differ along axis %zu", what.c_str(), axis);
      else if (state.axis() < 0 && in < 0)
        return bad("%s: a state without an axis must have a fixed shape", what.c_str());
    }
  }
  return success();
}

Error Verification::symbolOps() {
  size_t count = sizeOf(module.symbol_ops());
  if (Error error = aligned(module.symbol_ops(), "the vector of symbol operations"))
    return error;
  if (module.prologue() > count)
    return bad("the prologue has %u operations, but there are %zu", module.prologue(), count);
  for (size_t i = 0; i < count; ++i) {
    const SymbolOp &op = *module.symbol_ops()->Get(i);
    std::string what = formatText("symbol operation %zu (%s)", i, EnumNameSymbolOpcode(op.op()));
    if (op.op() > SymbolOpcode_MAX)
      return bad("symbol operation %zu has the unknown opcode %u", i, op.op());
    bool isCheck = op.op() >= SymbolOpcode_CheckEq;
    if (!isCheck || op.op() == SymbolOpcode_CheckRange)
      if (Error error = symbol(op.dst(), what, false))
        return error;
    bool usesA = true, usesB = true;
    switch (op.op()) {
    case SymbolOpcode_Const:
      usesA = usesB = false;
      break;
    case SymbolOpcode_InputDim:
      usesA = usesB = false;
      if (op.a() >= sizeOf(module.inputs()) ||
          op.b() >= sizeOf(module.inputs()->Get(op.a())->dims()))
        return bad("%s: input %u has no axis %u", what.c_str(), op.a(), op.b());
      break;
    case SymbolOpcode_CacheCapacity:
      usesA = usesB = false;
      if (op.a() >= sizeOf(module.states()) || !module.states()->Get(op.a())->in_place())
        return bad("%s: state %u does not exist or is not in place", what.c_str(), op.a());
      break;
    case SymbolOpcode_Read: {
      usesA = usesB = false;
      if (Error error = buffer(op.a(), what))
        return error;
      if (Error error = symbol(op.b(), what, true))
        return error;
      const Buffer &source = *module.buffers()->Get(op.a());
      if (source.element_type() == ElementType_None)
        return bad("%s: buffer %u has no element type", what.c_str(), op.a());
      if (i < module.prologue()) {
        if (source.kind() != BufferKind_Constant &&
            (source.kind() != BufferKind_Input || stateInput[source.index()]))
          return bad("%s: in the prologue only constants and inputs that are no states can be read",
                     what.c_str());
      }
      break;
    }
    case SymbolOpcode_Not:
    case SymbolOpcode_Neg:
    case SymbolOpcode_Abs:
      usesB = false;
      break;
    case SymbolOpcode_Select:
      if (op.imm() < 0 || op.imm() >= module.symbol_count())
        return bad("%s names symbol %lld, but there are %u symbols", what.c_str(),
                   static_cast<long long>(op.imm()), module.symbol_count());
      break;
    default:
      break;
    }
    if (usesA)
      if (Error error = symbol(op.a(), what, false))
        return error;
    if (usesB)
      if (Error error = symbol(op.b(), what, false))
        return error;
    if (isCheck && (op.imm() < 0 || static_cast<uint64_t>(op.imm()) >= sizeOf(module.messages())))
      return bad("%s names message %lld, but there are %zu messages", what.c_str(),
                 static_cast<long long>(op.imm()), sizeOf(module.messages()));
  }
  return success();
}

Error Verification::constants() {
  for (size_t i = 0; i < sizeOf(module.constants()); ++i) {
    const Constant &constant = *module.constants()->Get(i);
    unsigned long long offset = constant.offset(), size = constant.size();
    if (offset % kModuleAlignment != 0)
      return bad("constant '%s' at offset %llu of the data section is not aligned to %llu bytes",
                 constant.name()->c_str(), offset,
                 static_cast<unsigned long long>(kModuleAlignment));
    if (offset > dataSize || size > dataSize - offset)
      return bad("constant '%s' (offset %llu, %llu bytes) lies outside the data section of %llu "
                 "bytes; the file is truncated or damaged",
                 constant.name()->c_str(), offset, size, static_cast<unsigned long long>(dataSize));
    ranges.push_back({offset, size, "constant", constant.name()->c_str()});
  }
  return success();
}

Error Verification::weights() {
  std::vector<uint64_t> used(sizeOf(module.constants()), 0);
  for (size_t i = 0; i < sizeOf(module.tensors()); ++i) {
    const TensorInfo &tensor = *module.tensors()->Get(i);
    std::string what = formatText("weight '%s'", tensor.name()->c_str());
    if (Error error = aligned(tensor.parts(), "the vector of parts of " + what))
      return error;
    if (Error error = aligned(tensor.shape(), "the shape of " + what))
      return error;
    for (size_t p = 0; p < sizeOf(tensor.parts()); ++p) {
      const TensorPart &part = *tensor.parts()->Get(p);
      if (part.role() > PartRole_MAX)
        return bad("weight '%s': part %zu has the unknown role %u", tensor.name()->c_str(), p,
                   part.role());
      if (part.constant() >= used.size())
        return bad("weight '%s': part %zu names constant %u, but there are %zu constants",
                   tensor.name()->c_str(), p, part.constant(), used.size());
      const Constant &constant = *module.constants()->Get(part.constant());
      if (part.bytes() > constant.size() - used[part.constant()])
        return bad("weight '%s': with part %zu the parts of constant '%s' have more than its %llu "
                   "bytes",
                   tensor.name()->c_str(), p, constant.name()->c_str(),
                   static_cast<unsigned long long>(constant.size()));
      used[part.constant()] += part.bytes();
    }
  }
  return success();
}

Error Verification::buffers() {
  for (size_t i = 0; i < sizeOf(module.buffers()); ++i) {
    const Buffer &b = *module.buffers()->Get(i);
    std::string what = formatText("buffer %zu", i);
    size_t limit = 0;
    switch (b.kind()) {
    case BufferKind_Input:
      limit = sizeOf(module.inputs());
      break;
    case BufferKind_Output:
      limit = sizeOf(module.outputs());
      break;
    case BufferKind_Constant:
      limit = sizeOf(module.constants());
      break;
    case BufferKind_Transient:
      limit = module.slot_count();
      break;
    case BufferKind_State:
      limit = sizeOf(module.states());
      break;
    default:
      return bad("buffer %zu has the unknown kind %u", i, b.kind());
    }
    const char *kind = EnumNameBufferKind(b.kind());
    if (b.index() >= limit)
      return bad("buffer %zu names %s %u, but there are %zu", i, kind, b.index(), limit);
    if (b.element_type() > ElementType_MAX)
      return bad("buffer %zu has the unknown element type %u", i, b.element_type());
    if (b.kind() == BufferKind_Transient && b.size() == kNone)
      return bad("buffer %zu is transient and has no size", i);
    if (b.kind() == BufferKind_State && !module.states()->Get(b.index())->in_place())
      return bad("buffer %zu names state %u, which is not in place", i, b.index());
    if ((b.kind() == BufferKind_Input && inPlaceInput[b.index()]) ||
        (b.kind() == BufferKind_Output && inPlaceOutput[b.index()]))
      return bad("buffer %zu names %s %u, whose state is in place", i, kind, b.index());
    if (Error error = symbol(b.size(), what, true))
      return error;
    if (Error error = symbol(b.offset(), what, true))
      return error;
  }
  return success();
}

Error Verification::child(uint32_t index, uint32_t parent, const std::string &what) {
  if (index >= nesting.size())
    return bad("%s names block %u, but there are %zu blocks", what.c_str(), index, nesting.size());
  if (index <= parent)
    return bad("%s names block %u, which does not come after its own", what.c_str(), index);
  if (nesting[index] != 0)
    return bad("%s names block %u, which is named more than once", what.c_str(), index);
  nesting[index] = nesting[parent] + 1;
  if (nesting[index] > kMaxNesting)
    return bad("%s is nested more than %u levels deep", what.c_str(), kMaxNesting);
  return success();
}

Error Verification::command(uint32_t block, uint32_t number, Command type, const void *value) {
  std::string what =
      formatText("command %u of block %u (%s)", number, block, EnumNameCommand(type));
  if (!value)
    return bad("%s is empty", what.c_str());
  auto writable = [&](uint32_t index) -> Error {
    if (Error error = buffer(index, what))
      return error;
    BufferKind kind = module.buffers()->Get(index)->kind();
    if (kind == BufferKind_Input || kind == BufferKind_Constant)
      return bad("%s writes to buffer %u, which is read-only", what.c_str(), index);
    return success();
  };
  switch (type) {
  case Command_Eval: {
    auto &eval = *static_cast<const Eval *>(value);
    size_t count = sizeOf(module.symbol_ops());
    if (eval.begin() > count || eval.count() > count - eval.begin())
      return bad("%s: operations [%u, +%u) are outside of the %zu there are", what.c_str(),
                 eval.begin(), eval.count(), count);
    return success();
  }
  case Command_Dispatch: {
    auto &dispatch = *static_cast<const Dispatch *>(value);
    if (dispatch.kernel() >= module.kernel_count())
      return bad("%s names kernel %u, but there are %u kernels", what.c_str(), dispatch.kernel(),
                 module.kernel_count());
    for (size_t i = 0; i < sizeOf(dispatch.bindings()); ++i)
      if (Error error = buffer(dispatch.bindings()->Get(i), what))
        return error;
    for (size_t i = 0; i < sizeOf(dispatch.symbols()); ++i)
      if (Error error = symbol(dispatch.symbols()->Get(i), what, false))
        return error;
    if (dispatch.node() != kNone && dispatch.node() >= sizeOf(module.nodes()))
      return bad("%s names node %u, but there are %zu nodes", what.c_str(), dispatch.node(),
                 sizeOf(module.nodes()));
    if (Error error = symbol(dispatch.tasks(), what, false))
      return error;
    if (Error error = symbol(dispatch.cost(), what, true))
      return error;
    return symbol(dispatch.scratch(), what, true);
  }
  case Command_Copy: {
    auto &copy = *static_cast<const Copy *>(value);
    if (Error error = buffer(copy.src(), what))
      return error;
    if (Error error = writable(copy.dst()))
      return error;
    if (Error error = symbol(copy.size(), what, false))
      return error;
    if (Error error = symbol(copy.src_offset(), what, true))
      return error;
    return symbol(copy.dst_offset(), what, true);
  }
  case Command_Fill: {
    auto &fill = *static_cast<const Fill *>(value);
    if (fill.width() != 1 && fill.width() != 2 && fill.width() != 4 && fill.width() != 8)
      return bad("%s: width %u is not 1, 2, 4 or 8", what.c_str(), fill.width());
    if (Error error = writable(fill.dst()))
      return error;
    if (Error error = symbol(fill.size(), what, true))
      return error;
    return symbol(fill.offset(), what, true);
  }
  case Command_If: {
    auto &branch = *static_cast<const If *>(value);
    if (Error error = symbol(branch.condition(), what, false))
      return error;
    if (branch.then_block() != kNone)
      if (Error error = child(branch.then_block(), block, what))
        return error;
    if (branch.else_block() != kNone)
      return child(branch.else_block(), block, what);
    return success();
  }
  case Command_Loop: {
    auto &loop = *static_cast<const Loop *>(value);
    if (loop.trip_count() == kNone && loop.condition() == kNone)
      return bad("%s has neither a trip count nor a condition", what.c_str());
    if (Error error = symbol(loop.trip_count(), what, true))
      return error;
    if (Error error = symbol(loop.condition(), what, true))
      return error;
    if (Error error = symbol(loop.iteration(), what, true))
      return error;
    return child(loop.body(), block, what);
  }
  default:
    return bad("command %u of block %u has the unknown type %u", number, block, type);
  }
}

Error Verification::blocks() {
  size_t count = sizeOf(module.blocks());
  if (count == 0)
    return bad("there is no block of commands");
  if (count > kMaxCount)
    return bad("%zu blocks are more than %u", count, kMaxCount);
  nesting.assign(count, 0);
  nesting[0] = 1;
  for (uint32_t i = 0; i < count; ++i) {
    if (nesting[i] == 0)
      return bad("block %u is not named by any command before it", i);
    const Block &block = *module.blocks()->Get(i);
    if (sizeOf(block.commands()) != sizeOf(block.commands_type()))
      return bad("block %u has %zu commands but %zu types", i, sizeOf(block.commands()),
                 sizeOf(block.commands_type()));
    for (uint32_t c = 0; c < sizeOf(block.commands()); ++c)
      if (Error error = command(i, c, static_cast<Command>(block.commands_type()->Get(c)),
                                block.commands()->GetAs<void>(c)))
        return error;
  }
  return success();
}

Error Verification::executables() {
  for (size_t i = 0; i < sizeOf(module.executables()); ++i) {
    const Executable &executable = *module.executables()->Get(i);
    std::string what = formatText("executable %zu ('%s')", i, executable.target()->c_str());
    if (sizeOf(executable.kernels()) != module.kernel_count())
      return bad("%s has %zu kernels, but the module has %u", what.c_str(),
                 sizeOf(executable.kernels()), module.kernel_count());
    unsigned long long offset = executable.offset(), size = executable.size();
    if (offset % kModuleAlignment != 0)
      return bad("%s at offset %llu of the data section is not aligned to %llu bytes", what.c_str(),
                 offset, static_cast<unsigned long long>(kModuleAlignment));
    if (offset > dataSize || size > dataSize - offset)
      return bad("%s (offset %llu, %llu bytes) lies outside the data section of %llu bytes; the "
                 "file is truncated or damaged",
                 what.c_str(), offset, size, static_cast<unsigned long long>(dataSize));
    ranges.push_back({offset, size, "executable", executable.target()->c_str()});
    for (uint32_t j = 0; j < sizeOf(executable.unused_slots()); ++j)
      if (uint32_t slot = executable.unused_slots()->Get(j); slot >= module.slot_count())
        return bad("%s does not use slot %u, but the module has %u slots", what.c_str(), slot,
                   module.slot_count());
    if (Error error = absentKernels(executable, what))
      return error;
  }
  return success();
}

/// What an executable lacks has to be in one for the host.
Error Verification::absentKernels(const Executable &executable, const std::string &what) {
  if (sizeOf(executable.absent()) == 0)
    return success();
  uint32_t next = 0;
  for (uint32_t kernel : *executable.absent()) {
    if (kernel < next || kernel >= module.kernel_count())
      return bad("%s does not have kernel %u, but the module has %u kernels, or they are not in "
                 "ascending order",
                 what.c_str(), kernel, module.kernel_count());
    next = kernel + 1;
  }
  if (executable.driver()->str() == "cpu")
    return bad("%s does not have kernel %u; those of the driver 'cpu' have all", what.c_str(),
               executable.absent()->Get(0));
  if (executable.driver()->str() == "host")
    return success();
  for (const Executable *other : *module.executables())
    if (isForHost(*other) && hasKernels(*other, *executable.absent()))
      return success();
  return bad("%s does not have kernel %u, and no executable for the host has all that it lacks",
             what.c_str(), executable.absent()->Get(0));
}

Error Verification::overlaps() {
  ranges.erase(std::remove_if(ranges.begin(), ranges.end(),
                              [](const Range &range) { return range.size == 0; }),
               ranges.end());
  std::sort(ranges.begin(), ranges.end(),
            [](const Range &a, const Range &b) { return a.offset < b.offset; });
  for (size_t i = 1; i < ranges.size(); ++i) {
    const Range &a = ranges[i - 1], &b = ranges[i];
    if (b.offset < a.offset + a.size)
      return bad("%s '%s' (offset %llu) overlaps %s '%s' (offset %llu, %llu bytes)", b.what,
                 b.label, static_cast<unsigned long long>(b.offset), a.what, a.label,
                 static_cast<unsigned long long>(a.offset),
                 static_cast<unsigned long long>(a.size));
  }
  return success();
}

Error Verification::run() {
  const struct {
    const char *what;
    uint32_t count;
  } counts[] = {{"symbols", module.symbol_count()},
                {"slots", module.slot_count()},
                {"kernels", module.kernel_count()}};
  for (const auto &entry : counts)
    if (entry.count > kMaxCount)
      return bad("%u %s are more than %u", entry.count, entry.what, kMaxCount);
  if (Error error = tensors(module.inputs(), "input"))
    return error;
  if (Error error = tensors(module.outputs(), "output"))
    return error;
  if (Error error = states())
    return error;
  if (Error error = constants())
    return error;
  if (Error error = weights())
    return error;
  if (Error error = buffers())
    return error;
  if (Error error = symbolOps())
    return error;
  if (Error error = executables())
    return error;
  if (Error error = blocks())
    return error;
  return overlaps();
}

} // namespace

Error tacq::verifyModule(const Module &module, uint64_t dataSize, const std::string &name) {
  return Verification(module, dataSize, name).run();
}
