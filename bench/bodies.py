#!/usr/bin/env python3
"""Make request bodies for the benchmarks: bodies.py DIR [BODIES] [RECORDS] [calm] [hard] [rotating N].

Writes DIR/NN.pb, NN.pb.gz, NN.json and NN.grpc (with its 5-byte prefix):
BODIES different bodies (default 24: one body repeated would flatter every
compressor) of RECORDS records (default 1000) of about 480 bytes. The severities
are mixed so that the default rates keep 22.5 %: DEBUG 40, INFO 40, WARN 15,
ERROR 5 of a hundred; with "calm" WARN instead of ERROR, which no rule can drop;
with "rotating" the lines are of N patterns in turn, seven random words each.
With "hard" a record's text is of about 220 bytes and as uneven as real ones are (UUIDs,
addresses, paths, numbers, quotes; of a hundred 45 sentences, 20 key=value, 15 JSON, 10 lines
with a header, 5 of an access log, 5 with a stack trace), beside five attributes; without it
of 80 bytes with three numbers, beside ten.
Deterministic. Standard library only.
"""
import gzip
import json
import random
import struct
import sys

WORDS = """order payment cart session user cache index worker queue shard replica token
request response upstream handler router job batch stream bucket region tenant invoice
checkout inventory shipment refund profile webhook gateway scheduler backup segment""".split()
VERBS = """created updated removed expired accepted rejected retried flushed opened closed
resolved loaded evicted assigned completed started scheduled validated""".split()
LEVELS = [(40, 5, "DEBUG"), (40, 9, "INFO"), (15, 13, "WARN"), (5, 17, "ERROR")]


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def tag(number, wire):
    return varint(number << 3 | wire)


def field(number, payload):
    return tag(number, 2) + varint(len(payload)) + payload


def any_value(v):
    if isinstance(v, str):
        return field(1, v.encode())
    if isinstance(v, float):
        return tag(4, 1) + struct.pack("<d", v)
    return tag(3, 0) + varint(v)


def key_value(k, v):
    return field(1, k.encode()) + field(2, any_value(v))


def json_value(v):
    if isinstance(v, str):
        return {"stringValue": v}
    return {"doubleValue": v} if isinstance(v, float) else {"intValue": v}


def templates(rng):
    out = []
    for _ in range(200):
        a, b, c = rng.sample(WORDS, 3)
        out.append(f"{a} %d {rng.choice(VERBS)} by {b} {c} in %d ms, remaining %d of {a}-{b}")
    return out


def rotating(rng, patterns):
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    return [" ".join("".join(rng.choices(syllables, k=3)) for _ in range(7)) + " %d %d %d"
            for _ in range(patterns)]


# ---- hard texts: a template is a list of pieces, fixed ones and what makes a value -------------

def uuid(rng):
    h = f"{rng.getrandbits(128):032x}"
    return "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))


def address(rng):
    return ".".join(str(rng.randrange(1, 255)) for _ in range(4))


def path(rng):
    return f"/api/v{rng.randrange(1, 4)}/{rng.choice(WORDS)}s/{rng.randrange(10**6)}/{rng.choice(WORDS)}"


VALUES = {
    "uuid": uuid, "address": address, "path": path,
    "socket": lambda r: f"{address(r)}:{r.randrange(1024, 65536)}",
    "number": lambda r: str(r.randrange(10**r.randrange(1, 8))),
    "ms": lambda r: f"{r.randrange(1, 5000)}ms" if r.randrange(2) else f"{r.random() * 900:.3f} ms",
    "hex": lambda r: f"{r.getrandbits(64):016x}",
    "time": lambda r: f"2026-11-{r.randrange(1, 29):02d}T{r.randrange(24):02d}:{r.randrange(60):02d}:{r.randrange(60):02d}.{r.randrange(1000):03d}Z",
    "file": lambda r: f"/var/lib/{r.choice(WORDS)}/{r.choice(WORDS)}-{r.randrange(10**5)}.{r.choice(('log', 'db', 'tmp'))}",
    "url": lambda r: f"https://{r.choice(WORDS)}.shop.internal:8443/v1/{r.choice(WORDS)}?id={r.randrange(10**6)}&page={r.randrange(50)}",
    "mail": lambda r: f"{r.choice(WORDS)}.{r.choice(WORDS)}{r.randrange(100)}@example.com",
    "quoted": lambda r: f"'{r.choice(WORDS)}-{r.randrange(1000)}'",
    "size": lambda r: f"{r.random() * 500:.1f} MiB",
}
JOINTS = ["for {}", "from {}", "in {}", "(id={})", "[{}]", "at {}", "with {}", "after {}", "to {}", "as {}", "key={}", "ref: {}"]


