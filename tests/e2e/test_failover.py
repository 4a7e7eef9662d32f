"""FAILOVER: a primary hands its role to a replica without losing a write, Holdfast to Holdfast and with Redis."""

import signal
import socket
import threading
import time

import pytest

from harness import ReplyError, free_port, wait_until
from harness.replication import FAST, Link, binary, link_is_up, offset, replica_of, syncs, wait_equal

PAIRS = [("holdfast", "holdfast"), ("holdfast", "redis"), ("redis", "holdfast")]
READONLY = ReplyError("READONLY You can't write against a read only replica.")


def state(node):
    return node.info("replication")["master_failover_state"]


def role(node):
    return node.info("replication")["role"]


class Writers:
    """Clients that count up, each a key of its own, and remember what was acknowledged."""

    def __init__(self, node, count=4):
        self.node, self.acked, self.ends = node, [0] * count, [None] * count
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(count)]
        for t in self.threads:
            t.start()

    def work(self, i):
        with self.node.client() as c:
            while True:
                got = c.try_call("INCR", f"count{i}")
                if isinstance(got, ReplyError):
                    self.ends[i] = got
                    return
                self.acked[i] = got

    def join(self):
        for t in self.threads:
            t.join(30)
        return self.ends


def pair(make_node, origin, target):
    a = make_node(FAST, binary=binary(origin))
    b = replica_of(make_node, a, kind=target)
    wait_until(lambda: link_is_up(b) and "state=online" in a.info("replication")["slave0"])
    return a, b


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("origin,target", PAIRS)
def test_the_role_goes_over_under_load_and_no_acknowledged_write_is_lost(make_node, origin, target, named):
    a, b = pair(make_node, origin, target)
    writers = Writers(a)
    time.sleep(0.3)
    with a.client() as c, a.client() as waits:
        if origin == "holdfast":  # who waits for data learns that it cannot come
            waits.send("BLPOP", "nothing", 0)
            wait_until(lambda: a.info("clients")["blocked_clients"] == "1")
        before = syncs(b)
        assert c.call("FAILOVER", *(("TO", "127.0.0.1", b.port) if named else ())) == b"OK"
        assert writers.join() == [READONLY] * 4  # they were held, then ran into the new role
        if origin == "holdfast":
            assert waits.read().code == "UNBLOCKED"
    assert role(a) == "slave" and role(b) == "master" and state(a) == state(b) == "no-failover"
    with b.client() as c:
        assert [int(c.call("GET", f"count{i}")) for i in range(4)] == writers.acked
        assert c.call("SET", "after", 1) == b"OK"
    wait_equal(b, a)
    assert (syncs(b)[0], syncs(b)[1]) == (before[0], before[1] + 1)
    assert a.info("replication")["master_replid"] == b.info("replication")["master_replid"]
    # And back again.
    with b.client() as c:
        wait_until(lambda: "state=online" in b.info("replication").get("slave0", ""))
        assert c.call("FAILOVER", "TO", "127.0.0.1", a.port, "TIMEOUT", 20000) == b"OK"
    wait_until(lambda: role(a) == "master" and role(b) == "slave" and state(b) == "no-failover")
    with a.client() as c:
        assert c.call("INCR", "after") == 2
    wait_equal(a, b)


def test_other_replicas_stay_and_follow_along(make_node):
    a, b = pair(make_node, "holdfast", "holdfast")
    others = [replica_of(make_node, a), replica_of(make_node, a, kind="redis")]
    wait_until(lambda: all(link_is_up(n) for n in others))
    with a.client() as c:
        c.pipeline([("SET", f"k{i}", i) for i in range(500)])
        assert c.call("FAILOVER", "TO", "127.0.0.1", b.port) == b"OK"
    wait_until(lambda: role(b) == "master" and link_is_up(a))
    with b.client() as c:
        c.call("SET", "after", 1)
    wait_equal(b, a, *others)
    assert syncs(a)[0] == 3 and syncs(b)[0] == 0


