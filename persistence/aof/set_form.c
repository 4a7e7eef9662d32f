/* Sets as SADD commands. */
#include "config.h"

#include "persistence/aof/value_form.h"
#include "server/store/set.h"

static int add(void *arg, const struct packed_item *member) {
    return form_pieces_add(arg, member) ? 0 : -1;
}

void value_form_set(struct command_form *f, struct slice key, const struct entry *e) {
    const struct collection s = collection_of(NULL, e);
    struct form_pieces p;
    form_pieces_begin(&p, f, "SADD", key, 1);
    (void)set_each(&s, add, &p);
    (void)form_pieces_end(&p);
}
