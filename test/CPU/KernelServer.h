//===- KernelServer.h - Kernels of other machines in a test -----*- C++ -*-===//
//
// The process of kernel-server.c, which runs the kernels of targets that this machine cannot.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TEST_CPU_KERNELSERVER_H
#define TACQ_TEST_CPU_KERNELSERVER_H

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace tacq::test {

class KernelServer {
public:
  /// The one that the environment variable TACQ_KERNEL_SERVER starts, a command line; null without
  /// it.
  static KernelServer *get();

  /// The number of the kernel in a shared object, or -1.
  int64_t load(const std::string &path);
  /// Runs tasks [0, tasks) in `pieces` calls on copies of the bindings, and gives them back.
  /// Returns status[0]; -1 if the server has died.
  int64_t run(int64_t kernel, const std::vector<std::vector<char> *> &bindings,
              const std::vector<int64_t> &symbols, int64_t tasks, int64_t pieces);

private:
  explicit KernelServer(const char *command);
  void send(int64_t number) { send(&number, sizeof(number)); }
  void send(const void *bytes, size_t size);
  bool receive(void *bytes, size_t size);
  int64_t receiveNumber();

  FILE *requests = nullptr, *answers = nullptr;
};

} // namespace tacq::test

#endif // TACQ_TEST_CPU_KERNELSERVER_H
