//===- ScheduleOps.td - The runtime-level dialect ----------*- tablegen -*-===//

#ifndef TACQ_DIALECT_SCHEDULE_OPS_TD
#define TACQ_DIALECT_SCHEDULE_OPS_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Schedule_Dialect : Dialect {
  let name = "tacq_rt";
  let cppNamespace = "::tacq::rt";
  let summary = "What the runtime executes: kernels, buffers and the order of launches";
  let description = [{
    First `tacq_rt.dispatch` calls `tacq_rt.kernel` symbols on tensors, inside of the model's
    function. Then the function becomes a `tacq_rt.schedule`, in which every tensor is a buffer with a
    place in memory and every dispatch a launch. Sizes are symbolic expressions of the model's
    dimensions (the texts of the tensor dialect's `Sym`).
  }];
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = ["::tacq::TACQDialect"];
}

class Schedule_Op<string mnemonic, list<Trait> traits = []>
    : Op<Schedule_Dialect, mnemonic, traits>;

def Schedule_BufferType : TypeDef<Schedule_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "A range of bytes that a kernel binds";
}

def Schedule_BufferKind : I32EnumAttr<"BufferKind", "where a buffer lives", [
    I32EnumAttrCase<"Input", 0, "input">, I32EnumAttrCase<"Output", 1, "output">,
    I32EnumAttrCase<"Constant", 2, "constant">, I32EnumAttrCase<"Transient", 3, "transient">,
    I32EnumAttrCase<"State", 4, "state">]> {
  let cppNamespace = "::tacq::rt";
}

def Schedule_TilingAttr
    : Attr<CPred<"::llvm::isa<::tacq::TilingAttr>($_self)">, "tiling of a weight for a target"> {
  let storageType = "::tacq::TilingAttr";
}
def Schedule_TilingArrayAttr : TypedArrayAttrBase<Schedule_TilingAttr, "array of tilings">;

