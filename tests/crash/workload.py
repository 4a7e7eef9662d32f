"""A load whose every intermediate state is known, to be cut off by kill -9 at any moment.

Each connection owns some units. A unit is a handful of keys and a counter n; its n-th step is one atomic request (a
command or a MULTI … EXEC) with a known reply, and `state(n)` says exactly what its keys hold after n steps. A connection's steps
are executed in the order sent. So after a crash the keys of a connection must hold what its first p steps leave, for one p with

    p ≥ steps acknowledged to it, p ≥ steps whose effect any other connection has read, p ≤ steps sent,

for all its units at once: a lost write, a half-applied transaction and a reordering each leave no such p.
"""

import collections
import os
import random
import selectors
import signal
import socket
import threading
import time

from harness.resp import Incomplete, encode, parse

FAR_MS = 4_000_000_000_000  # deadlines that never come


class Violation(AssertionError):
    """The promise was broken."""


class Unit:
    kinds = {}

    def __init_subclass__(cls):
        Unit.kinds[cls.__name__.lower()] = cls

    def __init__(self, name):
        self.name = name


class Register(Unit):
    """SET of a new value; other connections read it."""

    def step(self, n):
        return [("SET", self.name, self.value(n))], b"+OK\r\n"

    def value(self, n):
        return b"%d:" % n + b"v" * (n * 7 % 90)

    def state(self, n):
        return {("GET", self.name): self.value(n) if n else None}


class Counter(Unit):
    def step(self, n):
        return [("INCR", self.name)], b":%d\r\n" % n

    def state(self, n):
        return {("GET", self.name): b"%d" % n if n else None}


class Appended(Unit):
    """APPEND, begun anew every hundred steps."""

    def value(self, n):
        return b"".join(b"%d;" % i for i in range(n - n % 100, n + 1)) if n else None

    def step(self, n):
        if n % 100 == 0:
            return [("SET", self.name, b"%d;" % n)], b"+OK\r\n"
        if n == 1:
            return [("APPEND", self.name, b"0;1;")], b":4\r\n"
        return [("APPEND", self.name, b"%d;" % n)], b":%d\r\n" % len(self.value(n))

    def state(self, n):
        return {("GET", self.name): self.value(n)}


class Many(Unit):
    """MSET of three keys."""

    def step(self, n):
        return [("MSET", self.name + ":a", n, self.name + ":b", n, self.name + ":c", n)], b"+OK\r\n"

    def state(self, n):
        v = b"%d" % n if n else None
        return {("MGET", self.name + ":a", self.name + ":b", self.name + ":c"): [v, v, v]}


class Transaction(Unit):
    """MULTI … EXEC over three keys."""

    def step(self, n):
        body = [("MULTI",), ("SET", self.name + ":a", n), ("INCR", self.name + ":b"), ("SET", self.name + ":c", n), ("EXEC",)]
        return body, b"+OK\r\n" + b"+QUEUED\r\n" * 3 + b"*3\r\n+OK\r\n:%d\r\n+OK\r\n" % n

    def state(self, n):
        v = b"%d" % n if n else None
        return {("MGET", self.name + ":a", self.name + ":b", self.name + ":c"): [v, v, v]}


