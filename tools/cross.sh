#!/usr/bin/env bash
# cross.sh ENVIRONMENT OUT TARGET... - compile and link the C module for systems that cannot be run here, warnings as errors, with the
# compiler of PyPI's ziglang. TARGET is zig's: aarch64-macos, x86_64-linux-musl. The headers of CPython and greenlet are those
# of ENVIRONMENT, which has the build group's packages; CPython's say little about the system, and all of these are LP64.
set -eu
cd "$(dirname "$0")/.."
environment=$1 out=$2; shift 2
flags=(-std=c11 -O2 -fPIC -fvisibility=hidden -fno-strict-aliasing -DNDEBUG -Werror -Wall -Wextra -Wconversion -Wvla
  -Wno-unused-parameter -Wno-missing-field-initializers -Wno-cast-function-type)
PYTHON=$environment/bin/python tools/zig.sh
python=$environment/bin/python
include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
greenlet=$("$python" -c 'import greenlet, pathlib; print(pathlib.Path(greenlet.__file__).parent)')
mapfile -t sources < <(tools/core-sources.sh)
for target; do
  rm -rf "${out:?}/$target"; mkdir -p "$out/$target"
  link=(-shared)
  case $target in *macos) link+=(-Wl,-undefined,dynamic_lookup) ;; esac
  tools/zig.sh cc -target "$target" "${flags[@]}" -I"$include" -isystem "$greenlet" "${sources[@]}" "${link[@]}" \
    -o "$out/$target/_core.so"
  echo "$target: compiled without a warning, $(wc -c <"$out/$target/_core.so") bytes"
done
