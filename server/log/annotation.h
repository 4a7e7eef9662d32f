/* Annotation lines: integrity and history of an AOF increment, in lines that Redis reads over as comments.
 *
 *     #HF:o=1284;d=1131;c=8f0e…(24 hexadecimal digits)\r\n
 *
 * Fields are `key=value` with `;` between, `c` is always there and last, unknown keys are read over.
 * docs/formats/aof.md has the list.
 *
 * A *stretch* is what stands between two lines: whole groups, one commit of the writer. The chain value of a line is
 * XXH3-64(seed = chain value of the line before, bytes of the stretch ‖ the line up to and without ";c="), so that a
 * flipped bit shows at the first line behind it. The first line of a file is its *head* (`v`); its chain value, with
 * seed 0, is the file's key. Behind the 16 digits of the chain value `c` has 8 more: 32 bits of XXH3-64(seed = key, the
 * line up to and with these 16). They let a reader trust a line behind a damaged stretch, and refuse lines that were
 * copied from another file into a value.
 *
 * Thread: any. Nothing allocates.
 */
#ifndef HF_LOG_ANNOTATION_H
#define HF_LOG_ANNOTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slice.h"
#include "server/log/changelog.h"

#define ANNOTATION_MAX_BYTES 1024 /* Redis reads comments into a buffer of this size */
#define ANNOTATION_VERSION 1

enum {
    ANNOTATION_HEAD = 1 << 0,    /* v, n, q: first line of a file */
    ANNOTATION_OFFSET = 1 << 1,  /* o */
    ANNOTATION_DURABLE = 1 << 2, /* d */
    ANNOTATION_TIME = 1 << 3,    /* t */
    ANNOTATION_BEGIN = 1 << 4,   /* b: first bytes of the log in this file stand behind this line, at offset o */
    ANNOTATION_HISTORY = 1 << 5, /* r, i, j */
    ANNOTATION_CLEAN = 1 << 6    /* e: sealed by a clean stop; the node wrote nothing behind */
};

struct annotation {
    unsigned fields;
    uint64_t version, nonce, seq; /* HEAD */
    uint64_t offset;              /* of the log, behind the stretch that this line closes */
    uint64_t durable;             /* offset that was durable when the line was written */
    uint64_t time_ms;             /* Unix time */
    uint64_t previous; /* BEGIN: chain value at the end of the increment before (of its head, if it has no more), 0 when
                          there was none */
    struct changelog_history history;
    /* set by annotation_parse() */
    uint64_t chain;
    uint32_t check;
    size_t chained_bytes; /* of the line: what goes into the chain */
};

/* The running checksum of a stretch. */
struct annotation_chain {
    _Alignas(64) unsigned char state[640];
};
void annotation_chain_begin(struct annotation_chain *c, uint64_t previous);
void annotation_chain_update(struct annotation_chain *c, const void *p, size_t n);
uint64_t annotation_chain_value(const struct annotation_chain *c);

/* Writes the line for a, closing the stretch whose bytes went into chain; key is ignored for a head. Returns the bytes
 * written to dst (ANNOTATION_MAX_BYTES); *ret_chain is the value to begin the next stretch with. */
size_t annotation_write(char *dst, const struct annotation *a, struct annotation_chain *chain, uint64_t key,
                        uint64_t *ret_chain);
/* Parses a line without its line end. 0, or -1 when it is not a well-formed annotation. */
int annotation_parse(struct slice line, struct annotation *ret_annotation) __attribute__((warn_unused_result));
/* True when the line's own check digits are right for key. line as for annotation_parse(). */
bool annotation_is_genuine(struct slice line, const struct annotation *a, uint64_t key);

#endif
