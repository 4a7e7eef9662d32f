/* A simulated disk: a struct fs in memory that loses what was not made durable, and fails on demand.
 *
 * What it models
 *   - Contents: a write goes to the cache. fsync/fdatasync of a descriptor makes the file's bytes and size durable. A
 * crash keeps, page by page (512 bytes), either the cached or the durable version, and a size between the two; a page
 * that was never written out reads as zeros. So writes tear, reorder and leave holes.
 *   - fsync that fails: the dirty pages count as clean from then on although they were not written, as on Linux. A
 * later successful fsync does not bring them back; only writing them again does.
 *   - Names: create, rename, unlink and mkdir become durable by fsync of a descriptor of the directory (open with
 *     O_RDONLY|O_DIRECTORY, then fsync). A crash keeps for each directory the changes up to some point, in order. An
 * fsync of the file does not make its name durable.
 *   - Unlinked or replaced files live on while a descriptor is open.
 * What it does not: links, permissions (mode and owner are stored, not enforced), holes, time.
 *
 * Paths: absolute or relative to "/"; "." , ".." and repeated slashes are resolved. "/" exists from the start.
 * Determinism: all choices come from the seed of simdisk_create() and the order of calls.
 * Ownership: the test owns the disk; simdisk_fs() is borrowed from it. Thread: the struct fs may be used from several
 * threads (one lock), simdisk_… from any thread as well. Errors: misuse by the test asserts.
 */
#ifndef HF_TESTS_SUPPORT_SIMDISK_H
#define HF_TESTS_SUPPORT_SIMDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/fs.h"

struct simdisk;

/* Kinds of call, as a mask. write stands for writev too, read for pread. */
enum simdisk_op {
    SIMDISK_OPEN = 1 << 0,   /* open that neither creates nor truncates */
    SIMDISK_CREATE = 1 << 1, /* open with O_CREAT or O_TRUNC */
    SIMDISK_CLOSE = 1 << 2,
    SIMDISK_READ = 1 << 3,
    SIMDISK_WRITE = 1 << 4,
    SIMDISK_FSYNC = 1 << 5, /* of a file: fsync and fdatasync */
    SIMDISK_FSYNC_DIR = 1 << 6,
    SIMDISK_TRUNCATE = 1 << 7,
    SIMDISK_SEEK = 1 << 8,
    SIMDISK_RENAME = 1 << 9,
    SIMDISK_UNLINK = 1 << 10,
    SIMDISK_MKDIR = 1 << 11,
    SIMDISK_STAT = 1 << 12,
    SIMDISK_CHATTR = 1 << 13, /* fchown, fchmod */
    SIMDISK_LIST = 1 << 14,
    SIMDISK_ANY = (1 << 15) - 1,
    /* The calls that a kill is counted in: between two of them nothing on disk differs. */
    SIMDISK_CHANGES = SIMDISK_CREATE | SIMDISK_WRITE | SIMDISK_FSYNC | SIMDISK_FSYNC_DIR | SIMDISK_TRUNCATE |
                      SIMDISK_RENAME | SIMDISK_UNLINK | SIMDISK_MKDIR | SIMDISK_CHATTR
};

struct simdisk *simdisk_create(uint64_t seed);
/* NULL is fine. Open descriptors go with it. */
void simdisk_destroy(struct simdisk *d);
const struct fs *simdisk_fs(struct simdisk *d);

/* ---- faults; all of them end with simdisk_heal(), simdisk_crash() and simdisk_process_kill() ---- */

#define SIMDISK_FOREVER UINT64_MAX

/* Of the calls of the kinds in ops whose path contains path_part (NULL: any path), lets `skip` pass, then fails the
 * next `times` with -error (a positive errno), without effect (but see fsync above). At most 16 rules at once; the
 * first that matches decides. */
void simdisk_fail(struct simdisk *d, unsigned ops, const char *path_part, uint64_t skip, uint64_t times, int error);
/* Writes take a random part of what they are given, at least one byte. */
void simdisk_short_writes(struct simdisk *d, bool on);
/* Bytes all files together may have; a write past it is cut short, and gets -ENOSPC when nothing fits. */
void simdisk_set_capacity(struct simdisk *d, uint64_t capacity_bytes);
/* The process is killed at the nth changing call from now (1: the next). That call does nothing, except that a write
 * may have put a part of its bytes; from there on every call returns -EIO and does nothing. 0: no kill. */
void simdisk_kill_at(struct simdisk *d, uint64_t nth);
bool simdisk_is_dead(struct simdisk *d);
void simdisk_heal(struct simdisk *d);

/* Called before each call, without the disk's lock: to delay one, or to look at the order of calls. NULL: none. */
void simdisk_set_hook(struct simdisk *d, void (*hook)(void *arg, enum simdisk_op op, const char *path), void *arg);

/* Changing calls (SIMDISK_CHANGES) made so far, for loops over every kill point; failed ones count. */
uint64_t simdisk_changes(struct simdisk *d);
/* Calls so far of the kinds in ops. */
uint64_t simdisk_count(struct simdisk *d, unsigned ops);

/* ---- what a test does between two lives of the process ---- */

/* Power loss: only what is durable, plus a random choice of the rest, is left; all of it is durable then. Descriptors
 * are gone (calls with them give -EBADF). */
void simdisk_crash(struct simdisk *d);
/* As above, but nothing that is not durable survives. */
void simdisk_crash_strict(struct simdisk *d);
/* The process dies, the machine goes on: every write and name stays (and is as durable as before). */
void simdisk_process_kill(struct simdisk *d);
/* Makes all contents and names durable. */
void simdisk_sync(struct simdisk *d);

/* ---- looking and tampering, past all faults ---- */

bool simdisk_exists(struct simdisk *d, const char *path);
/* The file's bytes as the process sees them, appended to *b. 0 or -ENOENT. */
int simdisk_get(struct simdisk *d, const char *path, struct buf *b) __attribute__((warn_unused_result));
/* Creates or replaces a file, durably. Its directories are made. */
void simdisk_put(struct simdisk *d, const char *path, const void *p, size_t n);
/* Inverts one bit of an existing file, durably. */
void simdisk_flip_bit(struct simdisk *d, const char *path, size_t bit);
/* Descriptors open now: a test of leaks. */
size_t simdisk_open_files(struct simdisk *d);
/* Asserts the disk's own invariants. */
void simdisk_check(struct simdisk *d);

#endif
