"""Generated command sequences to us and to Debian's redis-server 7.0 side by side."""

import pytest

from harness import REDIS_SERVER, encode

from . import replies, table
from .compare import Pair, run_differential
from .generate import Generator, Item, Row


@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_thousand_commands(seed):
    done, problems = run_differential(15_000, seed=seed)
    assert not problems, "\n\n".join(problems)
    assert done == 15_000


@pytest.mark.parametrize("group", table.REQUIRED)
def test_each_family_by_itself(group):
    groups = {group, *table.COMPANY.get(group, ("strings",))} if group != "connection" else {group}
    done, problems = run_differential(4_000, seed=7, groups=groups)
    assert not problems, "\n\n".join(problems)


@pytest.mark.parametrize("classes", ["KEA", "KEmn"])
def test_events_are_the_same(classes):
    done, problems = run_differential(6_000, seed=11, events=classes)
    assert not problems, "\n\n".join(problems)
    assert done == 6_000


# --- the instrument itself ---

def test_different_events_are_found():
    pair = Pair(REDIS_SERVER, events="KEA")
    try:
        items = [Item(0, [b"SET", b"k", b"v"], "exact", False), Item(0, [b"DEL", b"k"], "exact", False)]
        assert pair.run(items, 2) is None
        with pair.nodes[0].client() as c:
            pair.run(items[:1], 2)
            pair.events = "KE$"
            at, ours, theirs = pair.run(items, 2) or (None, b"", b"")
            assert at is None  # both hear of strings only
            c.call("SET", "behind", "v")
            at, ours, theirs = pair.run(items, 2)
            assert at == 0 and b"behind" in ours and b"behind" not in theirs
    finally:
        pair.close()


def test_two_redis_servers_do_not_differ():
    done, problems = run_differential(6_000, seed=5, ours=REDIS_SERVER)
    assert not problems, "\n\n".join(problems)


def test_a_difference_is_found_and_minimised():
    pair = Pair(REDIS_SERVER)
    try:
        items = [Item(0, [b"SET", b"k%d" % i, b"v"], "exact", False) for i in range(200)]
        items += [Item(0, request, "exact", False) for request in ([b"INCR", b"n"], [b"TIME"], [b"GET", b"k1"])]
        assert pair.run(items, 2)[0] == 201
        assert [it.argv for it in pair.minimise(items, 2)] == [[b"TIME"]]
    finally:
        pair.close()


def test_what_the_digest_does_not_cover_is_found_too():
    """Consumer groups are not in a stream's digest, and encodings in none."""
    pair = Pair(REDIS_SERVER)
    try:
        assert pair.state_differs() is None
        with pair.nodes[0].client() as a, pair.nodes[1].client() as b:
            for c in (a, b):
                c.call("XADD", "x", "1-1", "f", "v")
            a.call("XGROUP", "CREATE", "x", "g", "0")
            assert "XINFO" in pair.state_differs()[0]
            for c in (a, b):
                c.call("FLUSHALL")
                c.call("HSET", "h", "f", "v", "long", "x" * 100)
            b.call("HDEL", "h", "long")
            a.call("DEL", "h")
            a.call("HSET", "h", "f", "v")
            assert "ENCODING" in pair.state_differs()[0]
            b.call("FLUSHALL")
            assert "DIGEST" in pair.state_differs()[0]
    finally:
        pair.close()


def test_commands_that_belong_together_stay_together():
    pair = Pair(REDIS_SERVER)
    try:
        items = [Item(0, [b"SET", b"k%d" % i, b"v"], "exact", False) for i in range(20)]
        items += [Item(0, [b"SADD", b"s", *(b"%d" % i for i in range(60))], "exact", False), Item(0, [b"SPOP", b"s", b"30"], "length", False),
                  Item(0, [b"DEL", b"s"], "exact", False, True), Item(0, [b"TIME"], "exact", False)]
        assert [it.argv for it in pair.minimise(items, 2)] == [[b"TIME"]]
    finally:
        pair.close()


def node(*args):
    """The reply tree of a Python value: str for a status, bytes, int, list."""
    def wire(v):
        if isinstance(v, (list, tuple)):
            return b"*%d\r\n" % len(v) + b"".join(map(wire, v))
        return encode(v).split(b"\r\n", 1)[1] if isinstance(v, bytes) else b":%d\r\n" % v if isinstance(v, int) else b"+" + v.encode() + b"\r\n"
    return replies.tree(wire(args[0]))[0]


