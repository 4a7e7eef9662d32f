/* Hashes as commands: HMSET in pieces, and HPEXPIREAT for each field that has a deadline. */
#include "config.h"

#include "persistence/aof/value_form.h"

#include "server/base/num.h"
#include "server/store/hash.h"

struct deadlines {
    struct command_form *form;
    struct slice key;
};

static int add_field(void *arg, const struct packed_item *field, const struct packed_item *value, int64_t deadline_ms) {
    struct form_pieces *p = arg;
    (void)deadline_ms;
    return form_pieces_add(p, field) && form_pieces_add(p, value) ? 0 : 1;
}

static int write_deadline(void *arg, const struct packed_item *field, const struct packed_item *value,
                          int64_t deadline_ms) {
    const struct deadlines *d = arg;
    char deadline[NUM_I64_CHARS], digits[NUM_I64_CHARS];
    (void)value;
    if (deadline_ms == FIELD_NO_DEADLINE)
        return 0;
    const struct slice argv[6] = {
        SLICE_LIT("HPEXPIREAT"), d->key,         slice_of(deadline, num_format_i64(deadline, deadline_ms)),
        SLICE_LIT("FIELDS"),     SLICE_LIT("1"), packed_text(field, digits)};
    return form_command(d->form, argv, 6) ? 0 : 1;
}

void form_write_hash(struct command_form *f, struct slice key, const struct entry *e) {
    struct collection h = collection_of(NULL, e);
    struct form_pieces p;
    form_pieces_begin(&p, f, "HMSET", key, 2);
    hash_each(&h, add_field, &p);
    if (!form_pieces_end(&p) || hash_next_deadline_ms(&h) == FIELD_NO_DEADLINE)
        return;
    struct deadlines d = {.form = f, .key = key};
    hash_each(&h, write_deadline, &d);
}
