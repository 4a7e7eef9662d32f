#include "config.h"

#include "persistence/aof/aof_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/clock.h"
#include "server/base/mem.h"

/* Changes of the manifest, all on the control thread and one at a time:
 *
 *   prepare   create the next increment with its head, sync it and the directory, store the manifest with it
 *   install   rename the base, store the manifest: new base, current increment and later ones, everything older as
 * history collect   delete the history files, store the manifest without them
 *
 * The manifest in memory follows a store that succeeded. After one that failed, the file may be the old or the new one;
 * both are complete, because nothing that either names is deleted before the next store succeeded, and a sequence
 * number is never used twice.
 */

char *aof_path(const struct aof *aof, const char *name) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s/%s", aof->dir, name);
    return buf_take_cstr(&b);
}

/* ---- on the control thread ------------------------------------------------------------------------------------- */

static int prepare(struct control_job *j) {
    struct aof *aof = j->job.aof;
    int error = aof_file_create(&j->ret_file, aof->fs, j->to, j->name, j->seq);
    if (error != 0)
        return error;
    error = fs_sync_parent(aof->fs, j->to);
    if (error == 0 && j->store_manifest)
        error = aof_manifest_store(aof->fs, aof->manifest_path, &j->manifest);
    else if (error != 0)
        (void)aof->fs->unlink(aof->fs->ctx, j->to); /* no manifest names it */
    if (error != 0) {
        aof_file_close(j->ret_file);
        j->ret_file = NULL;
    }
    return error;
}

static int install(struct control_job *j) {
    struct aof *aof = j->job.aof;
    struct fs_stat st;
    int error = aof->fs->stat(aof->fs->ctx, j->from, &st);
    if (error == 0)
        error = aof->fs->rename(aof->fs->ctx, j->from, j->to);
    if (error != 0)
        return error;
    j->base_bytes = st.size_bytes;
    error = fs_sync_parent(aof->fs, j->to);
    return error == 0 ? aof_manifest_store(aof->fs, aof->manifest_path, &j->manifest) : error;
}

static int collect(struct control_job *j) {
    struct aof *aof = j->job.aof;
    struct aof_manifest kept;
    aof_manifest_init(&kept);
    for (size_t i = 0; i < j->manifest.count; i++) {
        const struct aof_manifest_entry *e = &j->manifest.entries[i];
        if (e->type != AOF_FILE_HISTORY) {
            aof_manifest_add(&kept, e->name, e->seq, e->type);
            continue;
        }
        char *path = aof_path(aof, e->name);
        int error = aof->fs->unlink(aof->fs->ctx, path);
        mem_free(path);
        if (error != 0 && error != -ENOENT)
            aof_manifest_add(&kept, e->name, e->seq, e->type); /* the next collection tries again */
    }
    int error = aof_manifest_store(aof->fs, aof->manifest_path, &kept);
    aof_manifest_deinit(&j->manifest);
    j->manifest = kept;
    return error;
}

static void control_main(void *arg) {
    struct control_job *j = arg;
    struct aof *aof = j->job.aof;
    switch (j->kind) {
    case CONTROL_PREPARE:
        j->job.error = prepare(j);
        break;
    case CONTROL_INSTALL:
        j->job.error = install(j);
        break;
    case CONTROL_COLLECT:
        j->job.error = collect(j);
        break;
    }
    atomic_store_explicit(&j->job.done, true, memory_order_release);
    aof->cb.wake(aof->cb.ctx);
}

/* ---- on the loop's thread -------------------------------------------------------------------------------------- */

static void submit(struct aof *aof, enum control_kind kind) {
    struct control_job *j = &aof->control;
    HF_ASSERT(!j->job.busy);
    j->kind = kind;
    j->job.busy = true;
    j->job.error = 0;
    atomic_store_explicit(&j->job.done, false, memory_order_relaxed);
    worker_submit(aof->control_worker, control_main, j);
}

