#!/usr/bin/env python3
"""The files of the page as a table in C: assets.py OUTPUT FILE...

Scripts become one, in the order in which they are named, so that a page is four requests.
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
SCRIPT = "/app.js"
BYTES_A_LINE = 24


def path_of(file):
    if file.suffix == ".js":
        return SCRIPT
    return "/" if file.name == "index.html" else "/" + file.name


def array_of(name, data):
    lines = (data[i : i + BYTES_A_LINE] for i in range(0, len(data), BYTES_A_LINE))
    rows = "\n".join("    " + ",".join(str(byte) for byte in line) + "," for line in lines)
    return f"static const uint8_t {name}[] = {{\n{rows}\n}};\n"


def main():
    output, *files = sys.argv[1:]
    contents = {}
    for file in map(pathlib.Path, files):
        path = path_of(file)
        kind, before = contents.get(path, (TYPES[file.suffix], b""))
        contents[path] = (kind, before + file.read_bytes())
    arrays, rows = [], []
    for i, (path, (kind, data)) in enumerate(sorted(contents.items())):
        etag = hashlib.sha256(data).hexdigest()[:16]
        arrays.append(array_of(f"file_{i}", data))
        rows.append(f'    {{"{path}", "{kind}", "\\"{etag}\\"", {{file_{i}, sizeof file_{i}}}}},\n')
    text = '/* Made by assets.py. */\n#include "web/assets.h"\n\n' + "\n".join(arrays)
    text += "\nconst struct asset web_assets[] = {\n" + "".join(rows) + "};\n"
    text += "const size_t web_asset_count = ARRAY_LEN(web_assets);\n"
    pathlib.Path(output).write_text(text)


if __name__ == "__main__":
    main()
