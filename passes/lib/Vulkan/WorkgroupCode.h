//===- WorkgroupCode.h - Kernels whose tasks workgroups do ------*- C++ -*-===//
//
// What the invocations of a workgroup share: their numbers, memory, barriers, and sums over
// subgroups where the profile knows their size.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_VULKAN_WORKGROUPCODE_H
#define TACQ_LIB_VULKAN_WORKGROUPCODE_H

#include "ShaderCode.h"
#include "tacq/Vulkan/VulkanTarget.h"

namespace tacq {

class WorkgroupCode : public ShaderCode {
public:
  WorkgroupCode(KernelBuilder &k, VulkanProfileAttr profile) : ShaderCode(k), profile(profile) {}

  VulkanProfileAttr profile;

  /// The most invocations that a workgroup may have.
  int64_t mostInvocations() const { return vulkanProfileInvocations(profile); }
  /// The most bytes that it may share.
  int64_t mostSharedBytes() const { return vulkanProfileSharedBytes(profile); }
  /// Makes a task of the kernel one of a workgroup of so many invocations.
  void setWorkgroup(int64_t invocations);
  int64_t workgroup() const { return invocations; }
  /// Of a subgroup; where its size is not known, nothing is shared by subgroups, and this is 1.
  int64_t subgroup() const { return std::max(1u, profile.getSubgroup()); }
  /// The number of the invocation in its workgroup.
  mlir::Value thread();
  void barrier();
  /// Where the kernel begins to read what other dispatches of the call have written.
  void awaitInputs();
  /// Memory of the workgroup.
  mlir::Value shared(int64_t elements, mlir::Type element);
  /// Bytes of it so far.
  int64_t sharedBytes() const { return bytesShared; }
  mlir::Value loadShared(mlir::Value memory, mlir::Value at);
  void storeShared(mlir::Value value, mlir::Value memory, mlir::Value at);

  /// The value that the invocation has whose number differs in the bits of `mask`.
  mlir::Value shuffleXor(mlir::Value value, int64_t mask);
  /// Sums over the invocations of a subgroup whose numbers are equal modulo `width`, a power of
  /// two; each of them gets the sum. The value itself if the subgroup is not larger.
  mlir::Value sumSubgroup(mlir::Value value, int64_t width);
  /// What `combine` makes of the values of all invocations, for each of them. `memory` has an
  /// element for each subgroup. Ends with a barrier behind the last use of `memory`.
  mlir::Value reduce(mlir::Value value, mlir::Value memory,
                     llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);
  int64_t subgroups() const { return invocations / subgroup(); }

  /// An element as it is.
  mlir::Value element(mlir::Value buffer, mlir::Value at);
  /// The same bytes as elements of another type.
  mlir::Value view(mlir::Value buffer, mlir::Type element);
  mlir::VectorType quadType() { return mlir::VectorType::get({4}, b.getI32Type()); }
  mlir::Value component(mlir::Value quad, int64_t i);
  /// Adds the products of four signed bytes of `x` and four unsigned ones of `codes`.
  mlir::Value dot(mlir::Value sum, mlir::Value x, mlir::Value codes);
  /// The f16 number in the low or high half of a word, as f32.
  mlir::Value halfOf(mlir::Value word, bool high);
  /// Two numbers of f32, rounded to f16, in a word.
  mlir::Value packPair(mlir::Value low, mlir::Value high);
  mlir::Value quad(mlir::ValueRange words);

  /// An f16 number twice.
  mlir::Value pair(mlir::Value half);
  /// The word of (number * factor + offset) * scale for the two f16 numbers of a word; the others
  /// are pairs.
  mlir::Value scaledPair(mlir::Value numbers, mlir::Value factor, mlir::Value offset,
                         mlir::Value scale);

private:
  int64_t invocations = 0, bytesShared = 0;
};

} // namespace tacq

#endif // TACQ_LIB_VULKAN_WORKGROUPCODE_H
