#!/usr/bin/env python3
"""Make request bodies for the benchmarks: bodies.py DIR [BODIES] [RECORDS] [calm|rotating N].

Writes DIR/NN.pb, NN.pb.gz, NN.json and NN.grpc (with its 5-byte prefix):
BODIES different bodies (default 24: one body repeated would flatter every
compressor) of RECORDS records (default 1000) of about 480 bytes. The severities
are mixed so that the default rates keep 22.5 %: DEBUG 40, INFO 40, WARN 15,
ERROR 5 of a hundred; with "calm" WARN instead of ERROR, which no rule can drop;
with "rotating" the lines are of N patterns in turn, seven random words each.
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


def record(rng, texts, at, levels, turn=None):
    pick = rng.randrange(100)
    for share, number, level in levels:
        if pick < share:
            break
        pick -= share
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
    where = sys.argv[1]
    bodies = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    size = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    levels = LEVELS[:-1] + [(5, 13, "WARN")] if sys.argv[4:] == ["calm"] else LEVELS
    rng = random.Random(42)
    in_turn = sys.argv[4:5] == ["rotating"]
    texts = rotating(rng, int(sys.argv[5])) if in_turn else templates(rng)
    total = 0
    for i in range(bodies):
        records = [record(rng, texts, 1_700_000_000_000_000_000 + k * 1000, levels,
                          i * size + k if in_turn else None)
                   for k in range(size)]
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
