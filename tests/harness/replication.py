"""What tests of replication share: links that can be cut and slowed down, nodes that follow each other, digests."""

import random
import socket
import threading
import time

from .node import Node, REDIS_SERVER, free_port, server_binary, wait_until

DISK = {"repl-diskless-sync": "no"}
DISKLESS = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0"}
FAST = {"repl-ping-replica-period": "1", **DISK}


def binary(kind):
    return REDIS_SERVER if kind == "redis" else server_binary()


def replica_of(make_node, primary, config=None, kind="holdfast", **kw):
    """A node that follows `primary`: a node, a Link or a port."""
    port = getattr(primary, "port", primary)
    return make_node({"replicaof": f"127.0.0.1 {port}", **FAST, **(config or {})}, binary=binary(kind), **kw)


def digest(node):
    with node.client() as c:
        return c.call("DEBUG", "DIGEST")


def link_is_up(node):
    return node.info("replication").get("master_link_status") == "up"


def offset(node):
    return int(node.info("replication")["master_repl_offset"])


def syncs(node):
    """Full, partial accepted, partial refused."""
    s = node.info("stats")
    return int(s["sync_full"]), int(s["sync_partial_ok"]), int(s["sync_partial_err"])


def wait_in_step(primary, *replicas, timeout=20):
    def there():
        at = offset(primary)
        return all(link_is_up(r) and offset(r) == at for r in replicas) and offset(primary) == at
    wait_until(there, timeout, what="equal offsets")


def wait_equal(primary, *replicas, timeout=20):
    """Waits for the end of the stream; then all must hold the same. Keys may expire meanwhile, on the primary first: what
    is compared is of one offset."""
    for attempt in range(50):
        wait_in_step(primary, *replicas, timeout=timeout)
        at = offset(primary)
        digests = [digest(n) for n in (primary, *replicas)]
        same = len(set(digests)) == 1
        if same and offset(primary) == at:
            return
        if not same and offset(primary) == at and attempt > 5:
            break
        time.sleep(0.02 * attempt)
    assert same, f"at {at} the nodes on {[n.port for n in (primary, *replicas)]} hold {digests}"


class Link:
    """A port in front of a node. Its connections can be cut, at once or inside a message, delayed, held and refused."""

    def __init__(self, target, seed=1):
        self.target = getattr(target, "port", target)
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        self.lock = threading.Lock()
        self.refuses = False
        self.delay_s = 0.0
        self.rate = None  # bytes per second of one direction of one connection
        self.cut_after = None  # bytes of either direction until all connections are cut
        self.flows = threading.Event()
        self.flows.set()
        self.cuts = 0
        self.bytes = 0
        self.random = random.Random(seed)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                a, _ = self.listener.accept()
            except OSError:
                return
            if self.refuses:
                a.close()
                continue
            try:
                b = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                b.settimeout(None)
            except OSError:
                a.close()
                continue
            for s in (a, b):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.pairs.append((a, b))
            for x, y in ((a, b), (b, a)):
                threading.Thread(target=self._pump, args=(x, y), daemon=True).start()

    def _pump(self, x, y):
        due = 0.0
        try:
            while True:
                data = x.recv(65536)
                if not data:
                    break
                self.flows.wait()
                if self.rate:
                    due = max(due, time.monotonic() - 0.05) + len(data) / self.rate
                    time.sleep(max(0.0, due - time.monotonic()))
                if self.delay_s:
                    time.sleep(self.delay_s * self.random.random() * 2)
                with self.lock:
                    self.bytes += len(data)
                    if self.cut_after is not None:
                        self.cut_after -= len(data)
                        if self.cut_after <= 0:
                            data = data[:self.random.randrange(len(data))]
                            self.cut_after = None
                            y.sendall(data)
                            break
                y.sendall(data)
        except OSError:
            pass
        self.cut([(x, y)])

    def cut(self, pairs=None):
        """Cuts what is connected now; new connections pass."""
        if pairs is None:
            with self.lock:
                pairs, self.pairs = self.pairs, []
                self.cuts += 1
        for pair in pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def hold(self):
        self.flows.clear()

    def release(self):
        self.flows.set()

    def close(self):
        self.flows.set()
        self.listener.close()
        self.cut()


__all__ = ["DISK", "DISKLESS", "FAST", "Link", "Node", "binary", "digest", "link_is_up", "offset", "replica_of", "syncs",
           "wait_equal", "wait_in_step"]
