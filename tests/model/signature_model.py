#!/usr/bin/env python3
"""Compare the program's signatures, byte for byte, with the specification's model.

    signature_model.py TOOL [--count N] [--seed S]

TOOL is a program that answers like `lipservice signature`. The model and the
labelled logs are looked for in ../shared beside the repository, or in SHARED_DIR;
without them the test is skipped (exit status 77). Standard library only.
"""
import argparse
import csv
import glob
import hashlib
import json
import os
import random
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("SHARED_DIR") or os.path.join(ROOT, "..", "shared")
BATCH = 20000
SHOWN = 10


def load_model():
    sys.path.insert(0, os.path.join(SHARED, "model"))
    import pattern_ref
    return pattern_ref


def escape(raw):
    return raw.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def run(tool, records, *options):
    data = b"".join(escape(r) + b"\n" for r in records)
    if "--records" not in options:
        options += ("--escaped",)
    out = subprocess.run(tool + list(options), input=data, stdout=subprocess.PIPE, check=True).stdout
    lines = out.split(b"\n")[:-1]
    assert len(lines) == len(records), (len(lines), len(records))
    return lines


def joined(parts):
    return "\x02".join(parts).encode("utf-8", "surrogateescape")


def differences(name, records, got, want):
    """The number of records whose answers differ."""
    wrong = 0
    for record, g, w in zip(records, got, want):
        if g != w:
            wrong += 1
            if wrong <= SHOWN:
                print(f"DIFFERENT {name}: {record!r}\n  program {g!r}\n  model   {w!r}")
    print(f"{name}: {len(records)} records, {wrong} different")
    return wrong


def in_batches(tool, records, *options):
    for at in range(0, len(records), BATCH):
        yield from run(tool, records[at:at + BATCH], *options)


def compare(tool, model, name, records):
    """Canonical bytes, and the severity that a text names itself."""
    texts = [r.decode("utf-8", "surrogateescape") for r in records]
    got = (bytes.fromhex(x.split(b"\t")[1].decode()) for x in in_batches(tool, records, "--bytes"))
    wrong = differences(name, records, got, (joined(model.body_parts(t)) for t in texts))
    hints = (model.severity_hint(t).encode() for t in texts)
    return wrong + differences(name + ", hints", records, in_batches(tool, records, "--hint"), hints)


def compare_records(tool, model, name, records):
    """The same of whole records."""
    raw = [json.dumps(r).encode() for r in records]
    got = (bytes.fromhex(x.split(b"\t")[1].decode()) for x in in_batches(tool, raw, "--bytes", "--records"))
    wrong = differences(name, records, got, (joined(model.record_parts(**r)) for r in records))
    hints = (model.record_hint(r.get("body"), r.get("attributes")).encode() for r in records)
    return wrong + differences(name + ", hints", records, in_batches(tool, raw, "--hint", "--records"), hints)


def log_lines():
    content, raw = [], []
    for path in sorted(glob.glob(os.path.join(SHARED, "data", "loghub", "*", "*structured*.csv"))):
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as f:
            content += [(row["Content"] or "").encode("utf-8", "surrogateescape")
                        for row in csv.DictReader(f)]
    for path in sorted(glob.glob(os.path.join(SHARED, "data", "loghub", "*", "*.log"))):
        with open(path, "rb") as f:
            raw += [line.rstrip(b"\r\n") for line in f.read().split(b"\n") if line.strip()]
    return content, raw


