//===- SequentialPass.cpp - Layer after layer, on sample data -------------===//

#include "SequentialPass.h"
#include "../Calibrate/SumContributions.h"
#include "llvm/Support/Threading.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace tacq;

namespace {

/// A tensor that the pass keeps from one segment to the next.
struct HeldTensor {
  tacq_element_type_t type = TACQ_ELEMENT_NONE;
  std::vector<int64_t> dims;
  std::vector<char> bytes;

  TensorView view() const { return {type, dims, bytes.data()}; }
};

class SequentialPass {
public:
  SequentialPass(ModuleOp module, const ParameterStore &parameters, ArrayRef<LinearGroup> groups,
                 const SampleSource &samples, const SequentialPassOptions &options)
      : stored(parameters), groups(groups), samples(samples), options(options),
        function(mainFunction(module)), segments(function, cutsOf(groups)) {}

  Error run(QuantizeGroupFn quantizeGroup);

private:
  static SmallVector<Value> cutsOf(ArrayRef<LinearGroup> groups) {
    SmallVector<Value> cuts;
    for (const LinearGroup &group : groups)
      cuts.push_back(group.input);
    return cuts;
  }
  Error holdInputs();
  void hold(const TensorView &view, HeldTensor &tensor);
  /// Adds to the lower triangle of the group's Hessian, as Statistics keep it.
  Error runSegment(unsigned i, std::vector<double> &triangle);
  void addToHessian(const TensorView &x, std::vector<double> &triangle);

  const ParameterStore &stored;
  ArrayRef<LinearGroup> groups;
  const SampleSource &samples;
  const SequentialPassOptions &options;
  func::FuncOp function;
  GraphSegments segments;
  llvm::StringMap<std::vector<float>> decoded;
  /// Layers of a model have the same kernels.
  KernelCache kernels;
  /// Of each sample.
  std::vector<llvm::DenseMap<Value, HeldTensor>> held;
  /// Buffers of tensors that are gone, by size: fresh memory would cost as much time as the copies.
  std::map<size_t, std::vector<std::vector<char>>> spare;
};

} // namespace

/// The arguments of the function that the first segments read.
Error SequentialPass::holdInputs() {
  held.resize(samples.count);
  std::map<std::string, TensorView> inputs;
  for (auto [i, tensors] : llvm::enumerate(held)) {
    if (Error error = samples.load(i, inputs))
      return error;
    for (BlockArgument argument : function.getArguments())
      if (!argument.use_empty())
        hold(inputs[argumentName(function, argument).str()], tensors[argument]);
  }
  return Error();
}

void SequentialPass::hold(const TensorView &view, HeldTensor &tensor) {
  tensor.type = view.type;
  tensor.dims = view.dims;
  size_t size = view.elementCount() * tacq_element_size(view.type);
  if (auto it = spare.find(size); it != spare.end() && !it->second.empty()) {
    tensor.bytes = std::move(it->second.back());
    it->second.pop_back();
  }
  tensor.bytes.resize(size);
  std::memcpy(tensor.bytes.data(), view.data, size);
}

/// OpenBLAS with threads of its own would leave them polling beside the next segment's.
void SequentialPass::addToHessian(const TensorView &x, std::vector<double> &triangle) {
  int64_t k = x.dims.back(), rows = x.elementCount() / std::max<int64_t>(k, 1);
  unsigned threads =
      options.threads ? options.threads : llvm::hardware_concurrency().compute_thread_count();
  HessianContribution sample{{{x.floats(), nullptr, rows}}, k, triangle.data()};
  sumContributions({}, sample, threads);
}

Error SequentialPass::runSegment(unsigned i, std::vector<double> &triangle) {
  GraphSegments::Segment segment =
      segments.build(i, [&](StringRef name) { return decoded.contains(name); });
  ParameterStore parameters;
  for (auto param : segment.module->getOps<ParamOp>())
    parameters.add(param.getSymName(), stored.bytes(param.getSymName()));
  for (const auto &[own, name] : segment.decoded) {
    const std::vector<float> &weight = decoded[name];
    parameters.add(own, ArrayRef(reinterpret_cast<const char *>(weight.data()),
                                 weight.size() * sizeof(float)));
  }
  std::unique_ptr<InProcessModule> runner;
  InProcessModule::Options runOptions;
  runOptions.threads = options.threads;
  runOptions.file = options.file;
  runOptions.kernels = &kernels;
  // A cut that an earlier segment has made already leaves nothing to run.
  bool empty = segment.outputs.empty();
  if (!empty)
    if (Error error = InProcessModule::compile(*segment.module, parameters, runOptions, runner))
      return error;
  const auto &live = segments.liveAfter(i);
  // Samples of a task follow one another: their sum is multiplied, not each.
  std::vector<double> part(triangle.size());
  double weight = 1;
  auto addPart = [&] {
    for (auto [sum, value] : llvm::zip(triangle, part)) {
      sum += weight * value;
      value = 0;
    }
  };
  for (auto [sample, tensors] : llvm::enumerate(held)) {
    std::map<std::string, TensorView> inputs;
    for (auto [j, value] : llvm::enumerate(segment.inputs))
      inputs["v" + std::to_string(j)] = tensors[value].view();
    if (!empty)
      if (Error error = runner->run(inputs))
        return error;
    for (auto [j, value] : llvm::enumerate(segment.outputs)) {
      TensorView view;
      if (Error error = runner->output("r" + std::to_string(j), view))
        return error;
      hold(view, tensors[value]);
    }
    SmallVector<Value> dead;
    for (auto &entry : tensors)
      if (!live.contains(entry.first))
        dead.push_back(entry.first);
    for (Value value : dead) {
      std::vector<char> &bytes = tensors[value].bytes;
      spare[bytes.size()].push_back(std::move(bytes));
      tensors.erase(value);
    }
    if (double own = samples.weightOf(sample); own != weight) {
      addPart();
      weight = own;
    }
    addToHessian(tensors[groups[i].input].view(), part);
  }
  addPart();
  return Error();
}

Error SequentialPass::run(QuantizeGroupFn quantizeGroup) {
  if (Error error = holdInputs())
    return error;
  for (auto [i, group] : llvm::enumerate(groups)) {
    if (options.progress)
      options.progress(i, groups.size());
    std::string name = LinearOp(group.linears[0]).getNodeName().str();
    std::optional<int64_t> k = dimsOf(group.input)->back().constant();
    if (!k)
      return Error(TACQ_UNSUPPORTED, "node '" + name + "': the extent of its input is not known");
    std::vector<double> triangle(*k * (*k + 1) / 2), sum(*k * *k);
    if (Error error = runSegment(i, triangle))
      return error;
    for (int64_t row = 0; row < *k; ++row)
      for (int64_t column = 0; column <= row; ++column) {
        double value = triangle[row * (row + 1) / 2 + column];
        if (!std::isfinite(value))
          return Error(TACQ_INVALID_INPUT,
                       "the input of node '" + name +
                           "' is not finite on the sample data, with the layers before it "
                           "quantized; take more bits or check the data");
        sum[row * *k + column] = sum[column * *k + row] = value;
      }
    if (Error error = quantizeGroup(group, sum, decoded))
      return error;
  }
  if (options.progress)
    options.progress(groups.size(), groups.size());
  return Error();
}

Error tacq::runSequentialPass(ModuleOp module, const ParameterStore &parameters,
                              ArrayRef<LinearGroup> groups, const SampleSource &samples,
                              const SequentialPassOptions &options, QuantizeGroupFn quantizeGroup) {
  return SequentialPass(module, parameters, groups, samples, options).run(quantizeGroup);
}
