"""Generic commands: keys as such, databases, SCAN, DUMP and RESTORE, OBJECT, FLUSH*."""

import random
import time

import pytest

from harness import ReplyError, wait_until


def error_of(c, *args):
    r = c.try_call(*args)
    assert isinstance(r, ReplyError), f"{args}: {r!r} is no error"
    return str(r)


def scan_all(c, *args, cursor=b"0"):
    out = []
    while True:
        cursor, part = c.call("SCAN", cursor, *args)
        out += part
        if cursor == b"0":
            return out


def test_del_unlink_exists_touch_type(c):
    c.call("MSET", "a", 1, "b", 2, "c", 3)
    assert c.call("EXISTS", "a", "a", "x", "b") == 3 and c.call("TOUCH", "a", "x") == 1
    assert c.call("DEL", "a", "a", "x") == 1 and c.call("UNLINK", "b", "c", "x") == 2 and c.call("DBSIZE") == 0
    assert c.call("TYPE", "x") == b"none"
    c.call("SET", "s", "v")
    assert c.call("TYPE", "s") == b"string"


def test_rename(c):
    c.call("SET", "a", 1, "EXAT", 4_000_000_000)
    c.call("SET", "b", 2)
    assert c.call("RENAME", "a", "b") == b"OK" and c.call("GET", "b") == b"1" and c.call("EXPIRETIME", "b") == 4_000_000_000
    assert c.call("RENAME", "b", "b") == b"OK"
    assert error_of(c, "RENAME", "x", "y") == "ERR no such key" and error_of(c, "RENAMENX", "x", "y") == "ERR no such key"
    c.call("SET", "c", 3)
    assert c.call("RENAMENX", "b", "c") == 0 and c.call("RENAMENX", "b", "b") == 0 and c.call("RENAMENX", "b", "d") == 1


def test_copy_and_move(c):
    c.call("SET", "a", "v", "EXAT", 4_000_000_000)
    assert c.call("COPY", "a", "b") == 1 and c.call("EXPIRETIME", "b") == 4_000_000_000 and c.call("COPY", "a", "b") == 0
    assert c.call("COPY", "a", "b", "REPLACE") == 1 and c.call("COPY", "a", "a", "DB", 2) == 1 and c.call("COPY", "x", "y") == 0
    assert error_of(c, "COPY", "a", "a") == "ERR source and destination objects are the same"
    assert error_of(c, "COPY", "a", "b", "DB", 99) == "ERR DB index is out of range"
    assert c.call("MOVE", "a", 2) == 0 and c.call("MOVE", "b", 2) == 1 and c.call("EXISTS", "b") == 0
    assert error_of(c, "MOVE", "a", 0) == "ERR source and destination objects are the same"
    assert error_of(c, "MOVE", "a", 99) == "ERR DB index is out of range"
    c.call("SELECT", 2)
    assert sorted(c.call("KEYS", "*")) == [b"a", b"b"] and c.call("EXPIRETIME", "b") == 4_000_000_000


def test_select_and_swapdb(c, c2):
    c.call("SET", "k", "zero")
    c.call("SELECT", 1)
    c.call("SET", "k", "one")
    assert c.call("SWAPDB", 0, 1) == b"OK" and c.call("GET", "k") == b"zero" and c2.call("GET", "k") == b"one"
    assert error_of(c, "SELECT", 16) == "ERR DB index is out of range" and error_of(c, "SELECT", "x").startswith("ERR")
    assert error_of(c, "SWAPDB", 0, 99) == "ERR DB index is out of range" and error_of(c, "SWAPDB", "x", 1) == "ERR invalid first DB index"
    assert error_of(c, "SWAPDB", 1, "x") == "ERR invalid second DB index"


def test_keys_patterns(c):
    c.call("MSET", *sum((["k%d" % i, i] for i in range(10)), []), "other", 1, "a[b", 1)
    assert len(c.call("KEYS", "k?")) == 10 and sorted(c.call("KEYS", "k[1-3]")) == [b"k1", b"k2", b"k3"]
    assert sorted(c.call("KEYS", "k[^1-8]")) == [b"k0", b"k9"] and c.call("KEYS", "a\\[b") == [b"a[b"] and c.call("KEYS", "nothing*") == []
    assert len(c.call("KEYS", "*")) == 12


def test_a_glob_made_to_blow_up_is_harmless(c):
    c.call("SET", "a" * 60, "v")
    start = time.monotonic()
    c.call("KEYS", "a*" * 25 + "b")
    assert time.monotonic() - start < 2


