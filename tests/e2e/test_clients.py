"""AUTH and the CLIENT command."""

import re
import time

import pytest

from harness import ReplyError


def fields(line):
    return dict(f.split("=", 1) for f in line.decode().strip().split(" "))


def test_requirepass(make_node):
    node = make_node({"requirepass": "secret"})
    with node.client() as c:
        assert str(c.try_call("GET", "k")) == "NOAUTH Authentication required."
        assert str(c.try_call("AUTH", "wrong")) == "WRONGPASS invalid username-password pair or user is disabled."
        assert str(c.try_call("AUTH", "nobody", "secret")) == "WRONGPASS invalid username-password pair or user is disabled."
        assert c.call("AUTH", "secret") == b"OK"
        assert c.call("PING") == b"PONG"
        assert c.call("CONFIG", "GET", "requirepass") == [b"requirepass", b"secret"]
    with node.client() as c:
        assert c.call("AUTH", "default", "secret") == b"OK"
        c.call("CONFIG", "SET", "requirepass", "")
    with node.client() as c:
        assert c.call("PING") == b"PONG"
        assert str(c.try_call("AUTH", "x")) == ("ERR AUTH <password> called without any password configured for the default user. "
                                               "Are you sure your configuration is correct?")


def test_auth_arity(c):
    assert str(c.try_call("AUTH")) == "ERR wrong number of arguments for 'auth' command"
    assert str(c.try_call("AUTH", "a", "b", "c")) == "ERR syntax error"


def test_client_info_fields(c):
    c.call("CLIENT", "SETNAME", "me")
    c.call("SELECT", "3")
    f = fields(c.call("CLIENT", "INFO"))
    assert f["name"] == "me" and f["db"] == "3" and f["cmd"] == "client|info" and f["flags"] == "N" and f["user"] == "default"
    assert f["resp"] == "2" and f["multi"] == "-1" and f["id"] == str(c.call("CLIENT", "ID")) and f["sub"] == "0"
    assert set(f) >= {"id", "addr", "laddr", "fd", "name", "age", "idle", "flags", "db", "sub", "psub", "ssub", "multi", "qbuf", "qbuf-free",
                      "argv-mem", "multi-mem", "rbs", "rbp", "obl", "oll", "omem", "tot-mem", "events", "cmd", "user", "redir", "resp"}


def test_client_list_filters(c, c2):
    ids = [c.call("CLIENT", "ID"), c2.call("CLIENT", "ID")]
    lines = c.call("CLIENT", "LIST").splitlines()
    assert {int(fields(x)["id"]) for x in lines} >= set(ids)
    assert [int(fields(x)["id"]) for x in c.call("CLIENT", "LIST", "ID", *ids).splitlines()] == ids
    assert c.call("CLIENT", "LIST", "TYPE", "replica") == b""
    assert len(c.call("CLIENT", "LIST", "TYPE", "normal").splitlines()) >= 2
    assert str(c.try_call("CLIENT", "LIST", "TYPE", "x")) == "ERR Unknown client type 'x'"
    assert str(c.try_call("CLIENT", "LIST", "ID", "x")) == "ERR Invalid client ID"
    assert str(c.try_call("CLIENT", "LIST", "FOO")) == "ERR syntax error"


def test_a_transaction_shows_in_the_list(c, c2):
    c2.call("WATCH", "k")
    c2.call("MULTI")
    c2.call("SET", "a", "b")
    line = fields(c.call("CLIENT", "LIST", "ID", fields_id(c, c2)).splitlines()[0])
    assert line["multi"] == "1" and "x" in line["flags"]


def fields_id(c, other):
    """The id of another connection by its local address."""
    addr = "%s:%d" % other.sock.getsockname()[:2]
    return next(fields(x)["id"] for x in c.call("CLIENT", "LIST").splitlines() if fields(x)["addr"] == addr)


def test_ids_grow(shared_node, c):
    with shared_node.client() as x:
        first = x.call("CLIENT", "ID")
    with shared_node.client() as x:
        assert x.call("CLIENT", "ID") > first


def test_names(c):
    assert c.call("CLIENT", "GETNAME") is None
    assert c.call("CLIENT", "SETNAME", "a-b.c") == b"OK"
    assert c.call("CLIENT", "GETNAME") == b"a-b.c"
    for bad in ("a b", "a\nb", "é"):
        assert str(c.try_call("CLIENT", "SETNAME", bad)) == "ERR Client names cannot contain spaces, newlines or special characters."
    assert c.call("CLIENT", "SETNAME", "") == b"OK"
    assert c.call("CLIENT", "GETNAME") is None


@pytest.mark.holdfast
def test_setinfo(c):
    assert c.call("CLIENT", "SETINFO", "lib-name", "redis-py(x)") == b"OK"
    assert c.call("CLIENT", "SETINFO", "LIB-VER", "4.5") == b"OK"
    f = fields(c.call("CLIENT", "INFO"))
    assert f["lib-name"] == "redis-py(x)" and f["lib-ver"] == "4.5"
    assert isinstance(c.try_call("CLIENT", "SETINFO", "lib-foo", "x"), ReplyError)
    assert isinstance(c.try_call("CLIENT", "SETINFO", "lib-name", "a b"), ReplyError)


