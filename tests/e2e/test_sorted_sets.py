"""Sorted sets as seen by a client: options and their conflicts, shapes of replies, encodings, ranges of bytes, events and files."""

import glob

import pytest

from harness import REDIS_SERVER, ReplyError, wait_until

SYNTAX = "ERR syntax error"
NOT_FLOAT = "ERR value is not a valid float"
NOT_INT = "ERR value is not an integer or out of range"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


def error_of(c, *args):
    r = c.try_call(*args)
    assert isinstance(r, ReplyError), f"{args}: {r!r} is no error"
    return str(r)


def fill(c, key, n, score=lambda i: i, name="m%d"):
    c.call("ZADD", key, *(x for i in range(n) for x in (score(i), name % i)))


# --- ZADD ---

def test_zadd_counts_what_is_new_or_with_ch_what_changed(c):
    assert c.call("ZADD", "z", 1, "a", 2, "b", 3, "a") == 2
    assert c.call("ZADD", "z", 3, "a", 2, "c") == 1
    assert c.call("ZADD", "z", "CH", 4, "a", 2, "b", 9, "d") == 2
    assert c.call("ZRANGE", "z", 0, -1, "WITHSCORES") == [b"b", b"2", b"c", b"2", b"a", b"4", b"d", b"9"]


@pytest.mark.parametrize("options,old,new,changed", [
    (("NX",), 5, 9, False), (("XX",), 5, 9, True), (("GT",), 5, 9, True), (("GT",), 5, 1, False), (("GT",), 5, 5, False),
    (("LT",), 5, 9, False), (("LT",), 5, 1, True), (("XX", "GT"), 5, 9, True), (("XX", "LT"), 5, 9, False)])
def test_zadd_conditions_on_a_member_that_is_there(c, options, old, new, changed):
    c.call("ZADD", "z", old, "m")
    assert c.call("ZADD", "z", *options, "CH", new, "m") == int(changed)
    assert c.call("ZSCORE", "z", "m") == b"%d" % (new if changed else old)


def test_zadd_conditions_on_a_member_that_is_not_there(c):
    assert c.call("ZADD", "z", "XX", 1, "m") == 0 and c.call("EXISTS", "z") == 0
    assert c.call("ZADD", "z", "GT", 1, "a") == 1 and c.call("ZADD", "z", "LT", 1, "b") == 1
    assert c.call("ZADD", "z", "XX", "GT", 1, "c") == 0
    assert c.call("ZADD", "z", "NX", 1, "d") == 1


def test_zadd_incr(c):
    assert c.call("ZADD", "z", "INCR", "1.5", "m") == b"1.5"
    assert c.call("ZADD", "z", "INCR", "-3", "m") == b"-1.5"
    assert c.call("ZADD", "z", "INCR", "NX", "1", "m") is None
    assert c.call("ZADD", "z", "INCR", "GT", "-1", "m") is None and c.call("ZADD", "z", "INCR", "LT", "-1", "m") == b"-2.5"
    assert c.call("ZADD", "z", "INCR", "XX", "1", "n") is None
    assert c.call("ZINCRBY", "z", "0.1", "n") == b"0.10000000000000001"


@pytest.mark.parametrize("args,error", [
    (("NX", "XX", 1, "m"), "ERR XX and NX options at the same time are not compatible"),
    (("NX", "GT", 1, "m"), "ERR GT, LT, and/or NX options at the same time are not compatible"),
    (("GT", "LT", 1, "m"), "ERR GT, LT, and/or NX options at the same time are not compatible"),
    (("INCR", 1, "m", 2, "n"), "ERR INCR option supports a single increment-element pair"),
    ((1, "m", 2), SYNTAX), (("NX", "CH"), SYNTAX), (("x", "m"), NOT_FLOAT), ((1, "m", "nan", "n"), NOT_FLOAT), (("", "m"), NOT_FLOAT),
    (("1e999", "m"), NOT_FLOAT), ((" 1", "m"), NOT_FLOAT)])
