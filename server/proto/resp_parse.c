#include "config.h"

#include "server/proto/resp.h"

#include <limits.h>
#include <stdio.h>

#include "server/base/assert.h"
#include "server/base/endian.h"
#include "server/base/mem.h"
#include "server/base/num.h"

/* Two paths. parse_whole() takes a request that lies in the buffer from its first to its last byte, in canonical form,
 * with at most 99 arguments: nearly all of them. It writes the caller's slices and keeps nothing; whatever it does not
 * like it leaves to the second path, which starts over once and from then on keeps its progress in struct resp_parser,
 * so that a request that drips in byte by byte costs as much as one that comes at once.
 *
 * Between calls the arguments of a pending request are slices whose p is an offset from the request's first byte.
 *
 * What Redis accepts is accepted: the two bytes behind a CR or an argument are not looked at, except that a request
 * where they are not what they should be is not canonical. A line's end is looked for in at most inline_max_bytes,
 * however the bytes are cut.
 */

#define CRLF_LE16 ((uint16_t)('\r' | '\n' << 8))
/* The shortest argument: $0 CRLF CRLF. */
#define ARG_MIN_BYTES 6

static inline unsigned digit_of(char c) {
    return (unsigned)(unsigned char)c - (unsigned)'0';
}

/* Length of three or more digits: s[1] and s[2] are digits. NULL where it is not plain. Reads below e only. */
static const char *long_length(const char *s, const char *e, size_t *ret_len) {
    size_t len = digit_of(s[1]) * 10 + digit_of(s[2]);
    const char *q = s + 3;
    const char *last = e - q > 9 ? q + 9 : e;
    while (q < last && digit_of(*q) <= 9)
        len = len * 10 + digit_of(*q++);
    if (q >= last || *q != '\r')
        return NULL;
    *ret_len = len;
    return q;
}

/* "$len CRLF" at s, plain and with at least ARG_MIN_BYTES before e: returns the first byte of the argument, which need
 * not be there. NULL: not plain or not whole. */
static inline const char *plain_arg_header(const char *s, const char *e, size_t *ret_len) {
    if (__builtin_expect(e - s < ARG_MIN_BYTES || s[0] != '$', 0))
        return NULL;
    unsigned d = digit_of(s[1]);
    if (__builtin_expect(d > 9, 0))
        return NULL;
    const char *q = s + 2;
    *ret_len = d;
    if (*q != '\r') {
        unsigned d2 = digit_of(*q);
        if (__builtin_expect(d == 0 || d2 > 9, 0))
            return NULL;
        *ret_len = (size_t)d * 10 + d2;
        if (*++q != '\r') {
            q = long_length(s, e, ret_len);
            if (q == NULL)
                return NULL;
        }
    }
    if (__builtin_expect(e - q < 2 || q[1] != '\n', 0))
        return NULL;
    return q + 2;
}

/* True when the request was taken. */
static inline bool parse_whole(const struct resp_limits *limits, const char *data, size_t n, struct slice *argv,
                               int argv_cap, struct resp_request *req) {
    if (n < 4 + ARG_MIN_BYTES || data[0] != '*')
        return false;
    const char *e = data + n;
    const char *s = data + 2;
    unsigned argc = digit_of(data[1]);
    if (argc == 0 || argc > 9)
        return false;
    if (*s != '\r') {
        unsigned d = digit_of(*s);
        if (d > 9)
            return false;
        argc = argc * 10 + d;
        s++;
    }
    if (load_le16(s) != CRLF_LE16 || argc > (unsigned)argv_cap || argc > limits->multibulk_max)
        return false;
    s += 2;
    size_t bulk_max = limits->bulk_max_bytes;
    for (unsigned i = 0; i < argc; i++) {
        size_t len;
        const char *arg = plain_arg_header(s, e, &len);
        if (__builtin_expect(arg == NULL || len > bulk_max || (size_t)(e - arg) < len + 2, 0))
            return false;
        if (__builtin_expect(load_le16(arg + len) != CRLF_LE16, 0))
            return false;
        argv[i] = slice_of(arg, len);
        s = arg + len + 2;
    }
    req->argv = argv;
    req->argc = (int)argc;
    req->consumed = (size_t)(s - data);
    req->canonical = true;
    return true;
}

/* ---- requests in pieces, odd ones and large ones ---- */

void resp_parser_init(struct resp_parser *p) {
    memset(p, 0, sizeof *p);
}

void resp_parser_deinit(struct resp_parser *p) {
    resp_parser_reset(p);
}

