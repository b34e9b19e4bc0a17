#!/usr/bin/env bash
# msvc.sh PYTHON OUT - what MSVC in C11 mode would refuse in the C module, found by clang for x86_64-pc-windows-msvc (PyPI's ziglang):
# the branches of compat.h that MSVC takes, no construct of GNU's, no directive within a macro's arguments. Nothing is linked.
# PYTHON is an installation of CPython for Windows with greenlet (tools/get-windows.sh). The C library's headers are mingw's, since
# Microsoft's are not to be had from a registry: they, and CPython's, are read before the sources, as GNU C.
set -eu
cd "$(dirname "$0")/.."
py=$1 out=$2
tools/zig.sh
lib=$(build/zig/bin/python -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).parent / "lib")')
mkdir -p "$out"
{
  printf '#define __GNUC__ 12\n#define __GNUC_MINOR__ 0\n'
  printf '#define _PID_T_ /* pyconfig.h has its own pid_t */\n'
  printf '#include <%s>\n' Python.h structmember.h pythread.h greenlet.h errno.h math.h stddef.h stdint.h stdio.h stdlib.h string.h
  printf '#undef __GNUC__\n#undef __clang__\n'
  printf '#define __INTRIN_H /* what is used of it follows */\n'
  printf 'long %s(long volatile *, long);\n' _InterlockedExchangeAdd _InterlockedOr _InterlockedExchange
  printf 'void *_AddressOfReturnAddress(void);\n'
  printf '#undef Py_ARRAY_LENGTH\n#define Py_ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))\n'
  printf '#pragma GCC poison __attribute__ __typeof__ typeof __extension__ _Thread_local _Atomic __asm__ __int128\n'
  printf '#pragma GCC poison %s\n' __builtin_{expect,unreachable,trap,clz,ctz,popcount,types_compatible_p,choose_expr,add_overflow}
} >"$out/headers.h"
# -pedantic-errors would also refuse functions in void pointers, which is how PyType_Slot is filled
errors=(gnu pointer-arith zero-length-array c23-extensions c2y-extensions embedded-directive vla empty-translation-unit
  language-extension-token implicit-function-declaration int-conversion incompatible-pointer-types unknown-pragmas)
flags=(--target=x86_64-pc-windows-msvc -std=c11 -fsyntax-only -D__STDC_NO_ATOMICS__=1 -Wall -Wextra -Werror -Wno-unused-parameter
  -Wno-missing-field-initializers -Wno-cast-function-type -Wno-unused-function "${errors[@]/#/-Werror=}"
  -nostdinc -isystem "$py/include" -isystem "$py/Lib/site-packages/greenlet" -isystem "$lib/include"
  -isystem "$lib/libc/include/any-windows-any" -include "$out/headers.h")
mapfile -t sources < <(tools/core-sources.sh)
rc=0
for source in "${sources[@]}"; do
  tools/zig.sh clang "${flags[@]}" "$source" || rc=1
done
[ $rc = 0 ] && echo "MSVC: ${#sources[@]} files, none has what MSVC would refuse"
exit $rc
