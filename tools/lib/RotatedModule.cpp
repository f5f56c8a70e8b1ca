//===- RotatedModule.cpp - A product with many weights --------------------===//

#include "RotatedModule.h"

#include "tacq/ModuleView.h"
#include "tacq/ModuleWriter.h"

#include <algorithm>
#include <map>

using namespace tacq;
using namespace tacq::tools;
using namespace tacq::format;

/// Also in tacq/KernelBenchmark.h, which is of the compiler.
static constexpr const char *kReadingKernel = "tacq.read";
/// A word for each invocation of the largest workgroup of a reading kernel.
static constexpr int64_t kReadingResultBytes = 4096;

namespace {

class Rotator {
public:
  Rotator(const ModuleView &view, ModuleT &contents, uint64_t copies, uint32_t weight)
      : view(view), contents(contents), copies(copies), weight(weight) {}

  Error run(Rotation &rotation) {
    BlockT &main = *contents.blocks[0];
    std::vector<DispatchT> products;
    std::vector<CommandUnion> kept;
    size_t place = 0;
    for (CommandUnion &command : main.commands) {
      DispatchT *dispatch = command.AsDispatch();
      if (!dispatch)
        return refuse("has commands other than launches");
      if (readsWeight(*dispatch)) {
        products.push_back(*dispatch);
        place = kept.size();
      } else {
        kept.push_back(command);
      }
    }
    for (const auto &output : contents.outputs)
      for (const Dim &dim : output->dims)
        if (dim.extent() < 0)
          return refuse("has results whose shapes are not fixed");
    if (products.empty())
      return refuse("has no launch that reads its largest constant");
    for (uint64_t copy = 1; copy < copies; ++copy)
      weights.push_back(uint32_t(contents.constants.size() + copy - 1));
    std::vector<CommandUnion> loops;
    addLoop(loops, kInOrder, [&](uint64_t copy, std::vector<CommandUnion> &body) {
      for (const DispatchT &product : products)
        body.emplace_back().Set(withWeight(product, copy));
    });
    addLoop(loops, kOverlapping, [&](uint64_t copy, std::vector<CommandUnion> &body) {
      for (const DispatchT &product : products)
        body.emplace_back().Set(withResults(withWeight(product, copy)));
    });
    const auto &names = contents.executables[0]->kernels;
    auto reading = std::find(names.begin(), names.end(), kReadingKernel);
    rotation.hasReading = reading != names.end();
    if (rotation.hasReading)
      addLoop(loops, kReadings, [&](uint64_t copy, std::vector<CommandUnion> &body) {
        DispatchT read;
        read.kernel = uint32_t(reading - names.begin());
        uint32_t result = transient(constantSymbol(kReadingResultBytes));
        read.bindings = {weightBuffer(0, copy), result, result};
        read.tasks = constantSymbol(1);
        body.emplace_back().Set(std::move(read));
      });
    kept.insert(kept.begin() + ptrdiff_t(place), loops.begin(), loops.end());
    contents.blocks[0]->commands = std::move(kept);
    defineSymbols();
    return success();
  }

private:
  Error refuse(const char *why) const {
    return makeError(TACQ_UNSUPPORTED, "'%s' %s; what can be measured is a module of one product",
                     view.name().c_str(), why);
  }

  bool readsWeight(const DispatchT &dispatch) const {
    return std::any_of(dispatch.bindings.begin(), dispatch.bindings.end(),
                       [&](uint32_t buffer) { return isWeight(contents.buffers[buffer]); });
  }
  bool isWeight(const Buffer &buffer) const {
    return buffer.kind() == BufferKind_Constant && buffer.index() == weight;
  }

  /// The same bytes of a copy as `buffer` has of the weight.
  uint32_t weightBuffer(uint32_t buffer, uint64_t copy) {
    const Buffer like = contents.buffers[buffer];
    bool isPart = isWeight(like);
    contents.buffers.emplace_back(BufferKind_Constant, like.element_type(), 0,
                                  copy == 0 ? weight : weights[copy - 1],
                                  isPart ? like.size() : kNone, isPart ? like.offset() : kNone);
    return uint32_t(contents.buffers.size() - 1);
  }

  uint32_t transient(uint32_t sizeSymbol) {
    contents.buffers.emplace_back(BufferKind_Transient, ElementType_None, 0, contents.slot_count++,
                                  sizeSymbol, kNone);
    return uint32_t(contents.buffers.size() - 1);
  }

