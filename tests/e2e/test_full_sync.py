"""Full synchronization between Holdfast nodes: what the primary keeps in memory meanwhile, compression, many at once,
and everything that can break in the middle."""

import os
import random
import signal
import socket
import threading
import time

import pytest

from harness import encode, free_port, wait_until
from harness.replication import DISK, DISKLESS, FAST, Link, binary, link_is_up, replica_of, syncs, wait_equal

pytestmark = pytest.mark.holdfast
MB = 1 << 20
BACKLOG = 1 * MB
# Beyond the backlog: what is written while a frame of the snapshot is on its way, whole segments, the window.
IN_FLIGHT = 6 * MB
LOADS = ["disabled", "flush-before-load", "swapdb"]


def fill(node, mb, compressible=False):
    """Keys of 4 KiB, random or half so."""
    block = random.Random(3).randbytes(8 * MB)
    with node.client() as c:
        for at in range(0, mb * 256, 256):
            commands = []
            for i in range(at, at + 256):
                where = (i * 7919) % (len(block) - 4096)
                value = block[where:where + 1024] * 4 if compressible else block[where:where + 4096]
                commands.append(("SET", f"key{i}", value))
            c.pipeline(commands)


class Writer(threading.Thread):
    """Overwrites keys at a rate, as much as it may; the data do not grow."""

    def __init__(self, node, mb_per_s, keys):
        super().__init__(daemon=True)
        self.node, self.rate, self.keys = node, mb_per_s * MB, keys
        self.ends = threading.Event()
        self.bytes = 0
        self.most_log = 0

    def run(self):
        rng = random.Random(11)
        block = rng.randbytes(2 * MB)
        began = time.monotonic()
        with self.node.client(timeout=60) as c:
            while not self.ends.is_set():
                commands = []
                for _ in range(32):
                    at = rng.randrange(len(block) - 4096)
                    commands.append(("SET", f"key{rng.randrange(self.keys)}", block[at:at + 4096]))
                c.pipeline(commands)
                self.bytes += 32 * 4096
                info = c.info("memory")
                self.most_log = max(self.most_log, int(info["mem_total_replication_buffers"]))
                time.sleep(max(0.0, began + self.bytes / self.rate - time.monotonic()))

    def stop(self):
        self.ends.set()
        self.join()


@pytest.fixture
def link():
    made = []

    def make(node, **kw):
        made.append(Link(node))
        for k, v in kw.items():
            setattr(made[-1], k, v)
        return made[-1]

    yield make
    for p in made:
        p.close()


def follower(make_node, primary, config=None, kind="holdfast"):
    """As replica_of(), but does not wait for anything."""
    node = make_node({**FAST, **(config or {})}, binary=binary(kind))
    with node.client() as c:
        c.call("REPLICAOF", "127.0.0.1", getattr(primary, "port", primary))
    return node


def primary_of(make_node, transfer, **more):
    return make_node({"repl-backlog-size": str(BACKLOG), **FAST, **transfer, **more})


@pytest.mark.parametrize("transfer", [DISK, DISKLESS], ids=["disk", "diskless"])
@pytest.mark.parametrize("load", LOADS)
def test_the_primary_keeps_no_more_of_the_stream_than_its_backlog(make_node, link, transfer, load):
    primary = primary_of(make_node, transfer)
    fill(primary, 24)
    slow = link(primary, rate=16 * MB)
    writer = Writer(primary, 5, 24 * 256)
    writer.start()
    replica = replica_of(make_node, slow, {"repl-diskless-load": load})
    wait_until(lambda: link_is_up(replica), 30, what="the end of the synchronization")
    time.sleep(0.3)
    writer.stop()
    wait_equal(primary, replica)
    assert writer.bytes > 5 * MB  # it mattered
    assert writer.most_log <= BACKLOG + IN_FLIGHT, f"{writer.most_log} bytes"
    assert syncs(primary) == (1, 0, 0)
    replica.wait_log("The changes of the meantime are applied")


def test_a_peer_that_knows_no_frames_gets_the_plain_protocol(make_node):
    primary = primary_of(make_node, DISK)
    fill(primary, 1)
    for capa in (["eof", "psync2"], ["eof", "psync2", "holdfast"], ["psync2", "holdfast-lz4"]):
        with socket.create_connection(("127.0.0.1", primary.port), timeout=10) as s:
            f = s.makefile("rb")
            s.sendall(encode("REPLCONF", *[w for c in capa for w in ("capa", c)]))
            assert f.readline() == b"+OK\r\n"
            s.sendall(encode("PSYNC", "?", "-1"))
            assert f.readline().startswith(b"+FULLRESYNC ")
            line = b"\n"
            while line == b"\n":
                line = f.readline()
            size = int(line[1:])
            body = f.read(size)
            packed = "holdfast-lz4" in capa
            assert body[:4] == (b"\x04\x22\x4d\x18" if packed else b"REDI")


