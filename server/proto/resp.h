/* RESP2 and RESP3: the writer of replies, and the parser of requests.
 *
 * Source: the RESP2/RESP3 specifications' wire forms. A writer function appends one element to an output queue; `resp`
 * is 2 or 3, and types that RESP2 lacks are written in its customary form (map → flat array, set → array, double →
 * bulk, null → $-1 or *-1, boolean → integer, big number and verbatim → bulk, push → array). Thread: as the queue.
 * Nothing fails.
 */
#ifndef HF_PROTO_RESP_H
#define HF_PROTO_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/slice.h"
#include "server/proto/outq.h"

struct resp_writer {
    struct outq *q;
    int resp; /* 2 or 3 */
};

/* Room that resp_put_header() may need: the type, 20 digits, CR LF, and 2 spare. */
#define RESP_HEADER_BYTES 24

/* Slow paths of the inline functions below. */
char *resp_put_header_long(char *p, char type, uint64_t n);
void resp_int_long(struct resp_writer *w, int64_t v);

/* Writes type, the digits of n, CR LF to p; returns the place behind. */
static inline char *resp_put_header(char *p, char type, uint64_t n) {
    if (__builtin_expect(n >= 100, 0))
        return resp_put_header_long(p, type, n);
    p[0] = type;
    if (n < 10) {
        p[1] = (char)('0' + n);
        p[2] = '\r';
        p[3] = '\n';
        return p + 4;
    }
    p[1] = (char)('0' + n / 10);
    p[2] = (char)('0' + n % 10);
    p[3] = '\r';
    p[4] = '\n';
    return p + 5;
}

/* Appends n ≤ OUTQ_RESERVE_MAX bytes that are ready for the wire. */
static inline void resp_raw(struct resp_writer *w, const char *p, size_t n) {
    char *to = outq_reserve(w->q, n);
    memcpy(to, p, n);
    outq_commit(w->q, n);
}
static inline void resp_header(struct resp_writer *w, char type, uint64_t n) {
    char *p = outq_reserve(w->q, RESP_HEADER_BYTES);
    outq_commit(w->q, (size_t)(resp_put_header(p, type, n) - p));
}

void resp_simple(struct resp_writer *w, const char *text); /* +text; CR and LF inside become blanks */
/* +OK */
static inline void resp_ok(struct resp_writer *w) {
    resp_raw(w, "+OK\r\n", 5);
}
/* -text; text carries its code ("ERR …"); CR and LF inside become blanks. */
void resp_error(struct resp_writer *w, struct slice text);
static inline void resp_int(struct resp_writer *w, int64_t v) {
    if (__builtin_expect(v >= 0 && v < 100, 1))
        resp_header(w, ':', (uint64_t)v);
    else
        resp_int_long(w, v);
}
void resp_bulk(struct resp_writer *w, struct slice s);
void resp_bulk_cstr(struct resp_writer *w, const char *s);
void resp_bulk_i64(struct resp_writer *w, int64_t v);       /* the digits as a bulk string */
void resp_bulk_rbuf(struct resp_writer *w, struct rbuf *r); /* whole block, by reference when large */
/* $-1 / _ */
static inline void resp_null(struct resp_writer *w) {
    if (w->resp == 2)
        resp_raw(w, "$-1\r\n", 5);
    else
        resp_raw(w, "_\r\n", 3);
}
/* *-1 / _ */
static inline void resp_null_array(struct resp_writer *w) {
    if (w->resp == 2)
        resp_raw(w, "*-1\r\n", 5);
    else
        resp_raw(w, "_\r\n", 3);
}
void resp_bool(struct resp_writer *w, bool v);
void resp_double(struct resp_writer *w, double v);
/* INCRBYFLOAT's human form of a long double, as a bulk in both protocols. */
void resp_bulk_ldouble(struct resp_writer *w, long double v);
void resp_big_number(struct resp_writer *w, struct slice digits);
void resp_verbatim(struct resp_writer *w, const char ext[3], struct slice text); /* =…txt: / bulk */
static inline void resp_array(struct resp_writer *w, size_t n) {
    resp_header(w, '*', n);
}
static inline void resp_map(struct resp_writer *w, size_t pairs) {
    resp_header(w, w->resp == 2 ? '*' : '%', w->resp == 2 ? pairs * 2 : pairs);
}
static inline void resp_set(struct resp_writer *w, size_t n) {
    resp_header(w, w->resp == 2 ? '*' : '~', n);
}
static inline void resp_push(struct resp_writer *w, size_t n) {
    resp_header(w, w->resp == 2 ? '*' : '>', n);
}
/* Nothing in RESP2: the caller then leaves out the pairs. */
static inline void resp_attribute(struct resp_writer *w, size_t pairs) {
    if (w->resp > 2)
        resp_header(w, '|', pairs);
}

