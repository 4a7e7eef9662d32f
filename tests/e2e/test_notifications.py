"""notify-keyspace-events: the option, the channels, and what each event is called."""

import time

import pytest


class Ear:
    """A connection that hears all events; `heard()` gives those so far as "event key" or, from channels of keys, "key: event"."""

    def __init__(self, node, classes):
        self.client, self.teller = node.client(), node.client()
        self.teller.call("CONFIG", "SET", "notify-keyspace-events", classes)
        self.client.call("PSUBSCRIBE", "__key*")

    def heard(self):
        self.teller.call("PUBLISH", "__key-end", "")
        out = []
        while (m := self.client.read())[2] != b"__key-end":
            where, _, name = m[2].partition(b"__:")
            kind, _, db = where.partition(b"@")
            text = b"%s %s" % (name, m[3]) if kind == b"__keyevent" else b"%s: %s" % (name, m[3])
            out.append((text + (b" in " + db if db != b"0" else b"")).decode("latin-1"))
        return out

    def close(self):
        self.client.close()
        self.teller.call("CONFIG", "SET", "notify-keyspace-events", "")
        self.teller.close()


@pytest.fixture
def ear(shared_node, c):
    ears = []

    def make(classes):
        ears.append(Ear(shared_node, classes))
        return ears[-1]
    yield make
    for e in ears:
        e.close()


