#include "config.h"

#include "server/base/mem.h"

#include "tests/support/unit.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/rng.h"

#define BLOCKS 500

static void accounting_returns_to_where_it_was(void **state) {
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    size_t before = mem_used(), sum = 0;
    void *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        sizes[i] = (size_t)rng_below(&rng, (uint64_t)1 << rng_below(&rng, 20));
        blocks[i] = i % 2 == 0 ? mem_alloc(sizes[i]) : mem_calloc(1, sizes[i]);
        assert_true(mem_usable_size(blocks[i]) >= sizes[i]);
        sum += mem_usable_size(blocks[i]);
    }
    assert_int_equal(mem_used() - before, sum);
    for (size_t i = 0; i < BLOCKS; i += 3) {
        sum -= mem_usable_size(blocks[i]);
        sizes[i] = (size_t)rng_below(&rng, 100000);
        blocks[i] = mem_realloc(blocks[i], sizes[i]);
        sum += mem_usable_size(blocks[i]);
    }
    assert_int_equal(mem_used() - before, sum);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 3 == 1)
            mem_free_sized(blocks[i], sizes[i]);
        else
            mem_free(blocks[i]);
    }
    assert_int_equal(mem_used(), before);
}

static void good_size_is_what_the_allocator_gives(void **state) {
    (void)state;
#ifdef HAVE_JEMALLOC
    for (size_t n = 1; n < 70000; n += n < 5000 ? 1 : 97) {
        void *p = mem_alloc(n);
        assert_int_equal(mem_usable_size(p), mem_good_size(n));
        mem_free_sized(p, n);
    }
#endif
    for (size_t n = 0; n < 5000; n++)
        assert_true(mem_good_size(n) >= n);
}

static void calloc_gives_zeros_and_checks_the_product(void **state) {
    (void)state;
    unsigned char *p = mem_calloc(100, 7);
    for (int i = 0; i < 700; i++)
        assert_int_equal(p[i], 0);
    mem_free(p);
    assert_null(mem_try_calloc(SIZE_MAX / 2, 3));
}

static void sizes_from_outside_fail_without_a_trace(void **state) {
    (void)state;
    size_t before = mem_used();
    assert_null(mem_try_alloc(SIZE_MAX));
    assert_null(mem_try_alloc((size_t)PTRDIFF_MAX + 1));
    assert_null(mem_try_alloc_aligned_zero(SIZE_MAX - 100, 64));
    char *p = mem_try_realloc(NULL, 10);
    memcpy(p, "123456789", 10);
    assert_null(mem_try_realloc(p, SIZE_MAX));
    assert_string_equal(p, "123456789");
    mem_free(p);
    assert_int_equal(mem_used(), before);
}

static void aligned_blocks_are_aligned_zeroed_and_accounted(void **state) {
    (void)state;
    size_t before = mem_used();
    for (size_t align = 8; align <= 4096; align *= 2) {
        for (size_t n = 1; n < 9000; n = n * 2 + 1) {
            unsigned char *p = mem_alloc_aligned_zero(n, align);
            assert_int_equal((uintptr_t)p % align, 0);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            assert_int_equal(mem_used() - before, mem_usable_size(p));
            memset(p, 0xff, n);
            mem_free(p);
        }
    }
    assert_int_equal(mem_used(), before);
}

static void nothing_is_a_unique_block(void **state) {
    (void)state;
    void *a = mem_alloc(0), *b = mem_alloc(0);
    assert_ptr_not_equal(a, b);
    mem_free(a);
    mem_free_sized(b, 0);
    mem_free(NULL);
}

static void *allocate_100_blocks(void *arg) {
    void **blocks = arg;
    for (int i = 0; i < 100; i++)
        blocks[i] = mem_alloc(1000);
    return NULL;
}

static void *free_100_blocks(void *arg) {
    void **blocks = arg;
    for (int i = 0; i < 100; i++)
        mem_free_sized(blocks[i], 1000);
    return NULL;
}