def test_randomkey(c):
    assert c.call("RANDOMKEY") is None
    c.call("MSET", "a", 1, "b", 1, "c", 1)
    assert {c.call("RANDOMKEY") for _ in range(100)} == {b"a", b"b", b"c"}


# --- SCAN ---

def test_scan_returns_every_key_once_on_a_quiet_keyspace(c):
    want = {b"key:%d" % i for i in range(5000)}
    c.pipeline([("SET", k, "v") for k in want])
    for count in (1, 10, 1000):
        got = scan_all(c, "COUNT", count)
        assert set(got) == want and len(got) == len(want)


def test_scan_match_and_type(c):
    c.pipeline([("SET", f"key:{i}", "v") for i in range(1000)])
    assert sorted(scan_all(c, "MATCH", "key:99?")) == sorted(b"key:99%d" % i for i in range(10))
    assert len(scan_all(c, "TYPE", "string")) == 1000 and scan_all(c, "TYPE", "hash") == []


def test_scan_misses_nothing_while_the_table_grows_and_shrinks(c):
    stay = {b"stay:%d" % i for i in range(2000)}
    c.pipeline([("SET", k, "v") for k in stay])
    rng = random.Random(1)
    for grow in (True, False):
        seen, cursor, n = set(), b"0", 0
        while True:
            cursor, part = c.call("SCAN", cursor, "COUNT", 20)
            seen.update(part)
            if cursor == b"0":
                break
            n += 1
            if grow and n <= 100:
                c.pipeline([("SET", f"new:{n}:{i}", "v") for i in range(200)])
            elif not grow and n % 2:
                c.pipeline([("DEL", f"new:{rng.randrange(1, 100)}:{i}") for i in range(200)])
        assert stay <= seen, f"{len(stay - seen)} keys missed"


def test_scan_errors(c):
    for bad in ("x", "99999999999999999999"):
        assert error_of(c, "SCAN", bad) == "ERR invalid cursor", bad
    assert error_of(c, "SCAN", 0, "COUNT", 0) == "ERR syntax error"
    assert error_of(c, "SCAN", 0, "COUNT", "x") == "ERR value is not an integer or out of range"
    assert error_of(c, "SCAN", 0, "FOO", "x") == "ERR syntax error" and error_of(c, "SCAN", 0, "MATCH") == "ERR syntax error"


def test_scan_does_not_show_keys_past_their_deadline(c):
    c.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        c.pipeline([("SET", f"k{i}", "v", "PX", 1) for i in range(100)])
        c.call("SET", "stays", "v")
        time.sleep(0.01)
        assert scan_all(c) == [b"stays"] and c.call("KEYS", "*") == [b"stays"]
    finally:
        c.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")


# --- DUMP, RESTORE ---

def test_dump_and_restore(c):
    for i, v in enumerate(["", "text", "12345", str(-2 ** 40), "abc" * 3000, bytes(range(256))]):
        c.call("SET", "k", v)
        payload = c.call("DUMP", "k")
        assert c.call("RESTORE", f"copy{i}", 0, payload) == b"OK"
        assert c.call("GET", f"copy{i}") == c.call("GET", "k") and c.call("TTL", f"copy{i}") == -1
        assert c.call("OBJECT", "ENCODING", f"copy{i}") == c.call("OBJECT", "ENCODING", "k")
    assert c.call("DUMP", "absent") is None


def test_restore_options(c):
    c.call("SET", "k", "v")
    p = c.call("DUMP", "k")
    assert error_of(c, "RESTORE", "k", 0, p) == "BUSYKEY Target key name already exists."
    assert c.call("RESTORE", "k", 100_000, p, "REPLACE") == b"OK" and 90_000 < c.call("PTTL", "k") <= 100_000
    assert c.call("RESTORE", "k", 4_000_000_000_000, p, "REPLACE", "ABSTTL") == b"OK" and c.call("PEXPIRETIME", "k") == 4_000_000_000_000
    assert c.call("RESTORE", "k", 1, p, "REPLACE", "ABSTTL") == b"OK" and c.call("EXISTS", "k") == 0
    assert c.call("RESTORE", "k", 0, p, "IDLETIME", 1000) == b"OK" and 1000 <= c.call("OBJECT", "IDLETIME", "k") <= 1003
    assert error_of(c, "RESTORE", "k", -1, p, "REPLACE") == "ERR Invalid TTL value, must be >= 0"
    assert error_of(c, "RESTORE", "k", 0, p, "REPLACE", "IDLETIME", -1) == "ERR Invalid IDLETIME value, must be >= 0"
    assert error_of(c, "RESTORE", "k", 0, p, "REPLACE", "FREQ", 256) == "ERR Invalid FREQ value, must be >= 0 and <= 255"
    assert error_of(c, "RESTORE", "k", 0, p, "FOO") == "ERR syntax error"


