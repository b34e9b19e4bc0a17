#!/usr/bin/env bash
# check-build.sh PYTHON - say in plain words what is missing to build the extension. Exit 1 if something is.
set -u
python=$1
fail() { echo "aionest: $*" >&2; exit 1; }
command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null ||
  fail "no C compiler: install one (Debian: apt-get install build-essential)"
"$python" - <<'P' || fail "$python cannot be used: CPython 3.10 to 3.15 is needed"
import sys
sys.exit(not (sys.implementation.name == "cpython" and (3, 10) <= sys.version_info < (3, 16)))
P
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
[ -e "$header" ] || fail "the headers of $python are missing ($header): install them (Debian: apt-get install python3-dev)"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  fail "$python has no venv module: install it (Debian: apt-get install python3-venv)"
