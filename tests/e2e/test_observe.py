"""INFO, SLOWLOG, MEMORY, COMMAND and DEBUG."""

import os
import re
import time

import pytest

from harness import ReplyError, is_holdfast, wait_until

DATA = os.path.join(os.path.dirname(__file__), "..", "data")


def lines_of(name):
    with open(os.path.join(DATA, name)) as f:
        return [x.strip() for x in f if x.strip() and not x.startswith("#")]


# --- INFO ---

@pytest.mark.holdfast
def test_info_has_the_fields(make_node):
    node = make_node()
    with node.client() as c:
        c.call("SET", "k", "v", "EX", 1000)
        c.call("CONFIG", "SET", "appendonly", "yes")
        wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0" and c.info("persistence")["aof_enabled"] == "1")
        have = c.info("everything")
    assert [f for f in lines_of("info-fields.txt") if f not in have] == []


def sections(text):
    return re.findall(r"(?m)^# (\S+)\r$", text.decode())


def test_info_sections(c):
    default = sections(c.call("INFO"))
    assert default[:4] == ["Server", "Clients", "Memory", "Persistence"] and {"Stats", "CPU", "Keyspace", "Errorstats"} <= set(default)
    assert "Commandstats" not in default and "Commandstats" in sections(c.call("INFO", "all"))
    assert sections(c.call("INFO", "server", "memory")) == ["Server", "Memory"]
    assert sections(c.call("INFO", "KEYSPACE")) == ["Keyspace"] and c.call("INFO", "no-such-section") == b""
    assert sections(c.call("INFO", "default")) == default


def test_info_numbers_move(c):
    before = c.info("stats")
    for _ in range(100):
        c.call("SET", "k", "v")
    c.call("GET", "k")
    c.call("GET", "absent")
    after = c.info("stats")
    assert int(after["total_commands_processed"]) - int(before["total_commands_processed"]) >= 102
    assert int(after["keyspace_hits"]) - int(before["keyspace_hits"]) == 1 and int(after["keyspace_misses"]) - int(before["keyspace_misses"]) == 1
    assert int(after["total_net_input_bytes"]) > int(before["total_net_input_bytes"]) + 2000


def test_commandstats_and_errorstats(c):
    c.call("CONFIG", "RESETSTAT")
    for _ in range(3):
        c.call("SET", "k", "x")
    c.try_call("INCR", "k")
    c.try_call("GET")
    c.try_call("CLIENT", "KILL", "ID", "x")
    stats = c.info("commandstats")
    f = dict(x.split("=") for x in stats["cmdstat_set"].split(","))
    assert f["calls"] == "3" and int(f["usec"]) >= 0 and f["rejected_calls"] == "0" and f["failed_calls"] == "0" and float(f["usec_per_call"]) >= 0
    assert "failed_calls=1" in stats["cmdstat_incr"] and "rejected_calls=1" in stats["cmdstat_get"] and "cmdstat_client|kill" in stats
    assert c.info("errorstats")["errorstat_ERR"] == "count=3" and c.info("stats")["total_error_replies"] == "3"


def test_memory_fields_are_numbers_that_fit(c):
    m = c.info("memory")
    assert int(m["used_memory_peak"]) >= int(m["used_memory"]) * 0.5 and int(m["used_memory_rss"]) > 1_000_000
    assert re.fullmatch(r"\d+\.\d\d[BKMG]", m["used_memory_human"]) and m["used_memory_peak_perc"].endswith("%")
    assert int(m["total_system_memory"]) > 100_000_000 and m["maxmemory_policy"] == "noeviction"


def test_used_memory_follows_the_data(shared_node, c):
    def used():
        return int(c.info("memory")["used_memory"])
    before = used()
    with shared_node.client() as other:
        other.call("SET", "big", "x" * 10_000_000)
    # The connection's buffer goes with it.
    wait_until(lambda: 9_000_000 < used() - before < 13_000_000, what="used_memory near the size of the value")
    c.call("DEL", "big")
    wait_until(lambda: used() - before < 1_500_000)


# --- SLOWLOG ---

