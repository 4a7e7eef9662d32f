"""maxmemory and its eight policies."""

import time

import pytest

from harness import ReplyError, is_holdfast, wait_until

OOM = "OOM command not allowed when used memory > 'maxmemory'."


def used(c):
    return int(c.info("memory")["used_memory"])


def limit(c, more):
    """Allows this many bytes beyond what is in use now."""
    c.call("CONFIG", "SET", "maxmemory", used(c) + more)


def fill_until_full(c, prefix, n, size=500, extra=()):
    return c.pipeline([("SET", f"{prefix}:{i}", "x" * size, *extra) for i in range(n)])


@pytest.fixture
def fresh(make_node):
    node = make_node({"maxmemory-samples": "10"})
    with node.client() as c:
        c.call("PING")
        yield c


def test_noeviction_refuses_what_needs_memory_and_nothing_else(fresh):
    c = fresh
    limit(c, 1_000_000)
    replies = fill_until_full(c, "k", 5000)
    errors = {str(r) for r in replies if isinstance(r, ReplyError)}
    assert errors == {OOM} and replies[0] == b"OK"
    assert c.call("GET", "k:0") is not None and c.call("DEL", "k:0") == 1 and c.call("EXPIRE", "k:1", 1000) == 1
    assert str(c.try_call("APPEND", "k:1", "x" * 1000)) == OOM or used(c) < int(c.config_get("maxmemory")["maxmemory"])
    c.call("CONFIG", "SET", "maxmemory", "0")
    assert c.call("SET", "k", "v") == b"OK"


def test_oom_in_a_transaction(fresh):
    c = fresh
    c.call("CONFIG", "SET", "maxmemory", "1")
    c.call("MULTI")
    assert str(c.try_call("SET", "k", "v")) == OOM
    assert str(c.try_call("EXEC")).startswith("EXECABORT")
    c.call("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_every_policy_keeps_within_the_limit(fresh, policy):
    c = fresh
    c.call("CONFIG", "SET", "maxmemory-policy", policy)
    stays = 200 if policy.startswith("volatile") else 0
    fill_until_full(c, "stays", stays)
    limit(c, 2_000_000)
    extra = ("EX", 10_000) if policy.startswith("volatile") else ()
    replies = fill_until_full(c, "k", 10_000, extra=extra)
    assert all(r == b"OK" for r in replies), next(r for r in replies if r != b"OK")
    top = int(c.config_get("maxmemory")["maxmemory"])

    def counted():
        m = c.info("memory")
        return int(m["used_memory"]) - int(m["mem_not_counted_for_evict"])
    # Buffers of the pipeline come and go.
    wait_until(lambda: counted() <= top * 1.02, what="used_memory within the limit")
    assert int(c.info("stats")["evicted_keys"]) > 3000
    assert c.call("EXISTS", *[f"stays:{i}" for i in range(stays)], "x") == stays
    assert c.call("DBSIZE") > 1000, "more was evicted than needed"


def test_volatile_policies_without_volatile_keys_refuse(fresh):
    c = fresh
    c.call("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    limit(c, 500_000)
    assert any(str(r) == OOM for r in fill_until_full(c, "k", 3000) if isinstance(r, ReplyError))


def survivors(c, prefix, n):
    return sum(c.call("EXISTS", *[f"{prefix}:{i}" for i in range(a, a + 100)]) for a in range(0, n, 100)) / n


def test_lru_keeps_what_is_used(fresh):
    c = fresh
    c.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    fill_until_full(c, "old", 2000)
    fill_until_full(c, "hot", 2000)
    time.sleep(2.1)
    for i in range(0, 2000, 100):
        c.call("MGET", *[f"hot:{j}" for j in range(i, i + 100)])
    limit(c, 100_000)
    fill_until_full(c, "new", 1500)
    assert survivors(c, "hot", 2000) > 0.9 and survivors(c, "old", 2000) < 0.7


def test_lfu_keeps_what_is_used_often(fresh):
    c = fresh
    c.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    fill_until_full(c, "hot", 2000)
    fill_until_full(c, "once", 2000)
    for _ in range(15):
        for i in range(0, 2000, 100):
            c.call("MGET", *[f"hot:{j}" for j in range(i, i + 100)])
    limit(c, 100_000)
    fill_until_full(c, "new", 1500)
    assert survivors(c, "hot", 2000) > 0.9


def test_volatile_ttl_takes_the_next_due_first(fresh):
    c = fresh
    c.call("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    fill_until_full(c, "soon", 2000, extra=("EX", 1000))
    fill_until_full(c, "late", 2000, extra=("EX", 1_000_000))
    limit(c, 100_000)
    fill_until_full(c, "new", 1000)
    assert survivors(c, "late", 2000) > 0.95 and survivors(c, "soon", 2000) < 0.8


@pytest.mark.holdfast
def test_a_percentage_of_the_machine(make_node):
    node = make_node({"maxmemory": "50%"})
    with node.client() as c:
        total = int(c.info("memory")["total_system_memory"])
        got = int(c.info("memory")["maxmemory"])
        assert 0 < got <= total * 0.51
        c.call("CONFIG", "SET", "maxmemory", "10%")
        assert int(c.info("memory")["maxmemory"]) < got
        for bad in ("0%", "101%", "x%", "-5%"):
            assert isinstance(c.try_call("CONFIG", "SET", "maxmemory", bad), ReplyError) or bad == "0%", bad


@pytest.mark.holdfast
def test_client_buffers_count(make_node):
    node = make_node({"maxmemory-policy": "allkeys-lru"})
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", "x" * 500) for i in range(4000)])
        c.call("SET", "big", "x" * 100_000)
        before = c.call("DBSIZE")
        limit(c, 1_000_000)
        with node.client() as other:
            other.send_bytes(b"*2\r\n$4\r\nECHO\r\n$3000000\r\n" + b"x" * 2_900_000)
            wait_until(lambda: c.call("SET", "tick", "v") and c.call("DBSIZE") < before, what="eviction in favour of a client's buffer")


def test_evicted_keys_are_deleted_in_the_log(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "allkeys-random"})
    with node.client() as c:
        limit(c, 1_500_000)
        fill_until_full(c, "k", 5000)
        c.call("CONFIG", "SET", "maxmemory", "0")
        size, digest = c.call("DBSIZE"), c.call("DEBUG", "DIGEST")
        assert size < 5000
    time.sleep(0 if is_holdfast() else 2.2)
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DBSIZE") == size and c.call("DEBUG", "DIGEST") == digest
