#!/bin/sh
# Every fuzz target for a share of MINUTES (60) on all cores: tests/fuzz/run.sh does the work.
#
#   tests/fuzz.sh [MINUTES]
#
# Exit status 1 when a target found something; the inputs are build-fuzz/crash-<target>-*.
set -eu
cd "$(dirname "$0")/.."
minutes=${1:-60}
cores=$(nproc)
targets=$(ls tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_||; s|\.c$||')
count=$(echo "$targets" | wc -l)
seconds=$((minutes * 60 * cores / count))
[ "$seconds" -gt 0 ] || seconds=1
tests/fuzz/run.sh 1 answer >/dev/null 2>&1 # sets the directory up
ninja -C build-fuzz $(echo "$targets" | sed 's|^|tests/fuzz_|')
echo "$targets" | xargs -P "$cores" -I{} sh -c \
    'tests/fuzz/run.sh "$1" "$2" >"build-fuzz/$2.log" 2>&1 || { echo "found: $2, build-fuzz/$2.log"; exit 1; }
     echo "$2: $(grep -c "NEW" "build-fuzz/$2.log") new inputs"' fuzz "$seconds" {} || exit 1
