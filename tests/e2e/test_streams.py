"""Streams: waiting for entries, what the files say of them, other servers' view of the files, references of groups.

What single commands reply is compared with redis-server in tests/differential."""

import glob
import random
import time

import pytest

from harness import REDIS_SERVER, ReplyError, is_holdfast, wait_until
from harness.resp import parse_all

ours_only = pytest.mark.skipif(not is_holdfast(), reason="commands that Redis 7.0 does not have")


def error(reply, start):
    assert isinstance(reply, ReplyError) and str(reply).startswith(start), reply


def as_dict(flat):
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


def stream_state(c, key):
    """All there is to know of a stream, without what depends on the moment or on the server's version."""
    info = as_dict(c.call("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    groups = []
    for g in map(as_dict, info.pop("groups")):
        consumers = [as_dict(x) for x in g.pop("consumers")]
        for x in consumers:
            x.pop("seen-time", None), x.pop("active-time", None)
        groups.append((g, consumers))
    return info, groups


def state(c):
    keys = sorted(c.call("KEYS", "*"))
    return c.call("DEBUG", "DIGEST"), [(k, stream_state(c, k)) for k in keys if c.call("TYPE", k) == b"stream"]


def fill(c, seed=1):
    """Streams in many states: entries of many shapes, deleted and trimmed ones, groups at different places."""
    r = random.Random(seed)
    for name in ("a", "b", "c"):
        for i in range(1, 400):
            words = ["f", i, "g", "v" * r.randint(0, 80)] if r.random() < 0.8 else [r.choice("xyz"), -i]
            c.call("XADD", name, f"{i}-{i % 3}", *words)
        for i in range(40):
            n = r.randint(1, 399)
            c.call("XDEL", name, f"{n}-{n % 3}")
        c.call("XTRIM", name, "MAXLEN", r.randint(150, 300))
        for g in ("g1", "g2", "g3"):
            c.call("XGROUP", "CREATE", name, g, r.choice(["0", "250", "$"]))
            for who in ("alice", "bob"):
                c.call("XREADGROUP", "GROUP", g, who, "COUNT", r.randint(1, 30), "STREAMS", name, ">")
            pending = c.call("XPENDING", name, g, "-", "+", 100)
            c.call("XACK", name, g, "1-1", *[p[0] for p in pending[::3]])
            c.call("XCLAIM", name, g, "carol", 0, "1-1", *[p[0] for p in pending[1::6]])
            c.call("XGROUP", "CREATECONSUMER", name, g, "idle one")
    c.call("XADD", "many", "MAXLEN", "~", 1000, "*", "f", "v")
    c.call("XGROUP", "CREATE", "empty", "g", "$", "MKSTREAM")
    c.call("XADD", "emptied", "5-5", "f", "v")
    c.call("XDEL", "emptied", "5-5")
    c.call("XSETID", "b", "900-1", "ENTRIESADDED", 1000)


# --- waiting ---


class Waiting:
    """A connection that waits."""

    def __init__(self, node, c, *words):
        self.client, self.c = node.client(), c
        before = self.blocked()
        self.client.send(*words)
        wait_until(lambda: self.blocked() == before + 1)

    def blocked(self):
        return int(self.c.info("clients")["blocked_clients"])

    def read(self):
        reply = self.client.read()
        self.client.close()
        return reply


@pytest.fixture
def wait(shared_node, c):
    waiting = []

    def begin(*words):
        waiting.append(Waiting(shared_node, c, *words))
        return waiting[-1]

    yield begin
    for w in waiting:
        w.client.close()
    wait_until(lambda: int(c.info("clients")["blocked_clients"]) == 0)


def test_a_reader_waits_for_an_entry_behind_its_id(c, wait):
    c.call("XADD", "s", "5-0", "a", 1)
    w = wait("XREAD", "BLOCK", 0, "STREAMS", "s", "5-0")
    c.call("XADD", "s", "5-1", "b", 2)
    assert w.read() == [[b"s", [[b"5-1", [b"b", b"2"]]]]]


def test_dollar_means_the_end_when_the_wait_began(c, wait):
    c.call("XADD", "s", "5-0", "a", 1)
    w = wait("XREAD", "BLOCK", 0, "COUNT", 10, "STREAMS", "none", "s", "$", "$")
    c.call("MULTI")
    c.call("XADD", "s", "5-1", "b", 2)
    c.call("XADD", "s", "5-2", "c", 3)
    c.call("XADD", "none", "1-1", "c", 3)
    c.call("EXEC")
    first = w.read()
    assert first[0] in ([b"s", [[b"5-1", [b"b", b"2"]], [b"5-2", [b"c", b"3"]]]], [b"none", [[b"1-1", [b"c", b"3"]]]])


@ours_only
def test_an_entry_that_is_gone_again_wakes_nobody(c, wait):
    w = wait("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    c.call("MULTI")
    c.call("XADD", "s", "1-1", "a", 1)
    c.call("XDEL", "s", "1-1")
    c.call("EXEC")
    c.call("XADD", "s", "1-2", "b", 2)
    assert w.read() == [[b"s", [[b"1-2", [b"b", b"2"]]]]]


def test_all_readers_get_the_entry_and_each_consumer_another(c, wait):
    readers = [wait("XREAD", "BLOCK", 0, "STREAMS", "s", "$") for _ in range(3)]
    c.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    consumers = [wait("XREADGROUP", "GROUP", "g", f"c{i}", "COUNT", 1, "BLOCK", 0, "STREAMS", "s", ">") for i in range(2)]
    c.call("XADD", "s", "1-1", "a", 1)
    assert [r.read() for r in readers] == [[[b"s", [[b"1-1", [b"a", b"1"]]]]]] * 3
    assert consumers[0].read() == [[b"s", [[b"1-1", [b"a", b"1"]]]]]
    c.call("XADD", "s", "1-2", "a", 2)
    assert consumers[1].read() == [[b"s", [[b"1-2", [b"a", b"2"]]]]]
    assert [x[1] for x in c.call("XPENDING", "s", "g", "-", "+", 9)] == [b"c0", b"c1"]


def test_the_end_of_a_wait_is_a_null_array(c, shared_node, wait):
    start = time.monotonic()
    assert c.call("XREAD", "BLOCK", 30, "STREAMS", "s", "$") is None
    assert time.monotonic() - start >= 0.025
    w = wait("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    ident = [int(x.split(b"id=")[1].split()[0]) for x in c.call("CLIENT", "LIST").splitlines() if b"cmd=xread" in x][0]
    assert c.call("CLIENT", "UNBLOCK", ident) == 1
    assert w.client.read_raw() == b"*-1\r\n"
    c.call("MULTI")
    c.call("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    assert c.call("EXEC") == [None]


def test_a_stream_comes_under_another_name_or_whole(c, wait):
    w = wait("XREAD", "BLOCK", 0, "STREAMS", "s", "0")
    c.call("XADD", "t", "1-1", "a", 1)
    c.call("RENAME", "t", "s")
    assert w.read() == [[b"s", [[b"1-1", [b"a", b"1"]]]]]
    payload = c.call("DUMP", "s")
    c.call("DEL", "s")
    w = wait("XREAD", "BLOCK", 0, "STREAMS", "s", "0")
    c.call("RESTORE", "s", 0, payload)
    assert w.read() == [[b"s", [[b"1-1", [b"a", b"1"]]]]]


def test_who_waits_for_a_group_is_told_that_it_is_gone(c, wait):
    c.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    w = wait("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", ">")
    c.call("XGROUP", "DESTROY", "s", "g")
    error(w.read(), "NOGROUP")
    c.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    w = wait("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", ">")
    c.call("DEL", "s")
    error(w.read(), "NOGROUP" if is_holdfast() else "UNBLOCKED")
    assert c.call("EXISTS", "s") == 0


def test_history_is_replied_at_once_whatever_block_says(c):
    c.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    assert c.call("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", "0") == [[b"s", []]]


@ours_only
def test_plus_is_the_last_entry(c, wait):
    assert c.call("XREAD", "STREAMS", "s", "+") is None
    c.call("XADD", "s", "1-1", "a", 1)
    c.call("XADD", "s", "1-2", "b", 2)
    c.call("XADD", "s", "1-3", "c", 3)
    c.call("XDEL", "s", "1-3")
    assert c.call("XREAD", "STREAMS", "s", "+") == [[b"s", [[b"1-2", [b"b", b"2"]]]]]
    w = wait("XREAD", "BLOCK", 0, "STREAMS", "t", "+")
    c.call("XADD", "t", "7-7", "d", 4)
    assert w.read() == [[b"t", [[b"7-7", [b"d", b"4"]]]]]
    error(c.try_call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", "+"), "NOGROUP")
    c.call("XGROUP", "CREATE", "s", "g", "0")
    error(c.try_call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", "+"), "ERR The + ID is meaningless")


@ours_only
def test_a_consumer_is_there_once_it_asked(c):
    c.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
    assert c.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">") is None
    info = as_dict(c.call("XINFO", "CONSUMERS", "s", "g")[0])
    assert info["name"] == b"c" and info["pending"] == 0 and info["inactive"] == -1 and 0 <= info["idle"] < 5000
    c.call("XADD", "s", "1-1", "a", 1)
    time.sleep(0.02)
    assert len(c.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")) == 1
    info = as_dict(c.call("XINFO", "CONSUMERS", "s", "g")[0])
    assert 0 <= info["inactive"] <= info["idle"] + 5 < 5000
    assert c.call("XAUTOCLAIM", "s", "g", "d", 100000, "0") == [b"0-0", [], []]
    full = as_dict(as_dict(c.call("XINFO", "STREAM", "s", "FULL"))["groups"][0])
    assert [as_dict(x)["name"] for x in full["consumers"]] == [b"c", b"d"]
    assert [as_dict(x)["active-time"] == -1 for x in full["consumers"]] == [False, True]


# --- events and transactions ---


def test_events(c, c2):
    c.call("CONFIG", "SET", "notify-keyspace-events", "Et")
    c2.send("PSUBSCRIBE", "__keyevent@0__:*")
    c2.read()
    c.call("XADD", "s", "1-1", "a", 1)
    c.call("XADD", "s", "MAXLEN", 1, "1-2", "a", 1)
    c.call("XGROUP", "CREATE", "s", "g", "0")
    c.call("XGROUP", "SETID", "s", "g", "0")
    c.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    c.call("XACK", "s", "g", "1-2")
    c.call("XGROUP", "CREATECONSUMER", "s", "g", "d")
    c.call("XGROUP", "DELCONSUMER", "s", "g", "d")
    c.call("XGROUP", "DESTROY", "s", "g")
    c.call("XDEL", "s", "1-2")
    c.call("XADD", "s", "1-3", "a", 1)
    c.call("XTRIM", "s", "MAXLEN", 0)
    c.call("XSETID", "s", "9-9")
    expected = ["xadd", "xadd", "xtrim", "xgroup-create", "xgroup-setid", "xgroup-createconsumer", "xgroup-createconsumer",
                "xgroup-delconsumer", "xgroup-destroy", "xdel", "xadd", "xtrim", "xsetid"]
    assert [c2.read()[2].decode().split(":")[-1] for _ in expected] == expected
    c.call("CONFIG", "SET", "notify-keyspace-events", "")


def test_reading_with_a_group_does_not_spoil_a_transaction(c, c2):
    c.call("XADD", "s", "1-1", "a", 1)
    c.call("XGROUP", "CREATE", "s", "g", "0")
    c.call("WATCH", "s")
    c2.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    c2.call("XACK", "s", "g", "1-1")
    c.call("MULTI")
    c.call("XLEN", "s")
    assert c.call("EXEC") == [1]
    c.call("WATCH", "s")
    c2.call("XADD", "s", "1-2", "a", 1)
    c.call("MULTI")
    assert c.call("EXEC") is None


# --- entries of all sizes ---


def test_entries_of_many_fields_and_of_large_values(c):
    big = b"x" * 300000
    c.call("XADD", "s", "1-1", "f", big)
    many = [w for i in range(3000) for w in (f"field {i}", i)]
    c.call("XADD", "s", "1-2", *many)
    c.call("XADD", "s", "1-3", *many)
    c.call("XADD", "s", "1-4", "f", "")
    reply = c.call("XRANGE", "s", "-", "+")
    assert reply[0] == [b"1-1", [b"f", big]] and reply[3] == [b"1-4", [b"f", b""]]
    assert reply[1][1] == reply[2][1] == [w if isinstance(w, bytes) else str(w).encode() for w in many]
    assert c.call("XREVRANGE", "s", "+", "-") == reply[::-1]
    assert c.call("MEMORY", "USAGE", "s", "SAMPLES", 0) > 300000


def test_nodes_follow_the_limits(c):
    c.call("CONFIG", "SET", "stream-node-max-entries", 10)
    for i in range(1, 101):
        c.call("XADD", "s", f"{i}-1", "f", i)
    assert as_dict(c.call("XINFO", "STREAM", "s"))["radix-tree-keys"] == 10
    assert c.call("XTRIM", "s", "MAXLEN", "~", 95) == 0 and c.call("XTRIM", "s", "MAXLEN", "~", 55, "LIMIT", 20) == 20
    c.call("CONFIG", "SET", "stream-node-max-entries", 100)
    c.call("CONFIG", "SET", "stream-node-max-bytes", 100)
    c.call("DEL", "s")
    for i in range(1, 11):
        c.call("XADD", "s", f"{i}-1", "f", "v" * 60)
    assert as_dict(c.call("XINFO", "STREAM", "s"))["radix-tree-keys"] == 10
    c.call("CONFIG", "SET", "stream-node-max-bytes", 4096)


def test_ids_of_the_clock_ascend(c):
    before = int(time.time() * 1000)
    ids = [c.call("XADD", "s", "*", "f", i).decode().split("-") for i in range(200)]
    ids = [(int(a), int(b)) for a, b in ids]
    assert ids == sorted(set(ids)) and before - 5 <= ids[0][0] <= ids[-1][0] <= time.time() * 1000 + 5
    c.call("XADD", "s", f"{2**63}-5", "f", "v")
    assert c.call("XADD", "s", "*", "f", "v") == b"%d-6" % 2**63


# --- references of groups ---


def group_with(c, key, group, n, acked=()):
    c.call("XGROUP", "CREATE", key, group, "0")
    if n:
        c.call("XREADGROUP", "GROUP", group, "c", "COUNT", n, "STREAMS", key, ">")
    for i in acked:
        c.call("XACK", key, group, f"{i}-1")


def entries(c, key):
    return [int(e[0].split(b"-")[0]) for e in c.call("XRANGE", key, "-", "+")]


def pending(c, key, group):
    return [int(p[0].split(b"-")[0]) for p in c.call("XPENDING", key, group, "-", "+", 100)]


@pytest.fixture
def referenced(c):
    """Ten entries; one group has read five and acknowledged 1, 2 and 4, another has read and acknowledged three."""
    for i in range(1, 11):
        c.call("XADD", "s", f"{i}-1", "f", i)
    group_with(c, "s", "g", 5, (1, 2, 4))
    group_with(c, "s", "h", 3, (1, 2, 3))
    return c


@ours_only
def test_xdelex(referenced):
    c = referenced
    assert c.call("XDELEX", "s", "ACKED", "IDS", 5, "1-1", "3-1", "4-1", "9-1", "99-1") == [1, 2, 2, 2, -1]
    assert entries(c, "s") == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert c.call("XDELEX", "s", "IDS", 1, "3-1") == [1] and pending(c, "s", "g") == [3, 5]
    assert c.call("XDELEX", "s", "DELREF", "IDS", 2, "5-1", "5-1") == [1, -1] and pending(c, "s", "g") == [3]
    assert c.call("XDELEX", "none", "IDS", 2, "1-1", "2-1") == [-1, -1]
    assert entries(c, "s") == [2, 4, 6, 7, 8, 9, 10]


@ours_only
def test_xackdel(referenced):
    c = referenced
    c.call("XGROUP", "CREATE", "s", "late", "0")
    assert c.call("XACKDEL", "s", "g", "ACKED", "IDS", 3, "3-1", "1-1", "9-1") == [2, -1, -1]
    assert pending(c, "s", "g") == [5] and 3 in entries(c, "s")
    c.call("XREADGROUP", "GROUP", "late", "c", "STREAMS", "s", ">")
    assert c.call("XACKDEL", "s", "late", "DELREF", "IDS", 1, "5-1") == [1]
    assert pending(c, "s", "g") == [] and 5 not in pending(c, "s", "late") and 5 not in entries(c, "s")
    assert c.call("XACKDEL", "s", "late", "IDS", 1, "6-1") == [1] and 6 not in entries(c, "s")
    assert c.call("XACKDEL", "s", "nogroup", "IDS", 1, "7-1") == [-1] and c.call("XACKDEL", "no", "g", "IDS", 1, "7-1") == [-1]
    c.call("XDEL", "s", "7-1")
    assert c.call("XACKDEL", "s", "late", "IDS", 1, "7-1") == [1] and 7 not in pending(c, "s", "late")


@ours_only
def test_trimming_minds_references(referenced):
    c = referenced
    assert c.call("XTRIM", "s", "MAXLEN", 4, "ACKED") == 2 and entries(c, "s") == [3, 4, 5, 6, 7, 8, 9, 10]
    assert c.call("XTRIM", "s", "KEEPREF", "MINID", "4") == 1 and pending(c, "s", "g") == [3, 5]
    c.call("XADD", "s", "DELREF", "MAXLEN", 3, "11-1", "f", 11)
    assert entries(c, "s") == [9, 10, 11] and pending(c, "s", "g") == [3]
    c.call("XADD", "s", "MAXLEN", "=", 1, "ACKED", "12-1", "f", 12)
    assert entries(c, "s") == [9, 10, 11, 12]


@ours_only
@pytest.mark.parametrize("words", [
    ("XDELEX", "s", "IDS", 2, "1-1"), ("XDELEX", "s", "IDS", 0, "1-1"), ("XDELEX", "s", "IDS", "x", "1-1"),
    ("XDELEX", "s", "IDS", 1, "1-1", "2-1"), ("XDELEX", "s", "IDS", 1, "abc"), ("XDELEX", "s", "ACKED", "DELREF", "IDS", 1, "1-1"),
    ("XDELEX", "s", "FOO", "IDS", 1, "1-1"), ("XDELEX", "s", "1-1", "2-1", "3-1"), ("XACKDEL", "s", "g", "IDS", 2, "1-1"),
    ("XACKDEL", "s", "g", "KEEPREF", "1-1", "2-1"), ("XTRIM", "s", "MAXLEN", 1, "ACKED", "KEEPREF"), ("XADD", "s", "ACKED", "DELREF", "*", "a", "b"),
    ("XDELEX", "string", "IDS", 1, "1-1"), ("XACKDEL", "string", "g", "IDS", 1, "1-1"),
])
def test_what_is_wrong_with_references_changes_nothing(referenced, words):
    referenced.call("SET", "string", "x")
    before = state(referenced)
    assert isinstance(referenced.try_call(*words), ReplyError)
    assert state(referenced) == before


# --- files ---


def appended(node):
    """Commands in the increment, without SELECT."""
    data = b"".join(open(p, "rb").read() for p in sorted(glob.glob(node.path("appendonlydir", "*.incr.aof"))))
    data = b"".join(line for line in data.splitlines(keepends=True) if not line.startswith(b"#"))
    return [[w.decode("latin-1") for w in argv] for argv in parse_all(data) if argv[0].upper() != b"SELECT"]


@pytest.mark.holdfast
def test_what_is_propagated(make_node):
    node = make_node({"appendonly": "yes"})
    with node.client() as c:
        auto = c.call("XADD", "s", "*", "f", 1).decode()
        seq = c.call("XADD", "s", f"{int(auto.split('-')[0]) + 5}-*", "f", 2).decode()
        c.call("XADD", "s", "MAXLEN", "~", 1, f"{int(auto.split('-')[0]) + 9}-1", "f", 3)
        last = f"{int(auto.split('-')[0]) + 9}-1"
        c.call("XTRIM", "s", "MINID", "~", last)
        c.call("XTRIM", "s", "MAXLEN", 2)
        c.call("XGROUP", "CREATE", "s", "g", 0)
        c.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "s", ">")
        c.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", 0)
        c.call("XREADGROUP", "GROUP", "g", "d", "NOACK", "STREAMS", "s", ">")
        c.call("XCLAIM", "s", "g", "e", 0, seq, "RETRYCOUNT", 7, "TIME", 1000, "JUSTID")
        c.call("XDELEX", "s", "DELREF", "IDS", 2, seq, "1-1")
        c.call("XREAD", "STREAMS", "s", 0)
    got = appended(node)
    for argv in got:
        if "TIME" in argv and argv[argv.index("TIME") + 1] != "1000":
            argv[argv.index("TIME") + 1] = "T"
    multi, done = ["MULTI"], ["EXEC"]
    assert got == [
        ["XADD", "s", auto, "f", "1"], ["XADD", "s", seq, "f", "2"],
        ["XADD", "s", "MAXLEN", "=", "3", last, "f", "3"],
        ["XTRIM", "s", "MAXLEN", "2"], ["XGROUP", "CREATE", "s", "g", "0"],
        multi, ["XGROUP", "CREATECONSUMER", "s", "g", "c"],
        ["XCLAIM", "s", "g", "c", "0", seq, "TIME", "T", "RETRYCOUNT", "1", "FORCE", "JUSTID", "LASTID", seq],
        ["XGROUP", "SETID", "s", "g", seq, "ENTRIESREAD", "2"], done,
        multi, ["XGROUP", "CREATECONSUMER", "s", "g", "d"],
        ["XGROUP", "SETID", "s", "g", last, "ENTRIESREAD", "3"], done,
        multi, ["XGROUP", "CREATECONSUMER", "s", "g", "e"],
        ["XCLAIM", "s", "g", "e", "0", seq, "TIME", "1000", "RETRYCOUNT", "7", "FORCE", "JUSTID", "LASTID", last], done,
        multi, ["XACK", "s", "g", seq], ["XDEL", "s", seq], done,
    ]


@pytest.mark.holdfast
def test_what_a_waiting_consumer_was_given_is_in_the_file(make_node):
    node = make_node({"appendonly": "yes"})
    with node.client() as c:
        c.call("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
        first = Waiting(node, c, "XREADGROUP", "GROUP", "g", "first", "COUNT", 1, "BLOCK", 0, "STREAMS", "s", ">")
        second = Waiting(node, c, "XREADGROUP", "GROUP", "g", "second", "BLOCK", 0, "STREAMS", "s", ">")
        c.call("MULTI")
        c.call("XADD", "s", "1-1", "a", 1)
        c.call("XADD", "s", "1-2", "b", 2)
        c.call("XDEL", "s", "1-1")
        c.call("EXEC")
        assert first.read() == [[b"s", [[b"1-2", [b"b", b"2"]]]]]
        before = state(c)
        assert [(x["name"], x["pel-count"]) for x in before[1][0][1][1][0][1]] == [(b"first", 1), (b"second", 0)]
    node.restart(kill=True)
    second.client.close()
    with node.client() as c:
        assert state(c) == before


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_what_was_written_is_there_again(make_node, preamble):
    node = make_node({"appendonly": "yes", "aof-use-rdb-preamble": preamble})
    with node.client() as c:
        fill(c)
        before = state(c)
        assert len(before[1]) == 6
    if not is_holdfast():
        time.sleep(1.1)
    node.restart(kill=True)
    with node.client() as c:
        assert state(c) == before
        c.call("BGREWRITEAOF")
        wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0" and c.info("persistence")["aof_rewrite_scheduled"] == "0")
    node.restart(kill=True)
    with node.client() as c:
        after = state(c)
    assert after[0] == before[0]
    if preamble == "yes":
        assert after == before
        return
    # Commands cannot say what is pending of entries that are gone.
    for (key, (info, groups)), (key2, (info2, groups2)) in zip(before[1], after[1]):
        there = {e[0] for e in info["entries"]}
        for x in (info, info2):  # nodes are filled anew
            del x["radix-tree-keys"], x["radix-tree-nodes"]
        assert key == key2 and info == info2
        for (g, consumers), (g2, consumers2) in zip(groups, groups2):
            assert [p for p in g["pending"] if p[0] in there] == g2["pending"]
            assert [x["name"] for x in consumers] == [x["name"] for x in consumers2]


@pytest.mark.holdfast
@pytest.mark.parametrize("version", [10, 11, 12])
def test_snapshots_of_every_version_hold_the_same(make_node, version):
    node = make_node({"rdb-version": version})
    with node.client() as c:
        fill(c, version)
        before = state(c)
        c.call("SAVE")
    node.restart(kill=True)
    with node.client() as c:
        assert state(c) == before


@pytest.mark.holdfast
def test_redis_reads_our_files(make_node):
    node = make_node({"rdb-version": 10, "appendonly": "yes", "aof-use-rdb-preamble": "no"})
    with node.client() as c:
        fill(c, 5)
        c.call("XADD", "s", "1-1", "f", "v")
        for i in range(2, 9):
            c.call("XADD", "s", f"{i}-1", "f", i)
        group_with(c, "s", "g", 5, (1, 2))
        c.call("XDELEX", "s", "DELREF", "IDS", 2, "3-1", "1-1")
        c.call("XTRIM", "s", "ACKED", "MAXLEN", 2)
        c.call("XADD", "s", "MAXLEN", "~", 2, "DELREF", "*", "f", "v")
        before = state(c)
        c.call("SAVE")
    node.stop()
    aof = make_node({"appendonly": "yes", "dir": node.data}, binary=REDIS_SERVER)
    with aof.client() as c:
        assert state(c) == before
    aof.stop()
    rdb = make_node({"dir": node.data}, binary=REDIS_SERVER)
    with rdb.client() as c:
        assert state(c) == before
        c.call("FLUSHALL")
        fill(c, 6)
        theirs = state(c)
        c.call("SAVE")
    rdb.stop()
    node.reconfigure(appendonly="no")
    node.start()
    with node.client() as c:
        assert state(c) == theirs


@pytest.mark.holdfast
def test_dumps_restore_here_and_in_redis(make_node):
    ours, theirs = make_node(), make_node(binary=REDIS_SERVER)
    with ours.client() as c, theirs.client() as t:
        c.call("CONFIG", "SET", "rdb-version", 10)
        fill(c, 7)
        fill(t, 7)
        for key in (b"a", b"b", b"c", b"empty", b"emptied"):
            payload = t.call("DUMP", key)
            c.call("RESTORE", b"copy", 0, payload, "REPLACE")
            assert stream_state(c, "copy") == stream_state(t, key)
            t.call("RESTORE", b"copy", 0, c.call("DUMP", "copy"), "REPLACE")
            assert stream_state(t, "copy") == stream_state(t, key)


@pytest.mark.holdfast
def test_damaged_payloads_are_refused_or_harmless(c):
    c.call("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", 1)
    c.call("XADD", "s", "5-1", "field", "value", "n", 12)
    c.call("XADD", "s", "5-2", "field", "other", "n", 13)
    c.call("XADD", "s", "6-0", "x", "y")
    c.call("XDEL", "s", "5-2")
    c.call("XGROUP", "CREATE", "s", "g", "0")
    c.call("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
    payload = c.call("DUMP", "s")
    r = random.Random(3)
    refused = 0
    for at in range(len(payload) - 10):
        for v in {payload[at] ^ 1, payload[at] ^ 0x80, r.randrange(256), 0xFF}:
            bad = payload[:at] + bytes([v]) + payload[at + 1:]
            if bad == payload:
                continue
            if isinstance(c.try_call("RESTORE", "t", 0, bad, "REPLACE"), ReplyError):
                refused += 1
            elif c.call("TYPE", "t") == b"stream":
                c.call("XRANGE", "t", "-", "+")
                c.call("XREVRANGE", "t", "+", "-")
                c.try_call("XADD", "t", "*", "f", "v")
                c.call("XTRIM", "t", "MAXLEN", 0)
    assert refused > len(payload)
    c.call("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", 0)
