/* Sorted sets as commands: ZADD key score member … */
#include "config.h"

#include "persistence/aof/value_form.h"

#include "server/base/num.h"
#include "server/store/sorted_set.h"

struct zset_pieces {
    struct form_pieces pieces;
    unsigned n; /* members at hand */
    char scores[FORM_PIECE_ELEMENTS][NUM_DOUBLE_CHARS];
};

static int write_member(void *arg, const struct packed_item *member, double score) {
    struct zset_pieces *k = arg;
    char *text = k->scores[k->n++ % FORM_PIECE_ELEMENTS];
    struct packed_item item = packed_bytes(slice_of(text, num_format_double(text, score)));
    bool good = form_pieces_add(&k->pieces, &item) && form_pieces_add(&k->pieces, member);
    return good ? 0 : -1;
}

void zset_form_write(struct command_form *f, struct slice key, const struct entry *e) {
    const struct collection z = collection_of(NULL, e);
    struct zset_pieces k = {.n = 0};
    form_pieces_begin(&k.pieces, f, "ZADD", key, 2);
    (void)sorted_set_each(&z, 0, sorted_set_count(&z), false, write_member, &k);
    (void)form_pieces_end(&k.pieces);
}
