"""Administration and introspection: the same requests to us and to Debian's redis-server 7.0, in both protocols."""

import os
import shlex

import pytest

from harness import Node, REDIS_SERVER, server_binary

HERE = os.path.dirname(os.path.abspath(__file__))


def requests():
    with open(os.path.join(HERE, "admin_replies.txt")) as f:
        return [shlex.split(line) for line in f if line.strip() and not line.startswith("#")]


def normal(reply):
    """Sets and the subcommands of a command come in any order; the descriptions of key specs may carry notes."""
    if isinstance(reply, dict):
        return {k: normal(v) for k, v in reply.items() if k != b"notes"}
    if isinstance(reply, (list, tuple)):
        return sorted((normal(x) for x in reply), key=repr)
    return reply


@pytest.mark.parametrize("resp", [2, 3])
def test_replies_are_the_same(resp):
    config = {"enable-debug-command": "yes", "enable-protected-configs": "yes"}
    different = []
    with Node(dict(config), binary=server_binary()) as ours, Node(dict(config), binary=REDIS_SERVER) as theirs:
        a, b = ours.client(resp=resp), theirs.client(resp=resp)
        for request in requests():
            if resp == 3 and request[0] in ("reset", "hello"):
                continue  # these go back to RESP2
            if request[:2] == ["debug", "protocol"]:
                x, y = a.raw(*request), b.raw(*request)
                if x[:1] == y[:1] == b">":  # the message; the reply follows
                    x, y = x + a.read_raw(), y + b.read_raw()
                if x != y:
                    different.append((request, x, y))
                continue
            x, y = a.try_call(*request), b.try_call(*request)
            if repr(normal(x)) != repr(normal(y)):
                different.append((request, x, y))
    assert not different, "\n".join(f"{r}\n  ours   {x!r}\n  theirs {y!r}" for r, x, y in different)


@pytest.mark.parametrize(
    "requests",
    [
        ["client reply skip", "ping", "echo a"],
        ["client reply off", "ping", "client reply on", "ping"],
        ["client reply off", "ping", "client reply skip", "ping", "client reply on", "ping"],
        ["client reply skip", "client reply off", "ping", "client reply on", "echo x"],
        ["client reply skip", "foo", "ping"],
        ["client reply skip", "get", "ping"],
        ["client reply off", "reset", "ping"],
        ["multi", "client setname x", "exec", "client getname"],
        ["quit", "ping"],
        ["config set requirepass foo", "ping", "auth bar", "auth foo", "config set requirepass \"\"", "ping"],
        ["config set requirepass foo", "reset", "ping", "hello 3 auth default bar", "hello 2 auth default foo setname x"],
    ],
)
def test_streams_of_replies_are_the_same(requests):
    out = []
    for binary in (server_binary(), REDIS_SERVER):
        with Node(binary=binary) as node, node.client() as c:
            c.send_bytes(b"".join(r.encode() + b"\r\n" for r in requests) + b"quit\r\n")
            data = c.read_until_closed()
            out.append(b"".join(line for line in data.splitlines(True) if not line.startswith((b"7.", b"$5", b"$6", b":"))))
    assert out[0] == out[1]
