"""Writes an ONNX model from ONNX's text syntax, so that tests can keep models readable.

Usage: onnx_text.py MODEL.txt MODEL.onnx
"""
import pathlib
import sys

import onnx
import onnx.parser

text = pathlib.Path(sys.argv[1]).read_text()
# lit files carry their RUN and CHECK lines as comments, which ONNX's parser does not know.
text = "\n".join(line for line in text.splitlines() if not line.startswith("//"))
onnx.save(onnx.parser.parse_model(text), sys.argv[2])
