#!/usr/bin/env bash
# dist.sh PYTHON - source distribution and, from it, a wheel, into dist/; then the wheel alone in a new environment: its
# metadata, what it installs, and a nested run. What is uncommitted is not in it.
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
cd "$work" # not the sources: the package that was installed
"$work/user/bin/python" -X dev -W error - <<'P'
import asyncio, importlib.resources as resources, sys
import aionest

aionest.apply()


async def inner(x):
    await asyncio.sleep(0)
    return x


async def main():
    return asyncio.run(inner(40)) + aionest.await_(inner(2))


assert asyncio.run(main()) == 42
files = resources.files("aionest")
assert all((files / name).is_file() for name in ("py.typed", "_core.pyi", "mcp/loader.py", "app/main.py", "cli/root.py"))
extra = {"anyio", "mcp", "pydantic", "streamlit", "typer", "rich"} & set(sys.modules)
assert not extra, extra
print("wheel:", aionest.__version__, "works on", sys.version.split()[0])
P
