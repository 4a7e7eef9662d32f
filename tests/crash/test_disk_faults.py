"""ENOSPC and EIO on every write path: nobody is told a lie, the old file stays, and service resumes with the disk."""

import errno
import os
import re
import time

import pytest

from harness import NodeError, ReplyError, is_holdfast, wait_until
from harness.faults import FSYNC, Faults, OPEN, READ, RENAME, WRITE

ERRORS = pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
SNAPSHOT_CALLS = pytest.mark.parametrize("kind,path", [(OPEN, "temp-"), (WRITE, "temp-"), (FSYNC, "temp-"), (RENAME, "dump.rdb")],
                                         ids=["open", "write", "fsync", "rename"])


@pytest.fixture
def make_faulty(make_node):
    def make(config):
        faults = Faults()
        node = make_node(config, faults=faults)
        return node, faults
    return make


def data_files(node):
    return sorted(n for n in os.listdir(node.data))


def write_until_it_works(node, key, value, timeout=20):
    """A client that retries, reconnecting where it was cut off. Returns the error texts on the way."""
    errors = []
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            with node.client(timeout=2) as c:
                r = c.try_call("SET", key, value)
                if r == b"OK":
                    return errors
                errors.append(str(r))
        except OSError as e:
            errors.append(repr(e))
        assert node.alive(), f"the node ended\n{node.log()}"
        time.sleep(0.05)
    raise AssertionError(f"no write got through within {timeout} s: {errors[-3:]}\n{node.log()}")


def try_write(node, key, value, timeout=1.0):
    """True when the write was acknowledged; an error, a held reply and a closed connection are all no."""
    try:
        with node.client(timeout=timeout) as c:
            return c.try_call("SET", key, value) == b"OK"
    except OSError:
        return False


def check_after_crash(node, want):
    node.faults.clear()
    if not is_holdfast() and node.config.get("appendfsync") == "everysec":
        time.sleep(2.5)  # Redis answers before the write while a background fsync runs
    node.restart(kill=True)
    with node.client() as c:
        for k, v in want.items():
            assert c.call("GET", k) == v.encode(), f"{k} was acknowledged"


# --- snapshots ---

@ERRORS
@SNAPSHOT_CALLS
def test_save_reports_the_error_and_keeps_the_old_file(make_faulty, kind, path, error):
    node, faults = make_faulty({})
    with node.client() as c:
        c.call("SET", "k", "old")
        c.call("SAVE")
        before = open(node.path("dump.rdb"), "rb").read()
        files = data_files(node)
        c.call("SET", "k", "new")
        with faults.rule(kind, error=error, path=path):
            with pytest.raises(ReplyError):
                c.call("SAVE")
            assert faults.hits(0) > 0
        assert open(node.path("dump.rdb"), "rb").read() == before
        assert data_files(node) == files, "a temporary file stayed"
        assert c.call("GET", "k") == b"new"
        assert c.call("SAVE") == b"OK"
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("GET", "k") == b"new"


@ERRORS
@SNAPSHOT_CALLS
def test_bgsave_failure_stops_writes_until_one_succeeds(make_faulty, kind, path, error):
    node, faults = make_faulty({"save": "3600 1000000"})
    with node.client() as c:
        c.call("SET", "k", "old")
        c.call("SAVE")
        before = open(node.path("dump.rdb"), "rb").read()
        with faults.rule(kind, error=error, path=path):
            c.call("BGSAVE")
            wait_until(lambda: c.info("persistence")["rdb_last_bgsave_status"] == "err", what="the failure in INFO")
        assert open(node.path("dump.rdb"), "rb").read() == before
        r = c.try_call("SET", "k", "new")
        assert isinstance(r, ReplyError) and r.code == "MISCONF", r
        assert c.call("GET", "k") == b"old"
        c.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        assert c.call("SET", "k", "new") == b"OK"
        c.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
        assert c.try_call("SET", "k", "x").code == "MISCONF"
        c.call("BGSAVE")
        wait_until(lambda: c.info("persistence")["rdb_last_bgsave_status"] == "ok", what="the success in INFO")
        assert c.call("SET", "k", "newer") == b"OK"
    assert [f for f in data_files(node) if f.startswith("temp-")] == []


def test_ping_tells_of_a_failed_bgsave(make_faulty):
    """A watcher that only pings must see that the node takes no writes."""
    node, faults = make_faulty({"save": "3600 1000000"})
    with node.client() as c:
        c.call("SET", "k", "v")
        with faults.rule(OPEN, error=errno.EIO, path="temp-"):
            c.call("BGSAVE")
            wait_until(lambda: c.info("persistence")["rdb_last_bgsave_status"] == "err", what="the failure in INFO")
        r = c.try_call("PING")
        assert isinstance(r, ReplyError) and r.code == "MISCONF"


