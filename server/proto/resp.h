/* RESP2 and RESP3: the writer of replies, and the parser of requests.
 *
 * Source: the RESP2/RESP3 specifications' wire forms. A writer function appends one element to an output queue; `resp` is 2 or 3, and types that
 * RESP2 lacks are written in its customary form (map → flat array, set → array, double → bulk, null → $-1 or *-1, boolean → integer, big
 * number and verbatim → bulk, push → array).
 * Thread: as the queue. Nothing fails.
 */
#ifndef HF_PROTO_RESP_H
#define HF_PROTO_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"
#include "server/proto/outq.h"

struct resp_writer {
    struct outq *q;
    int resp; /* 2 or 3 */
};

void resp_simple(struct resp_writer *w, const char *text);            /* +text */
void resp_ok(struct resp_writer *w);                                  /* +OK */
/* -text; text carries its code ("ERR …"); CR and LF inside become blanks. */
void resp_error(struct resp_writer *w, struct slice text);
void resp_int(struct resp_writer *w, int64_t v);
void resp_bulk(struct resp_writer *w, struct slice s);
void resp_bulk_cstr(struct resp_writer *w, const char *s);
void resp_bulk_i64(struct resp_writer *w, int64_t v); /* the digits as a bulk string */
void resp_bulk_rbuf(struct resp_writer *w, struct rbuf *r); /* whole block, by reference when large */
void resp_null(struct resp_writer *w);       /* $-1 / _ */
void resp_null_array(struct resp_writer *w); /* *-1 / _ */
void resp_bool(struct resp_writer *w, bool v);
void resp_double(struct resp_writer *w, double v);
/* Double in %.17g human long-double form of INCRBYFLOAT as a bulk, in both protocols. */
void resp_bulk_ldouble(struct resp_writer *w, long double v);
void resp_big_number(struct resp_writer *w, struct slice digits);
void resp_verbatim(struct resp_writer *w, const char ext[3], struct slice text); /* =…txt: / bulk */
void resp_array(struct resp_writer *w, size_t n);
void resp_map(struct resp_writer *w, size_t pairs);
void resp_set(struct resp_writer *w, size_t n);
void resp_push(struct resp_writer *w, size_t n);
void resp_attribute(struct resp_writer *w, size_t pairs); /* nothing in RESP2: the caller checks */

/* Aggregates whose size is known at the end. */
struct outq_hole resp_open(struct resp_writer *w);
void resp_close_array(struct resp_writer *w, struct outq_hole h, size_t n);
void resp_close_map(struct resp_writer *w, struct outq_hole h, size_t pairs);
void resp_close_set(struct resp_writer *w, struct outq_hole h, size_t n);

/* ---- requests ---- */

enum resp_parse {
    RESP_PARSE_REQUEST,  /* a whole request was cut out */
    RESP_PARSE_EMPTY,    /* an empty line or *0 or *-1: consumed, no request, no reply */
    RESP_PARSE_MORE,     /* the bytes so far are a valid beginning; more are needed */
    RESP_PARSE_ERROR     /* protocol error: ret_error says which; the connection is to be closed after the reply */
};

struct resp_limits {
    size_t multibulk_max;       /* elements of a request: INT32_MAX, 10 before authentication */
    size_t bulk_max_bytes;      /* proto-max-bulk-len; 16384 before authentication */
    size_t inline_max_bytes;    /* 64 KiB */
};

/* Progress of a request that came in pieces, so that bytes are looked at once: zeroed at first and after each request. */
struct resp_parser {
    size_t scanned;      /* bytes of the pending request already accounted for */
    int64_t multibulk;   /* elements still to come, of the pending multibulk; 0 when none is pending */
    int64_t bulk_len;    /* length of the bulk being read, or -1 */
    int argc;
    int argv_cap;
    uint32_t *offsets;   /* owned: start offsets and lengths of arguments of the pending request, relative to its first byte */
    int is_inline;
};

struct resp_request {
    struct slice *argv; /* points into argv_store or the parser's array; valid until the next parse call */
    int argc;
    size_t consumed;    /* bytes of input this request took, from its first byte */
    bool canonical;     /* the input bytes are a plain RESP multibulk that may be propagated verbatim */
};

void resp_parser_init(struct resp_parser *p);
void resp_parser_deinit(struct resp_parser *p);
/* Parses the request that starts at data[0]. argv_store has argv_store_cap slices for requests that fit; longer ones get memory from the parser
 * (valid until the next call on p). Arguments are slices of data: nothing is copied, so they move with the buffer. For inline requests with
 * quotes, unescaping happens in place in data (it only shrinks). On RESP_PARSE_ERROR *ret_error is the text behind "-ERR Protocol error: ".
 * On RESP_PARSE_MORE *ret_wanted is how many more bytes are known to be needed at least (≥ 1): a reader sizes its buffer by it. */
enum resp_parse resp_parse_request(struct resp_parser *p, const struct resp_limits *limits, char *data, size_t n,
                                   struct slice *argv_store, int argv_store_cap, struct resp_request *ret_request,
                                   const char **ret_error, size_t *ret_wanted) __attribute__((warn_unused_result));

/* Splits a line in words with the quoting rules of inline requests and configuration files ("…" with \n \r \t \b \a \xHH, '…' with \').
 * Words are appended to *words as NUL-terminated strings that the caller frees with resp_free_words(). 0, or -1 on unbalanced quotes. */
int resp_split_line(struct slice line, char ***ret_words, size_t **ret_lens, int *ret_count) __attribute__((warn_unused_result));
void resp_free_words(char **words, size_t *lens, int count);

/* A request as propagated and stored: *N CRLF $len CRLF … Appends to b. */
void resp_append_command(struct buf *b, const struct slice *argv, int argc);

#endif
