"""A RESP2/RESP3 client over a plain socket. It hides nothing: what is sent and received can be had byte for byte.

Replies are Python values: bytes for strings (simple and bulk), int, None, list, float, bool, dict and set for RESP3,
ReplyError (returned, not raised, unless the caller uses `call`) for errors.
"""

import socket


class ReplyError(Exception):
    """An error reply. str() is the text without the leading '-'."""

    def __eq__(self, other):
        return isinstance(other, ReplyError) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


class Push(list):
    """An out-of-band RESP3 message."""


class Incomplete(Exception):
    """The buffer ends inside a reply."""


def to_bytes(arg):
    if isinstance(arg, bytes):
        return arg
    if isinstance(arg, str):
        return arg.encode()
    if isinstance(arg, (bytearray, memoryview)):
        return bytes(arg)
    if isinstance(arg, bool):
        raise TypeError("a bool has no form on the wire")
    return repr(arg).encode() if isinstance(arg, float) else str(arg).encode()


def encode(*args):
    """One request as an array of bulk strings."""
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        b = to_bytes(arg)
        out.append(b"$%d\r\n" % len(b))
        out.append(b)
        out.append(b"\r\n")
    return b"".join(out)


def frame_end(buf, pos=0):
    """The position behind the reply that starts at pos; raises Incomplete."""
    pending = 1
    while pending:
        eol = buf.find(b"\r\n", pos)
        if eol < 0:
            raise Incomplete
        kind = buf[pos]
        if kind in b"$=!":
            n = int(buf[pos + 1:eol])
            pos = eol + 2
            if n >= 0:
                pos += n + 2
                if pos > len(buf):
                    raise Incomplete
        elif kind in b"*~>":
            pos_next = eol + 2
            pending += max(int(buf[pos + 1:eol]), 0)
            pos = pos_next
        elif kind in b"%|":
            pending += 2 * int(buf[pos + 1:eol]) + (1 if kind == 0x7C else 0)
            pos = eol + 2
        elif kind in b"+-:_,#(":
            pos = eol + 2
        else:
            raise ValueError(f"not a reply at {pos}: {bytes(buf[pos:pos + 40])!r}")
        pending -= 1
    return pos


def _hashable(v):
    if isinstance(v, list):
        return tuple(_hashable(x) for x in v)
    if isinstance(v, dict):
        return tuple(sorted((repr(k), _hashable(x)) for k, x in v.items()))
    if isinstance(v, set):
        return frozenset(v)
    return v


def parse(buf, pos=0):
    """(value, position behind it); raises Incomplete."""
    eol = buf.find(b"\r\n", pos)
    if eol < 0:
        raise Incomplete
    kind = chr(buf[pos])
    line = bytes(buf[pos + 1:eol])
    nxt = eol + 2
    if kind == "+":
        return line, nxt
    if kind == "-":
        return ReplyError(line.decode("latin-1")), nxt
    if kind == ":":
        return int(line), nxt
    if kind in "$=!":
        n = int(line)
        if n < 0:
            return None, nxt
        if nxt + n + 2 > len(buf):
            raise Incomplete
        body = bytes(buf[nxt:nxt + n])
        if kind == "=":
            body = body[4:]
        if kind == "!":
            body = ReplyError(body.decode("latin-1"))
        return body, nxt + n + 2
    if kind in "*~>":
        n = int(line)
        if n < 0:
            return None, nxt
        out = []
        for _ in range(n):
            v, nxt = parse(buf, nxt)
            out.append(v)
        if kind == "~":
            return {_hashable(v) for v in out}, nxt
        return (Push(out) if kind == ">" else out), nxt
    if kind == "%":
        out = {}
        for _ in range(int(line)):
            k, nxt = parse(buf, nxt)
            v, nxt = parse(buf, nxt)
            out[_hashable(k)] = v
        return out, nxt
    if kind == "|":
        for _ in range(2 * int(line)):
            _, nxt = parse(buf, nxt)
        return parse(buf, nxt)
    if kind == "_":
        return None, nxt
    if kind == ",":
        return float(line), nxt
    if kind == "#":
        return line == b"t", nxt
    if kind == "(":
        return int(line), nxt
    raise ValueError(f"not a reply at {pos}: {bytes(buf[pos:pos + 40])!r}")


def parse_all(buf):
    """Every complete reply in the buffer."""
    out, pos = [], 0
    while pos < len(buf):
        try:
            v, pos = parse(buf, pos)
        except Incomplete:
            break
        out.append(v)
    return out


class Client:
    """A connection. `call` raises error replies, `send`/`read` are for pipelines, `raw` gives bytes."""

    def __init__(self, port=None, host="127.0.0.1", path=None, timeout=20, password=None, resp=2):
        if path is not None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout)
            self.sock.connect(path)
        else:
            self.sock = socket.create_connection((host, port), timeout=timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = bytearray()
        self.pushes = []
        if password is not None:
            self.call("AUTH", password)
        if resp != 2:
            self.call("HELLO", resp)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def send_bytes(self, data):
        self.sock.sendall(data)

    def send(self, *args):
        self.sock.sendall(encode(*args))

    def _fill(self):
        chunk = self.sock.recv(1 << 18)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self.buf += chunk

    def read_raw(self):
        """The next reply's bytes, out-of-band messages included."""
        while True:
            try:
                end = frame_end(self.buf)
            except Incomplete:
                self._fill()
                continue
            out = bytes(self.buf[:end])
            del self.buf[:end]
            return out

    def read(self):
        """The next reply. Out-of-band messages go to `pushes`."""
        while True:
            v, _ = parse(self.read_raw())
            if isinstance(v, Push):
                self.pushes.append(v)
                continue
            return v

    def try_call(self, *args):
        """The reply; an error reply is returned."""
        self.send(*args)
        return self.read()

    def call(self, *args):
        """The reply; an error reply is raised."""
        v = self.try_call(*args)
        if isinstance(v, ReplyError):
            raise v
        return v

    def raw(self, *args):
        self.send(*args)
        return self.read_raw()

    def inline(self, line):
        self.sock.sendall((line if isinstance(line, bytes) else line.encode()) + b"\r\n")
        return self.read()

    def pipeline(self, requests, chunk=1000):
        """Replies of many requests (tuples), sent in chunks so that neither side's buffers fill up."""
        out = []
        for i in range(0, len(requests), chunk):
            part = requests[i:i + chunk]
            self.sock.sendall(b"".join(encode(*r) for r in part))
            out.extend(self.read() for _ in part)
        return out

    def read_until_closed(self, limit=1 << 24):
        """Everything that is still to come until the server closes (a reset counts as closing)."""
        out = bytearray(self.buf)
        self.buf.clear()
        try:
            while len(out) < limit:
                chunk = self.sock.recv(1 << 16)
                if not chunk:
                    break
                out += chunk
        except ConnectionError:
            pass
        return bytes(out)

    def is_closed(self, timeout=2):
        """Whether the server closes the connection within the time."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def info(self, *sections):
        """INFO as a dict of str."""
        out = {}
        for line in self.call("INFO", *sections).decode().split("\r\n"):
            if line and not line.startswith("#"):
                k, _, v = line.partition(":")
                out[k] = v
        return out

    def config_get(self, name):
        flat = self.call("CONFIG", "GET", name)
        if isinstance(flat, dict):
            flat = [x for kv in flat.items() for x in kv]
        return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
