#include "config.h"

#include "server/proto/resp.h"

#include "server/base/assert.h"
#include "server/base/num.h"

/* Bulk strings up to here are written with one reservation. */
#define BULK_ONE_PIECE_MAX (OUTQ_RESERVE_MAX - RESP_HEADER_BYTES - 2)

char *resp_put_header_long(char *p, char type, uint64_t n) {
    *p++ = type;
    p += num_format_u64(p, n);
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

void resp_int_long(struct resp_writer *w, int64_t v) {
    char *p = outq_reserve(w->q, RESP_HEADER_BYTES);
    char *end = p;
    *end++ = ':';
    end += num_format_i64(end, v);
    *end++ = '\r';
    *end++ = '\n';
    outq_commit(w->q, (size_t)(end - p));
}

/* One line of text, whose line breaks would end the reply early. */
static void put_line(struct resp_writer *w, char type, struct slice text) {
    outq_append(w->q, &type, 1);
    while (text.n > 0) {
        size_t n = text.n < OUTQ_RESERVE_MAX ? text.n : OUTQ_RESERVE_MAX;
        char *p = outq_reserve(w->q, n);
        for (size_t i = 0; i < n; i++)
            p[i] = text.p[i] == '\r' || text.p[i] == '\n' ? ' ' : text.p[i];
        outq_commit(w->q, n);
        text.p += n;
        text.n -= n;
    }
    resp_raw(w, "\r\n", 2);
}

void resp_simple(struct resp_writer *w, const char *text) {
    put_line(w, '+', slice_cstr(text));
}

void resp_error(struct resp_writer *w, struct slice text) {
    put_line(w, '-', text);
}

void resp_bulk(struct resp_writer *w, struct slice s) {
    struct outq *q = w->q;
    if (s.n > BULK_ONE_PIECE_MAX) {
        resp_header(w, '$', s.n);
        outq_append(q, s.p, s.n);
        outq_append(q, "\r\n", 2);
        return;
    }
    char *start = outq_reserve(q, s.n + RESP_HEADER_BYTES + 2);
    char *p = resp_put_header(start, '$', s.n);
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p += s.n;
    p[0] = '\r';
    p[1] = '\n';
    outq_commit(q, (size_t)(p + 2 - start));
}

void resp_bulk_cstr(struct resp_writer *w, const char *s) {
    resp_bulk(w, slice_cstr(s));
}

void resp_bulk_i64(struct resp_writer *w, int64_t v) {
    char digits[NUM_I64_CHARS];
    resp_bulk(w, slice_of(digits, num_format_i64(digits, v)));
}

void resp_bulk_rbuf(struct resp_writer *w, struct rbuf *r) {
    if (r->len < OUTQ_REF_MIN) {
        resp_bulk(w, slice_of(r->data, r->len));
        return;
    }
    resp_header(w, '$', r->len);
    outq_append_rbuf(w->q, r, 0, r->len);
    outq_append(w->q, "\r\n", 2);
}

void resp_bool(struct resp_writer *w, bool v) {
    if (w->resp == 2)
        resp_raw(w, v ? ":1\r\n" : ":0\r\n", 4);
    else
        resp_raw(w, v ? "#t\r\n" : "#f\r\n", 4);
}

void resp_double(struct resp_writer *w, double v) {
    char text[NUM_DOUBLE_CHARS];
    struct slice s = slice_of(text, num_format_double(text, v));
    if (w->resp == 2)
        resp_bulk(w, s);
    else
        put_line(w, ',', s);
}

void resp_bulk_ldouble(struct resp_writer *w, long double v) {
    char text[NUM_LDOUBLE_CHARS];
    resp_bulk(w, slice_of(text, num_format_ldouble_human(text, v)));
}

void resp_big_number(struct resp_writer *w, struct slice digits) {
    if (w->resp == 2)
        resp_bulk(w, digits);
    else
        put_line(w, '(', digits);
}

void resp_verbatim(struct resp_writer *w, const char ext[3], struct slice text) {
    if (w->resp == 2) {
        resp_bulk(w, text);
        return;
    }
    resp_header(w, '=', (uint64_t)text.n + 4);
    outq_append(w->q, ext, 3);
    outq_append(w->q, ":", 1);
    outq_append(w->q, text.p, text.n);
    outq_append(w->q, "\r\n", 2);
}

struct outq_hole resp_open(struct resp_writer *w) {
    return outq_open_hole(w->q);
}

static void close_with(struct resp_writer *w, struct outq_hole h, char type, size_t n) {
    char header[RESP_HEADER_BYTES];
    outq_fill_hole(w->q, h, header, (size_t)(resp_put_header(header, type, n) - header));
}

void resp_close_array(struct resp_writer *w, struct outq_hole h, size_t n) {
    close_with(w, h, '*', n);
}

void resp_close_map(struct resp_writer *w, struct outq_hole h, size_t pairs) {
    close_with(w, h, w->resp == 2 ? '*' : '%', w->resp == 2 ? pairs * 2 : pairs);
}

void resp_close_set(struct resp_writer *w, struct outq_hole h, size_t n) {
    close_with(w, h, w->resp == 2 ? '*' : '~', n);
}

void resp_append_command(struct buf *b, const struct slice *argv, int argc) {
    HF_ASSERT(argc > 0);
    size_t need = RESP_HEADER_BYTES;
    for (int i = 0; i < argc; i++)
        need += argv[i].n + RESP_HEADER_BYTES + 2;
    buf_reserve(b, need);
    char *p = resp_put_header(b->data + b->len, '*', (uint64_t)argc);
    for (int i = 0; i < argc; i++) {
        p = resp_put_header(p, '$', argv[i].n);
        if (argv[i].n > 0)
            memcpy(p, argv[i].p, argv[i].n);
        p += argv[i].n;
        *p++ = '\r';
        *p++ = '\n';
    }
    b->len = (size_t)(p - b->data);
}
