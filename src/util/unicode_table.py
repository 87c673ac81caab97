#!/usr/bin/env python3
"""Write unicode_table.h from the Unicode data of the Python that runs this:

    python3 src/util/unicode_table.py > src/util/unicode_table.h

Run by hand only, when the tables should follow another CPython (the one in the
tree is 3.11, Unicode 14.0). Nothing in the build needs Python.
"""
import sys
import unicodedata

LAST = 0x10FFFF
SURROGATES = range(0xD800, 0xE000)


def ranges(test):
    out = []
    for c in range(0x80, LAST + 1):
        if c in SURROGATES or not test(chr(c)):
            continue
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def final_after(text):
    return (text + "\u03a3").lower().endswith("\u03c2")


def lower_runs():
    """(first, last, step, delta) of what lower() changes to one code point."""
    out = []
    for c in range(0x80, LAST + 1):
        if c in SURROGATES or c == 0x3A3:
            continue
        low = chr(c).lower()
        if len(low) != 1 or ord(low) == c:
            continue
        delta = ord(low) - c
        if out and out[-1][3] == delta:
            first, last, step, _ = out[-1]
            if c - last == step or first == last and c - last <= 2:
                out[-1] = [first, c, c - last, delta]
                continue
        out.append([c, c, 1, delta])
    return out


def emit(ctype, name, comment, rows):
    print(f"\n/* {comment} */")
    print(f"static const struct {ctype} {name}[] = {{")
    line = "   "
    for row in rows:
        cell = "{" + ", ".join(f"0x{v:x}" if i < 2 else str(v) for i, v in enumerate(row)) + "},"
        if len(line) + 1 + len(cell) > 100:
            print(line)
            line = "   "
        line += " " + cell
    print(line)
    print("};")


double = [c for c in range(0x80, LAST + 1) if c not in SURROGATES and len(chr(c).lower()) != 1]
assert double == [0x130], double

print(f"""/*
 * unicode_table: CPython's character classes from U+0080 up, as ranges.
 * Written by unicode_table.py from CPython {sys.version_info[0]}.{sys.version_info[1]}, Unicode {unicodedata.unidata_version}. Do not edit.
 */
/* clang-format off */""")
emit("unicode_range", "word_ranges", "str.isalnum(): what \\w matches, with the underscore",
     ranges(str.isalnum))
emit("unicode_range", "decimal_ranges", "str.isdecimal(): what \\d matches", ranges(str.isdecimal))
emit("unicode_range", "cased_ranges", "cased and not case-ignorable", ranges(final_after))
emit("unicode_range", "ignorable_ranges", "case-ignorable",
     ranges(lambda c: final_after("A" + c) and not final_after(c)))
emit("unicode_case", "lower_runs", "str.lower(): first, last, step, what to add", lower_runs())
print("/* clang-format on */")
