#include "config.h"

#include "server/commands/sort_order.h"

#include <math.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/base/rng.h"
#include "tests/support/unit.h"

#define ITEMS_MAX 5000

struct setup {
    struct buf text;
    struct sort_element elements[ITEMS_MAX];
    struct sort_item items[ITEMS_MAX], want[ITEMS_MAX];
    double numbers[ITEMS_MAX];
    size_t n;
};

static struct setup *current; /* of the comparison below */
static bool by_numbers, descending;

static struct slice text_of(uint32_t index, char *digits) {
    const struct sort_element *e = &current->elements[index];
    if (e->n == SORT_ELEMENT_INT)
        return slice_of(digits, num_format_i64(digits, e->i));
    return slice_of(current->text.data + e->at, e->n);
}

/* The order that is promised, said once more and slowly. */
static int slow(const void *a, const void *b) {
    const struct sort_item *x = a, *y = b;
    char p[NUM_I64_CHARS], q[NUM_I64_CHARS];
    int r = 0;
    if (by_numbers) {
        double m = current->numbers[x->index], n = current->numbers[y->index];
        r = m < n ? -1 : m > n;
    }
    if (r == 0) {
        struct slice s = text_of(x->index, p), t = text_of(y->index, q);
        size_t n = s.n < t.n ? s.n : t.n;
        r = memcmp(s.p, t.p, n);
        if (r == 0)
            r = s.n < t.n ? -1 : s.n > t.n;
    }
    if (r != 0)
        return descending ? -r : r;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void add(struct setup *s, struct slice text) {
    struct sort_element *e = &s->elements[s->n++];
    int64_t i;
    if (num_parse_i64(text, &i) == 0) {
        *e = (struct sort_element){.i = i, .n = SORT_ELEMENT_INT};
        return;
    }
    *e = (struct sort_element){.at = s->text.len, .n = (uint32_t)text.n};
    buf_append_slice(&s->text, text);
}

static void prepare(struct setup *s) {
    for (size_t i = 0; i < s->n; i++) {
        s->items[i] = (struct sort_item){.index = (uint32_t)i};
        s->want[i] = s->items[i];
        if (by_numbers) {
            s->items[i].key = sort_key(s->numbers[i]);
            continue;
        }
        char digits[NUM_I64_CHARS];
        struct slice t = text_of((uint32_t)i, digits);
        s->items[i].at = s->text.len;
        s->items[i].n = (uint32_t)t.n;
        char *copy = mem_strndup(t.p, t.n); /* the block moves */
        buf_append(&s->text, copy, t.n);
        mem_free(copy);
    }
}

static void check(struct setup *s, size_t from, size_t to) {
    current = s;
    prepare(s);
    const struct sort_order o = {.text = &s->text, .elements = s->elements, .descending = descending};
    qsort(s->want, s->n, sizeof s->want[0], slow);
    (by_numbers ? sort_by_numbers : sort_by_texts)(&o, s->items, s->n, from, to);
    for (size_t i = from; i < to; i++)
        assert_int_equal(s->items[i].index, s->want[i].index);
    /* Nothing is lost. */
    uint64_t sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += s->items[i].index;
    assert_int_equal(sum, (uint64_t)s->n * (s->n - (s->n != 0)) / 2);
}

/* Texts with long common beginnings, ends inside and behind a chunk, NULs, many of them equal. */
static struct slice random_text(struct rng *rng, char *buf) {
    uint64_t kind = rng_below(rng, 6);
    size_t n = 0;
    if (kind == 0)
        return slice_of(buf, num_format_i64(buf, (int64_t)rng_below(rng, 50) - 25));
    if (kind < 3)
        for (n = rng_below(rng, 3) * 8; n > 0 && rng_below(rng, 3) == 0; n--)
            ;
    if (kind == 5)
        n = 120 + rng_below(rng, 30);
    memset(buf, kind == 4 ? 0 : 'c', n);
    for (size_t more = rng_below(rng, 4); more > 0; more--)
        buf[n++] = "\0ab\377"[rng_below(rng, 4)];
    return slice_of(buf, n);
}

static void run_many(bool numbers) {
    static struct setup s;
    struct rng rng;
    char buf[400];
    for (uint64_t seed = 0; seed < 60; seed++) {
        rng_init(&rng, seed);
        buf_init(&s.text);
        buf_reserve(&s.text, 1);
        s.n = 0;
        size_t n = seed < 5 ? seed : seed % 3 == 0 ? ITEMS_MAX : 1 + rng_below(&rng, 200);
        for (size_t i = 0; i < n; i++) {
            add(&s, random_text(&rng, buf));
            double d = (double)rng_below(&rng, seed % 2 ? 5 : 100000) - 2;
            s.numbers[i] = seed % 7 == 0 ? d / 3 * pow(10, (double)rng_below(&rng, 40) - 20) : d;
        }
        by_numbers = numbers;
        descending = seed & 1;
        size_t from = seed % 4 < 2 ? 0 : rng_below(&rng, n + 1);
        check(&s, from, seed % 4 == 0 ? n : from + rng_below(&rng, n - from + 1));
        buf_deinit(&s.text);
    }
}

static void test_numbers_are_sorted(void **state) {
    (void)state;
    run_many(true);
}

static void test_texts_are_sorted(void **state) {
    (void)state;
    run_many(false);
}

static void test_keys_are_in_the_order_of_numbers(void **state) {
    (void)state;
    static const double ascending[] = {-INFINITY, -1e308, -1, -5e-324, 0, 5e-324, 0.5, 1, 2, 1e308, INFINITY};
    for (size_t i = 1; i < sizeof ascending / sizeof ascending[0]; i++)
        assert_true(sort_key(ascending[i - 1]) < sort_key(ascending[i]));
    assert_int_equal(sort_key(-0.0), sort_key(0.0));
}

static void assert_number(struct slice s, double want) {
    double got = NAN;
    if (!sort_parse_number(s, &got) || memcmp(&got, &want, sizeof got) != 0)
        fail_msg("\"%.*s\" is %.17g, not %.17g", (int)s.n, s.p, got, want);
}

static void test_numbers_are_read_as_strtod_reads_them(void **state) {
    (void)state;
    assert_number(SLICE_LIT(""), 0);
    assert_number(SLICE_LIT("  1.5"), 1.5);
    assert_number(SLICE_LIT("0x10"), 16);
    assert_number(SLICE_LIT("inf"), INFINITY);
    assert_number(SLICE_LIT("1\0x"), 1);
    assert_number(SLICE_LIT("-0"), -0.0);
    assert_number(SLICE_LIT("9007199254740993"), 9007199254740992.0);
    assert_number(SLICE_LIT("900719925474099.3"), 900719925474099.3);
    assert_number(SLICE_LIT("9007199254740.993"), 9007199254740.993);
    struct rng rng;
    rng_init(&rng, 1);
    for (unsigned i = 0; i < 20000; i++) {
        char text[64];
        uint64_t m = rng_u64(&rng) >> rng_below(&rng, 64);
        size_t n = num_format_u64(text, m), point = rng_below(&rng, n + 1);
        memmove(text + point + 1, text + point, n - point);
        text[point] = '.';
        text[n + 1] = '\0';
        assert_number(slice_of(text, n + 1), strtod(text, NULL));
    }
    static const char *const bad[] = {"x", "1x", "1 ", "nan", "1e400", "1..2", ".", "-", "1,5", "--1"};
    double d;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(sort_parse_number(slice_cstr(bad[i]), &d));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_sorted),
        cmocka_unit_test(test_texts_are_sorted),
        cmocka_unit_test(test_keys_are_in_the_order_of_numbers),
        cmocka_unit_test(test_numbers_are_read_as_strtod_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
