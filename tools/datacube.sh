#!/bin/sh
# The Open Data Cube in an environment of its own (the second argument), for the tests of big clients; installed by the
# uv of the tests' environment (the first). Without it those tests skip.
set -eu
venv=$1 cube=$2

# Whoever has told pip of another index means all of Python.
index=${PIP_INDEX_URL:-$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
if [ ! "$cube/.installed" -nt requirements-datacube.txt ]; then
    "$venv/bin/uv" venv -q --clear --python "$venv/bin/python" "$cube"
    "$venv/bin/uv" pip install -q --require-hashes --python "$cube/bin/python" -r requirements-datacube.txt
    touch "$cube/.installed"
fi
