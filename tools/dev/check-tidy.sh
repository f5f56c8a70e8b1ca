#!/usr/bin/env bash
# Runs clang-tidy over the project's sources, by the compile commands of a configured and built
# folder (with its precompiled headers, and a plugin that keeps the checks out of headers of others:
# a second a file instead of ten). A file that was found clean is not
# looked at again until it, any header of the project or the configuration changes.
# Usage: tools/dev/check-tidy.sh [--build FOLDER] [--jobs N] [FILE...]
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "$( [ -x build/venv/bin/python ] && echo build/venv/bin/python || echo /usr/bin/python3)" \
  tools/dev/check-tidy.py "$@"
