"""Lists: ends, middles, forms, events, files, and what goes into the change log."""

import glob
import random

import pytest

from harness import REDIS_SERVER, ReplyError, wait_until
from harness.resp import parse_all

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_INT = "ERR value is not an integer or out of range"
NOT_POSITIVE = "ERR value is out of range, must be positive"
SYNTAX = "ERR syntax error"


def error_of(c, *args):
    r = c.try_call(*args)
    assert isinstance(r, ReplyError), f"{args}: {r!r} is no error"
    return str(r)


def everything(c, key="k"):
    got = c.call("LRANGE", key, 0, -1)
    assert c.call("LLEN", key) == len(got)
    return b" ".join(got).decode()


def encoding(c, key="k"):
    return c.call("OBJECT", "ENCODING", key).decode()


def make(c, *elements, key="k"):
    c.call("DEL", key)
    assert c.call("RPUSH", key, *elements) == len(elements)


# --- the ends ---

def test_pushing(c):
    assert c.call("LPUSHX", "k", "a") == 0 and c.call("RPUSHX", "k", "a") == 0 and c.call("EXISTS", "k") == 0
    assert c.call("RPUSH", "k", "a", "b") == 2 and c.call("LPUSH", "k", "1", "2") == 4
    assert c.call("LPUSHX", "k", "x", "y") == 6 and c.call("RPUSHX", "k", "z") == 7
    assert everything(c) == "y x 2 1 a b z" and c.call("TYPE", "k") == b"list"


def test_popping(c):
    make(c, *"abcdefg")
    assert c.call("LPOP", "k") == b"a" and c.call("RPOP", "k") == b"g"
    assert c.call("LPOP", "k", 2) == [b"b", b"c"] and c.call("RPOP", "k", 2) == [b"f", b"e"]
    assert c.call("LPOP", "k", 0) == [] and c.call("RPOP", "k", 99) == [b"d"] and c.call("EXISTS", "k") == 0
    assert c.raw("LPOP", "k") == b"$-1\r\n" and c.raw("LPOP", "k", 1) == b"*-1\r\n"
    make(c, "a")
    for count in ("-1", "x", "9223372036854775808"):
        assert error_of(c, "RPOP", "k", count) == NOT_POSITIVE
    assert error_of(c, "LPOP", "k", 1, 2) == "ERR wrong number of arguments for 'lpop' command"
    assert everything(c) == "a"


def test_popping_from_several(c):
    make(c, *"abcd", key="second")
    assert c.call("LMPOP", 2, "first", "second", "RIGHT", "COUNT", 2) == [b"second", [b"d", b"c"]]
    assert c.call("LMPOP", 2, "first", "second", "left") == [b"second", [b"a"]]
    assert c.raw("LMPOP", 1, "first", "LEFT") == b"*-1\r\n"
    assert error_of(c, "LMPOP", 0, "k", "LEFT") == "ERR numkeys should be greater than 0"
    assert error_of(c, "LMPOP", 1, "k", "LEFT", "COUNT", 0) == "ERR count should be greater than 0"
    for tail in ((3, "k", "LEFT"), (1, "k", "MIDDLE"), (1, "k", "LEFT", "COUNT"), (1, "k", "LEFT", "COUNT", 1, "COUNT", 1)):
        assert error_of(c, "LMPOP", *tail) == SYNTAX
    c.call("SET", "first", "x")
    assert error_of(c, "LMPOP", 2, "first", "second", "LEFT") == WRONG_TYPE
    assert everything(c, "second") == "b"


@pytest.mark.parametrize("where,whence,left,right", [("LEFT", "LEFT", "b c", "a x y"), ("LEFT", "RIGHT", "b c", "x y a"),
                                                     ("RIGHT", "LEFT", "a b", "c x y"), ("RIGHT", "RIGHT", "a b", "x y c")])
def test_moving(c, where, whence, left, right):
    make(c, *"abc")
    make(c, *"xy", key="to")
    assert c.call("LMOVE", "k", "to", where, whence) in (b"a", b"c")
    assert everything(c) == left and everything(c, "to") == right