@ERRORS
def test_shutdown_and_sigterm_do_not_go_down_when_the_save_fails(make_faulty, error):
    node, faults = make_faulty({"save": "3600 1000000"})
    with node.client() as c:
        c.call("SET", "k", "v")
        with faults.rule(OPEN, error=error, path="temp-"):
            with pytest.raises(ReplyError, match="Errors trying to SHUTDOWN"):
                c.call("SHUTDOWN")
            node.signal(15)
            time.sleep(0.5)
            assert node.alive() and c.call("GET", "k") == b"v"
        with pytest.raises(ConnectionError):
            c.call("SHUTDOWN")
    assert node.wait_exit() == 0
    node.start()
    with node.client() as c:
        assert c.call("GET", "k") == b"v"


# --- the AOF's increment ---

@ERRORS
def test_aof_write_error_under_everysec_stops_writes_and_resumes(make_faulty, error):
    node, faults = make_faulty({"appendonly": "yes", "appendfsync": "everysec"})
    want = {"first": "1"}
    with node.client() as c:
        c.call("SET", "first", "1")
    with faults.rule(WRITE, error=error, path="incr.aof"):
        acked = [i for i in range(20) if try_write(node, f"during{i}", str(i), 0.3) or time.sleep(0.02)]
        # Redis acknowledges the write whose failure it has yet to notice; nobody acknowledges on and on.
        assert len(acked) <= (0 if is_holdfast() else 2), acked
        assert faults.hits(0) > 0
        with node.client() as c:
            assert c.call("GET", "first") == b"1", "reads go on"
            wait_until(lambda: c.info("persistence")["aof_last_write_status"] == "err", what="the error in INFO")
    want.update({f"during{i}": str(i) for i in acked})
    write_until_it_works(node, "later", "2")
    want["later"] = "2"
    with node.client() as c:
        wait_until(lambda: c.info("persistence")["aof_last_write_status"] == "ok", what="the recovery in INFO")
    check_after_crash(node, want)


@ERRORS
def test_a_write_cut_short_by_a_full_disk_leaves_no_half_record(make_faulty, error):
    node, faults = make_faulty({"appendonly": "yes", "appendfsync": "everysec"})
    with node.client() as c:
        c.call("SET", "first", "1")
    faults.set_rule(0, WRITE, short_bytes=7, times=1, path="incr.aof")
    faults.set_rule(1, WRITE, error=error, skip=1, path="incr.aof")
    acked = try_write(node, "cut", "short", 0.5)
    time.sleep(0.3)
    faults.clear()
    write_until_it_works(node, "later", "2")
    want = {"first": "1", "later": "2"}
    if acked and is_holdfast():
        want["cut"] = "short"
    check_after_crash(node, want)


@pytest.mark.holdfast
@ERRORS
def test_aof_write_error_under_always_acknowledges_nothing_and_resumes(make_faulty, error):
    node, faults = make_faulty({"appendonly": "yes", "appendfsync": "always"})
    with node.client() as c:
        c.call("SET", "first", "1")
    with faults.rule(WRITE, error=error, path="appendonlydir"):
        assert not any(try_write(node, f"during{i}", str(i), 0.3) for i in range(5))
        with node.client() as c:
            assert c.call("GET", "first") == b"1"
    write_until_it_works(node, "later", "2")
    check_after_crash(node, {"first": "1", "later": "2"})


def aof_sequence(node):
    text = open(node.path("appendonlydir", "appendonly.aof.manifest")).read()
    return max(int(n) for n in re.findall(r"seq (\d+) type i", text))


@pytest.mark.holdfast
@pytest.mark.parametrize("policy", ["always", "everysec"])
@ERRORS
def test_a_failed_fsync_is_never_success_and_a_fresh_file_follows(make_faulty, policy, error):
    node, faults = make_faulty({"appendonly": "yes", "appendfsync": policy})
    with node.client() as c:
        c.call("SET", "first", "1")
    before = aof_sequence(node)
    faults.set_rule(0, FSYNC, error=error, times=1, path=f".{before}.incr.aof")
    # Where the fresh files come about at once, the reply is held until then and says OK.
    acked = try_write(node, "during", "x", 10)
    wait_until(lambda: faults.hits(0) > 0, what="the failing fsync")
    write_until_it_works(node, "later", "2")
    wait_until(lambda: aof_sequence(node) > before, 10, what="a fresh increment")
    want = {"first": "1", "later": "2"}
    if acked:
        want["during"] = "x"
    check_after_crash(node, want)


@pytest.mark.holdfast
@ERRORS
def test_while_every_fsync_fails_nothing_is_acknowledged_under_always(make_faulty, error):
    node, faults = make_faulty({"appendonly": "yes", "appendfsync": "always"})
    with node.client() as c:
        c.call("SET", "first", "1")
    with faults.rule(FSYNC, error=error, path="appendonlydir"):
        assert not any(try_write(node, f"during{i}", str(i), 1) for i in range(3))
        assert node.alive()
    write_until_it_works(node, "later", "2", 30)
    check_after_crash(node, {"first": "1", "later": "2"})


