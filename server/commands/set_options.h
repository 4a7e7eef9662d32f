/* The options of SET, GETEX and MSETEX: one grammar, parsed apart from what the commands do with it. Pure, any thread.
 */
#ifndef HF_COMMANDS_SET_OPTIONS_H
#define HF_COMMANDS_SET_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/slice.h"

enum set_grammar {
    SET_GRAMMAR_SET,    /* NX XX IFEQ IFNE IFDEQ IFDNE GET EX PX EXAT PXAT KEEPTTL */
    SET_GRAMMAR_GETEX,  /* EX PX EXAT PXAT PERSIST */
    SET_GRAMMAR_MSETEX, /* NX XX EX PX EXAT PXAT KEEPTTL */
    SET_GRAMMAR_DELEX,  /* IFEQ IFNE IFDEQ IFDNE */
};

enum set_condition { SET_ALWAYS, SET_NX, SET_XX, SET_IFEQ, SET_IFNE, SET_IFDEQ, SET_IFDNE };

struct set_options {
    enum set_condition condition;
    struct slice operand; /* of IFEQ … IFDNE, borrowed */
    bool get;
    bool keep_ttl;
    bool persist;
    int time_arg;    /* position of the time, 0 if there is none */
    int64_t unit_ms; /* of that time: 1 or 1000 */
    bool absolute;   /* it is a Unix time */
};

/* Parses argv[from …]. 0, or -1 on a syntax error. Times are not looked at. A word may be repeated (the last time
 * counts); words that contradict each other are an error. */
int set_options_parse(const struct slice *argv, int argc, int from, enum set_grammar grammar,
                      struct set_options *ret_options) __attribute__((warn_unused_result));

/* 16 hexadecimal digits of any case: the operand of IFDEQ and IFDNE. 0, or -1. */
int set_options_digest(struct slice operand, uint64_t *ret_digest) __attribute__((warn_unused_result));

/* Whether a string meets the condition. current: its bytes, NULL for an absent key. The operand of IFDEQ and IFDNE has
 * been checked. */
bool set_condition_met(const struct set_options *o, const struct slice *current);

#endif
