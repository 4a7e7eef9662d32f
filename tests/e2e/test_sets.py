"""Sets: members, algebra, chance, forms, files, and what goes into the change log."""

import glob
import random
import struct

import pytest

from harness import REDIS_SERVER, ReplyError, encode, is_holdfast, wait_until
from harness.resp import parse_all

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"


def error_of(c, *args):
    r = c.try_call(*args)
    assert isinstance(r, ReplyError), f"{args}: {r!r} is no error"
    return str(r)


def members(c, key):
    got = list(c.call("SMEMBERS", key))
    assert len(got) == len(set(got)) == c.call("SCARD", key)
    return set(got)


def encoding(c, key):
    return c.call("OBJECT", "ENCODING", key).decode()


def texts(*items):
    return {str(i).encode() for i in items}


# --- members ---

def test_members_are_added_once_and_removed(c):
    assert c.call("SADD", "k", "a", "b", "a", "1") == 3 and c.call("SADD", "k", "a", "c") == 1
    assert members(c, "k") == {b"a", b"b", b"c", b"1"} and c.call("TYPE", "k") == b"set"
    assert c.call("SISMEMBER", "k", "1") == 1 and c.call("SISMEMBER", "k", "01") == 0 and c.call("SISMEMBER", "x", "1") == 0
    assert c.call("SMISMEMBER", "k", "a", "x", "1") == [1, 0, 1] and c.call("SMISMEMBER", "x", "a", "b") == [0, 0]
    assert c.call("SREM", "k", "a", "x", "a") == 1 and c.call("SREM", "x", "a") == 0 and c.call("SCARD", "k") == 3
    assert c.call("SREM", "k", "b", "c", "1", "z") == 3 and c.call("EXISTS", "k") == 0 and c.call("SCARD", "k") == 0
    assert c.call("SMEMBERS", "k") == []


def test_smove(c):
    c.call("SADD", "a", "x", "y")
    assert c.call("SMOVE", "a", "b", "x") == 1 and members(c, "a") == {b"y"} and members(c, "b") == {b"x"}
    assert c.call("SMOVE", "a", "b", "x") == 0 and c.call("SMOVE", "none", "b", "x") == 0
    assert c.call("SMOVE", "a", "a", "y") == 1 and c.call("SMOVE", "a", "a", "q") == 0
    c.call("SADD", "b", "y")
    assert c.call("SMOVE", "a", "b", "y") == 1 and c.call("EXISTS", "a") == 0 and members(c, "b") == {b"x", b"y"}
    c.call("SET", "s", "v")
    assert error_of(c, "SMOVE", "b", "s", "x") == WRONG_TYPE and error_of(c, "SMOVE", "s", "b", "x") == WRONG_TYPE
    assert c.call("SMOVE", "none", "s", "x") == 0 and members(c, "b") == {b"x", b"y"}


def test_other_types_are_refused_and_stay(c):
    c.call("SET", "s", "v")
    c.call("SADD", "k", "a")
    for argv in (("SADD", "s", "a"), ("SREM", "s", "a"), ("SISMEMBER", "s", "a"), ("SMISMEMBER", "s", "a"), ("SCARD", "s"), ("SMEMBERS", "s"),
                 ("SPOP", "s"), ("SPOP", "s", 1), ("SRANDMEMBER", "s"), ("SRANDMEMBER", "s", 1), ("SINTER", "k", "s"), ("SINTER", "x", "s"),
                 ("SUNION", "s", "k"), ("SDIFF", "x", "s"), ("SINTERSTORE", "k", "k", "s"), ("SUNIONSTORE", "k", "s"), ("SDIFFSTORE", "k", "k", "s"),
                 ("SINTERCARD", 2, "x", "s"), ("SSCAN", "s", 0)):
        assert error_of(c, *argv) == WRONG_TYPE, argv
    assert c.call("GET", "s") == b"v" and members(c, "k") == {b"a"}


