"""MULTI, EXEC, DISCARD, WATCH."""

import time

from harness import ReplyError, encode


def test_exec_runs_what_was_queued(c, c2):
    assert c.call("MULTI") == b"OK" and c.call("SET", "a", 1) == b"QUEUED" and c.call("INCR", "a") == b"QUEUED"
    assert c2.call("GET", "a") is None
    assert c.call("EXEC") == [b"OK", 2]


def test_discard(c):
    c.call("MULTI")
    c.call("SET", "a", 1)
    assert c.call("DISCARD") == b"OK" and c.call("EXISTS", "a") == 0


def test_errors_outside_and_nested(c):
    assert str(c.try_call("EXEC")) == "ERR EXEC without MULTI" and str(c.try_call("DISCARD")) == "ERR DISCARD without MULTI"
    c.call("MULTI")
    assert str(c.try_call("MULTI")) == "ERR MULTI calls can not be nested"
    assert str(c.try_call("WATCH", "k")) == "ERR WATCH inside MULTI is not allowed"
    assert isinstance(c.try_call("EXEC"), (list, ReplyError))


def test_an_error_while_queueing_aborts(c):
    for bad in (("FOO",), ("GET",), ("CONFIG", "FOO")):
        c.call("MULTI")
        c.call("SET", "a", 1)
        assert isinstance(c.try_call(*bad), ReplyError)
        assert str(c.try_call("EXEC")) == "EXECABORT Transaction discarded because of previous errors."
        assert c.call("EXISTS", "a") == 0


def test_an_error_while_running_does_not(c):
    c.call("SET", "s", "text")
    c.call("MULTI")
    c.call("INCR", "s")
    c.call("SET", "a", 1)
    r = c.call("EXEC")
    assert isinstance(r[0], ReplyError) and r[1] == b"OK" and c.call("GET", "a") == b"1"


def test_watch_sees_changes_by_others(c, c2):
    c.call("WATCH", "k")
    c2.call("SET", "k", 1)
    c.call("MULTI")
    c.call("SET", "k", 2)
    assert c.call("EXEC") is None and c.call("GET", "k") == b"1"


def test_watch_sees_its_own_changes_before_multi(c):
    c.call("WATCH", "k")
    c.call("SET", "k", 1)
    c.call("MULTI")
    assert c.call("EXEC") is None


def test_watch_is_untouched_by_reads_and_failed_writes(c, c2):
    c.call("SET", "k", 1)
    c.call("WATCH", "k")
    c2.call("GET", "k")
    c2.call("SET", "k", 5, "NX")
    c2.call("SETNX", "k", 5)
    c2.call("DEL", "other")
    c.call("MULTI")
    assert c.call("EXEC") == []


def test_watch_of_a_key_that_appears_or_vanishes(c, c2):
    for setup, change in (((), ("SET", "k", 1)), (("SET", "k", 1), ("DEL", "k")), (("SET", "k", 1), ("RENAME", "k", "l")), (("SET", "k", 1), ("FLUSHALL",)),
                          (("SET", "k", 1), ("FLUSHDB",)), (("SET", "k", 1), ("SWAPDB", 0, 1)), (("SET", "k", 1), ("MOVE", "k", 3)), (("SET", "k", 1), ("EXPIRE", "k", 100)),
                          (("SET", "l", 1), ("RENAME", "l", "k")), (("SET", "l", 1), ("COPY", "l", "k"))):
        c.call("FLUSHALL")
        if setup:
            c.call(*setup)
        c.call("WATCH", "k")
        c2.call(*change)
        c.call("MULTI")
        assert c.call("EXEC") is None, (setup, change)


def test_a_flush_does_not_touch_the_watch_of_an_absent_key(c, c2):
    c.call("WATCH", "absent")
    c2.call("FLUSHALL")
    c.call("MULTI")
    assert c.call("EXEC") == []


def test_unwatch_discard_and_exec_end_the_watch(c, c2):
    for end in ("UNWATCH", "DISCARD", "EXEC"):
        c.call("WATCH", "k")
        if end == "UNWATCH":
            assert c.call("UNWATCH") == b"OK"
        else:
            c.call("MULTI")
            c.call(end)
        c2.call("INCR", "k")
        c.call("MULTI")
        assert c.call("EXEC") == [], end


def test_watch_is_about_one_database(c, c2):
    c.call("WATCH", "k")
    c2.call("SELECT", 1)
    c2.call("SET", "k", 1)
    c.call("MULTI")
    assert c.call("EXEC") == []


def test_expiry_of_a_watched_key_counts_as_a_change(c, c2):
    c.call("SET", "k", "v", "PX", 60)
    c.call("WATCH", "k")
    time.sleep(0.1)
    c2.call("GET", "k")
    c.call("MULTI")
    assert c.call("EXEC") is None


def test_a_key_that_was_due_at_watch_does_not_fail_by_being_removed(c, c2):
    c.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    try:
        c.call("SET", "k", "v", "PX", 1)
        time.sleep(0.02)
        c.call("WATCH", "k")
        c2.call("GET", "k")
        c.call("MULTI")
        assert c.call("EXEC") == []
    finally:
        c.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def test_a_transaction_in_one_packet(c):
    c.send_bytes(encode("MULTI") + encode("SET", "k", "v") + encode("SELECT", 1) + encode("SET", "k", "w") + encode("EXEC") + encode("GET", "k"))
    assert [c.read() for _ in range(6)] == [b"OK", b"QUEUED", b"QUEUED", b"QUEUED", [b"OK", b"OK", b"OK"], b"w"]


def test_a_large_transaction(c):
    n = 10_000
    c.send_bytes(encode("MULTI") + b"".join(encode("INCR", "n") for _ in range(n)) + encode("EXEC"))
    assert c.read() == b"OK" and all(c.read() == b"QUEUED" for _ in range(n)) and c.read() == list(range(1, n + 1))