def test_zadd_refuses_and_changes_nothing(c, args, error):
    c.call("ZADD", "z", 7, "there")
    assert error_of(c, "ZADD", "z", *args) == error
    assert error_of(c, "ZADD", "absent", *args) == error and c.call("EXISTS", "absent") == 0
    assert c.call("ZRANGE", "z", 0, -1, "WITHSCORES") == [b"there", b"7"]


def test_infinities_and_sums_that_are_no_number(c):
    c.call("ZADD", "z", "inf", "p", "-inf", "n", "+Infinity", "q")
    assert c.call("ZRANGE", "z", 0, -1, "WITHSCORES") == [b"n", b"-inf", b"p", b"inf", b"q", b"inf"]
    for args in (("ZINCRBY", "z", "-inf", "p"), ("ZADD", "z", "INCR", "inf", "n")):
        assert error_of(c, *args) == "ERR resulting score is not a number (NaN)"
    assert c.call("ZMSCORE", "z", "p", "n") == [b"inf", b"-inf"]
    c.call("ZUNIONSTORE", "sum", 2, "z", "z", "WEIGHTS", 1, -1)
    assert c.call("ZMSCORE", "sum", "p", "n") == [b"0", b"0"]


@pytest.mark.parametrize("name", "ZADD ZINCRBY ZREM ZCARD ZSCORE ZMSCORE ZRANK ZREVRANK ZCOUNT ZLEXCOUNT ZRANGE ZREVRANGE ZRANGEBYSCORE "
                         "ZREVRANGEBYSCORE ZRANGEBYLEX ZREVRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREMRANGEBYLEX ZPOPMIN ZPOPMAX ZMPOP "
                         "BZPOPMIN BZPOPMAX BZMPOP ZUNION ZINTER ZDIFF ZINTERCARD ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZRANDMEMBER ZSCAN "
                         "ZRANGESTORE".split())
def test_every_command_refuses_another_type(c, name):
    c.call("SET", "s", "text")
    one = {"ZADD": (1, "m"), "ZINCRBY": (1, "m"), "ZRANGEBYLEX": ("-", "+"), "ZREVRANGEBYLEX": ("+", "-"), "ZLEXCOUNT": ("-", "+"),
           "ZREMRANGEBYLEX": ("-", "+"), "ZCARD": (), "ZRANDMEMBER": (), "ZPOPMIN": (), "ZPOPMAX": (), "ZSCAN": (0,), "BZPOPMIN": (0,),
           "BZPOPMAX": (0,), "ZREM": ("m",), "ZSCORE": ("m",), "ZMSCORE": ("m",), "ZRANK": ("m",), "ZREVRANK": ("m",)}
    many = {"ZMPOP": (1, "s", "MIN"), "BZMPOP": (0, 1, "s", "MIN"), "ZRANGESTORE": ("d", "s", 0, -1)}
    many.update({n: (1, "s") for n in ("ZUNION", "ZINTER", "ZDIFF", "ZINTERCARD")})
    many.update({n: ("d", 1, "s") for n in ("ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE")})
    args = many[name] if name in many else ("s", *one.get(name, (0, 1)))
    assert error_of(c, name, *args) == WRONG_TYPE
    assert c.call("GET", "s") == b"text"


# --- shapes ---

