"""The AOF: policies, the multi-part directory, rewriting, switching on and off under load, WAITAOF."""

import glob
import os
import re
import shutil
import threading
import time

import pytest

from harness import Node, ReplyError, encode, is_holdfast, wait_until
from harness.faults import FSYNC, Faults, WRITE


def rewrite_over(c):
    p = c.info("persistence")
    return p["aof_rewrite_in_progress"] == "0" and p["aof_rewrite_scheduled"] == "0"


def files(node):
    return sorted(os.path.basename(p) for p in glob.glob(node.path("appendonlydir", "*")))


def manifest(node):
    return open(node.path("appendonlydir", "appendonly.aof.manifest")).read().splitlines()


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_what_was_written_is_there_after_kill(make_node, policy):
    node = make_node({"appendonly": "yes", "appendfsync": policy})
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", i) for i in range(2000)])
        c.call("SELECT", 5)
        c.call("MSET", "a", 1, "b", 2)
        c.call("MULTI")
        c.call("INCR", "a")
        c.call("DEL", "b")
        c.call("EXEC")
        c.call("SELECT", 0)
        c.call("EXPIRE", "k1", 1000)
        digest = c.call("DEBUG", "DIGEST")
    if not is_holdfast():
        time.sleep(2.2)  # Redis may answer before it writes
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest and 990 < c.call("TTL", "k1") <= 1000


def test_the_directory_has_the_layout_of_redis_7(make_node):
    node = make_node({"appendonly": "yes"})
    with node.client() as c:
        c.call("SET", "k", "v")
        assert files(node) == ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"]
        assert manifest(node) == ["file appendonly.aof.1.base.rdb seq 1 type b", "file appendonly.aof.1.incr.aof seq 1 type i"]
        c.call("BGREWRITEAOF")
        wait_until(lambda: rewrite_over(c) and len(files(node)) == 3)
        assert manifest(node) == ["file appendonly.aof.2.base.rdb seq 2 type b", "file appendonly.aof.2.incr.aof seq 2 type i"]
        c.call("CONFIG", "SET", "aof-use-rdb-preamble", "no")
        c.call("BGREWRITEAOF")
        wait_until(lambda: rewrite_over(c) and len(files(node)) == 3)
        assert manifest(node)[0] == "file appendonly.aof.3.base.aof seq 3 type b"
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("GET", "k") == b"v"


def test_names_of_directory_and_files(make_node):
    node = make_node({"appendonly": "yes", "appenddirname": '"my dir"', "appendfilename": '"my file"'})
    with node.client() as c:
        c.call("SET", "k", "v")
    assert os.path.exists(node.path("my dir", "my file.manifest"))
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("GET", "k") == b"v"


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_a_rewrite_under_load_loses_nothing_and_shrinks(make_node, preamble):
    node = make_node({"appendonly": "yes", "appendfsync": "everysec", "aof-use-rdb-preamble": preamble, "rdb-key-save-delay": "50"})
    with node.client() as c:
        c.pipeline([("INCR", f"n{i % 100}") for i in range(20_000)])
        before = int(c.info("persistence")["aof_current_size"])
        c.call("BGREWRITEAOF")
        n = 0
        while not rewrite_over(c):
            c.pipeline([("INCR", f"n{i}") for i in range(100)])
            n += 1
        c.pipeline([("INCR", f"n{i}") for i in range(100)])
        p = c.info("persistence")
        assert p["aof_last_bgrewrite_status"] == "ok" and int(p["aof_rewrites"]) >= 1
        size = int(p["aof_current_size"])
        c.call("BGREWRITEAOF")
        wait_until(lambda: rewrite_over(c))
        assert int(c.info("persistence")["aof_current_size"]) < min(before, size)
        digest = c.call("DEBUG", "DIGEST")
        assert c.call("GET", "n5") == b"%d" % (200 + n + 1)
    if not is_holdfast():
        time.sleep(2.2)
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest


def test_automatic_rewrite(make_node):
    node = make_node({"appendonly": "yes", "auto-aof-rewrite-percentage": "100", "auto-aof-rewrite-min-size": "64kb"})
    with node.client() as c:
        end = time.monotonic() + 20
        while int(c.info("persistence")["aof_rewrites"]) < 1:
            c.pipeline([("SET", "k", "x" * 100)] * 1000)
            assert time.monotonic() < end
        wait_until(lambda: rewrite_over(c))
        assert int(c.info("persistence")["aof_current_size"]) < 10_000_000


