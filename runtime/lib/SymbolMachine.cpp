//===- SymbolMachine.cpp - Executes symbol operations ---------------------===//

#include "SymbolMachine.h"

#include <cmath>
#include <cstring>

using namespace tacq;
using namespace tacq::format;

namespace {

double halfToDouble(uint16_t bits) {
  int exponent = (bits >> 10) & 31;
  double mantissa = bits & 1023;
  double magnitude;
  if (exponent == 31)
    magnitude = mantissa == 0 ? INFINITY : NAN;
  else if (exponent == 0)
    magnitude = std::ldexp(mantissa, -24);
  else
    magnitude = std::ldexp(mantissa + 1024, exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}

template <typename T> T load(const void *bytes) {
  T value;
  memcpy(&value, bytes, sizeof(T));
  return value;
}

Error fromDouble(double number, int64_t &value) {
  // 2^63 is exact in double; the largest int64 is not.
  if (!(number >= -9223372036854775808.0 && number < 9223372036854775808.0))
    return makeError(TACQ_INVALID_INPUT, "the value %g is no 64-bit integer", number);
  value = static_cast<int64_t>(number);
  return success();
}

int64_t floorDivide(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return a % b != 0 && ((a % b < 0) != (b < 0)) ? quotient - 1 : quotient;
}

void replaceAll(std::string &text, const char *key, int64_t value, bool &found) {
  std::string number = std::to_string(value);
  size_t length = strlen(key);
  for (size_t at = text.find(key); at != std::string::npos;
       at = text.find(key, at + number.size())) {
    text.replace(at, length, number);
    found = true;
  }
}

Error failedCheck(const SymbolContext &context, const SymbolOp &op) {
  std::string text =
      context.view->metadata().messages()->Get(static_cast<uint32_t>(op.imm()))->str();
  int64_t a = context.symbols[op.a()], b = context.symbols[op.b()];
  bool found = false;
  if (op.op() == SymbolOpcode_CheckRange) {
    int64_t v = context.symbols[op.dst()];
    replaceAll(text, "{v}", v, found);
    replaceAll(text, "{a}", a, found);
    replaceAll(text, "{b}", b, found);
    if (!found)
      text += formatText(" (%lld, allowed are %lld to %lld)", static_cast<long long>(v),
                         static_cast<long long>(a), static_cast<long long>(b));
  } else {
    replaceAll(text, "{a}", a, found);
    replaceAll(text, "{b}", b, found);
    if (!found)
      text += formatText(" (%lld and %lld)", static_cast<long long>(a), static_cast<long long>(b));
  }
  return Error(TACQ_INVALID_INPUT, std::move(text));
}

} // namespace

Error tacq::elementToInteger(ElementType type, const void *bytes, int64_t &value) {
  switch (type) {
  case ElementType_Bool:
    value = load<uint8_t>(bytes) != 0;
    return success();
  case ElementType_I8:
    value = load<int8_t>(bytes);
    return success();
  case ElementType_I16:
    value = load<int16_t>(bytes);
    return success();
  case ElementType_I32:
    value = load<int32_t>(bytes);
    return success();
  case ElementType_I64:
    value = load<int64_t>(bytes);
    return success();
  case ElementType_U8:
    value = load<uint8_t>(bytes);
    return success();
  case ElementType_U16:
    value = load<uint16_t>(bytes);
    return success();
  case ElementType_U32:
    value = load<uint32_t>(bytes);
    return success();
  case ElementType_U64: {
    auto number = load<uint64_t>(bytes);
    if (number > INT64_MAX)
      return makeError(TACQ_INVALID_INPUT, "the value %llu is no 64-bit integer",
                       static_cast<unsigned long long>(number));
    value = static_cast<int64_t>(number);
    return success();
  }
  case ElementType_F16:
    return fromDouble(halfToDouble(load<uint16_t>(bytes)), value);
  case ElementType_BF16: {
    uint32_t bits = static_cast<uint32_t>(load<uint16_t>(bytes)) << 16;
    return fromDouble(load<float>(&bits), value);
  }
  case ElementType_F32:
    return fromDouble(load<float>(bytes), value);
  case ElementType_F64:
    return fromDouble(load<double>(bytes), value);
  case ElementType_None:
    break;
  }
  return makeError(TACQ_INTERNAL, "an element of unknown type is read");
}

Error tacq::executeSymbolOps(SymbolContext &context, uint32_t begin, uint32_t count) {
  const Module &module = context.view->metadata();
  int64_t *symbols = context.symbols;
  for (uint32_t i = begin; i < begin + count; ++i) {
    const SymbolOp &op = *module.symbol_ops()->Get(i);
    int64_t result = 0;
    bool overflow = false;
    // Operands are symbols for most operations; a and b of the others are not used as such.
    auto a = [&] { return symbols[op.a()]; };
    auto b = [&] { return symbols[op.b()]; };
    auto fail = [&](tacq_code_t code, const std::string &text) {
      return makeError(code, "module '%s': symbol operation %u (%s): %s",
                       context.view->name().c_str(), i, EnumNameSymbolOpcode(op.op()),
                       text.c_str());
    };
    switch (op.op()) {
    case SymbolOpcode_Const:
      result = op.imm();
      break;
    case SymbolOpcode_InputDim:
      result = (*context.inputDims)[op.a()][op.b()];
      break;
    case SymbolOpcode_CacheCapacity:
      result = (*context.capacities)[op.a()];
      break;
    case SymbolOpcode_Add:
      overflow = __builtin_add_overflow(a(), b(), &result);
      break;
    case SymbolOpcode_Sub:
      overflow = __builtin_sub_overflow(a(), b(), &result);
      break;
    case SymbolOpcode_Mul:
      overflow = __builtin_mul_overflow(a(), b(), &result);
      break;
    case SymbolOpcode_FloorDiv:
    case SymbolOpcode_CeilDiv:
    case SymbolOpcode_TruncDiv:
    case SymbolOpcode_Mod:
    case SymbolOpcode_TruncMod: {
      int64_t x = a(), y = b();
      if (y == 0)
        return fail(TACQ_INVALID_INPUT, "division by zero");
      if (x == INT64_MIN && y == -1) {
        overflow = op.op() != SymbolOpcode_Mod && op.op() != SymbolOpcode_TruncMod;
        break;
      }
      if (op.op() == SymbolOpcode_FloorDiv)
        result = floorDivide(x, y);
      else if (op.op() == SymbolOpcode_CeilDiv)
        result = floorDivide(x, y) + (x % y != 0);
      else if (op.op() == SymbolOpcode_TruncDiv)
        result = x / y;
      else if (op.op() == SymbolOpcode_TruncMod)
        result = x % y;
      else
        result = x % y != 0 && ((x % y < 0) != (y < 0)) ? x % y + y : x % y;
      break;
    }
    case SymbolOpcode_Min:
      result = a() < b() ? a() : b();
      break;
    case SymbolOpcode_Max:
      result = a() > b() ? a() : b();
      break;
    case SymbolOpcode_Eq:
      result = a() == b();
      break;
    case SymbolOpcode_Ne:
      result = a() != b();
      break;
    case SymbolOpcode_Lt:
      result = a() < b();
      break;
    case SymbolOpcode_Le:
      result = a() <= b();
      break;
    case SymbolOpcode_And:
      result = a() != 0 && b() != 0;
      break;
    case SymbolOpcode_Or:
      result = a() != 0 || b() != 0;
      break;
    case SymbolOpcode_Not:
      result = a() == 0;
      break;
    case SymbolOpcode_Select:
      result = a() != 0 ? b() : symbols[op.imm()];
      break;
    case SymbolOpcode_Neg:
      overflow = __builtin_sub_overflow(int64_t(0), a(), &result);
      break;
    case SymbolOpcode_Abs:
      if (a() < 0)
        overflow = __builtin_sub_overflow(int64_t(0), a(), &result);
      else
        result = a();
      break;
    case SymbolOpcode_Read: {
      ElementType type = module.buffers()->Get(op.a())->element_type();
      int64_t element = op.b() == kNone ? op.imm() : b();
      alignas(8) uint8_t bytes[8] = {};
      if (Error error = context.source->readElement(op.a(), element, bytes,
                                                    static_cast<int64_t>(elementSize(type))))
        return fail(error.code(), error.message());
      if (Error error = elementToInteger(type, bytes, result))
        return fail(error.code(), error.message());
      break;
    }
    case SymbolOpcode_CheckEq:
      if (a() != b())
        return failedCheck(context, op);
      continue;
    case SymbolOpcode_CheckNe:
      if (a() == b())
        return failedCheck(context, op);
      continue;
    case SymbolOpcode_CheckLe:
      if (a() > b())
        return failedCheck(context, op);
      continue;
    case SymbolOpcode_CheckLt:
      if (a() >= b())
        return failedCheck(context, op);
      continue;
    case SymbolOpcode_CheckRange:
      if (symbols[op.dst()] < a() || symbols[op.dst()] > b())
        return failedCheck(context, op);
      continue;
    }
    if (overflow)
      return fail(TACQ_INVALID_INPUT, "the dimensions are too large, a 64-bit integer overflows");
    if (symbols[op.dst()] != result) {
      symbols[op.dst()] = result;
      if (context.watched && context.watched[op.dst()])
        context.changed = true;
    }
  }
  return success();
}
