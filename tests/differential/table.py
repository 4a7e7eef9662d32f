"""What the generator knows of the commands: one row each. Adding a command, a family or a type is adding rows.

A row is (weight, comparison, syntax). In the syntax, words stand for themselves and

    {kind}      an argument (or several) of that kind (generate.py: make_…)
    (a b)+      one to four times          (a b)*  none to four times
    [a|b|c]     at most one of these; neighbouring optional parts come in any order
    <a|b|c>     exactly one of these
    a ; b       two commands that stay together; every step may begin with its own comparison and a colon

How replies are compared (errors always by their exact text; replies.py: SAME):
    exact       byte for byte (RESP3 doubles by value)
    set         the elements in any order
    pairs       as set, of field and value
    scan        a cursor, and the elements as a set          scanpairs   and pairs as a set
    near        numbers that depend on the clock: 30 s (or 30,000 ms) apart at most, at any depth
    pending     rows of XPENDING: the idle time is near, the rest exact
    xinfo       XINFO: times near, fields that only one side has left out
    length      so many elements
    shape       both errors or both not, and of one type
    dump        payloads that restore to the same value
    swap        DUMP, and each server restores what the other one gave
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
2 exact MGET ({any})+
2 exact MSET ({key} {value})+
2 exact MSETNX ({key} {value})+
2 exact PSETEX {key} {ms} {value}
2 exact SETEX {key} {sec} {value}
2 exact SETNX {key} {value}
3 exact SETRANGE {key} {offset} {value}
2 exact STRLEN {key}
"""

GENERIC = """
3 exact COPY {any} {any} [DB {db}] [REPLACE]
2 exact DEL ({any})+
2 dump DUMP {any}
3 swap DUMP {any}
2 exact EXISTS ({any})+
3 exact EXPIRE {any} {sec} [NX|XX|GT|LT]
2 exact EXPIREAT {any} {at_s} [NX|XX|GT|LT]
2 exact PEXPIRE {any} {ms} [NX|XX] [GT|LT]
3 exact PEXPIREAT {any} {at_ms} [NX|XX|GT|LT] [NX|XX|GT|LT]
1 exact PEXPIRE {any} 1 ; DEBUG SLEEP 0.003 ; {then} ; EXISTS {same}
2 near EXPIRETIME {any}
2 near PEXPIRETIME {any}
2 near TTL {any}
2 near PTTL {any}
2 exact PERSIST {any}
1 set KEYS {glob}
1 exact MOVE {any} {db}
3 exact OBJECT ENCODING {any}
1 shape OBJECT REFCOUNT {any}
1 shape OBJECT IDLETIME {any}
1 exact OBJECT FREQ {any}
1 exact OBJECT {word} {any}
1 shape RANDOMKEY
3 exact RENAME {any} {any}
2 exact RENAMENX {any} {any}
5 exact RESTORE {any} {ttl0} {payload} [REPLACE] [ABSTTL] [IDLETIME {sec}|FREQ {byte}]
1 shape SCAN {cursor} [MATCH {glob}] [COUNT {index}] [TYPE <string|list|hash|set|zset|stream|{word}>]
1 scan SCAN 0 [MATCH {glob}] COUNT 5000 [TYPE <string|list|hash|set|zset|stream>]
1 exact TOUCH ({any})+
2 exact TYPE {any}
2 exact UNLINK ({any})+
1 exact DBSIZE
0.2 exact FLUSHDB [SYNC|ASYNC|{word}]
0.1 exact FLUSHALL [SYNC|ASYNC]
0.5 exact SWAPDB {db} {db}
1 exact SELECT {db}
1 exact WAIT <0|x> <0|-1|x>
1 exact DEBUG DIGEST-VALUE ({any})+
0.3 exact DEBUG DIGEST
1 shape MEMORY USAGE {any} [SAMPLES {index}]
0.5 exact COMMAND GETKEYS {command}
0.15 exact DEBUG RELOAD
"""