static void blocks_outlive_their_thread_and_go_in_another(void **state) {
    (void)state;
    size_t before = mem_used();
    void *blocks[100];
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, allocate_100_blocks, blocks), 0);
    pthread_join(thread, NULL);
    assert_int_equal(mem_used() - before, 100 * mem_usable_size(blocks[0]));
    assert_int_equal(pthread_create(&thread, NULL, free_100_blocks, blocks), 0);
    pthread_join(thread, NULL);
    assert_int_equal(mem_used(), before);
}

static pthread_barrier_t all_allocated, may_free;

static void *hold_one_block(void *arg) {
    (void)arg;
    void *p = mem_alloc(100);
    pthread_barrier_wait(&all_allocated);
    pthread_barrier_wait(&may_free);
    mem_free(p);
    return NULL;
}

/* More than there are counters, so that some share one. */
static void two_hundred_threads_are_counted(void **state) {
    (void)state;
    enum { THREADS = 200 };
    pthread_t threads[THREADS];
    void *probe = mem_alloc(100);
    size_t one = mem_usable_size(probe);
    mem_free(probe);
    size_t before = mem_used();
    pthread_barrier_init(&all_allocated, NULL, THREADS + 1);
    pthread_barrier_init(&may_free, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_one_block, NULL), 0);
    pthread_barrier_wait(&all_allocated);
    assert_int_equal(mem_used() - before, THREADS * one);
    pthread_barrier_wait(&may_free);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(mem_used(), before);
    pthread_barrier_destroy(&all_allocated);
    pthread_barrier_destroy(&may_free);
}

static void strings_are_copied(void **state) {
    (void)state;
    char *a = mem_strdup("abc"), *b = mem_strndup("abcdef", 2), *c = mem_strndup(NULL, 0);
    assert_string_equal(a, "abc");
    assert_string_equal(b, "ab");
    assert_string_equal(c, "");
    mem_free(a);
    mem_free(b);
    mem_free(c);
}

static void the_allocator_reports(void **state) {
    (void)state;
    struct mem_allocator_stats stats;
    void *p = mem_alloc(10 << 20);
    memset(p, 1, 10 << 20);
    mem_allocator_stats(&stats);
#ifdef HAVE_JEMALLOC
    assert_true(stats.allocated >= 10 << 20 && stats.active >= stats.allocated && stats.resident >= stats.active);
    assert_memory_equal(mem_allocator_name(), "jemalloc-5", 10);
    assert_int_equal(mem_purge(), 0);
    assert_int_equal(mem_set_background_thread(1), 0);
    assert_int_equal(mem_set_background_thread(0), 0);
    char *report = mem_allocator_report();
    assert_non_null(strstr(report, "jemalloc"));
    mem_free(report);
#else
    assert_string_equal(mem_allocator_name(), "libc");
    assert_int_equal(stats.allocated, 0);
    assert_null(mem_allocator_report());
#endif
    mem_free(p);
}

static void running_out_of_memory_aborts_loudly(void **state) {
    (void)state;
    int out[2];
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(out[1], STDOUT_FILENO);
        (void)mem_alloc(SIZE_MAX / 4);
        _exit(0);
    }
    close(out[1]);
    char text[4096] = "";
    ssize_t n = read(out[0], text, sizeof text - 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    close(out[0]);
    assert_true(n > 0);
    assert_non_null(strstr(text, "out of memory"));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accounting_returns_to_where_it_was),
        cmocka_unit_test(good_size_is_what_the_allocator_gives),
        cmocka_unit_test(calloc_gives_zeros_and_checks_the_product),
        cmocka_unit_test(sizes_from_outside_fail_without_a_trace),
        cmocka_unit_test(aligned_blocks_are_aligned_zeroed_and_accounted),
        cmocka_unit_test(nothing_is_a_unique_block),
        cmocka_unit_test(blocks_outlive_their_thread_and_go_in_another),
        cmocka_unit_test(two_hundred_threads_are_counted),
        cmocka_unit_test(strings_are_copied),
        cmocka_unit_test(the_allocator_reports),
        cmocka_unit_test(running_out_of_memory_aborts_loudly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
