//===- SessionStates.cpp - Shapes, key/value caches and other states ------===//

#include "Session.h"
#include "Status.h"

#include <cstdint>

using namespace tacq;

AxisRows tacq::axisRows(const std::vector<int64_t> &dims, int32_t axis, size_t elementBytes) {
  AxisRows result;
  for (int32_t i = 0; i < axis; ++i)
    result.rows *= dims[i];
  result.inner = static_cast<int64_t>(elementBytes);
  for (size_t i = static_cast<size_t>(axis) + 1; i < dims.size(); ++i)
    result.inner *= dims[i];
  return result;
}

// ---- shapes --------------------------------------------------------------------------------

/// Enters the extents of an input into the symbol table; the first one defines a symbol.
Error tacq_session::bindDims(size_t index, const std::vector<int64_t> &dims) {
  const format::TensorDecl &decl = *metadata->inputs()->Get(static_cast<uint32_t>(index));
  for (uint32_t axis = 0; axis < dims.size(); ++axis) {
    const format::Dim &dim = *decl.dims()->Get(axis);
    if (dim.extent() >= 0)
      continue;
    int32_t &definer = definedBy[dim.symbol()];
    int64_t &value = context.symbols[dim.symbol()];
    if (definer < 0) {
      definer = static_cast<int32_t>(index);
      value = dims[axis];
    } else if (value != dims[axis])
      return makeError(TACQ_INVALID_INPUT,
                       "%s: the tensor has shape %s, but axis %u ('%s') must be %lld as in %s%s",
                       module->inputs[index].describe("input").c_str(), shapeText(dims).c_str(),
                       axis, module->inputs[index].dimTexts[axis], static_cast<long long>(value),
                       module->inputs[definer].describe("input").c_str(),
                       isKept(index) ? "; the session keeps this input from earlier runs, reset "
                                       "it before other shapes are used"
                                     : "");
  }
  context.inputDims[index] = dims;
  return success();
}

/// The extents of an input that the session keeps.
Error tacq_session::keptDims(size_t index, std::vector<int64_t> &dims) const {
  const format::State &state = stateOf(index);
  const SessionState &kept = states[index];
  const format::TensorDecl &decl = *metadata->inputs()->Get(state.input());
  dims.resize(sizeOf(decl.dims()));
  for (uint32_t axis = 0; axis < dims.size(); ++axis) {
    const format::Dim &dim = *decl.dims()->Get(axis);
    if (static_cast<int32_t>(axis) == state.axis())
      dims[axis] = kept.length;
    else if (dim.extent() >= 0)
      dims[axis] = dim.extent();
    else if (kept.length > 0)
      dims[axis] = kept.dims[axis];
    else if (definedBy[dim.symbol()] >= 0)
      dims[axis] = context.symbols[dim.symbol()];
    else
      return makeError(TACQ_UNSUPPORTED,
                       "%s: axis %u ('%s') does not follow from the other inputs, so the session "
                       "cannot start it; pass it yourself in a session that is not stateful",
                       module->inputs[state.input()].describe("input").c_str(), axis,
                       module->inputs[state.input()].dimTexts[axis]);
  }
  return success();
}

namespace {

/// Reads for the prologue: constants, and inputs in the caller's memory.
class PrologueSource final : public SymbolSource {
public:
  PrologueSource(const RunContext &context, const std::vector<SessionInput> &inputs)
      : context(context), inputs(inputs) {}

  Error readElement(uint32_t index, int64_t element, void *value, int64_t size) override {
    const format::Module &module = context.view->metadata();
    const format::Buffer &buffer = *module.buffers()->Get(index);
    const uint8_t *memory;
    int64_t available;
    if (buffer.kind() == format::BufferKind_Constant) {
      const format::Constant &constant = *module.constants()->Get(buffer.index());
      memory = context.view->bytes(constant);
      available = static_cast<int64_t>(constant.size());
    } else {
      memory = static_cast<const uint8_t *>(inputs[buffer.index()].data);
      available = inputs[buffer.index()].bytes;
    }
    int64_t start = buffer.offset() == kNone ? 0 : context.symbols[buffer.offset()];
    int64_t offset;
    if (start < 0 || element < 0 || __builtin_mul_overflow(element, size, &offset) ||
        __builtin_add_overflow(offset, start, &offset) || available < size ||
        offset > available - size)
      return makeError(TACQ_INVALID_INPUT, "element %lld of buffer %u, which has %lld bytes",
                       static_cast<long long>(element), index, static_cast<long long>(available));
    memcpy(value, memory + offset, static_cast<size_t>(size));
    return success();
  }

private:
  const RunContext &context;
  const std::vector<SessionInput> &inputs;
};

} // namespace

