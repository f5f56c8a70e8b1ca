//===- DotCode.cpp - Products of 8-bit integers ---------------------------===//

#include "DotCode.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"

using namespace mlir;
using namespace tacq;

Value DotCode::loadBytes(Value buffer, Value at, int64_t count) {
  return b.create<vector::LoadOp>(vector(count, 8), buffer, ValueRange{at});
}

Value DotCode::loadNumber(Value buffer, Value at, int64_t width) {
  Value raw =
      b.create<vector::BitCastOp>(vector(1, unsigned(width) * 8), loadBytes(buffer, at, width));
  return b.create<arith::IndexCastUIOp>(b.getIndexType(),
                                        b.create<vector::ExtractOp>(raw, int64_t(0)));
}

Value DotCode::loadHalves(Value buffer, Value at) {
  constexpr int64_t halfBytes = 2;
  Value raw = b.create<vector::BitCastOp>(VectorType::get(vectorLanes, b.getF16Type()),
                                          loadBytes(buffer, at, vectorLanes * halfBytes));
  return b.create<arith::ExtFOp>(f32Vector(), raw);
}

Value DotCode::loadHalf(Value buffer, Value at) {
  Value raw =
      b.create<vector::BitCastOp>(VectorType::get(1, b.getF16Type()), loadBytes(buffer, at, 2));
  Value number = b.create<vector::ExtractOp>(raw, int64_t(0));
  return b.create<arith::ExtFOp>(b.getF32Type(), number);
}

Value DotCode::bytesToFloat(Value bytes, bool isSigned) {
  auto widen = [&](Value value, unsigned bits) -> Value {
    VectorType type = vector(cast<VectorType>(value.getType()).getNumElements(), bits);
    return isSigned ? b.create<arith::ExtSIOp>(type, value).getResult()
                    : b.create<arith::ExtUIOp>(type, value).getResult();
  };
  // LLVM has tables or shuffles for conversions of bytes, which take more registers or instructions
  // than the two steps that there are instructions for.
  if (isArm())
    bytes = concat({opaque(widen(half(bytes, 0), 16), /*isOrdered=*/false),
                    opaque(widen(half(bytes, 1), 16), /*isOrdered=*/false)});
  return b.create<arith::SIToFPOp>(f32Vector(), widen(bytes, 32));
}

Value DotCode::half(Value all, int64_t number) {
  int64_t lanes = cast<VectorType>(all.getType()).getNumElements() / 2;
  return b.create<vector::ExtractStridedSliceOp>(all, ArrayRef<int64_t>{number * lanes},
                                                 ArrayRef<int64_t>{lanes}, ArrayRef<int64_t>{1});
}

Value DotCode::concat(ArrayRef<Value> parts) {
  SmallVector<Value> vectors(parts);
  while (vectors.size() > 1) {
    SmallVector<Value> wider;
    for (size_t i = 0; i < vectors.size(); i += 2) {
      int64_t lanes = 2 * cast<VectorType>(vectors[i].getType()).getNumElements();
      wider.push_back(b.create<vector::ShuffleOp>(vectors[i], vectors[i + 1],
                                                  llvm::to_vector(llvm::seq<int64_t>(0, lanes))));
    }
    vectors = wider;
  }
  return vectors[0];
}

Value DotCode::bytesConstant(function_ref<uint8_t(int64_t)> byte) {
  SmallVector<int8_t> values;
  for (int64_t i = 0; i < registerBytes; ++i)
    values.push_back(int8_t(byte(i)));
  return b.create<arith::ConstantOp>(DenseElementsAttr::get(bytes(), ArrayRef(values)));
}

Value DotCode::shiftAndMask(Value codes, int shift, unsigned mask) {
  if (shift != 0) {
    // x86 has no shifts of bytes. Where there are, the shift itself clears bits.
    VectorType words = isArm() ? bytes() : vector(registerBytes / 2, 16);
    Value value = b.create<vector::BitCastOp>(words, codes);
    Value by = b.create<arith::ConstantOp>(
        DenseElementsAttr::get(words, b.getIntegerAttr(words.getElementType(), std::abs(shift))));
    value = shift > 0 ? b.create<arith::ShRUIOp>(value, by).getResult()
                      : b.create<arith::ShLIOp>(value, by).getResult();
    codes = b.create<vector::BitCastOp>(bytes(), value);
  }
  return mask == 255 ? codes : b.create<arith::AndIOp>(codes, splatByte(mask)).getResult();
}

InputColumns DotCode::loadColumns(Value buffer, Value at, int64_t count) {
  InputColumns columns{buffer, at, {}};
  for (int64_t column = 0; isArm() && column < count; column += registerBytes)
    columns.registers.push_back(loadBytes(buffer, plus(at, column), registerBytes));
  return columns;
}

