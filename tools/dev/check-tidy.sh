#!/usr/bin/env bash
# Runs clang-tidy over the project's sources, by the compile commands of a configured and built
# folder. A file whose preprocessed text and configuration did not change since it was last found
# clean is not looked at again.
# Usage: tools/dev/check-tidy.sh [--build FOLDER] [--jobs N] [FILE...]
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "$( [ -x build/venv/bin/python ] && echo build/venv/bin/python || echo /usr/bin/python3)" \
  tools/dev/check-tidy.py "$@"
