#!/bin/sh
# libfaketime for the tests of clocks that are ahead; apt only where root and needed. Without it those tests skip.
set -eu
if ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libfaketime >/dev/null
else
    echo "no libfaketime here (Debian: apt install libfaketime): the tests of clocks will be skipped" >&2
fi
