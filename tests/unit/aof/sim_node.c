#include "config.h"

#include "tests/unit/aof/sim_node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/base/worker.h"

/* ---- clock and threads ----------------------------------------------------------------------------------------- */

int64_t sim_now_us = 1000000;

int64_t clock_mono_us(void) {
    return sim_now_us;
}
int64_t clock_mono_ns(void) {
    return sim_now_us * 1000;
}
int64_t clock_wall_us(void) {
    return 1700000000000000 + sim_now_us;
}
int64_t clock_wall_ms(void) {
    return clock_wall_us() / 1000;
}

#define WORKERS_MAX 8
#define QUEUE_MAX 16

struct worker {
    struct {
        void (*fn)(void *arg);
        void *arg;
    } queue[QUEUE_MAX];
    size_t count;
};

static struct worker *workers[WORKERS_MAX];

struct worker *worker_create(const char *name) {
    (void)name;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (workers[i] == NULL)
            return workers[i] = mem_calloc(1, sizeof *workers[i]);
    HF_PANIC("too many workers");
}

static void run_one(struct worker *w) {
    void (*fn)(void *) = w->queue[0].fn;
    void *arg = w->queue[0].arg;
    w->count--;
    memmove(w->queue, w->queue + 1, w->count * sizeof *w->queue);
    fn(arg);
}

void worker_drain(struct worker *w) {
    while (w->count > 0)
        run_one(w);
}

void worker_destroy(struct worker *w) {
    if (w == NULL)
        return;
    worker_drain(w);
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (workers[i] == w)
            workers[i] = NULL;
    mem_free(w);
}

void worker_submit(struct worker *w, void (*fn)(void *arg), void *arg) {
    HF_ASSERT(w->count < QUEUE_MAX);
    w->queue[w->count].fn = fn;
    w->queue[w->count++].arg = arg;
}

size_t worker_pending(const struct worker *w) {
    return w->count;
}

size_t sim_jobs(void) {
    size_t n = 0;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        n += workers[i] != NULL ? workers[i]->count : 0;
    return n;
}

void sim_run_job(struct rng *rng) {
    size_t busy = 0;
    for (size_t i = 0; i < WORKERS_MAX; i++)
        busy += workers[i] != NULL && workers[i]->count > 0;
    if (busy == 0)
        return;
    size_t pick = rng_below(rng, busy);
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (workers[i] != NULL && workers[i]->count > 0 && pick-- == 0) {
            run_one(workers[i]);
            return;
        }
}

void sim_forget_jobs(void) {
    for (size_t i = 0; i < WORKERS_MAX; i++)
        if (workers[i] != NULL)
            workers[i]->count = 0;
}

/* ---- contents -------------------------------------------------------------------------------------------------- */

/* The padding of part p of a group: length and bytes follow from the numbers. */
static size_t pad(size_t g, uint32_t life, unsigned part, char *dst) {
    struct rng r;
    rng_init(&r, g * 1000003 + life * 7919 + part);
    size_t n = rng_below(&r, 16) == 0 ? rng_below(&r, 3000) : rng_below(&r, 60);
    bool zeros = rng_below(&r, 8) == 0;
    for (size_t i = 0; i < n; i++)
        dst[i] = zeros ? '\0' : (char)rng_u64(&r);
    return n;
}

static void append_words(struct buf *b, int argc, const struct slice *argv) {
    buf_printf(b, "*%d\r\n", argc);
    for (int i = 0; i < argc; i++) {
        buf_printf(b, "$%zu\r\n", argv[i].n);
        buf_append_slice(b, argv[i]);
        buf_append_cstr(b, "\r\n");
    }
}

static void format_part(struct buf *b, size_t g, uint32_t life, unsigned part) {
    char bytes[3000], number[32], age[32];
    struct slice argv[4] = {slice_cstr(part == 0 ? "ADD" : "PART"),
                            slice_of(number, (size_t)snprintf(number, sizeof number, "%zu", g)),
                            slice_of(age, (size_t)snprintf(age, sizeof age, "%u.%u", life, part)),
                            slice_of(bytes, pad(g, life, part, bytes))};
    append_words(b, 4, argv);
}

/* Single commands and transactions of one to three parts. */
static void format_group(struct buf *b, size_t g, uint32_t life) {
    unsigned parts = g % 4 == 3 ? 1 + (unsigned)(g / 4 % 3) : 0;
    if (parts == 0) {
        format_part(b, g, life, 0);
        return;
    }
    append_words(b, 1, &SLICE_LIT("MULTI"));
    for (unsigned p = 1; p <= parts; p++)
        format_part(b, g, life, p);
    append_words(b, 1, &SLICE_LIT("EXEC"));
}

