//===- TestModule.cpp - Builds small modules for tests --------------------===//

#include "TestModule.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <map>
#include <unistd.h>

using namespace tacq;
using namespace tacq::test;
using namespace tacq::format;

void test::require(const Error &error) {
  if (!error)
    return;
  fprintf(stderr, "the test cannot be set up: %s\n", error.message().c_str());
  abort();
}

TemporaryDirectory::TemporaryDirectory() {
  const char *base = getenv("TMPDIR");
  path = std::string(base ? base : "/tmp") + "/tacq-test-XXXXXX";
  if (!mkdtemp(path.data()))
    abort();
}

TemporaryDirectory::~TemporaryDirectory() {
  if (DIR *directory = opendir(path.c_str())) {
    while (dirent *entry = readdir(directory))
      unlink(file(entry->d_name).c_str());
    closedir(directory);
  }
  rmdir(path.c_str());
}

std::vector<uint8_t> test::readFile(const std::string &path) {
  FILE *file = fopen(path.c_str(), "rb");
  if (!file)
    abort();
  std::vector<uint8_t> bytes;
  uint8_t part[4096];
  for (size_t got; (got = fread(part, 1, sizeof(part), file)) > 0;)
    bytes.insert(bytes.end(), part, part + got);
  fclose(file);
  return bytes;
}

void test::writeFile(const std::string &path, const void *data, size_t size) {
  FILE *file = fopen(path.c_str(), "wb");
  if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
    abort();
}

AlignedBytes::AlignedBytes(const std::vector<uint8_t> &bytes) : length(bytes.size()) {
  // The end is where the bytes end, so that address sanitizer sees what reads beyond them.
  void *block = nullptr;
  if (posix_memalign(&block, 64, bytes.empty() ? 1 : bytes.size()) != 0)
    abort();
  memory = static_cast<uint8_t *>(block);
  if (!bytes.empty())
    memcpy(memory, bytes.data(), bytes.size());
}

bool test::fixChecksums(uint8_t *module, size_t size) {
  ModuleHeader header;
  if (size < sizeof(header))
    return false;
  memcpy(&header, module, sizeof(header));
  if (header.metadataOffset <= size && header.metadataSize <= size - header.metadataOffset)
    header.metadataChecksum = XXH3_64bits(module + header.metadataOffset, header.metadataSize);
  if (header.dataOffset <= size && header.dataSize <= size - header.dataOffset)
    header.dataChecksum = XXH3_64bits(module + header.dataOffset, header.dataSize);
  header.headerChecksum = XXH3_64bits(&header, offsetof(ModuleHeader, headerChecksum));
  memcpy(module, &header, sizeof(header));
  return true;
}

const char *test::hostFormat() {
#if defined(__aarch64__)
  return "elf64-aarch64";
#else
  return "elf64-x86-64";
#endif
}

TestModule::TestModule(const std::string &path) {
  require(ModuleWriter::create(path, writer));
  module().producer = "test";
  module().model_name = "test model";
  addBlock();
}

uint32_t TestModule::op(SymbolOpcode code, uint32_t a, uint32_t b, int64_t imm) {
  uint32_t dst = symbol();
  opInto(dst, code, a, b, imm);
  return dst;
}

void TestModule::opInto(uint32_t dst, SymbolOpcode code, uint32_t a, uint32_t b, int64_t imm) {
  module().symbol_ops.push_back(SymbolOp(code, 0, dst, a, b, imm));
}

void TestModule::check(SymbolOpcode code, uint32_t a, uint32_t b, const std::string &message,
                       uint32_t v) {
  module().messages.push_back(message);
  opInto(v, code, a, b, static_cast<int64_t>(module().messages.size()) - 1);
}

static std::unique_ptr<TensorDeclT> declare(const std::string &name, ElementType type,
                                            const std::vector<TestDim> &dims) {
  auto decl = std::make_unique<TensorDeclT>();
  decl->name = name;
  decl->element_type = type;
  for (const TestDim &dim : dims) {
    decl->dims.push_back(Dim(dim.extent, dim.symbol));
    decl->dim_texts.push_back(dim.text);
  }
  return decl;
}

