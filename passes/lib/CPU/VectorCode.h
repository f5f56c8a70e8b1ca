//===- VectorCode.h - Vectors of f32 over flat buffers ----------*- C++ -*-===//
//
// What the hot kernels have in common: elements of any floating-point type are loaded as f32
// vectors of 16 lanes (which a target with shorter registers splits), and rounded when they are
// stored.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_CPU_VECTORCODE_H
#define TACQ_LIB_CPU_VECTORCODE_H

#include "tacq/Codegen/FlatCode.h"

namespace tacq {

constexpr int64_t vectorLanes = 16;

class VectorCode : public FlatCode {
public:
  using FlatCode::FlatCode;

  mlir::VectorType f32Vector() { return mlir::VectorType::get(vectorLanes, b.getF32Type()); }
  mlir::Value splat(float value);
  mlir::Value splat(mlir::Value scalar);
  /// Lanes [0, count); all lanes for a count beyond, none for one below 1.
  mlir::Value mask(mlir::Value count);

  /// 16 elements as f32; with a mask, lanes that are off are 0 and are not read.
  mlir::Value load(mlir::Value buffer, mlir::Value at, mlir::Value mask = {});
  void store(mlir::Value vector, mlir::Value buffer, mlir::Value at, mlir::Value mask = {});
  /// One element as f32.
  mlir::Value loadScalar(mlir::Value buffer, mlir::Value at);
  void storeScalar(mlir::Value value, mlir::Value buffer, mlir::Value at);

  /// Asks for the line of an element, which need not exist.
  void prefetch(mlir::Value buffer, mlir::Value at);

  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z);
  mlir::Value sum(mlir::Value vector);
  mlir::Value largest(mlir::Value vector);
  mlir::Value activate(Activation activation, mlir::Value vector);

  /// What an intrinsic of LLVM gives; nothing, without a type.
  mlir::Value intrinsic(llvm::StringRef name, mlir::Type result, mlir::ValueRange arguments);

  /// Memory of this call on the stack, 64-byte aligned: all of a kernel's within 128 KiB.
  mlir::Value stackBuffer(int64_t elements, mlir::Type element);
};

} // namespace tacq

#endif // TACQ_LIB_CPU_VECTORCODE_H
