//===- CompileKernelsTest.cpp - Functions to running machine code ---------===//

#include "KernelRunner.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringRef.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>

using namespace tacq;
using namespace tacq::test;

namespace {

class CompileKernels : public testing::TestWithParam<CpuTarget> {
protected:
  LoadedKernels compile(llvm::StringRef text) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, context.get());
    if (!module)
      return {};
    return LoadedKernels::compile(*module, GetParam());
  }

  /// A kernel of one task that applies `body` (from %x to %y) to `symbol 0` elements.
  LoadedKernels elementwise(std::string body, std::string in = "f32", std::string out = "f32") {
    return compile("func.func @k(%in: memref<?x" + in + ">, %out: memref<?x" + out +
                   ">, %n: index, %begin: index, %end: index, %status: memref<?xi32>) {\n"
                   "  %c1 = arith.constant 1 : index\n"
                   "  %c0 = arith.constant 0 : index\n"
                   "  scf.for %t = %begin to %end step %c1 {\n"
                   "    scf.for %i = %c0 to %n step %c1 {\n"
                   "      %x = memref.load %in[%i] : memref<?x" +
                   in + ">\n" + body + "\n      memref.store %y, %out[%i] : memref<?x" + out +
                   ">\n"
                   "    }\n  }\n  return\n}\n");
  }

  template <typename In, typename Out>
  std::vector<Out> apply(const LoadedKernels &kernels, std::vector<In> in) {
    std::vector<Out> out(in.size());
    EXPECT_EQ(run(kernels.find("k"), {in.data(), out.data()}, {int64_t(in.size())}, 1), 0);
    return out;
  }

  std::unique_ptr<mlir::MLIRContext> context = makeContext();
};

/// Distance in units in the last place of the expected value.
double ulps(float actual, double expected) {
  float rounded = float(expected);
  if (std::isnan(expected))
    return std::isnan(actual) ? 0 : 1e9;
  if (actual == rounded)
    return 0;
  if (std::isinf(rounded) || std::isinf(actual))
    return 1e9;
  float magnitude = std::max(std::fabs(rounded), std::numeric_limits<float>::min());
  double unit = double(std::nextafterf(magnitude, INFINITY)) - magnitude;
  return std::fabs(actual - expected) / unit;
}

struct Function {
  const char *op;
  double (*reference)(double);
  float low, high;
  double limit;
};

TEST_P(CompileKernels, MathFunctionsAreAccurate) {
  const Function functions[] = {
      {"math.exp", std::exp, -104, 89.5, 2.0},      {"math.log", std::log, 0, 1e5, 2.0},
      {"math.log", std::log, 0.5, 2, 2.0},          {"math.tanh", std::tanh, -10, 10, 6.0},
      {"math.erf", std::erf, -5, 5, 3.0},           {"math.sin", std::sin, -1e4, 1e4, 1.0},
      {"math.expm1", std::expm1, -5, 5, 1.5},       {"math.sqrt", std::sqrt, 0, 1e9, 0.51},
      {"math.atan", std::atan, -50, 50, 1.5},       {"math.floor", std::floor, -9, 9, 0},
      {"math.roundeven", std::nearbyint, -9, 9, 0},
  };
  for (const Function &f : functions) {
    SCOPED_TRACE(f.op);
    LoadedKernels kernels = elementwise(std::string("%y = ") + f.op + " %x : f32");
    ASSERT_TRUE(kernels.loaded());
    std::vector<float> in;
    for (int i = 0; i <= 200000; ++i)
      in.push_back(f.low + (f.high - f.low) * float(i / 200000.0));
    std::vector<float> out = apply<float, float>(kernels, in);
    double worst = 0;
    float where = 0;
    for (size_t i = 0; i < in.size(); ++i)
      if (double distance = ulps(out[i], f.reference(in[i])); distance > worst) {
        worst = distance;
        where = in[i];
      }
    EXPECT_LE(worst, f.limit) << "at " << where;
  }
}

TEST_P(CompileKernels, MathFunctionsKeepSpecialValues) {
  const float inf = INFINITY, nan = NAN;
  const std::vector<float> in = {0.0f,  -0.0f,  inf,    -inf,    nan,     1e-42f, -1e-42f,
                                 3e38f, -3e38f, 100.0f, -100.0f, -200.0f, 1e-30f, -2.0f};
  const std::pair<const char *, double (*)(double)> functions[] = {{"math.exp", std::exp},
                                                                   {"math.log", std::log},
                                                                   {"math.tanh", std::tanh},
                                                                   {"math.erf", std::erf}};
  for (auto [op, reference] : functions) {
    LoadedKernels kernels = elementwise(std::string("%y = ") + op + " %x : f32");
    ASSERT_TRUE(kernels.loaded());
    std::vector<float> out = apply<float, float>(kernels, in);
    for (size_t i = 0; i < in.size(); ++i)
      EXPECT_LE(ulps(out[i], reference(in[i])), 6.0) << op << " of " << in[i] << " = " << out[i];
  }
}

TEST_P(CompileKernels, BFloat16RoundsToNearestEven) {
  LoadedKernels kernels = elementwise("%y = arith.truncf %x : f32 to bf16", "f32", "bf16");
  ASSERT_TRUE(kernels.loaded());
  std::vector<float> in = {1.0f, 1.00390625f, 1.01171875f, 1.0039065f, -3.14159274f, 3.4e38f};
  std::vector<uint16_t> out = apply<float, uint16_t>(kernels, in);
  EXPECT_EQ(out, (std::vector<uint16_t>{0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xc049, 0x7f80}));
}