void aof_submit_prepare(struct aof *aof, bool list) {
    struct control_job *j = &aof->control;
    aof->prepare_lists = list;
    aof->prepare_waits = j->job.busy;
    if (j->job.busy)
        return;
    j->seq = ++aof->last_incr_seq;
    j->name = aof_manifest_incr_name(aof->options.filename, j->seq);
    j->to = aof_path(aof, j->name);
    j->store_manifest = list;
    j->ret_file = NULL;
    aof_manifest_copy(&j->manifest, &aof->manifest);
    aof_manifest_add(&j->manifest, j->name, j->seq, AOF_FILE_INCR);
    submit(aof, CONTROL_PREPARE);
}

void aof_submit_install(struct aof *aof) {
    struct control_job *j = &aof->control;
    aof->install_waits = j->job.busy;
    if (j->job.busy)
        return;
    /* The base covers what was before its cut: the increments kept are the one that begins there and what came later.
     */
    const struct aof_file *begins = aof->machine.cut_pending ? aof->next : aof->current;
    j->seq = ++aof->last_base_seq;
    j->name = aof_manifest_base_name(aof->options.filename, j->seq, aof->base_rdb);
    j->from = mem_strdup(aof->base_path);
    j->to = aof_path(aof, j->name);
    j->store_manifest = true;
    aof_manifest_init(&j->manifest);
    aof_manifest_add(&j->manifest, j->name, j->seq, AOF_FILE_BASE);
    for (size_t i = 0; i < aof->manifest.count; i++) {
        const struct aof_manifest_entry *e = &aof->manifest.entries[i];
        bool stays = e->type == AOF_FILE_INCR && e->seq >= begins->seq;
        if (!stays)
            aof_manifest_add(&j->manifest, e->name, e->seq, AOF_FILE_HISTORY);
    }
    /* At most these two: the machine prepares no other increment while a rewrite runs. */
    aof_manifest_add(&j->manifest, begins->name, begins->seq, AOF_FILE_INCR);
    aof->install_tried = true;
    submit(aof, CONTROL_INSTALL);
}

static void submit_collect(struct aof *aof) {
    bool has_history = false;
    for (size_t i = 0; i < aof->manifest.count; i++)
        has_history |= aof->manifest.entries[i].type == AOF_FILE_HISTORY;
    if (!has_history || aof->options.disable_auto_gc)
        return;
    aof_manifest_copy(&aof->control.manifest, &aof->manifest);
    submit(aof, CONTROL_COLLECT);
}

static void adopt_manifest(struct aof *aof) {
    struct control_job *j = &aof->control;
    aof_manifest_deinit(&aof->manifest);
    aof->manifest = j->manifest;
    aof_manifest_init(&j->manifest);
}

bool aof_control_take(struct aof *aof, struct durability_event *ret_event) {
    struct control_job *j = &aof->control;
    if (!j->job.busy || !atomic_load_explicit(&j->job.done, memory_order_acquire))
        return false;
    j->job.busy = false;
    bool ok = j->job.error == 0, has_event = true;
    *ret_event = (struct durability_event){.error = -j->job.error};
    switch (j->kind) {
    case CONTROL_PREPARE:
        ret_event->type = ok ? DURABILITY_EV_PREPARED : DURABILITY_EV_PREPARE_FAILED;
        if (ok) {
            aof->next = j->ret_file;
            if (j->store_manifest)
                adopt_manifest(aof);
        }
        break;
    case CONTROL_INSTALL:
        ret_event->type = ok ? DURABILITY_EV_INSTALLED : DURABILITY_EV_INSTALL_FAILED;
        if (ok) {
            adopt_manifest(aof);
            aof->older_bytes = j->base_bytes;
            aof->rewrite_base_bytes = j->base_bytes + aof->current_bytes;
        }
        break;
    case CONTROL_COLLECT:
        has_event = false;
        if (ok)
            adopt_manifest(aof);
        break;
    }
    aof_manifest_deinit(&j->manifest);
    mem_free(j->from);
    mem_free(j->to);
    mem_free(j->name);
    j->from = j->to = j->name = NULL;
    if (ok && j->kind == CONTROL_INSTALL)
        submit_collect(aof);
    else if (aof->install_waits)
        aof_submit_install(aof);
    else if (aof->prepare_waits)
        aof_submit_prepare(aof, aof->prepare_lists);
    return has_event;
}