def test_scores_are_doubles_and_pairs_in_resp3(shared_node, c):
    c.call("ZADD", "z", 1, "a", "2.5", "b", "inf", "c")
    with shared_node.client(resp=3) as c3:
        assert c3.raw("ZSCORE", "z", "b") == b",2.5\r\n" and c3.raw("ZSCORE", "z", "x") == b"_\r\n"
        assert c3.raw("ZSCORE", "z", "c") == b",inf\r\n"
        assert c3.raw("ZMSCORE", "z", "a", "x") == b"*2\r\n,1\r\n_\r\n"
        assert c3.raw("ZINCRBY", "z", 1, "a") == b",2\r\n"
        assert c3.raw("ZRANGE", "z", 0, 0, "WITHSCORES") == b"*1\r\n*2\r\n$1\r\na\r\n,2\r\n"
        assert c3.raw("ZUNION", 1, "z", "WITHSCORES").startswith(b"*3\r\n*2\r\n$1\r\na\r\n,2\r\n")
        assert c3.raw("ZRANDMEMBER", "z", 0, "WITHSCORES") == b"*0\r\n"
        assert c3.raw("ZRANDMEMBER", "z", 5, "WITHSCORES").startswith(b"*3\r\n*2\r\n")
        assert c3.raw("ZRANK", "z", "b", "WITHSCORE") == b"*2\r\n:1\r\n,2.5\r\n"
        assert c3.raw("ZRANK", "z", "x", "WITHSCORE") == b"_\r\n"
        assert c3.raw("ZSCAN", "z", 0, "MATCH", "a") == b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n$1\r\n2\r\n"
        assert c3.raw("ZPOPMIN", "z") == b"*2\r\n$1\r\na\r\n,2\r\n"
        assert c3.raw("ZPOPMIN", "z", 1) == b"*1\r\n*2\r\n$1\r\nb\r\n,2.5\r\n"
        assert c3.raw("BZPOPMAX", "z", 0) == b"*3\r\n$1\r\nz\r\n$1\r\nc\r\n,inf\r\n"
        assert c3.raw("ZMPOP", 1, "z", "MIN") == b"_\r\n"


def test_scores_are_flat_strings_in_resp2(c):
    c.call("ZADD", "z", 1, "a", "2.5", "b", 3, "c", 4, "d", 5, "e")
    assert c.call("ZPOPMIN", "z") == [b"a", b"1"]
    assert c.call("ZPOPMAX", "z", 2) == [b"e", b"5", b"d", b"4"]
    assert c.call("ZRANK", "z", "c", "WITHSCORE") == [1, b"3"] and c.call("ZREVRANK", "z", "c", "WITHSCORE") == [0, b"3"]
    assert c.raw("ZRANK", "z", "x", "WITHSCORE") == b"*-1\r\n" and c.raw("ZRANK", "z", "x") == b"$-1\r\n"
    assert error_of(c, "ZRANK", "z", "c", "WITHSCORES") == SYNTAX
    assert c.call("ZMPOP", 2, "none", "z", "MAX", "COUNT", 9) == [b"z", [[b"c", b"3"], [b"b", b"2.5"]]]
    assert c.raw("ZMPOP", 1, "z", "MIN") == b"*-1\r\n"
    assert c.raw("BZMPOP", "0.01", 1, "z", "MIN") == b"*-1\r\n"


@pytest.mark.parametrize("score,text", [
    ("3", b"3"), ("3.0", b"3"), ("-0", b"0"), ("0.1", b"0.10000000000000001"), ("1e17", b"1e+17"), ("99999999999999999", b"1e+17"),
    ("12345678901234567", b"12345678901234568"), ("1e-7", b"9.9999999999999995e-08"), ("-2.25", b"-2.25"), ("1e300", b"1.0000000000000001e+300"),
    ("4.9e-324", b"4.9406564584124654e-324"), ("0x10", b"16"), ("123456.789", b"123456.789")])
def test_scores_print_with_17_digits(c, score, text):
    c.call("ZADD", "z", score, "m")
    assert c.call("ZSCORE", "z", "m") == text and c.call("ZRANGE", "z", 0, -1, "WITHSCORES") == [b"m", text]
    c.call("ZADD", "z", "1", "x" * 65)
    assert c.call("OBJECT", "ENCODING", "z") == b"skiplist" and c.call("ZSCORE", "z", "m") == text


# --- ranges ---

@pytest.fixture(params=["listpack", "skiplist"])
def z(request, c):
    """A key with m0 … m9, scores 0 … 9, in either encoding."""
    limit = 128 if request.param == "listpack" else 0
    c.call("CONFIG", "SET", "zset-max-listpack-entries", limit)
    fill(c, "z", 10)
    assert c.call("OBJECT", "ENCODING", "z") == request.param.encode()
    yield "z"
    c.call("CONFIG", "SET", "zset-max-listpack-entries", 128)


def names(*numbers):
    return [b"m%d" % n for n in numbers]


