"""Connections: addresses, limits, timeouts, protected mode, and what a client may make the server hold."""

import os
import socket
import stat
import subprocess
import tempfile
import time

import pytest

from harness import Client, Node, NodeError, ReplyError, encode, free_port, wait_until


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")


def outside_address():
    """An address of this machine that is not loopback, or None."""
    out = subprocess.run(["hostname", "-I"], stdout=subprocess.PIPE, text=True).stdout.split()
    return next((a for a in out if "." in a), None)


@ipv6
def test_listens_on_ipv4_and_ipv6(make_node):
    node = make_node({"bind": "127.0.0.1 ::1"})
    for host in ("127.0.0.1", "::1"):
        with Client(node.port, host=host) as c:
            assert c.call("PING") == b"PONG"
            assert f"laddr={'[::1]' if ':' in host else host}:{node.port}" in c.call("CLIENT", "INFO").decode()


def test_bind_with_a_hyphen_tolerates_an_absent_address(make_node):
    node = make_node({"bind": "127.0.0.1 -192.0.2.77"})
    assert node.alive()


def test_bind_without_a_hyphen_to_an_absent_address_is_fatal(make_node):
    with pytest.raises(NodeError, match="192.0.2.77"):
        make_node({"bind": "127.0.0.1 192.0.2.77"})


def test_bind_changes_at_run_time(make_node):
    node = make_node({"bind": "127.0.0.1"})
    with node.client() as c:
        assert c.call("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2") == b"OK"
    with Client(node.port, host="127.0.0.2") as c:
        assert c.call("PING") == b"PONG"


def test_port_changes_at_run_time(make_node):
    node = make_node()
    port = free_port()
    with node.client() as c:
        assert c.call("CONFIG", "SET", "port", port) == b"OK"
        assert c.call("PING") == b"PONG"
    with Client(port) as c:
        assert c.call("PING") == b"PONG"
    with pytest.raises(OSError):
        Client(node.port)


def test_a_port_in_use_is_fatal_and_named(make_node):
    node = make_node()
    second = make_node({"port": node.port}, port=node.port, start=False)
    second.start(wait=False)
    assert second.wait_exit() == 1
    assert "ddress already in use" in second.log() and str(node.port) in second.log()


@pytest.fixture
def socket_path():
    """A path short enough for a socket address."""
    with tempfile.TemporaryDirectory(prefix="hf", dir="/tmp") as d:
        yield os.path.join(d, "sock")


def test_unix_socket_with_permissions(make_node, socket_path):
    path = socket_path
    node = make_node({"unixsocket": path, "unixsocketperm": "750"})
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o750 and stat.S_ISSOCK(os.stat(path).st_mode)
    with Client(path=path) as c:
        assert c.call("PING") == b"PONG"
        assert f"addr={path}:0" in c.call("CLIENT", "INFO").decode()
    node.stop()
    assert not os.path.exists(path)


def test_unix_socket_alone(make_node, socket_path):
    path = socket_path
    node = make_node({"unixsocket": path, "port": 0}, port=0)
    with node.client() as c:
        assert c.call("SET", "k", "v") == b"OK"


def test_a_stale_unix_socket_is_replaced(make_node, socket_path):
    path = socket_path
    node = make_node({"unixsocket": path})
    node.kill()
    assert os.path.exists(path)
    node.start()
    with Client(path=path) as c:
        assert c.call("PING") == b"PONG"


@pytest.mark.skipif(outside_address() is None, reason="no address beside loopback")
def test_protected_mode_turns_strangers_away(make_node):
    # Reached over the machine's own outside address, which is as good as from elsewhere: nothing leaves the machine.
    node = make_node({"bind": "* -::*"})
    address = outside_address()
    with Client(node.port, host=address) as c:
        assert c.read_until_closed().startswith(b"-DENIED ")
    with node.client() as c:
        assert c.call("CONFIG", "SET", "protected-mode", "no") == b"OK"
    with Client(node.port, host=address) as c:
        assert c.call("PING") == b"PONG"
    with node.client() as c:
        c.call("CONFIG", "SET", "protected-mode", "yes", "requirepass", "secret")
    with Client(node.port, host=address) as c:
        assert c.try_call("PING").code == "NOAUTH"


