"""Cases of tests/bench/compare about large values: memory, CPU per request, saving and loading."""

import random
import time

from harness import encode


def used_memory(node):
    """used_memory when the buffers of clients that went are freed."""
    with node.client() as c:
        time.sleep(0.3)
        return int(c.info("memory")["used_memory"])


def in_pieces(command, key, elements, piece=200):
    """Commands that add many elements (tuples of arguments) to one key."""
    return [(command, key, *(a for e in elements[i:i + piece] for a in e)) for i in range(0, len(elements), piece)]


def cpu_per_call(node, request, calls):
    """CPU seconds of the server per call of a request whose reply has always the same length."""
    with node.client(timeout=300) as c:
        data = encode(*request)
        size = len(c.raw(*request))
        cpu = node.cpu_seconds()
        for _ in range(calls):
            c.send_bytes(data)
            left = size
            while left > 0:
                left -= len(c.sock.recv(1 << 20))
            assert left == 0
        return (node.cpu_seconds() - cpu) / calls


def hash_memory(bench, side):
    """A hash of 1 M fields of 18 bytes with values of 16: memory."""
    n = bench.node(side)
    count = 1_000_000
    try:
        before = used_memory(n)
        with n.client(timeout=300) as c:
            c.pipeline(in_pieces("HSET", "h", [(f"field:{i:012d}", f"value:{i:010d}") for i in range(count)]), chunk=50)
            assert c.call("HLEN", "h") == count
        bench.note(side, "hash, memory a field", (used_memory(n) - before) / count, "bytes", ("ours", 60), "1 M fields of 18 + 16 bytes")
    finally:
        bench.done(n)


def writes(bench, side):
    """CPU of writes to one value, as redis-benchmark makes them."""
    n = bench.node(side)
    try:
        for name, args in (("LPUSH", ("-t", "lpush")), ("RPUSH", ("-t", "rpush")), ("SADD", ("-t", "sadd")), ("HSET", ("-t", "hset")),
                           ("XADD", ("XADD", "mystream", "*", "myfield", "xxx"))):
            with n.client() as c:
                c.call("FLUSHALL")
            _, cpu = bench.benchmark(n, bench.opt.requests, 32, *args)
            bench.note(side, f"{name} -P 32 CPU per request", cpu, "µs", ("ratio", 0.65))
    finally:
        bench.done(n)


def save_load(bench, side):
    """SAVE and load of one large value of each type."""
    count = 200_000 if bench.opt.quick else 1_000_000
    rng = random.Random(6)
    fills = {
        "sorted set": in_pieces("ZADD", "v", [(rng.random() * 1e6, f"members:{i:012d}") for i in range(count)]),
        "hash": in_pieces("HSET", "v", [(f"field:{i:012d}", f"value:{i:010d}") for i in range(count)]),
        "set": in_pieces("SADD", "v", [(f"element:{i:012d}",) for i in range(count)]),
        "list": in_pieces("RPUSH", "v", [(f"element:{i:012d}",) for i in range(count)]),
        "stream": [("XADD", "v", f"{1000 + i // 10}-{i % 10 + 1}", "field", f"value:{i}") for i in range(count)],
    }
    for kind, commands in fills.items():
        n = bench.node(side)
        try:
            with n.client(timeout=300) as c:
                c.pipeline(commands, chunk=1000 if kind == "stream" else 50)
                digest = c.call("DEBUG", "DIGEST-VALUE", "v")
                for label, request in (("SAVE", ("SAVE",)), ("load", ("DEBUG", "RELOAD", "NOSAVE"))):
                    cpu = n.cpu_seconds()
                    assert c.call(*request) == b"OK"
                    bench.note(side, f"{label} of a {kind}", (n.cpu_seconds() - cpu) * 1000, "ms of CPU", ("ratio", 0.7), f"{count / 1e6:g} M elements")
                assert c.call("DEBUG", "DIGEST-VALUE", "v") == digest, "the load changed the value"
        finally:
            bench.done(n)


def algebra(bench, side):
    """CPU of commands over values of 100 k elements."""
    n = bench.node(side)
    rng = random.Random(7)
    count, calls = 100_000, 10 if bench.opt.quick else 30
    try:
        with n.client(timeout=300) as c:
            for i in (1, 2):
                names = [f"element:{j}" for j in range(i * count // 2, i * count // 2 + count)]
                rng.shuffle(names)
                c.pipeline(in_pieces("SADD", f"s{i}", [(x,) for x in names]), chunk=50)
            c.pipeline(in_pieces("RPUSH", "l", [(rng.randrange(10 ** 6),) for _ in range(count)]), chunk=50)
        for label, request in (("SINTER", ("SINTER", "s1", "s2")), ("SUNION", ("SUNION", "s1", "s2")), ("SINTERSTORE", ("SINTERSTORE", "d", "s1", "s2")),
                               ("SUNIONSTORE", ("SUNIONSTORE", "d", "s1", "s2")), ("SORT", ("SORT", "l")), ("SORT ALPHA", ("SORT", "s1", "ALPHA"))):
            bench.note(side, f"{label} of 100 k elements", cpu_per_call(n, request, calls) * 1000, "ms of CPU", ("ratio", 0.8))
    finally:
        bench.done(n)


def bits(bench, side):
    """CPU of BITCOUNT and BITOP on 100 MB, and of PFCOUNT of 10 keys."""
    n = bench.node(side)
    size, calls = 100_000_000, 5 if bench.opt.quick else 15
    try:
        with n.client(timeout=300) as c:
            for key, seed in (("a", 1), ("b", 2)):
                c.call("SET", key, random.Random(seed).randbytes(1_000_000) * (size // 1_000_000))
            for i in range(10):
                c.pipeline([("PFADD", f"p{i}", *range(j, j + 500)) for j in range(i * 50_000, i * 50_000 + 100_000, 500)])
        for label, request in (("BITCOUNT", ("BITCOUNT", "a")), ("BITOP AND", ("BITOP", "AND", "d", "a", "b")), ("BITOP NOT", ("BITOP", "NOT", "d", "a"))):
            bench.note(side, f"{label} of 100 MB", cpu_per_call(n, request, calls) * 1000, "ms of CPU", ("ratio", 0.5))
        bench.note(side, "PFCOUNT of 10 keys", cpu_per_call(n, ("PFCOUNT", *(f"p{i}" for i in range(10))), calls * 200) * 1e6, "µs of CPU", ("ratio", 0.5))
    finally:
        bench.done(n)


CASES = {"hash": hash_memory, "writes": writes, "values-save-load": save_load, "algebra": algebra, "bits": bits}
