//===- ScheduleText.cpp - A module's schedule for people ------------------===//

#include "ModuleSummary.h"

#include <cinttypes>

using namespace tacq;
using namespace tacq::tools;

static std::string symbol(uint32_t index) { return "s" + std::to_string(index); }

std::string tools::bufferName(const format::Module &module, uint32_t index) {
  const format::Buffer &buffer = *module.buffers()->Get(index);
  std::string name = "?";
  switch (buffer.kind()) {
  case format::BufferKind_Input:
    name = textOf(module.inputs()->Get(buffer.index())->name());
    break;
  case format::BufferKind_Output:
    name = textOf(module.outputs()->Get(buffer.index())->name());
    break;
  case format::BufferKind_Constant:
    name = textOf(module.constants()->Get(buffer.index())->name());
    break;
  case format::BufferKind_Transient:
    name = "slot" + std::to_string(buffer.index());
    break;
  case format::BufferKind_State:
    name = textOf(module.states()->Get(buffer.index())->name());
    break;
  }
  std::string result = "b" + std::to_string(index) + ":" + name;
  if (buffer.offset() != kNone)
    result += "+" + symbol(buffer.offset());
  return result;
}

namespace {

/// Prints the blocks of a module as an indented program.
class SchedulePrinter {
public:
  explicit SchedulePrinter(const format::Module &module) : module(module) {}

  std::string print() {
    text += "prologue\n";
    for (uint32_t i = 0; i < module.prologue(); ++i)
      printSymbolOp(i, 1);
    if (sizeOf(module.blocks()) > 0)
      printBlock(0, 0);
    return std::move(text);
  }

private:
  void line(int depth, const std::string &content) {
    text += std::string(2 * depth, ' ') + content + "\n";
  }
  std::string buffer(uint32_t index) const { return bufferName(module, index); }

  void printSymbolOp(uint32_t index, int depth) {
    const format::SymbolOp &op = *module.symbol_ops()->Get(index);
    line(depth, formatText("s%u = %s a=%u b=%u imm=%" PRId64, op.dst(),
                           format::EnumNameSymbolOpcode(op.op()), op.a(), op.b(), op.imm()));
  }

  void printDispatch(const format::Dispatch &dispatch, int depth) {
    std::string content = "dispatch ";
    const format::Executable *code =
        sizeOf(module.executables()) > 0 ? module.executables()->Get(0) : nullptr;
    content += code ? textOf(code->kernels()->Get(dispatch.kernel()))
                    : "kernel" + std::to_string(dispatch.kernel());
    content += "(";
    for (size_t i = 0; i < sizeOf(dispatch.bindings()); ++i)
      content += (i ? ", " : "") + buffer(dispatch.bindings()->Get(i));
    content += ") symbols(";
    for (size_t i = 0; i < sizeOf(dispatch.symbols()); ++i)
      content += (i ? ", " : "") + symbol(dispatch.symbols()->Get(i));
    content += ") tasks " + symbol(dispatch.tasks());
    if (dispatch.cost() != kNone)
      content += " cost " + symbol(dispatch.cost());
    if (sizeOf(dispatch.shares()) > 0)
      content += formatText(" in %zu parts", sizeOf(dispatch.shares()));
    if (dispatch.scratch() != kNone)
      content += " scratch " + symbol(dispatch.scratch());
    if (dispatch.node() != kNone) {
      const format::NodeInfo &node = *module.nodes()->Get(dispatch.node());
      content += formatText("  // %s %s", textOf(node.op()), textOf(node.name()));
    }
    line(depth, content);
  }

  void printBlock(uint32_t index, int depth) {
    line(depth, "block " + std::to_string(index));
    const format::Block &block = *module.blocks()->Get(index);
    for (uint32_t i = 0; i < sizeOf(block.commands()); ++i)
      printCommand(block, i, depth + 1);
  }

  void printCommand(const format::Block &block, uint32_t i, int depth) {
    switch (static_cast<format::Command>(block.commands_type()->Get(i))) {
    case format::Command_Eval: {
      const auto &eval = *block.commands()->GetAs<format::Eval>(i);
      for (uint32_t op = 0; op < eval.count(); ++op)
        printSymbolOp(eval.begin() + op, depth);
      break;
    }
    case format::Command_Dispatch:
      printDispatch(*block.commands()->GetAs<format::Dispatch>(i), depth);
      break;
    case format::Command_Copy: {
      const auto &copy = *block.commands()->GetAs<format::Copy>(i);
      line(depth, "copy " + buffer(copy.dst()) + " = " + buffer(copy.src()) + " size " +
                      symbol(copy.size()));
      break;
    }
    case format::Command_Fill: {
      const auto &fill = *block.commands()->GetAs<format::Fill>(i);
      line(depth, formatText("fill %s with 0x%" PRIx64 " of %u bytes", buffer(fill.dst()).c_str(),
                             fill.pattern(), fill.width()));
      break;
    }
    case format::Command_If: {
      const auto &branch = *block.commands()->GetAs<format::If>(i);
      line(depth, "if " + symbol(branch.condition()));
      if (branch.then_block() != kNone)
        printBlock(branch.then_block(), depth + 1);
      if (branch.else_block() != kNone) {
        line(depth, "else");
        printBlock(branch.else_block(), depth + 1);
      }
      break;
    }
    case format::Command_Loop: {
      const auto &loop = *block.commands()->GetAs<format::Loop>(i);
      std::string content = "loop";
      if (loop.trip_count() != kNone)
        content += " trips " + symbol(loop.trip_count());
      if (loop.condition() != kNone)
        content += " while " + symbol(loop.condition());
      if (loop.iteration() != kNone)
        content += " counting " + symbol(loop.iteration());
      line(depth, content);
      printBlock(loop.body(), depth + 1);
      break;
    }
    case format::Command_NONE:
      break;
    }
  }

  const format::Module &module;
  std::string text;
};

} // namespace

std::string tools::scheduleText(const ModuleView &view) {
  return SchedulePrinter(view.metadata()).print();
}
