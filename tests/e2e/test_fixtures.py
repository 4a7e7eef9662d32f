"""Snapshots and AOF directories that other servers wrote load here with the same data, and ours load in Debian's redis-server."""

import json
import os
import shutil

import pytest

from harness import REDIS_SERVER, ReplyError, wait_until

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "fixtures")
VERSIONS = ("redis-7.0", "redis-8.0-dev", "valkey-8.1-dev")
LEGACY = sorted(f for f in os.listdir(os.path.join(FIXTURES, "legacy")) if f.endswith(".rdb"))
FAR_MS = 4_102_444_800_000

pytestmark = pytest.mark.holdfast


def expected(version):
    with open(os.path.join(FIXTURES, version, "expected.json")) as f:
        return json.load(f)


def keys_of(version):
    """(database, name) -> what is expected. Digests of scores go by how 7.0 writes numbers, encodings by what 7.2 and later have."""
    out = {(k["db"], k["key"].encode("latin-1")): dict(k) for k in expected(version)["keys"]}
    old = {(k["db"], k["key"].encode("latin-1")): k for k in expected("redis-7.0")["keys"]}
    new = {(k["db"], k["key"].encode("latin-1")): k for k in expected("valkey-8.1-dev")["keys"]}
    for name, k in out.items():
        if k["type"] == "zset":
            k["digest"] = old[name]["digest"]
        if name in new:
            k["encoding"] = new[name]["encoding"]
    return out


def with_snapshot(make_node, path, config=None, **kw):
    """A node that starts with a snapshot."""
    node = make_node(config, start=False, **kw)
    shutil.copy(path, node.path("dump.rdb"))
    return node.start()


def with_aof(make_node, directory, config=None, **kw):
    node = make_node({"appendonly": "yes", **(config or {})}, start=False, **kw)
    shutil.copytree(directory, node.path("appendonlydir"))
    return node.start()


def state(node, encodings=False):
    """(database, key) -> type, deadline, digest[, encoding]."""
    out = {}
    with node.client() as c:
        for section in c.info("keyspace"):
            db = int(section[2:])
            c.call("SELECT", db)
            for key in c.call("KEYS", "*"):
                out[db, key] = [c.call("TYPE", key).decode(), c.call("PEXPIRETIME", key), c.call("DEBUG", "DIGEST-VALUE", key)[0].decode()]
                if encodings:
                    out[db, key].append(c.call("OBJECT", "ENCODING", key).decode())
    return out


def digest(node):
    with node.client() as c:
        return c.call("DEBUG", "DIGEST")


def assert_is(version, node, more=()):
    want = {name: [k["type"], k["pexpiretime"], k["digest"], k["encoding"]] for name, k in keys_of(version).items()}
    got = state(node, encodings=True)
    for name in more:
        got.pop(name)
    assert set(got) == set(want)
    assert {k: (got[k], want[k]) for k in want if got[k] != want[k]} == {}


# --- theirs, here ---

@pytest.mark.parametrize("version", VERSIONS)
def test_a_snapshot_loads_key_by_key(make_node, version):
    node = with_snapshot(make_node, os.path.join(FIXTURES, version, "dump.rdb"))
    assert_is(version, node)
    if version == "redis-7.0":
        assert digest(node).decode() == expected(version)["digest"]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_aof_directory_loads_key_by_key(make_node, version):
    node = with_aof(make_node, os.path.join(FIXTURES, version, "appendonlydir"))
    with node.client() as c:
        assert c.call("GET", "after:rewrite") == b"2"
    assert_is(version, node, more=[(0, b"after:rewrite")])
    node.restart()  # and what was made of it loads again
    assert_is(version, node, more=[(0, b"after:rewrite")])


def test_scores_are_the_same_whoever_wrote_them(make_node):
    scores = []
    for version in VERSIONS:
        node = with_snapshot(make_node, os.path.join(FIXTURES, version, "dump.rdb"))
        with node.client() as c:
            scores.append({k: c.call("ZRANGE", k, 0, -1, "WITHSCORES") for k in ("zset:lp", "zset:skip", "zset:samescore", "geo")})
        node.close()
    assert scores[0] == scores[1] == scores[2]
    theirs = with_snapshot(make_node, os.path.join(FIXTURES, "redis-7.0", "dump.rdb"), binary=REDIS_SERVER)
    with theirs.client() as c:
        assert {k: c.call("ZRANGE", k, 0, -1, "WITHSCORES") for k in scores[0]} == scores[0]


def test_the_deadlines_of_hash_fields(make_node):
    node = with_snapshot(make_node, os.path.join(FIXTURES, "redis-8.0-dev", "dump.rdb"))
    for _ in range(2):
        with node.client() as c:
            assert c.call("HPEXPIRETIME", "hfe:lp", "FIELDS", 4, "a", "b", "c", "d") == [FAR_MS, FAR_MS, -1, -2]
            assert c.call("HPEXPIRETIME", "hfe:ht", "FIELDS", 5, "f0", "f1", "f2", "f3", "f4") == [-1, FAR_MS, FAR_MS, FAR_MS, -1]
            assert c.call("HLEN", "hfe:ht") == 700 and sorted(c.call("HGETALL", "hfe:lp")) == [b"1", b"2", b"3", b"a", b"b", b"c"]
            c.call("SAVE")
        node.restart()


