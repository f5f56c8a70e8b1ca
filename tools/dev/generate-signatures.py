#!/usr/bin/env python3
"""Writes passes/lib/Inference/Signatures.inc, the operators' signatures, from the schemas of the
Python package onnx. --check only compares.

A line is {name, since, inputs, variables, outputs, attributes}:
inputs      a word for each input: its type variable or literal mask, "?" behind it for an optional
            one, "*" behind the last for any number of the same type, "~" for any number of any type
variables   NAME=MASK: bit n of the hexadecimal mask stands for ONNX's element type n
outputs     the largest number of outputs, -1 for any number
attributes  NAME:KIND (f, i, s, F, I, S for floats, integers and strings, t for what is none of
            them), "!" behind it for one that must be given
"""
import argparse
import pathlib
import re
import sys

import onnx
from onnx import defs

TARGET = pathlib.Path(__file__).resolve().parents[2] / "passes/lib/Inference/Signatures.inc"
# The last element type that the compiler has: BFLOAT16.
LAST_TYPE = 16
NUMBERS = {name.lower(): number for name, number in onnx.TensorProto.DataType.items()}
KINDS = {"FLOAT": "f", "INT": "i", "STRING": "s", "FLOATS": "F", "INTS": "I", "STRINGS": "S"}


def mask_of(types):
    mask = 0
    for text in types:
        inner = re.fullmatch(r"(?:optional\()?tensor\((\w+)\)\)?", text)
        if inner and NUMBERS[inner[1]] <= LAST_TYPE:
            mask |= 1 << NUMBERS[inner[1]]
    return mask


def row(schema):
    option = defs.OpSchema.FormalParameterOption
    masks = {c.type_param_str: mask_of(c.allowed_type_strs) for c in schema.type_constraints}
    inputs = []
    for parameter in schema.inputs:
        word = parameter.type_str
        if word not in masks:
            word = f"{mask_of([word]):x}"
        if parameter.option == option.Optional:
            word += "?"
        elif parameter.option == option.Variadic:
            word += "*" if parameter.is_homogeneous else "~"
            # At least so many must be given.
            inputs += [word[:-1]] * (schema.min_input - len(inputs))
        inputs.append(word)
    used = {re.sub(r"[?*~]$", "", word) for word in inputs}
    variables = [f"{name}={mask:x}" for name, mask in masks.items() if name in used]
    outputs = -1 if any(o.option == option.Variadic for o in schema.outputs) else len(schema.outputs)
    attributes = [f"{a.name}:{KINDS.get(a.type.name, 't')}{'!' if a.required else ''}"
                  for a in sorted(schema.attributes.values(), key=lambda a: a.name)]
    return " ".join(inputs), " ".join(variables), outputs, " ".join(attributes)


def text():
    schemas = [s for s in defs.get_all_schemas_with_history() if s.domain == "" and not s.deprecated]
    rows = []
    for schema in sorted(schemas, key=lambda s: (s.name, s.since_version)):
        fields = (schema.name, *row(schema))
        # Most versions only add types that the compiler has not.
        if not rows or rows[-1][1] != fields:
            rows.append((schema.since_version, fields))
    rows = [f'{{"{name}", {since}, "{inputs}", "{variables}", {outputs}, "{attributes}"}},'
            for since, (name, inputs, variables, outputs, attributes) in rows]
    return "// Written by tools/dev/generate-signatures.py, which says what the fields mean.\n" + \
        "\n".join(rows) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the file is another")
    args = parser.parse_args()
    new = text()
    if args.check:
        if TARGET.read_text() != new:
            sys.exit(f"{TARGET} is not what the schemas of onnx {onnx.__version__} give")
    else:
        TARGET.write_text(new)


if __name__ == "__main__":
    main()
