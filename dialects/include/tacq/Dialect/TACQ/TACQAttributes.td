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

def TACQ_AffineAttr : TACQ_Attr<"Affine", "affine"> {
  let summary = "Affine decoding of a group of codes";
  let description = [{
    A code c of a group with scale s and zero point z stands for `s * (c - z)`; without `zero`,
    z is `2^(b-1)`. Metadata are f16, bf16 or f32, or unsigned integers of 2 to 8 bits. A scale that
    is an integer q is itself quantized: `s = d * q`, with one fp16 number d for every `span` groups
    of a row (0: one for the row).

    Example: `#tacq.affine<scale = ui6, zero = ui2 span = 8>`.
  }];
  let parameters = (ins "::mlir::Type":$scale, OptionalParameter<"::mlir::Type">:$zero,
                        DefaultValuedParameter<"int64_t", "0">:$span);
  let assemblyFormat = [{
    `<` `scale` `=` $scale (`,` `zero` `=` $zero^)? (`span` `=` $span^)? `>`
  }];
}

def TACQ_CodebookScope : I32EnumAttr<"CodebookScope", "what shares a codebook", [
    I32EnumAttrCase<"Row", 0, "row">, I32EnumAttrCase<"Tensor", 1, "tensor">]> {
  let cppNamespace = "::tacq";
}

def TACQ_CodebookAttr : TACQ_Attr<"Codebook", "codebook"> {
  let summary = "Decoding of codes through a table of levels";
  let description = [{
    There are `2^b` levels for each row or for the tensor; a code c of a group with scale s stands
    for `s * level[c]`, or for `level[c]` without scales. Scales are as those of `#tacq.affine`.
    Levels of type ui8 stand for `level - 128`.

    Example: `#tacq.codebook<row, levels = ui8, scale = f16>`.
  }];
  let parameters = (ins EnumParameter<TACQ_CodebookScope>:$scope, "::mlir::Type":$levels,
                        OptionalParameter<"::mlir::Type">:$scale,
                        DefaultValuedParameter<"int64_t", "0">:$span);
  let assemblyFormat = [{
    `<` $scope `,` `levels` `=` $levels (`,` `scale` `=` $scale^)? (`span` `=` $span^)? `>`
  }];
}

def TACQ_CircuitKind : I32EnumAttr<"CircuitKind", "which positions a circuit may hold", [
    I32EnumAttrCase<"Scattered", 0, "scattered">, I32EnumAttrCase<"Slots", 1, "slots">,
    I32EnumAttrCase<"Uniform", 2, "uniform">]> {
  let cppNamespace = "::tacq";
}

def TACQ_CircuitValues : I32EnumAttr<"CircuitValues", "what a circuit stores at a position", [
    I32EnumAttrCase<"Exact", 0, "exact">, I32EnumAttrCase<"Difference", 1, "difference">]> {
  let cppNamespace = "::tacq";
}

def TACQ_CircuitAttr : TACQ_Attr<"Circuit", "circuit"> {
  let summary = "The fp16 section of a mixed-precision weight";
  let description = [{
    `scattered`: `count` weights at any positions. `slots`: tiles of the layout carry slots, `count`
    of them in the whole matrix; a slot is one position and one value for each row of its tile.
    `uniform`: every tile carries `count` slots.

    A value is `exact`, the weight itself, and the codes contribute zero there; or it is the
    `difference` of the weight and what the codes contribute.

    Example: `#tacq.circuit<slots, count = 4096, difference>`.
  }];
  let parameters = (ins EnumParameter<TACQ_CircuitKind>:$kind, "int64_t":$count,
                        EnumParameter<TACQ_CircuitValues>:$values);
  let assemblyFormat = "`<` $kind `,` `count` `=` $count `,` $values `>`";
}

def TACQ_RowOrder : I32EnumAttr<"RowOrder", "order in which the rows of a weight are stored", [
    I32EnumAttrCase<"Natural", 0, "natural">, I32EnumAttrCase<"Sorted", 1, "sorted">,
    I32EnumAttrCase<"Absorbed", 2, "absorbed">]> {
  let cppNamespace = "::tacq";
}

def TACQ_CircuitStorage : I32EnumAttr<"CircuitStorage", "how the entries of a circuit are stored", [
    I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"List", 1, "list">,
    I32EnumAttrCase<"Tiles", 2, "tiles">]> {
  let cppNamespace = "::tacq";
}

