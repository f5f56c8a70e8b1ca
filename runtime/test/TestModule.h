//===- TestModule.h - Builds small modules for tests ------------*- C++ -*-===//

#ifndef TACQ_TEST_TESTMODULE_H
#define TACQ_TEST_TESTMODULE_H

#include "tacq/ModuleFormat.h"
#include "tacq/ModuleWriter.h"
#include "tacq/VulkanExecutable.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace tacq::test {

/// Fails the process: the test's own module cannot be built.
void require(const Error &error);

/// A directory of its own that is removed with its files at the end.
class TemporaryDirectory {
public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  std::string file(const std::string &name) const { return path + "/" + name; }

private:
  std::string path;
};

std::vector<uint8_t> readFile(const std::string &path);
void writeFile(const std::string &path, const void *data, size_t size);

/// Bytes at a 64-byte aligned address.
class AlignedBytes {
public:
  explicit AlignedBytes(const std::vector<uint8_t> &bytes);
  ~AlignedBytes() { free(memory); }
  AlignedBytes(const AlignedBytes &) = delete;
  AlignedBytes &operator=(const AlignedBytes &) = delete;
  uint8_t *data() { return memory; }
  size_t size() const { return length; }

private:
  uint8_t *memory;
  size_t length;
};

/// Recomputes the checksums of a module in memory after a change; false when the header's ranges
/// do not allow it.
bool fixChecksums(uint8_t *module, size_t size);

struct TestDim {
  int64_t extent;
  uint32_t symbol;
  std::string text;
};
inline TestDim fixed(int64_t extent) { return {extent, 0, std::to_string(extent)}; }
inline TestDim dynamic(uint32_t symbol, const std::string &text) { return {-1, symbol, text}; }

/// Short ways to say what is in a module.
class TestModule {
public:
  explicit TestModule(const std::string &path);
  format::ModuleT &module() { return writer->module(); }
  ModuleWriter &output() { return *writer; }

  uint32_t symbol() { return module().symbol_count++; }
  uint32_t op(format::SymbolOpcode code, uint32_t a = 0, uint32_t b = 0, int64_t imm = 0);
  void opInto(uint32_t dst, format::SymbolOpcode code, uint32_t a = 0, uint32_t b = 0,
              int64_t imm = 0);
  uint32_t number(int64_t value) { return op(format::SymbolOpcode_Const, 0, 0, value); }
  void check(format::SymbolOpcode code, uint32_t a, uint32_t b, const std::string &message,
             uint32_t v = 0);
  /// Number of symbol operations so far.
  uint32_t opCount() { return static_cast<uint32_t>(module().symbol_ops.size()); }
  void endPrologue() { module().prologue = opCount(); }

  uint32_t addInput(const std::string &name, format::ElementType type, std::vector<TestDim> dims);
  uint32_t addOutput(const std::string &name, format::ElementType type, std::vector<TestDim> dims);
  uint32_t addState(const std::string &name, uint32_t input, uint32_t output, int32_t axis,
                    bool inPlace);
  uint32_t addBuffer(format::BufferKind kind, uint32_t index,
                     format::ElementType type = format::ElementType_None, uint32_t size = kNone,
                     uint32_t offset = kNone);
  uint32_t addBlock();

  void eval(uint32_t block, uint32_t begin, uint32_t count);
  void copy(uint32_t block, uint32_t dst, uint32_t src, uint32_t size, uint32_t dstOffset = kNone,
            uint32_t srcOffset = kNone);
  void fill(uint32_t block, uint32_t dst, uint64_t pattern, uint8_t width, uint32_t size = kNone,
            uint32_t offset = kNone);
  void branch(uint32_t block, uint32_t condition, uint32_t thenBlock, uint32_t elseBlock);
  void loop(uint32_t block, uint32_t trips, uint32_t condition, uint32_t iteration, uint32_t body);
  void dispatch(uint32_t block, uint32_t kernel, std::vector<uint32_t> bindings,
                std::vector<uint32_t> symbols, uint32_t tasks, uint32_t node = kNone,
                uint32_t scratch = kNone);
  /// Adds an executable for the host's kernels (TACQ_TEST_KERNELS) with these entry points.
  void addHostExecutable(const std::vector<std::string> &kernels,
                         const std::vector<std::string> &features = {}, int32_t rank = 0,
                         const std::string &target = "host", const std::string &file = "");

  /// Adds an executable of shaders that has none: all kernels of the dispatches so far are left to
  /// the executables for the host.
  void addShaderlessExecutable(const std::string &driver = "vulkan",
                               const std::vector<std::string> &features = {}, int32_t rank = 0);
  /// Adds an executable of shaders that are in files of this folder: those of runtime/cts.
  void addShaderExecutable(const std::vector<std::string> &kernels, const std::string &folder,
                           int32_t rank = 0, const std::string &driver = "vulkan");

  void finish() { require(writer->finish()); }

private:
  template <typename Command> void add(uint32_t block, Command command);
  void addShaders(format::ExecutableT &executable, const std::vector<tacq_vulkan_kernel> &entries,
                  const std::vector<uint8_t> &code);
  std::unique_ptr<ModuleWriter> writer;
};

/// The format of executables for the machine the tests run on.
const char *hostFormat();

/// A module that has some of everything, for damaging it.
void writeRichModule(const std::string &path);

} // namespace tacq::test

#endif // TACQ_TEST_TESTMODULE_H
