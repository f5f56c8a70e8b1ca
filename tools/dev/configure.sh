#!/usr/bin/env bash
# Configures a build folder the way the project is developed: clang, lld, ccache, Ninja, no debug
# info. Usage: tools/dev/configure.sh [BUILD_FOLDER] [cmake arguments]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build}
shift || true
exec cmake -G Ninja -S . -B "$build" \
  -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 \
  -DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld -DCMAKE_SHARED_LINKER_FLAGS=-fuse-ld=lld \
  -DCMAKE_MODULE_LINKER_FLAGS=-fuse-ld=lld "$@"