TEST_P(CompileKernels, HalfPrecisionConverts) {
  LoadedKernels kernels = elementwise("%h = arith.truncf %x : f64 to f16\n"
                                      "%y = arith.extf %h : f16 to f64",
                                      "f64", "f64");
  ASSERT_TRUE(kernels.loaded());
  std::vector<double> out = apply<double, double>(kernels, {0.1, 65504.0, 1e6, -2.5});
  EXPECT_EQ(out, (std::vector<double>{0.0999755859375, 65504.0, INFINITY, -2.5}));
}

TEST_P(CompileKernels, MasksVectorsAndStatus) {
  LoadedKernels kernels = compile(R"(
    func.func @tail(%in: memref<?xf32>, %out: memref<?xf32>, %n: index, %begin: index,
                    %end: index, %status: memref<?xi32>) {
      %c0 = arith.constant 0 : index
      %c16 = arith.constant 16 : index
      %zero = arith.constant dense<0.0> : vector<16xf32>
      %two = arith.constant dense<2.0> : vector<16xf32>
      %mask = vector.create_mask %n : vector<16xi1>
      %x = vector.maskedload %in[%c0], %mask, %zero
        : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %y = arith.mulf %x, %two : vector<16xf32>
      vector.maskedstore %out[%c0], %mask, %y : memref<?xf32>, vector<16xi1>, vector<16xf32>
      %s = vector.reduction <add>, %y : vector<16xf32> into f32
      memref.store %s, %out[%c16] : memref<?xf32>
      %code = arith.constant 7 : i32
      memref.store %code, %status[%c0] : memref<?xi32>
      return
    })");
  ASSERT_TRUE(kernels.loaded());
  std::vector<float> in(5, 1.5f), out(17, -1.0f);
  EXPECT_EQ(run(kernels.find("tail"), {in.data(), out.data()}, {5}, 1), 7);
  for (int i = 0; i < 16; ++i)
    EXPECT_EQ(out[i], i < 5 ? 3.0f : -1.0f);
  EXPECT_EQ(out[16], 15.0f);
}

TEST_P(CompileKernels, SumsOfALoopAreVectorized) {
  std::string assembly;
  auto module = mlir::parseSourceString<mlir::ModuleOp>(R"(
    func.func @dot(%x: memref<?xf32>, %y: memref<?xf32>, %out: memref<?xf32>, %n: index,
                   %begin: index, %end: index, %status: memref<?xi32>) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %zero = arith.constant 0.0 : f32
      %sum = scf.for %i = %c0 to %n step %c1 iter_args(%s = %zero) -> f32 {
        %a = memref.load %x[%i] : memref<?xf32>
        %b = memref.load %y[%i] : memref<?xf32>
        %p = arith.mulf %a, %b : f32
        %t = arith.addf %s, %p : f32
        scf.yield %t : f32
      }
      memref.store %sum, %out[%begin] : memref<?xf32>
      return
    })",
                                                        context.get());
  LoadedKernels kernels = LoadedKernels::compile(*module, GetParam(), &assembly);
  ASSERT_TRUE(kernels.loaded());
  std::vector<float> x(1000), y(1000), out(1);
  double expected = 0;
  for (int i = 0; i < 1000; ++i) {
    x[i] = std::sin(i);
    y[i] = std::cos(3 * i);
    expected += double(x[i]) * y[i];
  }
  run(kernels.find("dot"), {x.data(), y.data(), out.data()}, {1000}, 1);
  EXPECT_NEAR(out[0], expected, 1e-4);
  std::string fma = GetParam().vectorBits == 512 ? "%zmm" : "%ymm";
  EXPECT_NE(assembly.find("vfmadd231ps"), std::string::npos);
  EXPECT_NE(assembly.find(fma), std::string::npos);
}

TEST_P(CompileKernels, FunctionsThatTheRuntimeLacksAreErrors) {
  std::string message;
  mlir::ScopedDiagnosticHandler handler(context.get(), [&](mlir::Diagnostic &diagnostic) {
    message += diagnostic.str();
    return mlir::success();
  });
  LoadedKernels kernels = compile(R"(
    func.func private @nowhere(f32) -> f32
    func.func @k(%out: memref<?xf32>, %begin: index, %end: index, %status: memref<?xi32>) {
      %x = memref.load %out[%begin] : memref<?xf32>
      %y = func.call @nowhere(%x) : (f32) -> f32
      memref.store %y, %out[%begin] : memref<?xf32>
      return
    })");
  EXPECT_FALSE(kernels.loaded());
  EXPECT_NE(message.find("'nowhere'"), std::string::npos) << message;
}

TEST_P(CompileKernels, IsDeterministic) {
  const char *text = R"(
    func.func @k(%out: memref<?xf32>, %begin: index, %end: index, %status: memref<?xi32>) {
      %x = memref.load %out[%begin] : memref<?xf32>
      %y = math.sin %x : f32
      memref.store %y, %out[%begin] : memref<?xf32>
      return
    })";
  llvm::SmallVector<char, 0> first, second;
  for (auto *elf : {&first, &second}) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, context.get());
    ASSERT_TRUE(succeeded(compileCpuKernels(*module, GetParam(), *elf)));
  }
  EXPECT_EQ(first, second);
  EXPECT_LT(first.size(), 8192u);
}

INSTANTIATE_TEST_SUITE_P(Targets, CompileKernels, testing::ValuesIn(runnableTargets()), targetName);

} // namespace
