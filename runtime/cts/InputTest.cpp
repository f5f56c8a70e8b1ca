//===- InputTest.cpp - What is refused, and how it is said ----------------===//

#include "CtsSupport.h"

using namespace tacq;
using namespace tacq::test;
using namespace tacq::format;

namespace {

class Inputs : public DeviceTest {
protected:
  void SetUp() override {
    DeviceTest::SetUp();
    TestModule m(modulePath());
    uint32_t batch = m.symbol(), sequence = m.symbol(), total = m.symbol();
    m.addInput("ids", ElementType_I64, {dynamic(batch, "batch"), dynamic(sequence, "sequence")});
    m.addInput("mask", ElementType_F32, {dynamic(batch, "batch"), dynamic(total, "total")});
    m.addInput("table", ElementType_F16, {fixed(2), fixed(3)});
    uint32_t y =
        m.addOutput("y", ElementType_I64, {dynamic(batch, "batch"), dynamic(sequence, "sequence")});
    uint32_t eight = m.number(8);
    uint32_t bytes = m.op(SymbolOpcode_Mul, m.op(SymbolOpcode_Mul, batch, sequence), eight);
    m.check(SymbolOpcode_CheckLe, sequence, total,
            "input 'mask' covers {b} positions, but 'ids' has {a}");
    m.endPrologue();
    m.copy(0, m.addBuffer(BufferKind_Output, y), m.addBuffer(BufferKind_Input, 0), bytes);
    m.finish();
    open();
  }
  std::vector<int64_t> ids = {1, 2, 3, 4, 5, 6};
  std::vector<float> mask = std::vector<float>(12, 1.0f);
  std::vector<uint16_t> table = std::vector<uint16_t>(6, 0);
};
INSTANTIATE_TEST_SUITE_P(Devices, Inputs, testing::ValuesIn(kDevices), deviceTestName);

TEST_P(Inputs, MustBeSet) {
  EXPECT_STATUS(run(), TACQ_INVALID_INPUT, "input 'ids' (i64[batch, sequence]) is not set");
  ASSERT_STATUS_OK(set(0, TACQ_I64, {2, 3}, ids));
  ASSERT_STATUS_OK(set(1, TACQ_F32, {2, 6}, mask));
  EXPECT_STATUS(run(), TACQ_INVALID_INPUT, "input 'table'");
  ASSERT_STATUS_OK(set(2, TACQ_F16, {2, 3}, table));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<int64_t>(0), ids);
}

TEST_P(Inputs, MustHaveTheDeclaredTypeAndShape) {
  EXPECT_STATUS(set(0, TACQ_I32, {2, 3}, ids), TACQ_INVALID_INPUT,
                "input 'ids' (i64[batch, sequence]): the tensor has element type i32");
  EXPECT_STATUS(set(0, TACQ_I64, {6}, ids), TACQ_INVALID_INPUT, "has rank 1, expected 2");
  EXPECT_STATUS(set(2, TACQ_F16, {2, 4}, table), TACQ_INVALID_INPUT, "axis 1 must be 3");
  EXPECT_STATUS(set(0, TACQ_I64, {2, -3}, ids), TACQ_INVALID_INPUT, "negative extent -3");
  EXPECT_STATUS(set(0, TACQ_I64, {7, 1}, ids), TACQ_INVALID_INPUT,
                "needs 56 bytes, but the data has 48");
  EXPECT_STATUS(set(0, TACQ_I64, {INT64_MAX, INT64_MAX}, ids), TACQ_INVALID_INPUT, "too large");
  EXPECT_STATUS(set(9, TACQ_I64, {1, 1}, ids), TACQ_INVALID_ARGUMENT, "there is no input 9");
  int64_t dims[] = {1, 1};
  EXPECT_STATUS(tacq_session_set_input_data(session.get(), 0, TACQ_I64, dims, 2,
                                            reinterpret_cast<char *>(ids.data()) + 4, 8),
                TACQ_INVALID_INPUT, "not aligned to the 8 bytes");
  EXPECT_STATUS(tacq_session_set_input_data(session.get(), 0, TACQ_I64, dims, 2, nullptr, 8),
                TACQ_INVALID_INPUT, "NULL");
}

