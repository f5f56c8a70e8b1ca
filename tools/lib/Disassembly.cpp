//===- Disassembly.cpp - The machine code of a module ---------------------===//

#include "Disassembly.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace tacq;
using namespace tacq::tools;

extern char **environ;

static Error writeAll(int descriptor, const uint8_t *data, size_t size) {
  while (size > 0) {
    ssize_t written = write(descriptor, data, size);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return makeError(TACQ_IO, "a temporary file cannot be written: %s", std::strerror(errno));
    data += written;
    size -= static_cast<size_t>(written);
  }
  return success();
}

/// Runs the first objdump there is; its output goes to our stdout.
static Error runObjdump(const std::string &file, const std::string &kernel) {
  std::vector<std::string> arguments = {"", "--disassemble", "--no-show-raw-insn",
                                        "--x86-asm-syntax=intel"};
  if (!kernel.empty())
    arguments.push_back("--disassemble-symbols=" + kernel);
  arguments.push_back(file);
  for (const char *program :
       {"llvm-objdump-19", "/usr/lib/llvm-19/bin/llvm-objdump", "llvm-objdump"}) {
    arguments[0] = program;
    std::vector<char *> pointers;
    for (std::string &argument : arguments)
      pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    pid_t child = 0;
    if (posix_spawnp(&child, program, nullptr, nullptr, pointers.data(), environ) != 0)
      continue;
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
      return success();
    return makeError(TACQ_INTERNAL, "%s failed", program);
  }
  return makeError(TACQ_UNSUPPORTED, "llvm-objdump is not installed; install the package llvm-19");
}

static bool hasKernelNamed(const format::Executable &code, const std::string &kernel) {
  for (uint32_t i = 0; i < sizeOf(code.kernels()); ++i)
    if (kernel == textOf(code.kernels()->Get(i)))
      return hasKernel(code, i);
  return false;
}

static Error disassembleOne(const ModuleView &view, const format::Executable &code,
                            const std::string &kernel) {
  if (std::strncmp(textOf(code.format()), "elf", 3) != 0)
    return makeError(TACQ_UNSUPPORTED, "%s: code of format %s cannot be disassembled",
                     view.name().c_str(), textOf(code.format()));
  const char *folder = std::getenv("TMPDIR");
  std::string path = std::string(folder && *folder ? folder : "/tmp") + "/tacq-dump-XXXXXX";
  int descriptor = mkstemp(path.data());
  if (descriptor < 0)
    return makeError(TACQ_IO, "%s cannot be created: %s", path.c_str(), std::strerror(errno));
  Error error = writeAll(descriptor, view.bytes(code), code.size());
  close(descriptor);
  if (!error) {
    std::printf("target %s\n", textOf(code.target()));
    std::fflush(stdout);
    error = runObjdump(path, kernel);
  }
  unlink(path.c_str());
  return error;
}

Error tools::disassemble(const ModuleView &view, const std::string &target,
                         const std::string &kernel) {
  const auto *executables = view.metadata().executables();
  bool targetFound = target.empty(), kernelFound = kernel.empty();
  for (size_t i = 0; i < sizeOf(executables); ++i) {
    const format::Executable &code = *executables->Get(i);
    if (!target.empty() && target != textOf(code.target()))
      continue;
    targetFound = true;
    if (!kernel.empty() && !hasKernelNamed(code, kernel))
      continue;
    kernelFound = true;
    if (Error error = disassembleOne(view, code, kernel))
      return error;
  }
  if (!targetFound)
    return makeError(TACQ_INVALID_ARGUMENT, "%s has no target named %s", view.name().c_str(),
                     target.c_str());
  if (!kernelFound)
    return makeError(TACQ_INVALID_ARGUMENT, "%s has no kernel named %s", view.name().c_str(),
                     kernel.c_str());
  return success();
}