def test_restore_refuses_every_damaged_payload(c):
    c.call("SET", "k", "some text")
    p = c.call("DUMP", "k")
    bad = "ERR DUMP payload version or checksum are wrong"
    for bit in range(8 * len(p)):
        q = bytearray(p)
        q[bit // 8] ^= 1 << bit % 8
        assert error_of(c, "RESTORE", "x", 0, bytes(q)) == bad
    for n in range(len(p)):
        assert error_of(c, "RESTORE", "x", 0, p[:n]) == bad
    assert c.call("EXISTS", "x") == 0


def test_hostile_payloads_are_refused(c):
    """Well formed at the checksum, nonsense inside."""
    c.call("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "1")
    try:
        for body in (b"\x00\x80\xff\xff\xff\xff", b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff", b"\x00\xc3\x05\x80\x7f\xff\xff\xffabcde", b"\x00\xc4", b"\xff\x00", b"\x63abc",
                     b"\x00\xc3\x01\x10\x20"):
            r = c.try_call("RESTORE", "x", 0, body + b"\x0a\x00" + bytes(8))
            assert isinstance(r, ReplyError), body
        assert c.call("PING") == b"PONG"
    finally:
        c.call("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "0")


# --- OBJECT ---

def test_object_idletime_and_touch(c):
    c.call("SET", "k", "v")
    assert c.call("OBJECT", "IDLETIME", "k") == 0
    time.sleep(2.1)
    assert c.call("OBJECT", "IDLETIME", "k") >= 1
    c.call("TOUCH", "k")
    assert c.call("OBJECT", "IDLETIME", "k") == 0
    assert c.call("OBJECT", "IDLETIME", "absent") is None


def test_object_freq(make_node):
    node = make_node({"maxmemory-policy": "allkeys-lfu"})
    with node.client() as c:
        c.call("SET", "k", "v")
        before = c.call("OBJECT", "FREQ", "k")
        for _ in range(100):
            c.call("GET", "k")
        assert c.call("OBJECT", "FREQ", "k") > before
        assert error_of(c, "OBJECT", "IDLETIME", "k").startswith("ERR An LFU maxmemory policy is selected, idle time not tracked.")
        c.call("RESTORE", "r", 0, c.call("DUMP", "k"), "FREQ", 77)
        assert c.call("OBJECT", "FREQ", "r") == 77


def test_object_errors(c):
    c.call("SET", "k", "v")
    assert error_of(c, "OBJECT", "FREQ", "k").startswith("ERR An LFU maxmemory policy is not selected, access frequency not tracked.")
    assert c.call("OBJECT", "ENCODING", "absent") is None
    assert error_of(c, "OBJECT", "FOO", "k") == "ERR unknown subcommand 'FOO'. Try OBJECT HELP."
    assert c.call("OBJECT", "REFCOUNT", "k") >= 1


# --- FLUSH ---

@pytest.mark.parametrize("mode", [(), ("SYNC",), ("ASYNC",)])
def test_flush(c, mode):
    c.pipeline([("SET", f"k{i}", "v") for i in range(1000)])
    c.call("SELECT", 1)
    c.call("SET", "k", "v")
    assert c.call("FLUSHDB", *mode) == b"OK" and c.call("DBSIZE") == 0
    c.call("SELECT", 0)
    assert c.call("DBSIZE") == 1000 and c.call("FLUSHALL", *mode) == b"OK" and c.call("DBSIZE") == 0
    assert error_of(c, "FLUSHALL", "FOO") == "ERR syntax error"


def test_lazy_freeing_counts(make_node):
    node = make_node()
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", "v" * 100) for i in range(50_000)])
        before = int(c.info("memory")["used_memory"])
        c.call("FLUSHALL", "ASYNC")
        wait_until(lambda: c.info("memory")["lazyfree_pending_objects"] == "0")
        wait_until(lambda: int(c.info("memory")["used_memory"]) < before / 2)
        assert int(c.info("memory")["lazyfreed_objects"]) >= 50_000


def test_wait_without_replicas(c):
    assert c.call("WAIT", 0, 0) == 0
    start = time.monotonic()
    assert c.call("WAIT", 1, 200) == 0 and time.monotonic() - start >= 0.19
    assert error_of(c, "WAIT", 0, -1) == "ERR timeout is negative"