TEST_P(Inputs, MustAgreeWithEachOther) {
  ASSERT_STATUS_OK(set(0, TACQ_I64, {2, 3}, ids));
  ASSERT_STATUS_OK(set(1, TACQ_F32, {3, 4}, mask));
  ASSERT_STATUS_OK(set(2, TACQ_F16, {2, 3}, table));
  EXPECT_STATUS(run(), TACQ_INVALID_INPUT,
                "input 'mask' (f32[batch, total]): the tensor has shape [3, 4], but axis 0 "
                "('batch') must be 2 as in input 'ids'");
  ASSERT_STATUS_OK(set(1, TACQ_F32, {2, 2}, mask));
  EXPECT_STATUS(run(), TACQ_INVALID_INPUT, "input 'mask' covers 2 positions, but 'ids' has 3");
  DLManagedTensor *tensor = nullptr;
  EXPECT_STATUS(tacq_session_get_output(session.get(), 0, &tensor), TACQ_INVALID_ARGUMENT,
                "no outputs");
  ASSERT_STATUS_OK(set(1, TACQ_F32, {2, 3}, mask));
  EXPECT_STATUS_OK(run());
}

TEST_P(Inputs, DLPackTensors) {
  int64_t dims[] = {3, 2}, transposed[] = {1, 3}, contiguous[] = {2, 1}, odd[] = {99, 1};
  DLTensor tensor = {};
  tensor.data = ids.data();
  tensor.device = {kDLCPU, 0};
  tensor.ndim = 2;
  tensor.dtype = {kDLInt, 64, 1};
  tensor.shape = dims;
  ASSERT_STATUS_OK(tacq_session_set_input(session.get(), 0, &tensor));
  tensor.strides = contiguous;
  ASSERT_STATUS_OK(tacq_session_set_input(session.get(), 0, &tensor));
  tensor.strides = transposed;
  EXPECT_STATUS(tacq_session_set_input(session.get(), 0, &tensor), TACQ_INVALID_INPUT,
                "not contiguous");
  // The stride of an axis of extent 1 means nothing.
  int64_t row[] = {1, 2};
  tensor.shape = row;
  tensor.strides = odd;
  tensor.byte_offset = 16;
  ASSERT_STATUS_OK(tacq_session_set_input(session.get(), 0, &tensor));
  ASSERT_STATUS_OK(set(1, TACQ_F32, {1, 2}, mask));
  ASSERT_STATUS_OK(set(2, TACQ_F16, {2, 3}, table));
  ASSERT_STATUS_OK(run());
  EXPECT_EQ(get<int64_t>(0), (std::vector<int64_t>{3, 4}));
  tensor.dtype.lanes = 2;
  EXPECT_STATUS(tacq_session_set_input(session.get(), 0, &tensor), TACQ_INVALID_INPUT,
                "element type none");
  tensor.device.device_type = kDLCUDA;
  EXPECT_STATUS(tacq_session_set_input(session.get(), 0, &tensor), TACQ_UNSUPPORTED,
                "not on the host");
}

TEST_P(Inputs, OutputsAreCheckedAsWell) {
  ASSERT_STATUS_OK(set(0, TACQ_I64, {2, 3}, ids));
  ASSERT_STATUS_OK(set(1, TACQ_F32, {2, 3}, mask));
  ASSERT_STATUS_OK(set(2, TACQ_F16, {2, 3}, table));
  ASSERT_STATUS_OK(run());
  int64_t data[6];
  EXPECT_STATUS(tacq_session_copy_output(session.get(), 0, data, 40), TACQ_INVALID_ARGUMENT,
                "output 'y' (i64[batch, sequence]) has shape [2, 3] and 48 bytes");
  EXPECT_STATUS(tacq_session_copy_output(session.get(), 4, data, 40), TACQ_INVALID_ARGUMENT,
                "no output 4");
}

} // namespace
