/* Ids of stream entries: milliseconds and a sequence number, ordered. Header only. */
#ifndef HF_DS_STREAM_ID_H
#define HF_DS_STREAM_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/endian.h"

#define STREAM_ID_BYTES 16 /* as files have it: two numbers, big-endian, so that bytes order as ids do */

struct stream_id {
    uint64_t ms, seq;
};

#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})

/* Below, equal to or above 0. */
static inline int stream_id_compare(struct stream_id a, struct stream_id b) {
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}
static inline bool stream_id_is_zero(struct stream_id id) {
    return (id.ms | id.seq) == 0;
}
/* The id behind, or in front. False where there is none; *id is unchanged then. */
static inline bool stream_id_increment(struct stream_id *id) {
    if (id->seq == UINT64_MAX) {
        if (id->ms == UINT64_MAX)
            return false;
        id->ms++;
        id->seq = 0;
    } else {
        id->seq++;
    }
    return true;
}
static inline bool stream_id_decrement(struct stream_id *id) {
    if (id->seq == 0) {
        if (id->ms == 0)
            return false;
        id->ms--;
        id->seq = UINT64_MAX;
    } else {
        id->seq--;
    }
    return true;
}

static inline void stream_id_store(unsigned char dst[STREAM_ID_BYTES], struct stream_id id) {
    store_be64(dst, id.ms);
    store_be64(dst + 8, id.seq);
}
static inline struct stream_id stream_id_load(const void *src) {
    return (struct stream_id){load_be64(src), load_be64((const unsigned char *)src + 8)};
}

#endif
