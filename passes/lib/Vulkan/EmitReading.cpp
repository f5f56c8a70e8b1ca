//===- EmitReading.cpp - A shader that only reads -------------------------===//
//
// What a device's memory gives at best, for measurements of other shaders: each invocation of many
// small workgroups loads a few vectors of four words, neighbours side by side.
//
//===----------------------------------------------------------------------===//

#include "ShaderKernels.h"
#include "WorkgroupCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t loadsPerInvocation = 4;
constexpr int64_t bytesPerLoad = 16;

int64_t invocationsOf(VulkanProfileAttr profile) {
  return std::min<int64_t>(2 * profile.getWorkgroup(), vulkanProfileInvocations(profile));
}

class ReadingShader : WorkgroupCode {
public:
  ReadingShader(KernelBuilder &k, VulkanProfileAttr profile) : WorkgroupCode(k, profile) {}

  void emit(int64_t bytes) {
    int64_t invocations = invocationsOf(profile);
    setWorkgroup(invocations);
    Value quads = view(k.inputBuffer(0), quadType());
    Value result = k.outputBuffer(0);
    int64_t count = bytes / bytesPerLoad, share = invocations * loadsPerInvocation;
    k.parallel(readingTasks(profile, bytes), [&](Value task) {
      Value own = thread(), sum;
      for (int64_t i = 0; i < loadsPerInvocation; ++i) {
        Value at = plus(k.add(times(task, share), own), i * invocations);
        Value quad = element(quads, k.min(at, k.index(count - 1)));
        for (int64_t part = 0; part < 4; ++part) {
          Value word = component(quad, part);
          sum = sum ? b.create<arith::XOrIOp>(sum, word).getResult() : word;
        }
      }
      // Hardly ever true, but that no device compiler knows.
      when(k.equal(sum, word(0x5eed)), [&] { storeShared(sum, result, own); });
    });
  }
};

} // namespace

int64_t tacq::readingTasks(VulkanProfileAttr profile, int64_t bytes) {
  return int64_t(
      llvm::divideCeil(bytes, bytesPerLoad * loadsPerInvocation * invocationsOf(profile)));
}

void tacq::emitReadingShader(KernelBuilder &kernel, VulkanProfileAttr profile, int64_t bytes) {
  kernel.vectorBits = 0;
  kernel.sharedStatus = true;
  ReadingShader(kernel, profile).emit(bytes);
  passTaskCount(kernel);
}
