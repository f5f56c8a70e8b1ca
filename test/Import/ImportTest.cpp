//===- ImportTest.cpp - The importer's C++ interface ----------------------===//

#include "mlir/IR/MLIRContext.h"
#include "tacq/Import/OnnxImport.h"
#include "gtest/gtest.h"
#define ONNX_ML 1
#define ONNX_NAMESPACE onnx
#include <onnx/onnx_pb.h>

using namespace tacq;

namespace {

constexpr int count = 100;

onnx::NodeProto *addNode(onnx::GraphProto &graph, const std::string &opType,
                         std::initializer_list<const char *> inputs, const std::string &output) {
  onnx::NodeProto *node = graph.add_node();
  node->set_op_type(opType);
  node->set_name(opType + " of " + output);
  for (const char *input : inputs)
    node->add_input(input);
  node->add_output(output);
  return node;
}

/// y = Relu(x + w), with w of 100 floats, without w's data.
onnx::ModelProto makeModel() {
  onnx::ModelProto model;
  model.set_ir_version(8);
  model.add_opset_import()->set_version(17);
  onnx::GraphProto &graph = *model.mutable_graph();
  onnx::ValueInfoProto *input = graph.add_input();
  input->set_name("x");
  input->mutable_type()->mutable_tensor_type()->set_elem_type(1);
  input->mutable_type()->mutable_tensor_type()->mutable_shape()->add_dim()->set_dim_value(count);
  onnx::TensorProto *weight = graph.add_initializer();
  weight->set_name("w");
  weight->set_data_type(onnx::TensorProto::FLOAT);
  weight->add_dims(count);
  addNode(graph, "Add", {"x", "w"}, "sum");
  addNode(graph, "Relu", {"sum"}, "y");
  graph.add_output()->set_name("y");
  return model;
}

std::string withWeights(float first = 0) {
  onnx::ModelProto model = makeModel();
  std::vector<float> values(count, 1.5f);
  values[0] = first;
  model.mutable_graph()->mutable_initializer(0)->set_raw_data(values.data(), 4 * values.size());
  return model.SerializeAsString();
}

class ImportTest : public testing::Test {
protected:
  Error import(const std::string &content, const ImportOptions &options = {}) {
    return importOnnx("m.onnx", llvm::ArrayRef(content.data(), content.size()), context, options,
                      model);
  }
  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  ImportedModel model;
};

TEST_F(ImportTest, ParametersAreViewsOfTheFile) {
  std::string content = withWeights(7);
  ASSERT_EQ(import(content).message(), "");
  llvm::ArrayRef<char> bytes = model.parameters.bytes("w");
  ASSERT_EQ(bytes.size(), 4u * count);
  EXPECT_GE(bytes.data(), content.data());
  EXPECT_LE(bytes.data() + bytes.size(), content.data() + content.size());
  float first;
  std::memcpy(&first, bytes.data(), sizeof(first));
  EXPECT_EQ(first, 7.0f);
  EXPECT_FALSE(model.parameters.contains("x"));
  EXPECT_TRUE(model.parameters.bytes("x").empty());
}

TEST_F(ImportTest, ConstantLimitIsAnOption) {
  ImportOptions options;
  options.maxConstantElements = count;
  ASSERT_EQ(import(withWeights(), options).message(), "");
  EXPECT_FALSE(model.parameters.contains("w"));
}

TEST_F(ImportTest, ReportsAllOperatorsThatCannotBeCompiled) {
  ImportOptions options;
  options.unsupportedReason = [](llvm::StringRef domain, llvm::StringRef op, int64_t opset) {
    return "no " + op.str() + " in '" + domain.str() + "' at " + std::to_string(opset);
  };
  Error error = import(withWeights(), options);
  EXPECT_EQ(error.code(), TACQ_UNSUPPORTED);
  ASSERT_EQ(model.unsupported.size(), 2u);
  EXPECT_EQ(model.unsupported[0].name, "Add of sum");
  EXPECT_EQ(model.unsupported[0].reason, "no Add in '' at 17");
  EXPECT_EQ(model.unsupported[1].op, "Relu");
  EXPECT_EQ(model.unsupported[1].opset, 17);
}

TEST_F(ImportTest, NewerOpsetsAreTakenWithAWarning) {
  onnx::ModelProto proto = makeModel();
  std::vector<float> values(count);
  proto.mutable_graph()->mutable_initializer(0)->set_raw_data(values.data(), 4 * values.size());
  proto.mutable_opset_import(0)->set_version(1000);
  ASSERT_EQ(import(proto.SerializeAsString()).message(), "");
  ASSERT_EQ(model.warnings.size(), 1u);
  EXPECT_NE(model.warnings[0].find("opset 1000"), std::string::npos);
}

TEST_F(ImportTest, DataInPiecesIsAnError) {
  onnx::ModelProto proto = makeModel();
  onnx::TensorProto *weight = proto.mutable_graph()->mutable_initializer(0);
  weight->set_raw_data(std::string(4 * count, 0));
  weight->add_float_data(1);
  Error error = import(proto.SerializeAsString());
  EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
  EXPECT_EQ(error.message(), "'m.onnx': the initializer 'w' has its values in several pieces; save "
                             "it as raw data");
}

TEST_F(ImportTest, AbsentDataIsAnError) {
  Error error = import(makeModel().SerializeAsString());
  EXPECT_EQ(error.message(), "'m.onnx': the initializer 'w' has no data");
}

TEST_F(ImportTest, DeepSubgraphsAreAnError) {
  onnx::ModelProto proto;
  proto.set_ir_version(8);
  proto.add_opset_import()->set_version(17);
  onnx::GraphProto graph;
  for (int i = 0; i < 2000; ++i) {
    onnx::GraphProto outer;
    onnx::AttributeProto *body = addNode(outer, "If", {}, "y")->add_attribute();
    body->set_name("then_branch");
    body->set_type(onnx::AttributeProto::GRAPH);
    body->mutable_g()->Swap(&graph);
    graph.Swap(&outer);
  }
  proto.mutable_graph()->Swap(&graph);
  Error error = import(proto.SerializeAsString());
  EXPECT_EQ(error.message(),
            "'m.onnx' is not a readable ONNX model: its subgraphs are nested too deep");
}

TEST_F(ImportTest, HashIsOfTheContent) {
  ASSERT_EQ(import(withWeights(1)).message(), "");
  std::string hash = model.parameters.contentHash();
  EXPECT_EQ(hash.size(), 32u);
  ASSERT_EQ(import(withWeights(1)).message(), "");
  EXPECT_EQ(model.parameters.contentHash(), hash);
  ASSERT_EQ(import(withWeights(2)).message(), "");
  EXPECT_NE(model.parameters.contentHash(), hash);
}

TEST(DecodeVarints, KeepsLowBytes) {
  // 1, 300, -2 as protobuf writes them, and one byte that is not part of it.
  const unsigned char data[] = {0x01, 0xac, 0x02, 0xfe, 0xff, 0xff, 0xff,
                                0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x55};
  llvm::ArrayRef<char> bytes(reinterpret_cast<const char *>(data), sizeof(data));
  std::vector<char> elements;
  uint64_t used = 0;
  ASSERT_TRUE(decodeVarints(bytes, 3, 2, elements, used));
  EXPECT_EQ(used, 13u);
  EXPECT_EQ(elements, (std::vector<char>{1, 0, 44, 1, -2, -1}));
  EXPECT_FALSE(decodeVarints(bytes.take_front(12), 3, 2, elements, used));
  EXPECT_FALSE(decodeVarints(bytes, uint64_t(1) << 60, 8, elements, used));
  // Eleven bytes are no varint.
  std::vector<char> endless(11, -1);
  EXPECT_FALSE(decodeVarints(endless, 1, 8, elements, used));
}

} // namespace
