/* Names are a list of (path, inode); pending changes of names are a second list, in order, each belonging to the
 * directory it happened in (a rename to that of its target). Both lists are short, so they are searched linearly.
 */
#include "config.h"

#include "tests/support/simdisk_int.h"

#include <string.h>
#include <sys/stat.h>

#include "server/base/assert.h"
#include "server/base/mem.h"

/* ---- inodes ---------------------------------------------------------------------------------------------------- */

struct inode *simdisk_inode_create(bool is_dir, uint32_t mode) {
    struct inode *ino = mem_calloc(1, sizeof *ino);
    ino->is_dir = is_dir;
    ino->mode = (is_dir ? (uint32_t)S_IFDIR : (uint32_t)S_IFREG) | (mode & 07777);
    return ino;
}

struct inode *simdisk_inode_ref(struct inode *ino) {
    if (ino != NULL)
        ino->refs++;
    return ino;
}

void simdisk_inode_unref(struct inode *ino) {
    if (ino == NULL)
        return;
    HF_ASSERT(ino->refs > 0);
    if (--ino->refs > 0)
        return;
    buf_deinit(&ino->data);
    buf_deinit(&ino->durable);
    buf_deinit(&ino->pages);
    mem_free(ino);
}

static void buf_resize_zero(struct buf *b, size_t n) {
    if (n > b->len) {
        buf_reserve(b, n - b->len);
        memset(b->data + b->len, 0, n - b->len);
    }
    b->len = n;
}

size_t simdisk_pages_of(size_t n) {
    return (n + SIMDISK_PAGE_BYTES - 1) / SIMDISK_PAGE_BYTES;
}

static void mark_dirty(struct inode *ino, size_t from, size_t to) {
    buf_resize_zero(&ino->pages, simdisk_pages_of(ino->data.len));
    for (size_t page = from / SIMDISK_PAGE_BYTES; page < simdisk_pages_of(to) && page < ino->pages.len; page++)
        ino->pages.data[page] = PAGE_DIRTY;
}

void simdisk_inode_resize(struct inode *ino, size_t n) {
    size_t before = ino->data.len;
    buf_resize_zero(&ino->data, n);
    mark_dirty(ino, before < n ? before : n, before < n ? n : n + 1);
}

void simdisk_inode_write(struct inode *ino, size_t offset, const void *p, size_t n) {
    if (n == 0)
        return;
    if (offset + n > ino->data.len)
        simdisk_inode_resize(ino, offset + n);
    memcpy(ino->data.data + offset, p, n);
    mark_dirty(ino, offset, offset + n);
}

static void copy_page(struct buf *dst, const struct buf *src, size_t page) {
    for (size_t i = page * SIMDISK_PAGE_BYTES; i < (page + 1) * SIMDISK_PAGE_BYTES && i < dst->len; i++)
        dst->data[i] = i < src->len ? src->data[i] : '\0';
}

void simdisk_inode_sync(struct inode *ino) {
    buf_resize_zero(&ino->durable, ino->data.len);
    for (size_t page = 0; page < ino->pages.len; page++) {
        if (ino->pages.data[page] != PAGE_DIRTY)
            continue;
        copy_page(&ino->durable, &ino->data, page);
        ino->pages.data[page] = PAGE_CLEAN;
    }
}

/* The medium refused: some pages made it, the others never will unless written again. */
void simdisk_inode_sync_failed(struct inode *ino, struct rng *rng) {
    size_t old = ino->durable.len, new = ino->data.len;
    if (rng_below(rng, 2) == 0)
        buf_resize_zero(&ino->durable, new > old ? new : old);
    for (size_t page = 0; page < ino->pages.len; page++) {
        if (ino->pages.data[page] != PAGE_DIRTY)
            continue;
        ino->pages.data[page] = PAGE_LOST;
        if (rng_below(rng, 4) == 0)
            copy_page(&ino->durable, &ino->data, page);
    }
}

void simdisk_inode_set_durable_only(struct inode *ino) {
    ino->data.len = 0;
    buf_append(&ino->data, ino->durable.data, ino->durable.len);
    ino->pages.len = 0;
    buf_resize_zero(&ino->pages, simdisk_pages_of(ino->data.len));
}

/* After power loss: dirty pages and the size each are what they were durably, or now, or (size) between. */
void simdisk_inode_crash(struct inode *ino, struct rng *rng, bool strict) {
    bool lose_all = strict || rng_below(rng, 4) == 0;
    bool keep_all = !lose_all && rng_below(rng, 4) == 0;
    if (!lose_all) {
        size_t low = ino->durable.len < ino->data.len ? ino->durable.len : ino->data.len;
        size_t high = ino->durable.len < ino->data.len ? ino->data.len : ino->durable.len;
        size_t size = keep_all ? ino->data.len : low + (size_t)rng_below(rng, high - low + 1);
        buf_resize_zero(&ino->durable, size);
        for (size_t page = 0; page < ino->pages.len; page++)
            if (ino->pages.data[page] == PAGE_DIRTY && (keep_all || rng_below(rng, 2) == 0))
                copy_page(&ino->durable, &ino->data, page);
    }
    simdisk_inode_set_durable_only(ino);
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* Absolute, without . and .. and doubled or trailing slashes. The caller frees it. */
char *simdisk_path_normalise(const char *path) {
    struct buf b = BUF_INIT;
    while (*path != '\0') {
        size_t n = strcspn(path, "/");
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            while (b.len > 0 && b.data[--b.len] != '/')
                ;
        } else if (n > 0 && !(n == 1 && path[0] == '.')) {
            buf_append_char(&b, '/');
            buf_append(&b, path, n);
        }
        path += n;
        path += strspn(path, "/");
    }
    if (b.len == 0)
        buf_append_char(&b, '/');
    return buf_take_cstr(&b);
}

