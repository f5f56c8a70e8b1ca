//===- Sym.cpp - Symbolic integer expressions of dimensions ---------------===//

#include "tacq/Dialect/TACQ/Sym.h"
#include "llvm/ADT/StringExtras.h"
#include <algorithm>
#include <map>

using namespace tacq;
using llvm::StringRef;

static int64_t floorDivide(int64_t a, int64_t b) {
  int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

Sym::Sym(int64_t value) {
  if (value != 0)
    polynomial.push_back({{}, value});
}

Sym Sym::name(StringRef name) {
  auto leaf = std::make_shared<Atom>();
  leaf->kind = AtomKind::Name;
  leaf->name = name.str();
  leaf->key = name.str();
  Sym result;
  result.polynomial.push_back({{leaf}, 1});
  return result;
}

static std::string termKey(const Sym::Term &term) {
  std::string key;
  for (const Sym::AtomRef &factor : term.factors) {
    if (!key.empty())
      key += '*';
    key += factor->key;
  }
  return key;
}

Sym Sym::fromTerms(std::vector<Term> terms) {
  // Constant last, as people write it; '~' sorts behind every character of a name.
  std::map<std::string, Term> byKey;
  for (Term &term : terms) {
    std::sort(term.factors.begin(), term.factors.end(),
              [](const AtomRef &a, const AtomRef &b) { return a->key < b->key; });
    std::string key = term.factors.empty() ? "~" : termKey(term);
    auto [it, inserted] = byKey.try_emplace(key, term);
    if (!inserted)
      it->second.coefficient += term.coefficient;
  }
  Sym result;
  for (auto &[key, term] : byKey)
    if (term.coefficient != 0)
      result.polynomial.push_back(std::move(term));
  return result;
}

Sym Sym::operator+(const Sym &other) const { return sum({*this, other}); }

Sym Sym::sum(llvm::ArrayRef<Sym> summands) {
  std::vector<Term> all;
  for (const Sym &each : summands)
    all.insert(all.end(), each.polynomial.begin(), each.polynomial.end());
  return fromTerms(std::move(all));
}

Sym Sym::operator-(const Sym &other) const { return *this + other * Sym(-1); }

Sym Sym::operator*(const Sym &other) const {
  std::vector<Term> all;
  for (const Term &a : polynomial)
    for (const Term &b : other.polynomial) {
      Term product = a;
      product.factors.insert(product.factors.end(), b.factors.begin(), b.factors.end());
      product.coefficient *= b.coefficient;
      all.push_back(std::move(product));
    }
  return fromTerms(std::move(all));
}

std::optional<int64_t> Sym::constant() const {
  if (polynomial.empty())
    return 0;
  if (polynomial.size() == 1 && polynomial[0].factors.empty())
    return polynomial[0].coefficient;
  return std::nullopt;
}

static bool isNonNegativeAtom(const Sym::Atom &atom) {
  switch (atom.kind) {
  case Sym::AtomKind::Name:
    return !StringRef(atom.name).starts_with("%");
  case Sym::AtomKind::FloorDiv:
  case Sym::AtomKind::Min:
    return atom.operands[0].isNonNegative() && atom.operands[1].isNonNegative();
  case Sym::AtomKind::Mod:
    return atom.operands[1].isNonNegative();
  case Sym::AtomKind::Max:
    return atom.operands[0].isNonNegative() || atom.operands[1].isNonNegative();
  }
  return false;
}

bool Sym::isNonNegative() const {
  return llvm::all_of(polynomial, [](const Term &term) {
    return term.coefficient >= 0 &&
           llvm::all_of(term.factors, [](const AtomRef &a) { return isNonNegativeAtom(*a); });
  });
}

static const char *kindName(Sym::AtomKind kind) {
  switch (kind) {
  case Sym::AtomKind::Name:
    return "";
  case Sym::AtomKind::FloorDiv:
    return "floordiv";
  case Sym::AtomKind::Mod:
    return "mod";
  case Sym::AtomKind::Min:
    return "min";
  case Sym::AtomKind::Max:
    return "max";
  }
  return "";
}

Sym Sym::atom(AtomKind kind, const Sym &a, const Sym &b) {
  auto made = std::make_shared<Atom>();
  made->kind = kind;
  made->operands = {a, b};
  if ((kind == AtomKind::Min || kind == AtomKind::Max) && b.str() < a.str())
    std::swap(made->operands[0], made->operands[1]);
  made->key = std::string(kindName(kind)) + "(" + made->operands[0].str() + ", " +
              made->operands[1].str() + ")";
  Sym result;
  result.polynomial.push_back({{made}, 1});
  return result;
}

/// term / divisor, if the divisor's coefficient and factors all divide it.
static std::optional<Sym::Term> divideTerm(const Sym::Term &term, const Sym::Term &divisor) {
  if (term.coefficient % divisor.coefficient != 0)
    return std::nullopt;
  Sym::Term quotient = term;
  quotient.coefficient = term.coefficient / divisor.coefficient;
  for (const Sym::AtomRef &factor : divisor.factors) {
    auto it = llvm::find_if(quotient.factors,
                            [&](const Sym::AtomRef &f) { return f->key == factor->key; });
    if (it == quotient.factors.end())
      return std::nullopt;
    quotient.factors.erase(it);
  }
  return quotient;
}

std::optional<Sym> Sym::divideExactly(const Sym &a, const Sym &b) {
  if (b.polynomial.empty())
    return std::nullopt;
  if (a == b)
    return Sym(1);
  if (b.polynomial.size() == 1) {
    std::vector<Term> terms;
    for (const Term &term : a.polynomial) {
      std::optional<Term> divided = divideTerm(term, b.polynomial.front());
      if (!divided)
        return std::nullopt;
      terms.push_back(std::move(*divided));
    }
    return fromTerms(std::move(terms));
  }
  // Long division by the leading term of b. It ends: every step removes the leading term that it
  // divided, or gives up.
  Sym rest = a, quotient;
  for (size_t step = 0; step <= a.polynomial.size() + 1 && !rest.polynomial.empty(); ++step) {
    std::optional<Term> next;
    for (const Term &term : rest.polynomial)
      if ((next = divideTerm(term, b.polynomial.front())))
        break;
    if (!next)
      return std::nullopt;
    Sym part = fromTerms({*next});
    quotient = quotient + part;
    rest = rest - part * b;
  }
  if (!rest.polynomial.empty())
    return std::nullopt;
  return quotient;
}

/// Splits a into (q, r) with a = q * b + r, moving only whole terms that b divides.
static std::pair<Sym, Sym> splitMultiples(const Sym &a, const Sym &b) {
  if (std::optional<Sym> exact = Sym::divideExactly(a, b))
    return {*exact, Sym()};
  if (b.terms().size() != 1)
    return {Sym(), a};
  std::vector<Sym> quotient, rest;
  auto product = [](const Sym::Term &term) {
    Sym result(term.coefficient);
    for (const Sym::AtomRef &factor : term.factors)
      result = result * (factor->kind == Sym::AtomKind::Name ? Sym::name(factor->name)
                                                             : *Sym::parse(factor->key));
    return result;
  };
  for (const Sym::Term &term : a.terms())
    if (std::optional<Sym::Term> divided = divideTerm(term, b.terms().front()))
      quotient.push_back(product(*divided));
    else
      rest.push_back(product(term));
  return {Sym::sum(quotient), Sym::sum(rest)};
}

Sym Sym::floorDiv(const Sym &a, const Sym &b) {
  std::optional<int64_t> ca = a.constant(), cb = b.constant();
  if (ca && cb && *cb != 0)
    return Sym(floorDivide(*ca, *cb));
  auto [quotient, rest] = splitMultiples(a, b);
  if (rest.isConstant(0))
    return quotient;
  std::optional<int64_t> cr = rest.constant();
  if (cr && cb && *cb != 0)
    return quotient + Sym(floorDivide(*cr, *cb));
  return quotient + atom(AtomKind::FloorDiv, rest, b);
}

Sym Sym::ceilDiv(const Sym &a, const Sym &b) { return floorDiv(a + b - Sym(1), b); }

Sym Sym::mod(const Sym &a, const Sym &b) {
  std::optional<int64_t> cb = b.constant();
  auto [quotient, rest] = splitMultiples(a, b);
  std::optional<int64_t> cr = rest.constant();
  if (cr && cb && *cb != 0)
    return Sym(*cr - floorDivide(*cr, *cb) * *cb);
  if (rest.isConstant(0))
    return Sym();
  return atom(AtomKind::Mod, rest, b);
}

Sym Sym::min(const Sym &a, const Sym &b) {
  if ((b - a).isNonNegative())
    return a;
  if ((a - b).isNonNegative())
    return b;
  return atom(AtomKind::Min, a, b);
}

Sym Sym::max(const Sym &a, const Sym &b) {
  if ((a - b).isNonNegative())
    return a;
  if ((b - a).isNonNegative())
    return b;
  return atom(AtomKind::Max, a, b);
}

static Sym combine(Sym::AtomKind kind, const Sym &a, const Sym &b) {
  switch (kind) {
  case Sym::AtomKind::FloorDiv:
    return Sym::floorDiv(a, b);
  case Sym::AtomKind::Mod:
    return Sym::mod(a, b);
  case Sym::AtomKind::Min:
    return Sym::min(a, b);
  case Sym::AtomKind::Max:
  case Sym::AtomKind::Name:
    return Sym::max(a, b);
  }
  return Sym();
}

Sym Sym::substitute(llvm::function_ref<std::optional<Sym>(StringRef)> with) const {
  std::vector<Sym> products;
  for (const Term &term : polynomial) {
    Sym product(term.coefficient);
    for (const AtomRef &factor : term.factors) {
      if (factor->kind == AtomKind::Name) {
        std::optional<Sym> replacement = with(factor->name);
        product = product * (replacement ? *replacement : Sym::name(factor->name));
      } else {
        product = product * combine(factor->kind, factor->operands[0].substitute(with),
                                    factor->operands[1].substitute(with));
      }
    }
    products.push_back(std::move(product));
  }
  return sum(products);
}

std::optional<int64_t>
Sym::evaluate(llvm::function_ref<std::optional<int64_t>(StringRef)> valueOf) const {
  int64_t sum = 0;
  for (const Term &term : polynomial) {
    int64_t product = term.coefficient;
    for (const AtomRef &factor : term.factors) {
      std::optional<int64_t> value;
      if (factor->kind == AtomKind::Name) {
        value = valueOf(factor->name);
      } else {
        std::optional<int64_t> a = factor->operands[0].evaluate(valueOf);
        std::optional<int64_t> b = factor->operands[1].evaluate(valueOf);
        bool divides = factor->kind == AtomKind::FloorDiv || factor->kind == AtomKind::Mod;
        if (!a || !b || (divides && *b == 0))
          return std::nullopt;
        value = combine(factor->kind, Sym(*a), Sym(*b)).constant();
      }
      if (!value)
        return std::nullopt;
      product *= *value;
    }
    sum += product;
  }
  return sum;
}

void Sym::collectNames(llvm::function_ref<void(StringRef)> found) const {
  for (const Term &term : polynomial)
    for (const AtomRef &factor : term.factors) {
      if (factor->kind == AtomKind::Name)
        found(factor->name);
      for (const Sym &operand : factor->operands)
        operand.collectNames(found);
    }
}

std::string Sym::str() const {
  if (polynomial.empty())
    return "0";
  std::string text;
  for (const Term &term : polynomial) {
    int64_t coefficient = term.coefficient;
    if (text.empty()) {
      if (coefficient < 0)
        text += "-";
    } else {
      text += coefficient < 0 ? " - " : " + ";
    }
    std::string magnitude = std::to_string(coefficient);
    if (coefficient < 0)
      magnitude.erase(0, 1);
    std::string key = termKey(term);
    if (key.empty())
      text += magnitude;
    else
      text += magnitude == "1" ? key : magnitude + "*" + key;
  }
  return text;
}

namespace {
/// expr := ['-'] term (('+' | '-') term)*;  term := factor ('*' factor)*;
/// factor := integer | name | '(' expr ')' | function '(' expr ',' expr ')'
class Parser {
public:
  explicit Parser(StringRef text) : rest(text) {}

  std::optional<Sym> parseAll() {
    std::optional<Sym> result = expr();
    rest = rest.ltrim();
    return rest.empty() ? result : std::nullopt;
  }

private:
  bool take(char c) {
    rest = rest.ltrim();
    if (rest.empty() || rest.front() != c)
      return false;
    rest = rest.drop_front();
    return true;
  }

  std::optional<Sym> expr() {
    std::vector<Sym> summands;
    bool negative = take('-');
    while (true) {
      std::optional<Sym> next = term();
      if (!next)
        return std::nullopt;
      summands.push_back(negative ? Sym() - *next : *next);
      negative = !take('+');
      if (negative && !take('-'))
        return Sym::sum(summands);
    }
  }

  std::optional<Sym> term() {
    std::optional<Sym> product = factor();
    while (product && take('*')) {
      std::optional<Sym> next = factor();
      if (!next)
        return std::nullopt;
      product = *product * *next;
    }
    return product;
  }

  std::optional<Sym> factor() {
    rest = rest.ltrim();
    if (take('(')) {
      std::optional<Sym> inner = expr();
      return take(')') ? inner : std::nullopt;
    }
    if (!rest.empty() && llvm::isDigit(rest.front())) {
      int64_t value;
      if (rest.consumeInteger(10, value))
        return std::nullopt;
      return Sym(value);
    }
    StringRef word = rest.take_while([](char c) {
      return llvm::isAlnum(c) || c == '_' || c == '.' || c == '%' || c == '[' || c == ']' ||
             c == ':' || c == '/';
    });
    if (word.empty())
      return std::nullopt;
    rest = rest.drop_front(word.size());
    std::optional<Sym::AtomKind> kind;
    for (Sym::AtomKind k :
         {Sym::AtomKind::FloorDiv, Sym::AtomKind::Mod, Sym::AtomKind::Min, Sym::AtomKind::Max})
      if (word == kindName(k))
        kind = k;
    if (!kind || !rest.ltrim().starts_with("("))
      return Sym::name(word);
    take('(');
    std::optional<Sym> a = expr();
    if (!a || !take(','))
      return std::nullopt;
    std::optional<Sym> b = expr();
    if (!b || !take(')'))
      return std::nullopt;
    return combine(*kind, *a, *b);
  }

  StringRef rest;
};
} // namespace

std::optional<Sym> Sym::parse(StringRef text) { return Parser(text).parseAll(); }

Sym tacq::elementCount(llvm::ArrayRef<Sym> dims) {
  Sym count(1);
  for (const Sym &dim : dims)
    count = count * dim;
  return count;
}
