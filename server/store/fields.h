/* Field tables: the large form (VALUE_ENC_HASHTABLE) of hashes and of sets.
 *
 * An element is a name with a value (hashes) or without (sets), in one allocation, and may have a deadline, which takes
 * memory only where it is set. A table owns its elements. It keeps the address of the table policy it was created with
 * (the hash key and whether tables may be resized now), which outlives it. Elements and slices that a function returns
 * are borrowed and valid until the next change; slices given to a change do not lie in the table itself.
 *
 * Deadlines only stand there: an element past its deadline is found until it is removed. Whoever reads decides, with
 * field_deadline_ms(); whoever expires asks fields_first_due().
 *
 * Thread: the owner of the store; fields_destroy() of a detached table on any thread; a forked child may read. Errors:
 * only fields_try_expect() can fail.
 */
#ifndef HF_STORE_FIELDS_H
#define HF_STORE_FIELDS_H

#include "server/ds/table.h"
#include "server/store/deadline.h"
#include "server/store/type.h"

struct fields;
struct field;

#define FIELD_NO_DEADLINE INT64_C(-1)

struct fields *fields_create(const struct table_policy *policy) __attribute__((returns_nonnull));
void fields_destroy(struct fields *t);
struct fields *fields_copy(const struct fields *t) __attribute__((returns_nonnull));
size_t fields_count(const struct fields *t);
/* Room for `more` elements. 0, or -1 when memory is not there. */
int fields_try_expect(struct fields *t, size_t more) __attribute__((warn_unused_result));

struct slice field_name(const struct field *f);
struct slice field_value(const struct field *f);  /* of zero bytes in a set */
int64_t field_deadline_ms(const struct field *f); /* or FIELD_NO_DEADLINE */

/* The element, or NULL. */
struct field *fields_find(const struct fields *t, struct slice name);
/* Adds an element or gives it another value, with this deadline (milliseconds of the epoch, not negative) or none. True
 * when it was added. */
bool fields_put(struct fields *t, struct slice name, struct slice value, int64_t deadline_ms);
/* Adds a name without a value. False where it is there already; nothing changes then. */
bool fields_add(struct fields *t, struct slice name);
/* Gives an element another deadline, or none. False where it is not there. */
bool fields_set_deadline(struct fields *t, struct slice name, int64_t deadline_ms);
/* False where it is not there. */
bool fields_remove(struct fields *t, struct slice name);

/* Number of elements with a deadline. */
size_t fields_deadlines(const struct fields *t);
/* The earliest deadline, or FIELD_NO_DEADLINE. */
int64_t fields_next_deadline_ms(struct fields *t);
/* The latest deadline, or FIELD_NO_DEADLINE. */
int64_t fields_last_deadline_ms(const struct fields *t);
/* The element of the earliest deadline if that is before before_ms, else NULL. */
struct field *fields_first_due(struct fields *t, int64_t before_ms);

/* A place for the timer of a hash (hash.h): NULL at first; freed with the table, not copied. */
struct deadline_item **fields_timer(struct fields *t);
void fields_set_timer(struct fields *t, struct deadline_item *timer_take);

/* An element, each with nearly the same probability; NULL when empty. */
struct field *fields_random(const struct fields *t, struct rng *rng);
/* As table_scan(): every element that stays is seen at least once. */
uint64_t fields_scan(const struct fields *t, uint64_t cursor, void (*each)(void *arg, struct field *f), void *arg);
/* Calls each() for every element until it returns nonzero; returns that. The table does not change meanwhile. */
int fields_each(const struct fields *t, int (*each)(void *arg, struct field *f), void *arg);
/* Hint that an element will be looked up. */
void fields_prefetch(const struct fields *t, struct slice name);

/* Bytes of everything. O(1). */
size_t fields_memory_bytes(const struct fields *t);
/* Asserts every invariant; O(n). */
void fields_check(const struct fields *t);

#endif
