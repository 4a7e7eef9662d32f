"""String commands as seen by a client, Redis's edges first, then what is newer than Redis 7.0."""

import time

import pytest

from harness import ReplyError

MAX, MIN = 2 ** 63 - 1, -2 ** 63
NOT_INT = "ERR value is not an integer or out of range"
NOT_FLOAT = "ERR value is not a valid float"
SYNTAX = "ERR syntax error"


def error_of(c, *args):
    r = c.try_call(*args)
    assert isinstance(r, ReplyError), f"{args}: {r!r} is no error"
    return str(r)


# --- SET ---

def test_set_conditions(c):
    assert c.call("SET", "k", "1", "XX") is None and c.call("EXISTS", "k") == 0
    assert c.call("SET", "k", "1", "NX") == b"OK"
    assert c.call("SET", "k", "2", "NX") is None and c.call("GET", "k") == b"1"
    assert c.call("SET", "k", "3", "XX") == b"OK" and c.call("GET", "k") == b"3"


def test_set_get(c):
    assert c.call("SET", "k", "1", "GET") is None
    assert c.call("SET", "k", "2", "GET") == b"1"
    assert c.call("SET", "k", "3", "NX", "GET") == b"2" and c.call("GET", "k") == b"2"
    assert c.call("SET", "absent", "3", "XX", "GET") is None and c.call("EXISTS", "absent") == 0


@pytest.mark.parametrize("option,ttl_ms", [(("EX", 100), 100_000), (("PX", 100_000), 100_000), (("ex", "100"), 100_000)])
def test_set_with_a_relative_deadline(c, option, ttl_ms):
    c.call("SET", "k", "v", *option)
    assert ttl_ms - 5000 < c.call("PTTL", "k") <= ttl_ms


def test_set_with_an_absolute_deadline(c):
    c.call("SET", "k", "v", "EXAT", 4_000_000_000)
    assert c.call("PEXPIRETIME", "k") == 4_000_000_000_000
    c.call("SET", "k", "v", "PXAT", 4_000_000_000_123)
    assert c.call("PEXPIRETIME", "k") == 4_000_000_000_123
    assert c.call("SET", "k", "v", "PXAT", 1) == b"OK" and c.call("EXISTS", "k") == 0


def test_set_drops_the_deadline_unless_told_to_keep_it(c):
    c.call("SET", "k", "v", "EXAT", 4_000_000_000)
    c.call("SET", "k", "w", "KEEPTTL")
    assert c.call("EXPIRETIME", "k") == 4_000_000_000
    c.call("SET", "k", "x")
    assert c.call("TTL", "k") == -1


@pytest.mark.parametrize("options", [("NX", "XX"), ("EX", "1", "PX", "1"), ("EX", "1", "KEEPTTL"), ("EX",), ("FOO",), ("EX", "1", "EXAT", "1"), ("NX", "FOO")])
def test_set_syntax_errors(c, options):
    assert error_of(c, "SET", "k", "v", *options) == SYNTAX


@pytest.mark.parametrize("option", ["EX", "PX", "EXAT", "PXAT"])
def test_set_refuses_bad_deadlines(c, option):
    for bad in ("0", "-1"):
        assert error_of(c, "SET", "k", "v", option, bad) == "ERR invalid expire time in 'set' command"
    for bad in ("x", "1.5", ""):
        assert error_of(c, "SET", "k", "v", option, bad) == NOT_INT
    if option in ("EX", "EXAT"):
        assert error_of(c, "SET", "k", "v", option, MAX) == "ERR invalid expire time in 'set' command"
    assert c.call("EXISTS", "k") == 0