/// Zeroes the symbols, enters the inputs' shapes and executes the prologue.
Error tacq_session::runPrologue() {
  std::fill(context.symbols.begin(), context.symbols.end(), 0);
  definedBy.assign(context.symbols.size(), -1);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!isKept(i))
      if (Error error = bindDims(i, inputs[i].dims))
        return error;
  if (options.stateful)
    for (size_t i = 0; i < states.size(); ++i) {
      std::vector<int64_t> dims;
      if (Error error = keptDims(i, dims))
        return error;
      if (Error error = bindDims(stateOf(i).input(), dims))
        return error;
    }
  PrologueSource source(context, inputs);
  SymbolContext symbols;
  symbols.view = context.view;
  symbols.symbols = context.symbols.data();
  symbols.inputDims = &context.inputDims;
  symbols.capacities = &context.capacities;
  symbols.source = &source;
  return executeSymbolOps(symbols, 0, metadata->prologue());
}

/// Enlarges the capacities of caches that this run does not fit into; `again` when it did so.
Error tacq_session::growCapacities(bool &again) {
  again = false;
  for (uint32_t i = 0; i < states.size(); ++i) {
    const format::State &state = stateOf(i);
    if (!state.in_place())
      continue;
    const format::Dim &dim =
        *metadata->outputs()->Get(state.output())->dims()->Get(static_cast<uint32_t>(state.axis()));
    int64_t needed = context.symbols[dim.symbol()];
    int64_t &capacity = context.capacities[i];
    if (needed <= capacity)
      continue;
    if (options.cache_capacity > 0)
      return makeError(TACQ_CAPACITY,
                       "the cache '%s' holds %lld entries, this call needs %lld; create the "
                       "session with a larger cache_capacity, or reset it",
                       state.name()->c_str(), static_cast<long long>(capacity),
                       static_cast<long long>(needed));
    int64_t larger = capacity;
    while (larger < needed)
      if (__builtin_mul_overflow(larger, int64_t(2), &larger))
        return makeError(TACQ_OUT_OF_MEMORY, "the cache '%s' would need %lld entries",
                         state.name()->c_str(), static_cast<long long>(needed));
    capacity = larger;
    again = true;
  }
  return success();
}

Error tacq_session::resolveShapes() {
  // The prologue may compute with the capacity, so it is evaluated again when that has grown.
  std::vector<int64_t> before = context.capacities;
  bool again = false;
  Error error = runPrologue();
  if (!error)
    error = growCapacities(again);
  if (!error && again) {
    error = runPrologue();
    if (!error)
      error = growCapacities(again);
    if (!error && again)
      error = makeError(TACQ_INTERNAL, "module '%s': the need for cache grows with its capacity",
                        module->view->name().c_str());
  }
  if (error)
    context.capacities = before;
  return error;
}

// ---- memory of states ----------------------------------------------------------------------

Error tacq_session::prepareStates() {
  // A state that is not in place changes its memory with each run.
  for (size_t i = 0; options.stateful && i < states.size(); ++i)
    if (!stateOf(i).in_place()) {
      waitForStarted();
      if (!started.empty() && started.front().error)
        return fail(std::move(started.front()));
    }
  for (size_t i = 0; i < states.size(); ++i) {
    const format::State &state = stateOf(i);
    SessionState &kept = states[i];
    stateBuffers[i] = nullptr;
    stateSizes[i] = 0;
    size_t elementBytes = tacq_element_size(module->inputs[state.input()].type);
    std::vector<int64_t> dims = context.inputDims[state.input()];
    if (state.in_place())
      dims[state.axis()] = context.capacities[i];
    else if (!options.stateful)
      continue;
    int64_t bytes;
    if (!shapeBytes(dims, elementBytes, bytes))
      return makeError(TACQ_OUT_OF_MEMORY, "the state '%s' would have shape %s",
                       state.name()->c_str(), shapeText(dims).c_str());

    if (!state.in_place()) {
      if (!kept.memory) {
        if (Error error = DeviceMemory::create(device, bytes, kept.memory))
          return error;
        ++allocations;
        kept.dims = dims;
      }
      // The memory of two calls ago takes this call's output.
      outputs[state.output()].memory = std::move(kept.spare);
      kept.spare = nullptr;
      continue;
    }

    // Entries of a different layout cannot stay where they are.
    bool moves = options.stateful && kept.length > 0 && kept.dims != dims;
    if (!kept.memory || kept.memory->size < bytes || moves) {
      waitForStarted();
      std::shared_ptr<DeviceMemory> larger;
      if (Error error = DeviceMemory::create(device, bytes, larger))
        return error;
      ++allocations;
      if (moves) {
        AxisRows rows = axisRows(dims, state.axis(), elementBytes);
        int64_t rowBytes = rows.inner * kept.length;
        if (tacq_status_t *status = device->driver->copy(
                device->handle, larger->buffer, {0, rows.inner * dims[state.axis()]},
                kept.memory->buffer, {0, rows.inner * kept.dims[state.axis()]}, rowBytes,
                rows.rows))
          return fromStatus(status);
        bytesCopied += static_cast<uint64_t>(rowBytes * rows.rows);
      }
      kept.memory = std::move(larger);
    }
    kept.dims = dims;
    stateBuffers[i] = kept.memory->buffer;
    stateSizes[i] = bytes;

    if (!options.stateful) {
      waitForStarted();
      const SessionInput &past = inputs[state.input()];
      AxisRows rows = axisRows(dims, state.axis(), elementBytes);
      int64_t rowBytes = rows.inner * past.dims[state.axis()];
      if (past.bytes > 0)
        if (tacq_status_t *status = device->driver->write(
                device->handle, kept.memory->buffer, {0, rows.inner * dims[state.axis()]},
                past.data, {0, rowBytes}, rowBytes, rows.rows))
          return fromStatus(status);
      bytesCopied += static_cast<uint64_t>(past.bytes);
    }
  }
  return success();
}

