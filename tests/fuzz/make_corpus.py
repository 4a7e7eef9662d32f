#!/usr/bin/python3
"""Writes seeds from real dumps: of redis-server, in all types and encodings, and of the snapshots in tests/data/fixtures.

    tests/fuzz/make_corpus.py [redis-server]

corpus/restore: type and value of DUMPs (without the trailer); corpus/rdb: whole snapshots behind a byte of choices;
corpus/legacy: old packed forms; corpus/quicklist: programs. Files are named by what is in them.
"""

import glob
import hashlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from differential.compare import SPECIMENS  # noqa: E402
from harness import Node, REDIS_SERVER  # noqa: E402

SEED_MAX = 12_000  # bytes: larger ones only slow the fuzzers down


def write(target, name, data):
    if len(data) <= SEED_MAX:
        path = os.path.join(HERE, "corpus", target)
        os.makedirs(path, exist_ok=True)
        with open(os.path.join(path, name), "wb") as f:
            f.write(data)


def dumps(node, tag):
    """DUMPs of all keys of a node."""
    with node.client() as c:
        for key in sorted(c.call("KEYS", "*")):
            kind = c.call("TYPE", key).decode()
            name = f"{tag}-{kind}-{hashlib.sha1(key).hexdigest()[:6]}"
            write("restore", name, c.call("DUMP", key)[:-10])


def specimens(server):
    small = {"hash-max-listpack-entries": "4", "zset-max-listpack-entries": "4", "set-max-intset-entries": "4", "stream-node-max-entries": "5",
             "list-max-listpack-size": "5", "list-compress-depth": "1"}
    for tag, config in (("usual", {}), ("small", small), ("raw", {"rdbcompression": "no"})):
        with Node(config, binary=server) as node:
            with node.client() as c:
                for family, values in SPECIMENS.items():
                    for i, commands in enumerate(values):
                        for command in commands:
                            c.call(command[0], f"{family}-{i}" if command[1] == "x" else command[1], *(f"{family}-{i}" if a == "x" else a for a in command[2:]))
            dumps(node, tag)


def fixtures(server):
    for version in ("redis-7.0",):
        node = Node({}, binary=server)
        with open(os.path.join(HERE, "..", "data", "fixtures", version, "dump.rdb"), "rb") as f, open(node.path("dump.rdb"), "wb") as g:
            g.write(f.read())
        with node.start():
            dumps(node, "fixture")
    for path in sorted(glob.glob(os.path.join(HERE, "..", "data", "fixtures", "*", "*.rdb"))):
        with open(path, "rb") as f:
            data = f.read()
        tag = "-".join(path.split(os.sep)[-2:]).removesuffix(".rdb")
        for choice in (3, 14):  # verified and deep; deep, compressed input, expiry
            write("rdb", f"{tag}-{choice}", bytes([choice]) + data)


def ziplist(items):
    """Strings as old versions packed them."""
    body, last = b"", 0
    for s in items:
        entry = (bytes([last]) if last < 254 else b"\xfe" + last.to_bytes(4, "little")) + bytes([len(s)]) + s
        body, last = body + entry, len(entry)
    return (len(body) + 11).to_bytes(4, "little") + (10 + len(body) - last).to_bytes(4, "little") + len(items).to_bytes(2, "little") + body + b"\xff"


def old_forms():
    items = [b"f1", b"v1", b"f2", b"", b"x" * 40, b"2"]
    zl = ziplist(items)
    zipmap = bytes([3]) + b"".join(bytes([len(f)]) + f + bytes([len(v), 0]) + v for f, v in zip(items[::2], items[1::2])) + b"\xff"
    write("legacy", "ziplist", b"\x01" + zl)
    write("legacy", "ziplist-empty", b"\x01" + ziplist([]))
    write("legacy", "zipmap", b"\x00" + zipmap)
    for kind, blob in ((9, zipmap), (10, zl), (13, zl), (12, ziplist([b"a", b"1", b"b", b"2.5", b"c", b"inf"]))):
        write("restore", f"old-{kind}", bytes([kind, len(blob)]) + blob)
    write("restore", "old-14", bytes([14, 2, len(zl)]) + zl + bytes([len(zl)]) + zl)
    write("restore", "old-list", bytes([1, 3]) + b"\x01a\x01b\xc0\x07")
    write("restore", "old-zset", bytes([3, 4]) + b"\x01a\x031.5" + b"\x01b\xfe" + b"\x01c\xff" + b"\x01d\x02-3")
    write("restore", "old-zset-nan", bytes([3, 1]) + b"\x01a\xfd")
    far = (4_102_444_800_000).to_bytes(8, "little")
    write("restore", "hash-deadlines-24", bytes([24]) + far + b"\x02" + b"\x01\x01f\x01v" + b"\x00\x01g\x01w")
    lp = b"".join(b"\x81" + c + b"\x02" for c in (b"f", b"v")) + b"\x00\x01"
    lp = (len(lp) + 7).to_bytes(4, "little") + (3).to_bytes(2, "little") + lp + b"\xff"
    write("restore", "hash-deadlines-25", bytes([25]) + far + bytes([len(lp)]) + lp)
    write("restore", "hash-deadlines-22", bytes([22, 2]) + b"\x01f\x01v" + far + b"\x01g\x01w" + b"\xff" * 8)
    lp = b"".join(b"\x81" + c + b"\x02" for c in (b"a", b"b", b"c"))
    lp = (len(lp) + 7).to_bytes(4, "little") + (3).to_bytes(2, "little") + lp + b"\xff"
    write("restore", "set-listpack", bytes([20, len(lp)]) + lp)


def programs():
    write("quicklist", "pushes", bytes([2, 1]) + bytes(range(0, 256)) * 3)
    write("quicklist", "one-element-nodes", bytes([2, 2]) + b"\x00\x00\x00\x03abc" * 30 + b"\x08\x05\x00\x07" * 5)
    write("quicklist", "long-elements", bytes([0, 1]) + b"\x01\x00\x00\xf0\x80" * 12 + b"\x0e\x03\x00\x02xy" * 6)
    write("quicklist", "inserts", bytes([4, 0]) + b"\x00\x00\x00\x02ab" * 10 + bytes(b for i in range(40) for b in (12 + i % 4, i, 0, 2, 97, 98)))


def main():
    server = sys.argv[1] if len(sys.argv) > 1 else REDIS_SERVER
    specimens(server)
    fixtures(server)
    old_forms()
    programs()


if __name__ == "__main__":
    main()