def test_moving_within_one_list_and_into_none(c):
    make(c, *"abc")
    assert c.call("RPOPLPUSH", "k", "k") == b"c" and everything(c) == "c a b"
    assert c.call("LMOVE", "k", "k", "LEFT", "RIGHT") == b"c" and everything(c) == "a b c"
    assert c.call("LMOVE", "k", "k", "LEFT", "LEFT") == b"a" and everything(c) == "a b c"
    make(c, "only")
    assert c.call("LMOVE", "k", "k", "LEFT", "RIGHT") == b"only" and everything(c) == "only"
    assert c.call("RPOPLPUSH", "k", "new") == b"only" and c.call("EXISTS", "k") == 0 and everything(c, "new") == "only"
    assert c.raw("RPOPLPUSH", "k", "new") == b"$-1\r\n" and c.raw("LMOVE", "k", "new", "LEFT", "LEFT") == b"$-1\r\n"
    assert error_of(c, "LMOVE", "k", "new", "LEFT", "UP") == SYNTAX
    c.call("SET", "text", "x")
    assert error_of(c, "RPOPLPUSH", "text", "new") == WRONG_TYPE == error_of(c, "RPOPLPUSH", "new", "text")
    assert c.raw("RPOPLPUSH", "k", "text") == b"$-1\r\n" and everything(c, "new") == "only"


# --- the middle ---

SHAPES = {"small": (5, 0), "many nodes": (500, 0), "compressed": (500, 1)}


@pytest.fixture(params=SHAPES, ids=list(SHAPES))
def long_list(request, c):
    """Elements e0 … e(n-1) under k, in a list of that form; gives n."""
    n, depth = SHAPES[request.param]
    before = {name: c.config_get(name)[name] for name in ("list-max-listpack-size", "list-compress-depth")}
    c.call("CONFIG", "SET", "list-max-listpack-size", 20, "list-compress-depth", depth)
    c.call("RPUSH", "k", *(f"e{i}" for i in range(n)))
    yield n
    c.call("CONFIG", "SET", *(x for pair in before.items() for x in pair))


