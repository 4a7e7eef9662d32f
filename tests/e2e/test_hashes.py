"""Hashes: their commands in all forms, conversions, errors, files. All of it is as Redis has it."""

import pytest

from harness import Node, REDIS_SERVER, ReplyError, is_holdfast

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
SMALL, LARGE = 20, 700


def fill(c, key, n):
    for at in range(0, n, 100):
        c.call("HSET", key, *(x for i in range(at, min(at + 100, n)) for x in (f"f{i}", f"v{i}" if i % 2 else i)))


def as_dict(flat):
    return dict(zip(flat[::2], flat[1::2]))


def content(n):
    return {b"f%d" % i: b"v%d" % i if i % 2 else b"%d" % i for i in range(n)}


@pytest.mark.parametrize("n", [SMALL, LARGE])
def test_fields_and_values(c, n):
    fill(c, "h", n)
    assert c.call("OBJECT", "ENCODING", "h") == (b"listpack" if n == SMALL else b"hashtable")
    assert c.call("HLEN", "h") == n and as_dict(c.call("HGETALL", "h")) == content(n)
    assert set(c.call("HKEYS", "h")) == set(content(n)) and sorted(c.call("HVALS", "h")) == sorted(content(n).values())
    assert c.call("HMGET", "h", "f1", "no", "f2") == [b"v1", None, b"2"] and c.call("HGET", "h", "f3") == b"v3"
    assert [c.call("HEXISTS", "h", "f0"), c.call("HEXISTS", "h", "x"), c.call("HSTRLEN", "h", "f11"), c.call("HSTRLEN", "h", "f10"),
            c.call("HSTRLEN", "h", "x")] == [1, 0, 3, 2, 0]
    assert c.call("HSET", "h", "f1", "new", "g", "1") == 1 and c.call("HGET", "h", "f1") == b"new"
    assert c.call("HSETNX", "h", "f1", "x") == 0 and c.call("HSETNX", "h", "n", "x") == 1
    assert c.call("HMSET", "h", "f1", "again") == b"OK" and c.call("HGET", "h", "f1") == b"again"
    assert c.call("HDEL", "h", "g", "n", "nope", "g") == 2 and c.call("HLEN", "h") == n
    assert c.call("HDEL", "h", *(f"f{i}" for i in range(n))) == n and c.call("EXISTS", "h") == 0


def test_what_is_not_there(c):
    assert [c.call(q, "h") for q in ("HLEN", "HGETALL", "HKEYS", "HVALS")] == [0, [], [], []]
    assert c.call("HGET", "h", "f") is None and c.call("HMGET", "h", "a", "b") == [None, None]
    assert [c.call("HDEL", "h", "f"), c.call("HEXISTS", "h", "f"), c.call("HSTRLEN", "h", "f")] == [0, 0, 0]
    assert c.call("HRANDFIELD", "h") is None and c.call("HRANDFIELD", "h", 3) == [] and c.call("HSCAN", "h", 0) == [b"0", []]
    assert c.call("EXISTS", "h") == 0


def test_resp3_shapes(shared_node, c):
    fill(c, "h", 3)
    with shared_node.client(resp=3) as r:
        assert r.call("HGETALL", "h") == content(3) and r.call("HGETALL", "no") == {} and r.call("HKEYS", "no") == []
        pairs = r.call("HRANDFIELD", "h", 5, "WITHVALUES")
        assert len(pairs) == 3 and {k: v for k, v in pairs} == content(3)
        assert r.call("HGET", "h", "x") is None and r.raw("HRANDFIELD", "no") == b"_\r\n"


def test_conversions_at_the_thresholds(c):
    def encoding():
        return c.call("OBJECT", "ENCODING", "h")
    fill(c, "h", 512)
    assert encoding() == b"listpack"
    c.call("HSET", "h", "one too many", 1)
    assert encoding() == b"hashtable" and c.call("HLEN", "h") == 513
    for field, value in (("f", "x" * 65), ("x" * 65, "v")):
        c.call("DEL", "h")
        c.call("HSET", "h", "a", "x" * 64)
        assert encoding() == b"listpack"
        c.call("HSET", "h", field, value)
        assert encoding() == b"hashtable" and c.call("HGET", "h", field) == value.encode() and c.call("HGET", "h", "a") == b"x" * 64
    c.call("CONFIG", "SET", "hash-max-listpack-entries", 2, "hash-max-ziplist-value", 4)
    try:
        c.call("DEL", "h")
        c.call("HSET", "h", "a", 1, "b", 2)
        assert encoding() == b"listpack"
        c.call("HINCRBY", "h", "a", 10000)
        assert encoding() == b"hashtable" and c.call("HGET", "h", "a") == b"10001"
    finally:
        c.call("CONFIG", "SET", "hash-max-listpack-entries", 512, "hash-max-listpack-value", 64)