def sentence(rng, bytes_wanted):
    """Words with values among them."""
    out = [f"{rng.choice(WORDS).capitalize()} {rng.choice(WORDS)} {rng.choice(VERBS)}"]
    while sum(len(p) if p not in VALUES else 16 for p in out) < bytes_wanted:
        before, behind = rng.choice(JOINTS).split("{}")
        out += [f" {before}", rng.choice(list(VALUES)), f"{behind}{rng.choice((',', '', '', ';'))} "
                f"{rng.choice(WORDS)} {rng.choice(VERBS)}"]
    return out


def pairs(rng):
    out = ["level=", "level", " msg=\"", *sentence(rng, 60), "\""]
    keys = [f"{a}_{b}" for a in rng.sample(WORDS, 3) for b in ("id", "ms")] + ["caller", "peer", "path"]
    for key in rng.sample(keys, 5):
        kind = {"id": "uuid", "ms": "number"}.get(key[-2:], {"peer": "socket", "path": "path"}.get(key, "word"))
        out += [f" {key}=", kind]
    return out


def json_text(rng):
    out = ['{"level":"', "level", '","time":"', "time", '","msg":"', *sentence(rng, 60), '"']
    for key in rng.sample(WORDS, 3):
        out += [f',"{key}":', rng.choice(("number", "number", "string"))]
    return out + [',"req":{"id":"', "uuid", '","remote":"', "socket", '"}}']


def headed(rng):
    logger = f"com.shop.{rng.choice(WORDS)}.{rng.choice(WORDS).capitalize()}"
    return ["time", " ", "LEVEL", " [worker-", "number", f"] {logger} - ", *sentence(rng, 110)]


def access(rng):
    return ["address", " - - [10/Oct/2026:13:55:36 +0000] \"GET ", "path", " HTTP/1.1\" 200 ", "number",
            " \"", "url", "\" \"Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0\""]


def trace(rng):
    name = f"com.shop.{rng.choice(WORDS)}.{rng.choice(WORDS).capitalize()}"
    frames = "".join(f"\n\tat {name}${rng.choice(VERBS)}({rng.choice(WORDS).capitalize()}.java:{rng.randrange(900)})" for _ in range(3))
    return [*sentence(rng, 50), f"\njava.lang.IllegalStateException: {rng.choice(WORDS)} ", "number", frames]


def hard_templates(rng):
    kinds = [lambda r: sentence(r, 170)] * 45 + [pairs] * 20 + [json_text] * 15 + [headed] * 10 + [access] * 5 + [trace] * 5
    return [rng.choice(kinds)(rng) for _ in range(200)]


def hard_text(rng, template, level):
    values = {"level": level.lower(), "LEVEL": level, "word": rng.choice(WORDS), "string": f'"{rng.choice(WORDS)}"'}
    return "".join(values.get(p) or (VALUES[p](rng) if p in VALUES else p) for p in template)


def hard_record(rng, texts, at, levels):
    number, level = severity(rng, levels)
    # More even than the easy ones: 200 shapes of text in a row that nothing predicts.
    body = hard_text(rng, texts[min(int(rng.expovariate(1 / 50)), len(texts) - 1)], level)
    attributes = {
        "code.function.name": f"{rng.choice(WORDS)}.{rng.choice(VERBS)}",
        "thread.name": f"worker-{rng.randrange(16)}",
        "client.address": address(rng),
        "duration_ms": rng.random() * 100,
        "posthogDistinctId": f"{rng.getrandbits(64):016x}",
    }
    return at, number, level, body, attributes, rng.randbytes(16), rng.randbytes(8)


def severity(rng, levels):
    pick = rng.randrange(100)
    for share, number, level in levels:
        if pick < share:
            break
        pick -= share
    return number, level


