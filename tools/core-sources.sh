#!/usr/bin/env bash
# core-sources.sh - the sources of the C module, one a line: those that src/core/meson.build lists.
set -eu
cd "$(dirname "$0")/.."
sed -n "/core_sources = files(/,/)/s/^ *'\(.*\.c\)',$/src\/core\/\1/p" src/core/meson.build
