//===- NpyTest.cpp - .npy and .npz files ----------------------------------===//

#include "tacq/Npy.h"
#include "NpyFormat.h"
#include "TestModule.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

using namespace tacq;
using namespace tacq::test;

namespace {

// numpy.save of numpy.arange(6, dtype=numpy.int16).reshape(2, 3)
std::vector<uint8_t> numpyBytes() {
  std::string text("\x93NUMPY\x01\x00v\x00", 10);
  text += "{'descr': '<i2', 'fortran_order': False, 'shape': (2, 3), }";
  text.append(127 - text.size(), ' ');
  text += '\n';
  text += std::string("\0\0\1\0\2\0\3\0\4\0\5\0", 12);
  return std::vector<uint8_t>(text.begin(), text.end());
}

class NpyFile : public testing::Test {
protected:
  Error read(const std::vector<uint8_t> &bytes, NpyArray &array) {
    writeFile(directory.file("x.npy"), bytes.data(), bytes.size());
    return readNpy(directory.file("x.npy"), array);
  }
  /// Numpy's file with another header text.
  Error readWithHeader(const std::string &header, const std::string &data) {
    std::string text("\x93NUMPY\x01\x00", 8);
    text += static_cast<char>(header.size());
    text += '\0';
    text += header + data;
    NpyArray array;
    return read(std::vector<uint8_t>(text.begin(), text.end()), array);
  }
  TemporaryDirectory directory;
};

TEST_F(NpyFile, ReadsWhatNumpyWrote) {
  NpyArray array;
  ASSERT_FALSE(read(numpyBytes(), array));
  EXPECT_EQ(array.type(), TACQ_I16);
  EXPECT_EQ(array.dims(), (std::vector<int64_t>{2, 3}));
  for (int16_t i = 0; i < 6; ++i)
    EXPECT_EQ(array.as<int16_t>()[i], i);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(array.data()) % 64, 0u);
}

TEST_F(NpyFile, WritesTheBytesThatNumpyWrites) {
  const int16_t values[] = {0, 1, 2, 3, 4, 5};
  ASSERT_FALSE(writeNpy(directory.file("y.npy"), TACQ_I16, {2, 3}, values));
  EXPECT_EQ(readFile(directory.file("y.npy")), numpyBytes());
}

TEST_F(NpyFile, AllTypesAndRanksComeBack) {
  for (int type = TACQ_BOOL; type <= TACQ_F64; ++type)
    for (const std::vector<int64_t> &dims : std::vector<std::vector<int64_t>>{
             {}, {0}, {7}, {2, 0, 3}, {1, 2, 3, 4}, {3, 1, 1, 1, 1, 1, 1, 1, 2}}) {
      auto elementType = static_cast<tacq_element_type_t>(type);
      NpyArray array, back;
      ASSERT_FALSE(NpyArray::create(elementType, dims, array));
      for (size_t i = 0; i < array.size(); ++i)
        array.as<uint8_t>()[i] = static_cast<uint8_t>(i * 37 + 1);
      Error error = writeNpy(directory.file("z.npy"), array);
      if (elementType == TACQ_BF16) {
        EXPECT_EQ(error.code(), TACQ_UNSUPPORTED);
        continue;
      }
      ASSERT_FALSE(error) << error.message();
      error = readNpy(directory.file("z.npy"), back);
      ASSERT_FALSE(error) << error.message();
      EXPECT_EQ(back.type(), elementType);
      EXPECT_EQ(back.dims(), dims);
      ASSERT_EQ(back.size(), array.size());
      EXPECT_EQ(memcmp(back.data(), array.data(), array.size()), 0);
    }
}

TEST_F(NpyFile, OtherLayoutsAreRefused) {
  auto expect = [](Error error, const char *part) {
    ASSERT_TRUE(error);
    EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
    EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
    EXPECT_NE(error.message().find("x.npy"), std::string::npos) << error.message();
  };
  std::string eight(8, '\0');
  expect(readWithHeader("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }", ""),
         "truncated");
  EXPECT_FALSE(readWithHeader("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }", eight));
  expect(readWithHeader("{'descr': '<f2', 'fortran_order': True, 'shape': (2, 2), }", eight),
         "Fortran order");
  expect(readWithHeader("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", eight),
         "big-endian");
  expect(readWithHeader("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", eight),
         "'<c8'");
  expect(readWithHeader("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", eight), "'|O'");
  expect(
      readWithHeader("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", eight),
      "structured");
  expect(readWithHeader("{'descr': '<f4', 'shape': (1,), }", eight), "cannot be understood");
  expect(readWithHeader("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", eight),
         "needs 4 bytes but the file has 8");
  expect(readWithHeader("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, "
                        "3), }",
                        eight),
         "too large");
  expect(readWithHeader("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)"
                        ", }",
                        eight),
         "cannot be understood");
  NpyArray array;
  EXPECT_EQ(readNpy(directory.file("none.npy"), array).code(), TACQ_IO);
}