def test_wrong_arguments_have_their_texts(c):
    c.call("SADD", "k", "a", "b")
    for name in ("SADD", "SREM", "SISMEMBER", "SMISMEMBER", "SCARD", "SMEMBERS", "SMOVE", "SPOP", "SRANDMEMBER", "SINTER", "SINTERSTORE", "SUNION", "SSCAN"):
        assert error_of(c, name) == f"ERR wrong number of arguments for '{name.lower()}' command"
    assert error_of(c, "SADD", "k") == "ERR wrong number of arguments for 'sadd' command"
    for argv, text in ((("SPOP", "k", "x"), "ERR value is out of range, must be positive"),
                       (("SPOP", "k", -1), "ERR value is out of range, must be positive"),
                       (("SPOP", "k", 1, 1), "ERR syntax error"), (("SRANDMEMBER", "k", 1, 1), "ERR syntax error"),
                       (("SRANDMEMBER", "k", "1.5"), "ERR value is not an integer or out of range"),
                       (("SRANDMEMBER", "k", -2 ** 63), "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"),
                       (("SINTERCARD", 0, "k"), "ERR numkeys should be greater than 0"), (("SINTERCARD", "x", "k"), "ERR numkeys should be greater than 0"),
                       (("SINTERCARD", 2, "k"), "ERR Number of keys can't be greater than number of args"),
                       (("SINTERCARD", 1, "k", "LIMIT"), "ERR syntax error"), (("SINTERCARD", 1, "k", "FOO", 1), "ERR syntax error"),
                       (("SINTERCARD", 1, "k", "LIMIT", -1), "ERR LIMIT can't be negative"), (("SINTERCARD", 1, "k", "LIMIT", "x"), "ERR LIMIT can't be negative"),
                       (("SSCAN", "k", "x"), "ERR invalid cursor"), (("SSCAN", "k", 0, "COUNT", 0), "ERR syntax error"),
                       (("SSCAN", "k", 0, "COUNT", "x"), "ERR value is not an integer or out of range"), (("SSCAN", "k", 0, "MATCH"), "ERR syntax error"),
                       (("SSCAN", "k", 0, "TYPE", "set"), "ERR syntax error")):
        assert error_of(c, *argv) == text, argv
    assert members(c, "k") == {b"a", b"b"}
    assert c.call("SSCAN", "absent", 0, "COUNT", "x") == [b"0", []] and error_of(c, "SSCAN", "absent", "x") == "ERR invalid cursor"


def test_resp3_has_sets_where_the_order_does_not_count(make_node):
    with make_node().client(resp=3) as c:
        c.call("SADD", "k", "a", "b")
        for argv in (("SMEMBERS", "k"), ("SINTER", "k"), ("SUNION", "k", "x"), ("SDIFF", "k"), ("SMEMBERS", "x"), ("SINTER", "x", "k"), ("SPOP", "x", 1)):
            assert c.raw(*argv)[:1] == b"~", argv
        for argv in (("SRANDMEMBER", "k", 2), ("SRANDMEMBER", "x", 2), ("SMISMEMBER", "k", "a"), ("SSCAN", "k", 0)):
            assert c.raw(*argv)[:1] == b"*", argv
        assert c.raw("SPOP", "k", 2)[:1] == b"~" and c.raw("SPOP", "k") == b"_\r\n" and c.raw("SRANDMEMBER", "k") == b"_\r\n"


# --- forms ---

@pytest.mark.holdfast
def test_forms_follow_the_thresholds(c):
    c.call("SADD", "i", *range(512))
    assert encoding(c, "i") == "intset"
    c.call("SADD", "i", 512)
    assert encoding(c, "i") == "hashtable" and members(c, "i") == texts(*range(513))
    c.call("SADD", "l", *range(127), "x")
    assert encoding(c, "l") == "listpack"
    c.call("SADD", "l", "y")
    assert encoding(c, "l") == "hashtable" and members(c, "l") == texts(*range(127), "x", "y")
    c.call("SADD", "long", "v" * 64)
    assert encoding(c, "long") == "listpack"
    c.call("SADD", "long", "w" * 65)
    assert encoding(c, "long") == "hashtable"
    c.call("SREM", "long", "w" * 65)
    assert encoding(c, "long") == "hashtable"  # no way back
    c.call("SADD", "mixed", *range(128))
    c.call("SADD", "mixed", "x")
    assert encoding(c, "mixed") == "hashtable"
    c.call("SADD", "mixed2", *range(127))
    c.call("SADD", "mixed2", "x")
    assert encoding(c, "mixed2") == "listpack"
    c.call("SADD", "many", 1)
    c.call("SADD", "many", *[1] * 513)
    assert encoding(c, "many") == "hashtable"  # what is announced counts, not what is new