void tacq_session::advanceStates() {
  for (size_t i = 0; i < states.size(); ++i) {
    const format::State &state = stateOf(i);
    SessionState &kept = states[i];
    SessionOutput &output = outputs[state.output()];
    if (!state.in_place()) {
      kept.spare = std::move(kept.memory);
      kept.memory = output.memory;
      kept.dims = output.dims;
    }
    if (state.axis() >= 0)
      kept.length = output.dims[state.axis()];
  }
}

Error tacq_session::rewind(int64_t to) {
  if (!started.empty())
    return makeError(TACQ_INVALID_ARGUMENT,
                     "a run that was started is not finished; call tacq_session_finish first");
  if (to < 0 || to > position())
    return makeError(TACQ_INVALID_ARGUMENT, "position %lld is outside of 0 to %lld",
                     static_cast<long long>(to), static_cast<long long>(position()));
  for (size_t i = 0; i < states.size(); ++i)
    if (to > 0 && (stateOf(i).axis() < 0 || states[i].length < to))
      return makeError(TACQ_UNSUPPORTED,
                       "the state '%s' is not a cache with %lld entries; the session can only be "
                       "reset",
                       stateOf(i).name()->c_str(), static_cast<long long>(to));
  // New memory first, so that a failure leaves all states as they are.
  std::vector<std::shared_ptr<DeviceMemory>> shorter(states.size());
  for (size_t i = 0; i < states.size(); ++i) {
    const format::State &state = stateOf(i);
    const SessionState &kept = states[i];
    if (state.in_place() || to == 0 || to == kept.length)
      continue;
    AxisRows rows =
        axisRows(kept.dims, state.axis(), tacq_element_size(module->inputs[state.input()].type));
    int64_t rowBytes = rows.inner * to;
    if (Error error = DeviceMemory::create(device, rowBytes * rows.rows, shorter[i]))
      return error;
    ++allocations;
    if (tacq_status_t *status = device->driver->copy(
            device->handle, shorter[i]->buffer, {0, rowBytes}, kept.memory->buffer,
            {0, rows.inner * kept.length}, rowBytes, rows.rows))
      return fromStatus(status);
    bytesCopied += static_cast<uint64_t>(rowBytes * rows.rows);
  }
  for (size_t i = 0; i < states.size(); ++i) {
    SessionState &kept = states[i];
    if (shorter[i]) {
      kept.memory = std::move(shorter[i]);
      kept.dims[stateOf(i).axis()] = to;
    }
    // States without an axis start again from zeros, which new memory is.
    if (to == 0 && !stateOf(i).in_place())
      kept.memory.reset();
    kept.length = to;
  }
  return success();
}

int64_t tacq_session::position() const {
  for (size_t i = 0; i < states.size(); ++i)
    if (stateOf(i).axis() >= 0)
      return states[i].length;
  return 0;
}

int64_t tacq_session::capacity() const {
  for (size_t i = 0; i < states.size(); ++i)
    if (stateOf(i).in_place())
      return context.capacities[i];
  return 0;
}
