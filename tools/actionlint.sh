#!/usr/bin/env bash
# actionlint.sh - check .github/workflows by actionlint: the one on PATH, else it is made by go, whose module it is. Where neither
# can be had it says so, and that is no failure: the workflows are run where there is.
set -eu
cd "$(dirname "$0")/.."
version=v1.7.12 bin=build/actionlint
actionlint=$(command -v actionlint || echo $bin/actionlint)
if [ ! -x "$actionlint" ]; then
  command -v go >/dev/null || { echo "NOT RUN: actionlint, which needs go to be made"; exit 0; }
  mkdir -p $bin
  GOBIN=$PWD/$bin go install "github.com/rhysd/actionlint/cmd/actionlint@$version" >$bin/log 2>&1 ||
    { echo "NOT RUN: actionlint could not be made: $(tail -n 1 $bin/log)"; exit 0; }
fi
"$actionlint"
