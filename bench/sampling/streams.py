#!/usr/bin/env python3
"""Streams on which sampling is judged (judge.c), one record a line, in order of time:

    milliseconds <TAB> service <TAB> key <TAB> text

streams.py bursty  [--seed N]             half an hour of 200 patterns by Zipf's law, 2,000 records a second, with 40
                                          rare ones of 2 to 8 records, and three bursts of a minute, 8,000 a second
                                          more: of a pattern that is known, of one that is new, of all of them
streams.py diurnal [--seed N] [--hours H] 200 patterns by Zipf's law, 50 a second +- 80 % over a day of H (6) hours
streams.py loghub  DIR                    labelled logs of DIR (a folder for each system, with *.log and a CSV of
                                          templates, https://github.com/logpai/loghub): each system a service, its
                                          own times scaled to five minutes, six times over

`key` is the true pattern, which only the judge knows. The same seed gives the same stream.
"""
import argparse
import bisect
import csv
import datetime
import itertools
import math
import pathlib
import random
import re
import sys

PATTERNS, RARE = 200, 40
MINUTE_MS = 60_000


def word(n):
    """A word of letters for a number: no two alike, none with a digit."""
    letters, n = "", n + 26
    while n:
        n, rest = divmod(n, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def text(key, rng):
    return f"qz{word(key * 3 + 1)} handled wz{word(key * 7 + 5)} for yz{word(key * 11 + 9)} took {rng.randrange(1 << 31)} ms"


def zipf(n):
    sums = list(itertools.accumulate(1 / k for k in range(1, n + 1)))
    return lambda rng: min(bisect.bisect_left(sums, rng.random() * sums[-1]), n - 1)


def arrivals(rng, per_s, start_ms, length_ms, shape=None, highest=1.0):
    """Times of a Poisson process of rate per_s * shape(ms), by thinning one of the highest rate."""
    at = float(start_ms)
    while True:
        at += rng.expovariate(per_s * highest) * 1000
        if at >= start_ms + length_ms:
            return
        if shape is None or rng.random() * highest < shape(at):
            yield int(at)


def bursty(seed):
    rng, loud, half_hour = random.Random(seed), zipf(PATTERNS), 30 * MINUTE_MS
    out = [(at, loud(rng)) for at in arrivals(rng, 2000, 0, half_hour)]
    for k in range(RARE):
        out += [(rng.randrange(half_hour), PATTERNS + 1 + k) for _ in range(rng.randint(2, 8))]
    for start_s, key in ((300, lambda: 20), (907, lambda: PATTERNS), (1500, lambda: loud(rng))):
        out += [(at, key()) for at in arrivals(rng, 8000, start_s * 1000, MINUTE_MS)]
    return ((at, "bursty", key, text(key, rng)) for at, key in sorted(out))


def diurnal(seed, hours):
    rng, loud, day_ms = random.Random(seed), zipf(PATTERNS), hours * 3_600_000
    wave = lambda ms: 1 + 0.8 * math.sin(2 * math.pi * ms / day_ms)
    for at in arrivals(rng, 50, 0, day_ms, wave, 1.8):
        key = loud(rng)
        yield at, "diurnal", key, text(key, rng)


MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
TIMES = [  # how a line says when, and what its groups are
    (r"\b(1\d{9})\b", "e"),
    (r"(\d{4})[-/](\d\d)[-/](\d\d)[ T](\d\d):(\d\d):(\d\d)", "YmdHMS"),
    (r"(\d\d)/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)", "ymdHMS"),
    (r"^(\d\d)(\d\d)(\d\d) (\d\d)(\d\d)(\d\d) ", "ymdHMS"),
    (r"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)", "bdHMS"),
    (r"^(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)", "mdHMS"),
]


def seconds_of(line):
    for pattern, names in TIMES:
        found = re.search(pattern, line[:80])
        if not found:
            continue
        if names == "e":
            return float(found[1])
        part = dict(zip(names, found.groups()))
        year = int(part["Y"]) if "Y" in part else 2000 + int(part.get("y", 5))
        month = MONTHS.index(part["b"]) + 1 if part.get("b") in MONTHS else int(part.get("m", 1))
        try:
            return datetime.datetime(year, month, *(int(part[k]) for k in "dHMS")).timestamp()
        except ValueError:
            return None
    return None


def loghub(folder, span_s=300, times=6):
    out, keys = [], {}
    for system in sorted(p for p in pathlib.Path(folder).iterdir() if p.is_dir()):
        lines = next(system.glob("*.log")).read_text(encoding="utf-8", errors="replace").splitlines()
        with open(next(system.glob("*structured*.csv")), encoding="utf-8-sig", errors="replace", newline="") as f:
            rows = list(csv.DictReader(f))
        at, latest = [], 0.0
        for line in lines[: len(rows)]:
            latest = max(latest, seconds_of(line) or latest)
            at.append(latest)
        first = next((t for t in at if t), 0.0)
        width = max(at[-1] - first, 1)
        for row, when in zip(rows, at):
            key = keys.setdefault((system.name, row["EventTemplate"]), len(keys))
            offset_s = max(when - first, 0) / width * span_s * 0.999
            out += [
                (int((offset_s + i * span_s) * 1000), system.name, key, row["Content"].replace("\t", " "))
                for i in range(times)
            ]
    return sorted(out, key=lambda record: record[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stream", choices=["bursty", "diurnal", "loghub"])
    parser.add_argument("dir", nargs="?")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=6)
    args = parser.parse_args()
    if args.stream == "loghub":
        if args.dir is None:
            parser.error("loghub: which folder?")
        records = loghub(args.dir)
    else:
        records = bursty(args.seed) if args.stream == "bursty" else diurnal(args.seed, args.hours)
    for record in records:
        sys.stdout.write("%d\t%s\t%d\t%s\n" % record)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        pass
