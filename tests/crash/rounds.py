"""Rounds of: load by 50 connections, kill -9 at a random moment, restart, check. `tests/long` and test_kill.py run it."""

import random
import threading
import time

from harness import Node, ReplyError
from harness.node import NodeError

from .workload import Load, Violation

POLICIES = ("always", "everysec", "no")
# What goes on beside the load in a round.
ACTIONS = ("nothing", "bgrewriteaof", "bgsave", "toggle", "save-then-rewrite")


def configuration(policy):
    return {"appendonly": "yes", "appendfsync": policy, "auto-aof-rewrite-percentage": "50", "auto-aof-rewrite-min-size": "512kb",
            "no-appendfsync-on-rewrite": "no", "aof-use-rdb-preamble": "yes"}


def _admin(node, action, rng, problems):
    """Runs in a thread beside the load; the node may die under it."""
    try:
        with node.client() as c:
            time.sleep(rng.random() * 0.05)
            if action == "bgrewriteaof":
                c.try_call("BGREWRITEAOF")
            elif action == "bgsave":
                c.try_call("BGSAVE")
            elif action == "save-then-rewrite":
                c.try_call("SAVE")
                c.try_call("BGREWRITEAOF")
    except (OSError, ConnectionError):
        pass
    except Exception as e:  # shown by the round
        problems.append(e)


def _toggle(node, load):
    """AOF off and on again under load. Until it is on again the disk has no promise to keep, so nothing is killed before."""
    state = {}

    def work():
        try:
            with node.client() as c:
                c.call("CONFIG", "SET", "appendonly", "no")
                time.sleep(0.02)
                while isinstance(c.try_call("CONFIG", "SET", "appendonly", "yes"), ReplyError):
                    time.sleep(0.02)
                deadline = time.monotonic() + 20
                while True:
                    info = c.info("persistence")
                    if info["aof_enabled"] == "1" and info["aof_rewrite_in_progress"] == "0" and info["aof_rewrite_scheduled"] == "0":
                        break
                    if time.monotonic() > deadline:
                        raise Violation(f"turning AOF on took 20 s: {info}")
                    time.sleep(0.005)
        except Exception as e:
            state["problem"] = e
        state["done"] = True
    t = threading.Thread(target=work)
    t.start()
    load.run(node, until=lambda: "done" in state)
    t.join()
    if "problem" in state:
        raise state["problem"]


def run_rounds(policy, rounds, seed=1, connections=50, kill_after=0.4, actions=ACTIONS, config=None, report=None):
    """Returns the number of acknowledged steps; raises Violation. The seed decides everything but the timing."""
    rng = random.Random(seed)
    load = Load(connections, seed)
    conf = configuration(policy)
    conf.update(config or {})
    node = Node(conf).start()
    try:
        for r in range(rounds):
            action = actions[r % len(actions)]
            if action == "toggle":
                _toggle(node, load)
            if r % 7 == 3:
                with node.client() as c:
                    c.call("CONFIG", "SET", "aof-use-rdb-preamble", "no" if r % 2 else "yes")
            problems = []
            admin = threading.Thread(target=_admin, args=(node, action, rng, problems))
            admin.start()
            before = load.acked
            load.run(node, kill_after=kill_after)
            admin.join()
            if problems:
                raise problems[0]
            node.wait_exit()
            try:
                node.start()
            except NodeError as e:
                raise Violation(f"round {r} ({policy}, {action}): does not start after kill -9\n{e}") from None
            try:
                survived, inflight = load.verify(node)
            except Violation as e:
                raise Violation(f"round {r} ({policy}, {action}): {e}") from None
            if report:
                report(f"{policy} round {r + 1}/{rounds} ({action}): {load.acked - before} acknowledged, "
                       f"{survived} of {inflight} in flight survived")
        return load.acked
    finally:
        node.close()