uint32_t TestModule::addInput(const std::string &name, ElementType type,
                              std::vector<TestDim> dims) {
  module().inputs.push_back(declare(name, type, dims));
  return static_cast<uint32_t>(module().inputs.size()) - 1;
}

uint32_t TestModule::addOutput(const std::string &name, ElementType type,
                               std::vector<TestDim> dims) {
  module().outputs.push_back(declare(name, type, dims));
  return static_cast<uint32_t>(module().outputs.size()) - 1;
}

uint32_t TestModule::addState(const std::string &name, uint32_t input, uint32_t output,
                              int32_t axis, bool inPlace) {
  auto state = std::make_unique<StateT>();
  state->name = name;
  state->input = input;
  state->output = output;
  state->axis = axis;
  state->in_place = inPlace;
  module().states.push_back(std::move(state));
  return static_cast<uint32_t>(module().states.size()) - 1;
}

uint32_t TestModule::addBuffer(BufferKind kind, uint32_t index, ElementType type, uint32_t size,
                               uint32_t offset) {
  module().buffers.push_back(Buffer(kind, type, 0, index, size, offset));
  if (kind == BufferKind_Transient && module().slot_count <= index)
    module().slot_count = index + 1;
  return static_cast<uint32_t>(module().buffers.size()) - 1;
}

uint32_t TestModule::addBlock() {
  module().blocks.push_back(std::make_unique<BlockT>());
  return static_cast<uint32_t>(module().blocks.size()) - 1;
}

template <typename Command> void TestModule::add(uint32_t block, Command command) {
  CommandUnion entry;
  entry.Set(std::move(command));
  module().blocks[block]->commands.push_back(std::move(entry));
}

void TestModule::eval(uint32_t block, uint32_t begin, uint32_t count) {
  EvalT command;
  command.begin = begin;
  command.count = count;
  add(block, command);
}

void TestModule::copy(uint32_t block, uint32_t dst, uint32_t src, uint32_t size, uint32_t dstOffset,
                      uint32_t srcOffset) {
  CopyT command;
  command.src = src;
  command.dst = dst;
  command.size = size;
  command.src_offset = srcOffset;
  command.dst_offset = dstOffset;
  add(block, command);
}

void TestModule::fill(uint32_t block, uint32_t dst, uint64_t pattern, uint8_t width, uint32_t size,
                      uint32_t offset) {
  FillT command;
  command.dst = dst;
  command.pattern = pattern;
  command.width = width;
  command.size = size;
  command.offset = offset;
  add(block, command);
}

void TestModule::branch(uint32_t block, uint32_t condition, uint32_t thenBlock,
                        uint32_t elseBlock) {
  IfT command;
  command.condition = condition;
  command.then_block = thenBlock;
  command.else_block = elseBlock;
  add(block, command);
}

void TestModule::loop(uint32_t block, uint32_t trips, uint32_t condition, uint32_t iteration,
                      uint32_t body) {
  LoopT command;
  command.trip_count = trips;
  command.condition = condition;
  command.iteration = iteration;
  command.body = body;
  add(block, command);
}

void TestModule::dispatch(uint32_t block, uint32_t kernel, std::vector<uint32_t> bindings,
                          std::vector<uint32_t> symbols, uint32_t tasks, uint32_t node,
                          uint32_t scratch) {
  DispatchT command;
  command.kernel = kernel;
  command.bindings = std::move(bindings);
  command.symbols = std::move(symbols);
  command.tasks = tasks;
  command.node = node;
  command.scratch = scratch;
  add(block, std::move(command));
}

