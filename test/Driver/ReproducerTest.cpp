//===- ReproducerTest.cpp - Whose fault a failed compilation is -----------===//

#include "tacq/Reproducer.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/ExitCode.h"
#include "tacq/TextFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include <csignal>
#include <cstdlib>
#include <gtest/gtest.h>
#include <thread>
#include <unistd.h>

using namespace mlir;

namespace {

/// Does what the test says, under a name that a pipeline can have.
struct ScriptedPass : PassWrapper<ScriptedPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ScriptedPass)
  explicit ScriptedPass(std::function<void(ScriptedPass &)> body) : body(std::move(body)) {}
  StringRef getArgument() const override { return "scripted-pass"; }
  void runOnOperation() override { body(*this); }
  void fail(const Twine &message) {
    getOperation().emitError(message);
    signalPassFailure();
  }
  std::function<void(ScriptedPass &)> body;
};

class ReproducerTest : public testing::Test {
protected:
  /// Temporary files go to a folder of the test.
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("tacq-reproducer", folder));
    setenv("TMPDIR", folder.c_str(), 1);
  }
  void TearDown() override {
    unsetenv("TMPDIR");
    EXPECT_FALSE(llvm::sys::fs::remove_directories(folder));
  }

  tacq::Error run(std::function<void(ScriptedPass &)> body) {
    PassManager manager(&context);
    manager.addPass(std::make_unique<ScriptedPass>(std::move(body)));
    return tacq::runPasses(manager, *module, "m.onnx");
  }

  std::vector<std::string> files() {
    std::vector<std::string> paths;
    std::error_code code;
    for (llvm::sys::fs::directory_iterator it(folder, code), end; it != end; it.increment(code))
      paths.push_back(it->path());
    return paths;
  }

  /// The error is internal and names the only file, which holds `text`.
  void expectReproducer(const tacq::Error &error, StringRef text) {
    EXPECT_EQ(error.code(), TACQ_INTERNAL);
    ASSERT_EQ(files().size(), 1u) << error.message();
    EXPECT_NE(error.message().find(files()[0]), std::string::npos) << error.message();
    auto content = llvm::MemoryBuffer::getFile(files()[0]);
    ASSERT_TRUE(bool(content));
    EXPECT_TRUE((*content)->getBuffer().contains(text)) << (*content)->getBuffer().str();
  }

  MLIRContext context{MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context), "the_module");
  SmallString<128> folder;
};

TEST_F(ReproducerTest, SuccessLeavesNothing) {
  EXPECT_FALSE(run([](ScriptedPass &) {}));
  EXPECT_TRUE(files().empty());
}

TEST_F(ReproducerTest, ErrorsOfTheUserLeaveNothing) {
  tacq::Error error = run([](ScriptedPass &pass) { pass.fail("unsupported node 'a': reason"); });
  EXPECT_EQ(error.code(), TACQ_UNSUPPORTED);
  EXPECT_EQ(error.message(), "m.onnx: node 'a': reason");
  error = run([](ScriptedPass &pass) { pass.fail("node 'b' (Add): sizes 3 and 4"); });
  EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
  EXPECT_EQ(error.message(), "m.onnx: node 'b' (Add): sizes 3 and 4");
  EXPECT_TRUE(files().empty());
}

TEST_F(ReproducerTest, FailingPass) {
  tacq::Error error = run([](ScriptedPass &pass) { pass.fail("something is odd"); });
  EXPECT_NE(error.message().find("m.onnx: something is odd"), std::string::npos);
  expectReproducer(error, "scripted-pass");
}

TEST_F(ReproducerTest, CrashingPass) {
  expectReproducer(run([](ScriptedPass &) { std::raise(SIGSEGV); }), "the_module");
}

TEST_F(ReproducerTest, CodeGeneration) {
  EXPECT_FALSE(tacq::runGuarded(*module, "m.onnx", [] { return tacq::Error(); }));
  tacq::Error full =
      tacq::runGuarded(*module, "m.onnx", [] { return tacq::Error(TACQ_IO, "the disk is full"); });
  EXPECT_EQ(full.code(), TACQ_IO);
  EXPECT_TRUE(files().empty());
  expectReproducer(
      tacq::runGuarded(*module, "m.onnx", [] { return tacq::Error(TACQ_INTERNAL, "odd"); }),
      "the_module");
}

TEST_F(ReproducerTest, CrashOfCodeGeneration) {
  expectReproducer(tacq::runGuarded(*module, "m.onnx",
                                    []() -> tacq::Error {
                                      std::raise(SIGSEGV);
                                      return tacq::Error();
                                    }),
                   "the_module");
}

/// The heap finds that memory is given back twice with its lock held, since there is another
/// thread.
TEST_F(ReproducerTest, CrashInsideOfTheHeap) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto crash = [&] {
    std::thread other(pause);
    (void)tacq::runGuarded(*module, "m.onnx", []() -> tacq::Error {
      constexpr size_t beyondCaches = 5000;
      void *volatile memory = std::malloc(beyondCaches);
      void *volatile next = std::malloc(beyondCaches);
      std::free(memory);
      std::free(memory);
      std::free(next);
      return tacq::Error();
    });
    _exit(0);
  };
  EXPECT_EXIT(crash(), testing::ExitedWithCode(int(tacq::ExitCode::Internal)),
              "held the lock of the heap");
}

TEST_F(ReproducerTest, TextFiles) {
  std::string path = (folder + "/text").str();
  auto print = [](llvm::raw_ostream &os) { os << "text\n"; };
  ASSERT_FALSE(tacq::writeTextFile(path, print));
  ASSERT_FALSE(tacq::writeTextFile(path, print));
  EXPECT_EQ(files().size(), 1u);
  EXPECT_EQ((*llvm::MemoryBuffer::getFile(path))->getBuffer(), "text\n");
  EXPECT_EQ(tacq::writeTextFile((folder + "/no/such").str(), print).code(), TACQ_IO);
  EXPECT_EQ(tacq::writeTextFile(folder.str().str(), print).code(), TACQ_IO);
  // A device stays one.
  EXPECT_EQ(tacq::writeTextFile("/dev/full", print).code(), TACQ_IO);
  llvm::sys::fs::file_status status;
  ASSERT_FALSE(llvm::sys::fs::status("/dev/full", status));
  EXPECT_EQ(status.type(), llvm::sys::fs::file_type::character_file);
  EXPECT_EQ(files().size(), 1u);
}

} // namespace
