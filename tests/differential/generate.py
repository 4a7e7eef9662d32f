"""Turns the rows of table.py into sequences of commands. The seed decides everything."""

import random
import re

from . import table

KEYS = [b"a", b"b", b"c", b"d", b"{x}1", b"{x}2", b"", b"bin\x00\r\n\xff", b"a-rather-long-name-of-a-key-that-is-not-short-at-all", b"n"]
WORDS = [b"foo", b"NX", b"help2", b"", b"*", b"a b", b"SET", b"\xff\x00", b"EX", b"16", b"maxclients", b"string", b"reset2", b"x" * 130]
INTS = [b"0", b"1", b"-1", b"2", b"10", b"-10", b"100", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806",
        b"-9223372036854775807"]
BAD_INTS = [b"9223372036854775808", b"-9223372036854775809", b"abc", b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.5", b"1e3", b"0x10", b"--1", b"-",
            b"1\x00"]
FLOATS = [b"1.5", b"-2.25", b"0.1", b"3.0e3", b"1e-10", b"5e-324", b"1e308", b"-0", b"100", b"123456789.123456789", b"0.3", b"1e17", b"-1e22", b"inf",
          b"-inf", b"+Inf", b"nan", b"infinity"]
BAD_FLOATS = [b"abc", b"", b" 1", b"1 ", b"1.5x", b"1e400", b"0x1p3", b"1,5", b"--1", b"1\x00"]
GLOBS = [b"*", b"a", b"?", b"[a-c]", b"[^a]", b"{x}*", b"*n*", b"\\a", b"[", b"[a-", b"[c-a]", b"\\", b"", b"**a**", b"a*b*c", b"[\\]]", b"*\xff"]
DATABASES = [b"0", b"0", b"1", b"2", b"3"]
BAD_DATABASES = [b"16", b"-1", b"abc", b"", b"99999999999999999999"]
FAR_S, FAR_MS = 4_102_444_800, 4_102_444_800_000


class Grammar:
    """A parsed syntax; `make(gen)` gives the argument list."""

    TOKEN = re.compile(r"\{[a-z_0-9]+\}|\)[+*]|[\[\]<>()|]|[^\s\[\]<>()|{}]+")

    def __init__(self, text):
        self.tokens = self.TOKEN.findall(text)
        self.pos = 0
        self.tree = self._sequence(())
        self.name = text.split()[0]

    def _sequence(self, stops):
        out = []
        while self.pos < len(self.tokens) and self.tokens[self.pos] not in stops:
            t = self.tokens[self.pos]
            self.pos += 1
            if t in "[<":
                choices = [self._sequence(("|", "]", ">"))]
                while self.tokens[self.pos] == "|":
                    self.pos += 1
                    choices.append(self._sequence(("|", "]", ">")))
                self.pos += 1
                out.append(("optional" if t == "[" else "one", choices))
            elif t == "(":
                body = self._sequence((")+", ")*"))
                out.append(("many+" if self.tokens[self.pos] == ")+" else "many*", body))
                self.pos += 1
            elif t.startswith("{"):
                out.append(("kind", t[1:-1]))
            else:
                out.append(("word", t.encode()))
        return out

    def make(self, gen, tree=None):
        out = []
        tree = self.tree if tree is None else tree
        i = 0
        rng = gen.rng
        while i < len(tree):
            what, body = tree[i]
            i += 1
            if what == "word":
                out.append(body if rng.random() < 0.8 else body.lower())
            elif what == "kind":
                made = gen.kind(body)
                out.extend(made) if isinstance(made, list) else out.append(made)
            elif what == "one":
                out.extend(self.make(gen, rng.choice(body)))
            elif what == "optional":
                run = [body]
                while i < len(tree) and tree[i][0] == "optional":
                    run.append(tree[i][1])
                    i += 1
                if len(run) > 1 and rng.random() < 0.5:
                    rng.shuffle(run)
                for choices in run:
                    if rng.random() < 0.35:
                        out.extend(self.make(gen, rng.choice(choices)))
            else:
                least = 1 if what == "many+" else 0
                for _ in range(rng.choice((least, 1, 1, 2, 2, 4))):
                    out.extend(self.make(gen, body))
        return out