void TestModule::addHostExecutable(const std::vector<std::string> &kernels,
                                   const std::vector<std::string> &features, int32_t rank,
                                   const std::string &target, const std::string &file) {
  std::vector<uint8_t> code = readFile(file.empty() ? TACQ_TEST_KERNELS : file);
  ExecutableT executable;
  executable.driver = "cpu";
  executable.target = target;
  executable.format = hostFormat();
  executable.features = features;
  executable.rank = rank;
  executable.kernels = kernels;
  module().kernel_count = static_cast<uint32_t>(kernels.size());
  uint32_t index;
  require(writer->addExecutable(executable, code.data(), code.size(), index));
}

void TestModule::addShaderlessExecutable(const std::string &driver,
                                         const std::vector<std::string> &features, int32_t rank) {
  std::map<uint32_t, uint32_t> buffers; // by kernel
  for (const std::unique_ptr<BlockT> &block : module().blocks)
    for (CommandUnion &command : block->commands)
      if (DispatchT *dispatch = command.AsDispatch())
        buffers[dispatch->kernel] = static_cast<uint32_t>(dispatch->bindings.size());
  uint32_t count = std::max(module().kernel_count, static_cast<uint32_t>(buffers.size()));
  std::vector<tacq_vulkan_kernel> entries(count);
  ExecutableT executable;
  for (uint32_t i = 0; i < count; ++i) {
    entries[i].buffer_count = buffers[i];
    executable.kernels.push_back("kernel" + std::to_string(i));
    executable.absent.push_back(i);
  }
  executable.driver = driver;
  executable.target = "shaderless";
  executable.features = features;
  executable.rank = rank;
  addShaders(executable, entries, {});
}

void TestModule::addShaderExecutable(const std::vector<std::string> &kernels,
                                     const std::string &folder, int32_t rank,
                                     const std::string &driver) {
  std::vector<tacq_vulkan_kernel> entries;
  std::vector<uint8_t> code;
  for (const std::string &kernel : kernels) {
    std::vector<uint8_t> shader = readFile(folder + "/" + kernel + ".spv");
    tacq_vulkan_kernel entry = {};
    entry.code_offset = sizeof(tacq_vulkan_header) + kernels.size() * sizeof(entry) + code.size();
    entry.code_size = shader.size();
    entry.buffer_count = 3;
    entry.read_count = 2;
    entry.task_symbol = kernel == "gather" ? 3 : 0;
    entry.tasks_per_group = 64;
    entry.variant = entry.first = TACQ_VULKAN_NO_SHADER;
    entries.push_back(entry);
    code.insert(code.end(), shader.begin(), shader.end());
  }
  ExecutableT executable;
  executable.driver = driver;
  executable.target = "shaders";
  executable.features = {"int64"};
  executable.rank = rank;
  executable.kernels = kernels;
  addShaders(executable, entries, code);
}

void TestModule::addShaders(ExecutableT &executable, const std::vector<tacq_vulkan_kernel> &entries,
                            const std::vector<uint8_t> &code) {
  auto count = static_cast<uint32_t>(entries.size());
  tacq_vulkan_header header = {
      TACQ_VULKAN_EXECUTABLE_MAGIC, TACQ_VULKAN_EXECUTABLE_VERSION, count, 0, 0, 0};
  size_t table = count * sizeof(entries[0]);
  std::vector<uint8_t> bytes(sizeof(header) + table + code.size());
  memcpy(bytes.data(), &header, sizeof(header));
  memcpy(bytes.data() + sizeof(header), entries.data(), table);
  std::copy(code.begin(), code.end(),
            bytes.begin() + static_cast<ptrdiff_t>(sizeof(header) + table));
  executable.format = "spirv";
  module().kernel_count = count;
  uint32_t index;
  require(writer->addExecutable(executable, bytes.data(), bytes.size(), index));
}

