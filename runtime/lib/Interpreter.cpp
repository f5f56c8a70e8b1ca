//===- Interpreter.cpp - Executes blocks of commands ----------------------===//
//
// Control flow, symbols, sizes and ranges for all drivers that take commands one by one.
//
//===----------------------------------------------------------------------===//

#include "Interpreter.h"
#include "Objects.h"
#include "Status.h"
#include "tacq/kernel_abi.h"

#include <algorithm>

using namespace tacq;
using namespace tacq::format;

ProgramInfo::ProgramInfo(const Module &module) {
  sizeSymbols.assign(module.symbol_count(), 0);
  auto mark = [&](uint32_t symbol) {
    if (symbol != kNone)
      sizeSymbols[symbol] = 1;
  };
  for (size_t i = 0; i < sizeOf(module.buffers()); ++i) {
    mark(module.buffers()->Get(i)->size());
    mark(module.buffers()->Get(i)->offset());
  }
  for (size_t i = 0; i < sizeOf(module.outputs()); ++i)
    for (size_t axis = 0; axis < sizeOf(module.outputs()->Get(i)->dims()); ++axis) {
      const Dim &dim = *module.outputs()->Get(i)->dims()->Get(axis);
      if (dim.extent() < 0)
        mark(dim.symbol());
    }
  for (size_t i = 0; i < sizeOf(module.blocks()); ++i) {
    firstOrdinal.push_back(dispatchCount);
    const Block &block = *module.blocks()->Get(i);
    for (size_t c = 0; c < sizeOf(block.commands_type()); ++c)
      dispatchCount += block.commands_type()->Get(c) == Command_Dispatch;
  }
}

bool tacq::tensorBytes(const TensorDecl &decl, const int64_t *symbols, int64_t &bytes) {
  bytes = static_cast<int64_t>(elementSize(decl.element_type()));
  bool zero = false;
  for (size_t axis = 0; axis < sizeOf(decl.dims()); ++axis) {
    const Dim &dim = *decl.dims()->Get(axis);
    int64_t extent = dim.extent() >= 0 ? dim.extent() : symbols[dim.symbol()];
    if (extent < 0)
      return false;
    zero |= extent == 0;
    if (extent > 0 && __builtin_mul_overflow(bytes, extent, &bytes))
      return false;
  }
  if (zero)
    bytes = 0;
  return true;
}

std::string tacq::describeNode(const Module &module, uint32_t node) {
  if (node >= sizeOf(module.nodes()))
    return std::string();
  const NodeInfo &info = *module.nodes()->Get(node);
  std::string text = textOf(info.op());
  text += text.empty() ? "node '" : " node '";
  text += textOf(info.name());
  text += "'";
  if (*textOf(info.file()))
    text += formatText(" (%s)", textOf(info.file()));
  return text;
}

namespace {

class Interpreter final : SymbolSource {
public:
  Interpreter(tacq_run_t &run, const tacq_interpreter_ops_t &ops, void *user)
      : run(run), ops(ops), user(user), context(*static_cast<RunContext *>(run.internal)),
        module(context.view->metadata()) {
    symbols.view = context.view;
    symbols.symbols = run.symbols;
    symbols.inputDims = &context.inputDims;
    symbols.capacities = &context.capacities;
    symbols.source = this;
    symbols.watched = context.program->sizeSymbols.data();
  }

  tacq_status_t *execute() {
    context.slotReserved.assign(module.slot_count(), -1);
    if (tacq_status_t *status = resolve())
      return status;
    return block(0);
  }

private:
  tacq_status_t *resolve();
  tacq_status_t *block(uint32_t index);
  tacq_status_t *eval(const Eval &command);
  tacq_status_t *dispatch(const Dispatch &command, uint32_t ordinal);
  tacq_status_t *copy(const Copy &command);
  tacq_status_t *fill(const Fill &command);
  tacq_status_t *loop(const Loop &command);
  Error readElement(uint32_t buffer, int64_t element, void *value, int64_t size) override;

