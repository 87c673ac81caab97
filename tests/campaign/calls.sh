#!/bin/sh
# Which system calls the program makes after its start: the end-to-end tests under strace, for the
# list in src/util/confine_calls.c. Prints each call with its count, and each that was refused.
#
#   tests/campaign/calls.sh PROGRAM [test file...]
#
# Tests that attach strace themselves, or watch the clock closely, fail under it; the calls count.
set -eu
cd "$(dirname "$0")/../e2e"
program=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- address answers clients durable export live peers policy policyfile protocol \
    records reload sampling spool tls
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# -D: the program keeps its process id; from the first line of its log on.
cat >"$out/traced" <<END
#!/bin/sh
exec strace -D -f -qq -o "$out/calls.\$\$" "$program" "\$@"
END
chmod +x "$out/traced"
for name; do
    LIPSERVICE_BIN="$out/traced" node --test "$name.test.mjs" >"$out/log" 2>&1 || echo "failed under strace: $name" >&2
done
# Behind the filter only: seccomp() itself, and what each line begins with.
for file in "$out"/calls.*; do
    sed -n '/ seccomp(SECCOMP_SET_MODE_FILTER/,$p' "$file"
done >"$out/all"
sed -nE 's/^[0-9]+ +([a-z_0-9]+)\(.*/\1/p' "$out/all" | sort | uniq -c | sort -rn
echo "refused:"
grep -E '= -1 (EPERM|ENOSYS)' "$out/all" | sed -E 's/^[0-9]+ +//; s/0x[0-9a-f]+/X/g' | cut -c1-100 | sort | uniq -c | sort -rn | head -40