TRANSACTIONS = """
6 exact MULTI
21 exact EXEC
1 exact DISCARD
4 exact WATCH ({any})+
2 exact UNWATCH
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

# Thresholds of the encodings, moved while there are data. Reset before each sequence (compare.py: Pair.connect).
CONFIG = """
3 exact CONFIG SET list-max-listpack-size <-5|-2|-1|1|2|5|30|128>
3 exact CONFIG SET list-compress-depth <0|1|2|5>
3 exact CONFIG SET hash-max-listpack-entries <0|1|4|30|128|512> hash-max-listpack-value <0|5|20|64|300>
3 exact CONFIG SET zset-max-listpack-entries <0|1|4|30|128> zset-max-listpack-value <0|5|20|64|300>
3 exact CONFIG SET set-max-intset-entries <0|1|4|30|512>
2 exact CONFIG SET stream-node-max-entries <0|1|3|10|100> stream-node-max-bytes <0|50|200|4096>
2 exact CONFIG SET hll-sparse-max-bytes <0|50|500|3000>
1 exact CONFIG SET {threshold}
"""

# The families that come later are taken in as soon as the server under test knows their commands.
LISTS = """
3 exact LPUSH {lkey} {values}
9 exact RPUSH {lkey} {values}
1 exact LPUSHX {lkey} {values}
1 exact RPUSHX {lkey} {values}
1 exact LPOP {lkey} [{few}]
1 exact RPOP {lkey} [{few}]
2 exact LRANGE {lkey} {index} {index}
1 exact LRANGE {lkey} 0 -1
1 exact LLEN {lkey}
2 exact LINDEX {lkey} {index}
3 exact LSET {lkey} {index} {value}
2 exact LREM {lkey} {index} {item}
0.3 exact LTRIM {lkey} {index} {index}
1 exact LTRIM {lkey} <0|1|2> <-1|-2|-30|400|150>
3 exact LINSERT {lkey} <BEFORE|AFTER> {item} {value}
3 exact LPOS {lkey} {item} [RANK {index}] [COUNT {count}] [MAXLEN {index}]
2 exact LMOVE {lkey} {lkey} <LEFT|RIGHT> <LEFT|RIGHT>
1 exact RPOPLPUSH {lkey} {lkey}
1 exact LMPOP {nlkeys} <LEFT|RIGHT> [COUNT {few}]
0.3 exact LMPOP {nlkeys} {word} COUNT {count} [COUNT {count}]
"""

SETS = """
12 exact SADD {skey} {members}
3 exact SREM {skey} {members}
2 exact SCARD {skey}
2 exact SISMEMBER {skey} {member}
2 exact SMISMEMBER {skey} {members}
2 set SMEMBERS {skey}
2 exact SMOVE {skey} {skey} {member}
2 set SINTER ({skey})+
2 set SUNION ({skey})+
2 set SDIFF ({skey})+
1 exact SINTERSTORE {sdst} ({skey})+
2 exact SUNIONSTORE {sdst} ({skey})+
2 exact SDIFFSTORE {sdst} ({skey})+
2 exact SINTERCARD {nskeys} [LIMIT {count}]
1 length SRANDMEMBER {skey} {draw}
1 shape SRANDMEMBER {skey}
1 set SRANDMEMBER {skey} 5000
0.4 shape SPOP {skey} ; SCARD {same} ; DEL {same}
0.4 length SPOP {skey} {draw_few} ; SCARD {same} ; DEL {same}
0.3 set SPOP {skey} 5000
0.5 exact SPOP {skey} {bad_count}
1 shape SSCAN {skey} {cursor} [MATCH {glob}] [COUNT {count}]
2 scan SSCAN {skey} 0 [MATCH {glob}] COUNT 5000
"""

HASHES = """
5 exact HSET {hkey} {pairs}
2 exact HMSET {hkey} {pairs}
2 exact HSETNX {hkey} {member} {value}
3 exact HGET {hkey} {member}
2 exact HMGET {hkey} {members}
3 exact HDEL {hkey} {members}
1 exact HLEN {hkey}
1 exact HEXISTS {hkey} {member}
1 exact HSTRLEN {hkey} {member}
2 exact HINCRBY {hkey} {member} {int}
2 exact HINCRBYFLOAT {hkey} {member} {float}
1 set HKEYS {hkey}
1 set HVALS {hkey}
2 pairs HGETALL {hkey}
1 length HRANDFIELD {hkey} {draw} [WITHVALUES|{word}]
1 shape HRANDFIELD {hkey}
1 set HRANDFIELD {hkey} 5000
1 pairs HRANDFIELD {hkey} 5000 WITHVALUES
1 shape HSCAN {hkey} {cursor} [MATCH {glob}] [COUNT {count}]
2 scanpairs HSCAN {hkey} 0 [MATCH {glob}] COUNT 5000
"""

ZSETS = """
3 exact ZADD {zkey} [NX|XX] [GT|LT] [CH] [INCR] {scored}
12 exact ZADD {zkey} {scored}
5 exact ZADD {ykey} {flat_scored}
1 exact ZREM {ykey} {members}
0.4 exact <ZPOPMIN|ZPOPMAX> {ykey} [{few}]
0.3 exact DEL {ykey}
2 exact ZADD {zkey} <NX|XX|GT|LT|CH> INCR {score} {member}
2 exact ZINCRBY {zkey} {score} {member}
3 exact ZREM {zkey} {members}
1 exact ZCARD {zkey}
2 exact ZSCORE {zkey} {member}
1 exact ZMSCORE {zkey} {members}
2 exact ZRANK {zkey} {member}
2 exact ZREVRANK {zkey} {member}
2 exact ZCOUNT {zkey} {range} {range}
2 exact ZLEXCOUNT {ykey} {lex} {lex}
0.5 exact ZRANGE {ykey} <{index}|{range}|{lex}> <{index}|{range}|{lex}> [BYSCORE|BYLEX] [REV] [LIMIT {index} {index}] [WITHSCORES]
2 exact ZRANGE {zkey} {index} {index} [REV] [WITHSCORES]
2 exact ZRANGE {zkey} {range} {range} BYSCORE [REV] [LIMIT {index} {index}] [WITHSCORES]
2 exact ZRANGE {ykey} {lex} {lex} BYLEX [REV] [LIMIT {index} {index}]
1 exact ZRANGE {zkey} 0 -1 WITHSCORES
2 exact ZRANGEBYSCORE {zkey} {range} {range} [WITHSCORES] [LIMIT {index} {index}]
2 exact ZREVRANGEBYSCORE {zkey} {range} {range} [WITHSCORES] [LIMIT {index} {index}]
2 exact ZRANGEBYLEX {ykey} {lex} {lex} [LIMIT {index} {index}]
2 exact ZREVRANGEBYLEX {ykey} {lex} {lex} [LIMIT {index} {index}]
2 exact ZREVRANGE {zkey} {index} {index} [WITHSCORES]
0.5 exact ZREMRANGEBYRANK {zkey} {index} {index}
0.5 exact ZREMRANGEBYSCORE {zkey} {range} {range}
1 exact ZREMRANGEBYLEX {ykey} {lex} {lex}
0.6 exact ZPOPMIN {zkey} [{few}]
0.6 exact ZPOPMAX {zkey} [{few}]
0.6 exact ZMPOP {nzkeys} <MIN|MAX> [COUNT {few}]
1 exact ZUNION {nzkeys} [WEIGHTS {weights}] [AGGREGATE <SUM|MIN|MAX|{word}>] [WITHSCORES]
1 exact ZINTER {nzkeys} [WEIGHTS {weights}] [AGGREGATE <SUM|MIN|MAX|{word}>] [WITHSCORES]
1 exact ZDIFF {nzkeys} [WITHSCORES]
2 exact ZUNIONSTORE {zdst} {nzkeys} [WEIGHTS {weights}] [AGGREGATE <SUM|MIN|MAX>]
1 exact ZINTERSTORE {zdst} {nzkeys} [WEIGHTS {weights}] [AGGREGATE <SUM|MIN|MAX>]
2 exact ZDIFFSTORE {zdst} {nzkeys}
1 exact ZINTERCARD {nzkeys} [LIMIT {count}]
1 exact ZRANGESTORE {zdst} {zkey} {index} {index} [REV]
1 exact ZRANGESTORE {zdst} {zkey} {range} {range} BYSCORE [REV] [LIMIT {index} {index}]
1 exact ZRANGESTORE {zdst} {ykey} {lex} {lex} BYLEX [REV] [LIMIT {index} {index}]
1 length ZRANDMEMBER {zkey} {draw} [WITHSCORES|{word}]
1 shape ZRANDMEMBER {zkey}
1 set ZRANDMEMBER {zkey} 5000
1 pairs ZRANDMEMBER {zkey} 5000 WITHSCORES
1 shape ZSCAN {zkey} {cursor} [MATCH {glob}] [COUNT {count}]
2 scanpairs ZSCAN {zkey} 0 [MATCH {glob}] COUNT 5000
"""

BITS = """
2 exact SETBIT {key} {offset} {bit}
1 exact GETBIT {key} {offset}
1 exact BITCOUNT {key} [{index} {index}] [BYTE|BIT]
1 exact BITCOUNT {key} {index} {index} [BYTE|BIT|{word}]
1 exact BITPOS {key} {bit} [{index}] [{index}] [BYTE|BIT]
1 exact BITPOS {key} {bit} {index} {index} [BYTE|BIT|{word}]
2 exact BITOP <AND|OR|XOR|NOT> {key} ({key})+
2 exact BITFIELD {key} ({bitop})+
1 exact BITFIELD {key} [OVERFLOW <WRAP|SAT|FAIL|{word}>] ({bitop})+ [OVERFLOW <WRAP|SAT|FAIL>] ({bitop})*
1 exact BITFIELD_RO {key} (GET {bittype} {bitoffset})+
0.5 exact BITFIELD_RO {key} ({bitop})+
"""

# That PFDEBUG changes the encoding is a change to WATCH here, and none to Redis.
HLL = """
6 exact PFADD {pkey} {hll_members}
1 exact PFADD {pkey}
3 exact PFCOUNT ({pkey})+
3 exact PFMERGE {pkey} ({pkey})*
1 exact PFDEBUG ENCODING {pkey}
1 exact UNWATCH ; PFDEBUG TODENSE {pkey}
1 exact PFDEBUG <DECODE|{word}> {pkey}
0.1 exact UNWATCH ; PFDEBUG GETREG {pkey}
1 exact GET {pkey}
1 exact GETRANGE {pkey} 0 15
0.1 exact SET {pkey} {value}
0.15 exact SETRANGE {pkey} <0|1|2|3|4> x
0.7 exact DEL {pkey}
"""

GEO = """
9 exact GEOADD {gkey} [NX|XX] [CH] ({lon} {lat} {place})+
5 exact GEOADD {gkey} {places}
2 exact GEOPOS {gkey} ({place})*
2 exact GEODIST {gkey} {place} {place} [m|km|ft|mi|{word}]
2 exact GEOHASH {gkey} ({place})*
2 set GEOSEARCH {gkey} {geo_from} {geo_by} [WITHCOORD] [WITHDIST] [WITHHASH]
2 exact GEOSEARCH {gkey} {geo_from} {geo_by} <ASC|DESC> [COUNT {count}] [WITHCOORD] [WITHDIST] [WITHHASH]
1 exact GEOSEARCH {gkey} {geo_from} {geo_by} COUNT {count} [WITHCOORD] [WITHDIST] [WITHHASH]
1 length GEOSEARCH {gkey} {geo_from} {geo_by} COUNT {count} ANY [WITHDIST]
0.5 set GEOSEARCH {gkey} [{geo_from}] [{geo_by}] [{geo_by}] [ANY] [STOREDIST] [{word}]
1 exact GEOSEARCHSTORE {gdst} {gkey} {geo_from} {geo_by} [ASC|DESC]
1 exact GEOSEARCHSTORE {gdist} {gkey} {geo_from} {geo_by} [ASC|DESC] [STOREDIST]
0.5 exact GEOSEARCHSTORE {gdst} {gkey} {geo_from} {geo_by} COUNT {count} [ASC|DESC]
0.5 exact GEOSEARCHSTORE {gdist} {gkey} {geo_from} {geo_by} COUNT {count} [ASC|DESC] STOREDIST
0.5 exact GEOSEARCHSTORE {gdst} {gkey} {geo_from} {geo_by} [WITHDIST] [WITHHASH] [WITHCOORD]
1 set GEORADIUS {gkey} {lon} {lat} {radius} [WITHCOORD] [WITHDIST] [WITHHASH]
1 exact GEORADIUS {gkey} {lon} {lat} {radius} [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT {count}] <ASC|DESC>
1 exact GEORADIUS {gkey} {lon} {lat} {radius} [COUNT {count}] [ASC|DESC] <STORE {gdst}|STOREDIST {gdist}>
0.5 exact GEORADIUS {gkey} {lon} {lat} {radius} [WITHDIST] [STORE {gdst}] [STOREDIST {gdist}] COUNT {count}
1 set GEORADIUSBYMEMBER {gkey} {place} {radius} [WITHCOORD] [WITHDIST] [WITHHASH]
1 exact GEORADIUSBYMEMBER {gkey} {place} {radius} [COUNT {count}] <ASC|DESC> [STORE {gdst}|STOREDIST {gdist}]
1 set GEORADIUS_RO {gkey} {lon} {lat} {radius} [WITHCOORD] [WITHDIST] [WITHHASH]
1 set GEORADIUSBYMEMBER_RO {gkey} {place} {radius} [WITHCOORD] [WITHDIST] [WITHHASH]
0.5 exact GEORADIUS_RO {gkey} {lon} {lat} {radius} COUNT {count} [STORE {gdst}]
1 exact ZRANGE {gkey} 0 -1 WITHSCORES
1 exact ZREM {gkey} ({place})+
"""

# Groups get their consumers at once: 7.2 makes one when it first asks, 7.0 when it is first given something.
STREAMS = """
16 exact XADD {xkey} [NOMKSTREAM] {new_id} {pairs_few}
2 exact XADD {xkey} {new_id} {pairs}
3 exact XADD {xkey} [NOMKSTREAM] {trim} {new_id} {pairs_few}
2 exact XADD {xkey} {old_id} {pairs_few}
0.2 exact XADD {xkey} 18446744073709551615-18446744073709551613 {pairs_few} ; XADD {same} * {pairs_few} ; XADD {same} 18446744073709551615-* {pairs_few} ; XADD {same} * {pairs_few} ; DEL {same}
0.2 shape XADD {xkey} * {pairs_few} ; DEL {same}
2 exact XLEN {xkey}
3 exact XRANGE {xkey} {from_id} {to_id} [COUNT {count}]
3 exact XREVRANGE {xkey} {to_id} {from_id} [COUNT {count}]
1 exact XRANGE {xkey} - +
3 exact XDEL {xkey} ({id})+
2 exact XTRIM {xkey} {trim}
2 exact XREAD [COUNT {count}] STREAMS {xkey} {id}
1 exact XREAD [COUNT {count}] STREAMS {xkey} {xkey} {id} {id}
0.5 exact XREAD [COUNT {count}] STREAMS {xkey} <$|>|->
1 exact XSETID {xkey} {new_id} [ENTRIESADDED {count}] [MAXDELETEDID {id}]
2 exact XGROUP CREATE {xkey} {group} <0|$|{id}> [MKSTREAM] [ENTRIESREAD {count}] ; XGROUP CREATECONSUMER {same} {same_group} alice ; XGROUP CREATECONSUMER {same} {same_group} bob ; XGROUP CREATECONSUMER {same} {same_group} carol
6 exact XGROUP CREATE {xkey} {group} <0|0|$> MKSTREAM ; XGROUP CREATECONSUMER {same} {same_group} alice ; XGROUP CREATECONSUMER {same} {same_group} bob ; XGROUP CREATECONSUMER {same} {same_group} carol
1 exact XGROUP SETID {xkey} {group} <0|$|{id}> [ENTRIESREAD {count}]
0.2 exact XGROUP DESTROY {xkey} {group}
1 exact XGROUP CREATECONSUMER {xkey} {group} {consumer}
0.5 exact XGROUP DELCONSUMER {xkey} {group} {consumer} ; XGROUP CREATECONSUMER {same} {same_group} {same_consumer}
0.3 exact XGROUP {word} {xkey} {group}
6 exact XREADGROUP GROUP {group} {consumer} [COUNT {count}] [NOACK] STREAMS {xkey} >
2 exact XREADGROUP GROUP {group} {consumer} [COUNT {count}] [NOACK] STREAMS {xkey} {id}
1 exact XREADGROUP GROUP {group} {consumer} [COUNT {count}] STREAMS {xkey} {xkey} <>|{id}> <>|{id}|$>
3 exact XACK {xkey} {group} ({id})+
2 exact XPENDING {xkey} {group}
3 pending XPENDING {xkey} {group} [IDLE {idle0}] {from_id} {to_id} {count} [{consumer}]
2 exact XCLAIM {xkey} {group} {consumer} {idle0} ({id})+ [IDLE {idle_set}|TIME {idle_set}] [RETRYCOUNT {count}] [FORCE] [JUSTID] [LASTID {id}]
2 exact XAUTOCLAIM {xkey} {group} {consumer} {idle0} {from_id} [COUNT {count}] [JUSTID]
2 xinfo XINFO STREAM {xkey} [FULL] [COUNT {count}]
2 xinfo XINFO STREAM {xkey} FULL COUNT <0|1|1000>
1 xinfo XINFO GROUPS {xkey}
1 xinfo XINFO CONSUMERS {xkey} {group}
0.2 exact XINFO {word} {xkey}
"""

# SORT of Redis 7.0 takes ERANGE that an earlier conversion left in errno for its own; the conversion of a score clears it.
SORT = """
3 exact ZADD nokey XX 1 x ; SORT {num_list} [LIMIT {index} {index}] [ASC|DESC] [GET {sort_get}] [GET {sort_get}]
3 exact ZADD nokey XX 1 x ; SORT {sortable} ALPHA [LIMIT {index} {index}] [ASC|DESC] [GET {sort_get}]
2 exact ZADD nokey XX 1 x ; SORT {num_list} [LIMIT {index} {index}] [ASC|DESC] [ALPHA] STORE {ldst} ; LRANGE {same} 0 -1
1 exact ZADD nokey XX 1 x ; SORT {sortable} BY {sort_by} [LIMIT {index} {index}] [ASC|DESC] [GET {sort_get}] [GET {sort_get}]
1 exact ZADD nokey XX 1 x ; SORT {sortable} BY {sort_by} [LIMIT {index} {index}] [ASC|DESC] [GET {sort_get}] STORE {ldst} ; LRANGE {same} 0 -1
1 set SORT {sortable} BY {sort_by} ALPHA [ASC|DESC]
2 exact ZADD nokey XX 1 x ; SORT <nl|nz> BY <nosort|nothing> [LIMIT {index} {index}] [ASC|DESC] [GET {sort_get}]
1 exact RPUSH nl {values}
1 exact LTRIM nl 5 40
1 exact ZADD nz (0 {item})+
1 set SORT {skey} BY nosort [GET {sort_get}]
1 exact ZADD nokey XX 1 x ; SORT {sortable} BY nosort STORE {ldst} ; LRANGE {same} 0 -1
2 exact ZADD nokey XX 1 x ; SORT_RO {num_list} [LIMIT {index} {index}] [ASC|DESC] [ALPHA]
0.5 exact ZADD nokey XX 1 x ; SORT_RO {sortable} ALPHA STORE {ldst}
0.5 exact ZADD nokey XX 1 x ; SORT {any} {word} [STORE {any}]
2 exact MSET ({weight_key} {sort_weight})+
1 exact HSET {weight_hash} w {sort_weight} v {value}
2 exact RPUSH {num_key} ({sort_weight})+
1 exact SADD {num_key} ({sort_weight})+
"""

# With a list or sorted set that is there, these answer at once; the others wait a few milliseconds.
BLOCKING = """
3 exact BLPOP ({lkey})+ {timeout}
3 exact BRPOP ({lkey})+ {timeout}
3 exact BLMOVE {lkey} {lkey} <LEFT|RIGHT> <LEFT|RIGHT> {timeout}
1 exact BRPOPLPUSH {lkey} {lkey} {timeout}
3 exact BLMPOP {timeout} {nlkeys} <LEFT|RIGHT> [COUNT {few}]
3 exact BZPOPMIN ({zkey})+ {timeout}
3 exact BZPOPMAX ({zkey})+ {timeout}
3 exact BZMPOP {timeout} {nzkeys} <MIN|MAX> [COUNT {few}]
2 exact XREAD [COUNT {count}] BLOCK {block_ms} STREAMS {xkey} <{id}|$>
2 exact XREADGROUP GROUP {group} {consumer} [COUNT {count}] BLOCK {block_ms} STREAMS {xkey} <>|{id}>
"""

GROUPS = {"strings": STRINGS, "generic": GENERIC, "transactions": TRANSACTIONS, "connection": CONNECTION, "config": CONFIG,
          "lists": LISTS, "sets": SETS, "hashes": HASHES, "zsets": ZSETS, "bits": BITS, "hll": HLL, "geo": GEO,
          "streams": STREAMS, "sort": SORT, "blocking": BLOCKING}

# How often a family is drawn, in thousandths before the families that are left out are taken away.
SHARES = {"strings": 100, "generic": 130, "transactions": 60, "connection": 35, "config": 8, "lists": 120, "sets": 120,
          "hashes": 100, "zsets": 150, "bits": 50, "hll": 40, "geo": 50, "streams": 140, "sort": 40, "blocking": 15}

# A sequence leans to one of these, or to none. What a family needs beside it comes along.
FOCUS = ("lists", "sets", "hashes", "zsets", "hll", "geo", "streams", "sort", "strings", "bits")
COMPANY = {"sort": ("lists", "sets", "zsets"), "blocking": ("lists", "zsets", "streams")}

# Groups whose every command must be known to the server under test.
REQUIRED = ("strings", "generic", "transactions", "connection", "config", "sets", "hll", "lists", "zsets", "hashes", "sort", "streams", "geo")

# Differences that are meant: (what it is about, why, test of (argv, ours, theirs)). Replies are the parsed values.
EXPECTED = []


# The same for events: (what it is about, test of (argv, ours, theirs)).
EXPECTED_EVENTS = [
    ("a due key that a command deletes or replaces: ours says that it expired",
     lambda argv, ours, theirs: [x for x in ours if b"expired" not in (x[1], x[0][-7:])] == [x for x in theirs if b"del" not in (x[1], x[0][-3:])]),
    ("keys that SORT asks for and that are not there: the order is the one in which a server has the members",
     lambda argv, ours, theirs: argv[0].upper() in (b"SORT", b"SORT_RO") and sorted(ours) == sorted(theirs)),
    ("due keys that a walk meets: Redis removes them there and then",
     lambda argv, ours, theirs: argv[0].upper() in (b"SCAN", b"KEYS") and not ours and all(b"expired" in (x[1], x[0][-7:]) for x in theirs)),
]


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
    start = f"ERR unknown command '{argv[0].decode('latin-1').split(chr(0))[0][:20]}"
    return any(b"\0" in a for a in argv) and str(ours).startswith(start) and str(theirs).startswith(start)


@expected("DEBUG DIGEST-VALUE without keys", "ours wants one")
def _digest_value_of_nothing(argv, ours, theirs):
    return argv[0].upper() == b"DEBUG" and len(argv) == 2 and theirs == [] and "DIGEST-VALUE" in str(ours).upper()


@expected("OBJECT ENCODING of small lists and sets", "Redis 7.2 keeps them as listpacks, 7.0 did not")
def _small_encodings(argv, ours, theirs):
    return [a.upper() for a in argv[:2]] == [b"OBJECT", b"ENCODING"] and ours == b"listpack" and theirs in (b"quicklist", b"hashtable")


@expected("MEMORY USAGE of a key that is due", "Redis still finds it, ours does not")
def _memory_of_due(argv, ours, theirs):
    return argv[0].upper() == b"MEMORY" and ours is None and isinstance(theirs, int)


@expected("COMMAND GETKEYS of ZRANK and ZREVRANK with one argument more", "WITHSCORE is newer than 7.0")
def _zrank_keys(argv, ours, theirs):
    return ([a.upper() for a in argv[:2]] == [b"COMMAND", b"GETKEYS"] and len(argv) == 6 and argv[2].upper() in (b"ZRANK", b"ZREVRANK")
            and "Invalid number of arguments" in str(theirs))


@expected("BITCOUNT with a start alone", "newer than 7.0")
def _bitcount_start(argv, ours, theirs):
    return argv[0].upper() == b"BITCOUNT" and len(argv) == 3 and "syntax error" in str(theirs)


@expected("COMMAND GETKEYS of a bare name", "7.0 wants an argument behind it, later versions look at the command first")
def _getkeys_bare(argv, ours, theirs):
    return ([a.upper() for a in argv[:2]] in ([b"COMMAND", b"GETKEYS"], [b"COMMAND", b"GETKEYSANDFLAGS"])
            and len(argv) == 3 and "wrong number of arguments" in str(theirs) and isinstance(ours, Exception))


@expected("LPOS with the lowest rank", "refused by later versions, an overflow in 7.0")
def _lowest_rank(argv, ours, theirs):
    return argv[0].upper() == b"LPOS" and str(ours).startswith("ERR value is out of range, value must between")


@expected("timeouts beyond 63 bits of milliseconds", "7.0 converts them to a negative number; later versions say what they are")
def _huge_timeout(argv, ours, theirs):
    return str(ours) == "ERR timeout is out of range" and str(theirs) == "ERR timeout is negative"


@expected("XREAD and XREADGROUP with the ID +", "newer than 7.0")
def _xread_last(argv, ours, theirs):
    return argv[0].upper() in (b"XREAD", b"XREADGROUP") and b"+" in argv and str(theirs) == "ERR Invalid stream ID specified as stream command argument"


@expected("SORT ALPHA of elements that are equal up to a NUL", "collation compares C strings; which comes first is not defined")
def _sort_nul(argv, ours, theirs):
    return (argv[0].upper() in (b"SORT", b"SORT_RO") and isinstance(ours, list) and isinstance(theirs, list)
            and any(x and b"\0" in x for x in ours) and sorted(map(repr, ours)) == sorted(map(repr, theirs)))


@expected("damaged sparse HyperLogLogs", "ours are looked through before each use; Redis notices where it comes past, or not at all")
def _damaged_hll(argv, ours, theirs):
    return argv[0].upper().startswith(b"PF") and str(ours).startswith("INVALIDOBJ")


@expected("COMMAND GETKEYS of PFMERGE without sources", "a valid request, of which Redis cannot tell the key")
def _getkeys_pfmerge(argv, ours, theirs):
    return [a.upper() for a in argv[:3]] == [b"COMMAND", b"GETKEYS", b"PFMERGE"] and len(argv) == 4 and ours == [argv[3]]


@expected("places that are equally far, where not all are asked for", "Redis sorts them in part, in no defined order; ours has them as found")
def _equally_far(argv, ours, theirs):
    words = [a.upper() for a in argv]
    if not (words[0].startswith(b"GEO") and b"COUNT" in words and isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs)):
        return False
    if b"WITHDIST" not in words:
        return True
    return [x[1] for x in ours] == [x[1] for x in theirs]


def rows():
    """(group, weight, comparison, syntax) of every row."""
    for group, text in GROUPS.items():
        for line in text.strip().splitlines():
            weight, comparison, syntax = line.split(" ", 2)
            yield group, float(weight), comparison, syntax
