"""Life as a service: signals, SHUTDOWN, notification of the service manager, pid file, daemonize, logs."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from harness import Client, encode, free_port, wait_until
from harness.faults import Faults, READ


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(make_node, number):
    node = make_node({"save": "3600 1"})
    with node.client() as c:
        c.call("SET", "k", "v")
    node.signal(number)
    assert node.wait_exit() == 0
    node.start()
    with node.client() as c:
        assert c.call("GET", "k") == b"v"


def test_without_save_points_a_signal_does_not_save(make_node):
    node = make_node()
    with node.client() as c:
        c.call("SET", "k", "v")
    assert node.stop() == 0 and not os.path.exists(node.path("dump.rdb"))


@pytest.mark.parametrize("option,saved", [("save", True), ("nosave", False)])
def test_what_sigterm_does_is_configured(make_node, option, saved):
    node = make_node({"save": "3600 1", "shutdown-on-sigterm": option})
    with node.client() as c:
        c.call("SET", "k", "v")
    assert node.stop() == 0 and os.path.exists(node.path("dump.rdb")) == saved


@pytest.mark.parametrize("args,saved", [((), True), (("SAVE",), True), (("NOSAVE",), False), (("NOW", "NOSAVE"), False), (("SAVE", "FORCE"), True)])
def test_shutdown(make_node, args, saved):
    node = make_node({"save": "3600 1"})
    with node.client() as c:
        c.call("SET", "k", "v")
        c.send("SHUTDOWN", *args)
        assert c.read_until_closed() == b""
    assert node.wait_exit() == 0 and os.path.exists(node.path("dump.rdb")) == saved


def test_shutdown_arguments(make_node):
    node = make_node()
    with node.client() as c:
        for bad in (("FOO",), ("SAVE", "NOSAVE"), ("ABORT", "NOW")):
            assert str(c.try_call("SHUTDOWN", *bad)) == "ERR syntax error"
        assert str(c.try_call("SHUTDOWN", "ABORT")) == "ERR No shutdown in progress."


def test_shutdown_with_the_aof_makes_everything_durable(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "no"})
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", "v") for i in range(1000)])
        c.send("SHUTDOWN")
        c.read_until_closed()
    assert node.wait_exit() == 0
    node.start()
    with node.client() as c:
        assert c.call("DBSIZE") == 1000


def test_a_save_child_ends_with_the_node(make_node):
    node = make_node({"rdb-key-save-delay": "5000"})
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", "v") for i in range(1000)])
        c.call("BGSAVE")
        children = wait_until(node.children)
        c.send("SHUTDOWN", "NOSAVE")
        c.read_until_closed()
    assert node.wait_exit() == 0
    wait_until(lambda: not any(os.path.exists(f"/proc/{p}") for p in children), 5)
    assert [n for n in os.listdir(node.data) if n.startswith("temp")] == []


# --- the service manager ---

class NotifySocket:
    """What systemd would see."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="hf", dir="/tmp")
        self.path = os.path.join(self.dir.name, "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.messages = []
        self.ending = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        self.sock.settimeout(0.1)
        while not self.ending:
            try:
                self.messages.append(self.sock.recv(4096).decode())
            except TimeoutError:
                pass

    def has(self, text):
        return any(text in m for m in self.messages)

    def close(self):
        self.ending = True
        self.thread.join()
        self.sock.close()
        self.dir.cleanup()


@pytest.fixture
def notify():
    n = NotifySocket()
    yield n
    n.close()


@pytest.mark.holdfast
def test_ready_status_and_stopping(make_node, notify):
    node = make_node({"supervised": "auto"}, env={"NOTIFY_SOCKET": notify.path})
    wait_until(lambda: notify.has("READY=1"))
    assert any("STATUS=" in m for m in notify.messages)
    node.stop()
    wait_until(lambda: notify.has("STOPPING=1"))


@pytest.mark.holdfast
def test_ready_comes_after_loading_which_asks_for_time(make_node, notify):
    node = make_node({"rdbcompression": "no"}, faults=Faults())
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", "x" * 5000) for i in range(2000)])
        c.call("SAVE")
    node.kill()
    node.faults.set_rule(0, READ, delay_us=100_000, path="dump.rdb")
    node.env["NOTIFY_SOCKET"] = notify.path
    node.reconfigure(supervised="systemd")
    node.start(timeout=60)
    wait_until(lambda: notify.has("READY=1"))
    ready = next(i for i, m in enumerate(notify.messages) if "READY=1" in m)
    before = "\n".join(notify.messages[:ready])
    assert re.search(r"EXTEND_TIMEOUT_USEC=\d+", before), notify.messages
    assert re.search(r"(?i)STATUS=.*load.*\d+ ?%", before), notify.messages


@pytest.mark.holdfast
def test_the_watchdog_is_fed_by_the_loop(make_node, notify):
    node = make_node({"supervised": "systemd"}, env={"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "600000"})
    count = lambda: sum("WATCHDOG=1" in m for m in notify.messages)  # noqa: E731
    wait_until(lambda: count() >= 3, 5)
    with node.client() as c:
        n = count()
        c.send("DEBUG", "SLEEP", "1.5")
        time.sleep(1.2)
        assert count() <= n + 1, "fed while the loop stood still"
        assert c.read() == b"OK"
        wait_until(lambda: count() >= n + 3, 5)


@pytest.mark.holdfast
def test_the_environment_variable_alone_is_enough_for_nothing_when_supervised_is_no(make_node, notify):
    node = make_node({"supervised": "no"}, env={"NOTIFY_SOCKET": notify.path})
    with node.client() as c:
        assert c.call("PING") == b"PONG"


# --- process ---

def test_pid_file(make_node, tmp_path):
    path = tmp_path / "pid"
    node = make_node({"pidfile": str(path)})
    assert int(path.read_text()) == node.pid
    node.stop()
    assert not path.exists()


def test_daemonize(make_node, tmp_path):
    pidfile, log, port = tmp_path / "pid", tmp_path / "log", free_port()
    node = make_node({"daemonize": "yes", "pidfile": str(pidfile), "logfile": str(log), "port": port}, port=port, start=False)
    node.start(wait=False)
    assert node.wait_exit() == 0, "the foreground process ends"
    pid = int(wait_until(lambda: pidfile.exists() and pidfile.read_text().strip()))
    try:
        def ready():
            try:
                with Client(port) as c:
                    return c.try_call("PING") == b"PONG"
            except OSError:
                return False
        wait_until(ready)
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        assert int(fields[3]) == pid, "leads a session of its own"
        with Client(port) as c:
            assert c.info("server")["process_id"] == str(pid)
            c.send("SHUTDOWN", "NOSAVE")
            c.read_until_closed()
    finally:
        try:
            wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 5)
        except AssertionError:
            os.kill(pid, signal.SIGKILL)
            raise
    assert "eady to accept connections" in log.read_text()


def test_log_file_and_level(make_node, tmp_path):
    log = tmp_path / "log"
    node = make_node({"logfile": str(log), "loglevel": "notice"})
    with node.client() as c:
        wait_until(lambda: "eady to accept connections" in log.read_text())
        c.call("CONFIG", "SET", "loglevel", "debug")
        c.call("DEBUG", "LOG", "a marked line")
        assert "a marked line" in log.read_text()
    line = next(x for x in log.read_text().splitlines() if "a marked line" in x)
    assert re.match(rf"{node.pid}:M \d+ \w+ \d+ \d\d:\d\d:\d\d\.\d+ . ", line), line


def test_a_log_file_that_cannot_be_written_is_fatal(make_node):
    node = make_node({"logfile": "/no/such/dir/log"}, start=False)
    node.start(wait=False)
    assert node.wait_exit() == 1 and "log" in node.log()


@pytest.mark.holdfast
def test_log_formats(make_node, tmp_path):
    log = tmp_path / "log"
    node = make_node({"logfile": str(log), "log-format": "logfmt", "log-timestamp-format": "iso8601"})
    wait_until(lambda: "eady to accept" in log.read_text())
    line = next(x for x in log.read_text().splitlines() if "eady to accept" in x)
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line) and f"pid={node.pid}" in line and "message=" in line, line


@pytest.mark.holdfast
def test_the_journal_gets_priorities(make_node):
    """Standard error that is the journal's stream: lines begin with <n>."""
    node = make_node(start=False)
    node.env["JOURNAL_STREAM"] = "0:0"
    node.start()
    assert not re.search(r"(?m)^<\d>", node.log()), "the variable names another stream"
    node.stop()
    open(node.log_path, "ab").close()
    st = os.stat(node.log_path)
    node.env["JOURNAL_STREAM"] = f"{st.st_dev}:{st.st_ino}"
    node.start()
    assert re.search(r"(?m)^<[3-6]>", node.log()), node.log()


def test_a_directory_that_is_not_there_is_fatal(make_node):
    node = make_node({"dir": "/no/such/dir"}, start=False)
    node.start(wait=False)
    assert node.wait_exit() == 1 and "/no/such/dir" in node.log()


def test_warnings_of_the_system_are_in_the_log(make_node):
    node = make_node()
    with open("/proc/sys/vm/overcommit_memory") as f:
        if f.read().strip() == "0":
            assert "overcommit" in node.log()


def test_sigusr1_and_sighup_do_not_end_it(make_node):
    node = make_node()
    node.signal(signal.SIGHUP)
    node.signal(signal.SIGPIPE)
    time.sleep(0.2)
    with node.client() as c:
        assert c.call("PING") == b"PONG"


def test_two_signals_end_it_at_once(make_node):
    node = make_node({"save": "3600 1", "rdb-key-save-delay": "20000"})
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", "v") for i in range(1000)])
    node.signal(signal.SIGINT)
    time.sleep(0.3)
    node.signal(signal.SIGINT)
    node.wait_exit(10)
    assert not os.path.exists(node.path("dump.rdb"))


# --- real clients ---

def test_redis_cli(make_node):
    node = make_node()

    def cli(*args, stdin=None):
        p = subprocess.run(["redis-cli", "-p", str(node.port), *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
        assert p.returncode == 0, p.stdout
        return p.stdout
    assert cli("SET", "k", "v") == "OK\n" and cli("GET", "k") == "v\n" and cli("-3", "GET", "absent") == "\n"
    assert cli(stdin="MULTI\nINCR n\nINCR n\nEXEC\n").split() == ["OK", "QUEUED", "QUEUED", "1", "2"]
    cli("DEBUG", "POPULATE", "1000")
    assert len(cli("--scan", "--pattern", "key:*").split()) == 1000
    assert "Sampled 1002 keys" in cli("--bigkeys")
    mass = b"".join(encode("SET", f"m{i}", i) for i in range(5000)).decode()
    assert "errors: 0, replies: 5000" in cli("--pipe", stdin=mass)
    assert "redis_version" in cli("INFO", "server")


def test_redis_benchmark(make_node):
    node = make_node()
    p = subprocess.run(["redis-benchmark", "-p", str(node.port), "-n", "20000", "-c", "20", "-P", "8", "-r", "1000", "-t", "ping,set,get,incr,mset", "--csv"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert p.returncode == 0 and p.stdout.count("\n") >= 6 and "rror" not in p.stdout, p.stdout


def test_python_redis(make_node):
    redis = pytest.importorskip("redis")
    node = make_node()
    r = redis.Redis(port=node.port, decode_responses=True)
    assert r.set("k", "v", ex=100) and r.get("k") == "v" and 90 < r.ttl("k") <= 100
    with r.pipeline(transaction=True) as p:
        p.incr("n").incr("n").get("k")
        assert p.execute() == [1, 2, "v"]
    with r.pipeline() as p:
        p.watch("n")
        r.incr("n")
        p.multi()
        p.incr("n")
        with pytest.raises(redis.WatchError):
            p.execute()
    assert r.mget(["k", "absent"]) == ["v", None] and sorted(r.scan_iter("*")) == ["k", "n"]
    assert r.info()["redis_version"] and r.config_get("maxmemory") == {"maxmemory": "0"} and r.client_list()[0]["db"] == "0"
    assert r.dbsize() == 2 and r.memory_usage("k") > 0 and r.object("encoding", "n") == "int" and r.slowlog_get() is not None
    with pytest.raises(redis.ResponseError):
        r.incr("k")


HIREDIS = r"""
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
  redisContext *c = redisConnect("127.0.0.1", atoi(argv[1]));
  if (argc < 2 || !c || c->err) return 1;
  redisReply *r = redisCommand(c, "SET %b %s", "a\0b", (size_t)3, "value");
  if (!r || r->type != REDIS_REPLY_STATUS) return 2;
  for (int i = 0; i < 1000; i++) redisAppendCommand(c, "INCR n");
  for (int i = 0; i < 1000; i++) if (redisGetReply(c, (void **)&r) != REDIS_OK || r->integer != i + 1) return 3;
  r = redisCommand(c, "GET %b", "a\0b", (size_t)3);
  if (!r || r->type != REDIS_REPLY_STRING || strcmp(r->str, "value") != 0) return 5;
  r = redisCommand(c, "CONFIG GET maxmemory");
  if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != 2) return 6;
  puts("ok");
  return 0;
}
"""


@pytest.mark.skipif(not os.path.exists("/usr/include/hiredis/hiredis.h"), reason="hiredis is not installed")
def test_hiredis(make_node, tmp_path):
    source, program = tmp_path / "h.c", tmp_path / "h"
    source.write_text(HIREDIS)
    subprocess.run(["gcc", "-o", str(program), str(source), "-lhiredis"], check=True)
    node = make_node()
    p = subprocess.run([str(program), str(node.port)], stdout=subprocess.PIPE, timeout=20)
    assert p.returncode == 0 and p.stdout == b"ok\n"
