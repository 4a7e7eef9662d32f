/* Long lists: the input is a program. Its first two bytes are fill and depth, then every operation is one byte with its
 * arguments behind it; a plain array of the same elements is the model. */
#include "config.h"

#include <stdint.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/ds/quicklist.h"

#define MODEL_MAX 600
#define TEXT_MAX 9000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct program {
    const uint8_t *at, *end;
};

struct model {
    struct slice v[MODEL_MAX + 1];
    size_t n;
};

static unsigned byte(struct program *p) {
    return p->at < p->end ? *p->at++ : 0;
}

/* Bytes of the program, a long run of one byte, or a number. */
static struct slice element(struct program *p, char *buf) {
    unsigned kind = byte(p);
    if (kind < 100) {
        size_t n = kind % 24 < (size_t)(p->end - p->at) ? kind % 24 : (size_t)(p->end - p->at);
        struct slice s = slice_of(p->at, n);
        p->at += n;
        return s;
    }
    if (kind < 170)
        return slice_of(buf, num_format_i64(buf, (int64_t)((uint64_t)byte(p) << byte(p) % 57) * (kind & 1 ? -1 : 1)));
    size_t n = kind < 220 ? byte(p) * 8u : 1000 + byte(p) * 31u;
    memset(buf, (int)kind, n);
    return slice_of(buf, n);
}

static void model_insert(struct model *m, size_t i, struct slice s) {
    memmove(&m->v[i + 1], &m->v[i], (m->n - i) * sizeof m->v[0]);
    m->v[i] = slice_of(mem_strndup(s.p, s.n), s.n);
    m->n++;
}

static void model_delete(struct model *m, size_t i, size_t n) {
    for (size_t k = i; k < i + n; k++)
        mem_free((void *)(uintptr_t)m->v[k].p);
    memmove(&m->v[i], &m->v[i + n], (m->n - i - n) * sizeof m->v[0]);
    m->n -= n;
}

static bool is_item(struct packed_item it, struct slice want) {
    char buf[NUM_I64_CHARS];
    return slice_eq(it.is_int ? slice_of(buf, num_format_i64(buf, it.i)) : it.s, want);
}

static void compare(struct quicklist *ql, const struct model *m) {
    struct quicklist_iter it;
    size_t i = 0;
    HF_ASSERT(ql->count == m->n);
    for (bool on = quicklist_seek(ql, 0, &it); on; on = quicklist_next(&it), i++)
        HF_ASSERT(i < m->n && is_item(quicklist_get(&it), m->v[i]) && quicklist_equals(&it, m->v[i]));
    HF_ASSERT(i == m->n);
    if (m->n > 0)
        quicklist_end(&it);
    for (bool on = quicklist_seek(ql, -1, &it); on; on = quicklist_prev(&it))
        HF_ASSERT(i-- > 0 && is_item(quicklist_get(&it), m->v[i]));
    if (m->n > 0)
        quicklist_end(&it);
}

static void push(struct quicklist *ql, struct model *m, bool head, struct slice s) {
    if (m->n >= MODEL_MAX)
        return;
    HF_ASSERT(quicklist_push(ql, head ? QUICKLIST_HEAD : QUICKLIST_TAIL, packed_bytes(s)) == 0);
    model_insert(m, head ? 0 : m->n, s);
}

static void at_an_element(struct quicklist *ql, struct model *m, unsigned op, size_t i, struct program *p, char *buf) {
    struct quicklist_iter it;
    struct slice s;
    HF_ASSERT(quicklist_seek(ql, op & 8 ? (int64_t)i : (int64_t)i - (int64_t)m->n, &it));
    switch (op % 4) {
    case 0:
        s = element(p, buf);
        HF_ASSERT(quicklist_insert_before(&it, packed_bytes(s)) == 0);
        model_insert(m, i, s);
        break;
    case 1:
        s = element(p, buf);
        HF_ASSERT(quicklist_insert_after(&it, packed_bytes(s)) == 0);
        model_insert(m, i + 1, s);
        break;
    case 2:
        s = element(p, buf);
        HF_ASSERT(quicklist_replace(&it, packed_bytes(s)) == 0);
        model_delete(m, i, 1);
        model_insert(m, i, s);
        break;
    default:
        for (unsigned left = byte(p) % 5; left > 0; left--) {
            bool backwards = op & 16, on = quicklist_delete(&it, backwards);
            model_delete(m, i, 1);
            HF_ASSERT(on == (backwards ? i > 0 : i < m->n));
            i -= backwards;
            if (!on)
                break;
            HF_ASSERT(is_item(quicklist_get(&it), m->v[i]));
        }
        quicklist_end(&it);
    }
}

static void append_node(struct quicklist *ql, struct model *m, struct program *p, char *buf) {
    struct listpack *lp = listpack_create(0);
    unsigned n = byte(p) % 9 + 1;
    for (unsigned k = 0; k < n && m->n < MODEL_MAX; k++) {
        struct slice s = element(p, buf);
        HF_ASSERT(listpack_append(&lp, packed_bytes(s)) == 0);
        model_insert(m, m->n, s);
    }
    if (listpack_count(lp) > 0)
        HF_ASSERT(quicklist_append_listpack_take(ql, lp) == 0);
    else
        listpack_destroy(lp);
}

static void step(struct quicklist *ql, struct model *m, struct program *p, char *buf) {
    unsigned op = byte(p);
    size_t i = m->n > 0 ? (byte(p) | byte(p) << 8) % m->n : 0;
    switch (op % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        push(ql, m, op & 1, element(p, buf));
        break;
    case 4:
        append_node(ql, m, p, buf);
        break;
    case 5:
        if (m->n < MODEL_MAX) {
            struct slice s = element(p, buf);
            HF_ASSERT(quicklist_append_plain(ql, s) == 0);
            model_insert(m, m->n, s);
        }
        break;
    case 6:
        if (m->n > 0) {
            quicklist_drop(ql, op & 16 ? QUICKLIST_HEAD : QUICKLIST_TAIL);
            model_delete(m, op & 16 ? 0 : m->n - 1, 1);
        }
        break;
    case 7:
        if (m->n > 0) {
            quicklist_rotate(ql);
            struct slice last = m->v[m->n - 1];
            memmove(&m->v[1], &m->v[0], (m->n - 1) * sizeof m->v[0]);
            m->v[0] = last;
        }
        break;
    case 8:
    case 9: {
        uint64_t n = quicklist_delete_range(ql, op & 16 ? (int64_t)i : (int64_t)i - (int64_t)m->n, byte(p) % 40);
        if (m->n > 0)
            model_delete(m, i, n);
        break;
    }
    default:
        if (m->n > 0 && m->n < MODEL_MAX)
            at_an_element(ql, m, op, i, p, buf);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct model m;
    static char buf[TEXT_MAX + NUM_I64_CHARS];
    static const int fills[] = {-2, -1, 1, 2, 3, 5, 16, -5};
    struct program p = {data, data + size};
    int fill = fills[byte(&p) % 8];
    struct quicklist *ql = quicklist_create(fill, byte(&p) % 4);
    for (unsigned steps = 0; p.at < p.end && steps < 400; steps++) {
        step(ql, &m, &p, buf);
        quicklist_check(ql);
        if (steps % 16 == 0)
            compare(ql, &m);
    }
    compare(ql, &m);
    struct quicklist *copy = quicklist_dup(ql);
    quicklist_check(copy);
    compare(copy, &m);
    quicklist_destroy(copy);
    quicklist_destroy(ql);
    model_delete(&m, 0, m.n);
    return 0;
}
