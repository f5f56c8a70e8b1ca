#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests. The last line of the output is
# "N passed, M failed"; the exit status is 0 only when nothing failed.
# Usage: tools/setup/test.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
tools/setup/install.sh
jobs=${JOBS:-$(nproc)}
tools/dev/configure.sh build -DTACQ_BUILD_FUZZERS=ON
cmake --build build -j "$jobs"
exec build/venv/bin/python tools/dev/run-tests.py --build build --jobs "$jobs"