class Generator:
    def __init__(self, seed, known=None, payloads=(), groups=None):
        """known: lower-case names of commands that both servers have; None = all. payloads: DUMPs to RESTORE."""
        self.rng = random.Random(seed)
        self.payloads = list(payloads)
        self.rows, self.weights = [], []
        for group, weight, comparison, syntax in table.rows():
            if groups and group not in groups:
                continue
            g = Grammar(syntax)
            if known is not None and not syntax.startswith("{") and g.name.lower() not in known:
                continue
            self.rows.append((g, comparison))
            # A family that needs its own type gets room beside the strings.
            self.weights.append(weight)
        total = 0
        self.cumulative = [total := total + w for w in self.weights]

    def pick(self):
        return self.rng.choices(self.rows, cum_weights=self.cumulative)[0]

    def command(self):
        """(argv, comparison)"""
        rng = self.rng
        g, comparison = self.pick()
        argv = g.make(self)
        # Another number of WAIT would wait for good; ZRANK and ZREVRANK have an option more than in Redis 7.0.
        if rng.random() < 0.06 and g.name not in ("WAIT", "ZRANK", "ZREVRANK"):
            how = rng.randrange(5)
            if how == 0 and len(argv) > 1:
                del argv[rng.randrange(1, len(argv))]
            elif how == 1:
                argv.insert(rng.randrange(1, len(argv) + 1), rng.choice(WORDS))
            elif how == 2 and len(argv) > 1:
                argv[rng.randrange(1, len(argv))] = rng.choice(WORDS + BAD_INTS)
            elif how == 3:
                argv = argv[:1]
            else:
                argv.append(argv[-1])
        return argv, self.comparison_of(argv, comparison)

    # A mangled command may have become another one.
    SHAPES = {b"SCAN": "shape", b"SLOWLOG": "shape", b"RANDOMKEY": "shape", b"HELLO": "shape", b"KEYS": "set"}

    def comparison_of(self, argv, comparison):
        if argv[0].upper() == b"COMMAND" and len(argv) == 1:
            return "shape"  # the order and the newer commands
        if argv[0].upper() == b"CLIENT" and len(argv) > 1 and argv[1].upper() in (b"LIST", b"INFO", b"ID"):
            return "shape"
        return self.SHAPES.get(argv[0].upper(), comparison)

    def kind(self, name):
        return getattr(self, "make_" + name)()

    def make_key(self):
        return self.rng.choice(KEYS)

    make_member = make_key

    def make_word(self):
        return self.rng.choice(WORDS)

    def make_value(self):
        rng = self.rng
        r = rng.random()
        if r < 0.3:
            return b"%d" % rng.choice((0, 1, 7, 9999, 10000, 10001, -1, 123456789, 2 ** 31, -2 ** 31 - 1, 2 ** 63 - 1, -2 ** 63))
        if r < 0.4:
            return rng.choice(INTS + BAD_INTS)
        if r < 0.5:
            return rng.choice(FLOATS + BAD_FLOATS)
        if r < 0.9:
            n = rng.choice((0, 1, 2, 3, 5, 8, 12, 20, 43, 44, 45, 64, 100))
            return bytes(rng.choices(b"abcde", k=n))
        if r < 0.97:
            return rng.randbytes(rng.randrange(40))
        return rng.choice((b"q" * 300, b"abc" * 200, b"z" * 20000))

    def make_int(self):
        rng = self.rng
        return b"%d" % rng.randrange(-1000, 1000) if rng.random() < 0.6 else rng.choice(INTS) if rng.random() < 0.7 else rng.choice(BAD_INTS)

    def make_float(self):
        rng = self.rng
        return b"%.3f" % (rng.random() * 100 - 50) if rng.random() < 0.5 else rng.choice(FLOATS) if rng.random() < 0.7 else rng.choice(BAD_FLOATS)

    make_score = make_float

    def make_index(self):
        return b"%d" % self.rng.randrange(-12, 30) if self.rng.random() < 0.9 else self.make_int()

    def make_small(self):
        return b"%d" % self.rng.randrange(-1, 4)

    def make_bit(self):
        return self.rng.choice((b"0", b"1", b"1", b"2"))

    def make_byte(self):
        return self.rng.choice((b"0", b"255", b"7", b"256", b"-1", b"x"))

    def make_offset(self):
        # Nothing that is allowed and huge: both servers would really make it.
        return b"%d" % self.rng.choice((0, 1, 2, 5, 10, 40, 100, 3000)) if self.rng.random() < 0.85 else self.rng.choice(
            (b"-1", b"536870912", b"9223372036854775807", b"abc", b"4294967296"))

    # Relative deadlines are far off and never the same twice: which of two is later must not depend on the clock.
    def make_sec(self):
        rng = self.rng
        if rng.random() < 0.75:
            return b"%d" % rng.randrange(100_000, 2_000_000_000)
        return rng.choice((b"0", b"-1", b"-100000", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775", b"abc", b"1.5", b""))

    def make_ms(self):
        rng = self.rng
        if rng.random() < 0.75:
            return b"%d" % rng.randrange(100_000_000, 2_000_000_000_000)
        return rng.choice((b"0", b"-1", b"9223372036854775807", b"-9223372036854775808", b"abc", b"1.5", b""))

    def make_at_s(self):
        return b"%d" % (FAR_S + self.rng.randrange(20)) if self.rng.random() < 0.75 else self.rng.choice(
            (b"0", b"1", b"-1", b"1000000000", b"9223372036854775807", b"9223372036854775", b"9223372036854776", b"x"))

    def make_at_ms(self):
        return b"%d" % (FAR_MS + self.rng.randrange(20)) if self.rng.random() < 0.75 else self.rng.choice(
            (b"0", b"1", b"-1", b"1000000000000", b"9223372036854775807", b"-9223372036854775808", b"x"))

    # SET with a deadline in the past: Redis 7.0 stores the key and removes it later, ours does not store it.
    def make_far_s(self):
        return b"%d" % (FAR_S + self.rng.randrange(20)) if self.rng.random() < 0.8 else self.rng.choice((b"0", b"-1", b"9223372036854775807", b"x"))

    def make_far_ms(self):
        return b"%d" % (FAR_MS + self.rng.randrange(20)) if self.rng.random() < 0.8 else self.rng.choice((b"0", b"-1", b"x"))

    def make_ttl0(self):
        return b"0" if self.rng.random() < 0.6 else self.rng.choice(
            (b"%d" % self.rng.randrange(100_000_000, 2_000_000_000_000), b"%d" % (FAR_MS + self.rng.randrange(20)), b"-1", b"x"))

    def make_db(self):
        return self.rng.choice(DATABASES) if self.rng.random() < 0.93 else self.rng.choice(BAD_DATABASES)

    def make_glob(self):
        return self.rng.choice(GLOBS)

    def make_cursor(self):
        return b"0" if self.rng.random() < 0.8 else self.rng.choice((b"abc", b"-1", b"", b" 0", b"18446744073709551616"))

    def make_payload(self):
        rng = self.rng
        p = rng.choice(self.payloads) if self.payloads else b"\x00\x01a\x0a\x00"
        if rng.random() < 0.15:
            p = bytearray(p)
            if p and rng.random() < 0.7:
                p[rng.randrange(len(p))] ^= 1 << rng.randrange(8)
            else:
                del p[rng.randrange(len(p) + 1):]
            p = bytes(p)
        return p

    def make_command(self):
        """A whole command as arguments of COMMAND GETKEYS."""
        while True:
            g, _ = self.pick()
            if g.name not in ("COMMAND", "{word}"):
                argv = g.make(self)
                if len(argv) > 1:  # 7.0 wants one argument more than newer servers
                    return argv

    def make_range(self):
        return self.rng.choice((b"-inf", b"+inf", b"(1", b"1", b"(5", b"10", b"abc", b"(", b"-5"))

    def make_lex(self):
        return self.rng.choice((b"-", b"+", b"[a", b"(a", b"[c", b"(d", b"x", b"["))

    def make_lon(self):
        return self.rng.choice((b"13.361389", b"15.087269", b"-122.4", b"179.9", b"181", b"x", b"0"))

    def make_lat(self):
        return self.rng.choice((b"38.115556", b"37.502669", b"-33.9", b"85", b"86", b"x", b"0"))

    def make_stream_id(self):
        return self.rng.choice((b"1-1", b"2-0", b"3", b"1-2", b"5-5", b"0-0", b"x", b"1-x", b"18446744073709551615-18446744073709551615"))

    # --- sequences ---

    def episode(self, length, connections=2):
        """A list of (connection, argv, comparison, inline?); neighbours on one connection travel in one batch."""
        out = []
        while len(out) < length:
            conn = 0 if self.rng.random() < 0.8 else self.rng.randrange(connections)
            for _ in range(self.rng.choice((1, 3, 10, 40))):
                argv, comparison = self.command()
                out.append((conn, argv, comparison, self.rng.random() < 0.03 and inline_form(argv, self.rng) is not None))
        return out[:length]


def inline_form(argv, rng=None):
    """The command as a line, quoted where it must be; None where a line cannot carry it."""
    out = []
    if sum(map(len, argv)) > 10_000 or not argv[0] or argv[0].startswith(b"*"):
        return None
    for a in argv:
        if re.fullmatch(rb"[A-Za-z0-9_:.*{}+-]+", a):
            out.append(a)
        else:
            out.append(b'"' + b"".join(bytes([b]) if 32 < b < 127 and b not in b'"\\' else b"\\x%02x" % b for b in a) + b'"')
    return b" ".join(out) + b"\r\n"
