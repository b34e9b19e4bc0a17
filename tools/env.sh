#!/usr/bin/env bash
# env.sh PYTHON ENVIRONMENT - make a virtual environment, anew, for tools/install.sh.
set -eu
cd "$(dirname "$0")/.."
python=$1 folder=$2
tools/check-build.sh "$python"
mkdir -p build
( # several may be made at once
  flock 9
  command -v uv >/dev/null || [ -x build/uv/bin/uv ] || {
    "$python" -m venv build/uv && build/uv/bin/python -m pip install -q --disable-pip-version-check uv ||
      echo "uv cannot be had: pip takes its place" >&2
  }
) 9>build/.lock
rm -rf "$folder"
exec "$python" -m venv --without-pip "$folder"
