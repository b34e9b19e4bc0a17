#!/bin/sh
# get-servers.sh FOLDER PYTHON: the MCP reference servers, as the tests want them: npm's under FOLDER/node_modules, Python's under
# FOLDER/py. Without npm nothing is made and the exit status is 3.
set -eu
command -v npm >/dev/null || { echo "NOT RUN: tests with the reference servers: npm is not there (apt-get install npm)"; exit 3; }
mkdir -p "$1"
cd "$1"
scope=@modelcontextprotocol
npm install --no-audit --no-fund --silent --prefix . $scope/server-everything $scope/server-filesystem $scope/server-memory \
  $scope/server-sequential-thinking
[ -x py/bin/python ] || "$2" -m venv py
py/bin/python -m pip install -q --disable-pip-version-check "mcp<2" mcp-server-git mcp-server-fetch mcp-server-time uv
# what uvx would fetch when it first starts the server
UV_CACHE_DIR=$PWD/uv-cache py/bin/uvx --python py/bin/python mcp-server-time --help >/dev/null && touch uv-cache/.ready ||
  echo "NOT RUN: the test of uvx: it cannot fetch its package"
touch .ready