def Schedule_KernelOp : Schedule_Op<"kernel", [Symbol, IsolatedFromAbove]> {
  let summary = "A computation that is dispatched as one";
  let description = [{
    The region's arguments are the input tensors, what it yields are the outputs; it holds operations
    of the tensor dialect. An attention with a cache is launched in two phases, 0 to append to the
    cache and 1 to attend; for all other kernels the phase is 0. `tilings` say how its products with
    mixed-precision weights go through them, for each weight and CPU target.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DefaultValuedAttr<I64Attr, "0">:$phase,
                       OptionalAttr<Schedule_TilingArrayAttr>:$tilings);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Schedule_DispatchOp : Schedule_Op<"dispatch", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The results of a kernel on tensors";
  let arguments = (ins FlatSymbolRefAttr:$kernel, StrArrayAttr:$nodes, StrArrayAttr:$node_ops,
                       Variadic<AnyType>:$inputs);
  let results = (outs Variadic<AnyTensor>:$outputs);
  let assemblyFormat = [{
    $kernel `(` $inputs `)` `nodes` $nodes `ops` $node_ops attr-dict `:`
    functional-type($inputs, $outputs)
  }];
  let hasVerifier = 1;
}

def Schedule_ScheduleOp : Schedule_Op<"schedule", [Symbol, IsolatedFromAbove, NoTerminator]> {
  let summary = "The order of work of one call of the model";
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
}

def Schedule_InputOp : Schedule_Op<"input"> {
  let summary = "Declares input number `index` of the model";
  let arguments = (ins I64Attr:$index, StrAttr:$name, TypeAttr:$type);
  let assemblyFormat = "$index $name `:` $type attr-dict";
}

def Schedule_OutputOp : Schedule_Op<"output"> {
  let summary = "Declares output number `index` of the model";
  let arguments = (ins I64Attr:$index, StrAttr:$name, TypeAttr:$type);
  let assemblyFormat = "$index $name `:` $type attr-dict";
}

def Schedule_StateOp : Schedule_Op<"state"> {
  let summary = "A tensor that goes around: an output of one call is an input of the next";
  let description = [{
    `in_place`: both are one buffer, which holds up to its capacity along `axis`.
  }];
  let arguments = (ins I64Attr:$index, StrAttr:$name, I64Attr:$input, I64Attr:$output,
                       I64Attr:$axis, UnitAttr:$in_place);
  let assemblyFormat = [{
    $index $name `input` $input `output` $output `axis` $axis (`in_place` $in_place^)? attr-dict
  }];
}

def Schedule_BufferOp : Schedule_Op<"buffer"> {
  let summary = "A buffer and its place";
  let description = [{
    `index` is the number of the input, output, state or slot. Transients of one slot share memory:
    their lifetimes do not overlap. `size` is in bytes. A constant names its parameter (or holds its
    bytes, where it is small), and the layout in which it is packed; of a mixed-precision weight the
    type stands in place of the element type.
  }];
  let arguments = (ins Schedule_BufferKind:$kind, I64Attr:$index, StrAttr:$size, TypeAttr:$element,
                       OptionalAttr<FlatSymbolRefAttr>:$param, OptionalAttr<ElementsAttr>:$value,
                       OptionalAttr<AnyAttr>:$layout);
  let results = (outs Schedule_BufferType:$result);
  let assemblyFormat = [{
    $kind $index `size` $size `of` $element (`param` $param^)? (`value` $value^)?
    (`layout` $layout^)? attr-dict
  }];
  let hasVerifier = 1;
}

def Schedule_LaunchOp : Schedule_Op<"launch", [
    AttrSizedOperandSegments, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Runs a kernel on buffers";
  let description = [{
    A launch sees what all launches before it have written. `capacity_of` is the state whose capacity
    the kernel gets as `%capacity`.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, StrArrayAttr:$nodes, StrArrayAttr:$node_ops,
                       Variadic<Schedule_BufferType>:$reads, Variadic<Schedule_BufferType>:$writes,
                       OptionalAttr<I64Attr>:$capacity_of);
  let assemblyFormat = [{
    $kernel `reads` `(` $reads `)` `writes` `(` $writes `)` `nodes` $nodes `ops` $node_ops
    (`capacity_of` $capacity_of^)? attr-dict
  }];
}

def Schedule_CopyOp : Schedule_Op<"copy"> {
  let summary = "Copies bytes from one buffer to another";
  let arguments = (ins Schedule_BufferType:$source, Schedule_BufferType:$target, StrAttr:$size);
  let assemblyFormat = "$source `to` $target `size` $size attr-dict";
  let hasVerifier = 1;
}

def Schedule_ReadOp : Schedule_Op<"read"> {
  let summary = "Names `count` integer elements of a buffer, `%name[i]`, from here on";
  let arguments = (ins Schedule_BufferType:$source, StrAttr:$name, I64Attr:$count);
  let assemblyFormat = "$source `as` $name `count` $count attr-dict";
}

def Schedule_RequireOp : Schedule_Op<"require"> {
  let summary = "A condition on symbolic values; the call fails with the message if it is not met";
  let arguments = (ins StrAttr:$lhs, StrAttr:$rhs, StrAttr:$message, UnitAttr:$at_most);
  let assemblyFormat = "$lhs `,` $rhs `,` $message (`at_most` $at_most^)? attr-dict";
  let hasVerifier = 1;
}

def Schedule_IfOp : Schedule_Op<"if", [NoTerminator]> {
  let summary = "One of two lists of commands, by a symbolic condition";
  let arguments = (ins StrAttr:$condition);
  let regions = (region AnyRegion:$then_body, AnyRegion:$else_body);
  let assemblyFormat = "$condition $then_body `else` $else_body attr-dict";
  let hasVerifier = 1;
}

#endif // TACQ_DIALECT_SCHEDULE_OPS_TD
