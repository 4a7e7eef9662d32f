"""Three of Debian's redis-sentinels over a primary and two replicas."""

import pytest

from harness import wait_until
from harness.replication import FAST, link_is_up, replica_of, wait_equal
from harness.sentinel import MASTER, Sentinels, fail_over_by_kill

pytestmark = pytest.mark.holdfast


@pytest.fixture
def group(make_node):
    """A primary, a replica, a replica that may not be promoted, and who watches them."""
    config = {"appendonly": "yes", "repl-timeout": "5"}
    a = make_node({**FAST, **config})
    b = replica_of(make_node, a, config)
    c = replica_of(make_node, a, {**config, "replica-priority": "0"})
    s = Sentinels(a)
    try:
        s.wait_discovery(2)
        yield [a, b, c], s
    finally:
        s.close()


def conf(node):
    with open(node.conf_path) as f:
        return f.read()


def test_sentinels_find_fail_over_and_bring_back(group):
    (a, b, c), s = group
    # What they read from INFO and hear on the hello channel.
    f = s.fields()
    assert f["flags"] == "master" and f["role-reported"] == "master" and len(f["runid"]) == 40
    rs = s.replicas()
    assert set(rs) == {b.port, c.port}
    wait_until(lambda: all(r["master-link-status"] == "ok" and r["master-port"] == str(a.port) and r["role-reported"] == "slave"
                           for r in s.replicas().values()), 15, 0.1)
    assert s.replicas()[b.port]["slave-priority"] == "100" and s.replicas()[c.port]["slave-priority"] == "0"
    assert s.call("CKQUORUM", MASTER).startswith(b"OK 3 usable Sentinels")
    with a.client() as x:
        assert b"__sentinel__:hello" in x.call("PUBSUB", "CHANNELS")
        names = {line.split("name=")[1].split(" ")[0] for line in x.call("CLIENT", "LIST").decode().splitlines()}
        assert any(n.endswith("-cmd") and n.startswith("sentinel-") for n in names)
        assert any(n.endswith("-pubsub") and n.startswith("sentinel-") for n in names)

    # By command: the one that may be promoted, however often it is asked for; clients are cut off, files rewritten.
    with a.client() as watcher, a.client() as x:
        x.pipeline([("SET", f"k{i}", i) for i in range(300)])
        watcher.call("PING")
        assert s.call("FAILOVER", MASTER) == b"OK"
        s.wait_primary(b.port)
        wait_until(lambda: all(n.info("replication").get("master_port") == str(b.port) and link_is_up(n) for n in (a, c)), 20, 0.05)
        assert watcher.read_until_closed() == b""
    wait_equal(b, a, c)
    assert f"replicaof 127.0.0.1 {b.port}" in conf(a) and f"replicaof 127.0.0.1 {b.port}" in conf(c)
    assert "replicaof" not in conf(b)
    with a.client() as x, b.client() as y:
        assert x.call("ROLE")[:4] == [b"slave", b"127.0.0.1", b.port, b"connected"]
        assert [r[1] for r in sorted(y.call("ROLE")[2], key=lambda r: r[1])] == sorted(str(n.port).encode() for n in (a, c))

    # By kill -9 under load; only a may follow.
    wait_until(lambda: set(s.replicas()) >= {a.port, c.port} and
               all(r["master-link-status"] == "ok" for r in s.replicas().values()), 20, 0.1)
    acked, _ = fail_over_by_kill([a, b, c], s)
    assert acked > 50
    assert s.primary_port() == a.port
    assert f"replicaof 127.0.0.1 {a.port}" in conf(b)
    with a.client() as x:
        assert x.call("GET", "k299") == b"299"
