"""What applications do, through public clients: python3-redis (RESP2), and redis-cli on hiredis (both protocols)."""

import subprocess
import threading
import time

import pytest
import redis

from harness import wait_until


@pytest.fixture
def r(shared_node, c):
    """A client of python3-redis over an empty data set."""
    client = redis.Redis(port=shared_node.port, decode_responses=True, socket_timeout=20)
    yield client
    client.close()


def test_strings_and_deadlines(r):
    assert r.set("session", "abc", ex=100, nx=True) and not r.set("session", "other", nx=True)
    assert 0 < r.ttl("session") <= 100 and r.getex("session", persist=True) == "abc" and r.ttl("session") == -1
    assert r.mset({"a": 1, "b": 2}) and r.mget("a", "b", "none") == ["1", "2", None]
    assert r.incrby("hits", 5) == 5 and r.decr("hits") == 4 and r.incrbyfloat("ratio", 0.5) == 0.5
    assert r.append("log", "one") == 3 and r.setrange("log", 3, "two") == 6 and r.getrange("log", 0, -1) == "onetwo"
    assert r.setbit("flags", 7, 1) == 0 and r.bitcount("flags") == 1 and r.bitpos("flags", 1) == 7
    assert r.bitfield("counters").set("u8", "#1", 200).incrby("u8", "#1", 100, overflow="SAT").execute() == [0, 255]
    assert r.bitop("OR", "both", "flags", "log") == 6


def test_lists(r):
    assert r.rpush("queue", *range(10)) == 10 and r.lpush("queue", "first") == 11
    assert r.lrange("queue", 0, 2) == ["first", "0", "1"] and r.lindex("queue", -1) == "9"
    assert r.linsert("queue", "before", "1", "half") == 12 and r.lpos("queue", "half") == 2 and r.lpos("queue", "0", count=0) == [1]
    assert r.lset("queue", 0, "zeroth") and r.lrem("queue", 0, "half") == 1 and r.ltrim("queue", 0, 4) and r.llen("queue") == 5
    assert r.lmove("queue", "done", "LEFT", "RIGHT") == "zeroth" and r.rpoplpush("queue", "done") == "3"
    assert r.lpop("queue", 2) == ["0", "1"] and r.lmpop(2, "none", "queue", direction="RIGHT", count=5) == ["queue", ["2"]]
    assert not r.exists("queue") and r.lrange("done", 0, -1) == ["3", "zeroth"]


def test_sets(r):
    r.sadd("red", "apple", "cherry", "rose")
    r.sadd("fruit", "apple", "cherry", "pear")
    assert r.sinter("red", "fruit") == {"apple", "cherry"} and r.sunion("red", "fruit") == {"apple", "cherry", "rose", "pear"}
    assert r.sdiff("red", "fruit") == {"rose"} and r.sintercard(2, ["red", "fruit"], limit=1) == 1
    assert r.smismember("red", ["apple", "pear"]) == [1, 0] and r.smove("red", "flowers", "rose") and r.smembers("flowers") == {"rose"}
    assert r.sinterstore("both", "red", "fruit") == 2 and r.spop("both", 5) and not r.exists("both")
    assert set(r.srandmember("fruit", 3)) == {"apple", "cherry", "pear"}
    r.sadd("many", *range(5000))
    assert {int(x) for x in r.sscan_iter("many", count=100)} == set(range(5000))
    assert set(r.sscan_iter("many", match="49*9")) == {str(i) for i in range(5000) if str(i).startswith("49") and str(i).endswith("9") and i > 49}


def test_hashes(r):
    user = {"name": "Ada", "visits": "1", "email": "ada@example.org"}
    assert r.hset("user:1", mapping=user) == 3 and r.hgetall("user:1") == user and r.hincrby("user:1", "visits", 2) == 3
    assert r.hmget("user:1", "name", "none") == ["Ada", None] and r.hexists("user:1", "email") and r.hstrlen("user:1", "name") == 3
    assert r.hsetnx("user:1", "name", "Eve") == 0 and r.hdel("user:1", "email", "none") == 1 and sorted(r.hkeys("user:1")) == ["name", "visits"]
    assert r.hincrbyfloat("user:1", "score", 1.25) == 1.25 and set(r.hrandfield("user:1", 3)) == {"name", "visits", "score"}
    r.hset("large", mapping={f"f{i}": i for i in range(3000)})
    assert dict(r.hscan_iter("large", count=50)) == {f"f{i}": str(i) for i in range(3000)}


