#!/usr/bin/env python3
"""Rules of the house that no compiler checks.

    lint.py includes            floors of src/, and the homes of foreign headers
    lint.py exits               text leaves the pipeline where pipeline.h says, and nowhere else
    lint.py npm                 exact versions, and a lock file that names no registry
    lint.py format              .clang-format holds (exit status 77 without clang-format 14)
    lint.py readme PROGRAM      the manuals name metrics that are there, README.md is short, links lead somewhere
    lint.py settings PROGRAM    src/config/README.md is what the program prints, and an introduction;
                                --write behind it makes it so
    lint.py metrics PROGRAM     src/sidecar/README.md is what the program prints

Each first proves on bad examples of its own that it can find something.
"""

import itertools
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A directory sees the floors below it, and on its own floor only what SEES_ALSO names.
FLOOR = {
    "util": 0,
    "net": 1, "otlp": 1, "web": 1,
    "pattern": 2,
    "pipeline": 3, "export": 3,
    "policy": 4,
    "receiver": 5, "telemetry": 5, "config": 5, "posthog": 5,
    "sidecar": 6, "server": 6,
    "cli": 7,
    "": 8,  # main
}
# Narrower than the floors below.
SEES_ONLY = {
    "pattern": {"util", "otlp"},
    "pipeline": {"util", "otlp", "pattern"},
    "export": {"util", "net", "otlp"},
    "policy": {"util", "net", "otlp", "pattern", "pipeline"},
    "": {"cli"},
}

# Where a foreign header may be included: a pattern over the path below src/.
HOMES = {
    r"nghttp2/.*": r"net/http2(_answer)?\.c",
    r"immintrin\.h": r"pipeline/redact_triggers\.c",
    r"llhttp\.h": r"net/http1\.c",
    r"curl/.*": r"net/client\.c",
    r"simdjson\.h": r"otlp/json\w*\.cpp",
    r"yaml\.h": r"config/yaml\w*\.c",
    r"libdeflate\.h": r"net/coding\.c",
    r"zstd\.h": r"net/coding\.c",
    r"isa-l/.*": r"net/coding\.c",
    r"xxhash\.h": r"util/hash\.c",
    r"pcre2\.h": r"util/regex\.c",
    r"sqlite3\.h": r"server/store_sqlite\.c",
    r"libpq-fe\.h": r"server/store_postgres\.c",
    r"openssl/.*": r"pattern/signature_compat\.c|net/route\.c|net/tls(_context)?\.c|util/digest\.c",
    r"(linux|sys)/(audit|capability|filter|landlock|prctl|seccomp|syscall)\.h|sched\.h": r"util/confine\w*\.c",
    r"sys/wait\.h": r"cli/demo_sidecar\.c",
    r"uv\.h": r"(?!pipeline/|pattern/|otlp/).*",
}
IN_HEADERS = {"uv.h"}  # the only foreign header that ours may include
GENERATED = r"otlp/\w+\.c"  # what protoc-c makes: *.pb-c.h

