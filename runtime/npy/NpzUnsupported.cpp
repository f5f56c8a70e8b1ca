//===- NpzUnsupported.cpp - .npz files in builds without libzip -----------===//

#include "tacq/Npy.h"

#include <cstdio>

using namespace tacq;

static Error unsupported(const std::string &path) {
  return makeError(TACQ_UNSUPPORTED,
                   "'%s': this build was made without libzip and has no .npz files; use .npy files",
                   path.c_str());
}

Error NpzReader::open(const std::string &path, std::unique_ptr<NpzReader> &) {
  return unsupported(path);
}

NpzReader::~NpzReader() = default;

bool NpzReader::has(const std::string &) const { return false; }

Error NpzReader::read(const std::string &, NpyArray &) const { return unsupported(path); }

Error NpzWriter::create(const std::string &path, std::unique_ptr<NpzWriter> &) {
  return unsupported(path);
}

NpzWriter::~NpzWriter() = default;

Error NpzWriter::add(const std::string &, tacq_element_type_t, const std::vector<int64_t> &,
                     const void *) {
  return unsupported(path);
}

Error NpzWriter::add(const std::string &, const NpyArray &) { return unsupported(path); }

Error NpzWriter::finish() { return unsupported(path); }
