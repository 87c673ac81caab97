#!/bin/sh
# Fuzz for real: build every target with clang and libFuzzer in a directory of
# its own, then run each for a while on a copy of its corpus.
#
#   tests/fuzz/run.sh [seconds a target, default 60] [target...]
#
# The corpus in the tree stays small: what a run finds goes to
# build-fuzz/corpus/<target>, and a crash to build-fuzz/crash-<target>-*.
set -eu
cd "$(dirname "$0")/../.."

seconds=${1:-60}
[ $# -gt 0 ] && shift

# meson.build links libFuzzer instead of driver.c when it sees fuzzer-no-link.
if [ ! -f build-fuzz/build.ninja ]; then
    CC=clang CXX=clang++ meson setup build-fuzz \
        -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized \
        -Dc_args=-fsanitize=fuzzer-no-link -Dcpp_args=-fsanitize=fuzzer-no-link
fi

if [ $# -eq 0 ]; then
    set -- $(ls tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||; s|\.c$||')
fi
for name; do
    ninja -C build-fuzz -j2 "tests/fuzz_$name"
    mkdir -p "build-fuzz/corpus/$name"
    dict=
    [ -f "tests/fuzz/$name.dict" ] && dict="-dict=tests/fuzz/$name.dict"
    "build-fuzz/tests/fuzz_$name" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="build-fuzz/crash-$name-" $dict \
        "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name"
done
