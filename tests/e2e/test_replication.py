"""Replication: Holdfast with Holdfast and with Redis, in both directions."""

import socket
import threading
import time

import pytest

from harness import Client, Node, REDIS_SERVER, ReplyError, encode, free_port, server_binary, wait_until

pytestmark = pytest.mark.holdfast
HOLDFAST = server_binary()
DISK = {"repl-diskless-sync": "no"}
DISKLESS = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0"}
FAST = {"repl-ping-replica-period": "1", **DISK}
PAIRS = [("holdfast", "holdfast"), ("holdfast", "redis"), ("redis", "holdfast")]


def binary(name):
    return REDIS_SERVER if name == "redis" else HOLDFAST


class Proxy:
    """A port whose connections can be cut, to break a link without either side closing it."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        self.refuses = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                a, _ = self.listener.accept()
            except OSError:
                return
            if self.refuses:
                a.close()
                continue
            try:
                b = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                a.close()
                continue
            self.pairs.append((a, b))
            for x, y in ((a, b), (b, a)):
                threading.Thread(target=self.pump, args=(x, y), daemon=True).start()

    @staticmethod
    def pump(x, y):
        try:
            while True:
                data = x.recv(65536)
                if not data:
                    break
                y.sendall(data)
        except OSError:
            pass
        for s in (x, y):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.listener.close()
        self.cut()


@pytest.fixture
def proxy():
    made = []

    def make(node):
        made.append(Proxy(node.port))
        return made[-1]

    yield make
    for p in made:
        p.close()


def write(node, n=200, tag="a", large=True):
    """Changes of every type that both sides know, in several databases, alone and in transactions."""
    with node.client() as c:
        c.pipeline([("SET", f"s{tag}{i}", "x" * (i % 90)) for i in range(n)])
        c.pipeline([("INCR", f"n{i % 7}") for i in range(n)])
        c.pipeline([("RPUSH", f"l{i % 5}", f"{tag}{i}") for i in range(n)])
        c.pipeline([("SADD", f"set{i % 5}", f"{tag}{i}") for i in range(n)])
        c.pipeline([("HSET", f"h{i % 5}", f"{tag}{i}", i) for i in range(n)])
        c.pipeline([("ZADD", f"z{i % 5}", i / 3, f"{tag}{i}") for i in range(n)])
        c.pipeline([("SETBIT", "bits", i * 3, 1) for i in range(n)])
        c.pipeline([("LPOP", "l0"), ("SPOP", "set0"), ("ZPOPMIN", "z0"), ("HDEL", "h0", f"{tag}5"), ("SETRANGE", "bits", 70, "zz")])
        c.pipeline([("XADD", "stream", "*", "field", i) for i in range(20)])
        c.call("SELECT", 9)
        c.pipeline([("MULTI",), ("SET", f"tx{tag}", 1), ("SELECT", 3), ("APPEND", f"tx{tag}", 2), ("EXEC",)])
        c.pipeline([("SET", f"t{tag}", "v", "PX", 10 ** 7), ("EXPIRE", f"t{tag}", 5000)])
        if large:
            c.call("SET", f"large{tag}", "y" * 300_000)
        c.call("SELECT", 0)


def digest(node):
    with node.client() as c:
        return c.call("DEBUG", "DIGEST")


def link_is_up(node):
    return node.info("replication").get("master_link_status") == "up"


def in_step(a, b):
    ra, rb = a.info("replication"), b.info("replication")
    return ra["master_repl_offset"] == rb["master_repl_offset"]


def wait_equal(a, *others, timeout=10):
    for b in others:
        wait_until(lambda: link_is_up(b) and in_step(a, b), timeout, what="the replica's offset")
        assert digest(a) == digest(b)


def syncs(node):
    s = node.info("stats")
    return int(s["sync_full"]), int(s["sync_partial_ok"]), int(s["sync_partial_err"])


def replica_of(make_node, primary, config=None, kind="holdfast", **kw):
    return make_node({"replicaof": f"127.0.0.1 {getattr(primary, 'port', primary)}", **FAST, **(config or {})}, binary=binary(kind), **kw)


# ---- full synchronization ----


@pytest.mark.parametrize("mode", ["disk", "diskless"])
@pytest.mark.parametrize("primary,replica", PAIRS)
def test_a_replica_gets_the_data_and_every_change_after(make_node, primary, replica, mode):
    p = make_node({**FAST, **(DISK if mode == "disk" else DISKLESS)}, binary=binary(primary))
    write(p, tag="before")
    r = replica_of(make_node, p, kind=replica)
    wait_until(lambda: link_is_up(r))
    write(p, tag="after")
    wait_equal(p, r)
    assert r.info("replication")["role"] == "slave"
    with r.client() as c:
        role = c.call("ROLE")
        assert role[:4] == [b"slave", b"127.0.0.1", p.port, b"connected"]
        c.call("SELECT", 3)
        assert 4000 < c.call("TTL", "tbefore") <= 5000


@pytest.mark.parametrize("mode", ["on-empty-db", "swapdb", "flush-before-load"])
@pytest.mark.parametrize("primary", ["holdfast", "redis"])
@pytest.mark.parametrize("transfer", ["disk", "diskless"])
def test_a_replica_loads_from_the_wire(make_node, primary, mode, transfer):
    p = make_node({**FAST, **(DISK if transfer == "disk" else DISKLESS)}, binary=binary(primary))
    write(p)
    with p.client() as c:  # large enough to have tables of their own
        for verb, key in (("SADD", "bigset"), ("HSET", "bighash"), ("ZADD", "bigzset")):
            c.pipeline([(verb, key, *((f"m{i}", i) if verb == "HSET" else (i, f"m{i}") if verb == "ZADD" else (f"m{i}",)))
                        for i in range(1000)])
    r = make_node({"repl-diskless-load": mode})
    if mode != "on-empty-db":
        write(r, n=50, tag="old")
    with r.client() as c:
        c.call("REPLICAOF", "127.0.0.1", p.port)
        wait_until(lambda: link_is_up(r))
        c.call("SELECT", 9)
        assert c.call("GET", "txold") is None
    write(p, tag="b")
    with p.client() as c:
        c.pipeline([("SADD", "bigset", f"n{i}") for i in range(3000)] + [("HSET", "bighash", f"n{i}", i) for i in range(3000)] +
                   [("ZADD", "bigzset", i, f"n{i}") for i in range(3000)] + [("SPOP", "bigset"), ("DEL", "bighash")])
    wait_equal(p, r)
    assert "to parser" in r.log() and not [f for f in __import__("os").listdir(r.data) if f.endswith(".rdb")]


@pytest.mark.parametrize("transfer", ["disk", "diskless"])
def test_many_replicas_share_one_snapshot(make_node, transfer):
    p = make_node({**FAST, "repl-diskless-sync": "yes" if transfer == "diskless" else "no", "repl-diskless-sync-delay": "60",
                   "repl-diskless-sync-max-replicas": "3", "rdb-key-save-delay": "4000" if transfer == "disk" else "0"})
    write(p)
    forks = int(p.info("stats")["total_forks"])
    rs = [replica_of(make_node, p, kind=k) for k in ("redis", "holdfast", "holdfast")]
    wait_until(lambda: all(link_is_up(r) for r in rs), 20)
    write(p, tag="more")
    wait_equal(p, *rs)
    assert int(p.info("stats")["total_forks"]) == forks + 1
    assert syncs(p)[0] == 3


def test_old_sync_without_psync_gets_a_snapshot_and_the_stream(make_node):
    p = make_node(DISK)
    with p.client() as c:
        c.call("SET", "a", 1)
        s = socket.create_connection(("127.0.0.1", p.port))
        s.sendall(b"SYNC\r\n")
        f = s.makefile("rb")
        line = f.readline()
        while line == b"\n":
            line = f.readline()
        assert line[:1] == b"$"
        assert f.read(int(line[1:])).startswith(b"REDIS0010")
        c.call("SET", "b", 2)
        want = encode("SELECT", 0) + encode("SET", "b", 2)
        assert f.read(len(want)) == want
        s.close()


def test_a_reader_that_wants_a_snapshot_only_gets_no_stream(make_node):
    p = make_node(DISKLESS)
    with p.client() as c:
        c.call("SET", "a", 1)
        s = Client(p.port)
        assert s.call("REPLCONF", "capa", "eof", "rdb-only", 1) == b"OK"
        s.send("SYNC")
        f = s.sock.makefile("rb")
        line = f.readline()
        while line == b"\n":
            line = f.readline()
        mark = line.strip()[5:]
        data = b""
        while not data.endswith(mark):
            data += f.read(1)
        assert data.startswith(b"REDIS0010") and len(mark) == 40
        assert "state=rdb_transmitted" in str(p.info("replication")["slave0"])
        c.call("SET", "b", 2)
        s.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            s.sock.recv(1)
        f.close()
        s.close()
        wait_until(lambda: p.info("replication")["connected_slaves"] == "0")


# ---- partial synchronization ----


@pytest.mark.parametrize("primary,replica", PAIRS)
def test_a_broken_link_continues_where_it_broke(make_node, proxy, primary, replica):
    p = make_node(FAST, binary=binary(primary))
    through = proxy(p)
    r = replica_of(make_node, through, kind=replica)
    wait_until(lambda: link_is_up(r))
    for i in range(4):
        write(p, tag=str(i), large=False)
        through.cut()
        write(p, tag=f"while{i}", large=False)
        wait_equal(p, r)
    full, partial, refused = syncs(p)
    assert (full, refused) == (1, 0) and partial >= 3


def test_a_link_that_broke_inside_a_transaction_repeats_it(make_node):
    """A primary of our own making that sends half a transaction, then closes."""
    port = free_port()
    server = socket.create_server(("127.0.0.1", port))
    r = make_node({"replicaof": f"127.0.0.1 {port}"})
    rid = "ab" * 20
    half = encode("SELECT", 0) + encode("SET", "a", 1)
    whole = encode("MULTI") + encode("INCR", "n") + encode("INCR", "n") + encode("EXEC")

    def handshake():
        s, _ = server.accept()
        s.settimeout(10)
        f = s.makefile("rb")
        asked = None
        while asked is None:
            n = int(f.readline()[1:])
            words = [f.read(int(f.readline()[1:]) + 2)[:-2] for _ in range(n)]
            if words[0] == b"PSYNC":
                asked = words[1:]
            elif words[0] == b"PING":
                s.sendall(b"+PONG\r\n")
            else:
                s.sendall(b"+OK\r\n")
        return s, asked

    s, asked = handshake()
    assert asked == [b"?", b"-1"]
    with make_node() as empty, empty.client() as c:
        payload = open(empty.path("dump.rdb"), "rb").read() if c.call("SAVE") == b"OK" else b""
    s.sendall(f"+FULLRESYNC {rid} 1000\r\n${len(payload)}\r\n".encode() + payload + half + whole[:-8])
    with r.client() as c:
        wait_until(lambda: c.try_call("GET", "a") == b"1")
        assert c.call("GET", "n") is None
        s.close()
        s, asked = handshake()
        assert asked == [rid.encode(), str(1000 + len(half) + 1).encode()]
        s.sendall(b"+CONTINUE\r\n" + whole)
        wait_until(lambda: c.call("GET", "n") == b"2")
        assert int(r.info("replication")["slave_repl_offset"]) == 1000 + len(half) + len(whole)
    s.close()
    server.close()


def test_beyond_the_backlog_it_is_a_snapshot_again(make_node, proxy):
    p = make_node({**FAST, "repl-backlog-size": "20000"})
    through = proxy(p)
    r = replica_of(make_node, through)
    wait_until(lambda: link_is_up(r))
    through.refuses = True
    through.cut()
    write(p)
    through.refuses = False
    wait_equal(p, r)
    assert syncs(p) == (2, 0, 1)


@pytest.mark.parametrize("primary,replica", PAIRS)
def test_a_replica_that_restarts_continues_from_its_snapshot(make_node, primary, replica):
    p = make_node(FAST, binary=binary(primary))
    r = replica_of(make_node, p, {"save": "3600 1000000"}, kind=replica)
    write(p)
    wait_until(lambda: link_is_up(r))
    wait_equal(p, r)
    r.stop()
    write(p, tag="away")
    r.start()
    wait_equal(p, r)
    assert syncs(p)[:2] == (1, 1)


@pytest.mark.parametrize("kill", [False, True])
def test_a_replica_with_an_aof_continues_after_stop_and_crash(make_node, kill):
    p = make_node(FAST)
    r = replica_of(make_node, p, {"appendonly": "yes", "rdb-version": "10"})
    wait_until(lambda: link_is_up(r) and r.info("persistence")["aof_rewrite_in_progress"] == "0")
    write(p)
    wait_equal(p, r)
    time.sleep(0.2)
    r.kill() if kill else r.stop()
    write(p, tag="away")
    r.start()
    wait_equal(p, r)
    assert syncs(p)[:2] == (1, 1)
    # The file is sound by itself, in all databases, also when it begins in the middle of the stream.
    with r.client() as c:
        c.call("BGREWRITEAOF")
        wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0")
        with p.client() as q:
            q.call("SELECT", 5)
            q.call("SET", "last", 1)
            wait_equal(p, r)
            c.call("BGREWRITEAOF")
            wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0")
            q.call("SET", "in-db-5", 1)
        wait_equal(p, r)
        want = c.call("DEBUG", "DIGEST")
        assert c.call("DEBUG", "LOADAOF") == b"OK" and c.call("DEBUG", "DIGEST") == want
    r.stop()
    with Node({"appendonly": "yes"}, binary=REDIS_SERVER, dir=r.dir) as redis, redis.client() as c:
        assert c.call("DEBUG", "DIGEST") == want


@pytest.mark.parametrize("persistence", [{"appendonly": "yes"}, {"save": "3600 1000000"}])
def test_a_primary_that_restarts_cleanly_keeps_its_three_replicas(make_node, persistence):
    p = make_node({**FAST, **persistence})
    rs = [replica_of(make_node, p, kind=k) for k in ("holdfast", "redis", "holdfast")]
    wait_until(lambda: all(link_is_up(r) for r in rs), 15)
    for i in range(3):
        stop = threading.Event()
        t = threading.Thread(target=keep_writing, args=(p.port, stop))
        t.start()
        time.sleep(0.2)
        p.stop()
        stop.set()
        t.join()
        p.start()
        wait_until(lambda: p.info("replication")["connected_slaves"] == "3", 15)
        write(p, n=20, tag=f"restart{i}")
        wait_equal(p, *rs)
        assert syncs(p)[0] == 0 and syncs(p)[1] == 3


def keep_writing(port, stop):
    try:
        with Client(port) as c:
            i = 0
            while not stop.is_set():
                c.pipeline([("SET", f"w{k % 500}", k) for k in range(i, i + 50)])
                i += 50
    except (OSError, ReplyError, EOFError):
        pass


def test_a_primary_that_crashed_with_an_aof_never_diverges_from_its_replicas(make_node):
    p = make_node({**FAST, "appendonly": "yes", "appendfsync": "everysec"})
    rs = [replica_of(make_node, p) for _ in range(2)]
    wait_until(lambda: all(link_is_up(r) for r in rs), 15)
    for i in range(3):
        stop = threading.Event()
        t = threading.Thread(target=keep_writing, args=(p.port, stop))
        t.start()
        time.sleep(0.3)
        before = p.info("replication")["master_replid"]
        p.kill()
        stop.set()
        t.join()
        p.start()
        info = p.info("replication")
        assert info["master_replid"] != before == info["master_replid2"]
        write(p, n=20, tag=f"crash{i}")
        wait_equal(p, *rs)


# ---- roles ----


def test_a_chain_carries_changes_and_ids_to_its_end(make_node):
    a = make_node(FAST)
    write(a)
    b = replica_of(make_node, a)
    wait_until(lambda: link_is_up(b))
    c = replica_of(make_node, b)
    d = replica_of(make_node, b, kind="redis")
    wait_until(lambda: link_is_up(c) and link_is_up(d))
    write(a, tag="chain")
    wait_equal(a, b, c, d)
    assert len({n.info("replication")["master_replid"] for n in (a, b, c, d)}) == 1


def test_after_a_promotion_the_others_continue(make_node):
    a = make_node(FAST)
    b = replica_of(make_node, a)
    c = replica_of(make_node, a)
    d = replica_of(make_node, a, kind="redis")
    wait_until(lambda: all(link_is_up(n) for n in (b, c, d)))
    write(a)
    wait_equal(a, b, c, d)
    old = a.info("replication")["master_replid"]
    with b.client() as x:
        assert x.call("REPLICAOF", "NO", "ONE") == b"OK"
        assert x.call("SET", "new", 1) == b"OK"
    b.wait_log("MASTER MODE enabled")
    info = b.info("replication")
    assert info["master_replid2"] == old and info["role"] == "master" and int(info["second_repl_offset"]) > 0
    for n in (a, c, d):
        with n.client() as x:
            x.call("REPLICAOF", "127.0.0.1", b.port)
    write(b, tag="promoted")
    wait_equal(b, a, c, d)
    assert syncs(b) == (0, 3, 0)


def test_redis_to_holdfast_live_migration_loses_nothing(make_node):
    redis = make_node(FAST, binary=REDIS_SERVER)
    write(redis)
    h = replica_of(make_node, redis)
    wait_until(lambda: link_is_up(h))
    write(redis, tag="more")
    wait_equal(redis, h)
    want = digest(redis)
    with h.client() as c:
        c.call("REPLICAOF", "NO", "ONE")
    assert digest(h) == want
    with redis.client() as c:
        c.call("REPLICAOF", "127.0.0.1", h.port)
    write(h, tag="back")
    wait_equal(h, redis)
    assert syncs(h) == (0, 1, 0)


def test_a_replica_refuses_writes_and_says_where_it_stands(make_node):
    p = make_node(FAST)
    r = replica_of(make_node, p)
    wait_until(lambda: link_is_up(r))
    with r.client() as c:
        e = c.try_call("SET", "a", 1)
        assert str(e) == "READONLY You can't write against a read only replica."
        c.call("MULTI")
        assert str(c.try_call("SET", "a", 1)).startswith("READONLY")
        assert str(c.try_call("EXEC")).startswith("EXECABORT")
        assert str(c.try_call("WAIT", 0, 0)).startswith("ERR WAIT cannot be used with replica instances.")
        c.call("CONFIG", "SET", "replica-read-only", "no")
        assert c.call("SET", "local", 1) == b"OK"
    offset = r.info("replication")["master_repl_offset"]
    write(p, n=10)
    wait_equal_offsets(p, r)
    assert int(r.info("replication")["master_repl_offset"]) > int(offset)


def wait_equal_offsets(a, b):
    wait_until(lambda: in_step(a, b))


def test_stale_data_may_be_refused(make_node):
    p = make_node(FAST)
    r = replica_of(make_node, p, {"replica-serve-stale-data": "no"}, start=False)
    r.start()
    wait_until(lambda: link_is_up(r))
    p.stop()
    with r.client() as c:
        wait_until(lambda: isinstance(c.try_call("GET", "a"), ReplyError))
        assert str(c.try_call("GET", "a")) == ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to "
                                               "'no'.")
        assert c.call("INFO", "replication")
        c.call("REPLICAOF", "NO", "ONE")
        assert c.call("GET", "a") is None


def test_keys_expire_by_the_primarys_word(make_node):
    p = make_node(FAST)
    r = replica_of(make_node, p)
    wait_until(lambda: link_is_up(r))
    with p.client() as c, r.client() as q:
        c.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        c.call("SET", "k", 1, "PX", 50)
        wait_equal_offsets(p, r)
        time.sleep(0.12)
        assert q.call("GET", "k") is None and q.call("DBSIZE") == 1
        assert c.call("SET", "k", 2, "KEEPTTL") == b"OK"
        wait_equal_offsets(p, r)
        assert q.call("GET", "k") == b"2" == c.call("GET", "k")
        c.call("SET", "gone", 1, "PX", 30)
        time.sleep(0.1)
        assert c.call("GET", "gone") is None
        wait_equal_offsets(p, r)
        assert q.call("DBSIZE") == 1
    assert digest(p) == digest(r)


def test_a_replica_leaves_eviction_to_its_primary(make_node):
    p = make_node(FAST)
    r = replica_of(make_node, p, {"maxmemory": "1", "maxmemory-policy": "allkeys-lru"})
    wait_until(lambda: link_is_up(r))
    write(p)
    wait_equal(p, r)


def test_blocked_clients_and_watchers_notice_the_stream(make_node):
    p = make_node(FAST)
    r = replica_of(make_node, p)
    wait_until(lambda: link_is_up(r))
    with p.client() as c, r.client() as watcher:
        watcher.call("WATCH", "w")
        watcher.call("MULTI")
        watcher.call("GET", "w")
        c.call("SET", "w", 1)
        wait_equal_offsets(p, r)
        assert watcher.call("EXEC") is None


# ---- acknowledgements ----


@pytest.mark.parametrize("kind", ["holdfast", pytest.param("redis", id="redis-replicas")])
def test_wait_counts_replicas_that_have_the_write(make_node, kind):
    p = make_node(FAST)
    rs = [replica_of(make_node, p, kind=kind) for _ in range(2)]
    wait_until(lambda: all(link_is_up(r) for r in rs))
    with p.client() as c:
        c.call("SET", "a", 1)
        t = time.monotonic()
        assert c.call("WAIT", 2, 5000) == 2
        assert time.monotonic() - t < 0.9
        assert c.call("WAIT", 3, 100) == 2
        rs[0].signal(19)
        c.call("SET", "a", 2)
        assert c.call("WAIT", 2, 200) == 1
        rs[0].signal(18)
        assert c.call("WAIT", 2, 5000) == 2


def test_waitaof_counts_replicas_that_have_the_write_on_disk(make_node):
    p = make_node({**FAST, "appendonly": "yes"})
    r = replica_of(make_node, p, {"appendonly": "yes", "appendfsync": "always"})
    no_disk = replica_of(make_node, p)
    wait_until(lambda: link_is_up(r) and link_is_up(no_disk))
    wait_until(lambda: r.info("persistence")["aof_rewrite_in_progress"] == "0")
    with p.client() as c:
        c.call("SET", "a", 1)
        assert c.call("WAITAOF", 1, 1, 5000) == [1, 1]
        assert c.call("WAITAOF", 0, 2, 100)[1] == 1
        assert c.call("WAIT", 2, 5000) == 2


def test_writes_stop_without_enough_good_replicas(make_node):
    p = make_node({**FAST, "min-replicas-to-write": "1", "min-replicas-max-lag": "2"})
    with p.client() as c:
        assert str(c.try_call("SET", "a", 1)) == "NOREPLICAS Not enough good replicas to write."
        assert c.call("GET", "a") is None
        r = replica_of(make_node, p)
        wait_until(lambda: c.try_call("SET", "a", 1) == b"OK")
        assert p.info("replication")["min_slaves_good_slaves"] == "1"
        r.signal(19)
        wait_until(lambda: isinstance(c.try_call("SET", "a", 1), ReplyError), 8)
        r.signal(18)
        wait_until(lambda: c.try_call("SET", "a", 1) == b"OK", 8)


def test_info_lists_replicas_as_announced(make_node):
    p = make_node(FAST)
    r = replica_of(make_node, p, {"replica-announce-ip": "10.1.2.3", "replica-announce-port": "7777"})
    wait_until(lambda: link_is_up(r))
    wait_until(lambda: "lag=0" in str(p.info("replication")["slave0"]) and "offset=0" not in str(p.info("replication")["slave0"]))
    s = str(p.info("replication")["slave0"])
    assert "ip=10.1.2.3,port=7777,state=online" in s
    with p.client() as c:
        role = c.call("ROLE")
        assert role[0] == b"master" and role[2][0][:2] == [b"10.1.2.3", b"7777"]
        assert b"flags=S" in c.call("CLIENT", "LIST", "TYPE", "replica")
        c.call("CLIENT", "KILL", "TYPE", "replica")
    wait_until(lambda: syncs(p)[1] == 1)


# ---- credentials, faults ----


def test_a_wrong_password_keeps_the_link_down_and_says_why(make_node):
    p = make_node({**FAST, "requirepass": "secret"}, start=False)
    p.start(wait=False)
    r = make_node({"replicaof": f"127.0.0.1 {p.port}", "masterauth": "wrong", **FAST})
    r.wait_log("unable to authenticate to the primary")
    assert not link_is_up(r)
    with r.client() as c:
        c.call("CONFIG", "SET", "masterauth", "secret")
    wait_until(lambda: link_is_up(r))


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 5000, b"*3\r\n$3\r\nSET\r\n$-5\r\n", b"*1\r\n+PING\r\n",
                                     b"*99999999999\r\n", b"\r\n", b"$5\r\nhello\r\n"])
def test_garbage_in_the_stream_closes_the_link_and_nothing_else(make_node, garbage):
    port = free_port()
    server = socket.create_server(("127.0.0.1", port))
    with make_node() as empty, empty.client() as c:
        assert c.call("SAVE") == b"OK"
        payload = open(empty.path("dump.rdb"), "rb").read()
    r = make_node({"replicaof": f"127.0.0.1 {port}"})
    s, _ = server.accept()
    s.sendall(b"+PONG\r\n+OK\r\n+OK\r\n")
    s.sendall(f"+FULLRESYNC {'cd' * 20} 7\r\n${len(payload)}\r\n".encode() + payload + encode("SET", "a", 1) + garbage)
    r.wait_log("is garbage")
    with r.client() as c:
        assert c.call("GET", "a") == b"1"
        assert not link_is_up(r)
    s.close()
    server.close()


@pytest.mark.parametrize("answer", [b"+FULLRESYNC x 1\r\n", b"-ERR no\r\n", b"hello\r\n", b"+FULLRESYNC " + b"ab" * 20 + b" 5\r\n$x\r\n",
                                    b"+FULLRESYNC " + b"ab" * 20 + b" 5\r\n$20\r\nREDIS0011garbagegarbagegarbage",
                                    b"+FULLRESYNC " + b"ab" * 20 + b" 5\r\n$EOF:" + b"m" * 40 + b"\r\nREDISxxxx" + b"m" * 40])
@pytest.mark.parametrize("load", ["disabled", "swapdb"])
def test_a_primary_that_makes_no_sense_costs_no_data(make_node, answer, load):
    port = free_port()
    server = socket.create_server(("127.0.0.1", port))
    r = make_node({"repl-diskless-load": load, "save": "3600 1000000"})
    with r.client() as c:
        c.call("SET", "mine", 1)
        c.call("SAVE")
        c.call("REPLICAOF", "127.0.0.1", port)
        s, _ = server.accept()
        s.sendall(b"+PONG\r\n+OK\r\n+OK\r\n" + answer)
        r.wait_log("MASTER <-> REPLICA sync: (?!started|receiving|Loading)")
        assert c.call("PING") == b"PONG"
        if load == "swapdb" or b"REDIS" not in answer:
            assert c.call("GET", "mine") == b"1"
    s.close()
    server.close()
    r.stop()
    r.reconfigure(**{"save": ""})
    r.start()
    if b"REDIS" not in answer:
        with r.client() as c:
            assert c.call("GET", "mine") == b"1"


def test_a_transfer_that_is_cut_is_tried_again(make_node, proxy):
    p = make_node({**FAST, "rdb-key-save-delay": "500"})
    write(p)
    with p.client() as c:
        c.pipeline([("SET", f"big{i}", "z" * 100_000) for i in range(100)])
    through = proxy(p)
    r = replica_of(make_node, through)
    r.wait_log("receiving [0-9]+ bytes from master|Full resync from master")
    through.cut()
    wait_until(lambda: link_is_up(r), 20)
    wait_equal(p, r)


def test_config_rewrite_keeps_the_role(make_node):
    p = make_node(FAST)
    r = make_node(FAST)
    with r.client() as c:
        c.call("REPLICAOF", "127.0.0.1", p.port)
        assert c.call("CONFIG", "REWRITE") == b"OK"
        assert f"replicaof 127.0.0.1 {p.port}" in open(r.conf_path).read()
        assert c.call("CONFIG", "GET", "replicaof") == [b"replicaof", f"127.0.0.1 {p.port}".encode()]
    r.restart()
    wait_until(lambda: link_is_up(r))
    with r.client() as c:
        c.call("REPLICAOF", "NO", "ONE")
        c.call("CONFIG", "REWRITE")
    assert "replicaof 127" not in open(r.conf_path).read()


def test_a_primary_that_comes_back_empty_does_not_wipe_its_replicas(make_node):
    p = make_node(FAST)
    rs = [replica_of(make_node, p, kind=k) for k in ("holdfast", "redis")]
    wait_until(lambda: all(link_is_up(r) for r in rs))
    write(p)
    wait_equal(p, *rs)
    want = digest(rs[0])
    p.kill()
    p.start()
    p.wait_log("replica-accept-empty-primary")
    time.sleep(1.2)
    assert [digest(r) for r in rs] == [want, want] and not link_is_up(rs[0])
    with p.client() as c:
        c.call("SET", "a", 1)
        assert str(c.try_call("SYNC")).startswith("NOMASTERLINK")
        c.call("CONFIG", "SET", "replica-accept-empty-primary", "yes")
    wait_equal(p, *rs)


def test_who_is_told_to_follow_an_empty_primary_gives_up_its_data(make_node):
    p = make_node(FAST)
    r = make_node({**FAST, "appendonly": "yes"})
    write(r)
    with r.client() as c:
        c.call("REPLICAOF", "127.0.0.1", p.port)
        wait_until(lambda: link_is_up(r))
        assert c.call("DBSIZE") == 0
    wait_equal(p, r)


def test_who_waits_is_told_that_the_node_became_a_replica(make_node):
    p = make_node(FAST)
    r = make_node(FAST)
    with r.client() as c, r.client() as waiter:
        waiter.send("BLPOP", "list", 0)
        wait_until(lambda: r.info("clients")["blocked_clients"] == "1")
        c.call("REPLICAOF", "127.0.0.1", p.port)
        e = waiter.read()
        assert str(e).startswith("UNBLOCKED force unblock from blocking operation")


def test_the_link_to_the_primary_is_listed_and_can_be_killed(make_node):
    p = make_node(FAST)
    r = replica_of(make_node, p)
    wait_until(lambda: link_is_up(r))
    with r.client() as c:
        assert f"addr=127.0.0.1:{p.port} ".encode() in c.call("CLIENT", "LIST", "TYPE", "master")
        assert c.call("CLIENT", "KILL", "TYPE", "master") == 1
        r.wait_log("the connection was killed")
        wait_until(lambda: link_is_up(r))
    assert syncs(p)[:2] == (1, 1)


def test_a_replica_that_lags_too_far_is_let_go(make_node):
    p = make_node({**FAST, "repl-backlog-size": "16kb", "client-output-buffer-limit": "replica 4mb 0 0"})
    r = replica_of(make_node, p)
    wait_until(lambda: link_is_up(r))
    r.signal(19)
    with p.client() as c:
        for i in range(60):
            c.call("SET", f"k{i}", "x" * 500_000)
            memory = int(c.info("memory")["mem_total_replication_buffers"])
            assert memory < 20_000_000
        assert c.info("replication")["connected_slaves"] == "0" and memory < 4_000_000
    p.wait_log("closed for overcoming of output buffer limits")
    r.signal(18)
    wait_equal(p, r)


def test_silence_ends_links_and_they_continue(make_node):
    """The primary stops, then a replica does, each for longer than repl-timeout."""
    quick = {**FAST, "repl-timeout": "1"}
    p = make_node(quick)
    r, redis = (replica_of(make_node, p, quick, kind=k) for k in ("holdfast", "redis"))
    wait_until(lambda: link_is_up(r) and link_is_up(redis))
    write(p, n=50)
    p.signal(19)
    r.wait_log("MASTER timeout: no data nor PING received")
    p.signal(18)
    wait_equal(p, r, redis)
    r.signal(19)
    p.wait_log("Disconnecting replica 127.0.0.1:%d: it has been silent" % r.port)
    write(p, n=50, tag="b")
    r.signal(18)
    wait_equal(p, r, redis)
    assert syncs(p)[0] == 2 and syncs(p)[1] >= 2


@pytest.mark.parametrize("load", ["disabled", "swapdb"])
def test_a_replica_killed_while_it_loads_comes_back_with_its_old_data(make_node, load):
    p = make_node({**FAST, "rdb-key-save-delay": "100" if load == "swapdb" else "0", **(DISKLESS if load == "swapdb" else DISK)})
    with p.client() as c:
        c.call("DEBUG", "POPULATE", 10_000, "key", 50)
    r = make_node({"appendonly": "yes", "repl-diskless-load": load, "loading-process-events-interval-bytes": "1024", **FAST})
    write(r, tag="mine")
    want = digest(r)
    with r.client() as c:
        c.call("REPLICAOF", "127.0.0.1", p.port)
    r.wait_log("Loading DB in memory")
    r.kill()
    r.start()
    assert digest(r) == want or r.info("keyspace").get("db0", "") == ""  # it may have been done already
    with r.client() as c:
        c.call("REPLICAOF", "127.0.0.1", p.port)
    wait_until(lambda: link_is_up(r), 20)
    wait_equal(p, r)


def test_reads_are_served_from_the_old_data_while_the_new_load(make_node, proxy):
    p = make_node({**FAST, **DISKLESS, "repl-backlog-size": "1kb"})
    write(p)
    through = proxy(p)
    r = replica_of(make_node, through, {"repl-diskless-load": "swapdb"})
    wait_until(lambda: link_is_up(r))
    wait_equal(p, r)
    with r.client() as c, p.client() as q:
        q.call("CONFIG", "SET", "rdb-key-save-delay", "3000")
        through.refuses = True
        through.cut()
        q.pipeline([("SET", "after", i) for i in range(1000)])
        through.refuses = False
        wait_until(lambda: c.info("persistence")["async_loading"] == "1")
        assert c.call("GET", "sa5") == b"x" * 5 and c.call("GET", "after") is None
        assert str(c.try_call("SET", "a", 1)).startswith("READONLY")
        wait_until(lambda: c.info("persistence")["async_loading"] == "0")
        assert c.call("GET", "after") == b"999"
    wait_equal(p, r)
