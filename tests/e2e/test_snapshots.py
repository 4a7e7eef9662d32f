"""Snapshots: SAVE, BGSAVE, save points, codecs and versions, budgets, and loading."""

import os
import re
import subprocess
import time

import pytest

from harness import Client, NodeError, ReplyError, tool_binary, wait_until
from harness.faults import Faults, READ


def bgsave_over(c):
    return c.info("persistence")["rdb_bgsave_in_progress"] == "0"


def fill(c, n=1000, size=20):
    c.pipeline([("SET", f"key:{i}", b"%d:" % i + b"v" * size) for i in range(n)])


def test_save_and_restart(make_node):
    node = make_node()
    with node.client() as c:
        fill(c)
        c.call("SET", "ttl", "v", "PXAT", 4_000_000_000_000)
        c.call("SET", "gone", "v", "PX", 30)
        assert c.call("SAVE") == b"OK" and abs(c.call("LASTSAVE") - time.time()) < 5
        digest = c.call("DEBUG", "DIGEST") if c.call("EXISTS", "gone") == 0 else None
        assert c.info("persistence")["rdb_changes_since_last_save"] == "0"
    time.sleep(0.05)
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DBSIZE") == 1001 and c.call("PEXPIRETIME", "ttl") == 4_000_000_000_000 and c.call("EXISTS", "gone") == 0
        assert digest is None or c.call("DEBUG", "DIGEST") == digest
        p = c.info("persistence")
        assert p["rdb_last_load_keys_loaded"] in ("1001", "1002") and p["loading"] == "0"


def test_bgsave_and_its_numbers(make_node):
    node = make_node()
    with node.client() as c:
        fill(c, 20_000)
        before = int(c.info("persistence").get("rdb_saves", "0"))
        assert c.call("BGSAVE") == b"Background saving started"
        wait_until(lambda: bgsave_over(c))
        p = c.info("persistence")
        assert p["rdb_last_bgsave_status"] == "ok" and int(p["rdb_last_cow_size"]) > 0 and int(p["rdb_saves"]) == before + 1 and p["rdb_changes_since_last_save"] == "0"
        assert int(c.info("stats")["latest_fork_usec"]) > 0 and int(c.info("stats")["total_forks"]) >= 1


@pytest.fixture
def slow_child(make_node):
    """A node whose snapshot child takes seconds."""
    node = make_node({"rdb-key-save-delay": "300"})
    with node.client() as c:
        fill(c, 10_000)
        yield node, c


def test_bgsave_while_one_runs(slow_child):
    node, c = slow_child
    c.call("BGSAVE")
    assert str(c.try_call("BGSAVE")) == "ERR Background save already in progress"
    assert str(c.try_call("SAVE")) == "ERR Background save already in progress"
    assert str(c.try_call("BGSAVE", "FOO")) == "ERR syntax error"
    p = c.info("persistence")
    assert p["rdb_bgsave_in_progress"] == "1" and int(p["rdb_current_bgsave_time_sec"]) >= 0
    wait_until(lambda: int(c.info("persistence")["current_save_keys_processed"]) > 0 and int(c.info("persistence")["current_save_keys_total"]) == 10_000, 5)
    c.call("CONFIG", "SET", "rdb-key-save-delay", "0")


def test_bgrewriteaof_waits_for_a_bgsave_and_the_other_way_round(slow_child):
    node, c = slow_child
    c.call("BGSAVE")
    assert c.call("BGREWRITEAOF") == b"Background append only file rewriting scheduled"
    assert c.info("persistence")["aof_rewrite_scheduled"] == "1"
    c.call("CONFIG", "SET", "rdb-key-save-delay", "0")


def test_bgsave_schedule(make_node):
    node = make_node({"appendonly": "yes", "rdb-key-save-delay": "300"})
    with node.client() as c:
        fill(c, 10_000, 400)
        c.call("BGREWRITEAOF")
        wait_until(node.children)
        r = c.try_call("BGSAVE")
        assert isinstance(r, ReplyError) and "SCHEDULE" in str(r)
        assert c.call("BGSAVE", "SCHEDULE") == b"Background saving scheduled"
        c.call("CONFIG", "SET", "rdb-key-save-delay", "0")
        wait_until(lambda: os.path.exists(node.path("dump.rdb")), 15, what="the scheduled save")


@pytest.mark.holdfast
def test_bgsave_cancel(slow_child):
    node, c = slow_child
    c.call("BGSAVE")
    wait_until(node.children)
    r = c.call("BGSAVE", "CANCEL")
    assert b"cancel" in r.lower()
    wait_until(lambda: bgsave_over(c))
    assert not os.path.exists(node.path("dump.rdb")) and [n for n in os.listdir(node.data) if n.startswith("temp")] == []
    assert isinstance(c.try_call("BGSAVE", "CANCEL"), ReplyError)


def test_save_points(make_node):
    node = make_node({"save": "1 10"})
    with node.client() as c:
        fill(c, 9)
        time.sleep(1.5)
        assert not os.path.exists(node.path("dump.rdb"))
        fill(c, 9)
        wait_until(lambda: os.path.exists(node.path("dump.rdb")), 6, what="the save by save point")
        wait_until(lambda: c.info("persistence")["rdb_changes_since_last_save"] == "0")


