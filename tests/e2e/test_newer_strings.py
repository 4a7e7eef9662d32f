"""String commands that Redis 7.0 does not have, and strings too large to copy. What 7.0 has is compared in tests/differential."""

import itertools
import time

import pytest

from harness import wait_until
from harness.resp import ReplyError, encode

pytestmark = pytest.mark.holdfast

BIG = bytes(range(256)) * 12000


def refused(c, text, *request):
    reply = c.try_call(*request)
    assert isinstance(reply, ReplyError) and text in str(reply), reply


# --- SET with comparisons ---


def test_set_ifeq_needs_the_key_and_its_value(c):
    assert c.call("SET", "k", "1", "IFEQ", "") is None
    assert c.call("EXISTS", "k") == 0
    c.call("SET", "k", "old")
    assert c.call("SET", "k", "new", "IFEQ", "other") is None
    assert c.call("GET", "k") == b"old"
    assert c.call("SET", "k", "new", "ifeq", "old", "EX", "100") == b"OK"
    assert c.call("GET", "k") == b"new"
    assert c.call("TTL", "k") == 100


def test_set_ifne_writes_a_missing_key(c):
    assert c.call("SET", "k", "1", "IFNE", "1") == b"OK"
    assert c.call("SET", "k", "2", "IFNE", "1") is None
    assert c.call("SET", "k", "2", "IFNE", "0") == b"OK"
    assert c.call("GET", "k") == b"2"


def test_set_with_get_answers_the_old_value_whether_written_or_not(c):
    assert c.call("SET", "k", "1", "IFNE", "x", "GET") is None
    assert c.call("SET", "k", "2", "IFEQ", "x", "GET") == b"1"
    assert c.call("SET", "k", "2", "IFEQ", "1", "GET") == b"1"
    assert c.call("GET", "k") == b"2"


def test_set_compares_digests_of_any_case(c):
    c.call("SET", "k", "1234567")
    digest = c.call("DIGEST", "k")
    assert len(digest) == 16 and digest == digest.lower()
    assert c.call("SET", "k", "next", "IFDNE", digest) is None
    assert c.call("SET", "k", "next", "IFDEQ", digest.upper()) == b"OK"
    assert c.call("SET", "k", "more", "IFDEQ", digest) is None
    assert c.call("SET", "k", "more", "IFDNE", digest) == b"OK"
    assert c.call("SET", "absent", "1", "IFDEQ", digest) is None
    assert c.call("SET", "absent", "1", "IFDNE", digest) == b"OK"
    for bad in ("", "0" * 15, "0" * 17, "g" * 16):
        refused(c, "must be exactly 16 hexadecimal characters", "SET", "k", "v", "IFDEQ", bad)


def test_digest_is_xxh3_of_the_bytes(c):
    # Published XXH3-64 values (seed 0): the empty string and what `xxhsum -H3` says of "abc".
    c.call("SET", "k", "")
    assert c.call("DIGEST", "k") == b"2d06800538d394c2"
    c.call("SET", "k", "abc")
    assert c.call("DIGEST", "k") == b"78af5f94892f3950"
    assert c.call("DIGEST", "absent") is None


@pytest.mark.parametrize("words", list(itertools.permutations(["NX", "XX", "IFEQ v", "IFNE v", "IFDEQ 0123456789abcdef"], 2)))
def test_conditions_exclude_each_other(c, words):
    refused(c, "syntax error", "SET", "k", "v", *" ".join(words).split())


# --- DELEX, DELIFEQ ---


def test_delifeq_deletes_only_an_equal_value(c):
    c.call("SET", "k", "1")
    assert c.call("DELIFEQ", "k", "2") == 0
    assert c.call("DELIFEQ", "k", "1") == 1
    assert c.call("DELIFEQ", "k", "1") == 0


def test_delex_with_and_without_condition(c):
    c.call("MSET", "a", "1", "b", "1", "c", "1", "d", "1")
    digest = c.call("DIGEST", "a")
    assert c.call("DELEX", "a", "IFNE", "1") == 0
    assert c.call("DELEX", "a", "IFEQ", "1") == 1
    assert c.call("DELEX", "b", "IFDNE", digest) == 0
    assert c.call("DELEX", "b", "IFDEQ", digest) == 1
    assert c.call("DELEX", "c", "IFNE", "2") == 1
    assert c.call("DELEX", "d") == 1
    assert c.call("DELEX", "d") == 0
    assert c.call("DELEX", "d", "IFNE", "2") == 0
    refused(c, "wrong number of arguments", "DELEX", "d", "IFEQ")
    refused(c, "syntax error", "DELEX", "d", "NX", "1")


# --- MSETEX ---


def test_msetex_sets_all_with_one_deadline(c):
    assert c.call("MSETEX", 2, "a", 1, "b", 2, "EX", 100) == 1
    assert c.call("MGET", "a", "b") == [b"1", b"2"]
    assert [c.call("TTL", k) for k in "ab"] == [100, 100]
    assert c.call("MSETEX", 2, "a", 3, "c", 3, "KEEPTTL") == 1
    assert [c.call("TTL", k) for k in "ac"] == [100, -1]
    assert c.call("MSETEX", 1, "a", 4) == 1
    assert c.call("TTL", "a") == -1


def test_msetex_conditions_are_about_all_keys(c):
    c.call("SET", "a", 1)
    assert c.call("MSETEX", 2, "a", 2, "b", 2, "NX") == 0
    assert c.call("MSETEX", 2, "a", 2, "b", 2, "XX") == 0
    assert c.call("MGET", "a", "b") == [b"1", None]
    assert c.call("MSETEX", 2, "b", 2, "c", 2, "NX", "PX", 100000) == 1
    assert c.call("MSETEX", 2, "a", 3, "b", 3, "XX") == 1
    assert c.call("MGET", "a", "b", "c") == [b"3", b"3", b"2"]


