#!/usr/bin/env bash
# check-editable.sh PYTHON - pip install -e . and uv sync, each on a copy of the sources and in a fresh environment: the package
# imports after the build's own environment is gone, nested runs work, an edit of a .py takes effect without a rebuild. What is
# uncommitted is in it, what git ignores is not.
set -eu
python=$(command -v "$1")
cd "$(dirname "$0")/.."
tools/env.sh "$python" build/uv-check && rm -rf build/uv-check # uv, where it can be had
uv=$(command -v uv || echo "$PWD/build/uv/bin/uv")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/pip"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$work/pip" 2>/dev/null || true # less what was deleted
cp -r "$work/pip" "$work/uv"

check() { # check SOURCES PYTHON
  (
    cd / # not the sources: what is installed
    "$2" -X dev -W error - "$1" <<'P'
import asyncio, pathlib, sys
import aionest, aionest._core
from importlib.metadata import version

sources = pathlib.Path(sys.argv[1], "src").resolve()
assert pathlib.Path(aionest.__file__).is_relative_to(sources), aionest.__file__
assert not pathlib.Path(aionest._core.__file__).is_relative_to(sources), aionest._core.__file__
assert aionest.__version__ == version("aionest")
aionest.apply()


async def inner(x):
    await asyncio.sleep(0)
    return x


async def main():
    return asyncio.run(inner(42))


assert asyncio.run(main()) == 42
P
    echo 'edited = True' >>"$1/src/aionest/_errors.py"
    "$2" -c 'from aionest import _errors; assert _errors.edited'
    # a child that is started without the environment's variables finds it too
    env -i "$2" -c 'import aionest._core'
  )
}

"$python" -m venv "$work/env"
"$work/env/bin/python" -m pip install -q --disable-pip-version-check --upgrade "pip>=25.1"
(cd "$work/pip" && "$work/env/bin/python" -m pip install -q --disable-pip-version-check -e . --group pytest)
check "$work/pip" "$work/env/bin/python"
(cd "$work/pip" && PYTHONDONTWRITEBYTECODE= "$work/env/bin/python" -m pytest -q -p no:cacheprovider tests/apply -n 2 -m "not long" >"$work/log" 2>&1) ||
  { cat "$work/log"; exit 1; }
echo "pip install -e .: works; $(tail -n 1 "$work/log")"
# a wheel of the same tree has no byte code in it
(cd "$work/pip" && "$work/env/bin/python" -m pip wheel -q --disable-pip-version-check --no-deps -w "$work/wheel" .)
! "$python" -m zipfile -l "$work"/wheel/*.whl | grep -E 'pycache|\.pyc'
[ -x "$uv" ] || { echo "NOT RUN: uv sync: uv cannot be had" >&2; exit 1; }
(cd "$work/uv" && UV_HTTP_TIMEOUT=180 "$uv" sync -q --python "$python" --group test --no-group lint)
check "$work/uv" "$work/uv/.venv/bin/python"
echo "uv sync: works"
