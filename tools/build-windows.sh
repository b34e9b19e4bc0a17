#!/usr/bin/env bash
# build-windows.sh VERSION DEST - compile the C module by mingw-w64, warnings as errors, and put the package into the Python that
# tools/get-windows.sh made under DEST/VERSION.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1 dest=$2
py=$dest/$version/py site=$dest/$version/py/Lib/site-packages objects=$dest/$version/objects
flags=(-std=c11 -O2 -fno-strict-aliasing -DNDEBUG -Werror -Wall -Wextra -Wconversion -Wvla -Wno-unused-parameter
  -Wno-missing-field-initializers -Wno-cast-function-type -I"$py/include" -isystem "$site/greenlet")
mapfile -t sources < <(tools/core-sources.sh)
rm -rf "$objects" "$site/aionest" "$site"/aionest-*.dist-info; mkdir -p "$objects"
for source in "${sources[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
  x86_64-w64-mingw32-gcc "${flags[@]}" -c "$source" -o "$objects/$(basename "$source" .c).o" &
done
while [ -n "$(jobs -p)" ]; do wait -n; done
cp -r src/aionest src/_aionest_script.py "$site/"
find "$site/aionest" -name __pycache__ -prune -exec rm -r {} +
x86_64-w64-mingw32-gcc -shared -static-libgcc -o "$site/aionest/_core.cp${version/./}-win_amd64.pyd" "$objects"/*.o \
  "$py/libs/python${version/./}.lib"
mkdir "$site/aionest-0.dist-info"
printf 'Metadata-Version: 2.1\nName: aionest\nVersion: %s\n' "$(sed -n "s/^  version: '\(.*\)',$/\1/p" meson.build)" >"$site/aionest-0.dist-info/METADATA"
echo "aionest for Windows, Python $version: compiled without a warning"
