//===- TACQDialect.td - The tensor-level dialect -----------*- tablegen -*-===//

#ifndef TACQ_DIALECT_TACQ_DIALECT_TD
#define TACQ_DIALECT_TACQ_DIALECT_TD

include "mlir/IR/OpBase.td"

def TACQ_Dialect : Dialect {
  let name = "tacq";
  let cppNamespace = "::tacq";
  let summary = "Imported models, and the few operations that matter for low-bit inference";
  let description = [{
    A model is imported as a function of `tacq.node` operations, one for each node of the file,
    whatever its operator. Recognizers replace groups of nodes by `tacq.linear`, `tacq.attention`,
    `tacq.norm` and `tacq.rope`. Weights are `tacq.param` symbols backed by a mapped file: they never
    live in attributes or in textual IR.

    Dimensions are symbolic: the encoding `#tacq.shape<["batch", "past + sequence", "32"]>` of a
    ranked tensor type gives an expression for each dimension. Where it is absent, the static
    dimensions are the shape and dynamic ones are not known yet.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let hasConstantMaterializer = 1;
}

class TACQ_Attr<string name, string mnemonicText, list<Trait> traits = []>
    : AttrDef<TACQ_Dialect, name, traits> {
  let mnemonic = mnemonicText;
}

class TACQ_Op<string mnemonic, list<Trait> traits = []> : Op<TACQ_Dialect, mnemonic, traits>;

#endif // TACQ_DIALECT_TACQ_DIALECT_TD
