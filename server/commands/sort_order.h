/* Puts many elements in order, by numbers or by texts: the heart of SORT. Pure.
 *
 * Texts lie in one block and are named by offset and length, so that the block may grow. An item stands for one
 * element; items are sorted, elements stay where they are. Only the part of the order that is asked for is made: the
 * items that belong to [from, to) stand there afterwards, the others somewhere around them.
 *
 * Items that compare as equal keep the order of their indexes, also when descending.
 */
#ifndef HF_COMMANDS_SORT_ORDER_H
#define HF_COMMANDS_SORT_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/slice.h"

#define SORT_ELEMENT_INT UINT32_MAX

struct sort_element {
    union {
        uint64_t at; /* of its text in the block */
        int64_t i;   /* where n is SORT_ELEMENT_INT */
    };
    uint32_t n;
};

struct sort_item {
    uint64_t key;   /* by numbers: sort_key(); by texts: of the function */
    uint64_t at;    /* by texts: what to compare */
    uint32_t n;     /* by texts */
    uint32_t index; /* of the element */
};

struct sort_order {
    struct buf *text; /* digits may be appended */
    const struct sort_element *elements;
    bool descending;
};

/* Keys are in the order of the numbers, which are not NaN. */
uint64_t sort_key(double number);
/* By numbers, equal ones by the texts of their elements. Indexes are ascending at first. */
void sort_by_numbers(const struct sort_order *o, struct sort_item *items, size_t count, size_t from, size_t to);
/* By texts, byte by byte, a beginning before the whole. Indexes are ascending at first. */
void sort_by_texts(const struct sort_order *o, struct sort_item *items, size_t count, size_t from, size_t to);

/* The number that a text spells as strtod() reads it, blanks in front and all, up to the first NUL; empty is 0. False
 * where something follows, and for NaN and what a double cannot hold. */
bool sort_parse_number(struct slice s, double *ret_number);

#endif
