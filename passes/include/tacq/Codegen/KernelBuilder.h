//===- KernelBuilder.h - Builds the code of one kernel ----------*- C++ -*-===//
//
// A kernel is a function over flat buffers:
//
//   func @k(%in0: memref<?xT>, …, %out0: memref<?xT>, …, [%workspace: memref<?xT>,] %s0: index, …,
//           %begin: index, %end: index, %status: memref<?xi32>)
//
// that does tasks [begin, end) of a number of independent tasks. Shapes enter as symbolic
// expressions (Sym), each of which the runtime evaluates once per call and passes as an index.
//
// Elements have a *compute type*: f16 and bf16 are computed in f32 and rounded to their element
// type after every node; bool is i1 and stored as one byte; integers are signless MLIR integers of
// their width, the signedness being that of the tensor's element type.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CODEGEN_KERNELBUILDER_H
#define TACQ_CODEGEN_KERNELBUILDER_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Ops/OpSpec.h"

namespace tacq {

/// The expressions that a kernel takes as index arguments, in order. Shared by all targets of a
/// kernel, so that one dispatch serves all of them.
class KernelSymbols {
public:
  /// The position of the expression, added if it is new.
  unsigned indexOf(const Sym &sym);
  llvm::ArrayRef<Sym> list() const { return symbols; }

private:
  llvm::SmallVector<Sym> symbols;
};

/// The type in which elements of this element type are computed.
mlir::Type computeType(mlir::Type element);
/// The type in which elements of this element type are stored in a buffer.
mlir::Type storageType(mlir::Type element);
inline bool isFloat(mlir::Type element) { return mlir::isa<mlir::FloatType>(element); }
inline bool isUnsigned(mlir::Type element) {
  return element.isUnsignedInteger() || element.isInteger(1);
}

class KernelBuilder {
public:
  using Index = llvm::SmallVector<mlir::Value, 6>;

  /// Builds into the empty function made by `create`.
  static std::unique_ptr<KernelBuilder> create(mlir::OpBuilder &builder, llvm::StringRef name,
                                               mlir::Region &body, KernelSymbols &symbols);

  mlir::ImplicitLocOpBuilder b;

  //===--- Shapes ---------------------------------------------------------===//

  /// The value of a symbolic expression, as an index.
  mlir::Value sym(const Sym &value);
  /// The dimensions of a tensor of the kernel's region.
  Dims dims(mlir::Value tensor) { return *dimsOf(tensor); }
  mlir::Type elementType(mlir::Value tensor) {
    return mlir::cast<mlir::ShapedType>(tensor.getType()).getElementType();
  }

  //===--- Elements -------------------------------------------------------===//

  /// Element `index` of a tensor of the kernel's region, in its compute type: loaded from the
  /// buffer of an input, or computed by inlining the node that defines it.
  mlir::Value load(mlir::Value tensor, mlir::ValueRange index);
  /// As `load`, for an index under ONNX broadcasting: `index` has the result's rank; leading axes
  /// are dropped and axes of size 1 are read at 0.
  mlir::Value loadBroadcast(mlir::Value tensor, mlir::ValueRange index,
                            llvm::ArrayRef<Sym> outDims);
  /// An element of a matrix that is an input, stored in panels of `width` rows (#tacq.panel).
  mlir::Value loadFromPanel(mlir::Value matrix, int64_t width, mlir::Value row, mlir::Value column);
  /// From now on, `load` finds this element of an input here, and not in its buffer.
  void define(mlir::Value tensor, mlir::ValueRange index, mlir::Value element);
  /// Stores an element (compute type) of output `output` of the kernel.
  void store(unsigned output, mlir::ValueRange index, mlir::Value element);
  /// Reads back an element that this task has stored before.
  mlir::Value loadOutput(unsigned output, mlir::ValueRange index);
  /// The flat memref of an input or output, for kernels that address memory themselves.
  mlir::Value inputBuffer(unsigned i) { return inputs[i]; }
  mlir::Value outputBuffer(unsigned i) { return outputs[i]; }
  /// Memory that all tasks of a launch share and that is not a tensor, bound behind the outputs.
  /// All kernels of a module use the same: its first page is 0 when a launch begins and has to be 0
  /// again when it ends, what is behind it may be anything. Once a kernel.
  mlir::Value workspace(const Sym &bytes, mlir::Type element);
  /// Its size; 0 if the kernel has none.
  const Sym &workspaceSize() const { return workspaceBytes; }
  /// The kernel's input that holds `tensor`, or nullopt if it is computed inside of the kernel.
  std::optional<unsigned> inputOf(mlir::Value tensor);
  /// Row-major position of an index.
  mlir::Value linearize(mlir::ValueRange index, llvm::ArrayRef<Sym> dims);
  /// The index of a row-major position.
  Index delinearize(mlir::Value position, llvm::ArrayRef<Sym> dims);
  /// Rounds a compute value to the precision of an element type (f16, bf16), else returns it.
  mlir::Value roundTo(mlir::Type element, mlir::Value value);

  //===--- Loops ----------------------------------------------------------===//

