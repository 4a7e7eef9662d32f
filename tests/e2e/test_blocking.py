"""Clients that wait for keys: who is served, by what, in which order, and what the file says of it."""

import glob
import time

import pytest

from harness import ReplyError, is_holdfast


def wait_for(what, timeout=10):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


class Waiters:
    """Connections that wait, begun one after the other."""

    def __init__(self, node, c):
        self.node, self.c, self.all = node, c, []
        self.base = self.count()

    def count(self):
        return int(self.c.info("clients")["blocked_clients"])

    def __call__(self, *words, client=None):
        w = client or self.node.client()
        if client is None:
            self.all.append(w)
        before = self.count()
        w.send(*words)
        wait_for(lambda: self.count() == before + 1)
        return w

    def close(self):
        for w in self.all:
            w.close()
        wait_for(lambda: self.count() == self.base)


@pytest.fixture
def wait(shared_node, c):
    w = Waiters(shared_node, c)
    yield w
    w.close()


def silent(client, seconds=0.05):
    client.sock.settimeout(seconds)
    try:
        return client.sock.recv(1) == b"nothing"
    except TimeoutError:
        return True
    finally:
        client.sock.settimeout(20)


def test_who_came_first_is_served_first(c, wait):
    ws = [wait("BLPOP", "k", 0) for _ in range(5)]
    assert c.call("RPUSH", "k", 1, 2, 3) == 3
    assert [w.read() for w in ws[:3]] == [[b"k", b"1"], [b"k", b"2"], [b"k", b"3"]]
    assert c.call("EXISTS", "k") == 0 and silent(ws[3])
    c.call("RPUSH", "k", 4)
    c.call("RPUSH", "k", 5)
    assert ws[3].read() == [b"k", b"4"] and ws[4].read() == [b"k", b"5"]


def test_who_was_served_comes_to_the_end(c, wait):
    a, b = wait("BLPOP", "k", 0), wait("BLPOP", "k", 0)
    c.call("RPUSH", "k", 1)
    assert a.read() == [b"k", b"1"]
    wait("BLPOP", "k", 0, client=a)
    c.call("RPUSH", "k", 2)
    assert b.read() == [b"k", b"2"] and silent(a)


def test_several_keys(c, wait):
    w = wait("BLPOP", "a", "b", "a", "c", 0)
    c.call("RPUSH", "b", 1)
    assert w.read() == [b"b", b"1"]
    c.call("RPUSH", "c", 2)
    assert c.call("LRANGE", "c", 0, -1) == [b"2"]  # it waits no more
    assert w.call("BLPOP", "a", "c", 0) == [b"c", b"2"]
    w = wait("BRPOP", "a", "b", 0, client=w)
    c.call("MULTI")
    c.call("RPUSH", "b", 1, 2)
    c.call("RPUSH", "a", 3, 4)
    c.call("EXEC")
    assert w.read() == [b"b", b"2"]  # the one that was filled first
    w = wait("BZPOPMIN", "y", "z", 0, client=w)
    c.call("ZADD", "z", 1, "m")
    assert w.read() == [b"z", b"m", b"1"]


def test_a_key_of_another_type_is_no_hindrance(c, wait):
    w = wait("BLPOP", "a", "b", 0)
    c.call("SET", "a", "x")
    assert silent(w)
    c.call("RPUSH", "b", 1)
    assert w.read() == [b"b", b"1"]
    c.call("DEL", "a")
    w = wait("BZPOPMAX", "k", 0, client=w)
    c.call("RPUSH", "k", "x")
    assert silent(w)
    c.call("DEL", "k")
    c.call("ZADD", "k", 1, "x", 2, "y")
    assert w.read() == [b"k", b"y", b"2"]
    assert str(c.try_call("BLPOP", "k", 0)) == "WRONGTYPE Operation against a key holding the wrong kind of value"


def test_a_transaction_is_seen_whole(c, wait):
    w = wait("BLPOP", "k", 0)
    c.call("MULTI")
    c.call("RPUSH", "k", 1)
    c.call("DEL", "k")
    c.call("EXEC")
    assert silent(w)
    c.call("MULTI")
    c.call("RPUSH", "k", 1)
    c.call("DEL", "k")
    c.call("RPUSH", "k", 2)
    c.call("LPUSH", "k", 3)
    c.call("EXEC")
    assert w.read() == [b"k", b"3"] and c.call("LRANGE", "k", 0, -1) == [b"2"]