def TACQ_Endianness : I32EnumAttr<"Endianness", "order of the bytes of a number", [
    I32EnumAttrCase<"Little", 0, "little">, I32EnumAttrCase<"Big", 1, "big">]> {
  let cppNamespace = "::tacq";
}

def TACQ_LayoutAttr : TACQ_Attr<"Layout", "layout"> {
  let summary = "Physical layout of a mixed-precision weight";
  let description = [{
    Chosen late, for a target; the type of the weight says what the numbers mean. docs/Spec.md
    gives the bytes of each section.

    `tile`: rows x columns of a tile; tiles are stored row by row. `planes`: the codes of a tile are
    split into planes of so many bits, lowest bits first. `interleave`: so many bytes of a row stand
    side by side, then come those of the next row. `align`: every section begins at a
    multiple of so many bytes. `rows`: as they are, sorted by what the circuit holds of them with
    the permutation stored, or sorted with the permutation absorbed by the consumer. `circuit`: a
    list for each row, or slots for each tile.

    Example: `#tacq.layout<tile = 16x128, planes = [2, 1], interleave = 4, align = 16,
    rows = sorted, circuit = tiles, little>`.
  }];
  let parameters = (ins "int64_t":$tileRows, "int64_t":$tileColumns,
                        ArrayRefParameter<"unsigned">:$planes, "int64_t":$interleave,
                        "int64_t":$alignment, EnumParameter<TACQ_RowOrder>:$rows,
                        EnumParameter<TACQ_CircuitStorage>:$circuit,
                        EnumParameter<TACQ_Endianness>:$endianness);
  let assemblyFormat = [{
    `<` `tile` `=` custom<Extents>($tileRows, $tileColumns) `,` `planes` `=` `[` $planes `]` `,`
    `interleave` `=` $interleave `,` `align` `=` $alignment `,` `rows` `=` $rows `,`
    `circuit` `=` $circuit `,` $endianness `>`
  }];
  let genVerifyDecl = 1;
}

def TACQ_VulkanProfileAttr : TACQ_Attr<"VulkanProfile", "vulkan_profile"> {
  let summary = "What the shaders for a kind of Vulkan device may use";
  let description = [{
    `subgroup`: invocations of a subgroup, 0 if unknown. `workgroup`: invocations of a workgroup.
    `buffers`: storage buffers that a shader may bind. `features`: what the device may be asked for,
    of `int64`, `float64`, `storage8`, `storage16`, `float16`, `dot8` and `cooperative_matrix`; a
    shader requires only those of them that it uses.

    Example: `#tacq.vulkan_profile<"generic", subgroup = 0, workgroup = 64, buffers = 32,
    features = ["int64", "float64"]>`.
  }];
  let parameters = (ins StringRefParameter<"name">:$name, "unsigned":$subgroup,
                        "unsigned":$workgroup, "unsigned":$buffers,
                        ArrayRefParameter<"::mlir::StringAttr">:$features);
  let assemblyFormat = [{
    `<` $name `,` `subgroup` `=` $subgroup `,` `workgroup` `=` $workgroup `,` `buffers` `=` $buffers
    `,` `features` `=` `[` $features `]` `>`
  }];
  let extraClassDeclaration = [{
    bool has(::llvm::StringRef feature) const {
      return ::llvm::any_of(getFeatures(),
                            [&](::mlir::StringAttr each) { return each.getValue() == feature; });
    }
  }];
  let genVerifyDecl = 1;
}

def TACQ_TilingAttr : TACQ_Attr<"Tiling", "tiling"> {
  let summary = "How a target's kernel goes through a mixed-precision weight";
  let description = [{
    `task_rows`: rows of the input that a task multiplies with decoded tiles; it decides how many
    tasks there are, and is one for all targets of a module. `prefetch`: how far ahead of a single
    row's product the codes are asked for, in bytes; 0: not at all.

    Example: `#tacq.tiling<"x86-64-v4", !tacq.mixed<…>, task_rows = 96, prefetch = 4096>`.
  }];
  let parameters = (ins StringRefParameter<"target">:$target, "::mlir::Type":$weight,
                        "int64_t":$taskRows, "int64_t":$prefetch);
  let assemblyFormat = [{
    `<` $target `,` $weight `,` `task_rows` `=` $taskRows `,` `prefetch` `=` $prefetch `>`
  }];
  let genVerifyDecl = 1;
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
