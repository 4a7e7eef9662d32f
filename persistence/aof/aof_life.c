#include "config.h"

#include "persistence/aof/aof_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/base/rng.h"

/* Create, start, stop.
 *
 * A clean stop ends in a seal: everything written and synced, then an annotation that says so, synced too. The next
 * start opens that file again and writes a line behind the seal before anything else, so that a later crash is not
 * taken for the clean stop.
 */

#define REWRITE_BLOCK_BYTES (1 << 20)
#define REWRITE_MAX_BYTES                                                                                              \
    ((int64_t)1 << 30) /* more was never synced by choice (appendfsync no), not because a sync failed */

static int64_t now_ms(void) {
    return clock_mono_us() / 1000;
}

static struct durability_config config_of(const struct aof_options *o) {
    return (struct durability_config){.policy = o->policy,
                                      .no_sync_with_child = o->no_sync_on_rewrite,
                                      .buffer_limit_bytes = o->buffer_limit_bytes,
                                      .stall_tolerance_ms = o->stall_tolerance_ms,
                                      .give_up_ms = o->give_up_ms};
}

struct aof *aof_create(const struct fs *fs, struct changelog *cl, const struct aof_options *options,
                       const struct aof_callbacks *callbacks) {
    struct aof *aof = mem_calloc(1, sizeof *aof);
    aof->fs = fs;
    aof->cl = cl;
    aof->cb = *callbacks;
    aof->options = *options;
    aof->options.dir = mem_strdup(options->dir);
    aof->options.dirname = mem_strdup(options->dirname);
    aof->options.filename = mem_strdup(options->filename);
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/%s", options->dir, options->dirname);
    aof->dir = buf_take_cstr(&path);
    buf_printf(&path, "%s/%s.manifest", aof->dir, options->filename);
    aof->manifest_path = buf_take_cstr(&path);
    aof->write.job.aof = aof->sync.job.aof = aof->control.job.aof = aof;
    aof->last_rewrite_ok = true;
    aof->last_rewrite_ms = -1;
    aof_manifest_init(&aof->manifest);
    return aof;
}

void aof_set_options(struct aof *aof, const struct aof_options *options) {
    struct aof_options o = *options;
    o.dir = aof->options.dir;
    o.dirname = aof->options.dirname;
    o.filename = aof->options.filename;
    aof->options = o;
    if (!aof->on)
        return;
    struct durability_config config = config_of(&o);
    aof_run(aof, (struct durability_event){.type = DURABILITY_EV_CONFIG, .config = &config});
}

/* ---- start ----------------------------------------------------------------------------------------------------- */

static void begin(struct aof *aof, bool has_base) {
    uint64_t offset = changelog_sealed(aof->cl);
    aof->write_worker = worker_create("aof-write");
    aof->sync_worker = worker_create("aof-sync");
    aof->control_worker = worker_create("aof-ctl");
    aof->cursor = changelog_cursor_create(aof->cl, offset);
    HF_ASSERT(aof->cursor != NULL);
    struct durability_config config = config_of(&aof->options);
    bool child = aof->machine.child;
    durability_init(&aof->machine, &config, offset, has_base, now_ms());
    aof->machine.child = child;
    aof->exposures_seen = aof->delayed_seen = 0;
    aof->refusal_shown = 0;
    aof->install_tried = false;
    aof->on = true;
    aof_run(aof, (struct durability_event){.type = DURABILITY_EV_TICK});
}

static void adopt_sequences(struct aof *aof) {
    if (aof->manifest.max_base_seq > aof->last_base_seq)
        aof->last_base_seq = aof->manifest.max_base_seq;
    if (aof->manifest.max_incr_seq > aof->last_incr_seq)
        aof->last_incr_seq = aof->manifest.max_incr_seq;
}

static int64_t listed_bytes(const struct aof *aof) {
    int64_t total = 0;
    for (size_t i = 0; i < aof->manifest.count; i++) {
        const struct aof_manifest_entry *e = &aof->manifest.entries[i];
        struct fs_stat st;
        char *path = aof_path(aof, e->name);
        if (e->type != AOF_FILE_HISTORY && aof->fs->stat(aof->fs->ctx, path, &st) == 0)
            total += st.size_bytes;
        mem_free(path);
    }
    return total;
}

