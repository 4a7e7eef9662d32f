/* Glob matching as KEYS, SCAN, CONFIG GET and PSUBSCRIBE have it: * ? [a-z] [^a] and \ escapes, over bytes. Pure, any
 * thread. Runs in O(pattern × text) for any pattern: a hostile one cannot hang the server. */
#ifndef HF_DS_GLOB_H
#define HF_DS_GLOB_H

#include <stdbool.h>

#include "server/base/slice.h"

bool glob_match(struct slice pattern, struct slice text, bool ignore_case);

#endif
