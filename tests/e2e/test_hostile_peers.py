"""Primaries and replicas that send nonsense: the link closes with a reason in the log, and the node goes on."""

import random
import socket

import pytest

from harness import encode, wait_until
from harness.hostile import ID, STREAM, FakePrimary, hostile_replica, mutated_session, record
from harness.replication import DISKLESS, FAST, link_is_up, replica_of, wait_equal
from harness.traffic import one

pytestmark = pytest.mark.holdfast


def fill(node, seed=3, n=400):
    r = random.Random(seed)
    with node.client() as c:
        for _ in range(n):
            c.pipeline(one(r))
        c.call("SELECT", 0)
        c.call("SET", "mine", "v")


@pytest.fixture
def fake():
    f = FakePrimary()
    yield f
    f.close()


def sane(node):
    assert node.alive(), node.log()
    with node.client() as c:
        assert c.call("PING") == b"PONG"
    log = node.log()
    assert "AddressSanitizer" not in log and "runtime error" not in log, log[-3000:]


def test_a_handshake_that_makes_no_sense(make_node, fake):
    n = make_node(FAST)
    with n.client() as c:
        c.call("SET", "mine", "v")
    for first in (b"$5\r\nhello\r\n", b"-ERR go away\r\n", b"\0\1\2\r\n", b"x" * 20000, b"+PONG" * 1000 + b"\r\n", b":1\r\n", b"\r\n\r\n\n\n*0\r\n"):
        fake.play(n, lambda s: (s.wait_for(b"PING"), s.send(first), s.linger(0.2)))
        sane(n)
    closes = []
    for answer in ("+FULLRESYNC\r\n", f"+FULLRESYNC {ID}\r\n", f"+FULLRESYNC {ID} -1\r\n", f"+FULLRESYNC {ID[1:]} 1\r\n",
                   f"+FULLRESYNC {ID.upper()} 1\r\n", f"+FULLRESYNC {ID} 9223372036854775808\r\n", f"+FULLRESYNC {ID} 1 2\r\n",
                   f"+FULLRESYNC {ID} 99999999999999999999999\r\n", f"+FULLRESYNC {ID} {2 ** 63 - 100}\r\n", "+CONTINUE x\r\n", f"+CONTINUE {ID}x\r\n", "+OK\r\n", "hello\r\n",
                   "-ERR unknown command\r\n$x\r\n", "+" + "y" * 5000 + "\r\n"):
        fake.play(n, lambda s: (s.introduce(), s.send(answer), closes.append((answer, s.linger(2)))))
        sane(n)
    assert [a for a, closed in closes if not closed] == []
    with n.client() as c:
        assert c.call("GET", "mine") == b"v"


def test_a_header_that_makes_no_sense(make_node, fake):
    n = make_node(FAST)
    with n.client() as c:
        c.call("SET", "mine", "v")
    closes = []
    for header in ("$-5\r\n", "$99999999999999999999\r\n", "$9223372036854775808\r\n", "$EOF:short\r\n", "$EOF:" + "e" * 41 + "\r\n", "*3\r\n", "-ERR no\r\n", "$" + "1" * 6000,
                   "$\r\n", "$1x\r\n", "$0\r\n"):
        fake.play(n, lambda s: (s.introduce(), s.send(f"+FULLRESYNC {ID} 1\r\n"), s.send(header), closes.append((header, s.linger(2)))))
        sane(n)
    assert [h for h, closed in closes if not closed] == []
    with n.client() as c:
        assert c.call("GET", "mine") == b"v"


