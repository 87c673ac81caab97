#!/usr/bin/env bash
# A release build that has seen records (gcc's profile-guided optimization): the same program with
# about a seventh less CPU for each record (bench/README.md).
#
#     deploy/trained.sh [BUILD]        build-trained by default
#
# Builds, has the program handle some 400,000 records of the benchmarks, and builds again with what
# was counted. What they do not reach is compiled as without. A few minutes; needs what the build
# needs, and no network. It listens on loopback only.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/${1:-build-trained}
cd "$top"

. deploy/packages.sh
install_packages "${build_packages[@]}"

sink=127.0.0.1:45997
work=$(mktemp -d)
pids=()
finish() {
    ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

echo "building with counters into $build" >&2
rm -rf "$build"
meson setup --buildtype=release -Dwerror=false -Db_lto=true -Db_pgo=generate "$build" >"$work/log" ||
    { cat "$work/log" >&2 && exit 1; }
ninja -C "$build" lipservice bench/bench_sink bench/bench_grpc_load >"$work/log" ||
    { cat "$work/log" >&2 && exit 1; }

for set in "calm 8 1000 calm" "hard 8 1000 hard" "small 200 10"; do
    read -r name count <<<"$set"
    mkdir "$work/$name"
    # shellcheck disable=SC2086 # they are several words
    python3 bench/bodies.py "$work/$name" $count >/dev/null
done

"$build/bench/bench_sink" $sink 0 >/dev/null &
pids=($!)

# One process: outside the sandbox, or it could not write what it counted.
train() { # [ARGUMENT OF lipservice...]
    : >"$work/log" # not the port of the one before
    "$build/lipservice" --config /dev/null --set sandbox=off --set telemetry.log.format=text \
        --set receivers.otlp.protocols.grpc.endpoint=localhost:0 \
        --set receivers.otlp.protocols.http.endpoint=localhost:0 \
        --set telemetry.health.endpoint= --set telemetry.metrics.endpoint=localhost:0 \
        --set telemetry.admin.endpoint= --set exporters.otlphttp.endpoint="http://$sink" "$@" 2>"$work/log" &
    local pid=$! http='' tries
    pids+=("$pid")
    for ((tries = 0; tries < 200; tries++)); do
        http=$(sed -n 's/.* event=started .* http=\([^ ]*\) .*/\1/p' "$work/log")
        [[ -z $http ]] || break
        sleep 0.1
    done
    [[ -n $http ]] || { cat "$work/log" >&2 && exit 1; }
    python3 bench/post.py "$http" "$work/calm" "$work/hard" "$work/small"
    "$build/bench/bench_grpc_load" "$http" "$work/calm" 4 2 >/dev/null
    "$build/bench/bench_grpc_load" "$http" "$work/small" 4 1 >/dev/null
    kill "$pid"
    wait "$pid"
    unset "pids[-1]"
}
echo "handling records" >&2
train --set exporters.otlphttp.compression=zstd
train --set exporters.otlphttp.compression=gzip --set redaction.mode=enforce
train --set durability=disk --set spool.directory="$work/spool" --set sampling.budget.records_per_second=1000

echo "building with what was counted" >&2
# Partial: what was never run is not taken for cold.
meson configure "$build" -Db_pgo=use "-Dc_args=-fprofile-partial-training -Wno-missing-profile" \
    "-Dcpp_args=-fprofile-partial-training -Wno-missing-profile" >"$work/log"
ninja -C "$build" lipservice >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }
echo "$build/lipservice" >&2
