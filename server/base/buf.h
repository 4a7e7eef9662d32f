/* A growable byte buffer, and a reference-counted immutable-once-shared byte block.
 *
 * Ownership: struct buf is embedded in its owner (init/deinit). struct rbuf lives on the heap and is freed by the last
 * unref; its count is atomic, so the last reference may be dropped by any thread.
 */
#ifndef HF_BASE_BUF_H
#define HF_BASE_BUF_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"

struct buf {
    char *data; /* NULL while cap is 0; never NUL-terminated by itself */
    size_t len;
    size_t cap;
};

#define BUF_INIT ((struct buf){NULL, 0, 0})

void buf_init(struct buf *b);
void buf_deinit(struct buf *b);
/* Makes room for more_bytes behind len; grows geometrically. Aborts when out of memory. */
void buf_reserve(struct buf *b, size_t more_bytes);
/* As buf_reserve() for sizes from outside: 0, or -1 when memory is not there (b unchanged). */
int buf_try_reserve(struct buf *b, size_t more_bytes) __attribute__((warn_unused_result));
void buf_append(struct buf *b, const void *p, size_t n);
void buf_append_slice(struct buf *b, struct slice s);
void buf_append_cstr(struct buf *b, const char *s);
void buf_append_char(struct buf *b, char c);
void buf_append_u64(struct buf *b, uint64_t v); /* decimal digits */
void buf_append_i64(struct buf *b, int64_t v);  /* decimal digits */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap);
/* Appends s in double quotes with \n \r \t \a \b \\ \" and \xHH escapes (the field's "repr" form). */
void buf_append_repr(struct buf *b, struct slice s);
/* Removes n ≤ len bytes from the front. */
void buf_consume(struct buf *b, size_t n);
/* Hands the bytes to the caller as a NUL-terminated string (free with mem_free()) and leaves b empty. */
char *buf_take_cstr(struct buf *b);
static inline struct slice buf_slice(const struct buf *b) { return slice_of(b->data, b->len); }
static inline void buf_clear(struct buf *b) { b->len = 0; }

/* Reference-counted bytes: values of 32 KiB and more, and segments of the change log. */
struct rbuf {
    atomic_uint refs;
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated in data */
    char data[];
};

/* A block with refs = 1, len = 0. NULL when memory is not there. */
struct rbuf *rbuf_try_create(size_t cap_bytes);
struct rbuf *rbuf_create(size_t cap_bytes); /* aborts instead */
struct rbuf *rbuf_ref(struct rbuf *r);      /* returns r */
void rbuf_unref(struct rbuf *r);            /* NULL is fine */
/* True when the caller holds the only reference and may change the bytes. */
static inline int rbuf_is_unique(const struct rbuf *r) {
    return atomic_load_explicit(&((struct rbuf *)(uintptr_t)r)->refs, memory_order_acquire) == 1;
}

#endif
