#!/usr/bin/env python3
"""The files of pages as tables in C: assets.py OUTPUT TABLE FILE... [-- TABLE FILE...]

The scripts of a page become one, in the order in which they are named, and so do its style sheets,
so that a page is four requests. What two pages share as it is stands in the program once.
"""

import hashlib
import pathlib
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
PATHS = {".html": "/", ".js": "/app.js", ".css": "/style.css"}
BYTES_A_LINE = 24


def array_of(name, data):
    lines = (data[i : i + BYTES_A_LINE] for i in range(0, len(data), BYTES_A_LINE))
    rows = "\n".join("    " + ",".join(str(byte) for byte in line) + "," for line in lines)
    return f"static const uint8_t {name}[] = {{\n{rows}\n}};\n"


def contents_of(files):
    contents = {}
    for file in map(pathlib.Path, files):
        path = PATHS.get(file.suffix, "/" + file.name)
        kind, before = contents.get(path, (TYPES[file.suffix], b""))
        contents[path] = (kind, before + file.read_bytes())
    return sorted(contents.items())


def table_of(table, files, names):
    rows = []
    for path, (kind, data) in contents_of(files):
        name = names.setdefault(data, f"file_{len(names)}")
        etag = hashlib.sha256(data).hexdigest()[:16]
        rows.append(f'    {{"{path}", "{kind}", "\\"{etag}\\"", {{{name}, sizeof {name}}}}},\n')
    text = f"const struct asset {table}s[] = {{\n" + "".join(rows) + "};\n"
    return text + f"const size_t {table}_count = ARRAY_LEN({table}s);\n"


def main():
    output, *rest = sys.argv[1:]
    tables, names = [], {}
    while rest:
        end = rest.index("--") if "--" in rest else len(rest)
        tables.append(table_of(rest[0], rest[1:end], names))
        rest = rest[end + 1 :]
    arrays = [array_of(name, data) for data, name in names.items()]
    text = '/* Made by assets.py. */\n#include "web/assets.h"\n\n' + "\n".join(arrays + tables)
    pathlib.Path(output).write_text(text)


if __name__ == "__main__":
    main()