def test_consumer_groups_come_along(make_node):
    for version in VERSIONS:
        node = with_snapshot(make_node, os.path.join(FIXTURES, version, "dump.rdb"))
        with node.client() as c:
            assert [g[1] for g in c.call("XINFO", "GROUPS", "stream:groups")] == [b"g1", b"g2"]
            assert c.call("XPENDING", "stream:groups", "g1") == [8, b"5002-1", b"5009-1", [[b"alice", b"5"], [b"bob", b"3"]]]
            assert [r[:2] for r in c.call("XPENDING", "stream:groups", "g1", "-", "+", 3)] == [[b"5002-1", b"alice"], [b"5003-1", b"alice"], [b"5004-1", b"alice"]]
            assert [x[1] for x in c.call("XINFO", "CONSUMERS", "stream:groups", "g2")] == [b"idle"]
            assert str(c.try_call("XADD", "stream:empty", "1-1", "f", "v")).startswith("ERR The ID specified")
        node.close()


@pytest.mark.parametrize("name", LEGACY)
def test_old_encodings_load_as_in_redis(make_node, name):
    path = os.path.join(FIXTURES, "legacy", name)
    ours, theirs = with_snapshot(make_node, path), with_snapshot(make_node, path, binary=REDIS_SERVER)
    want = state(theirs)
    assert want or name == "scriptbackup.rdb"
    assert state(ours) == want
    assert digest(ours) == digest(theirs)


# --- ours, there ---

def copied(make_node, config):
    """A node with the same keys, and without the function library that would have to be kept in RDB form."""
    source = with_snapshot(make_node, os.path.join(FIXTURES, "redis-7.0", "dump.rdb"))
    node = make_node(config)
    with source.client() as a, node.client() as b:
        for db in (0, 3):
            for c in (a, b):
                c.call("SELECT", db)
            for key in a.call("KEYS", "*"):
                b.call("RESTORE", key, max(a.call("PEXPIRETIME", key), 0), a.call("DUMP", key), "ABSTTL")
    source.close()
    return node


def same_as_theirs(ours, theirs):
    assert state(ours) == state(theirs)
    assert digest(ours) == digest(theirs)
    with ours.client() as a, theirs.client() as b:
        for c in (a, b):
            c.call("SELECT", 0)
        for key in ("stream:big", "stream:groups", "stream:empty"):
            x, y = (flat(c.call("XINFO", "STREAM", key, "FULL", "COUNT", 0)) for c in (a, b))
            assert x == y


OWN = (b"radix-tree-nodes", b"active-time", b"seen-time", b"idle", b"inactive")


def flat(v):
    """XINFO without what each server counts its own way, and without consumers' times."""
    if not isinstance(v, list):
        return v
    if len(v) > 2 and v[0] in (b"length", b"name"):
        return [(k, flat(x)) for k, x in zip(v[::2], v[1::2]) if k not in OWN]
    return [flat(x) for x in v]


@pytest.mark.parametrize("compress", ["yes", "no"])
def test_our_snapshot_loads_in_redis(make_node, compress):
    ours = with_snapshot(make_node, os.path.join(FIXTURES, "redis-7.0", "dump.rdb"), {"rdb-version": "10", "rdbcompression": compress})
    with ours.client() as c:
        c.call("SAVE")
    theirs = with_snapshot(make_node, ours.path("dump.rdb"), binary=REDIS_SERVER)
    same_as_theirs(ours, theirs)
    assert digest(theirs).decode() == expected("redis-7.0")["digest"]


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_our_snapshots_load_again(make_node, version):
    ours = with_snapshot(make_node, os.path.join(FIXTURES, "redis-8.0-dev", "dump.rdb"), {"rdb-version": version})
    before = state(ours, encodings=True)
    with ours.client() as c:
        assert c.call("SAVE") == b"OK"
        with open(ours.path("dump.rdb"), "rb") as f:
            assert f.read(9) == b"REDIS00" + version.encode()
        c.call("DEBUG", "RELOAD")
    assert state(ours, encodings=True) == before
    ours.restart(kill=True)
    assert state(ours, encodings=True) == before


