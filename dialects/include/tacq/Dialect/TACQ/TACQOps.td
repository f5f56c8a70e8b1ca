//===- TACQOps.td - Operations of the tensor-level dialect -----------------===//

#ifndef TACQ_DIALECT_TACQ_OPS_TD
#define TACQ_DIALECT_TACQ_OPS_TD

include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "tacq/Dialect/TACQ/TACQAttributes.td"
include "tacq/Dialect/TACQ/TACQDialect.td"
include "tacq/Dialect/TACQ/TACQTypes.td"

def TACQ_Tensor : AnyTypeOf<[AnyTensor]>;
def TACQ_Operand : AnyTypeOf<[AnyTensor, NoneType, TACQ_MixedType]>;

def TACQ_ParamOp : TACQ_Op<"param", [Symbol]> {
  let summary = "A named weight backed by a mapped file";
  let description = [{
    The symbol is the user's name for the weight. `source` says where its bytes are.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type,
                       TACQ_SourceAttr:$source);
  let assemblyFormat = "$sym_name `:` $type `from` $source attr-dict";
}

def TACQ_GetParamOp : TACQ_Op<"get_param", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "The value of a parameter";
  let description = [{
    With a `layout` the bytes are stored in it; the type is still that of the parameter. A parameter
    of two axes that has been quantized gives a `!tacq.mixed` of the same extents, in either order.
  }];
  let arguments = (ins FlatSymbolRefAttr:$param, OptionalAttr<AnyAttr>:$layout);
  let results = (outs AnyTypeOf<[AnyRankedTensor, TACQ_MixedType]>:$result);
  let assemblyFormat = "$param attr-dict `:` type($result)";
  let builders = [OpBuilder<(ins "::mlir::Type":$type, "::llvm::StringRef":$param), [{
    build($_builder, $_state, type, param, /*layout=*/::mlir::Attribute());
  }]>];
}

