"""write-ack: replies to writes wait until replicas have them, by option and by client."""

import socket
import threading
import time

import pytest

from harness import ReplyError, encode, wait_until
from harness.replication import FAST, Link, digest, link_is_up, offset, replica_of, wait_equal

pytestmark = pytest.mark.holdfast


def unconfirmed(have, wanted, ms):
    return ReplyError(f"UNCONFIRMED The write is applied here, but only {have} of {wanted} replicas confirmed it within {ms} ms")


def silent(client, seconds=0.2):
    """Whether nothing arrives for a while."""
    client.sock.settimeout(seconds)
    try:
        client._fill()
        return False
    except TimeoutError:
        return True
    finally:
        client.sock.settimeout(20)


def fields(node):
    info = node.info("replication")
    return int(info["write_ack_waiting_clients"]), int(info["write_ack_timeouts"])


@pytest.fixture
def link():
    made = []

    def make(node):
        made.append(Link(node))
        return made[-1]

    yield make
    for x in made:
        x.close()


@pytest.mark.parametrize("kind", ["holdfast", "redis"])
def test_a_write_is_answered_once_a_replica_has_it(make_node, kind):
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "10000"})
    r = replica_of(make_node, p, kind=kind)
    wait_until(lambda: link_is_up(r))
    with p.client() as c, r.client() as at_replica:
        for i in range(200):
            assert c.call("SET", f"k{i}", i) == b"OK"
            assert at_replica.call("GET", f"k{i}") == str(i).encode()
        assert c.call("GET", "k5") == b"5"
    assert fields(p) == (0, 0)


def test_without_replicas_the_write_is_applied_and_says_that_nobody_confirmed_it(make_node):
    p = make_node({**FAST, "write-ack": "replicas 2", "write-ack-timeout": "100"})
    with p.client() as c:
        started = time.monotonic()
        assert c.try_call("SET", "a", 1) == unconfirmed(0, 2, 100)
        assert 0.09 < time.monotonic() - started < 2
        assert c.call("GET", "a") == b"1"
        assert c.call("DEL", "nothing") == 0  # it changed nothing: nothing to confirm
    assert fields(p)[1] == 1
    r = replica_of(make_node, p)
    wait_until(lambda: link_is_up(r))
    with p.client() as c:
        assert c.try_call("SET", "a", 2) == unconfirmed(1, 2, 100)
        assert p.info("errorstats")["errorstat_UNCONFIRMED"] == "count=2"
        assert c.call("CONFIG", "SET", "write-ack", "replicas 1") == b"OK"
        assert c.call("CONFIG", "GET", "write-ack") == [b"write-ack", b"replicas 1"]
        assert c.call("SET", "a", 3) == b"OK"
        assert c.call("CONFIG", "SET", "write-ack", "local") == b"OK"


def test_a_client_has_its_own_terms_until_it_takes_the_servers_again(make_node):
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "100"})
    with p.client() as c, p.client() as other:
        assert c.call("CLIENT", "WRITE-ACK", "LOCAL") == b"OK"
        assert c.call("SET", "a", 1) == b"OK"
        assert other.try_call("SET", "a", 2).code == "UNCONFIRMED"
        assert c.call("CLIENT", "WRITE-ACK", "replicas", 3, "durable", "timeout", 50) == b"OK"
        assert c.try_call("SET", "a", 3) == unconfirmed(0, 3, 50)
        assert c.call("CLIENT", "WRITE-ACK", "DEFAULT") == b"OK"
        assert c.try_call("SET", "a", 4) == unconfirmed(0, 1, 100)
        assert c.call("CLIENT", "WRITE-ACK", "LOCAL") == b"OK"
        assert c.call("RESET") == b"RESET"
        assert c.try_call("SET", "a", 5) == unconfirmed(0, 1, 100)
        for wrong in (("replicas",), ("replicas", 0), ("replicas", -1), ("replicas", "x"), ("local", "durable"),
                      ("replicas", 1, "sure"), ("replicas", 1, "durable", "timeout")):
            assert c.try_call("CLIENT", "WRITE-ACK", *wrong) == ReplyError("ERR syntax error")
        assert c.try_call("CLIENT", "WRITE-ACK", "replicas", 1, "timeout", "soon").code == "ERR"


