"""What the generator knows of the commands: one row each. Adding a command, a family or a type is adding rows.

A row is (weight, comparison, syntax). In the syntax, words stand for themselves and

    {kind}      an argument of that kind (generate.py: KINDS)
    (a b)+      one to four times          (a b)*  none to four times
    [a|b|c]     at most one of these; neighbouring optional parts come in any order
    <a|b|c>     exactly one of these

How replies are compared (errors always by their exact text):
    exact       byte for byte
    set         the elements in any order
    near        numbers that depend on the clock: 30 s (or 30,000 ms) apart at most
    shape       both errors or both not, and of one type
    dump        payloads that restore to the same value
"""

STRINGS = """
10 exact SET {key} {value} [NX|XX] [GET] [EX {sec}|PX {ms}|EXAT {far_s}|PXAT {far_ms}|KEEPTTL]
6 exact SET {key} {value}
6 exact GET {key}
3 exact APPEND {key} {value}
2 exact DECR {key}
2 exact INCR {key}
2 exact DECRBY {key} {int}
3 exact INCRBY {key} {int}
4 exact INCRBYFLOAT {key} {float}
2 exact GETDEL {key}
3 exact GETEX {key} [EX {sec}|PX {ms}|EXAT {at_s}|PXAT {at_ms}|PERSIST]
3 exact GETRANGE {key} {index} {index}
1 exact SUBSTR {key} {index} {index}
2 exact GETSET {key} {value}
3 exact LCS {key} {key} [LEN] [IDX] [MINMATCHLEN {index}] [WITHMATCHLEN]
2 exact MGET ({key})+
2 exact MSET ({key} {value})+
2 exact MSETNX ({key} {value})+
2 exact PSETEX {key} {ms} {value}
2 exact SETEX {key} {sec} {value}
2 exact SETNX {key} {value}
3 exact SETRANGE {key} {offset} {value}
2 exact STRLEN {key}
"""

GENERIC = """
2 exact COPY {key} {key} [DB {db}] [REPLACE]
2 exact DEL ({key})+
2 dump DUMP {key}
2 exact EXISTS ({key})+
3 exact EXPIRE {key} {sec} [NX|XX|GT|LT]
2 exact EXPIREAT {key} {at_s} [NX|XX|GT|LT]
2 exact PEXPIRE {key} {ms} [NX|XX] [GT|LT]
3 exact PEXPIREAT {key} {at_ms} [NX|XX|GT|LT] [NX|XX|GT|LT]
2 near EXPIRETIME {key}
2 near PEXPIRETIME {key}
2 near TTL {key}
2 near PTTL {key}
2 exact PERSIST {key}
1 set KEYS {glob}
1 exact MOVE {key} {db}
2 exact OBJECT ENCODING {key}
1 shape OBJECT REFCOUNT {key}
1 shape OBJECT IDLETIME {key}
1 exact OBJECT FREQ {key}
1 exact OBJECT {word} {key}
1 shape RANDOMKEY
2 exact RENAME {key} {key}
2 exact RENAMENX {key} {key}
3 exact RESTORE {key} {ttl0} {payload} [REPLACE] [ABSTTL] [IDLETIME {sec}|FREQ {byte}]
1 shape SCAN {cursor} [MATCH {glob}] [COUNT {index}] [TYPE <string|list|hash|{word}>]
1 exact TOUCH ({key})+
2 exact TYPE {key}
2 exact UNLINK ({key})+
1 exact DBSIZE
1 exact FLUSHDB [SYNC|ASYNC|{word}]
0.2 exact FLUSHALL [SYNC|ASYNC]
1 exact SWAPDB {db} {db}
2 exact SELECT {db}
1 exact WAIT <0|x> <0|-1|x>
1 exact DEBUG DIGEST-VALUE ({key})+
0.3 exact DEBUG DIGEST
1 shape MEMORY USAGE {key} [SAMPLES {index}]
"""

TRANSACTIONS = """
6 exact MULTI
8 exact EXEC
1 exact DISCARD
2 exact WATCH ({key})+
1 exact UNWATCH
"""

CONNECTION = """
1 exact PING [{value}]
1 exact ECHO {value}
1 exact CLIENT GETNAME
1 exact CLIENT SETNAME {word}
1 exact CLIENT NO-EVICT <on|off|{word}>
1 exact CLIENT {word}
0.5 exact CLIENT KILL {word} {word}
0.5 exact CLIENT KILL ID <0|-1|x|999999999>
0.5 shape CLIENT LIST {word}
0.5 exact CLIENT UNPAUSE
0.5 exact CLIENT PAUSE {word}
0.5 shape CLIENT INFO
0.5 shape CLIENT ID
1 exact AUTH {word} [{word}]
0.5 shape HELLO {word}
0.5 exact RESET {word}
1 exact DEBUG PROTOCOL <string|integer|double|null|array|set|map|verbatim|true|false|bignum>
0.3 shape COMMAND INFO {word}
0.3 exact COMMAND {word}
1 exact {word} ({value})*
0.3 shape CONFIG GET {word}
0.5 exact CONFIG SET lfu-log-factor {index}
0.5 exact CONFIG SET slowlog-max-len {int} slowlog-log-slower-than {int}
0.3 exact CONFIG SET <foo|databases|maxmemory-policy|appendonly> {word}
0.3 exact CONFIG {word}
0.3 exact SLOWLOG {word}
0.3 shape SLOWLOG LEN {word}
0.3 exact SWAPDB {db}
"""

