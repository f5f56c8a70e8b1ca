#!/usr/bin/env bash
# Installs what TACQ's build and tests need on Debian 12: packages (as root or with sudo) and a
# Python environment in build/venv. Does nothing, quickly, when all of it is there.
# Usage: tools/setup/install.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(
  # LLVM and MLIR 19.1, the compiler and the linker that the build uses
  libmlir-19-dev mlir-19-tools llvm-19-dev llvm-19-tools llvm-19
  clang-19 clang-format-19 clang-tidy-19 libclang-19-dev lld-19
  cmake ninja-build ccache git
  # ONNX files, module files, .npz
  libprotobuf-dev protobuf-compiler libonnx-dev
  libflatbuffers-dev flatbuffers-compiler libxxhash-dev libzip-dev zlib1g-dev
  # dense algebra of calibration and quantization
  libopenblas-dev liblapacke-dev
  # Vulkan: headers for the driver; a software device, a validator and layers for its tests
  libvulkan-dev mesa-vulkan-drivers spirv-tools vulkan-validationlayers
  # tools and tests
  libclang-rt-19-dev libcli11-dev nlohmann-json3-dev libgtest-dev libgmock-dev
  python3 python3-venv xz-utils chromium-headless-shell
  # the runtime for AArch64, and what runs it here
  crossbuild-essential-arm64 qemu-user
)
missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "Installing ${missing[*]}" >&2
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "error: ${#missing[@]} packages are missing and there is no sudo; run this as root" >&2
      exit 1
    fi
    sudo=(sudo)
  fi
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends "${missing[@]}" >&2
fi

# Debian's own Python first: another python3 on PATH may lack the venv module.
python=
for candidate in /usr/bin/python3 python3; do
  if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
    2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "error: no Python 3.11 or newer with the modules venv and ensurepip was found" >&2
  exit 1
fi
stamp=build/venv/.requirements
if ! cmp -s test/requirements.txt "$stamp" || ! build/venv/bin/python -c '' 2>/dev/null; then
  echo "Creating the Python environment build/venv" >&2
  mkdir -p build
  "$python" -m venv --clear build/venv
  build/venv/bin/python -m pip install --quiet --disable-pip-version-check \
    -r test/requirements.txt >&2
  cp test/requirements.txt "$stamp"
fi
