//===- LinkSharedObject.cpp - A relocatable object to a shared object -----===//

#include "CpuPipeline.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

using namespace tacq;

namespace {

/// What the runtime's cpu driver resolves, besides the f variants of the functions of libm.
bool isOfferedByRuntime(llvm::StringRef name) {
  static const llvm::StringSet<> memory = {"memcpy", "memmove", "memset", "bzero"};
  static const llvm::StringSet<> math = {
      "exp",   "exp2",  "expm1", "log",   "log2",  "log10",  "log1p",  "pow",
      "sin",   "cos",   "tan",   "sinh",  "cosh",  "tanh",   "asin",   "acos",
      "atan",  "atan2", "asinh", "acosh", "atanh", "erf",    "fmod",   "cbrt",
      "floor", "ceil",  "round", "rint",  "trunc", "lgamma", "tgamma", "roundeven"};
  if (memory.contains(name) || math.contains(name))
    return true;
  return name.consume_back("f") && math.contains(name);
}

mlir::LogicalResult checkImports(llvm::ArrayRef<char> object, mlir::Location loc) {
  llvm::MemoryBufferRef buffer(llvm::StringRef(object.data(), object.size()), "kernels");
  llvm::Expected<std::unique_ptr<llvm::object::ObjectFile>> file =
      llvm::object::ObjectFile::createObjectFile(buffer);
  if (!file)
    return mlir::emitError(loc) << "the code generator's object cannot be read: "
                                << llvm::toString(file.takeError());
  std::string missing;
  for (const llvm::object::SymbolRef &symbol : (*file)->symbols()) {
    llvm::Expected<uint32_t> flags = symbol.getFlags();
    llvm::Expected<llvm::StringRef> name = symbol.getName();
    if (!flags || !name) {
      llvm::consumeError(flags.takeError());
      llvm::consumeError(name.takeError());
      return mlir::emitError(loc) << "the code generator's object has an invalid symbol";
    }
    if (!(*flags & llvm::object::SymbolRef::SF_Undefined) || name->empty() ||
        *name == "_GLOBAL_OFFSET_TABLE_" || isOfferedByRuntime(*name))
      continue;
    missing += (missing.empty() ? "'" : ", '") + name->str() + "'";
  }
  if (!missing.empty())
    return mlir::emitError(loc) << "the kernels need functions that the runtime does not offer: "
                                << missing;
  return mlir::success();
}

/// The linker that belongs to this LLVM, else any lld.
std::string findLinker() {
#ifdef TACQ_LLD_PATH
  if (llvm::sys::fs::can_execute(TACQ_LLD_PATH))
    return TACQ_LLD_PATH;
#endif
  for (const char *name : {"ld.lld-19", "ld.lld"})
    if (llvm::ErrorOr<std::string> found = llvm::sys::findProgramByName(name))
      return *found;
  return "";
}

} // namespace

mlir::LogicalResult tacq::linkSharedObject(llvm::ArrayRef<char> object,
                                           llvm::SmallVectorImpl<char> &elf, mlir::Location loc) {
  if (failed(checkImports(object, loc)))
    return mlir::failure();
  std::string linker = findLinker();
  if (linker.empty())
    return mlir::emitError(loc) << "no linker: install lld 19 (ld.lld-19 or ld.lld on the path)";

  llvm::SmallString<128> objectPath, elfPath, logPath;
  auto temporary = [](llvm::StringRef suffix, llvm::SmallVectorImpl<char> &path) {
    return llvm::sys::fs::createTemporaryFile("tacq", suffix, path);
  };
  if (std::error_code error = temporary("o", objectPath))
    return mlir::emitError(loc) << "cannot create a temporary file: " << error.message();
  llvm::FileRemover removeObject(objectPath);
  if (std::error_code error = temporary("so", elfPath))
    return mlir::emitError(loc) << "cannot create a temporary file: " << error.message();
  llvm::FileRemover removeElf(elfPath);
  if (std::error_code error = temporary("log", logPath))
    return mlir::emitError(loc) << "cannot create a temporary file: " << error.message();
  llvm::FileRemover removeLog(logPath);
  std::error_code error;
  llvm::raw_fd_ostream stream(objectPath, error);
  stream.write(object.data(), object.size());
  stream.close();
  if (stream.has_error())
    return mlir::emitError(loc) << "cannot write '" << objectPath
                                << "': " << stream.error().message();

  llvm::StringRef arguments[] = {linker,
                                 "-shared",
                                 "-Bsymbolic",
                                 "--hash-style=sysv",
                                 "--build-id=none",
                                 "--strip-all",
                                 "--no-rosegment",
                                 "-z",
                                 "norelro",
                                 "-z",
                                 "max-page-size=4096",
                                 "-o",
                                 elfPath,
                                 objectPath};
  std::optional<llvm::StringRef> redirects[] = {std::nullopt, logPath.str(), logPath.str()};
  std::string message;
  int status =
      llvm::sys::ExecuteAndWait(linker, arguments, std::nullopt, redirects, 0, 0, &message);
  if (status != 0) {
    if (auto log = llvm::MemoryBuffer::getFile(logPath))
      message += (*log)->getBuffer();
    return mlir::emitError(loc) << linker << " failed: " << message;
  }
  auto linked = llvm::MemoryBuffer::getFile(elfPath);
  if (!linked)
    return mlir::emitError(loc) << "cannot read what " << linker
                                << " wrote: " << linked.getError().message();
  elf.append((*linked)->getBufferStart(), (*linked)->getBufferEnd());
  return mlir::success();
}