/* Goes on in the increment that a clean stop sealed. */
static int continue_log(struct aof *aof, const struct recovery_result *rec) {
    const struct aof_manifest_entry *last = NULL;
    for (size_t i = 0; i < aof->manifest.count; i++)
        if (aof->manifest.entries[i].type == AOF_FILE_INCR)
            last = &aof->manifest.entries[i];
    HF_ASSERT(last != NULL);
    changelog_reset(aof->cl, rec->offset);
    changelog_set_history(aof->cl, &rec->history);
    char *path = aof_path(aof, last->name);
    int error = aof_file_reopen(&aof->current, aof->fs, path, last->name, last->seq, rec->last_bytes, rec->last_key,
                                rec->last_chain, rec->offset);
    mem_free(path);
    if (error != 0)
        return error;
    struct aof_statement st = {.durable = rec->offset, .history = &rec->history, .now_ms = (uint64_t)clock_wall_ms()};
    error = aof_file_commit(aof->current, NULL, 0, rec->offset, rec->offset, &st);
    if (error == 0)
        error = aof->fs->fdatasync(aof->fs->ctx, aof->current->fd);
    if (error != 0) {
        aof_file_close(aof->current);
        aof->current = NULL;
    }
    return error;
}

/* Writes the bytes of the file from `from` on once more. */
static int write_again(const struct fs *fs, const char *path, int64_t from) {
    int in = fs->open(fs->ctx, path, O_RDONLY, 0);
    int out = in < 0 ? in : fs->open(fs->ctx, path, O_WRONLY, 0);
    int error = out < 0 ? out : 0;
    int64_t at = error == 0 ? fs->lseek(fs->ctx, out, from, SEEK_SET) : 0;
    if (at < 0)
        error = (int)at;
    char *block = mem_alloc(REWRITE_BLOCK_BYTES);
    for (ssize_t n; error == 0 && (n = fs->pread(fs->ctx, in, block, REWRITE_BLOCK_BYTES, from)) != 0; from += n) {
        error = n < 0 ? (int)n : fs_write_all(fs, out, block, (size_t)n);
        if (n < 0)
            break;
    }
    mem_free(block);
    if (in >= 0)
        (void)fs->close(fs->ctx, in);
    if (out >= 0)
        (void)fs->close(fs->ctx, out);
    return error;
}

/* The new increment states that all before it is durable, and of what a killed process left, some may be in the kernel
 * only. A sync is not enough: one that failed in the last life left pages that count as clean and are not on disk. So
 * what was never stated durable is written once more (in place, the same bytes), then synced. */
static int sync_increments(struct aof *aof, const struct recovery_result *rec) {
    int error = 0;
    size_t index = aof_manifest_base(&aof->manifest) != NULL;
    for (size_t i = 0; i < aof->manifest.count && error == 0; i++) {
        const struct aof_manifest_entry *e = &aof->manifest.entries[i];
        if (e->type != AOF_FILE_INCR)
            continue;
        char *path = aof_path(aof, e->name);
        int64_t from = index == rec->unsynced_index ? rec->unsynced_bytes : 0;
        struct fs_stat st;
        error = aof->fs->stat(aof->fs->ctx, path, &st);
        if (error == 0 && index >= rec->unsynced_index && st.size_bytes - from <= REWRITE_MAX_BYTES)
            error = write_again(aof->fs, path, from);
        int fd = error == 0 ? aof->fs->open(aof->fs->ctx, path, O_WRONLY, 0) : error;
        error = fd < 0 ? fd : aof->fs->fsync(aof->fs->ctx, fd);
        if (fd >= 0)
            (void)aof->fs->close(aof->fs->ctx, fd);
        mem_free(path);
        index++;
    }
    return error;
}

