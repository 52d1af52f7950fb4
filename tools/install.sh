#!/bin/sh
# Install pinned requirements (the second argument) and the package itself into a virtual environment (the first).
# By uv, itself pinned: it fetches side by side, checks every hash, and compiles on all cores.
set -eu
venv=$1 requirements=$2

"$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt
# Whoever has told pip of another index means all of Python.
index=${PIP_INDEX_URL:-$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
export VIRTUAL_ENV="$venv"
"$venv/bin/uv" pip install -q --require-hashes --compile-bytecode -r "$requirements"
# Built with what has just been installed, so that nothing is unpinned.
"$venv/bin/uv" pip install -q --no-deps --no-build-isolation -e .
# Loops over pixels, once for all processes that are going to want them at once.
"$venv/bin/python" -c "
from importlib.util import find_spec
if find_spec('numba'):
    import kartotek.kernels
"
