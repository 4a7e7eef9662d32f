/* Memory: the one allocator interface, with exact accounting.
 *
 * Every allocation of the process goes through here, so that `maxmemory`, INFO and MEMORY speak of the
 * same number. Accounting counts usable (size-class) bytes in per-thread counters; a reader sums them.
 *
 * Policy: small allocations abort the process when memory is gone. A size that an outsider controls uses a
 * `try_` form, which returns NULL instead.
 *
 * Thread: all functions may be called from any thread; memory may be freed by another thread than the one
 * that allocated it. Errors: only `try_` forms fail.
 */
#ifndef HF_BASE_MEM_H
#define HF_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/* Returns size_bytes of uninitialised memory (size 0 gives a unique pointer). Aborts when out of memory. */
void *mem_alloc(size_t size_bytes) __attribute__((malloc, returns_nonnull, alloc_size(1)));
/* As mem_alloc(), zeroed; count * size_bytes is checked and aborts on overflow. */
void *mem_calloc(size_t count, size_t size_bytes) __attribute__((malloc, returns_nonnull));
/* Resizes; p may be NULL. Aborts when out of memory. */
void *mem_realloc(void *p, size_t size_bytes) __attribute__((returns_nonnull));
/* Cache-line aligned block for tables: align is a power of two. Zeroed. */
void *mem_alloc_aligned_zero(size_t size_bytes, size_t align) __attribute__((returns_nonnull));
/* As above for sizes that an outsider controls: NULL when memory is not there. */
void *mem_try_alloc(size_t size_bytes) __attribute__((malloc));
void *mem_try_calloc(size_t count, size_t size_bytes) __attribute__((malloc));
void *mem_try_realloc(void *p, size_t size_bytes);
void *mem_try_alloc_aligned_zero(size_t size_bytes, size_t align);

/* Frees p; NULL is fine. */
void mem_free(void *p);
/* Frees p, whose requested size the caller still knows (saves the allocator a look-up). p is not NULL. */
void mem_free_sized(void *p, size_t size_bytes);
/* Usable bytes of the block at p (≥ what was asked for). */
size_t mem_usable_size(const void *p);
/* Bytes that an allocation of size_bytes really takes. Pure. */
size_t mem_good_size(size_t size_bytes);

char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
/* Copies n bytes and appends a NUL. */
char *mem_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));

/* Bytes allocated now, over all threads. O(threads). */
size_t mem_used(void);

/* What the allocator itself reports, in bytes. Zero where the allocator (glibc) does not tell. */
struct mem_allocator_stats {
    size_t allocated;
    size_t active;
    size_t resident;
    size_t mapped;
    size_t muzzy;
};
/* Fills *ret_stats; takes some ten microseconds with jemalloc. */
void mem_allocator_stats(struct mem_allocator_stats *ret_stats);
/* "jemalloc-5.3.0" or "libc". Static string. */
const char *mem_allocator_name(void);
/* Gives unused pages back to the system (MEMORY PURGE). Returns 0, or -1 where the allocator cannot. */
int mem_purge(void);
/* Switches the allocator's background thread on or off. Returns 0, or -1 where it has none. */
int mem_set_background_thread(int on);
/* Malloc statistics as text for MEMORY MALLOC-STATS; the caller frees it with mem_free(). NULL if none. */
char *mem_allocator_report(void);

#endif
