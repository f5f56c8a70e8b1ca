//===- ModuleTest.cpp - Module files: written, read, damaged --------------===//

#include "TestModule.h"
#include "tacq/ModuleView.h"

#include <gtest/gtest.h>

#include <cstring>
#include <dirent.h>
#include <functional>
#include <random>

using namespace tacq;
using namespace tacq::test;
using namespace tacq::format;

namespace {

class ModuleFile : public testing::Test {
protected:
  void SetUp() override {
    writeRichModule(directory.file("rich.tacq"));
    bytes = readFile(directory.file("rich.tacq"));
  }

  Error open(const std::vector<uint8_t> &changed) {
    AlignedBytes memory(changed);
    std::unique_ptr<ModuleView> view;
    return ModuleView::fromMemory(memory.data(), memory.size(), "m.tacq", ModuleViewOptions(),
                                  view);
  }

  void expectBroken(const std::vector<uint8_t> &changed) {
    Error error = open(changed);
    ASSERT_TRUE(error);
    EXPECT_EQ(error.code(), TACQ_INVALID_MODULE);
    EXPECT_NE(error.message().find("'m.tacq'"), std::string::npos) << error.message();
  }

  TemporaryDirectory directory;
  std::vector<uint8_t> bytes;
};

/// Reads everything a user of the view would.
uint64_t readAll(const ModuleView &view) {
  uint64_t sum = 0;
  auto addText = [&](const flatbuffers::String *text) { sum += strlen(textOf(text)); };
  const Module &m = view.metadata();
  for (size_t i = 0; i < sizeOf(m.constants()); ++i) {
    const Constant &constant = *m.constants()->Get(i);
    addText(constant.name());
    for (uint64_t b = 0; b < constant.size(); ++b)
      sum += view.bytes(constant)[b];
  }
  for (size_t i = 0; i < sizeOf(m.executables()); ++i) {
    const Executable &executable = *m.executables()->Get(i);
    for (size_t k = 0; k < m.kernel_count(); ++k)
      addText(executable.kernels()->Get(k));
    for (uint64_t b = 0; b < executable.size(); ++b)
      sum += view.bytes(executable)[b];
  }
  for (size_t i = 0; i < sizeOf(m.tensors()); ++i)
    for (size_t p = 0; p < sizeOf(m.tensors()->Get(i)->parts()); ++p)
      addText(m.constants()->Get(m.tensors()->Get(i)->parts()->Get(p)->constant())->name());
  for (size_t i = 0; i < sizeOf(m.blocks()); ++i)
    for (size_t c = 0; c < sizeOf(m.blocks()->Get(i)->commands()); ++c)
      if (m.blocks()->Get(i)->commands_type()->Get(c) == Command_Dispatch) {
        const Dispatch &dispatch = *m.blocks()->Get(i)->commands()->GetAs<Dispatch>(c);
        for (size_t b = 0; b < sizeOf(dispatch.bindings()); ++b)
          sum += m.buffers()->Get(dispatch.bindings()->Get(b))->index();
        if (dispatch.node() != kNone)
          addText(m.nodes()->Get(dispatch.node())->name());
      }
  return sum;
}

TEST_F(ModuleFile, WrittenModuleIsRead) {
  std::unique_ptr<ModuleView> view;
  Error error = ModuleView::open(directory.file("rich.tacq"), ModuleViewOptions(), view);
  ASSERT_FALSE(error) << error.message();
  const Module &module = view->metadata();
  EXPECT_EQ(module.producer()->str(), "test");
  ASSERT_EQ(module.constants()->size(), 2u);
  EXPECT_EQ(module.constants()->Get(0)->name()->str(), "weight");
  EXPECT_EQ(module.constants()->Get(0)->size(), 256u);
  EXPECT_EQ(module.constants()->Get(1)->offset() % 64, 0u);
  float value;
  memcpy(&value, view->bytes(*module.constants()->Get(0)) + 252, 4);
  EXPECT_EQ(value, 0.5f);
  EXPECT_EQ(memcmp(view->bytes(*module.executables()->Get(0)), "not code", 8), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(view->data()) % 4096, 0u);
}

TEST_F(ModuleFile, EqualContentsGiveEqualBytes) {
  writeRichModule(directory.file("again.tacq"));
  EXPECT_EQ(readFile(directory.file("again.tacq")), bytes);
}

TEST_F(ModuleFile, CutAnywhereIsReported) {
  for (size_t size = 0; size < bytes.size(); ++size)
    expectBroken(std::vector<uint8_t>(bytes.begin(), bytes.begin() + size));
}

TEST_F(ModuleFile, CutWithMatchingHeaderIsReported) {
  // The header says that the file ends where it does; sections must still lie inside.
  for (size_t size = sizeof(ModuleHeader); size < bytes.size(); ++size) {
    std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + size);
    uint64_t fileSize = size;
    memcpy(cut.data() + offsetof(ModuleHeader, fileSize), &fileSize, 8);
    fixChecksums(cut.data(), cut.size());
    expectBroken(cut);
  }
}

