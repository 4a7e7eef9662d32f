#include "config.h"

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/store/keyspace_int.h"

/* From this effort or size on, freeing a value costs more than handing it over. */
#define LAZY_EFFORT 64
#define LAZY_BYTES (64 * 1024)

struct value_job {
    struct lazyfree *lazyfree;
    struct value v;
};

struct database_job {
    struct lazyfree *lazyfree;
    struct database *d;
};

static void job_done(struct lazyfree *l, size_t objects) {
    atomic_fetch_add_explicit(&l->done, objects, memory_order_relaxed);
    atomic_fetch_sub_explicit(&l->pending, objects, memory_order_release);
}

static void run_value_job(void *arg) {
    struct value_job *job = arg;
    value_free(job->v);
    job_done(job->lazyfree, 1);
    mem_free_sized(job, sizeof *job);
}

static bool is_big(struct value v) {
    if (v.repr == VALUE_REPR_RBUF)
        return v.u.rbuf->cap >= LAZY_BYTES && rbuf_is_unique(v.u.rbuf);
    return v.repr == VALUE_REPR_OBJECT && value_free_effort(v) > LAZY_EFFORT;
}

void keyspace_release(struct keyspace *ks, struct value v, bool lazy) {
    if (!lazy || ks->lazyfree.worker == NULL || !is_big(v)) {
        value_free(v);
        return;
    }
    struct value_job *job = mem_alloc(sizeof *job);
    *job = (struct value_job){&ks->lazyfree, v};
    atomic_fetch_add_explicit(&ks->lazyfree.pending, 1, memory_order_relaxed);
    worker_submit(ks->lazyfree.worker, run_value_job, job);
}

static void drop_entry(void *arg, void *item) {
    (void)arg;
    struct entry *e = item;
    if (entry_owns(e))
        value_free(entry_owned(e));
    entry_free_block(e);
}

static void free_database(struct database *d) {
    deadline_clear(&d->deadlines);
    deadline_clear(&d->fields);
    unsigned tables = d->slots != NULL ? KEYSPACE_SLOTS : 1;
    for (unsigned i = 0; i < tables; i++)
        table_clear(&d->tables[i], drop_entry, NULL);
    if (d->slots != NULL) {
        mem_free(d->tables);
        mem_free(d->slots);
    }
    mem_free(d);
}

static void run_database_job(void *arg) {
    struct database_job *job = arg;
    size_t keys = job->d->keys;
    free_database(job->d);
    job_done(job->lazyfree, keys);
    mem_free_sized(job, sizeof *job);
}

void keyspace_release_database(struct keyspace *ks, struct database *d, bool async) {
    if (!async || ks->lazyfree.worker == NULL || d->keys == 0) {
        free_database(d);
        return;
    }
    struct database_job *job = mem_alloc(sizeof *job);
    *job = (struct database_job){&ks->lazyfree, d};
    atomic_fetch_add_explicit(&ks->lazyfree.pending, d->keys, memory_order_relaxed);
    worker_submit(ks->lazyfree.worker, run_database_job, job);
}

void lazyfree_finish(struct lazyfree *l) {
    if (l->worker != NULL && atomic_load_explicit(&l->pending, memory_order_acquire) != 0)
        worker_drain(l->worker);
}

size_t keyspace_lazyfree_pending(const struct keyspace *ks) {
    return atomic_load_explicit(&ks->lazyfree.pending, memory_order_acquire);
}

uint64_t keyspace_lazyfree_done(const struct keyspace *ks) {
    return atomic_load_explicit(&ks->lazyfree.done, memory_order_relaxed);
}

void keyspace_lazyfree_reset(struct keyspace *ks) {
    atomic_store_explicit(&ks->lazyfree.done, 0, memory_order_relaxed);
}
