#!/usr/bin/env bash
# install.sh ENVIRONMENT ARGUMENTS... - pip install, into an environment that tools/env.sh made: by uv, which takes seconds, or,
# where uv cannot be had or is refused, by pip.
set -u
cd "$(dirname "$0")/.."
python=$1/bin/python; shift
uv=$(command -v uv || echo build/uv/bin/uv)
export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-180} UV_NO_PROGRESS=1
if [ -x "$uv" ]; then
  "$uv" pip install -q --python "$python" "$@" && exit
  echo "uv could not; now pip:" >&2
fi
"$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >/dev/null
"$python" -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1" &&
  "$python" -m pip install -q --disable-pip-version-check "$@"
