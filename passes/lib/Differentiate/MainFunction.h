//===- MainFunction.h - Arguments and results of @main by name --*- C++ -*-===//

#ifndef TACQ_LIB_DIFFERENTIATE_MAINFUNCTION_H
#define TACQ_LIB_DIFFERENTIATE_MAINFUNCTION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

/// The function of the model, whose arguments and results have names (`tacq.name`).
class MainFunction {
public:
  /// Fails with a diagnostic if there is none.
  static mlir::FailureOr<MainFunction> find(mlir::ModuleOp module);

  mlir::func::FuncOp function;

  mlir::Operation *terminator() { return function.getBody().front().getTerminator(); }
  mlir::OperandRange results() { return terminator()->getOperands(); }
  mlir::Value findArgument(llvm::StringRef name);
  std::optional<unsigned> findResult(llvm::StringRef name);
  llvm::StringRef resultName(unsigned i);
  /// For messages: "'logits', 'present.0.key'".
  std::string resultNames();

  mlir::Value addArgument(llvm::StringRef name, mlir::Type type);
  void addResult(llvm::StringRef name, mlir::Value value);
  /// Keeps only the results for which `keep` holds.
  void filterResults(llvm::function_ref<bool(llvm::StringRef)> keep);
  /// Makes the function's type that of its block and terminator.
  void update();

private:
  explicit MainFunction(mlir::func::FuncOp function) : function(function) {}
  void setResults(mlir::ValueRange values, llvm::ArrayRef<mlir::Attribute> attributes);
};

} // namespace tacq

#endif // TACQ_LIB_DIFFERENTIATE_MAINFUNCTION_H
