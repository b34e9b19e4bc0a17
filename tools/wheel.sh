#!/usr/bin/env bash
# wheel.sh ENVIRONMENT BUILD DEST OPTIONS... - a wheel, by the build group's packages in ENVIRONMENT, into DEST. The C module is
# compiled in BUILD, what has changed only; OPTIONS are meson's.
set -eu
cd "$(dirname "$0")/.."
environment=$PWD/$1 build=$2 dest=$3; shift 3
mkdir -p "$dest"; rm -f "$dest"/*.whl
log=$dest/log
PATH=$environment/bin:$PATH "$environment/bin/python" - "$build" "$dest" "$@" >"$log" 2>&1 <<'P' || { tail -n 60 "$log" >&2; exit 1; }
import sys

import mesonpy

build, dest, *options = sys.argv[1:]
print(mesonpy.build_wheel(dest, {"build-dir": build, "setup-args": options}))
P