STANDARD = set(
    """assert ctype errno float inttypes limits math setjmp signal stdalign stdarg stdatomic stdbool stddef stdint
    stdio stdlib string strings time fcntl getopt malloc poll unistd sys/ioctl sys/random sys/resource sys/stat sys/types
    sys/socket sys/mman sys/statvfs sys/time sys/file sys/uio dirent netinet/in arpa/inet""".split()
)
STANDARD_CPP = {"new", "cmath", "charconv", "cstdint", "cstddef", "cstring", "string_view", "memory", "limits"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"]', re.M)


def directory(path):
    return path.rpartition("/")[0].partition("/")[0]


def check_own(path, header):
    """A line in quotes: another file of the program."""
    me, other = directory(path), directory(header)
    if header.endswith(".pb-c.h"):
        return None if re.fullmatch(GENERATED, path) else "generated messages are for otlp/*.c"
    if me not in FLOOR or other not in FLOOR:
        return f"'{me if me not in FLOOR else other}' is on no floor"
    if me == other:
        return None
    if FLOOR[other] >= FLOOR[me]:
        return f"{me or 'src'}/ is on floor {FLOOR[me]}, {other or 'src'}/ on floor {FLOOR[other]}"
    if other not in SEES_ONLY.get(me, {other}):
        return f"{me}/ may include {', '.join(sorted(SEES_ONLY[me]))} only"
    return None


def check_foreign(path, header):
    """A line in angle brackets: libc, C++ or a library."""
    if header.removesuffix(".h") in STANDARD and header.endswith(".h"):
        return None
    if header in STANDARD_CPP:
        return None if path.endswith((".cpp", ".hpp")) else "a C++ header in C"
    for pattern, home in HOMES.items():
        if not re.fullmatch(pattern, header):
            continue
        if path.endswith((".h", ".hpp")) and header not in IN_HEADERS:
            return "no library's header in a header"
        return None if re.fullmatch(home, path) else f"its home is {home}"
    return "a library without a home: name it in tests/lint/lint.py"


def lint_source(path, text):
    problems = []
    for kind, header in INCLUDE.findall(text):
        problem = (check_own if kind == '"' else check_foreign)(path, header)
        if problem:
            problems.append(f"src/{path}: {header}: {problem}")
    return problems


def lint_includes(sources):
    return [p for path, text in sources.items() for p in lint_source(path, text)]


EXIT = re.compile(r"^ \*     ([\w.>-]+)\(\) +(\S+\.c)\b", re.M)


def lint_exits(sources, header="pipeline/pipeline.h"):
    """Each call that the header lists is made in the file beside it, and in no other."""
    listed = EXIT.findall(sources[header])
    problems = [] if len(listed) >= 5 else [f"src/{header}: the list of exits was not found"]
    for call, home in listed:
        # Definitions stand at the margin, calls are indented; a member is called by any path.
        found = rf"^[ \t]+.*\b{re.escape(call)}\(".replace(r"sink\.", r"sink(?:\.|->)")
        places = {path for path, text in sources.items() if path.endswith(".c") and re.search(found, text, re.M)}
        problems += [f"src/{header}: {call}() is not called in {home}"] if home not in places else []
        problems += [f"src/{p}: {call}(): text leaves here, and src/{header} has no such row" for p in sorted(places - {home}) if (call, p) not in listed]
    return problems


def lint_npm(package, lock):
    problems = []
    for kind in ("dependencies", "devDependencies"):
        for name, version in package.get(kind, {}).items():
            if not re.fullmatch(r"(npm:@?[\w./-]+@)?\d+\.\d+\.\d+(-[\w.]+)?", version):
                problems.append(f"package.json: {name}: '{version}' is not one version")
    if '"resolved"' in lock or re.search(r"https?://[^\"]*(registry|npmjs\.org|/-/)", lock):
        problems.append("package-lock.json names a registry: npm install --omit-lockfile-registry-resolved")
    locked = json.loads(lock)["packages"]
    for name, entry in locked.items():
        if name and "integrity" not in entry:
            problems.append(f"package-lock.json: {name}: no integrity")
    if locked[""].get("dependencies") != package.get("dependencies"):
        problems.append("package-lock.json is not of this package.json")
    return problems


def lint_readme(text, metrics_list):
    problems = []
    metrics = sorted(set(re.findall(r"^(lipservice_[a-z0-9_]+) ", metrics_list, re.M)))
    if len(metrics) < 30:
        problems.append(f"found {len(metrics)} metrics: is the program read rightly?")
    words = set(re.findall(r"lipservice_[a-z0-9_]+", text))
    problems += [f"manuals: {name} is no metric" for name in sorted(words) if name.startswith(METRIC_STEMS) and name not in metrics]
    return problems


FIRST_PAGE_LINES, FIRST_PAGE_COLUMNS, FIRST_PAGE_BYTES = 250, 120, 12 * 1024  # it is read in one sitting


def lint_first_page(text):
    lines = text.splitlines()
    problems = [f"README.md:{i + 1}: more than {FIRST_PAGE_COLUMNS} columns" for i, line in enumerate(lines) if len(line) > FIRST_PAGE_COLUMNS]
    if len(lines) > FIRST_PAGE_LINES or len(text.encode()) > FIRST_PAGE_BYTES:
        problems.append(f"README.md: {len(lines)} lines, {len(text.encode())} bytes: the rest belongs beside its code")
    return problems


def anchors(text):
    """As GitHub makes them of headings."""
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}