def test_ranges_by_rank(c, z):
    assert c.call("ZRANGE", z, 2, 4) == names(2, 3, 4) and c.call("ZRANGE", z, -3, 100) == names(7, 8, 9)
    assert c.call("ZRANGE", z, 2, 4, "REV") == names(7, 6, 5) == c.call("ZREVRANGE", z, 2, 4)
    for start, end in ((5, 4), (10, 20), (-20, -11), (0, -11)):
        assert c.call("ZRANGE", z, start, end) == []
    assert error_of(c, "ZRANGE", z, 0, 1, "LIMIT", 0, 1) == \
        "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
    assert error_of(c, "ZRANGE", z, 0, "x") == NOT_INT
    assert error_of(c, "ZREVRANGE", z, 0, 1, "REV") == SYNTAX


def test_ranges_by_score(c, z):
    assert c.call("ZRANGEBYSCORE", z, "(2", "4") == names(3, 4) == c.call("ZRANGE", z, "(2", 4, "BYSCORE")
    assert c.call("ZREVRANGEBYSCORE", z, "(4", 2) == names(3, 2) == c.call("ZRANGE", z, "(4", 2, "BYSCORE", "REV")
    assert c.call("ZRANGEBYSCORE", z, "-inf", "+inf", "LIMIT", 8, 10) == names(8, 9)
    assert c.call("ZRANGEBYSCORE", z, 0, 9, "LIMIT", 3, -1, "WITHSCORES")[:2] == [b"m3", b"3"]
    assert c.call("ZREVRANGEBYSCORE", z, 9, 0, "LIMIT", 1, 2) == names(8, 7)
    assert c.call("ZRANGEBYSCORE", z, 0, 9, "LIMIT", -1, 5) == [] == c.call("ZRANGEBYSCORE", z, 0, 9, "LIMIT", 0, 0)
    assert c.call("ZCOUNT", z, 2, "(5") == 3 and c.call("ZCOUNT", z, 5, 2) == 0 and c.call("ZCOUNT", z, "(5", "(5") == 0
    for bad in (("x", 1), (1, "nan"), ("((1", 2)):
        assert error_of(c, "ZRANGEBYSCORE", z, *bad) == error_of(c, "ZCOUNT", z, *bad) == "ERR min or max is not a float"


def test_ranges_by_bytes(c, z):
    c.call("DEL", z)
    fill(c, z, 10, score=lambda i: 0)
    assert c.call("ZRANGEBYLEX", z, "-", "[m2") == names(0, 1, 2) == c.call("ZRANGE", z, "-", "(m3", "BYLEX")
    assert c.call("ZREVRANGEBYLEX", z, "+", "(m7") == names(9, 8) == c.call("ZRANGE", z, "+", "(m7", "BYLEX", "REV")
    assert c.call("ZRANGEBYLEX", z, "[m", "+", "LIMIT", 2, 3) == names(2, 3, 4)
    assert c.call("ZLEXCOUNT", z, "(m1", "[m5") == 4 and c.call("ZLEXCOUNT", z, "+", "-") == 0
    assert error_of(c, "ZRANGEBYLEX", z, "m1", "+") == error_of(c, "ZLEXCOUNT", z, "-", "") == "ERR min or max not valid string range item"
    assert error_of(c, "ZRANGE", z, "-", "+", "BYLEX", "WITHSCORES") == "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
    assert c.call("ZREMRANGEBYLEX", z, "[m3", "(m5") == 2 and c.call("ZCARD", z) == 8


def test_ranges_by_bytes_over_unequal_scores_do_not_depend_on_the_encoding(c, z):
    c.call("DEL", z)
    c.call("ZADD", z, 1, "c", 2, "a", 3, "e", 4, "b", 5, "d")  # c a e b d
    assert c.call("ZRANGEBYLEX", z, "-", "+") == [b"c", b"a", b"e", b"b", b"d"]
    assert c.call("ZRANGEBYLEX", z, "[b", "[d") == [b"c", b"a"]  # from the first not below, up to the first above
    assert c.call("ZREVRANGEBYLEX", z, "[d", "[b") == [b"d", b"b", b"e"]  # from the first not above, down to the first below
    assert c.call("ZRANGEBYLEX", z, "[e", "+") == []  # the last lies below the range
    assert c.call("ZRANGEBYLEX", z, "-", "[b") == []  # the first lies above it


