//===- Reproducer.cpp - Whose fault a failed compilation is ---------------===//

#include "tacq/Reproducer.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/ExitCode.h"
#include "llvm/Support/CrashRecoveryContext.h"
#include "llvm/Support/FileSystem.h"
#include <csignal>
#include <optional>
#include <unistd.h>

using namespace mlir;
using namespace tacq;

namespace {
/// Collects the errors of the passes, which tell by their first word whose fault it is.
class ErrorCollector {
public:
  explicit ErrorCollector(MLIRContext &context)
      : handler(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
            messages.push_back(diagnostic.str());
          else if (diagnostic.getSeverity() == DiagnosticSeverity::Remark)
            llvm::errs() << diagnostic << "\n";
          return mlir::success();
        }) {}

  Error take(StringRef file) {
    bool unsupported = false, invalid = false;
    std::string text;
    for (StringRef message : messages) {
      unsupported |= message.consume_front("unsupported ");
      invalid |= message.starts_with("node '");
      // MLIR's own announcement of the reproducer; the caller words it.
      if (message.starts_with("A failure has been detected") ||
          message.starts_with("Failures have "))
        continue;
      if (!text.empty())
        text += "\n";
      text += (file + ": " + message).str();
    }
    if (text.empty())
      text = (file + ": the compiler failed").str();
    tacq_code_t code = unsupported ? TACQ_UNSUPPORTED
                       : invalid   ? TACQ_INVALID_INPUT
                                   : TACQ_INTERNAL;
    return Error(code, text);
  }

private:
  std::vector<std::string> messages;
  ScopedDiagnosticHandler handler;
};

/// After a crash with the heap's lock held nothing can be allocated any more, so that reporting it
/// would wait forever. While this exists, the process ends after a time instead.
class WaitLimit {
public:
  WaitLimit() {
    struct sigaction action = {};
    action.sa_handler = [](int) {
      constexpr char text[] = "error: the compiler crashed while it held the lock of the heap: no "
                              "reproducer can be written; please report it with the model\n";
      ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
      (void)written;
      _exit(int(ExitCode::Internal));
    };
    sigaction(SIGALRM, &action, &before);
    alarm(seconds);
  }
  ~WaitLimit() {
    alarm(0);
    sigaction(SIGALRM, &before, nullptr);
  }

private:
  static constexpr unsigned seconds = 10;
  struct sigaction before = {};
};
} // namespace

static std::string reproducerPath() {
  SmallString<128> path;
  if (llvm::sys::fs::createTemporaryFile("tacq-compile", "mlir", path))
    return "";
  return path.str().str();
}

static Error withReproducer(const Error &error, const std::string &path, StringRef how) {
  if (path.empty())
    return error;
  return Error(error.code(), error.message() +
                                 "\nthis is an error of the compiler; please report "
                                 "it with " +
                                 path + how.str());
}

Error tacq::runPasses(PassManager &manager, ModuleOp module, StringRef file) {
  ErrorCollector errors(*module.getContext());
  std::string path = reproducerPath();
  if (!path.empty())
    manager.enableCrashReproducerGeneration(path);
  bool succeeded = mlir::succeeded(manager.run(module));
  Error error = succeeded ? Error() : errors.take(file);
  if (error.code() == TACQ_INTERNAL)
    return withReproducer(error, path, ", which repeats it: tacq-opt --run-reproducer " + path);
  if (!path.empty())
    if (std::error_code failed = llvm::sys::fs::remove(path))
      llvm::errs() << "cannot remove '" << path << "': " << failed.message() << "\n";
  return error;
}

Error tacq::runGuarded(ModuleOp module, StringRef file, llvm::function_ref<Error()> step) {
  Error error;
  llvm::CrashRecoveryContext::Enable();
  llvm::CrashRecoveryContext context;
  std::optional<WaitLimit> limit;
  if (!context.RunSafely([&] { error = step(); })) {
    limit.emplace();
    error = Error(TACQ_INTERNAL, (file + ": code generation crashed").str());
  }
  llvm::CrashRecoveryContext::Disable();
  if (error.code() != TACQ_INTERNAL)
    return error;
  std::string path = reproducerPath();
  std::error_code failure;
  llvm::raw_fd_ostream output(path, failure);
  if (path.empty() || failure)
    return error;
  module.print(output);
  return withReproducer(error, path, "");
}
