"""Runs sequences on two servers side by side, compares every reply and the digests, and minimises what differs."""

import itertools
import time

from harness import Node, REDIS_SERVER, ReplyError, encode, server_binary
from harness.resp import Incomplete, frame_end, parse

from . import table
from .generate import Generator, inline_form

NEAR = 30_000


class Mismatch(AssertionError):
    pass


def show(argv):
    return " ".join(a.decode() if a.isascii() and a.decode().isprintable() and a and b" " not in a else repr(a)[1:] for a in argv)


class Pair:
    """The two servers and what is known of both."""

    def __init__(self, ours=None, theirs=None):
        ours = ours or server_binary()
        theirs = theirs or REDIS_SERVER
        config = {"enable-debug-command": "yes", "rdb-version": "10"}
        self.nodes = [Node(dict(config) if "redis-server" not in ours else {"enable-debug-command": "yes"}, binary=ours),
                      Node({"enable-debug-command": "yes"}, binary=theirs)]
        try:
            for n in self.nodes:
                n.start()
                with n.client() as c:
                    c.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
            self.known = set.intersection(*(self._commands(n) for n in self.nodes))
            self.payloads = self._payloads()
            self.scratch = self.nodes[1].client()
            self.scratch.call("SELECT", 15)
        except BaseException:
            self.close()
            raise

    def close(self):
        for n in self.nodes:
            n.close()

    @staticmethod
    def _commands(node):
        with node.client() as c:
            return {name.decode().lower() for name in c.call("COMMAND", "LIST")}

    def _payloads(self):
        out = []
        with self.nodes[1].client() as c:
            for v in ("", "1", "-300", "70000", "9223372036854775807", "text", "abc" * 300, bytes(range(256))):
                c.call("SET", "x", v)
                out.append(c.call("DUMP", "x"))
            c.call("DEL", "x")
        return out

    def missing(self):
        """Commands of the required groups that one of the two lacks."""
        return sorted({syntax.split()[0] for group, _, _, syntax in table.rows()
                       if group in table.REQUIRED and not syntax.startswith("{") and syntax.split()[0].lower() not in self.known})

    # --- running ---

    def connect(self, resp):
        """Two connections to each server, on empty data."""
        out = []
        for n in self.nodes:
            with n.client() as c:
                c.call("FLUSHALL")
            out.append([n.client(resp=resp) for _ in range(2)])
        return out

    def digest(self):
        out = []
        for n in self.nodes:
            with n.client() as c:
                out.append(c.call("DEBUG", "DIGEST"))
        return out

    def run(self, items, resp):
        """None, or the index of the first item whose replies differ and the two replies; index len(items): the digests."""
        conns = self.connect(resp)
        queued = [[], []]
        try:
            at = 0
            for conn, group in itertools.groupby(items, key=lambda it: it[0]):
                batch = list(group)
                data = b"".join(inline_form(argv) if inline else encode(*argv) for _, argv, _, inline in batch)
                for side in (0, 1):
                    conns[side][conn].send_bytes(data)
                theirs = read_replies(conns[1][conn], len(batch))
                raw = b"".join(theirs)
                ours = read_replies(conns[0][conn], len(batch), raw)
                for i, (_, argv, comparison, _) in enumerate(batch):
                    if ours is None and not queued[conn] and b"EXEC" != argv[0].upper() and not theirs[i].startswith(b"+QUEUED"):
                        continue
                    a, b = (theirs if ours is None else ours)[i], theirs[i]
                    if not self.same(argv, comparison, a, b, queued[conn]):
                        return at + i, a, b
                at += len(batch)
            a, b = self.digest()
            return (len(items), a, b) if a != b else None
        finally:
            for c in conns[0] + conns[1]:
                c.close()

    def same(self, argv, comparison, a, b, queued):
        name = argv[0].upper()
        if b == b"+QUEUED\r\n":
            queued.append((argv, comparison))
            return a == b
        if name == b"EXEC":
            self.transaction = inner = list(queued)
            queued.clear()
            if a == b:
                return True
            x, y = parse(a)[0], parse(b)[0]
            return isinstance(x, list) and isinstance(y, list) and len(x) == len(y) == len(inner) and all(
                self.same_value(av, cmp, p, q) for (av, cmp), p, q in zip(inner, x, y))
        if name in (b"DISCARD", b"RESET") and not b.startswith(b"-ERR wrong"):
            queued.clear()
        return a == b or self.same_value(argv, comparison, parse(a)[0], parse(b)[0])

    def same_value(self, argv, comparison, x, y):
        if isinstance(x, ReplyError) or isinstance(y, ReplyError):
            ok = x == y
        elif comparison == "set":
            ok = isinstance(x, (list, set)) and type(x) is type(y) and sorted(map(repr, x)) == sorted(map(repr, y))
        elif comparison == "near":
            ok = x == y or (isinstance(x, int) and isinstance(y, int) and min(x, y) >= 0 and abs(x - y) <= NEAR)
        elif comparison == "shape":
            ok = type(x) is type(y)
        elif comparison == "dump":
            ok = x == y or (isinstance(x, bytes) and isinstance(y, bytes) and self.same_payload(x, y))
        else:
            ok = repr(x) == repr(y)
        return ok or any(test(argv, x, y) for _, _, test in table.EXPECTED)

    def same_payload(self, x, y):
        values = []
        for p in (x, y):
            r = self.scratch.try_call("RESTORE", "scratch", 0, p, "REPLACE")
            values.append((r, self.scratch.call("DEBUG", "DIGEST-VALUE", "scratch")))
        self.scratch.call("DEL", "scratch")
        return values[0] == values[1] and values[0][0] == b"OK"

    def minimise(self, items, resp, budget_s=30):
        """A shorter sequence that still differs (delta debugging over items)."""
        end = time.monotonic() + budget_s
        failing = self.run(items, resp)
        if failing is None:
            return items
        items = items[:failing[0] + 1]
        size = max(len(items) // 2, 1)
        while size >= 1 and time.monotonic() < end:
            i, shrunk = 0, False
            while i < len(items) and time.monotonic() < end:
                candidate = items[:i] + items[i + size:]
                r = self.run(candidate, resp) if candidate else None
                if r is not None:
                    items, shrunk = candidate[:r[0] + 1], True
                else:
                    i += size
            if not shrunk or size > len(items):
                size = min(size // 2, max(len(items) // 2, 0))
        return items


def read_replies(client, count, guess=None):
    """The bytes of `count` replies. Where they are what was guessed, None: they need no cutting up."""
    if guess is not None:
        while len(client.buf) < len(guess) and guess.startswith(client.buf):
            client._fill()
        if client.buf == guess:
            client.buf.clear()
            return None
    out, pos = [], 0
    while len(out) < count:
        try:
            end = frame_end(client.buf, pos)
        except Incomplete:
            client._fill()
            continue
        out.append(bytes(client.buf[pos:end]))
        pos = end
    del client.buf[:pos]
    return out


def report(pair, items, resp, seed, first):
    transaction = getattr(pair, "transaction", [])
    short = pair.minimise(items, resp)
    at, a, b = pair.run(short, resp) or (None, *first[1:])
    pair.transaction = transaction if at is None else getattr(pair, "transaction", [])
    lines = [f"seed {seed}, RESP{resp}; {len(short)} commands show it:"]
    short = short if at is not None else short[-20:]
    lines += [f"  {conn}> {show(argv)}{'   (inline)' if inline else ''}" for conn, argv, _, inline in short]
    lines += ["the data sets differ (DEBUG DIGEST)" if at == len(short) else "replies to the last:" if at is not None 
              else f"it comes and goes; first seen at {show(items[first[0]][1]) if first[0] < len(items) else 'the digests'}",
              f"  ours:   {a!r}"[:600], f"  theirs: {b!r}"[:600]]
    if first[0] < len(items) and items[first[0]][1][0].upper() == b"EXEC":
        lines.append("  of:     " + "; ".join(show(argv) for argv, _ in pair.transaction)[:900])
    return "\n".join(lines)


def run_differential(commands, seed=1, ours=None, theirs=None, length=2000, progress=None, groups=None, keep_going=False):
    """Returns (commands compared, [reports of mismatches])."""
    pair = Pair(ours, theirs)
    problems = []
    try:
        missing = pair.missing()
        if missing:
            raise Mismatch(f"commands that one of the servers lacks: {' '.join(missing)}")
        done = episode = 0
        while done < commands:
            s = seed * 1_000_003 + episode
            gen = Generator(s, pair.known, pair.payloads, groups)
            items = gen.episode(min(length, commands - done))
            resp = 3 if episode % 3 == 2 else 2
            try:
                bad = pair.run(items, resp)
            except (ConnectionError, OSError, ValueError) as e:
                dead = [n for n in pair.nodes if not n.alive()]
                problems.append(f"seed {s}: {e!r}" + "".join(f"\nended:\n{n.log()[-3000:]}" for n in dead))
                if dead or not keep_going:
                    break
                bad = None
            if bad is not None:
                problems.append(report(pair, items, resp, s, bad))
                if not keep_going or len(problems) >= 20:
                    break
            done += len(items)
            episode += 1
            if progress:
                progress(done, len(problems))
        return done, problems
    finally:
        pair.close()