PIECES = """= , ; : | ( ) [ ] { } < > " ' ` :: () [] {} "" '' --- === ... ___ ~~~ :\\ :// C:\\ ./ ../ ~/ a/b /a/b
 ?x= /a?b= 0x1f do_exit+0x9f/0x2e3 Socket@1a2b Ab@ @x a@b.c jan Feb. Mon UTC am 12 ms MiB byte true NULL None
 nan user for by invalid unknown authentication session id: taskId: podName: x-request-id: "id":"a" "msg":"b"
 'key':'v w' level=info msg="a b" err=x key="" k= = <1 <a> << >> >5 fe80 ::1 5c:50:15 ff abcdefab utf-8 IPv4
 x86_64 s3 java.io.IOException a.b.c example.com host.local 1.2.3.4 10:00:05 2024-05-01T10:00:00Z 12:34 \x1b[31m
 \x1b[0m \x1b \x1bx \t \v \f \x00 \x01 \x02 \x1c \x85 \xa0 é 用户 登录 \u2003 \u3000 \ud83d\ude00 à +5 -5 ~ _ ^ & % $ # * ! ?
 HTTP/1.1 text/html I/O a\\b a\\b\\c \\\\x .a a. .. a.. (x) [x] {x} v1 v4 https://a.b/c?d=e#f ) ] , ; é:\\x ftp://""".split(" ")

TRACE = ["\n", "\n\t", "\n  ", "\nCaused by: a.B: c: d", "\nSuppressed: x", "\nCaused by", "\n\tat a.b.C.m(C.java:10)",
         "\n  File \"/a/b.py\", line 3, in f", "\n\t... 3 more", "\nTraceback (most recent call last):", "\nValueError: x",
         "\n#0 0x1234 in foo::bar() at x.c:3", "\n   #12", "\n  main.go:12 +0x1f", "\r\n", "\n\u2003", "\n \u00b2\u0663",
         "\n\tat Object.<anonymous> (/a/b.js:1:2)", "\n  a:::b", "\n  $x9 9", "\n\nE", "\n \n", "\n0: std::panic"]

HEADERS = """2026-11-30|09:00:00,123|INFO|[main]|org.shop.Cart:
2026-11-30T09:00:00.123Z|stdout|F|10:00:05|ERROR:|-|x.y|-
<14>1|2026-11-30T09:00:00Z|h1|app|12|-|[a@1 b="c"]|\ufeff
<191>Nov|30|09:00:00|host|cron[12]:|Jan||1|host2|kernel:
W1130|09:00:00.123456|277|cache.go:138]|E11301201|[ warn]|[core:error]
261130|090000|148|WARN|dfs.Cart:|LOG:|LOG|AM
web_1|\x7c|[2026-11-30|09:00:00,1:|INFO/Main]|[Mon|2026]|(x1)|<7>
- 1764493200|1764493200|2026.11.30|n7|null|WORD|12-30-09.10.11.123|2026-11-30-09.10.11.5|20261130T090000Z
I|name|*64|:|  :|tag(|123):|tag(x)[1]:|INFO[0001]|INFO  |info:|verbose:|Fail|stderr P|+01:00|CEST
192.0.2.1|"GET|/a/b1/c?d|HTTP/1.1"|200|"-"|404,|"GET /x"|] "-" 400|/health|http://a/b/c/d/e/f|POST""".replace("\\x7c", "|").replace("\n", "|").split("|")

KEYS = ["level", "msg", "message", "event", "logger", "error.type", "Msg", "MESSAGE", "severity", "log", "a", "ts", "body",
        "text", "lvl", "event_name", "é", "", "exception_type", "Level", "k\u212aey", "fields", "fields.message", "Fields", "x",
        "@mt", "State", "state", "x.@mt", "{OriginalFormat}", "message_template", "log.record", "template", "code", "function",
        "function.name", "code.function", "name", "event.name", "exception", "type", "PRIORITY", "priority", "syslog", "scope",
        "syslog.severity", "textPayload", "logger", "target", "otel.scope.name", "exception.type", "@l", "levelname"]

LEVELS = ["info", " Warn ", "ERROR", "fine", "loud", 10, 30, 35, 50, 60, 3, 7, 30.0, 3e1, "3", "8", "8 ", True, "panic"]