Value DotCode::loadQuad(const InputColumns &columns, int64_t column) {
  VectorType numbers = vector(registerBytes / quadColumns, 32);
  if (isArm()) {
    Value raw = b.create<vector::BitCastOp>(numbers, columns.registers[column / registerBytes]);
    SmallVector<int64_t> lane(numbers.getNumElements(), column % registerBytes / quadColumns);
    return b.create<vector::BitCastOp>(bytes(), b.create<vector::ShuffleOp>(raw, raw, lane));
  }
  Value raw = b.create<vector::BitCastOp>(
      vector(1, 32), loadBytes(columns.buffer, plus(columns.at, column), quadColumns));
  Value number = b.create<vector::ExtractOp>(raw, int64_t(0));
  return b.create<vector::BitCastOp>(bytes(), b.create<vector::BroadcastOp>(numbers, number));
}

Value DotCode::dotArm(Value sums, Value codes, Value quad) {
  VectorType numbers = vector(registerBytes / 4, 32);
  if (product != ByteProduct::Neon)
    return intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8", numbers, {sums, codes, quad});
  // Two products of bytes are at most 2 * 128 * 127, which 16 bits hold.
  VectorType words = vector(registerBytes / 2, 16);
  SmallVector<Value, 2> products;
  for (int64_t i : {0, 1})
    products.push_back(
        intrinsic("llvm.aarch64.neon.smull.v8i16", words, {half(codes, i), half(quad, i)}));
  Value pairs = intrinsic("llvm.aarch64.neon.addp.v8i16", words, products);
  return b.create<arith::AddIOp>(sums,
                                 intrinsic("llvm.aarch64.neon.saddlp.v4i32.v8i16", numbers, pairs));
}

Value DotCode::pairs(Value codes, Value quad) {
  return intrinsic("llvm.x86.avx2.pmadd.ub.sw", vector(registerBytes / 2, 16), {codes, quad});
}

Value DotCode::widen(Value words) {
  Value ones = b.create<arith::ConstantOp>(
      DenseElementsAttr::get(cast<ShapedType>(words.getType()), int16_t(1)));
  return intrinsic("llvm.x86.avx2.pmadd.wd", vector(registerBytes / 4, 32), {words, ones});
}

Value DotCode::dot(Value sums, Value codes, Value quad, unsigned largest) {
  VectorType words = vector(registerBytes / 2, 16), numbers = vector(registerBytes / 4, 32);
  if (isArm())
    return dotArm(sums, codes, quad);
  if (hasVnni()) {
    auto asNumbers = [&](Value bytes) { return b.create<vector::BitCastOp>(numbers, bytes); };
    return intrinsic(isWide() ? "llvm.x86.avx512.vpdpbusd.512" : "llvm.x86.avx512.vpdpbusd.256",
                     numbers, {sums, asNumbers(codes), asNumbers(quad)});
  }
  auto wordConstant = [&](int16_t value) {
    return b.create<arith::ConstantOp>(DenseElementsAttr::get(words, value));
  };
  auto multiply = [&](Value x, Value y) {
    return intrinsic("llvm.x86.avx2.pmadd.wd", numbers, {x, y});
  };
  if (largest <= fastLimit())
    return b.create<arith::AddIOp>(sums, widen(pairs(codes, quad)));
  // Pairs of larger products would saturate: the even and the odd bytes as 16-bit numbers.
  Value eight = wordConstant(8);
  Value codeWords = b.create<vector::BitCastOp>(words, codes);
  Value quadWords = b.create<vector::BitCastOp>(words, quad);
  Value even = multiply(b.create<arith::AndIOp>(codeWords, wordConstant(255)),
                        b.create<arith::ShRSIOp>(b.create<arith::ShLIOp>(quadWords, eight), eight));
  Value odd = multiply(b.create<arith::ShRUIOp>(codeWords, eight),
                       b.create<arith::ShRSIOp>(quadWords, eight));
  return b.create<arith::AddIOp>(sums, b.create<arith::AddIOp>(even, odd));
}

Value DotCode::multiplyMatrices(Value sums, Value codes, Value input) {
  return intrinsic("llvm.aarch64.neon.smmla.v4i32.v16i8", sums.getType(), {sums, codes, input});
}

Value DotCode::pickNumbers(Value x, Value y, ArrayRef<int64_t> lanes) {
  VectorType numbers = vector(registerBytes / 4, 32);
  Value picked = b.create<vector::ShuffleOp>(b.create<vector::BitCastOp>(numbers, x),
                                             b.create<vector::BitCastOp>(numbers, y), lanes);
  return b.create<vector::BitCastOp>(cast<VectorType>(x.getType()), picked);
}

