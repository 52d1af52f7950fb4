#!/bin/sh
# PostgreSQL with PostGIS for the tests of the catalog; apt only where root and needed. Without it those tests skip.
set -eu
if ls /usr/lib/postgresql/*/bin/initdb /usr/share/postgresql/*/extension/postgis.control >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    # The package would start a server of its own; the tests start theirs.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql postgresql-postgis >/dev/null
else
    echo "no PostgreSQL with PostGIS here (Debian: apt install postgresql-postgis): the tests on it will be skipped" >&2
fi