def test_sorted_sets(r):
    board = {"ann": 30, "bob": 10, "cid": 20.5}
    assert r.zadd("board", board) == 3 and r.zrange("board", 0, -1, withscores=True) == [("bob", 10), ("cid", 20.5), ("ann", 30)]
    assert r.zrevrange("board", 0, 0) == ["ann"] and r.zrank("board", "cid") == 1 and r.zrevrank("board", "bob") == 2
    assert r.zincrby("board", 25, "bob") == 35 and r.zscore("board", "bob") == 35 and r.zmscore("board", ["ann", "none"]) == [30, None]
    assert r.zrangebyscore("board", "(20.5", "+inf") == ["ann", "bob"] and r.zcount("board", 0, 30) == 2
    assert r.zrange("board", 35, 30, desc=True, byscore=True) == ["bob", "ann"]
    assert r.zadd("board", {"ann": 1}, gt=True, ch=True) == 0 and r.zadd("board", {"ann": 40}, xx=True, ch=True) == 1
    assert r.zunionstore("sum", {"board": 2}) == 3 and r.zscore("sum", "ann") == 80 and r.zinter(["board", "sum"]) == ["cid", "bob", "ann"]
    assert r.zpopmin("board") == [("cid", 20.5)] and r.zpopmax("board", 5) == [("ann", 40), ("bob", 35)] and not r.exists("board")
    r.zadd("names", dict.fromkeys(("anna", "berta", "carl", "dora"), 0))
    assert r.zrangebylex("names", "[b", "(d") == ["berta", "carl"] and r.zlexcount("names", "-", "+") == 4 and r.zremrangebylex("names", "-", "[b") == 1
    r.zadd("many", {f"m{i}": i for i in range(3000)})
    assert dict(r.zscan_iter("many", count=50)) == {f"m{i}": i for i in range(3000)}


def test_streams_with_groups(r):
    ids = [r.xadd("events", {"n": i, "kind": "odd" if i % 2 else "even"}) for i in range(20)]
    assert ids == sorted(ids, key=lambda x: tuple(map(int, x.split("-")))) and r.xlen("events") == 20
    assert r.xrange("events", ids[3], ids[4]) == [(ids[3], {"n": "3", "kind": "odd"}), (ids[4], {"n": "4", "kind": "even"})]
    assert [i for i, _ in r.xrevrange("events", count=2)] == ids[:-3:-1] and r.xread({"events": ids[17]})[0][1][0][0] == ids[18]
    assert r.xgroup_create("events", "workers", "0")
    with pytest.raises(redis.ResponseError, match="BUSYGROUP"):
        r.xgroup_create("events", "workers", "0")
    (_, got), = r.xreadgroup("workers", "w1", {"events": ">"}, count=5)
    assert [i for i, _ in got] == ids[:5] and r.xack("events", "workers", ids[0], ids[1]) == 2
    pending = r.xpending("events", "workers")
    assert pending["pending"] == 3 and pending["consumers"] == [{"name": "w1", "pending": 3}]
    assert [p["message_id"] for p in r.xpending_range("events", "workers", "-", "+", 10)] == ids[2:5]
    assert [i for i, _ in r.xclaim("events", "workers", "w2", 0, [ids[2]])] == [ids[2]]
    assert [i for i, _ in r.xautoclaim("events", "workers", "w3", 0, count=10)[1]] == ids[2:5]
    assert r.xinfo_groups("events")[0]["lag"] == 15 and {x["name"] for x in r.xinfo_consumers("events", "workers")} == {"w1", "w2", "w3"}
    assert r.xdel("events", ids[10]) == 1 and r.xtrim("events", maxlen=5, approximate=False) == 14 and r.xinfo_stream("events")["length"] == 5
    assert r.xgroup_delconsumer("events", "workers", "w3") == 3 and r.xgroup_destroy("events", "workers")


