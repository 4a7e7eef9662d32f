"""Deadlines of hash fields: their commands, that due fields are seen by nobody and go in time, log and files."""

import glob
import json
import os
import random
import time

import pytest

from harness import Node, REDIS_SERVER, ReplyError, encode, wait_until
from harness.node import ROOT

pytestmark = pytest.mark.holdfast

FAR_MS = 4_000_000_000_000
SMALL, LARGE = 5, 700


@pytest.fixture(params=[SMALL, LARGE], ids=["listpack", "table"])
def h(c, request):
    """A hash h of so many fields f0, f1, … with values v0, v1, …"""
    c.call("HSET", "h", *(x for i in range(request.param) for x in (f"f{i}", f"v{i}")))
    return request.param


@pytest.fixture
def sleeping(c):
    """Nothing due is removed unless somebody looks at it."""
    c.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    yield
    c.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def log_text(node):
    return b"".join(open(p, "rb").read() for p in sorted(glob.glob(node.path("appendonlydir", "*.incr.aof"))))


def test_setting_asking_and_taking_away(c, h):
    assert c.call("HEXPIRE", "h", 100, "FIELDS", 3, "f0", "nope", "f1") == [1, -2, 1]
    assert c.call("OBJECT", "ENCODING", "h") == (b"listpackex" if h == SMALL else b"hashtable")
    assert all(99 <= x <= 100 for x in c.call("HTTL", "h", "FIELDS", 2, "f0", "f1"))
    assert c.call("HPEXPIRE", "h", 50_000, "FIELDS", 1, "f0") == [1] and 49_000 < c.call("HPTTL", "h", "FIELDS", 1, "f0")[0] <= 50_000
    assert c.call("HEXPIREAT", "h", FAR_MS // 1000, "FIELDS", 1, "f2") == [1]
    assert c.call("HEXPIRETIME", "h", "FIELDS", 3, "f2", "f3", "nope") == [FAR_MS // 1000, -1, -2]
    assert c.call("HPEXPIREAT", "h", FAR_MS + 1, "FIELDS", 1, "f2") == [1] and c.call("HPEXPIRETIME", "h", "FIELDS", 1, "f2") == [FAR_MS + 1]
    assert c.call("HEXPIRETIME", "h", "FIELDS", 1, "f2") == [FAR_MS // 1000 + 1]
    assert c.call("HPERSIST", "h", "FIELDS", 3, "f2", "f3", "nope") == [1, -1, -2] and c.call("HTTL", "h", "FIELDS", 1, "f2") == [-1]
    assert c.call("HLEN", "h") == h and c.call("HGET", "h", "f0") == b"v0"
    assert "subexpiry=1" in c.info("keyspace")["db0"]


@pytest.mark.parametrize("command", ["HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST"])
def test_what_is_not_there_has_no_deadline(c, command):
    assert c.call(command, "no", "FIELDS", 2, "a", "b") == [-2, -2]


@pytest.mark.parametrize("now,option,at,changed", [
    (None, "NX", 200, 1), (100, "NX", 200, 0), (None, "XX", 200, 0), (100, "XX", 200, 1), (100, "GT", 200, 1), (200, "GT", 100, 0), (100, "GT", 100, 0),
    (None, "GT", 100, 0), (None, "LT", 100, 1), (200, "LT", 100, 1), (100, "LT", 200, 0)])
def test_conditions(c, h, now, option, at, changed):
    if now:
        c.call("HPEXPIREAT", "h", FAR_MS + now, "FIELDS", 1, "f")
        c.call("HPEXPIREAT", "h", FAR_MS + now, "FIELDS", 1, "f0")
    assert c.call("HPEXPIREAT", "h", FAR_MS + at, option, "FIELDS", 1, "f0") == [changed]
    assert c.call("HPEXPIRETIME", "h", "FIELDS", 1, "f0") == [FAR_MS + at if changed else FAR_MS + now if now else -1]


def test_past_deadlines_remove_at_once(c, h):
    assert c.call("HEXPIRE", "h", 0, "FIELDS", 2, "f0", "nope") == [2, -2] and c.call("HPEXPIREAT", "h", 5, "FIELDS", 1, "f1") == [2]
    assert c.call("HMGET", "h", "f0", "f1", "f2") == [None, None, b"v2"] and c.call("HLEN", "h") == h - 2
    c.call("HEXPIREAT", "h", 1, "FIELDS", h, *(f"f{i}" for i in range(h)))
    assert c.call("EXISTS", "h") == 0


@pytest.mark.parametrize("words,error", [
    ("HEXPIRE h x FIELDS 1 f", "ERR value is not an integer or out of range"),
    ("HEXPIRE h -1 FIELDS 1 f", "ERR invalid expire time, must be >= 0"),
    ("HEXPIRE h 9223372036854775807 FIELDS 1 f", "ERR invalid expire time in 'hexpire' command"),
    ("HPEXPIREAT h 70368744177664 FIELDS 1 f", "ERR invalid expire time in 'hpexpireat' command"),
    ("HPEXPIRE h 10 FIELD 1 f", "ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HPEXPIRE h 10 NX 1 f f", "ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HPEXPIRE h 10 FIELDS 0 f", "ERR Parameter `numFields` should be greater than 0"),
    ("HPEXPIRE h 10 FIELDS 2 f", "ERR The `numfields` parameter must match the number of arguments"),
    ("HPEXPIRE h 10 FIELDS 1 f g", "ERR The `numfields` parameter must match the number of arguments"),
    ("HTTL h FIELDS 0 f", "ERR Number of fields must be a positive integer"),
    ("HTTL h FIELDS 9223372036854775807 f", "ERR The `numfields` parameter must match the number of arguments"),
    ("HPERSIST h FOO 1 f", "ERR Mandatory argument FIELDS is missing or not at the right position"),
    ("HGETDEL h FIELDS x f", "ERR Number of fields must be a positive integer"),
    ("HGETEX h EX 1 PERSIST FIELDS 1 f", "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified"),
    ("HGETEX h EX -1 FIELDS 1 f", "ERR invalid expire time, must be >= 0"),
    ("HGETEX h FOO FIELDS 1 f", "ERR syntax error"),
    ("HSETEX h EX 1 KEEPTTL FIELDS 1 f v", "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"),
    ("HSETEX h FNX FXX FIELDS 1 f v", "ERR syntax error"),
    ("HSETEX h FNX FIELDS 2 f v g", "ERR The `numfields` parameter must match the number of arguments"),
    ("HSETEX h EX", "ERR wrong number of arguments for 'hsetex' command"),
    ("HEXPIRE h 10", "ERR wrong number of arguments for 'hexpire' command")])
def test_errors_leave_the_data(c, words, error):
    c.call("HSET", "h", "f", "v")
    digest = c.call("DEBUG", "DIGEST")
    assert str(c.try_call(*words.split())) == error and c.call("DEBUG", "DIGEST") == digest
    c.call("SET", "h", "text")
    if "arguments for" not in error:
        assert str(c.try_call(*words.split())).startswith("WRONGTYPE")


def test_setting_a_field_takes_its_deadline_away_and_counting_keeps_it(c, h):
    c.call("HSET", "h", "n", 1)
    c.call("HPEXPIREAT", "h", FAR_MS, "FIELDS", 3, "f0", "f1", "n")
    c.call("HSET", "h", "f0", "new")
    c.call("HINCRBY", "h", "n", 1)
    assert c.call("HINCRBYFLOAT", "h", "n", 1) == b"3"
    assert c.call("HPEXPIRETIME", "h", "FIELDS", 3, "f0", "f1", "n") == [-1, FAR_MS, FAR_MS]
    assert c.call("HSETNX", "h", "f1", "x") == 0 and c.call("HPEXPIRETIME", "h", "FIELDS", 1, "f1") == [FAR_MS]


def test_deadlines_move_with_the_hash(c, h):
    c.call("HPEXPIREAT", "h", FAR_MS, "FIELDS", 2, "f0", "f1")
    c.call("HPEXPIRE", "h", 400, "FIELDS", 1, "f2")
    c.call("COPY", "h", "copied")
    c.call("RESTORE", "restored", 0, c.call("DUMP", "h"))
    c.call("RENAME", "h", "renamed")
    c.call("COPY", "renamed", "h")
    c.call("MOVE", "h", 3)
    c.call("EXPIRE", "copied", 1000)
    c.call("PERSIST", "copied")
    c.call("SWAPDB", 3, 4)
    for db, key in ((0, "copied"), (0, "restored"), (0, "renamed"), (4, "h")):
        c.call("SELECT", db)
        assert c.call("HPEXPIRETIME", key, "FIELDS", 3, "f0", "f1", "f3") == [FAR_MS, FAR_MS, -1]
        wait_until(lambda: c.call("HEXISTS", key, "f2") == 0)
        assert c.call("HLEN", key) == h - 1
    assert "subexpiry=1" in c.info("keyspace")["db4"] and "subexpiry=3" in c.info("keyspace")["db0"]


def test_due_fields_are_seen_by_nobody(c, sleeping, h):
    def due():
        c.call("HSET", "h", "due", "1")
        c.call("HPEXPIRE", "h", 1, "FIELDS", 1, "due")
        time.sleep(0.005)
    for words, answer in (("HGET h due", None), ("HMGET h due", [None]), ("HEXISTS h due", 0), ("HSTRLEN h due", 0), ("HLEN h", h), ("HDEL h due", 0),
                          ("HINCRBY h due 5", 5), ("HSETNX h due x", 1), ("HSET h due x", 1), ("HTTL h FIELDS 1 due", [-2]),
                          ("HPERSIST h FIELDS 1 due", [-2]), ("HEXPIRE h 10 FIELDS 1 due", [-2]), ("HGETDEL h FIELDS 1 due", [None]),
                          ("HGETEX h EX 5 FIELDS 1 due", [None]), ("HSETEX h FNX FIELDS 1 due v", 1), ("HINCRBYFLOAT h due 2", b"2")):
        due()
        assert c.call(*words.split()) == answer, words
        c.call("HDEL", "h", "due")
    for words in ("HKEYS h", "HGETALL h", "HRANDFIELD h -5000", "HRANDFIELD h 5000", "HSCAN h 0 COUNT 5000"):
        due()
        got = c.call(*words.split())
        assert b"due" not in (got[1] if "HSCAN" in words else got), words


@pytest.mark.parametrize("words,answer", [
    ("EXISTS h", 0), ("TYPE h", b"none"), ("HLEN h", 0), ("HGETALL h", []), ("KEYS *", []), ("SCAN 0", [b"0", []]), ("RANDOMKEY", None), ("DUMP h", None),
    ("COPY h g", 0), ("OBJECT ENCODING h", None), ("DEL h", 0), ("TTL h", -2), ("SETNX h x", 1), ("HSETEX h XX FIELDS 1 f v", 0)])
def test_a_hash_of_due_fields_is_not_there(c, sleeping, h, words, answer):
    c.call("HPEXPIRE", "h", 1, "FIELDS", h, *(f"f{i}" for i in range(h)))
    time.sleep(0.005)
    got = c.try_call(*words.split())
    assert got == answer or (answer is None and "no such key" in str(got))


def test_due_fields_go_by_themselves_and_the_key_with_the_last(c, h):
    c.call("HPEXPIRE", "h", 30, "FIELDS", 1, "f0")
    before = int(c.info("stats")["expired_subkeys"])
    wait_until(lambda: int(c.info("stats")["expired_subkeys"]) == before + 1, timeout=2)
    assert c.call("HLEN", "h") == h - 1
    c.call("HPEXPIRE", "h", 30, "FIELDS", h - 1, *(f"f{i}" for i in range(1, h)))
    wait_until(lambda: c.call("DBSIZE") == 0, timeout=2)
    assert int(c.info("stats")["expired_subkeys"]) == before + h


def test_many_due_fields_among_a_million_go_within_a_second(c):
    for at in range(0, 1_000_000, 5000):
        c.call("HSET", f"h{at % 100_000}", *(x for i in range(at, at + 5000) for x in (i, "v")))
        c.call("HPEXPIREAT", f"h{at % 100_000}", FAR_MS + at, "FIELDS", 5000, *range(at, at + 5000))
    due = [(f"h{at % 100_000}", range(at, at + 50)) for at in range(0, 1_000_000, 50_000)]
    before = int(c.info("stats")["expired_subkeys"])
    for key, fields in due:
        c.call("HPEXPIRE", key, 100, "FIELDS", 50, *fields)
    time.sleep(0.1)
    start = time.monotonic()
    wait_until(lambda: int(c.info("stats")["expired_subkeys"]) == before + 1000, timeout=5)
    assert time.monotonic() - start < 1


# --- HGETEX, HSETEX, HGETDEL ---

def test_hgetex(c, h):
    assert c.call("HGETEX", "h", "FIELDS", 2, "f0", "nope") == [b"v0", None] and c.call("HTTL", "h", "FIELDS", 1, "f0") == [-1]
    assert c.call("HGETEX", "h", "EX", 100, "FIELDS", 2, "f0", "nope") == [b"v0", None] and 99 <= c.call("HTTL", "h", "FIELDS", 1, "f0")[0] <= 100
    assert c.call("HGETEX", "h", "pxat", FAR_MS, "FIELDS", 1, "f0") == [b"v0"] and c.call("HPEXPIRETIME", "h", "FIELDS", 1, "f0") == [FAR_MS]
    assert c.call("HGETEX", "h", "PERSIST", "FIELDS", 2, "f0", "f1") == [b"v0", b"v1"] and c.call("HTTL", "h", "FIELDS", 1, "f0") == [-1]
    assert c.call("HGETEX", "h", "EX", 0, "FIELDS", 2, "f0", "f0") == [b"v0", None] and c.call("HEXISTS", "h", "f0") == 0
    assert c.call("HGETEX", "no", "EX", 1, "FIELDS", 2, "a", "b") == [None, None] and c.call("EXISTS", "no") == 0


def test_hsetex(c):
    assert c.call("HSETEX", "h", "XX", "FIELDS", 1, "a", 1) == 0 and c.call("EXISTS", "h") == 0
    assert c.call("HSETEX", "h", "FXX", "FIELDS", 1, "a", 1) == 0 and c.call("EXISTS", "h") == 0
    assert c.call("HSETEX", "h", "NX", "FNX", "PXAT", FAR_MS, "FIELDS", 2, "a", 1, "b", 2) == 1
    assert c.call("HPEXPIRETIME", "h", "FIELDS", 2, "a", "b") == [FAR_MS, FAR_MS] and c.call("HSETEX", "h", "NX", "FIELDS", 1, "c", 1) == 0
    assert c.call("HSETEX", "h", "FNX", "FIELDS", 2, "c", 1, "a", 9) == 0 and c.call("HMGET", "h", "a", "c") == [b"1", None]
    assert c.call("HSETEX", "h", "FXX", "KEEPTTL", "FIELDS", 1, "a", 7) == 1 and c.call("HSETEX", "h", "KEEPTTL", "FIELDS", 1, "c", 3) == 1
    assert c.call("HSETEX", "h", "FIELDS", 1, "b", 8) == 1 and c.call("HMGET", "h", "a", "b", "c") == [b"7", b"8", b"3"]
    assert c.call("HPEXPIRETIME", "h", "FIELDS", 3, "a", "b", "c") == [FAR_MS, -1, -1]
    assert c.call("HSETEX", "h", "EXAT", 1, "FIELDS", 2, "a", 1, "new", 2) == 1 and c.call("HMGET", "h", "a", "new") == [None, None]
    assert c.call("HSETEX", "none", "EX", 0, "FIELDS", 1, "a", 1) == 1 and c.call("EXISTS", "none") == 0


def test_hgetdel(c, h):
    assert c.call("HGETDEL", "h", "FIELDS", 3, "f0", "nope", "f0") == [b"v0", None, None] and c.call("HLEN", "h") == h - 1
    assert c.call("HGETDEL", "h", "FIELDS", h, *(f"f{i}" for i in range(h))) == [None] + [b"v%d" % i for i in range(1, h)]
    assert c.call("EXISTS", "h") == 0 and c.call("HGETDEL", "h", "FIELDS", 1, "f") == [None]


# --- the log and files ---

def test_the_log_has_effects(make_node):
    node = make_node({"appendonly": "yes"})
    with node.client() as c:
        c.call("HSET", "h", *(x for i in range(10) for x in (f"f{i}", i)))
        c.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        seen = len(log_text(node))

        def added():
            nonlocal seen
            text = log_text(node)
            out, seen = text[seen:], len(text)
            return out
        c.call("HEXPIREAT", "h", FAR_MS // 1000, "NX", "FIELDS", 2, "f0", "nope")
        assert encode("HPEXPIREAT", "h", FAR_MS, "FIELDS", 1, "f0") in added()
        c.call("HEXPIRE", "h", 0, "FIELDS", 1, "f1")
        assert encode("HDEL", "h", "f1") in added()
        c.call("HINCRBYFLOAT", "h", "f0", 1)
        assert encode("HSET", "h", "f0", 1) + encode("HPEXPIREAT", "h", FAR_MS, "FIELDS", 1, "f0") in added()
        c.call("HGETEX", "h", "PERSIST", "FIELDS", 2, "f0", "f2")
        assert encode("HPERSIST", "h", "FIELDS", 1, "f0") in added()
        c.call("HSETEX", "h", "PXAT", FAR_MS, "FIELDS", 1, "f3", "x")
        assert encode("HSET", "h", "f3", "x") + encode("HPEXPIREAT", "h", FAR_MS, "FIELDS", 1, "f3") in added()
        c.call("HSETEX", "h", "KEEPTTL", "FIELDS", 2, "f3", "y", "f4", "z")
        assert encode("HSET", "h", "f3", "y", "f4", "z") + encode("HPEXPIREAT", "h", FAR_MS, "FIELDS", 1, "f3") in added()
        c.call("HGETDEL", "h", "FIELDS", 2, "f4", "nope")
        assert encode("HDEL", "h", "f4") in added()
        c.call("HPEXPIRE", "h", 1, "FIELDS", 2, "f5", "f6")
        time.sleep(0.005)
        added()
        c.call("HLEN", "h")
        assert encode("HDEL", "h", "f5", "f6") in added() or encode("HDEL", "h", "f6", "f5") in added()
        for words in ("HGETEX h FIELDS 1 f7", "HTTL h FIELDS 1 f7", "HSETEX h FNX FIELDS 1 f7 v", "HPERSIST h FIELDS 1 f7", "HEXPIRE h 5 XX FIELDS 1 f7"):
            c.call(*words.split())
        assert b"f7" not in added()
        digest = c.call("DEBUG", "DIGEST")
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest and c.call("HPEXPIRETIME", "h", "FIELDS", 1, "f3") == [FAR_MS]


@pytest.mark.parametrize("config", [{"rdb-version": v} for v in (10, 11, 12)] + [{"appendonly": "yes", "aof-use-rdb-preamble": p} for p in ("yes", "no")],
                         ids=lambda c: " ".join(str(v) for v in c.values()))
def test_deadlines_survive_files(make_node, config):
    node = make_node(config)
    with node.client() as c:
        for key, n in (("small", SMALL), ("large", LARGE)):
            c.call("HSET", key, *(x for i in range(n) for x in (f"f{i}", f"v{i}")))
            for i in range(0, n, 2):
                c.call("HPEXPIREAT", key, FAR_MS + i, "FIELDS", 1, f"f{i}")
        c.call("HSET", "due", "f", "v")
        c.call("HPEXPIRE", "due", 300, "FIELDS", 1, "f")
        if "appendonly" in config:
            c.call("BGREWRITEAOF")
            wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0" and c.info("persistence")["aof_rewrite_scheduled"] == "0")
        else:
            c.call("SAVE")
        encodings = [c.call("OBJECT", "ENCODING", k) for k in ("small", "large")]
        time.sleep(0.3)
        wait_until(lambda: c.call("DBSIZE") == 2)
        digest = c.call("DEBUG", "DIGEST")
    node.restart(kill=True)
    with node.client() as c:
        wait_until(lambda: c.call("DBSIZE") == 2)
        assert c.call("DEBUG", "DIGEST") == digest and [c.call("OBJECT", "ENCODING", k) for k in ("small", "large")] == encodings
        assert c.call("HPEXPIRETIME", "large", "FIELDS", 3, "f4", "f5", "f698") == [FAR_MS + 4, -1, FAR_MS + 698]


def test_redis_loads_such_a_snapshot_without_the_deadlines(make_node):
    ours = make_node({"rdb-version": 10})
    with ours.client() as c:
        c.call("HSET", "h", "a", 1, "b", 2)
        c.call("HPEXPIREAT", "h", FAR_MS, "FIELDS", 1, "a")
        c.call("SET", "other", "x")
        c.call("SAVE")
    ours.stop()
    with Node(dir=ours.dir, binary=REDIS_SERVER).start() as node, node.client() as c:
        assert c.call("HGETALL", "h") == [b"b", b"2", b"a", b"1"] or c.call("HGETALL", "h") == [b"a", b"1", b"b", b"2"]
        assert c.call("GET", "other") == b"x"


def test_hashes_of_redis_7_4_and_later_are_read(c):
    fixtures = os.path.join(ROOT, "tests", "data", "fixtures", "redis-8.0-dev")
    with open(os.path.join(fixtures, "dump.rdb"), "rb") as f:
        data = f.read()
    with open(os.path.join(fixtures, "expected.json")) as f:
        expected = {k["key"]: k for k in json.load(f)["keys"] if k["key"].startswith("hfe:")}
    assert len(expected) == 2
    c.call("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "1")
    try:
        for key, e in expected.items():
            name = bytes([len(key)]) + key.encode()
            at = data.index(name)
            # Where the value ends is what loading it finds out: no other length is taken.
            taken = [end for end in range(at + len(name) + 8, min(len(data), at + 30_000)) if not isinstance(c.try_call(
                "RESTORE", key, 0, data[at - 1:at] + data[at + len(name):end] + b"\x0c\x00" + bytes(8)), ReplyError)]
            assert len(taken) == 1
            assert c.call("DEBUG", "DIGEST-VALUE", key) == [e["digest"].encode()] and c.call("OBJECT", "ENCODING", key) == e["encoding"].encode()
    finally:
        c.call("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "0")


def test_a_transaction_that_watches_sees_a_field_go(c, c2, h):
    c.call("HPEXPIRE", "h", 20, "FIELDS", 1, "f0")
    c.call("WATCH", "h")
    time.sleep(0.05)
    wait_until(lambda: c2.call("HEXISTS", "h", "f0") == 0)
    c.call("MULTI")
    c.call("PING")
    assert c.call("EXEC") is None


def test_events(c, c2):
    c.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    try:
        c2.send("PSUBSCRIBE", "__keyevent@0__:*")
        c2.read()

        def events(*requests):
            for words in requests:
                c.call(*words.split())
            c.call("PUBLISH", "__keyevent@0__:end", "")
            seen = []
            while True:
                name = c2.read()[2].split(b":")[1].decode()
                if name == "end":
                    return seen
                if name != "new":
                    seen.append(name)
        assert events("HSET h a 1 b 2 c 3 d 4") == ["hset"]
        assert events("HEXPIRE h 100 FIELDS 1 a", "HEXPIRE h 100 FIELDS 1 nope", "HPERSIST h FIELDS 1 a", "HPERSIST h FIELDS 1 a") == ["hexpire", "hpersist"]
        assert events("HGETEX h EX 5 FIELDS 1 a", "HGETEX h PERSIST FIELDS 1 a", "HGETEX h FIELDS 1 a", "HGETEX h EX 0 FIELDS 1 a") == [
            "hexpire", "hpersist", "hdel"]
        assert events("HSETEX h EX 100 FIELDS 1 a 1", "HSETEX h FXX FIELDS 1 nope 1", "HGETDEL h FIELDS 1 a") == ["hset", "hexpire", "hdel"]
        assert events("HEXPIRE h 0 FIELDS 1 b") == ["hdel"] and events("HEXPIRE h 0 FIELDS 2 c d") == ["hdel", "del"]
        c.call("HSET", "h", "a", 1, "b", 2)
        c.call("HPEXPIRE", "h", 10, "FIELDS", 1, "a")
        wait_until(lambda: c.call("HLEN", "h") == 1)
        c.call("HPEXPIRE", "h", 10, "FIELDS", 1, "b")
        wait_until(lambda: c.call("EXISTS", "h") == 0)
        assert events() == ["hset", "hexpire", "hexpired", "hexpire", "hexpired", "del"]
    finally:
        c.call("CONFIG", "SET", "notify-keyspace-events", "")


def random_request(rng):
    key, fields = f"h{rng.randrange(6)}", rng.sample([f"f{i}" for i in range(12)], rng.randrange(1, 4))
    tail = ("FIELDS", len(fields), *fields)
    ms = rng.choice((0, 1, 3, 8, 20, 50, 100_000))
    return rng.choice((
        lambda: ("HSET", key, *(x for f in fields for x in (f, rng.randrange(100)))),
        lambda: ("HSETNX", key, fields[0], rng.randrange(100)),
        lambda: ("HINCRBY", key, fields[0], rng.randrange(9)),
        lambda: ("HINCRBYFLOAT", key, fields[0], rng.randrange(9) / 4),
        lambda: ("HDEL", key, *fields),
        lambda: ("HPEXPIRE", key, ms, *rng.choice(((), ("NX",), ("XX",), ("GT",), ("LT",))), *tail),
        lambda: ("HPEXPIRE", key, ms, *tail),
        lambda: ("HPERSIST", key, *tail),
        lambda: ("HGETEX", key, *rng.choice((("PX", ms), ("PERSIST",), ())), *tail),
        lambda: ("HGETDEL", key, *tail),
        lambda: ("HSETEX", key, *rng.choice(((), ("FNX",), ("FXX",), ("NX",), ("XX",))), *rng.choice((("PX", ms), ("KEEPTTL",), ())), "FIELDS", len(fields),
                 *(x for f in fields for x in (f, rng.randrange(100)))),
        lambda: ("COPY", key, f"h{rng.randrange(6)}", "REPLACE"),
        lambda: ("RENAME", key, f"h{rng.randrange(6)}"),
        lambda: ("HSET", key, fields[0], "x" * 80),  # the large form
        lambda: ("EXISTS", key)))()


@pytest.mark.parametrize("seed", range(4))
def test_the_log_repeats_a_random_history(make_node, seed):
    rng = random.Random(seed)
    node = make_node({"appendonly": "yes", "hz": rng.choice((10, 500)), "aof-use-rdb-preamble": rng.choice(("yes", "no"))})
    with node.client() as c:
        for at in range(3000):
            c.try_call(*random_request(rng))
            if at == 1500:
                c.call("BGREWRITEAOF")
        time.sleep(0.12)
        for key in c.call("KEYS", "h[0-3]"):
            c.call("HEXPIRE", key, 1000, "FIELDS", 1, c.call("HRANDFIELD", key))

        def live():
            """What is left once all that was due in a short time is gone."""
            return {k: sorted((f, v, c.call("HPEXPIRETIME", k, "FIELDS", 1, f)[0]) for f, v in zip(*[iter(c.call("HGETALL", k))] * 2))
                    for k in c.call("KEYS", "*")}
        before = live()
        assert before and any(d > 0 for fields in before.values() for _, _, d in fields)
    node.restart(kill=True)
    with node.client() as c:
        assert live() == before


@pytest.mark.parametrize("version", [10, 11, 12])
def test_a_replica_hides_due_fields_until_its_primary_removes_them(make_node, version):
    primary = make_node({"rdb-version": version, "repl-diskless-sync-delay": 0})
    with primary.client() as p:
        p.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        for key, n in (("small", SMALL), ("large", LARGE)):
            p.call("HSET", key, *(x for i in range(n) for x in (f"f{i}", i)))
            p.call("HPEXPIREAT", key, FAR_MS, "FIELDS", 1, "f0")
        replica = make_node({"replicaof": f"127.0.0.1 {primary.port}"})
        with replica.client() as r:
            wait_until(lambda: r.info("replication")["master_link_status"] == "up", timeout=20)
            assert [r.call("HPEXPIRETIME", k, "FIELDS", 2, "f0", "f1") for k in ("small", "large")] == [[FAR_MS, -1]] * 2
            for key, n in (("small", SMALL), ("large", LARGE)):
                p.call("HPEXPIRE", key, 100, "FIELDS", 2, "f1", "f2")
                p.call("HSET", "gone " + key, "f", "v")
                p.call("HPEXPIRE", "gone " + key, 100, "FIELDS", 1, "f")
            wait_until(lambda: r.call("HPEXPIRETIME", "gone large", "FIELDS", 1, "f")[0] > 0)
            time.sleep(0.12)
            assert r.call("DBSIZE") == 4 and sorted(r.call("KEYS", "*")) == [b"large", b"small"]
            for key, n in (("small", SMALL), ("large", LARGE)):
                assert r.call("HLEN", key) == n - 2 and r.call("HMGET", key, "f1", "f3") == [None, b"3"] and len(r.call("HKEYS", key)) == n - 2
                assert r.call("EXISTS", "gone " + key) == 0 and r.call("HRANDFIELD", "gone " + key) is None
                assert b"f1" not in r.call("HRANDFIELD", key, -2000) and b"f1" not in r.call("HSCAN", key, 0, "COUNT", 5000)[1]
            assert r.info("stats")["expired_subkeys"] == "0"
            p.call("HINCRBY", "small", "f1", 5)  # begins anew on both
            for key in ("small", "large", "gone small", "gone large"):
                p.call("HLEN", key)
            wait_until(lambda: r.call("DBSIZE") == 2)
            assert r.call("HGET", "small", "f1") == b"5"
            wait_until(lambda: r.call("DEBUG", "DIGEST") == p.call("DEBUG", "DIGEST"))


def test_deadlines_are_refused_while_a_replica_does_not_know_them(make_node):
    primary = make_node({"rdb-version": 10, "repl-diskless-sync-delay": 0})
    old = make_node({"replicaof": f"127.0.0.1 {primary.port}"}, binary=REDIS_SERVER)
    with primary.client() as p, old.client() as r:
        wait_until(lambda: r.info("replication")["master_link_status"] == "up", timeout=20)
        p.call("HSET", "h", "f", 1)
        for words in ("HEXPIRE h 100 FIELDS 1 f", "HPEXPIREAT h 5 FIELDS 1 f", "HPERSIST h FIELDS 1 f", "HSETEX h EX 5 FIELDS 1 f 2", "HGETEX h EX 5 FIELDS 1 f"):
            assert str(p.try_call(*words.split())) == "ERR a replica is attached that does not know deadlines of hash fields"
        assert p.call("HGETDEL", "h", "FIELDS", 1, "f") == [b"1"] and p.call("HSET", "h", "g", 2) == 1
        wait_until(lambda: r.call("HGETALL", "h") == [b"g", b"2"])
        r.call("REPLICAOF", "NO", "ONE")
        wait_until(lambda: p.info("replication")["connected_slaves"] == "0")
        assert p.call("HEXPIRE", "h", 100, "FIELDS", 1, "g") == [1]