void aof_control_discard(struct aof *aof) {
    struct control_job *j = &aof->control;
    if (j->job.busy && j->kind == CONTROL_PREPARE)
        aof_file_close(j->ret_file);
    j->job.busy = false;
    aof->prepare_waits = aof->install_waits = false;
    aof_manifest_deinit(&j->manifest);
    mem_free(j->from);
    mem_free(j->to);
    mem_free(j->name);
    j->from = j->to = j->name = NULL;
}

/* ---- start-up -------------------------------------------------------------------------------------------------- */

int aof_make_directory(struct aof *aof) {
    struct fs_stat st;
    if (aof->fs->stat(aof->fs->ctx, aof->dir, &st) == 0)
        return st.is_dir ? 0 : -ENOTDIR;
    int error = aof->fs->mkdir(aof->fs->ctx, aof->dir, 0755);
    return error == 0 ? fs_sync_parent(aof->fs, aof->dir) : error;
}

struct name_list {
    char **names;
    size_t count, cap;
};

static int take_temporary(void *arg, const char *name) {
    struct name_list *list = arg;
    if (strncmp(name, "temp-", 5) != 0 && !(name[0] == '.' && strstr(name, ".tmp-") != NULL))
        return 0;
    if (list->count == list->cap) {
        list->cap = list->cap == 0 ? 8 : list->cap * 2;
        list->names = mem_realloc(list->names, list->cap * sizeof *list->names);
    }
    list->names[list->count++] = mem_strdup(name);
    return 0;
}

void aof_remove_temporary(struct aof *aof) {
    struct name_list list = {0};
    (void)aof->fs->list_dir(aof->fs->ctx, aof->dir, take_temporary, &list); /* what stays does no harm */
    for (size_t i = 0; i < list.count; i++) {
        char *path = aof_path(aof, list.names[i]);
        (void)aof->fs->unlink(aof->fs->ctx, path);
        mem_free(path);
        mem_free(list.names[i]);
    }
    mem_free(list.names);
}

int aof_add_increment(struct aof *aof, const char *drop, uint64_t previous) {
    uint64_t seq = ++aof->last_incr_seq;
    char *name = aof_manifest_incr_name(aof->options.filename, seq);
    char *path = aof_path(aof, name);
    struct aof_file *f = NULL;
    int error = aof_file_create(&f, aof->fs, path, name, seq);
    if (error == 0) {
        struct aof_statement st = {.previous = previous,
                                   .durable = changelog_sealed(aof->cl),
                                   .history = changelog_history(aof->cl),
                                   .now_ms = (uint64_t)clock_wall_ms()};
        error = aof_file_commit(f, NULL, 0, changelog_sealed(aof->cl), changelog_sealed(aof->cl), &st);
    }
    if (error == 0)
        error = aof->fs->fsync(aof->fs->ctx, f->fd);
    if (error == 0)
        error = fs_sync_parent(aof->fs, path);
    struct aof_manifest m;
    aof_manifest_init(&m);
    if (error == 0) {
        for (size_t i = 0; i < aof->manifest.count; i++) {
            const struct aof_manifest_entry *e = &aof->manifest.entries[i];
            if (e->type != AOF_FILE_HISTORY && (drop == NULL || strcmp(e->name, drop) != 0))
                aof_manifest_add(&m, e->name, e->seq, e->type);
        }
        aof_manifest_add(&m, name, seq, AOF_FILE_INCR);
        error = aof_manifest_store(aof->fs, aof->manifest_path, &m);
    }
    if (error == 0) {
        aof->current = f;
        for (size_t i = 0; i < aof->manifest.count; i++) {
            const struct aof_manifest_entry *e = &aof->manifest.entries[i];
            if (e->type == AOF_FILE_HISTORY || (drop != NULL && strcmp(e->name, drop) == 0)) {
                char *gone = aof_path(aof, e->name);
                (void)aof->fs->unlink(aof->fs->ctx, gone);
                mem_free(gone);
            }
        }
        aof_manifest_deinit(&aof->manifest);
        aof->manifest = m;
    } else {
        aof_file_close(f);
        aof_manifest_deinit(&m);
    }
    mem_free(path);
    mem_free(name);
    return error;
}
