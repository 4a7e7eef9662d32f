"""RESP2, RESP3, inline commands, pipelining, reply modes, and what the parser refuses."""

import time

import pytest

from harness import ReplyError, encode


def test_hello_gives_the_server_and_switches(c):
    r = c.call("HELLO", "2")
    d = dict(zip(r[::2], r[1::2]))
    assert d[b"proto"] == 2 and d[b"mode"] == b"standalone" and d[b"role"] == b"master" and d[b"modules"] == []
    assert set(d) >= {b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"}
    assert d[b"id"] == c.call("CLIENT", "ID")
    r = c.call("HELLO", "3")
    assert isinstance(r, dict) and r[b"proto"] == 3
    assert c.raw("GET", "absent") == b"_\r\n"
    c.call("HELLO", "2")
    assert c.raw("GET", "absent") == b"$-1\r\n"


@pytest.mark.parametrize("args,error", [
    (("4",), "NOPROTO unsupported protocol version"), (("1",), "NOPROTO unsupported protocol version"),
    (("x",), "ERR Protocol version is not an integer or out of range"),
    (("3", "AUTH", "default", "wrong"), "WRONGPASS invalid username-password pair or user is disabled."),
    (("3", "SETNAME", "a b"), "ERR Client names cannot contain spaces, newlines or special characters."),
    (("3", "FOO"), "ERR Syntax error in HELLO option 'FOO'"),
    (("3", "AUTH", "x"), "ERR Syntax error in HELLO option 'AUTH'")])
def test_hello_errors(make_node, args, error):
    node = make_node({"requirepass": "secret"}) if "wrong" in args else make_node()
    with node.client() as c:
        assert str(c.try_call("HELLO", *args)) == error


def test_hello_with_auth_and_name(make_node):
    node = make_node({"requirepass": "secret"})
    with node.client() as c:
        r = c.try_call("HELLO", "3")
        assert r.code == "NOAUTH"
        assert c.call("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me")[b"proto"] == 3
        assert c.call("CLIENT", "GETNAME") == b"me"


RESP3_FORMS = {"string": b"$11\r\nHello World\r\n", "integer": b":12345\r\n", "double": b",3.141\r\n", "null": b"_\r\n",
               "array": b"*3\r\n:0\r\n:1\r\n:2\r\n", "set": b"~3\r\n:0\r\n:1\r\n:2\r\n", "map": b"%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n",
               "true": b"#t\r\n", "false": b"#f\r\n", "verbatim": b"=29\r\ntxt:This is a verbatim\nstring\r\n",
               "bignum": b"(1234567999999999999999999999999999999\r\n"}
RESP2_FORMS = {"double": b"$5\r\n3.141\r\n", "null": b"$-1\r\n", "set": b"*3\r\n:0\r\n:1\r\n:2\r\n", "map": b"*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n",
               "true": b":1\r\n", "false": b":0\r\n", "verbatim": b"$25\r\nThis is a verbatim\nstring\r\n",
               "bignum": b"$37\r\n1234567999999999999999999999999999999\r\n"}


@pytest.mark.parametrize("kind", sorted(RESP3_FORMS))
def test_every_type_of_resp3(c, kind):
    c.call("HELLO", "3")
    assert c.raw("DEBUG", "PROTOCOL", kind) == RESP3_FORMS[kind]


@pytest.mark.parametrize("kind", sorted(RESP2_FORMS))
def test_every_type_as_resp2(c, kind):
    assert c.raw("DEBUG", "PROTOCOL", kind) == RESP2_FORMS[kind]


def test_push_and_attribute(c):
    c.call("HELLO", "3")
    c.send("DEBUG", "PROTOCOL", "attrib")
    assert c.read_raw().startswith(b"|1\r\n")
    c.send("DEBUG", "PROTOCOL", "push")
    assert c.read_raw().startswith(b">2\r\n")


def test_config_get_and_info_in_resp3(c):
    c.call("HELLO", "3")
    assert c.call("CONFIG", "GET", "maxmemory") == {b"maxmemory": b"0"}
    assert c.raw("INFO", "server").startswith(b"=")


def test_pipelining_keeps_the_order(c):
    n = 20_000
    c.send_bytes(b"".join(encode("ECHO", i) for i in range(n)))
    assert [c.read() for _ in range(n)] == [b"%d" % i for i in range(n)]


def test_a_pipeline_that_is_never_read_does_not_block_others(c, c2):
    c.send_bytes(encode("ECHO", "x" * 1000) * 20_000)
    start = time.monotonic()
    assert c2.call("PING") == b"PONG"
    assert time.monotonic() - start < 5
    assert all(len(c.read()) == 1000 for _ in range(20_000))


# --- inline ---

@pytest.mark.parametrize("line,reply", [
    (b"PING", b"+PONG\r\n"), (b"ping", b"+PONG\r\n"), (b"  PING  ", b"+PONG\r\n"), (b'ECHO "a b"', b"$3\r\na b\r\n"), (b"ECHO 'a b'", b"$3\r\na b\r\n"),
    (b'ECHO "\\x41\\n\\"q\\""', b'$5\r\nA\n"q"\r\n'), (b"ECHO 'it\\'s'", b"$4\r\nit's\r\n"), (b'ECHO ""', b"$0\r\n\r\n"), (b"ECHO\ta", b"$1\r\na\r\n")])
def test_inline_commands(c, line, reply):
    c.send_bytes(line + b"\r\n")
    assert c.read_raw() == reply
    c.send_bytes(line + b"\n")
    assert c.read_raw() == reply


def test_empty_lines_are_passed_over(c):
    c.send_bytes(b"\r\n\r\n\nPING\r\n")
    assert c.read_raw() == b"+PONG\r\n"
    c.send_bytes(b"*0\r\n*-1\r\nPING\r\n")
    assert c.read_raw() == b"+PONG\r\n"


@pytest.mark.parametrize("data,error", [
    (b'ECHO "a\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    (b'ECHO "a"b\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*1\r\n:1\r\n", b"-ERR Protocol error: expected '$', got ':'\r\n"),
    (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n$536870913\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n$99999999999999999999\r\n", b"-ERR Protocol error: invalid bulk length\r\n")])
def test_protocol_errors_close_the_connection(c, data, error):
    c.send_bytes(data)
    assert c.read_until_closed() == error


def test_what_stood_before_a_protocol_error_is_answered(c):
    c.send_bytes(encode("SET", "k", "v") + encode("GET", "k") + b"*x\r\n" + encode("SET", "k", "w"))
    assert c.read_until_closed() == b"+OK\r\n$1\r\nv\r\n-ERR Protocol error: invalid multibulk length\r\n"


def test_a_raised_bulk_limit(c):
    assert c.call("CONFIG", "SET", "proto-max-bulk-len", "1mb") == b"OK"
    try:
        c.send_bytes(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n")
        assert c.read_until_closed() == b"-ERR Protocol error: invalid bulk length\r\n"
    finally:
        pass


@pytest.fixture(autouse=True)
def restore_limits(request):
    yield
    if "shared_node" in request.fixturenames:
        node = request.getfixturevalue("shared_node")
        with node.client() as x:
            x.call("CONFIG", "SET", "proto-max-bulk-len", "512mb")


@pytest.mark.parametrize("argv,error", [
    (("FOO",), "ERR unknown command 'FOO', with args beginning with: "),
    (("FOO", "a", "b c"), "ERR unknown command 'FOO', with args beginning with: 'a' 'b c' "),
    (("GET",), "ERR wrong number of arguments for 'get' command"),
    (("get", "a", "b"), "ERR wrong number of arguments for 'get' command"),
    (("CONFIG", "FOO"), "ERR unknown subcommand 'FOO'. Try CONFIG HELP."),
    (("CONFIG",), "ERR wrong number of arguments for 'config' command"),
    (("CONFIG", "RESETSTAT", "x"), "ERR wrong number of arguments for 'config|resetstat' command"),
    (("x" * 200,), "ERR unknown command '" + "x" * 128 + "', with args beginning with: ")])
def test_errors_of_dispatch(c, argv, error):
    assert str(c.try_call(*argv)) == error


def test_control_characters_never_get_into_an_error_line(c):
    r = c.raw("FOO\r\nBAR", "x\r\ny")
    assert r.startswith(b"-ERR unknown command") and r.count(b"\r\n") == 1 and r.count(b"\n") == 1


def test_quit(c):
    c.send("QUIT")
    assert c.read_until_closed() == b"+OK\r\n"


def test_reset(c):
    c.call("SELECT", "2")
    c.call("CLIENT", "SETNAME", "x")
    c.call("MULTI")
    assert c.call("RESET") == b"RESET"
    assert isinstance(c.try_call("EXEC"), ReplyError)
    assert c.call("CLIENT", "GETNAME") is None
    assert "db=0" in c.call("CLIENT", "INFO").decode()


# --- CLIENT REPLY ---

def test_client_reply_off_and_on(c):
    c.send("CLIENT", "REPLY", "OFF")
    c.send("SET", "k", "v")
    c.send("CLIENT", "REPLY", "ON")
    c.send("GET", "k")
    assert c.read() == b"OK" and c.read() == b"v"


def test_client_reply_skip_skips_one(c):
    c.send_bytes(encode("CLIENT", "REPLY", "SKIP") + encode("SET", "k", "v") + encode("GET", "k"))
    assert c.read() == b"v"


def test_client_reply_syntax(c):
    assert str(c.try_call("CLIENT", "REPLY", "x")) == "ERR syntax error"