  DispatchT withWeight(DispatchT product, uint64_t copy) {
    for (uint32_t &buffer : product.bindings)
      if (isWeight(contents.buffers[buffer]))
        buffer = weightBuffer(buffer, copy);
    return product;
  }

  DispatchT withResults(DispatchT product) {
    for (uint32_t &number : product.bindings) {
      const Buffer buffer = contents.buffers[number];
      if (buffer.kind() != BufferKind_Output)
        continue;
      const TensorDeclT &output = *contents.outputs[buffer.index()];
      int64_t bytes = int64_t(elementSize(output.element_type));
      for (const Dim &dim : output.dims)
        bytes *= dim.extent();
      number = transient(constantSymbol(bytes));
    }
    return product;
  }

  template <typename Body>
  void addLoop(std::vector<CommandUnion> &commands, const char *input, Body body) {
    auto block = std::make_unique<BlockT>();
    for (uint64_t copy = 0; copy < copies; ++copy)
      body(copy, block->commands);
    LoopT loop;
    loop.trip_count = contents.symbol_count++;
    loop.body = uint32_t(contents.blocks.size());
    contents.blocks.push_back(std::move(block));
    commands.emplace_back().Set(loop);
    auto declared = std::make_unique<TensorDeclT>();
    declared->name = input;
    declared->element_type = ElementType_U8;
    declared->dims.emplace_back(-1, contents.symbol_count - 1);
    declared->dim_texts.push_back(input);
    contents.inputs.push_back(std::move(declared));
  }

  uint32_t constantSymbol(int64_t value) {
    auto [known, isNew] = constants.try_emplace(value, contents.symbol_count);
    contents.symbol_count += isNew;
    return known->second;
  }

  /// The prologue assigns the constants first. No Eval refers to positions behind it.
  void defineSymbols() {
    std::vector<SymbolOp> ops;
    for (auto [value, symbol] : constants)
      ops.emplace_back(SymbolOpcode_Const, 0, symbol, 0, 0, value);
    contents.symbol_ops.insert(contents.symbol_ops.begin(), ops.begin(), ops.end());
    contents.prologue += uint32_t(ops.size());
  }

  const ModuleView &view;
  ModuleT &contents;
  const uint64_t copies;
  const uint32_t weight;
  std::vector<uint32_t> weights; // the constants of all copies but the first
  std::map<int64_t, uint32_t> constants;
};

} // namespace

Error tools::rotateModule(const std::string &from, const std::string &to, uint64_t bytes,
                          Rotation &rotation) {
  std::unique_ptr<ModuleView> view;
  if (Error error = ModuleView::open(from, {}, view))
    return error;
  const format::Module &metadata = view->metadata();
  if (sizeOf(metadata.constants()) == 0 || sizeOf(metadata.executables()) == 0)
    return makeError(TACQ_UNSUPPORTED, "'%s' has no weights or no code", from.c_str());
  uint32_t weight = 0;
  for (uint32_t i = 1; i < metadata.constants()->size(); ++i)
    if (metadata.constants()->Get(i)->size() > metadata.constants()->Get(weight)->size())
      weight = i;
  const Constant &largest = *metadata.constants()->Get(weight);
  rotation.weightBytes = largest.size();
  rotation.copies = std::max<uint64_t>(1, bytes / std::max<uint64_t>(1, largest.size()));

  ModuleT contents;
  metadata.UnPackTo(&contents);
  if (Error error = Rotator(*view, contents, rotation.copies, weight).run(rotation))
    return error;
  contents.constants.clear();
  contents.executables.clear();
  std::unique_ptr<ModuleWriter> writer;
  if (Error error = ModuleWriter::create(to, writer))
    return error;
  writer->module() = std::move(contents);
  uint32_t index;
  for (const Constant *constant : *metadata.constants())
    if (Error error = writer->addConstant(constant->name()->str(), view->bytes(*constant),
                                          constant->size(), index))
      return error;
  for (uint64_t copy = 1; copy < rotation.copies; ++copy)
    if (Error error = writer->addConstant(largest.name()->str() + " #" + std::to_string(copy),
                                          view->bytes(largest), largest.size(), index))
      return error;
  for (const Executable *executable : *metadata.executables()) {
    ExecutableT description;
    executable->UnPackTo(&description);
    if (Error error =
            writer->addExecutable(description, view->bytes(*executable), executable->size(), index))
      return error;
  }
  return writer->finish();
}
