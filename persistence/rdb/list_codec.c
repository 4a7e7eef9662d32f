/* Lists: written as RDB type 18, a sequence of nodes that are listpacks or single elements; read in every form there
 * was: strings one by one (1), one ziplist (10), ziplists (14), type 18.
 *
 * Packed nodes are always validated in full: that costs a fraction of copying them, and nothing that reads a list would
 * survive a wrong length. Nodes without elements are passed over, as Redis does; it wrote some once.
 */
#include "config.h"

#include "persistence/rdb/codec.h"

#include <inttypes.h>

#include "persistence/rdb/io.h"
#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/ds/listpack.h"
#include "server/ds/packed_legacy.h"
#include "server/store/list.h"

#define CONTAINER_PLAIN 1
#define CONTAINER_PACKED 2
#define LZF_STRING 0xC3

static unsigned list_min_version(const struct entry *e) {
    (void)e;
    return 10;
}

static uint8_t list_wire_type(const struct entry *e, unsigned version) {
    (void)e;
    (void)version;
    return RDB_TYPE_LIST_QUICKLIST_2;
}

/* ---- saving ---- */

static void save_node(struct rdb_writer *w, const struct quicklist_node *n, bool compress) {
    struct slice stored = quicklist_node_stored(n);
    rdb_write_len(w, quicklist_node_is_plain(n) ? CONTAINER_PLAIN : CONTAINER_PACKED);
    if (!quicklist_node_is_lzf(n)) {
        rdb_write_blob(w, stored, compress);
        return;
    }
    rdb_write_byte(w, LZF_STRING);
    rdb_write_len(w, stored.n);
    rdb_write_len(w, n->bytes);
    rdb_write(w, stored.p, stored.n);
}

static void list_save(struct rdb_writer *w, const struct entry *e, unsigned version, bool compress) {
    (void)version;
    if (entry_encoding(e) == VALUE_ENC_LISTPACK) {
        rdb_write_len(w, 1);
        rdb_write_len(w, CONTAINER_PACKED);
        rdb_write_blob(w, listpack_slice(entry_object(e)), compress);
        return;
    }
    const struct quicklist *ql = entry_object(e);
    rdb_write_len(w, ql->nodes);
    for (const struct quicklist_node *n = ql->head; n != NULL; n = n->next)
        save_node(w, n, compress);
}

/* ---- loading ---- */

static int fail_long(struct rdb_reader *r) {
    return rdb_reader_fail(r, RDB_ERR_FORMAT, "an element of a list is longer than 4 GiB");
}

static int load_elements(struct rdb_reader *r, struct collection *l) {
    uint64_t n;
    if (rdb_read_count(r, 1, &n) != 0)
        return -1;
    for (; n > 0; n--) {
        char digits[24];
        struct slice s;
        if (rdb_read_bytes(r, digits, &s) != 0)
            return -1;
        if (list_push(l, QUICKLIST_TAIL, s) != 0)
            return fail_long(r);
    }
    return 0;
}

static const char *push_legacy(void *arg, const struct packed_item *v) {
    return list_push_item(arg, QUICKLIST_TAIL, *v) == 0 ? NULL : "an element is longer than 4 GiB";
}

static int load_ziplist(struct rdb_reader *r, struct collection *l) {
    char digits[24];
    struct slice b;
    uint64_t count, at = rdb_reader_offset(r);
    if (rdb_read_bytes(r, digits, &b) != 0)
        return -1;
    const char *why = ziplist_validate(b, push_legacy, l, &count);
    return why == NULL ? 0 : rdb_reader_fail_at(r, at, RDB_ERR_FORMAT, "%s", why);
}

/* The listpack of the bytes, or of the block that they were decompressed to, which is taken over; NULL without memory.
 */
static struct listpack *make_listpack(struct slice b, void **block) {
    struct listpack *lp = *block;
    *block = NULL;
    return lp != NULL ? lp : listpack_try_load(b);
}

static int load_listpack(struct rdb_reader *r, struct collection *l) {
    char digits[24];
    struct slice b;
    void *block;
    uint64_t count, at = rdb_reader_offset(r);
    int rc = 0;
    if (rdb_read_bytes_take(r, digits, &b, &block) != 0)
        return -1;
    const char *why = listpack_validate(b, true, NULL, NULL, &count);
    if (why != NULL) {
        rc = rdb_reader_fail_at(r, at, RDB_ERR_FORMAT, "%s", why);
    } else if (count > 0) {
        struct listpack *lp = make_listpack(b, &block);
        if (lp != NULL)
            list_append_listpack_take(l, lp);
        else
            rc = rdb_reader_fail_at(r, at, RDB_ERR_MEMORY, "no memory for %zu bytes of a list", b.n);
    }
    mem_free(block);
    return rc;
}

static int load_plain(struct rdb_reader *r, struct collection *l) {
    char digits[24];
    struct slice s;
    if (rdb_read_bytes(r, digits, &s) != 0)
        return -1;
    return list_append_plain(l, s) == 0 ? 0 : fail_long(r);
}

static int load_nodes(struct rdb_reader *r, unsigned rdb_type, struct collection *l) {
    uint64_t n, container;
    if (rdb_read_count(r, 1, &n) != 0)
        return -1;
    for (; n > 0; n--) {
        int rc;
        if (rdb_type == RDB_TYPE_LIST_QUICKLIST)
            rc = load_ziplist(r, l);
        else if (rdb_read_len(r, &container) != 0)
            rc = -1;
        else if (container == CONTAINER_PLAIN)
            rc = load_plain(r, l);
        else if (container == CONTAINER_PACKED)
            rc = load_listpack(r, l);
        else
            rc = rdb_reader_fail(r, RDB_ERR_FORMAT, "%" PRIu64 " is no container of a list node", container);
        if (rc != 0)
            return -1;
    }
    return 0;
}

static int list_load(struct rdb_reader *r, unsigned rdb_type, const struct rdb_load_context *with,
                     struct value *ret_value) {
    struct collection l = list_create(with->rules);
    int rc = rdb_type == RDB_TYPE_LIST           ? load_elements(r, &l)
             : rdb_type == RDB_TYPE_LIST_ZIPLIST ? load_ziplist(r, &l)
                                                 : load_nodes(r, rdb_type, &l);
    if (rc == 0 && list_count(&l) == 0)
        rc = 1;
    if (rc != 0) {
        value_free(collection_value(VALUE_LIST, &l));
        return rc;
    }
    list_loaded(&l);
    *ret_value = collection_value(VALUE_LIST, &l);
    return 0;
}

const struct rdb_value_codec rdb_list_codec = {
    .type = VALUE_LIST,
    .loads = UINT64_C(1) << RDB_TYPE_LIST | UINT64_C(1) << RDB_TYPE_LIST_ZIPLIST |
             UINT64_C(1) << RDB_TYPE_LIST_QUICKLIST | UINT64_C(1) << RDB_TYPE_LIST_QUICKLIST_2,
    .min_version = list_min_version,
    .wire_type = list_wire_type,
    .save = list_save,
    .load = list_load,
};
