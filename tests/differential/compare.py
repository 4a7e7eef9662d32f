"""Runs sequences on two servers side by side, compares every reply and the digests, and minimises what differs."""

import sys
import time

from harness import Node, REDIS_SERVER, ReplyError, encode, server_binary

from . import table
from .generate import Generator, inline_form
from .kinds import THRESHOLDS
from .replies import SAME, read_replies, same_xinfo, tree, value

DATABASES = 4
CRASHES_MAX = 5


class Mismatch(AssertionError):
    pass


def show(argv):
    return " ".join(a.decode() if a.isascii() and a.decode().isprintable() and a and b" " not in a else repr(a)[1:] for a in argv)


# What DUMPs are made of, by family: the commands that make the value under the name x.
SPECIMENS = {
    "strings": [[("SET", "x", v)] for v in ("", "1", "-300", "70000", "9223372036854775807", "text", "abc" * 300, bytes(range(256)))],
    "lists": [[("RPUSH", "x", "a", "b", "1", "-1", "", "9223372036854775807")], [("RPUSH", "x", *range(3000))], [("RPUSH", "x", "p" * 20000, "q", "z" * 9000)],
              [("RPUSH", "x", *("text-%d" % i * 5 for i in range(900)))]],
    "sets": [[("SADD", "x", *range(-20, 200, 7))], [("SADD", "x", 2 ** 40, -2 ** 40, 5)], [("SADD", "x", "a", "b", "c", 1)],
             [("SADD", "x", *("m%d" % i for i in range(300)))], [("SADD", "x", *range(600))], [("SADD", "x", "y" * 70, "a")]],
    "hashes": [[("HSET", "x", "f1", "v1", "f2", "2", "", "e", "n", "-3")], [("HSET", "x", *(y for i in range(600) for y in ("f%d" % i, i)))],
               [("HSET", "x", "big", "z" * 500, "n", "1")]],
    "zsets": [[("ZADD", "x", 1, "a", 2.5, "b", -3, "c", "inf", "i", "-inf", "j", "1e-300", "t")],
              [("ZADD", "x", *(y for i in range(300) for y in (i * 0.37, "m%d" % i)))], [("ZADD", "x", 1, "y" * 70)],
              [("ZADD", "x", *(y for i in range(200) for y in (0, "k%04d" % i)))]],
    "hll": [[("PFADD", "x", *range(50))], [("PFADD", "x", *range(5000))]],
    "geo": [[("GEOADD", "x", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")]],
    "streams": [[("XADD", "x", "%d-%d" % (1000 + i // 3, i % 3 + 1), "n", i, "s", "abc" * (i % 5)) for i in range(150)] + [("XDEL", "x", "1000-1", "1005-2")],
                [("XADD", "x", "%d-1" % i, "f", i) for i in range(1, 20)] + [("XGROUP", "CREATE", "x", "g1", "0"), ("XGROUP", "CREATE", "x", "g2", "10-1")]
                + [("XREADGROUP", "GROUP", "g1", "alice", "COUNT", 7, "STREAMS", "x", ">"), ("XREADGROUP", "GROUP", "g1", "bob", "COUNT", 3, "STREAMS", "x", ">"),
                   ("XACK", "x", "g1", "1-1", "2-1")]
                + [("XGROUP", "CREATECONSUMER", "x", g, name) for g in ("g1", "g2") for name in ("alice", "bob", "carol", "idle")],
                [("XADD", "x", "1-1", "a", "b"), ("XDEL", "x", "1-1")]],
}


class Pair:
    """The two servers and what is known of both."""

    def __init__(self, ours=None, theirs=None, events=None):
        self.events, self.listeners, self.told = events, [], 0
        ours = ours or server_binary()
        theirs = theirs or REDIS_SERVER
        self.is_redis = "redis-server" in ours
        config = {"enable-debug-command": "yes"} if self.is_redis else {"enable-debug-command": "yes", "rdb-version": "10"}
        self.nodes = [Node(config, binary=ours), Node({"enable-debug-command": "yes"}, binary=theirs)]
        try:
            self.defaults = []
            for n in self.nodes:
                n.start()
                if events:
                    with n.client() as c:
                        c.call("CONFIG", "SET", "notify-keyspace-events", events)
                    self.listeners.append((n.client(), n.client()))
                    self.listeners[-1][0].call("PSUBSCRIBE", "__key*")
                with n.client() as c:
                    c.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
                    self.defaults.append([c.config_get(name)[name] for name in self._names(THRESHOLDS)])
            self.known = set.intersection(*(self._commands(n) for n in self.nodes))
            self.payloads = [p for n in self.nodes for p in self._payloads(n)]
            self.scratch = self.nodes[1].client()
            self.scratch.call("SELECT", 15)
        except BaseException:
            self.close()
            raise

    def ended(self):
        """The servers that are no more; one that is about to end has a moment for it."""
        end = time.monotonic() + 5
        while all(n.alive() for n in self.nodes) and time.monotonic() < end:
            time.sleep(0.05)
        return [n for n in self.nodes if not n.alive()]

    @staticmethod
    def _names(raw):
        return [b.decode() for b in raw]

    def close(self):
        for n in self.nodes:
            n.close()

    @staticmethod
    def _commands(node):
        with node.client() as c:
            return {name.decode().lower() for name in c.call("COMMAND", "LIST")}

    def _payloads(self, node):
        """DUMPs of every family that both servers know."""
        out = []
        with node.client() as c:
            for specimens in SPECIMENS.values():
                for commands in specimens:
                    if all(command[0].lower() in self.known for command in commands):
                        for command in commands:
                            c.call(*command)
                        out.append(c.call("DUMP", "x"))
                        c.call("DEL", "x")
        return out

    def missing(self, groups=None):
        """Commands of the required groups that one of the two lacks."""
        from .generate import Row
        return sorted({name for group, _, comparison, syntax in table.rows() if group in table.REQUIRED and (not groups or group in groups)
                       for name in Row(group, comparison, syntax).needs() if name not in self.known})

    # --- running ---

    def connect(self, resp, seed=0):
        """Two connections to each server, on empty data and with the usual thresholds."""
        out = []
        for side, n in enumerate(self.nodes):
            with n.client() as c:
                c.call("FLUSHALL")
                if self.events:
                    c.call("CONFIG", "SET", "notify-keyspace-events", self.events)
                settings = [x for pair in zip(self._names(THRESHOLDS), self.defaults[side]) for x in pair]
                if side == 0 and not self.is_redis:
                    # Redis 7.0 has no such limits: no reply may depend on them.
                    settings += ["set-max-listpack-entries", (128, 0, 3, 20)[seed % 4], "set-max-listpack-value", (64, 3)[seed // 4 % 2]]
                c.call("CONFIG", "SET", *settings)
            out.append([n.client(resp=resp) for _ in range(2)])
        return out

    def both(self, *request, db=0):
        """The replies of the two servers on connections of their own, as trees."""
        out = []
        for n in self.nodes:
            with n.client() as c:
                if db:
                    c.call("SELECT", db)
                out.append(tree(c.raw(*request))[0])
        return out

    def state_differs(self):
        """None, or (what was asked, ours, theirs): the digests, and what they do not cover."""
        a, b = self.both("DEBUG", "DIGEST")
        if a != b:
            return "DEBUG DIGEST", a, b
        for db in range(DATABASES):
            keys = sorted(value(self.both("KEYS", "*", db=db)[1]))
            requests = [r for k in keys for r in (("TYPE", k), ("OBJECT", "ENCODING", k))]
            streams = []
            answers = self._ask(requests, db)
            for i, request in enumerate(requests):
                a, b = answers[0][i], answers[1][i]
                if request[0] == "TYPE":
                    kind = b[1]
                    if kind == b"stream":
                        streams.append(("XINFO", "STREAM", request[1], "FULL", "COUNT", "0"))
                elif kind in (b"set", b"list", b"zset") and self.is_expected([b"OBJECT", b"ENCODING", request[2]], value(a), value(b)):
                    continue
                if a != b:
                    return f"{' '.join(map(str, request))} in database {db}", a, b
            answers = self._ask(streams, db)
            for request, a, b in zip(streams, *answers):
                if not same_xinfo(a, b):
                    return f"XINFO STREAM {request[2]!r} FULL in database {db}", a, b
        return None

    def _ask(self, requests, db):
        out = []
        for n in self.nodes:
            if not requests:
                out.append([])
                continue
            with n.client() as c:
                c.call("SELECT", db)
                c.send_bytes(b"".join(encode(*r) for r in requests))
                out.append([tree(raw)[0] for raw in read_replies(c, len(requests))])
        return out

    def run(self, items, resp, seed=0):
        """None, or the index of the first item whose replies differ and the two replies; index len(items): the state at the end."""
        conns = self.connect(resp, seed)
        self.queued = [[], []]
        self.sorts = any(it.argv[0].upper() in (b"SORT", b"SORT_RO") for it in items)
        try:
            at = 0
            while at < len(items):
                end = at + 1
                while not self.events and end < len(items) and items[end].conn == items[at].conn and items[end - 1].comparison != "swap":
                    end += 1
                bad = self._batch(conns, items, at, end)
                if bad is not None:
                    return bad
                at = end
            differs = self.state_differs()
            if differs is not None:
                return len(items), *(f"{differs[0]}: {x}".encode() for x in differs[1:])
            return None
        finally:
            for c in conns[0] + conns[1]:
                c.close()

    def _events(self):
        """What the two have announced since the last call: (channel, message) each."""
        out = []
        for listener, teller in self.listeners:
            self.told += 1
            end = [b"pmessage", b"__key*", b"__keys_are_told", b"%d" % self.told]
            teller.call("PUBLISH", end[2], end[3])
            seen = []
            while (message := listener.read()) != end:
                if b"@15__" not in message[2]:  # the scratch database
                    seen.append(message[2:])
            out.append(seen)
        return out

    def _batch(self, conns, items, at, end):
        batch, conn = items[at:end], items[at].conn
        data = b"".join(inline_form(it.argv) if it.inline else encode(*it.argv) for it in batch)
        for side in (0, 1):
            conns[side][conn].send_bytes(data)
        theirs = read_replies(conns[1][conn], len(batch))
        ours = read_replies(conns[0][conn], len(batch), b"".join(theirs))
        queued = self.queued[conn]
        for i, it in enumerate(batch):
            if ours is None and not queued and it.argv[0].upper() != b"EXEC" and not theirs[i].startswith(b"+QUEUED"):
                continue
            a, b = (theirs if ours is None else ours)[i], theirs[i]
            if not self.same(it.argv, it.comparison, a, b, queued):
                return at + i, a, b
        if batch[-1].comparison == "swap" and theirs[-1].startswith(b"$"):
            bad = self._swap(conns, conn, batch[-1].argv, (theirs if ours is None else ours)[-1], theirs[-1], end - 1)
            if bad is not None:
                return bad
        if self.events:
            a, b = self._events()
            if a != b and not any(test(batch[0].argv, a, b) for _, test in table.EXPECTED_EVENTS):
                return at, b"events: " + repr(a).encode(), b"events: " + repr(b).encode()
        return None

    def _swap(self, conns, conn, argv, a, b, at):
        """Each server restores what the other one dumped."""
        payloads = [tree(raw)[0][1] for raw in (a, b)]
        if len(argv) != 2 or not all(payloads):
            return None  # no such key
        replies = []
        for side in (0, 1):
            c = conns[side][conn]
            c.send("RESTORE", argv[1], 0, payloads[1 - side], "REPLACE")
            replies.append(read_replies(c, 1)[0])
        return None if replies[0] == replies[1] == b"+OK\r\n" else (at, *replies)

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
            (x, _), (y, _) = tree(a), tree(b)
            return x[0] == y[0] == "*" and len(x[1]) == len(y[1]) == len(inner) and all(
                self.same_value(av, cmp, p, q) for (av, cmp), p, q in zip(inner, x[1], y[1]))
        if name in (b"DISCARD", b"RESET") and not b.startswith(b"-ERR wrong"):
            queued.clear()
        return a == b or self.same_value(argv, comparison, tree(a)[0], tree(b)[0])

    def same_value(self, argv, comparison, x, y):
        if x[0] == "-" or y[0] == "-":
            ok = x == y
        elif comparison in ("dump", "swap"):
            ok = x == y or (x[0] == y[0] == "$" and (comparison == "swap" or self.same_payload(x[1], y[1])))
        else:
            ok = SAME[comparison](x, y)
        return ok or self.is_expected(argv, value(x), value(y))

    def is_expected(self, argv, x, y):
        if self.sorts and (x, y) == (b"listpack", b"skiplist"):
            return True  # SORT of Redis turns sorted sets into skip lists; ours changes nothing that it reads
        return any(test(argv, x, y) for _, _, test in table.EXPECTED)

    def same_payload(self, x, y):
        values = []
        for p in (x, y):
            r = self.scratch.try_call("RESTORE", "scratch", 0, p, "REPLACE")
            values.append((r, self.scratch.call("DEBUG", "DIGEST-VALUE", "scratch")))
        self.scratch.call("DEL", "scratch")
        return values[0] == values[1] and values[0][0] == b"OK"

    def minimise(self, items, resp, seed=0, budget_s=30):
        """A shorter sequence that still differs (delta debugging over items that belong together)."""
        end = time.monotonic() + budget_s
        failing = self.run(items, resp, seed)
        if failing is None:
            return items
        units = []
        for it in items[:failing[0] + 1]:
            if it.glued and units:
                units[-1].append(it)
            else:
                units.append([it])
        size = max(len(units) // 2, 1)
        while size >= 1 and time.monotonic() < end:
            i, shrunk = 0, False
            while i < len(units) and time.monotonic() < end:
                candidate = units[:i] + units[i + size:]
                r = self.run([it for u in candidate for it in u], resp, seed) if candidate else None
                if r is not None:
                    units, shrunk = cut(candidate, r[0] + 1), True
                else:
                    i += size
            if not shrunk or size > len(units):
                size = min(size // 2, max(len(units) // 2, 0))
        return [it for u in units for it in u]


def cut(units, n):
    """The first n items, as units."""
    out = []
    for u in units:
        if n <= 0:
            break
        out.append(u[:n])
        n -= len(u)
    return out


def kind_of(items, bad):
    """Mismatches of one kind are shown once."""
    at, a, b = bad
    name = items[at].argv[0].upper() if at < len(items) else b"state"
    return name, a[:25], b[:25]


def report(pair, items, resp, seed, first):
    transaction = getattr(pair, "transaction", [])
    short = pair.minimise(items, resp, seed)
    at, a, b = pair.run(short, resp, seed) or (None, *first[1:])
    pair.transaction = transaction if at is None else getattr(pair, "transaction", [])
    lines = [f"seed {seed}, RESP{resp}; {len(short)} commands show it:"]
    short = short if at is not None else short[-20:]
    lines += [(f"  {it.conn}> {show(it.argv)}"[:600] + (" …" if len(show(it.argv)) > 600 else "")) + ("   (inline)" if it.inline else "") for it in short]
    lines += ["the states at the end differ" if at == len(short) else "replies to the last:" if at is not None
              else f"it comes and goes; first seen at {show(items[first[0]].argv) if first[0] < len(items) else 'the end'}",
              f"  ours:   {a!r}"[:600], f"  theirs: {b!r}"[:600]]
    if at is not None and at < len(short) and short[at].argv[0].upper() == b"EXEC":
        lines += ["  of:     " + "; ".join(show(argv) for argv, _ in pair.transaction)[:900]]
    return "\n".join(lines)


def run_differential(commands, seed=1, ours=None, theirs=None, length=2000, progress=None, groups=None, keep_going=False, focus=None,
                     events=None):
    """Returns (commands compared, [reports of mismatches]). events: classes of keyspace notifications to compare, too."""
    pair = Pair(ours, theirs, events)
    problems, seen, crashes = [], set(), 0
    try:
        missing = pair.missing(groups)
        if missing:
            raise Mismatch(f"commands that one of the servers lacks: {' '.join(missing)}")
        done = episode = 0
        while done < commands:
            s = seed * 1_000_003 + episode
            gen = Generator(s, pair.known, pair.payloads, groups, focus)
            items = gen.episode(min(length, commands - done))
            resp = 3 if episode % 3 == 2 else 2
            try:
                bad = pair.run(items, resp, s)
            except (ConnectionError, OSError, ValueError, ReplyError) as e:
                dead = pair.ended()
                if dead == [pair.nodes[1]] and not pair.is_redis and crashes < CRASHES_MAX:
                    # Redis 7.0 has faults of its own, in XCLAIM of deleted entries for one: another sequence takes the place.
                    print(f"{theirs or REDIS_SERVER} ended in sequence {s}, which is left out", file=sys.stderr, flush=True)
                    pair.close()
                    pair = Pair(ours, theirs, events)
                    crashes += 1
                    episode += 1
                    continue
                problems.append(f"seed {s}: {e!r}" + "".join(f"\nended:\n{n.log()[-3000:]}" for n in dead))
                if dead or not keep_going:
                    break
                bad = None
            if bad is not None and kind_of(items, bad) not in seen:
                seen.add(kind_of(items, bad))
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
