#!/usr/bin/env python3
"""Files as a table in C: embed.py OUT.c NAME=FILE..."""

import json
import sys

out, pairs = sys.argv[1], sorted(pair.split("=", 1) for pair in sys.argv[2:])
lines = ['#include "server/assets.h"\n']
for i, (name, path) in enumerate(pairs):
    data = open(path, "rb").read()
    if path.endswith(".json"):  # as small as it can be: it is handed out
        data = json.dumps(json.loads(data), separators=(",", ":")).encode()
    rows = [", ".join(map(str, data[at : at + 24])) for at in range(0, len(data), 24)]
    lines.append(f"static const unsigned char file_{i}[] = {{\n" + ",\n".join(rows) + "};")
lines.append("const struct asset server_assets[] = {")
lines += [f'    {{"{name}", {{file_{i}, sizeof file_{i}}}}},' for i, (name, _) in enumerate(pairs)]
lines.append("    {NULL, {NULL, 0}},\n};\n")
open(out, "w").write("\n".join(lines))
