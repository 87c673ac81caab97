#!/usr/bin/env bash
# The figures of the README next to this file:
#
#     bench/run.sh [--seconds N] [--runs N] [--no-lto] [--write] [CASE...]
#
# lipservice has core 0 for all its threads, load and upstream share core 1. Each CPU
# figure is the least of --runs (3) runs of --seconds (5). Markdown on standard output, and
# with --write in bench/README.md. Without CASE all of them; their names are at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/packages.sh

seconds=5 runs=3 lto=true write=false build=build-bench
chosen=()
while (($#)); do
    case $1 in
    --seconds) seconds=$2 && shift ;;
    --runs) runs=$2 && shift ;;
    --no-lto) lto=false build=build-bench-plain ;;
    --write) write=true ;;
    -*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit 64 ;;
    *) chosen+=("$1") ;;
    esac
    shift
done

# ---- what is needed ---------------------------------------------------------

install_packages "${build_packages[@]}" python3 wrk nghttp2-client curl openssl >&2
[[ -f $build/build.ninja ]] ||
    meson setup --buildtype=release -Dwerror=false -Db_lto=$lto "$build" >/dev/null
ninja -C "$build" lipservice bench/bench_sink bench/bench_grpc_load >/dev/null

bodies() { # FOLDER BODIES RECORDS [calm] [hard] [rotating N]
    local folder=$build/bodies/$1
    [[ -f $folder/done && $folder/done -nt bench/bodies.py ]] && return
    mkdir -p "$folder"
    python3 bench/bodies.py "$folder" "${@:2}" >"$folder/done"
}
# As many different records in each, or the small requests would flatter the compressor.
bodies calm 24 1000 calm
bodies 1000 24 1000
bodies 100 240 100
bodies 10 2400 10
bodies hard-calm 24 1000 calm hard
bodies hard 24 1000 hard
bodies hard-100 240 100 hard
bodies rotating-100 100 1000 rotating 100
bodies rotating-100000 100 1000 rotating 100000

# ---- the programs -----------------------------------------------------------

# Ports of its own, so that a lipservice at work is left alone.
otlp=127.0.0.1:45318 health=127.0.0.1:45133 admin=127.0.0.1:45679 metrics=127.0.0.1:45464 sink=127.0.0.1:45999
settings=(
    --set receivers.otlp.protocols.grpc.endpoint=
    --set receivers.otlp.protocols.http.endpoint="$otlp"
    --set telemetry.health.endpoint="$health"
    --set telemetry.metrics.endpoint="$metrics"
    --set telemetry.admin.endpoint="$admin"
    --set telemetry.log.level=error
    --set exporters.otlphttp.endpoint="http://$sink"
)
# A certificate for the ports, by an elliptic curve as most are.
certificate=(
    --set receivers.otlp.protocols.http.tls.cert_file="$build/bench.crt"
    --set receivers.otlp.protocols.http.tls.key_file="$build/bench.key"
)
[[ -f $build/bench.crt ]] ||
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=bench \
        -keyout "$build/bench.key" -out "$build/bench.crt" 2>/dev/null
pid='' sink_pid=''
stop() {
    local p
    for p in $pid $sink_pid; do
        kill "$p" 2>/dev/null || continue
        wait "$p" || true
    done
    pid='' sink_pid=''
}
trap stop EXIT

start() { # DELAY_MS [ARGUMENT OF lipservice...]
    taskset -c 1 "$build/bench/bench_sink" $sink "$1" >"$build/sink.out" &
    sink_pid=$!
    renice -n -10 -p "$sink_pid" >/dev/null 2>&1 || true # root: a late answer would make a queue
    env -i taskset -c 0 "$build/lipservice" --config /dev/null "${settings[@]}" "${@:2}" &
    pid=$!
    until curl -fs -o /dev/null http://$health/readyz; do
        kill -0 $pid
        sleep 0.05
    done
}