  Error range(const char *what, uint32_t buffer, int64_t offset, int64_t size) const;
  /// Whether no kernel of the executable uses the buffer's slot.
  bool isUnused(uint32_t buffer) const {
    const Buffer &own = *module.buffers()->Get(buffer);
    return own.kind() == BufferKind_Transient && context.isUnused[own.index()];
  }
  int64_t valueOf(uint32_t symbol) const { return symbol == kNone ? 0 : run.symbols[symbol]; }

  tacq_run_t &run;
  const tacq_interpreter_ops_t &ops;
  void *user;
  RunContext &context;
  const Module &module;
  SymbolContext symbols;
};

/// Computes all bindings, and makes slots and outputs large enough for them.
tacq_status_t *Interpreter::resolve() {
  size_t count = sizeOf(module.buffers());
  context.bindings.resize(count);
  context.slotSizes.assign(module.slot_count(), 0);
  context.outputWanted.assign(sizeOf(module.outputs()), 0);
  for (size_t i = 0; i < count; ++i) {
    const Buffer &buffer = *module.buffers()->Get(i);
    tacq_binding_t &binding = context.bindings[i];
    binding = {static_cast<int32_t>(buffer.kind()), buffer.index(), valueOf(buffer.offset()), -1};
    // A dispatch may bind it, but there is nothing there.
    if (isUnused(static_cast<uint32_t>(i)))
      continue;
    int64_t object = -1; // size of the object; -1: as large as needed
    switch (buffer.kind()) {
    case BufferKind_Input:
      object = run.input_sizes[buffer.index()];
      break;
    case BufferKind_Constant:
      object = static_cast<int64_t>(module.constants()->Get(buffer.index())->size());
      break;
    case BufferKind_State:
      object = run.state_sizes[buffer.index()];
      break;
    case BufferKind_Output:
    case BufferKind_Transient:
      break;
    }
    int64_t size, end;
    if (buffer.size() != kNone)
      size = run.symbols[buffer.size()];
    else if (buffer.kind() == BufferKind_Output) {
      if (!tensorBytes(*module.outputs()->Get(buffer.index()), run.symbols, size))
        continue;
      size -= binding.offset;
    } else
      size = object - binding.offset;
    // Such a range may belong to a branch that is not taken; a command that uses it is refused.
    if (binding.offset < 0 || size < 0 || __builtin_add_overflow(binding.offset, size, &end) ||
        (object >= 0 && end > object))
      continue;
    binding.size = size;
    if (buffer.kind() == BufferKind_Transient)
      context.slotSizes[buffer.index()] = std::max(context.slotSizes[buffer.index()], end);
    else if (buffer.kind() == BufferKind_Output)
      context.outputWanted[buffer.index()] = std::max(context.outputWanted[buffer.index()], end);
  }
  for (uint32_t i = 0; i < context.slotSizes.size(); ++i)
    if (context.slotSizes[i] > context.slotReserved[i]) {
      if (tacq_status_t *status = ops.reserve_slot(user, i, context.slotSizes[i]))
        return status;
      context.slotReserved[i] = context.slotSizes[i];
    }
  for (uint32_t i = 0; i < context.outputWanted.size(); ++i)
    if (context.outputWanted[i] > run.output_sizes[i])
      if (tacq_status_t *status = run.reserve_output(&run, i, context.outputWanted[i]))
        return status;
  return ops.bind(user, context.bindings.data(), static_cast<uint32_t>(count));
}

tacq_status_t *Interpreter::block(uint32_t index) {
  const Block &body = *module.blocks()->Get(index);
  uint32_t ordinal = context.program->firstOrdinal[index];
  for (uint32_t i = 0; i < sizeOf(body.commands()); ++i) {
    ++*run.commands;
    tacq_status_t *status = nullptr;
    switch (static_cast<Command>(body.commands_type()->Get(i))) {
    case Command_Eval:
      status = eval(*body.commands()->GetAs<Eval>(i));
      break;
    case Command_Dispatch:
      status = dispatch(*body.commands()->GetAs<Dispatch>(i), ordinal++);
      break;
    case Command_Copy:
      status = copy(*body.commands()->GetAs<Copy>(i));
      break;
    case Command_Fill:
      status = fill(*body.commands()->GetAs<Fill>(i));
      break;
    case Command_If: {
      const If &branch = *body.commands()->GetAs<If>(i);
      uint32_t taken =
          run.symbols[branch.condition()] != 0 ? branch.then_block() : branch.else_block();
      if (taken != kNone)
        status = block(taken);
      break;
    }
    case Command_Loop:
      status = loop(*body.commands()->GetAs<Loop>(i));
      break;
    case Command_NONE:
      break;
    }
    if (status)
      return status;
  }
  return nullptr;
}

tacq_status_t *Interpreter::eval(const Eval &command) {
  symbols.changed = false;
  if (Error error = executeSymbolOps(symbols, command.begin(), command.count()))
    return toStatus(error);
  return symbols.changed ? resolve() : nullptr;
}

tacq_status_t *Interpreter::dispatch(const Dispatch &command, uint32_t ordinal) {
  tacq_dispatch_t info = {};
  info.tasks = run.symbols[command.tasks()];
  if (info.tasks <= 0)
    return nullptr;
  info.kernel = command.kernel();
  info.node = command.node();
  info.ordinal = ordinal;
  info.buffer_count = static_cast<uint32_t>(sizeOf(command.bindings()));
  info.buffers = info.buffer_count ? command.bindings()->data() : nullptr;
  for (uint32_t i = 0; i < info.buffer_count; ++i)
    if (context.bindings[info.buffers[i]].size < 0 && !isUnused(info.buffers[i]))
      return toStatus(range("binds", info.buffers[i], 0, 0));
  info.symbol_count = static_cast<uint32_t>(sizeOf(command.symbols()));
  context.dispatchSymbols.resize(info.symbol_count);
  for (uint32_t i = 0; i < info.symbol_count; ++i)
    context.dispatchSymbols[i] = run.symbols[command.symbols()->Get(i)];
  info.symbols = context.dispatchSymbols.data();
  info.cost = std::max<int64_t>(0, valueOf(command.cost()));
  if (static_cast<int64_t>(command.share_tasks()) == info.tasks) {
    info.share_count = static_cast<uint32_t>(sizeOf(command.shares()));
    info.shares = info.share_count ? command.shares()->data() : nullptr;
  }
  info.scratch = valueOf(command.scratch());
  if (info.scratch < 0)
    return toStatus(makeError(TACQ_INTERNAL, "module '%s': %s asks for %lld bytes of scratch",
                              context.view->name().c_str(), describeNode(module, info.node).c_str(),
                              static_cast<long long>(info.scratch)));
  ++*run.dispatches;
  return ops.dispatch(user, &info);
}

Error Interpreter::range(const char *what, uint32_t buffer, int64_t offset, int64_t size) const {
  const tacq_binding_t &binding = context.bindings[buffer];
  int64_t end;
  if (binding.size >= 0 && offset >= 0 && size >= 0 &&
      !__builtin_add_overflow(offset, size, &end) && end <= binding.size)
    return success();
  if (binding.size < 0)
    return makeError(TACQ_INVALID_INPUT,
                     "module '%s': a command %s buffer %u (%s %u), whose size with these inputs is "
                     "negative or too large",
                     context.view->name().c_str(), what, buffer,
                     EnumNameBufferKind(static_cast<BufferKind>(binding.kind)), binding.index);
  return makeError(TACQ_INTERNAL,
                   "module '%s': a command %s bytes [%lld, +%lld) of buffer %u, which has %lld "
                   "bytes; the module was not compiled correctly",
                   context.view->name().c_str(), what, static_cast<long long>(offset),
                   static_cast<long long>(size), buffer, static_cast<long long>(binding.size));
}

tacq_status_t *Interpreter::copy(const Copy &command) {
  int64_t size = run.symbols[command.size()];
  int64_t from = valueOf(command.src_offset()), to = valueOf(command.dst_offset());
  if (Error error = range("reads", command.src(), from, size))
    return toStatus(error);
  if (Error error = range("writes", command.dst(), to, size))
    return toStatus(error);
  return size == 0 ? nullptr : ops.copy(user, command.dst(), to, command.src(), from, size);
}

tacq_status_t *Interpreter::fill(const Fill &command) {
  int64_t offset = valueOf(command.offset());
  int64_t size = command.size() == kNone ? context.bindings[command.dst()].size - offset
                                         : run.symbols[command.size()];
  if (Error error = range("fills", command.dst(), offset, size))
    return toStatus(error);
  if (size % command.width() != 0)
    return toStatus(
        makeError(TACQ_INTERNAL, "module '%s': a fill of %lld bytes is no multiple of its width %u",
                  context.view->name().c_str(), static_cast<long long>(size), command.width()));
  return size == 0
             ? nullptr
             : ops.fill(user, command.dst(), offset, size, command.pattern(), command.width());
}

tacq_status_t *Interpreter::loop(const Loop &command) {
  int64_t trips = command.trip_count() == kNone ? INT64_MAX : run.symbols[command.trip_count()];
  int64_t i = 0;
  auto setIteration = [&] {
    if (command.iteration() == kNone || run.symbols[command.iteration()] == i)
      return static_cast<tacq_status_t *>(nullptr);
    run.symbols[command.iteration()] = i;
    return context.program->sizeSymbols[command.iteration()] ? resolve() : nullptr;
  };
  for (; i < trips; ++i) {
    if (command.condition() != kNone && run.symbols[command.condition()] == 0)
      break;
    if (tacq_status_t *status = setIteration())
      return status;
    if (tacq_status_t *status = block(command.body()))
      return status;
  }
  return setIteration();
}

Error Interpreter::readElement(uint32_t buffer, int64_t element, void *value, int64_t size) {
  int64_t offset;
  int64_t available = context.bindings[buffer].size;
  if (element < 0 || __builtin_mul_overflow(element, size, &offset) || available < size ||
      offset > available - size)
    return makeError(TACQ_INVALID_INPUT, "element %lld of buffer %u, which has %lld elements",
                     static_cast<long long>(element), buffer,
                     static_cast<long long>(available < 0 ? 0 : available / size));
  return fromStatus(ops.read(user, buffer, offset, value, size));
}

int64_t join(int32_t low, int32_t high) {
  return static_cast<int64_t>(static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 |
                              static_cast<uint32_t>(low));
}

} // namespace