def json_value(r, words, depth=0, nan=True):
    n = r.randrange(16)
    if n < 5:
        return " ".join(r.choices(words, k=r.randrange(6)))
    if n == 5 and depth < 4:
        return json_body(r, words, depth + 1)
    if n < 9 and depth < 3:
        return {r.choice(KEYS): json_value(r, words, depth + 1) for _ in range(r.randrange(4))}
    if n == 9:
        return r.choice(LEVELS)
    return r.choice([1, -5, 0, True, False, None, 1.5, [1, "a"], {"msg": "x"}, 2 ** 62, -2 ** 63, 1e300, "", "\x07", "\x07x y", " \t",
                     "a\nb\n\tat x.Y.z(Q:1)", "ok", "at {Name} of {0:x} %5d <*>", "2026-11-30 09:00:00 ERROR x - db \\u0041", "level=warn msg=y"])


def json_body(r, words, depth=0):
    def text(v):
        if r.randrange(30) == 0:
            return r.choice(["1e999", "9" * 30, "\"\\ud800x\"", "\"\\ud83d\\ude00\"", "-0", "1E1", "\"\\/\\b\"", "[[[]]]", "{}", " [ ] "])
        return json.dumps(v, ensure_ascii=r.random() < .5)
    members = [(r.choice(KEYS), json_value(r, words, depth)) for _ in range(r.randrange(6))]
    return "{" + ", ".join(f"{json.dumps(k, ensure_ascii=r.random() < .5)}:{text(v)}" for k, v in members) + "}"


def json_record(r, lines):
    words = r.choice(lines).decode("utf-8", "replace").split() or ["x"]
    record = {}
    if r.randrange(5):
        record["body"] = r.choice([json_value(r, words), " ".join(words), None, "", [json_value(r, words) for _ in range(r.randrange(4))]])
    if r.randrange(4):
        record["attributes"] = {r.choice(KEYS + ["http.route"] * 20): json_value(r, words, 1) for _ in range(r.randrange(4))}
    if r.randrange(8) == 0:
        record["event_name"] = r.choice(["", "cart.saved"])
    if r.randrange(3) == 0:
        record["scope"] = r.choice(["", "a.b"])
    return record


def mutated(r, lines):
    raw = bytearray(r.choice(lines))
    for _ in range(r.randrange(1, 6)):
        kind = r.randrange(15)
        at = r.randrange(len(raw) + 1)
        if kind == 0 and raw:
            raw[at % len(raw)] ^= 1 << r.randrange(8)
        elif kind == 1:
            raw[at:at] = r.randbytes(r.randrange(1, 9))
        elif kind in (2, 3, 4, 5):
            raw[at:at] = r.choice(["", " "]).encode() + r.choice(PIECES).encode("utf-8", "surrogatepass") \
                + r.choice(["", " "]).encode()
        elif kind == 6:
            other = r.choice(lines)
            cut = r.randrange(len(other) + 1)
            raw[at:] = other[cut:]
        elif kind == 7:
            del raw[at:at + r.randrange(1, 12)]
        elif kind == 8:
            raw[at:at] = bytes([r.choice(b"\"'()<>:=,{}[]./-+ \t")]) * r.randrange(1, 5)
        elif kind == 9:
            raw += r.choice(TRACE).encode() + r.choice(["", "x", " y:z (w)"]).encode()
        elif kind == 10:
            raw = bytearray(" ".join(r.choices(PIECES, k=r.randrange(1, 14))).encode("utf-8", "surrogatepass"))
        elif kind == 11:
            raw[:0] = " ".join(r.choices(HEADERS, k=r.randrange(1, 7))).encode() + r.choice([b"", b" ", b"  ", b"\t", b"|", b": "])
        elif kind == 12:
            raw = bytearray(" ".join(r.choice(["level=info", "msg=\"a \\\"b\"", "msg=x", "a.b=1", "k=", "t=2", "@m=\"y z\""])
                                     for _ in range(r.randrange(1, 6))).encode())
        elif kind == 13:
            raw[at:at] = r.choice(HEADERS).encode()
        else:
            raw[at:at] = raw[:r.randrange(40)]
    if r.randrange(400) == 0:
        raw = raw * r.randrange(1, 200)             # past 8,192 bytes and 256 tokens
    if r.randrange(20) == 0:
        words = [w for w in raw.decode("utf-8", "replace").split() if w] or ["x"]
        raw = bytearray(r.choice(["", "", "2026-11-30T09:00:00Z stdout F "]).encode() + json_body(r, words).encode("utf-8", "surrogatepass"))
        if r.randrange(3) == 0 and len(raw) > 2:
            raw[r.randrange(1, len(raw))] ^= 1 << r.randrange(8)
    return bytes(raw[:60000])