void test::writeRichModule(const std::string &path) {
  TestModule m(path);
  uint32_t batch = m.symbol(), past = m.symbol(), total = m.symbol();
  std::vector<TestDim> pastDims = {dynamic(batch, "batch"), dynamic(past, "past"), fixed(4)};
  std::vector<TestDim> totalDims = {dynamic(batch, "batch"), dynamic(total, "past + 1"), fixed(4)};
  uint32_t x = m.addInput("x", ElementType_F32, {dynamic(batch, "batch"), fixed(4)});
  uint32_t pastKey = m.addInput("past_key", ElementType_F32, pastDims);
  uint32_t pastValue = m.addInput("past_value", ElementType_F32, pastDims);
  uint32_t y = m.addOutput("y", ElementType_F32, {dynamic(batch, "batch"), fixed(4)});
  uint32_t presentKey = m.addOutput("present_key", ElementType_F32, totalDims);
  uint32_t presentValue = m.addOutput("present_value", ElementType_F32, totalDims);
  m.addState("key", pastKey, presentKey, 1, true);
  m.addState("value", pastValue, presentValue, 1, false);

  uint32_t one = m.number(1), sixteen = m.number(16);
  m.opInto(total, SymbolOpcode_Add, past, one);
  uint32_t rowBytes = m.op(SymbolOpcode_Mul, batch, sixteen);
  uint32_t capacity = m.op(SymbolOpcode_CacheCapacity, 0);
  m.check(SymbolOpcode_CheckLe, one, capacity, "no capacity");
  uint32_t inputBatch = m.op(SymbolOpcode_InputDim, x, 0);
  m.check(SymbolOpcode_CheckRange, one, sixteen, "batch", inputBatch);
  m.endPrologue();

  uint32_t index;
  std::vector<float> weight(64, 0.5f);
  require(m.output().addConstant("weight", weight.data(), weight.size() * 4, index));
  require(m.output().addConstant("bias", weight.data(), 16, index));
  auto info = std::make_unique<TensorInfoT>();
  info->name = "weight";
  info->shape = {4, 16};
  info->bits = 32;
  info->scheme = "dense";
  info->parts = {TensorPart(256, 0, PartRole_Dense)};
  m.module().tensors.push_back(std::move(info));

  uint32_t xBuffer = m.addBuffer(BufferKind_Input, x, ElementType_F32);
  uint32_t yBuffer = m.addBuffer(BufferKind_Output, y);
  uint32_t constant = m.addBuffer(BufferKind_Constant, 0, ElementType_F32);
  uint32_t transient = m.addBuffer(BufferKind_Transient, 0, ElementType_F32, rowBytes);
  uint32_t key = m.addBuffer(BufferKind_State, 0);
  uint32_t value = m.addBuffer(BufferKind_Output, presentValue);
  uint32_t thenBlock = m.addBlock(), body = m.addBlock();
  m.dispatch(0, 0, {xBuffer, constant, transient}, {batch, total}, batch, 0);
  m.copy(0, yBuffer, transient, rowBytes);
  m.fill(0, value, 0, 4);
  uint32_t begin = m.opCount();
  uint32_t flag = m.op(SymbolOpcode_Read, xBuffer, kNone, 0);
  m.eval(0, begin, m.opCount() - begin);
  m.branch(0, flag, thenBlock, kNone);
  m.loop(thenBlock, one, flag, m.symbol(), body);
  m.dispatch(body, 1, {key, yBuffer}, {capacity}, one);
  auto node = std::make_unique<NodeInfoT>();
  node->name = "/a/MatMul";
  node->op = "MatMul";
  node->file = "model.onnx";
  m.module().nodes.push_back(std::move(node));
  auto entry = std::make_unique<KeyValueT>();
  entry->key = "stop";
  entry->value = "10";
  m.module().metadata.push_back(std::move(entry));
  ExecutableT executable;
  executable.driver = "cpu";
  executable.target = "x86-64-v3";
  executable.format = "elf64-x86-64";
  executable.features = {"avx2"};
  executable.kernels = {"first", "second"};
  m.module().kernel_count = 2;
  require(m.output().addExecutable(executable, "not code", 8, index));
  m.finish();
}