def test_setnx_setex_psetex_getset(c):
    assert [c.call("SETNX", "k", "1"), c.call("SETNX", "k", "2"), c.call("GET", "k")] == [1, 0, b"1"]
    assert c.call("SETEX", "k", 100, "v") == b"OK" and 90 < c.call("TTL", "k") <= 100
    assert c.call("PSETEX", "k", 100_000, "w") == b"OK" and 90_000 < c.call("PTTL", "k") <= 100_000
    assert error_of(c, "SETEX", "k", 0, "v") == "ERR invalid expire time in 'setex' command"
    assert error_of(c, "PSETEX", "k", -1, "v") == "ERR invalid expire time in 'psetex' command"
    assert c.call("GETSET", "k", "x") == b"w" and c.call("TTL", "k") == -1 and c.call("GETSET", "new", "y") is None


def test_getdel_and_getex(c):
    c.call("SET", "k", "v")
    assert c.call("GETEX", "k", "EXAT", 4_000_000_000) == b"v" and c.call("EXPIRETIME", "k") == 4_000_000_000
    assert c.call("GETEX", "k") == b"v" and c.call("EXPIRETIME", "k") == 4_000_000_000
    assert c.call("GETEX", "k", "PERSIST") == b"v" and c.call("TTL", "k") == -1
    assert c.call("GETEX", "k", "PXAT", 1) == b"v" and c.call("EXISTS", "k") == 0
    assert c.call("GETEX", "absent", "EX", 10) is None
    assert error_of(c, "GETEX", "k", "EX", 10, "PERSIST") == SYNTAX
    assert error_of(c, "GETEX", "k", "NX") == SYNTAX
    c.call("SET", "k", "v")
    assert error_of(c, "GETEX", "k", "EX", 0) == "ERR invalid expire time in 'getex' command"
    c.call("SET", "k", "v")
    assert [c.call("GETDEL", "k"), c.call("GETDEL", "k")] == [b"v", None]


# --- numbers ---

def test_counters(c):
    assert [c.call("INCR", "n"), c.call("INCRBY", "n", 41), c.call("DECR", "n"), c.call("DECRBY", "n", 100)] == [1, 42, 41, -59]
    assert c.call("OBJECT", "ENCODING", "n") == b"int"


@pytest.mark.parametrize("value,command,error", [
    (MAX, ("INCR",), "ERR increment or decrement would overflow"), (MIN, ("DECR",), "ERR increment or decrement would overflow"),
    (MAX - 5, ("INCRBY", 6), "ERR increment or decrement would overflow"), (MIN + 5, ("DECRBY", 6), "ERR increment or decrement would overflow"),
    (0, ("DECRBY", MIN), "ERR decrement would overflow"), ("x", ("INCR",), NOT_INT), ("1.0", ("INCR",), NOT_INT), (" 1", ("INCR",), NOT_INT),
    ("", ("INCR",), NOT_INT), ("01", ("INCR",), NOT_INT), (MAX + 1, ("INCR",), NOT_INT), ("1", ("INCRBY", "x"), NOT_INT)])
def test_counter_errors_leave_the_value(c, value, command, error):
    c.call("SET", "n", value)
    assert error_of(c, command[0], "n", *command[1:]) == error
    assert c.call("GET", "n") == str(value).encode()


def test_counters_at_the_edges(c):
    c.call("SET", "n", MAX - 1)
    assert c.call("INCR", "n") == MAX
    c.call("SET", "n", MIN + 1)
    assert c.call("DECR", "n") == MIN
    assert c.call("INCRBY", "n", MAX) == -1


def test_counters_keep_the_deadline(c):
    c.call("SET", "n", 1, "EXAT", 4_000_000_000)
    c.call("INCR", "n")
    c.call("INCRBYFLOAT", "n", "0.5")
    c.call("APPEND", "n", "1")
    c.call("SETRANGE", "n", 0, "2")
    assert c.call("EXPIRETIME", "n") == 4_000_000_000


@pytest.mark.parametrize("start,by,result", [("10.5", "0.1", "10.6"), ("5.0e3", "2.0e2", "5200"), ("0", "-1.5", "-1.5"), ("3", "0", "3"),
                                             ("1e17", "1", "100000000000000001"), ("0.1", "0.2", "0.3"), (str(MAX), "1", "9223372036854775808")])
