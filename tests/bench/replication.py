"""Cases of tests/bench/compare about replication: each server with a replica of its own kind."""

import time

from harness import wait_until

VISIBLE_WRITES = 5000


def replica(bench, side, primary, config=None):
    return bench.node(side, {"replicaof": f"127.0.0.1 {primary.port}", **(config or {})}, pin=False)


def up(node):
    return node.info("replication").get("master_link_status") == "up"


def full_sync(bench, side):
    """From REPLICAOF on an empty node to the link that is up, 1 M keys of 64 bytes."""
    for how, config in (("through a file", {"repl-diskless-sync": "no"}), ("diskless", {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0"})):
        p = bench.node(side, config)
        r = bench.node(side, {"repl-diskless-load": "on-empty-db" if how == "diskless" else "disabled"}, pin=False)
        try:
            bench.fill(p, 1_000_000)
            with r.client(timeout=300) as c:
                cpu, started = p.cpu_seconds(), time.monotonic()
                c.call("REPLICAOF", "127.0.0.1", p.port)
                wait_until(lambda: up(r), 300, 0.002)
                bench.note(side, f"full synchronization {how}", time.monotonic() - started, "s", ("ratio", 0.7), "1 M keys of 64 bytes")
                assert c.call("DBSIZE") == 1_000_000
                bench.note(side, f"full synchronization {how}, CPU of the primary's process", p.cpu_seconds() - cpu, "s")
        finally:
            bench.done(r)
            bench.done(p)


def propagation(bench, side):
    """CPU of the primary per SET with one replica attached, and of the replica; what write-ack costs."""
    p = bench.node(side)
    r = replica(bench, side, p)
    try:
        bench.fill(p, 100_000)
        wait_until(lambda: up(r), 60)

        def level():
            wait_until(lambda: len({n.info("replication")["master_repl_offset"] for n in (p, r)}) == 1, 60)
        n = bench.opt.requests
        for pipeline, requests in ((1, n // 10), (16, n)):
            before = r.cpu_seconds()
            cpu = bench.benchmark(p, requests, pipeline, "-d", "64", "-t", "set", keys=100_000)[1]
            level()
            bench.note(side, f"propagated SET -P {pipeline}, CPU of the primary", cpu, "µs", ("ratio", 0.7))
            bench.note(side, f"propagated SET -P {pipeline}, CPU of the replica", (r.cpu_seconds() - before) / requests * 1e6, "µs")
        if side == "ours":
            for terms in ("local", "replicas 1"):
                with p.client() as c:
                    c.call("CONFIG", "SET", "write-ack", terms)
                for clients, pipeline, requests in ((1, 1, 20_000), (50, 1, n // 10), (50, 16, n)):
                    rps = bench.benchmark(p, requests, pipeline, "-d", "64", "-t", "set", keys=100_000, clients=clients)[0]
                    bench.note(side, f"SET under write-ack {terms}, {clients} clients -P {pipeline}", rps, "1/s")
    finally:
        bench.done(r)
        bench.done(p)


def visible(bench, side):
    """From the reply on the primary until a client that asks the replica all the time sees the write."""
    p = bench.node(side, {"repl-disable-tcp-nodelay": "no"}, pin=False)
    r = replica(bench, side, p)
    try:
        wait_until(lambda: up(r), 60)
        took = []
        with p.client() as c, r.client() as q:
            for i in range(VISIBLE_WRITES):
                want = str(i).encode()
                c.call("SET", "k", want)
                started = time.perf_counter()
                while q.call("GET", "k") != want:
                    pass
                took.append(time.perf_counter() - started)
        took.sort()
        for label, at in (("p50", 0.5), ("p99", 0.99)):
            bench.note(side, f"from a reply to the change on a replica, {label}", took[int(len(took) * at)] * 1e6, "µs", ("ratio", 1) if label == "p99" else None)
    finally:
        bench.done(r)
        bench.done(p)


def replication(bench, side):
    """Full synchronization, CPU per propagated write, from a reply to the change on a replica."""
    for case in (full_sync, propagation, visible):
        case(bench, side)


CASES = {"replication": replication}
