"""CONFIG GET, SET, REWRITE, RESETSTAT; the configuration file, standard input and the command line."""

import os
import stat
import subprocess

import pytest

from harness import Node, NodeError, ReplyError, is_holdfast, server_binary


def set_error(c, *args):
    r = c.try_call("CONFIG", "SET", *args)
    assert isinstance(r, ReplyError), f"{args}: {r!r}"
    return str(r)


# --- GET ---

def test_get_by_name_glob_and_many(c):
    assert c.config_get("maxmemory") == {"maxmemory": "0"}
    assert set(c.config_get("maxmemory*")) >= {"maxmemory", "maxmemory-policy", "maxmemory-samples"}
    flat = c.call("CONFIG", "GET", "maxmemory", "port", "maxmemory")
    assert len(flat) == 4 and set(flat[::2]) == {b"maxmemory", b"port"}
    assert c.call("CONFIG", "GET", "no-such-thing") == []
    assert list(c.config_get("MAXMEMORY").values()) == ["0"]
    assert len(c.config_get("*")) > 80


# --- SET ---

@pytest.mark.parametrize("name,value,stored", [
    ("maxmemory", "1mb", "1048576"), ("maxmemory", "2k", "2000"), ("maxmemory", "1gb", "1073741824"), ("maxmemory", "100", "100"), ("maxmemory", "0", "0"),
    ("appendfsync", "ALWAYS", "always"), ("appendfsync", "everysec", "everysec"), ("slowlog-log-slower-than", "-1", "-1"), ("slowlog-log-slower-than", "10000", "10000"),
    ("maxmemory-policy", "allkeys-lru", "allkeys-lru"), ("maxmemory-policy", "noeviction", "noeviction"), ("loglevel", "warning", "warning"), ("loglevel", "notice", "notice"),
    ("save", "900 1 300 10", "900 1 300 10"), ("save", "", ""), ("stop-writes-on-bgsave-error", "no", "no"), ("stop-writes-on-bgsave-error", "YES", "yes")])
def test_set_and_get(c, name, value, stored):
    assert c.call("CONFIG", "SET", name, value) == b"OK"
    assert c.config_get(name) == {name: stored}


@pytest.mark.parametrize("name,value,reason", [
    ("maxmemory", "x", None), ("maxmemory", "-1", None), ("appendfsync", "x", "argument(s) must be one of the following: everysec, always, no"),
    ("stop-writes-on-bgsave-error", "maybe", "argument must be 'yes' or 'no'"), ("slowlog-max-len", "x", "argument couldn't be parsed into an integer"),
    ("timeout", "-1", "argument must be between 0 and 2147483647 inclusive"), ("save", "900", "Invalid save parameters"), ("save", "x 1", "Invalid save parameters"),
    ("save", "0 1", "Invalid save parameters"), ("port", "65536", "argument must be between 0 and 65535 inclusive"),
    ("databases", "32", "can't set immutable config"), ("dir", "/no/such/dir", None)])
def test_set_errors_name_the_argument_and_change_nothing(c, name, value, reason):
    before = c.config_get(name)
    error = set_error(c, name, value)
    assert error.startswith(f"ERR CONFIG SET failed (possibly related to argument '{name}') - "), error
    assert reason is None or error.endswith(reason), error
    assert c.config_get(name) == before


def test_set_many_is_all_or_nothing(c):
    assert c.call("CONFIG", "SET", "slowlog-max-len", "77", "timeout", "0", "maxmemory-samples", "7") == b"OK"
    before = c.config_get("slowlog-max-len")
    for bad in (("slowlog-max-len", "88", "timeout", "x"), ("slowlog-max-len", "88", "no-such-thing", "1"), ("slowlog-max-len", "88", "databases", "3"),
                ("slowlog-max-len", "88", "dir", "/no/such/dir")):
        assert isinstance(c.try_call("CONFIG", "SET", *bad), ReplyError)
        assert c.config_get("slowlog-max-len") == before, bad