def test_incrbyfloat(c, start, by, result):
    c.call("SET", "f", start)
    assert c.call("INCRBYFLOAT", "f", by) == result.encode()
    assert c.call("GET", "f") == result.encode()


def test_incrbyfloat_errors(c):
    c.call("SET", "f", "x")
    assert error_of(c, "INCRBYFLOAT", "f", 1) == NOT_FLOAT
    c.call("SET", "f", "1")
    for bad in ("x", "", " 1", "nan"):
        assert error_of(c, "INCRBYFLOAT", "f", bad) == NOT_FLOAT, bad
    assert error_of(c, "INCRBYFLOAT", "f", "inf") == "ERR increment would produce NaN or Infinity"
    assert c.call("GET", "f") == b"1"


# --- ranges ---

@pytest.mark.parametrize("start,end,result", [(0, 3, "This"), (-3, -1, "ing"), (0, -1, "This is a string"), (10, 100, "string"), (5, 2, ""), (-100, 100, "This is a string"),
                                              (-1, -5, ""), (0, 0, "T"), (16, 20, ""), (MIN, MAX, "This is a string"), (-100, -100, "T")])
def test_getrange(c, start, end, result):
    c.call("SET", "k", "This is a string")
    assert c.call("GETRANGE", "k", start, end) == result.encode()
    assert c.call("SUBSTR", "k", start, end) == result.encode()


def test_getrange_of_a_number_and_of_nothing(c):
    c.call("SET", "n", 123456)
    assert c.call("GETRANGE", "n", 1, 3) == b"234" and c.call("GETRANGE", "absent", 0, -1) == b""
    assert error_of(c, "GETRANGE", "n", "x", 1) == NOT_INT


def test_setrange(c):
    assert c.call("SETRANGE", "k", 5, "ab") == 7 and c.call("GET", "k") == b"\0\0\0\0\0ab"
    assert c.call("SETRANGE", "k", 1, "xy") == 7 and c.call("GET", "k") == b"\0xy\0\0ab"
    assert c.call("SETRANGE", "none", 10, "") == 0 and c.call("EXISTS", "none") == 0
    assert error_of(c, "SETRANGE", "k", -1, "a") == "ERR offset is out of range"
    assert error_of(c, "SETRANGE", "k", 512 * 1024 * 1024, "a") == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    assert error_of(c, "SETRANGE", "k", MAX, "a") == "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    c.call("SET", "n", 12345)
    assert c.call("SETRANGE", "n", 1, "x") == 5 and c.call("GET", "n") == b"1x345"


def test_append_and_strlen(c):
    assert c.call("APPEND", "k", "ab") == 2 and c.call("APPEND", "k", "") == 2 and c.call("APPEND", "k", "c") == 3
    c.call("SET", "n", 12)
    assert c.call("APPEND", "n", "3") == 3 and c.call("GET", "n") == b"123"
    assert [c.call("STRLEN", k) for k in ("k", "n", "absent")] == [3, 3, 0]
    for i in range(200):
        c.call("APPEND", "long", b"%03d" % i)
    assert c.call("GET", "long") == b"".join(b"%03d" % i for i in range(200))


# --- many keys ---

def test_mget_mset_msetnx(c):
    assert c.call("MSET", "a", 1, "b", 2, "a", 3) == b"OK"
    assert c.call("MGET", "a", "b", "absent", "a") == [b"3", b"2", None, b"3"]
    assert c.call("MSETNX", "c", 1, "a", 9) == 0 and c.call("EXISTS", "c") == 0
    assert c.call("MSETNX", "c", 1, "d", 2) == 1
    assert error_of(c, "MSET", "a") == "ERR wrong number of arguments for 'mset' command"
    assert error_of(c, "MSET", "a", "1", "b") == "ERR wrong number of arguments for 'mset' command"
    assert error_of(c, "MSETNX", "a", "1", "b") == "ERR wrong number of arguments for 'msetnx' command"
    c.call("SET", "t", "v", "EX", 100)
    c.call("MSET", "t", "w")
    assert c.call("TTL", "t") == -1