def fuzz(tool, model, lines, count, seed):
    r = random.Random(seed)
    wrong = 0
    for at in range(0, count, BATCH):
        records = [mutated(r, lines) for _ in range(min(BATCH, count - at))]
        wrong += compare(tool, model, f"fuzz seed {seed} from {at}", records)
    records = [json_record(r, lines) for _ in range(count // 5)]
    return wrong + compare_records(tool, model, f"fuzz seed {seed}, whole records", records)


KINDS = ("same", "differ", "same_records", "differ_records", "hint")


def check_cases(tool):
    with open(os.path.join(SHARED, "model", "pattern_cases.json"), encoding="utf-8") as f:
        cases = json.load(f)
    wrong = 0
    for case in cases:
        kind = next(k for k in KINDS if k in case)
        if kind == "hint":
            good = set(run(tool, [t.encode() for t in case["lines"]], "--hint")) == {case["hint"].encode()}
        else:
            texts = [t if isinstance(t, str) else json.dumps(t) for t in case[kind]]
            ids = set(run(tool, [t.encode() for t in texts], *["--records"] * kind.endswith("_records")))
            good = len(ids) == (len(texts) if kind.startswith("differ") else 1)
        if not good:
            wrong += 1
            print("WRONG case", case["name"])
    print(f"pattern cases: {len(cases)}, {wrong} wrong")
    return wrong


def check_vectors(tool):
    with open(os.path.join(SHARED, "facts", "signature-vectors.json"), encoding="utf-8") as f:
        vectors = json.load(f)["vectors"]
    wrong = 0
    for mode, field in (("py-sdk", "python_sdk"), ("backend", "backend")):
        got = run(tool, [v["message"].encode() for v in vectors], "--mode", mode, "--bytes")
        for v, line in zip(vectors, got):
            want = v[field]["normalized"].encode()
            line = line.split(b"\t")
            if bytes.fromhex(line[1].decode()) != want or line[0].decode() != v[field]["md5"]:
                wrong += 1
                print("WRONG vector", mode, v["id"], line)
    print(f"vectors of older versions: {2 * len(vectors)}, {wrong} wrong")
    return wrong


def check_older(tool, lines, count, seed):
    """The older versions' rules with Python's own expressions."""
    import re
    uuid = "[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}"
    quad = r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b"
    sdk = [(uuid, "UUID", re.I), (r"\b[a-f0-9]{32,}\b", "HEXID", re.I),
           (r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}", "TIMESTAMP", 0), (r"\b\d{4}-\d{2}-\d{2}\b", "DATE", 0),
           (r"\b\d{2}:\d{2}:\d{2}\b", "TIME", 0), (quad, "IP", 0),
           (r"\b[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}\b", "EMAIL", 0), (r"https?://[^\s]+", "URL", 0),
           (r"\b\d+\b", "N", 0), (r"\s+", " ", 0)]
    server = [(r"\d+", "N", 0), (uuid, "UUID", 0), (r"\b[0-9a-f]{32}\b", "UUID", 0),
              (r"\d{4}-\d{2}-\d{2}", "DATE", 0), (r"\d{2}:\d{2}:\d{2}", "TIME", 0), (quad, "IP", 0),
              (r"[a-z]:\\[^\s]+", "PATH", 0), (r"/[^\s]+/[^\s]+", "PATH", 0), (r"\s+", " ", 0)]

    def normal(text, mode):
        if mode == "backend":
            text = text.lower().strip() if text else "empty"
        for pattern, put, flags in sdk if mode == "py-sdk" else server:
            text = re.sub(pattern, put, text, flags=flags)
        return text.strip() if mode == "py-sdk" else text

    extra = ["a.b@c.de", "x%@a-b.co.uk9", "é@a.bc", "@", "1.2.3.4", "1.2.3.4.5", "12:34:56", "2024-01-02", "2024-01-02T03:04:05",
             "\u0661\u0662", "ΟΔΟΣ", "ΣΑΣ.", "İstanbul", "/a/b", "//", "/x/", "c:\\x", "http://", "https://x y", "d41d8cd98f00b204e9800998ecf8427e",
             "550e8400-e29b-41d4-a716-446655440000", "abcdefab-cdef-abcd-efab-cdefabcdefab", "deadbeef" * 4, "Ǆ", "ß", "\u00a0", "\u2028"]
    r = random.Random(seed)
    wrong = 0
    for mode in ("py-sdk", "backend"):
        records = []
        for _ in range(count):
            words = r.choice(lines).decode("utf-8", "replace").split(" ")
            words += r.choices(extra, k=r.randrange(4))
            r.shuffle(words)
            text = r.choice(["", " ", ".", "-"]).join(words[:30])
            text = "".join(c if r.random() > .02 else r.choice("aA0.@:/-\u03a3é \\") for c in text)
            records.append(text)
        for text, line in zip(records, run(tool, [t.encode() for t in records], "--mode", mode, "--bytes")):
            want = normal(text, mode).encode()
            md5, got = line.split(b"\t")
            if bytes.fromhex(got.decode()) != want or md5.decode() != hashlib.md5(want).hexdigest():
                wrong += 1
                if wrong <= SHOWN:
                    print(f"DIFFERENT {mode}: {text!r}\n  program {bytes.fromhex(got.decode())!r}\n  python  {want!r}")
    print(f"older versions against Python's expressions: {2 * count}, {wrong} wrong")
    return wrong


def check_scores(tool):
    script = os.path.join(SHARED, "model", "pattern_eval.py")
    out = subprocess.run([sys.executable, script, os.path.join(SHARED, "data", "loghub"), "--json", "--cmd", " ".join(tool + ["--escaped"])],
                         stdout=subprocess.PIPE, check=True).stdout
    average = json.loads(out)["average"]
    print("LogHub:", ", ".join(f"{k} {average[k]:.3f}" for k in ("GA", "FGA", "pure", "cov")))
    return int(average["GA"] < 0.984 or average["FGA"] < 0.960)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("tool")
    p.add_argument("--count", type=int, default=100000, help="fuzzed records (default 100000)")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    if not os.path.isdir(os.path.join(SHARED, "model")):
        print(f"skipped: no model in {SHARED} (set SHARED_DIR to look elsewhere)")
        return 77
    tool = [os.path.abspath(a.tool)]
    if os.path.basename(tool[0]) == "lipservice":
        tool.append("signature")
    model = load_model()
    content, raw = log_lines()
    wrong = compare(tool, model, "LogHub contents", content)
    wrong += compare(tool, model, "LogHub raw lines", raw)
    wrong += check_cases(tool)
    wrong += check_vectors(tool)
    wrong += check_scores(tool)
    wrong += check_older(tool, raw, max(1000, a.count // 20), a.seed)
    wrong += fuzz(tool, model, content + raw, a.count, a.seed)
    print("all equal" if wrong == 0 else f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
