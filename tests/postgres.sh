#!/usr/bin/env bash
# A PostgreSQL server of its own for tests, without a port: on a socket in DIR.
#
#     tests/postgres.sh start DIR [durable]   prints the URL of its database
#     tests/postgres.sh stop DIR [immediate]
#
# It refuses to run as root: then it is user postgres'. Exit code 77: it is not installed.
set -eu
bin=$(printf "%s\n" /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
[ -x "$bin/initdb" ] || exit 77
command=$1 dir=$2 how=${3:-}

as_owner() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && runuser -u postgres -- "$@")
    else
        "$@"
    fi
}

case $command in
start)
    mkdir -p "$dir"
    if [ "$(id -u)" -eq 0 ]; then
        chown postgres "$dir"
        chmod 755 "$dir"
    fi
    sync=off
    [ "$how" = durable ] && sync=on
    [ -d "$dir/data" ] || as_owner "$bin/initdb" -D "$dir/data" -A trust -U lipservice -E UTF8 --no-sync >"$dir.log" 2>&1
    as_owner "$bin/pg_ctl" -D "$dir/data" -w -t 30 -l "$dir/server.log" \
        -o "-c listen_addresses='' -c unix_socket_directories='$dir' -c fsync=$sync -c max_connections=20" start >"$dir.log" 2>&1
    echo "postgresql:///postgres?host=$dir&user=lipservice"
    ;;
stop)
    as_owner "$bin/pg_ctl" -D "$dir/data" -w -m "${how:-fast}" stop >/dev/null
    ;;
*)
    echo "postgres.sh: start or stop" >&2
    exit 64
    ;;
esac