@pytest.mark.parametrize("transfer", [DISK, DISKLESS], ids=["disk", "diskless"])
@pytest.mark.parametrize("load", LOADS)
def test_the_transfer_is_compressed_and_the_file_of_the_replica_is_not(make_node, link, transfer, load):
    primary = primary_of(make_node, transfer)
    fill(primary, 8, compressible=True)
    sizes = []
    for offered in ("yes", "no"):
        with primary.client() as c:
            c.call("CONFIG", "SET", "repl-transfer-lz4", offered)
            c.call("CONFIG", "SET", "rdbcompression", "no")
        wire = link(primary)
        replica = replica_of(make_node, wire, {"repl-diskless-load": load})
        wait_equal(primary, replica)
        sizes.append(wire.bytes)
        if load == "disabled":
            with open(replica.path("dump.rdb"), "rb") as f:
                assert f.read(5) == b"REDIS"
            replica.stop()
            replica.start()
            wait_equal(primary, replica)
            assert syncs(primary)[0] == len(sizes)
    assert sizes[0] < 3 * MB and sizes[1] > 8 * MB


def test_mixed_replicas_share_a_snapshot_that_all_can_read(make_node):
    primary = primary_of(make_node, {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "1"})
    fill(primary, 4)
    replicas = [follower(make_node, primary, kind=kind) for kind in ("holdfast", "redis", "holdfast")]
    wait_equal(primary, *replicas)
    assert syncs(primary)[0] == 3
    assert primary.log().count("Starting BGSAVE for SYNC") == 1


@pytest.mark.parametrize("transfer", [DISK, DISKLESS], ids=["disk", "diskless"])
def test_a_replica_that_is_killed_in_the_middle_disturbs_nobody(make_node, link, transfer):
    primary = primary_of(make_node, transfer, **({"repl-diskless-sync-delay": "1"} if transfer is DISKLESS else {}))
    fill(primary, 16)
    slow = [link(primary, rate=16 * MB) for _ in range(3)]
    replicas = [follower(make_node, p) for p in slow]
    wait_until(lambda: slow[0].bytes > 3 * MB, 20, what="a part of the transfer")
    replicas[0].kill()
    wait_equal(primary, *replicas[1:])
    assert syncs(primary)[0] == 3
    replicas[0].start()
    with replicas[0].client() as c:
        c.call("REPLICAOF", "127.0.0.1", slow[0].port)
    wait_equal(primary, *replicas)
    assert syncs(primary)[0] == 4


@pytest.mark.parametrize("load", LOADS)
def test_a_child_that_is_killed_is_tried_again(make_node, link, load):
    primary = primary_of(make_node, DISKLESS)
    fill(primary, 16)
    slow = link(primary, rate=8 * MB)
    replica = follower(make_node, slow, {"repl-diskless-load": load})
    wait_until(lambda: slow.bytes > 3 * MB and primary.children(), 20, what="a part of the transfer")
    os.kill(primary.children()[0], signal.SIGKILL)
    primary.wait_log("the snapshot failed")
    slow.rate = None
    wait_equal(primary, replica)
    assert syncs(primary)[0] == 2


def test_a_replica_that_stops_reading_holds_the_others_up_for_a_bounded_time(make_node):
    primary = primary_of(make_node, {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "1"})
    fill(primary, 32)
    with primary.client() as c:
        c.call("CONFIG", "SET", "repl-transfer-lz4", "no")
    replicas = [follower(make_node, primary, {"repl-diskless-load": "flush-before-load"}) for _ in range(2)]
    primary.wait_log("Starting BGSAVE for SYNC with target: replicas sockets", 20)
    replicas[1].signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        wait_until(lambda: link_is_up(replicas[0]), 20, what="the end of the synchronization")
        took = time.monotonic() - began
        assert took < 14
        if took > 5:  # else it had all of it before it was stopped
            primary.wait_log("it has kept the other replicas of its snapshot waiting")
    finally:
        replicas[1].signal(signal.SIGCONT)
    wait_equal(primary, *replicas)


def test_a_link_that_breaks_behind_the_snapshot_continues(make_node, link):
    primary = primary_of(make_node, DISK, **{"repl-backlog-size": str(64 * MB)})
    fill(primary, 24)
    wire = link(primary, rate=24 * MB)
    writer = Writer(primary, 5, 24 * 256)
    writer.start()
    replica = follower(make_node, wire, {"appendonly": "yes"})
    replica.wait_log("Loading DB in memory", 20)
    wire.cut()
    wait_until(lambda: link_is_up(replica), 20, what="the link")
    writer.stop()
    wait_equal(primary, replica)
    assert syncs(primary)[:2] == (1, 1)


FULLRESYNC = b"+FULLRESYNC " + b"a" * 40 + b" 100\r\n$FRAMES\r\n"


def frame(kind, payload=b""):
    return kind + len(payload).to_bytes(4, "little") + payload


def changes(payload):
    return b"".join(frame(b"C", payload[i:i + MB]) for i in range(0, len(payload), MB))


def snapshot_bytes(make_node):
    node = make_node()
    with node.client() as c:
        c.call("SET", "from", "snapshot")
        c.call("SAVE")
    with open(node.path("dump.rdb"), "rb") as f:
        return f.read()


