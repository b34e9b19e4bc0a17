#!/usr/bin/env bash
# asan.sh COMMAND... - run a command with the sanitizers' run-time libraries in place. Leaks are counted by tests of their own.
set -u
here=$(cd "$(dirname "$0")" && pwd)
lib() { cc -print-file-name="$1"; }
export LD_PRELOAD="$(lib libasan.so) $(lib libubsan.so) $(lib libstdc++.so.6)"
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:abort_on_error=1:handle_segv=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export PYTHONMALLOC=malloc AIONEST_SANITIZED=1
exec "$@"
