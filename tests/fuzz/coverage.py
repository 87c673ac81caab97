#!/usr/bin/env python3
"""
Which lines of the parsers the corpus runs: each target takes its corpus in a build with gcov.

    tests/fuzz/coverage.py [BUILD, default build-cov] [--lines] [FILE...]

FILE: "net/http2" and so on; without one, all parsers. --lines: also those that were not run.
Each line counts once, in whichever target it was run: the targets share one library.

Exit status 1 when a parser is below LEAST % and has no reason here, or has one and needs none.
"""
import collections
import glob
import gzip
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARSERS = """
    net/http1 net/http1_framing net/http2 net/http2_flood net/head net/coding net/sniff net/host net/url
    config/yaml config/yaml_reader config/yaml_rules config/yaml_visit config/value
    otlp/wire otlp/logs otlp/logs_check otlp/log_record otlp/mend otlp/grpc otlp/response
    otlp/capture otlp/json otlp/json_plain otlp/json_scalar otlp/json_skip otlp/json_object otlp/json_doc
    export/segment export/spool_read export/answer
    policy/document posthog/selection server/report_body util/regex_syntax
""".split()
LEAST = 95
# What no input of a corpus runs.
REASONS = {
    "config/yaml_reader": "${file:PATH} with content, since a target reads no files; failed allocations",
    "export/spool_read": "a full disk, a medium that fails inside of a payload, files without a name: test_export_spool*",
    "net/coding": "failed allocations and failures of compressors (e2e/scarce.test.mjs); the gzip encoder in place of ISA-L",
    "net/http2": "failed allocations (e2e/scarce.test.mjs); no input yet for a peer without settings and some steps of piped bodies",
    "net/http2_flood": "a budget that is refilled: a second of the clock in which one was used up",
    "otlp/grpc": "the health message, which is written and not parsed",
    "otlp/json_scalar": "the parser's errors of memory and capacity; a result longer than its text, which is an invariant",
    "otlp/logs": "callbacks that stop a walk, and faults that logs_check has found before",
    "otlp/mend": "names of repairs, which are written; growth beyond 1 MiB",
}
HEADER_OF = "otlp/json"  # the file that includes the .hpp files


def run(*command, **rest):
    return subprocess.run(command, check=True, **rest)


def build(where):
    targets = sorted(f"fuzz_{t}" for t in os.listdir(f"{ROOT}/tests/fuzz/corpus"))
    if not os.path.exists(f"{where}/build.ninja"):
        run("meson", "setup", where, "-Db_coverage=true", "-Doptimization=0", cwd=ROOT, stdout=subprocess.DEVNULL)
    run("ninja", "-C", where, *(f"tests/{t}" for t in targets), stdout=subprocess.DEVNULL)
    for old in glob.glob(f"{where}/**/*.gcda", recursive=True):
        os.remove(old)
    for t in targets:
        run(f"{where}/tests/{t}", f"{ROOT}/tests/fuzz/corpus/{t[5:]}", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def lines_of(where, parser):
    """{line: times}, or None: no such file, or none of its code was run."""
    ends = (f"src/{parser}.c", f"src/{parser}.cpp", f"src/{parser}.hpp")
    unit = HEADER_OF if os.path.exists(f"{ROOT}/src/{parser}.hpp") else parser
    found = glob.glob(f"{where}/liblipservice.a.p/src_{unit.replace('/', '_')}.c*.gcda")
    times = collections.Counter()
    for data in found:
        with tempfile.TemporaryDirectory() as scratch:
            run("gcov", "--json-format", os.path.abspath(data), cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for out in glob.glob(f"{scratch}/*.gz"):
                for file in json.load(gzip.open(out))["files"]:
                    if file["file"].endswith(ends):
                        for line in file["lines"]:
                            times[line["line_number"]] += line["count"]
    return times or None


def ranges(numbers):
    out = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def main(args):
    shows_lines = "--lines" in args
    args = [a for a in args if a != "--lines"]
    where = os.path.abspath(args.pop(0) if args and os.path.isdir(args[0]) else f"{ROOT}/build-cov")
    build(where)
    ran = of = wrong = 0
    for parser in args or PARSERS:
        times = lines_of(where, parser)
        if times is None:
            print(f"{parser:24} not run")
            wrong += 1
            continue
        hit = sum(1 for n in times.values() if n > 0)
        ran, of = ran + hit, of + len(times)
        missed = ranges(sorted(n for n, t in times.items() if t == 0))
        print(f"{parser:24} {100 * hit / len(times):5.1f} % of {len(times)}{'  not: ' + missed if shows_lines and missed else ''}")
        if (100 * hit < LEAST * len(times)) != (parser in REASONS):
            print(f"{parser}: " + ("has a reason, and needs none" if parser in REASONS else f"below {LEAST} %"))
            wrong += 1
    print(f"{'all':24} {100 * ran / max(of, 1):5.1f} % of {of}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(sys.argv[1:])
