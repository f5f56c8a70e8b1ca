//===- GradientCase.cpp - Gradients against finite differences ------------===//

#include "GradientCase.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>
#include <numeric>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;

namespace {

constexpr double step = 1e-3, tolerance = 3e-3;
constexpr int directions = 3;

class GradientCheck {
public:
  GradientCheck(const GradientCase &test, unsigned seed)
      : test(test), random(seed), context(makeContext()) {}
  void run();

private:
  static std::string nameOf(size_t i) { return "x" + std::to_string(i); }
  bool isChecked(size_t i) const {
    return test.inputs[i].kind != GradientInput::Constant &&
           test.inputs[i].kind != GradientInput::Index;
  }
  void drawInputs();
  OwningOpRef<ModuleOp> build(ParameterStore &store) const;
  void compile(CompiledGraph &graph) const;
  double lossAt(CompiledGraph &graph) const;
  void checkInput(CompiledGraph &graph, size_t i, const Array &gradient);
  /// The loss with an input moved by `distance` along a direction, from where it is.
  double movedLoss(CompiledGraph &graph, size_t i, const std::vector<double> &direction,
                   double distance);

  const GradientCase &test;
  std::mt19937 random;
  std::unique_ptr<MLIRContext> context;
  std::map<std::string, int64_t> sizes;
  std::map<std::string, Array> arrays;
};

double uniform(std::mt19937 &random, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(random);
}

void GradientCheck::drawInputs() {
  for (auto [i, input] : llvm::enumerate(test.inputs)) {
    Array &array = arrays[nameOf(i)];
    int64_t count = 1;
    for (const char *dim : input.dims) {
      char *end;
      int64_t size = std::strtol(dim, &end, 10);
      if (*end) {
        auto [known, isNew] = sizes.try_emplace(dim, 0);
        if (isNew)
          known->second = std::uniform_int_distribution<int64_t>(2, 7)(random);
        size = known->second;
      }
      array.dims.push_back(size);
      count *= size;
    }
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    for (int64_t k = 0; k < count; ++k) {
      double value = uniform(random, input.low, input.high);
      if (input.kind == GradientInput::Distinct) {
        value = input.low + (input.high - input.low) * (double(order[k]) + 0.5) / double(count);
        array.reals.push_back(float(value));
        continue;
      }
      if (input.kind == GradientInput::Index) {
        array.integers.push_back(int64_t(std::floor(value)));
        continue;
      }
      // Functions with kinks have them at multiples of 1/2; numbers stay away from those.
      double nearest = std::round(value * 2) / 2;
      if (std::abs(value - nearest) < 0.02)
        value = nearest + (value < nearest ? -0.02 : 0.02);
      array.reals.push_back(float(value));
    }
  }
}

OwningOpRef<ModuleOp> GradientCheck::build(ParameterStore &store) const {
  OpBuilder builder(context.get());
  Location loc = builder.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  builder.setInsertionPointToEnd(module->getBody());
  SmallVector<Type> types;
  SmallVector<NamedAttribute> names;
  for (auto [i, input] : llvm::enumerate(test.inputs)) {
    Dims dims;
    for (auto [axis, text] : llvm::enumerate(input.dims))
      dims.push_back(input.kind == GradientInput::Parameter
                         ? Sym(arrays.at(nameOf(i)).dims[axis])
                         : *Sym::parse(text));
    Type element = builder.getF32Type();
    if (input.kind == GradientInput::Index)
      element = builder.getI64Type();
    types.push_back(tensorType(element, dims));
    if (input.kind != GradientInput::Parameter)
      continue;
    const Array &array = arrays.at(nameOf(i));
    std::vector<char> bytes(array.reals.size() * 4);
    std::memcpy(bytes.data(), array.reals.data(), bytes.size());
    builder.create<ParamOp>(loc, builder.getStringAttr(nameOf(i)),
                            TypeAttr::get(types.back()),
                            SourceAttr::get(context.get(), "none", 0, bytes.size()));
    store.add(nameOf(i), store.own(std::move(bytes)));
  }
  SmallVector<Type> arguments;
  for (auto [type, input] : llvm::zip(types, test.inputs))
    if (input.kind != GradientInput::Parameter)
      arguments.push_back(type);
  auto function =
      builder.create<func::FuncOp>(loc, "main", builder.getFunctionType(arguments, {}));
  Block *body = function.addEntryBlock();
  builder.setInsertionPointToEnd(body);
  SmallVector<Value> values;
  unsigned next = 0;
  for (auto [i, input] : llvm::enumerate(test.inputs)) {
    if (input.kind == GradientInput::Parameter) {
      values.push_back(builder.create<GetParamOp>(loc, types[i], nameOf(i)));
      continue;
    }
    function.setArgAttr(next, "tacq.name", builder.getStringAttr(nameOf(i)));
    values.push_back(body->getArgument(next++));
  }
  GraphBuilder graph(builder, loc, test.name);
  Value y = test.build(graph, values);
  builder.create<func::ReturnOp>(loc, y);
  function.setFunctionType(builder.getFunctionType(arguments, y.getType()));
  function.setResultAttr(0, "tacq.name", builder.getStringAttr("y"));
  return module;
}

void GradientCheck::compile(CompiledGraph &graph) const {
  ParameterStore store;
  OwningOpRef<ModuleOp> module = build(store);
  std::string checked;
  for (size_t i = 0; i < test.inputs.size(); ++i)
    if (isChecked(i))
      checked += (checked.empty() ? "" : ",") + nameOf(i);
  Error error = runPasses(*module, "tacq-append-loss{kind=mse output=y},tacq-differentiate{"
                                   "parameters=" +
                                       checked + " keep-results=y}");
  if (!error)
    error = CompiledGraph::compile(*module, store, graph);
  ASSERT_FALSE(error) << error.message();
}

double GradientCheck::lossAt(CompiledGraph &graph) const {
  Error error = graph.run(arrays);
  EXPECT_FALSE(error) << error.message();
  Array y;
  error = graph.output("y", y);
  EXPECT_FALSE(error) << error.message();
  const std::vector<float> &target = arrays.at("target").reals;
  double sum = 0;
  for (size_t k = 0; k < y.reals.size(); ++k)
    sum += std::pow(double(y.reals[k]) - target[k], 2);
  return sum / double(y.reals.size());
}

double GradientCheck::movedLoss(CompiledGraph &graph, size_t i,
                                const std::vector<double> &direction, double distance) {
  std::vector<float> &reals = arrays.at(nameOf(i)).reals;
  for (size_t k = 0; k < reals.size(); ++k)
    reals[k] = float(reals[k] + distance * direction[k]);
  if (test.inputs[i].kind != GradientInput::Parameter)
    return lossAt(graph);
  CompiledGraph changed;
  compile(changed);
  return lossAt(changed);
}

void GradientCheck::checkInput(CompiledGraph &graph, size_t i, const Array &gradient) {
  const Array original = arrays.at(nameOf(i));
  ASSERT_EQ(gradient.dims, original.dims);
  int count = test.inputs[i].kind == GradientInput::Parameter ? 1 : directions;
  for (int d = 0; d < count; ++d) {
    std::vector<double> direction;
    for (size_t k = 0; k < original.reals.size(); ++k)
      direction.push_back(uniform(random, -1, 1));
    double up = movedLoss(graph, i, direction, step);
    std::vector<float> high = arrays.at(nameOf(i)).reals;
    arrays.at(nameOf(i)) = original;
    double down = movedLoss(graph, i, direction, -step);
    std::vector<float> low = arrays.at(nameOf(i)).reals;
    arrays.at(nameOf(i)) = original;
    // The step as f32 numbers have it.
    double expected = 0, size = 0;
    for (size_t k = 0; k < high.size(); ++k) {
      double moved = gradient.reals[k] * (double(high[k]) - low[k]);
      expected += moved;
      size += std::abs(moved);
    }
    EXPECT_NEAR(up - down, expected, tolerance * size + 1e-9)
        << test.name << ": input " << i << ", direction " << d;
  }
}

void GradientCheck::run() {
  drawInputs();
  CompiledGraph graph;
  compile(graph);
  if (::testing::Test::HasFatalFailure())
    return;
  ParameterStore store;
  OwningOpRef<ModuleOp> module = build(store);
  auto function = module->lookupSymbol<func::FuncOp>("main");
  Array &target = arrays["target"];
  int64_t count = 1;
  Dims dims = *dimsOf(function.getResultTypes()[0]);
  for (const Sym &dim : dims) {
    std::optional<int64_t> size = dim.evaluate([&](StringRef name) -> std::optional<int64_t> {
      auto known = sizes.find(name.str());
      return known == sizes.end() ? std::nullopt : std::optional<int64_t>(known->second);
    });
    ASSERT_TRUE(size) << dim.str();
    target.dims.push_back(*size);
    count *= *size;
  }
  for (int64_t k = 0; k < count; ++k)
    target.reals.push_back(float(uniform(random, -1, 1)));

  double loss = lossAt(graph);
  Array own;
  Error error = graph.output("loss", own);
  ASSERT_FALSE(error) << error.message();
  ASSERT_EQ(own.dims.size(), 0u);
  EXPECT_NEAR(own.reals[0], loss, 1e-5 * (1 + std::abs(loss)));
  std::map<size_t, Array> gradients;
  for (size_t i = 0; i < test.inputs.size(); ++i)
    if (isChecked(i)) {
      error = graph.output("gradient:" + nameOf(i), gradients[i]);
      ASSERT_FALSE(error) << error.message();
    }
  for (auto &[i, gradient] : gradients)
    checkInput(graph, i, gradient);
}

} // namespace

void test::checkGradients(const GradientCase &test, unsigned seed) {
  GradientCheck(test, seed).run();
}