def test_set_argument_errors(c):
    assert set_error(c, "no-such-thing", "1") == "ERR Unknown option or number of arguments for CONFIG SET - 'no-such-thing'"
    assert set_error(c, "slowlog-max-len", "1", "slowlog-max-len", "2") == "ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - duplicate parameter"
    assert set_error(c, "slowlog-max-len", "1", "timeout").startswith("ERR")
    assert str(c.try_call("CONFIG", "SET", "a")) == "ERR wrong number of arguments for 'config|set' command"


def test_protected_settings(make_node):
    node = make_node({"enable-protected-configs": "no"})
    with node.client() as c:
        assert "protected config" in set_error(c, "dir", "/tmp")
        assert "protected config" in set_error(c, "dbfilename", "x.rdb")
    node.reconfigure(enable_protected_configs="local")
    node.restart()
    with node.client() as c:
        assert c.call("CONFIG", "SET", "dbfilename", "x.rdb") == b"OK"
        assert isinstance(c.try_call("CONFIG", "SET", "dbfilename", "a/b"), ReplyError)


def test_resetstat(c):
    c.call("GET", "x")
    assert int(c.info("stats")["keyspace_misses"]) > 0
    assert c.call("CONFIG", "RESETSTAT") == b"OK"
    s = c.info("stats")
    assert s["keyspace_misses"] == "0" and s["keyspace_hits"] == "0" and s["expired_keys"] == "0" and int(s["total_commands_processed"]) <= 3
    assert "cmdstat_get" not in c.info("commandstats")


# --- REWRITE ---

def test_rewrite_keeps_comments_order_and_unknown_whitespace(make_node):
    node = make_node({"maxclients": "100"})
    with open(node.conf_path, "w") as f:
        f.write(f"# the head\n\nport {node.port}\nbind 127.0.0.1\n  # an indented comment\nmaxclients 100\n# about the log\nslowlog-max-len 10\ndir {node.data}\nsave \"\"\n"
                "loglevel notice\n# the foot\n")
    node.restart()
    with node.client() as c:
        c.call("CONFIG", "SET", "slowlog-max-len", "99", "maxclients", "123", "timeout", "55", "save", "100 5")
        assert c.call("CONFIG", "REWRITE") == b"OK"
    lines = open(node.conf_path).read().split("\n")
    for a, b in (("# the head", f"port {node.port}"), (f"port {node.port}", "maxclients 123"), ("maxclients 123", "# about the log"), ("# about the log", "slowlog-max-len 99"),
                 ("slowlog-max-len 99", "# the foot")):
        assert a in lines and b in lines and lines.index(a) < lines.index(b), (a, b, lines)
    assert "timeout 55" in lines and lines.index("timeout 55") > lines.index("# the foot") and "save 100 5" in lines
    node.restart()
    with node.client() as c:
        assert [c.config_get(k)[k] for k in ("slowlog-max-len", "maxclients", "timeout", "save")] == ["99", "123", "55", "100 5"]
        c.call("CONFIG", "SET", "timeout", "0")
        c.call("CONFIG", "REWRITE")
        c.call("CONFIG", "REWRITE")
    again = open(node.conf_path).read()
    node.restart()
    with node.client() as c:
        c.call("CONFIG", "REWRITE")
    assert open(node.conf_path).read() == again, "rewriting what has not changed changes nothing"