@pytest.mark.parametrize("load", ["disabled", "swapdb"])
def test_a_snapshot_that_ends_too_soon_or_is_damaged_costs_no_data(make_node, fake, load):
    p = make_node(FAST)
    fill(p)
    snapshot = record(p)[0]
    n = make_node({**FAST, "repl-diskless-load": load})
    with n.client() as c:
        c.call("SET", "mine", "v")
    mark = b"0123456789" * 4
    for length in (0, 1, 9, len(snapshot) // 2, len(snapshot) - 1):
        fake.play(n, lambda s: (s.introduce(), s.send(f"+FULLRESYNC {ID} 1\r\n$EOF:{mark.decode()}\r\n"), s.send(snapshot[:length])))
        fake.play(n, lambda s: (s.introduce(), s.send(f"+FULLRESYNC {ID} 1\r\n${len(snapshot)}\r\n"), s.send(snapshot[:length])))
        fake.play(n, lambda s: (s.full(snapshot[:length], mark=mark), s.linger(0.3)))
        sane(n)
    flipped = bytearray(snapshot)
    flipped[len(flipped) // 2] ^= 4
    fake.play(n, lambda s: (s.full(bytes(flipped)), s.linger(2)))
    sane(n)
    n.wait_log("Failed trying to load the MASTER synchronization DB")
    with n.client() as c:
        assert (c.call("GET", "mine"), c.call("DBSIZE")) == (b"v", 1)


def test_a_stream_that_makes_no_sense_closes_the_link_with_a_reason(make_node, fake):
    p = make_node(FAST)
    snapshot = record(p)[0]
    n = make_node(FAST)
    for junk in (b"hello\r\n", b"\0" * 100, b"*-1\r\n", b"*0\r\n", b"*99999999999\r\n", b"*2\r\n$3\r\nSET\r\n$99999999999999\r\n", b"*1\r\n$-1\r\n",
                 b"*1\r\n:5\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\nabc\r\n", b"*01\r\n$4\r\nPING\r\n", b"$4\r\nPING\r\n", encode("PING")[:-2] + b"xx", b"*" + b"1" * 70000):
        closed = []
        fake.play(n, lambda s: (s.stream(snapshot, encode("SET", "before", 1) + junk), closed.append(s.linger(2))))
        assert closed == [True], junk
        n.wait_log(r"Connection with master lost: the request behind offset \d+ of the stream is garbage")
        sane(n)
        with n.client() as c:
            assert c.call("GET", "before") == b"1"


def test_a_transaction_that_never_ends_is_not_applied(make_node, fake):
    p = make_node(FAST)
    snapshot = record(p)[0]
    n = make_node(FAST)
    fake.play(n, lambda s: (s.stream(snapshot, encode("SET", "a", 1) + encode("MULTI") + encode("SET", "a", 2) * 1000), s.linger(0.3)))
    with n.client() as c:
        assert c.call("GET", "a") == b"1"
    sane(n)


def test_a_primary_cannot_end_or_reconfigure_its_replica(make_node, fake):
    p = make_node(FAST)
    snapshot = record(p)[0]
    n = make_node(FAST)
    for words in (("SHUTDOWN", "NOSAVE"), ("DEBUG", "SEGFAULT"), ("DEBUG", "SLEEP", "100"), ("REPLICAOF", "NO", "ONE"), ("FAILOVER",), ("CONFIG", "SET", "dir", "/"),
                  ("QUIT",), ("RESET",), ("HELLO", 3), ("AUTH", "x"), ("SUBSCRIBE", "c"), ("MONITOR",), ("BLPOP", "q", 0), ("WAIT", 3, 0), ("SYNC",), ("PSYNC", "?", -1),
                  ("CLIENT", "KILL", "TYPE", "master"), ("CLIENT", "REPLY", "OFF"), ("SAVE",), ("BGREWRITEAOF",), ("SELECT", 99999), ("SELECT", "x"), ("EXEC",),
                  ("DISCARD",), ("WATCH", "a"), ("NOSUCH", "thing"), ("SET", "a"), ("REPLCONF", "ACK", 5), ("CLIENT", "PAUSE", 100000), ("ACL", "SETUSER", "default", "off")):
        fake.play(n, lambda s: (s.stream(snapshot, encode(*words) + encode("MULTI") + encode(*words) + encode("EXEC") + encode("SET", "after", 1)), s.linger(0.1)))
        sane(n)
        assert n.info("replication")["role"] == "slave"
    with n.client() as c:
        assert c.call("CONFIG", "GET", "dir")[1].decode() != "/"


@pytest.mark.parametrize("config", [FAST, {**FAST, "repl-diskless-load": "swapdb"}, {**FAST, "repl-diskless-load": "flush-before-load", "appendonly": "yes"}],
                         ids=["disk", "swapdb", "flush"])
def test_mutated_sessions_of_a_primary(make_node, fake, config):
    p = make_node(FAST)
    fill(p)
    snapshot = record(p)[0]
    n = make_node({**config, "sanitize-dump-payload": "yes"})
    r = random.Random(11)
    for _ in range(80):
        fake.play(n, mutated_session(r, snapshot))
    sane(n)
    # And it still takes a good one.
    with n.client() as c:
        c.call("REPLICAOF", "NO", "ONE")
        c.call("REPLICAOF", "127.0.0.1", p.port)
    wait_until(lambda: link_is_up(n))
    wait_equal(p, n)


@pytest.mark.parametrize("config", [FAST, {**FAST, **DISKLESS}], ids=["disk", "diskless"])
def test_replicas_that_misbehave(make_node, config):
    n = make_node({**config, "repl-timeout": "5"})
    fill(n)
    r = random.Random(12)
    for _ in range(200):
        hostile_replica(r, n)
        assert n.alive()
    sane(n)
    good = replica_of(make_node, n)
    wait_until(lambda: link_is_up(good), 20)
    fill(n, seed=4, n=100)
    wait_equal(n, good)
    wait_until(lambda: n.info("replication")["connected_slaves"] == "1", 20)


def test_a_replica_that_takes_nothing_is_dropped_after_the_timeout(make_node):
    n = make_node({**FAST, "repl-timeout": "2"})
    with n.client() as c:
        c.pipeline([("SET", f"k{i}", bytes(random.randbytes(5000))) for i in range(4000)])
    s = socket.create_connection(("127.0.0.1", n.port))
    s.sendall(encode("PSYNC", "?", "-1"))
    n.wait_log("Disconnecting replica .*repl-timeout|silent", 12)
    s.close()
    sane(n)