def test_inside_a_transaction_nobody_waits(c):
    c.call("MULTI")
    for words in (("BLPOP", "k", 0), ("BLMOVE", "k", "l", "LEFT", "LEFT", 0), ("BRPOPLPUSH", "k", "l", 0), ("BZPOPMIN", "z", 0),
                  ("BLMPOP", 0, 1, "k", "LEFT"), ("BZMPOP", 0, 1, "z", "MIN")):
        assert c.call(*words) == b"QUEUED"
    assert c.raw("EXEC") == b"*6\r\n*-1\r\n$-1\r\n$-1\r\n*-1\r\n*-1\r\n*-1\r\n"


@pytest.mark.parametrize("how", ["rename", "restore", "copy", "move", "swapdb", "sort", "lua-free exec", "copy db"])
def test_what_wakes(c, shared_node, wait, how):
    w = wait("BLPOP", "k", 0)
    with shared_node.client() as other:
        if how == "rename":
            c.call("RPUSH", "l", 1, 2)
            c.call("RENAME", "l", "k")
        elif how == "restore":
            c.call("RPUSH", "l", 1, 2)
            c.call("RESTORE", "k", 0, c.call("DUMP", "l"))
        elif how == "copy":
            c.call("RPUSH", "l", 1, 2)
            c.call("COPY", "l", "k")
        elif how == "copy db":
            other.call("SELECT", 9)
            other.call("RPUSH", "l", 1, 2)
            assert other.call("COPY", "l", "k", "DB", 0) == 1
        elif how == "move":
            other.call("SELECT", 9)
            other.call("RPUSH", "k", 1, 2)
            assert silent(w)
            assert other.call("MOVE", "k", 0) == 1
        elif how == "swapdb":
            other.call("SELECT", 9)
            other.call("RPUSH", "k", 1, 2)
            c.call("SWAPDB", 0, 9)
        elif how == "sort":
            c.call("RPUSH", "l", 2, 1)
            reply = c.try_call("SORT", "l", "STORE", "k")
            if isinstance(reply, ReplyError) and "unknown command" in str(reply):
                pytest.skip("this server does not know SORT")
        else:
            c.call("MULTI")
            c.call("RPUSH", "k", 1, 2)
            c.call("EXEC")
    assert w.read() == [b"k", b"1"]
    assert c.call("LRANGE", "k", 0, -1) == [b"2"]


def test_chains(c, wait):
    a = wait("BLMOVE", "k1", "k2", "LEFT", "RIGHT", 0)
    b = wait("BLMOVE", "k2", "k3", "LEFT", "RIGHT", 0)
    d = wait("BLPOP", "k3", 0)
    c.call("RPUSH", "k1", "x")
    assert a.read() == b"x" and b.read() == b"x" and d.read() == [b"k3", b"x"]
    assert c.call("EXISTS", "k1", "k2", "k3") == 0
    a, b = wait("BRPOPLPUSH", "k1", "k2", 0, client=a), wait("BRPOPLPUSH", "k2", "k1", 0, client=b)
    c.call("RPUSH", "k1", "x")
    assert a.read() == b"x" and b.read() == b"x" and c.call("LRANGE", "k1", 0, -1) == [b"x"]
    c.call("DEL", "k1")
    a, b = wait("BRPOPLPUSH", "k", "k", 0, client=a), wait("BLPOP", "k", 0, client=b)
    c.call("RPUSH", "k", "x")
    assert a.read() == b"x" and b.read() == [b"k", b"x"]


def test_a_destination_of_another_type(c, wait):
    a, b = wait("BLMOVE", "k", "t", "LEFT", "LEFT", 0), wait("BLPOP", "k", 0)
    c.call("SET", "t", "x")
    c.call("RPUSH", "k", 1)
    assert isinstance(x := a.read(), ReplyError) and x.code == "WRONGTYPE"
    assert b.read() == [b"k", b"1"]


def test_timeouts(c, wait):
    t = time.monotonic()
    assert c.call("BLPOP", "k", "0.05") is None
    assert 0.05 <= time.monotonic() - t < 1
    assert c.raw("BLPOP", "k", "0.01") == b"*-1\r\n" and c.raw("BLMOVE", "k", "l", "LEFT", "LEFT", "0.01") == b"*-1\r\n"
    assert c.raw("BZPOPMIN", "k", "1e-3") == b"*-1\r\n" and c.raw("BLMPOP", "0.01", 1, "k", "LEFT") == b"*-1\r\n"
    for bad in ("x", "", "nan", " 1", "1 ", "1s"):
        assert str(c.try_call("BLPOP", "k", bad)) == "ERR timeout is not a float or out of range", bad
    for bad in ("-1", "-0.002", "-inf"):
        assert str(c.try_call("BLPOP", "k", bad)) == "ERR timeout is negative", bad
    w = wait("BLPOP", "k", "1000")
    assert c.info("clients")["clients_in_timeout_table"] == "1"
    c.call("RPUSH", "k", 1)
    assert w.read() == [b"k", b"1"] and c.info("clients")["clients_in_timeout_table"] == "0"