@pytest.mark.holdfast
def test_thresholds_can_be_changed(make_node):
    with make_node({"set-max-intset-entries": "3", "set-max-listpack-entries": "5", "set-max-listpack-value": "4"}).client() as c:
        c.call("SADD", "i", 1, 2, 3)
        assert encoding(c, "i") == "intset"
        c.call("SADD", "i", 4)
        assert encoding(c, "i") == "hashtable"
        c.call("SADD", "l", "a", "b", "c", "d", "four")
        assert encoding(c, "l") == "listpack"
        c.call("SADD", "l", "e")
        assert encoding(c, "l") == "hashtable"
        c.call("CONFIG", "SET", "set-max-intset-entries", "100")
        c.call("SADD", "j", *range(100))
        assert encoding(c, "j") == "intset" and encoding(c, "i") == "hashtable"


def test_stored_results_have_the_form_of_their_members(c):
    c.call("SADD", "ints", *range(1000))
    c.call("SADD", "few", *range(10))
    c.call("SADD", "words", "a", "b", 5)
    c.call("SADD", "many", *("w%d" % i for i in range(300)), 7)
    assert encoding(c, "ints") == "hashtable"
    assert c.call("SINTERSTORE", "d", "ints", "few") == 10 and encoding(c, "d") == "intset"
    assert c.call("SINTERSTORE", "d", "ints", "many") == 1 and encoding(c, "d") == "intset"
    assert c.call("SUNIONSTORE", "d", "few") == 10 and encoding(c, "d") == "intset"
    assert c.call("SDIFFSTORE", "d", "few", "words") == 9 and encoding(c, "d") == "intset"
    small = "listpack" if is_holdfast() else "hashtable"
    assert c.call("SUNIONSTORE", "d", "few", "words") == 12 and encoding(c, "d") == small
    assert c.call("SUNIONSTORE", "d", "few", "many") == 310 and encoding(c, "d") == "hashtable"


# --- algebra ---

def algebra_sets(rng):
    kinds = [lambda: rng.randrange(30), lambda: rng.randrange(-2000, 2000), lambda: "w%d" % rng.randrange(40),
             lambda: "w%d" % rng.randrange(1500), lambda: rng.choice((rng.randrange(20), "w%d" % rng.randrange(40), "long" * 30))]
    return [{str(kind()).encode() for _ in range(rng.choice((0, 1, 5, 50, 200, 900)))} for kind in rng.choices(kinds, k=6)]


@pytest.mark.parametrize("seed", range(6))
def test_algebra_gives_what_sets_of_the_language_give(c, seed):
    rng = random.Random(seed)
    for _ in range(25):
        c.call("FLUSHALL")
        model = algebra_sets(rng)
        for i, s in enumerate(model):
            for part in range(0, len(s), 100):
                c.call("SADD", i, *list(s)[part:part + 100])
        for _ in range(12):
            keys = [rng.randrange(len(model)) for _ in range(rng.choice((1, 1, 2, 2, 3, 5, 8)))]
            sets = [model[k] for k in keys]
            want = {"SINTER": set.intersection(*sets), "SUNION": set.union(*sets), "SDIFF": sets[0].difference(*sets[1:])}
            for name, result in want.items():
                got = list(c.call(name, *keys))
                assert len(got) == len(result) and set(got) == result, (name, keys)
                assert c.call(name + "STORE", "d", *keys) == len(result)
                assert members(c, "d") == result and c.call("EXISTS", "d") == bool(result)
            n = len(want["SINTER"])
            limit = rng.choice((0, 1, n, n + 1, 3))
            assert c.call("SINTERCARD", len(keys), *keys) == n
            assert c.call("SINTERCARD", len(keys), *keys, "LIMIT", limit) == (min(n, limit) if limit else n)