def test_geo(r):
    r.geoadd("cities", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    assert r.geodist("cities", "Palermo", "Catania", unit="km") == pytest.approx(166.2742, abs=1e-3)
    assert r.geosearch("cities", longitude=15, latitude=37, radius=200, unit="km", sort="ASC") == ["Catania", "Palermo"]
    near = r.geosearch("cities", member="Palermo", width=400, height=400, unit="km", withdist=True, withcoord=True, sort="DESC")
    assert near[0][0] == "Catania" and near[0][1] == pytest.approx(166.2742, abs=1e-3) and near[1][2] == pytest.approx((13.361389, 38.115556), abs=1e-5)
    assert r.geohash("cities", "Palermo") == ["sqc8b49rny0"] and r.geopos("cities", "none") == [None]
    assert r.georadius("cities", 15, 37, 100, unit="km") == ["Catania"] and r.geosearchstore("near", "cities", longitude=15, latitude=37, radius=100, unit="km") == 1


def test_counting_and_sorting(r):
    r.pfadd("visitors", *range(1000))
    r.pfadd("more", *range(500, 1500))
    assert abs(r.pfcount("visitors") - 1000) < 30 and r.pfmerge("all", "visitors", "more") and abs(r.pfcount("all") - 1500) < 45
    r.rpush("ids", 3, 1, 2)
    r.mset({"w_1": 30, "w_2": 20, "w_3": 10, "n_1": "one", "n_2": "two", "n_3": "three"})
    assert r.sort("ids", desc=True) == ["3", "2", "1"] and r.sort("ids", by="w_*", get="n_*") == ["three", "two", "one"]
    assert r.sort("ids", get=["#", "n_*"], groups=True) == [("1", "one"), ("2", "two"), ("3", "three")] and r.sort("ids", store="sorted") == 3


def test_pipelines_and_transactions(r):
    pipe = r.pipeline(transaction=False)
    for i in range(1000):
        pipe.rpush("l", i)
        pipe.hset("h", f"f{i}", i)
        pipe.zadd("z", {f"m{i}": i})
    assert len(pipe.execute()) == 3000 and r.llen("l") == r.hlen("h") == r.zcard("z") == 1000

    def move(pipe):
        top = pipe.zrange("z", -1, -1)
        pipe.multi()
        pipe.zrem("z", *top)
        pipe.sadd("taken", *top)
    assert r.transaction(move, "z") == [1, 1] and r.smembers("taken") == {"m999"}
    with r.pipeline() as pipe:
        pipe.watch("l")
        r.lpop("l")
        pipe.multi()
        pipe.llen("l")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    assert r.pipeline().set("s", "x").lpush("s", "y").get("s").execute(raise_on_error=False)[1].args[0].startswith("WRONGTYPE")


def test_scanning_the_keyspace(r):
    r.mset({f"key:{i}": i for i in range(2000)})
    r.sadd("set", "x")
    assert set(r.scan_iter("key:*", count=100)) == {f"key:{i}" for i in range(2000)} and list(r.scan_iter(_type="SET")) == ["set"]
    assert r.object("encoding", "key:1") == "int" and r.type("set") == "set" and r.memory_usage("key:1") > 0
    r.restore("again", 0, redis.Redis(port=r.connection_pool.connection_kwargs["port"]).dump("set"))
    assert r.smembers("again") == {"x"}


def test_blocking_pops_in_threads(r):
    results = []

    def take(name, call):
        results.append((name, call()))
    threads = [threading.Thread(target=take, args=a) for a in (
        ("list", lambda: r.blpop(["none", "jobs"], timeout=10)), ("zset", lambda: r.bzpopmin("board", timeout=10)),
        ("move", lambda: r.blmove("in", "out", 10)), ("stream", lambda: r.xread({"events": "$"}, block=10_000)),
        ("many", lambda: r.blmpop(10, 2, "none", "batch", direction="LEFT", count=3)))]
    for t in threads:
        t.start()
    wait_until(lambda: int(r.info("clients")["blocked_clients"]) == 5, what="five waiting clients")
    r.rpush("jobs", "job")
    r.zadd("board", {"ann": 1})
    r.rpush("in", "x")
    r.xadd("events", {"f": "v"}, id="5-1")
    r.rpush("batch", 1, 2, 3, 4)
    for t in threads:
        t.join(10)
    assert dict(results) == {"list": ("jobs", "job"), "zset": ("board", "ann", 1.0), "move": "x", "stream": [["events", [("5-1", {"f": "v"})]]],
                             "many": ["batch", ["1", "2", "3"]]}
    assert r.lrange("out", 0, -1) == ["x"] and r.lrange("batch", 0, -1) == ["4"]
    assert r.blpop("none", timeout=0.05) is None


def test_publish_and_subscribe(r):
    listener = r.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("news")
    listener.psubscribe("news.*")
    wait_until(lambda: r.pubsub_numsub("news") == [("news", 1)] and r.pubsub_numpat() == 1)
    assert r.publish("news", "one") == 1 and r.publish("news.sport", "two") == 1 and r.publish("other", "three") == 0
    got, end = [], time.monotonic() + 10
    while len(got) < 2 and time.monotonic() < end:
        message = listener.get_message(timeout=1)
        if message:
            got.append((message["type"], message["channel"], message["data"]))
    assert got == [("message", "news", "one"), ("pmessage", "news.sport", "two")]
    listener.close()


def test_locks(r):
    lock = r.lock("resource", timeout=10, blocking_timeout=0.05)
    assert lock.acquire()
    assert not r.lock("resource", timeout=10, blocking_timeout=0.05).acquire() and 0 < r.ttl("resource") <= 10


# --- redis-cli ---

def cli(node, *args, resp3=False, text=None):
    return subprocess.run(["redis-cli", "-p", str(node.port), *(["-3"] if resp3 else []), *args], input=text, capture_output=True, text=True, check=True,
                          timeout=30).stdout


@pytest.mark.parametrize("resp3", [False, True])
def test_redis_cli_over_all_types(shared_node, c, resp3):
    script = """
        SET s hello
        RPUSH l a b c
        SADD t x
        HSET h f v
        ZADD z 1.5 m 2 n
        XADD x 1-1 f v
        PFADD p a b
        GEOADD g 13.361389 38.115556 Palermo
        LRANGE l 0 -1
        HGETALL h
        ZRANGE z 0 -1 WITHSCORES
        XRANGE x - +
        SMEMBERS t
        GEOPOS g Palermo
        INCR s
    """
    out = cli(shared_node, resp3=resp3, text=script).split()
    assert out == ["OK", "3", "1", "1", "2", "1-1", "1", "1", "a", "b", "c", "f", "v", "m", "1.5", "n", "2", "1-1", "f", "v", "x"] + out[21:23] + \
        "ERR value is not an integer or out of range".split()
    assert [round(float(x), 4) for x in out[21:23]] == [13.3614, 38.1156]
    assert "ERR value is not an integer or out of range" in cli(shared_node, "INCR", "s", resp3=resp3)
    table = cli(shared_node, "--no-raw", "HGETALL", "h", resp3=resp3)
    assert table == ('1# "f" => "v"\n' if resp3 else '1) "f"\n2) "v"\n')
    assert cli(shared_node, "--no-raw", "SMEMBERS", "t", resp3=resp3) == ('1~ "x"\n' if resp3 else '1) "x"\n')
    assert cli(shared_node, "--no-raw", "ZSCORE", "z", "m", resp3=resp3) == ('(double) 1.5\n' if resp3 else '"1.5"\n')


def test_redis_cli_tools(shared_node, c, tmp_path):
    c.call("RPUSH", "big", *range(500))
    c.call("SADD", "set", *range(50))
    c.call("HSET", "h", "f", "v")
    c.call("XADD", "x", "1-1", "f", "v")
    c.call("ZADD", "z", 1, "m")
    report = cli(shared_node, "--bigkeys")
    assert "Biggest   list found '\"big\"' has 500 items" in report and "Biggest    set found '\"set\"' has 50 members" in report
    assert "Sampled 5 keys in the keyspace!" in report
    assert sorted(cli(shared_node, "--scan").split()) == ["big", "h", "set", "x", "z"]
    assert "big" in cli(shared_node, "--memkeys")
    pipe = "".join(f"*3\r\n$5\r\nRPUSH\r\n$1\r\np\r\n${len(str(i))}\r\n{i}\r\n" for i in range(300))
    assert "errors: 0, replies: 300" in cli(shared_node, "--pipe", text=pipe)
    assert c.call("LLEN", "p") == 300