def test_durable_waits_for_the_replicas_disk(make_node):
    p = make_node({**FAST, "write-ack": "replicas 1 durable", "write-ack-timeout": "300"})
    r = replica_of(make_node, p)
    redis = replica_of(make_node, p, kind="redis")
    wait_until(lambda: link_is_up(r) and link_is_up(redis))
    with p.client() as c, r.client() as at_replica:
        # Without an append-only file nothing is durable; Redis 7.0 has one at best, and does not tell.
        assert c.try_call("SET", "a", 1) == unconfirmed(0, 1, 300)
        at_replica.call("CONFIG", "SET", "appendonly", "yes")
        at_replica.call("CONFIG", "SET", "appendfsync", "always")
        redis.client().call("CONFIG", "SET", "appendonly", "yes")
        wait_until(lambda: r.info("persistence")["aof_rewrite_in_progress"] == "0" and
                   r.info("persistence")["aof_enabled"] == "1")
        wait_until(lambda: c.try_call("SET", "a", 2) == b"OK")
        started = time.monotonic()
        for i in range(50):
            assert c.call("INCR", "n") == i + 1
        assert time.monotonic() - started < 5  # told when it is on disk, not once a second
        assert c.call("CLIENT", "WRITE-ACK", "replicas", 2, "durable") == b"OK"
        assert c.try_call("SET", "a", 3) == unconfirmed(1, 2, 300)
        assert c.call("CLIENT", "WRITE-ACK", "replicas", 2) == b"OK"
        assert c.call("SET", "a", 4) == b"OK"


def test_pipelined_writes_are_confirmed_together_and_reads_keep_their_place(make_node, link):
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "0"})
    wire = link(p)
    r = replica_of(make_node, wire)
    wait_until(lambda: link_is_up(r))
    with p.client() as c, p.client() as reader:
        assert c.call("SET", "warm", 1) == b"OK"
        wire.hold()
        c.send_bytes(encode("GET", "warm") + b"".join(encode("INCR", "n") + encode("GET", "n") for _ in range(100)))
        assert c.read() == b"1"  # in front of the first write: not held
        assert silent(c)
        assert reader.call("GET", "n") == b"100"  # applied, visible, and unconfirmed
        assert fields(p) == (1, 0)
        wire.release()
        assert [c.read() for _ in range(200)] == [x for i in range(1, 101) for x in (i, str(i).encode())]
        assert fields(p) == (0, 0)


def test_only_the_late_replies_of_a_pipeline_become_errors(make_node, link):
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "200"})
    wire = link(p)
    r = replica_of(make_node, wire)
    wait_until(lambda: link_is_up(r))
    with p.client() as c:
        assert c.call("SET", "a", 1) == b"OK"
        wire.hold()
        c.send_bytes(encode("SET", "a", 2) + encode("GET", "a") + encode("RPUSH", "l", "x", "y") + encode("LRANGE", "l", 0, -1))
        late = unconfirmed(0, 1, 200)
        assert [c.read() for _ in range(4)] == [late, b"2", late, [b"x", b"y"]]
        wire.release()
        assert c.call("INCR", "n") == 1
    assert fields(p) == (0, 2)
    wait_equal(p, r)


def test_a_transaction_is_confirmed_as_one(make_node, link):
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "200"})
    wire = link(p)
    r = replica_of(make_node, wire)
    wait_until(lambda: link_is_up(r))
    with p.client() as c:
        requests = [("MULTI",), ("SET", "a", 1), ("INCR", "n"), ("GET", "a"), ("EXEC",)]
        assert c.pipeline(requests) == [b"OK", b"QUEUED", b"QUEUED", b"QUEUED", [b"OK", 1, b"1"]]
        wire.hold()
        assert c.pipeline(requests)[-1] == unconfirmed(0, 1, 200)
        assert c.pipeline([("MULTI",), ("GET", "n"), ("EXEC",)])[-1] == [b"2"]
        wire.release()


def test_who_waited_for_a_key_is_held_too(make_node, link):
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "0"})
    wire = link(p)
    r = replica_of(make_node, wire)
    wait_until(lambda: link_is_up(r))
    with p.client() as waiter, p.client() as c:
        waiter.send("BLPOP", "l", 0)
        wait_until(lambda: p.info("clients")["blocked_clients"] == "1")
        wire.hold()
        c.send("RPUSH", "l", "x")
        assert silent(waiter) and silent(c)
        wire.release()
        assert waiter.read() == [b"l", b"x"] and c.read() == 1
    wait_equal(p, r)