def test_counting(c):
    assert c.call("HINCRBY", "h", "n", 5) == 5 and c.call("HINCRBY", "h", "n", -7) == -2
    c.call("HSET", "h", "top", 2 ** 63 - 1, "text", "abc", "blank", " 1", "float", "1.5")
    assert str(c.try_call("HINCRBY", "h", "top", 1)) == "ERR increment or decrement would overflow"
    assert str(c.try_call("HINCRBY", "h", "n", "1.5")) == "ERR value is not an integer or out of range"
    assert [str(c.try_call("HINCRBY", "h", f, 1)) for f in ("text", "blank", "float")] == ["ERR hash value is not an integer"] * 3
    assert c.call("HINCRBYFLOAT", "h", "float", "1.25") == b"2.75" and c.call("HINCRBYFLOAT", "h", "n", "0.1") == b"-1.9"
    assert c.call("HINCRBYFLOAT", "h", "new", "3.0e3") == b"3000"
    assert str(c.try_call("HINCRBYFLOAT", "h", "text", 1)) == "ERR hash value is not a float"
    assert str(c.try_call("HINCRBYFLOAT", "h", "n", "x")) == "ERR value is not a valid float"
    assert str(c.try_call("HINCRBYFLOAT", "h", "n", "inf")) == "ERR value is NaN or Infinity"
    c.call("HSET", "h", "huge", "1e4932")
    assert str(c.try_call("HINCRBYFLOAT", "h", "huge", "1e4932")) == "ERR increment would produce NaN or Infinity"
    assert c.call("HGET", "h", "top") == str(2 ** 63 - 1).encode() and c.call("HGET", "h", "text") == b"abc"