TEST_F(ModuleFile, CutFilesOnDiskAreReported) {
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) {
    size_t size = random() % bytes.size();
    writeFile(directory.file("cut.tacq"), bytes.data(), size);
    std::unique_ptr<ModuleView> view;
    Error error = ModuleView::open(directory.file("cut.tacq"), ModuleViewOptions(), view);
    ASSERT_TRUE(error);
    EXPECT_NE(error.message().find("cut.tacq"), std::string::npos);
  }
}

TEST_F(ModuleFile, FlippedBitsAreReported) {
  std::mt19937 random(2);
  ModuleHeader header;
  memcpy(&header, bytes.data(), sizeof(header));
  for (int i = 0; i < 1000; ++i) {
    std::vector<uint8_t> changed = bytes;
    // Padding between the sections is the one part that nothing depends on.
    uint64_t at;
    do
      at = random() % bytes.size();
    while (!(at < sizeof(header) ||
             (at >= header.dataOffset && at < header.dataOffset + header.dataSize) ||
             at >= header.metadataOffset));
    changed[at] ^= static_cast<uint8_t>(1u << random() % 8);
    expectBroken(changed);
  }
}

/// Damages the metadata and repairs the checksums: the verifier alone has to find it. What it
/// accepts must be safe to read.
void damageMetadata(const std::vector<uint8_t> &bytes, unsigned seed,
                    const std::function<void(uint8_t *, size_t, std::mt19937 &)> &damage) {
  std::mt19937 random(seed);
  ModuleHeader header;
  memcpy(&header, bytes.data(), sizeof(header));
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    AlignedBytes memory(bytes);
    damage(memory.data() + header.metadataOffset, header.metadataSize, random);
    ASSERT_TRUE(fixChecksums(memory.data(), memory.size()));
    std::unique_ptr<ModuleView> view;
    Error error =
        ModuleView::fromMemory(memory.data(), memory.size(), "m.tacq", ModuleViewOptions(), view);
    if (error) {
      ++refused;
      EXPECT_NE(error.message().find("'m.tacq'"), std::string::npos) << error.message();
    } else
      readAll(*view);
  }
  EXPECT_GT(refused, 300);
}

TEST_F(ModuleFile, FlippedBitsWithRightChecksumsAreSafe) {
  damageMetadata(bytes, 3, [](uint8_t *metadata, size_t size, std::mt19937 &random) {
    metadata[random() % size] ^= static_cast<uint8_t>(1u << random() % 8);
  });
}

TEST_F(ModuleFile, ReplacedWordsWithRightChecksumsAreSafe) {
  damageMetadata(bytes, 4, [](uint8_t *metadata, size_t size, std::mt19937 &random) {
    static const uint32_t values[] = {0,          1,          2,          7,         64,
                                      0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFC0};
    uint32_t value = values[random() % (sizeof(values) / 4)];
    memcpy(metadata + random() % (size / 4) * 4, &value, 4);
  });
}

