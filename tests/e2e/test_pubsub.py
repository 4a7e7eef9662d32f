"""SUBSCRIBE, PUBLISH and their relatives."""

import time

import pytest

from harness import ReplyError


def messages(client, n):
    return [client.read() for _ in range(n)]


def test_channels_and_patterns(c, c2):
    c.send("SUBSCRIBE", "a", "b", "a")
    assert messages(c, 3) == [[b"subscribe", b"a", 1], [b"subscribe", b"b", 2], [b"subscribe", b"a", 2]]
    c.send("PSUBSCRIBE", "[ab]*", "zz")
    assert messages(c, 2) == [[b"psubscribe", b"[ab]*", 3], [b"psubscribe", b"zz", 4]]
    assert c2.call("PUBLISH", "a", "1") == 2 and c2.call("PUBLISH", "ab", "2") == 1 and c2.call("PUBLISH", "q", "3") == 0
    assert messages(c, 3) == [[b"message", b"a", b"1"], [b"pmessage", b"[ab]*", b"a", b"1"], [b"pmessage", b"[ab]*", b"ab", b"2"]]
    c.send("UNSUBSCRIBE", "a", "nope")
    assert messages(c, 2) == [[b"unsubscribe", b"a", 3], [b"unsubscribe", b"nope", 3]]
    c.send("PUNSUBSCRIBE")
    assert sorted(x[1] for x in messages(c, 2)) == [b"[ab]*", b"zz"]
    assert c.try_call("UNSUBSCRIBE") == [b"unsubscribe", b"b", 0]
    assert c.try_call("UNSUBSCRIBE") == [b"unsubscribe", None, 0] and c.try_call("PUNSUBSCRIBE") == [b"punsubscribe", None, 0]
    assert c.call("GET", "x") is None


def test_shard_channels_are_names_of_their_own(c, c2):
    assert c.call("SSUBSCRIBE", "a") == [b"ssubscribe", b"a", 1] and c.call("SUBSCRIBE", "b") == [b"subscribe", b"b", 1]
    assert c2.call("PUBLISH", "a", "1") == 0 and c2.call("SPUBLISH", "b", "1") == 0 and c2.call("SPUBLISH", "a", "2") == 1
    assert c.read() == [b"smessage", b"a", b"2"]
    assert c2.call("PUBSUB", "SHARDCHANNELS") == [b"a"] and c2.call("PUBSUB", "SHARDNUMSUB", "a", "b") == [b"a", 1, b"b", 0]
    assert c.call("SUNSUBSCRIBE") == [b"sunsubscribe", b"a", 0] and c.call("SUNSUBSCRIBE", "x") == [b"sunsubscribe", b"x", 0]


def test_restrictions_in_resp2(c):
    c.call("SUBSCRIBE", "x")
    text = "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    for words in (("GET", "x"), ("PUBLISH", "x", "y"), ("HELLO", "3"), ("MULTI",), ("SELECT", "1")):
        assert str(c.try_call(*words)) == text % words[0].lower()
    assert str(c.try_call("CLIENT", "LIST")) == text % "client|list"
    assert c.call("PING") == [b"pong", b""] and c.call("PING", "hey") == [b"pong", b"hey"]
    assert c.call("RESET") == b"RESET" and c.call("PING") == b"PONG" and c.call("PUBSUB", "CHANNELS") == []
    c.call("SUBSCRIBE", "x")
    assert c.call("QUIT") == b"OK" and c.is_closed()


def test_resp3_pushes_and_goes_on(c, c2):
    c.call("HELLO", 3)
    c.send("SUBSCRIBE", "x")
    c.send("PING")
    assert c.read() == b"PONG" and c.pushes == [[b"subscribe", b"x", 1]]
    c.pushes.clear()
    assert c2.call("PUBLISH", "x", "1") == 1
    assert c.call("SET", "k", "v") == b"OK" and c.call("PUBLISH", "x", "2") == 1 and c.call("PING") == b"PONG"
    assert c.pushes == [[b"message", b"x", b"1"], [b"message", b"x", b"2"]]
    c.pushes.clear()
    c.call("MULTI")
    c.call("PUBLISH", "x", "3")
    c.call("GET", "k")
    if not c2.info("server").get("redis_version", "").startswith("7.0."):  # which puts it into the array
        assert c.call("EXEC") == [1, b"v"]


def test_in_a_transaction(c):
    c.call("MULTI")
    c.call("SUBSCRIBE", "x")
    c.call("GET", "q")
    assert c.call("EXEC") == [[b"subscribe", b"x", 1], None]
    assert isinstance(c.try_call("GET", "q"), ReplyError)


def test_messages_come_whatever_client_reply_says(c, c2):
    c.send("CLIENT", "REPLY", "OFF")
    c.send("SUBSCRIBE", "x")
    assert c.read() == [b"subscribe", b"x", 1]
    assert c2.call("PUBLISH", "x", "m") == 1 and c.read() == [b"message", b"x", b"m"]