/* Aggregates whose size is known at the end. Nested ones are closed innermost first. */
struct outq_hole resp_open(struct resp_writer *w);
void resp_close_array(struct resp_writer *w, struct outq_hole h, size_t n);
void resp_close_map(struct resp_writer *w, struct outq_hole h, size_t pairs);
void resp_close_set(struct resp_writer *w, struct outq_hole h, size_t n);

/* ---- requests ---- */

enum resp_parse {
    RESP_PARSE_REQUEST, /* a whole request was cut out */
    RESP_PARSE_EMPTY,   /* an empty line or *0 or *-1: consumed, no request, no reply */
    RESP_PARSE_MORE,    /* the bytes so far are a valid beginning; more are needed */
    RESP_PARSE_ERROR    /* protocol error: ret_error says which; the connection is to be closed after the reply */
};

struct resp_limits {
    size_t multibulk_max;    /* elements of a request: INT32_MAX, 10 before authentication */
    size_t bulk_max_bytes;   /* proto-max-bulk-len; 16384 before authentication */
    size_t inline_max_bytes; /* 64 KiB; of a header line too */
};
/* A multibulk_max below INT32_MAX marks a client that has not authenticated: the errors then say "unauthenticated". */

/* Progress of a request that came in pieces, so that bytes are looked at once: zeroed at first and after each request.
 * While the last result was RESP_PARSE_MORE and bulk_len ≥ 0, the bytes from data[scanned] on are the beginning of an
 * argument of bulk_len bytes. */
struct resp_parser {
    size_t scanned;  /* bytes of the pending request already accounted for */
    size_t searched; /* the end of the line at `scanned` does not lie before this */
    int64_t
        multibulk;    /* elements still to come, of the pending multibulk; 0 when its header is incomplete, or inline */
    int64_t bulk_len; /* while pending: length of the bulk being read, or -1 */
    struct slice *argv; /* owned: arguments of the pending request; p is the offset from its first byte */
    int argc;
    int argv_cap;
    bool pending;   /* a request has begun */
    bool canonical; /* of the pending request so far */
    char error[40];
};

struct resp_request {
    struct slice *argv; /* argv_store, or the parser's array: then valid until the next call on the parser */
    int argc;
    size_t consumed; /* bytes of input this request took, from its first byte; set with RESP_PARSE_EMPTY too */
    bool canonical;  /* the input bytes are a plain RESP multibulk that may be propagated verbatim */
};

void resp_parser_init(struct resp_parser *p);
void resp_parser_deinit(struct resp_parser *p);
/* Forgets a pending request and frees memory: for a client that goes idle or whose input is thrown away. */
void resp_parser_reset(struct resp_parser *p);
static inline bool resp_parser_pending(const struct resp_parser *p) {
    return p->pending;
}
/* Bytes of memory the parser holds, for limits. */
size_t resp_parser_memory(const struct resp_parser *p);
/* Parses the request that starts at data[0]. argv_store has argv_store_cap slices for requests that fit; longer ones
 * get memory from the parser. Arguments are slices of data: nothing is copied, so they move with the buffer. After
 * RESP_PARSE_MORE the next call passes the same bytes (at any address) with more behind them. For inline requests,
 * unescaping happens in place in data (it only shrinks). On RESP_PARSE_ERROR *ret_error is the text behind "-ERR
 * Protocol error: ", static or in *p. On RESP_PARSE_MORE *ret_wanted is how many more bytes are known to be needed at
 * least (≥ 1) for the element being read: a reader sizes its buffer by it. */
enum resp_parse resp_parse_request(struct resp_parser *p, const struct resp_limits *limits, char *data, size_t n,
                                   struct slice *argv_store, int argv_store_cap, struct resp_request *ret_request,
                                   const char **ret_error, size_t *ret_wanted) __attribute__((warn_unused_result));

/* Ends a pending request whose last argument (p->multibulk is 1) was read elsewhere: `last` stands for it. data is the
 * request's first byte; of its bytes, those up to p->scanned are consumed. The arguments stand in the parser, valid until
 * the next call on it; the request is not canonical. False when memory is missing. */
bool resp_parser_finish(struct resp_parser *p, const char *data, struct slice last, struct resp_request *ret_request)
    __attribute__((warn_unused_result));

/* Splits a line in words with the quoting rules of inline requests and configuration files ("…" with \n \r \t \b \a
 * \xHH, '…' with \'). The words are NUL-terminated strings, which may hold NUL bytes too; the caller
 * frees them with resp_free_words(). 0, or -1 on unbalanced quotes. */
int resp_split_line(struct slice line, char ***ret_words, size_t **ret_lens, int *ret_count)
    __attribute__((warn_unused_result));
void resp_free_words(char **words, size_t *lens, int count);

/* A request as propagated and stored: *N CRLF $len CRLF … Appends to b. */
void resp_append_command(struct buf *b, const struct slice *argv, int argc);

#endif
