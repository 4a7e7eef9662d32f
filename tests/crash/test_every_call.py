"""The node is killed before (and, for writes, in the middle of) every file system call of an operation that replaces a
file it depends on. After each kill it must start, hold every acknowledged write, and have the old or the new file.
"""

import os
import shutil

import pytest

from harness import Node, encode, is_holdfast, wait_until
from harness.faults import BEFORE, CHANGES, EVERYONE, Faults, MIDDLE
from harness.node import NodeError

MOST_CALLS = 400


class Scenario:
    """An operation, the configuration it runs under, and what the data directory holds before."""

    config = {}
    restart = {}     # settings that differ at the restart
    path = ""        # calls on files whose name contains this count

    def prepare(self, node):
        with node.client() as c:
            c.pipeline([("SET", f"key:{i}", f"value:{i}") for i in range(20)])
            c.call("SELECT", "3")
            c.call("SET", "elsewhere", "3")

    def operate(self, node, c, acked):
        raise NotImplementedError

    def before_restart(self, node):
        pass

    def check(self, node, c, acked):
        assert c.pipeline([("GET", f"key:{i}") for i in range(20)]) == [b"value:%d" % i for i in range(20)]
        for k, v in acked.items():
            assert c.call("GET", k) == v, f"the acknowledged {k} is lost"
        c.call("SELECT", "3")
        assert c.call("GET", "elsewhere") == b"3"


class Acked(dict):
    """Writes that were acknowledged."""

    def put(self, c, key, value):
        if c.call("SET", key, value) == b"OK":
            self[key] = value.encode()


def rewrite_is_over(c):
    info = c.info("persistence")
    return info["aof_rewrite_in_progress"] == "0" and info["aof_rewrite_scheduled"] == "0"


class Rewrite(Scenario):
    """BGREWRITEAOF with writes before, during and after the switch-over."""

    config = {"appendonly": "yes", "appendfsync": "always"}

    def operate(self, node, c, acked):
        acked.put(c, "before", "1")
        c.call("BGREWRITEAOF")
        acked.put(c, "during", "2")
        wait_until(lambda: rewrite_is_over(c), what="the end of the rewrite")
        acked.put(c, "after", "3")
        # The history files go away in the background.
        manifest = node.path("appendonlydir", "appendonly.aof.manifest")
        wait_until(lambda: c.call("PING") and "type h" not in open(manifest).read(), what="the removal of history files")


class RewriteEverysec(Rewrite):
    config = {"appendonly": "yes", "appendfsync": "everysec"}


class RewriteAsCommands(Rewrite):
    config = {"appendonly": "yes", "appendfsync": "always", "aof-use-rdb-preamble": "no"}


class AofOff(Scenario):
    """CONFIG SET appendonly no: what the AOF held stays there."""

    config = {"appendonly": "yes", "appendfsync": "everysec"}

    def operate(self, node, c, acked):
        acked.put(c, "before", "1")
        c.call("CONFIG", "SET", "appendonly", "no")
        c.call("SET", "not promised", "2")


class AofOn(Scenario):
    """CONFIG SET appendonly yes: the snapshot holds until the AOF does."""

    config = {"appendonly": "no"}

    def prepare(self, node):
        super().prepare(node)
        with node.client() as c:
            c.call("SAVE")

    def operate(self, node, c, acked):
        self.complete = False
        c.call("CONFIG", "SET", "appendonly", "yes", "appendfsync", "always")
        wait_until(lambda: rewrite_is_over(c), what="the end of the first rewrite")
        self.complete = True
        acked.put(c, "after", "1")

    def before_restart(self, node):
        manifest = node.path("appendonlydir", "appendonly.aof.manifest")
        assert os.path.exists(manifest) or not self.complete
        node.reconfigure(appendonly="yes" if os.path.exists(manifest) else "no")


class Save(Scenario):
    """SAVE over an older snapshot."""

    def prepare(self, node):
        super().prepare(node)
        with node.client() as c:
            c.call("SET", "generation", "old")
            c.call("SAVE")

    def operate(self, node, c, acked):
        self.saved = False
        c.call("SET", "generation", "new")
        c.call("SAVE")
        self.saved = True

    def check(self, node, c, acked):
        assert c.call("GET", "generation") in ((b"new",) if self.saved else (b"old", b"new"))
        super().check(node, c, acked)


class BackgroundSave(Save):
    def operate(self, node, c, acked):
        self.saved = False
        c.call("SET", "generation", "new")
        c.call("BGSAVE")
        wait_until(lambda: c.info("persistence")["rdb_bgsave_in_progress"] == "0", what="the end of BGSAVE")
        assert c.info("persistence")["rdb_last_bgsave_status"] == "ok"
        self.saved = True


class ShutdownSave(Save):
    def operate(self, node, c, acked):
        self.saved = False
        c.call("SET", "generation", "new")
        try:
            c.call("SHUTDOWN", "SAVE")
        except ConnectionError:
            pass
        self.saved = node.wait_exit() == 0