/* ---- the AOF's callbacks --------------------------------------------------------------------------------------- */

static void on_wake(void *ctx) {
    (void)ctx;
}

static int write_base_file(struct sim_node *n, const char *path, size_t groups) {
    const struct fs *fs = simdisk_fs(n->disk);
    struct buf b = BUF_INIT;
    for (size_t g = 0; g < groups; g++)
        format_group(&b, g, n->life[g]);
    int fd = fs->open(fs->ctx, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int error = fd < 0 ? fd : fs_write_all(fs, fd, b.data, b.len);
    if (error == 0)
        error = fs->fsync(fs->ctx, fd);
    if (fd >= 0)
        (void)fs->close(fs->ctx, fd);
    buf_deinit(&b);
    return error;
}

static enum aof_base_start on_start_base(void *ctx, const struct aof_base_request *req, int *ret_error) {
    struct sim_node *n = ctx;
    HF_ASSERT(!n->base.pending);
    if (rng_below(&n->rng, 10) == 0) {
        *ret_error = ENOMEM;
        return AOF_BASE_FAILED;
    }
    if (n->child_bases) {
        mem_free(n->base.path);
        n->base = (struct sim_base){.pending = true, .path = mem_strdup(req->path), .groups = n->groups};
        n->child = true;
        aof_set_child(n->aof, true);
        return AOF_BASE_STARTED;
    }
    int error = write_base_file(n, req->path, n->groups);
    *ret_error = -error;
    return error == 0 ? AOF_BASE_DONE : AOF_BASE_FAILED;
}

static void on_kill_base(void *ctx) {
    struct sim_node *n = ctx;
    n->base.killed = true;
}

static bool on_is_child_alive(void *ctx) {
    return ((struct sim_node *)ctx)->child;
}

static void on_close_waiters(void *ctx, uint64_t released) {
    (void)released;
    ((struct sim_node *)ctx)->waiters_closed++;
}

static void on_log(void *ctx, int level, const char *text) {
    struct sim_node *n = ctx;
    snprintf(n->last_log, sizeof n->last_log, "%s", text);
    if (getenv("SIM_LOG") != NULL)
        fprintf(stderr, "  [%d] %s\n", level, text);
}

void sim_base_finish(struct sim_node *n, bool ok) {
    if (!n->base.pending)
        return;
    n->base.pending = false;
    ok = ok && !n->base.killed && write_base_file(n, n->base.path, n->base.groups) == 0;
    n->child = false;
    if (n->aof == NULL)
        return;
    aof_base_done(n->aof, ok, 0);
    aof_set_child(n->aof, false);
}

/* ---- loading --------------------------------------------------------------------------------------------------- */

static int fail(struct buf *error, const char *what, size_t loaded) {
    buf_printf(error, "%s, at group %zu", what, loaded);
    return -1;
}

static int on_apply(void *ctx, int argc, const struct slice *argv, struct buf *error) {
    struct sim_node *n = ctx;
    if (argc == 2 && slice_eq(argv[0], SLICE_LIT("SELECT")))
        return 0;
    if (argc == 1 && slice_eq(argv[0], SLICE_LIT("MULTI"))) {
        n->in_multi = true;
        n->multi_parts = 0;
        return 0;
    }
    if (argc == 1 && slice_eq(argv[0], SLICE_LIT("EXEC"))) {
        if (!n->in_multi || n->multi_parts != 1 + n->loaded / 4 % 3)
            return fail(error, "a group with missing parts", n->loaded);
        n->in_multi = false;
        n->loaded++;
        return 0;
    }
    uint64_t g;
    char bytes[3000], age[32];
    if (argc != 4 || num_parse_u64(argv[1], &g) != 0)
        return fail(error, "a strange command", n->loaded);
    if (g != n->loaded || g >= n->groups)
        return fail(error, "a group lost, doubled or resurrected", n->loaded);
    unsigned part = n->in_multi ? ++n->multi_parts : 0;
    snprintf(age, sizeof age, "%u.%u", n->life[g], part);
    if (!slice_eq(argv[2], slice_cstr(age)))
        return fail(error, "a group of another life", n->loaded);
    size_t len = pad((size_t)g, n->life[g], part, bytes);
    if (!slice_eq(argv[3], slice_of(bytes, len)))
        return fail(error, "wrong bytes", n->loaded);
    if (!n->in_multi)
        n->loaded++;
    return 0;
}

static void on_discard(void *ctx) {
    ((struct sim_node *)ctx)->in_multi = false;
}

static enum loader_status load(struct sim_node *n, bool read_only, struct loader_result *r, struct buf *error) {
    struct loader_options lo = {.dir = n->options.dir,
                                .dirname = n->options.dirname,
                                .filename = n->options.filename,
                                .load_truncated = true,
                                .read_only = read_only};
    struct loader_callbacks cb = {.ctx = n, .apply = on_apply, .discard_group = on_discard, .log = on_log};
    n->loaded = 0;
    n->in_multi = false;
    return loader_load(simdisk_fs(n->disk), &lo, &cb, r, error);
}

enum loader_status sim_node_replay(struct sim_node *n, struct loader_result *ret_result, struct buf *error) {
    return load(n, true, ret_result, error);
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

void sim_node_init(struct sim_node *n, uint64_t seed) {
    memset(n, 0, sizeof *n);
    rng_init(&n->rng, seed);
    n->disk = simdisk_create(seed);
    n->options = AOF_OPTIONS_DEFAULT;
    n->options.dir = "/data";
    n->options.rewrite_percentage = 0;
    const struct fs *fs = simdisk_fs(n->disk);
    int error = fs->mkdir(fs->ctx, "/data", 0755);
    HF_ASSERT(error == 0);
    simdisk_sync(n->disk);
}

void sim_node_deinit(struct sim_node *n) {
    if (n->aof != NULL)
        sim_node_die(n);
    mem_free(n->base.path);
    simdisk_destroy(n->disk);
}

enum loader_status sim_node_start(struct sim_node *n, struct buf *error) {
    struct loader_result r;
    enum loader_status st = load(n, false, &r, error);
    if (getenv("SIM_LOG") != NULL) {
        fprintf(stderr, "  start: status %d loaded %zu offset %llu verdict %d\n", st, n->loaded,
                (unsigned long long)r.recovery.offset, r.recovery.verdict);
        for (size_t i = 0; i < r.manifest.count; i++)
            fprintf(stderr, "    %s %c\n", r.manifest.entries[i].name, r.manifest.entries[i].type);
    }
    if (st == LOADER_OK) {
        n->groups = n->tracked = n->loaded;
        n->life_now++;
        n->in_force = false;
        n->always_from = n->loaded;
        n->cl = changelog_create(0);
        struct aof_callbacks cb = {.ctx = n,
                                   .wake = on_wake,
                                   .start_base = on_start_base,
                                   .kill_base = on_kill_base,
                                   .is_child_alive = on_is_child_alive,
                                   .close_waiters = on_close_waiters,
                                   .log = on_log};
        n->aof = aof_create(simdisk_fs(n->disk), n->cl, &n->options, &cb);
        bool child_bases = n->child_bases;
        n->child_bases = false;
        if (aof_start(n->aof, &r, error) != 0)
            st = LOADER_IO;
        n->child_bases = child_bases;
    }
    loader_result_deinit(&r);
    return st;
}

void sim_node_die(struct sim_node *n) {
    sim_forget_jobs();
    aof_destroy(n->aof);
    changelog_destroy(n->cl);
    n->aof = NULL;
    n->cl = NULL;
    n->child = n->base.pending = false;
}

void sim_node_append(struct sim_node *n) {
    if (n->groups == SIM_GROUPS_MAX || changelog_is_full(n->cl) || changelog_refusal(n->cl) != NULL)
        return;
    size_t g = n->groups++;
    n->life[g] = n->life_now;
    struct buf b = BUF_INIT;
    if (changelog_db(n->cl) != 0) {
        append_words(&b, 2, (struct slice[]){SLICE_LIT("SELECT"), SLICE_LIT("0")});
        changelog_set_db(n->cl, 0);
    }
    format_group(&b, g, n->life_now);
    changelog_append(n->cl, b.data, b.len);
    changelog_end_group(n->cl);
    n->end[g] = changelog_sealed(n->cl);
    buf_deinit(&b);
}

void sim_node_note_promises(struct sim_node *n) {
    /* What was released while the AOF was not in force is no promise. */
    if (!n->in_force && aof_is_in_force(n->aof))
        n->always_from = n->groups;
    n->in_force = aof_is_in_force(n->aof);
    if (!n->in_force)
        return;
    struct aof_stats s;
    aof_stats(n->aof, &s);
    uint64_t released = changelog_released(n->cl);
    HF_ASSERT(released <= changelog_sealed(n->cl));
    size_t g = n->promised_kill > n->tracked ? n->promised_kill : n->tracked;
    while (g < n->groups && n->end[g] <= released && n->end[g] <= s.written_offset)
        g++;
    if (g > n->promised_kill)
        n->promised_kill = g;
    if (n->options.policy != DURABILITY_ALWAYS || n->options.no_sync_on_rewrite)
        return;
    g = n->promised_power > n->always_from ? n->promised_power : n->always_from;
    size_t before = g;
    while (g < n->groups && n->end[g] <= released)
        g++;
    if (g > before)
        n->promised_power = g;
}
