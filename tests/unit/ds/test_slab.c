#include "config.h"

#include "server/ds/slab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "server/base/mem.h"
#include "server/base/rng.h"

#define CELLS 2000

static unsigned char *cells[CELLS];
static size_t sizes[CELLS];

static void expect_filled(size_t i) {
    for (size_t k = 0; k < sizes[i]; k++)
        assert_int_equal(cells[i][k], (unsigned char)(i * 31));
}

static void cells_do_not_overlap_and_all_come_back(void **state) {
    (void)state;
    size_t before = mem_used();
    struct slab s = {0};
    struct rng rng;
    rng_init(&rng, 3);
    for (int step = 0; step < 40000; step++) {
        size_t i = rng_below(&rng, CELLS);
        if (cells[i] == NULL) {
            sizes[i] = 1 + rng_below(&rng, 90);
            cells[i] = slab_alloc(&s, sizes[i]);
            assert_int_equal((uintptr_t)cells[i] & 7, 0);
            memset(cells[i], (int)(unsigned char)(i * 31), sizes[i]);
        } else {
            expect_filled(i);
            slab_free(&s, cells[i], sizes[i]);
            cells[i] = NULL;
        }
        if (step % 16 == 0)
            slab_check(&s);
    }
    for (size_t i = 0; i < CELLS; i++)
        if (cells[i] != NULL) {
            expect_filled(i);
            slab_free(&s, cells[i], sizes[i]);
            slab_check(&s);
        }
    assert_int_equal(s.block_bytes, 0);
    assert_int_equal(s.outside_bytes, 0);
    assert_int_equal(mem_used(), before);
}

static void cells_of_40_bytes_cost_less_than_42(void **state) {
    (void)state;
    size_t before = mem_used();
    struct slab s = {0};
    for (size_t i = 0; i < CELLS; i++)
        cells[i] = slab_alloc(&s, 38);
    assert_true(mem_used() - before < CELLS * 42);
    assert_int_equal(mem_used() - before, s.block_bytes);
    for (size_t i = 0; i < CELLS; i++)
        slab_free(&s, cells[i], 38);
}

static void sizes_of_one_cell_are_told(void **state) {
    (void)state;
    assert_true(slab_same_cell(33, 40));
    assert_false(slab_same_cell(32, 33));
    assert_false(slab_same_cell(40, 41));
    assert_false(slab_same_cell(42, 43)); /* the allocator's */
    assert_true(slab_same_cell(42, 42));
    assert_true(slab_same_cell(1, 8));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_do_not_overlap_and_all_come_back),
        cmocka_unit_test(cells_of_40_bytes_cost_less_than_42),
        cmocka_unit_test(sizes_of_one_cell_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
