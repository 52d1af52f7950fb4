#!/bin/sh
# Make sure that PYTHON (the argument) is 3.11 or newer and can make virtual environments; apt only where root and needed.
set -eu
python=$1

if ! command -v "$python" >/dev/null 2>&1 || ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
    else
        echo "kartotek needs $python with its venv module: sudo apt install python3 python3-venv" >&2
        exit 1
    fi
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "kartotek needs Python 3.11 or newer; $python is $("$python" --version). Name another: make PYTHON=python3.12" >&2
    exit 1
}
