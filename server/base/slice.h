/* A slice: borrowed bytes. It owns nothing and is passed by value. Header only. */
#ifndef HF_BASE_SLICE_H
#define HF_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n; /* bytes */
};

#define SLICE_LIT(s) ((struct slice){(s), sizeof(s) - 1})

static inline struct slice slice_of(const void *p, size_t n) { return (struct slice){(const char *)p, n}; }
static inline struct slice slice_cstr(const char *s) { return (struct slice){s, strlen(s)}; }
static inline bool slice_eq(struct slice a, struct slice b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }

/* ASCII case-insensitive equality with a NUL-terminated, already lower-case word: the way option words of
 * commands are compared. */
static inline bool slice_is(struct slice a, const char *lower_word) {
    if (a.n != strlen(lower_word))
        return false;
    for (size_t i = 0; i < a.n; i++) {
        unsigned char c = (unsigned char)a.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (unsigned char)(c | 0x20);
        if (c != (unsigned char)lower_word[i])
            return false;
    }
    return true;
}

#endif
