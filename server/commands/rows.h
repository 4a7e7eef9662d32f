/* Shorthand for command rows: key specs that name a range of arguments. Header only. */
#ifndef HF_COMMANDS_ROWS_H
#define HF_COMMANDS_ROWS_H

#include "server/engine/command.h"

/* Keys from argument first_ on, up to last_ (relative to first_; negative: from the end), every step_-th. */
#define ROW_KEYS(flags_, first_, last_, step_)                                                                         \
    {                                                                                                                  \
        .flags = (flags_), .begin = KEY_BEGIN_INDEX, .find = KEY_FIND_RANGE, .index = (first_), .last = (last_),       \
        .step = (step_)                                                                                                \
    }
/* The one key at argument 1. */
#define ROW_KEY(flags_) ROW_KEYS(flags_, 1, 0, 1)
/* A count at argument at_, then that many keys every step_-th argument. */
#define ROW_KEYNUM(flags_, at_, step_)                                                                                 \
    {                                                                                                                  \
        .flags = (flags_), .begin = KEY_BEGIN_INDEX, .find = KEY_FIND_KEYNUM, .index = (at_), .keynum_index = 0,       \
        .first_key = 1, .keynum_step = (step_)                                                                         \
    }
#define ROW_COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

#endif