@pytest.mark.parametrize("n", [SMALL, LARGE])
def test_random_fields(c, n):
    fill(c, "h", n)
    everything = content(n)
    assert c.call("HRANDFIELD", "h") in everything and c.call("HRANDFIELD", "h", 0) == []
    for count in (1, 5, n // 2, n - 1, n, n + 10):
        got = c.call("HRANDFIELD", "h", count)
        assert len(set(got)) == len(got) == min(count, n) and set(got) <= set(everything)
    assert as_dict(c.call("HRANDFIELD", "h", n, "WITHVALUES")) == everything
    got = c.call("HRANDFIELD", "h", -n * 4, "WITHVALUES")
    assert len(got) == n * 8 and len(set(got[::2])) < n * 4 and all(everything[f] == v for f, v in zip(got[::2], got[1::2]))
    seen = set()
    for _ in range(40):
        seen |= set(c.call("HRANDFIELD", "h", -n))
    assert seen == set(everything)
    assert str(c.try_call("HRANDFIELD", "h", "x")) == "ERR value is not an integer or out of range"
    assert str(c.try_call("HRANDFIELD", "h", 1, "VALUES")) == str(c.try_call("HRANDFIELD", "h", 1, "WITHVALUES", 1)) == "ERR syntax error"
    assert str(c.try_call("HRANDFIELD", "h", -2 ** 62 - 1, "WITHVALUES")) == "ERR value is out of range"


@pytest.mark.parametrize("n", [SMALL, LARGE])
def test_scanning(c, n):
    fill(c, "h", n)
    seen, cursor = {}, b"0"
    while True:
        cursor, part = c.call("HSCAN", "h", cursor, "COUNT", 20)
        seen.update(as_dict(part))
        if cursor == b"0":
            break
    assert seen == content(n)
    cursor, part = c.call("HSCAN", "h", 0, "COUNT", 10000, "MATCH", "f1?")
    assert cursor == b"0" and set(as_dict(part)) == {b"f1%d" % i for i in range(10)}
    assert str(c.try_call("HSCAN", "h", "x")) == "ERR invalid cursor"
    assert str(c.try_call("HSCAN", "h", 0, "COUNT", 0)) == str(c.try_call("HSCAN", "h", 0, "FOO")) == "ERR syntax error"
    if is_holdfast():
        assert set(c.call("HSCAN", "h", 0, "COUNT", 10000, "NOVALUES")[1]) == set(content(n))


@pytest.mark.parametrize("words", [
    "HSET k f v", "HMSET k f v", "HSETNX k f v", "HGET k f", "HMGET k f", "HGETALL k", "HKEYS k", "HVALS k", "HLEN k", "HSTRLEN k f", "HEXISTS k f",
    "HDEL k f", "HINCRBY k f 1", "HINCRBYFLOAT k f 1", "HRANDFIELD k", "HRANDFIELD k 1", "HSCAN k 0"])
def test_wrong_type_and_arity(c, words):
    words = words.split()
    c.call("SET", "k", "text")
    assert str(c.try_call(*words)) == WRONG_TYPE and c.call("GET", "k") == b"text"
    assert str(c.try_call(words[0])) == f"ERR wrong number of arguments for '{words[0].lower()}' command"
    if words[0] in ("HSET", "HMSET"):
        assert str(c.try_call(*words, "odd")) == f"ERR wrong number of arguments for '{words[0].lower()}' command"
        assert c.call("GET", "k") == b"text"


def test_odd_names_and_values(c):
    pairs = {b"": b"empty name", b"empty value": b"", b"\x00\xff\r\n": b"\x00" * 60, b"007": b"007", b"-0": b"-0", b"12": b"12",
             b"9223372036854775808": b"-9223372036854775808"}
    for big in (b"", b"x" * 100_000):
        c.call("DEL", "h")
        c.call("HSET", "h", "big", big, *(x for p in pairs.items() for x in p))
        assert as_dict(c.call("HGETALL", "h")) == {**pairs, b"big": big}
        assert c.call("HMGET", "h", *pairs) == list(pairs.values())
    c.call("HSET", "h", b"n" * 70_000, b"v" * 70_000)
    assert c.call("HGET", "h", b"n" * 70_000) == b"v" * 70_000 and c.call("HDEL", "h", b"n" * 70_000) == 1


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_hashes_survive_a_restart(make_node, preamble):
    node = make_node({"appendonly": "yes", "aof-use-rdb-preamble": preamble})
    with node.client() as c:
        fill(c, "small", SMALL)
        fill(c, "large", LARGE)
        c.call("HSET", "odd", "", "", "\r\n", "\x00", "big", "x" * 200_000)
        c.call("BGREWRITEAOF")
        for _ in range(500):
            if c.info("persistence")["aof_rewrite_in_progress"] == "0" and c.info("persistence")["aof_rewrite_scheduled"] == "0":
                break
            c.call("PING")
        c.call("HINCRBYFLOAT", "small", "f0", "0.5")
        c.call("HDEL", "large", "f3", "f5")
        digest = c.call("DEBUG", "DIGEST")
    node.restart(kill=is_holdfast())
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest
        assert c.call("OBJECT", "ENCODING", "small") == b"listpack" and c.call("OBJECT", "ENCODING", "large") == b"hashtable"


@pytest.mark.holdfast
def test_redis_loads_our_snapshot(make_node):
    ours = make_node({"rdb-version": 10})
    with ours.client() as c:
        fill(c, "small", SMALL)
        fill(c, "large", LARGE)
        c.call("SAVE")
        digest = c.call("DEBUG", "DIGEST")
    theirs = Node(dir=ours.dir, binary=REDIS_SERVER)
    ours.stop()
    with theirs.start() as node, node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest


@pytest.mark.holdfast
def test_dump_moves_between_servers(make_node):
    ours, theirs = make_node(), make_node(binary=REDIS_SERVER)
    with ours.client() as a, theirs.client() as b:
        for n in (SMALL, LARGE):
            fill(a, "h", n)
            assert b.call("RESTORE", "h", 0, a.call("DUMP", "h"), "REPLACE") == b"OK"
            assert a.call("RESTORE", "back", 0, b.call("DUMP", "h"), "REPLACE") == b"OK"
            assert a.call("DEBUG", "DIGEST-VALUE", "h", "back")[0] == a.call("DEBUG", "DIGEST-VALUE", "back")[0]
            assert a.call("DEBUG", "DIGEST-VALUE", "h") == b.call("DEBUG", "DIGEST-VALUE", "h")
            assert a.call("OBJECT", "ENCODING", "back") == b.call("OBJECT", "ENCODING", "h")


def test_a_corrupt_payload_is_an_error(c):
    fill(c, "h", SMALL)
    payload = c.call("DUMP", "h")
    for at in range(len(payload)):
        bad = payload[:at] + bytes([payload[at] ^ 0x55]) + payload[at + 1:]
        assert isinstance(c.try_call("RESTORE", "x", 0, bad), ReplyError)
    assert c.call("EXISTS", "x") == 0 and c.call("MEMORY", "USAGE", "h") > 100


def test_events(c, c2):
    c.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    try:
        c2.send("PSUBSCRIBE", "__keyevent@0__:*")
        c2.read()
        for words in ("HSET h a 1 b 2", "HMSET h c 3", "HSETNX h a 9", "HSETNX h d 4", "HINCRBY h a 1", "HINCRBYFLOAT h a 0.5", "HDEL h nope", "HDEL h a b",
                      "HDEL h c d"):
            c.call(*words.split())
        c.call("SET", "last", 1)
        seen = []
        while not seen or seen[-1] != b"set":
            seen.append(c2.read()[2].split(b":")[1])
        assert [e for e in seen if e != b"new"] == [b"hset", b"hset", b"hset", b"hincrby", b"hincrbyfloat", b"hdel", b"hdel", b"del", b"set"]
    finally:
        c.call("CONFIG", "SET", "notify-keyspace-events", "")