def test_introspection(c, c2):
    c.call("SUBSCRIBE", "one")
    c.call("SUBSCRIBE", "two")
    c.call("PSUBSCRIBE", "t*")
    c.call("SSUBSCRIBE", "s")
    assert sorted(c2.call("PUBSUB", "CHANNELS")) == [b"one", b"two"] and c2.call("PUBSUB", "CHANNELS", "t*") == [b"two"]
    assert c2.call("PUBSUB", "NUMSUB", "one", "x") == [b"one", 1, b"x", 0] and c2.call("PUBSUB", "NUMSUB") == []
    assert c2.call("PUBSUB", "NUMPAT") == 1
    stats = c2.info("stats")
    assert (stats["pubsub_channels"], stats["pubsub_patterns"], stats["pubsubshard_channels"]) == ("2", "1", "1")
    line = c2.call("CLIENT", "LIST", "TYPE", "pubsub").decode()
    assert " flags=P " in line and " sub=2 psub=1 ssub=1 " in line
    assert str(c2.try_call("PUBSUB", "CHANNELS", "a", "b")).startswith("ERR unknown subcommand or wrong number of arguments for 'CHANNELS'.")
    assert str(c2.try_call("PUBSUB", "NUMPAT", "a")) == "ERR wrong number of arguments for 'pubsub|numpat' command"
    assert str(c2.try_call("PUBSUB", "x")) == "ERR unknown subcommand 'x'. Try PUBSUB HELP."
    assert b"    Prints this help." in c2.call("PUBSUB", "HELP")
    assert str(c2.try_call("COMMAND", "GETKEYS", "SPUBLISH", "a", "b")) == "ERR The command has no key arguments"


@pytest.mark.holdfast
def test_clients_with_subscriptions_are_counted(c, c2):
    c.call("SUBSCRIBE", "one")
    c.call("PSUBSCRIBE", "one")
    assert c2.info("clients")["pubsub_clients"] == "1"
    c.call("RESET")
    assert c2.info("clients")["pubsub_clients"] == "0"


def test_who_does_not_read_is_closed(make_node):
    node = make_node({"client-output-buffer-limit": "pubsub 1mb 0 0"})
    with node.client() as slow, node.client() as c:
        slow.call("SUBSCRIBE", "x")
        for _ in range(200):
            c.call("PUBLISH", "x", "m" * 100000)
        deadline = time.monotonic() + 10
        while c.call("PUBSUB", "NUMSUB", "x") == [b"x", 1] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert c.call("PUBSUB", "NUMSUB", "x") == [b"x", 0] and c.call("PING") == b"PONG"


def test_one_message_to_many(make_node):
    node = make_node()
    clients = [node.client() for _ in range(300)]
    for x in clients:
        x.call("SUBSCRIBE", "x")
    with node.client() as c:
        big = b"b" * 50000
        assert c.call("PUBLISH", "x", "small") == 300 and c.call("PUBLISH", "x", big) == 300
        for x in clients:
            assert messages(x, 2) == [[b"message", b"x", b"small"], [b"message", b"x", big]]
            x.close()
        deadline = time.monotonic() + 10
        while c.call("PUBSUB", "NUMSUB", "x") != [b"x", 0] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert c.call("PUBLISH", "x", "small") == 0


def test_messages_are_not_in_the_file(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always"})
    with node.client() as c, node.client() as sub:
        sub.call("SUBSCRIBE", "x")
        c.call("SET", "k", "v")
        c.call("PUBLISH", "x", "secret-message")
        c.call("MULTI")
        c.call("PUBLISH", "x", "secret-message")
        c.call("SET", "k", "w")
        assert c.call("EXEC") == [1, b"OK"]
        assert messages(sub, 2) == [[b"message", b"x", b"secret-message"]] * 2
    node.kill()
    node.start()
    with node.client() as c:
        assert c.call("GET", "k") == b"w"
    import glob
    text = b"".join(open(p, "rb").read() for p in glob.glob(node.data + "/appendonlydir/*.aof"))
    assert b"secret-message" not in text and b"SET" in text


def test_replicas_pass_messages_on(make_node):
    primary = make_node({"appendonly": "yes"})
    replica = make_node({"replicaof": f"127.0.0.1 {primary.port}"})
    with primary.client() as c, replica.client() as r, replica.client() as sub:
        deadline = time.monotonic() + 20
        while r.info("replication")["master_link_status"] != "up":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        sub.call("SUBSCRIBE", "x")
        assert c.call("PUBLISH", "x", "1") == 0
        c.call("MULTI")
        c.call("SET", "k", "v")
        c.call("PUBLISH", "x", "2")
        c.call("EXEC")
        assert messages(sub, 2) == [[b"message", b"x", b"1"], [b"message", b"x", b"2"]]
        c.call("SET", "k", "w")
    primary.kill()
    primary.start()  # the file may have messages in it: nobody hears of them
    with primary.client() as c:
        assert c.call("GET", "k") in (b"v", b"w")
