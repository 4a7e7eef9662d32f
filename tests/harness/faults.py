"""The test's side of tests/fault/faultfs.c: builds the library and drives a running process through the control file.

    faults = Faults()
    node = Node(faults=faults).start()
    with faults.rule(FSYNC, error=errno.EIO, path="incr"): ...
    faults.kill_at(7, kinds=ALL_WRITES); ...; faults.killed
"""

import contextlib
import mmap
import os
import struct
import subprocess
import tempfile

from .node import ROOT

OPEN, WRITE, FSYNC, RENAME, UNLINK, TRUNCATE, CLOSE, READ, MKDIR, LINK, LOOK = (1 << i for i in range(11))
CHANGES = OPEN | WRITE | FSYNC | RENAME | UNLINK | TRUNCATE | MKDIR | LINK
NAMES = ["open", "write", "fsync", "rename", "unlink", "truncate", "close", "read", "mkdir", "link", "look"]
BEFORE, AFTER, MIDDLE = range(3)
MAIN, ANY, EVERYONE = range(3)

_PATH = 112
_RULES_AT, _RULE_BYTES, _RULES = 168, 160, 8
_TRACE_BYTES, _TRACE = 136, 8192
_TRACE_AT = _RULES_AT + _RULE_BYTES * _RULES
_CTL_BYTES = _TRACE_AT + _TRACE_BYTES * _TRACE

_library = None


def library():
    """The path of the built library; it is compiled once a process."""
    global _library
    if _library is None:
        out = tempfile.mkdtemp(prefix="holdfast-faultfs-")
        path = os.path.join(out, "faultfs.so")
        subprocess.run([os.environ.get("CC", "gcc"), "-std=gnu17", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", path,
                        os.path.join(ROOT, "tests", "fault", "faultfs.c"), "-ldl"], check=True)
        _library = path
        import atexit
        import shutil
        atexit.register(shutil.rmtree, out, ignore_errors=True)
    return _library


class Faults:
    """One control file. A node started with it begins with whatever rules are set at that moment."""

    def __init__(self):
        self._file = tempfile.NamedTemporaryFile(prefix="holdfast-fault-")
        self._file.truncate(_CTL_BYTES)
        self._map = mmap.mmap(self._file.fileno(), _CTL_BYTES)
        self.clear()

    def environment(self, directory):
        """What a process needs in its environment. The process that starts next becomes the main one."""
        self._put("<i", 4, 0)
        self._put("<Q", 160, 0)
        env = {"LD_PRELOAD": library(), "FAULT_DIR": directory, "FAULT_CTL": self._file.name}
        return env

    def _put(self, fmt, at, *v):
        struct.pack_into(fmt, self._map, at, *v)

    def _get(self, fmt, at):
        return struct.unpack_from(fmt, self._map, at)[0]

    # --- rules ---

    def set_rule(self, slot, kinds, error=0, times=-1, skip=0, delay_us=0, short_bytes=-1, path=""):
        at = _RULES_AT + slot * _RULE_BYTES
        self._put("<I", at, 0)
        self._put("<iqqQqQ%ds" % _PATH, at + 4, error, times, skip, delay_us, short_bytes, 0, path.encode())
        self._put("<I", at, kinds)

    def clear_rule(self, slot):
        self._put("<I", _RULES_AT + slot * _RULE_BYTES, 0)

    def hits(self, slot):
        return self._get("<Q", _RULES_AT + slot * _RULE_BYTES + 40)

    def clear(self):
        """No rules, no kill point."""
        for i in range(_RULES):
            self.clear_rule(i)
        self.no_kill()

    @contextlib.contextmanager
    def rule(self, kinds, slot=0, **kw):
        self.set_rule(slot, kinds, **kw)
        try:
            yield self
        finally:
            self.clear_rule(slot)

    # --- the kill point ---

    def kill_at(self, n, kinds=CHANGES, path="", when=BEFORE, who=EVERYONE):
        """SIGKILL at the n-th call from now that counts."""
        self.no_kill()
        self._put("<IIII%ds" % _PATH, 24, when, who, kinds, 0, path.encode())
        self._put("<Q", 8, 0)
        self._put("<Q", 16, n)

    def count(self, kinds=CHANGES, path="", who=ANY):
        """Counts from now, without killing."""
        self.kill_at(0, kinds, path, who=who)

    def no_kill(self):
        self._put("<Q", 16, 0)
        self._put("<Q", 160, 0)

    @property
    def killed(self):
        return bool(self._get("<Q", 160))

    @property
    def counter(self):
        return self._get("<Q", 8)

    # --- the trace ---

    def trace_position(self):
        return self._get("<Q", 152)

    def trace(self, since=0):
        """(kind, file name, result, errno, pid) of the calls since a position, reads excluded."""
        end = self.trace_position()
        out = []
        for i in range(max(since, end - _TRACE), end):
            at = _TRACE_AT + (i % _TRACE) * _TRACE_BYTES
            kind, _, _, pid, error, _, result = struct.unpack_from("<BBHiiiq", self._map, at)
            path = self._map[at + 24:at + 24 + _PATH].split(b"\0")[0].decode("utf-8", "replace")
            out.append((NAMES[kind], os.path.basename(path), result, error, pid))
        return out
