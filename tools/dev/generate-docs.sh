#!/usr/bin/env bash
# Writes the reference of dialects and passes, docs/generated/*.md, from their TableGen files;
# --check only compares and fails when a page is out of date.
set -euo pipefail
cd "$(dirname "$0")/../.."
tblgen=${MLIR_TBLGEN:-/usr/lib/llvm-19/bin/mlir-tblgen}
includes=(-I dialects/include -I passes/include -I /usr/lib/llvm-19/include)
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT

for name in tacq:TACQ/TACQOps.td tacq_rt:Schedule/ScheduleOps.td; do
  "$tblgen" -gen-dialect-doc -dialect="${name%%:*}" "${includes[@]}" \
    "dialects/include/tacq/Dialect/${name#*:}" >"$pages/dialect-${name%%:*}.md"
done
for file in passes/include/tacq/*/Passes.td; do
  folder=$(basename "$(dirname "$file")")
  {
    echo "<!-- Generated from $file by tools/dev/generate-docs.sh -->"
    echo "# Passes: $folder"
    echo
    "$tblgen" -gen-pass-doc "${includes[@]}" "$file"
  } >"$pages/passes-${folder,,}.md"
done

if [ "${1:-}" = --check ]; then
  if ! diff -r -q "$pages" docs/generated >&2; then
    echo "error: docs/generated is out of date; run tools/dev/generate-docs.sh" >&2
    exit 1
  fi
  exit 0
fi
rm -rf docs/generated
mkdir -p docs/generated
cp "$pages"/*.md docs/generated/