@pytest.mark.holdfast
def test_timeouts_beyond_the_clock(c):
    for bad in ("inf", "0x1p60", "9223372036854775807", "1e4000", "9223372036854775.807", "9223372036854775"):
        assert str(c.try_call("BLPOP", "k", bad)) == "ERR timeout is out of range", bad


def test_a_near_deadline_among_many(c, wait):
    ws = [wait("BLPOP", f"k{i}", "0.3") for i in range(20)]
    t = time.monotonic()
    assert [w.read() for w in ws] == [None] * 20 and time.monotonic() - t < 1


def test_unblock(c, wait):
    w = wait("BLPOP", "k", 0)
    with wait.node.client() as other:
        me = other.call("CLIENT", "ID")
    ids = [int(x.split(b" ")[0][3:]) for x in c.call("CLIENT", "LIST").splitlines() if b" flags=b " in x]
    assert len(ids) == 1 and me != ids[0]
    assert c.call("CLIENT", "UNBLOCK", ids[0]) == 1 and w.read() is None
    assert c.call("CLIENT", "UNBLOCK", ids[0]) == 0
    wait("BLPOP", "k", 0, client=w)
    assert c.call("CLIENT", "UNBLOCK", ids[0], "ERROR") == 1
    assert str(w.read()) == "UNBLOCKED client unblocked via CLIENT UNBLOCK"
    c.call("RPUSH", "k", 1)
    assert c.call("LLEN", "k") == 1 and w.call("PING") == b"PONG"


def test_who_leaves_gets_nothing(c, wait):
    a, b = wait("BLPOP", "k", 0), wait("BLPOP", "k", 0)
    a.close()
    wait_for(lambda: wait.count() == 1)
    c.call("RPUSH", "k", 1)
    assert b.read() == [b"k", b"1"]
    a = wait("BLPOP", "k", 0)
    line = [x for x in c.call("CLIENT", "LIST").splitlines() if b" flags=b " in x][0]
    assert c.call("CLIENT", "KILL", "ID", line.split(b" ")[0][3:]) == 1
    assert a.is_closed()
    c.call("RPUSH", "k", 1)
    assert c.call("LLEN", "k") == 1


def test_what_is_sent_meanwhile_waits(c, wait):
    w = wait("BLPOP", "k", 0)
    w.send("SET", "after", "x")
    w.send("BLPOP", "k", 0)
    w.send("PING")
    time.sleep(0.02)
    assert c.call("EXISTS", "after") == 0
    c.call("RPUSH", "k", 1)
    assert w.read() == [b"k", b"1"] and w.read() == b"OK"
    c.call("RPUSH", "k", 2)
    assert w.read() == [b"k", b"2"] and w.read() == b"PONG"


def test_serving_spoils_watches(c, c2, wait):
    c.call("RPUSH", "l", "x")
    c2.call("WATCH", "l")
    w = wait("BLMOVE", "k", "l", "LEFT", "LEFT", 0)
    c.call("RPUSH", "k", 1)
    assert w.read() == b"1"
    c2.call("MULTI")
    c2.call("PING")
    assert c2.call("EXEC") is None


def test_a_pause_holds_what_it_would_serve(c, wait):
    w = wait("BLPOP", "k", 0)
    c.call("MULTI")
    c.call("RPUSH", "k", 1)
    c.call("CLIENT", "PAUSE", 100000, "WRITE")
    c.call("EXEC")
    if is_holdfast():  # Redis serves nevertheless
        assert silent(w) and c.call("LLEN", "k") == 1
    c.call("CLIENT", "UNPAUSE")
    assert w.read() == [b"k", b"1"]


def test_counted_once(c, wait):
    def stat():
        line = c.info("commandstats")["cmdstat_blpop"]
        return dict(x.split("=") for x in line.split(","))

    c.call("CONFIG", "RESETSTAT")
    w = wait("BLPOP", "k", 0)
    c.call("RPUSH", "k", 1)
    w.read()
    assert stat()["calls"] == "1"
    assert w.call("BLPOP", "k", "0.01") is None and stat()["calls"] == "2"


def test_the_slow_log_has_it_once(c, wait):
    c.call("CONFIG", "SET", "slowlog-log-slower-than", 0)
    c.call("SLOWLOG", "RESET")
    w = wait("BLPOP", "slow", 0)
    assert not any(x[3][0] == b"BLPOP" for x in c.call("SLOWLOG", "GET", -1))
    c.call("RPUSH", "slow", 1)
    w.read()
    assert sum(x[3] == [b"BLPOP", b"slow", b"0"] for x in c.call("SLOWLOG", "GET", -1)) == 1
    c.call("CONFIG", "SET", "slowlog-log-slower-than", 10000)


