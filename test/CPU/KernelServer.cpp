//===- KernelServer.cpp - Kernels of other machines in a test -------------===//

#include "KernelServer.h"
#include <csignal>
#include <cstdlib>
#include <unistd.h>

using namespace tacq::test;

KernelServer *KernelServer::get() {
  static const char *command = std::getenv("TACQ_KERNEL_SERVER");
  // Lives as long as the process, whose end closes the pipe that the server reads.
  static KernelServer *server = command ? new KernelServer(command) : nullptr;
  return server;
}

KernelServer::KernelServer(const char *command) {
  int to[2], from[2];
  if (pipe(to) != 0 || pipe(from) != 0)
    return;
  // A server that has died is an answer that does not come.
  std::signal(SIGPIPE, SIG_IGN);
  if (fork() == 0) {
    dup2(to[0], STDIN_FILENO);
    dup2(from[1], STDOUT_FILENO);
    for (int end : {to[0], to[1], from[0], from[1]})
      close(end);
    execl("/bin/sh", "sh", "-c", command, nullptr);
    _exit(127);
  }
  close(to[0]);
  close(from[1]);
  requests = fdopen(to[1], "w");
  answers = fdopen(from[0], "r");
}

void KernelServer::send(const void *bytes, size_t size) {
  if (requests && size > 0)
    (void)!std::fwrite(bytes, size, 1, requests);
}

bool KernelServer::receive(void *bytes, size_t size) {
  return answers && (size == 0 || std::fread(bytes, size, 1, answers) == 1);
}

int64_t KernelServer::receiveNumber() {
  if (requests)
    std::fflush(requests);
  int64_t number;
  return receive(&number, sizeof(number)) ? number : -1;
}

int64_t KernelServer::load(const std::string &path) {
  send(0);
  send(int64_t(path.size()));
  send(path.data(), path.size());
  return receiveNumber();
}

int64_t KernelServer::run(int64_t kernel, const std::vector<std::vector<char> *> &bindings,
                          const std::vector<int64_t> &symbols, int64_t tasks, int64_t pieces) {
  for (int64_t number :
       {int64_t(1), kernel, int64_t(bindings.size()), int64_t(symbols.size()), tasks, pieces})
    send(number);
  send(symbols.data(), symbols.size() * sizeof(int64_t));
  for (const std::vector<char> *bytes : bindings) {
    send(int64_t(bytes->size()));
    send(bytes->data(), bytes->size());
  }
  int64_t status = receiveNumber();
  for (std::vector<char> *bytes : bindings)
    if (!receive(bytes->data(), bytes->size()))
      return -1;
  return status;
}