class Writer(threading.Thread):
    """Counts as fast as it can; `acked` is what was answered."""

    def __init__(self, node):
        super().__init__()
        self.client, self.acked, self.ending, self.problem = node.client(), 0, False, None
        self.start()

    def run(self):
        try:
            while not self.ending:
                self.acked = self.client.call("INCR", "counter")
        except Exception as e:
            self.problem = e

    def end(self):
        self.ending = True
        self.join()
        self.client.close()
        assert self.problem is None, self.problem
        return self.acked


def test_on_and_off_under_load_loses_nothing(make_node):
    node = make_node({"appendonly": "no"})
    with node.client() as c:
        w = Writer(node)
        for _ in range(3):
            assert c.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
            wait_until(lambda: rewrite_over(c) and c.info("persistence")["aof_enabled"] == "1")
            time.sleep(0.05)
            assert c.call("CONFIG", "SET", "appendonly", "no") == b"OK"
        c.call("CONFIG", "SET", "appendonly", "yes", "appendfsync", "always")
        wait_until(lambda: rewrite_over(c))
        acked = w.end()
    node.reconfigure(appendonly="yes")
    node.restart(kill=True)
    with node.client() as c:
        assert int(c.call("GET", "counter")) >= acked > 0


def test_turned_on_it_holds_what_was_there_before(make_node):
    node = make_node({"appendonly": "no"})
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", "v") for i in range(1000)])
        c.call("CONFIG", "SET", "appendonly", "yes")
        wait_until(lambda: rewrite_over(c))
        c.call("SET", "after", "v")
    time.sleep(0 if is_holdfast() else 2.2)
    node.reconfigure(appendonly="yes")
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DBSIZE") == 1001


def test_the_policy_changes_at_run_time(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "no"}, faults=Faults())
    with node.client() as c:
        c.call("CONFIG", "SET", "appendfsync", "always")
        at = node.faults.trace_position()
        c.call("SET", "k", "v")
        assert any(kind == "fsync" and "incr" in name for kind, name, *_ in node.faults.trace(at))
        c.call("CONFIG", "SET", "appendfsync", "no")
        at = node.faults.trace_position()
        c.pipeline([("SET", f"k{i}", "v") for i in range(100)])
        time.sleep(1.3)
        assert not any(kind == "fsync" and "incr" in name for kind, name, *_ in node.faults.trace(at))


def test_everysec_syncs_every_second_and_not_for_each_write(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "everysec"}, faults=Faults())
    with node.client() as c:
        at = node.faults.trace_position()
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            c.call("SET", "k", "v")
            time.sleep(0.005)
        n = sum(kind == "fsync" and "incr" in name for kind, name, *_ in node.faults.trace(at))
        assert 1 <= n <= 6, n


