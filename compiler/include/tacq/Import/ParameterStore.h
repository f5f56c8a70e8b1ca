//===- ParameterStore.h - The bytes of a model's parameters -----*- C++ -*-===//
//
// A parameter (`tacq.param`) names its bytes by file, offset and length. The store maps each file
// once, read-only, and hands out views into the mapping: nothing is copied. The exception are
// integer, fp16 and bf16 tensors that the model file holds as protobuf varints; those are decoded
// into memory that the store owns (their source has length 0, see #tacq.source).
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_IMPORT_PARAMETERSTORE_H
#define TACQ_IMPORT_PARAMETERSTORE_H

#include "tacq/Error.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace llvm {
class MemoryBuffer;
} // namespace llvm
namespace mlir {
class ModuleOp;
class Type;
} // namespace mlir

namespace tacq {

/// Bytes that one element takes in memory: bool is one byte; 0 if the type is none of the element
/// types of a parameter.
unsigned elementBytes(mlir::Type element);

class ParameterStore {
public:
  /// A store whose files lie in `folder` ("" is the working folder).
  explicit ParameterStore(llvm::StringRef folder = "");
  ~ParameterStore();
  ParameterStore(ParameterStore &&);
  ParameterStore &operator=(ParameterStore &&);

  /// Maps what the `tacq.param` operations of the module name. TACQ_INVALID_INPUT if a file is
  /// missing or too short, or if the bytes do not fit the parameter's type.
  static Error open(mlir::ModuleOp module, llvm::StringRef folder, ParameterStore &store);
  /// For passes: the store `given` by a program, or, if it is null, `opened`, opened as above. Null
  /// if that fails, which is emitted at the module.
  static ParameterStore *givenOr(ParameterStore *given, mlir::ModuleOp module,
                                 llvm::StringRef folder, ParameterStore &opened);

  /// The parameter's elements, row-major, little-endian, not necessarily aligned; valid as long as
  /// the store is. Empty if there is no such parameter (or it has no elements).
  llvm::ArrayRef<char> bytes(llvm::StringRef name) const { return parameters.lookup(name); }
  bool contains(llvm::StringRef name) const { return parameters.count(name); }

  /// Adds or replaces a parameter whose bytes live as long as the store's files.
  void add(llvm::StringRef name, llvm::ArrayRef<char> bytes) { parameters[name] = bytes; }
  /// Takes over bytes that are in no file; returns the view that stays valid.
  llvm::ArrayRef<char> own(std::vector<char> bytes);

  /// Maps a file given relative to the store's folder. TACQ_INVALID_INPUT if the name is absolute,
  /// has a "..", leads out of the folder through a link, or if the file cannot be read.
  Error map(llvm::StringRef file, llvm::ArrayRef<char> &content);
  /// Uses these bytes, which outlive the store, as the content of a file.
  void provide(llvm::StringRef file, llvm::ArrayRef<char> content);
  /// Files may also lie in this folder after links are followed (a model in a download cache is a
  /// link to a folder of blobs, and so is the file with its weights).
  void allowFolder(llvm::StringRef folder);

  /// True if `path` is one of the mapped files, whatever way leads to it.
  bool usesFile(llvm::StringRef path) const;

  /// XXH3 (128 bits, as hexadecimal digits) of the names and the contents of all mapped files:
  /// after an import, the model file and its external data. It reads every byte.
  std::string contentHash() const;

private:
  std::string folder;
  std::vector<std::string> allowedFolders;
  std::map<std::string, std::unique_ptr<llvm::MemoryBuffer>> files;
  std::vector<std::unique_ptr<std::vector<char>>> owned;
  llvm::StringMap<llvm::ArrayRef<char>> parameters;
};

/// Decodes `count` protobuf varints from the start of `data`, keeping the low bytes of each as
/// `width` bytes, little-endian. False if the data ends before. `used` is how many bytes they took.
bool decodeVarints(llvm::ArrayRef<char> data, uint64_t count, unsigned width,
                   std::vector<char> &elements, uint64_t &used);

} // namespace tacq

#endif // TACQ_IMPORT_PARAMETERSTORE_H
