#!/usr/bin/env bash
# From a fresh Debian 12 to a running sidecar:
#
#     deploy/quickstart.sh [ARGUMENT OF lipservice...]
#
# Installs what the build needs (root or sudo), builds into build-release/, says what to
# set in the application, and runs in the foreground until Ctrl-C.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build-release

. "$top/deploy/packages.sh"
install_packages "${build_packages[@]}" curl

quietly() {
    local log
    log=$(mktemp)
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        rm -f "$log"
        exit 1
    }
    rm -f "$log"
}
if [[ ! -f $build/build.ninja ]]; then
    echo "building into $build" >&2
    quietly meson setup --buildtype=release -Dwerror=false -Db_lto=true "$build" "$top"
fi
quietly ninja -C "$build" lipservice

cat >&2 <<'TEXT'

In the application:
    OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318
    OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf         (or grpc, on either port)
TEXT
if [[ -z ${POSTHOG_API_KEY:-} ]]; then
    echo "To forward to PostHog, start this again with POSTHOG_API_KEY=phc_... (and POSTHOG_HOST);" >&2
    echo "until then, what is kept comes out here. In another terminal:" >&2
else
    echo "What is kept goes to PostHog. A log by hand, from another terminal:" >&2
fi
cat >&2 <<'TEXT'

curl -sS localhost:4318/v1/logs -H 'content-type: application/json' -d '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":"INFO","body":{"stringValue":"hello from curl"}}]}]}]}'

TEXT
exec "$build/lipservice" "$@"
