#!/usr/bin/env bash
# Installs what is missing, builds TACQ and runs its main job on the model in models/tiny: compile,
# generate answers to arithmetic problems, score them, measure sizes and speed.
# Usage: tools/setup/quickstart.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
tools/setup/install.sh
jobs=${JOBS:-$(nproc)}
[ -f build/CMakeCache.txt ] || tools/dev/configure.sh build
cmake --build build -j "$jobs" --target tacq-compile tacq-run tacq-eval tacq-bench tacq-dump

bin=build/bin
model=models/tiny
out=build/quickstart
mkdir -p "$out"
echo "== compile"
"$bin/tacq-compile" "$model/dynamo_past_opset18.onnx" --target cpu=host -o "$out/tiny.tacq"
ls -l "$model/dynamo.onnx.data" "$out/tiny.tacq" | awk '{print $5, "bytes", $NF}'
"$bin/tacq-dump" "$out/tiny.tacq" | grep -E '^ *total|^schedule'
echo "== generate and score"
"$bin/tacq-run" "$out/tiny.tacq" --generate --prompts "$model/math_prompts.jsonl" --max-new 100 \
  --stop 10 --output "$out/generated.jsonl"
build/venv/bin/python tools/dev/score.py "$out/generated.jsonl" "$model/math_answers.jsonl"
echo "== loss on the answers"
"$bin/tacq-eval" "$out/tiny.tacq" --data "$model/math_dev.jsonl"
echo "== speed"
"$bin/tacq-bench" "$out/tiny.tacq" --prompt 256 --decode 64
