//===- fuzz_onnx.cpp - Any bytes as an ONNX model -------------------------===//
//
// The importer answers any file with a module or an error. Seeds: the models of the import tests.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/MLIRContext.h"
#include "tacq/Import/OnnxImport.h"
#include <cstdlib>
#include <memory>

// LLVM's allocators are half in headers, with the sanitizer, and half in its libraries, without:
// what one poisons the other does not free.
extern "C" const char *__asan_default_options() {
  return "allow_user_poisoning=0:detect_container_overflow=0";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  // A context keeps every type and attribute it has seen: a new one now and then.
  static std::unique_ptr<mlir::MLIRContext> context;
  static int uses = 0;
  if (uses++ % 256 == 0)
    context = std::make_unique<mlir::MLIRContext>(mlir::MLIRContext::Threading::DISABLED);
  tacq::ImportedModel model;
  tacq::Error error = tacq::importOnnx(
      "fuzz.onnx", llvm::ArrayRef(reinterpret_cast<const char *>(data), size), *context, {}, model);
  if (error && error.message().empty())
    std::abort();
  if (error && error.code() == TACQ_INTERNAL)
    std::abort();
  return 0;
}
