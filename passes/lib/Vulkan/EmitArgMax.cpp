//===- EmitArgMax.cpp - The place of the largest element ------------------===//
//
// A row for each workgroup: an invocation has the best of its elements and where that is, the
// workgroup finds the best of all, and then the first, or last, place that has it.
//
//===----------------------------------------------------------------------===//

#include "ShaderKernels.h"
#include "WorkgroupCode.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "tacq/Ops/OpSpec.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

constexpr int64_t largestWorkgroup = 1024;
/// Elements that an invocation loads before it looks at the first: a load takes long.
constexpr int64_t loadsAtOnce = 8;
constexpr int64_t shortestRow = 256;

class ArgMaxShader : WorkgroupCode {
public:
  ArgMaxShader(KernelBuilder &k, NodeOp node, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), node(node), attributes(node), in(node.getInputs()[0]),
        dims(k.dims(in)) {}

  /// False, and nothing is emitted, if rows are short or not the last axis, or 64 bits wide.
  bool emit() {
    int64_t rank = int64_t(dims.size()), axis = attributes.integer("axis", 0);
    Type element = k.elementType(in), compute = computeType(element);
    std::optional<int64_t> extent = rank ? dims.back().constant() : std::nullopt;
    if (!extent || *extent < shortestRow || (axis != rank - 1 && axis != -1) ||
        !compute.isIntOrFloat() || compute.getIntOrFloatBitWidth() != 32 || !yieldsNode())
      return false;
    isUnsigned = tacq::isUnsigned(element);
    lastOfEquals = attributes.integer("select_last_index", 0) != 0;
    largest = node.getOpType() == "ArgMax";
    columns = *extent;
    int64_t most =
        std::min({largestWorkgroup, int64_t(profile.getWorkgroup()) * 8, mostInvocations()});
    setWorkgroup(std::min<int64_t>(most, int64_t(llvm::PowerOf2Ceil(columns / loadsAtOnce))));
    values = shared(subgroups(), compute);
    places = shared(subgroups(), b.getI32Type());
    Dims rows(dims.begin(), dims.end() - 1);
    bool keeps = attributes.integer("keepdims", 1) != 0;
    k.parallel(elementCount(rows), [&](Value row) {
      KernelBuilder::Index at = k.delinearize(row, rows);
      Value best = placeOfBest(at);
      KernelBuilder::Index result = at;
      if (keeps)
        result.push_back(k.index(0));
      when(k.equal(thread(), k.index(0)),
           [&] { k.store(0, result, b.create<arith::ExtSIOp>(b.getI64Type(), best)); });
    });
    return true;
  }

private:
  bool yieldsNode() {
    Operation *terminator = k.region().front().getTerminator();
    return terminator->getNumOperands() == 1 && terminator->getOperand(0) == node.getOutputs()[0];
  }

  Value load(KernelBuilder::Index at, Value column) {
    at.push_back(column);
    return k.load(in, at);
  }

  Value isBetter(Value x, Value than) {
    return largest ? k.less(than, x, isUnsigned) : k.less(x, than, isUnsigned);
  }

  Value better(Value x, Value y) { return k.select(isBetter(y, x), y, x); }

  Value placeOfBest(const KernelBuilder::Index &row) {
    // What is behind the row's end is its last element once more.
    Value own = k.min(thread(), k.index(columns - 1));
    Value start = load(row, own);
    SmallVector<Value> best =
        loop(thread(), k.index(columns), workgroup() * loadsAtOnce, {start, word32(own)},
             [&](Value first, ValueRange carried) {
               SmallVector<Value> elements, at;
               for (int64_t i = 0; i < loadsAtOnce; ++i) {
                 at.push_back(k.min(plus(first, i * workgroup()), k.index(columns - 1)));
                 elements.push_back(load(row, at.back()));
               }
               Value value = carried[0], place = carried[1];
               for (int64_t i = 0; i < loadsAtOnce; ++i) {
                 Value replaces = lastOfEquals ? k.logicalNot(isBetter(value, elements[i]))
                                               : isBetter(elements[i], value);
                 value = k.select(replaces, elements[i], value);
                 place = k.select(replaces, word32(at[i]), place);
               }
               return SmallVector<Value>{value, place};
             });
    Value whole = reduce(best[0], values, [&](Value x, Value y) { return better(x, y); });
    // Whoever has another value has no place. Where all are NaN, it is the first one.
    Value none = word(lastOfEquals ? -1 : std::numeric_limits<int32_t>::max());
    Value place = k.select(k.equal(best[0], whole), best[1], none);
    place = reduce(place, places,
                   [&](Value x, Value y) { return lastOfEquals ? k.max(x, y) : k.min(x, y); });
    return k.select(k.equal(place, none), word(0), place);
  }

  Value word32(Value index) { return b.create<arith::IndexCastOp>(b.getI32Type(), index); }

  NodeOp node;
  NodeAttrs attributes;
  Value in, values, places;
  Dims dims;
  int64_t columns = 0;
  bool isUnsigned = false, lastOfEquals = false, largest = true;
};

} // namespace

bool tacq::emitArgMaxShader(KernelBuilder &kernel, NodeOp node, VulkanProfileAttr profile) {
  return ArgMaxShader(kernel, node, profile).emit();
}
