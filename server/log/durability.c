#include "config.h"

#include "server/log/durability.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "server/base/assert.h"

/* One step takes the event in (take_*), then plans: what the state allows to start now is started, in the order in
 * which it may depend on each other: skip and switch of files, cut, write, sync, the rest of the rewrite. Planning
 * never starts what is already in progress, so a step is idempotent on the state and a TICK may come at any time.
 *
 * Invariants: durability_check().
 */

#define RETRY_MS 1000
#define SYNC_EVERY_MS 1000
#define BACKOFF_MAX_MS 60000
#define WRITE_FAILURES_MAX 3
#define LOOP_WRITE_MAX (1 << 20) /* where replies are held anyway, the thread takes what is larger */

static uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static void note(struct durability_actions *out, enum durability_note n, int error) {
    out->notes |= 1u << n;
    if (error != 0)
        out->error = error;
}

static bool is_writing(const struct durability *d) {
    return d->writing_loop || d->writing_thread;
}

static bool syncs_put_off(const struct durability *d) {
    return d->config.no_sync_with_child && d->child;
}

/* True when replies wait for the disk. */
static bool waits_for_sync(const struct durability *d) {
    return d->config.policy == DURABILITY_ALWAYS && !syncs_put_off(d);
}

/* True when bytes in the current increment can become durable: it did not fail, or it starts behind what did. */
static bool current_is_sound(const struct durability *d) {
    return !d->broken || (!d->cut_pending && d->cut >= d->broken_to);
}

