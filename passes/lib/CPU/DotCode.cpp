//===- DotCode.cpp - Products of 8-bit integers ---------------------------===//

#include "DotCode.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace tacq;

Value DotCode::intrinsic(StringRef name, Type result, ValueRange arguments) {
  return b.create<LLVM::CallIntrinsicOp>(result, name, arguments).getResults();
}

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

Value DotCode::loadByteNumbers(Value buffer, Value at) {
  Value wide =
      b.create<arith::ExtUIOp>(vector(vectorLanes, 32), loadBytes(buffer, at, vectorLanes));
  return b.create<arith::SIToFPOp>(f32Vector(), wide);
}

Value DotCode::bytesConstant(function_ref<uint8_t(int64_t)> byte) {
  SmallVector<int8_t> values;
  for (int64_t i = 0; i < registerBytes; ++i)
    values.push_back(int8_t(byte(i)));
  return b.create<arith::ConstantOp>(DenseElementsAttr::get(bytes(), ArrayRef(values)));
}

Value DotCode::shiftAndMask(Value codes, int shift, unsigned mask) {
  if (shift != 0) {
    VectorType words = vector(registerBytes / 2, 16);
    Value value = b.create<vector::BitCastOp>(words, codes);
    Value by = b.create<arith::ConstantOp>(
        DenseElementsAttr::get(words, b.getI16IntegerAttr(std::abs(shift))));
    value = shift > 0 ? b.create<arith::ShRUIOp>(value, by).getResult()
                      : b.create<arith::ShLIOp>(value, by).getResult();
    codes = b.create<vector::BitCastOp>(bytes(), value);
  }
  return mask == 255 ? codes : b.create<arith::AndIOp>(codes, splatByte(mask)).getResult();
}

Value DotCode::loadQuad(Value buffer, Value at) {
  Value raw = b.create<vector::BitCastOp>(vector(1, 32), loadBytes(buffer, at, quadColumns));
  Value number = b.create<vector::ExtractOp>(raw, int64_t(0));
  Value all = b.create<vector::BroadcastOp>(vector(registerBytes / quadColumns, 32), number);
  return b.create<vector::BitCastOp>(bytes(), all);
}

Value DotCode::dot(Value sums, Value codes, Value quad, unsigned largest) {
  VectorType words = vector(registerBytes / 2, 16), numbers = vector(registerBytes / 4, 32);
  if (isWide()) {
    auto asNumbers = [&](Value bytes) { return b.create<vector::BitCastOp>(numbers, bytes); };
    return intrinsic("llvm.x86.avx512.vpdpbusd.512", numbers,
                     {sums, asNumbers(codes), asNumbers(quad)});
  }
  auto wordConstant = [&](int16_t value) {
    return b.create<arith::ConstantOp>(DenseElementsAttr::get(words, value));
  };
  auto multiply = [&](Value x, Value y) {
    return intrinsic("llvm.x86.avx2.pmadd.wd", numbers, {x, y});
  };
  if (largest <= fastLimit()) {
    Value pairs = intrinsic("llvm.x86.avx2.pmadd.ub.sw", words, {codes, quad});
    return b.create<arith::AddIOp>(sums, multiply(pairs, wordConstant(1)));
  }
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

Value DotCode::sumsToFloat(ArrayRef<Value> halves) {
  Value all = halves[0];
  if (halves.size() == 2)
    all = b.create<vector::ShuffleOp>(halves[0], halves[1],
                                      llvm::to_vector(llvm::seq<int64_t>(0, vectorLanes)));
  return b.create<arith::SIToFPOp>(f32Vector(), all);
}

Value DotCode::lookupInLanes(Value table, Value indices) {
  return intrinsic(isWide() ? "llvm.x86.avx512.pshuf.b.512" : "llvm.x86.avx2.pshuf.b", bytes(),
                   {table, indices});
}

Value DotCode::lookupColumns(Value buffer, Value at, Value positions) {
  Value found;
  VectorType narrow = vector(vectorLanes, 8);
  if (isWide()) {
    Value zeros = b.create<arith::ConstantOp>(b.getZeroAttr(bytes()));
    Value indices = b.create<vector::InsertStridedSliceOp>(positions, zeros, ArrayRef<int64_t>{0},
                                                           ArrayRef<int64_t>{1});
    Value low = loadBytes(buffer, at, registerBytes);
    Value high = loadBytes(buffer, plus(at, registerBytes), registerBytes);
    Value all = intrinsic("llvm.x86.avx512.vpermi2var.qi.512", bytes(), {low, indices, high});
    found = b.create<vector::ExtractStridedSliceOp>(
        all, ArrayRef<int64_t>{0}, ArrayRef<int64_t>{vectorLanes}, ArrayRef<int64_t>{1});
  } else {
    found = b.create<arith::ConstantOp>(b.getZeroAttr(narrow));
    for (int64_t i = 0; i < vectorLanes; ++i) {
      Value position = b.create<arith::IndexCastUIOp>(b.getIndexType(),
                                                      b.create<vector::ExtractOp>(positions, i));
      Value byte = b.create<memref::LoadOp>(buffer, ValueRange{k.add(at, position)});
      found = b.create<vector::InsertOp>(byte, found, i);
    }
  }
  Value wide = b.create<arith::ExtSIOp>(vector(vectorLanes, 32), found);
  return b.create<arith::SIToFPOp>(f32Vector(), wide);
}