def test_maxclients(make_node):
    node = make_node({"maxclients": "10"})
    held = [node.client() for _ in range(10)]
    for c in held:
        assert c.call("PING") == b"PONG"
    with node.client() as c:
        assert c.read_until_closed() == b"-ERR max number of clients reached\r\n"
    assert held[0].info("stats")["rejected_connections"] == "1"
    held.pop().close()
    wait_until(lambda: held[0].info("clients")["connected_clients"] == "9")
    with node.client() as c:
        assert c.call("PING") == b"PONG"
    assert held[0].call("CONFIG", "SET", "maxclients", "20") == b"OK"
    more = [node.client() for _ in range(8)]
    assert more[-1].call("PING") == b"PONG"
    for c in held + more:
        c.close()


@pytest.mark.holdfast
def test_maxclients_beyond_what_the_system_allows(make_node):
    node = make_node({"maxclients": "100"})
    with node.client() as c:
        r = c.try_call("CONFIG", "SET", "maxclients", "4000000000")
        assert isinstance(r, ReplyError) and "maxclients" in str(r)
        assert c.config_get("maxclients") == {"maxclients": "100"}


def test_idle_clients_are_closed_after_the_timeout(make_node):
    node = make_node({"timeout": "1"})
    with node.client() as idle, node.client() as busy:
        idle.call("PING")
        end = time.monotonic() + 5
        while not idle.is_closed(0.2):
            busy.call("PING")
            assert time.monotonic() < end
        assert busy.call("PING") == b"PONG"


def test_many_connections_at_once(make_node):
    node = make_node({"maxclients": "2000"})
    clients = [node.client() for _ in range(1000)]
    for c in clients:
        c.send("PING")
    assert all(c.read() == b"PONG" for c in clients)
    with node.client() as c:
        assert c.info("clients")["connected_clients"] == "1001"
        for x in clients:
            x.close()
        wait_until(lambda: c.info("clients")["connected_clients"] == "1")


def test_a_client_that_goes_away_in_mid_request_leaves_nothing(shared_node, c):
    before = int(c.info("clients")["connected_clients"])
    for _ in range(20):
        with shared_node.client() as x:
            x.send_bytes(encode("SET", "k", "v" * 100000)[:50000])
    wait_until(lambda: int(c.info("clients")["connected_clients"]) == before)
    assert c.call("EXISTS", "k") == 0


def test_query_buffer_limit_closes_the_client(make_node):
    node = make_node({"client-query-buffer-limit": "1mb"})
    with node.client() as c, node.client() as watch:
        c.send_bytes(b"*2\r\n$4\r\nECHO\r\n$500000000\r\n")
        try:
            for _ in range(40):
                c.send_bytes(b"x" * 100_000)
        except ConnectionError:
            pass
        assert c.read_until_closed() == b""
        assert watch.call("PING") == b"PONG"
        wait_until(lambda: watch.info("clients")["connected_clients"] == "1")


def test_output_buffer_hard_limit_closes_a_client_that_does_not_read(make_node):
    node = make_node({"client-output-buffer-limit": "normal 1mb 0 0"})
    with node.client() as c, node.client() as slow:
        c.call("SET", "big", "x" * 200_000)
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.send_bytes(encode("GET", "big") * 400)
        wait_until(lambda: c.info("clients")["connected_clients"] == "1", 15, what="the closing of the slow client")
        assert node.alive()


def test_output_buffer_soft_limit_closes_after_its_time(make_node):
    node = make_node({"client-output-buffer-limit": "normal 0 1mb 1"})
    with node.client() as c, node.client() as slow:
        c.call("SET", "big", "x" * 200_000)
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.send_bytes(encode("GET", "big") * 200)
        time.sleep(0.3)
        assert c.info("clients")["connected_clients"] == "2"
        # Something has to happen on the connection for Redis to look.
        def closed():
            try:
                slow.send_bytes(encode("GET", "big"))
            except OSError:
                pass
            return c.info("clients")["connected_clients"] == "1"
        wait_until(closed, 15, 0.2, what="the closing of the slow client")