def test_a_target_that_does_not_catch_up_in_time_ends_it(make_node):
    a, b = pair(make_node, "holdfast", "holdfast")
    with a.client() as c, a.client() as writer:
        b.signal(signal.SIGSTOP)
        assert c.call("SET", "a", 1) == b"OK"
        assert c.call("FAILOVER", "TO", "127.0.0.1", b.port, "TIMEOUT", 400) == b"OK"
        writer.send("INCR", "n")
        assert state(a) == "waiting-for-sync"
        assert c.call("GET", "a") == b"1"
        # What CLIENT PAUSE says is apart from it.
        assert c.call("CLIENT", "PAUSE", 1, "WRITE") == b"OK"
        assert c.call("CLIENT", "UNPAUSE") == b"OK"
        writer.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            writer.read()
        writer.sock.settimeout(10)
        assert writer.read() == 1
        assert state(a) == "no-failover" and role(a) == "master"
        assert "aborted: Replica never caught up before timeout" in a.log()
        b.signal(signal.SIGCONT)
    wait_equal(a, b)


def test_a_client_pause_goes_on_after_a_failover_ends(make_node):
    a, b = pair(make_node, "holdfast", "holdfast")
    with a.client() as c, a.client() as writer:
        b.signal(signal.SIGSTOP)
        c.call("SET", "a", 1)
        assert c.call("CLIENT", "PAUSE", 600, "WRITE") == b"OK"
        started = time.monotonic()
        assert c.call("FAILOVER") == b"OK"
        writer.send("INCR", "n")
        assert c.call("FAILOVER", "ABORT") == b"OK"
        assert writer.read() == 1
        assert time.monotonic() - started > 0.5
        b.signal(signal.SIGCONT)


def test_force_hands_over_after_the_timeout_and_abort_takes_it_back(make_node):
    a, b = pair(make_node, "holdfast", "holdfast")
    with a.client() as c, a.client() as writer:
        b.signal(signal.SIGSTOP)
        c.call("SET", "a", 1)
        assert c.call("FAILOVER", "TO", "127.0.0.1", b.port, "FORCE", "TIMEOUT", 100) == b"OK"
        writer.send("INCR", "n")
        wait_until(lambda: state(a) == "failover-in-progress")
        assert role(a) == "slave"
        assert c.try_call("FAILOVER") == ReplyError("ERR FAILOVER already in progress.")
        assert c.call("FAILOVER", "ABORT") == b"OK"
        assert state(a) == "no-failover" and role(a) == "master"
        assert writer.read() == 1  # it was held all the time and runs on the primary again
        # The target never saw the request.
        b.signal(signal.SIGCONT)
        wait_until(lambda: link_is_up(b))
        assert role(b) == "slave"
    wait_equal(a, b)


def test_a_forced_target_that_is_behind_wins_and_the_others_take_its_data(make_node):
    a = make_node(FAST)
    link = Link(a)
    try:
        b = replica_of(make_node, link)
        wait_until(lambda: link_is_up(b) and "state=online" in a.info("replication")["slave0"])
        with a.client() as c:
            link.hold()
            c.call("SET", "lost", 1)
            assert c.call("FAILOVER", "TO", "127.0.0.1", b.port, "FORCE", "TIMEOUT", 100) == b"OK"
            wait_until(lambda: role(b) == "master" and link_is_up(a))
            assert c.call("EXISTS", "lost") == 0
        wait_equal(b, a)
    finally:
        link.close()


def test_a_target_that_refuses_ends_it_and_the_primary_goes_on(make_node):
    a = make_node(FAST)
    fake = FakeTarget(a, ["-ERR no\r\n"])
    try:
        with a.client() as c, a.client() as writer:
            assert c.call("FAILOVER") == b"OK"
            a.wait_log("aborted: Failover target rejected psync request")
            assert role(a) == "master" and state(a) == "no-failover"
            assert writer.call("INCR", "n") == 1
        asked = fake.requests[0].split()
        assert asked[0] == b"PSYNC" and asked[3] == b"FAILOVER" and len(asked) == 4
    finally:
        fake.close()


def test_an_answer_that_is_lost_does_not_make_two_primaries(make_node):
    """The target may have taken the lead before the connection broke: it is asked again, and followed."""
    a = make_node(FAST)
    new_id = "c" * 40
    fake = FakeTarget(a, [None, "-ERR PSYNC FAILOVER can't be sent to a master.\r\n", f"+CONTINUE {new_id}\r\n"])
    try:
        with a.client() as c:
            assert c.call("FAILOVER", "TO", "127.0.0.1", fake.port) == b"OK"
            wait_until(lambda: len(fake.requests) == 3 and link_is_up(a))
            assert c.try_call("INCR", "n") == READONLY
        info = a.info("replication")
        assert info["role"] == "slave" and info["master_link_status"] == "up" and info["master_replid"] == new_id
        assert [len(r.split()) for r in fake.requests] == [4, 4, 3]
    finally:
        fake.close()