def test_stores_replace_whatever_is_there(c):
    c.call("SADD", "a", 1, 2)
    c.call("SADD", "b", 2, 3)
    c.call("SET", "d", "a string", "EX", 1000)
    assert c.call("SINTERSTORE", "d", "a", "b") == 1 and c.call("TTL", "d") == -1 and members(c, "d") == {b"2"}
    assert c.call("SDIFFSTORE", "d", "none", "a") == 0 and c.call("EXISTS", "d") == 0
    assert c.call("SUNIONSTORE", "a", "a", "b") == 3 and members(c, "a") == texts(1, 2, 3)
    assert c.call("SDIFFSTORE", "a", "a", "a") == 0 and c.call("EXISTS", "a") == 0
    c.call("SADD", "a", 1)
    assert c.call("SINTERSTORE", "a", "a", "none") == 0 and c.call("EXISTS", "a") == 0


# --- chance ---

FORMS = {"intset": lambda n: list(range(n)), "listpack": lambda n: ["m%d" % i for i in range(n)], "hashtable": lambda n: ["m" * 80 + str(i) for i in range(n)]}


@pytest.mark.parametrize("form", FORMS)
def test_spop_takes_each_member_once(c, form):
    rng = random.Random(form)
    for n, take in ((1, None), (10, None), (10, 3), (60, 9), (60, 55), (100, 100), (100, 1000), (100, 0), (100, 99), (120, 50)):
        c.call("DEL", "k")
        left = texts(*FORMS[form](n))
        c.call("SADD", "k", *left)
        while left:
            got = c.call("SPOP", "k") if take is None else c.call("SPOP", "k", take)
            got = [got] if take is None else list(got)
            assert len(got) == len(set(got)) == (1 if take is None else min(take, len(left))) and set(got) <= left
            left -= set(got)
            assert members(c, "k") == left
            if take == 0 or rng.random() < 0.02:
                break
    assert c.call("SPOP", "none") is None and list(c.call("SPOP", "none", 5)) == []


@pytest.mark.parametrize("form", FORMS)
def test_srandmember_shows_members_by_chance(c, form):
    every = texts(*FORMS[form](90))
    c.call("SADD", "k", *every)
    for n in (1, 5, 29, 31, 89, 90, 200):
        got = c.call("SRANDMEMBER", "k", n)
        assert len(got) == len(set(got)) == min(n, 90) and set(got) <= every
        repeated = c.call("SRANDMEMBER", "k", -n)
        assert len(repeated) == n and set(repeated) <= every
    assert set(c.call("SRANDMEMBER", "k") for _ in range(900)) > set(list(every)[:1])
    assert len(set(c.call("SRANDMEMBER", "k", -3000))) > 80 and len(set(b"".join(sorted(c.call("SRANDMEMBER", "k", 3))) for _ in range(50))) > 40
    assert c.call("SRANDMEMBER", "k", 0) == [] and c.call("SRANDMEMBER", "none", -5) == [] and c.call("SRANDMEMBER", "none") is None
    assert members(c, "k") == every


# --- SSCAN ---

def scan_all(c, key, *args):
    cursor, out = b"0", []
    while True:
        cursor, part = c.call("SSCAN", key, cursor, *args)
        out += part
        if cursor == b"0":
            return out


def test_a_scan_sees_every_member_that_stays(c):
    stay = texts(*("stays%d" % i for i in range(3000)))
    c.call("SADD", "k", *stay)
    rng = random.Random(5)
    for grows in (True, False):
        cursor, seen, steps = b"0", set(), 0
        while True:
            cursor, part = c.call("SSCAN", "k", cursor, "COUNT", 20)
            seen.update(part)
            steps += 1
            if cursor == b"0":
                break
            other = ["other%d" % rng.randrange(20000) for _ in range(60)]
            c.call("SADD" if grows else "SREM", "k", *other)
        assert seen >= stay and steps > 50


