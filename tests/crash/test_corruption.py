"""Flipped bits are found and located, torn tails lose only what was never stated durable."""

import os
import random
import re
import shutil
import subprocess
import time

import pytest

from harness import NodeError, encode, is_holdfast, tool_binary, wait_until
from harness.resp import Incomplete, parse


def newest_increment(node):
    names = [n for n in os.listdir(node.path("appendonlydir")) if n.endswith(".incr.aof")]
    return node.path("appendonlydir", max(names, key=lambda n: int(n.split(".")[-3])))


def flip(data, bit):
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def sample_of_bits(data, count, request, seed=1, start=0, end=None):
    """Every bit in a long run; otherwise some, spread over the whole."""
    end = len(data) if end is None else end
    rng = random.Random(seed)
    if request.config.getoption("--long"):
        count = min(8 * (end - start), 4000)
    step = max(1, (end - start) // count)
    return [8 * at + rng.randrange(8) for at in range(start, end, step)]


def run_tool(name, *args, stdin=b""):
    p = subprocess.run([tool_binary(name), *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    return p.returncode, p.stdout.decode("utf-8", "replace")


def refuses_to_start(node):
    """The log of a start that fails."""
    try:
        node.start(timeout=20)
    except NodeError:
        assert not node.alive(), "neither started nor gave up"
        status = node.wait_exit()
        assert status > 0, f"ended by {status}\n{node.log()}"
        return node.log()
    node.kill()
    return None


# --- snapshots ---

def make_snapshot(make_node, **config):
    node = make_node(config)
    with node.client() as c:
        c.pipeline([("SET", f"key:{i}", f"value {i} " * (i % 9)) for i in range(40)])
        c.call("SET", "deadline", "v", "PXAT", 4_000_000_000_000)
        c.call("SET", "number", "123456")
        c.call("SET", "long", "abc" * 2000)
        c.call("SELECT", "5")
        c.call("SET", "elsewhere", "v")
        c.call("SAVE")
    node.kill()
    return node, open(node.path("dump.rdb"), "rb").read()


@pytest.mark.holdfast
@pytest.mark.parametrize("codec", ["none", "lz4", "zlib"])
@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_the_tool_finds_and_locates_every_flipped_bit_of_a_snapshot(make_node, codec, version, request, tmp_path):
    node, good = make_snapshot(make_node, **{"rdb-codec": codec, "rdb-version": version})
    path = str(tmp_path / "dump.rdb")
    missed = []
    for bit in sample_of_bits(good, 120 if codec == version else 40, request):
        with open(path, "wb") as f:
            f.write(flip(good, bit))
        status, text = run_tool("holdfast-check-rdb", path)
        assert status >= 0, f"bit {bit}: ended by signal {-status}\n{text}"
        if status == 0 or not re.search(r"(offset|byte)\D{0,12}\d+", text, re.I):
            missed.append((bit // 8, bit % 8, text[-200:]))
    assert not missed, missed[:3]


@pytest.mark.holdfast
@pytest.mark.parametrize("codec", ["none", "lz4", "zlib"])
def test_the_server_refuses_a_snapshot_with_a_flipped_bit_and_names_the_offset(make_node, codec, request):
    node, good = make_snapshot(make_node, **{"rdb-codec": codec})
    path = node.path("dump.rdb")
    for bit in sample_of_bits(good, 25, request, seed=2):
        with open(path, "wb") as f:
            f.write(flip(good, bit))
        log = refuses_to_start(node)
        assert log is not None, f"started with bit {bit % 8} of byte {bit // 8} flipped"
        assert re.search(r"(offset|byte)\D{0,12}\d+", log, re.I), log
    with open(path, "wb") as f:
        f.write(good)
    node.start()
    with node.client() as c:
        assert c.call("DBSIZE") == 43


def test_a_snapshot_cut_off_anywhere_is_refused(make_node, request):
    node, good = make_snapshot(make_node)
    path = node.path("dump.rdb")
    cuts = range(0, len(good)) if request.config.getoption("--long") else [0, 4, 8, 9, 12, len(good) // 2, len(good) - 9, len(good) - 8, len(good) - 1]
    for cut in cuts:
        with open(path, "wb") as f:
            f.write(good[:cut])
        assert refuses_to_start(node) is not None, f"started with {cut} of {len(good)} bytes"


# --- AOF increments ---

def make_aof(make_node, groups=30, sealed=True, **config):
    """A node that is stopped, its newest increment and what it wrote. Each request is its own group commit."""
    node = make_node({"appendonly": "yes", "appendfsync": "always", **config})
    with node.client() as c:
        for i in range(groups):
            if i % 5 == 4:
                c.call("MULTI")
                c.call("SET", f"tx:{i}:a", i)
                c.call("SET", f"tx:{i}:b", i)
                c.call("EXEC")
            else:
                c.call("SET", f"key:{i}", f"value:{i}")
    path = newest_increment(node)
    node.stop() if sealed else node.kill()
    return node, path, open(path, "rb").read()


@pytest.mark.holdfast
def test_a_flipped_bit_in_a_sealed_increment_is_refused_and_located(make_node, request):
    node, path, good = make_aof(make_node)
    manifest = node.path("appendonlydir", "appendonly.aof.manifest")
    # The last line seals the log and is itself the last group: damaged, it is a torn tail that the log reports and nothing hangs on.
    seal = good.rindex(b"#HF:")
    for n, bit in enumerate(b for b in sample_of_bits(good, 100, request, seed=3) if b // 8 < seal):
        with open(path, "wb") as f:
            f.write(flip(good, bit))
        status, text = run_tool("holdfast-check-aof", manifest)
        where = f"bit {bit % 8} of byte {bit // 8} ({good[max(0, bit // 8 - 20):bit // 8 + 20]!r})"
        assert status > 0, f"the tool (status {status}) missed {where}\n{text}"
        assert re.search(r"(offset|byte)\D{0,12}\d+", text, re.I), text
        if n % 4 == 0:
            log = refuses_to_start(node)
            assert log is not None, f"started with {where} flipped"
            assert re.search(r"(offset|byte)\D{0,12}\d+", log, re.I), log
            with open(path, "rb") as f:
                assert f.read() == flip(good, bit), "a refused file was changed"


@pytest.mark.holdfast
def test_after_a_kill_every_bit_below_the_last_group_commit_is_guarded(make_node, request):
    node, path, good = make_aof(make_node, sealed=False)
    # A line states what was durable when it was written: the last lines speak for everything up to the one before.
    lines = [m.start() for m in re.finditer(rb"(?m)^#", good)]
    assert len(lines) > 10, "no annotation lines in the increment"
    guarded = lines[-3]
    for bit in sample_of_bits(good, 25, request, seed=4, end=guarded):
        with open(path, "wb") as f:
            f.write(flip(good, bit))
        log = refuses_to_start(node)
        assert log is not None, f"started with bit {bit % 8} of byte {bit // 8} flipped, {guarded} bytes are guarded"
        assert re.search(r"(offset|byte)\D{0,12}\d+", log, re.I), log


def groups_of(data):
    """Ends of whole commands and transactions, with the keys that are set by then."""
    pos, keys, ends, pending = 0, {}, [(0, {})], None
    while pos < len(data):
        if data[pos:pos + 1] == b"#":
            pos = data.index(b"\n", pos) + 1
            if pending is None:
                ends.append((pos, dict(keys)))
            continue
        try:
            argv, pos = parse(data, pos)
        except Incomplete:
            break
        name = argv[0].upper()
        if name == b"MULTI":
            pending = {}
        elif name == b"EXEC":
            keys.update(pending)
            pending = None
        elif name == b"SET":
            (keys if pending is None else pending)[argv[1]] = argv[2]
        if pending is None:
            ends.append((pos, dict(keys)))
    return ends


def test_a_torn_tail_leaves_a_prefix_of_whole_groups(make_node, request):
    node, path, good = make_aof(make_node, groups=10, sealed=False)
    ends = groups_of(good)
    pristine = node.dir + "-pristine"
    shutil.copytree(node.data, pristine)
    # The head of our increments is on disk before the manifest names them: a cut inside it is damage, not a torn tail.
    first = (good.index(b"*") if is_holdfast() else 0) if request.config.getoption("--long") else len(good) - 330
    states = [state for _, state in ends]
    try:
        for cut in range(first, len(good) + 1, 1 if request.config.getoption("--long") else 3):
            shutil.rmtree(node.data)
            shutil.copytree(pristine, node.data)
            with open(path, "r+b") as f:
                f.truncate(cut)
            node.start()
            with node.client() as c:
                names = sorted(c.call("KEYS", "*"))
                found = dict(zip(names, c.call("MGET", *names))) if names else {}
                whole = [s for end, s in ends if end <= cut][-1]
                if is_holdfast():
                    # The tail group may go with its seal; what is left is some whole prefix, and not much less.
                    assert found in states, f"cut at {cut}: {found}"
                    assert len(whole) - len(found) <= 2, f"cut at {cut}: lost too much: {sorted(whole)} → {sorted(found)}"
                else:
                    assert found == whole, f"cut at {cut}"
                assert c.call("SET", "on", "1") == b"OK"
            if not is_holdfast():
                node.kill()  # Redis does not cut a tail that ends just behind MULTI, and loses what it writes there
                continue
            node.restart(kill=True)
            with node.client() as c:
                assert c.call("GET", "on") == b"1", f"cut at {cut}: not behind the torn tail"
                assert c.call("DBSIZE") == len(found) + 1
            node.kill()
    finally:
        shutil.rmtree(pristine)


def test_a_torn_tail_is_refused_when_the_operator_wants_that(make_node):
    node, path, good = make_aof(make_node, groups=10, sealed=False)
    with open(path, "ab") as f:
        f.write(b"*3\r\n$3\r\nSET\r\n$1\r\n")
    torn = open(path, "rb").read()
    node.reconfigure(aof_load_truncated="no")
    log = refuses_to_start(node)
    assert log is not None and open(path, "rb").read() == torn
    manifest = node.path("appendonlydir", "appendonly.aof.manifest")
    status, text = run_tool("holdfast-check-aof", "--fix", manifest, stdin=b"y\ny\n")
    assert status == 0, text
    node.start()
    with node.client() as c:
        assert c.call("GET", "key:0") == b"value:0" and c.call("DBSIZE") == 12


def test_garbage_in_an_increment_is_refused(make_node):
    node, path, good = make_aof(make_node, groups=10)
    with open(path, "r+b") as f:
        f.seek(len(good) // 3)
        f.write(b"garbage")
    assert refuses_to_start(node) is not None


def test_a_missing_file_of_the_manifest_is_refused(make_node):
    node, path, good = make_aof(make_node, groups=10)
    os.unlink(path)
    assert refuses_to_start(node) is not None


@pytest.mark.parametrize("text", ["file appendonly.aof.1.incr.aof seq 1 type x\n", "file ../../etc/passwd seq 1 type i\n", "nonsense\n",
                                  "file appendonly.aof.1.incr.aof seq 1\n", "file appendonly.aof.1.incr.aof seq -1 type i\n"])
def test_a_bad_manifest_is_refused(make_node, text):
    node, path, good = make_aof(make_node, groups=3)
    with open(node.path("appendonlydir", "appendonly.aof.manifest"), "w") as f:
        f.write(text)
    assert refuses_to_start(node) is not None


# --- the tools on good and hostile files ---

def test_the_tools_accept_good_files(make_node):
    node, path, good = make_aof(make_node)
    manifest = node.path("appendonlydir", "appendonly.aof.manifest")
    status, text = run_tool("holdfast-check-aof", manifest)
    assert status == 0, text
    node.start()
    with node.client() as c:
        c.call("SAVE")
    status, text = run_tool("holdfast-check-rdb", node.path("dump.rdb"))
    assert status == 0, text


def test_the_tools_survive_hostile_files(tmp_path, request):
    rng = random.Random(9)
    path = str(tmp_path / "file")
    for i in range(600 if request.config.getoption("--long") else 60):
        body = rng.choice([b"REDIS0011", b"REDIS0010", b"*3\r\n$3\r\nSET\r\n$1\r\n", b"#", b"\x04\x22\x4d\x18", b"\x1f\x8b\x08", b"file a seq 1 type b\n", b""])
        body += rng.randbytes(rng.randrange(400))
        if i % 3 == 0:
            body = b"REDIS0011" + bytes(rng.choice([0, 1, 2, 9, 11, 14, 18, 0x81, 0x80, 0xC3, 0xFF, 0xFE, 0xFB, 0xFA]) for _ in range(60))
        with open(path, "wb") as f:
            f.write(body)
        for tool in ("holdfast-check-rdb", "holdfast-check-aof"):
            status, text = run_tool(tool, path)
            assert status >= 0, f"{tool} ended by signal {-status} on {body!r}\n{text}"


@pytest.mark.parametrize("tool", ["holdfast-check-rdb", "holdfast-check-aof"])
def test_the_tools_say_what_is_wrong_with_their_arguments(tool, tmp_path):
    status, text = run_tool(tool, str(tmp_path / "absent"))
    assert status > 0 and text
    status, text = run_tool(tool)
    assert status > 0 and "sage" in text


def test_truncate_to_timestamp_keeps_what_was_written_by_then(make_node):
    node = make_node({"appendonly": "yes", "appendfsync": "always", "aof-timestamp-enabled": "yes"})
    with node.client() as c:
        c.call("SET", "early", "1")
        time.sleep(2.1)
        moment = int(time.time()) - 1
        c.call("SET", "late", "1")
    node.stop()
    manifest = node.path("appendonlydir", "appendonly.aof.manifest")
    status, text = run_tool("holdfast-check-aof", "--truncate-to-timestamp", str(moment), manifest, stdin=b"y\ny\n")
    assert status == 0, text
    node.start()
    with node.client() as c:
        assert c.call("MGET", "early", "late") == [b"1", None]


def test_files_of_old_manifests_and_temporary_files_are_cleared_away(make_node):
    node = make_node({"appendonly": "yes"})
    with node.client() as c:
        c.call("SET", "k", "v")
        c.call("BGREWRITEAOF")
        wait_until(lambda: c.info("persistence")["aof_rewrite_in_progress"] == "0" and c.info("persistence")["aof_rewrite_scheduled"] == "0")

        def two_files():
            return len([n for n in os.listdir(node.path("appendonlydir")) if "manifest" not in n]) == 2
        wait_until(two_files, what="the removal of history files")


def test_commands_of_an_increment_in_any_database_are_replayed(make_node):
    node, path, good = make_aof(make_node, groups=3)
    with open(path, "ab") as f:
        f.write(encode("SELECT", 7) + encode("SET", "k", "v"))
    node.start()
    with node.client() as c:
        c.call("SELECT", "7")
        assert c.call("GET", "k") == b"v"