void resp_parser_reset(struct resp_parser *p) {
    mem_free(p->argv);
    memset(p, 0, sizeof *p);
}

size_t resp_parser_memory(const struct resp_parser *p) {
    return (size_t)p->argv_cap * sizeof *p->argv;
}

/* The pending request is over; the array stays, for the result may lie in it. */
static void finish_pending(struct resp_parser *p) {
    p->pending = false;
    p->scanned = p->searched = 0;
    p->multibulk = 0;
    p->argc = 0;
}

static enum resp_parse fail(struct resp_parser *p, const char *text, const char **ret_error) {
    finish_pending(p);
    *ret_error = text;
    return RESP_PARSE_ERROR;
}

static bool add_arg(struct resp_parser *p, size_t offset, size_t len) {
    if (p->argc == p->argv_cap) {
        int cap = p->argv_cap < 8 ? 8 : p->argv_cap > INT_MAX / 2 ? INT_MAX : p->argv_cap * 2;
        struct slice *argv = mem_try_realloc(p->argv, (size_t)cap * sizeof *argv);
        if (argv == NULL)
            return false;
        p->argv = argv;
        p->argv_cap = cap;
    }
    p->argv[p->argc++] = (struct slice){(const char *)(uintptr_t)offset, len};
    return true;
}

/* Hands out the arguments, as slices of data. */
static enum resp_parse give_request(struct resp_parser *p, const char *data, size_t consumed, struct slice *argv_store,
                                    int argv_store_cap, struct resp_request *req) {
    req->argv = p->argc <= argv_store_cap ? argv_store : p->argv;
    req->argc = p->argc;
    req->consumed = consumed;
    req->canonical = p->canonical;
    for (int i = 0; i < p->argc; i++)
        req->argv[i] = slice_of(data + (uintptr_t)p->argv[i].p, p->argv[i].n);
    finish_pending(p);
    return RESP_PARSE_REQUEST;
}

bool resp_parser_finish(struct resp_parser *p, const char *data, struct slice last, struct resp_request *ret_request) {
    HF_ASSERT(p->pending && p->multibulk == 1);
    const size_t consumed = p->scanned;
    if (!add_arg(p, 0, last.n))
        return false;
    p->canonical = false;
    p->bulk_len = -1;
    give_request(p, data, consumed, NULL, 0, ret_request);
    ret_request->argv[ret_request->argc - 1] = last;
    return true;
}

enum line { LINE_WHOLE, LINE_MORE, LINE_TOO_LONG };

/* Looks for `terminator` in the line that starts at p->scanned, on from p->searched. */
static enum line find_line(struct resp_parser *p, const struct resp_limits *limits, const char *data, size_t n,
                           char terminator, size_t *ret_end) {
    size_t stop = n - p->scanned > limits->inline_max_bytes ? p->scanned + limits->inline_max_bytes + 1 : n;
    const char *at = NULL;
    if (p->searched < stop)
        at = memchr(data + p->searched, terminator, stop - p->searched);
    if (at == NULL) {
        p->searched = stop;
        return n - p->scanned > limits->inline_max_bytes ? LINE_TOO_LONG : LINE_MORE;
    }
    *ret_end = (size_t)(at - data);
    p->searched = *ret_end;
    return LINE_WHOLE;
}

/* A header line with the byte behind its CR: its end, where p->scanned moves to on success is *ret_cr + 2. */
static enum line find_header(struct resp_parser *p, const struct resp_limits *limits, const char *data, size_t n,
                             size_t *ret_cr) {
    enum line line = find_line(p, limits, data, n, '\r', ret_cr);
    if (line == LINE_WHOLE && n - *ret_cr < 2)
        return LINE_MORE;
    return line;
}

static void take_header(struct resp_parser *p, const char *data, size_t cr) {
    if (data[cr + 1] != '\n')
        p->canonical = false;
    p->scanned = p->searched = cr + 2;
}

static bool unauthenticated(const struct resp_limits *limits) {
    return limits->multibulk_max < INT32_MAX;
}

/* "*N". RESP_PARSE_REQUEST: go on with the arguments. */
static enum resp_parse parse_multibulk_header(struct resp_parser *p, const struct resp_limits *limits, const char *data,
                                              size_t n, struct resp_request *req, const char **ret_error) {
    size_t cr = 0;
    enum line line = find_header(p, limits, data, n, &cr);
    if (line == LINE_TOO_LONG)
        return fail(p, "too big mbulk count string", ret_error);
    if (line == LINE_MORE)
        return RESP_PARSE_MORE;
    int64_t count;
    if (num_parse_i64(slice_of(data + 1, cr - 1), &count) != 0 || count > INT32_MAX)
        return fail(p, "invalid multibulk length", ret_error);
    if (count > (int64_t)limits->multibulk_max)
        return fail(p, "unauthenticated multibulk length", ret_error);
    take_header(p, data, cr);
    if (count <= 0) {
        req->argc = 0;
        req->consumed = p->scanned;
        finish_pending(p);
        return RESP_PARSE_EMPTY;
    }
    p->multibulk = count;
    return RESP_PARSE_REQUEST;
}