# The families that come later are taken in as soon as the server under test knows their commands.
LISTS = """
3 exact LPUSH {key} ({value})+
3 exact RPUSH {key} ({value})+
1 exact LPUSHX {key} ({value})+
1 exact RPUSHX {key} ({value})+
2 exact LPOP {key} [{index}]
2 exact RPOP {key} [{index}]
2 exact LRANGE {key} {index} {index}
1 exact LLEN {key}
1 exact LINDEX {key} {index}
1 exact LSET {key} {index} {value}
1 exact LREM {key} {index} {value}
1 exact LTRIM {key} {index} {index}
2 exact LINSERT {key} <BEFORE|AFTER> {value} {value}
2 exact LPOS {key} {value} [RANK {index}] [COUNT {index}] [MAXLEN {index}]
1 exact LMOVE {key} {key} <LEFT|RIGHT> <LEFT|RIGHT>
1 exact RPOPLPUSH {key} {key}
1 exact LMPOP {small} ({key})+ <LEFT|RIGHT> [COUNT {index}]
"""

SETS = """
3 exact SADD {key} ({member})+
1 exact SREM {key} ({member})+
1 exact SCARD {key}
1 exact SISMEMBER {key} {member}
1 exact SMISMEMBER {key} ({member})+
2 set SMEMBERS {key}
1 exact SMOVE {key} {key} {member}
1 set SINTER ({key})+
1 set SUNION ({key})+
1 set SDIFF ({key})+
1 exact SINTERSTORE {key} ({key})+
1 exact SUNIONSTORE {key} ({key})+
1 exact SDIFFSTORE {key} ({key})+
1 exact SINTERCARD {small} ({key})+ [LIMIT {index}]
1 shape SRANDMEMBER {key} [{index}]
"""

HASHES = """
3 exact HSET {key} ({member} {value})+
1 exact HMSET {key} ({member} {value})+
1 exact HSETNX {key} {member} {value}
2 exact HGET {key} {member}
1 exact HMGET {key} ({member})+
1 exact HDEL {key} ({member})+
1 exact HLEN {key}
1 exact HEXISTS {key} {member}
1 exact HSTRLEN {key} {member}
2 exact HINCRBY {key} {member} {int}
2 exact HINCRBYFLOAT {key} {member} {float}
1 set HKEYS {key}
1 set HVALS {key}
1 shape HRANDFIELD {key} [{index}]
"""

ZSETS = """
4 exact ZADD {key} [NX|XX] [GT|LT] [CH] [INCR] ({score} {member})+
1 exact ZINCRBY {key} {score} {member}
1 exact ZREM {key} ({member})+
1 exact ZCARD {key}
1 exact ZSCORE {key} {member}
1 exact ZMSCORE {key} ({member})+
1 exact ZRANK {key} {member}
1 exact ZREVRANK {key} {member}
1 exact ZCOUNT {key} {range} {range}
1 exact ZLEXCOUNT {key} {lex} {lex}
2 exact ZRANGE {key} <{index}|{range}|{lex}> <{index}|{range}|{lex}> [BYSCORE|BYLEX] [REV] [LIMIT {index} {index}] [WITHSCORES]
1 exact ZRANGEBYSCORE {key} {range} {range} [WITHSCORES] [LIMIT {index} {index}]
1 exact ZREVRANGE {key} {index} {index} [WITHSCORES]
1 exact ZREMRANGEBYRANK {key} {index} {index}
1 exact ZREMRANGEBYSCORE {key} {range} {range}
1 exact ZREMRANGEBYLEX {key} {lex} {lex}
1 exact ZPOPMIN {key} [{index}]
1 exact ZPOPMAX {key} [{index}]
1 exact ZMPOP {small} ({key})+ <MIN|MAX> [COUNT {index}]
1 exact ZUNION {small} ({key})+ [WEIGHTS ({float})+] [AGGREGATE <SUM|MIN|MAX>] [WITHSCORES]
1 exact ZINTER {small} ({key})+ [WEIGHTS ({float})+] [AGGREGATE <SUM|MIN|MAX>] [WITHSCORES]
1 exact ZDIFF {small} ({key})+ [WITHSCORES]
1 exact ZUNIONSTORE {key} {small} ({key})+ [WEIGHTS ({float})+] [AGGREGATE <SUM|MIN|MAX>]
1 exact ZINTERSTORE {key} {small} ({key})+ [AGGREGATE <SUM|MIN|MAX>]
1 exact ZINTERCARD {small} ({key})+ [LIMIT {index}]
1 exact ZRANGESTORE {key} {key} {index} {index} [REV]
"""