def test_lcs(c):
    c.call("MSET", "a", "ohmytext", "b", "mynewtext")
    assert c.call("LCS", "a", "b") == b"mytext" and c.call("LCS", "a", "b", "LEN") == 6
    assert c.call("LCS", "a", "b", "IDX") == [b"matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], b"len", 6]
    assert c.call("LCS", "a", "b", "IDX", "MINMATCHLEN", 4, "WITHMATCHLEN") == [b"matches", [[[4, 7], [5, 8], 4]], b"len", 6]
    assert c.call("LCS", "a", "absent") == b""
    assert error_of(c, "LCS", "a", "b", "IDX", "LEN") == "ERR If you want both the length and indexes, please just use IDX."
    assert error_of(c, "LCS", "a", "b", "FOO") == SYNTAX


@pytest.mark.parametrize("value,encoding", [("1", "int"), (MAX, "int"), (MIN, "int"), (MAX + 1, "embstr"), ("01", "embstr"), ("x" * 44, "embstr"), ("x" * 45, "raw"),
                                            ("", "embstr"), ("-0", "embstr")])
def test_encodings(c, value, encoding):
    c.call("SET", "k", value)
    assert c.call("OBJECT", "ENCODING", "k") == encoding.encode()


def test_encoding_after_append_is_raw(c):
    c.call("SET", "k", "ab")
    c.call("APPEND", "k", "c")
    assert c.call("OBJECT", "ENCODING", "k") == b"raw"


def test_binary_keys_and_values(c):
    key, value = bytes(range(256)), bytes(reversed(range(256))) * 10
    c.call("SET", key, value)
    assert c.call("GET", key) == value and c.call("KEYS", "*") == [key]
    c.call("SET", "", "empty")
    assert c.call("GET", "") == b"empty"


# --- newer than Redis 7.0 ---

@pytest.mark.holdfast
def test_set_if_equal(c):
    assert c.call("SET", "k", "b", "IFEQ", "a") is None and c.call("EXISTS", "k") == 0
    c.call("SET", "k", "a")
    assert c.call("SET", "k", "b", "IFEQ", "x") is None and c.call("GET", "k") == b"a"
    assert c.call("SET", "k", "b", "IFEQ", "a") == b"OK" and c.call("GET", "k") == b"b"
    assert c.call("SET", "k", "c", "IFEQ", "x", "GET") == b"b" and c.call("GET", "k") == b"b"
    assert c.call("SET", "k", "c", "IFEQ", "b", "GET") == b"b" and c.call("GET", "k") == b"c"
    c.call("SET", "n", 12)
    assert c.call("SET", "n", 13, "IFEQ", "12", "EX", 100) == b"OK" and c.call("TTL", "n") > 90


@pytest.mark.holdfast
def test_set_if_not_equal(c):
    assert c.call("SET", "k", "a", "IFNE", "x") == b"OK"
    assert c.call("SET", "k", "b", "IFNE", "a") is None and c.call("GET", "k") == b"a"
    assert c.call("SET", "k", "b", "IFNE", "x") == b"OK" and c.call("GET", "k") == b"b"


@pytest.mark.holdfast
def test_digest_and_the_conditions_on_it(c):
    c.call("SET", "k", "")
    assert c.call("DIGEST", "k") == b"2d06800538d394c2"  # XXH3-64 of nothing
    assert c.call("DIGEST", "absent") is None
    c.call("SET", "k", "Hello world")
    d = c.call("DIGEST", "k")
    assert len(d) == 16 and d == d.lower()
    assert c.call("SET", "k", "x", "IFDEQ", "0" * 16) is None
    assert c.call("SET", "k", "x", "IFDNE", d) is None
    assert c.call("SET", "k", "x", "IFDEQ", d) == b"OK" and c.call("GET", "k") == b"x"
    assert c.call("SET", "k", "y", "IFDNE", d) == b"OK"
    assert c.call("SET", "absent", "y", "IFDEQ", d) is None
    assert c.call("SET", "absent", "y", "IFDNE", d) == b"OK"
    c.call("SET", "n", 42)
    number = c.call("DIGEST", "n")
    c.call("SET", "n", "4")
    c.call("APPEND", "n", "2")
    assert c.call("DIGEST", "n") == number, "the digest is of the value, however it is stored"


@pytest.mark.holdfast
@pytest.mark.parametrize("options", [("NX", "IFEQ", "a"), ("IFEQ",), ("IFEQ", "a", "IFNE", "b"), ("XX", "IFDEQ", "0" * 16)])
def test_set_conditions_exclude_each_other(c, options):
    assert error_of(c, "SET", "k", "v", *options) == SYNTAX


@pytest.mark.holdfast
def test_delifeq_and_delex(c):
    c.call("SET", "k", "a")
    assert [c.call("DELIFEQ", "k", "b"), c.call("DELIFEQ", "k", "a"), c.call("DELIFEQ", "k", "a")] == [0, 1, 0]
    c.call("SET", "k", "a")
    assert c.call("DELEX", "k", "IFEQ", "b") == 0 and c.call("DELEX", "k", "IFNE", "a") == 0
    assert c.call("DELEX", "k", "IFDNE", c.call("DIGEST", "k")) == 0
    assert c.call("DELEX", "k", "IFDEQ", c.call("DIGEST", "k")) == 1 and c.call("EXISTS", "k") == 0
    c.call("SET", "k", "a")
    assert [c.call("DELEX", "k"), c.call("DELEX", "k")] == [1, 0]
    assert isinstance(c.try_call("DELEX", "k", "FOO", "a"), ReplyError)


@pytest.mark.holdfast
def test_msetex(c):
    assert c.call("MSETEX", 2, "a", 1, "b", 2, "EX", 100) == 1
    assert c.call("MGET", "a", "b") == [b"1", b"2"] and c.call("TTL", "b") > 90
    assert c.call("MSETEX", 2, "a", 9, "c", 9, "NX") == 0 and c.call("MGET", "a", "c") == [b"1", None]
    assert c.call("MSETEX", 2, "a", 9, "c", 9, "XX") == 0 and c.call("GET", "a") == b"1"
    assert c.call("MSETEX", 2, "a", 3, "b", 4, "XX", "KEEPTTL") == 1 and c.call("TTL", "a") > 90 and c.call("GET", "b") == b"4"
    assert c.call("MSETEX", 1, "a", 3, "PXAT", 4_000_000_000_000) == 1 and c.call("PEXPIRETIME", "a") == 4_000_000_000_000
    assert c.call("MSETEX", 1, "a", 3) == 1 and c.call("TTL", "a") == -1
    for bad in ((0, "a", 1), (2, "a", 1), ("x", "a", 1), (-1, "a", 1), (1, "a", 1, "EX", 0), (1, "a", 1, "FOO"), (1, "a", 1, "NX", "XX"), (MAX, "a", "1")):
        assert isinstance(c.try_call("MSETEX", *bad), ReplyError), bad
    assert c.call("COMMAND", "GETKEYS", "MSETEX", 2, "a", 1, "b", 2, "EX", 5) == [b"a", b"b"]


def test_a_deadline_ends_a_key_at_its_millisecond(c):
    c.call("SET", "k", "v", "PX", 120)
    assert c.call("GET", "k") == b"v"
    time.sleep(0.13)
    assert c.call("GET", "k") is None and c.call("EXISTS", "k") == 0 and c.call("DBSIZE") == 0
