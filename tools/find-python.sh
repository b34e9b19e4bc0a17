#!/usr/bin/env bash
# find-python.sh X.Y - print the path of a CPython X.Y: from pyenv if it has one, else from PATH. Exit 1: none.
set -u
want=$1
root=${PYENV_ROOT:-$(command -v pyenv >/dev/null && pyenv root || echo "$HOME/.pyenv")}
for candidate in $(ls -d "$root/versions/$want".* 2>/dev/null | sort -rV); do
  [ -x "$candidate/bin/python" ] && { echo "$candidate/bin/python"; exit 0; }
done
found=$(command -v "python$want") && "$found" -c '' 2>/dev/null && { echo "$found"; exit 0; }
exit 1
