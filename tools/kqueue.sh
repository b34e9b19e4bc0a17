#!/usr/bin/env bash
# kqueue.sh ENVIRONMENT BUILD - on Linux, an environment whose asyncio runs on kqueue, and this project's wheel with its C path for
# that: over tests/kqueue/shim, which has the calls of macOS and the BSDs on top of epoll. (Debian has no libkqueue any more.)
set -eu
cd "$(dirname "$0")/.."
environment=$PWD/$1 build=$2
mkdir -p "$environment/lib"
cc -std=c11 -O2 -g -fPIC -shared -Wall -Wextra -Werror -Itests/kqueue/shim tests/kqueue/shim/kqueue.c -o "$environment/lib/libkqueue.so" -pthread
packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp tests/kqueue/shim/kqueue_shim.py "$packages"
echo 'import kqueue_shim; kqueue_shim.install()' >"$packages/000-kqueue.pth" # .pth files are read in the order of their names
export CFLAGS="-I$PWD/tests/kqueue/shim" LDFLAGS="-L$environment/lib -Wl,-rpath,$environment/lib"
tools/wheel.sh "$1" "$build" "$1/wheel" -Dgeneric=true -Dkqueue=enabled -Dbuildtype=release -Dstrict=true
