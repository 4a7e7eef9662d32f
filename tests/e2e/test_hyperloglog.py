"""HyperLogLogs: estimates, bytes, merging, forms, damaged values."""

import random

import pytest

from harness import REDIS_SERVER, ReplyError, wait_until

FOREIGN = "WRONGTYPE Key is not a valid HyperLogLog string value."
CORRUPT = "INVALIDOBJ Corrupted HLL object detected"


def error_of(c, *args):
    r = c.try_call(*args)
    assert isinstance(r, ReplyError), f"{args}: {r!r} is no error"
    return str(r)


def add(c, key, names, chunk=1000):
    names = list(names)
    return [c.call("PFADD", key, *names[at:at + chunk]) for at in range(0, len(names), chunk)]


def test_estimates_are_near(c):
    for n in (0, 1, 2, 10, 100, 1000, 10_000, 100_000):
        c.call("DEL", "k")
        assert c.call("PFADD", "k") == 1 and c.call("PFADD", "k") == 0
        add(c, "k", ("n%d" % i for i in range(n)))
        assert abs(c.call("PFCOUNT", "k") - n) <= n * 0.03
    assert c.call("PFADD", "k", "n1", "n2", "n3") == 0 and c.call("PFCOUNT", "absent") == 0 and c.call("PFCOUNT", "absent", "neither") == 0
    assert c.call("TYPE", "k") == b"string" and c.call("OBJECT", "ENCODING", "k") == b"raw"


def test_the_estimate_is_kept_in_the_value(c):
    c.call("PFADD", "k", "a", "b", "c")
    value = c.call("GET", "k")
    assert value[:5] == b"HYLL\x01" and value[15] == 0x80
    assert c.call("PFCOUNT", "k") == 3
    kept = c.call("GET", "k")
    assert kept[8:16] == (3).to_bytes(8, "little") and kept[:8] + kept[16:] == value[:8] + value[16:]
    c.call("SETRANGE", "k", 8, b"\x07")
    assert c.call("PFCOUNT", "k") == 7 and c.call("PFCOUNT", "k", "absent") == 3
    assert c.call("PFADD", "k", "a") == 0 and c.call("PFCOUNT", "k") == 7
    assert c.call("PFADD", "k", "d") == 1 and c.call("PFCOUNT", "k") == 4


def test_deadlines_stay(c):
    c.call("PFADD", "k", "a")
    c.call("PEXPIREAT", "k", 4_000_000_000_000)
    add(c, "k", range(5000))
    c.call("PFMERGE", "k", "absent")
    assert c.call("PEXPIRETIME", "k") == 4_000_000_000_000 and c.call("PFDEBUG", "ENCODING", "k") == b"dense"


def test_merging(c):
    add(c, "a", range(3000))
    add(c, "b", range(2000, 5000))
    c.call("PFADD", "few", "x", "y")
    union = c.call("PFCOUNT", "a", "b")
    assert abs(union - 5000) < 150
    assert c.call("PFMERGE", "d", "a", "b", "absent") == b"OK" and c.call("PFCOUNT", "d") == union
    assert c.call("PFMERGE", "e", "few") == b"OK" and c.call("PFCOUNT", "e") == 2 and c.call("PFDEBUG", "ENCODING", "e") == b"sparse"
    assert c.call("PFMERGE", "none") == b"OK" and c.call("PFCOUNT", "none") == 0
    assert c.call("PFMERGE", "few", "a") == b"OK" and c.call("PFDEBUG", "ENCODING", "few") == b"dense"
    assert c.call("PFCOUNT", "a") == c.call("PFCOUNT", "a", "a") == c.call("PFCOUNT", "a", "absent")