@pytest.mark.parametrize("comparison,a,b,same", [
    ("exact", b"1", 1, False), ("exact", b"OK", "OK", False), ("exact", [b"a", b"b"], [b"a", b"b"], True), ("exact", [b"a", b"b"], [b"b", b"a"], False),
    ("set", [b"a", b"b"], [b"b", b"a"], True), ("set", [b"a", b"a"], [b"a", b"b"], False), ("set", [b"a"], [b"a", b"a"], False),
    ("pairs", [b"a", b"1", b"b", b"2"], [b"b", b"2", b"a", b"1"], True), ("pairs", [b"a", b"1", b"b", b"2"], [b"a", b"2", b"b", b"1"], False),
    ("pairs", [[b"a", b"1"], [b"b", b"2"]], [[b"b", b"2"], [b"a", b"1"]], True), ("pairs", [[b"a", b"1"]], [[b"1", b"a"]], False),
    ("scan", [b"0", [b"a", b"b"]], [b"0", [b"b", b"a"]], True), ("scan", [b"0", [b"a"]], [b"5", [b"a"]], False), ("scan", [b"0", [b"a"]], [b"0", [b"b"]], False),
    ("scanpairs", [b"0", [b"a", b"1", b"b", b"2"]], [b"0", [b"a", b"2", b"b", b"1"]], False),
    ("near", 100, 130, True), ("near", 100, 100_000, False), ("near", -1, 3, False), ("near", [1, 100], [1, 150], True), ("near", b"x", b"y", False),
    ("pending", [[b"1-1", b"c", 5, 2]], [[b"1-1", b"c", 9, 2]], True), ("pending", [[b"1-1", b"c", 5, 2]], [[b"1-1", b"c", 5, 3]], False),
    ("pending", [[b"1-1", b"c", 5, 2]], [[b"1-2", b"c", 5, 2]], False), ("pending", [], [[b"1-2", b"c", 5, 2]], False),
    ("xinfo", [b"length", 1, b"radix-tree-nodes", 2], [b"length", 1, b"radix-tree-nodes", 3], True),
    ("xinfo", [b"length", 1, b"groups", 2], [b"length", 2, b"groups", 2], False),
    ("xinfo", [[b"name", b"c", b"pending", 1, b"idle", 5]], [[b"name", b"c", b"pending", 1, b"idle", 9]], True),
    ("xinfo", [[b"name", b"c", b"pending", 1, b"idle", 5]], [[b"name", b"c", b"pending", 2, b"idle", 5]], False),
    ("xinfo", [[b"1-1", 1700000000000, 4]], [[b"1-1", 1700000000900, 4]], True), ("xinfo", [[b"1-1", 1700000000000, 4]], [[b"1-1", 1700000000000, 5]], False),
    ("length", [b"a"], [b"b"], True), ("length", [b"a"], [], False), ("shape", b"a", b"b", True), ("shape", b"a", 1, False)])
def test_comparisons(comparison, a, b, same):
    assert replies.SAME[comparison](node(a), node(b)) is same
    assert replies.SAME[comparison](node(b), node(a)) is same


def test_the_seed_decides_the_sequence():
    assert Generator(4).episode(500) == Generator(4).episode(500)
    assert Generator(4).episode(500) != Generator(5).episode(500)


def test_every_row_can_be_made():
    gen = Generator(1)
    for group, _, comparison, syntax in table.rows():
        row = Row(group, comparison, syntax)
        assert all(c in (*replies.SAME, "dump", "swap") for c, _ in row.steps), syntax
        for _, grammar in row.steps:
            for _ in range(20):
                assert all(isinstance(a, bytes) for a in grammar.make(gen)), syntax


def test_a_greater_than_sign_can_be_a_word_or_a_choice():
    gen = Generator(1)
    words = {gen_row.steps[0][1].make(gen)[-1] for gen_row in (Row("streams", "exact", "XREAD STREAMS x <$|>|+|->"),) for _ in range(60)}
    assert words == {b"$", b">", b"+", b"-"}
    assert Row("streams", "exact", "XREADGROUP STREAMS x >").steps[0][1].make(gen)[-1] == b">"
