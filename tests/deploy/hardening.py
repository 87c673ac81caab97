#!/usr/bin/env python3
"""What compiler and linker were told to protect is there: read from the program itself.

    hardening.py PROGRAM [--sanitized]     exit status 77 where sanitizers or -O0 leave it out

First proves on a program built without protection that it can find something.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

SKIPPED = 77


def readelf(program, *options):
    return subprocess.run(["readelf", "-W", *options, program], check=True, capture_output=True, text=True).stdout


def problems(program):
    header, segments = readelf(program, "-h"), readelf(program, "-l")
    dynamic, symbols = readelf(program, "-d"), readelf(program, "--dyn-syms")
    stack = re.search(r"GNU_STACK.*", segments)
    writable_code = [line for line in segments.splitlines() if re.match(r"\s+LOAD\b", line) and " RWE " in line]
    found = {
        "not position independent": not re.search(r"Type:\s+DYN", header) or "PIE" not in dynamic,
        "no read-only relocations": "GNU_RELRO" not in segments,
        "lazy binding": "BIND_NOW" not in dynamic and not re.search(r"FLAGS_1.*\bNOW\b", dynamic),
        "an executable stack": stack is None or "E" in stack.group().split()[-2],
        "memory that can be written and executed": bool(writable_code),
        "relocations in code": "TEXTREL" in dynamic,
        "a path of its own for libraries": bool(re.search(r"\((RPATH|RUNPATH)\)", dynamic)),
        "no stack protector": "__stack_chk_fail" not in symbols,
        "no _FORTIFY_SOURCE": not re.search(r"\b__\w+_chk\b", symbols.replace("__stack_chk_fail", "")),
    }
    return [what for what, holds in found.items() if holds]


def prove():
    """A plain program has none of it."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "a.c"), pathlib.Path(folder, "a")
        source.write_text('#include <stdio.h>\nint main(int c, char **v) { char b[9]; sprintf(b, "%s", v[0]); return b[c]; }\n')
        bare = ["-O0", "-no-pie", "-fno-pie", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-w"]
        subprocess.run(["cc", *bare, "-Wl,-z,norelro,-z,lazy,-z,execstack", "-o", program, source], check=True)
        expected = {"not position independent", "no read-only relocations", "lazy binding", "an executable stack",
                    "no stack protector", "no _FORTIFY_SOURCE"}
        missed = expected - set(problems(program))
        assert not missed, f"the check does not see: {missed}"


def main():
    program = sys.argv[1]
    prove()
    if "--sanitized" in sys.argv:
        print("skipped: sanitizers see less with it, so this build has none")
        return SKIPPED
    found = problems(program)
    print("\n".join(f"{program}: {what}" for what in found) or "all there")
    return 1 if found else 0


sys.exit(main())
