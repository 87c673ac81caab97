#!/usr/bin/env bash
# How good the counts are (../README.md):
#
#     bench/sampling/run.sh [LOGHUB]
#
# LOGHUB: a folder of labelled logs, as streams.py reads them; without it their rows are left out.
# About two minutes. One line for each stream and budget, sampled by lipservice and uniformly.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. deploy/packages.sh

build="build-bench"
install_packages "${build_packages[@]}" python3 >&2
[[ -f $build/build.ninja ]] || meson setup --buildtype=release -Dwerror=false -Db_lto=true "$build" >/dev/null
ninja -C "$build" bench/bench_judge >/dev/null

streams=$(mktemp -d)
trap 'rm -rf "$streams"' EXIT
for stream in bursty diurnal; do
    python3 bench/sampling/streams.py "$stream" >"$streams/$stream"
done
[[ $# -eq 0 ]] || python3 bench/sampling/streams.py loghub "$1" >"$streams/loghub"

judge() { # NAME STREAM [OPTION...]
    [[ -f $streams/$2 ]] || return 0
    printf '%s: ' "$1"
    "$build/bench/bench_judge" "${@:3}" <"$streams/$2"
}
judge "bursty, 100/s" bursty --budget 100
judge "bursty in lumps of 1 s" bursty --budget 100 --lumps 1000
judge "bursty, uniform" bursty --budget 100 --uniform --rate 0.0357
judge "diurnal, 10/s" diurnal --budget 10
judge "diurnal, uniform" diurnal --budget 10 --uniform --rate 0.2
judge "loghub, 1/7" loghub --budget 7.62 --least 10
judge "loghub, 1/7, uniform" loghub --budget 7.62 --least 10 --uniform --rate 0.1429
judge "loghub, 1/14" loghub --budget 3.81 --least 10
judge "loghub, 1/14, uniform" loghub --budget 3.81 --least 10 --uniform --rate 0.0714