def test_removing_ranges(c, z):
    assert c.call("ZREMRANGEBYRANK", z, -2, -1) == 2 and c.call("ZREMRANGEBYSCORE", z, "(0", 2) == 2
    assert c.call("ZRANGE", z, 0, -1) == names(0, 3, 4, 5, 6, 7)
    assert c.call("ZREMRANGEBYRANK", z, 10, 20) == 0 and c.call("ZREMRANGEBYRANK", z, 0, -1) == 6
    assert c.call("EXISTS", z) == 0


def test_random_members(c, z):
    assert c.call("ZRANDMEMBER", z) in names(*range(10))
    for n in (1, 4, 10, 20):
        got = c.call("ZRANDMEMBER", z, n)
        assert len(got) == len(set(got)) == min(n, 10)
    got = c.call("ZRANDMEMBER", z, -50, "WITHSCORES")
    assert len(got) == 100 and all(b"m" + s == m for m, s in zip(got[::2], got[1::2]))
    seen = {m for _ in range(100) for m in c.call("ZRANDMEMBER", z, 2)}
    assert seen == set(names(*range(10)))
    assert c.call("ZRANDMEMBER", "none") is None and c.call("ZRANDMEMBER", "none", 3) == []
    assert error_of(c, "ZRANDMEMBER", z, "x") == NOT_INT and error_of(c, "ZRANDMEMBER", z, 1, "WITHSCORE") == SYNTAX


def test_scanning(c, z):
    def scan(*options):
        cursor, out = 0, []
        while True:
            cursor, part = c.call("ZSCAN", z, cursor, *options)
            out += part
            if cursor == b"0":
                return out
    got = scan("COUNT", 2)
    assert dict(zip(got[::2], got[1::2])) == {b"m%d" % i: b"%d" % i for i in range(10)}
    assert scan("MATCH", "m3") == [b"m3", b"3"] and set(scan("NOSCORES")) == set(names(*range(10)))
    assert c.call("ZSCAN", "none", 0) == [b"0", []]
    assert error_of(c, "ZSCAN", z, "x") == "ERR invalid cursor" and error_of(c, "ZSCAN", z, 0, "COUNT", 0) == SYNTAX


def test_storing_a_range(c, z):
    c.call("SET", "d", "text", "EX", 100)
    assert c.call("ZRANGESTORE", "d", z, 1, 3, "REV") == 3
    assert c.call("ZRANGE", "d", 0, -1, "WITHSCORES") == [b"m6", b"6", b"m7", b"7", b"m8", b"8"] and c.call("TTL", "d") == -1
    assert c.call("ZRANGESTORE", "d", z, "(1", "(4", "BYSCORE", "LIMIT", 1, 5) == 1
    assert c.call("ZRANGESTORE", z, z, 0, 4) == 5 and c.call("ZCARD", z) == 5
    assert c.call("ZRANGESTORE", "d", "none", 0, -1) == 0 and c.call("EXISTS", "d") == 0
    assert error_of(c, "ZRANGESTORE", "d", z, 0, -1, "WITHSCORES") == SYNTAX


# --- several sets ---