/* Starts a new history behind what was recovered. */
static int renew_log(struct aof *aof, const struct recovery_result *rec) {
    int error = sync_increments(aof, rec);
    if (error != 0)
        return error;
    struct changelog_history h = {.id2_offset = -1};
    memset(h.id2, '0', CHANGELOG_ID_CHARS);
    rng_hex_id(h.id, CHANGELOG_ID_CHARS / 2);
    bool is_known = rec->annotated && !rec->foreign_tail;
    if (is_known) {
        memcpy(h.id2, rec->history.id, sizeof h.id2);
        h.id2_offset = (int64_t)rec->sealed_offset;
    }
    changelog_reset(aof->cl, rec->annotated ? rec->offset : changelog_appended(aof->cl));
    changelog_set_history(aof->cl, &h);
    /* An increment that holds nothing is replaced, so that a node that crashes again and again does not collect files.
     */
    const char *drop = NULL;
    if (rec->last_is_empty)
        for (size_t i = 0; i < aof->manifest.count; i++)
            if (aof->manifest.entries[i].type == AOF_FILE_INCR)
                drop = aof->manifest.entries[i].name;
    uint64_t link = drop != NULL ? rec->link_before_last : rec->link;
    return aof_add_increment(aof, drop, rec->foreign_tail ? 0 : link);
}

/* Before the node serves: runs the machine until the first base is installed or its child works. */
static int wait_for_base(struct aof *aof) {
    while (!aof->machine.has_base && !aof->base_child && !aof->machine.child) {
        worker_drain(aof->control_worker);
        worker_drain(aof->sync_worker);
        worker_drain(aof->write_worker);
        unsigned failures = aof->machine.rewrite_failures;
        aof_run(aof, (struct durability_event){.type = DURABILITY_EV_TICK});
        aof_poll(aof);
        if (failures > 0)
            return -EIO;
    }
    return 0;
}

int aof_start(struct aof *aof, const struct loader_result *loaded, struct buf *ret_error) {
    HF_ASSERT(!aof->on);
    int error = aof_make_directory(aof);
    if (error != 0) {
        buf_printf(ret_error, "Can't open or create append-only dir %s: %s", aof->dir, strerror(-error));
        return error;
    }
    aof_remove_temporary(aof);
    aof_manifest_deinit(&aof->manifest);
    if (loaded != NULL) {
        aof_manifest_copy(&aof->manifest, &loaded->manifest);
    } else {
        struct buf why = BUF_INIT;
        error = aof_manifest_load(aof->fs, aof->manifest_path, &aof->manifest, &why);
        if (error != 0 && error != -ENOENT)
            buf_printf(ret_error, "Can't read the AOF manifest %s: %.*s", aof->manifest_path, (int)why.len, why.data);
        buf_deinit(&why);
        if (error != 0 && error != -ENOENT)
            return error;
    }
    adopt_sequences(aof);
    aof->previous_chain = 0;
    aof->older_bytes = aof->current_bytes = 0;
    bool has_base = loaded != NULL && loaded->found && aof->manifest.count > 0;
    if (has_base) {
        error = loaded->recovery.clean ? continue_log(aof, &loaded->recovery) : renew_log(aof, &loaded->recovery);
        if (error != 0) {
            buf_printf(ret_error, "Can't open the append-only file in %s: %s", aof->dir, strerror(-error));
            return error;
        }
        aof->rewrite_base_bytes = listed_bytes(aof);
        aof->current_bytes = aof->current->good_bytes;
        aof->older_bytes = aof->rewrite_base_bytes - aof->current_bytes;
    } else if (changelog_history(aof->cl)->id[0] == '0' && loaded != NULL) {
        struct changelog_history h = *changelog_history(aof->cl);
        if (strspn(h.id, "0") == CHANGELOG_ID_CHARS) {
            rng_hex_id(h.id, CHANGELOG_ID_CHARS / 2);
            changelog_set_history(aof->cl, &h);
        }
    }
    begin(aof, has_base);
    if (loaded != NULL && !has_base && (error = wait_for_base(aof)) != 0) {
        buf_printf(ret_error, "Can't write the first AOF base in %s", aof->dir);
        int stop_error = aof_stop(aof); /* nothing is in force: it only cleans up */
        return stop_error != 0 ? stop_error : error;
    }
    return 0;
}

/* ---- stop ------------------------------------------------------------------------------------------------------ */

/* Until no thread has work: what one finishes may start the next thing. */
static void drain(struct aof *aof) {
    do {
        worker_drain(aof->write_worker);
        worker_drain(aof->sync_worker);
        worker_drain(aof->control_worker);
        aof_poll(aof);
    } while (aof->write.job.busy || aof->sync.job.busy || aof->control.job.busy);
}