# --- the rewrite ---

@ERRORS
@pytest.mark.parametrize("preamble", ["yes", "no"])
@pytest.mark.parametrize("kind,path", [(OPEN, "temp-rewriteaof"), (WRITE, "temp-rewriteaof"), (FSYNC, "temp-rewriteaof"), (RENAME, "base"),
                                       (RENAME, "manifest"), (OPEN, "manifest"), (WRITE, "manifest"), (FSYNC, "manifest")],
                         ids=["open", "write", "fsync", "rename base", "rename manifest", "open manifest", "write manifest", "fsync manifest"])
def test_a_failed_rewrite_leaves_the_old_aof_in_force(make_faulty, kind, path, error, preamble):
    if "temp-rewriteaof" in path and is_holdfast():
        path = "temp-"
    node, faults = make_faulty({"appendonly": "yes", "appendfsync": "always", "aof-use-rdb-preamble": preamble})
    want = {}

    def put(c, k, v):
        assert c.call("SET", k, v) == b"OK"
        want[k] = v
    with node.client() as c:
        put(c, "first", "1")
        with faults.rule(kind, error=error, path=path):
            c.try_call("BGREWRITEAOF")
            wait_until(lambda: rewrite_over(c), what="the end of the rewrite")
            assert faults.hits(0) > 0, f"no such call: {faults.trace()}"
            put(c, "during", "2")
        put(c, "after", "3")
    check_after_crash(node, want)
    with node.client() as c:
        c.call("BGREWRITEAOF")
        wait_until(lambda: rewrite_over(c) and c.info("persistence")["aof_last_bgrewrite_status"] == "ok", what="a rewrite that works")
        put(c, "at last", "4")
    check_after_crash(node, want)
    assert not [n for n in data_files(node) if n.startswith("temp-")]


def rewrite_over(c):
    info = c.info("persistence")
    return info["aof_rewrite_in_progress"] == "0" and info["aof_rewrite_scheduled"] == "0"


@ERRORS
def test_turning_the_aof_on_with_a_broken_disk(make_faulty, error):
    """Refused, or begun and said to be in trouble; either way it comes into force once the disk is back."""
    node, faults = make_faulty({"appendonly": "no"})
    with node.client() as c:
        c.call("SET", "k", "v")
        with faults.rule(OPEN, error=error, path="appendonlydir"):
            r = c.try_call("CONFIG", "SET", "appendonly", "yes")
            assert faults.hits(0) > 0
            if isinstance(r, ReplyError):
                assert c.config_get("appendonly") == {"appendonly": "no"}
            else:
                node.wait_log(os.strerror(error))
            assert c.call("GET", "k") == b"v"
        assert c.call("CONFIG", "SET", "appendonly", "yes") == b"OK"
        wait_until(lambda: rewrite_over(c) and c.info("persistence")["aof_enabled"] == "1", what="the first rewrite")
    write_until_it_works(node, "k", "w")
    node.reconfigure(appendonly="yes")
    check_after_crash(node, {"k": "w"})


# --- the configuration file ---

@ERRORS
@pytest.mark.parametrize("kind", [OPEN, WRITE, FSYNC, RENAME], ids=["open", "write", "fsync", "rename"])
def test_config_rewrite_reports_the_error_and_keeps_the_old_file(make_faulty, kind, error):
    node, faults = make_faulty({})
    old = open(node.conf_path).read()
    with node.client() as c:
        c.call("CONFIG", "SET", "maxclients", "123")
        with faults.rule(kind, error=error, path="node.conf"):
            with pytest.raises(ReplyError):
                c.call("CONFIG", "REWRITE")
        assert open(node.conf_path).read() == old
        assert sorted(os.listdir(node.dir)) == ["data", "log", "node.conf"]
        assert c.call("CONFIG", "REWRITE") == b"OK"
    assert "maxclients 123" in open(node.conf_path).read()


# --- start-up ---

@pytest.mark.parametrize("path", ["incr.aof", "base.rdb", "manifest"])
def test_a_read_error_at_start_is_fatal_and_changes_nothing(make_faulty, path):
    node, faults = make_faulty({"appendonly": "yes", "appendfsync": "always"})
    with node.client() as c:
        c.call("SET", "k", "v")
        c.call("BGREWRITEAOF")
        wait_until(lambda: rewrite_over(c), what="the rewrite")
        c.call("SET", "l", "w")
    node.kill()
    faults.set_rule(0, READ, error=errno.EIO, path=path)
    with pytest.raises(NodeError):
        node.start(timeout=5)
    assert faults.hits(0) > 0
    node.close_process()
    faults.clear()
    node.start()
    with node.client() as c:
        assert c.call("MGET", "k", "l") == [b"v", b"w"]