class FakeTarget:
    """A replica of `primary` that acknowledges everything, and answers PSYNC on its own port as told (None: it closes
    the connection)."""

    def __init__(self, primary, answers):
        self.answers, self.requests, self.open = list(answers), [], []
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()
        self.client = primary.client()
        self.client.call("REPLCONF", "listening-port", self.port, "capa", "psync2")
        self.client.send("PSYNC", "?", "-1")
        wait_until(lambda: "state=online" in primary.info("replication").get("slave0", ""))
        self.primary = primary
        threading.Thread(target=self.acknowledge, daemon=True).start()

    def acknowledge(self):
        try:
            while True:
                self.client.send("REPLCONF", "ACK", offset(self.primary))
                time.sleep(0.02)
        except OSError:
            pass

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(s)
            data = b""
            while True:
                more = s.recv(4096)
                if not more:
                    break
                data += more
                if b"PSYNC" not in data:
                    s.sendall(b"+PONG\r\n" if b"PING" in more else b"+OK\r\n" * more.count(b"*"))
                    continue
                words = data[data.rindex(b"*", 0, data.index(b"PSYNC")):].split(b"\r\n")
                self.requests.append(b" ".join(words[2::2]))
                answer = self.answers.pop(0)
                if answer is not None:
                    s.sendall(answer.encode())
                if answer is None or answer[0] == "-":
                    s.close()
                break

    def close(self):
        self.listener.close()
        self.client.close()
        for s in self.open:
            s.close()


def test_errors(make_node):
    a = make_node(FAST)
    syntax = ReplyError("ERR syntax error")
    number = ReplyError("ERR value is not an integer or out of range")
    none = ReplyError("ERR FAILOVER requires connected replicas.")
    with a.client() as c:
        for args, want in {
            (): none, ("abort",): ReplyError("ERR No failover in progress."), ("x",): syntax, ("to",): syntax,
            ("to", "h"): syntax, ("to", "h", "p"): number, ("to", "h", 1): none, ("force",): none, ("timeout",): syntax,
            ("timeout", "x"): number, ("timeout", 0): ReplyError("ERR FAILOVER timeout must be greater than 0"),
            ("abort", "timeout", 1): syntax, ("timeout", 1, "abort"): syntax, ("to", "h", 1, "to", "h", 2): syntax,
            ("timeout", 1, "timeout", 2): syntax, ("abort", "abort"): syntax,
        }.items():
            assert c.try_call("FAILOVER", *args) == want, args
        b = replica_of(make_node, a)
        wait_until(lambda: "state=online" in a.info("replication").get("slave0", ""))
        force = ReplyError("ERR FAILOVER with force option requires both a timeout and target HOST and IP.")
        target = ReplyError("ERR FAILOVER target HOST and PORT is not a replica.")
        for args, want in {("to", "h", 1): target, ("to", "127.0.0.1", b.port + 1): target, ("force",): force,
                           ("to", "127.0.0.1", b.port, "force"): force, ("force", "timeout", 1): force}.items():
            assert c.try_call("FAILOVER", *args) == want, args
        with b.client() as d:
            assert d.try_call("FAILOVER") == ReplyError("ERR FAILOVER is not valid when server is a replica.")
            assert d.try_call("PSYNC", "?", -1, "FAILOVER") == ReplyError("ERR PSYNC FAILOVER replid must match my replid.")
        assert c.try_call("PSYNC", "?", -1, "FAILOVER") == ReplyError("ERR PSYNC FAILOVER can't be sent to a master.")
        b.signal(signal.SIGSTOP)
        c.call("SET", "a", 1)
        assert c.call("FAILOVER") == b"OK"
        assert c.try_call("REPLICAOF", "NO", "ONE") == ReplyError("ERR REPLICAOF not allowed while failing over.")
        with a.client() as d:
            assert d.try_call("PSYNC", "?", -1) == ReplyError("NOMASTERLINK Can't SYNC while failing over")
        with a.client() as d:
            assert d.try_call("SYNC") == ReplyError("NOMASTERLINK Can't SYNC while failing over")
        b.signal(signal.SIGCONT)
