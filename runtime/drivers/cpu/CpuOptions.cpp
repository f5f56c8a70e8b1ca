//===- CpuOptions.cpp - What follows "cpu:" -------------------------------===//

#include "CpuOptions.h"
#include "ThreadPool.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sched.h>

using namespace tacq;

namespace {

constexpr long kMaxThreads = 1024;
constexpr long kMaxCores = 65536;

/// A number in [low, high] and nothing else.
bool parseNumber(const std::string &text, long low, long high, long &value) {
  char *rest;
  errno = 0;
  value = strtol(text.c_str(), &rest, 10);
  return !text.empty() && text[0] >= '0' && text[0] <= '9' && !*rest && errno == 0 &&
         value >= low && value <= high;
}

/// The cores of a NUMA node, as Linux lists them.
bool coresOfNode(long node, std::vector<int32_t> &cores) {
  std::string path = "/sys/devices/system/node/node" + std::to_string(node) + "/cpulist";
  FILE *file = fopen(path.c_str(), "re");
  if (!file)
    return false;
  std::string text;
  for (int c = fgetc(file); c != EOF && c != '\n'; c = fgetc(file))
    text += static_cast<char>(c);
  fclose(file);
  return parseCoreList(text, cores);
}

Error checkAllowed(const std::string &option, std::vector<int32_t> &cores,
                   const std::vector<int32_t> &allowed) {
  for (int32_t core : cores)
    if (!std::binary_search(allowed.begin(), allowed.end(), core))
      return makeError(TACQ_INVALID_ARGUMENT,
                       "device 'cpu': '%s' names core %d, which this process may not use",
                       option.c_str(), core);
  return success();
}

} // namespace

bool tacq::parseCoreList(const std::string &text, std::vector<int32_t> &cores) {
  cores.clear();
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find_first_of(",+", at), text.size());
    std::string part = text.substr(at, end - at);
    size_t dash = part.find('-');
    long first, last;
    if (!parseNumber(part.substr(0, dash), 0, kMaxCores - 1, first))
      return false;
    last = first;
    if (dash != std::string::npos &&
        !parseNumber(part.substr(dash + 1), first, kMaxCores - 1, last))
      return false;
    for (long core = first; core <= last; ++core)
      cores.push_back(static_cast<int32_t>(core));
    if (cores.size() > static_cast<size_t>(kMaxCores))
      return false;
    at = end + 1;
  }
  return true;
}

std::vector<int32_t> tacq::allowedCores() {
  std::vector<int32_t> cores;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    for (int32_t core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &set))
        cores.push_back(core);
  return cores;
}

Error CpuOptions::parse(const std::string &text, CpuOptions &options) {
  std::vector<int32_t> allowed = allowedCores();
  long threads = 0, pin = -1, node;
  bool chosen = false; // cores or node
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string option = text.substr(at, end - at), value;
    at = end + 1;
    size_t equals = option.find('=');
    std::string name = option.substr(0, equals);
    if (equals != std::string::npos)
      value = option.substr(equals + 1);
    if (name == "threads") {
      if (!parseNumber(value, 1, kMaxThreads, threads))
        return makeError(TACQ_INVALID_ARGUMENT,
                         "device 'cpu': '%s' is not a number of threads from 1 to %ld",
                         option.c_str(), kMaxThreads);
    } else if (name == "pin") {
      if (!parseNumber(value, 0, 1, pin))
        return makeError(TACQ_INVALID_ARGUMENT, "device 'cpu': '%s' is not pin=0 or pin=1",
                         option.c_str());
    } else if (name == "cores" || name == "node") {
      if (chosen)
        return makeError(TACQ_INVALID_ARGUMENT,
                         "device 'cpu': '%s' chooses cores a second time; give one of cores and "
                         "node",
                         option.c_str());
      chosen = true;
      if (name == "cores" && !parseCoreList(value, options.cores))
        return makeError(TACQ_INVALID_ARGUMENT,
                         "device 'cpu': '%s' is not a list of cores as in cores=0-3+8",
                         option.c_str());
      if (name == "node" &&
          (!parseNumber(value, 0, kMaxCores, node) || !coresOfNode(node, options.cores)))
        return makeError(TACQ_INVALID_ARGUMENT,
                         "device 'cpu': '%s' names no NUMA node with cores of this machine",
                         option.c_str());
      if (Error error = checkAllowed(option, options.cores, allowed))
        return error;
    } else {
      return makeError(TACQ_INVALID_ARGUMENT,
                       "device 'cpu' has no option '%s'; known are threads=N, pin=1, cores=LIST "
                       "and node=N",
                       option.c_str());
    }
  }
  if (pin == 0 && chosen)
    return makeError(TACQ_INVALID_ARGUMENT,
                     "device 'cpu': pin=0 contradicts the choice of cores, which are pinned");
  if (pin == 1 && !chosen)
    options.cores = allowed;
  size_t most = options.cores.size();
  if (most > 0 && static_cast<size_t>(threads) > most)
    return makeError(TACQ_INVALID_ARGUMENT,
                     "device 'cpu': threads=%ld are more than the %zu cores to pin them to",
                     threads, most);
  options.threads = static_cast<int32_t>(threads);
  if (threads == 0)
    options.threads = most > 0 ? static_cast<int32_t>(std::min<size_t>(most, kMaxThreads))
                               : ThreadPool::availableCores();
  return success();
}