@pytest.fixture
def slow(c):
    c.call("CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "128")
    c.call("SLOWLOG", "RESET")
    yield c
    c.call("CONFIG", "SET", "slowlog-log-slower-than", "10000")
    c.call("SLOWLOG", "RESET")


def test_slowlog_entries(slow):
    slow.call("CLIENT", "SETNAME", "me")
    slow.call("SET", "k", "v")
    entry = next(e for e in slow.call("SLOWLOG", "GET", "10") if e[3][0] == b"SET")
    ident, at, us, argv, addr, name = entry
    assert argv == [b"SET", b"k", b"v"] and abs(at - time.time()) < 5 and us >= 0 and addr.startswith(b"127.0.0.1:") and name == b"me" and ident > 0


def test_slowlog_shortens(slow):
    slow.call("SET", "k", "x" * 1000)
    slow.call("MSET", *[str(i) for i in range(200)])
    entries = {e[3][0]: e[3] for e in slow.call("SLOWLOG", "GET", "-1")}
    assert entries[b"SET"][2] == b"x" * 128 + b"... (872 more bytes)"
    assert len(entries[b"MSET"]) == 32 and entries[b"MSET"][-1] == b"... (170 more arguments)"


def test_slowlog_counts_and_limits(slow):
    slow.call("CONFIG", "SET", "slowlog-max-len", "5")
    for _ in range(20):
        slow.call("PING")
    assert slow.call("SLOWLOG", "LEN") == 5 and len(slow.call("SLOWLOG", "GET", "3")) == 3
    ids = [e[0] for e in slow.call("SLOWLOG", "GET", "-1")]
    assert ids == sorted(ids, reverse=True)
    slow.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
    assert slow.call("SLOWLOG", "RESET") == b"OK"
    slow.call("PING")
    assert slow.call("SLOWLOG", "LEN") == 0
    assert isinstance(slow.try_call("SLOWLOG", "GET", "-2"), ReplyError) and isinstance(slow.try_call("SLOWLOG", "GET", "x"), ReplyError)


def test_only_slow_commands_are_logged(slow):
    slow.call("CONFIG", "SET", "slowlog-log-slower-than", "50000")
    slow.call("SLOWLOG", "RESET")
    slow.call("SET", "k", "v")
    slow.call("DEBUG", "SLEEP", "0.06")
    entries = slow.call("SLOWLOG", "GET")
    assert [e[3][:2] for e in entries] == [[b"DEBUG", b"SLEEP"]] and entries[0][2] >= 50_000


@pytest.mark.holdfast
def test_slowlog_verbose_adds_waiting_time_user_and_database(slow):
    slow.call("SELECT", "3")
    slow.call("SET", "k", "v")
    plain = next(e for e in slow.call("SLOWLOG", "GET", "10") if e[3][0] == b"SET")
    verbose = next(e for e in slow.call("SLOWLOG", "GET", "10", "VERBOSE") if e[3][0] == b"SET")
    assert len(plain) == 6 and verbose[:6] == plain
    rest = verbose[6:]
    assert any(isinstance(x, int) for x in rest) and b"default" in rest and (3 in rest or b"3" in rest)


def test_passwords_stay_out_of_the_slow_log(slow):
    slow.try_call("AUTH", "very-secret")
    slow.call("CONFIG", "SET", "requirepass", "")
    text = repr(slow.call("SLOWLOG", "GET", "-1"))
    assert "very-secret" not in text


# --- MEMORY ---

def test_memory_usage_grows_with_the_value(c):
    assert c.call("MEMORY", "USAGE", "absent") is None
    sizes = []
    for n in (1, 100, 10_000, 1_000_000):
        c.call("SET", "k", "x" * n)
        sizes.append(c.call("MEMORY", "USAGE", "k"))
    assert sizes == sorted(sizes) and sizes[-1] >= 1_000_000 and sizes[0] < 200
    assert c.call("MEMORY", "USAGE", "k", "SAMPLES", "0") == sizes[-1]
    assert str(c.try_call("MEMORY", "USAGE", "k", "FOO", "1")) == "ERR syntax error"
    assert isinstance(c.try_call("MEMORY", "USAGE", "k", "SAMPLES", "-1"), ReplyError)


def test_memory_stats(c):
    flat = c.call("MEMORY", "STATS")
    d = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
    assert {"peak.allocated", "total.allocated", "startup.allocated", "replication.backlog", "clients.normal", "aof.buffer", "overhead.total", "keys.count",
            "keys.bytes-per-key", "dataset.bytes", "dataset.percentage", "peak.percentage", "fragmentation", "fragmentation.bytes"} <= set(d)
    c.call("MSET", "a", 1, "b", 2)
    flat = c.call("MEMORY", "STATS")
    d = {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}
    assert d["keys.count"] == 2 and "db.0" in d
    assert isinstance(c.try_call("MEMORY", "FOO"), ReplyError)


# --- COMMAND ---

def test_command_info(c):
    get, absent, sub = c.call("COMMAND", "INFO", "get", "no-such", "config|get")
    assert get[:6] == [b"get", 2, [b"readonly", b"fast"], 1, 1, 1] and set(get[6]) == {b"@read", b"@string", b"@fast"}
    assert absent is None and sub[0] == b"config|get" and sub[1] == -3
    assert len(get) == 10
    assert c.call("COMMAND", "INFO", "GET")[0][0] == b"get"


def test_command_count_and_list(c):
    names = c.call("COMMAND", "LIST")
    assert c.call("COMMAND", "COUNT") == len(c.call("COMMAND")) <= len(names) and {b"get", b"config|get"} <= set(names)
    assert {b"incr", b"incrby", b"incrbyfloat"} <= set(c.call("COMMAND", "LIST", "FILTERBY", "PATTERN", "*incr*"))
    assert b"set" in c.call("COMMAND", "LIST", "FILTERBY", "ACLCAT", "string") and b"ping" not in c.call("COMMAND", "LIST", "FILTERBY", "ACLCAT", "string")
    assert c.call("COMMAND", "LIST", "FILTERBY", "MODULE", "none") == []
    assert str(c.try_call("COMMAND", "LIST", "FILTERBY", "FOO", "x")) == "ERR syntax error"


@pytest.mark.parametrize("argv,keys", [(("GET", "a"), [b"a"]), (("MSET", "a", 1, "b", 2), [b"a", b"b"]), (("DEL", "a", "b", "c"), [b"a", b"b", b"c"]), (("COPY", "a", "b"), [b"a", b"b"]),
                                       (("OBJECT", "ENCODING", "a"), [b"a"]), (("LCS", "a", "b", "LEN"), [b"a", b"b"]), (("RENAME", "a", "b"), [b"a", b"b"])])
def test_getkeys(c, argv, keys):
    assert c.call("COMMAND", "GETKEYS", *argv) == keys


def test_getkeys_errors(c):
    assert str(c.try_call("COMMAND", "GETKEYS", "NOSUCH", "x")) == "ERR Invalid command specified"
    assert str(c.try_call("COMMAND", "GETKEYS", "GET", "a", "b")) == "ERR Invalid number of arguments specified for command"
    assert str(c.try_call("COMMAND", "GETKEYS", "PING", "a")) == "ERR The command has no key arguments"


def test_getkeysandflags(c):
    assert c.call("COMMAND", "GETKEYSANDFLAGS", "COPY", "a", "b") == [[b"a", [b"RO", b"access"]], [b"b", [b"OW", b"update"]]]
    assert c.call("COMMAND", "GETKEYSANDFLAGS", "MGET", "a") == [[b"a", [b"RO", b"access"]]]


def test_command_docs(c):
    flat = c.call("COMMAND", "DOCS", "get")
    assert flat[0] == b"get"
    d = dict(zip(flat[1][::2], flat[1][1::2]))
    assert d[b"group"] == b"string" and d[b"since"] == b"1.0.0" and d[b"summary"]
    assert c.call("COMMAND", "DOCS", "no-such") == []


@pytest.mark.holdfast
def test_what_comes_later_answers_with_a_clear_error(c):
    for name in ("EVAL", "XADD", "LATENCY", "FCALL", "CLUSTER"):
        r = c.try_call(name, "a", "b", "c")
        assert isinstance(r, ReplyError), name


# --- DEBUG ---

def test_debug_is_off_by_default(make_node):
    node = make_node(base_config=False)
    with node.client() as c:
        assert str(c.try_call("DEBUG", "SLEEP", "0")).startswith(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set "
            "this option in the configuration file, and then restart the server.")


def test_debug_local(make_node):
    node = make_node({"enable-debug-command": "local"})
    with node.client() as c:
        assert c.call("DEBUG", "SLEEP", "0") == b"OK"


def test_debug_digest_tells_data_apart(c):
    empty = c.call("DEBUG", "DIGEST")
    assert empty == b"0" * 40
    c.call("MSET", "a", 1, "b", 2)
    one = c.call("DEBUG", "DIGEST")
    c.call("FLUSHALL")
    c.call("SET", "b", 2)
    c.call("SET", "a", 1)
    assert c.call("DEBUG", "DIGEST") == one
    c.call("EXPIRE", "a", 1000)
    assert c.call("DEBUG", "DIGEST") != one
    assert len(c.call("DEBUG", "DIGEST-VALUE", "a", "b", "absent")) == 3 and c.call("DEBUG", "DIGEST-VALUE", "absent") == [b"0" * 40]


def test_debug_populate(c):
    assert c.call("DEBUG", "POPULATE", "1000") == b"OK" and c.call("DBSIZE") == 1000 and c.call("GET", "key:999") == b"value:999"
    assert c.call("DEBUG", "POPULATE", "10", "p", "50") == b"OK" and len(c.call("GET", "p:3")) == 50 and c.call("GET", "p:3").startswith(b"value:3")


def test_debug_reload_keeps_everything(c):
    c.call("SET", "a", "x" * 100)
    c.call("SET", "b", 5, "PXAT", 4_000_000_000_000)
    c.call("SELECT", "4")
    c.call("SET", "c", "d")
    digest = c.call("DEBUG", "DIGEST")
    assert c.call("DEBUG", "RELOAD") == b"OK" and c.call("DEBUG", "DIGEST") == digest
    c.call("SET", "c", "changed")
    assert c.call("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE") == b"OK" and c.call("DEBUG", "DIGEST") == digest


def test_debug_loadaof(make_node):
    node = make_node({"appendonly": "yes"})
    with node.client() as c:
        c.pipeline([("SET", f"k{i}", i) for i in range(100)])
        digest = c.call("DEBUG", "DIGEST")
        assert c.call("DEBUG", "LOADAOF") == b"OK" and c.call("DEBUG", "DIGEST") == digest
        c.call("SET", "on", 1)
    node.restart(kill=False)
    with node.client() as c:
        assert c.call("DBSIZE") == 101


def test_debug_object(c):
    c.call("SET", "k", "abc")
    text = c.call("DEBUG", "OBJECT", "k").decode()
    for f in ("refcount:", "encoding:embstr", "serializedlength:4", "lru:", "lru_seconds_idle:"):
        assert f in text
    assert str(c.try_call("DEBUG", "OBJECT", "absent")) == "ERR no such key"


@pytest.mark.parametrize("argv", [("SLEEP", "0.01"), ("SET-ACTIVE-EXPIRE", "1"), ("HTSTATS", "0"), ("HTSTATS-KEY", "k"), ("LOG", "a line"), ("CHANGE-REPL-ID",),
                                  ("SET-SKIP-CHECKSUM-VALIDATION", "0"), ("QUICKLIST-PACKED-THRESHOLD", "100B"), ("PAUSE-CRON", "0"), ("REPLICATE", "replica", "SET", "k", "v"),
                                  ("SET-DISABLE-DENY-SCRIPTS", "0"), ("STRINGMATCH-LEN", "10", "a*")])
def test_the_other_subcommands_are_there(shared_node, c, argv):
    c.call("SET", "k", "v")
    r = c.try_call("DEBUG", *argv)
    if isinstance(r, ReplyError):
        assert not str(r).startswith("ERR unknown subcommand") or not is_holdfast(), r
    assert c.call("PING") == b"PONG"
    if argv[0] == "LOG":
        assert "a line" in shared_node.log()


def test_debug_error(c):
    assert c.raw("DEBUG", "ERROR", "CODE some text") == b"-CODE some text\r\n"
    assert isinstance(c.try_call("DEBUG", "NOSUCH"), ReplyError)


@pytest.mark.parametrize("how", ["SEGFAULT", "ASSERT", "PANIC"])
def test_a_crash_leaves_a_report(make_node, how):
    node = make_node()
    with node.client() as c:
        c.send("DEBUG", how)
        assert c.read_until_closed() == b""
    status = node.wait_exit()
    assert status < 0
    log = node.log()
    assert re.search(r"(?i)crash|bug report|assert|panic", log) and re.search(r"(?i)trace|stack|0x", log), log[-2000:]