def test_the_limit_of_sparse_values(make_node):
    with make_node({"hll-sparse-max-bytes": "100"}).client() as c:
        for i in range(100):
            c.call("PFADD", "k", "n%d" % i)
            assert c.call("STRLEN", "k") <= 100 or c.call("STRLEN", "k") == 12304
        assert c.call("PFDEBUG", "ENCODING", "k") == b"dense"
        c.call("CONFIG", "SET", "hll-sparse-max-bytes", "0")
        c.call("PFADD", "z")
        assert c.call("PFDEBUG", "ENCODING", "z") == b"sparse"
        c.call("PFADD", "z", "a")
        assert c.call("PFDEBUG", "ENCODING", "z") == b"dense" and c.call("PFCOUNT", "z") == 1


def test_pfdebug_and_pfselftest(c):
    c.call("PFADD", "k", "foo", "bar")
    runs = c.call("PFDEBUG", "DECODE", "k").decode().split()
    assert sum(r[0] == "v" for r in runs) == 2 and all(r[0] in "vzZ" for r in runs)
    assert sum(int(r.split(":")[1]) if r[0] != "v" else int(r.split(",")[1]) for r in runs) == 16384
    assert c.call("PFDEBUG", "todense", "k") == 1 and c.call("PFDEBUG", "TODENSE", "k") == 0 and c.call("STRLEN", "k") == 12304
    registers = c.call("PFDEBUG", "GETREG", "k")
    assert len(registers) == 16384 and sorted(registers)[-2] > 0 and sorted(registers)[-3] == 0 and c.call("PFCOUNT", "k") == 2
    assert error_of(c, "PFDEBUG", "DECODE", "k") == "ERR HLL encoding is not sparse"
    assert error_of(c, "PFDEBUG", "FOO", "k") == "ERR Unknown PFDEBUG subcommand 'FOO'"
    assert error_of(c, "PFDEBUG", "GETREG", "absent") == "ERR The specified key does not exist"
    assert error_of(c, "PFDEBUG", "GETREG") == "ERR wrong number of arguments for 'pfdebug' command"
    c.call("PFADD", "s", "a")
    assert len(c.call("PFDEBUG", "GETREG", "s")) == 16384 and c.call("PFDEBUG", "ENCODING", "s") == b"dense"
    assert c.call("PFSELFTEST") == b"OK"


def test_what_is_no_hyperloglog_is_refused_and_stays(c):
    c.call("RPUSH", "l", "a") if c.call("COMMAND", "INFO", "RPUSH")[0] else c.call("SADD", "l", "a")
    c.call("PFADD", "k", "a")
    good = c.call("GET", "k")
    for value in (b"", b"HYLL", b"x" * 12304, b"HYLL\x02" + bytes(12299), b"HYLL" + bytes(12299), b"HYLL" + bytes(12301), 1234567):
        c.call("SET", "s", value)
        for argv in (("PFADD", "s", "a"), ("PFADD", "s"), ("PFCOUNT", "s"), ("PFCOUNT", "k", "s"), ("PFMERGE", "s"), ("PFMERGE", "k", "s"), ("PFMERGE", "new", "s"),
                     ("PFDEBUG", "ENCODING", "s")):
            assert error_of(c, *argv) == FOREIGN, argv
        assert c.call("GET", "s") == (value if isinstance(value, bytes) else b"1234567") and c.call("EXISTS", "new") == 0
    for argv in (("PFADD", "l", "a"), ("PFCOUNT", "l"), ("PFCOUNT", "k", "l"), ("PFMERGE", "k", "l"), ("PFMERGE", "l", "k"), ("PFDEBUG", "GETREG", "l")):
        assert error_of(c, *argv) == "WRONGTYPE Operation against a key holding the wrong kind of value"
    assert c.call("GET", "k") == good