@pytest.mark.holdfast
def test_always_commits_in_groups(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always"}, faults=Faults())
    with node.faults.rule(FSYNC, delay_us=5000, path="incr"):
        clients = [node.client() for _ in range(20)]
        at = node.faults.trace_position()
        for r in range(5):
            for i, c in enumerate(clients):
                c.send("SET", f"k{i}", r)
            for c in clients:
                assert c.read() == b"OK"
        n = sum(kind == "fsync" and "incr" in name for kind, name, *_ in node.faults.trace(at))
        assert n <= 20, f"{n} fsyncs for 100 writes of 20 clients"


@pytest.mark.holdfast
def test_a_slow_fsync_holds_neither_reads_nor_the_loop(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always"}, faults=Faults())
    with node.client() as w, node.client() as r:
        w.call("SET", "in flight", "0")
        w.call("SET", "other", "x")
        with node.faults.rule(FSYNC, delay_us=700_000, path="incr"):
            w.send("SET", "in flight", "1")
            time.sleep(0.05)
            start = time.monotonic()
            assert r.call("GET", "other") == b"x" and time.monotonic() - start < 0.3, "a read of another key waited for the disk"
            start = time.monotonic()
            assert r.call("GET", "in flight") == b"1"
            assert time.monotonic() - start > 0.2, "a value was shown that could still be lost"
            assert w.read() == b"OK"


@pytest.mark.holdfast
def test_reads_of_the_whole_key_space_wait_for_what_they_saw(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always"}, faults=Faults())
    with node.client() as w, node.client() as r:
        w.call("SET", "a", "0")
        for command in (("DBSIZE",), ("KEYS", "*"), ("SCAN", "0"), ("RANDOMKEY",)):
            with node.faults.rule(FSYNC, delay_us=500_000, path="incr"):
                w.send("SET", f"new {command[0]}", "1")
                time.sleep(0.05)
                start = time.monotonic()
                r.call(*command)
                assert time.monotonic() - start > 0.15, command
                assert w.read() == b"OK"


def test_aof_load_truncated_is_said_in_the_log(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always"})
    with node.client() as c:
        c.call("SET", "k", "v")
    node.kill()
    name = max(glob.glob(node.path("appendonlydir", "*.incr.aof")))
    with open(name, "ab") as f:
        f.write(encode("SET", "torn", "x" * 100)[:-30])
    node.start()
    with node.client() as c:
        assert c.call("GET", "k") == b"v" and c.call("EXISTS", "torn") == 0
    assert re.search(r"(?i)truncat|torn|cut", node.log())


def test_an_unfinished_transaction_at_the_end_is_dropped_whole(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always"})
    with node.client() as c:
        c.call("SET", "k", "v")
    node.kill()
    name = max(glob.glob(node.path("appendonlydir", "*.incr.aof")))
    with open(name, "ab") as f:
        f.write(encode("MULTI") + encode("SET", "a", "1") + encode("SET", "b", "1"))
    node.start()
    with node.client() as c:
        assert c.call("MGET", "k", "a", "b") == [b"v", None, None]


def test_timestamps(make_node):
    node = make_node({"appendonly": "yes", "aof-timestamp-enabled": "yes", "appendfsync": "always"})
    with node.client() as c:
        c.call("SET", "k", "v")
        c.call("SET", "l", "v")
    text = open(max(glob.glob(node.path("appendonlydir", "*.incr.aof"))), "rb").read()
    stamps = [int(x) for x in re.findall(rb"(?m)^#TS:(\d+)\r$", text)]
    assert stamps and abs(stamps[-1] - time.time()) < 5
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("MGET", "k", "l") == [b"v", b"v"]


@pytest.mark.holdfast
def test_annotation_lines_stand_between_groups_and_stay_short(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always"})
    with node.client() as c:
        for i in range(20):
            c.call("MULTI")
            c.call("SET", "a", i)
            c.call("SET", "b", i)
            c.call("EXEC")
    node.stop()
    text = open(max(glob.glob(node.path("appendonlydir", "*.incr.aof"))), "rb").read()
    notes = re.findall(rb"(?m)^#[^\n]*\n", text)
    assert len(notes) >= 20 and all(len(n) < 1024 for n in notes)
    for part in re.split(rb"\$5\r\nMULTI\r\n", text)[1:]:
        assert b"\n#" not in part.split(b"$4\r\nEXEC\r\n")[0]


@pytest.mark.holdfast
def test_waitaof(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "everysec"}, faults=Faults())
    with node.client() as c:
        c.call("SET", "k", "v")
        assert c.call("WAITAOF", 1, 0, 5000) == [1, 0]
        assert c.call("WAITAOF", 0, 0, 0) in ([0, 0], [1, 0])
        with node.faults.rule(FSYNC, delay_us=2_000_000, path="incr"):
            c.call("SET", "k", "w")
            start = time.monotonic()
            assert c.call("WAITAOF", 1, 0, 300) == [0, 0] and 0.25 < time.monotonic() - start < 1.5
        assert isinstance(c.try_call("WAITAOF", 2, 0, 0), ReplyError) and isinstance(c.try_call("WAITAOF", 1, 0, -1), ReplyError)
        c.call("CONFIG", "SET", "appendonly", "no")
        assert isinstance(c.try_call("WAITAOF", 1, 0, 0), ReplyError)


def test_bgrewriteaof_with_the_aof_off_writes_one(make_node):
    node = make_node({"appendonly": "no"})
    with node.client() as c:
        c.call("SET", "k", "v")
        assert c.call("BGREWRITEAOF") == b"Background append only file rewriting started"
        wait_until(lambda: rewrite_over(c))
        assert c.info("persistence")["aof_last_bgrewrite_status"] == "ok"


def test_commands_are_logged_as_their_effects(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always", "aof-use-rdb-preamble": "no"})
    with node.client() as c:
        c.call("SET", "a", "v", "EX", 1000)
        c.call("INCRBYFLOAT", "f", "0.1")
        c.call("GETEX", "a", "PX", 500_000)
        c.call("GETDEL", "f")
        c.call("SETEX", "s", 1000, "v")
        c.call("EXPIRE", "s", 2000)
        c.call("SET", "nothing", "x", "XX")
        c.call("DEL", "absent")
        want = {k: c.call("PEXPIRETIME", k) for k in ("a", "s")}
    text = open(max(glob.glob(node.path("appendonlydir", "*.incr.aof"))), "rb").read()
    assert b"INCRBYFLOAT" not in text and b"nothing" not in text and b"absent" not in text and b"PXAT" in text and b"\r\nEX\r\n" not in text and b"SETEX" not in text
    time.sleep(0.05)
    node.restart(kill=True)
    with node.client() as c:
        assert {k: c.call("PEXPIRETIME", k) for k in ("a", "s")} == want and c.call("EXISTS", "f") == 0


@pytest.mark.holdfast
def test_newer_commands_are_logged_as_redis_7_knows_them(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always", "rdb-version": "10"})
    with node.client() as c:
        c.call("SET", "k", "a")
        c.call("SET", "k", "b", "IFEQ", "a")
        c.call("MSETEX", 2, "m1", 1, "m2", 2, "EX", 1000)
        c.call("SET", "d", "x")
        c.call("DELIFEQ", "d", "x")
        c.call("SET", "e", "x")
        c.call("DELEX", "e", "IFEQ", "x")
        digest = c.call("DEBUG", "DIGEST")
    node.stop()

    other = Node({"appendonly": "yes"}, binary="/usr/bin/redis-server")
    try:
        shutil.rmtree(other.data)
        shutil.copytree(node.data, other.data)
        other.start()
        with other.client() as c:
            assert c.call("DEBUG", "DIGEST") == digest
    finally:
        other.close()


def test_a_clean_stop_and_start_goes_on_in_the_same_log(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "everysec"})
    for i in range(5):
        with node.client() as c:
            c.call("SET", f"k{i}", i)
            assert c.call("DBSIZE") == i + 1
        node.restart()
    with node.client() as c:
        assert c.call("DBSIZE") == 5
    assert len(files(node)) <= 8, files(node)


def test_flushall_and_rewrite(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always"})
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", i) for i in range(100)])
        c.call("FLUSHALL")
        c.call("SET", "k", "v")
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("KEYS", "*") == [b"k"]


@pytest.mark.holdfast
def test_unwritten_bytes_are_bounded_and_reads_go_on(make_node):

    node = make_node({"appendonly": "yes", "appendfsync": "everysec", "aof-buffer-limit": "1mb", "aof-stall-tolerance": "100"}, faults=Faults())
    with node.client() as r:
        r.call("SET", "k", "v")
        writers = [node.client() for _ in range(10)]
        # While a sync runs the log thread writes: a disk that takes neither must not hold the loop.
        with node.faults.rule(FSYNC, delay_us=4_000_000, path="incr"):
            r.call("SET", "l", "v")
            wait_until(lambda: node.faults.hits(0) > 0, 5, what="the slow fsync")
            node.faults.set_rule(1, WRITE, delay_us=3_000_000, path="incr")
            for w in writers:
                w.sock.settimeout(0.3)
                try:
                    w.send_bytes(encode("SET", "big", "x" * 100_000) * 20)
                except OSError:
                    pass
            time.sleep(0.5)
            start = time.monotonic()
            assert r.call("GET", "k") == b"v" and time.monotonic() - start < 1
            assert int(r.info("persistence")["aof_buffer_length"]) < 6_000_000
        node.faults.clear()
        for w in writers:
            w.sock.settimeout(20)
            assert w.read() == b"OK"
            w.close()
