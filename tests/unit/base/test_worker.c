#include "config.h"

#include "server/base/worker.h"

#include "tests/support/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "server/base/mem.h"

struct journal {
    int order[1000];
    int n; /* the worker's thread writes, the test reads after drain */
};

struct entry {
    struct journal *journal;
    int value;
};

static void note(void *arg) {
    struct entry *e = arg;
    e->journal->order[e->journal->n++] = e->value;
    mem_free(e);
}

static void submit(struct worker *w, struct journal *j, int value) {
    struct entry *e = mem_alloc(sizeof *e);
    *e = (struct entry){j, value};
    worker_submit(w, note, e);
}

static void jobs_run_in_order(void **state) {
    (void)state;
    size_t before = mem_used();
    static struct journal j;
    j.n = 0;
    struct worker *w = worker_create("test-worker");
    for (int i = 0; i < 1000; i++)
        submit(w, &j, i);
    worker_drain(w);
    assert_int_equal(worker_pending(w), 0);
    assert_int_equal(j.n, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(j.order[i], i);
    worker_destroy(w);
    worker_destroy(NULL);
    assert_int_equal(mem_used(), before);
}

static void wait_for_gate(void *arg) {
    while (atomic_load((atomic_int *)arg) == 0)
        usleep(100);
}

static void pending_counts_the_running_job_too(void **state) {
    (void)state;
    static struct journal j;
    j.n = 0;
    atomic_int gate = 0;
    struct worker *w = worker_create("test-worker");
    worker_submit(w, wait_for_gate, &gate);
    submit(w, &j, 1);
    assert_int_equal(worker_pending(w), 2);
    atomic_store(&gate, 1);
    worker_drain(w);
    assert_int_equal(worker_pending(w), 0);
    worker_destroy(w);
}

static void destroy_runs_what_is_queued(void **state) {
    (void)state;
    static struct journal j;
    j.n = 0;
    atomic_int gate = 0;
    struct worker *w = worker_create("test-worker");
    worker_submit(w, wait_for_gate, &gate);
    for (int i = 0; i < 50; i++)
        submit(w, &j, i);
    atomic_store(&gate, 1);
    worker_destroy(w);
    assert_int_equal(j.n, 50);
}

struct flood {
    struct worker *worker;
    atomic_int *ran;
};

static void count_up(void *arg) {
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void *submit_5000(void *arg) {
    struct flood *f = arg;
    for (int i = 0; i < 5000; i++)
        worker_submit(f->worker, count_up, f->ran);
    return NULL;
}

static void several_threads_may_submit(void **state) {
    (void)state;
    atomic_int ran = 0;
    struct flood f = {worker_create("test-worker"), &ran};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_5000, &f), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    worker_drain(f.worker);
    assert_int_equal(atomic_load(&ran), 15000);
    worker_destroy(f.worker);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_run_in_order),
        cmocka_unit_test(pending_counts_the_running_job_too),
        cmocka_unit_test(destroy_runs_what_is_queued),
        cmocka_unit_test(several_threads_may_submit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
