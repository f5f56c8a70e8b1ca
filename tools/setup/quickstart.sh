#!/usr/bin/env bash
# Installs what is missing, builds TACQ and runs its main job on the model in models/tiny: finds the
# weights that carry the task by a sample of it, plans what each weight becomes within 2.25 bits,
# compiles the model to that, answers arithmetic problems, and prints score, size and speed beside those
# of fp16 and of plain GPTQ.
# Usage: tools/setup/quickstart.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
tools/setup/install.sh
jobs=${JOBS:-$(nproc)}
[ -f build/CMakeCache.txt ] || tools/dev/configure.sh build
cmake --build build -j "$jobs" --target tacq-calibrate tacq-plan tacq-compile tacq-run tacq-eval \
  tacq-bench tacq-dump

bin=build/bin
model=models/tiny
onnx=$model/dynamo_past_opset18.onnx
sample=$model/math_calib.jsonl
out=build/quickstart
mkdir -p "$out"

echo "== calibrate: gradients and Hessians of the task"
"$bin/tacq-calibrate" "$onnx" --data "$sample" -o "$out/math.stats"
echo "== plan: what each weight becomes within 2.25 bits, measured on the sample"
"$bin/tacq-plan" "$onnx" --stats "$out/math.stats" --data "$sample" --budget 2.25bpw \
  -o "$out/plan.json"
echo "== compile: fp16, GPTQ at 2 bits, TaCQ as planned"
"$bin/tacq-compile" "$onnx" --dense f16 -o "$out/fp16.tacq"
"$bin/tacq-compile" "$onnx" --stats "$out/math.stats" --data "$sample" --bits 2 --circuit 0 \
  -o "$out/gptq.tacq"
"$bin/tacq-compile" "$onnx" --stats "$out/math.stats" --data "$sample" --plan "$out/plan.json" \
  -o "$out/tacq.tacq"
for name in fp16 gptq tacq; do
  echo "== $name: generate, evaluate, measure"
  "$bin/tacq-run" "$out/$name.tacq" --generate --prompts "$model/math_prompts.jsonl" --max-new 100 \
    --stop 10 --output "$out/$name.jsonl"
  build/venv/bin/python tools/dev/score.py "$out/$name.jsonl" "$model/math_answers.jsonl" \
    > "$out/$name.score"
  "$bin/tacq-eval" "$out/$name.tacq" --base "$out/fp16.tacq" --data "$model/math_dev.jsonl" --json \
    > "$out/$name.eval.json"
  "$bin/tacq-bench" "$out/$name.tacq" --prompt 256 --decode 64 --json > "$out/$name.bench.json"
  "$bin/tacq-dump" "$out/$name.tacq" --json > "$out/$name.dump.json"
done
build/venv/bin/python tools/dev/compare-modules.py "$out" fp16 gptq tacq
