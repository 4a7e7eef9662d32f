"""Generated command sequences to us and to Debian's redis-server 7.0 side by side."""

import pytest

from harness import REDIS_SERVER

from . import table
from .compare import Pair, run_differential
from .generate import Generator, Grammar


@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_thousand_commands(seed):
    done, problems = run_differential(15_000, seed=seed)
    assert not problems, "\n\n".join(problems)
    assert done == 15_000


@pytest.mark.parametrize("group", ["strings", "generic", "transactions", "connection"])
def test_each_family_by_itself(group):
    groups = {group, "strings"} if group != "connection" else {group}
    done, problems = run_differential(4_000, seed=7, groups=groups)
    assert not problems, "\n\n".join(problems)


@pytest.mark.long
def test_a_million_commands():
    done, problems = run_differential(1_000_000, seed=3)
    assert not problems, "\n\n".join(problems)


# --- the instrument itself ---

def test_two_redis_servers_do_not_differ():
    done, problems = run_differential(6_000, seed=5, ours=REDIS_SERVER)
    assert not problems, "\n\n".join(problems)


def test_a_difference_is_found_and_minimised():
    pair = Pair(REDIS_SERVER)
    try:
        items = [(0, [b"SET", b"k%d" % i, b"v"], "exact", False) for i in range(200)]
        items += [(0, [b"INCR", b"n"], "exact", False), (0, [b"TIME"], "exact", False), (0, [b"GET", b"k1"], "exact", False)]
        assert pair.run(items, 2)[0] == 201
        assert [argv for _, argv, _, _ in pair.minimise(items, 2)] == [[b"TIME"]]
    finally:
        pair.close()


def test_the_seed_decides_the_sequence():
    assert Generator(4).episode(500) == Generator(4).episode(500)
    assert Generator(4).episode(500) != Generator(5).episode(500)


def test_every_row_can_be_made():
    gen = Generator(1)
    for _, _, comparison, syntax in table.rows():
        assert comparison in ("exact", "set", "near", "shape", "dump"), syntax
        for _ in range(20):
            assert all(isinstance(a, bytes) for a in Grammar(syntax).make(gen)), syntax
