#!/usr/bin/env python3
"""Run the log cases of Tero's policy conformance suite through the program.

    tero_cases.py LIPSERVICE [NAME...]

A case is a folder with policies.json, input.json, expected.json and expected_stats.json. They are
looked for in ../shared beside the repository, or in SHARED_DIR; without them the test is skipped
(exit status 77). Standard library only.
"""
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("SHARED_DIR") or os.path.join(ROOT, "..", "shared")
CASES = os.path.join(SHARED, "conformance", "tero")
LEAST = 77  # so many there are: fewer would mean that some were not found
SKIPPED = 77


def number(text):
    """A string that is a number is that number: 64-bit integers are strings in OTLP's JSON."""
    try:
        return int(text)
    except ValueError:
        return text


def normal(value):
    """Null members are absent, numeric strings are numbers. The order of keys has no meaning."""
    if isinstance(value, dict):
        return {key: normal(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [normal(element) for element in value]
    return number(value) if isinstance(value, str) else value


def load(path):
    with open(path, encoding="utf-8") as file:
        return normal(json.load(file))


def run(program, case, out):
    """What is wrong with the case, or None."""
    files = {name: os.path.join(out, name + ".json") for name in ("output", "stats")}
    command = [program, "policy", "conformance"]
    for name in ("policies", "input"):
        command += ["--" + name, os.path.join(case, name + ".json")]
    for name, path in files.items():
        command += ["--" + name, path]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        return f"exit status {done.returncode}: {done.stdout.decode(errors='replace')}"
    for name, expected in (("output", "expected"), ("stats", "expected_stats")):
        got, want = load(files[name]), load(os.path.join(case, expected + ".json"))
        if got != want:
            return f"{name} differs\n  got  {json.dumps(got)}\n  want {json.dumps(want)}"
    return None


def main():
    program, names = sys.argv[1], sys.argv[2:]
    if not os.path.isdir(CASES):
        print(f"skipped: no cases at {CASES}")
        return SKIPPED
    found = sorted(name for name in os.listdir(CASES) if os.path.isdir(os.path.join(CASES, name)))
    wrong = 0
    with tempfile.TemporaryDirectory() as out:
        for name in names or found:
            why = run(program, os.path.join(CASES, name), out)
            if why is not None:
                wrong += 1
                print(f"WRONG {name}: {why}")
    print(f"{len(names or found) - wrong} of {len(names or found)} cases are as they should be")
    return 1 if wrong > 0 or (not names and len(found) < LEAST) else 0


if __name__ == "__main__":
    sys.exit(main())
