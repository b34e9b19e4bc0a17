#!/usr/bin/env bash
# zig.sh - the C compiler of PyPI's ziglang, in build/zig: build/zig/bin/python -m ziglang cc. Several may ask for it at once.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build
exec 8>build/.zig-lock
flock 8
build/zig/bin/python -c 'import ziglang' 2>/dev/null && exit
tools/env.sh "${PYTHON:-python3}" build/zig
tools/install.sh build/zig ziglang
