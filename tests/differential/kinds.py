"""The kinds of arguments that rows name: {kind} is make_kind(), which gives an argument or a list of several."""

KEYS = [b"a", b"b", b"c", b"d", b"{x}1", b"{x}2", b"", b"bin\x00\r\n\xff", b"a-rather-long-name-of-a-key-that-is-not-short-at-all", b"n"]
# The keys of each family; which type a key really has is decided by what is done to it.
POOLS = {"key": KEYS, "lkey": [b"l1", b"l2", b"l3", b"{x}l"], "skey": [b"s1", b"s2", b"s3", b"{x}s"],
         "hkey": [b"h1", b"h2", b"{x}h"], "zkey": [b"z1", b"z2", b"{x}z"], "pkey": [b"p1", b"p2", b"p3"],
         "gkey": [b"g1", b"g2"], "xkey": [b"x1", b"{x}x"], "num_key": [b"n1", b"n2"],
         "ldst": [b"ld", b"ld", b"ld", b"l1"], "sdst": [b"sd", b"sd", b"sd", b"s1"], "zdst": [b"zd", b"zd", b"zd", b"z1"],
         "gdst": [b"gd", b"gd", b"gd", b"g1"], "gdist": [b"gd", b"ge"]}
POOL_OF = {"lists": "lkey", "sets": "skey", "hashes": "hkey", "zsets": "zkey", "hll": "pkey", "geo": "gkey", "streams": "xkey"}
WORDS = [b"foo", b"NX", b"help2", b"", b"*", b"a b", b"SET", b"\xff\x00", b"EX", b"16", b"maxclients", b"string", b"reset2", b"x" * 130]
INTS = [b"0", b"1", b"-1", b"2", b"10", b"-10", b"100", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775806",
        b"-9223372036854775807"]
BAD_INTS = [b"9223372036854775808", b"-9223372036854775809", b"abc", b"", b" 1", b"1 ", b"+1", b"01", b"-0", b"1.5", b"1e3", b"0x10", b"--1", b"-",
            b"1\x00"]
FLOATS = [b"1.5", b"-2.25", b"0.1", b"3.0e3", b"1e-10", b"5e-324", b"1e308", b"-0", b"100", b"123456789.123456789", b"0.3", b"1e17", b"-1e22", b"inf",
          b"-inf", b"+Inf", b"nan", b"infinity"]
BAD_FLOATS = [b"abc", b"", b" 1", b"1 ", b"1.5x", b"1e400", b"0x1p3", b"1,5", b"--1", b"1\x00"]
GLOBS = [b"*", b"a", b"?", b"[a-c]", b"[^a]", b"{x}*", b"*n*", b"\\a", b"[", b"[a-", b"[c-a]", b"\\", b"", b"**a**", b"a*b*c", b"[\\]]", b"*\xff",
         b"m*", b"[0-9]*", b"*1*"]
DATABASES = [b"0"] * 5 + [b"1", b"2", b"3"]
BAD_DATABASES = [b"16", b"-1", b"abc", b"", b"99999999999999999999"]
FAR_S, FAR_MS = 4_102_444_800, 4_102_444_800_000
THRESHOLDS = [b"list-max-listpack-size", b"list-compress-depth", b"hash-max-listpack-entries", b"hash-max-listpack-value",
              b"zset-max-listpack-entries", b"zset-max-listpack-value", b"set-max-intset-entries", b"stream-node-max-entries",
              b"stream-node-max-bytes", b"hll-sparse-max-bytes"]
CONSUMERS = [b"alice", b"bob", b"carol"]  # of every group, from its beginning
PLACES = [b"Palermo", b"Catania", b"m1", b"m2", b"m3", b"", b"a long name of a place that does not fit in a small sorted set, whatever the limit"]