def TACQ_ConstantOp : TACQ_Op<"constant", [
    Pure, ConstantLike, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "A small constant tensor";
  let description = [{Shapes, axes and scalars; weights are parameters instead.}];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$value attr-dict `:` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def TACQ_SymbolicOp : TACQ_Op<"symbolic", [
    Pure, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "A small integer tensor whose elements are symbolic expressions";
  let description = [{
    Shape arithmetic folds to this: the elements, in row-major order, are expressions over the named
    dimensions. Nothing is dispatched for it unless a kernel reads it as data.

    Example: `tacq.symbolic ["batch", "past + sequence"] : tensor<2xi64>`.
  }];
  let arguments = (ins StrArrayAttr:$values);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$values attr-dict `:` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def TACQ_ReadSymbolOp : TACQ_Op<"read_symbol", []> {
  let summary = "Names the elements of an integer tensor, so that shapes can depend on them";
  let description = [{
    Element i of the tensor is read on the host when the operation is reached, once per call, and is
    known as `%name[i]` in symbolic expressions from there on.
  }];
  let arguments = (ins TACQ_Tensor:$tensor, StrAttr:$name);
  let assemblyFormat = "$tensor `as` $name attr-dict `:` type($tensor)";
}

def TACQ_RequireOp : TACQ_Op<"require", []> {
  let summary = "A condition on symbolic values that is checked at every call";
  let description = [{
    `lhs` must equal `rhs` (or, with `at_most`, must not exceed it); otherwise the call fails with
    the message, as invalid input.
  }];
  let arguments = (ins StrAttr:$lhs, StrAttr:$rhs, StrAttr:$message, UnitAttr:$at_most);
  let assemblyFormat = "$lhs `,` $rhs `,` $message attr-dict";
  let hasCanonicalizeMethod = 1;
  let hasVerifier = 1;
}

def TACQ_NoneOp : TACQ_Op<"none", [
    Pure, DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "An optional operand that is absent";
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict";
}

def TACQ_NodeOp : TACQ_Op<"node", [NoTerminator, RecursiveMemoryEffects]> {
  let summary = "A node of an imported model, whatever its operator";
  let description = [{
    `op_type`, `domain` and `opset` say which operator; `attrs` holds the node's attributes under
    their own names; `node_name` is the user's name for it. An absent optional operand is the result
    of `tacq.none`. Subgraphs (If: the branch for true, then the one for false; Loop, Scan) are regions with a
    terminating `tacq.yield`; they see
    the values around them.

    Before shape inference results may be unranked tensors.
  }];
  let arguments = (ins StrAttr:$op_type, StrAttr:$domain, I64Attr:$opset, StrAttr:$node_name,
                       DictionaryAttr:$attrs, Variadic<TACQ_Operand>:$inputs);
  let results = (outs Variadic<TACQ_Operand>:$outputs);
  let regions = (region VariadicRegion<AnyRegion>:$bodies);
  let hasCustomAssemblyFormat = 1;
  let builders = [OpBuilder<(ins "::mlir::TypeRange":$results, "::llvm::StringRef":$opType,
      "::mlir::ValueRange":$inputs, "::mlir::DictionaryAttr":$attrs, "::llvm::StringRef":$nodeName,
      CArg<"int64_t", "23">:$opset, CArg<"::llvm::StringRef", "\"\"">:$domain,
      CArg<"unsigned", "0">:$regions)>];
  let hasFolder = 1;
  let hasVerifier = 1;
}

def TACQ_YieldOp : TACQ_Op<"yield", [Terminator, Pure, ReturnLike]> {
  let summary = "The results of a region";
  let arguments = (ins Variadic<TACQ_Operand>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
  let builders = [OpBuilder<(ins), [{}]>];
}

def TACQ_LinearOp : TACQ_Op<"linear", [Pure, AttrSizedOperandSegments]> {
  let summary = "Matrix products of one input with one or more weights";
  let description = [{
    `y_i = x · W_iᵀ + bias_i` over the last axis of `x` (`[…, K]` to `[…, N_i]`), accumulated in fp32.
    A weight has shape `[N, K]` (`nk`) or `[K, N]` (`kn`); `weight_order` says which, for each.

    With `gated` there are two weights and one result, `activation(y_0) * y_1`; otherwise one result
    for each weight, and `activation` applies to each. `residual` (one result only) is added last.
    Biases are given for all weights or for none. `weight_layouts` says how the weights are stored,
    one layout for each; without it they are row-major. A weight of type `!tacq.mixed` is `nk`.

    With `x_scales`, `x` and `x_scales` are the results of `tacq.quantize_rows` and all weights are
    of type `!tacq.mixed`: the products are those of the numbers that the integers stand for. Of
    integers of 16 bits there are twice as many columns and blocks.

    With `allow_bf16` a target may round the factors of products to bf16; sums stay in fp32.
  }];
  let arguments = (ins TACQ_Tensor:$x, Optional<TACQ_Tensor>:$x_scales,
                       Variadic<TACQ_Operand>:$weights,
                       Variadic<TACQ_Tensor>:$biases, Optional<TACQ_Tensor>:$residual,
                       I32ArrayAttr:$weight_order,
                       DefaultValuedAttr<TACQ_Activation, "::tacq::Activation::None">:$activation,
                       UnitAttr:$gated, OptionalAttr<ArrayAttr>:$weight_layouts,
                       UnitAttr:$allow_bf16, StrAttr:$node_name);
  let results = (outs Variadic<TACQ_Tensor>:$results);
  let assemblyFormat = [{
    $x (`x_scales` `(` $x_scales^ `)`)? `,` `weights` `(` $weights `)` (`biases` `(` $biases^ `)`)? (`residual` `(` $residual^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    /// Which weight an operand of the operation is; nullopt for other operands.
    std::optional<unsigned> weightNumber(::mlir::OpOperand &operand) {
      unsigned first = getWeights().getBeginOperandIndex(), number = operand.getOperandNumber();
      if (number < first || number >= first + getWeights().size())
        return std::nullopt;
      return number - first;
    }
    /// How many integers of 8 bits there are for a number of a quantized input: 1 or 2. 1 for others.
    int64_t inputPlanes();
  }];
  let builders = [OpBuilder<(ins "::mlir::TypeRange":$results, "::mlir::Value":$x,
      "::mlir::ValueRange":$weights, "::mlir::ValueRange":$biases, "::mlir::Value":$residual,
      "::mlir::ArrayAttr":$weightOrder, "::tacq::Activation":$activation, "bool":$gated,
      "::llvm::StringRef":$nodeName), [{
    build($_builder, $_state, results, x, /*x_scales=*/::mlir::Value(), weights, biases, residual,
          weightOrder, activation, gated,
          /*weight_layouts=*/::mlir::ArrayAttr(), /*allow_bf16=*/false, nodeName);
  }]>];
  let hasCanonicalizeMethod = 1;
  let hasVerifier = 1;
}

def TACQ_QuantizeRowsOp : TACQ_Op<"quantize_rows", [Pure]> {
  let summary = "Integers for the rows of a tensor, with a scale for each block of columns";
  let description = [{
    Each block of `block` columns of a row (the last may be shorter) has the scale `s = max|x| / 127`
    and the integers `q = round(x / s)`, ties to even, so that `s * q` is x up to `s / 2`. For `x` of
    shape `[…, K]`, `q` is `[…, K']` with K' the next multiple of 128 and zeros beyond K; `scales` is
    `[…, blocks, 2]`: s, and s times the sum of the block's integers. How they stand
    in memory is the target's: on CPUs `q` is `[K'/128, …, 128]`, so that what a product reads of
    several rows for one column of tiles stands side by side, and one plane stands behind the other.

    With `bits = 16` the integers are `254 q + r`, where `r = round(254 (x / s - q))` is 8 bits wide,
    too: s / 254 times that is x up to `s / 508`. Columns K' to 2 K' of `q` hold `r`, and as many
    blocks behind the others `s / 254` and that times the sum of the block's `r`. So whatever
    multiplies integers of 8 bits multiplies these by going through the weights' columns twice.

    A block whose largest magnitude is below 2^-100 is taken for zeros. A block that holds NaN or an
    infinity has scales of NaN and zeros for integers, so that whatever is computed from it is NaN.
  }];
  let arguments = (ins TACQ_Tensor:$x, DefaultValuedAttr<I64Attr, "128">:$block,
                       DefaultValuedAttr<I64Attr, "8">:$bits, StrAttr:$node_name);
  let results = (outs TACQ_Tensor:$q, TACQ_Tensor:$scales);
  let assemblyFormat = "$x attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = [{
    /// How many integers of 8 bits there are for a number: 1 or 2.
    int64_t planes() { return getBits() / 8; }
  }];
  let hasVerifier = 1;
}

def TACQ_NormOp : TACQ_Op<"norm", [
    Pure, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "RMS or layer normalization over the last axis";
  let description = [{
    `rms`: `x / sqrt(mean(x²) + epsilon) * gain`; `layer`: `(x - mean) / sqrt(var + epsilon) * gain +
    bias`. Computed in fp32 whatever the element type.
  }];
  let arguments = (ins TACQ_Tensor:$x, Optional<TACQ_Tensor>:$gain, Optional<TACQ_Tensor>:$bias,
                       TACQ_NormKind:$kind, F64Attr:$epsilon, StrAttr:$node_name);
  let results = (outs TACQ_Tensor:$result);
  let assemblyFormat = [{
    $kind $x (`gain` `(` $gain^ `)`)? (`bias` `(` $bias^ `)`)? attr-dict `:`
    functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    /// Left to the verifier, whose error names the rule.
    static bool isCompatibleReturnTypes(::mlir::TypeRange, ::mlir::TypeRange) { return true; }
  }];
  let hasVerifier = 1;
}

def TACQ_RopeOp : TACQ_Op<"rope", [
    Pure, DeclareOpInterfaceMethods<InferTypeOpInterface>]> {
  let summary = "Rotary position embedding";
  let description = [{
    `x` is `[B, S, H, D]`; `cos` and `sin` are `[B or 1, S, R/2]` with R ≤ D rotated features. The
    pair of feature i is i + R/2 (or 2i and 2i + 1 with `interleaved`):
    `y_i = x_i cos_i - x_pair sin_i`, `y_pair = x_pair cos_i + x_i sin_i`; the other features pass.
  }];
  let arguments = (ins TACQ_Tensor:$x, TACQ_Tensor:$cos, TACQ_Tensor:$sin, UnitAttr:$interleaved,
                       StrAttr:$node_name);
  let results = (outs TACQ_Tensor:$result);
  let assemblyFormat = "$x `,` $cos `,` $sin attr-dict `:` functional-type(operands, results)";
  let extraClassDeclaration = [{
    /// Left to the verifier, whose error names the rule.
    static bool isCompatibleReturnTypes(::mlir::TypeRange, ::mlir::TypeRange) { return true; }
  }];
  let hasVerifier = 1;
}

def TACQ_AttentionOp
    : TACQ_Op<"attention", [Pure, AttrSizedOperandSegments]> {
  let summary = "Scaled dot-product attention, with the key/value cache";
  let description = [{
    `q` is `[B, S, H, D]`, `k` is `[B, T', Hkv, D]`, `v` is `[B, T', Hkv, Dv]`; H is a multiple of
    Hkv and query head h reads key head h / (H / Hkv). With a cache, `past_key` and `past_value` are
    `[B, Hkv, P, D]` and the new keys and values are appended: `present_key` and `present_value` are
    `[B, Hkv, T, D]` with T = P + T'; without one P = 0 and only `out` is a result.

    `out = softmax(scale * q kᵀ + m) v`, of shape `[B, S, H, Dv]`, in fp32. Key t is visible to query
    s of batch b if all that is given holds: `causal`: t <= s + P; `key_mask` (`[B, T]`, i1 or an
    integer type): nonzero at (b, t). `bias` (`[B or 1, H or 1, S, T]`, floating point) is added to
    the scores. A query that sees no key gives zeros.
  }];
  let arguments = (ins TACQ_Tensor:$q, TACQ_Tensor:$k, TACQ_Tensor:$v,
                       Optional<TACQ_Tensor>:$past_key, Optional<TACQ_Tensor>:$past_value,
                       Optional<TACQ_Tensor>:$key_mask, Optional<TACQ_Tensor>:$bias,
                       F64Attr:$scale, UnitAttr:$causal, StrAttr:$node_name);
  // The present keys and values, both or neither.
  let results = (outs TACQ_Tensor:$out, Variadic<TACQ_Tensor>:$present);
  let assemblyFormat = [{
    $q `,` $k `,` $v (`past` `(` $past_key^ `,` $past_value `)`)? (`key_mask` `(` $key_mask^ `)`)?
    (`bias` `(` $bias^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    /// Null without a cache.
    ::mlir::Value getPresentKey() { return getPresent().empty() ? nullptr : getPresent()[0]; }
    ::mlir::Value getPresentValue() { return getPresent().size() < 2 ? nullptr : getPresent()[1]; }
  }];
  let hasVerifier = 1;
}

def TACQ_AttentionGradOp : TACQ_Op<"attention_grad", [Pure, AttrSizedOperandSegments]> {
  let summary = "Gradients of attention without a cache";
  let description = [{
    `gradient` is that of the result of `tacq.attention` on the same operands, and `out` is that
    result, both `[B, S, H, Dv]`. The probabilities are computed again, in blocks.

    The results are the gradients of `q`, `[B, S, H, D]`, and of what each query head reads of `k`
    and `v`, `[B, T, H, D]` and `[B, T, H, Dv]`: where query heads share a key head, the caller adds
    theirs up. All results are f32.
  }];
  let arguments = (ins TACQ_Tensor:$gradient, TACQ_Tensor:$q, TACQ_Tensor:$k, TACQ_Tensor:$v,
                       TACQ_Tensor:$out, Optional<TACQ_Tensor>:$key_mask,
                       Optional<TACQ_Tensor>:$bias, F64Attr:$scale, UnitAttr:$causal,
                       StrAttr:$node_name);
  let results = (outs TACQ_Tensor:$q_gradient, TACQ_Tensor:$k_gradient, TACQ_Tensor:$v_gradient);
  let assemblyFormat = [{
    $gradient `of` $q `,` $k `,` $v `to` $out (`key_mask` `(` $key_mask^ `)`)?
    (`bias` `(` $bias^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

#endif // TACQ_DIALECT_TACQ_OPS_TD