  /// The outermost loop of a kernel: calls `body` for each task of this call. Exactly once a
  /// kernel.
  void parallel(const Sym &tasks, llvm::function_ref<void(mlir::Value task)> body);
  /// for i in [0, extent)
  void loop(mlir::Value extent, llvm::function_ref<void(mlir::Value i)> body);
  /// Nested loops over `extents` with values carried from one iteration to the next.
  llvm::SmallVector<mlir::Value>
  reduce(llvm::ArrayRef<Sym> extents, mlir::ValueRange init,
         llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::ValueRange index,
                                                           mlir::ValueRange carried)>
             body);
  /// scf.if with results; the functions return as many values of the same types.
  llvm::SmallVector<mlir::Value>
  branch(mlir::Value condition, llvm::function_ref<llvm::SmallVector<mlir::Value>()> then,
         llvm::function_ref<llvm::SmallVector<mlir::Value>()> otherwise);

  //===--- Scalars --------------------------------------------------------===//

  mlir::Value index(int64_t value);
  /// A constant of a compute type.
  mlir::Value constant(mlir::Type type, double value);
  mlir::Value integer(mlir::Type type, int64_t value);
  // By the type of the operands; integer division, comparison, min and max need the signedness.
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value div(mlir::Value x, mlir::Value y, bool isUnsigned = false);
  mlir::Value min(mlir::Value x, mlir::Value y, bool isUnsigned = false);
  mlir::Value max(mlir::Value x, mlir::Value y, bool isUnsigned = false);
  mlir::Value less(mlir::Value x, mlir::Value y, bool isUnsigned = false);
  mlir::Value lessEqual(mlir::Value x, mlir::Value y, bool isUnsigned = false);
  mlir::Value equal(mlir::Value x, mlir::Value y);
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);
  mlir::Value logicalAnd(mlir::Value x, mlir::Value y);
  mlir::Value logicalOr(mlir::Value x, mlir::Value y);
  mlir::Value logicalNot(mlir::Value x);
  /// Integer compute value of a tensor with element type `element` → index (sign- or
  /// zero-extended).
  mlir::Value toIndex(mlir::Value integer, mlir::Type element);
  mlir::Value fromIndex(mlir::Value index, mlir::Type element);
  /// ONNX Cast between element types (saturation only where ONNX asks for it).
  mlir::Value cast(mlir::Value value, mlir::Type from, mlir::Type to);

  /// A user's index into an axis of size `extent`: negative ones count from the end; one that is
  /// out of range is reported as an error of the call, naming `node`, and clamped.
  mlir::Value checkedIndex(mlir::Value index, mlir::Value extent, NodeOp node);

  /// The width of the target's vector registers, for kernels that choose their tiles by it. 0: the
  /// target runs many small tasks at once, and kernels are scalar, with a task for each result.
  unsigned vectorBits = 256;
  bool isScalar() const { return vectorBits == 0; }
  /// Tasks run at once and share one status: the first that claims it reports.
  bool sharedStatus = false;

  /// The number of tasks given to `parallel`.
  const Sym &taskCount() const { return tasks; }
  mlir::func::FuncOp function() const { return func; }
  mlir::Region &region() const { return *body; }

private:
  KernelBuilder(mlir::OpBuilder &builder, mlir::Location loc, mlir::Region &body,
                KernelSymbols &symbols)
      : b(loc, builder), body(&body), symbols(symbols) {}

  mlir::Value loadFlat(mlir::Value buffer, mlir::Value position, mlir::Type element);
  mlir::Value elementOf(mlir::Value tensor, mlir::ValueRange index);

  mlir::Region *body;
  KernelSymbols &symbols;
  mlir::func::FuncOp func;
  llvm::SmallVector<mlir::Value> inputs, outputs, symbolArgs;
  mlir::Value begin, end, status;
  Sym tasks, workspaceBytes;
  unsigned workspaces = 0;
  struct CachedElement {
    llvm::SmallVector<mlir::Value, 6> index;
    mlir::Value element;
  };
  llvm::DenseMap<mlir::Value, llvm::SmallVector<CachedElement>> cache;
};

/// The first page of a kernel's workspace.
constexpr int64_t workspacePageBytes = 4096;

/// What a kernel depends on besides its region and its target.
struct KernelOptions {
  /// Attention with a cache: the extent of axis 2 of the buffers of the present keys and values, as
  /// the dispatch lays them out. The buffers already hold the past. Without it they are dense.
  std::optional<Sym> capacity;
  /// Attention with a cache: this kernel is the one that appends the new keys and values.
  bool append = false;
  /// Linear operations with mixed-precision weights: some of the weights may be beyond the range of
  /// f16, once decoded.
  bool wideWeights = false;
  /// Linear operations with mixed-precision weights: #tacq.tiling of weights and targets; a
  /// target's cost model serves where there is none.
  llvm::SmallVector<TilingAttr> tilings;
  /// Attention with a cache that has a capacity: the kernel that attends may append itself, and
  /// that of `append` then has no tasks. Not for launches that other devices share.
  bool attendAppends = false;
};

/// Replaces each function, whose body is a kernel's region, by the kernel that `emit` builds.
mlir::LogicalResult
replaceByKernels(mlir::ModuleOp module,
                 llvm::function_ref<mlir::LogicalResult(KernelBuilder &kernel)> emit);

/// Emits the kernel of a region of nodes: one loops node, or element nodes inlined into the value
/// that is yielded. The region's block arguments are the inputs, the yielded values the outputs.
mlir::LogicalResult emitNodeKernel(KernelBuilder &kernel);

} // namespace tacq

#endif // TACQ_CODEGEN_KERNELBUILDER_H