class ConfigRewrite(Scenario):
    """CONFIG REWRITE: the file is the old one or the new one, whole."""

    config = {"maxclients": "111", "appendonly": "yes"}
    path = "node.conf"

    def prepare(self, node):
        with open(node.conf_path, "a") as f:
            f.write("# a comment that stays\n")
        super().prepare(node)

    def operate(self, node, c, acked):
        self.old = open(node.conf_path).read()
        c.call("CONFIG", "SET", "maxclients", "222", "slowlog-max-len", "333")
        c.call("CONFIG", "REWRITE")

    def before_restart(self, node):
        text = open(node.conf_path).read()
        assert text == self.old or ("maxclients 222" in text and "slowlog-max-len 333" in text), f"neither old nor new:\n{text}"
        assert "# a comment that stays" in text


class Start(Scenario):
    """The first start with an AOF that was cut off in a group: what start-up changes on disk may be cut off as well."""

    config = {"appendonly": "yes", "appendfsync": "always"}
    at_start = True

    def prepare(self, node):
        super().prepare(node)
        node.kill()
        incr = newest_increment(node)
        with open(incr, "ab") as f:
            f.write(b"*3\r\n$3\r\nSET\r\n$4\r\ntorn\r\n$10\r\nhal")


class Upgrade(Scenario):
    """The start that takes over a single-file AOF."""

    config = {"appendonly": "yes", "appendfsync": "always"}
    at_start = True

    def prepare(self, node):
        with node.client() as c:
            c.call("PING")
        node.kill()
        shutil.rmtree(node.path("appendonlydir"), ignore_errors=True)
        with open(node.path("appendonly.aof"), "wb") as f:
            f.write(encode("SELECT", 0))
            for i in range(20):
                f.write(encode("SET", f"key:{i}", f"value:{i}"))
            f.write(encode("SELECT", 3) + encode("SET", "elsewhere", "3"))


def newest_increment(node):
    names = [n for n in os.listdir(node.path("appendonlydir")) if n.endswith(".incr.aof")]
    return node.path("appendonlydir", max(names, key=lambda n: int(n.split(".")[-3])))


def run_once(scenario, n, when, template):
    """One kill at the n-th counted call. True when the operation got through without reaching it."""
    faults = Faults()
    node = Node(scenario.config, faults=faults)
    acked = Acked()
    try:
        shutil.rmtree(node.data)
        shutil.copytree(template, node.data)
        killed = lambda: f"after the kill at call {n}: {faults.trace()[-3:]}"  # noqa: E731
        if getattr(scenario, "at_start", False):
            faults.kill_at(n, kinds=CHANGES, path=scenario.path, when=when, who=EVERYONE)
            try:
                node.start()
            except NodeError:
                assert faults.killed, f"did not start\n{node.log()}"
        else:
            node.start()
            if isinstance(scenario, ConfigRewrite):
                with open(node.conf_path, "a") as f:
                    f.write("# a comment that stays\n")
            with node.client() as c:
                faults.kill_at(n, kinds=CHANGES, path=scenario.path, when=when, who=EVERYONE)
                try:
                    scenario.operate(node, c, acked)
                except (ConnectionError, NodeError):
                    assert faults.killed, f"the node went away by itself\n{node.log()}"
        through = not faults.killed
        if not through:
            node.wait_exit()
        faults.no_kill()
        node.kill()
        scenario.before_restart(node)
        try:
            node.start()
        except NodeError as e:
            raise AssertionError(f"does not start {killed()}\n{e}") from None
        with node.client() as c:
            try:
                scenario.check(node, c, acked)
            except AssertionError as e:
                raise AssertionError(f"{e}\n{killed()}") from None
            # It works on: a write, and the temporary files of the crash do not pile up.
            assert c.call("SET", "on", "1") == b"OK"
        return through
    finally:
        node.close()


@pytest.mark.parametrize("when", [BEFORE, MIDDLE], ids=["before", "middle"])
@pytest.mark.parametrize("scenario", [Rewrite, RewriteEverysec, RewriteAsCommands, AofOff, AofOn, Save, BackgroundSave, ShutdownSave,
                                      ConfigRewrite, Start, Upgrade], ids=lambda s: s.__name__)
def test_kill_at_every_call(scenario, when, tmp_path, request):
    if scenario is RewriteEverysec and not is_holdfast():
        pytest.skip("Redis answers before the write while a background fsync runs")
    scenario = scenario()
    template = tmp_path / "template"
    maker = Node(scenario.config).start()
    try:
        scenario.prepare(maker)
        if maker.alive():
            # As a kill leaves it: what is on disk must do.
            maker.kill()
        shutil.copytree(maker.data, template)
    finally:
        maker.close()
    # The middle of a call differs from "before" for writes only; a normal run samples those.
    every = request.config.getoption("--long") or when == BEFORE
    n = 1
    while n < MOST_CALLS:
        if run_once(scenario, n, when, template):
            break
        n += 1 if every else 3
    else:
        raise AssertionError(f"still being killed at call {MOST_CALLS}")
    assert n > 1, "the operation made no call at all"