class FakePrimary:
    """Answers each PSYNC with the next of `answers` and closes; keeps what was asked."""

    def __init__(self, answers):
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.answers, self.asked = answers, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            try:
                self.talk(s)
            except OSError:
                pass
            s.close()

    def talk(self, s):
        f = s.makefile("rb")
        while True:
            count = int(f.readline()[1:] or 0)
            if count == 0:
                return
            words = [f.read(int(f.readline()[1:]) + 2)[:-2] for _ in range(count)]
            name = words[0].upper()
            if name == b"PING":
                s.sendall(b"+PONG\r\n")
            elif name == b"REPLCONF":
                s.sendall(b"+OK\r\n")
            elif name == b"PSYNC":
                self.asked.append(words[1:])
                s.sendall(self.answers[min(len(self.asked), len(self.answers)) - 1])
                s.shutdown(socket.SHUT_WR)
                f.read()
                return

    def close(self):
        self.listener.close()


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("sized", [True, False])
def test_what_waits_is_applied_although_the_link_is_gone(make_node, load, sized):
    body = snapshot_bytes(make_node)
    group = encode("SELECT", 0) + b"".join(encode("SET", f"k{i}", "v" * 1000) for i in range(5000))
    cut = len(group) // 3
    frames = (frame(b"N", len(body).to_bytes(8, "little")) if sized else b"") + changes(group[:cut])
    frames += frame(b"S", body[:50]) + frame(b"C") + changes(group[cut:-3]) + frame(b"S", body[50:]) + frame(b"E")
    frames += group[-3:] + encode("INCR", "n") + encode("MULTI") + encode("INCR", "n")  # its EXEC is lost
    fake = FakePrimary([FULLRESYNC + frames, b"-LOADING busy\r\n"])
    replica = make_node({"repl-diskless-load": load, **FAST})
    with replica.client() as c:
        c.call("SET", "mine", 1)
        c.call("REPLICAOF", "127.0.0.1", fake.port)
        wait_until(lambda: len(fake.asked) >= 2, 10, what="the second attempt")
        assert fake.asked[1] == [b"a" * 40, b"%d" % (100 + len(group) + len(encode("INCR", "n")) + 1)]
        assert c.call("GET", "from") == b"snapshot" and c.call("GET", "n") == b"1" and c.call("GET", "mine") is None
        assert c.call("DBSIZE") == 5002
    fake.close()


@pytest.mark.parametrize("load", LOADS)
def test_what_waits_is_dropped_when_the_link_goes_before_the_snapshot_is_whole(make_node, load):
    body = snapshot_bytes(make_node)
    frames = frame(b"C", encode("SELECT", 0) + encode("SET", "k", 1)) + frame(b"S", body[:50])
    fake = FakePrimary([FULLRESYNC + frames, b"-LOADING busy\r\n"])
    replica = make_node({"repl-diskless-load": load, **FAST})
    with replica.client() as c:
        c.call("REPLICAOF", "127.0.0.1", fake.port)
        wait_until(lambda: len(fake.asked) >= 2, 10, what="the second attempt")
        assert fake.asked[1][0] != b"a" * 40
        assert c.call("DBSIZE") == 0
    fake.close()


@pytest.mark.parametrize("load", ["disabled", "swapdb"])
@pytest.mark.parametrize("answer,reason", [
    (b"X\1\0\0\0a", "the frames of the snapshot are garbage: an unknown kind"),
    (b"S\0\0\0\0", "a wrong length of a piece of the snapshot"),
    (b"C\xff\xff\xff\xff", "a wrong length of a piece of the stream"),
    (b"E\0\0\0\0", "an early end"),
    (b"N\x08\0\0\0" + b"\xff" * 8, "a wrong size"),
    (b"N\x08\0\0\0\x05\0\0\0\0\0\0\0S\6\0\0\0", "more than was announced"),
    (b"C\1\0\0\0*S\5\0\0\0hello" + b"E\0\0\0\0", "(?i)(wrong signature|not a snapshot|could not be loaded|Failed trying)"),
    (b"S\7\0\0\0\x04\x22\x4d\x18\xff\xff\xff" + b"E\0\0\0\0", "(damaged|Failed trying)"),
], ids=["kind", "empty", "huge", "end", "size", "excess", "snapshot", "packed"])
def test_garbage_in_the_frames_closes_the_link_and_costs_no_data(make_node, answer, reason, load):
    fake = FakePrimary([FULLRESYNC + answer])
    replica = make_node({"repl-diskless-load": load, **FAST})
    with replica.client() as c:
        c.call("SET", "mine", 1)
    with replica.client() as c:
        c.call("REPLICAOF", "127.0.0.1", fake.port)
        replica.wait_log(reason)
        c.call("REPLICAOF", "NO", "ONE")
        if load == "swapdb" or "Failed" not in reason:
            assert c.call("GET", "mine") == b"1"
    fake.close()
    assert replica.alive()