def record(rng, texts, at, levels, turn=None):
    number, level = severity(rng, levels)
    # Zipf-like: a few templates make most of the lines.
    text = texts[min(int(rng.paretovariate(0.8)) - 1, len(texts) - 1) if turn is None else turn % len(texts)]
    body = text % (rng.randrange(10**6), rng.randrange(2000), rng.randrange(10**4))
    attributes = {
        "http.request.method": rng.choice(["GET", "POST", "PUT"]),
        "url.path": f"/api/{rng.choice(WORDS)}/{rng.randrange(10**6)}",
        "code.function.name": f"{rng.choice(WORDS)}.{rng.choice(VERBS)}",
        "code.line.number": rng.randrange(2000),
        "thread.name": f"worker-{rng.randrange(16)}",
        "client.address": f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)}",
        "user.id": f"u-{rng.randrange(10**8):08d}",
        "duration_ms": rng.random() * 100,
        "tenant": rng.choice(WORDS),
        "posthogDistinctId": f"{rng.getrandbits(64):016x}",
    }
    return at, number, level, body, attributes, rng.randbytes(16), rng.randbytes(8)


RESOURCE = {"service.name": "shop", "service.version": "1.4.2", "host.name": "node-17",
            "service.instance.id": "5f3c1e9a-77aa-4d0e-9f6b-2f0f4d7c1b11", "os.type": "linux"}


def protobuf(records):
    rows = b""
    for at, number, level, body, attributes, trace, span in records:
        r = tag(1, 1) + struct.pack("<Q", at) + tag(2, 0) + varint(number) + field(3, level.encode())
        r += field(5, any_value(body))
        for k, v in attributes.items():
            r += field(6, key_value(k, v))
        r += field(9, trace) + field(10, span) + tag(11, 1) + struct.pack("<Q", at)
        rows += field(2, r)
    scope = field(1, field(1, b"shop.logger") + field(2, b"1.0.0")) + rows
    resource = b"".join(field(1, key_value(k, v)) for k, v in RESOURCE.items())
    return field(1, field(1, resource) + field(2, scope))


def as_json(records):
    rows = [{"timeUnixNano": str(at), "severityNumber": number, "severityText": level,
             "body": {"stringValue": body},
             "attributes": [{"key": k, "value": json_value(v)} for k, v in attributes.items()],
             "traceId": trace.hex(), "spanId": span.hex(), "observedTimeUnixNano": str(at)}
            for at, number, level, body, attributes, trace, span in records]
    resource = [{"key": k, "value": json_value(v)} for k, v in RESOURCE.items()]
    scope = {"scope": {"name": "shop.logger", "version": "1.0.0"}, "logRecords": rows}
    return json.dumps({"resourceLogs": [{"resource": {"attributes": resource},
                                         "scopeLogs": [scope]}]}, separators=(",", ":")).encode()


def main():
    where, *rest = sys.argv[1:]
    bodies, size = (int(rest.pop(0)) if rest and rest[0].isdigit() else n for n in (24, 1000))
    levels = LEVELS[:-1] + [(5, 13, "WARN")] if "calm" in rest else LEVELS
    hard, in_turn = "hard" in rest, "rotating" in rest
    rng = random.Random(42)
    texts = (rotating(rng, int(rest[rest.index("rotating") + 1])) if in_turn
             else hard_templates(rng) if hard else templates(rng))
    total = 0
    for i in range(bodies):
        times = [1_700_000_000_000_000_000 + k * 1000 for k in range(size)]
        records = [hard_record(rng, texts, at, levels) if hard
                   else record(rng, texts, at, levels, i * size + k if in_turn else None)
                   for k, at in enumerate(times)]
        pb = protobuf(records)
        total += len(pb)
        for suffix, data in (("pb", pb), ("pb.gz", gzip.compress(pb, 6, mtime=0)),
                             ("json", as_json(records)),
                             ("grpc", b"\0" + struct.pack(">I", len(pb)) + pb)):
            with open(f"{where}/{i:02d}.{suffix}", "wb") as f:
                f.write(data)
    print(f"{bodies} bodies of {size} records, {total / bodies / size:.0f} bytes a record")


if __name__ == "__main__":
    main()
