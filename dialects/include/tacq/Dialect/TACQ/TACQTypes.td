//===- TACQTypes.td - Types of the tensor-level dialect --------------------===//

#ifndef TACQ_DIALECT_TACQ_TYPES_TD
#define TACQ_DIALECT_TACQ_TYPES_TD

include "mlir/IR/AttrTypeBase.td"
include "tacq/Dialect/TACQ/TACQAttributes.td"

class TACQ_Type<string name, string mnemonicText> : TypeDef<TACQ_Dialect, name> {
  let mnemonic = mnemonicText;
}

def TACQ_MixedType : TACQ_Type<"Mixed", "mixed"> {
  let summary = "A weight of two sections: low-bit codes and an fp16 circuit";
  let description = [{
    Logical shape and element semantics only; the physical layout is a separate attribute,
    `#tacq.layout`. `bits` is the width of a code, `group` the number of columns that share metadata
    (0: the whole row), `decode` how a code becomes a number (`#tacq.affine` or `#tacq.codebook`),
    `circuit` what is held in fp16.

    Example: `!tacq.mixed<4096x4096, bits = 2, group = 128,
    decode = #tacq.affine<scale = f16, zero = ui2>, circuit = <slots, count = 4096, exact>>`.
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$columns, "unsigned":$bits, "int64_t":$group,
                        "::mlir::Attribute":$decode, OptionalParameter<"::tacq::CircuitAttr">:$circuit);
  let assemblyFormat = [{
    `<` custom<Extents>($rows, $columns) `,` `bits` `=` $bits `,` `group` `=` $group `,`
    `decode` `=` $decode (`,` `circuit` `=` $circuit^)? `>`
  }];
  let genVerifyDecl = 1;
}

def TACQ_UnknownType : TACQ_Type<"Unknown", "unknown"> {
  let summary = "The element type of a value whose type is not inferred yet";
  let description = [{
    An imported node whose results the model does not describe gives `tensor<*x!tacq.unknown>`.
    Nothing has it after `tacq-infer-shapes`.
  }];
}

#endif // TACQ_DIALECT_TACQ_TYPES_TD
