"""Three redis-sentinels over a set of nodes, and clients that write through whoever is the primary."""

import os
import subprocess
import tempfile
import shutil
import threading
import time

from .node import _die_with_parent, _live, free_port, wait_until
from .replication import digest, link_is_up, offset
from .resp import Client, ReplyError

SENTINEL = os.environ.get("REDIS_SENTINEL", "/usr/bin/redis-sentinel")
MASTER = "group"


class Sentinels:
    """They monitor the node as `group`; two of three must agree. With less than two seconds of silence a sentinel takes a
    primary for dead that it has just begun to ask: it pings once a second."""

    def __init__(self, primary, count=3, down_ms=2000):
        self.dir = tempfile.mkdtemp(prefix="holdfast-sentinel-")
        self.ports, self.procs = [], []
        for i in range(count):
            port = free_port()
            d = os.path.join(self.dir, str(i))
            os.mkdir(d)
            conf = os.path.join(d, "sentinel.conf")
            with open(conf, "w") as f:
                f.write(f"port {port}\nbind 127.0.0.1\ndir {d}\nlogfile {d}/log\nprotected-mode no\n"
                        f"sentinel monitor {MASTER} 127.0.0.1 {primary.port} 2\n"
                        f"sentinel down-after-milliseconds {MASTER} {down_ms}\n"
                        f"sentinel failover-timeout {MASTER} 8000\nsentinel parallel-syncs {MASTER} 2\n")
            proc = subprocess.Popen([SENTINEL, conf], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL, preexec_fn=_die_with_parent)
            _live[proc.pid] = proc
            self.ports.append(port)
            self.procs.append(proc)

    def client(self, i=0):
        return Client(self.ports[i])

    def call(self, *args, i=0):
        with self.client(i) as c:
            return c.call("SENTINEL", *args)

    def primary_port(self, i=0):
        return int(self.call("GET-MASTER-ADDR-BY-NAME", MASTER, i=i)[1])

    def fields(self, i=0):
        flat = self.call("MASTER", MASTER, i=i)
        return {k.decode(): v.decode() for k, v in zip(flat[::2], flat[1::2])}

    def replicas(self, i=0):
        out = {}
        for flat in self.call("REPLICAS", MASTER, i=i):
            f = {k.decode(): v.decode() for k, v in zip(flat[::2], flat[1::2])}
            out[int(f["port"])] = f
        return out

    def wait_discovery(self, replicas, timeout=30):
        def found():
            for i in range(len(self.ports)):
                try:
                    f = self.fields(i)
                except (OSError, ReplyError):
                    return False
                if int(f["num-slaves"]) != replicas or int(f["num-other-sentinels"]) != len(self.ports) - 1:
                    return False
            return True
        wait_until(found, timeout, 0.1, "what the sentinels found")

    def wait_primary(self, port, timeout=30):
        """Until all of them name the node on this port, or with a function one that it accepts; the port."""
        accepts = port if callable(port) else lambda p: p == port
        def there():
            ports = {self.primary_port(i) for i in range(len(self.ports))}
            return len(ports) == 1 and accepts(next(iter(ports))) and next(iter(ports))
        return wait_until(there, timeout, 0.05, "the sentinels' agreement")

    def log(self, i=0):
        with open(os.path.join(self.dir, str(i), "log")) as f:
            return f.read()

    def close(self):
        for proc in self.procs:
            if proc.poll() is None:
                proc.kill()
                proc.wait()
            _live.pop(proc.pid, None)
        shutil.rmtree(self.dir, ignore_errors=True)