def test_union_intersection_difference(c):
    c.call("ZADD", "a", 1, "x", 2, "y", 3, "z")
    c.call("ZADD", "b", 10, "y", 20, "z", 30, "w")
    c.call("SADD", "s", "z", "q")
    assert c.call("ZUNION", 2, "a", "b", "WITHSCORES") == [b"x", b"1", b"y", b"12", b"z", b"23", b"w", b"30"]
    assert c.call("ZINTER", 2, "a", "b", "WEIGHTS", 2, "0.5", "AGGREGATE", "MAX", "WITHSCORES") == [b"y", b"5", b"z", b"10"]
    assert c.call("ZDIFF", 2, "a", "b", "WITHSCORES") == [b"x", b"1"]
    assert c.call("ZUNION", 2, "a", "s", "AGGREGATE", "MIN", "WITHSCORES") == [b"q", b"1", b"x", b"1", b"z", b"1", b"y", b"2"]
    assert c.call("ZINTER", 3, "a", "b", "s") == [b"z"] and c.call("ZDIFF", 2, "s", "a", "WITHSCORES") == [b"q", b"1"]
    assert c.call("ZINTERCARD", 2, "a", "b") == 2 and c.call("ZINTERCARD", 2, "a", "b", "LIMIT", 1) == 1
    assert c.call("ZINTERSTORE", "d", 2, "a", "none") == 0
    assert c.call("ZUNIONSTORE", "a", 2, "a", "a") == 3 and c.call("ZSCORE", "a", "z") == b"6"
    assert c.call("ZDIFFSTORE", "d", 2, "a", "b") == 1 and c.call("ZDIFFSTORE", "d", 2, "a", "a") == 0 and c.call("EXISTS", "d") == 0


@pytest.mark.parametrize("args,error", [
    (("ZUNION", 0, "a"), "ERR at least 1 input key is needed for 'zunion' command"),
    (("ZINTERSTORE", "d", -1, "a"), "ERR at least 1 input key is needed for 'zinterstore' command"),
    (("ZUNION", "x", "a"), NOT_INT), (("ZUNION", 2, "a"), SYNTAX), (("ZUNION", 9223372036854775807, "a"), SYNTAX),
    (("ZUNION", 1, "a", "WEIGHTS"), SYNTAX), (("ZUNION", 1, "a", "WEIGHTS", "x"), "ERR weight value is not a float"),
    (("ZUNION", 1, "a", "AGGREGATE", "AVG"), SYNTAX), (("ZUNIONSTORE", "d", 1, "a", "WITHSCORES"), SYNTAX),
    (("ZDIFF", 1, "a", "WEIGHTS", 1), SYNTAX), (("ZINTERCARD", 1, "a", "LIMIT", -1), "ERR LIMIT can't be negative"),
    (("ZINTERCARD", 0, "a"), "ERR at least 1 input key is needed for 'zintercard' command"),
    (("ZMPOP", 0, "a", "MIN"), "ERR numkeys should be greater than 0"), (("ZMPOP", 1, "a", "MID"), SYNTAX),
    (("ZMPOP", 1, "a", "MIN", "COUNT", 0), "ERR count should be greater than 0"), (("ZMPOP", 1, "a", "MIN", "COUNT", 1, "COUNT", 1), SYNTAX),
    (("BZMPOP", -1, 1, "none", "MIN"), "ERR timeout is negative"), (("ZPOPMIN", "a", -1), "ERR value is out of range, must be positive"),
    (("ZPOPMIN", "a", 1, 2), SYNTAX)])
def test_requests_that_are_wrong(c, args, error):
    c.call("ZADD", "a", 1, "m")
    assert error_of(c, *args) == error
    assert c.call("ZRANGE", "a", 0, -1, "WITHSCORES") == [b"m", b"1"] and c.call("EXISTS", "d") == 0


# --- encodings, memory, events, files ---

def test_encodings_change_at_the_thresholds(c):
    fill(c, "n", 128)
    assert c.call("OBJECT", "ENCODING", "n") == b"listpack"
    c.call("ZADD", "n", 1, "one more")
    assert c.call("OBJECT", "ENCODING", "n") == b"skiplist"
    c.call("ZREM", "n", "one more", "m1")
    assert c.call("OBJECT", "ENCODING", "n") == b"skiplist"
    assert c.call("ZUNIONSTORE", "u", 1, "n") == 127 and c.call("OBJECT", "ENCODING", "u") == b"listpack"
    c.call("ZADD", "w", 1, "x" * 64)
    assert c.call("OBJECT", "ENCODING", "w") == b"listpack"
    c.call("ZADD", "w", 1, "x" * 65)
    assert c.call("OBJECT", "ENCODING", "w") == b"skiplist"


