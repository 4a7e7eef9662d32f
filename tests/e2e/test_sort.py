"""SORT and SORT_RO: orders, patterns, limits, and what is stored."""

import random

import pytest

from harness import ReplyError

NOT_A_NUMBER = "ERR One or more scores can't be converted into double"


def error_of(c, *args):
    r = c.try_call(*args)
    assert isinstance(r, ReplyError), f"{args}: {r!r} is no error"
    return str(r)


def words(reply):
    return b" ".join(b"-" if x is None else x for x in reply).decode()


def sort(c, *args):
    return words(c.call("SORT", *args))


@pytest.fixture
def three(c):
    """A list, a set and a sorted set of 3, 1 and 2, with weights and hashes."""
    c.call("RPUSH", "l", 3, 1, 2)
    c.call("SADD", "s", 3, 1, 2)
    c.call("ZADD", "z", 5, 3, 6, 1, 7, 2)
    c.call("MSET", "w_1", 30, "w_2", 10, "w_3", 20)
    for i, name in ((1, "one"), (2, "two"), (3, "three")):
        c.call("HSET", f"h_{i}", "name", name, "rank", -i)


def test_numbers(c, three):
    for key in "lsz":
        assert sort(c, key) == "1 2 3" == sort(c, key, "asc") and sort(c, key, "DESC") == "3 2 1"
    c.call("RPUSH", "n", "1.5", "-3", "1e2", "0x10", " 2", "inf", "-inf", "", "1.50", "01.5")
    assert c.call("SORT", "n") == [b"-inf", b"-3", b"", b"01.5", b"1.5", b"1.50", b" 2", b"0x10", b"1e2", b"inf"]
    for bad in ("x", "1 ", "nan", "1e400", "1,5"):
        c.call("RPUSH", "n", bad)
        assert error_of(c, "SORT", "n") == NOT_A_NUMBER
        c.call("RPOP", "n")


def test_texts(c):
    c.call("RPUSH", "k", "b", "a", "", "ab", "10", "9", "B", "\xff", "abcdefghi", "abcdefgh", "abcdefghij")
    want = sorted(c.call("LRANGE", "k", 0, -1))
    assert c.call("SORT", "k", "ALPHA") == want and c.call("SORT", "k", "ALPHA", "DESC") == want[::-1]
    assert c.call("SORT_RO", "k", "ALPHA", "LIMIT", 2, 3) == want[2:5]


def test_weights_of_other_keys(c, three):
    for key in "lsz":
        assert sort(c, key, "BY", "w_*") == "2 3 1" and sort(c, key, "BY", "w_*", "DESC") == "1 3 2"
        assert sort(c, key, "BY", "h_*->rank") == "3 2 1" and sort(c, key, "BY", "h_*->name", "ALPHA") == "1 3 2"
    c.call("DEL", "w_2")
    assert sort(c, "l", "BY", "w_*") == "2 3 1" and sort(c, "l", "BY", "w_*", "ALPHA", "DESC") == "1 3 2"  # nothing is 0, and in front of all texts
    c.call("SET", "w_3", "x")
    assert error_of(c, "SORT", "l", "BY", "w_*") == NOT_A_NUMBER
    assert sort(c, "l", "BY", "none_*") == "1 2 3" and sort(c, "l", "BY", "h_*") == "1 2 3"  # of another type: none


def test_what_is_got(c, three):
    assert sort(c, "l", "GET", "#", "GET", "w_*", "GET", "h_*->name") == "1 30 one 2 10 two 3 20 three"
    assert sort(c, "l", "GET", "none_*", "GET", "h_*->none", "GET", "h_*", "GET", "word") == " ".join("-" * 12)
    assert sort(c, "l", "GET", "w_*->x") == "- - -"
    c.call("SET", "w_1->", "arrow")
    assert sort(c, "l", "GET", "w_*->") == "arrow - -"
    c.call("SET", "<1>*", "star")
    assert sort(c, "l", "GET", "<*>*") == "star - -"


def test_no_order(c, three):
    assert sort(c, "l", "BY", "nosort") == "3 1 2" and sort(c, "l", "BY", "nosort", "DESC") == "2 1 3"
    assert sort(c, "l", "BY", "nosort", "LIMIT", 1, 1) == "1" and sort(c, "l", "BY", "nosort", "DESC", "LIMIT", 0, 2) == "2 1"
    assert sort(c, "z", "BY", "nosort") == "3 1 2" and sort(c, "z", "BY", "nosort", "DESC", "LIMIT", 0, 2) == "2 1"
    assert sorted(c.call("SORT", "s", "BY", "nosort")) == [b"1", b"2", b"3"]
    assert c.call("SORT", "s", "BY", "nosort", "STORE", "d") == 3 and c.call("LRANGE", "d", 0, -1) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("limit,want", [((0, 2), "1 2"), ((1, -1), "2 3"), ((-5, 1), "1"), ((2, 10), "3"), ((3, 1), ""), ((0, 0), ""), ((9, -1), ""),
                                        ((1, 9223372036854775807), "2 3"), ((9223372036854775807, 1), "")])