def test_the_option(c):
    def canonical(text):
        assert c.call("CONFIG", "SET", "notify-keyspace-events", text) == b"OK"
        return c.config_get("notify-keyspace-events")["notify-keyspace-events"]

    for text, shown in (("", ""), ("KEA", "AKE"), ("Ex", "xE"), ("mK", "Km"), ("EE", "E"), ("g$lshzxetdK", "AK"), ("Kg$lshzxet", "g$lshzxetK"), ("Kn", "nK"),
                        ("xldK$", "$lxdK")):
        assert canonical(text) == shown
    assert str(c.try_call("CONFIG", "SET", "notify-keyspace-events", "KEq")) == (
        "ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - "
        "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    assert canonical("") == ""


@pytest.mark.holdfast
def test_the_option_survives_a_rewrite(make_node):
    node = make_node({"notify-keyspace-events": "KEA"})
    with node.client() as c:
        assert c.config_get("notify-keyspace-events")["notify-keyspace-events"] == "AKE"
        c.call("CONFIG", "SET", "notify-keyspace-events", "AKnm")
        c.call("CONFIG", "REWRITE")
    node.stop()
    node.start()
    with node.client() as c:
        assert c.config_get("notify-keyspace-events")["notify-keyspace-events"] == "AKmn"


def test_both_kinds_of_channels(c, ear):
    e = ear("KEA")
    c.call("SET", "k", 1)
    c.call("SELECT", 3)
    c.call("SET", b"bin\x00\xff", 1)
    assert e.heard() == ["k: set", "set k", "bin\x00\xff: set in 3", "set bin\x00\xff in 3"]
    c.call("CONFIG", "SET", "notify-keyspace-events", "KA")
    c.call("SET", "k", 1)
    assert e.heard() == ["k: set in 3"]
    c.call("CONFIG", "SET", "notify-keyspace-events", "A")  # neither kind: nothing
    c.call("SET", "k", 1)
    c.call("CONFIG", "SET", "notify-keyspace-events", "El")
    c.call("SET", "k", 1)
    c.call("RPUSH", "l", 1)
    assert e.heard() == ["rpush l in 3"]


@pytest.mark.parametrize("commands, events", [
    (["SET k 1"], "set k"),
    (["SET k 1 EX 100"], "set k; expire k"),
    (["SET k 1", "SET k 2 NX"], "set k"),
    (["SETEX k 10 v", "PERSIST k"], "set k; expire k; persist k"),
    (["MSET a 1 b 2"], "set a; set b"),
    (["INCR k", "DECRBY k 2", "INCRBYFLOAT k 1.5"], "incrby k; incrby k; incrbyfloat k"),
    (["APPEND k v", "SETRANGE k 2 x", "GETDEL k"], "append k; setrange k; del k"),
    (["SET k v", "GETEX k EX 100", "GETEX k PERSIST"], "set k; expire k; persist k"),
    (["SET k v", "EXPIRE k -1"], "set k; del k"),
    (["SET a 1", "RENAME a b", "COPY b c", "DEL b c d"], "set a; rename_from a; rename_to b; copy_to c; del b; del c"),
    (["SET a 1", "MOVE a 5"], "set a; move_from a; move_to a in 5"),
    (["SETBIT k 3 1", "BITOP NOT d k", "BITFIELD k SET u8 0 1"], "setbit k; set d; setbit k"),
    (["RPUSH l 1 2 3", "LPOP l 3"], "rpush l; lpop l; del l"),
    (["RPUSH l 1 2", "LMOVE l m LEFT RIGHT", "LTRIM l 1 0"], "rpush l; rpush m; lpop l; ltrim l; del l"),
    (["SADD s a b", "SMOVE s t a", "SPOP s"], "sadd s; srem s; sadd t; spop s; del s"),
    (["HSET h f 1", "HINCRBY h f 1", "HDEL h f"], "hset h; hincrby h; hdel h; del h"),
    (["ZADD z 1 a", "ZADD z 1 a", "ZINCRBY z 1 a", "ZPOPMIN z"], "zadd z; zincr z; zpopmin z; del z"),
    (["SADD s 1", "SINTERSTORE d s none", "SUNIONSTORE d s", "SINTERSTORE d none none"], "sadd s; sunionstore d; del d"),
    (["MULTI", "SET a 1", "DEL a", "EXEC"], "set a; del a"),
])
def test_events_of_commands(c, ear, commands, events):
    e = ear("EA")
    for command in commands:
        c.call(*command.split())
    assert "; ".join(e.heard()) == events


def test_new_keys_and_misses(c, ear):
    e = ear("Em")
    for command in ("GET no", "SET k v GET", "EXISTS k no2", "TTL no", "TYPE no", "STRLEN no", "OBJECT ENCODING no", "DEL no", "INCR n", "LRANGE no 0 -1"):
        c.try_call(*command.split())
    assert e.heard() == ["keymiss no", "keymiss k", "keymiss no2", "keymiss no", "keymiss no", "keymiss no", "keymiss no"]
    e = ear("En$")
    for command in ("SET a 1", "SET a 2", "RPUSH l 1", "RENAME a b", "APPEND c x", "SET l x", "COPY b c REPLACE", "DEL b", "SET b 1"):
        c.call(*command.split())
    assert e.heard() == ["new a", "set a", "set a", "new l", "new b", "new c", "append c", "set l", "new c", "new b", "set b"]


def test_expired(c, ear):
    e = ear("Exg$")
    c.call("PSETEX", "k", 20, "v")
    assert e.heard() == ["set k", "expire k"]
    deadline = time.monotonic() + 5
    heard = []
    while not heard and time.monotonic() < deadline:
        heard = e.heard()
    assert heard == ["expired k"]
    c.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    c.call("PSETEX", "k", 1, "v")
    c.call("PSETEX", "l", 1, "v")
    time.sleep(0.01)
    e.heard()
    c.call("GET", "k")
    c.call("SET", "l", "new")
    c.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
    assert e.heard() == ["expired k", "expired l", "set l"]


def test_evicted(make_node):
    node = make_node({"maxmemory": "8mb", "maxmemory-policy": "allkeys-random"})
    e = Ear(node, "Ee")
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", "v" * 1000) for i in range(12000)])
        evicted = int(c.info("stats")["evicted_keys"])
        heard = e.heard()
        assert evicted > 100 and all(x.startswith("evicted k") for x in heard) and abs(len(heard) - evicted) < 100
    e.close()


def test_one_hears_of_ones_own_changes_behind_the_reply(c):
    c.call("CONFIG", "SET", "notify-keyspace-events", "KEA")
    c.call("HELLO", 3)
    c.send("SUBSCRIBE", "__keyevent@0__:set")
    c.send("SET", "k", "v")
    assert c.read() == b"OK" and c.call("PING") == b"PONG"
    assert c.pushes == [[b"subscribe", b"__keyevent@0__:set", 1], [b"message", b"__keyevent@0__:set", b"k"]]
    c.call("CONFIG", "SET", "notify-keyspace-events", "")