def lint_links():
    problems = []
    for page in [*ROOT.glob("*.md"), *(ROOT / ".github").glob("*.md"), *(p for d in ("src", "deploy", "tests", "bench") for p in (ROOT / d).rglob("*.md") if "node_modules" not in p.parts)]:
        for target in re.findall(r"\]\(([^)#:]*(?:#[^)]*)?)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                problems.append(f"{page.relative_to(ROOT)}: there is no {path}")
            elif anchor and anchor not in anchors(file.read_text()):
                problems.append(f"{page.relative_to(ROOT)}: {path or 'it'} has no heading '{anchor}'")
    return problems


INTRODUCTION = re.compile(r"(?<=<!-- introduction -->\n).*?(?=<!-- end of introduction -->\n)", re.S)


def with_introduction(document, page):
    """What `lipservice settings --markdown` prints, with the introduction of the page."""
    introduction = INTRODUCTION.search(page)
    return INTRODUCTION.sub(lambda _: introduction[0] if introduction else "", document, count=1)


def lint_settings(page, document):
    if len(re.findall(r"^\| `", document, re.M)) < 100 or not INTRODUCTION.search(document):
        return ["`lipservice settings --markdown` has few rows or no introduction: is the program read rightly?"]
    made = with_introduction(document, page)
    if page == made:
        return []
    pairs = itertools.zip_longest(page.splitlines(), made.splitlines())
    line, (shown, wanted) = next(((i, pair) for i, pair in enumerate(pairs, 1) if pair[0] != pair[1]), (0, ("", "")))
    return [f"src/config/README.md:{line}: {shown!r} where the program prints {wanted!r}; `lint.py settings PROGRAM --write` writes it anew"]


def lint_reference(written, printed):
    problems = [] if written == printed else ["src/sidecar/README.md: lipservice metrics --markdown > src/sidecar/README.md"]
    rows = re.findall(r"^\|(.*)\|$", printed, re.M)
    problems += [f"{row.strip()}: says nothing" for row in rows if not row.split("|")[-1].strip()]
    problems += [f"{name}: has two rows" for name in set(re.findall(r"lipservice_\w+", printed)) if printed.count(f"`{name}`") > 1]
    return problems + ([] if len(rows) > 50 else [f"found {len(rows)} rows: is the reference read rightly?"])


METRIC_STEMS = ("lipservice_receiver_", "lipservice_record", "lipservice_exporter_", "lipservice_http_",
                "lipservice_relay_", "lipservice_memory_", "lipservice_process_", "lipservice_ledger_", "lipservice_policy_")


# ---- what each must find


def expect(problems, count, what):
    if len(problems) != count:
        sys.exit(f"lint.py: its own example '{what}' gave {problems}")


def prove_includes():
    bad = {
        "util/x.c": '#include "net/http.h"\n',
        "net/x.c": '#include "otlp/wire.h"\n#include <curl/curl.h>\n',
        "net/x.h": "#include <zstd.h>\n",
        "pipeline/x.c": '#include "net/http.h"\n#include "export/batch.h"\n#include <uv.h>\n',
        "export/x.c": '#include "pipeline/rules.h"\n#include "config/config.h"\n',
        "policy/x.c": '#include "export/batch.h"\n',
        "receiver/x.c": '#include "config/config.h"\n#  include "sidecar/sidecar.h"\n#include <new>\n#include <zlib.h>\n',
        "attic/x.c": '#include "util/span.h"\n',
        "net/y.c": '#include "status.pb-c.h"\n',
    }
    good = {
        "net/http2.c": '#include <nghttp2/nghttp2.h>\n#include "net/http2.h"\n#include "util/span.h"\n#include <uv.h>\n',
        "net/client.h": "#include <uv.h>\n",
        "otlp/json_object.cpp": "#include <simdjson.h>\n#include <new>\n",
        "export/x.c": '#include "net/client.h"\n#include "otlp/wire.h"\n',
        "sidecar/x.c": '#include "config/config.h"\n#include "sidecar/sidecar.h"\n',
        "cli/x.c": '#include "config/config.h"\n#include "sidecar/sidecar.h"\n',
        "main.c": '#include "cli/cli.h"\n',
    }
    for path, text in bad.items():
        expect(lint_source(path, text), text.count("include"), path)
    expect(lint_includes(good), 0, "good sources")


def prove_exits():
    calls = {f"x/{n}.c": f"int {n}(void)\n{{\n    return {n}_out();\n}}\n" for n in "abcde"}
    header = "".join(f" *     {n}_out()  x/{n}.c  what\n" for n in "abcde")
    good = {"h.h": header, **calls}
    expect(lint_exits(good, "h.h"), 0, "good exits")
    expect(lint_exits({**good, "x/f.c": "int f(void)\n{\n    return a_out();\n}\n"}, "h.h"), 1, "an exit more")
    expect(lint_exits({**good, "x/a.c": ""}, "h.h"), 1, "an exit less")
    expect(lint_exits({**good, "h.h": ""}, "h.h"), 1, "no list")
    sinks = {**good, "h.h": header + " *     sink.emit()  x/a.c  what\n", "x/a.c": "    a_out(p->sink.emit(1));\n", "x/b.c": "    b_out(sink->emit(1));\n"}
    expect(lint_exits(sinks, "h.h"), 1, "another door")


def prove_npm():
    package = {"dependencies": {"a": "1.2.3"}}
    lock = {"packages": {"": dict(package), "node_modules/a": {"version": "1.2.3", "integrity": "sha512-x"}}}
    expect(lint_npm(package, json.dumps(lock)), 0, "good lock")
    expect(lint_npm({"dependencies": {"a": "^1.2.3"}}, json.dumps(lock)), 2, "a range")
    lock["packages"]["node_modules/a"]["resolved"] = "https://registry.example.org/a/-/a-1.2.3.tgz"
    expect(lint_npm(package, json.dumps(lock)), 1, "a registry")


def prove_readme():
    metrics = "".join(f"lipservice_record_{i}  counter  what\n" for i in range(40))
    expect(lint_readme("see lipservice_record_1", metrics), 0, "good manuals")
    expect(lint_readme("see lipservice_record_99", metrics), 1, "a metric that is none")
    expect(lint_readme("", metrics[:200]), 1, "few metrics")
    expect(lint_first_page("x" * 121 + "\n"), 1, "a long line")
    expect(lint_first_page("x\n" * 251), 1, "a long page")


def prove_metrics():
    rows = "".join(f"| `lipservice_x{i}` | what |\n" for i in range(60))
    expect(lint_reference(rows, rows), 0, "good reference")
    expect(lint_reference(rows + "\n", rows), 1, "another reference")
    expect(lint_reference(rows + "| `y` | |\n", rows + "| `y` | |\n"), 1, "a page without a text")
    expect(lint_reference(rows + rows[:30], rows + rows[:30]), 1, "a metric twice")
    expect(lint_reference("", ""), 1, "no reference")


def prove_settings():
    document = "# S\n<!-- introduction -->\n<!-- end of introduction -->\n" + "".join(f"| `a.b{i}` | `{i}s` |\n" for i in range(120))
    page = document.replace("<!-- end", "By hand: \\1\n\n| `mine` | |\n<!-- end")
    expect(lint_settings(page, document), 0, "good page")
    expect([] if with_introduction(document, page) == page else ["differs"], 0, "what --write writes")
    expect(lint_settings(page.replace("| `a.b7` | `7s` |\n", ""), document), 1, "a setting less")
    expect(lint_settings(page + "| `a.b120` | `1s` |\n", document), 1, "a setting too many")
    expect(lint_settings(page.replace("`8s`", "`9s`"), document), 1, "another default")
    expect(lint_settings(page.rstrip("\n"), document), 1, "a byte less")
    expect(lint_settings(page.replace("<!-- introduction -->\n", ""), document), 1, "no introduction")
    expect(lint_settings(page, "a.b 1s\n"), 1, "another format")


# ---- on the tree


def run_includes(_):
    prove_includes()
    return lint_includes(sources_of_tree())


def sources_of_tree():
    src = ROOT / "src"
    return {p.relative_to(src).as_posix(): p.read_text() for p in sorted(src.rglob("*")) if p.suffix in (".c", ".h", ".cpp", ".hpp")}


def run_exits(_):
    prove_exits()
    return lint_exits(sources_of_tree())


def run_npm(_):
    prove_npm()
    e2e = ROOT / "tests" / "e2e"
    return lint_npm(json.loads((e2e / "package.json").read_text()), (e2e / "package-lock.json").read_text())


def run_readme(args):
    prove_readme()
    manuals = [ROOT / "README.md", *sorted((ROOT / "src").rglob("README.md")), ROOT / "deploy" / "README.md"]
    text = "\n".join(p.read_text() for p in manuals)
    metrics = subprocess.run([args[0], "metrics"], capture_output=True, text=True, check=True).stdout
    return lint_first_page(manuals[0].read_text()) + lint_links() + lint_readme(text, metrics)


def run_metrics(args):
    prove_metrics()
    printed = subprocess.run([args[0], "metrics", "--markdown"], capture_output=True, text=True, check=True).stdout
    return lint_reference((ROOT / "src" / "sidecar" / "README.md").read_text(), printed)


def run_settings(args):
    prove_settings()
    page = ROOT / "src" / "config" / "README.md"
    document = subprocess.run([args[0], "settings", "--markdown"], capture_output=True, text=True, check=True).stdout
    if args[1:] == ["--write"]:
        page.write_text(with_introduction(document, page.read_text()))
    return lint_settings(page.read_text(), document)


FORMATTER = "14"  # its versions differ in what they make of the same file
UNFORMATTED = r"src/util/unicode_table\.h"


def run_format(_):
    try:
        version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        version = ""
    if f"version {FORMATTER}." not in version:
        print(f"skipped: clang-format {FORMATTER} is not installed")
        sys.exit(77)
    files = [
        p.relative_to(ROOT).as_posix()
        for folder in ("src", "tests", "bench")
        for p in sorted((ROOT / folder).rglob("*"))
        if p.suffix in (".c", ".h", ".cpp", ".hpp") and "node_modules" not in p.parts
    ]
    files = [f for f in files if not re.fullmatch(UNFORMATTED, f)]
    checked = subprocess.run(["clang-format", "--dry-run", "--ferror-limit=1", *files], cwd=ROOT, capture_output=True, text=True)
    return sorted({line.partition(":")[0] + ": clang-format -i" for line in checked.stderr.splitlines() if ": warning:" in line})


def main():
    checks = {"includes": run_includes, "exits": run_exits, "npm": run_npm, "format": run_format, "readme": run_readme, "settings": run_settings, "metrics": run_metrics}
    if len(sys.argv) < 2 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    problems = checks[sys.argv[1]](sys.argv[2:])
    print("\n".join(problems) or f"{sys.argv[1]}: clean")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