def test_a_large_set_takes_at_most_65_bytes_a_member(c):
    for i in range(0, 150_000, 1000):
        c.call("ZADD", "z", *(x for k in range(i, i + 1000) for x in (k * 7919 % 150_001, "member:%013d" % k)))
    assert 40 * 150_000 < c.call("MEMORY", "USAGE", "z", "SAMPLES", 0) < 65 * 150_000


def test_the_keys_of_a_request_are_found(c):
    assert c.call("COMMAND", "GETKEYS", "ZUNIONSTORE", "d", 2, "a", "b", "WEIGHTS", 1, 2) == [b"d", b"a", b"b"]
    assert c.call("COMMAND", "GETKEYS", "BZMPOP", 0, 2, "a", "b", "MIN") == [b"a", b"b"]
    assert c.call("COMMAND", "GETKEYS", "BZPOPMIN", "a", "b", 0) == [b"a", b"b"]


def test_events(shared_node, c):
    with shared_node.client() as ear:
        c.call("CONFIG", "SET", "notify-keyspace-events", "EA")
        ear.call("PSUBSCRIBE", "__keyevent@0__:*")
        for request in (("ZADD", "a", 1, "x", 2, "y", 3, "z"), ("ZADD", "a", 1, "x"), ("ZINCRBY", "a", 1, "x"), ("ZREM", "a", "none"), ("ZREM", "a", "x"),
                        ("ZRANGESTORE", "b", "a", 0, -1), ("ZPOPMIN", "b"), ("ZPOPMAX", "b", 5), ("ZUNIONSTORE", "b", 1, "a"),
                        ("ZINTERSTORE", "b", 2, "a", "none"), ("ZREMRANGEBYRANK", "a", 0, 0), ("ZREMRANGEBYSCORE", "a", 0, 9),
                        ("ZADD", "a", 1, "x"), ("ZMPOP", 1, "a", "MAX"), ("ZADD", "a", 1, "x"), ("ZREMRANGEBYLEX", "a", "-", "+"), ("PUBLISH", "__keyevent@0__:end", "")):
            c.call(*request)
        heard = []
        while (m := ear.read())[2] != b"__keyevent@0__:end":
            heard.append((m[2].partition(b":")[2] + b" " + m[3]).decode())
        c.call("CONFIG", "SET", "notify-keyspace-events", "")
    assert heard == ["zadd a", "zincr a", "zrem a", "zrangestore b", "zpopmin b", "zpopmax b", "del b", "zunionstore b", "del b",
                     "zremrangebyrank a", "zremrangebyscore a", "del a", "zadd a", "zpopmax a", "del a", "zadd a", "zremrangebylex a", "del a"]


def log_of(node):
    return b"".join(open(p, "rb").read() for p in sorted(glob.glob(node.path("appendonlydir", "*.aof"))))