class AckedWriters:
    """Clients that ask a sentinel for the primary and write there with `write-ack replicas N`. What was confirmed is
    remembered: it has to be there afterwards, whatever failed meanwhile."""

    def __init__(self, sentinels, replicas, count=4, timeout_ms=3000, tag=""):
        self.sentinels, self.replicas, self.timeout_ms, self.tag = sentinels, replicas, timeout_ms, tag
        self.acked = [[] for _ in range(count)]
        self.unconfirmed = 0
        self.stops = False
        self.threads = [threading.Thread(target=self.work, args=(i,), daemon=True) for i in range(count)]
        for t in self.threads:
            t.start()

    def work(self, i):
        n = 0
        while not self.stops:
            try:
                with Client(self.sentinels.primary_port(i % 3), timeout=10) as c:
                    c.call("CLIENT", "WRITE-ACK", "replicas", self.replicas, "timeout", self.timeout_ms)
                    while not self.stops:
                        batch = range(n, n + 5)
                        n += 5
                        got = c.pipeline([self.write(i, k) for k in batch])
                        for k, r in zip(batch, got):
                            if isinstance(r, ReplyError):
                                self.unconfirmed += 1
                                if r.code != "UNCONFIRMED":
                                    raise r
                            else:
                                self.acked[i].append(k)
            except (OSError, ReplyError):
                time.sleep(0.05)

    def write(self, i, k):
        """Each step leaves something of its own behind, in one of four types."""
        key = f"{self.tag}w{i}"
        return [("SET", f"{key}:{k}", k), ("HSET", f"{key}:h", k, 1), ("ZADD", f"{key}:z", k, k), ("SADD", f"{key}:s", k)][k % 4]

    def stop(self):
        self.stops = True
        for t in self.threads:
            t.join(30)
        return sum(map(len, self.acked))

    def missing(self, node):
        """Confirmed writes that the node does not have."""
        out = []
        with node.client() as c:
            for i, acked in enumerate(self.acked):
                key = f"{self.tag}w{i}"
                asks = [[("EXISTS", f"{key}:{k}"), ("HEXISTS", f"{key}:h", k), ("ZSCORE", f"{key}:z", k),
                         ("SISMEMBER", f"{key}:s", k)][k % 4] for k in acked]
                out += [f"{key}:{k}" for k, r in zip(acked, c.pipeline(asks)) if r in (0, None)]
        return out


def steady(ask):
    """ask(), again where a sentinel has just cut the clients of a node off."""
    for _ in range(4):
        try:
            return ask()
        except ConnectionError:
            time.sleep(0.2)
    return ask()


def fail_over_by_kill(nodes, sentinels, writers_seconds=1.0, replicas=2, tag=""):
    """One round: kill -9 of the primary under load, a promotion, the old one comes back as a replica; every write that
    was confirmed by all replicas is on all nodes. Gives (confirmed, seconds without a primary)."""
    by_port = {n.port: n for n in nodes}
    old = by_port[sentinels.primary_port()]
    writers = AckedWriters(sentinels, replicas, tag=tag)
    time.sleep(writers_seconds)
    old.kill()
    started = time.monotonic()
    port = sentinels.wait_primary(lambda p: p != old.port)
    new = by_port[port]
    wait_until(lambda: steady(lambda: new.info("replication")["role"]) == "master", 10, what="the promotion")
    away = time.monotonic() - started
    before = sum(map(len, writers.acked))
    old.start()

    def joined():
        lead = sentinels.primary_port()  # by now it may be another one again
        return lead != old.port and all(n.info("replication").get("master_port") == str(lead) and link_is_up(n)
                                        for n in nodes if n.port != lead)
    wait_until(lambda: steady(joined), 30, 0.05, "all nodes at the new primary")
    wait_until(lambda: sum(map(len, writers.acked)) > before, 20, 0.05, "confirmed writes on the new primary")
    acked = writers.stop()
    wait_until(lambda: steady(lambda: len({offset(n) for n in nodes})) == 1, 20, what="equal offsets")
    assert steady(lambda: len({digest(n) for n in nodes})) == 1, "the nodes differ"
    for n in nodes:
        lost = steady(lambda: writers.missing(n))
        assert not lost, f"{len(lost)} of {acked} confirmed writes are not on the node at {n.port}: {lost[:5]}"
    return acked, away