@pytest.mark.holdfast
@pytest.mark.parametrize("codec", ["none", "lz4", "zlib"])
@pytest.mark.parametrize("version", ["10", "11", "12"])
@pytest.mark.parametrize("compression", ["yes", "no"])
def test_codecs_and_versions(make_node, codec, version, compression):
    node = make_node({"rdb-codec": codec, "rdb-version": version, "rdbcompression": compression})
    with node.client() as c:
        fill(c, 500)
        c.call("SET", "long", "abc" * 5000)
        digest = c.call("DEBUG", "DIGEST")
        c.call("SAVE")
    data = open(node.path("dump.rdb"), "rb").read()
    head = {"none": b"REDIS00" + version.encode(), "lz4": b"\x04\x22\x4d\x18", "zlib": b"\x1f\x8b"}[codec]
    assert data.startswith(head)
    p = subprocess.run([tool_binary("holdfast-check-rdb"), node.path("dump.rdb")], stdout=subprocess.PIPE)
    assert p.returncode == 0, p.stdout
    # What a file is, its content says: the settings at the next start do not matter.
    node.reconfigure(**{"rdb-codec": "none", "rdb-version": "11"})
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest


def test_rdbchecksum_no(make_node):
    node = make_node({"rdbchecksum": "no"})
    with node.client() as c:
        fill(c, 100)
        c.call("SAVE")
        assert open(node.path("dump.rdb"), "rb").read().endswith(bytes(8))
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DBSIZE") == 100


@pytest.mark.holdfast
def test_the_budget_of_copied_memory_aborts_the_child(make_node):
    node = make_node({"rdb-key-save-delay": "300", "rdb-cow-limit": "8mb"})
    with node.client() as c:
        fill(c, 20_000, 2000)
        c.call("BGSAVE")
        wait_until(node.children)
        end = time.monotonic() + 15
        while not bgsave_over(c) and time.monotonic() < end:
            fill(c, 20_000, 2000)
        assert bgsave_over(c), "the child went on"
        p = c.info("persistence")
        assert p["rdb_last_bgsave_status"] == "err" or not os.path.exists(node.path("dump.rdb"))
    assert re.search(r"(?i)rdb-cow-limit|copy.on.write|copied", node.log()), node.log()[-1500:]
    assert node.alive() and [n for n in os.listdir(node.data) if n.startswith("temp")] == []


def test_a_killed_child_is_a_failed_save(slow_child):
    node, c = slow_child
    c.call("BGSAVE")
    for pid in wait_until(node.children):
        os.kill(pid, 9)
    wait_until(lambda: c.info("persistence")["rdb_last_bgsave_status"] == "err")
    assert [n for n in os.listdir(node.data) if n.startswith("temp")] == [] and node.alive()


def test_writes_go_on_during_bgsave_and_the_snapshot_is_of_its_begin(slow_child):
    node, c = slow_child
    c.call("BGSAVE")
    wait_until(node.children)
    fill(c, 1000, 77)
    c.call("SET", "late", "v")
    wait_until(lambda: bgsave_over(c), 20)
    node.reconfigure(rdb_key_save_delay=None)
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("EXISTS", "late") == 0 and c.call("GET", "key:999") == b"999:" + b"v" * 20 and c.call("DBSIZE") == 10_000


def test_growth_during_a_save_does_not_wait_for_it(slow_child):
    """The table may not be resized freely while a child lives, yet a bulk load has to go on."""
    node, c = slow_child
    c.call("BGSAVE")
    wait_until(node.children)
    start = time.monotonic()
    c.pipeline([("SET", f"more:{i}", "v") for i in range(50_000)])
    assert time.monotonic() - start < 5 and c.call("DBSIZE") == 60_000 and c.call("GET", "more:49999") == b"v"
    c.call("CONFIG", "SET", "rdb-key-save-delay", "0")


def test_loading_answers_with_its_progress(make_node):
    node = make_node({"rdbcompression": "no"}, faults=Faults())
    with node.client() as c:
        fill(c, 3000, 2000)
        c.call("SAVE")
    node.kill()
    node.faults.set_rule(0, READ, delay_us=20_000, path="dump.rdb")
    node.reconfigure(loading_process_events_interval_bytes=1024)
    node.start(wait=False)
    seen = []
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            with Client(node.port, timeout=10) as c:
                r = c.try_call("GET", "key:1")
                if isinstance(r, ReplyError):
                    seen.append((str(r), c.info("persistence")))
                    assert isinstance(c.try_call("SET", "x", "y"), ReplyError)
                    if len(seen) > 3:
                        break
                elif r is not None:
                    break
        except OSError:
            pass
        time.sleep(0.02)
    assert seen, "never saw it loading"
    text, info = seen[-1]
    assert text.startswith("LOADING ") and info["loading"] == "1"
    assert int(info["loading_total_bytes"]) > 5_000_000 and 0 <= int(info["loading_loaded_bytes"]) <= int(info["loading_total_bytes"])
    assert {"loading_start_time", "loading_loaded_perc", "loading_eta_seconds"} <= set(info)
    node.kill()


def test_an_absent_snapshot_is_an_empty_start_and_an_unreadable_one_is_fatal(make_node):
    node = make_node()
    with node.client() as c:
        assert c.call("DBSIZE") == 0
    node.kill()
    os.mkdir(node.path("dump.rdb"))
    with pytest.raises(NodeError):
        node.start(timeout=10)


def test_dbfilename_and_dir_at_run_time(make_node, tmp_path):
    node = make_node({"enable-protected-configs": "yes"})
    with node.client() as c:
        c.call("CONFIG", "SET", "dir", str(tmp_path), "dbfilename", "other.rdb")
        c.call("SET", "k", "v")
        c.call("SAVE")
    assert (tmp_path / "other.rdb").exists()


def test_lastsave_and_time(c):
    assert abs(c.call("LASTSAVE") - time.time()) < 1000
    s, us = c.call("TIME")
    assert abs(int(s) - time.time()) < 2 and 0 <= int(us) < 1_000_000