def test_pops_of_several_keys_propagate_as_what_they_did(make_node):
    node = make_node({"appendonly": "yes", "aof-use-rdb-preamble": "no"})
    with node.client() as c, node.client() as waiter:
        fill(c, "z", 5)
        c.call("BZPOPMIN", "none", "z", 0)
        c.call("ZMPOP", 2, "none", "z", "MAX", "COUNT", 2)
        c.call("BZMPOP", 0, 1, "z", "MIN", "COUNT", 9)
        waiter.send("BZPOPMAX", "later", 0)
        wait_until(lambda: c.info("clients")["blocked_clients"] == "1")
        c.call("ZADD", "later", 1, "a", 2, "b")
        assert waiter.read() == [b"later", b"b", b"2"]
    text = log_of(node)
    words = [r for r in text.replace(b"\r\n", b" ").split(b"*") if b"POP" in r]
    assert [r.split()[2::2] for r in words] == [[b"ZPOPMIN", b"z"], [b"ZPOPMAX", b"z", b"2"], [b"ZPOPMIN", b"z", b"2"], [b"ZPOPMAX", b"later"]]
    node.restart()
    with node.client() as c:
        assert c.call("KEYS", "*") == [b"later"] and c.call("ZRANGE", "later", 0, -1) == [b"a"]


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_rewritten_logs_and_snapshots_hold_every_score(make_node, preamble):
    node = make_node({"appendonly": "yes", "aof-use-rdb-preamble": preamble})
    with node.client() as c:
        fill(c, "small", 60, score=lambda i: i * 0.37 - 9)
        fill(c, "large", 3000, score=lambda i: (i * 7919 % 3001) / 7, name="a member of some length %d")
        c.call("ZADD", "edges", "inf", "i", "-inf", "n", "5e-324", "least", "-0", "zero", 1e22, "12", 2 ** 53, "-7")
        c.call("PEXPIREAT", "small", 4_000_000_000_000)
        before = [c.call("ZRANGE", k, 0, -1, "WITHSCORES") for k in ("small", "large", "edges")]
        c.call("BGREWRITEAOF")
        wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0" and c.info("persistence")["aof_rewrite_scheduled"] == "0")
        wait_until(lambda: len(glob.glob(node.path("appendonlydir", "*.2.base.*"))) == 1)
    node.restart(kill=True)
    with node.client() as c:
        assert [c.call("ZRANGE", k, 0, -1, "WITHSCORES") for k in ("small", "large", "edges")] == before
        assert c.call("PEXPIRETIME", "small") == 4_000_000_000_000
        assert [c.call("OBJECT", "ENCODING", k) for k in ("small", "large")] == [b"listpack", b"skiplist"]


def test_dumps_go_both_ways_with_redis(make_node, c):
    theirs = make_node(binary=REDIS_SERVER)
    fill(c, "small", 60, score=lambda i: i * 0.37 - 9)
    fill(c, "large", 3000, score=lambda i: (i * 7919 % 3001) / 7)
    c.call("ZADD", "edges", "inf", "i", "-inf", "n", "5e-324", "least", "1e22", "12", 2 ** 53, "-7")
    with theirs.client() as r:
        for key in ("small", "large", "edges"):
            dump = c.call("DUMP", key)
            assert r.call("RESTORE", key, 0, dump) == b"OK"
            assert r.call("ZRANGE", key, 0, -1, "WITHSCORES") == c.call("ZRANGE", key, 0, -1, "WITHSCORES")
            assert c.call("RESTORE", key, 0, r.call("DUMP", key), "REPLACE") == b"OK"
            assert r.call("ZRANGE", key, 0, -1, "WITHSCORES") == c.call("ZRANGE", key, 0, -1, "WITHSCORES")


def test_a_member_of_a_million_bytes(c):
    member = b"y" * 1_000_000
    assert c.call("ZADD", "z", 1, member, 2, "short") == 2
    assert c.call("ZRANGE", "z", 0, -1) == [member, b"short"] and c.call("ZSCORE", "z", member) == b"1"
    assert c.call("ZPOPMIN", "z") == [member, b"1"]


def test_members_without_end_stop_at_the_output_limit(make_node):
    node = make_node({"client-output-buffer-limit": "normal 10000000 0 0"})
    with node.client() as c, node.client() as greedy:
        c.call("ZADD", "z", 1, "m")
        greedy.send("ZRANDMEMBER", "z", -2 ** 62)
        greedy.read_until_closed(1 << 26)
        assert greedy.is_closed()
        assert c.call("PING") == b"PONG" and node.rss_bytes() < 200_000_000


def test_a_client_that_waits_gets_a_member_that_is_stored(shared_node, c):
    c.call("ZADD", "src", 1, "m")
    for request in (("ZUNIONSTORE", "k", 1, "src"), ("ZRANGESTORE", "k", "src", 0, -1), ("COPY", "src", "k"), ("ZINCRBY", "k", 1, "m")):
        with shared_node.client() as w:
            w.send("BZPOPMIN", "k", 5)
            wait_until(lambda: c.info("clients")["blocked_clients"] == "1")
            c.call(*request)
            assert w.read() == [b"k", b"m", b"1"]
        assert c.call("EXISTS", "k") == 0
