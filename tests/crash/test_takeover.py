"""A data directory of Redis 7.0 is taken over as it is, and ours goes back to it: equal DEBUG DIGEST both ways."""

import os
import shutil

import pytest

from harness import REDIS_SERVER, wait_until

FAR = 4_102_444_800_000


def fill(c):
    """Strings of every encoding and length class, deadlines, several databases."""
    for db in (0, 3, 15):
        c.call("SELECT", db)
        c.pipeline([("SET", f"n:{i}", i * 7919 - 300) for i in range(0, 400, 3)])
        c.pipeline([("SET", f"s:{n}", "x" * n) for n in (0, 1, 19, 20, 43, 44, 45, 63, 64, 255, 256, 16383, 16384, 70000)])
        for k, v in {"max": 2 ** 63 - 1, "min": -2 ** 63, "over": 2 ** 63, "plus": "+1", "zeros": "007", "float": "3.25", "bin": bytes(range(256)),
                     b"key\0with\xff\r\n": "v", "": "the empty key", "lzf": "abcabcabc" * 900}.items():
            c.call("SET", k, v)
        c.pipeline([("SET", f"ttl:{i}", i, "PXAT", FAR + i) for i in range(50)])
        c.call("EXPIREAT", "max", FAR // 1000)
        c.call("APPEND", "appended", "one")
        c.call("APPEND", "appended", "two")
        c.call("SETRANGE", "ranged", "30", "end")
        c.call("INCRBYFLOAT", "incremented", "0.1")
        c.call("DEL", "n:3")
    c.call("SELECT", 0)


def digest(node):
    with node.client() as c:
        keyspace = {db: text.split(",avg_ttl")[0] for db, text in c.info("keyspace").items()}
        return c.call("DEBUG", "DIGEST"), keyspace


def wait_rewrite(c):
    c.call("BGREWRITEAOF")
    wait_until(lambda: all(c.info("persistence")[f] == "0" for f in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")))


def hand_over(make_node, old, binary, **config):
    """A node of the other program on a copy of the data directory."""
    node = make_node(dict(config), start=False, binary=binary)
    shutil.rmtree(node.data)
    shutil.copytree(old.data, node.data)
    return node.start()


def other(direction):
    """(binary that writes, configuration, binary that reads)"""
    if direction == "from Redis":
        return REDIS_SERVER, {}, None
    return None, {"rdb-version": "10"}, REDIS_SERVER


DIRECTIONS = pytest.mark.parametrize("direction", ["from Redis", pytest.param("to Redis", marks=pytest.mark.holdfast)])


@DIRECTIONS
@pytest.mark.parametrize("compression", ["yes", "no"])
def test_a_snapshot_moves(make_node, direction, compression):
    writer, config, reader = other(direction)
    a = make_node({"rdbcompression": compression, **config}, binary=writer)
    with a.client() as c:
        fill(c)
        c.call("SAVE")
    want = digest(a)
    a.kill()
    assert digest(hand_over(make_node, a, reader)) == want


@DIRECTIONS
@pytest.mark.parametrize("checksum", ["no"])
def test_a_snapshot_without_checksum_moves(make_node, direction, checksum):
    writer, config, reader = other(direction)
    a = make_node({"rdbchecksum": checksum, **config}, binary=writer)
    with a.client() as c:
        fill(c)
        c.call("SAVE")
    want = digest(a)
    a.kill()
    assert digest(hand_over(make_node, a, reader)) == want


@DIRECTIONS
@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("preamble", ["yes", "no"])
@pytest.mark.parametrize("timestamps", ["yes", "no"])
@pytest.mark.parametrize("rewritten", [False, True], ids=["as written", "rewritten"])
def test_an_aof_directory_moves(make_node, direction, how, preamble, timestamps, rewritten):
    writer, config, reader = other(direction)
    a = make_node({"appendonly": "yes", "appendfsync": "always", "aof-use-rdb-preamble": preamble, "aof-timestamp-enabled": timestamps, **config},
                  binary=writer)
    with a.client() as c:
        fill(c)
        if rewritten:
            wait_rewrite(c)
        c.call("SET", "behind the base", "1")
        c.call("MULTI")
        c.call("INCR", "tx:a")
        c.call("INCR", "tx:b")
        c.call("EXEC")
    want = digest(a)
    a.stop() if how == "stopped" else a.kill()
    b = hand_over(make_node, a, reader, appendonly="yes")
    assert digest(b) == want
    # It goes on from there, and back again.
    with b.client() as c:
        c.call("SET", "written by the other", "1")
        wait_rewrite(c)
        c.call("SET", "and after its rewrite", "2")
    want = digest(b)
    b.stop()
    assert digest(hand_over(make_node, b, b.binary, appendonly="yes")) == want


def test_a_single_file_aof_is_taken_over(make_node):
    """As servers before 7.0 wrote it, with and without an RDB in front."""
    a = make_node({"appendonly": "yes", "aof-use-rdb-preamble": "no"}, binary=REDIS_SERVER)
    with a.client() as c:
        fill(c)
    want = digest(a)
    a.stop()
    for name in ("plain", "preamble"):
        b = make_node({"appendonly": "yes"}, start=False)
        shutil.rmtree(b.data)
        os.mkdir(b.data)
        with open(b.path("appendonly.aof"), "wb") as f:
            if name == "preamble":
                f.write(open(a.path("appendonlydir", "appendonly.aof.1.base.rdb"), "rb").read() if
                        os.path.exists(a.path("appendonlydir", "appendonly.aof.1.base.rdb")) else snapshot_of_nothing(make_node))
            f.write(open(a.path("appendonlydir", "appendonly.aof.1.incr.aof"), "rb").read())
        b.start()
        assert digest(b) == want
        assert not os.path.exists(b.path("appendonly.aof")), "it has become part of the directory"
        b.restart(kill=True)
        assert digest(b) == want


def snapshot_of_nothing(make_node):
    n = make_node({}, binary=REDIS_SERVER)
    with n.client() as c:
        c.call("SAVE")
    n.kill()
    return open(n.path("dump.rdb"), "rb").read()


@DIRECTIONS
def test_dump_payloads_move(make_node, direction):
    writer, config, reader = other(direction)
    a, b = make_node(config, binary=writer), make_node({}, binary=reader)
    with a.client() as ca, b.client() as cb:
        fill(ca)
        for key in sorted(ca.call("KEYS", "*")):
            ttl = ca.call("PEXPIRETIME", key)
            assert cb.call("RESTORE", key, max(ttl, 0), ca.call("DUMP", key), "ABSTTL") == b"OK", key
        ca.pipeline([("SELECT", 3), ("FLUSHDB",), ("SELECT", 15), ("FLUSHDB",)])
    assert digest(a)[0] == digest(b)[0]


def test_the_old_node_can_be_asked_for_its_keys_one_by_one(make_node):
    """DEBUG DIGEST-VALUE agrees, which the digest of the whole rests on."""
    a, b = make_node({}, binary=REDIS_SERVER), make_node({})
    with a.client() as ca, b.client() as cb:
        fill(ca)
        fill(cb)
        for key in sorted(ca.call("KEYS", "*")):
            assert ca.call("DEBUG", "DIGEST-VALUE", key) == cb.call("DEBUG", "DIGEST-VALUE", key), key
    assert digest(a) == digest(b)
