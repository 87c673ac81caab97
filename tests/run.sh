#!/usr/bin/env bash
# All tests: unit, lint, fuzz corpora, model, end to end; the program built with
# AddressSanitizer and UndefinedBehaviorSanitizer in build-test.
#
# From a fresh Debian 12 upwards, as root or with sudo. The last line is
# "N passed, N failed", with ", N skipped" where there are any; exit code 1 if
# anything failed, or if not everything could be run.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
build=$root/build-test
NODE_MIN=18.19 # of node --test's options; posthog-node and pino ask for 20
STALL_S=1260   # no end-to-end run takes so long

# shellcheck source=../deploy/packages.sh
. deploy/packages.sh

passed=0 failed=0 skipped=0
broken=

summary() {
    [ -z "$broken" ] || failed=$((failed + 1))
    echo
    [ -z "$broken" ] || echo "not everything was run: $broken"
    if [ "$skipped" -gt 0 ]; then
        echo "$passed passed, $failed failed, $skipped skipped"
    else
        echo "$passed passed, $failed failed"
    fi
    [ "$failed" -eq 0 ]
    exit
}

give_up() {
    broken=$1
    summary
}

step() {
    echo
    echo "== $1 ($(date +%H:%M:%S))"
}

# ---- what is needed

has_node() {
    command -v node >/dev/null && command -v npm >/dev/null &&
        node -e 'const [a, b] = process.versions.node.split(".").map(Number), [c, d] = process.argv[1].split(".").map(Number);
                 process.exit(a > c || (a === c && b >= d) ? 0 : 1)' "$NODE_MIN"
}

step "packages"
if [ -e /etc/debian_version ]; then
    node_packages=()
    has_node || node_packages=(nodejs npm)
    install_packages "${build_packages[@]}" "${test_packages[@]}" "${node_packages[@]}" ||
        give_up "packages could not be installed"
fi
has_node || give_up "node $NODE_MIN or later and npm are needed"
echo "node $(node --version), meson $(meson --version), $(gcc --version | head -n 1)"

step "npm packages"
for try in 1 2 3; do
    (cd tests/e2e && npm ci --ignore-scripts --no-audit --no-fund </dev/null) && break
    [ "$try" -lt 3 ] || give_up "npm ci failed"
    sleep 5
done

# ---- build

step "build with ASan and UBSan"
options=("-Db_sanitize=address,undefined" -Db_lundef=false)
if [ -e "$build/build.ninja" ]; then
    meson setup --reconfigure "$build" "${options[@]}" || rm -rf "$build"
fi
if [ ! -e "$build/build.ninja" ]; then
    rm -rf "$build"
    meson setup "$build" "${options[@]}" || give_up "meson setup failed"
fi
ninja -C "$build" all benchmarks || give_up "the build failed"

# ---- unit, lint, fuzz, model

step "PostgreSQL"
postgres=$(mktemp -d)
if LIPSERVICE_TEST_POSTGRES=$(tests/postgres.sh start "$postgres"); then
    export LIPSERVICE_TEST_POSTGRES
    trap 'tests/postgres.sh stop "$postgres" immediate; rm -rf "$postgres" "$postgres.log"' EXIT
    echo "$LIPSERVICE_TEST_POSTGRES"
else
    give_up "no PostgreSQL could be started"
fi

step "meson test"
log=$build/meson-logs/run.txt
mkdir -p "$build/meson-logs"
meson test -C "$build" --no-rebuild --print-errorlogs 2>&1 | tee "$log"
count() { # the number after a label of meson's summary, 0 without one
    awk -F: -v label="$1" '$1 ~ "^" label { n = $2 + 0 } END { print n + 0 }' "$log"
}
grep -q '^Ok:' "$log" || give_up "meson test did not run"
passed=$((passed + $(count "Ok") + $(count "Expected Fail")))
failed=$((failed + $(count "Fail") + $(count "Unexpected Pass") + $(count "Timeout")))
skipped=$((skipped + $(count "Skipped")))

# ---- what sanitizers leave out

step "release build: hardening, sandbox"
release=$root/build-release
if [ -e "$release/build.ninja" ]; then
    meson setup --reconfigure "$release" --buildtype=release || rm -rf "$release"
fi
if [ ! -e "$release/build.ninja" ]; then
    rm -rf "$release"
    meson setup "$release" --buildtype=release || give_up "meson setup failed for the release build"
fi
ninja -C "$release" lipservice || give_up "the release build failed"
if python3 tests/deploy/hardening.py "$release/lipservice"; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
fi

# ---- end to end

step "end to end"
tap=$build/meson-logs/e2e.tap
export LIPSERVICE_BIN=$build/lipservice
export LIPSERVICE_RELEASE_BIN=$release/lipservice # system calls are filtered there only
(
    cd tests/e2e &&
        timeout --kill-after=30 "$STALL_S" node --test --test-concurrency=2 \
            --test-reporter=tap --test-reporter-destination="$tap" \
            --test-reporter=spec --test-reporter-destination=stdout </dev/null
)
e2e=$?
tap_count() {
    awk -v label="$1" '$1 == "#" && $2 == label { n = $3 + 0 } END { print n + 0 }' "$tap"
}
grep -q '^# pass ' "$tap" 2>/dev/null || give_up "the end-to-end tests did not finish (exit code $e2e)"
e2e_failed=$(($(tap_count fail) + $(tap_count cancelled)))
passed=$((passed + $(tap_count pass)))
failed=$((failed + e2e_failed))
skipped=$((skipped + $(tap_count skipped) + $(tap_count todo)))
if [ "$e2e" -ne 0 ] && [ "$e2e_failed" -eq 0 ]; then
    broken="node --test ended with $e2e"
fi
summary