@pytest.mark.holdfast
def test_damaged_values_are_refused_and_stay(c):
    header = b"HYLL\x01\0\0\0" + bytes(7) + b"\x80"
    for registers in (b"", b"\x7f", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xff\x80", b"\x3f" * 255, b"\x3f" * 256 + b"\x40", b"\x84" * 20000, bytes(15) + b"\xff" * 40000):
        c.call("SET", "s", header + registers)
        c.call("PFADD", "k", "a")
        for argv in (("PFADD", "s", "a"), ("PFADD", "s"), ("PFCOUNT", "s"), ("PFCOUNT", "k", "s"), ("PFMERGE", "k", "s"), ("PFMERGE", "s", "k"),
                     ("PFDEBUG", "GETREG", "s"), ("PFDEBUG", "DECODE", "s"), ("PFDEBUG", "TODENSE", "s")):
            assert error_of(c, *argv) == CORRUPT, argv
        assert c.call("GET", "s") == header + registers
    c.call("SET", "s", header + b"\x3f" * 256)
    assert c.call("PFCOUNT", "s") == 0 and c.call("PFADD", "s", "a") == 1 and c.call("PFCOUNT", "s") == 1
    c.call("SET", "full", b"HYLL" + bytes(11) + b"\x80" + b"\xff" * 12288)
    assert c.call("PFCOUNT", "full") >= 0 and c.call("PFADD", "full", "a") == 0


@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_redis(make_node, seed):
    node, redis = make_node(), make_node(binary=REDIS_SERVER)
    rng = random.Random(seed)
    with node.client() as a, redis.client() as b:
        def both(*args):
            x, y = a.try_call(*args), b.try_call(*args)
            assert x == y or (isinstance(x, ReplyError) and str(x) == str(y)), [str(s)[:60] for s in args]

        for _ in range(6):
            both("FLUSHALL")
            both("CONFIG", "SET", "hll-sparse-max-bytes", rng.choice((0, 100, 3000, 3000, 20000)))
            for _ in range(250):
                key, r = rng.choice("abcd"), rng.random()
                if r < 0.7:
                    names = rng.choice((10, 1000, 100_000, 10 ** 9))
                    both("PFADD", key, *("e%d" % rng.randrange(names) for _ in range(rng.choice((0, 1, 1, 2, 5, 40, 300)))))
                elif r < 0.78:
                    both("PFCOUNT", key)
                elif r < 0.86:
                    both("PFCOUNT", *rng.sample("abcde", 3))
                elif r < 0.94:
                    both("PFMERGE", *rng.choices("abcde", k=rng.choice((1, 2, 3))))
                elif r < 0.96:
                    both("DEL", key)
                else:
                    both("PFDEBUG", rng.choice(("ENCODING", "DECODE", "TODENSE", "GETREG")), key)
                both("GET", key)


def test_estimates_survive_in_the_log(make_node):
    node = make_node({"appendonly": "yes", "enable-debug-command": "yes"})
    with node.client() as c:
        add(c, "a", range(100))
        add(c, "b", range(5000))
        assert c.call("PFCOUNT", "a") == 100
        c.call("PFMERGE", "m", "a", "b")
        c.call("PFDEBUG", "TODENSE", "a")
        c.call("PFCOUNT", "m")
        digest, value = c.call("DEBUG", "DIGEST"), c.call("GET", "m")
        assert value[15] < 0x80
    node.restart(kill=True)
    with node.client() as c:
        assert c.call("DEBUG", "DIGEST") == digest and c.call("GET", "m") == value


def test_events(make_node):
    node = make_node()
    with node.client() as c, node.client() as s:
        if not c.config_get("notify-keyspace-events"):
            pytest.skip("this build has no keyspace notifications")
        c.call("CONFIG", "SET", "notify-keyspace-events", "EA")
        s.call("PSUBSCRIBE", "__keyevent@0__:*")
        for argv, want in ((("PFADD", "k", 1, 2), ["pfadd k"]), (("PFADD", "k", 1), []), (("PFCOUNT", "k"), []), (("PFMERGE", "d", "k"), ["pfadd d"]), (("PFADD", "e"), ["pfadd e"])):
            c.call(*argv)
            c.call("PUBLISH", "__keyevent@0__:end", "")
            got = []
            while not got or got[-1] != "end":
                _, _, channel, key = s.read()
                event = channel.split(b":", 1)[1].decode()
                got.append(event if event == "end" else f"{event} {key.decode()}")
            assert got[:-1] == want, argv