def test_function_libraries_go_through(make_node):
    """Nothing here calls them, but a server that can gets them back; in an AOF they need a base in RDB form."""
    ours = with_snapshot(make_node, os.path.join(FIXTURES, "redis-7.0", "dump.rdb"), {"rdb-version": "10", "aof-use-rdb-preamble": "no"})
    with ours.client() as c:
        c.call("DEBUG", "RELOAD")
        c.call("SAVE")
    from_snapshot = with_snapshot(make_node, ours.path("dump.rdb"), binary=REDIS_SERVER)
    directory = rewritten(ours)
    ours.stop()
    from_aof = with_aof(make_node, directory, binary=REDIS_SERVER)
    for theirs in (from_snapshot, from_aof):
        with theirs.client() as c:
            assert c.call("FUNCTION", "LIST") != [] and c.call("FCALL", "f1", 0) == b"hi"


def rewritten(node):
    """Makes an AOF of what is in the node and returns its directory."""
    with node.client() as c:
        c.call("CONFIG", "SET", "appendonly", "yes")
        rewrite_over(c)
        c.call("BGREWRITEAOF")
        rewrite_over(c)
    return node.path("appendonlydir")


def rewrite_over(c):
    wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0" and c.info("persistence")["aof_rewrite_scheduled"] == "0", 30)
    assert c.info("persistence")["aof_last_bgrewrite_status"] == "ok"


@pytest.mark.parametrize("preamble", ["no", "yes"])
def test_our_aof_loads_in_redis(make_node, preamble):
    ours = copied(make_node, {"rdb-version": "10", "aof-use-rdb-preamble": preamble})
    directory = rewritten(ours)
    with ours.client() as c:
        c.call("RPUSH", "list:small", "after")
        c.call("XADD", "stream:groups", "9000-1", "f", "after")
        c.call("XREADGROUP", "GROUP", "g1", "alice", "COUNT", 2, "STREAMS", "stream:groups", ">")
    ours.stop()
    ours.reconfigure(appendonly="yes")
    base = [f for f in os.listdir(directory) if ".base." in f]
    assert base[0].endswith(".aof" if preamble == "no" else ".rdb")
    theirs = with_aof(make_node, directory, binary=REDIS_SERVER)
    same_as_theirs(ours.start(), theirs)


@pytest.mark.parametrize("preamble", ["no", "yes"])
def test_the_aof_of_redis_loads_here(make_node, preamble):
    theirs = with_snapshot(make_node, os.path.join(FIXTURES, "redis-7.0", "dump.rdb"), {"aof-use-rdb-preamble": preamble}, binary=REDIS_SERVER)
    if preamble == "no":
        with theirs.client() as c:
            c.call("FUNCTION", "FLUSH")
    directory = rewritten(theirs)
    ours = with_aof(make_node, directory)
    same_as_theirs(ours, theirs)
    assert digest(ours).decode() == expected("redis-7.0")["digest"]


def test_each_dump_restores_in_the_other(make_node):
    path = os.path.join(FIXTURES, "redis-7.0", "dump.rdb")
    ours, theirs = with_snapshot(make_node, path, {"rdb-version": "10"}), with_snapshot(make_node, path, binary=REDIS_SERVER)
    with ours.client() as a, theirs.client() as b:
        for key in b.call("KEYS", "*"):
            want = b.call("DEBUG", "DIGEST-VALUE", key)
            for source, target in ((a, b), (b, a)):
                payload = source.call("DUMP", key)
                assert target.call("RESTORE", "copy", 0, payload, "REPLACE") == b"OK"
                target.call("PEXPIREAT", "copy", FAR_MS) if b.call("PEXPIRETIME", key) > 0 else None
                assert target.call("DEBUG", "DIGEST-VALUE", "copy") == want, key


def test_a_payload_cut_or_changed_anywhere_is_refused_and_nothing_changes(make_node):
    """The trailer is made to fit, so that it is the value itself that is looked at."""
    source = with_snapshot(make_node, os.path.join(FIXTURES, "redis-8.0-dev", "dump.rdb"))
    node = make_node({"sanitize-dump-payload": "yes"})
    with source.client() as s, node.client() as c:
        c.call("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", 1)
        for key in ("set:lp", "set:int", "list:small", "hash:lp", "zset:lp", "hll:sparse", "stream:groups", "hfe:lp", "stream:empty"):
            payload = s.call("DUMP", key)
            body, trailer = payload[:-10], payload[-10:]
            for cut in range(1, len(body)):
                reply = c.try_call("RESTORE", "k", 0, body[:cut] + trailer)
                assert isinstance(reply, ReplyError) and str(reply) == "ERR Bad data format", (key, cut, reply)
            assert c.call("EXISTS", "k") == 0
            refused = 0
            for at in range(len(body)):
                for bit in range(8):
                    changed = bytearray(body)
                    changed[at] ^= 1 << bit
                    reply = c.try_call("RESTORE", "k", 0, bytes(changed) + trailer)
                    if reply == b"OK":  # another value: it must be whole
                        assert c.call("DEBUG", "DIGEST-VALUE", "k") and c.call("DUMP", "k") and c.call("DEL", "k") == 1
                    else:
                        refused += 1
            assert refused > 0
            assert c.call("DBSIZE") == 0
