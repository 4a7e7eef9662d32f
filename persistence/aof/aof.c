#include "config.h"

#include "persistence/aof/aof.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "persistence/aof/aof_int.h"
#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"

/* Runs the durability machine: run() feeds it an event, executes the actions in the order that durability.h gives, and
 * feeds back what they result in until nothing is left. What takes time goes to one of three threads:
 *
 *   aof-write  group commits while a sync is running or the disk stalls
 *   aof-sync   fdatasync
 *   aof-ctl    files and manifest (aof_files.c)
 *
 * Until the AOF is in force (switched on at run time, no base yet) there may be no current file: writes and syncs then
 * succeed at once, for the base to come covers their bytes.
 */

#define COMMIT_MIN_BYTES (256 * 1024)
#define EVENTS_MAX 8

static int64_t now_ms(void) {
    return clock_mono_us() / 1000;
}

void aof_log(struct aof *aof, int level, const char *fmt, ...) {
    if (aof->cb.log == NULL)
        return;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    aof->cb.log(aof->cb.ctx, level, text);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static void reserve_iov(struct iovec **iov, int *cap, int want) {
    if (*cap >= want)
        return;
    *iov = mem_realloc(*iov, (size_t)want * sizeof **iov);
    *cap = want;
}

static void push_commit(struct write_job *w, struct write_commit c) {
    if (w->commit_count == w->commit_cap) {
        w->commit_cap = w->commit_cap == 0 ? 16 : w->commit_cap * 2;
        w->commits = mem_realloc(w->commits, w->commit_cap * sizeof *w->commits);
    }
    w->commits[w->commit_count++] = c;
}

/* Collects the bytes [written, to) of the log as commits. */
static void fill_write_job(struct aof *aof, uint64_t to) {
    struct write_job *w = &aof->write;
    uint64_t from = changelog_cursor_offset(aof->cursor);
    size_t bytes = (size_t)(to - from), got = 0;
    int commits_max = (int)(bytes / COMMIT_MIN_BYTES) + 2;
    int n = 0;
    for (int want = commits_max + 2;; want *= 2) {
        reserve_iov(&w->src, &w->src_cap, want);
        n = changelog_cursor_iov(aof->cursor, w->src, want, bytes, &got);
        if (got == bytes)
            break;
    }
    reserve_iov(&w->iov, &w->iov_cap, n + commits_max);
    w->commit_count = 0;
    int out = 0;
    struct iovec *src = w->src;
    for (uint64_t at = from; at < to;) {
        uint64_t end = changelog_boundary(aof->cl, at, COMMIT_MIN_BYTES);
        struct write_commit c = {.first = out, .begin = at, .end = end < to ? end : to};
        for (size_t left = (size_t)(c.end - at); left > 0;) {
            size_t take = src->iov_len < left ? src->iov_len : left;
            w->iov[out++] = (struct iovec){src->iov_base, take};
            src->iov_base = (char *)src->iov_base + take;
            src->iov_len -= take;
            src += src->iov_len == 0;
            left -= take;
        }
        c.n = out - c.first;
        push_commit(w, c);
        at = c.end;
    }
    w->file = aof->current;
    w->history = *changelog_history(aof->cl);
    w->statement = (struct aof_statement){.durable = aof->machine.durable,
                                          .previous = aof->previous_chain,
                                          .history = &w->history,
                                          .now_ms = (uint64_t)clock_wall_ms(),
                                          .timestamps = aof->options.timestamps};
    w->reached = from;
    w->job.error = 0;
}

/* Any thread. */
static void do_writes(struct write_job *w) {
    if (w->file == NULL) {
        w->reached = w->commits[w->commit_count - 1].end;
        return;
    }
    for (size_t i = 0; i < w->commit_count && w->job.error == 0; i++) {
        const struct write_commit *c = &w->commits[i];
        w->job.error = aof_file_commit(w->file, w->iov + c->first, c->n, c->begin, c->end, &w->statement);
        if (w->job.error == 0)
            w->reached = c->end;
    }
}

static void finish(struct aof_job *j) {
    struct aof *aof = j->aof;
    atomic_store_explicit(&j->done, true, memory_order_release);
    aof->cb.wake(aof->cb.ctx);
}

static void write_main(void *arg) {
    struct write_job *w = arg;
    do_writes(w);
    finish(&w->job);
}

static void sync_main(void *arg) {
    struct sync_job *s = arg;
    struct aof *aof = s->job.aof;
    int64_t began = clock_mono_us();
    s->job.error = s->fd < 0 ? 0 : aof->fs->fdatasync(aof->fs->ctx, s->fd);
    s->duration_us = clock_mono_us() - began;
    finish(&s->job);
}

static void submit(struct worker *worker, struct aof_job *j, void (*fn)(void *), void *arg) {
    HF_ASSERT(!j->busy);
    j->busy = true;
    j->error = 0;
    atomic_store_explicit(&j->done, false, memory_order_relaxed);
    worker_submit(worker, fn, arg);
}

static struct durability_event written_event(struct aof *aof) {
    struct write_job *w = &aof->write;
    changelog_cursor_advance(aof->cursor, (size_t)(w->reached - changelog_cursor_offset(aof->cursor)));
    aof->current_bytes = aof->current != NULL ? aof->current->good_bytes : 0;
    if (w->job.error == 0) {
        aof->last_write_errno = 0;
        return (struct durability_event){.type = DURABILITY_EV_WRITTEN, .offset = w->reached};
    }
    aof->last_write_errno = -w->job.error;
    return (struct durability_event){.type = DURABILITY_EV_WRITE_FAILED, .offset = w->reached, .error = -w->job.error};
}

/* ---- actions --------------------------------------------------------------------------------------------------- */

struct event_queue {
    struct durability_event events[EVENTS_MAX];
    int head, count;
};

static void push_event(struct event_queue *q, struct durability_event ev) {
    HF_ASSERT(q->count < EVENTS_MAX);
    q->events[(q->head + q->count++) % EVENTS_MAX] = ev;
}

static void drop_old(struct aof *aof) {
    aof_file_close(aof->old);
    aof->old = NULL;
}

static void switch_file(struct aof *aof) {
    HF_ASSERT(aof->next != NULL && aof->old == NULL);
    aof->old = aof->current;
    if (aof->old != NULL) {
        aof->previous_chain = aof->old->chain;
        aof->older_bytes += aof->old->good_bytes;
    } else {
        aof->previous_chain = 0;
    }
    aof->current = aof->next;
    aof->current_bytes = aof->current->good_bytes;
    aof->next = NULL;
}

static void start_base(struct aof *aof, struct event_queue *q) {
    /* Every increment begins with its own SELECT, so that it can be replayed alone. */
    if (!changelog_is_verbatim(aof->cl)) {
        changelog_set_db(aof->cl, -1);
    } else {
        struct aof_file *begins = aof->machine.cut_pending ? aof->next : aof->current;
        if (begins != NULL && !begins->has_begun)
            begins->select_db = changelog_db(aof->cl);
    }
    mem_free(aof->base_path);
    struct buf name = BUF_INIT;
    buf_printf(&name, "%s/temp-rewriteaof-%d.aof", aof->dir, (int)getpid());
    aof->base_path = buf_take_cstr(&name);
    aof->base_rdb = aof->options.use_rdb_preamble;
    aof->rewrite_started_ms = now_ms();
    struct aof_base_request req = {.path = aof->base_path,
                                   .rdb_preamble = aof->base_rdb,
                                   .incremental_fsync = aof->options.incremental_fsync,
                                   .repl_offset = aof->machine.cut,
                                   .repl_id = changelog_history(aof->cl)->id};
    int error = ECANCELED;
    switch (aof->stopping ? AOF_BASE_FAILED : aof->cb.start_base(aof->cb.ctx, &req, &error)) {
    case AOF_BASE_STARTED:
        aof->base_child = true;
        push_event(q, (struct durability_event){.type = DURABILITY_EV_BASE_STARTED});
        break;
    case AOF_BASE_DONE:
        push_event(q, (struct durability_event){.type = DURABILITY_EV_BASE_WRITTEN});
        break;
    case AOF_BASE_FAILED:
        push_event(q, (struct durability_event){.type = DURABILITY_EV_BASE_FAILED, .error = error > 0 ? error : EIO});
        break;
    }
}

static void execute(struct aof *aof, const struct durability_actions *a, struct event_queue *q) {
    if (a->flags & DURABILITY_DO_SKIP)
        changelog_cursor_advance(aof->cursor, (size_t)(a->cut - changelog_cursor_offset(aof->cursor)));
    /* A switch and a cut in one step: the cut is the newer, and the file is switched to at once only for the cut
     * itself. */
    bool cuts = (a->flags & DURABILITY_DO_START_BASE) != 0;
    if (a->flags & DURABILITY_DO_SWITCH)
        switch_file(aof);
    if (a->flags & DURABILITY_DO_DROP_OLD)
        drop_old(aof);
    if (cuts)
        start_base(aof, q);
    if (a->flags & (DURABILITY_DO_WRITE_LOOP | DURABILITY_DO_WRITE_THREAD)) {
        fill_write_job(aof, a->write_to);
        if (a->flags & DURABILITY_DO_WRITE_THREAD) {
            submit(aof->write_worker, &aof->write.job, write_main, &aof->write);
        } else {
            do_writes(&aof->write);
            push_event(q, written_event(aof));
        }
    }
    if (a->flags & DURABILITY_DO_SYNC) {
        const struct aof_file *f = a->sync_old ? aof->old : aof->current;
        aof->sync.fd = f == NULL ? -1 : f->fd;
        submit(aof->sync_worker, &aof->sync.job, sync_main, &aof->sync);
    }
    if (a->flags & DURABILITY_DO_PREPARE)
        aof_submit_prepare(aof, a->list_prepared);
    if (a->flags & DURABILITY_DO_INSTALL)
        aof_submit_install(aof);
}

static void log_notes(struct aof *aof, const struct durability_actions *a) {
    static const struct {
        int level;
        const char *text;
        bool has_error;
    } lines[DURABILITY_NOTES] = {
        [DURABILITY_NOTE_WRITE_FAILED] =
            {LOG_LEVEL_WARNING, "Error writing to the AOF file; commands that write are refused until it succeeds",
             true},
        [DURABILITY_NOTE_WRITE_RESUMED] = {LOG_LEVEL_WARNING, "AOF write error is over: writes are accepted again",
                                           false},
        [DURABILITY_NOTE_SYNC_FAILED] = {LOG_LEVEL_WARNING,
                                         "The AOF file cannot be made durable; replies are held and writes refused "
                                         "until a new base and increment are",
                                         true},
        [DURABILITY_NOTE_SYNC_RESTORED] = {LOG_LEVEL_WARNING,
                                           "A new AOF base and increment are durable: service resumes", false},
        [DURABILITY_NOTE_SYNC_SLOW] = {LOG_LEVEL_NOTICE,
                                       "An AOF fsync takes longer than a second: the disk may be busy", false},
        [DURABILITY_NOTE_EXPOSED] =
            {LOG_LEVEL_WARNING, "The disk stalls AOF writes: replies go out before the write (aof-stall-tolerance)",
             false},
        [DURABILITY_NOTE_EXPOSED_END] = {LOG_LEVEL_WARNING,
                                         "The stalled AOF write was done: replies wait for the write again", false},
        [DURABILITY_NOTE_FULL] = {LOG_LEVEL_WARNING, "The AOF is aof-buffer-limit behind: writes wait", false},
        [DURABILITY_NOTE_FULL_END] = {LOG_LEVEL_NOTICE, "The AOF has caught up: writes go on", false},
        [DURABILITY_NOTE_PREPARE_FAILED] = {LOG_LEVEL_WARNING, "Error opening a new AOF increment", true},
        [DURABILITY_NOTE_BASE_FAILED] = {LOG_LEVEL_WARNING, "Writing a new AOF base failed", true},
        [DURABILITY_NOTE_INSTALL_FAILED] = {LOG_LEVEL_WARNING, "Error putting a new AOF base in place", true},
        [DURABILITY_NOTE_INSTALLED] = {LOG_LEVEL_NOTICE, "AOF rewrite finished successfully", false},
        [DURABILITY_NOTE_GIVE_UP] = {LOG_LEVEL_WARNING, "Closing the connections that wait for the AOF", true},
    };
    for (int i = 0; i < DURABILITY_NOTES; i++) {
        if ((a->notes & (1u << i)) == 0 || (aof->stopping && i == DURABILITY_NOTE_BASE_FAILED))
            continue; /* a rewrite given up at the stop is no failure */
        if (lines[i].has_error && a->error != 0)
            aof_log(aof, lines[i].level, "%s: %s", lines[i].text, strerror(a->error));
        else
            aof_log(aof, lines[i].level, "%s", lines[i].text);
    }
    const uint32_t failed =
        1u << DURABILITY_NOTE_PREPARE_FAILED | 1u << DURABILITY_NOTE_BASE_FAILED | 1u << DURABILITY_NOTE_INSTALL_FAILED;
    if (a->notes & (failed | 1u << DURABILITY_NOTE_INSTALLED) && !aof->stopping) {
        aof->last_rewrite_ok = (a->notes & failed) == 0;
        if (aof->last_rewrite_ok)
            aof->rewrites++;
        if (aof->rewrite_started_ms != 0)
            aof->last_rewrite_ms = now_ms() - aof->rewrite_started_ms;
        aof->rewrite_started_ms = 0;
        if (!aof->last_rewrite_ok && aof->base_path != NULL)
            (void)aof->fs->unlink(aof->fs->ctx, aof->base_path);
    }
}

static void publish(struct aof *aof) {
    const struct durability *d = &aof->machine;
    changelog_set_released(aof->cl, d->has_base ? d->released : UINT64_MAX);
    changelog_set_holds(aof->cl, durability_holds(d));
    changelog_set_full(aof->cl, d->full);
    changelog_set_durable(aof->cl, d->has_base ? d->durable : 0);
    int refusal = durability_refusal(d);
    if (refusal != aof->refusal_shown) {
        char text[160];
        snprintf(text, sizeof text, "MISCONF Errors writing to the AOF file: %s", strerror(refusal));
        changelog_set_refusal(aof->cl, refusal == 0 ? NULL : text);
        aof->refusal_shown = refusal;
    }
}

/* Takes one event and everything that follows from it. */
void aof_run(struct aof *aof, struct durability_event first) {
    HF_ASSERT(!aof->stepping);
    aof->stepping = true;
    struct event_queue q = {.count = 0};
    bool closes = false;
    /* The cut of a rewrite is at the state of the data set, so the machine knows of every byte before anything else
     * happens. */
    uint64_t sealed = changelog_sealed(aof->cl);
    if (sealed != aof->machine.sealed && first.type != DURABILITY_EV_APPENDED)
        push_event(&q, (struct durability_event){.type = DURABILITY_EV_APPENDED, .offset = sealed});
    push_event(&q, first);
    int64_t now = now_ms();
    while (q.count > 0) {
        struct durability_event ev = q.events[q.head];
        q.head = (q.head + 1) % EVENTS_MAX;
        q.count--;
        struct durability_actions a;
        durability_step(&aof->machine, &ev, now, &a);
        execute(aof, &a, &q);
        if (a.notes != 0)
            log_notes(aof, &a);
        closes |= (a.flags & DURABILITY_DO_CLOSE_WAITERS) != 0;
    }
    aof->stepping = false;
    publish(aof);
    if (closes && aof->cb.close_waiters != NULL)
        aof->cb.close_waiters(aof->cb.ctx, aof->machine.released);
}

/* Takes what the threads have finished. */
void aof_poll(struct aof *aof) {
    struct sync_job *s = &aof->sync;
    if (s->job.busy && atomic_load_explicit(&s->job.done, memory_order_acquire)) {
        s->job.busy = false;
        aof->last_sync_us = s->duration_us;
        if (s->duration_us > aof->max_sync_us)
            aof->max_sync_us = s->duration_us;
        aof_run(aof,
                (struct durability_event){.type = s->job.error == 0 ? DURABILITY_EV_SYNCED : DURABILITY_EV_SYNC_FAILED,
                                          .error = -s->job.error});
    }
    struct write_job *w = &aof->write;
    if (w->job.busy && atomic_load_explicit(&w->job.done, memory_order_acquire)) {
        w->job.busy = false;
        aof_run(aof, written_event(aof));
    }
    struct durability_event ev;
    if (aof_control_take(aof, &ev))
        aof_run(aof, ev);
}

void aof_before_sleep(struct aof *aof) {
    if (!aof->on)
        return;
    aof_poll(aof);
    uint64_t sealed = changelog_sealed(aof->cl);
    if (sealed != aof->machine.sealed)
        aof_run(aof, (struct durability_event){.type = DURABILITY_EV_APPENDED, .offset = sealed});
}

void aof_on_wake(struct aof *aof) {
    if (aof->on)
        aof_poll(aof);
}

/* ---- once in a while ------------------------------------------------------------------------------------------- */

static bool child_lives(const struct aof *aof) {
    return aof->cb.is_child_alive != NULL && aof->cb.is_child_alive(aof->cb.ctx);
}

static int64_t current_size(const struct aof *aof) {
    return aof->older_bytes + aof->current_bytes;
}

static void start_due_rewrite(struct aof *aof) {
    const struct durability *d = &aof->machine;
    if (d->rewrite != DURABILITY_REWRITE_NONE || !d->has_base || child_lives(aof))
        return;
    bool due = aof->scheduled;
    int64_t size = current_size(aof);
    if (!due && aof->options.rewrite_percentage > 0 && !aof->write.job.busy &&
        size > aof->options.rewrite_min_size_bytes && now_ms() >= d->rewrite_not_before_ms) {
        int64_t base = aof->rewrite_base_bytes > 0 ? aof->rewrite_base_bytes : 1;
        int64_t growth = size / base >= INT64_MAX / 100 ? INT64_MAX : size * 100 / base - 100;
        due = growth >= aof->options.rewrite_percentage;
        if (due)
            aof_log(aof, LOG_LEVEL_NOTICE, "Starting automatic rewriting of AOF on %" PRId64 "%% growth", growth);
    }
    if (!due)
        return;
    aof->scheduled = false;
    aof_run(aof, (struct durability_event){.type = DURABILITY_EV_REWRITE});
}

/* Where nothing is written any more, the last sync still wants to be stated, so that damage below it is known for what
 * it is. */
static void state_durable(struct aof *aof, int64_t now) {
    const struct durability *d = &aof->machine;
    struct aof_file *f = aof->current;
    if (now - aof->statement_checked_ms < 1000)
        return;
    aof->statement_checked_ms = now;
    if (d->syncing || d->writing_thread || d->written != d->sealed || d->write_error != 0 || d->broken ||
        d->cut_pending || d->durable != d->written)
        return;
    if (f == NULL || !f->has_begun || f->stated_durable >= d->durable) /* its file is no thread's now */
        return;
    struct aof_statement st = {
        .durable = d->durable, .history = changelog_history(aof->cl), .now_ms = (uint64_t)clock_wall_ms()};
    if (aof_file_commit(f, NULL, 0, d->written, d->written, &st) != 0)
        aof_log(aof, LOG_LEVEL_DEBUG, "The durable offset could not be noted in the AOF");
}

void aof_cron(struct aof *aof) {
    if (!aof->on)
        return;
    aof_poll(aof);
    aof_run(aof, (struct durability_event){.type = DURABILITY_EV_TICK});
    start_due_rewrite(aof);
    state_durable(aof, now_ms());
}

/* ---- rewrites -------------------------------------------------------------------------------------------------- */

enum aof_rewrite_reply aof_rewrite(struct aof *aof) {
    if (!aof->on)
        return AOF_REWRITE_OFF;
    if (aof->machine.rewrite != DURABILITY_REWRITE_NONE)
        return AOF_REWRITE_IN_PROGRESS;
    if (child_lives(aof)) {
        aof->scheduled = true;
        return AOF_REWRITE_SCHEDULED;
    }
    aof_run(aof, (struct durability_event){.type = DURABILITY_EV_REWRITE});
    return AOF_REWRITE_STARTED;
}

void aof_rewrite_cancel(struct aof *aof) {
    aof->scheduled = false;
    if (!aof->on)
        return;
    aof_run(aof, (struct durability_event){.type = DURABILITY_EV_REWRITE_CANCEL});
    if (aof->base_child && aof->cb.kill_base != NULL)
        aof->cb.kill_base(aof->cb.ctx);
}

void aof_base_done(struct aof *aof, bool ok, size_t cow_bytes) {
    aof->last_cow_bytes = cow_bytes;
    bool expected = aof->base_child && aof->on && aof->machine.rewrite == DURABILITY_REWRITE_BASE;
    aof->base_child = false;
    if (!expected) {
        if (aof->base_path != NULL)
            (void)aof->fs->unlink(aof->fs->ctx, aof->base_path); /* of a rewrite that was given up */
        return;
    }
    aof_run(aof, (struct durability_event){.type = ok ? DURABILITY_EV_BASE_WRITTEN : DURABILITY_EV_BASE_FAILED});
}

void aof_set_child(struct aof *aof, bool alive) {
    aof->machine.child = alive;
    /* Called out of start_base(), the step under way takes it in by itself. */
    if (aof->on && !aof->stepping)
        aof_run(aof, (struct durability_event){.type = DURABILITY_EV_CHILD, .flag = alive});
}

/* ---- numbers --------------------------------------------------------------------------------------------------- */

void aof_stats(const struct aof *aof, struct aof_stats *ret_stats) {
    const struct durability *d = &aof->machine;
    *ret_stats = (struct aof_stats){
        .enabled = aof->on,
        .in_force = aof->on && d->has_base,
        .rewrite_in_progress =
            aof->on && d->rewrite != DURABILITY_REWRITE_NONE && d->rewrite != DURABILITY_REWRITE_WANTED,
        .rewrite_scheduled = aof->scheduled || (aof->on && d->rewrite == DURABILITY_REWRITE_WANTED),
        .last_rewrite_time_s = aof->last_rewrite_ms < 0 ? -1 : aof->last_rewrite_ms / 1000,
        .current_rewrite_time_s = aof->rewrite_started_ms == 0 ? -1 : (now_ms() - aof->rewrite_started_ms) / 1000,
        .last_bgrewrite_ok = aof->last_rewrite_ok,
        .last_write_ok = aof->last_write_errno == 0 && !(aof->on && d->broken),
        .last_write_errno = aof->on && d->broken ? d->broken_error : aof->last_write_errno,
        .rewrites = aof->rewrites,
        .rewrites_consecutive_failures = d->rewrite_failures,
        .last_cow_size_bytes = aof->last_cow_bytes,
        .last_sync_us = aof->last_sync_us,
        .max_sync_us = aof->max_sync_us,
        .exposures = d->exposures - aof->exposures_seen,
        .delayed_fsync = d->delayed_syncs - aof->delayed_seen,
    };
    if (!aof->on)
        return;
    ret_stats->current_size_bytes = current_size(aof);
    ret_stats->base_size_bytes = aof->rewrite_base_bytes;
    ret_stats->buffer_length_bytes = d->sealed - d->written;
    ret_stats->pending_sync = d->syncing;
    ret_stats->exposed_bytes = d->has_base && d->released > d->written ? d->released - d->written : 0;
    ret_stats->written_offset = d->written;
    ret_stats->durable_offset = d->durable;
    ret_stats->released_offset = d->released;
    ret_stats->broken = d->broken;
}

void aof_reset_stats(struct aof *aof) {
    aof->exposures_seen = aof->machine.exposures;
    aof->delayed_seen = aof->machine.delayed_syncs;
    aof->max_sync_us = 0;
}

uint64_t aof_durable_offset(const struct aof *aof) {
    return aof->on && aof->machine.has_base ? aof->machine.durable : 0;
}

bool aof_is_on(const struct aof *aof) {
    return aof->on;
}

bool aof_is_in_force(const struct aof *aof) {
    return aof->on && aof->machine.has_base;
}
