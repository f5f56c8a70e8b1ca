//===- TACQAttributes.td - Attributes of the tensor-level dialect ----------===//

#ifndef TACQ_DIALECT_TACQ_ATTRIBUTES_TD
#define TACQ_DIALECT_TACQ_ATTRIBUTES_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "tacq/Dialect/TACQ/TACQDialect.td"

def TACQ_ShapeAttr : TACQ_Attr<"Shape", "shape"> {
  let summary = "Symbolic dimensions of a tensor";
  let description = [{
    The encoding of a ranked tensor type whose dimensions are expressions over the model's named
    dimensions, one canonical text for each (see Sym.h).

    Example: `tensor<?x?x320xf32, #tacq.shape<["batch", "sequence", "320"]>>`.
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr">:$dims);
  let assemblyFormat = "`<` `[` $dims `]` `>`";
  let genVerifyDecl = 1;
}

def TACQ_SourceAttr : TACQ_Attr<"Source", "source"> {
  let summary = "Where a parameter's bytes are: a file, an offset and a length in bytes";
  let description = [{
    The bytes are little-endian, row-major, in the element type of the parameter. The file's name is
    as the user gave it or as the model names it, relative to the model's folder.

    A length of 0, for a type that has elements, means that `offset` is where the values begin as
    protobuf varints, one for each element (small tensors in the model file itself).
  }];
  let parameters = (ins StringRefParameter<"file">:$file, "uint64_t":$offset, "uint64_t":$length);
  let assemblyFormat = "`<` $file `,` $offset `,` $length `>`";
}

def TACQ_PanelAttr : TACQ_Attr<"Panel", "panel"> {
  let summary = "Layout of a packed weight: panels of output features";
  let description = [{
    A weight of N output and K input features is stored as ceil(N / width) panels, one after the
    other, each `[K][width]`: the element of output feature n and input feature k is at
    `((n / width) * K + k) * width + n % width`. Features beyond N are zero.

    Example: `#tacq.panel<16, f32>`.
  }];
  let parameters = (ins "unsigned":$width, "::mlir::Type":$element);
  let assemblyFormat = "`<` $width `,` $element `>`";
}

def TACQ_NormKind : I32EnumAttr<"NormKind", "kind of normalization over the last axis", [
    I32EnumAttrCase<"RMS", 0, "rms">, I32EnumAttrCase<"Layer", 1, "layer">]> {
  let cppNamespace = "::tacq";
}

def TACQ_Activation : I32EnumAttr<"Activation", "activation fused into a linear operation", [
    I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"SiLU", 1, "silu">,
    I32EnumAttrCase<"Gelu", 2, "gelu">, I32EnumAttrCase<"GeluTanh", 3, "gelu_tanh">,
    I32EnumAttrCase<"ReLU", 4, "relu">]> {
  let cppNamespace = "::tacq";
}

def TACQ_WeightOrder : I32EnumAttr<"WeightOrder", "order of a weight's axes in its parameter", [
    I32EnumAttrCase<"NK", 0, "nk">, I32EnumAttrCase<"KN", 1, "kn">]> {
  let cppNamespace = "::tacq";
}

#endif // TACQ_DIALECT_TACQ_ATTRIBUTES_TD
