//===- ModuleWriter.cpp - Writes module files -----------------------------===//

#include "tacq/ModuleWriter.h"
#include "tacq/ModuleFormat.h"
#include "tacq/ModuleView.h"
#include "tacq/OutputFile.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <unistd.h>

using namespace tacq;

struct ModuleWriter::File {
  FILE *stream = nullptr;
  XXH3_state_t hash;
};

ModuleWriter::ModuleWriter() : file(new File()) { XXH3_64bits_reset(&file->hash); }

ModuleWriter::~ModuleWriter() {
  if (file->stream) {
    fclose(file->stream);
    unlink(temporary.c_str());
  }
}

Error ModuleWriter::create(const std::string &path, std::unique_ptr<ModuleWriter> &writer) {
  std::unique_ptr<ModuleWriter> result(new ModuleWriter());
  result->destination = path;
  if (Error error = openTemporary(path, result->temporary, result->file->stream))
    return Error(error.code(), "module " + error.message());
  if (fseeko(result->file->stream, static_cast<off_t>(kModuleDataOffset), SEEK_SET) != 0)
    return makeError(TACQ_IO, "module '%s' cannot be written: %s", path.c_str(), strerror(errno));
  writer = std::move(result);
  return success();
}

Error ModuleWriter::writeBytes(const void *data, size_t size) {
  if (size == 0)
    return success();
  if (fwrite(data, 1, size, file->stream) != size)
    return makeError(TACQ_IO, "module '%s' cannot be written: %s", destination.c_str(),
                     strerror(errno));
  XXH3_64bits_update(&file->hash, data, size);
  position += size;
  return success();
}

Error ModuleWriter::pad(uint64_t alignment) {
  static const uint8_t zeros[64] = {};
  static_assert(sizeof(zeros) >= kModuleAlignment, "one write pads");
  uint64_t rest = position % alignment;
  return rest == 0 ? success() : writeBytes(zeros, alignment - rest);
}

Error ModuleWriter::beginConstant(const std::string &name, uint32_t &index) {
  if (inConstant)
    return makeError(TACQ_INVALID_ARGUMENT, "constant '%s' begins inside constant '%s'",
                     name.c_str(), contents.constants.back()->name.c_str());
  if (Error error = pad(kModuleAlignment))
    return error;
  auto constant = std::make_unique<format::ConstantT>();
  constant->name = name;
  constant->offset = position;
  constant->size = 0;
  index = static_cast<uint32_t>(contents.constants.size());
  contents.constants.push_back(std::move(constant));
  inConstant = true;
  return success();
}

Error ModuleWriter::append(const void *data, size_t size) {
  if (!inConstant)
    return makeError(TACQ_INVALID_ARGUMENT, "bytes are appended outside of a constant");
  if (Error error = writeBytes(data, size))
    return error;
  contents.constants.back()->size += size;
  return success();
}

Error ModuleWriter::endConstant() {
  if (!inConstant)
    return makeError(TACQ_INVALID_ARGUMENT, "a constant ends that was not begun");
  inConstant = false;
  return success();
}

Error ModuleWriter::addConstant(const std::string &name, const void *data, size_t size,
                                uint32_t &index) {
  if (Error error = beginConstant(name, index))
    return error;
  if (Error error = append(data, size))
    return error;
  return endConstant();
}

Error ModuleWriter::addExecutable(const format::ExecutableT &description, const void *data,
                                  size_t size, uint32_t &index) {
  if (inConstant)
    return makeError(TACQ_INVALID_ARGUMENT, "executable '%s' begins inside constant '%s'",
                     description.target.c_str(), contents.constants.back()->name.c_str());
  if (Error error = pad(kModuleAlignment))
    return error;
  auto executable = std::make_unique<format::ExecutableT>(description);
  executable->offset = position;
  executable->size = size;
  if (Error error = writeBytes(data, size))
    return error;
  index = static_cast<uint32_t>(contents.executables.size());
  contents.executables.push_back(std::move(executable));
  return success();
}

Error ModuleWriter::finish() {
  if (inConstant)
    return makeError(TACQ_INVALID_ARGUMENT, "constant '%s' was not ended",
                     contents.constants.back()->name.c_str());
  uint64_t dataSize = position;
  uint64_t dataChecksum = XXH3_64bits_digest(&file->hash);

  flatbuffers::FlatBufferBuilder builder(1 << 16);
  format::FinishModuleBuffer(builder, format::Module::Pack(builder, &contents));
  {
    // The buffer may be misaligned inside the builder; it is verified where the loader would be.
    flatbuffers::Verifier verifier(builder.GetBufferPointer(), builder.GetSize(), 16, 1u << 28);
    if (!format::VerifyModuleBuffer(verifier))
      return makeError(TACQ_INTERNAL, "module '%s': the metadata that was built is not valid",
                       destination.c_str());
    if (Error error =
            verifyModule(*format::GetModule(builder.GetBufferPointer()), dataSize, destination))
      return error;
  }

  if (Error error = pad(kModuleAlignment))
    return error;
  ModuleHeader header = {};
  memcpy(header.magic, kModuleMagic, sizeof(kModuleMagic));
  header.version = kModuleVersion;
  header.headerSize = sizeof(ModuleHeader);
  header.dataOffset = kModuleDataOffset;
  header.dataSize = dataSize;
  header.dataChecksum = dataChecksum;
  header.metadataOffset = kModuleDataOffset + position;
  header.metadataSize = builder.GetSize();
  header.metadataChecksum = XXH3_64bits(builder.GetBufferPointer(), builder.GetSize());
  header.fileSize = header.metadataOffset + header.metadataSize;
  header.headerChecksum = XXH3_64bits(&header, offsetof(ModuleHeader, headerChecksum));

  bool written =
      fwrite(builder.GetBufferPointer(), 1, builder.GetSize(), file->stream) == builder.GetSize() &&
      fseeko(file->stream, 0, SEEK_SET) == 0 &&
      fwrite(&header, 1, sizeof(header), file->stream) == sizeof(header);
  int writeError = errno;
  // The error of a full disk may come with the last flush.
  if (fclose(file->stream) != 0 && written) {
    written = false;
    writeError = errno;
  }
  file->stream = nullptr;
  if (!written || rename(temporary.c_str(), destination.c_str()) != 0) {
    if (written)
      writeError = errno;
    unlink(temporary.c_str());
    return makeError(TACQ_IO, "module '%s' cannot be written: %s", destination.c_str(),
                     strerror(writeError));
  }
  return success();
}
