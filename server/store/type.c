#include "config.h"

#include "server/store/type.h"

#include "server/base/assert.h"
#include "server/store/hash.h"
#include "server/store/list.h"
#include "server/store/set.h"
#include "server/store/sorted_set.h"
#include "server/store/stream.h"

/* Strings have no object. */
static const struct value_type_ops *const rows[VALUE_TYPES] = {
    [VALUE_STRING] = NULL,         [VALUE_LIST] = &list_type_ops,
    [VALUE_SET] = &set_type_ops,   [VALUE_ZSET] = &sorted_set_type_ops,
    [VALUE_HASH] = &hash_type_ops,
    [VALUE_STREAM] = &stream_type_ops,
};

const struct value_type_ops *value_type_ops(enum value_type type) {
    HF_ASSERT(type < VALUE_TYPES && rows[type] != NULL);
    return rows[type];
}