TEST_F(NpyFile, DamageIsReportedOrHarmless) {
  std::vector<uint8_t> bytes = numpyBytes();
  NpyArray array;
  auto parse = [&array](const std::vector<uint8_t> &changed) {
    AlignedBytes memory(changed);
    return parseNpy(memory.data(), memory.size(), "'x.npy'", array);
  };
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_TRUE(parse(std::vector<uint8_t>(bytes.begin(), bytes.begin() + size)));
  std::mt19937 random(1);
  for (int i = 0; i < 10000; ++i) {
    std::vector<uint8_t> changed = bytes;
    changed[random() % 128] ^= static_cast<uint8_t>(1u << random() % 8);
    if (Error error = parse(changed))
      EXPECT_NE(error.message().find("x.npy"), std::string::npos);
  }
}

// numpy.savez_compressed("numpy.npz", ids=numpy.arange(8, dtype=numpy.int64).reshape(2, 4),
//                        half=numpy.array([1, 2, 3], numpy.float16))
TEST(NpzFile, ReadsWhatNumpyWrote) {
  std::unique_ptr<NpzReader> reader;
  Error error = NpzReader::open(TACQ_TEST_DATA "/numpy.npz", reader);
  ASSERT_FALSE(error) << error.message();
  EXPECT_EQ(reader->names(), (std::vector<std::string>{"ids", "half"}));
  NpyArray ids, half;
  ASSERT_FALSE(reader->read("ids", ids));
  ASSERT_FALSE(reader->read("half", half));
  EXPECT_EQ(ids.dims(), (std::vector<int64_t>{2, 4}));
  for (int64_t i = 0; i < 8; ++i)
    EXPECT_EQ(ids.as<int64_t>()[i], i);
  EXPECT_EQ(half.type(), TACQ_F16);
  EXPECT_EQ(half.as<uint16_t>()[2], 0x4200); // 3.0
  error = reader->read("mask", ids);
  EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
  EXPECT_NE(error.message().find("it has ids, half"), std::string::npos) << error.message();
}

TEST(NpzFile, WrittenArraysComeBackAndBytesAreEqual) {
  TemporaryDirectory directory;
  NpyArray large, scalar;
  ASSERT_FALSE(NpyArray::create(TACQ_F32, {1000, 33}, large));
  for (int64_t i = 0; i < large.elementCount(); ++i)
    large.as<float>()[i] = static_cast<float>(i) * 0.25f;
  ASSERT_FALSE(NpyArray::create(TACQ_I64, {}, scalar));
  *scalar.as<int64_t>() = -5;
  for (const char *name : {"a.npz", "b.npz"}) {
    std::unique_ptr<NpzWriter> writer;
    ASSERT_FALSE(NpzWriter::create(directory.file(name), writer));
    ASSERT_FALSE(writer->add("large", large));
    ASSERT_FALSE(writer->add("dir/scalar", scalar));
    EXPECT_TRUE(writer->add("large", large));
    ASSERT_FALSE(writer->finish());
  }
  EXPECT_EQ(readFile(directory.file("a.npz")), readFile(directory.file("b.npz")));
  std::unique_ptr<NpzReader> reader;
  Error error = NpzReader::open(directory.file("a.npz"), reader);
  ASSERT_FALSE(error) << error.message();
  EXPECT_TRUE(reader->has("dir/scalar"));
  NpyArray back;
  error = reader->read("large", back);
  ASSERT_FALSE(error) << error.message();
  ASSERT_EQ(back.dims(), large.dims());
  EXPECT_EQ(memcmp(back.data(), large.data(), large.size()), 0);
  ASSERT_FALSE(reader->read("dir/scalar", back));
  EXPECT_EQ(*back.as<int64_t>(), -5);
}

TEST(NpzFile, DamageIsReportedOrHarmless) {
  TemporaryDirectory directory;
  std::vector<uint8_t> bytes = readFile(TACQ_TEST_DATA "/numpy.npz");
  std::string path = directory.file("x.npz");
  auto tryAll = [&](const std::vector<uint8_t> &changed) {
    writeFile(path, changed.data(), changed.size());
    std::unique_ptr<NpzReader> reader;
    Error error = NpzReader::open(path, reader);
    NpyArray array;
    for (size_t i = 0; !error && i < reader->names().size(); ++i)
      error = reader->read(reader->names()[i], array);
    if (error)
      EXPECT_NE(error.message().find("x.npz"), std::string::npos) << error.message();
    return static_cast<bool>(error);
  };
  for (size_t size = 0; size < bytes.size(); size += 3)
    EXPECT_TRUE(tryAll(std::vector<uint8_t>(bytes.begin(), bytes.begin() + size)));
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    std::vector<uint8_t> changed = bytes;
    changed[random() % bytes.size()] ^= static_cast<uint8_t>(1u << random() % 8);
    tryAll(changed);
  }
}

} // namespace