/* "$len" at p->scanned; sets p->bulk_len. RESP_PARSE_REQUEST: go on. */
static enum resp_parse parse_bulk_header(struct resp_parser *p, const struct resp_limits *limits, const char *data,
                                         size_t n, const char **ret_error) {
    size_t plain_len;
    const char *arg = plain_arg_header(data + p->scanned, data + n, &plain_len);
    if (arg != NULL && plain_len <= limits->bulk_max_bytes) {
        p->scanned = p->searched = (size_t)(arg - data);
        p->bulk_len = (int64_t)plain_len;
        return RESP_PARSE_REQUEST;
    }
    size_t cr = 0;
    enum line line = find_header(p, limits, data, n, &cr);
    if (line == LINE_TOO_LONG)
        return fail(p, "too big bulk count string", ret_error);
    if (line == LINE_MORE)
        return RESP_PARSE_MORE;
    char first = data[p->scanned];
    if (first != '$') {
        snprintf(p->error, sizeof p->error, "expected '$', got '%c'", first == '\0' ? ' ' : first);
        return fail(p, p->error, ret_error);
    }
    int64_t len;
    if (num_parse_i64(slice_of(data + p->scanned + 1, cr - p->scanned - 1), &len) != 0 || len < 0)
        return fail(p, "invalid bulk length", ret_error);
    if ((uint64_t)len > limits->bulk_max_bytes)
        return fail(p, unauthenticated(limits) ? "unauthenticated bulk length" : "invalid bulk length", ret_error);
    take_header(p, data, cr);
    p->bulk_len = len;
    return RESP_PARSE_REQUEST;
}

static enum resp_parse parse_multibulk(struct resp_parser *p, const struct resp_limits *limits, const char *data,
                                       size_t n, struct slice *argv_store, int argv_store_cap, struct resp_request *req,
                                       const char **ret_error, size_t *ret_wanted) {
    *ret_wanted = 1;
    if (p->multibulk == 0) {
        enum resp_parse result = parse_multibulk_header(p, limits, data, n, req, ret_error);
        if (result != RESP_PARSE_REQUEST)
            return result;
    }
    for (; p->multibulk > 0; p->multibulk--) {
        if (p->bulk_len < 0) {
            enum resp_parse result = parse_bulk_header(p, limits, data, n, ret_error);
            if (result != RESP_PARSE_REQUEST)
                return result;
        }
        size_t len = (size_t)p->bulk_len;
        size_t there = n - p->scanned;
        if (there < len + 2) {
            *ret_wanted = len + 2 - there;
            return RESP_PARSE_MORE;
        }
        if (load_le16(data + p->scanned + len) != CRLF_LE16)
            p->canonical = false;
        if (!add_arg(p, p->scanned, len))
            return fail(p, "out of memory for the arguments of the request", ret_error);
        p->scanned += len + 2;
        p->searched = p->scanned;
        p->bulk_len = -1;
    }
    return give_request(p, data, p->scanned, argv_store, argv_store_cap, req);
}

/* ---- lines of words ---- */

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_of(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One escape of a "…" string; *s is behind the backslash, before e. */
static char take_escape(const char **s, const char *e) {
    char c = *(*s)++;
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    case 'x':
        if (e - *s >= 2 && hex_of((*s)[0]) >= 0 && hex_of((*s)[1]) >= 0) {
            c = (char)(hex_of((*s)[0]) * 16 + hex_of((*s)[1]));
            *s += 2;
        }
        return c;
    default:
        return c;
    }
}

/* A quoted part of a word; *s is behind the opening quote. Writes the bytes it stands for. False when it does not end,
 * or something but a blank follows. */
static bool take_quoted(const char **s, const char *e, char quote, char **out) {
    while (*s < e) {
        char c = *(*s)++;
        if (c == quote)
            return *s == e || is_blank(**s);
        if (c == '\\' && *s < e) {
            if (quote == '"')
                c = take_escape(s, e);
            else if (**s == '\'')
                c = *(*s)++;
        }
        *(*out)++ = c;
    }
    return false;
}

