/* Lists as RPUSH commands. */
#include "config.h"

#include "persistence/aof/value_form.h"

#include "server/ds/listpack.h"
#include "server/ds/quicklist.h"

struct node_form {
    struct form_pieces *pieces;
    uint32_t left;  /* elements of the node */
    bool temporary; /* its bytes are gone once all were shown */
};

static int add(void *arg, const struct packed_item *v) {
    struct node_form *n = arg;
    bool going = form_pieces_add(n->pieces, v);
    if (--n->left == 0 && n->temporary)
        going = form_pieces_flush(n->pieces);
    return going ? 0 : -1;
}

static bool add_node(struct form_pieces *p, const struct quicklist_node *n) {
    struct node_form f = {.pieces = p, .left = n->count, .temporary = quicklist_node_is_lzf(n)};
    return quicklist_node_each(n, add, &f) == 0;
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
            going = add_node(&p, n);
    }
    (void)form_pieces_end(&p);
}