class Deleted(Unit):
    """SET and DEL (or UNLINK, or GETDEL) in turn."""

    def step(self, n):
        if n % 2:
            return [("SET", self.name, n)], b"+OK\r\n"
        last = b"%d" % (n - 1)
        return [([("DEL", self.name)], b":1\r\n"), ([("UNLINK", self.name)], b":1\r\n"),
                ([("GETDEL", self.name)], b"$%d\r\n%s\r\n" % (len(last), last))][n // 2 % 3]

    def state(self, n):
        return {("GET", self.name): b"%d" % n if n % 2 else None}


class Deadline(Unit):
    """Values with deadlines, and deadlines moved."""

    def step(self, n):
        if n % 2:
            return [("SET", self.name, n, "PXAT", FAR_MS + n)], b"+OK\r\n"
        return [("PEXPIREAT", self.name, FAR_MS + n)], b":1\r\n"

    def state(self, n):
        if not n:
            return {("GET", self.name): None}
        return {("GET", self.name): b"%d" % (n if n % 2 else n - 1), ("PEXPIRETIME", self.name): FAR_MS + n}


class Renamed(Unit):
    """RENAME back and forth between two names."""

    def step(self, n):
        a, b = self.name + ":a", self.name + ":b"
        if n == 1:
            return [("SET", b, "v")], b"+OK\r\n"
        return [("RENAME", *((b, a) if n % 2 == 0 else (a, b)))], b"+OK\r\n"

    def state(self, n):
        return {("MGET", self.name + ":a", self.name + ":b"): [None, None] if n == 0 else [b"v", None] if n % 2 == 0 else [None, b"v"]}


class Connection:
    """The promise to one client: what it sent, what was acknowledged, what others have seen of it."""

    def __init__(self, ident, databases):
        self.ident = ident
        self.db = ident % databases
        self.units = [cls(f"{kind}:{ident}:{i}") for kind, cls in Unit.kinds.items() for i in range(2)]
        self.done = [0] * len(self.units)      # steps of each unit that surely happened
        self.inflight = collections.deque()    # (unit index, n) in the order sent, beyond `done`
        self.seen = 0                          # how many of `inflight` others have seen the effect of
        self.sock = None

    def open(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(encode("SELECT", self.db))
        self.buf = b""
        self.expect = collections.deque([("plain", b"+OK\r\n", None)])
        self.sock.setblocking(False)

    def batch(self, rng, others, size):
        """The bytes of some more requests."""
        out = []
        nexts = {}
        for _ in range(size):
            if rng.random() < 0.15:
                other = rng.choice(others)
                if other.db == self.db:
                    unit = rng.choice([i for i, u in enumerate(other.units) if isinstance(u, Register)])
                    out.append(encode("GET", other.units[unit].name))
                    self.expect.append(("read", other, unit))
                    continue
            i = rng.randrange(len(self.units))
            n = nexts.get(i) or self.sent(i)
            nexts[i] = n + 1
            requests, reply = self.units[i].step(n + 1)
            out.extend(encode(*r) for r in requests)
            self.inflight.append((i, n + 1))
            self.expect.append(("step", reply, None))
        return b"".join(out)

    def sent(self, unit):
        n = self.done[unit]
        for i, m in self.inflight:
            if i == unit:
                n = m
        return n

    def received(self, data):
        """Matches replies; returns how many steps were acknowledged."""
        buf = self.buf + data
        pos = acked = 0
        while self.expect and pos < len(buf):
            kind, what, unit = self.expect[0]
            if kind == "read":
                try:
                    value, pos = parse(buf, pos)
                except Incomplete:
                    break
                if value is not None:
                    if not isinstance(value, bytes):
                        raise Violation(f"GET was answered with {value!r}")
                    what.read_by_other(unit, int(value.split(b":")[0]))
            else:
                have = buf[pos:pos + len(what)]
                if have != what:
                    if what.startswith(have):
                        break
                    raise Violation(f"connection {self.ident}: expected {what!r}, got {buf[pos:pos + 200]!r}")
                pos += len(what)
                if kind == "step":
                    i, n = self.inflight.popleft()
                    self.done[i] = n
                    self.seen = max(self.seen - 1, 0)
                    acked += 1
            self.expect.popleft()
        self.buf = buf[pos:]
        if self.buf and not self.expect:
            raise Violation(f"connection {self.ident}: a reply too many: {self.buf[:200]!r}")
        return acked

    def read_by_other(self, unit, n):
        for at, (i, m) in enumerate(self.inflight):
            if i == unit and m == n:
                self.seen = max(self.seen, at + 1)

    def verify(self, client):
        """Finds p; from here on what was found is what surely happened. Returns (p, steps in flight)."""
        client.call("SELECT", self.db)
        queries = sorted({q for i, u in enumerate(self.units) for n in (self.done[i], self.done[i] + 1) for q in u.state(n)})
        found = dict(zip(queries, client.pipeline(queries)))
        steps = list(self.inflight)
        at = list(self.done)
        first_problem = None
        for p in range(len(steps) + 1):
            if p > 0:
                i, n = steps[p - 1]
                at[i] = n
            if p < self.seen:
                continue
            wrong = [(q, want, found.get(q)) for i, u in enumerate(self.units) for q, want in u.state(at[i]).items()
                     if found.get(q) != want]
            if not wrong:
                self.done = at
                self.inflight.clear()
                self.seen = 0
                return p, len(steps)
            first_problem = first_problem or wrong
        raise Violation(f"connection {self.ident}: no prefix fits, {len(steps)} steps in flight of which {self.seen} were seen; "
                        f"with the acknowledged ones: {first_problem[:3]!r}")


class Load:
    """Many connections driven by one thread."""

    def __init__(self, connections=50, seed=0, databases=3, window=24):
        self.rng = random.Random(seed)
        self.connections = [Connection(i, databases) for i in range(connections)]
        self.window = window
        self.acked = 0

    def run(self, node, seconds=None, kill_after=None, until=None):
        """Drives the load for a time, until a callable says so, or until the node is killed from another thread
        at a random moment within kill_after seconds; replies that were on their way are read to the end."""
        for c in self.connections:
            c.open(node.port)
        selector = selectors.DefaultSelector()
        for c in self.connections:
            selector.register(c.sock, selectors.EVENT_READ, c)
            self._send(c)
        killer = None
        if kill_after is not None:
            killer = threading.Timer(self.rng.random() * kill_after, os.kill, (node.pid, signal.SIGKILL))
            killer.start()
        end = time.monotonic() + (seconds if seconds is not None else 30)
        draining = False
        while selector.get_map():
            if not draining and (time.monotonic() > end if until is None else until()):
                draining = True
            if draining and not any(c.expect for c in self.connections):
                break
            for key, _ in selector.select(0.2):
                c = key.data
                try:
                    data = c.sock.recv(1 << 16)
                except ConnectionError:
                    data = b""
                if not data:
                    selector.unregister(c.sock)
                    continue
                self.acked += c.received(data)
                if not draining and len(c.expect) < self.window // 2:
                    self._send(c)
        selector.close()
        for c in self.connections:
            c.sock.close()
        if killer:
            killer.join()
        elif not draining:
            raise Violation("the node closed the connections\n" + node.log()[-2000:])

    def _send(self, c):
        data = c.batch(self.rng, self.connections, self.rng.randint(1, self.window // 2))
        try:
            while data:
                data = data[c.sock.send(data):]
        except BlockingIOError:
            # A step half sent is in flight as well: it may or may not happen, never in part.
            c.sock.setblocking(True)
            try:
                c.sock.sendall(data)
            except ConnectionError:
                pass
            c.sock.setblocking(False)
        except ConnectionError:
            pass

    def verify(self, node):
        """(steps that survived without an acknowledgement, steps that were in flight)"""
        survived = inflight = 0
        with node.client() as client:
            for c in self.connections:
                p, n = c.verify(client)
                survived += p
                inflight += n
        return survived, inflight