def test_msetex_checks_its_arguments(c):
    refused(c, "invalid numkeys value", "MSETEX", 0, "a", 1)
    refused(c, "invalid numkeys value", "MSETEX", "x", "a", 1)
    refused(c, "invalid numkeys value", "MSETEX", 1 << 31, "a", 1)
    refused(c, "wrong number of key-value pairs", "MSETEX", 2, "a", 1)
    refused(c, "wrong number of key-value pairs", "MSETEX", 2, "a", 1, "b")
    refused(c, "syntax error", "MSETEX", 1, "a", 1, "b")
    refused(c, "syntax error", "MSETEX", 1, "a", 1, "EX")
    refused(c, "syntax error", "MSETEX", 1, "a", 1, "EX", 1, "KEEPTTL")
    refused(c, "invalid expire time in 'msetex' command", "MSETEX", 1, "a", 1, "EX", 0)
    assert c.call("EXISTS", "a") == 0


# --- BITOP ---


def test_bitop_difference_family(c):
    c.call("SET", "x", b"\xf0\xff")
    c.call("SET", "y", b"\xcc")
    c.call("SET", "z", b"\xaa\x01")
    expected = {"DIFF": b"\x10\xfe", "DIFF1": b"\x0e\x00", "ANDOR": b"\xe0\x01", "ONE": b"\x16\xfe"}
    for op, value in expected.items():
        assert c.call("BITOP", op, "dest", "x", "y", "z") == 2
        assert c.call("GET", "dest") == value, op
    for op in ("DIFF", "DIFF1", "ANDOR"):
        refused(c, f"BITOP {op} must be called with at least two source keys", "BITOP", op, "dest", "x")
    assert c.call("BITOP", "ONE", "dest", "x") == 2
    assert c.call("GET", "dest") == b"\xf0\xff"


# --- large values ---


def test_large_values_are_unchanged_on_the_way(c):
    assert c.call("SET", "k", BIG) == b"OK"
    assert c.call("GET", "k") == BIG
    assert c.call("GETRANGE", "k", 1000, -1000) == BIG[1000:-999]
    assert c.call("MSETEX", 2, "m1", BIG, "m2", BIG, "EX", 100) == 1
    assert c.call("MGET", "m1", "no", "m2") == [BIG, None, BIG]


def test_a_reply_on_its_way_does_not_see_later_changes(c):
    c.call("SET", "k", BIG)
    replies = c.pipeline([("GET", "k"), ("SETRANGE", "k", 0, "changed"), ("GET", "k"), ("GETRANGE", "k", 0, 100000),
                          ("APPEND", "k", "more"), ("DEL", "k"), ("EXISTS", "k")])
    changed = b"changed" + BIG[7:]
    assert replies == [BIG, len(BIG), changed, changed[:100001], len(BIG) + 4, 1, 0]


def test_a_copy_of_a_large_value_is_independent(c):
    c.call("SET", "k", BIG)
    assert c.call("COPY", "k", "copy") == 1
    assert c.call("APPEND", "k", "tail") == len(BIG) + 4
    assert c.call("SETBIT", "copy", 7, 1) == 0
    assert c.call("GET", "k") == BIG + b"tail"
    assert c.call("GET", "copy") == b"\x01" + BIG[1:]


def test_bitop_over_a_large_destination(shared_node, c):
    """Its old bytes are overwritten where they are; nothing of them may be seen, and nobody who reads them may be disturbed."""
    n = len(BIG)
    other = bytes(255 - b for b in BIG)
    c.call("SET", "a", BIG)
    c.call("SET", "b", other)
    conjunction = bytes(n)
    for _ in range(3):
        assert c.call("BITOP", "NOT", "d", "a") == n and c.call("GET", "d") == other
        assert c.call("BITOP", "AND", "d", "a", "b") == n and c.call("GET", "d") == conjunction
    assert c.call("BITOP", "OR", "d", "d", "a") == n and c.call("GET", "d") == BIG  # it is a source as well
    c.call("COPY", "d", "kept")
    c.call("BITOP", "NOT", "d", "a")
    assert c.call("GET", "kept") == BIG and c.call("GET", "d") == other
    c.call("SET", "short", BIG[:n - 70_000])
    assert c.call("BITOP", "OR", "d", "short") == n - 70_000 and c.call("GET", "d") == BIG[:n - 70_000]
    assert c.call("BITOP", "OR", "d", "a") == n and c.call("GET", "d") == BIG
    c.call("SET", "half", BIG[:n // 3])
    assert c.call("BITOP", "OR", "d", "half") == n // 3 and c.call("GET", "d") == BIG[:n // 3]
    c.call("PEXPIRE", "d", 100_000)
    assert c.call("BITOP", "OR", "d", "half") == n // 3 and c.call("TTL", "d") == -1
    with shared_node.client() as reader:
        c.call("BITOP", "NOT", "d", "a")
        reader.sock.sendall(encode("GET", "d"))
        wait_until(lambda: int(c.info("stats")["total_net_output_bytes"]) > n, what="the reply being written")
        for _ in range(4):
            c.call("BITOP", "AND", "d", "a", "b")
        assert reader.read() in (other, conjunction)
    c.call("PEXPIRE", "d", 1)
    time.sleep(0.01)
    assert c.call("BITOP", "NOT", "d", "b") == n and c.call("GET", "d") == BIG and c.call("TTL", "d") == -1
