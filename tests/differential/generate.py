"""Turns the rows of table.py into sequences of commands. The seed decides everything."""

import random
import re
from typing import NamedTuple

from . import table
from .kinds import BAD_INTS, CONSUMERS, POOL_OF, WORDS, Kinds


class Item(NamedTuple):
    """One command of a sequence."""
    conn: int
    argv: list
    comparison: str
    inline: bool
    glued: bool = False  # stays with the one in front of it


class Grammar:
    """A parsed syntax; `make(gen)` gives the argument list."""

    def __init__(self, text):
        self.tokens = self._tokens(text)
        self.pos = 0
        self.tree = self._sequence(())
        self.name = text.split()[0]

    def _tokens(self, text):
        """A '>' closes a choice that is open, unless it is one of the choices itself; else it is a word."""
        out, depth = [], 0
        raw = re.findall(r"\{[a-z_0-9]+\}|\)[+*]|[\[\]<()|>]|[^\s\[\]<()|{}>]+", text)
        for i, t in enumerate(raw):
            if t == "<":
                depth += 1
            elif t == ">":
                if depth and not (out[-1] in "<|" and i + 1 < len(raw) and raw[i + 1] in "|>"):
                    depth -= 1
                else:
                    out.append(("word", t))
                    continue
            out.append(t)
        return out

    def _at(self, stops):
        t = self.tokens[self.pos]
        return isinstance(t, str) and t in stops

    def _sequence(self, stops):
        out = []
        while self.pos < len(self.tokens) and not self._at(stops):
            t = self.tokens[self.pos]
            self.pos += 1
            if isinstance(t, tuple):
                out.append(("word", t[1].encode()))
            elif t in "[<":
                choices = [self._sequence(("|", "]", ">"))]
                while self._at(("|",)):
                    self.pos += 1
                    choices.append(self._sequence(("|", "]", ">")))
                self.pos += 1
                out.append(("optional" if t == "[" else "one", choices))
            elif t == "(":
                body = self._sequence((")+", ")*"))
                out.append(("many+" if self._at((")+",)) else "many*", body))
                self.pos += 1
            elif t.startswith("{"):
                out.append(("kind", t[1:-1]))
            else:
                out.append(("word", t.encode()))
        return out

    def kinds(self, tree=None):
        """The names of all kinds in it."""
        for what, body in self.tree if tree is None else tree:
            if what == "kind":
                yield body
            elif what in ("one", "optional"):
                for choice in body:
                    yield from self.kinds(choice)
            elif what != "word":
                yield from self.kinds(body)

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


class Row:
    """A line of the table: its group, its name and its steps (comparison, grammar)."""

    def __init__(self, group, comparison, syntax):
        self.group = group
        self.steps = []
        for step in syntax.split(" ; "):
            m = re.match(r"([a-z]+):\s+", step)
            self.steps.append((m[1] if m else comparison if not self.steps else "exact", Grammar(step[m.end():] if m else step)))
        self.name = self.steps[0][1].name

    def needs(self):
        """The commands that both servers must have for it."""
        out = []
        for _, g in self.steps:
            out += re.findall(r"[a-z]+", g.name.lower()) if g.name.startswith("<") else [] if g.name.startswith("{") else [g.name.lower()]
        return out


