//===- TextFile.cpp - Text that a tool writes -----------------------------===//

#include "tacq/TextFile.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace tacq;

/// Prints and takes the stream's error, which would end the process otherwise.
static std::error_code printTo(llvm::raw_fd_ostream &output,
                               llvm::function_ref<void(llvm::raw_ostream &)> print) {
  print(output);
  output.flush();
  std::error_code code = output.error();
  output.clear_error();
  return code;
}

Error tacq::writeTextFile(const std::string &path,
                          llvm::function_ref<void(llvm::raw_ostream &)> print) {
  auto failed = [&](const std::string &reason) {
    return Error(TACQ_IO, "'" + path + "' cannot be written: " + reason);
  };
  if (path == "-") {
    std::error_code code = printTo(llvm::outs(), print);
    return code ? Error(TACQ_IO, "the standard output cannot be written: " + code.message())
                : Error();
  }
  bool isDevice = false;
  if (!llvm::sys::fs::is_other(path, isDevice) && isDevice) {
    std::error_code code;
    llvm::raw_fd_ostream output(path, code);
    if (!code)
      code = printTo(output, print);
    return code ? failed(code.message()) : Error();
  }
  auto file = llvm::sys::fs::TempFile::create(path + ".tmp-%%%%%%");
  if (!file)
    return failed(llvm::toString(file.takeError()));
  std::error_code code;
  {
    llvm::raw_fd_ostream output(file->FD, /*shouldClose=*/false);
    code = printTo(output, print);
  }
  if (code) {
    llvm::consumeError(file->discard());
    return failed(code.message());
  }
  if (llvm::Error error = file->keep(path))
    return failed(llvm::toString(std::move(error)));
  return Error();
}
