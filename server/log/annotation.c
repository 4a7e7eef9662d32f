#include "config.h"

#include "server/log/annotation.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/base/assert.h"
#include "server/base/hash.h"
#include "server/base/num.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define CHAIN_DIGITS 16
#define CHECK_DIGITS 8

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct annotation_chain), "the state fits");
_Static_assert(_Alignof(XXH3_state_t) <= 64, "and is aligned");

void annotation_chain_begin(struct annotation_chain *c, uint64_t previous) {
    XXH3_state_t *state = (XXH3_state_t *)(void *)c->state;
    /* A reset keeps the secret when the state already has this seed, as stale stack bytes may pretend. */
    XXH3_INITSTATE(state);
    XXH3_64bits_reset_withSeed(state, previous);
}

void annotation_chain_update(struct annotation_chain *c, const void *p, size_t n) {
    XXH3_64bits_update((XXH3_state_t *)(void *)c->state, p, n);
}

uint64_t annotation_chain_value(const struct annotation_chain *c) {
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)c->state);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static size_t put_hex(char *dst, uint64_t v, int digits) {
    for (int i = digits - 1; i >= 0; i--) {
        dst[i] = "0123456789abcdef"[v & 15];
        v >>= 4;
    }
    return (size_t)digits;
}

static size_t put_field(char *dst, size_t at, char key, uint64_t v) {
    dst[at++] = key;
    dst[at++] = '=';
    at += num_format_u64(dst + at, v);
    dst[at++] = ';';
    return at;
}

static size_t put_hex_field(char *dst, size_t at, char key, uint64_t v) {
    dst[at++] = key;
    dst[at++] = '=';
    at += put_hex(dst + at, v, CHAIN_DIGITS);
    dst[at++] = ';';
    return at;
}

static size_t put_history(char *dst, size_t at, const struct changelog_history *h) {
    at += (size_t)snprintf(dst + at, ANNOTATION_MAX_BYTES - at, "r=%.40s;i=%.40s;j=%" PRId64 ";", h->id, h->id2,
                           h->id2_offset);
    return at;
}

size_t annotation_write(char *dst, const struct annotation *a, struct annotation_chain *chain, uint64_t key,
                        uint64_t *ret_chain) {
    memcpy(dst, "#HF:", 4);
    size_t at = 4;
    if (a->fields & ANNOTATION_HEAD) {
        at = put_field(dst, at, 'v', a->version);
        at = put_hex_field(dst, at, 'n', a->nonce);
        at = put_field(dst, at, 'q', a->seq);
    }
    if (a->fields & ANNOTATION_BEGIN)
        at = put_hex_field(dst, at, 'b', a->previous);
    if (a->fields & ANNOTATION_OFFSET)
        at = put_field(dst, at, 'o', a->offset);
    if (a->fields & ANNOTATION_DURABLE)
        at = put_field(dst, at, 'd', a->durable);
    if (a->fields & ANNOTATION_TIME)
        at = put_field(dst, at, 't', a->time_ms);
    if (a->fields & ANNOTATION_HISTORY)
        at = put_history(dst, at, &a->history);
    if (a->fields & ANNOTATION_CLEAN)
        at = put_field(dst, at, 'e', 1);
    /* The last ';' belongs to ";c=" and not to the chained bytes. */
    annotation_chain_update(chain, dst, at - 1);
    *ret_chain = annotation_chain_value(chain);
    dst[at++] = 'c';
    dst[at++] = '=';
    at += put_hex(dst + at, *ret_chain, CHAIN_DIGITS);
    if (a->fields & ANNOTATION_HEAD)
        key = *ret_chain;
    at += put_hex(dst + at, hash_xxh3_seed(key, dst, at) & UINT32_MAX, CHECK_DIGITS);
    dst[at++] = '\r';
    dst[at++] = '\n';
    HF_ASSERT(at <= ANNOTATION_MAX_BYTES);
    return at;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

static int get_hex(struct slice s, uint64_t *ret_value) {
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            return -1;
        v = v << 4 | digit;
    }
    *ret_value = v;
    return 0;
}

static int get_id(struct slice s, char ret_id[CHANGELOG_ID_CHARS + 1]) {
    if (s.n != CHANGELOG_ID_CHARS)
        return -1;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return -1;
    memcpy(ret_id, s.p, s.n);
    ret_id[s.n] = '\0';
    return 0;
}

static int parse_field(struct annotation *a, char key, struct slice v) {
    switch (key) {
    case 'v':
        a->fields |= ANNOTATION_HEAD;
        return num_parse_u64(v, &a->version);
    case 'n':
        return v.n == CHAIN_DIGITS ? get_hex(v, &a->nonce) : -1;
    case 'q':
        return num_parse_u64(v, &a->seq);
    case 'b':
        a->fields |= ANNOTATION_BEGIN;
        return v.n == CHAIN_DIGITS ? get_hex(v, &a->previous) : -1;
    case 'o':
        a->fields |= ANNOTATION_OFFSET;
        return num_parse_u64(v, &a->offset);
    case 'd':
        a->fields |= ANNOTATION_DURABLE;
        return num_parse_u64(v, &a->durable);
    case 't':
        a->fields |= ANNOTATION_TIME;
        return num_parse_u64(v, &a->time_ms);
    case 'r':
        a->fields |= ANNOTATION_HISTORY;
        return get_id(v, a->history.id);
    case 'i':
        return get_id(v, a->history.id2);
    case 'j':
        return num_parse_i64(v, &a->history.id2_offset);
    case 'e':
        a->fields |= ANNOTATION_CLEAN;
        return 0;
    default:
        return 0; /* of a later version that this one may read over */
    }
}

int annotation_parse(struct slice line, struct annotation *ret_annotation) {
    static const size_t seal_bytes = 3 + CHAIN_DIGITS + CHECK_DIGITS; /* ;c=… */
    if (line.n < 4 + seal_bytes || line.n + 2 > ANNOTATION_MAX_BYTES || memcmp(line.p, "#HF:", 4) != 0)
        return -1;
    struct annotation a = {.chained_bytes = line.n - seal_bytes, .history.id2_offset = -1};
    const char *seal = line.p + a.chained_bytes;
    uint64_t check;
    if (memcmp(seal, ";c=", 3) != 0 || get_hex(slice_of(seal + 3, CHAIN_DIGITS), &a.chain) != 0 ||
        get_hex(slice_of(seal + 3 + CHAIN_DIGITS, CHECK_DIGITS), &check) != 0)
        return -1;
    a.check = (uint32_t)check;
    const char *p = line.p + 4;
    while (p < seal) {
        const char *end = memchr(p, ';', (size_t)(seal - p));
        if (end == NULL)
            end = seal;
        if (end - p < 2 || p[1] != '=' || parse_field(&a, p[0], slice_of(p + 2, (size_t)(end - p) - 2)) != 0)
            return -1;
        p = end == seal ? seal : end + 1;
    }
    *ret_annotation = a;
    return 0;
}

bool annotation_is_genuine(struct slice line, const struct annotation *a, uint64_t key) {
    return (hash_xxh3_seed(key, line.p, line.n - CHECK_DIGITS) & UINT32_MAX) == a->check;
}