/// What an empty assembly text makes of the first operand, in the same register.
static Value hidden(ImplicitLocOpBuilder &b, ValueRange operands, StringRef constraints,
                    bool isOrdered) {
  auto dialect = LLVM::AsmDialectAttr::get(b.getContext(), LLVM::AsmDialect::AD_ATT);
  return b
      .create<LLVM::InlineAsmOp>(operands[0].getType(), operands, /*asm_string=*/"", constraints,
                                 /*has_side_effects=*/isOrdered,
                                 /*is_align_stack=*/false, dialect,
                                 /*operand_attrs=*/ArrayAttr())
      .getRes();
}

Value DotCode::opaque(Value value, bool isOrdered) { return hidden(b, value, "=w,0", isOrdered); }

Value DotCode::indexAfter(Value index, Value sums) {
  Value number = b.create<arith::IndexCastOp>(b.getI64Type(), index);
  number = hidden(b, {number, sums}, "=r,0,x", /*isOrdered=*/false);
  return b.create<arith::IndexCastOp>(b.getIndexType(), number);
}

Value DotCode::sumsToFloat(ArrayRef<Value> parts) {
  return b.create<arith::SIToFPOp>(f32Vector(), concat(parts));
}

Value DotCode::lookupInLanes(Value table, Value indices) {
  return intrinsic(isWide() ? "llvm.x86.avx512.pshuf.b.512" : "llvm.x86.avx2.pshuf.b", bytes(),
                   {table, indices});
}

Value DotCode::lookupInTable(ArrayRef<Value> table, Value indices) {
  SmallVector<Value> arguments(table);
  arguments.push_back(indices);
  std::string name = "llvm.aarch64.neon.tbl" + std::to_string(table.size()) + ".v16i8";
  return intrinsic(name, bytes(), arguments);
}

Value DotCode::subtractProduct(Value z, Value x, Value y) {
  // What is negated at no cost: on x86 either factor, on AArch64 the scalar that y is made of.
  return isArm() ? fma(x, b.create<arith::NegFOp>(y), z) : fma(b.create<arith::NegFOp>(x), y, z);
}

Value DotCode::lookupColumns(const InputColumns &columns, Value positions) {
  Value found;
  if (isWide()) {
    Value zeros = b.create<arith::ConstantOp>(b.getZeroAttr(bytes()));
    Value indices = b.create<vector::InsertStridedSliceOp>(positions, zeros, ArrayRef<int64_t>{0},
                                                           ArrayRef<int64_t>{1});
    Value low = loadBytes(columns.buffer, columns.at, registerBytes);
    Value high = loadBytes(columns.buffer, plus(columns.at, registerBytes), registerBytes);
    Value all = intrinsic("llvm.x86.avx512.vpermi2var.qi.512", bytes(), {low, indices, high});
    found = b.create<vector::ExtractStridedSliceOp>(
        all, ArrayRef<int64_t>{0}, ArrayRef<int64_t>{vectorLanes}, ArrayRef<int64_t>{1});
  } else if (isArm()) {
    // An index beyond a table gives 0, or leaves what the other one gave.
    ArrayRef<Value> registers(columns.registers);
    ArrayRef<Value> low = registers.take_front(4), high = registers.drop_front(4);
    Value inHigh = b.create<arith::XOrIOp>(positions, splatByte(quantizedColumns / 2));
    SmallVector<Value> arguments{lookupInTable(low, positions)};
    llvm::append_range(arguments, high);
    arguments.push_back(inHigh);
    found = intrinsic("llvm.aarch64.neon.tbx4.v16i8", bytes(), arguments);
  } else {
    // Each lane of a register is a table of 16 columns. A lookup has 0 for what is in another
    // table: the addition, which saturates, sets the highest bit of such an index.
    constexpr int64_t table = 16;
    Value everywhere = concat({positions, positions}), all;
    for (int64_t column = 0; column < quantizedColumns; column += registerBytes) {
      Value inTable = b.create<arith::XOrIOp>(
          everywhere, bytesConstant([&](int64_t i) { return column + i / table * table; }));
      Value index = intrinsic("llvm.uadd.sat.v32i8", bytes(), {inTable, splatByte(128 - table)});
      Value part =
          lookupInLanes(loadBytes(columns.buffer, plus(columns.at, column), registerBytes), index);
      all = all ? b.create<arith::OrIOp>(all, part).getResult() : part;
    }
    found = b.create<arith::OrIOp>(half(all, 0), half(all, 1));
  }
  return bytesToFloat(found, /*isSigned=*/true);
}