def test_ranges(c, long_list):
    n = long_list
    want = [b"e%d" % i for i in range(n)]
    for start, stop in ((0, -1), (1, 3), (-3, -2), (-n - 5, 1), (n - 1, n + 5), (n, n), (3, 1), (0, -n - 1), (n // 2, n // 2 + 30)):
        low = max(start + n, 0) if start < 0 else start
        high = stop + n if stop < 0 else stop
        assert c.call("LRANGE", "k", start, stop) == want[low:high + 1 if high >= 0 else 0]
    assert [c.call("LINDEX", "k", i) for i in (0, n // 2, -1, -n, n, -n - 1)] == [want[0], want[n // 2], want[-1], want[0], None, None]


def test_setting_and_inserting(c, long_list):
    want = [b"e%d" % i for i in range(long_list)]
    for i in (0, long_list // 2, -1):
        assert c.call("LSET", "k", i, "") == b"OK"
        want[i] = b""
    for pivot, before in (("e1", True), ("e3", False)):
        assert c.call("LINSERT", "k", "BEFORE" if before else "after", pivot, "new") == len(want) + 1
        want.insert(want.index(pivot.encode()) + (not before), b"new")
    assert c.call("LINSERT", "k", "before", "nobody", "x") == -1
    assert error_of(c, "LSET", "k", len(want), "x") == "ERR index out of range" and error_of(c, "LSET", "k", "y", "x") == NOT_INT
    assert c.call("LRANGE", "k", 0, -1) == want


def test_removing_and_trimming(c, long_list):
    for at in ("e1", "e3"):
        c.call("LINSERT", "k", "AFTER", at, "e2")
    want = c.call("LRANGE", "k", 0, -1)
    assert c.call("LREM", "k", 1, "e2") == 1 and c.call("LREM", "k", -1, "e2") == 1
    want.remove(b"e2")
    want = want[::-1]
    want.remove(b"e2")
    want = want[::-1]
    assert c.call("LRANGE", "k", 0, -1) == want
    assert c.call("LREM", "k", 0, "e2") == 1 and c.call("LREM", "k", 0, "e2") == 0
    assert c.call("LTRIM", "k", 1, -2) == b"OK"
    want.remove(b"e2")
    assert c.call("LRANGE", "k", 0, -1) == want[1:-1]
    assert c.call("LTRIM", "k", 5000, 6000) == b"OK" and c.call("EXISTS", "k") == 0
    assert c.call("LTRIM", "k", 0, 1) == b"OK" and c.call("LREM", "k", 0, "x") == 0


def test_positions(c):
    make(c, *"abcabca1")
    assert c.call("LPOS", "k", "a") == 0 and c.call("LPOS", "k", "1") == 7 and c.call("LPOS", "k", "x") is None
    assert c.call("LPOS", "k", "a", "RANK", 2) == 3 and c.call("LPOS", "k", "a", "RANK", -1) == 6 and c.call("LPOS", "k", "a", "RANK", 4) is None
    assert c.call("LPOS", "k", "a", "COUNT", 2) == [0, 3] and c.call("LPOS", "k", "a", "COUNT", 0) == [0, 3, 6]
    assert c.call("LPOS", "k", "a", "COUNT", 0, "RANK", -2) == [3, 0] and c.call("LPOS", "k", "x", "COUNT", 0) == []
    assert c.call("LPOS", "k", "a", "COUNT", 0, "MAXLEN", 4) == [0, 3] and c.call("LPOS", "k", "1", "MAXLEN", 7) is None
    assert c.call("LPOS", "k", "1", "MAXLEN", 1, "RANK", -1) == 7
    assert c.call("LPOS", "none", "x", "COUNT", 1) == [] and c.call("LPOS", "none", "x") is None
    assert error_of(c, "LPOS", "k", "a", "RANK", 0).startswith("ERR RANK can't be zero: use 1 to start from the first match")
    assert error_of(c, "LPOS", "k", "a", "COUNT", -1) == "ERR COUNT can't be negative"
    assert error_of(c, "LPOS", "k", "a", "MAXLEN", -1) == "ERR MAXLEN can't be negative"
    assert error_of(c, "LPOS", "k", "a", "RANK") == SYNTAX == error_of(c, "LPOS", "k", "a", "FOO", 1)


def test_numbers_and_texts_are_told_apart_by_their_bytes(c):
    make(c, "1", "01", "1.0", "-0", "0", "9223372036854775807", "9223372036854775808", "")
    assert c.call("LPOS", "k", "01") == 1 and c.call("LPOS", "k", "0") == 4 and c.call("LPOS", "k", "") == 7
    assert c.call("LREM", "k", 0, "1") == 1 and c.call("LINSERT", "k", "BEFORE", "9223372036854775808", "x") == 8
    assert everything(c) == "01 1.0 -0 0 9223372036854775807 x 9223372036854775808 "


@pytest.mark.parametrize("request_", [("LPUSH", "k", "a"), ("RPUSHX", "k", "a"), ("LPOP", "k"), ("LLEN", "k"), ("LINDEX", "k", "0"), ("LSET", "k", "0", "a"),
                                      ("LRANGE", "k", "0", "1"), ("LTRIM", "k", "0", "1"), ("LREM", "k", "0", "a"), ("LINSERT", "k", "BEFORE", "a", "b"),
                                      ("LPOS", "k", "a"), ("BLPOP", "k", "1"), ("BLMOVE", "k", "x", "LEFT", "LEFT", "1"), ("BLMPOP", "1", "1", "k", "LEFT")])
def test_other_types_are_refused(c, request_):
    c.call("SET", "k", "text")
    assert error_of(c, *request_) == WRONG_TYPE and c.call("GET", "k") == b"text"


def test_waiting_that_need_not_be(c):
    make(c, *"abcd")
    assert c.call("BLPOP", "none", "k", 0) == [b"k", b"a"] and c.call("BRPOP", "k", 0.5) == [b"k", b"d"]
    assert c.call("BLMPOP", 0, 2, "none", "k", "LEFT", "COUNT", 5) == [b"k", [b"b", b"c"]]
    make(c, *"ab")
    assert c.call("BLMOVE", "k", "to", "RIGHT", "LEFT", 0) == b"b" and c.call("BRPOPLPUSH", "k", "to", 0) == b"a"
    assert everything(c, "to") == "a b"
    assert error_of(c, "BLPOP", "to", -1) == "ERR timeout is negative" and error_of(c, "BLPOP", "to", "x") == "ERR timeout is not a float or out of range"


# --- forms ---

@pytest.mark.holdfast
def test_a_short_list_is_a_listpack(c):
    make(c, *range(100))
    assert encoding(c) == "listpack"
    c.call("RPUSH", "k", "x" * 8193)
    assert encoding(c) == "quicklist"
    c.call("RPOP", "k")
    assert encoding(c) == "listpack" and c.call("LLEN", "k") == 100
    c.call("LSET", "k", 5, "x" * 8193)
    assert encoding(c) == "quicklist"
    c.call("LTRIM", "k", 0, 4)
    assert encoding(c) == "listpack" and everything(c) == "0 1 2 3 4"


@pytest.mark.holdfast
def test_thresholds(c):
    try:
        c.call("CONFIG", "SET", "list-max-listpack-size", 4)
        make(c, *range(4))
        assert encoding(c) == "listpack"
        c.call("LPUSH", "k", 4)
        assert encoding(c) == "quicklist"
        c.call("LPOP", "k", 2)
        assert encoding(c) == "quicklist"
        c.call("LTRIM", "k", 0, 1)
        assert encoding(c) == "listpack"
        c.call("LINSERT", "k", "BEFORE", "nobody", "x")
        assert encoding(c) == "listpack"
    finally:
        c.call("CONFIG", "SET", "list-max-listpack-size", -2)


def test_much_of_everything(c, long_list):
    """Random changes against a list of Python."""
    rng = random.Random(long_list)
    want = [b"e%d" % i for i in range(long_list)]
    for step in range(400):
        v = b"v%d" % rng.randrange(20) * rng.choice((1, 1, 1, 300))
        i = rng.randrange(-len(want), len(want)) if want else 0
        how = rng.randrange(7)
        if how < 2 or not want:
            side = rng.random() < 0.5
            c.call("LPUSH" if side else "RPUSH", "k", v)
            want.insert(0 if side else len(want), v)
        elif how == 2:
            c.call("LSET", "k", i, v)
            want[i] = v
        elif how == 3:
            pivot = want[i]
            c.call("LINSERT", "k", "AFTER", pivot, v)
            want.insert(want.index(pivot) + 1, v)
        elif how == 4:
            v = want[i]
            assert c.call("LREM", "k", 1, v) == 1
            want.remove(v)
        elif how == 5:
            assert c.call("LMOVE", "k", "k", "RIGHT", "LEFT") == want[-1]
            want.insert(0, want.pop())
        else:
            assert c.call("LINDEX", "k", i) == want[i]
    assert c.call("LRANGE", "k", 0, -1) == want
    c.call("RESTORE", "copy", 0, c.call("DUMP", "k"))
    assert c.call("LRANGE", "copy", 0, -1) == want


def test_memory_usage(c):
    make(c, *("x" * 100 for _ in range(5000)))
    whole = c.call("MEMORY", "USAGE", "k", "SAMPLES", 0)
    assert 500_000 < whole < 800_000 and 0.7 * whole < c.call("MEMORY", "USAGE", "k") < 1.3 * whole


# --- events ---

def test_events(c, shared_node):
    ear = shared_node.client()
    c.call("CONFIG", "SET", "notify-keyspace-events", "Elg")
    try:
        ear.call("PSUBSCRIBE", "__keyevent@0__:*")
        for request in (("RPUSH", "k", *"abcdef"), ("LPUSHX", "k", "a"), ("LINSERT", "k", "BEFORE", "b", "c"), ("LSET", "k", 0, "z"), ("LREM", "k", 0, "zz"),
                        ("LREM", "k", 0, "z"), ("LTRIM", "k", 0, -1), ("LPOP", "k"), ("RPOP", "k", 2), ("LMOVE", "k", "k", "LEFT", "RIGHT"),
                        ("RPOPLPUSH", "k", "to"), ("LMPOP", 1, "k", "LEFT", "COUNT", 9), ("BLPOP", "to", 0), ("DEL", "k")):
            c.call(*request)
        want = ["rpush k", "lpush k", "linsert k", "lset k", "lrem k", "ltrim k", "lpop k", "rpop k", "rpush k", "lpop k", "lpush to", "rpop k", "lpop k", "del k",
                "lpop to", "del to"]
        got = [b" ".join((m[2].split(b":")[1], m[3])).decode() for m in (ear.read() for _ in want)]
        assert got == want
    finally:
        c.call("CONFIG", "SET", "notify-keyspace-events", "")
        ear.close()


# --- files ---

def increments(node):
    out = []
    for path in sorted(glob.glob(node.path("appendonlydir", "*.incr.aof"))):
        out += parse_all(b"".join(line for line in open(path, "rb").read().splitlines(True) if not line.startswith(b"#")))
    return [b" ".join(argv).decode() for argv in out]


def test_what_goes_into_the_log(make_node):
    node = make_node({"appendonly": "yes"})
    with node.client() as c:
        for request in (("RPUSH", "k", *"abcdefgh"), ("LMPOP", 2, "x", "k", "RIGHT", "COUNT", 2), ("BLPOP", "x", "k", 0), ("BRPOP", "k", 0),
                        ("BLMPOP", 0, 1, "k", "LEFT"), ("BLMOVE", "k", "to", "LEFT", "RIGHT", 0), ("BRPOPLPUSH", "k", "to", 0), ("LTRIM", "to", 0, -1),
                        ("LREM", "to", 0, "nobody"), ("LPOP", "to", 0), ("LINSERT", "to", "BEFORE", "nobody", "x"), ("LPOP", "nothing"), ("SAVE",)):
            c.call(*request)
    log = [line for line in increments(node) if not line.startswith("SELECT")]
    assert log == ["RPUSH k a b c d e f g h", "RPOP k 2", "LPOP k", "RPOP k", "LPOP k 1", "LMOVE k to LEFT RIGHT", "RPOPLPUSH k to"]


@pytest.mark.holdfast
def test_a_rewritten_log_has_lists_in_pieces(make_node):
    node = make_node({"appendonly": "yes", "aof-use-rdb-preamble": "no", "enable-debug-command": "yes", "list-max-listpack-size": 10, "list-compress-depth": 1})
    with node.client() as c:
        c.call("RPUSH", "long", *("element %d %s" % (i, "x" * (i % 50)) for i in range(1000)))
        c.call("RPUSH", "short", "a", 1, "", "b" * 9000)
        digest = c.call("DEBUG", "DIGEST")
        c.call("BGREWRITEAOF")
        wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0" and glob.glob(node.path("appendonlydir", "*.2.base.aof")))
        text = open(glob.glob(node.path("appendonlydir", "*.2.base.aof"))[0], "rb").read()
        base = parse_all(b"".join(line for line in text.splitlines(True) if not line.startswith(b"#")))
        pushes = [argv for argv in base if argv[0] == b"RPUSH" and argv[1] == b"long"]
        assert len(pushes) > 10 and max(len(argv) for argv in pushes) <= 66
        c.call("DEBUG", "LOADAOF")
        assert c.call("DEBUG", "DIGEST") == digest


def fill(c):
    c.call("RPUSH", "short", "a", 1, -1, "", 9223372036854775807, "text of some length")
    c.call("RPUSH", "long", *("element %d" % (i * 7919) for i in range(20000)))
    c.call("RPUSH", "numbers", *(i * 1000003 for i in range(5000)))
    c.call("RPUSH", "huge", "x" * 100000, "y", "z" * 9000)


@pytest.mark.holdfast
@pytest.mark.parametrize("version", [10, 11, 12])
def test_snapshots_of_lists(make_node, version):
    node = make_node({"enable-debug-command": "yes", "rdb-version": version, "list-compress-depth": version - 10})
    with node.client() as c:
        fill(c)
        c.call("LSET", "long", 10000, "middle")
        digest, encodings = c.call("DEBUG", "DIGEST"), [encoding(c, k) for k in ("short", "long", "numbers", "huge")]
        c.call("DEBUG", "RELOAD")
        assert c.call("DEBUG", "DIGEST") == digest and [encoding(c, k) for k in ("short", "long", "numbers", "huge")] == encodings


@pytest.mark.holdfast
@pytest.mark.parametrize("depth", [0, 1])
def test_redis_reads_our_lists_and_we_read_its(make_node, depth):
    ours = make_node({"enable-debug-command": "yes", "rdb-version": 10, "list-compress-depth": depth})
    theirs = make_node({"enable-debug-command": "yes", "list-compress-depth": depth}, binary=REDIS_SERVER)
    with ours.client() as a, theirs.client() as b:
        fill(a)
        digest = a.call("DEBUG", "DIGEST")
        for key in ("short", "long", "numbers", "huge"):
            b.call("RESTORE", key, 0, a.call("DUMP", key))
        assert b.call("DEBUG", "DIGEST") == digest
        for key in ("short", "long", "numbers", "huge"):
            a.call("RESTORE", key, 0, b.call("DUMP", key), "REPLACE")
        assert a.call("DEBUG", "DIGEST") == digest


@pytest.mark.holdfast
def test_debug_describes_lists(make_node):
    node = make_node({"enable-debug-command": "yes"})
    with node.client() as c:
        c.call("RPUSH", "short", "a", "bc")
        c.call("RPUSH", "long", *range(10000))
        assert c.call("DEBUG", "LISTPACK", "short") == b"Listpack structure printed on stdout" and "listpack: " in node.log()
        assert c.call("DEBUG", "QUICKLIST", "long", 1) == b"Quicklist structure printed on stdout" and "10000 elements in " in node.log()
        assert error_of(c, "DEBUG", "LISTPACK", "long") == "ERR Not a listpack encoded object."
        assert error_of(c, "DEBUG", "QUICKLIST", "short") == "ERR Not a quicklist encoded object."
        assert error_of(c, "DEBUG", "QUICKLIST-PACKED-THRESHOLD", "4gb").startswith("ERR argument must be a memory value")
        assert c.call("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b") == b"OK"
        c.call("CONFIG", "SET", "list-max-listpack-size", 1)
        c.call("RPUSH", "plain", "a", "b" * 100, "c")
        c.call("DEBUG", "QUICKLIST", "plain", 1)
        assert "plain: 1 elements, 100 bytes" in node.log() and c.call("LRANGE", "plain", 0, -1) == [b"a", b"b" * 100, b"c"]
