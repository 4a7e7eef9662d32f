"""Peers that do not keep to the protocol of replication."""

import random
import socket
import threading
import time

from .node import free_port, wait_until
from .resp import encode

ID = "a" * 40


def record(node):
    """What a primary sends to a replica that synchronises: (the snapshot's bytes, replication id, offset)."""
    with node.client() as c:
        c.call("REPLCONF", "listening-port", 1, "capa", "psync2")
        c.send("PSYNC", "?", "-1")
        f = c.sock.makefile("rb")
        line = f.readline()
        _, rid, at = line.split()
        size = b""
        while not size.startswith(b"$"):
            size = f.readline().strip()
        return f.read(int(size[1:])), rid.decode(), int(at)


class FakePrimary:
    """Accepts replicas one after the other and lets `script(session)` talk to each; the script of the next connection is
    set with `play`."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.script = None
        self.done = threading.Event()
        self.error = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            script = self.script
            s.settimeout(5)
            try:
                if script is not None:
                    script(Session(s))
            except OSError:
                pass
            finally:
                s.close()
                if script is not None and script is self.script:
                    self.done.set()

    def play(self, node, script, timeout=20):
        """Makes the node follow this primary, and waits until the script has ended."""
        self.done.clear()
        with node.client(timeout=timeout) as c:
            wait_until(lambda: c.try_call("REPLICAOF", "NO", "ONE") == b"OK", timeout, what="the end of the last load")
            self.script = script
            c.call("REPLICAOF", "127.0.0.1", self.port)
        assert self.done.wait(timeout), "the node did not come, or did not listen to the end"
        self.script = None

    def close(self):
        self.listener.close()


class Session:
    def __init__(self, sock):
        self.sock = sock
        self.data = b""

    def wait_for(self, text):
        while text not in self.data:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError
            self.data += more

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def introduce(self):
        """The handshake up to PSYNC, whose offset and id are in `data`."""
        self.wait_for(b"PING")
        self.send(b"+PONG\r\n")
        self.wait_for(b"psync2")
        self.send(b"+OK\r\n" * self.data.count(b"REPLCONF"))
        self.wait_for(b"PSYNC")

    def full(self, snapshot, offset=1000, mark=None):
        self.introduce()
        self.send(f"+FULLRESYNC {ID} {offset}\r\n")
        if mark is None:
            self.send(b"$%d\r\n" % len(snapshot) + snapshot)
        else:
            self.send(b"$EOF:" + mark + b"\r\n" + snapshot + mark)

    def stream(self, snapshot, data, offset=1000):
        """A good synchronization, then these bytes."""
        self.full(snapshot, offset)
        self.wait_for(b"ACK")
        self.send(data)

    def linger(self, seconds=0.3):
        """Until the other side closes, or so long. True: it closed."""
        self.sock.settimeout(seconds)
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                if not self.sock.recv(65536):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
        return False


def mutate(r, data):
    """Some bytes changed, cut out, doubled or put in."""
    data = bytearray(data)
    for _ in range(r.choice([1, 1, 1, 2, 5])):
        at = r.randrange(len(data)) if data else 0
        kind = r.randrange(6)
        if kind == 0:
            data = data[:at]
        elif kind == 1 and data:
            data[at] ^= 1 << r.randrange(8)
        elif kind == 2 and data:
            data[at] = r.choice([0, 0xff, 0x80, 0x7f, 0xc0, 13, 10, ord("*"), ord("$"), ord("-"), ord("9")])
        elif kind == 3:
            data[at:at] = bytes(r.randrange(256) for _ in range(r.randrange(1, 12)))
        elif kind == 4:
            del data[at:at + r.randrange(1, 20)]
        else:
            n = r.randrange(1, 60)
            data[at:at] = data[max(0, at - n):at]
    return bytes(data)


STREAM = b"".join(encode(*q) for q in [
    ("SELECT", 0), ("SET", "a", "x" * 50), ("PING",), ("MULTI",), ("INCR", "n"), ("RPUSH", "l", "a", "b"), ("EXEC",),
    ("SELECT", 9), ("HSET", "h", "f", "v"), ("REPLCONF", "GETACK", "*"), ("ZADD", "z", 1.5, "m"), ("XADD", "x", "5-1", "f", "v"),
    ("DEL", "a"), ("PUBLISH", "ch", "m"), ("PEXPIREAT", "n", 99999999999999), ("SADD", "s", 1, 2, 3)])


def mutated_session(r, snapshot):
    """A session of a primary with something wrong in it, somewhere."""
    head = f"+FULLRESYNC {ID} {r.choice([0, 1000, 2 ** 40])}\r\n".encode()
    if r.random() < 0.5:
        body = b"$%d\r\n" % len(snapshot) + snapshot
    else:
        mark = bytes(r.choice(b"0123456789abcdef") for _ in range(40))
        body = b"$EOF:" + mark + b"\r\n" + snapshot + mark
    where = r.randrange(4)
    stream = STREAM
    if where == 0:
        head = mutate(r, head)
    elif where == 1:
        body = mutate(r, body)
    else:
        stream = mutate(r, STREAM)

    def script(s):
        s.introduce()
        s.send(head + body)
        if where >= 2:
            s.wait_for(b"ACK")
        at = 0
        while at < len(stream):  # in pieces
            n = r.choice([1, 7, 100, 10 ** 6])
            s.send(stream[at:at + n])
            at += n
        s.linger(0.02)
    return script


def hostile_replica(r, node):
    """A client that plays a replica badly."""
    with node.client(timeout=2) as c:
        try:
            for _ in range(r.randrange(4)):
                c.send(*r.choice([("REPLCONF", "listening-port", r.choice([0, 1, 65536, -1, "x"])), ("REPLCONF", "ip-address", "9" * r.choice([1, 45, 46, 5000])),
                                  ("REPLCONF", "capa", "eof", "capa", "psync2"), ("REPLCONF", "capa", "holdfast", "capa", "eof"),
                                  ("REPLCONF", "version", r.choice(["7.2.4", "a", "999999999999.1.1", "1.1"])), ("REPLCONF", "rdb-only", r.choice([0, 1, 2, "x"])),
                                  ("REPLCONF", "rdb-filter-only", r.choice(["functions", "", "'", "x"])), ("REPLCONF", "nonsense", "x"),
                                  ("REPLCONF", "ACK", r.choice([0, -1, 2 ** 62, 2 ** 63, "x"])), ("REPLCONF", "GETACK", "*"), ("REPLCONF",), ("REPLCONF", "capa")]))
            rid = r.choice(["?", ID, node.info("replication")["master_replid"], "x" * 10 ** 5, "", "0" * 40])
            at = r.choice([-1, 0, 1, 10, 2 ** 62, 2 ** 63 - 1, 2 ** 64, -2 ** 63, "x", ""])
            c.send(*r.choice([("PSYNC", rid, at), ("PSYNC", rid, at), ("PSYNC", rid, at, "FAILOVER"), ("SYNC",), ("PSYNC", rid, at, "x", "y")]))
            for _ in range(r.randrange(8)):
                if r.random() < 0.4:
                    c.sock.settimeout(0.01)
                    try:
                        c.sock.recv(r.choice([1, 100, 10 ** 6]))
                    except TimeoutError:
                        pass
                c.send_bytes(r.choice([encode("REPLCONF", "ACK", r.choice([0, 5, -1, 2 ** 62, "x", ""])), encode("REPLCONF", "ACK", 1, "FACK", 2 ** 50),
                                       encode("PSYNC", rid, at), encode("SYNC"), b"\n", b"\r\n", encode("REPLCONF", "listening-port", 7), b"*1\r\n$5\r\nab", b"\0\xff\xfe\r\n",
                                       b"*-5\r\n", b"*99999999999\r\n", encode("GET", "a"), encode("SET", "evil", 1), encode("MULTI"), encode("EXEC"), encode("SUBSCRIBE", "c"),
                                       encode("BLPOP", "q", 0), encode("WAIT", 5, 0), encode("MONITOR"), encode("CLIENT", "REPLY", "ON"), encode("RESET"), encode("QUIT"),
                                       encode("HELLO", 3), encode("CLIENT", "KILL", "TYPE", "replica"), encode("ROLE"), encode("INFO", "replication")]))
                if r.random() < 0.3:
                    time.sleep(0.02)
        except OSError:
            pass
