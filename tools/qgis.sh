#!/bin/sh
# QGIS, headless, for the tests of big clients; apt only where root and needed. Without it those tests skip.
set -eu
if /usr/bin/python3 -c 'import qgis.core' >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-qgis >/dev/null
else
    echo "no QGIS here (Debian: apt install python3-qgis): its tests will be skipped" >&2
fi
