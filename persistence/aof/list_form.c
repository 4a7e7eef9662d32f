/* Lists as RPUSH commands. */
#include "config.h"

#include "persistence/aof/value_form.h"

#include "server/ds/listpack.h"
#include "server/ds/quicklist.h"

static int add(void *arg, const struct packed_item *v) {
    return form_pieces_add(arg, v) ? 0 : -1;
}

void value_form_list(struct command_form *f, struct slice key, const struct entry *e) {
    struct form_pieces p;
    form_pieces_begin(&p, f, "RPUSH", key, 1);
    bool going = true;
    if (entry_encoding(e) == VALUE_ENC_LISTPACK) {
        const struct listpack *lp = entry_object(e);
        for (uint32_t at = listpack_first(lp); at != 0 && going; at = listpack_next(lp, at)) {
            const struct packed_item v = listpack_get(lp, at);
            going = form_pieces_add(&p, &v);
        }
    } else {
        const struct quicklist *ql = entry_object(e);
        for (const struct quicklist_node *n = ql->head; n != NULL && going; n = n->next)
            /* What a compressed node shows is gone behind it. */
            going = quicklist_node_each(n, add, &p) == 0 && (!quicklist_node_is_lzf(n) || form_pieces_flush(&p));
    }
    (void)form_pieces_end(&p);
}
