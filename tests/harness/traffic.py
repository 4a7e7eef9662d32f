"""Writes of every type that Redis 7.0 knows, from a seed, for as long as a test wants them."""

import random
import threading
import time

from .resp import ReplyError


def one(r):
    """A random write as a list of requests: one, or a transaction."""
    k = r.randrange(40)
    v = "v%d" % r.randrange(10 ** 6)
    choice = r.randrange(34)
    simple = {
        0: ("SET", f"s{k}", v * r.randrange(1, 40)), 1: ("APPEND", f"a{k}", v), 2: ("INCRBY", f"n{k}", r.randrange(-9, 99)),
        3: ("SETRANGE", f"r{k}", r.randrange(300), v), 4: ("SETBIT", f"b{k}", r.randrange(4000), r.randrange(2)),
        5: ("INCRBYFLOAT", f"f{k}", r.random()), 6: ("BITFIELD", f"b{k}", "INCRBY", "u8", r.randrange(90), 7),
        7: ("RPUSH", f"l{k}", v, v + "x", r.randrange(10 ** 9)), 8: ("LPUSH", f"l{k}", v), 9: ("LPOP", f"l{k}", 2),
        10: ("LMOVE", f"l{k}", f"l{(k + 1) % 40}", "LEFT", "RIGHT"), 11: ("LTRIM", f"l{k}", -150, -1),
        12: ("SADD", f"u{k}", r.randrange(600), r.randrange(600)), 13: ("SADD", f"u{k}", v), 14: ("SPOP", f"u{k}"),
        15: ("SMOVE", f"u{k}", f"u{(k + 1) % 40}", r.randrange(600)), 16: ("SUNIONSTORE", f"u{40 + k % 3}", f"u{k}", f"u{(k + 1) % 40}"),
        17: ("HSET", f"h{k}", f"f{r.randrange(200)}", v, f"g{r.randrange(5)}", r.randrange(99)),
        18: ("HINCRBY", f"h{k}", f"c{r.randrange(9)}", 3), 19: ("HDEL", f"h{k}", f"f{r.randrange(200)}"),
        20: ("HINCRBYFLOAT", f"h{k}", "float", r.random()),
        21: ("ZADD", f"z{k}", r.random() * 100, f"m{r.randrange(300)}"), 22: ("ZINCRBY", f"z{k}", r.random(), f"m{r.randrange(300)}"),
        23: ("ZPOPMIN", f"z{k}"), 24: ("ZREMRANGEBYRANK", f"z{k}", 250, -1),
        25: ("XADD", f"x{k}", "MAXLEN", "~", 200, "*", "f", v), 26: ("XTRIM", f"x{k}", "MAXLEN", 100),
        27: ("PFADD", f"p{k}", v), 28: ("GEOADD", f"geo{k % 4}", r.random() * 90, r.random() * 80, f"m{r.randrange(99)}"),
        29: ("SET", f"e{k}", v, "PX", r.randrange(20, 3000)), 30: ("EXPIRE", f"s{k}", r.randrange(1, 60)),
        31: ("DEL", f"l{k}", f"u{k}") if r.randrange(8) == 0 else ("RENAME", f"a{k}", f"a{(k + 7) % 40}"),
    }
    if choice in simple:
        return [simple[choice]]
    if choice == 32:
        return [("XGROUP", "CREATE", f"x{k}", "g", "0", "MKSTREAM"), ("XREADGROUP", "GROUP", "g", "c", "COUNT", 3, "STREAMS", f"x{k}", ">"),
                ("SELECT", r.choice([0, 0, 3, 9]))]
    out = [("MULTI",)]
    for _ in range(r.randrange(1, 6)):
        out.append(simple[r.randrange(30)])
    return out + [("EXEC",)]


class Traffic:
    """A thread that writes at about `per_second` (None: as fast as it can) until `stop`; survives a node that restarts. One
    batch in `large` has a value of up to a megabyte."""

    def __init__(self, node, seed=1, per_second=None, large=0):
        self.node, self.random, self.per_second, self.large = node, random.Random(seed), per_second, large
        self.count = 0
        self.stops = False
        self.gate = threading.Event()
        self.gate.set()
        self.idle = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stops:
            try:
                with self.node.client(timeout=60) as c:
                    while not self.stops:
                        if not self.gate.is_set():
                            self.idle.set()
                            self.gate.wait(0.05)
                            continue
                        batch = [q for _ in range(20) for q in one(self.random)]
                        if self.large and self.random.randrange(self.large) == 0:
                            batch.append(("SET", f"large{self.random.randrange(6)}", "y" * self.random.randrange(10 ** 6)))
                        c.pipeline(batch)
                        self.count += len(batch)
                        if self.per_second:
                            time.sleep(len(batch) / self.per_second)
            except (OSError, ReplyError):
                time.sleep(0.02)
        self.idle.set()

    def pause(self):
        """No write is on its way afterwards."""
        self.idle.clear()
        self.gate.clear()
        self.idle.wait(60)

    def resume(self):
        self.gate.set()

    def stop(self):
        self.stops = True
        self.gate.set()
        self.thread.join(60)
