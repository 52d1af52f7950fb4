#!/bin/sh
# Chromium and its driver for the tests of the map page; apt only where root and needed. Without them those tests skip.
set -eu
if command -v chromium >/dev/null 2>&1 && command -v chromedriver >/dev/null 2>&1; then
    exit 0
fi
# On Ubuntu the package is a stub for a snap, which does not run everywhere.
if [ "$(id -u)" = 0 ] && grep -qs '^ID=debian' /etc/os-release; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null
else
    echo "no chromium and chromedriver here: the tests of the map page will be skipped" >&2
fi
