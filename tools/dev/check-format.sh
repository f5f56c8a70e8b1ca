#!/usr/bin/env bash
# Checks that all C and C++ sources are formatted by clang-format 19; --fix formats them.
set -euo pipefail
cd "$(dirname "$0")/../.."
mode=(--dry-run -Werror)
[ "${1:-}" != --fix ] || mode=(-i)
git ls-files -co --exclude-standard -z '*.c' '*.cpp' '*.h' ':!*third_party*' |
  xargs -0 -n 32 -P 2 clang-format-19 "${mode[@]}"
