"""kill -9 at random moments under load: what was acknowledged is there, nothing is half there."""

import pytest

from harness import Node, wait_until

from .rounds import POLICIES, run_rounds
from .workload import Load, Violation


@pytest.mark.parametrize("policy", POLICIES)
def test_kill_at_random_moments_loses_nothing(policy):
    assert run_rounds(policy, rounds=5, seed=11) > 0


def test_kill_of_clients_that_do_not_pipeline():
    assert run_rounds("always", rounds=2, seed=5, connections=10, actions=("nothing", "bgrewriteaof")) > 0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.long
def test_kill_at_random_moments_loses_nothing_in_200_rounds(policy):
    assert run_rounds(policy, rounds=200, seed=12) > 0


@pytest.mark.parametrize("broken", ["lost", "half"])
def test_the_check_sees_a_broken_promise(make_node, broken):
    """A check that cannot fail would be worthless: the damage is done by hand here."""
    node = make_node()
    load = Load(4, seed=3)
    load.run(node, seconds=0.2)
    assert load.verify(node) == (0, 0)
    with node.client() as c:
        if broken == "lost":
            c.call("DECR", "counter:0:0")
        else:
            c.call("SET", "transaction:0:0:c", "0")
    with pytest.raises(Violation):
        load.verify(node)


def test_an_orphaned_snapshot_child_never_replaces_a_newer_snapshot(make_node):
    """The child of a killed node must not live on and rename its old file over what the next node has saved."""
    node = make_node({"rdb-key-save-delay": "2000"})
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", "old") for i in range(1000)])
        c.call("BGSAVE")
        children = wait_until(node.children)
    node.kill()
    node.reconfigure(rdb_key_save_delay=None)
    node.start()
    with node.client() as c:
        c.call("SET", "new", "1")
        c.call("SAVE")
    wait_until(lambda: not any(_running(p) for p in children), 20, what="the end of the orphaned child")
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("GET", "new") == b"1"


def _running(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
