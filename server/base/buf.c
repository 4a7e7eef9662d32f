#include "config.h"

#include "server/base/buf.h"

#include <stdio.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"

/* Doubling keeps appends amortised; past 1 MiB growth by half wastes less. */
#define DOUBLE_BELOW_BYTES ((size_t)1 << 20)
#define FIRST_BYTES 64

void buf_init(struct buf *b) {
    *b = BUF_INIT;
}

void buf_deinit(struct buf *b) {
    mem_free(b->data);
    *b = BUF_INIT;
}

int buf_try_reserve(struct buf *b, size_t more_bytes) {
    size_t need;
    if (num_add_size(b->len, more_bytes, &need))
        return -1;
    if (need <= b->cap)
        return 0;
    size_t grown = b->cap < DOUBLE_BELOW_BYTES ? b->cap * 2 : b->cap + b->cap / 2;
    size_t cap = need > grown ? need : grown;
    if (cap < FIRST_BYTES)
        cap = FIRST_BYTES;
    if (cap > PTRDIFF_MAX)
        return -1;
    char *data = mem_try_realloc(b->data, cap);
    if (data == NULL)
        return -1;
    b->data = data;
    b->cap = mem_usable_size(data);
    return 0;
}

void buf_reserve(struct buf *b, size_t more_bytes) {
    if (more_bytes <= b->cap - b->len)
        return;
    if (buf_try_reserve(b, more_bytes) != 0)
        HF_PANIC("out of memory: buffer of %zu bytes cannot grow by %zu", b->len, more_bytes);
}

void buf_append(struct buf *b, const void *p, size_t n) {
    if (n == 0)
        return;
    buf_reserve(b, n);
    memcpy(b->data + b->len, p, n);
    b->len += n;
}

void buf_append_slice(struct buf *b, struct slice s) {
    buf_append(b, s.p, s.n);
}

void buf_append_cstr(struct buf *b, const char *s) {
    buf_append(b, s, strlen(s));
}

void buf_append_char(struct buf *b, char c) {
    buf_reserve(b, 1);
    b->data[b->len++] = c;
}

void buf_append_u64(struct buf *b, uint64_t v) {
    buf_reserve(b, NUM_I64_CHARS);
    b->len += num_format_u64(b->data + b->len, v);
}

void buf_append_i64(struct buf *b, int64_t v) {
    buf_reserve(b, NUM_I64_CHARS);
    b->len += num_format_i64(b->data + b->len, v);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap) {
    buf_reserve(b, 128);
    va_list again;
    va_copy(again, ap);
    size_t room = b->cap - b->len;
    int n = vsnprintf(b->data + b->len, room, fmt, ap);
    HF_ASSERT(n >= 0);
    if ((size_t)n >= room) {
        buf_reserve(b, (size_t)n + 1);
        n = vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    b->len += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

static char escape_letter(char c) {
    switch (c) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\a':
        return 'a';
    case '\b':
        return 'b';
    case '\\':
    case '"':
        return c;
    default:
        return '\0';
    }
}

void buf_append_repr(struct buf *b, struct slice s) {
    static const char digits[] = "0123456789abcdef";
    buf_append_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char letter = escape_letter((char)c);
        if (letter != '\0') {
            buf_append(b, (char[]){'\\', letter}, 2);
        } else if (c >= 0x20 && c < 0x7f) {
            buf_append_char(b, (char)c);
        } else {
            buf_append(b, (char[]){'\\', 'x', digits[c >> 4], digits[c & 15]}, 4);
        }
    }
    buf_append_char(b, '"');
}

void buf_consume(struct buf *b, size_t n) {
    HF_ASSERT(n <= b->len);
    b->len -= n;
    if (n > 0 && b->len > 0)
        memmove(b->data, b->data + n, b->len);
}

char *buf_take_cstr(struct buf *b) {
    buf_append_char(b, '\0');
    char *s = b->data;
    *b = BUF_INIT;
    return s;
}

struct rbuf *rbuf_try_create(size_t cap_bytes) {
    size_t total;
    if (num_add_size(sizeof(struct rbuf), cap_bytes, &total) || total > PTRDIFF_MAX)
        return NULL;
    struct rbuf *r = mem_try_alloc(total);
    if (r == NULL)
        return NULL;
    atomic_init(&r->refs, 1);
    r->len = 0;
    r->cap = cap_bytes;
    return r;
}

struct rbuf *rbuf_create(size_t cap_bytes) {
    struct rbuf *r = rbuf_try_create(cap_bytes);
    if (r == NULL)
        HF_PANIC("out of memory: no block of %zu bytes", cap_bytes);
    return r;
}

struct rbuf *rbuf_ref(struct rbuf *r) {
    unsigned before = atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    HF_ASSERT(before > 0 && before < UINT32_MAX);
    return r;
}

void rbuf_unref(struct rbuf *r) {
    if (r == NULL)
        return;
    /* Release: our writes before; acquire: all others' before the memory goes. */
    unsigned before = atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel);
    HF_ASSERT(before > 0);
    if (before == 1)
        mem_free(r);
}
