//===- SymTest.cpp - Symbolic expressions against plain integers ----------===//

#include "tacq/Dialect/TACQ/Sym.h"
#include <gtest/gtest.h>
#include <map>
#include <random>

using namespace tacq;

static int64_t floorDivide(int64_t a, int64_t b) {
  int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

TEST(Sym, PrintsCanonically) {
  Sym a = Sym::name("past"), b = Sym::name("sequence");
  EXPECT_EQ((a + b).str(), (b + a).str());
  EXPECT_EQ((a + b - a).str(), "sequence");
  EXPECT_EQ((a * Sym(2) - b).str(), "2*past - sequence");
  EXPECT_EQ(Sym(0).str(), "0");
  EXPECT_EQ((a - a).constant(), 0);
}

TEST(Sym, DividesWhatDivides) {
  Sym b = Sym::name("batch"), s = Sym::name("sequence");
  EXPECT_EQ(Sym::floorDiv(b * s * Sym(256), Sym(256)), b * s);
  EXPECT_EQ(Sym::floorDiv(b * s * Sym(256), b * Sym(64)), s * Sym(4));
  EXPECT_EQ(Sym::floorDiv(s * Sym(4) + Sym(3), Sym(4)), s);
  EXPECT_EQ(Sym::mod(s * Sym(4) + Sym(3), Sym(4)).constant(), 3);
  EXPECT_EQ(*Sym::divideExactly((b + s) * (b - s), b + s), b - s);
  EXPECT_FALSE(Sym::divideExactly(b + Sym(1), s));
}

TEST(Sym, KnowsWhatIsLarger) {
  Sym p = Sym::name("past"), s = Sym::name("sequence"), read = Sym::name("%shape[0]");
  EXPECT_EQ(Sym::max(p + s, s), p + s);
  EXPECT_EQ(Sym::min(p + s, s), s);
  EXPECT_TRUE((p * s + Sym(1)).isNonNegative());
  EXPECT_FALSE(read.isNonNegative());
  EXPECT_FALSE((p - s).isNonNegative());
}

TEST(Sym, RefusesWhatIsNoExpression) {
  for (const char *text : {"", "a +", "* a", "(a", "floordiv(a)", "a b", "min(a, b", "-"})
    EXPECT_FALSE(Sym::parse(text)) << text;
}

TEST(Sym, ReadsSumsOfThousandsOfTerms) {
  constexpr int64_t count = 5000;
  Sym n = Sym::name("n");
  std::vector<Sym> summands;
  for (int64_t i = 0; i < count; ++i)
    summands.push_back(Sym::max(n * i, 7) * (i % 2 ? -3 : 2));
  Sym sum = Sym::sum(summands);
  std::optional<Sym> read = Sym::parse(sum.str());
  ASSERT_TRUE(read);
  EXPECT_EQ(sum.str(), read->str());
  int64_t expected = 0;
  for (int64_t i = 0; i < count; ++i)
    expected += std::max<int64_t>(11 * i, 7) * (i % 2 ? -3 : 2);
  EXPECT_EQ(expected, read->evaluate([](llvm::StringRef) { return std::optional<int64_t>(11); }));
}

/// Builds the same random expression as a Sym and as an integer.
TEST(Sym, AgreesWithIntegerArithmetic) {
  std::mt19937 random(1);
  std::map<std::string, int64_t> values = {{"a", 3}, {"b", 7}, {"c", 0}, {"%d", -5}};
  auto lookup = [&](llvm::StringRef name) -> std::optional<int64_t> {
    return values.at(name.str());
  };
  std::function<std::pair<Sym, int64_t>(int)> build = [&](int depth) -> std::pair<Sym, int64_t> {
    if (depth == 0 || random() % 5 == 0) {
      if (random() % 2) {
        int64_t value = int64_t(random() % 11) - 5;
        return {Sym(value), value};
      }
      auto it = std::next(values.begin(), random() % values.size());
      return {Sym::name(it->first), it->second};
    }
    auto [x, vx] = build(depth - 1);
    auto [y, vy] = build(depth - 1);
    switch (random() % 7) {
    case 0:
      return {x + y, vx + vy};
    case 1:
      return {x - y, vx - vy};
    case 2:
      return {x * y, vx * vy};
    case 3:
      return {Sym::min(x, y), std::min(vx, vy)};
    case 4:
      return {Sym::max(x, y), std::max(vx, vy)};
    case 5: {
      int64_t divisor = 1 + random() % 6;
      return {Sym::floorDiv(x, Sym(divisor)), floorDivide(vx, divisor)};
    }
    default: {
      int64_t divisor = 1 + random() % 6;
      return {Sym::mod(x, Sym(divisor)), vx - floorDivide(vx, divisor) * divisor};
    }
    }
  };
  for (int i = 0; i < 2000; ++i) {
    auto [sym, value] = build(3);
    ASSERT_EQ(sym.evaluate(lookup), value) << sym.str();
    std::optional<Sym> parsed = Sym::parse(sym.str());
    ASSERT_TRUE(parsed) << sym.str();
    ASSERT_EQ(parsed->str(), sym.str());
    Sym shifted = sym.substitute([](llvm::StringRef name) -> std::optional<Sym> {
      if (name == "a")
        return Sym::name("b") - Sym(4);
      return std::nullopt;
    });
    ASSERT_EQ(shifted.evaluate(lookup), value) << sym.str();
  }
}
