/* What simdisk.c (calls, faults, lives) and simdisk_medium.c (contents, names, crashes) share.
 *
 * Everything here is under the disk's lock; nothing here looks at faults.
 */
#ifndef HF_TESTS_SUPPORT_SIMDISK_INT_H
#define HF_TESTS_SUPPORT_SIMDISK_INT_H

#include <pthread.h>

#include "server/base/rng.h"
#include "tests/support/simdisk.h"

#define SIMDISK_PAGE_BYTES 512
#define SIMDISK_MAX_RULES 16

enum page_state { PAGE_CLEAN, PAGE_DIRTY, PAGE_LOST };

struct inode {
    unsigned refs;
    bool is_dir;
    uint32_t mode, uid, gid;
    struct buf data;    /* what the process reads */
    struct buf durable; /* what the medium holds */
    struct buf pages;   /* one enum page_state each, for the pages of data */
};

struct name {
    char *path;
    struct inode *inode;
};

struct names {
    struct name *at;
    size_t n;
};

/* A change of names that is not durable: `from` goes away (NULL: nothing does), `to` names inode (NULL: nothing does).
 */
struct change {
    char *dir, *from, *to;
    struct inode *inode;
};

struct handle {
    struct inode *inode; /* NULL: free */
    char *path;          /* as opened */
    int flags;
    int64_t offset;
};

struct rule {
    unsigned ops;
    char *path_part;
    uint64_t skip, times;
    int error;
};

struct simdisk {
    struct fs fs;
    pthread_mutex_t lock;
    struct rng rng;
    struct names now, durable;
    struct change *changes;
    size_t n_changes;
    struct handle *handles;
    size_t n_handles;
    struct rule rules[SIMDISK_MAX_RULES];
    size_t n_rules;
    bool short_writes;
    bool dead;
    uint64_t capacity_bytes;
    uint64_t kill_at; /* in terms of n_changing; 0: never */
    uint64_t n_changing;
    uint64_t counts[15];
    void (*hook)(void *arg, enum simdisk_op op, const char *path);
    void *hook_arg;
};

/* A file or directory with no references yet. */
struct inode *simdisk_inode_create(bool is_dir, uint32_t mode);
struct inode *simdisk_inode_ref(struct inode *ino);
/* Frees with the last reference. NULL is fine. */
void simdisk_inode_unref(struct inode *ino);
/* In the cache; new bytes are zeros. */
void simdisk_inode_resize(struct inode *ino, size_t n);
void simdisk_inode_write(struct inode *ino, size_t offset, const void *p, size_t n);
/* fsync. */
void simdisk_inode_sync(struct inode *ino);
/* The medium refused: some pages made it, the others never will unless written again. */
void simdisk_inode_sync_failed(struct inode *ino, struct rng *rng);
/* The cache becomes what the medium holds. */
void simdisk_inode_set_durable_only(struct inode *ino);
/* After power loss: dirty pages each are what they were durably or now; the size likewise, or between. */
void simdisk_inode_crash(struct inode *ino, struct rng *rng, bool strict);
/* Absolute, without . and .. and doubled or trailing slashes. The caller frees it. */
char *simdisk_path_normalise(const char *path);
/* Of a normalised path. The caller frees it. */
char *simdisk_path_parent(const char *path);
/* NULL where there is none. */
struct name *simdisk_names_find(const struct names *names, const char *path);
/* NULL where there is none. */
struct inode *simdisk_names_inode(const struct names *names, const char *path);
/* Replaces what the path named. */
void simdisk_names_set(struct names *names, const char *path, struct inode *ino);
void simdisk_names_clear(struct names *names);
/* True when path is dir or lies somewhere under it. */
bool simdisk_path_is_within(const char *path, const char *dir);
/* `from` goes away (NULL: nothing does) and `to` names ino (NULL: nothing does), now, and durably not yet. */
void simdisk_change_names(struct simdisk *d, const char *from, const char *to, struct inode *ino);
/* Takes the pending change at index i away; `keep` makes it durable first. */
void simdisk_change_settle(struct simdisk *d, size_t i, bool keep);
/* fsync of a directory. */
void simdisk_sync_names_of(struct simdisk *d, const char *dir);
/* After power loss: of each directory's changes a random number of the first ones happened. */
void simdisk_crash_names(struct simdisk *d, bool strict);
/* A name whose directory did not survive is gone as well. */
void simdisk_drop_orphans(struct names *names);
size_t simdisk_pages_of(size_t n);

#endif
