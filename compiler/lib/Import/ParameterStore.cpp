//===- ParameterStore.cpp - The bytes of a model's parameters -------------===//

#include "tacq/Import/ParameterStore.h"

#include "mlir/IR/BuiltinOps.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"

using namespace llvm;
using namespace tacq;

unsigned tacq::elementBytes(mlir::Type element) {
  if (element.isInteger(1))
    return 1;
  if (element.isF16() || element.isBF16() || element.isF32() || element.isF64() ||
      element.isInteger(8) || element.isInteger(16) || element.isInteger(32) ||
      element.isInteger(64))
    return element.getIntOrFloatBitWidth() / 8;
  return 0;
}

bool tacq::decodeVarints(ArrayRef<char> data, uint64_t count, unsigned width,
                         std::vector<char> &elements, uint64_t &used) {
  // Every varint takes at least a byte: a wrong count must not allocate memory for it.
  if (count > data.size())
    return false;
  elements.clear();
  elements.reserve(count * width);
  size_t at = 0;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
      if (at == data.size() || shift >= 70)
        return false;
      uint64_t byte = static_cast<uint8_t>(data[at++]);
      if (shift < 64)
        value |= (byte & 0x7f) << shift;
      if (byte < 0x80)
        break;
    }
    for (unsigned b = 0; b < width; ++b)
      elements.push_back(static_cast<char>(value >> (8 * b)));
  }
  used = at;
  return true;
}

static std::string realPathOf(StringRef path) {
  SmallString<256> real;
  if (sys::fs::real_path(path.empty() ? "." : path, real))
    return "";
  return std::string(real);
}

ParameterStore::ParameterStore(StringRef folder) : folder(folder) { allowFolder(folder); }
ParameterStore::~ParameterStore() = default;
ParameterStore::ParameterStore(ParameterStore &&) = default;
ParameterStore &ParameterStore::operator=(ParameterStore &&) = default;

void ParameterStore::allowFolder(StringRef allowed) {
  std::string real = realPathOf(allowed);
  if (!real.empty() && !is_contained(allowedFolders, real))
    allowedFolders.push_back(real);
}

ArrayRef<char> ParameterStore::own(std::vector<char> bytes) {
  owned.push_back(std::make_unique<std::vector<char>>(std::move(bytes)));
  return *owned.back();
}

void ParameterStore::provide(StringRef file, ArrayRef<char> content) {
  files[file.str()] = MemoryBuffer::getMemBuffer(StringRef(content.data(), content.size()), file,
                                                 /*RequiresNullTerminator=*/false);
}

tacq::Error ParameterStore::map(StringRef file, ArrayRef<char> &content) {
  auto known = files.find(file.str());
  if (known == files.end()) {
    auto refuse = [&](const Twine &reason) {
      return Error(TACQ_INVALID_INPUT, ("the data file '" + file + "' " + reason).str());
    };
    if (file.empty() || file.contains('\0'))
      return refuse("has no valid name");
    if (sys::path::is_absolute(file) || sys::path::is_absolute(file, sys::path::Style::windows))
      return refuse("is given by an absolute path; it must lie in the model's folder");
    for (StringRef part : make_range(sys::path::begin(file), sys::path::end(file)))
      if (part == "..")
        return refuse("leads out of the model's folder through '..'");
    SmallString<256> path(folder);
    sys::path::append(path, file);
    std::string real = realPathOf(path);
    if (real.empty())
      return refuse("does not exist in the model's folder; put it beside the model");
    bool inside = any_of(allowedFolders, [&](StringRef allowed) {
      StringRef rest = real;
      return rest.consume_front(allowed) && (allowed.ends_with("/") || rest.starts_with("/"));
    });
    if (!inside)
      return refuse("is a link that leads out of the model's folder");
    // A pipe or a device would block or never end.
    if (!sys::fs::is_regular_file(real))
      return refuse("is not a regular file");
    ErrorOr<std::unique_ptr<MemoryBuffer>> buffer =
        MemoryBuffer::getFile(real, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    if (!buffer)
      return refuse("cannot be read: " + buffer.getError().message());
    known = files.emplace(file.str(), std::move(*buffer)).first;
  }
  content = ArrayRef<char>(known->second->getBufferStart(), known->second->getBufferSize());
  return Error();
}

ParameterStore *ParameterStore::givenOr(ParameterStore *given, mlir::ModuleOp module,
                                        StringRef folder, ParameterStore &opened) {
  if (given)
    return given;
  if (Error error = open(module, folder, opened)) {
    module.emitError() << error.message();
    return nullptr;
  }
  return &opened;
}

tacq::Error ParameterStore::open(mlir::ModuleOp module, StringRef folder, ParameterStore &store) {
  store = ParameterStore(folder);
  for (ParamOp param : module.getOps<ParamOp>()) {
    SourceAttr source = param.getSource();
    auto refuse = [&](const Twine &reason) {
      return Error(TACQ_INVALID_INPUT,
                   ("the parameter '" + param.getSymName() + "': " + reason).str());
    };
    ArrayRef<char> content;
    if (Error error = store.map(source.getFile(), content))
      return refuse(error.message());
    auto type = cast<mlir::RankedTensorType>(param.getType());
    unsigned width = elementBytes(type.getElementType());
    if (width == 0 || !type.hasStaticShape())
      return refuse("its type is not that of stored data");
    uint64_t count = type.getNumElements(), expected = count * width;
    if (source.getOffset() > content.size() ||
        source.getLength() > content.size() - source.getOffset())
      return refuse("'" + source.getFile() + "' ends before its bytes do");
    ArrayRef<char> rest = content.drop_front(source.getOffset());
    if (source.getLength() == expected) {
      store.add(param.getSymName(), rest.take_front(expected));
      continue;
    }
    std::vector<char> elements;
    uint64_t used;
    if (source.getLength() != 0)
      return refuse("it has " + Twine(source.getLength()) + " bytes, its type needs " +
                    Twine(expected));
    if (!decodeVarints(rest, count, width, elements, used))
      return refuse("'" + source.getFile() + "' ends before its values do");
    store.add(param.getSymName(), store.own(std::move(elements)));
  }
  return Error();
}

bool ParameterStore::usesFile(StringRef path) const {
  return llvm::any_of(files, [&](const auto &entry) {
    SmallString<128> file(folder);
    sys::path::append(file, entry.first);
    return sys::fs::equivalent(file, path);
  });
}

std::string ParameterStore::contentHash() const {
  // Each file's hash enters with its name and size, in the order of the names.
  std::string digest;
  for (const auto &[name, buffer] : files) {
    StringRef content = buffer->getBuffer();
    XXH128_hash_t hash = xxh3_128bits(
        ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(content.data()), content.size()));
    digest += name + ":" + std::to_string(content.size()) + ":" + utohexstr(hash.high64) + ":" +
              utohexstr(hash.low64) + "\n";
  }
  XXH128_hash_t hash = xxh3_128bits(
      ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(digest.data()), digest.size()));
  return utohexstr(hash.high64, /*LowerCase=*/true, 16) +
         utohexstr(hash.low64, /*LowerCase=*/true, 16);
}
