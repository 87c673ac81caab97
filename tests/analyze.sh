#!/usr/bin/env bash
# What analyzers say about src/, but for what tests/analyze.txt has a reason for.
#
#     tests/analyze.sh [gcc|clang-tidy|cppcheck]...   all three without an argument
#     tests/analyze.sh valgrind [TEST...]             the unit tests under memcheck
#
# Installs what is missing (Debian, root or sudo). Exit status 1 when something is found that has no
# reason, or when a reason has nothing to explain any more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=../deploy/packages.sh
. deploy/packages.sh

build="build-analyze" # without sanitizers: valgrind is one
out=$build/analyze
jobs=$(nproc)
install_packages "${build_packages[@]}" libcmocka-dev clang-tidy cppcheck valgrind
[[ -f $build/build.ninja ]] || meson setup -Dwerror=false "$build" >/dev/null
mkdir -p "$out"

# NAME<tab>COMMAND of each C file of src/, made fit for -fanalyzer.
commands() {
    python3 - "$build/compile_commands.json" <<'PYTHON'
import json, shlex, sys
seen = set()
for entry in json.load(open(sys.argv[1])):
    file = entry["file"]
    if not file.startswith("../src/") or not file.endswith(".c") or file in seen:
        continue
    seen.add(file)
    words, out = iter(shlex.split(entry["command"])), []
    for word in words:
        if word in ("-o", "-MF", "-MQ"):
            next(words)
        elif word not in ("ccache", "-MD", "-O2"):
            out.append(word)
    print(file, shlex.join(out + ["-O1", "-fanalyzer", "-fdiagnostics-color=never", "-o", "/dev/null"]), sep="\t")
PYTHON
}

run_gcc() {
    commands | cut -f 2 | (cd "$build" && xargs -d '\n' -P "$jobs" -I{} sh -c '{} 2>&1') >"$out/gcc"
}
run_clang-tidy() {
    commands | cut -f 1 | (cd "$build" && xargs -P "$jobs" -n 4 clang-tidy -p . --quiet) >"$out/clang-tidy" 2>/dev/null
}
run_cppcheck() {
    cppcheck -q -j "$jobs" --enable=warning,portability --std=c11 --library=posix -D__GNUC__ -I src -I "$build/proto" \
        --suppress='*:*.pb-c.h' --template='{file}:{line}:{column}: warning: {message} [{id}]' src >"$out/cppcheck" 2>&1
}

memcheck() { # OPTION-OF-VALGRIND TEST...
    meson test -C "$build" --no-rebuild --print-errorlogs -t 30 --num-processes "$jobs" --suite unit --logbase "valgrind$1" \
        --wrap="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --num-callers=30 $1" "${@:2}"
}

run_valgrind() { # TEST...
    local tests
    ninja -C "$build" >/dev/null
    # Fewer crash states than on the bare machine, where each is 30 times faster.
    export LIPSERVICE_STATES=${LIPSERVICE_STATES:-300}
    if (($#)); then
        memcheck "" "$@"
        return
    fi
    # util/confine: a filter of system calls that memcheck needs itself.
    # pipeline/redact: the machine code that PCRE2 makes compares whole vectors, of which memcheck does
    # not know what is meant; addresses and leaks are looked at.
    mapfile -t tests < <(meson test -C "$build" --list --suite unit 2>/dev/null | sed 's|.* / ||' | grep -vxE 'util/confine|pipeline/redact')
    memcheck --undef-value-errors=no pipeline/redact
    memcheck "" "${tests[@]}"
}

if [[ ${1:-} == valgrind ]]; then
    run_valgrind "${@:2}"
    exit
fi

generated=$(ninja -C "$build" -t targets all | sed -n 's/^\([^ ]*\(pb-c\.[ch]\|assets\.c\)\): CUSTOM_COMMAND$/\1/p')
# shellcheck disable=SC2086 # words
ninja -C "$build" $generated >/dev/null
tools=("$@")
((${#tools[@]})) || tools=(gcc clang-tidy cppcheck)
for tool in "${tools[@]}"; do
    began=$SECONDS
    "run_$tool" || true # what was found is read below
    echo "$tool: $((SECONDS - began)) s"
done
python3 - "$out" "${tools[@]}" <<'PYTHON'
import os, re, sys
out, tools = sys.argv[1], sys.argv[2:]
LINE = re.compile(r"^(?:\S*?/)?(src/\S+?|\.\./src/\S+?):(\d+):\d+: (?:warning|error): (.*?) (?:\[CWE-\d+\] )?\[(?:-Wanalyzer-)?([\w.,-]+)\]$")
reasons = {}
for line in open("tests/analyze.txt"):
    if line.strip() and not line.startswith("#"):
        tool, file, check, _ = line.split(None, 3)
        reasons[tool, file, check] = False
found = 0
for tool in tools:
    seen = set()
    for line in open(f"{out}/{tool}", errors="replace"):
        at = LINE.match(line.rstrip())
        if at is None:
            if ": error: " in line or ": warning: " in line:
                sys.exit(f"{tool}: not understood: {line}")
            continue
        file, check = os.path.normpath(at[1].replace("../", "", 1)), at[4].split(",")[0]
        for key in (tool, file, check), (tool, "*", check):
            if key in reasons:
                reasons[key] = True
                break
        else:
            if (file, at[2], check) not in seen:
                seen.add((file, at[2], check))
                print(f"{tool}: {file}:{at[2]}: {at[3]} [{check}]")
                found += 1
for (tool, file, check), used in reasons.items():
    if tool in tools and not used:
        print(f"tests/analyze.txt: nothing to explain any more: {tool} {file} {check}")
        found += 1
print(f"{found} findings without a reason" if found else "nothing found, but for what tests/analyze.txt explains")
sys.exit(found > 0)
PYTHON
