"""Starts, stops, kills and restarts server processes, each with its own directory and a free loopback port.

HOLDFAST_SERVER names the server under test (default: build/holdfast-server of this tree); any suite that is not about
Holdfast alone also runs with HOLDFAST_SERVER=/usr/bin/redis-server, which shows that a test asks for what Redis does.
HOLDFAST_TEST_PORTS=LOW-HIGH restricts the ports. Processes are ended by pid and never outlive the test run.
"""

import atexit
import ctypes
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from .resp import Client, ReplyError

REDIS_SERVER = os.environ.get("REDIS_SERVER", "/usr/bin/redis-server")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_live = {}
_recent_ports = []


class NodeError(Exception):
    """The server did not start, stop or answer as it should; the text ends with its log."""


def server_binary():
    return os.path.abspath(os.environ.get("HOLDFAST_SERVER") or os.path.join(ROOT, "build", "holdfast-server"))


def is_holdfast(binary=None):
    return not os.path.basename(binary or server_binary()).startswith("redis")


def tool_binary(name):
    """holdfast-check-rdb and the like stand beside the server; Redis's own where the server under test is Redis."""
    server = server_binary()
    if not is_holdfast(server):
        name = name.replace("holdfast-", "redis-")
    return os.path.join(os.path.dirname(server), name)


def free_port():
    low, high = (int(x) for x in os.environ.get("HOLDFAST_TEST_PORTS", "21000-29999").split("-"))
    for _ in range(2000):
        port = random.randint(low, high)
        if port in _recent_ports:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _recent_ports.append(port)
        del _recent_ports[:-min(40, (high - low) // 2)]
        return port
    raise NodeError(f"no free port in {low}-{high}")


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _config_line(name, value):
    if isinstance(value, bool):
        value = "yes" if value else "no"
    value = str(value)
    return f'{name} {value if value else chr(34) * 2}\n'  # a value with blanks is several; quote it if it is one


class Node:
    """One server. The directory (`dir`) survives restarts; `close` ends the process and removes the directory."""

    def __init__(self, config=None, binary=None, args=(), env=None, dir=None, port=None, faults=None, cpu=None,
                 base_config=True):
        self.binary = binary or server_binary()
        self.own_dir = dir is None
        self.dir = dir or tempfile.mkdtemp(prefix="holdfast-test-")
        self.data = os.path.join(self.dir, "data")
        os.makedirs(self.data, exist_ok=True)
        self.port = free_port() if port is None else port
        self.conf_path = os.path.join(self.dir, "node.conf")
        self.log_path = os.path.join(self.dir, "log")
        self.args = list(args)
        self.env = dict(env or {})
        self.faults = faults
        self.cpu = cpu
        self.proc = None
        self.config = {"port": self.port, "bind": "127.0.0.1", "dir": self.data, "save": "", "logfile": ""}
        if base_config:
            self.config["enable-debug-command"] = "yes"
        self.config.update(config or {})
        self.write_config()

    # --- configuration ---

    def write_config(self):
        with open(self.conf_path, "w") as f:
            for name, value in self.config.items():
                if value is None:
                    continue
                for v in value if isinstance(value, (list, tuple)) else [value]:
                    f.write(_config_line(name, v))

    def reconfigure(self, **changes):
        """Changes the file (underscores stand for hyphens; None removes); takes effect at the next start."""
        for k, v in changes.items():
            self.config[k.replace("_", "-")] = v
        self.write_config()

    # --- process ---

    def start(self, wait=True, timeout=30, args=None, conf=None):
        assert self.proc is None or self.proc.poll() is not None, "already running"
        env = dict(os.environ)
        env.update(self.env)
        if self.faults is not None:
            env.update(self.faults.environment(self.dir))
        argv = [self.binary, self.conf_path if conf is None else conf] + self.args + list(args or ())
        if self.cpu is not None:
            argv = ["taskset", "-c", str(self.cpu)] + argv
        log = open(self.log_path, "ab")
        self.log_start = log.tell()
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.data,
                                     env=env, preexec_fn=_die_with_parent)
        log.close()
        _live[self.proc.pid] = self.proc
        if wait:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=30):
        """Waits until PING is answered with something else than -LOADING."""
        deadline = time.monotonic() + timeout
        while True:
            if self.proc.poll() is not None:
                raise NodeError(f"the server ended with status {self.proc.returncode}\n{self.log()}")
            try:
                with self.client(timeout=max(0.1, deadline - time.monotonic())) as c:
                    reply = c.try_call("PING")
                    if not (isinstance(reply, ReplyError) and reply.code in ("LOADING", "MASTERDOWN")):
                        return
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise NodeError(f"not ready within {timeout} s\n{self.log()}")
            time.sleep(0.005)

    @property
    def pid(self):
        return self.proc.pid

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def wait_exit(self, timeout=20):
        """The exit status (negative: the signal)."""
        try:
            status = self.proc.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NodeError(f"still running after {timeout} s\n{self.log()}") from None
        _live.pop(self.proc.pid, None)
        return status

    def signal(self, number):
        os.kill(self.proc.pid, number)

    def kill(self):
        """kill -9."""
        if self.alive():
            self.proc.kill()
        return self.wait_exit()

    def stop(self, timeout=20):
        """SIGTERM; the exit status."""
        if self.alive():
            self.proc.terminate()
        return self.wait_exit(timeout)

    def restart(self, kill=False, **kw):
        self.kill() if kill else self.stop()
        return self.start(**kw)

    def close_process(self):
        """Ends the process in whatever state it is."""
        if self.proc is not None:
            if self.proc.poll() is None:
                self.proc.kill()
                self.proc.wait()
            _live.pop(self.proc.pid, None)

    def close(self):
        self.close_process()
        if self.own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self if self.proc is not None else self.start()

    def __exit__(self, *exc):
        self.close()

    # --- looking at it ---

    def client(self, **kw):
        sock = self.config.get("unixsocket")
        if self.config.get("port") == 0 and sock and "path" not in kw:
            return Client(path=sock, **kw)
        return Client(kw.pop("port", self.port), **kw)

    def log(self, since_start=True):
        try:
            with open(self.log_path, "rb") as f:
                if since_start:
                    f.seek(getattr(self, "log_start", 0))
                return f.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, timeout=10):
        """The match of a pattern in what was logged since the start."""
        deadline = time.monotonic() + timeout
        while True:
            m = re.search(pattern, self.log())
            if m:
                return m
            if time.monotonic() > deadline:
                raise NodeError(f"no /{pattern}/ in the log within {timeout} s\n{self.log()}")
            time.sleep(0.01)

    def info(self, *sections):
        with self.client() as c:
            return c.info(*sections)

    def path(self, *parts):
        return os.path.join(self.data, *parts)

    def cpu_seconds(self):
        """CPU time of all threads of the process, in seconds (nanosecond clock of the kernel)."""
        return time.clock_gettime((~self.proc.pid << 3) | 2)

    def rss_bytes(self):
        with open(f"/proc/{self.proc.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def children(self):
        with open(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children") as f:
            return [int(x) for x in f.read().split()]


def wait_until(predicate, timeout=10, step=0.01, what="the condition"):
    """Waits until predicate() is true and returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        v = predicate()
        if v:
            return v
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(step)


def _end_all():
    for proc in list(_live.values()):
        if proc.poll() is None:
            proc.kill()
            proc.wait()


atexit.register(_end_all)