/* Writes what is left. 0, or -errno when the disk refuses. */
static int write_rest(struct aof *aof) {
    aof_before_sleep(aof);
    const struct durability *d = &aof->machine;
    while (d->written < d->sealed) {
        if (d->broken)
            return -d->broken_error;
        if (d->write_error != 0 && !d->writing_thread)
            return -d->write_error;
        drain(aof);
        aof_run(aof, (struct durability_event){.type = DURABILITY_EV_TICK});
    }
    drain(aof);
    return d->broken ? -d->broken_error : 0;
}

static int seal(struct aof *aof) {
    const struct durability *d = &aof->machine;
    int error = 0;
    if (aof->old != NULL)
        error = aof->fs->fdatasync(aof->fs->ctx, aof->old->fd);
    if (error == 0)
        error = aof->fs->fdatasync(aof->fs->ctx, aof->current->fd);
    if (error != 0)
        return error;
    /* The seal stands in the last file that the manifest names. */
    struct aof_file *f = aof->current;
    uint64_t previous = aof->previous_chain;
    if (aof->next != NULL) {
        previous = f->chain;
        f = aof->next;
    }
    struct aof_statement st = {.durable = d->written,
                               .previous = previous,
                               .history = changelog_history(aof->cl),
                               .now_ms = (uint64_t)clock_wall_ms(),
                               .clean = true};
    error = aof_file_commit(f, NULL, 0, d->written, d->written, &st);
    return error == 0 ? aof->fs->fdatasync(aof->fs->ctx, f->fd) : error;
}

static void close_all(struct aof *aof) {
    worker_destroy(aof->write_worker);
    worker_destroy(aof->sync_worker);
    worker_destroy(aof->control_worker);
    aof_control_discard(aof);
    aof->write.job.busy = aof->sync.job.busy = false;
    aof_file_close(aof->current);
    aof_file_close(aof->old);
    aof_file_close(aof->next);
    aof->current = aof->old = aof->next = NULL;
    changelog_cursor_destroy(aof->cursor);
    aof->cursor = NULL;
    aof->on = false;
    aof->scheduled = false;
    aof->rewrite_started_ms = 0;
    changelog_set_released(aof->cl, UINT64_MAX);
    changelog_set_holds(aof->cl, false);
    changelog_set_full(aof->cl, false);
    changelog_set_refusal(aof->cl, NULL);
}

int aof_stop(struct aof *aof) {
    if (!aof->on)
        return 0;
    if (aof->base_child && aof->cb.kill_base != NULL)
        aof->cb.kill_base(aof->cb.ctx);
    aof->stopping = true;
    int error = 0;
    drain(aof); /* a base that is being put in place may come into force now */
    if (aof->machine.has_base) {
        error = write_rest(aof);
        if (error == 0)
            error = seal(aof);
        if (error != 0)
            aof_log(aof, LOG_LEVEL_WARNING, "The AOF could not be completed at the stop: %s", strerror(-error));
    } else if (!aof->install_tried) {
        /* No manifest names these. */
        const struct aof_file *unlisted[] = {aof->current, aof->old, aof->next};
        for (size_t i = 0; i < sizeof unlisted / sizeof *unlisted; i++) {
            if (unlisted[i] == NULL)
                continue;
            char *path = aof_path(aof, unlisted[i]->name);
            (void)aof->fs->unlink(aof->fs->ctx, path);
            mem_free(path);
        }
    }
    close_all(aof);
    aof->stopping = false;
    return error;
}

void aof_destroy(struct aof *aof) {
    if (aof == NULL)
        return;
    if (aof->on)
        close_all(aof);
    aof_manifest_deinit(&aof->manifest);
    mem_free(aof->write.src);
    mem_free(aof->write.iov);
    mem_free(aof->write.commits);
    mem_free(aof->base_path);
    mem_free(aof->dir);
    mem_free(aof->manifest_path);
    mem_free((char *)(uintptr_t)aof->options.dir);
    mem_free((char *)(uintptr_t)aof->options.dirname);
    mem_free((char *)(uintptr_t)aof->options.filename);
    mem_free(aof);
}