def test_scans_of_small_sets_are_whole_and_patterns_apply(c):
    c.call("SADD", "i", *range(300))
    c.call("SADD", "l", "a1", "a2", "b1", 11)
    cursor, got = c.call("SSCAN", "i", 0, "COUNT", 1)
    assert cursor == b"0" and set(got) == texts(*range(300)) and len(got) == 300
    assert set(c.call("SSCAN", "i", 77, "MATCH", "1?")[1]) == texts(*range(10, 20))
    assert set(c.call("SSCAN", "l", 0, "MATCH", "?1")[1]) == {b"a1", b"b1", b"11"}
    c.call("SADD", "h", *("m%d" % i for i in range(1000)))
    assert set(scan_all(c, "h", "MATCH", "m99*")) == texts("m99", *("m99%d" % i for i in range(10)))
    assert len(c.call("SSCAN", "h", 0, "COUNT", 10)[1]) < 100 and len(c.call("SSCAN", "h", 0, "COUNT", 5000)[1]) == 1000


# --- files, payloads, the change log ---

def fill_forms(c):
    c.call("SADD", "i16", *range(100))
    c.call("SADD", "i32", 1, -70000)
    c.call("SADD", "i64", 1, 2 ** 40, -2 ** 63)
    c.call("SADD", "l", "a", "b", 3, -4, "", "x" * 60)
    c.call("SADD", "h", *("m%d" % i for i in range(500)), *range(10 ** 9, 10 ** 9 + 50), "abc" * 100, "")
    c.call("SADD", "hi", *range(700))
    c.call("PEXPIREAT", "l", 4_000_000_000_000)


def test_snapshots_keep_sets_and_their_forms(make_node):
    node = make_node({"enable-debug-command": "yes"})
    with node.client() as c:
        fill_forms(c)
        digest, forms = c.call("DEBUG", "DIGEST"), [encoding(c, k) for k in ("i16", "i32", "i64", "l", "h", "hi")]
        c.call("SAVE")
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest and [encoding(c, k) for k in ("i16", "i32", "i64", "l", "h", "hi")] == forms


@pytest.mark.holdfast
@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_redis_loads_our_snapshot(make_node, version):
    node = make_node({"enable-debug-command": "yes", "rdb-version": version})
    with node.client() as c:
        fill_forms(c)
        if version != "10":
            c.call("DEL", "l")  # Redis 7.0 knows no listpacks of sets
        digest = c.call("DEBUG", "DIGEST")
        c.call("SAVE")
    data = bytearray(open(node.path("dump.rdb"), "rb").read())
    data[5:9] = b"0010"  # what is inside is known to 7.0
    redis = make_node({"enable-debug-command": "yes", "rdbchecksum": "no"}, binary=REDIS_SERVER, start=False)
    with open(redis.path("dump.rdb"), "wb") as f:
        f.write(data)
    redis.start()
    with redis.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest and c.call("DBSIZE") == (6 if version == "10" else 5)


def test_payloads_go_to_redis_and_back(make_node):
    node, redis = make_node(), make_node(binary=REDIS_SERVER)
    with node.client() as c, redis.client() as r:
        fill_forms(c)
        for key in ("i16", "i32", "i64", "l", "h", "hi"):
            assert r.call("RESTORE", key, 0, c.call("DUMP", key)) == b"OK" and set(r.call("SMEMBERS", key)) == members(c, key)
            c.call("DEL", key)
            assert c.call("RESTORE", key, 0, r.call("DUMP", key)) == b"OK" and members(c, key) == set(r.call("SMEMBERS", key))


def string(b):
    assert len(b) < 64
    return bytes([len(b)]) + b


def intset(width, *values, count=None):
    pack = {2: "h", 4: "i", 8: "q"}[width]
    return string(struct.pack("<II", width, len(values) if count is None else count) + b"".join(struct.pack("<" + pack, v) for v in values))