def test_kill_by_address_and_id(shared_node, c):
    with shared_node.client() as x:
        assert c.call("CLIENT", "KILL", "%s:%d" % x.sock.getsockname()[:2]) == b"OK"
        assert x.is_closed()
    with shared_node.client() as x:
        assert c.call("CLIENT", "KILL", "ID", x.call("CLIENT", "ID")) == 1
        assert x.is_closed()
    with shared_node.client() as x:
        x.call("PING")
        assert c.call("CLIENT", "KILL", "ADDR", "%s:%d" % x.sock.getsockname()[:2], "TYPE", "normal", "USER", "default") == 1
        assert x.is_closed()
    assert str(c.try_call("CLIENT", "KILL", "1.2.3.4:5")) == "ERR No such client"
    assert c.call("CLIENT", "KILL", "ID", "999999") == 0


def test_kill_skips_or_takes_oneself(shared_node, c):
    with shared_node.client() as x, shared_node.client() as y:
        x.call("PING")
        laddr = "%s:%d" % c.sock.getpeername()[:2]
        assert c.call("CLIENT", "KILL", "LADDR", laddr) >= 2
        assert x.is_closed() and y.is_closed() and c.call("PING") == b"PONG"
    me = c.call("CLIENT", "ID")
    c.send("CLIENT", "KILL", "ID", me, "SKIPME", "no")
    assert c.read_until_closed() == b":1\r\n"


@pytest.mark.holdfast
def test_kill_by_age(shared_node, c):
    with shared_node.client() as x:
        x.call("PING")
        assert c.call("CLIENT", "KILL", "ID", x.call("CLIENT", "ID"), "MAXAGE", "1000") == 0
        time.sleep(1.1)
        assert c.call("CLIENT", "KILL", "ID", x.call("CLIENT", "ID"), "MAXAGE", "1") == 1


@pytest.mark.parametrize("args,error", [
    (("ID", "x"), "ERR client-id should be greater than 0"), (("ID", "0"), "ERR client-id should be greater than 0"),
    (("TYPE", "x"), "ERR Unknown client type 'x'"), (("USER", "nobody"), "ERR No such user 'nobody'"),
    (("SKIPME", "x"), "ERR syntax error"), (("FOO", "x"), "ERR syntax error")])
def test_kill_errors(c, args, error):
    assert str(c.try_call("CLIENT", "KILL", *args)) == error


def test_pause_holds_every_command(c, c2):
    assert c.call("CLIENT", "PAUSE", "700") == b"OK"
    start = time.monotonic()
    c2.send("PING")
    c2.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        c2.read()
    c2.sock.settimeout(10)
    assert c2.read() == b"PONG" and time.monotonic() - start > 0.5


def test_pause_write_lets_reads_through(c, c2):
    c.call("SET", "k", "v")
    assert c.call("CLIENT", "PAUSE", "20000", "WRITE") == b"OK"
    assert c2.call("GET", "k") == b"v"
    c2.send("SET", "k", "w")
    c2.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        c2.read()
    assert c.call("GET", "k") == b"v"
    c.call("CLIENT", "UNPAUSE")
    c2.sock.settimeout(10)
    assert c2.read() == b"OK" and c.call("GET", "k") == b"w"


def test_a_pause_ends_by_itself(c, c2):
    start = time.monotonic()
    c.call("CLIENT", "PAUSE", "300")
    assert c2.call("PING") == b"PONG"
    assert 0.2 < time.monotonic() - start < 3


def test_pause_errors(c):
    assert str(c.try_call("CLIENT", "PAUSE", "x")) == "ERR timeout is not an integer or out of range"
    assert str(c.try_call("CLIENT", "PAUSE", "-1")) == "ERR timeout is negative"
    assert str(c.try_call("CLIENT", "PAUSE", "1", "x")) == "ERR CLIENT PAUSE mode must be WRITE or ALL"


def test_no_evict(c):
    assert c.call("CLIENT", "NO-EVICT", "on") == b"OK"
    assert "e" in fields(c.call("CLIENT", "INFO"))["flags"]
    assert c.call("CLIENT", "NO-EVICT", "off") == b"OK"
    assert str(c.try_call("CLIENT", "NO-EVICT", "x")) == "ERR syntax error"


@pytest.mark.holdfast
def test_no_touch_keeps_the_idle_time(c):
    c.call("SET", "k", "v")
    time.sleep(2.1)
    assert c.call("CLIENT", "NO-TOUCH", "on") == b"OK"
    c.call("GET", "k")
    assert c.call("OBJECT", "IDLETIME", "k") >= 1
    assert c.call("CLIENT", "NO-TOUCH", "off") == b"OK"
    c.call("GET", "k")
    assert c.call("OBJECT", "IDLETIME", "k") == 0


def test_help_lists_the_subcommands(c):
    text = b"\n".join(c.call("CLIENT", "HELP")).decode()
    for sub in ("GETNAME", "ID", "INFO", "KILL", "LIST", "NO-EVICT", "PAUSE", "REPLY", "SETNAME", "UNPAUSE", "HELP"):
        assert re.search(rf"\b{sub}\b", text), sub