class Generator(Kinds):
    def __init__(self, seed, known=None, payloads=(), groups=None, focus=None):
        """known: lower-case names of commands that both servers have; None = all. payloads: DUMPs to RESTORE. focus: the
        family the sequence leans to; None = the seed decides."""
        self.rng = random.Random(seed)
        self.payloads = list(payloads)
        self.forced = self.last_key = None
        self.last_count = 1
        self.stream_ms, self.stream_seq, self.stream_ids = 5, 0, []
        self.in_multi = {}
        drawn = self.rng.choice((None,) * 6 + table.FOCUS)
        self.focus = drawn if focus is None else focus
        leaning = {self.focus, *table.COMPANY.get(self.focus, ())}
        by_group = {}
        for group, weight, comparison, syntax in table.rows():
            if groups and group not in groups:
                continue
            row = Row(group, comparison, syntax)
            if known is None or all(name in known for name in row.needs()):
                by_group.setdefault(group, []).append((row, weight))
        if len(by_group) > 1 and self.focus != "sort" and self.rng.random() < 0.3:
            by_group.pop("sort", None)
        self.sorts = "sort" in by_group
        self.pools = ["key"] + [pool for group, pool in POOL_OF.items() if group in by_group]
        if "strings" not in by_group and len(self.pools) > 1:
            del self.pools[0]
        self.rows, self.weights = [], []
        for group, rows in by_group.items():
            share = table.SHARES[group] * (6 if group in leaning else 1) / sum(w for _, w in rows)
            for row, weight in rows:
                self.rows.append(row)
                self.weights.append(weight * share)
        total = 0
        self.cumulative = [total := total + w for w in self.weights]

    def pick(self):
        return self.rng.choices(self.rows, cum_weights=self.cumulative)[0]

    # Waiting with another number could be for good; drawing another number of elements would change what is left; ZRANK has
    # an option more than in Redis 7.0.
    NEVER_MANGLED = ("ZRANK", "ZREVRANK", "WAIT", "BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "SPOP")
    # A mangled command may have become another one.
    SHAPES = {b"SCAN": "shape", b"SLOWLOG": "shape", b"RANDOMKEY": "shape", b"HELLO": "shape", b"KEYS": "set"}
    MANGLED_SHAPES = {b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER", b"SSCAN", b"HSCAN", b"ZSCAN", b"SORT", b"SORT_RO", b"OBJECT"}

    def mangle(self, argv):
        rng = self.rng
        how = rng.randrange(5)
        if how == 0 and len(argv) > 1:
            del argv[rng.randrange(1, len(argv))]
        elif how == 1:
            argv.insert(rng.randrange(1, len(argv) + 1), rng.choice(WORDS))
        elif how == 2 and len(argv) > 1:
            argv[rng.randrange(1, len(argv))] = rng.choice(WORDS + BAD_INTS)
        elif how == 3:
            del argv[1:]
        else:
            argv.append(argv[-1])
        # Ranges of bytes have one answer only where the scores are equal.
        if argv[0].upper() == b"ZADD" and len(argv) > 1 and argv[1].startswith(b"y"):
            argv[2::2] = [b"0"] * len(argv[2::2])

    def comparison_of(self, argv, comparison, mangled=False):
        name = argv[0].upper()
        if name == b"COMMAND" and len(argv) == 1:
            return "shape"  # the order and the newer commands
        if name == b"CLIENT" and len(argv) > 1 and argv[1].upper() in (b"LIST", b"INFO", b"ID"):
            return "shape"
        if mangled and name in self.MANGLED_SHAPES:
            return "shape"
        return comparison if comparison == "scan" and not mangled else self.SHAPES.get(name, comparison)

    def commands(self, conn=0):
        """One row's [(argv, comparison)]."""
        rng = self.rng
        while True:
            row = self.pick()
            multi = self.in_multi.get(conn, False)
            if not multi or (row.name != "DEBUG" and "DEBUG" not in (g.name for _, g in row.steps)):
                break  # time stands still in a transaction, and what a reload means there is nobody's business
        out = []
        for comparison, grammar in row.steps:
            self.then_comparison = None
            argv = grammar.make(self)
            comparison = self.then_comparison or comparison
            mangled = False
            # A queued command that is refused ends the whole transaction: less of that.
            if len(row.steps) == 1 and row.group != "config" and rng.random() < (0.015 if multi else 0.06) and argv[0].upper().decode("latin-1") not in self.NEVER_MANGLED \
                    and comparison != "swap":
                before = list(argv)
                self.mangle(argv)
                mangled = argv != before
                if mangled and argv[0].upper() == b"XADD" and b"*" in argv[1:]:
                    argv, mangled = before, False  # an id by the clock
                if mangled and argv[0].upper() in (b"XREADGROUP", b"XCLAIM", b"XAUTOCLAIM") and argv[3:4] and argv[3] not in CONSUMERS:
                    argv, mangled = before, False  # the two make consumers at different times
            out.append((argv, self.comparison_of(argv, comparison, mangled)))
        name = out[0][0][0].upper()
        if name in (b"MULTI", b"EXEC", b"DISCARD", b"RESET"):
            self.in_multi[conn] = name == b"MULTI"
        return out

    def command(self):
        """(argv, comparison)"""
        return self.commands()[0]

    # --- sequences ---

    def episode(self, length, connections=2):
        """A list of Items; neighbours on one connection travel in one batch."""
        out = []
        while len(out) < length:
            conn = 0 if self.rng.random() < 0.8 else self.rng.randrange(connections)
            for _ in range(self.rng.choice((1, 3, 10, 40))):
                for step, (argv, comparison) in enumerate(self.commands(conn)):
                    out.append(Item(conn, argv, comparison, self.rng.random() < 0.03 and inline_form(argv) is not None, step > 0))
        return out if len(out) > length and out[length].glued else out[:length]


def inline_form(argv):
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