/* Cuts the next word off *s. Its bytes are written to out, which may be the word's own place: they are never more than
 * were read. 1: a word of *ret_len bytes; 0: none left; -1: unbalanced quotes. */
static int take_word(const char **s, const char *e, char *out, size_t *ret_len) {
    const char *start_out = out;
    if (*s == e)
        return 0;
    while (*s < e && **s != ' ' && **s != '\n' && **s != '\r' && **s != '\t') {
        char c = *(*s)++;
        if (c != '"' && c != '\'') {
            *out++ = c;
            continue;
        }
        if (!take_quoted(s, e, c, &out))
            return -1;
        break;
    }
    *ret_len = (size_t)(out - start_out);
    return 1;
}

static const char *skip_blanks(const char *s, const char *e) {
    while (s < e && is_blank(*s))
        s++;
    return s;
}

static enum resp_parse parse_inline(struct resp_parser *p, const struct resp_limits *limits, char *data, size_t n,
                                    struct slice *argv_store, int argv_store_cap, struct resp_request *req,
                                    const char **ret_error, size_t *ret_wanted) {
    size_t lf = 0;
    enum line line = find_line(p, limits, data, n, '\n', &lf);
    if (line == LINE_TOO_LONG)
        return fail(p, "too big inline request", ret_error);
    if (line == LINE_MORE) {
        *ret_wanted = 1;
        return RESP_PARSE_MORE;
    }
    size_t len = lf > 0 && data[lf - 1] == '\r' ? lf - 1 : lf;
    const char *e = data + len;
    const char *s = skip_blanks(data, e);
    p->canonical = false;
    while (s < e) {
        size_t offset = (size_t)(s - data);
        size_t word_len = 0;
        if (take_word(&s, e, data + offset, &word_len) < 0)
            return fail(p, "unbalanced quotes in request", ret_error);
        if (!add_arg(p, offset, word_len))
            return fail(p, "out of memory for the arguments of the request", ret_error);
        s = skip_blanks(s, e);
    }
    if (p->argc == 0) {
        req->argc = 0;
        req->consumed = lf + 1;
        finish_pending(p);
        return RESP_PARSE_EMPTY;
    }
    return give_request(p, data, lf + 1, argv_store, argv_store_cap, req);
}

enum resp_parse resp_parse_request(struct resp_parser *p, const struct resp_limits *limits, char *data, size_t n,
                                   struct slice *argv_store, int argv_store_cap, struct resp_request *ret_request,
                                   const char **ret_error, size_t *ret_wanted) {
    if (__builtin_expect(!p->pending, 1)) {
        /* What the last request needed may be much, and this client may go idle. */
        if (__builtin_expect(p->argv != NULL, 0))
            resp_parser_reset(p);
        if (parse_whole(limits, data, n, argv_store, argv_store_cap, ret_request))
            return RESP_PARSE_REQUEST;
        if (n == 0) {
            *ret_wanted = 1;
            return RESP_PARSE_MORE;
        }
        p->pending = true;
        p->canonical = true;
        p->bulk_len = -1;
    }
    if (data[0] == '*')
        return parse_multibulk(p, limits, data, n, argv_store, argv_store_cap, ret_request, ret_error, ret_wanted);
    return parse_inline(p, limits, data, n, argv_store, argv_store_cap, ret_request, ret_error, ret_wanted);
}

void resp_free_words(char **words, size_t *lens, int count) {
    for (int i = 0; i < count; i++)
        mem_free(words[i]);
    mem_free(words);
    mem_free(lens);
}

int resp_split_line(struct slice line, char ***ret_words, size_t **ret_lens, int *ret_count) {
    const char *e = line.p + line.n;
    const char *s = skip_blanks(line.p, e);
    char *scratch = mem_alloc(line.n + 1);
    char **words = NULL;
    size_t *lens = NULL;
    int count = 0, cap = 0, result = 0;
    while (s < e) {
        size_t len = 0;
        if (take_word(&s, e, scratch, &len) < 0) {
            result = -1;
            break;
        }
        if (count == cap) {
            cap = cap == 0 ? 8 : cap * 2;
            words = mem_realloc(words, (size_t)cap * sizeof *words);
            lens = mem_realloc(lens, (size_t)cap * sizeof *lens);
        }
        words[count] = mem_strndup(scratch, len);
        lens[count++] = len;
        s = skip_blanks(s, e);
    }
    mem_free(scratch);
    if (result != 0) {
        resp_free_words(words, lens, count);
        return result;
    }
    *ret_words = words;
    *ret_lens = lens;
    *ret_count = count;
    return 0;
}
