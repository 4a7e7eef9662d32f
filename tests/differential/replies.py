"""Replies as trees of what was on the wire, and the ways to compare two of them."""

from harness.resp import Incomplete, Push, ReplyError, frame_end

NEAR = 30_000
EPOCH_LIKE = 10 ** 9  # numbers from here on may be clock readings


def tree(buf, pos=0):
    """(node, position behind it). A node is (kind, text) or (kind, nodes); RESP3 doubles are (",", value); attributes are left out."""
    eol = buf.find(b"\r\n", pos)
    if eol < 0:
        raise Incomplete
    kind = chr(buf[pos])
    line = bytes(buf[pos + 1:eol])
    nxt = eol + 2
    if kind in "*~>%|":
        n = int(line)
        if n < 0:
            return ("_", b""), nxt
        out = []
        for _ in range(n * 2 if kind in "%|" else n):
            node, nxt = tree(buf, nxt)
            out.append(node)
        return tree(buf, nxt) if kind == "|" else ((kind, out), nxt)
    if kind in "$=!":
        n = int(line)
        if n < 0:
            return ("_", b""), nxt
        if nxt + n + 2 > len(buf):
            raise Incomplete
        return (kind, bytes(buf[nxt:nxt + n])), nxt + n + 2
    if kind == ",":
        return (kind, repr(float(line))), nxt
    return (kind, line), nxt


def is_aggregate(node):
    return node[0] in "*~>%"


def value(node):
    """The Python value, as harness.resp.parse gives it; sets stay lists."""
    kind, body = node
    if kind == "%":
        return {repr(value(k)): value(v) for k, v in zip(body[::2], body[1::2])}
    if is_aggregate(node):
        return (Push if kind == ">" else list)(value(n) for n in body)
    if kind in "-!":
        return ReplyError(body.decode("latin-1"))
    if kind in ":(":
        return int(body)
    if kind == ",":
        return float(body)
    if kind == "_":
        return None
    if kind == "#":
        return body == b"t"
    return body[4:] if kind == "=" else body


def pairs(node):
    kind, body = node
    if kind != "%" and any(map(is_aggregate, body)):
        return sorted(map(repr, body))
    return sorted(map(repr, zip(body[::2], body[1::2])))


def same_set(a, b, of=lambda node: sorted(map(repr, node[1]))):
    return is_aggregate(a) and a[0] == b[0] and len(a[1]) == len(b[1]) and of(a) == of(b)


def same_scan(a, b, of=lambda node: sorted(set(map(repr, node[1])))):
    if not (is_aggregate(a) and is_aggregate(b) and len(a[1]) == len(b[1]) == 2):
        return False
    (cursor_a, items_a), (cursor_b, items_b) = a[1], b[1]
    return cursor_a == cursor_b and is_aggregate(items_a) and is_aggregate(items_b) and of(items_a) == of(items_b)


def near_numbers(a, b):
    return a[0] == b[0] == ":" and (a == b or (min(int(a[1]), int(b[1])) >= 0 and abs(int(a[1]) - int(b[1])) <= NEAR))


def same_near(a, b):
    if is_aggregate(a) and is_aggregate(b):
        return a[0] == b[0] and len(a[1]) == len(b[1]) and all(map(same_near, a[1], b[1]))
    return a == b or near_numbers(a, b)


def same_pending(a, b):
    if not (is_aggregate(a) and is_aggregate(b) and len(a[1]) == len(b[1])):
        return False
    for x, y in zip(a[1], b[1]):
        if not (is_aggregate(x) and is_aggregate(y) and len(x[1]) == len(y[1]) == 4):
            return x == y
        if (x[1][0], x[1][1], x[1][3]) != (y[1][0], y[1][1], y[1][3]) or not near_numbers(x[1][2], y[1][2]):
            return False
    return True


# Redis keeps nodes in which trimming by id left nothing but deleted entries; consumers' active times are newer than 7.0.
XINFO_OWN = (b"radix-tree-keys", b"radix-tree-nodes", b"active-time", b"inactive")
XINFO_CLOCK = (b"idle", b"seen-time")


def without_idlers(node):
    """Of a list of consumers those that have something pending: a consumer is there from its first question on in 7.2, in 7.0
    when it is first given something."""
    def idles(x):
        if not is_aggregate(x) or x[1][:1] != [("$", b"name")]:
            return False
        fields = {k[1]: v for k, v in zip(x[1][::2], x[1][1::2])}
        return (b"seen-time" in fields and fields.get(b"pel-count") == (":", b"0")) or (b"idle" in fields and fields.get(b"pending") == (":", b"0"))
    return (node[0], [x for x in node[1] if not idles(x)]) if node[0] == "*" else node


def same_xinfo(a, b):
    """Maps (in RESP2 flat arrays that begin with a name) field by field; elsewhere times since 1970 are near, all else exact."""
    if is_aggregate(a) and is_aggregate(b):
        a, b = without_idlers(a), without_idlers(b)
    else:
        return a == b or (a[0] == b[0] == ":" and min(int(a[1]), int(b[1])) >= EPOCH_LIKE and near_numbers(a, b))
    if a[0] == b[0] == "%" or (a[0] == b[0] == "*" and looks_like_map(a) and looks_like_map(b)):
        x, y = ([(k, v) for k, v in zip(n[1][::2], n[1][1::2]) if k[1] not in XINFO_OWN] for n in (a, b))
        return len(x) == len(y) and all(
            k == m and (near_numbers(v, w) if k[1] in XINFO_CLOCK and v[0] == ":" else v[0] == w[0] if k[1] == b"consumers" and v[0] == ":"
                        else same_xinfo(v, w)) for (k, v), (m, w) in zip(x, y))
    return a[0] == b[0] and len(a[1]) == len(b[1]) and all(map(same_xinfo, a[1], b[1]))


def looks_like_map(node):
    body = node[1]
    return len(body) >= 4 and len(body) % 2 == 0 and body[0][0] == "$" and body[0][1] in (b"length", b"name")


def same_length(a, b):
    return a[0] == b[0] and (not is_aggregate(a) or len(a[1]) == len(b[1]))


def same_shape(a, b):
    strings = "$+="
    return a[0] == b[0] or (a[0] in strings and b[0] in strings)


SAME = {"exact": lambda a, b: a == b, "set": same_set, "pairs": lambda a, b: same_set(a, b, pairs), "scan": same_scan,
        "scanpairs": lambda a, b: same_scan(a, b, lambda node: sorted(set(pairs(node)))), "near": same_near, "pending": same_pending,
        "xinfo": same_xinfo, "length": same_length, "shape": same_shape}


def read_replies(client, count, guess=None):
    """The bytes of `count` replies. Where they are what was guessed, None: they need no cutting up."""
    if guess is not None:
        while len(client.buf) < len(guess) and guess.startswith(client.buf):
            client._fill()
        if client.buf == guess:
            client.buf.clear()
            return None
    out, pos = [], 0
    while len(out) < count:
        try:
            end = frame_end(client.buf, pos)
        except Incomplete:
            client._fill()
            continue
        out.append(bytes(client.buf[pos:end]))
        pos = end
    del client.buf[:pos]
    return out
