"""The fault library itself does what the other suites rely on."""

import errno
import time

import pytest

from harness import Node, ReplyError, wait_until
from harness.faults import ANY, BEFORE, CHANGES, EVERYONE, FSYNC, Faults, MAIN, MIDDLE, OPEN, RENAME, WRITE


@pytest.fixture
def faulty(make_node):
    faults = Faults()
    node = make_node({"appendonly": "yes", "appendfsync": "always"}, faults=faults)
    with node.client() as c:
        yield node, faults, c


def test_traces_the_calls_of_a_group_commit(faulty):
    node, faults, c = faulty
    at = faults.trace_position()
    c.call("SET", "k", "v")
    calls = [(k, name) for k, name, *_ in faults.trace(at) if "incr.aof" in name]
    assert [k for k, _ in calls][:1] == ["write"] and "fsync" in [k for k, _ in calls]


def test_delays_fsync(faulty):
    node, faults, c = faulty
    with faults.rule(FSYNC, delay_us=200_000):
        t = time.monotonic()
        c.call("SET", "k", "v")
        assert time.monotonic() - t >= 0.19
        assert faults.hits(0) >= 1
    t = time.monotonic()
    c.call("SET", "k", "v")
    assert time.monotonic() - t < 0.19


def test_counts_and_kills_before_the_nth_call(faulty):
    node, faults, c = faulty
    faults.kill_at(3, kinds=WRITE, path="incr", who=MAIN, when=BEFORE)
    c.call("SET", "k", "1")
    c.call("SET", "k", "2")
    with pytest.raises(ConnectionError):
        c.call("SET", "k", "3")
    assert node.wait_exit() == -9 and faults.killed
    faults.clear()
    node.start()
    with node.client() as c:
        assert c.call("GET", "k") == b"2"


def test_kills_in_the_middle_of_a_write(faulty):
    node, faults, c = faulty
    c.call("SET", "k", "1")
    size = sum(p.stat().st_size for p in aof_files(node))
    faults.kill_at(1, kinds=WRITE, path="incr", when=MIDDLE)
    with pytest.raises(ConnectionError):
        c.call("SET", "k", "2" * 1000)
    node.wait_exit()
    grown = sum(p.stat().st_size for p in aof_files(node)) - size
    assert 0 < grown < 1000
    faults.clear()
    node.start()
    with node.client() as c:
        assert c.call("GET", "k") == b"1"


def aof_files(node):
    import pathlib
    return list(pathlib.Path(node.path("appendonlydir")).glob("*.incr.aof"))


def test_follows_a_forked_child_and_kills_both(faulty):
    node, faults, c = faulty
    faults.kill_at(1, kinds=WRITE, path="temp", who=EVERYONE)
    c.call("SET", "k", "1")
    try:
        c.call("BGSAVE")
    except (ConnectionError, ReplyError):
        pass
    assert node.wait_exit() == -9


def test_fails_a_class_of_calls_until_cleared(faulty):
    node, faults, c = faulty
    c.call("SET", "k", "1")
    with faults.rule(OPEN, error=errno.ENOSPC, path="temp"):
        with pytest.raises(ReplyError):
            c.call("SAVE")
    with faults.rule(RENAME, error=errno.EIO, path="dump.rdb"):
        with pytest.raises(ReplyError):
            c.call("SAVE")
    assert c.call("SAVE") == b"OK"


def test_leaves_other_directories_and_sockets_alone(faulty, tmp_path):
    node, faults, c = faulty
    with faults.rule(CHANGES, error=errno.EIO, path=str(tmp_path)):
        assert c.call("PING") == b"PONG"
        c.call("CONFIG", "SET", "appendonly", "no")
    faults.count(who=ANY)
    for _ in range(100):
        c.call("PING")
    assert faults.counter == 0