char *simdisk_path_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

struct name *simdisk_names_find(const struct names *names, const char *path) {
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->at[i].path, path) == 0)
            return &names->at[i];
    return NULL;
}

struct inode *simdisk_names_inode(const struct names *names, const char *path) {
    struct name *name = simdisk_names_find(names, path);
    return name != NULL ? name->inode : NULL;
}

static void names_remove(struct names *names, const char *path) {
    struct name *name = simdisk_names_find(names, path);
    if (name == NULL)
        return;
    mem_free(name->path);
    simdisk_inode_unref(name->inode);
    *name = names->at[--names->n];
}

void simdisk_names_set(struct names *names, const char *path, struct inode *ino) {
    simdisk_inode_ref(ino);
    names_remove(names, path);
    names->at = mem_realloc(names->at, (names->n + 1) * sizeof *names->at);
    names->at[names->n++] = (struct name){mem_strdup(path), ino};
}

void simdisk_names_clear(struct names *names) {
    while (names->n > 0)
        names_remove(names, names->at[0].path);
    mem_free(names->at);
    *names = (struct names){NULL, 0};
}

/* True when path is dir or lies somewhere under it. */
bool simdisk_path_is_within(const char *path, const char *dir) {
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/' || n == 1);
}

/* Moves everything under the directory `from` along with it. */
static void names_move_children(struct names *names, const char *from, const char *to) {
    size_t n = strlen(from);
    for (size_t i = 0; i < names->n; i++) {
        char *path = names->at[i].path;
        if (strcmp(path, from) == 0 || !simdisk_path_is_within(path, from))
            continue;
        struct buf moved = BUF_INIT;
        buf_printf(&moved, "%s%s", to, path + n);
        names->at[i].path = buf_take_cstr(&moved);
        mem_free(path);
    }
}

static void names_apply(struct names *names, const char *from, const char *to, struct inode *ino) {
    if (from != NULL) {
        if (to != NULL && ino->is_dir)
            names_move_children(names, from, to);
        names_remove(names, from);
    }
    if (to != NULL)
        simdisk_names_set(names, to, ino);
}

/* Changes the names now and remembers it as not durable. */
void simdisk_change_names(struct simdisk *d, const char *from, const char *to, struct inode *ino) {
    simdisk_inode_ref(ino);
    names_apply(&d->now, from, to, ino);
    d->changes = mem_realloc(d->changes, (d->n_changes + 1) * sizeof *d->changes);
    d->changes[d->n_changes++] = (struct change){
        .dir = simdisk_path_parent(to != NULL ? to : from),
        .from = from != NULL ? mem_strdup(from) : NULL,
        .to = to != NULL ? mem_strdup(to) : NULL,
        .inode = ino,
    };
}

/* Takes the pending change at index i away; `keep` makes it durable first. */
void simdisk_change_settle(struct simdisk *d, size_t i, bool keep) {
    struct change *c = &d->changes[i];
    if (keep)
        names_apply(&d->durable, c->from, c->to, c->inode);
    mem_free(c->dir);
    mem_free(c->from);
    mem_free(c->to);
    simdisk_inode_unref(c->inode);
    d->n_changes--;
    memmove(c, c + 1, (d->n_changes - i) * sizeof *c);
}

void simdisk_sync_names_of(struct simdisk *d, const char *dir) {
    for (size_t i = 0; i < d->n_changes;) {
        if (strcmp(d->changes[i].dir, dir) == 0)
            simdisk_change_settle(d, i, true);
        else
            i++;
    }
}

/* After power loss: of each directory's changes a random number of the first ones happened. */
void simdisk_crash_names(struct simdisk *d, bool strict) {
    while (d->n_changes > 0) {
        char *dir = mem_strdup(d->changes[0].dir);
        size_t in_dir = 0;
        for (size_t i = 0; i < d->n_changes; i++)
            in_dir += strcmp(d->changes[i].dir, dir) == 0;
        uint64_t kept = strict ? 0 : rng_below(&d->rng, in_dir + 1);
        for (size_t i = 0; i < d->n_changes;) {
            if (strcmp(d->changes[i].dir, dir) != 0) {
                i++;
                continue;
            }
            simdisk_change_settle(d, i, kept > 0);
            kept -= kept > 0;
        }
        mem_free(dir);
    }
}

/* A name whose directory did not survive is gone as well. */
void simdisk_drop_orphans(struct names *names) {
    for (size_t i = 0; i < names->n;) {
        char *parent = simdisk_path_parent(names->at[i].path);
        bool orphan = simdisk_names_find(names, parent) == NULL;
        mem_free(parent);
        if (orphan) {
            names_remove(names, names->at[i].path);
            i = 0;
        } else {
            i++;
        }
    }
}