class Kinds:
    """Mixed into the generator, which has rng, payloads, pools and the state of one sequence."""

    def kind(self, name):
        return getattr(self, "make_" + name)()

    # --- keys ---

    def _key(self, pool):
        if self.forced is not None:
            return self.forced
        if self.rng.random() < 0.05:
            other = self.rng.choice(self.pools)
            # What a HyperLogLog is after bytes in it were overwritten is not compared: ours looks at all of it first.
            pool = pool if {pool, other} == {"key", "pkey"} else other
        self.last_key = self.rng.choice(POOLS[pool])
        return self.last_key

    def make_key(self):
        return self._key("key")

    def make_lkey(self):
        return self._key("lkey")

    def make_skey(self):
        return self._key("skey")

    def make_hkey(self):
        return self._key("hkey")

    def make_zkey(self):
        return self._key("zkey" if self.rng.random() < 0.95 else "gkey")

    def make_pkey(self):
        return self._key("pkey")

    def make_gkey(self):
        return self._key("gkey")

    def make_xkey(self):
        return self._key("xkey")

    def make_ldst(self):
        return self._key("ldst")

    def make_sdst(self):
        return self._key("sdst")

    def make_zdst(self):
        return self._key("zdst")

    def make_gdst(self):
        return self._key("gdst")

    def make_gdist(self):
        """Distances as scores are places that are all near each other: not to be searched."""
        return self._key("gdist")

    def make_num_key(self):
        return self._key("num_key")

    def make_any(self):
        return self._key(self.rng.choice(self.pools))

    def make_ykey(self):
        """Sorted sets of one score: what a range by name is in others is not defined. Nothing else writes them."""
        return self.rng.choice((b"y1", b"y1", b"y2", b"y3"))

    def make_num_list(self):
        return self._key("num_key" if self.rng.random() < 0.85 else self.rng.choice(("lkey", "skey")))

    def make_sortable(self):
        return self._key(self.rng.choice(("num_key", "lkey", "skey", "zkey")))

    def make_same(self):
        return self.last_key

    def _counted(self, pool_of):
        """numkeys and the keys; sometimes they do not agree."""
        rng = self.rng
        n = rng.choice((1, 1, 2, 2, 3, 4))
        keys = [self._key(pool_of()) for _ in range(n)]
        self.last_count = n
        said = b"%d" % n if rng.random() < 0.93 else rng.choice((b"0", b"-1", b"5", b"1", b"x", b"9223372036854775807", b""))
        return [said] + keys

    def make_nlkeys(self):
        return self._counted(lambda: "lkey")

    def make_nskeys(self):
        return self._counted(lambda: "skey")

    def make_nzkeys(self):
        return self._counted(lambda: "zkey" if self.rng.random() < 0.8 else "skey")

    # --- elements ---

    def make_member(self):
        rng = self.rng
        r = rng.random()
        if r < 0.5:
            return b"m%d" % rng.randrange(rng.choice((5, 25)))
        if r < 0.85:
            return b"%d" % rng.randrange(-1, rng.choice((5, 25)))
        if r < 0.88:
            return b"%d" % rng.choice((127, 128, 4095, 4096, 32767, -32768, 32768, 8388607, 2 ** 31 - 1, -2 ** 31, 2 ** 31, 2 ** 63 - 1, -2 ** 63))
        if r < 0.91:
            return rng.choice((b"long-" + b"x" * rng.choice((10, 58, 59, 60, 61, 100)), b"y" * 64, b"y" * 65))
        if r < 0.97:
            return rng.choice(KEYS)
        return self.make_value()

    make_item = make_member

    def _how_many(self):
        r = self.rng.random()
        if r < 0.82:
            return self.rng.choice((1, 1, 2, 3, 4, 6))
        return self.rng.randrange(10, 60) if r < 0.97 else self.rng.randrange(100, 700)

    def _bulk(self, n):
        """n distinct members: numbers, names, or wide numbers."""
        rng = self.rng
        start = rng.choice((0, 0, 0, rng.randrange(300)))
        form = rng.choice((b"%d", b"%d", b"m%d", b"m%d", b"m%d", b"member:%d", b"70000%d", b"1234567890123%d"))
        out = [form % i for i in range(start, start + n)]
        if rng.random() < 0.5:
            rng.shuffle(out)
        return out

    def make_members(self):
        n = self._how_many()
        return [self.make_member() for _ in range(n)] if n < 10 else self._bulk(n)

    def make_values(self):
        n = self._how_many()
        if n < 10:
            return [self.make_member() if self.rng.random() < 0.7 else self.make_value() for _ in range(n)]
        return self._bulk(n)

    def make_pairs(self):
        n = self._how_many()
        fields = [self.make_member() for _ in range(n)] if n < 10 else self._bulk(n)
        return [x for f in fields for x in (f, self.make_value() if n < 60 else f)]

    def make_pairs_few(self):
        return [x for _ in range(self.rng.choice((1, 1, 1, 2, 3))) for x in (self.make_member(), self.make_value())]

    def make_scored(self):
        n = self._how_many()
        members = [self.make_member() for _ in range(n)] if n < 10 else self._bulk(n)
        return [x for m in members for x in (self.make_good_score() if n >= 10 else self.make_score(), m)]

    def make_flat_scored(self):
        """Members of one score, as ranges by name want them."""
        n = self._how_many()
        return [x for m in ([self.make_member() for _ in range(n)] if n < 10 else self._bulk(n)) for x in (b"0", m)]

    def make_good_score(self):
        rng = self.rng
        return b"%d" % rng.randrange(-5, 30) if rng.random() < 0.6 else b"%.3f" % (rng.random() * 30 - 5)

    def make_score(self):
        rng = self.rng
        r = rng.random()
        return self.make_good_score() if r < 0.8 else self._odd_score() if r < 0.95 else rng.choice(BAD_FLOATS)

    def _odd_score(self):
        """Redis's SORT makes skip lists of small sorted sets, which keep the sign of a zero and write large numbers in another way, and
        stumbles over denormal scores."""
        while (score := self.rng.choice(FLOATS)) in (b"-0", b"5e-324", b"1e17", b"-1e22", b"1e308") and self.sorts:
            pass
        return score

    def make_weights(self):
        n = self.last_count if self.rng.random() < 0.93 else self.rng.randrange(5)
        return [self.rng.choice((b"1", b"2", b"0.5", b"-1", b"0")) if self.rng.random() < 0.85 else self._odd_score() for _ in range(n)]

    def make_hll_members(self):
        n = self.rng.choice((1, 2, 3, 10, 100, 100, 1000)) if self.rng.random() < 0.5 else 1
        start = self.rng.randrange(100_000)
        return [b"e%d" % i for i in range(start, start + n)]

    # --- words, texts and numbers ---

    def make_word(self):
        return self.rng.choice(WORDS)

    def make_value(self):
        rng = self.rng
        r = rng.random()
        if r < 0.3:
            return b"%d" % rng.choice((0, 1, 7, 9999, 10000, 10001, -1, 123456789, 2 ** 31, -2 ** 31 - 1, 2 ** 63 - 1, -2 ** 63))
        if r < 0.4:
            return rng.choice(INTS + BAD_INTS)
        if r < 0.5:
            return rng.choice(FLOATS + BAD_FLOATS)
        if r < 0.9:
            n = rng.choice((0, 1, 2, 3, 5, 8, 12, 20, 43, 44, 45, 64, 65, 100))
            return bytes(rng.choices(b"abcde", k=n))
        if r < 0.97:
            return rng.randbytes(rng.randrange(40))
        return rng.choice((b"q" * 300, b"abc" * 200, b"z" * 20000 if rng.random() < 0.5 else b"z" * 8200))

    def make_int(self):
        rng = self.rng
        return b"%d" % rng.randrange(-1000, 1000) if rng.random() < 0.6 else rng.choice(INTS) if rng.random() < 0.7 else rng.choice(BAD_INTS)

    def make_float(self):
        rng = self.rng
        return b"%.3f" % (rng.random() * 100 - 50) if rng.random() < 0.5 else rng.choice(FLOATS) if rng.random() < 0.7 else rng.choice(BAD_FLOATS)

    def make_index(self):
        rng = self.rng
        r = rng.random()
        return b"%d" % rng.randrange(-12, 30) if r < 0.75 else b"%d" % rng.randrange(-800, 800) if r < 0.9 else self.make_int()

    def make_count(self):
        rng = self.rng
        r = rng.random()
        return b"%d" % rng.randrange(1, 12) if r < 0.75 else b"%d" % rng.randrange(10, 400) if r < 0.9 else self.make_int()

    def make_few(self):
        return b"%d" % self.rng.randrange(1, 4) if self.rng.random() < 0.9 else self.make_count()

    def make_bad_count(self):
        return self.rng.choice((b"-1", b"x", b"", b"1.5", b"-9223372036854775808", b"9223372036854775808"))

    def make_draw(self):
        """How many random elements: negative ones may repeat, so that nothing huge is negative."""
        rng = self.rng
        return b"%d" % rng.randrange(-30, 60) if rng.random() < 0.85 else rng.choice(
            (b"0", b"5000", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"x", b"", b"1.5"))

    def make_draw_few(self):
        return b"%d" % self.rng.randrange(6)

    def make_small(self):
        return b"%d" % self.rng.randrange(-1, 4)

    def make_bit(self):
        return self.rng.choice((b"0", b"1", b"1", b"2"))

    def make_byte(self):
        return self.rng.choice((b"0", b"255", b"7", b"256", b"-1", b"x"))

    def make_offset(self):
        # Nothing that is allowed and huge: both servers would really make it.
        return b"%d" % self.rng.choice((0, 1, 2, 5, 10, 40, 100, 3000)) if self.rng.random() < 0.85 else self.rng.choice(
            (b"-1", b"536870912", b"9223372036854775807", b"abc", b"4294967296"))

    def make_threshold(self):
        """A setting and a number for it, or none; sizes that are empty or end in a NUL are 0 and the number to Redis, and of those
        beyond 63 bits it says more."""
        value = self.make_int()
        return [self.rng.choice(THRESHOLDS), value if value not in (b"", b"1\x00", b"9223372036854775808") else b"x"]

    # --- deadlines ---

    # Relative deadlines are far off and never the same twice: which of two is later must not depend on the clock.
    def make_sec(self):
        rng = self.rng
        if rng.random() < 0.88:
            return b"%d" % rng.randrange(100_000, 2_000_000_000)
        return rng.choice((b"0", b"-1", b"-100000", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775", b"abc", b"1.5", b""))

    def make_ms(self):
        rng = self.rng
        if rng.random() < 0.88:
            return b"%d" % rng.randrange(100_000_000, 2_000_000_000_000)
        return rng.choice((b"0", b"-1", b"9223372036854775807", b"-9223372036854775808", b"abc", b"1.5", b""))

    def make_at_s(self):
        return b"%d" % (FAR_S + self.rng.randrange(20)) if self.rng.random() < 0.88 else self.rng.choice(
            (b"0", b"1", b"-1", b"1000000000", b"9223372036854775807", b"9223372036854775", b"9223372036854776", b"x"))

    def make_at_ms(self):
        return b"%d" % (FAR_MS + self.rng.randrange(20)) if self.rng.random() < 0.88 else self.rng.choice(
            (b"0", b"1", b"-1", b"1000000000000", b"9223372036854775807", b"-9223372036854775808", b"x"))

    # SET with a deadline in the past: Redis 7.0 stores the key and removes it later, ours does not store it.
    def make_far_s(self):
        return b"%d" % (FAR_S + self.rng.randrange(20)) if self.rng.random() < 0.8 else self.rng.choice((b"0", b"-1", b"9223372036854775807", b"x"))

    def make_far_ms(self):
        return b"%d" % (FAR_MS + self.rng.randrange(20)) if self.rng.random() < 0.8 else self.rng.choice((b"0", b"-1", b"x"))

    def make_ttl0(self):
        return b"0" if self.rng.random() < 0.6 else self.rng.choice(
            (b"%d" % self.rng.randrange(100_000_000, 2_000_000_000_000), b"%d" % (FAR_MS + self.rng.randrange(20)), b"-1", b"x"))

    def make_timeout(self):
        # Nothing that would wait long: where there is no element, both servers do wait.
        return self.rng.choice((b"0.001", b"0.002", b"0.003", b"1e-3")) if self.rng.random() < 0.85 else self.rng.choice(
            (b"-1", b"x", b"", b"-0.5", b"1e400", b"inf", b"nan", b"99999999999999999999"))

    def make_block_ms(self):
        return self.rng.choice((b"1", b"2", b"3")) if self.rng.random() < 0.9 else self.rng.choice((b"-1", b"x", b"", b"1.5"))

    # --- keyspace ---

    def make_db(self):
        return self.rng.choice(DATABASES) if self.rng.random() < 0.93 else self.rng.choice(BAD_DATABASES)

    def make_glob(self):
        return self.rng.choice(GLOBS)

    def make_cursor(self):
        return b"0" if self.rng.random() < 0.8 else self.rng.choice((b"abc", b"-1", b"", b" 0", b"18446744073709551616"))

    def make_payload(self):
        rng = self.rng
        p = rng.choice(self.payloads) if self.payloads else b"\x00\x01a\x0a\x00"
        if rng.random() < 0.15:
            p = bytearray(p)
            if p and rng.random() < 0.7:
                p[rng.randrange(len(p))] ^= 1 << rng.randrange(8)
            else:
                del p[rng.randrange(len(p) + 1):]
            p = bytes(p)
        return p

    def make_command(self):
        """A whole command as arguments of COMMAND GETKEYS."""
        while True:
            row = self.pick()
            if row.name not in ("COMMAND", "{word}"):
                argv = row.steps[0][1].make(self)
                if len(argv) > 1:  # 7.0 wants one argument more than newer servers
                    return argv

    def make_then(self):
        """A whole command on the last key."""
        while True:
            row = self.pick()
            if len(row.steps) == 1 and row.steps[0][0] != "swap" and not row.group in ("connection", "transactions", "config", "blocking"):
                self.forced = self.last_key
                try:
                    self.then_comparison = row.steps[0][0]
                    return row.steps[0][1].make(self)
                finally:
                    self.forced = None

    # --- ranges of sorted sets ---

    def make_range(self):
        rng = self.rng
        r = rng.random()
        if r < 0.55:
            return (b"(" if rng.random() < 0.35 else b"") + b"%d" % rng.randrange(-6, 31)
        if r < 0.65:
            return (b"(" if rng.random() < 0.35 else b"") + b"%.3f" % (rng.random() * 30 - 5)
        return rng.choice((b"-inf", b"+inf", b"-inf", b"+inf", b"(inf", b"(-inf", b"inf", b"abc", b"(", b"nan", b"((1", b"", b"1x", b"1e308"))

    def make_lex(self):
        rng = self.rng
        r = rng.random()
        return (rng.choice((b"[", b"(")) + self.make_member()) if r < 0.65 else rng.choice((b"-", b"+", b"-", b"+", b"x", b"[", b"(", b"", b"-1"))

    # --- bits ---

    def make_bittype(self):
        rng = self.rng
        return b"%c%d" % (rng.choice(b"iu"), rng.choice((1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 63))) if rng.random() < 0.9 else rng.choice(
            (b"i64", b"u64", b"u0", b"i0", b"i65", b"x8", b"u", b"", b"U8", b"u08"))

    def make_bitoffset(self):
        rng = self.rng
        r = rng.random()
        if r < 0.5:
            return b"%d" % rng.randrange(200)
        if r < 0.9:
            return b"#%d" % rng.randrange(30)
        return rng.choice((b"-1", b"#-1", b"x", b"#", b"", b"4294967296", b"9223372036854775807", b"#9223372036854775807"))

    def make_bitop(self):
        rng = self.rng
        r = rng.random()
        number = b"%d" % rng.randrange(-300, 300) if rng.random() < 0.7 else self.make_int()
        if r < 0.35:
            return [b"GET", self.make_bittype(), self.make_bitoffset()]
        if r < 0.6:
            # Redis 7.0 saturates the lowest numbers to the highest: its subtraction overflows.
            return [b"SET", self.make_bittype(), self.make_bitoffset(), b"-5" if number.startswith(b"-92233720368547758") else number]
        if r < 0.9:
            return [b"INCRBY", self.make_bittype(), self.make_bitoffset(), number]
        return [b"OVERFLOW", rng.choice((b"WRAP", b"SAT", b"FAIL", b"sat", b"x"))]

    # --- geo: coordinates are never the same twice, so that nothing is equally far ---

    def make_lon(self):
        rng = self.rng
        return b"%.6f" % rng.uniform(12, 16) if rng.random() < 0.75 else b"%.6f" % rng.uniform(-180, 180) if rng.random() < 0.8 else rng.choice(
            (b"180", b"-180", b"181", b"x", b"", b"nan", b"180.0001"))

    def make_lat(self):
        rng = self.rng
        return b"%.6f" % rng.uniform(36, 39) if rng.random() < 0.75 else b"%.6f" % rng.uniform(-85, 85) if rng.random() < 0.8 else rng.choice(
            (b"85.05112878", b"-85.05112878", b"86", b"x", b"", b"inf", b"-85.0512"))

    def make_place(self):
        return b"place%d" % self.rng.randrange(self.rng.choice((4, 15))) if self.rng.random() < 0.85 else self.rng.choice(PLACES)

    def make_places(self):
        n, rng = self._how_many(), self.rng
        return [x for i in range(n) for x in (b"%.6f" % rng.uniform(10, 18), b"%.6f" % rng.uniform(34, 41), b"place%d" % (i if n > 9 else rng.randrange(40)))]

    def make_unit(self):
        return self.rng.choice((b"m", b"km", b"ft", b"mi", b"KM")) if self.rng.random() < 0.97 else self.rng.choice((b"x", b""))

    def _size(self):
        rng = self.rng
        return b"%.2f" % rng.choice((rng.uniform(0, 50), rng.uniform(50, 500), rng.uniform(100, 30000), rng.uniform(0, 400_000))) \
            if rng.random() < 0.93 else rng.choice((b"0", b"-1", b"x", b"", b"nan", b"1e10"))

    def make_radius(self):
        return [self._size(), self.make_unit()]

    def make_geo_from(self):
        return [b"FROMMEMBER", self.make_place()] if self.rng.random() < 0.5 else [b"FROMLONLAT", self.make_lon(), self.make_lat()]

    def make_geo_by(self):
        return [b"BYRADIUS"] + self.make_radius() if self.rng.random() < 0.5 else [b"BYBOX", self._size()] + self.make_radius()

    # --- streams: one clock for the sequence, so that entries get newer and old ones can be asked for ---

    def make_new_id(self):
        rng = self.rng
        self.stream_ms += rng.choice((0, 0, 1, 1, 2, 40))
        self.stream_seq += 1
        r = rng.random()
        if r < 0.8:
            self.stream_ids = self.stream_ids[-40:] + [b"%d-%d" % (self.stream_ms, self.stream_seq)]
            return self.stream_ids[-1]
        if r < 0.92:
            return b"%d-*" % self.stream_ms
        if r < 0.96:
            self.stream_ms += 1
            return b"%d" % self.stream_ms
        return self.make_old_id()

    def make_old_id(self):
        """An id that leaves room behind it: entries deleted there and an XSETID back would stand in front of older ones, where
        Redis trims by id no more."""
        made = self.make_id()
        return made if not made.startswith(b"184") else b"1-1"

    def make_id(self):
        rng = self.rng
        r = rng.random()
        near = max(self.stream_ms - rng.choice((0, 1, 2, 5, 20, 100)), 0)
        if r < 0.65 and self.stream_ids:
            return rng.choice(self.stream_ids)
        if r < 0.7:
            return b"%d-%d" % (near, max(self.stream_seq - rng.randrange(12), 0))
        if r < 0.77:
            return b"%d" % near
        if r < 0.82:
            return b"%d-%d" % (rng.randrange(5), rng.randrange(5))
        return rng.choice((b"0-0", b"0", b"0-1", b"x", b"1-x", b"-1", b"", b"18446744073709551615", b"18446744073709551616", b"1-1-1", b"-", b"+", b"1-",
                           b"0-0", b"0", b"18446744073709551615-18446744073709551614"))

    def make_from_id(self):
        r = self.rng.random()
        return b"-" if r < 0.3 else b"(" + self.make_id() if r < 0.45 else self.make_id()

    def make_to_id(self):
        r = self.rng.random()
        return b"+" if r < 0.3 else b"(" + self.make_id() if r < 0.45 else self.make_id()

    def make_trim(self):
        rng = self.rng
        how = rng.choice(((), (b"=",), (b"~",), (b"~",)))
        out = [b"MAXLEN", *how, self.make_count()] if rng.random() < 0.6 else [b"MINID", *how, self.make_id()]
        if rng.random() < 0.15:
            out += [b"LIMIT", self.make_count()]
        if rng.random() < 0.03:
            out += [b"MAXLEN", b"3"]
        return out

    def make_group(self):
        self.last_group = self.rng.choice((b"g1", b"g1", b"g1", b"g2")) if self.rng.random() < 0.96 else b"missing"
        return self.last_group

    def make_same_group(self):
        return self.last_group

    def make_consumer(self):
        self.last_consumer = self.rng.choice(CONSUMERS)
        return self.last_consumer

    def make_same_consumer(self):
        return self.last_consumer

    def make_idle0(self):
        return self.rng.choice((b"0",) * 8 + (b"1000000000", b"-1", b"x"))

    def make_idle_set(self):
        return self.rng.choice((b"0", b"100000", b"1500000000000", b"-1", b"x"))

    # --- SORT ---

    def make_sort_weight(self):
        rng = self.rng
        return b"%d" % rng.randrange(-20, 20) if rng.random() < 0.7 else b"%.2f" % rng.uniform(-20, 20) if rng.random() < 0.9 else rng.choice(
            (b"x", b"", b"inf", b"1e3", b" 1", b"nan", b"0x10"))

    def make_weight_key(self):
        return b"w_" + self.make_member()

    def make_weight_hash(self):
        return b"h_" + self.make_member()

    def make_sort_by(self):
        return self.rng.choice((b"w_*", b"h_*->w", b"w_*_missing", b"h_*->missing", b"*"))

    def make_sort_get(self):
        return self.rng.choice((b"#", b"w_*", b"h_*->v", b"h_*->w", b"nokey", b"*", b"h_*->", b"w_*->x"))