def listpack(*elements, count=None):
    body = b"".join(bytes([0x80 | len(e)]) + e + bytes([len(e) + 1]) for e in elements)
    return string(struct.pack("<IH", len(body) + 7, len(elements) if count is None else count) + body + b"\xff")


@pytest.mark.holdfast
def test_damaged_payloads_are_refused(make_node):
    with make_node({"enable-debug-command": "yes"}).client() as c:
        c.call("DEBUG", "SET-SKIP-CHECKSUM-VALIDATION", "1")

        def restore(kind, body, version=11):
            return c.try_call("RESTORE", "k", 0, bytes([kind]) + body + struct.pack("<H", version) + bytes(8), "REPLACE")
        good = [(2, b"\x02" + string(b"a") + string(b"b"), {b"a", b"b"}), (11, intset(2, 1, 2), {b"1", b"2"}), (11, intset(8, -5, 2), {b"-5", b"2"}),
                (20, listpack(b"a", b"b"), {b"a", b"b"}), (2, b"\x01\xc0\x05", {b"5"})]
        for kind, body, want in good:
            assert restore(kind, body) == b"OK" and members(c, "k") == want
        c.call("DEL", "k")
        bad = [(2, b"\x02" + string(b"a") + string(b"a")), (2, b"\x02\xc0\x05" + string(b"5")), (2, b"\x03" + string(b"a") + string(b"b")),
               (2, b"\x01" + string(b"a") + string(b"b")), (2, b"\x80\xff\xff\xff\xff" + string(b"a")), (2, b"\x81" + b"\x7f" * 8 + string(b"a")), (2, b""),
               (2, b"\x00"), (11, intset(2)), (20, listpack()),
               (11, intset(2, 2, 1)), (11, intset(2, 1, 1)), (11, intset(2, 1, 2, count=3)), (11, intset(2, 1, 2, count=1)), (11, intset(2, 1, count=2 ** 31)),
               (11, string(b"\x03\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00")), (11, string(b"\x02\x00")), (11, intset(4, 1)[:-1]),
               (20, listpack(b"a", b"a")), (20, listpack(b"a", b"b", count=3)), (20, listpack(b"a")[:-1] + b"\x00"),
               (20, string(b"\x09\x00\x00\x00\x01\x00\xf0\xff\xff")), (20, string(b"\x07\x00\x00\x00\x01\x00\xff"))]
        for kind, body in bad:
            assert str(restore(kind, body)) == "ERR Bad data format", (kind, body)
            assert c.call("EXISTS", "k") == 0
        rng = random.Random(1)
        for _ in range(3000):
            kind, body, _ = rng.choice(good)
            body = bytearray(body)
            for _ in range(rng.randrange(1, 4)):
                body[rng.randrange(len(body))] = rng.randrange(256)
            if restore(kind, bytes(body)) == b"OK":
                members(c, "k")
                c.call("SADD", "k", "another", *range(600))


def log_of(node):
    """What the increments hold, without SELECT and MULTI and EXEC."""
    out = []
    for path in sorted(glob.glob(node.path("appendonlydir", "*.incr.aof"))):
        data = b"".join(line for line in open(path, "rb").read().splitlines(True) if not line.startswith(b"#"))
        out += [argv for argv in parse_all(data) if argv[0].upper() not in (b"SELECT", b"MULTI", b"EXEC")]
    return out


