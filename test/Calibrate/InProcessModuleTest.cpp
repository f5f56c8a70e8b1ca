//===- InProcessModuleTest.cpp - Models that run while they are compiled --===//

#include "tacq/Calibrate/InProcessModule.h"
#include "../AssertOk.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/Calibration/Passes.h"
#include "tacq/Npy.h"
#include "tacq/Register.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace mlir;
using namespace tacq;

namespace {

class InProcessModuleTest : public ::testing::Test {
protected:
  InProcessModuleTest() {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  void import(const std::string &file) {
    ASSERT_OK(calibrationGraph(std::string(TACQ_SOURCE) + "/models/tiny/" + file, context, model));
  }

  /// Positions and masks of sequences without padding.
  std::map<std::string, TensorView> inputs(const int64_t *ids, int64_t batch, int64_t length) {
    positions.clear();
    for (int64_t i = 0; i < batch * length; ++i)
      positions.push_back(i % length);
    ones.assign(batch * length, 1);
    std::map<std::string, TensorView> given;
    for (const TensorDeclaration &input : runner->inputs())
      given[input.name] = TensorView::of(
          {batch, length}, input.name == "input_ids"
                               ? ids
                               : (input.name == "attention_mask" ? ones.data() : positions.data()));
    return given;
  }

  MLIRContext context;
  ImportedModel model;
  std::unique_ptr<InProcessModule> runner;
  std::vector<int64_t> positions, ones;
};

class Exports : public InProcessModuleTest, public ::testing::WithParamInterface<const char *> {};

} // namespace

/// Without its cache the model gives the logits that PyTorch gives.
TEST_P(Exports, GivesTheReferenceLogits) {
  import(GetParam());
  InProcessModule::Options options;
  options.threads = 2;
  ASSERT_OK(InProcessModule::compile(*model.module, model.parameters, options, runner));
  for (const TensorDeclaration &input : runner->inputs())
    EXPECT_EQ(input.dims.size(), 2u) << input.name;
  ASSERT_EQ(runner->outputs().size(), 1u);
  EXPECT_EQ(runner->outputs()[0].name, "logits");

  std::unique_ptr<NpzReader> reference;
  NpyArray ids, logits;
  ASSERT_OK(NpzReader::open(std::string(TACQ_SOURCE) + "/test/data/reference/tiny.npz", reference));
  ASSERT_OK(reference->read("input_ids", ids));
  ASSERT_OK(reference->read("logits", logits));
  int64_t batch = ids.dims()[0], length = ids.dims()[1];
  TensorView view;
  // A run of another size in between leaves nothing behind.
  for (int64_t rows : {batch, int64_t(1), batch}) {
    ASSERT_OK(runner->run(inputs(ids.as<int64_t>(), rows, length)));
    ASSERT_OK(runner->output("logits", view));
    ASSERT_EQ(view.dims, (std::vector<int64_t>{rows, length, 320}));
    for (int64_t i = 0; i < view.elementCount(); ++i)
      ASSERT_NEAR(view.floats()[i], logits.as<float>()[i], 2e-4) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tiny, Exports, ::testing::Values("dynamo_past_opset18.onnx", "dynamo_plain_opset23.onnx"),
    [](const auto &info) {
      return std::string(info.param).substr(0, std::string(info.param).find('.'));
    });

TEST_F(InProcessModuleTest, GivesInputsOfLinearOperations) {
  import("dynamo_past_opset18.onnx");
  PassManager manager(&context);
  TapInputsOptions taps;
  std::string kept = "logits";
  taps.keepResults = kept;
  manager.addNestedPass<func::FuncOp>(createTapInputs(taps));
  ASSERT_TRUE(succeeded(manager.run(*model.module)));
  ASSERT_OK(InProcessModule::compile(*model.module, model.parameters, {}, runner));
  // Query, key and value share one, gate and up too; four for each of 6 layers, and the head.
  EXPECT_EQ(runner->outputs().size(), 1u + 4 * 6 + 1);
  int64_t ids[] = {72, 101, 108, 108, 111};
  ASSERT_OK(runner->run(inputs(ids, 1, 5)));
  for (const TensorDeclaration &output : runner->outputs()) {
    TensorView view;
    ASSERT_OK(runner->output(output.name, view));
    ASSERT_EQ(view.dims.size(), 3u);
    EXPECT_EQ(view.dims[1], 5);
    double sum = 0;
    for (int64_t i = 0; i < view.elementCount(); ++i)
      sum += std::abs(view.floats()[i]);
    EXPECT_TRUE(std::isfinite(sum) && sum > 0) << output.name;
  }
}

TEST_F(InProcessModuleTest, RefusesInputsThatDoNotFit) {
  import("dynamo_plain_opset23.onnx");
  ASSERT_OK(InProcessModule::compile(*model.module, model.parameters, {}, runner));
  int64_t ids[] = {1, 2, 3};
  auto given = inputs(ids, 1, 3);
  TensorView view;
  EXPECT_TRUE(runner->output("nosuch", view));

  auto unknown = given;
  unknown["nosuch"] = TensorView::of({1, 3}, ids);
  EXPECT_EQ(runner->run(unknown).message(), "the model has no input 'nosuch'");
  given.erase("input_ids");
  EXPECT_EQ(runner->run(given).message(), "the input 'input_ids' of the model is not given");
  float number = 0;
  given["input_ids"] = TensorView::of({1, 1}, &number);
  EXPECT_EQ(runner->run(given).code(), TACQ_INVALID_INPUT);
}
