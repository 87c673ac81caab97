#!/usr/bin/env python3
"""Posts the bodies of folders, as bodies.py makes them, in every form: post.py HOST:PORT FOLDER..."""
import http.client, pathlib, sys

FORMS = [("pb", "application/x-protobuf", None), ("json", "application/json", None), ("pb.gz", "application/x-protobuf", "gzip")]
ROUNDS = 4


def main():
    connection = http.client.HTTPConnection(sys.argv[1])
    for folder in sys.argv[2:]:
        for suffix, kind, encoding in FORMS:
            headers = {"content-type": kind} | ({"content-encoding": encoding} if encoding else {})
            bodies = [path.read_bytes() for path in sorted(pathlib.Path(folder).glob("*." + suffix))]
            for body in bodies * ROUNDS:
                connection.request("POST", "/v1/logs", body, headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status not in (200, 503):
                    sys.exit(f"{folder}/*.{suffix}: {answer.status}")


main()
