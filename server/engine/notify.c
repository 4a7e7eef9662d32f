#include "config.h"

#include <string.h>

#include "server/engine/engine_int.h"
#include "server/engine/pubsub.h"

/* Keyspace notifications: an event of a key is a message, to the channel of the key (K) and to that of the event (E).
 *
 * The classes stand in a fixed order of letters; A is all of them but m and n, which clients have to ask for. Where A
 * stands for the rest, n follows at the end: redis-server 7.0 would leave it out there, and lose it in CONFIG REWRITE.
 */

#define NOTIFY_KEYSPACE (1u << 30)
#define NOTIFY_KEYEVENT (1u << 31)

static const struct {
    char letter;
    unsigned bits;
} letters[] = {
    {'g', NOTIFY_GENERIC}, {'$', NOTIFY_STRING},   {'l', NOTIFY_LIST},     {'s', NOTIFY_SET},      {'h', NOTIFY_HASH},
    {'z', NOTIFY_ZSET},    {'x', NOTIFY_EXPIRED},  {'e', NOTIFY_EVICTED},  {'t', NOTIFY_STREAM},   {'d', NOTIFY_MODULE},
    {'n', NOTIFY_NEW},     {'K', NOTIFY_KEYSPACE}, {'E', NOTIFY_KEYEVENT}, {'m', NOTIFY_KEY_MISS},
};
#define LETTERS (sizeof letters / sizeof letters[0])
#define ALL_CLASSES                                                                                                    \
    ((unsigned)(NOTIFY_GENERIC | NOTIFY_STRING | NOTIFY_LIST | NOTIFY_SET | NOTIFY_HASH | NOTIFY_ZSET |                \
                NOTIFY_EXPIRED | NOTIFY_EVICTED | NOTIFY_STREAM | NOTIFY_MODULE))

static void publish(void *ctx, unsigned db, const struct keyref *key, unsigned cls, const char *event) {
    struct engine *e = ctx;
    struct buf channel = BUF_INIT;
    if ((e->notify.classes & cls) == 0 || e->loading)
        return;
    if (e->notify.classes & NOTIFY_KEYSPACE) {
        buf_printf(&channel, "__keyspace@%u__:", db);
        buf_append_slice(&channel, key->key);
        pubsub_publish(e, PUBSUB_CHANNEL, buf_slice(&channel), slice_cstr(event), NULL, true);
    }
    if (e->notify.classes & NOTIFY_KEYEVENT) {
        buf_clear(&channel);
        buf_printf(&channel, "__keyevent@%u__:%s", db, event);
        pubsub_publish(e, PUBSUB_CHANNEL, buf_slice(&channel), key->key, NULL, true);
    }
    buf_deinit(&channel);
}

static unsigned bits_of(char letter) {
    for (size_t i = 0; i < LETTERS; i++)
        if (letters[i].letter == letter)
            return letters[i].bits;
    return letter == 'A' ? ALL_CLASSES : 0;
}

int notify_set(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    struct engine *e = ctx;
    unsigned classes = 0;
    (void)append;
    for (size_t i = 0; argc > 0 && i < argv[0].n; i++) {
        unsigned bits = bits_of(argv[0].p[i]);
        if (bits == 0) {
            buf_append_cstr(error, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
            return -1;
        }
        classes |= bits;
    }
    e->notify.classes = classes;
    e->notify.fn = (classes & (NOTIFY_KEYSPACE | NOTIFY_KEYEVENT)) != 0 ? publish : NULL;
    e->notify.ctx = e;
    return 0;
}

void notify_get(void *ctx, struct buf *out) {
    const struct engine *e = ctx;
    unsigned left = e->notify.classes;
    const bool all = (left & ALL_CLASSES) == ALL_CLASSES;
    if (all) {
        buf_append_char(out, 'A');
        left &= ~ALL_CLASSES;
    }
    for (size_t i = 0; i < LETTERS; i++)
        if ((left & letters[i].bits) != 0 && !(all && letters[i].letter == 'n'))
            buf_append_char(out, letters[i].letter);
    if (all && (left & NOTIFY_NEW) != 0)
        buf_append_char(out, 'n');
}