@pytest.mark.holdfast
def test_spop_is_logged_as_what_it_took(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always", "enable-debug-command": "yes", "lazyfree-lazy-server-del": "no"})
    with node.client() as c:
        c.call("SADD", "k", *range(3000))
        first = c.call("SPOP", "k")
        some, most = list(c.call("SPOP", "k", 10)), list(c.call("SPOP", "k", 2500))
        rest = list(c.call("SPOP", "k", 5000))
        assert len(rest) == 489 and list(c.call("SPOP", "k", 5)) == [] and c.call("SPOP", "k") is None
        c.call("SADD", "one", "x")
        c.call("SPOP", "one")
        digest = c.call("DEBUG", "DIGEST")
        log = [argv for argv in log_of(node) if argv[0].upper() != b"SADD"]
        assert log[0] == [b"SREM", b"k", first]
        assert log[1][:2] == [b"SREM", b"k"] and set(log[1][2:]) == set(some)
        assert [len(argv) for argv in log[2:5]] == [1026, 1026, 454] and {m for argv in log[2:5] for m in argv[2:]} == set(most)
        assert log[5] == [b"DEL", b"k"] and log[6] == [b"SREM", b"one", b"x"] and len(log) == 7
        c.call("CONFIG", "SET", "lazyfree-lazy-server-del", "yes")
        c.call("SADD", "j", 1, 2)
        c.call("SPOP", "j", 2)
        assert log_of(node)[-1] == [b"UNLINK", b"j"]
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest


def test_rewritten_log_gives_the_same_sets(make_node):
    node = make_node({"appendonly": "yes", "aof-use-rdb-preamble": "no", "enable-debug-command": "yes"})
    with node.client() as c:
        fill_forms(c)
        digest = c.call("DEBUG", "DIGEST")
        c.call("BGREWRITEAOF")
        wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0" and glob.glob(node.path("appendonlydir", "*.2.base.aof")))
        base = parse_all(open(glob.glob(node.path("appendonlydir", "*.2.base.aof"))[0], "rb").read())
        assert {argv[0] for argv in base} <= {b"SELECT", b"SADD", b"PEXPIREAT"} and max(len(argv) for argv in base) <= 66
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest and c.call("PEXPIRETIME", "l") == 4_000_000_000_000


# --- events, memory ---

def test_events(make_node):
    node = make_node()
    with node.client() as c, node.client() as s:
        if not c.config_get("notify-keyspace-events"):
            pytest.skip("this build has no keyspace notifications")
        c.call("CONFIG", "SET", "notify-keyspace-events", "EA")
        s.call("PSUBSCRIBE", "__keyevent@0__:*")
        for argv, want in ((("SADD", "k", 1, 2, 3), ["sadd k"]), (("SADD", "k", 1), []), (("SREM", "k", 1), ["srem k"]), (("SREM", "k", 9), []),
                           (("SMOVE", "k", "j", 2), ["srem k", "sadd j"]), (("SMOVE", "k", "j", 3), ["srem k", "del k", "sadd j"]),
                           (("SPOP", "j"), ["spop j"]), (("SPOP", "j", 1), ["spop j", "del j"]), (("SADD", "k", 1, 2, 3), ["sadd k"]),
                           (("SPOP", "k", 2), ["spop k"]), (("SREM", "k", 1, 2, 3), ["srem k", "del k"]), (("SADD", "a", 1), ["sadd a"]),
                           (("SUNIONSTORE", "d", "a"), ["sunionstore d"]), (("SINTERSTORE", "d", "a", "a"), ["sinterstore d"]),
                           (("SDIFFSTORE", "d", "a", "a"), ["del d"]), (("SDIFFSTORE", "d", "a", "x"), ["sdiffstore d"]), (("SINTERSTORE", "e", "x"), [])):
            c.call(*argv)
            c.call("PUBLISH", "__keyevent@0__:end", "")
            got = []
            while True:
                _, _, channel, key = s.read()
                event = channel.split(b":", 1)[1].decode()
                if event == "end":
                    break
                got.append(f"{event} {key.decode()}")
            assert got == want, argv


def test_memory_usage_grows_with_the_set(c):
    used = []
    for n in (10, 1000, 100_000):
        c.pipeline([("SADD", "k", *("member:%d" % i for i in range(at, at + 1000))) for at in range(0, n, 1000)] if n >= 1000 else [("SADD", "k", "m")])
        used.append(c.call("MEMORY", "USAGE", "k"))
    assert used[0] < 200 and 10_000 < used[1] < 80_000 and 2_000_000 < used[2] < 8_000_000
