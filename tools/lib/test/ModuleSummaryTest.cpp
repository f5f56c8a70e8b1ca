//===- ModuleSummaryTest.cpp ----------------------------------------------===//

#include "ModuleSummary.h"

#include "tacq/ModuleWriter.h"

#include <cstdio>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

using namespace tacq;
using namespace tacq::tools;

namespace {

/// y[n] = x[n] copied, with one weight that no command reads.
class ModuleSummary : public testing::Test {
protected:
  void SetUp() override {
    char name[] = "/tmp/tacq-module-XXXXXX";
    close(mkstemp(name));
    path = name;
    std::unique_ptr<ModuleWriter> writer;
    ASSERT_FALSE(ModuleWriter::create(path, writer));
    float weights[6] = {1, 2, 3, 4, 5, 6};
    uint32_t constant = 0;
    ASSERT_FALSE(writer->addConstant("w", weights, sizeof(weights), constant));
    format::ModuleT &module = writer->module();
    module.producer = "test";
    module.model_name = "copy";
    auto declare = [&](const char *tensor) {
      auto decl = std::make_unique<format::TensorDeclT>();
      decl->name = tensor;
      decl->element_type = format::ElementType_F32;
      decl->dims = {format::Dim(-1, 0)};
      decl->dim_texts = {"n"};
      return decl;
    };
    module.inputs.push_back(declare("x"));
    module.outputs.push_back(declare("y"));
    auto tensor = std::make_unique<format::TensorInfoT>();
    tensor->name = "layer.weight";
    tensor->shape = {2, 3};
    tensor->bits = 32;
    tensor->scheme = "dense";
    tensor->parts = {format::TensorPart(24, constant, format::PartRole_Dense)};
    module.tensors.push_back(std::move(tensor));
    module.symbol_count = 3;
    module.symbol_ops = {format::SymbolOp(format::SymbolOpcode_Const, 0, 1, 0, 0, 4),
                         format::SymbolOp(format::SymbolOpcode_Mul, 0, 2, 0, 1, 0)};
    module.prologue = 2;
    module.buffers = {
        format::Buffer(format::BufferKind_Input, format::ElementType_F32, 0, 0, 2, kNone),
        format::Buffer(format::BufferKind_Output, format::ElementType_F32, 0, 0, 2, kNone)};
    auto block = std::make_unique<format::BlockT>();
    format::CopyT copy;
    copy.src = 0;
    copy.dst = 1;
    copy.size = 2;
    format::CommandUnion command;
    command.Set(copy);
    block->commands.push_back(command);
    module.blocks.push_back(std::move(block));
    Error error = writer->finish();
    ASSERT_FALSE(error) << error.message();
    error = ModuleView::open(path, {}, view);
    ASSERT_FALSE(error) << error.message();
  }
  void TearDown() override { std::remove(path.c_str()); }

  std::string path;
  std::unique_ptr<ModuleView> view;
};

} // namespace

TEST_F(ModuleSummary, Json) {
  nlohmann::ordered_json summary = summarize(*view);
  ASSERT_EQ(summary["tensors"].size(), 1u);
  const nlohmann::ordered_json &tensor = summary["tensors"][0];
  EXPECT_EQ(tensor["name"], "layer.weight");
  EXPECT_EQ(tensor["shape"], (std::vector<int>{2, 3}));
  EXPECT_EQ(tensor["bits"], 32);
  EXPECT_EQ(tensor["bytes"], 24);
  EXPECT_EQ(tensor["bpw"], 32.0);
  EXPECT_EQ(tensor["parts"][0]["role"], "Dense");
  EXPECT_EQ(summary["inputs"][0]["shape"][0], "n");
  EXPECT_EQ(summary["totals"]["commands"], 1);
  EXPECT_EQ(summary["totals"]["dispatches"], 0);
  EXPECT_EQ(summary["sections"].size(), 3u);
  EXPECT_EQ(summary["sections"][1]["constants_bytes"], 24);
}

TEST_F(ModuleSummary, Text) {
  std::string text = summaryText(summarize(*view));
  EXPECT_NE(text.find("layer.weight [2, 3] dense"), std::string::npos) << text;
  EXPECT_NE(text.find("x: f32[n]"), std::string::npos) << text;
  EXPECT_NE(text.find("1 commands, 0 dispatches"), std::string::npos) << text;
}

TEST_F(ModuleSummary, Schedule) {
  std::string text = scheduleText(*view);
  EXPECT_NE(text.find("s2 = Mul a=0 b=1"), std::string::npos) << text;
  EXPECT_NE(text.find("copy b1:y = b0:x size s2"), std::string::npos) << text;
}
