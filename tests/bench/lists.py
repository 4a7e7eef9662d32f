"""Cases of tests/bench/compare about lists and SORT."""

import random


def fill(client, key, elements):
    elements = list(elements)
    client.pipeline([("RPUSH", key, *elements[i:i + 1000]) for i in range(0, len(elements), 1000)], chunk=20)


def lists(bench, side):
    """Pushing and popping, LRANGE, and SAVE and load of lists of three kinds."""
    n = bench.node(side, {"enable-debug-command": "yes"})
    requests = bench.opt.requests // 2
    value = "x" * 64
    try:
        with n.client(timeout=300) as c:
            for command in ("LPUSH", "RPUSH"):
                cpu = bench.benchmark(n, requests, 32, command, "list", value)[1]
                bench.note(side, f"{command} of 64 bytes to one list -P 32 CPU per request", cpu, "µs", ("ratio", 0.65))
                cpu = bench.benchmark(n, requests, 32, command, "list:__rand_int__", value, keys=100_000)[1]
                bench.note(side, f"{command} of 64 bytes to 100,000 lists -P 32 CPU per request", cpu, "µs", ("ratio", 0.65))
            cpu = bench.benchmark(n, requests // 5, 8, "LRANGE", "list", "1000", "1099")[1]
            bench.note(side, "LRANGE of 100 -P 8 CPU per request", cpu, "µs", ("ratio", 1))
            cpu = bench.benchmark(n, requests, 32, "LPOP", "list")[1]
            bench.note(side, "LPOP -P 32 CPU per request", cpu, "µs")
            rng = random.Random(1)
            kinds = {"records": lambda i: "user:%d:session:%08x" % (i * 7919 % 1_000_003, rng.getrandbits(32)),
                     "numbers": lambda i: rng.randrange(10 ** 9),
                     "similar texts": lambda i: f"element:{i}:" + "abcdefgh" * 5}
            for kind, make in kinds.items():
                c.call("FLUSHALL")
                for k in range(20):
                    fill(c, f"k{k}", (make(i) for i in range(50_000)))
                for label, request in (("SAVE", ("SAVE",)), ("load", ("DEBUG", "RELOAD", "NOSAVE"))):
                    cpu = n.cpu_seconds()
                    for _ in range(5):
                        assert c.call(*request) == b"OK"
                    bench.note(side, f"lists of {kind}, {label}", (n.cpu_seconds() - cpu) * 200, "ms of CPU", ("ratio", 0.7), "1 M elements")
    finally:
        bench.done(n)


def sort(bench, side):
    """SORT of 100,000 elements."""
    n = bench.node(side)
    rng = random.Random(2)
    try:
        with n.client(timeout=300) as c:
            fill(c, "ints", (rng.randrange(1_000_000) for _ in range(100_000)))
            fill(c, "floats", ("%.4f" % rng.uniform(-1e6, 1e6) for _ in range(100_000)))
            fill(c, "texts", ("user:%08d" % rng.randrange(10 ** 8) for _ in range(100_000)))
            fill(c, "ids", range(100_000))
            c.pipeline([("MSET", *(x for k in range(i, i + 1000) for x in (f"w_{k}", rng.randrange(10 ** 6)))) for i in range(0, 100_000, 1000)])
            c.pipeline([("SADD", "set", *range(i * 3, i * 3 + 3000, 3)) for i in range(0, 100_000, 1000)])
            for words in ("ints", "floats", "texts ALPHA", "set", "ints LIMIT 0 10", "ints STORE to", "ids BY w_*", "ids BY w_* GET # GET w_*"):
                cpu = n.cpu_seconds()
                for _ in range(10):
                    c.raw("SORT", *words.split())
                bench.note(side, f"SORT {words}", (n.cpu_seconds() - cpu) * 100, "ms of CPU", ("ratio", 0.8), "100,000 elements")
    finally:
        bench.done(n)


CASES = {"lists": lists, "sort": sort}
