/* How a value is written as commands: one file per data type, registered in the table of command_form.c. Internal to
 * persistence/aof.
 *
 * A form writes the commands that rebuild the value under a key that is not there; the deadline of the key is not its
 * business. Large collections come in pieces of FORM_PIECE_ELEMENTS elements. Thread and errors: as command_form.h; a
 * form that is told that the writing failed stops.
 */
#ifndef HF_AOF_VALUE_FORM_H
#define HF_AOF_VALUE_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "server/ds/packed.h"
#include "server/store/entry.h"

#define FORM_PIECE_ELEMENTS 64

struct command_form;

typedef void value_form_fn(struct command_form *f, struct slice key, const struct entry *e);
value_form_fn zset_form_write;

value_form_fn value_form_list;
value_form_fn value_form_stream;

/* One whole command. False when the writing failed. */
bool form_command(struct command_form *f, const struct slice *argv, int argc);

/* Commands of one shape, "verb key [fixed …] element …", each with up to FORM_PIECE_ELEMENTS elements of `width`
 * arguments. Borrowed slices stay until form_pieces_end(). */
#define FORM_FIXED_MAX 4
#define FORM_WIDTH_MAX 2
struct form_pieces {
    struct command_form *form;
    struct slice fixed[2 + FORM_FIXED_MAX];
    size_t fixed_count;
    unsigned width;
    size_t held; /* arguments */
    struct packed_item items[FORM_PIECE_ELEMENTS * FORM_WIDTH_MAX];
};
void form_pieces_begin(struct form_pieces *p, struct command_form *f, const char *verb, struct slice key,
                       unsigned width);
/* A further fixed argument, before the first element. */
void form_pieces_fix(struct form_pieces *p, struct slice s);
/* One argument of an element; its bytes are valid until the command is out, which form_pieces_flush() forces. False
 * when the writing failed. */
bool form_pieces_add(struct form_pieces *p, const struct packed_item *item);
bool form_pieces_flush(struct form_pieces *p);
bool form_pieces_end(struct form_pieces *p);

/* ---- the types ---- */

value_form_fn value_form_set;
value_form_fn form_write_hash;

#endif
