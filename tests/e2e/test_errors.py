"""Calls of every data command, spoiled one argument at a time: the errors are redis-server's, and no error changes anything.

The calls stand in error_calls.txt. What is replaced: every key by keys of other types, every other argument by numbers that
are none, too large, negative or not whole, by words and by nothing; and arguments are left out and added.
"""

import os
import shlex

import pytest

from differential import table
from differential.replies import read_replies, same_pending, same_set, same_xinfo, tree, value
from harness import Node, REDIS_SERVER, encode, server_binary

pytestmark = pytest.mark.holdfast

HERE = os.path.dirname(os.path.abspath(__file__))
FAR_MS = 4_102_444_800_000
TYPES = ("str", "list", "set", "hash", "zset", "stream", "hll", "missing")
KEYS = (*TYPES, "num", "geo", "lex", "ttl", "dst")
BAD = ("", "abc", "1.5", "-1", "0", "-0", "+1", "01", " 1", "1 ", "0x10", "1e3", "1e400", "nan", "inf", "-inf", "9223372036854775807",
       "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "4294967296", "99999999999999999999999", "(", "[", "-", "+", "$", "*",
       ">", "1-x", "#1", "u64", "i65")
FILL = [("SET", "str", "value"), ("SET", "num", "10"), ("RPUSH", "list", "a", "b", "3"), ("SADD", "set", "a", "b", "c"),
        ("HSET", "hash", "f", "v", "n", "5"), ("ZADD", "zset", "1", "a", "2", "b", "3.5", "c"), ("ZADD", "lex", "0", "a", "0", "b", "0", "c"),
        ("XADD", "stream", "1-1", "f", "v"), ("XADD", "stream", "2-1", "f", "v"), ("XADD", "stream", "3-1", "f", "v"),
        ("XGROUP", "CREATE", "stream", "g", "0"), ("XREADGROUP", "GROUP", "g", "alice", "COUNT", "2", "STREAMS", "stream", ">"),
        ("PFADD", "hll", "a", "b"), ("GEOADD", "geo", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania"),
        ("SET", "ttl", "v", "PXAT", str(FAR_MS))]
# What the digest does not tell: groups and deadlines.
LOOK = [("DEBUG", "DIGEST"), ("XINFO", "STREAM", "stream", "FULL"), ("PEXPIRETIME", "ttl"), ("PEXPIRETIME", "str")]
DATA_GROUPS = {"string", "generic", "list", "set", "hash", "sorted_set", "stream", "hyperloglog", "bitmap", "geo"}


def calls():
    """(random?, words) of each line."""
    with open(os.path.join(HERE, "error_calls.txt")) as f:
        for line in f:
            line = line.strip()
            if line and not line.startswith("#"):
                yield line.startswith("?"), shlex.split(line.lstrip("?"))


def name_of(call):
    return call[0].lower()


class Side:
    """One server and its data."""

    def __init__(self, binary):
        self.node = Node({"enable-debug-command": "yes"}, binary=binary).start()
        self.c = self.node.client()
        self.known = {x.decode() for x in self.c.call("COMMAND", "LIST")}

    def fill(self):
        self.ask([("FLUSHALL",), *(request for request in FILL if request[0].lower() in self.both)])
        self.before = self.look()

    def look(self):
        return self.ask(LOOK)

    def ask(self, requests):
        self.c.send_bytes(b"".join(encode(*r) for r in requests))
        return [tree(raw)[0] for raw in read_replies(self.c, len(requests))]

    def call(self, words):
        """The reply, and whether the data are other ones now."""
        reply, *after = self.ask([words, *LOOK])
        return reply, not all(map(same_xinfo, self.before, after))

    def close(self):
        self.c.close()
        self.node.close()


@pytest.fixture(scope="module")
def sides():
    out = [Side(server_binary()), Side(REDIS_SERVER)]
    for s in out:
        s.both = out[0].known & out[1].known
        s.fill()
    yield out
    for s in out:
        s.close()


def spoiled(call):
    """Every way to spoil a call: the words."""
    for n in range(len(call)):
        yield call[:n] if n else [call[0]]
    yield call + ["more"]
    yield call + [call[-1]]
    for at in range(1, len(call)):
        if call[at] in KEYS and name_of(call) not in ("object", "keys"):
            for other in TYPES:
                if other != call[at]:
                    yield call[:at] + [other] + call[at + 1:]
        for bad in BAD:
            yield call[:at] + [bad] + call[at + 1:]


def may_wait_for_good(words):
    """With 0 as the time to wait, what is there must be there."""
    name = name_of(words)
    return name == "wait" or (name == "waitaof") or (name in ("xread", "xreadgroup") and "0" in words and "block" in words)


def is_expected(words, ours, theirs):
    argv = [w if isinstance(w, bytes) else w.encode() for w in words]
    return any(test(argv, value(ours), value(theirs)) for _, _, test in table.EXPECTED) or any(
        test(words, str(value(ours)), str(value(theirs))) for _, test in EXPECTED)


# Differences that are meant, beside those of the differential tests: (why, test of (words, ours, theirs)).
EXPECTED = [
    ("a time to wait beyond 63 bits overflows in 7.0", lambda words, ours, theirs: words[0] in ("xread", "xreadgroup") and ours == "ERR timeout is out of range"),
    ("WITHSCORE is newer than 7.0", lambda words, ours, theirs: words[0] in ("zrank", "zrevrank") and len(words) == 4 and "wrong number" in theirs
     and ours == "ERR syntax error"),
]
UNORDERED = {"sdiff", "sinter", "sunion", "smembers", "keys", "hgetall", "hkeys", "hvals"}


def is_same(a, b):
    return a == b or same_xinfo(a, b) or same_pending(a, b)


def compare(sides, call, is_random, problems, cases):
    ours, theirs = sides
    for words in spoiled(call):
        if may_wait_for_good(words):
            continue
        cases.append(words)
        (a, changed_a), (b, changed_b) = ours.call(words), theirs.call(words)
        by_clock = name_of(call) == "xadd" and "*" in words
        same = is_same(a, b) or (name_of(call) in UNORDERED and same_set(a, b)) or ((is_random or by_clock) and "-" not in (a[0], b[0]) and a[0] == b[0])
        if not same and not is_expected(words, a, b):
            problems.append(f"{' '.join(map(repr, words))}\n    ours   {a!r}\n    theirs {b!r}"[:700])
        if a[0] == "-" and changed_a:
            problems.append(f"{' '.join(map(repr, words))} gave {a[1]!r} and changed the data")
        if changed_a != changed_b and same:
            problems.append(f"{' '.join(map(repr, words))}: ours changed the data: {changed_a}, theirs: {changed_b}")
        if changed_a or changed_b:
            for s in sides:
                s.fill()


def by_command():
    out = {}
    for is_random, call in calls():
        out.setdefault(name_of(call), []).append((is_random, call))
    return out


CALLS = by_command()
NEWER = {"delex", "delifeq", "digest", "msetex", "hexpire", "hexpireat", "hexpiretime", "hgetdel", "hgetex", "hpersist", "hpexpire", "hpexpireat",
         "hpexpiretime", "hpttl", "hsetex", "httl", "xackdel", "xdelex", "waitaof"}
NEWER_FORMS = (["bitop", "diff", "dst", "str", "num"], ["set", "str", "v", "ifeq", "w"])


@pytest.mark.parametrize("name", sorted(set(CALLS) - NEWER))
def test_spoiled_calls_give_the_errors_of_redis(sides, name):
    problems, cases, payload = [], [], sides[1].c.call("DUMP", "list")
    for is_random, call in CALLS[name]:
        if call not in NEWER_FORMS:
            compare(sides, [payload if w == "payload" else w for w in call], is_random, problems, cases)
    assert len(cases) > 3 or name in ("pfselftest", "wait")
    assert not problems, f"{len(problems)} of {len(cases)}:\n" + "\n".join(problems[:25])


@pytest.mark.parametrize("name", sorted(NEWER | {c[0] for c in NEWER_FORMS}))
def test_errors_of_newer_commands_change_nothing(sides, name):
    ours = sides[0]
    problems, errors = [], 0
    for _, call in CALLS[name]:
        if name not in NEWER and call not in NEWER_FORMS:
            continue
        for words in spoiled(call):
            if may_wait_for_good(words):
                continue
            reply, changed = ours.call(words)
            errors += reply[0] == "-"
            if reply[0] == "-" and changed:
                problems.append(f"{words} gave {reply[1]!r} and changed the data")
            if reply[0] == "-" and len(words) == 1 and b"wrong number of arguments for '" not in reply[1]:
                problems.append(f"{words} gave {reply[1]!r}")
            if changed:
                ours.fill()
    assert errors > 0 or name == "waitaof"
    assert not problems, "\n".join(problems[:25])


def test_every_data_command_is_here(sides):
    """Of the commands that this server documents in the groups of data."""
    docs = sides[0].c.call("COMMAND", "DOCS")
    flat = {docs[i].decode(): docs[i + 1] for i in range(0, len(docs), 2)}
    groups = {name: d[d.index(b"group") + 1].decode().replace("-", "_") for name, d in flat.items()}
    data = {name for name, group in groups.items() if group in DATA_GROUPS}
    assert data - set(CALLS) - {"randomkey", "migrate"} == set()


# --- the limit of a string, 512 MB unless configured otherwise ---

@pytest.fixture
def limited(sides):
    """Both servers with strings of at most 1 MiB and one that is 1 MiB − 1 long."""
    for s in sides:
        s.fill()
        s.c.call("CONFIG", "SET", "proto-max-bulk-len", "1048576")
        s.c.call("SETRANGE", "big", 1048574, "x")
        s.before = s.look()
    yield sides
    for s in sides:
        s.c.call("CONFIG", "SET", "proto-max-bulk-len", "536870912")
        s.fill()


@pytest.mark.parametrize("words", [
    ("APPEND", "big", "xx"), ("SETRANGE", "big", "1048576", "x"), ("SETRANGE", "big", "1048575", "xx"), ("SETRANGE", "missing", "1048576", "x"),
    ("SETBIT", "big", "8388608", "1"), ("SETBIT", "missing", "8388608", "0"), ("BITFIELD", "big", "SET", "u8", "8388608", "1"),
    ("BITFIELD", "big", "SET", "u8", "#1048576", "1"), ("SETRANGE", "big", "4294967296", "x"),
    ("SETRANGE", "big", "9223372036854775807", "xx"), ("BITFIELD", "big", "INCRBY", "u63", "8388608", "1"), ("GETBIT", "big", "8388608"),
    ("SETRANGE", "list", "9223372036854775807", "x"), ("SETRANGE", "missing", "9223372036854775807", "")])
def test_strings_do_not_grow_over_the_limit(limited, words):
    (a, changed_a), (b, changed_b) = (s.call(words) for s in limited)
    assert a == b and changed_a is changed_b is False
    if words[-1] != "":
        assert a[0] == "-", a


def test_strings_grow_to_the_limit(limited):
    for words in (("APPEND", "big", "x"), ("SETRANGE", "big", "1048575", "y"), ("SETBIT", "big", "8388607", "1"), ("BITFIELD", "big", "SET", "u8", "8388600", "7")):
        (a, _), (b, _) = (s.call(words) for s in limited)
        assert a == b and a[0] != "-", words
    assert limited[0].look()[0] == limited[1].look()[0]


@pytest.mark.parametrize("words", [
    ("SETBIT", "str", "4294967296", "1"), ("SETRANGE", "str", "536870912", "x"), ("SETRANGE", "str", "536870911", "xx"), ("GETBIT", "str", "4294967296"),
    ("BITFIELD", "str", "SET", "u8", "4294967296", "1"), ("BITFIELD", "str", "GET", "u8", "4294967296"), ("BITFIELD", "str", "GET", "u8", "4294967290"),
    ("BITFIELD", "str", "SET", "u8", "#536870912", "1")])
def test_the_edge_of_512_mb(sides, words):
    (a, changed_a), (b, changed_b) = (s.call(words) for s in sides)
    assert a == b and changed_a is changed_b is False


# --- extremes of numbers that stand alone ---

EXTREMES = ("9223372036854775807", "-9223372036854775807", "-9223372036854775808", "4294967295", "-4294967296", "2147483648", "-2147483649")


@pytest.mark.parametrize("words", [
    ("LINDEX", "list", "N"), ("LRANGE", "list", "N", "N"), ("LRANGE", "list", "N", "-1"), ("LRANGE", "list", "0", "N"), ("LSET", "list", "N", "v"),
    ("LTRIM", "list", "N", "N"), ("LTRIM", "list", "0", "N"), ("LREM", "list", "N", "a"), ("LPOS", "list", "a", "COUNT", "N"),
    ("LPOS", "list", "a", "MAXLEN", "N"), ("LPOP", "list", "N"), ("RPOP", "list", "N"), ("LMPOP", "N", "list", "LEFT"), ("LMPOP", "1", "list", "LEFT", "COUNT", "N"),
    ("SINTERCARD", "N", "set"), ("SINTERCARD", "1", "set", "LIMIT", "N"), ("HINCRBY", "hash", "n", "N"), ("ZRANGE", "zset", "N", "N"),
    ("ZRANGE", "zset", "0", "N", "WITHSCORES"), ("ZRANGE", "zset", "N", "N", "BYSCORE", "LIMIT", "0", "N"), ("ZRANGE", "zset", "-inf", "+inf", "BYSCORE", "LIMIT", "N", "-1"),
    ("ZRANGEBYSCORE", "zset", "-inf", "+inf", "LIMIT", "N", "N"), ("ZREMRANGEBYRANK", "zset", "N", "N"), ("ZPOPMIN", "zset", "N"), ("ZPOPMAX", "zset", "N"),
    ("ZMPOP", "1", "zset", "MIN", "COUNT", "N"), ("ZUNION", "N", "zset"), ("ZINTERCARD", "1", "zset", "LIMIT", "N"), ("ZINCRBY", "zset", "N", "a"),
    ("SRANDMEMBER", "missing", "N"), ("HRANDFIELD", "missing", "N"), ("ZRANDMEMBER", "missing", "N"), ("HRANDFIELD", "missing", "N", "WITHVALUES"),
    ("ZRANDMEMBER", "missing", "N", "WITHSCORES"), ("SPOP", "missing", "N"), ("XADD", "stream", "MAXLEN", "N", "9-9", "f", "v"), ("XADD", "stream", "N-1", "f", "v"),
    ("XADD", "stream", "5-N", "f", "v"), ("XTRIM", "stream", "MAXLEN", "N"), ("XTRIM", "stream", "MINID", "N"), ("XTRIM", "stream", "MAXLEN", "~", "1", "LIMIT", "N"),
    ("XRANGE", "stream", "-", "+", "COUNT", "N"), ("XREAD", "COUNT", "N", "STREAMS", "stream", "0"), ("XPENDING", "stream", "g", "IDLE", "N", "-", "+", "5"),
    ("XPENDING", "stream", "g", "-", "+", "N"), ("XCLAIM", "stream", "g", "bob", "N", "1-1"), ("XCLAIM", "stream", "g", "bob", "0", "1-1", "RETRYCOUNT", "N"),
    ("XCLAIM", "stream", "g", "bob", "0", "1-1", "IDLE", "N", "JUSTID"), ("XAUTOCLAIM", "stream", "g", "bob", "0", "0", "COUNT", "N"), ("XSETID", "stream", "N"),
    ("XSETID", "stream", "9-9", "ENTRIESADDED", "N"), ("XGROUP", "SETID", "stream", "g", "0", "ENTRIESREAD", "N"), ("XINFO", "STREAM", "stream", "FULL", "COUNT", "N"),
    ("SORT", "list", "ALPHA", "LIMIT", "N", "N"), ("SORT", "list", "ALPHA", "LIMIT", "0", "N"), ("GETRANGE", "str", "N", "N"), ("GETRANGE", "str", "0", "N"),
    ("BITCOUNT", "str", "N", "N"), ("BITCOUNT", "str", "0", "N", "BIT"), ("BITPOS", "str", "1", "N", "N"), ("BITFIELD", "str", "SET", "i64", "0", "N"),
    ("BITFIELD", "str", "OVERFLOW", "SAT", "INCRBY", "i64", "0", "N"), ("INCRBY", "num", "N"), ("DECRBY", "num", "N"), ("EXPIRE", "str", "N"), ("PEXPIREAT", "str", "N"),
    ("GEORADIUS", "geo", "15", "37", "N", "km"), ("GEOSEARCH", "geo", "FROMLONLAT", "15", "37", "BYBOX", "N", "N", "m", "ASC"), ("GEORADIUS", "geo", "15", "37", "200", "km", "COUNT", "N", "ASC"),
    ("LCS", "str", "num", "IDX", "MINMATCHLEN", "N"), ("RESTORE", "dst", "N", "x"), ("OBJECT", "FREQ", "N"), ("ZADD", "zset", "N", "a"), ("ZCOUNT", "zset", "N", "(N"),
    ("PFADD", "hll", "N"), ("BLPOP", "list", "N"), ("BZMPOP", "N", "1", "zset", "MIN"), ("BLMPOP", "0", "1", "list", "LEFT", "COUNT", "N")], ids=" ".join)
def test_extreme_numbers(sides, words):
    for n in EXTREMES:
        request = [w.replace("N", n) if w in ("N", "(N", "N-1", "5-N") else w for w in words]
        (a, changed_a), (b, changed_b) = (s.call(request) for s in sides)
        assert is_same(a, b) or is_expected(request, a, b), request
        assert changed_a == changed_b or is_expected(request, a, b), request
        assert not (a[0] == "-" and changed_a), request
        if changed_a or changed_b:
            assert sides[0].look()[0] == sides[1].look()[0] or a != b, request
            for s in sides:
                s.fill()