count() { # of the ledger: NAME
    curl -fsS http://$admin/api/ledger | grep -o "\"$1\":[0-9]*" | head -n 1 | cut -d: -f2
}
accepted() { # what was put off with "try again" is no work done
    echo $(($(count received) - $(count rejected)))
}
dropped() { # REASON
    curl -fsS "http://$metrics/metrics" | awk -v m="lipservice_records_dropped_total{reason=\"$1\"}" '$1 == m {print $2}'
}
ticks() { # utime + stime of all threads, in 1/100 s (the name holds no blank)
    awk '{print $14 + $15}' "/proc/$pid/stat"
}
memory() { # VmRSS, VmHWM or RssAnon, in KiB
    awk -v name="$1:" '$1 == name {print $2}' "/proc/$pid/status"
}

# ---- loads: each for $seconds, and nicer than the upstream beside them ---------

http1() { # FOLDER SUFFIX TYPE [ENCODING]
    nice taskset -c 1 wrk -t 1 -c "${connections:-4}" -d "$seconds" -s bench/post.lua \
        "${scheme:-http}://$otlp/v1/logs" -- "$build/bodies/$1" "${@:2}" >"$build/load.out"
}
# As wrk does over HTTP/1.1.
grpc() { # FOLDER
    nice taskset -c 1 "$build/bench/bench_grpc_load" "$otlp" "$build/bodies/$1" "${connections:-4}" "$seconds" \
        >"$build/load.out"
}
# h2load sends one body: as many at once as there are bodies.
grpc_paced() { # FOLDER ARGUMENT OF h2load...
    local body jobs=()
    for body in "$build/bodies/$1"/*.grpc; do
        nice taskset -c 1 h2load -c 1 -m 1 -D "$seconds" -d "$body" "${@:2}" \
            -H 'content-type: application/grpc' -H 'te: trailers' \
            "http://$otlp/opentelemetry.proto.collector.logs.v1.LogsService/Export" \
            >"$build/load.out" &
        jobs+=($!)
    done
    wait "${jobs[@]}"
}

# ---- what is measured ---------------------------------------------------------

rows=()
row() { # WORK FIGURE BAR REACHED DETAILS
    rows+=("| $1 | $2 | $3 | $4 | $5 |")
    echo "${rows[-1]}" >&2
}
at_most() { # FIGURE BAR
    awk -v a="$1" -v b="$2" 'BEGIN {print b == "–" ? "–" : a <= b ? "yes" : "**no**"}'
}

# CPU seconds for a million records.
cpu() { # WORK BAR CODING LOAD...
    local work=$1 bar=$2 coding=$3 run best='' rate=0 c0 r0 n began
    shift 3
    local set=(--set exporters.otlphttp.compression="$coding")
    [[ $coding == none ]] && set=(--set 'sampling.drop=[{body: "*"}]')
    [[ -n ${scheme:-} ]] && set+=("${certificate[@]}")
    [[ -n ${redaction:-} ]] && set+=(--set redaction.mode="$redaction")
    start 0 "${set[@]}"
    for ((run = 0; run < runs; run++)); do
        r0=$(accepted) c0=$(ticks) began=$EPOCHREALTIME
        "$@"
        n=$(($(accepted) - r0))
        ((n > 0)) || { echo "$work: nothing was received" >&2 && exit 1; }
        rate=$(awk -v n=$n -v b="$began" -v e="$EPOCHREALTIME" -v r="$rate" \
            'BEGIN {v = n / (e - b); printf "%.0f", (v > r ? v : r)}')
        for ((i = 0; i < 100 && $(count queued) > 0; i++)); do sleep 0.1; done
        best=$(awk -v c=$(($(ticks) - c0)) -v n=$n -v b="$best" \
            'BEGIN {v = c / 100 / n * 1e6; printf "%.2f", b == "" || v < b ? v : b}')
    done
    row "$work" "$best" "$bar" "$(at_most "$best" "$bar")" "$(
        awk -v r="$rate" -v k="$(count kept)" -v n="$(accepted)" \
            -v x="$(count rejected)" -v m="$(memory VmRSS)" -v h="$(memory VmHWM)" \
            'BEGIN {printf "%.0f k/s, %.1f %% kept, %.1f %% put off, RSS %.0f MiB, most %.0f", r / 1e3, k / n * 100, x / (x + n) * 100, m / 1024, h / 1024}'
    )"
    stop
}

handshakes() { # new connections, one after the other, without a request
    start 0 "${certificate[@]}"
    local c0 n
    c0=$(ticks)
    nice taskset -c 1 openssl s_time -connect "$otlp" -new -time "$seconds" >"$build/load.out" 2>&1 || true
    n=$(curl -fsS "http://$metrics/metrics" | awk '$1 == "lipservice_tls_handshakes_total" {print $2}')
    row "a handshake of TLS 1.3, CPU ms" "$(awk -v c=$(($(ticks) - c0)) -v n="$n" 'BEGIN {printf "%.2f", c * 10 / n}')" – – \
        "$n of them, P-256, most resident $(mib "$(memory VmHWM)") MiB"
    stop
}

mib() {
    awk -v k="$1" 'BEGIN {printf "%.1f", k / 1024}'
}

idle() {
    start 0
    sleep 1
    local most
    most=$(mib "$(memory VmHWM)")
    row "resident when idle, MiB" "$most" 8 "$(at_most "$most" 7.99)" \
        "$(mib "$(memory RssAnon)") of its own, the rest is pages of shared libraries"
    stop
}

paced() { # 24 connections of 4.17 requests a second of 1000 records
    start 0 --set exporters.otlphttp.compression=zstd
    local r0 began most
    r0=$(accepted) began=$EPOCHREALTIME
    grpc_paced 1000 --rps 4.17
    most=$(mib "$(memory VmHWM)")
    row "resident at 100k records/s, MiB" "$most" 32 "$(at_most "$most" 31.99)" "$(
        awk -v n=$(($(accepted) - r0)) -v b="$began" -v e="$EPOCHREALTIME" \
            'BEGIN {printf "%.0f k/s, most ever", n / (e - b) / 1e3}'
    )"
    stop
}

overload() { # upstream takes 4 requests of 1 MiB a second
    local seconds=$((seconds < 5 ? 5 : seconds)) # sooner the queue is not full
    start 1000 --set exporters.otlphttp.compression=zstd
    connections=64 http1 1000 pb application/x-protobuf
    local most
    most=$(mib "$(memory VmHWM)")
    row "resident at overload, MiB" "$most" 80 "$(at_most "$most" 80)" \
        "$(awk -v n="$(accepted)" -v x="$(count rejected)" -v s="$seconds" \
            'BEGIN {printf "%.0f k/s offered, %.0f k/s taken, ", (n + x) / s / 1e3, n / s / 1e3}')memory.limit 64 MiB"
    stop
}

# Nothing may be shed while the upstream takes what it is given.
closed() { # CONNECTIONS, each of which sends again as soon as it is answered
    start 0 --set exporters.otlphttp.compression=zstd
    connections=$1 http1 1000 pb application/x-protobuf
    local shed
    shed=$(dropped pressure)
    row "$1 connections in a closed loop, records shed" "$shed" 0 "$(at_most "$shed" 0)" "$(
        awk -v k="$(count kept)" -v n="$(accepted)" -v x="$(count rejected)" -v s="$seconds" -v m="$(memory VmHWM)" \
            'BEGIN {printf "%.0f k/s, %.1f %% kept, %.1f %% put off, most resident %.1f MiB", n / s / 1e3, k / n * 100, x / (x + n) * 100, m / 1024}'
    )"
    stop
}

# ---- durability: disk; all records are kept, the directory is beside the build -------

spool=$build/spool
start_durable() { # [ARGUMENT OF lipservice...]
    start 0 --set exporters.otlphttp.compression=zstd --set durability=disk --set spool.directory="$spool" \
        --set sampling.severity_rates.TRACE=1 --set sampling.severity_rates.DEBUG=1 \
        --set sampling.severity_rates.INFO=1 --set sampling.severity_rates.WARN=1 "$@"
}

durable() { # as many as it takes, of 8 connections
    rm -rf "$spool"
    start_durable
    local r0 began rate
    r0=$(accepted) began=$EPOCHREALTIME
    connections=8 http1 1000 pb application/x-protobuf
    rate=$(awk -v n=$(($(accepted) - r0)) -v b="$began" -v e="$EPOCHREALTIME" 'BEGIN {printf "%.0f", n / (e - b) / 1e3}')
    row "durable, as fast as it goes, k records/s" "$rate" "≥ 100" "$(at_most 100 "$rate")" \
        "most resident $(mib "$(memory VmHWM)") MiB"
    stop
}

durable_paced() { # 16 connections of 63 requests a second of 100 records
    rm -rf "$spool"
    start_durable
    local r0 began rate p99 body jobs=() n=0
    r0=$(accepted) began=$EPOCHREALTIME
    rm -f "$build"/ack.*
    for body in "$build"/bodies/100/1[0-9].pb "$build"/bodies/100/2[0-5].pb; do
        nice taskset -c 1 h2load --h1 -c 1 -D "$seconds" --rps 63 -d "$body" --log-file="$build/ack.$((n++))" \
            -H 'content-type: application/x-protobuf' "http://$otlp/v1/logs" >"$build/load.out" &
        jobs+=($!)
    done
    wait "${jobs[@]}"
    rate=$(awk -v n=$(($(accepted) - r0)) -v b="$began" -v e="$EPOCHREALTIME" 'BEGIN {printf "%.0f", n / (e - b) / 1e3}')
    p99=$(cat "$build"/ack.* | awk '{print $3}' | sort -n | awk '{a[NR] = $1} END {printf "%.1f", a[int(NR * 0.99)] / 1e3}')
    row "durable at 100k records/s, p99 of the answer, ms" "$p99" 20 "$(at_most "$p99" 20)" "$(
        cat "$build"/ack.* | awk '{print $3}' | sort -n |
            awk -v r="$rate" '{a[NR] = $1} END {printf "%s k/s, p50 %.1f ms, most %.1f ms", r, a[int(NR / 2)] / 1e3, a[NR] / 1e3}'
    ), most resident $(mib "$(memory VmHWM)") MiB"
    stop
}

durable_start() { # a backlog of 1 GiB, the upstream away
    rm -rf "$spool"
    start_durable --set spool.max_bytes=2GiB --set exporters.otlphttp.endpoint=http://127.0.0.1:9
    while (($(du -s --block-size=1M "$spool" | cut -f 1) < 1024)); do
        seconds=2 connections=8 http1 1000 pb application/x-protobuf
    done
    if kill -9 "$pid"; then wait "$pid" || true; fi
    local ms
    ms=$(start_to_ready --set durability=disk --set spool.directory="$spool" --set spool.max_bytes=2GiB \
        --set exporters.otlphttp.endpoint=http://127.0.0.1:9)
    row "start to ready over 1 GiB of backlog, ms" "$ms" 1000 "$(at_most "$ms" 1000)" \
        "the middle of 9, after kill -9, $(du -s --block-size=1M "$spool" | cut -f 1) MiB"
    pid=''
    stop
    rm -rf "$spool"
}

start_to_ready() { # ARGUMENT OF lipservice...: from exec to /readyz saying 200, the middle of 9
    taskset -c 1 python3 - "$build/lipservice" "$health" "${settings[@]}" "$@" <<'PYTHON'
import http.client, subprocess, sys, time
def once():
    began = time.monotonic()
    p = subprocess.Popen(["taskset", "-c", "0", sys.argv[1], "--config", "/dev/null", *sys.argv[3:]], env={"PATH": "/usr/bin:/bin"})
    try:
        while time.monotonic() - began < 10:
            try:
                c = http.client.HTTPConnection(sys.argv[2], timeout=1)
                c.request("GET", "/readyz")
                if c.getresponse().status == 200:
                    return (time.monotonic() - began) * 1000
            except OSError:
                time.sleep(0.0005)
        raise SystemExit("not ready in 10 s")
    finally:
        p.kill()
        p.wait()
print("%.1f" % sorted(once() for _ in range(9))[4])
PYTHON
}

ready() {
    local ms
    ms=$(start_to_ready)
    row "start to ready, ms" "$ms" 50 "$(at_most "$ms" 49.9)" "the middle of 9, with exec and dynamic linking"
}

size() {
    local mebibytes
    strip -o "$build/stripped" "$build/lipservice"
    mebibytes=$(awk -v b="$(stat -c %s "$build/stripped")" 'BEGIN {printf "%.2f", b / 1048576}')
    row "stripped binary, MiB" "$mebibytes" 4 "$(at_most "$mebibytes" 3.99)" "without its shared libraries"
}

pb=application/x-protobuf
declare -A cases=(
    [drop]="cpu 'HTTP/1.1 protobuf in, all dropped' 0.7 none http1 calm pb $pb"
    [zstd]="cpu 'HTTP/1.1 protobuf in, zstd out' 0.8 zstd http1 1000 pb $pb"
    [gzip]="cpu 'HTTP/1.1 protobuf in, gzip out' 1.0 gzip http1 1000 pb $pb"
    [grpc]="cpu 'gRPC in, zstd out' 1.0 zstd grpc 1000"
    [gzip-in]="cpu 'gzip in, zstd out' 1.5 zstd http1 1000 pb.gz $pb gzip"
    [json]="cpu 'JSON in, zstd out' 1.5 zstd http1 1000 json application/json"
    [by100]="cpu 'batches of 100 records, zstd out' – zstd http1 100 pb $pb"
    [by10]="cpu 'batches of 10 records, zstd out' 4 zstd http1 10 pb $pb"
    [hard-drop]="cpu 'hard bodies, HTTP/1.1 protobuf in, all dropped' 0.7 none http1 hard-calm pb $pb"
    [hard-zstd]="cpu 'hard bodies, HTTP/1.1 protobuf in, zstd out' 0.8 zstd http1 hard pb $pb"
    [hard-gzip]="cpu 'hard bodies, HTTP/1.1 protobuf in, gzip out' 1.0 gzip http1 hard pb $pb"
    [hard-grpc]="cpu 'hard bodies, gRPC in, zstd out' 1.0 zstd grpc hard"
    [hard-json]="cpu 'hard bodies, JSON in, zstd out' 1.5 zstd http1 hard json application/json"
    [hard-by100]="cpu 'hard bodies, batches of 100 records, zstd out' – zstd http1 hard-100 pb $pb"
    [rotating-100]="cpu '100 patterns in turn, zstd out' – zstd http1 rotating-100 pb $pb"
    [rotating-100000]="cpu '100,000 patterns in turn, zstd out' – zstd http1 rotating-100000 pb $pb"
    [unscanned]="redaction=off cpu 'zstd out, redaction off' – zstd http1 1000 pb $pb"
    [enforced]="redaction=enforce cpu 'zstd out, redaction enforced' – zstd http1 1000 pb $pb"
    [hard-unscanned]="redaction=off cpu 'hard bodies, zstd out, redaction off' – zstd http1 hard pb $pb"
    [tls]="scheme=https cpu 'HTTP/1.1 over TLS, protobuf in, zstd out' – zstd http1 1000 pb $pb"
    [tls-by10]="scheme=https cpu 'batches of 10 records over TLS, zstd out' – zstd http1 10 pb $pb"
    [handshakes]=handshakes
    [closed-8]="closed 8" [closed-24]="closed 24" [closed-100]="closed 100" [closed-1000]="closed 1000"
    [idle]=idle [paced]=paced [overload]=overload [ready]=ready [size]=size
    [durable]=durable [durable-paced]=durable_paced [durable-start]=durable_start
)
((${#chosen[@]})) ||
    chosen=(drop zstd gzip grpc gzip-in json by100 by10 hard-drop hard-zstd hard-gzip hard-grpc hard-json hard-by100 unscanned enforced hard-unscanned tls tls-by10 handshakes rotating-100 rotating-100000 closed-8 closed-24 closed-100 closed-1000 idle paced overload ready size durable durable-paced durable-start)
for name in "${chosen[@]}"; do
    eval "${cases[$name]:?no such case: $name}"
done

{
    echo "$(date +%F), commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ' and changes'),"
    echo "$(lscpu | sed -n 's/^Model name: *//p' | head -n 1), $(nproc) cores, Linux $(uname -r), LTO $lto,"
    echo "$runs runs of $seconds s. The first rows are CPU seconds for a million records."
    echo
    echo "| work | figure | bar | reached | also |"
    echo "|---|--:|--:|---|---|"
    printf '%s\n' "${rows[@]}"
} >"$build/figures.md"
cat "$build/figures.md"
if $write; then
    sed -i -e "/<!-- figures -->/r $build/figures.md" \
        -e '/<!-- figures -->/,/<!-- end of figures -->/{/<!--/!d}' bench/README.md
fi