def test_limits(c, three, limit, want):
    assert sort(c, "l", "LIMIT", *limit) == want and sort(c, "l", "BY", "h_*->rank", "DESC", "LIMIT", *limit) == want
    assert c.call("SORT", "l", "LIMIT", *limit, "STORE", "d") == len(want.split()) and words(c.call("LRANGE", "d", 0, -1)) == want


def test_storing(c, three):
    c.call("SET", "d", "x", "EX", 1000)
    assert c.call("SORT", "l", "GET", "#", "GET", "none_*", "STORE", "d") == 6
    assert c.call("LRANGE", "d", 0, -1) == [b"1", b"", b"2", b"", b"3", b""] and c.call("TTL", "d") == -1
    assert c.call("SORT", "l", "STORE", "l") == 3 and c.call("LRANGE", "l", 0, -1) == [b"1", b"2", b"3"]
    assert c.call("SORT", "none", "STORE", "d") == 0 and c.call("EXISTS", "d") == 0
    assert c.call("SORT", "l", "STORE", "x", "STORE", "y") == 3 and c.call("EXISTS", "x", "y") == 1
    c.call("RPUSH", "l", "x")
    assert error_of(c, "SORT", "l", "STORE", "y") == NOT_A_NUMBER and c.call("LLEN", "y") == 3


def test_storing_much(c):
    c.call("RPUSH", "k", *range(5000, 0, -1))
    assert c.call("SORT", "k", "STORE", "d") == 5000 and c.call("OBJECT", "ENCODING", "d") == b"quicklist"
    assert c.call("LRANGE", "d", 0, 2) == [b"1", b"2", b"3"] and c.call("LINDEX", "d", -1) == b"5000"


def test_requests_that_are_wrong(c, three):
    for args in (("FOO",), ("BY",), ("LIMIT", 1), ("GET",), ("STORE",), ("ASC", "x")):
        assert error_of(c, "SORT", "l", *args) == "ERR syntax error"
    assert error_of(c, "SORT_RO", "l", "STORE", "d") == "ERR syntax error"
    assert error_of(c, "SORT", "l", "LIMIT", "a", 1) == "ERR value is not an integer or out of range"
    for key in ("w_1", "h_1"):
        assert error_of(c, "SORT", key) == "WRONGTYPE Operation against a key holding the wrong kind of value"
    assert c.call("SORT", "none") == [] and c.call("SORT_RO", "none", "ALPHA", "GET", "x*") == []


def test_keys_of_a_request(c):
    assert c.call("COMMAND", "GETKEYS", "SORT", "a", "BY", "STORE", "STORE", "b", "GET", "STORE", "STORE", "c") == [b"a", b"c"]
    assert c.call("COMMAND", "GETKEYS", "SORT_RO", "a", "BY", "x", "LIMIT", 1, 2) == [b"a"]


def test_events_and_log(make_node):
    node = make_node({"appendonly": "yes", "notify-keyspace-events": "Elg"})
    with node.client() as c, node.client() as ear:
        c.call("RPUSH", "k", 2, 1)
        ear.call("PSUBSCRIBE", "__keyevent@0__:*")
        before = int(c.info("persistence")["aof_current_size"])
        c.call("SORT", "k")
        c.call("SORT", "none", "STORE", "d")
        assert int(c.info("persistence")["aof_current_size"]) == before
        c.call("SORT", "k", "STORE", "d")
        c.call("SORT", "none", "STORE", "d")
        assert [ear.read()[2].split(b":")[1] for _ in range(2)] == [b"sortstore", b"del"]
        c.call("SORT", "k", "DESC", "STORE", "d")
        assert int(c.info("persistence")["aof_current_size"]) > before
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("LRANGE", "d", 0, -1) == [b"2", b"1"]


@pytest.mark.parametrize("what", ["ints", "floats", "texts"])
def test_many(c, what):
    rng = random.Random(what)
    make = {"ints": lambda: rng.randrange(-10 ** 6, 10 ** 6), "floats": lambda: round(rng.uniform(-1e6, 1e6), 3),
            "texts": lambda: "user:%06d" % rng.randrange(10 ** 5) * rng.choice((1, 2))}[what]
    values = [make() for _ in range(30000)]
    c.pipeline([("RPUSH", "k", *values[i:i + 1000]) for i in range(0, len(values), 1000)])
    alpha = ["ALPHA"] if what == "texts" else []
    want = [str(v).encode() for v in sorted(values)]
    assert c.call("SORT", "k", *alpha) == want and c.call("SORT", "k", "DESC", *alpha) == want[::-1]
    assert c.call("SORT", "k", "LIMIT", 12345, 50, *alpha) == want[12345:12395]
