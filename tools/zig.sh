#!/usr/bin/env bash
# zig.sh [cc|clang ARGUMENT...] - the C compilers of PyPI's ziglang, which is put into build/zig first if it is not there.
# Its cache is there, too. Several may ask for it at once; it works in the folder in which it was called.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ -e "$root/build/zig/.ready" ] || (
  cd "$root"
  mkdir -p build
  exec 8>build/.zig-lock
  flock 8
  [ -e build/zig/.ready ] && exit
  tools/env.sh "${PYTHON:-python3}" build/zig
  tools/install.sh build/zig ziglang
  touch build/zig/.ready
)
[ $# = 0 ] && exit
export ZIG_LOCAL_CACHE_DIR=$root/build/zig/cache ZIG_GLOBAL_CACHE_DIR=$root/build/zig/cache
exec "$root/build/zig/bin/python" -m ziglang "$@"