BITS = """
2 exact SETBIT {key} {offset} {bit}
1 exact GETBIT {key} {offset}
1 exact BITCOUNT {key} [{index} {index}] [BYTE|BIT]
1 exact BITPOS {key} {bit} [{index} {index}] [BYTE|BIT]
1 exact BITOP <AND|OR|XOR|NOT> {key} ({key})+
1 exact BITFIELD {key} [GET u8 {offset}] [SET i5 {offset} {int}] [OVERFLOW <WRAP|SAT|FAIL>] [INCRBY u4 {offset} {int}]
1 exact PFADD {key} ({member})*
1 exact PFCOUNT ({key})+
1 exact PFMERGE {key} ({key})+
"""

GEO = """
2 exact GEOADD {key} [NX|XX] [CH] ({lon} {lat} {member})+
1 exact GEOPOS {key} ({member})+
1 exact GEODIST {key} {member} {member} [m|km|ft|mi]
1 exact GEOHASH {key} ({member})+
1 set GEOSEARCH {key} <FROMMEMBER {member}|FROMLONLAT {lon} {lat}> <BYRADIUS {float} km|BYBOX {float} {float} m> [WITHCOORD] [WITHDIST] [WITHHASH]
"""

STREAMS = """
2 exact XADD {key} [NOMKSTREAM] {stream_id} ({member} {value})+
1 exact XLEN {key}
1 exact XRANGE {key} <-|{stream_id}> <+|{stream_id}> [COUNT {index}]
1 exact XREVRANGE {key} <+|{stream_id}> <-|{stream_id}> [COUNT {index}]
1 exact XDEL {key} ({stream_id})+
1 exact XTRIM {key} MAXLEN {index}
1 exact XREAD [COUNT {index}] STREAMS {key} {stream_id}
1 exact XGROUP CREATE {key} {member} <0|$> [MKSTREAM]
1 exact XACK {key} {member} ({stream_id})+
1 exact XPENDING {key} {member}
"""

GROUPS = {"strings": STRINGS, "generic": GENERIC, "transactions": TRANSACTIONS, "connection": CONNECTION, "lists": LISTS,
          "sets": SETS, "hashes": HASHES, "zsets": ZSETS, "bits": BITS, "geo": GEO, "streams": STREAMS}

# Groups whose every command must be known to the server under test.
REQUIRED = ("strings", "generic", "transactions", "connection", "sets", "lists", "zsets")

# Differences that are meant: (what it is about, why, test of (argv, ours, theirs)). Replies are the parsed values.
EXPECTED = []


def expected(about, why):
    def add(test):
        EXPECTED.append((about, why, test))
        return test
    return add


@expected("CONFIG SET maxclients beyond the system's limit", "the number to try depends on what each server has raised its limit to")
def _maxclients(argv, ours, theirs):
    return "The operating system is not able" in str(ours) and "The operating system is not able" in str(theirs)


@expected("OBJECT IDLETIME after RESTORE IDLETIME with more than the clock holds", "ours stops at its maximum of 24 bits, Redis wraps around")
def _idle_clock(argv, ours, theirs):
    return [a.upper() for a in argv[:2]] == [b"OBJECT", b"IDLETIME"] and ours == (1 << 24) - 1


@expected("RESTORE with a relative deadline beyond 63 bits", "Redis lets the sum overflow; ours refuses it")
def _restore_overflow(argv, ours, theirs):
    return argv[0].upper() == b"RESTORE" and str(ours).startswith("ERR Invalid TTL value") and len(argv[2]) >= 19


@expected("arguments with NUL bytes in the text about an unknown command", "both show what stands before the NUL; the limit of 128 bytes counts differently")
def _unknown_with_nul(argv, ours, theirs):
    start = f"ERR unknown command '{argv[0].decode('latin-1')[:20]}"
    return any(b"\0" in a for a in argv) and str(ours).startswith(start) and str(theirs).startswith(start)


@expected("DEBUG DIGEST-VALUE without keys", "ours wants one")
def _digest_value_of_nothing(argv, ours, theirs):
    return argv[0].upper() == b"DEBUG" and len(argv) == 2 and theirs == [] and "DIGEST-VALUE" in str(ours).upper()


@expected("OBJECT ENCODING of a small set that is not all integers", "ours is a listpack as in Redis 7.2; Redis 7.0 has none for sets")
def _set_listpack(argv, ours, theirs):
    return [a.upper() for a in argv[:2]] == [b"OBJECT", b"ENCODING"] and ours == b"listpack" and theirs == b"hashtable"
@expected("OBJECT ENCODING of a short list", "listpack since Redis 7.2, always quicklist before")
def _short_list(argv, ours, theirs):
    return [a.upper() for a in argv[:2]] == [b"OBJECT", b"ENCODING"] and (ours, theirs) == (b"listpack", b"quicklist")


@expected("LPOS with the lowest rank", "refused by later versions, an overflow in 7.0")
def _lowest_rank(argv, ours, theirs):
    return argv[0].upper() == b"LPOS" and str(ours).startswith("ERR value is out of range, value must between")


def rows():
    """(group, weight, comparison, syntax) of every row."""
    for group, text in GROUPS.items():
        for line in text.strip().splitlines():
            weight, comparison, syntax = line.split(" ", 2)
            yield group, float(weight), comparison, syntax