tacq_status_t *tacq_interpret(tacq_run_t *run, const tacq_interpreter_ops_t *ops, void *user) {
  return Interpreter(*run, *ops, user).execute();
}

tacq_status_t *tacq_kernel_error(const tacq_module_t *module, const int32_t *words) {
  const ModuleView &view = viewOf(module);
  std::string where = describeNode(view.metadata(), static_cast<uint32_t>(words[0]) - 1);
  if (where.empty())
    where = formatText("module '%s'", view.name().c_str());
  long long value = join(words[2], words[3]), limit = join(words[4], words[5]);
  std::string text;
  switch (words[1]) {
  case TACQ_KERNEL_INDEX_OUT_OF_RANGE:
    text = formatText("index %lld is out of range for an axis of extent %lld", value, limit);
    break;
  case TACQ_KERNEL_DIVISION_BY_ZERO:
    text = "integer division by zero";
    break;
  case TACQ_KERNEL_INVALID_VALUE:
    text = formatText("value %lld is not allowed (limit %lld)", value, limit);
    break;
  case TACQ_KERNEL_SHAPE_MISMATCH:
    text = formatText("extent %lld does not match %lld", value, limit);
    break;
  default:
    text = formatText("the kernel reported error %d (%lld, %lld)", words[1], value, limit);
  }
  return toStatus(Error(TACQ_INVALID_INPUT, where + ": " + text));
}