@pytest.mark.holdfast
def test_info(c, wait):
    wait("BLPOP", "a", "b", 0)
    wait("BLPOP", "b", "c", 0)
    i = c.info("clients")
    assert (i["blocked_clients"], i["total_blocking_keys"], i["total_blocking_keys_on_nokey"]) == ("2", "3", "0")


def aof_text(node):
    return b"".join(open(p, "rb").read() for p in sorted(glob.glob(node.data + "/appendonlydir/*.aof"))).upper()


def test_the_file_has_effects(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always"})
    with node.client() as c:
        wait = Waiters(node, c)
        ws = [wait(*w) for w in (("BLPOP", "a", 0), ("BRPOP", "b", 0), ("BLMOVE", "c", "d", "LEFT", "RIGHT", 0), ("BRPOPLPUSH", "e", "f", 0),
                                 ("BLMPOP", 0, 1, "g", "LEFT", "COUNT", 2), ("BZPOPMIN", "h", 0), ("BZMPOP", 0, 1, "i", "MAX"))]
        for k in "abceg":
            c.call("RPUSH", k, 1, 2, 3)
        for k in "hi":
            c.call("ZADD", k, 1, "x", 2, "y")
        for w in ws:
            w.read()
        c.call("MULTI")
        c.call("BLPOP", "a", 0)
        assert c.call("EXEC") == [[b"a", b"2"]]
        digest = c.call("DEBUG", "DIGEST")
        wait.close()
    text = aof_text(node)
    for no in (b"BLPOP", b"BRPOP", b"BLMOVE", b"BLMPOP", b"BZPOPMIN", b"BZMPOP"):
        assert no not in text
    for yes in (b"LPOP", b"RPOP", b"LMOVE", b"RPOPLPUSH", b"ZPOPMIN", b"ZPOPMAX"):
        assert yes in text
    # Each effect comes behind what it is the effect of.
    assert text.index(b"RPUSH\r\n$1\r\nA") < text.index(b"LPOP\r\n$1\r\nA") < text.index(b"RPUSH\r\n$1\r\nB")
    node.kill()
    node.start()
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest


def test_a_thousand_wait(make_node):
    node = make_node()
    ws = [node.client() for _ in range(1000)]
    with node.client() as c:
        for i, w in enumerate(ws):
            w.send("BLPOP", "k", f"own{i}", 0)
            if i % 100 == 99:
                wait_for(lambda: c.info("clients")["blocked_clients"] == str(i + 1))
        t = time.monotonic()
        for i in range(500):
            c.call("RPUSH", "k", i)
        spent = time.monotonic() - t
        served = [w for w in ws if not silent(w, 0.0001)]
        assert len(served) == 500 and spent < 5
        assert int(c.info("clients")["blocked_clients"]) == 500
        for i, w in enumerate(ws):
            if w not in served:
                c.call("RPUSH", f"own{i}", "x")
                assert w.read() == [b"own%d" % i, b"x"]
        assert c.info("clients")["blocked_clients"] == "0"
    for w in ws:
        w.close()


def test_around_replication(make_node):
    primary = make_node()
    replica = make_node({"replicaof": f"127.0.0.1 {primary.port}"})
    with primary.client() as c, replica.client() as r, replica.client() as w, primary.client() as b:
        wait_for(lambda: r.info("replication")["master_link_status"] == "up", 20)
        w.send("XREAD", "BLOCK", 0, "STREAMS", "s", 0)
        wait_for(lambda: r.info("clients")["blocked_clients"] == "1")
        c.call("XADD", "s", "1-1", "f", "v")
        assert w.read() == [[b"s", [[b"1-1", [b"f", b"v"]]]]]
        assert r.try_call("BLPOP", "l", 0).code == "READONLY"
        # Effects reach the replica behind their causes.
        b.send("BLMOVE", "l", "m", "LEFT", "LEFT", 0)
        wait_for(lambda: c.info("clients")["blocked_clients"] == "1")
        c.call("RPUSH", "l", 1, 2)
        assert b.read() == b"1"
        wait_for(lambda: (r.call("LRANGE", "l", 0, -1), r.call("LRANGE", "m", 0, -1)) == ([b"2"], [b"1"]))
        # Who waits at a node that becomes a replica waits no more.
        b.send("BLPOP", "none", 0)
        wait_for(lambda: c.info("clients")["blocked_clients"] == "1")
        c.call("REPLICAOF", "127.0.0.1", "1")
        assert b.read_until_closed().startswith(b"-UNBLOCKED force unblock from blocking operation, instance state changed")