TEST_F(ModuleFile, FlippedHeaderWithRightChecksumIsSafe) {
  for (size_t bit = 0; bit < sizeof(ModuleHeader) * 8; ++bit) {
    std::vector<uint8_t> changed = bytes;
    changed[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    fixChecksums(changed.data(), changed.size());
    if (Error error = open(changed))
      EXPECT_NE(error.message().find("'m.tacq'"), std::string::npos);
  }
}

TEST_F(ModuleFile, OtherFilesAreRefused) {
  std::unique_ptr<ModuleView> view;
  Error error = ModuleView::open(directory.file("none.tacq"), ModuleViewOptions(), view);
  EXPECT_EQ(error.code(), TACQ_IO);
  std::vector<uint8_t> zeros(10000, 0);
  error = open(zeros);
  EXPECT_NE(error.message().find("not a TACQ module"), std::string::npos);
  bytes[8] = 99;
  fixChecksums(bytes.data(), bytes.size());
  error = open(bytes);
  EXPECT_NE(error.message().find("version 99"), std::string::npos) << error.message();
}

TEST_F(ModuleFile, DataChecksumCanBeSkipped) {
  ModuleHeader header;
  memcpy(&header, bytes.data(), sizeof(header));
  bytes[header.dataOffset] ^= 1;
  AlignedBytes memory(bytes);
  std::unique_ptr<ModuleView> view;
  ModuleViewOptions options;
  EXPECT_TRUE(ModuleView::fromMemory(memory.data(), memory.size(), "m", options, view));
  options.checkData = false;
  EXPECT_FALSE(ModuleView::fromMemory(memory.data(), memory.size(), "m", options, view));
}

// ---- rules, each broken on its own ---------------------------------------------------------

struct Rule {
  const char *name;
  const char *message;
  std::function<void(TestModule &)> breakIt;
};

class ModuleRule : public testing::TestWithParam<Rule> {};

TEST_P(ModuleRule, IsVerified) {
  TemporaryDirectory directory;
  TestModule m(directory.file("m.tacq"));
  uint32_t n = m.symbol();
  m.addInput("x", ElementType_F32, {dynamic(n, "n")});
  m.addOutput("y", ElementType_F32, {dynamic(n, "n")});
  m.addBuffer(BufferKind_Input, 0, ElementType_F32);
  m.addBuffer(BufferKind_Output, 0);
  uint32_t constant;
  require(m.output().addConstant("w", "12345678", 8, constant));
  GetParam().breakIt(m);
  Error error = m.output().finish();
  ASSERT_TRUE(error);
  EXPECT_EQ(error.code(), TACQ_INVALID_MODULE);
  EXPECT_NE(error.message().find(GetParam().message), std::string::npos) << error.message();
}

/// Adds an executable, of a module of two kernels, that does not have these.
void lackKernels(TestModule &m, const char *driver, std::vector<uint32_t> absent) {
  ExecutableT executable;
  executable.driver = driver;
  executable.target = "t";
  executable.format = "f";
  executable.kernels = {"a", "b"};
  executable.absent = std::move(absent);
  uint32_t index;
  require(m.output().addExecutable(executable, "x", 1, index));
  m.module().kernel_count = 2;
}

const Rule kRules[] = {
    {"UnusedSlot", "does not use slot 7, but the module has",
     [](TestModule &m) {
       ExecutableT executable;
       executable.driver = "cpu";
       executable.target = "t";
       executable.format = "f";
       executable.unused_slots = {7};
       uint32_t index;
       require(m.output().addExecutable(executable, "x", 1, index));
     }},
    {"DuplicateInput", "has the name of another input",
     [](TestModule &m) { m.addInput("x", ElementType_F32, {}); }},
    {"InputType", "unknown element type",
     [](TestModule &m) { m.addInput("z", ElementType_None, {}); }},
    {"DimSymbol", "names symbol 77",
     [](TestModule &m) { m.addInput("z", ElementType_F32, {dynamic(77, "k")}); }},
    {"DimTexts", "dim_texts", [](TestModule &m) { m.module().inputs[0]->dim_texts.clear(); }},
    {"DimOverflow", "overflow",
     [](TestModule &m) { m.addInput("z", ElementType_F32, {fixed(INT64_MAX), fixed(9)}); }},
    {"StateInput", "names input 5", [](TestModule &m) { m.addState("s", 5, 0, 0, false); }},
    {"StateOutput", "names output 5", [](TestModule &m) { m.addState("s", 0, 5, 0, false); }},
    {"StateAxis", "axis 3 does not exist", [](TestModule &m) { m.addState("s", 0, 0, 3, false); }},
    {"StateTwice", "shares its input",
     [](TestModule &m) {
       m.addState("s", 0, 0, 0, false);
       m.addState("t", 0, 0, 0, false);
     }},
    {"StateBuffer", "whose state is in place",
     [](TestModule &m) { m.addState("s", 0, 0, 0, true); }},
    {"ConstantOffset", "is not aligned",
     [](TestModule &m) { m.module().constants[0]->offset = 4; }},
    {"ConstantOutside", "constant 'w' (offset 64, 8 bytes) lies outside",
     [](TestModule &m) { m.module().constants[0]->offset = 64; }},
    {"ConstantOverlap", "overlaps",
     [](TestModule &m) {
       auto copy = std::make_unique<ConstantT>(*m.module().constants[0]);
       copy->name = "v";
       m.module().constants.push_back(std::move(copy));
     }},
    {"PartSize", "have more than its 8 bytes",
     [](TestModule &m) {
       auto info = std::make_unique<TensorInfoT>();
       info->name = "w";
       info->parts = {TensorPart(5, 0, PartRole_Codes), TensorPart(4, 0, PartRole_Scales)};
       m.module().tensors.push_back(std::move(info));
     }},
    {"BufferIndex", "names Constant 1", [](TestModule &m) { m.addBuffer(BufferKind_Constant, 1); }},
    {"BufferKind", "unknown kind",
     [](TestModule &m) { m.addBuffer(static_cast<BufferKind>(9), 0); }},
    {"TransientSize", "has no size", [](TestModule &m) { m.addBuffer(BufferKind_Transient, 0); }},
    {"SymbolOperand", "names symbol 50",
     [](TestModule &m) { m.opInto(0, SymbolOpcode_Add, 50, 0); }},
    {"SymbolOpcode", "unknown opcode",
     [](TestModule &m) { m.opInto(0, static_cast<SymbolOpcode>(200)); }},
    {"SymbolAxis", "has no axis 4",
     [](TestModule &m) { m.opInto(0, SymbolOpcode_InputDim, 0, 4); }},
    {"SymbolMessage", "names message 3",
     [](TestModule &m) { m.opInto(0, SymbolOpcode_CheckEq, 0, 0, 3); }},
    {"SymbolSelect", "names symbol -1",
     [](TestModule &m) { m.opInto(0, SymbolOpcode_Select, 0, 0, -1); }},
    {"ReadType", "has no element type",
     [](TestModule &m) { m.opInto(0, SymbolOpcode_Read, 1, kNone, 0); }},
    {"ReadInPrologue", "in the prologue only",
     [](TestModule &m) {
       uint32_t b = m.addBuffer(BufferKind_Output, 0, ElementType_F32);
       m.opInto(0, SymbolOpcode_Read, b, kNone, 0);
       m.endPrologue();
     }},
    {"Prologue", "the prologue has 9", [](TestModule &m) { m.module().prologue = 9; }},
    {"EvalRange", "are outside of the 0", [](TestModule &m) { m.eval(0, 0, 1); }},
    {"DispatchKernel", "names kernel 0, but there are 0",
     [](TestModule &m) { m.dispatch(0, 0, {}, {}, 0); }},
    {"CopyToInput", "which is read-only", [](TestModule &m) { m.copy(0, 0, 1, 0); }},
    {"FillWidth", "width 3", [](TestModule &m) { m.fill(0, 1, 0, 3); }},
    {"BlockBackwards", "does not come after", [](TestModule &m) { m.loop(0, 0, kNone, kNone, 0); }},
    {"BlockTwice", "named more than once",
     [](TestModule &m) {
       uint32_t b = m.addBlock();
       m.branch(0, 0, b, b);
     }},
    {"BlockUnused", "block 1 is not named", [](TestModule &m) { m.addBlock(); }},
    {"BlockDepth", "levels deep",
     [](TestModule &m) {
       for (uint32_t i = 0; i < 200; ++i)
         m.branch(i, 0, m.addBlock(), kNone);
     }},
    {"LoopForever", "neither a trip count nor a condition",
     [](TestModule &m) { m.loop(0, kNone, kNone, kNone, m.addBlock()); }},
    {"ExecutableKernels", "has 0 kernels, but the module has 2",
     [](TestModule &m) {
       ExecutableT executable;
       executable.driver = "cpu";
       executable.target = "t";
       executable.format = "f";
       uint32_t index;
       require(m.output().addExecutable(executable, "x", 1, index));
       m.module().kernel_count = 2;
     }},
    {"AbsentOrder", "does not have kernel 0, but the module has 2 kernels, or they are not in",
     [](TestModule &m) { lackKernels(m, "vulkan", {1, 0}); }},
    {"AbsentNumber", "does not have kernel 2, but the module has 2 kernels",
     [](TestModule &m) { lackKernels(m, "vulkan", {2}); }},
    {"AbsentFromAll", "does not have kernel 1, and no executable for the host has all",
     [](TestModule &m) {
       lackKernels(m, "vulkan", {1});
       lackKernels(m, "host", {0, 1});
     }},
    {"AbsentOnCpu", "those of the driver 'cpu' have all",
     [](TestModule &m) {
       lackKernels(m, "host", {});
       lackKernels(m, "cpu", {1});
     }},
    {"Counts", "symbols are more than",
     [](TestModule &m) { m.module().symbol_count = 0xFFFFFFF0; }},
};

INSTANTIATE_TEST_SUITE_P(Rules, ModuleRule, testing::ValuesIn(kRules),
                         [](const testing::TestParamInfo<Rule> &info) {
                           return std::string(info.param.name);
                         });

// ---- writing -------------------------------------------------------------------------------

TEST(ModuleWriter, StreamsConstantsInPieces) {
  TemporaryDirectory directory;
  std::string whole = directory.file("whole.tacq"), pieces = directory.file("pieces.tacq");
  std::vector<uint8_t> data(100000);
  for (size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<uint8_t>(i * 7);
  uint32_t index;
  TestModule first(whole), second(pieces);
  require(first.output().addConstant("w", data.data(), data.size(), index));
  require(second.output().beginConstant("w", index));
  for (size_t at = 0; at < data.size(); at += 777)
    require(second.output().append(data.data() + at, std::min<size_t>(777, data.size() - at)));
  require(second.output().endConstant());
  first.finish();
  second.finish();
  EXPECT_EQ(readFile(whole), readFile(pieces));
}

TEST(ModuleWriter, LeavesNothingBehindWhenGivenUp) {
  TemporaryDirectory directory;
  {
    TestModule m(directory.file("m.tacq"));
  }
  {
    TestModule m(directory.file("m.tacq"));
    m.addBlock(); // not named: finish() fails
    EXPECT_TRUE(m.output().finish());
  }
  DIR *entries = opendir(directory.file(".").c_str());
  int count = 0;
  while (readdir(entries))
    ++count;
  closedir(entries);
  EXPECT_EQ(count, 2); // . and ..
}

TEST(ModuleWriter, ReportsMisuseAndUnwritablePaths) {
  TemporaryDirectory directory;
  std::unique_ptr<ModuleWriter> writer;
  EXPECT_EQ(ModuleWriter::create(directory.file("no/such/m.tacq"), writer).code(), TACQ_IO);
  TestModule m(directory.file("m.tacq"));
  uint32_t index;
  EXPECT_TRUE(m.output().append("x", 1));
  require(m.output().beginConstant("a", index));
  EXPECT_TRUE(m.output().beginConstant("b", index));
  EXPECT_TRUE(m.output().finish());
}

} // namespace
