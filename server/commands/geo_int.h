/* What the files of the geo commands share. Thread: the loop's thread. */
#ifndef HF_COMMANDS_GEO_INT_H
#define HF_COMMANDS_GEO_INT_H

#include <stdbool.h>

#include "server/commands/geohash.h"
#include "server/engine/call.h"

/* A longitude and a latitude in arguments at and at + 1; false where an error was replied. */
bool geo_arg_point(struct call *c, int at, struct geohash_point *ret_point);
/* A number with an error text of its own. */
bool geo_arg_number(struct call *c, int at, const char *error, double *ret_value);
/* Metres of the unit that an argument names. */
bool geo_arg_unit(struct call *c, int at, double *ret_metres);

/* With four decimals. */
void geo_reply_distance(struct call *c, double v);
void geo_reply_point(struct call *c, struct geohash_point p);

void geo_search_register(struct command_table *t);

#endif