def test_output_buffer_limits_are_parsed(c):
    c.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64mb 16mb 90")
    got = c.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
    assert "pubsub 67108864 16777216 90" in got and got.startswith("normal 0 0 0")
    for bad in ("normal 0 0", "foo 0 0 0", "normal x 0 0", "normal -1 0 0", "normal 0 0 -1"):
        assert isinstance(c.try_call("CONFIG", "SET", "client-output-buffer-limit", bad), ReplyError), bad


# --- clients that have not authenticated ---

@pytest.mark.parametrize("request_bytes", [b"*11\r\n", b"*2\r\n$4\r\nAUTH\r\n$100000\r\n"], ids=["many arguments", "a long argument"])
def test_unauthenticated_requests_are_bounded(make_node, request_bytes):
    node = make_node({"requirepass": "secret"})
    with node.client() as c:
        c.send_bytes(request_bytes)
        text = c.read_until_closed()
        assert b"unauthenticated" in text and text.startswith(b"-ERR Protocol error")


@pytest.mark.holdfast
def test_an_unauthenticated_client_makes_the_server_hold_at_most_64_kib(make_node):
    node = make_node({"requirepass": "secret"})
    clients = [node.client() for _ in range(50)]
    with node.client(password="secret") as watch:
        before = int(watch.info("memory")["used_memory"])
        for c in clients:
            c.sock.settimeout(0.2)
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            try:
                # Errors pile up on the way out, and a request that never ends on the way in.
                c.send_bytes(b"PING\r\n" * 100_000)
                c.send_bytes(b"x" * 200_000)
            except OSError:
                pass
        time.sleep(0.3)
        held = int(watch.info("memory")["used_memory"]) - before
        assert held <= 50 * (2 * 64 * 1024 + 20_000), f"{held / 50:.0f} bytes a client"
        assert watch.call("PING") == b"PONG"
    for c in clients:
        c.close()


def test_inline_requests_without_end_are_cut_off(make_node):
    node = make_node()
    with node.client() as c:
        try:
            c.send_bytes(b"x" * 70_000)
        except ConnectionError:
            pass
        assert b"too big inline request" in c.read_until_closed()


def test_io_threads(make_node):
    node = make_node({"io-threads": "3"})
    clients = [node.client() for _ in range(20)]
    for i, c in enumerate(clients):
        c.send_bytes(b"".join(encode("SET", f"k{i}:{j}", "v" * 50) for j in range(200)))
    for c in clients:
        assert all(c.read() == b"OK" for _ in range(200))
    for i, c in enumerate(clients):
        c.send_bytes(b"".join(encode("GET", f"k{i}:{j}") for j in range(200)))
    for c in clients:
        assert all(c.read() == b"v" * 50 for _ in range(200))
        c.close()
    with node.client() as c:
        assert c.call("DBSIZE") == 4000


def test_requests_cut_into_single_bytes(c):
    for b in encode("SET", "key", "value") + encode("GET", "key"):
        c.send_bytes(bytes([b]))
    assert c.read() == b"OK" and c.read() == b"value"


def test_large_values_go_both_ways(c):
    for n in (32767, 32768, 100_000, 20_000_000):
        value = os.urandom(1000) * (n // 1000) + b"y" * (n % 1000)
        assert c.call("SET", "big", value) == b"OK"
        assert c.call("GET", "big") == value
        assert c.call("STRLEN", "big") == n


def test_a_value_being_sent_stays_what_it_was(c, c2):
    """Replies by reference must not see later changes."""
    value = b"a" * 5_000_000
    c.call("SET", "big", value)
    c.send_bytes(encode("GET", "big") * 3)
    time.sleep(0.05)
    c2.call("SETRANGE", "big", 0, "changed")
    c2.call("DEL", "big")
    got = [c.read() for _ in range(3)]
    assert all(g in (value, b"changed" + value[7:], None) for g in got) and got[0] == value
