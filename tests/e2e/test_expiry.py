"""Deadlines: the EXPIRE family, and that due keys go in time."""

import glob
import time

import pytest

from harness import ReplyError, wait_until

FAR = 4_000_000_000


def test_expire_family(c):
    c.call("SET", "k", "v")
    assert c.call("EXPIRE", "k", 100) == 1 and 99 <= c.call("TTL", "k") <= 100
    assert c.call("PEXPIRE", "k", 50_000) == 1 and 49_000 < c.call("PTTL", "k") <= 50_000
    assert c.call("EXPIREAT", "k", FAR) == 1 and c.call("EXPIRETIME", "k") == FAR
    assert c.call("PEXPIREAT", "k", FAR * 1000 + 7) == 1 and c.call("PEXPIRETIME", "k") == FAR * 1000 + 7
    assert [c.call("PERSIST", "k"), c.call("PERSIST", "k"), c.call("PERSIST", "absent")] == [1, 0, 0]
    assert [c.call(q, "k") for q in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")] == [-1] * 4
    assert [c.call(q, "absent") for q in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME")] == [-2] * 4
    assert c.call("EXPIRE", "absent", 100) == 0


@pytest.mark.parametrize("now,option,at,changed", [
    (None, "NX", 200, 1), (100, "NX", 200, 0), (None, "XX", 200, 0), (100, "XX", 200, 1), (100, "GT", 200, 1), (200, "GT", 100, 0), (100, "GT", 100, 0),
    (None, "GT", 100, 0), (None, "LT", 100, 1), (200, "LT", 100, 1), (100, "LT", 200, 0)])
def test_conditions(c, now, option, at, changed):
    c.call("SET", "k", "v", *(("EXAT", FAR + now) if now else ()))
    assert c.call("EXPIREAT", "k", FAR + at, option) == changed
    assert c.call("EXPIRETIME", "k") == (FAR + at if changed else FAR + now if now else -1)


@pytest.mark.parametrize("options,error", [
    (("NX", "XX"), "ERR NX and XX, GT or LT options at the same time are not compatible"),
    (("NX", "GT"), "ERR NX and XX, GT or LT options at the same time are not compatible"),
    (("GT", "LT"), "ERR GT and LT options at the same time are not compatible"), (("FOO",), "ERR Unsupported option FOO")])
def test_option_errors(c, options, error):
    c.call("SET", "k", "v")
    assert str(c.try_call("EXPIRE", "k", 100, *options)) == error


@pytest.mark.parametrize("command,value", [("EXPIRE", 2 ** 63 - 1), ("EXPIRE", -2 ** 63), ("PEXPIRE", 2 ** 63 - 1), ("EXPIREAT", 2 ** 63 - 1)])
def test_deadlines_that_overflow_are_refused(c, command, value):
    c.call("SET", "k", "v")
    assert str(c.try_call(command, "k", value)) == f"ERR invalid expire time in '{command.lower()}' command"
    assert c.call("TTL", "k") == -1


def test_past_deadlines_delete(c):
    for command, value in (("EXPIRE", -1), ("EXPIRE", 0), ("PEXPIRE", -5), ("EXPIREAT", 1), ("PEXPIREAT", 0)):
        c.call("SET", "k", "v")
        assert c.call(command, "k", value) == 1 and c.call("EXISTS", "k") == 0


def test_due_keys_are_absent_to_every_command(c):
    c.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        def due():
            c.call("SET", "k", "v", "PX", 1)
            time.sleep(0.005)
        for command, reply in ((("GET", "k"), None), (("EXISTS", "k"), 0), (("TTL", "k"), -2), (("TYPE", "k"), b"none"), (("DEL", "k"), 0), (("GETDEL", "k"), None),
                               (("SETNX", "k", "w"), 1), (("INCR", "k"), 1), (("APPEND", "k", "x"), 1), (("RENAMENX", "k", "l"), None), (("COPY", "k", "l"), 0),
                               (("DUMP", "k"), None), (("PERSIST", "k"), 0), (("STRLEN", "k"), 0), (("SET", "k", "w", "XX"), None), (("SET", "k", "w", "GET"), None),
                               (("MGET", "k"), [None]), (("GETRANGE", "k", 0, -1), b""), (("RANDOMKEY",), None), (("TOUCH", "k"), 0), (("EXPIRE", "k", 100), 0)):
            due()
            got = c.try_call(*command)
            assert isinstance(got, ReplyError) if command[0] == "RENAMENX" else got == reply, command
            c.call("FLUSHALL")
    finally:
        c.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def test_due_keys_go_by_themselves(c):
    before = int(c.info("stats")["expired_keys"])
    c.pipeline([("SET", f"k{i}", "v", "PX", 100 + i % 100) for i in range(1000)])
    c.call("SET", "stays", "v")
    # Redis samples: with nothing but due keys it gets there in about the same time.
    wait_until(lambda: c.call("DBSIZE") == 1, 5, what="the end of the due keys")
    assert int(c.info("stats")["expired_keys"]) == before + 1000


@pytest.mark.holdfast
def test_a_thousand_due_among_a_million_far_off_are_gone_within_a_second(make_node):
    node = make_node()
    with node.client(timeout=120) as c:
        c.call("DEBUG", "POPULATE", 1_000_000, "far", 16)
        keys = [f"far:{i}" for i in range(1_000_000)]
        for i in range(0, len(keys), 20_000):
            c.pipeline([("EXPIREAT", k, FAR) for k in keys[i:i + 20_000]], chunk=20_000)
        assert c.info("keyspace")["db0"].startswith("keys=1000000,expires=1000000")
        at = int(time.time() * 1000) + 700
        c.pipeline([("SET", f"due:{i}", "v", "PXAT", at) for i in range(1000)])
        time.sleep(max(0, at / 1000 - time.time()))
        wait_until(lambda: c.call("DBSIZE") == 1_000_000, 1.0, 0.02, "the end of the due keys")
        info = c.info()
        assert "expire_lag_ms" in info or any("lag" in k and "expire" in k for k in info), "INFO states the lag"


def test_expiry_is_logged_as_deletion(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always", "aof-use-rdb-preamble": "no"})
    with node.client() as c:
        c.call("SET", "k", "v", "PX", 50)
        c.call("SET", "stays", "v")
        wait_until(lambda: c.call("DBSIZE") == 1)
        c.call("SET", "later", "v")
    node.restart(kill=True)
    with node.client() as c:
        assert sorted(c.call("KEYS", "*")) == [b"later", b"stays"]

    text = b"".join(open(p, "rb").read() for p in glob.glob(node.path("appendonlydir", "*.aof")))
    assert b"PXAT" in text and (b"DEL\r\n$1\r\nk" in text or b"UNLINK\r\n$1\r\nk" in text)


def test_keyspace_info_counts_deadlines(c):
    c.call("MSET", "a", 1, "b", 2)
    c.call("EXPIRE", "a", 100)
    info = c.info("keyspace")["db0"]
    assert info.startswith("keys=2,expires=1,avg_ttl=")
    c.call("PERSIST", "a")
    assert c.info("keyspace")["db0"].startswith("keys=2,expires=0")