@pytest.mark.holdfast
def test_rewrite_keeps_mode_and_owner(make_node):
    node = make_node()
    os.chmod(node.conf_path, 0o640)
    if os.geteuid() == 0:
        os.chown(node.conf_path, 0, 4)
    before = os.stat(node.conf_path)
    with node.client() as c:
        c.call("CONFIG", "SET", "timeout", "55")
        c.call("CONFIG", "REWRITE")
    after = os.stat(node.conf_path)
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_rewrite_keeps_includes(make_node, tmp_path):
    node = make_node(start=False)
    inner = tmp_path / "inner.conf"
    inner.write_text("# inner\nslowlog-max-len 11\ntimeout 7\n")
    with open(node.conf_path, "a") as f:
        f.write(f"include {inner}\n")
    node.start()
    with node.client() as c:
        assert c.config_get("slowlog-max-len") == {"slowlog-max-len": "11"}
        c.call("CONFIG", "SET", "slowlog-max-len", "12")
        c.call("CONFIG", "REWRITE")
    text = open(node.conf_path).read()
    assert f"include {inner}" in text and inner.read_text() == "# inner\nslowlog-max-len 11\ntimeout 7\n"
    node.restart()
    with node.client() as c:
        if is_holdfast():
            assert c.config_get("slowlog-max-len") == {"slowlog-max-len": "12"}, "what was set at run time wins over the include"
        assert c.config_get("timeout") == {"timeout": "7"}


def test_rewrite_without_a_file(make_node):
    node = make_node(start=False)
    node.start(conf="--port", args=[str(node.port), "--dir", node.data, "--save", "", "--bind", "127.0.0.1"])
    with node.client() as c:
        assert str(c.try_call("CONFIG", "REWRITE")) == "ERR The server is running without a config file"


def test_values_that_need_quotes_survive(make_node):
    node = make_node()
    with node.client() as c:
        c.call("CONFIG", "SET", "requirepass", 'a "b" \\ \n c#\t')
        c.call("AUTH", 'a "b" \\ \n c#\t')
        c.call("CONFIG", "REWRITE")
    node.stop()
    node.start()
    with node.client(password='a "b" \\ \n c#\t') as c:
        assert c.call("PING") == b"PONG"