static bool is_disk_full(int error) {
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

void durability_init(struct durability *d, const struct durability_config *config, uint64_t offset, bool has_base,
                     int64_t now_ms) {
    memset(d, 0, sizeof *d);
    d->config = *config;
    d->sealed = d->written = d->durable = d->released = offset;
    d->cut = d->current_synced = offset;
    d->has_base = has_base;
    d->sync_started_ms = now_ms;
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

/* Gives the current file up. All bytes handed to it are in doubt. */
static void take_break(struct durability *d, uint64_t to, int error, int64_t now_ms, struct durability_actions *out) {
    (void)now_ms;
    d->broken_to = d->broken ? max_u64(d->broken_to, to) : to;
    if (!d->broken) {
        d->broken = true;
        d->broken_error = error;
        d->close_waiters_ms = 0; /* the new base is given its time first */
        note(out, DURABILITY_NOTE_SYNC_FAILED, error);
    }
    d->exposed = false;
}

static void take_written(struct durability *d, const struct durability_event *ev, int64_t now_ms,
                         struct durability_actions *out) {
    HF_ASSERT(is_writing(d) && ev->offset == d->write_to);
    d->writing_loop = d->writing_thread = false;
    d->written = ev->offset;
    d->unwritten_since_ms = now_ms;
    if (d->write_error != 0) {
        d->write_error = 0;
        d->write_failures = 0;
        if (!d->broken)
            d->close_waiters_ms = 0;
        note(out, DURABILITY_NOTE_WRITE_RESUMED, 0);
    }
    if (d->exposed) {
        d->exposed = false;
        note(out, DURABILITY_NOTE_EXPOSED_END, 0);
    }
}

static void take_write_failed(struct durability *d, const struct durability_event *ev, int64_t now_ms,
                              struct durability_actions *out) {
    HF_ASSERT(is_writing(d) && ev->offset >= d->written && ev->offset <= d->write_to && ev->error > 0);
    d->writing_loop = d->writing_thread = false;
    d->written = ev->offset;
    d->writes_failed++;
    d->write_failures = is_disk_full(ev->error) ? 0 : d->write_failures + 1;
    d->write_retry_ms = now_ms + RETRY_MS;
    d->exposed = false;
    if (d->write_error == 0) {
        d->write_failed_since_ms = now_ms;
        if (!d->broken)
            d->close_waiters_ms = now_ms + d->config.give_up_ms;
        note(out, DURABILITY_NOTE_WRITE_FAILED, ev->error);
    }
    d->write_error = ev->error;
    if (d->write_failures >= WRITE_FAILURES_MAX && current_is_sound(d))
        take_break(d, d->written, ev->error, now_ms, out);
}

static void take_synced(struct durability *d, struct durability_actions *out) {
    HF_ASSERT(d->syncing);
    d->syncing = false;
    d->syncs++;
    if (d->syncing_old) {
        d->old_synced = d->old_sync_is_last;
        if (!d->broken)
            d->durable = max_u64(d->durable, d->sync_to);
    } else {
        d->current_synced = max_u64(d->current_synced, d->sync_to);
        if (!d->broken && !d->old_open)
            d->durable = max_u64(d->durable, d->current_synced);
    }
    (void)out;
}

static void take_sync_failed(struct durability *d, const struct durability_event *ev, int64_t now_ms,
                             struct durability_actions *out) {
    HF_ASSERT(d->syncing && ev->error > 0);
    d->syncing = false;
    d->sync_failures++;
    if (d->syncing_old && !d->old_open)
        return; /* an installed base took the old file's place meanwhile */
    /* The old file ends at the cut. Of the current one, a write may be under way beyond `written`. */
    uint64_t to = d->syncing_old ? d->cut : d->writing_thread ? d->write_to : d->written;
    take_break(d, to, ev->error, now_ms, out);
}

static void take_rewrite_failed(struct durability *d, enum durability_note n, int error, int64_t now_ms,
                                struct durability_actions *out) {
    d->rewrite = DURABILITY_REWRITE_NONE;
    d->rewrite_asked = false;
    int64_t wait = d->rewrite_failures < 6 ? (int64_t)1000 << d->rewrite_failures : BACKOFF_MAX_MS;
    d->rewrite_not_before_ms = now_ms + wait;
    d->rewrite_failures++;
    note(out, n, error);
    if (d->broken)
        d->close_waiters_ms = now_ms;
}

static void take_installed(struct durability *d, struct durability_actions *out) {
    HF_ASSERT(d->rewrite == DURABILITY_REWRITE_INSTALLING);
    d->rewrite = DURABILITY_REWRITE_NONE;
    d->rewrite_asked = false;
    d->rewrite_failures = 0;
    d->rewrite_not_before_ms = 0;
    d->has_base = true;
    d->covered = d->cut;
    note(out, DURABILITY_NOTE_INSTALLED, 0);
    if (d->broken && d->cut >= d->broken_to) {
        d->broken = false;
        d->close_waiters_ms = d->write_error != 0 ? d->write_retry_ms + d->config.give_up_ms : 0;
        note(out, DURABILITY_NOTE_SYNC_RESTORED, 0);
    }
    if (!d->broken && !d->cut_pending)
        d->durable = max_u64(d->durable, d->current_synced);
}

static void take(struct durability *d, const struct durability_event *ev, int64_t now_ms,
                 struct durability_actions *out) {
    switch (ev->type) {
    case DURABILITY_EV_APPENDED:
        HF_ASSERT(ev->offset >= d->sealed);
        if (d->written == d->sealed)
            d->unwritten_since_ms = now_ms;
        d->sealed = ev->offset;
        break;
    case DURABILITY_EV_WRITTEN:
        take_written(d, ev, now_ms, out);
        break;
    case DURABILITY_EV_WRITE_FAILED:
        take_write_failed(d, ev, now_ms, out);
        break;
    case DURABILITY_EV_SYNCED:
        take_synced(d, out);
        break;
    case DURABILITY_EV_SYNC_FAILED:
        take_sync_failed(d, ev, now_ms, out);
        break;
    case DURABILITY_EV_TICK:
        break;
    case DURABILITY_EV_CONFIG:
        d->config = *ev->config;
        break;
    case DURABILITY_EV_CHILD:
        d->child = ev->flag;
        break;
    case DURABILITY_EV_REWRITE:
        d->rewrite_asked = true;
        break;
    case DURABILITY_EV_REWRITE_CANCEL:
        d->rewrite_asked = false;
        if (d->rewrite == DURABILITY_REWRITE_WANTED)
            d->rewrite = DURABILITY_REWRITE_NONE;
        break;
    case DURABILITY_EV_PREPARED:
        HF_ASSERT(d->rewrite == DURABILITY_REWRITE_PREPARING);
        d->rewrite = DURABILITY_REWRITE_PREPARED;
        break;
    case DURABILITY_EV_PREPARE_FAILED:
        HF_ASSERT(d->rewrite == DURABILITY_REWRITE_PREPARING);
        take_rewrite_failed(d, DURABILITY_NOTE_PREPARE_FAILED, ev->error, now_ms, out);
        break;
    case DURABILITY_EV_BASE_STARTED:
        HF_ASSERT(d->rewrite == DURABILITY_REWRITE_BASE);
        break;
    case DURABILITY_EV_BASE_WRITTEN:
        HF_ASSERT(d->rewrite == DURABILITY_REWRITE_BASE);
        d->rewrite = DURABILITY_REWRITE_INSTALLING;
        out->flags |= DURABILITY_DO_INSTALL;
        break;
    case DURABILITY_EV_BASE_FAILED:
        HF_ASSERT(d->rewrite == DURABILITY_REWRITE_BASE);
        take_rewrite_failed(d, DURABILITY_NOTE_BASE_FAILED, ev->error, now_ms, out);
        break;
    case DURABILITY_EV_INSTALLED:
        take_installed(d, out);
        break;
    case DURABILITY_EV_INSTALL_FAILED:
        HF_ASSERT(d->rewrite == DURABILITY_REWRITE_INSTALLING);
        take_rewrite_failed(d, DURABILITY_NOTE_INSTALL_FAILED, ev->error, now_ms, out);
        break;
    }
}

/* ---- plans ----------------------------------------------------------------------------------------------------- */

/* The switch to the increment that starts at the cut, once the current one has its last byte or is given up. */
static void plan_switch(struct durability *d, struct durability_actions *out) {
    if (!d->cut_pending || is_writing(d))
        return;
    bool skips = d->written < d->cut;
    if (skips && ((!d->broken && d->covered < d->cut) || d->syncing))
        return;
    if (skips) {
        /* The base of this cut holds these bytes; without it, nothing behind them is reachable anyway. */
        d->written = d->cut;
        d->write_error = 0;
        d->write_failures = 0;
        out->flags |= DURABILITY_DO_SKIP;
    }
    d->cut_pending = false;
    d->old_open = true;
    d->syncing_old = d->syncing;
    d->old_synced = d->old_sync_is_last = false;
    d->current_synced = d->cut;
    out->cut = d->cut;
    out->flags |= DURABILITY_DO_SWITCH;
    if (!d->broken && d->covered >= d->cut)
        d->durable = max_u64(d->durable, d->cut);
}

/* The old file is closed when it is synced up to its end or does not matter any more. */
static void plan_drop_old(struct durability *d, struct durability_actions *out) {
    if (!d->old_open || (d->syncing && d->syncing_old))
        return;
    bool is_moot = d->covered >= d->cut || (d->broken && d->broken_to <= d->cut);
    if (!d->old_synced && !is_moot)
        return;
    d->old_open = false;
    out->flags |= DURABILITY_DO_DROP_OLD;
    if (!d->broken)
        d->durable = max_u64(d->durable, d->current_synced);
}

static void plan_cut(struct durability *d, struct durability_actions *out) {
    if (d->rewrite != DURABILITY_REWRITE_PREPARED || d->old_open || d->cut_pending || d->child)
        return;
    if (d->broken && (is_writing(d) || d->syncing))
        return;
    d->rewrite = DURABILITY_REWRITE_BASE;
    d->cut = d->sealed;
    d->cut_pending = true;
    out->cut = d->cut;
    out->flags |= DURABILITY_DO_START_BASE;
    plan_switch(d, out);
    plan_drop_old(d, out);
}

static void plan_write(struct durability *d, int64_t now_ms, struct durability_actions *out) {
    uint64_t to = d->cut_pending ? d->cut : d->sealed;
    if (is_writing(d) || d->written >= to || !current_is_sound(d))
        return;
    if (d->write_error != 0 && now_ms < d->write_retry_ms)
        return;
    bool is_large = to - d->written > LOOP_WRITE_MAX;
    bool always = waits_for_sync(d) && d->has_base;
    /* What is appended while a sync runs cannot be released before the next one, which starts when this one has ended:
     * the loop writes it then, for a copy into the kernel costs less than two wake-ups of threads. */
    if (always && d->syncing && !is_large)
        return;
    d->write_to = to;
    out->write_to = to;
    if (d->syncing || d->write_error != 0 || (always ? is_large : d->behind)) {
        d->writing_thread = true;
        out->flags |= DURABILITY_DO_WRITE_THREAD;
    } else {
        d->writing_loop = true;
        out->flags |= DURABILITY_DO_WRITE_LOOP;
    }
}

static void start_sync(struct durability *d, bool old, uint64_t to, int64_t now_ms, struct durability_actions *out) {
    d->syncing = true;
    d->syncing_old = old;
    d->sync_to = to;
    d->sync_started_ms = now_ms;
    d->sync_slow_noted = false;
    out->sync_old = old;
    out->flags |= DURABILITY_DO_SYNC;
}

static void plan_sync(struct durability *d, int64_t now_ms, struct durability_actions *out) {
    bool is_due = now_ms - d->sync_started_ms >= SYNC_EVERY_MS;
    if (d->syncing) {
        if (d->config.policy == DURABILITY_EVERYSEC && is_due && d->written > d->sync_to && !d->sync_slow_noted) {
            d->sync_slow_noted = true;
            d->delayed_syncs++;
            note(out, DURABILITY_NOTE_SYNC_SLOW, 0);
        }
        return;
    }
    if (d->writing_loop || syncs_put_off(d))
        return;
    if (d->old_open) {
        if (!d->broken && !d->old_synced) {
            start_sync(d, true, d->cut, now_ms, out);
            d->old_sync_is_last = true;
        }
        return;
    }
    if (!current_is_sound(d) || d->written <= max_u64(d->current_synced, d->broken ? 0 : d->durable))
        return;
    if (d->config.policy == DURABILITY_ALWAYS || (d->config.policy == DURABILITY_EVERYSEC && is_due))
        start_sync(d, false, d->written, now_ms, out);
}

static void plan_rewrite(struct durability *d, int64_t now_ms, struct durability_actions *out) {
    if (d->rewrite == DURABILITY_REWRITE_NONE) {
        if (!d->rewrite_asked && !d->broken && d->has_base)
            return;
        d->rewrite = DURABILITY_REWRITE_WANTED;
    }
    if (d->rewrite != DURABILITY_REWRITE_WANTED || d->cut_pending || d->old_open || d->child)
        return; /* one child at a time */
    if (now_ms < d->rewrite_not_before_ms && !d->rewrite_asked)
        return;
    d->rewrite = DURABILITY_REWRITE_PREPARING;
    out->list_prepared = d->has_base;
    out->flags |= DURABILITY_DO_PREPARE;
}

static void plan_release(struct durability *d, int64_t now_ms, struct durability_actions *out) {
    if (!d->exposed && d->written < d->sealed && d->write_error == 0 && !d->broken && d->has_base &&
        !waits_for_sync(d) && d->config.stall_tolerance_ms >= 0 && !d->writing_loop &&
        now_ms - d->unwritten_since_ms >= d->config.stall_tolerance_ms) {
        d->exposed = true;
        d->exposures++;
        note(out, DURABILITY_NOTE_EXPOSED, 0);
    }
    uint64_t target;
    if (!d->has_base)
        target = d->sealed;
    else if (d->broken)
        target = d->released;
    else if (waits_for_sync(d))
        target = d->durable;
    else
        target = d->exposed ? d->sealed : d->written;
    d->released = max_u64(d->released, target);

    uint64_t unwritten = d->sealed - d->written;
    uint64_t limit = d->config.buffer_limit_bytes;
    bool full = limit != 0 && unwritten > (d->full ? limit / 2 : limit);
    if (full != d->full)
        note(out, full ? DURABILITY_NOTE_FULL : DURABILITY_NOTE_FULL_END, 0);
    d->full = full;
    if (d->close_waiters_ms != 0 && now_ms >= d->close_waiters_ms && d->has_base) {
        d->close_waiters_ms = now_ms + (d->config.give_up_ms > 0 ? d->config.give_up_ms : RETRY_MS);
        out->flags |= DURABILITY_DO_CLOSE_WAITERS;
        note(out, DURABILITY_NOTE_GIVE_UP, d->broken ? d->broken_error : d->write_error);
    }
}

void durability_step(struct durability *d, const struct durability_event *ev, int64_t now_ms,
                     struct durability_actions *ret_actions) {
    *ret_actions = (struct durability_actions){0};
    take(d, ev, now_ms, ret_actions);
    plan_switch(d, ret_actions);
    plan_drop_old(d, ret_actions);
    plan_cut(d, ret_actions);
    plan_write(d, now_ms, ret_actions);
    plan_sync(d, now_ms, ret_actions);
    plan_rewrite(d, now_ms, ret_actions);
    plan_release(d, now_ms, ret_actions);
    d->behind = d->written < d->sealed && !d->writing_loop;
}

bool durability_holds(const struct durability *d) {
    if (!d->has_base)
        return false;
    if (d->broken || d->write_error != 0 || waits_for_sync(d))
        return true;
    return !d->exposed && (d->syncing || d->writing_thread || d->behind);
}

int durability_refusal(const struct durability *d) {
    if (!d->has_base)
        return 0;
    return d->broken ? d->broken_error : d->write_error;
}

void durability_check(const struct durability *d) {
    HF_ASSERT(d->durable <= d->written && d->written <= d->sealed && d->released <= d->sealed);
    HF_ASSERT(!(d->writing_loop && d->writing_thread));
    if (is_writing(d)) {
        HF_ASSERT(d->write_to > d->written && d->write_to <= d->sealed);
        HF_ASSERT(!d->cut_pending || d->write_to <= d->cut);
    }
    HF_ASSERT(!(d->old_open && d->cut_pending));
    if (d->cut_pending)
        HF_ASSERT(d->written < d->cut || is_writing(d) || d->old_open);
    else
        HF_ASSERT(d->cut <= d->written && d->cut <= d->current_synced && d->current_synced <= d->written);
    /* The durable prefix does not run past a file that waits for its last sync, nor past one that failed. */
    if (d->old_open && d->covered < d->cut)
        HF_ASSERT(d->durable <= d->cut);
    if (d->broken)
        HF_ASSERT(d->durable <= d->broken_to);
    if (d->syncing)
        HF_ASSERT(d->sync_to <= d->written);
    HF_ASSERT(d->covered <= d->cut);
}
