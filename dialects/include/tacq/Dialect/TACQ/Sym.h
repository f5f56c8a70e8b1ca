//===- Sym.h - Symbolic integer expressions of dimensions -------*- C++ -*-===//
//
// A Sym is an integer expression over the named dimensions of a model ("batch", "past + sequence",
// "floordiv(width - 3, 2) + 1"). It is kept as a polynomial with integer coefficients over atoms,
// so that two expressions that are equal by the rules of arithmetic are equal objects, and it is
// evaluated once per call by the runtime, never per element.
//
// An atom is a name or one of floordiv, mod, min, max of two expressions. A plain name stands for a
// dimension and is never negative; a name that begins with '%' stands for an integer read from a
// tensor at run time and may be negative.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_DIALECT_TACQ_SYM_H
#define TACQ_DIALECT_TACQ_SYM_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tacq {

class Sym {
public:
  enum class AtomKind { Name, FloorDiv, Mod, Min, Max };
  struct Atom;
  using AtomRef = std::shared_ptr<const Atom>;
  /// coefficient * product of the factors, which are sorted by their keys.
  struct Term {
    std::vector<AtomRef> factors;
    int64_t coefficient;
  };

  /// The constant 0.
  Sym() = default;
  Sym(int64_t value);

  /// The leaf `name`. See the head of this file for what a leading '%' means.
  static Sym name(llvm::StringRef name);
  /// Parses what str() prints; nullopt on a syntax error.
  static std::optional<Sym> parse(llvm::StringRef text);

  Sym operator+(const Sym &other) const;
  /// Of any number, in about the time of sorting their terms.
  static Sym sum(llvm::ArrayRef<Sym> summands);
  Sym operator-(const Sym &other) const;
  Sym operator*(const Sym &other) const;
  bool operator==(const Sym &other) const { return str() == other.str(); }
  bool operator!=(const Sym &other) const { return !(*this == other); }

  /// Division rounding towards minus infinity, and its remainder; the divisor must not be zero.
  static Sym floorDiv(const Sym &a, const Sym &b);
  static Sym ceilDiv(const Sym &a, const Sym &b);
  static Sym mod(const Sym &a, const Sym &b);
  static Sym min(const Sym &a, const Sym &b);
  static Sym max(const Sym &a, const Sym &b);
  /// a / b where b divides every term of a, else nullopt.
  static std::optional<Sym> divideExactly(const Sym &a, const Sym &b);

  std::optional<int64_t> constant() const;
  bool isConstant(int64_t value) const { return constant() == value; }
  /// True only if the value is known to be >= 0 for any values of the names.
  bool isNonNegative() const;

  /// Replaces names for which `with` returns an expression.
  Sym substitute(llvm::function_ref<std::optional<Sym>(llvm::StringRef)> with) const;
  /// The value for given values of the names; nullopt if a name is unknown or a divisor is zero.
  std::optional<int64_t>
  evaluate(llvm::function_ref<std::optional<int64_t>(llvm::StringRef)> valueOf) const;
  void collectNames(llvm::function_ref<void(llvm::StringRef)> found) const;

  llvm::ArrayRef<Term> terms() const { return polynomial; }
  /// Canonical text: equal expressions print equally.
  std::string str() const;

private:
  static Sym fromTerms(std::vector<Term> terms);
  static Sym atom(AtomKind kind, const Sym &a, const Sym &b);

  std::vector<Term> polynomial;
};

struct Sym::Atom {
  AtomKind kind;
  /// The leaf's name; empty for the other kinds.
  std::string name;
  std::vector<Sym> operands;
  /// The printed form, by which atoms are compared and ordered.
  std::string key;
};

using Dims = llvm::SmallVector<Sym, 4>;

/// The product of all dimensions; 1 for a scalar.
Sym elementCount(llvm::ArrayRef<Sym> dims);

} // namespace tacq

#endif // TACQ_DIALECT_TACQ_SYM_H