@pytest.mark.holdfast
@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_rewrite_beside_an_unwritable_file_goes_to_an_overlay(make_node, tmp_path):
    """As under a service manager: the configuration belongs to the administrator, the data directory to the service."""
    node = make_node(start=False)
    etc = tmp_path / "etc"
    etc.mkdir()
    conf = etc / "holdfast.conf"
    conf.write_text(open(node.conf_path).read() + "slowlog-max-len 10\n")
    for p in (tmp_path, *tmp_path.parents):
        if str(p).startswith(("/tmp/pytest", os.environ.get("TMPDIR", "/tmp/pytest"))):
            os.chmod(p, 0o755)
    os.chmod(node.dir, 0o755)
    os.chown(node.data, 65534, 65534)
    before = conf.read_text()
    argv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", node.binary]
    readable = subprocess.run(argv + ["--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if readable.returncode != 0:
        pytest.skip("the built program cannot be run by another user from where it is")
    run = Wrapped(node, argv[:-1], str(conf))
    run.start()
    with node.client() as c:
        c.call("CONFIG", "SET", "slowlog-max-len", "20", "timeout", "5")
        assert c.call("CONFIG", "REWRITE") == b"OK"
    assert conf.read_text() == before
    node.stop()
    run.start()
    with node.client() as c:
        assert c.config_get("slowlog-max-len") == {"slowlog-max-len": "20"} and c.config_get("timeout") == {"timeout": "5"}


class Wrapped:
    """Starts a node through another program (setpriv keeps the process id)."""

    def __init__(self, node, prefix, conf):
        self.node, self.prefix, self.conf = node, prefix, conf

    def start(self):
        binary = self.node.binary
        self.node.binary = self.prefix[0]
        self.node.args, args = [], self.node.args
        try:
            self.node.start(conf=self.prefix[1], args=self.prefix[2:] + [binary, self.conf])
        finally:
            self.node.binary, self.node.args = binary, args


# --- file and command line ---

@pytest.mark.parametrize("line", ["no-such-option yes", "port abc", "port", "save x y", "appendfsync sometimes", 'requirepass "unbalanced', "include /no/such/file.conf",
                                  "maxmemory 1zb", "databases 0"])
def test_a_bad_line_is_fatal_and_shown(make_node, line):
    node = make_node(start=False)
    with open(node.conf_path, "a") as f:
        f.write(line + "\n")
    with pytest.raises(NodeError) as e:
        node.start()
    text = str(e.value)
    assert line.split()[0] in text or line.split()[1] in text
    if is_holdfast():
        n = len(open(node.conf_path).read().splitlines())
        assert str(n) in text, "the number of the line is named"


def test_options_on_the_command_line_win(make_node):
    node = make_node({"maxclients": "100"}, start=False)
    node.start(args=["--maxclients", "50", "--appendonly", "yes", "--save", "60", "1000", "--slowlog-max-len", "5"])
    with node.client() as c:
        assert [c.config_get(k)[k] for k in ("maxclients", "appendonly", "save", "slowlog-max-len")] == ["50", "yes", "60 1000", "5"]


def run_server(*args, stdin=None, timeout=10):
    p = subprocess.run([server_binary(), *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
    return p.returncode, p.stdout


def test_configuration_from_standard_input(make_node):
    node = make_node(start=False)
    proc = subprocess.Popen([node.binary, "-", "--slowlog-max-len", "6"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        proc.stdin.write(open(node.conf_path, "rb").read() + b"maxclients 77\n")
        proc.stdin.close()
        node.proc = proc
        node.wait_ready()
        with node.client() as c:
            assert c.config_get("maxclients") == {"maxclients": "77"} and c.config_get("slowlog-max-len") == {"slowlog-max-len": "6"}
    finally:
        proc.kill()
        proc.wait()


def test_version_and_help():
    status, text = run_server("--version")
    assert status == 0 and "v=" in text
    for flag in ("--help", "-h"):
        status, text = run_server(flag)
        assert status in (0, 1) and "sage" in text and "port" in text
    if is_holdfast():
        assert run_server("--help")[0] == 0 and "--check-config" in run_server("--help")[1]


@pytest.mark.holdfast
def test_check_config(tmp_path):
    good, bad = tmp_path / "good.conf", tmp_path / "bad.conf"
    good.write_text("port 7000\nappendonly yes\n")
    bad.write_text("port 7000\nappendonly perhaps\n")
    status, text = run_server("--check-config", str(good))
    assert status == 0
    status, text = run_server("--check-config", str(bad))
    assert status != 0 and "2" in text and "appendonly" in text
    status, text = run_server("--check-config", str(tmp_path / "absent.conf"))
    assert status != 0 and "absent.conf" in text


def test_an_unknown_option_on_the_command_line():
    status, text = run_server("--no-such-option", "1")
    assert status != 0 and "no-such-option" in text


def test_every_setting_of_the_table_can_be_read(shared_node, c):
    """tests/data/settings.txt: names that tools of the Redis world ask for."""
    path = os.path.join(os.path.dirname(__file__), "..", "data", "settings.txt")
    have = set(c.config_get("*"))
    names = [x.strip() for x in open(path) if x.strip() and not x.startswith("#")]
    assert [n for n in names if n not in have] == []


def test_values_given_back_are_taken_again(make_node):
    """What CONFIG GET says, CONFIG SET accepts: for every setting that can be changed."""
    node = make_node()
    with node.client() as c:
        refused = []
        for name, value in sorted(c.config_get("*").items()):
            if name in ("port", "bind", "dir", "unixsocket", "appendonly", "replicaof", "slaveof", "tls-port", "oom-score-adj-values", "bind-source-addr",
                        "appendfsync", "loglevel", "requirepass"):
                continue
            r = c.try_call("CONFIG", "SET", name, value)
            if isinstance(r, ReplyError) and "immutable" not in str(r) and "protected config" not in str(r):
                refused.append((name, value, str(r)))
        assert not refused
        c.call("CONFIG", "REWRITE")
    node.restart()
    assert Node  # the node came up with the file that it wrote