def test_a_replica_that_comes_back_confirms_what_waited_for_it(make_node, link):
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "20000"})
    wire = link(p)
    r = replica_of(make_node, wire)
    wait_until(lambda: link_is_up(r))
    with p.client() as c:
        assert c.call("SET", "a", 1) == b"OK"
        wire.refuses = True
        wire.cut()
        wait_until(lambda: not link_is_up(r))
        c.send_bytes(b"".join(encode("INCR", "n") for _ in range(1000)))
        assert silent(c)
        wire.refuses = False
        assert [c.read() for _ in range(1000)] == list(range(1, 1001))
        # And over a restart of the replica with a full synchronization.
        r.kill()
        c.send("SET", "a", 2)
        assert silent(c)
        r.start()
        assert c.read() == b"OK"
    wait_equal(p, r)


def test_clients_that_leave_while_they_wait_leave_nothing_behind(make_node):
    """They may have closed their half alone: the replies are due until the deadline."""
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "1000"})
    clients = [p.client() for _ in range(20)]
    for c in clients:
        c.send_bytes(b"".join(encode("INCR", "n") for _ in range(50)))
    wait_until(lambda: fields(p)[0] == 20)
    for c in clients[:5]:
        c.close()
    for c in clients[5:10]:
        c.sock.shutdown(socket.SHUT_WR)
    for c in clients[5:]:
        assert {c.read() for _ in range(50)} == {unconfirmed(0, 1, 1000)}
    wait_until(lambda: fields(p) == (0, 1000) and p.info("clients")["connected_clients"] == "11")


def test_a_node_that_becomes_a_replica_confirms_nothing_any_more(make_node, link):
    """Its writes may be gone with its history: what replicas acknowledge from then on means another one."""
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "0"})
    other = make_node({**FAST, "replica-accept-empty-primary": "yes"})
    with other.client() as c:
        c.pipeline([("SET", f"k{i}", "x" * 100) for i in range(2000)])
    wire = link(p)
    r = replica_of(make_node, wire, {"repl-timeout": "3"})
    wait_until(lambda: link_is_up(r))
    with p.client() as c, p.client() as admin:
        wire.hold()
        c.send_bytes(encode("SET", "mine", 1) + encode("GET", "mine"))
        assert silent(c)
        assert admin.call("REPLICAOF", "127.0.0.1", other.port) == b"OK"
        assert c.read() == ReplyError("UNCONFIRMED The write is applied here, but this node became a replica before 1 replicas confirmed it")
        assert c.read() == b"1"
        wire.release()
        wait_until(lambda: link_is_up(p))
    wait_equal(other, p, r)


def test_an_acknowledgement_of_what_was_never_written_closes_the_link(make_node):
    p = make_node({**FAST, "write-ack": "replicas 1", "write-ack-timeout": "300"})
    with p.client() as fake, p.client() as c:
        fake.call("REPLCONF", "listening-port", 1, "capa", "eof", "capa", "psync2")
        fake.send("PSYNC", "?", "-1")
        wait_until(lambda: "state=online" in p.info("replication").get("slave0", ""))
        fake.send("REPLCONF", "ACK", offset(p) + 10 ** 6)
        p.wait_log("acknowledges .* bytes that were never written")
        assert c.try_call("SET", "a", 1) == unconfirmed(0, 1, 300)


def test_many_clients_share_the_acknowledgements(make_node):
    """Fifty clients, pipelined, each reply confirmed by both replicas: no reply waits for a period of anything."""
    p = make_node({**FAST, "write-ack": "replicas 2", "write-ack-timeout": "20000"})
    rs = [replica_of(make_node, p) for _ in range(2)]
    wait_until(lambda: all(link_is_up(r) for r in rs))
    failures = []

    def work(n):
        try:
            with p.client() as c:
                for i in range(20):
                    got = c.pipeline([("SET", f"{n}:{i}:{k}", "v" * 64) for k in range(50)])
                    assert got == [b"OK"] * 50
        except Exception as e:
            failures.append(e)

    started = time.monotonic()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert time.monotonic() - started < 20
    for r in rs:
        with r.client() as c:
            assert c.call("DBSIZE") == 50_000
    assert digest(p) == digest(rs[0]) == digest(rs[1])
