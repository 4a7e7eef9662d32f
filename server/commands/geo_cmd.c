/* Places in sorted sets: GEOADD GEOPOS GEODIST GEOHASH. */
#include "config.h"

#include "server/commands/geo_int.h"

#include <math.h>
#include <stdio.h>

#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "server/commands/zset_int.h"

/* ---- arguments ---- */

bool geo_arg_number(struct call *c, int at, const char *error, double *ret_value) {
    if (num_parse_double(c->argv[at], ret_value) == 0)
        return true;
    call_error(c, error);
    return false;
}

bool geo_arg_point(struct call *c, int at, struct geohash_point *ret_point) {
    struct geohash_point p;
    if (!call_arg_double(c, at, &p.lon) || !call_arg_double(c, at + 1, &p.lat))
        return false;
    if (!geohash_in_limits(p)) {
        call_errorf(c, "ERR invalid longitude,latitude pair %f,%f", p.lon, p.lat);
        return false;
    }
    *ret_point = p;
    return true;
}

bool geo_arg_unit(struct call *c, int at, double *ret_metres) {
    static const struct {
        const char *name;
        double metres;
    } units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (slice_is(c->argv[at], units[i].name)) {
            *ret_metres = units[i].metres;
            return true;
        }
    }
    call_error(c, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

/* ---- replies ---- */

void geo_reply_distance(struct call *c, double v) {
    char text[64];
    long long scaled = llrint(v * 10000);
    int n = snprintf(text, sizeof text, "%lld.%04lld", scaled / 10000, scaled % 10000);
    resp_bulk(c->w, slice_of(text, (size_t)n));
}

/* A bulk string or a double, by the protocol, in the decimal form of INCRBYFLOAT. */
static void reply_degrees(struct call *c, double v) {
    char text[NUM_LDOUBLE_CHARS + 3];
    if (c->w->resp == 2) {
        resp_bulk_ldouble(c->w, v);
        return;
    }
    text[0] = ',';
    size_t n = 1 + num_format_ldouble_human(text + 1, v);
    text[n++] = '\r';
    text[n++] = '\n';
    resp_raw(c->w, text, n);
}

void geo_reply_point(struct call *c, struct geohash_point p) {
    resp_array(c->w, 2);
    reply_degrees(c, p.lon);
    reply_degrees(c, p.lat);
}

/* ---- GEOADD ---- */

struct add_options {
    bool nx, xx, ch;
};

static int parse_add_options(struct call *c, struct add_options *o) {
    int i = 2;
    for (; i < c->argc; i++) {
        if (slice_is(c->argv[i], "nx"))
            o->nx = true;
        else if (slice_is(c->argv[i], "xx"))
            o->xx = true;
        else if (slice_is(c->argv[i], "ch"))
            o->ch = true;
        else
            break;
    }
    return i;
}

/* False where an error was replied. */
static bool add_places(struct call *c, const struct add_options *o, int first, const double *scores, int n) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    int64_t added = 0, moved = 0;
    if (!call_find_write_type(c, &key, VALUE_ZSET, &e))
        return false;
    if (e != NULL || !o->xx) {
        struct collection z =
            e != NULL ? call_collection(c, e) : sorted_set_create(keyspace_rules(c->ks), 1, c->argv[first + 2].n);
        for (int i = 0; i < n; i++) {
            struct slice member = c->argv[first + 3 * i + 2];
            double was;
            if ((o->nx || o->xx) && sorted_set_score(&z, member, &was) == o->nx)
                continue;
            enum zset_put done = sorted_set_put(&z, member, scores[i]);
            added += done == ZSET_ADDED;
            moved += done == ZSET_MOVED;
        }
        if (added + moved != 0)
            (void)zset_changed(c, &key, e, &z, "zadd");
    }
    resp_int(c->w, o->ch ? added + moved : added);
    return true;
}

static void geoadd_run(struct call *c) {
    struct add_options o = {0};
    const int first = parse_add_options(c, &o), n = (c->argc - first) / 3;
    if (n == 0 || (c->argc - first) % 3 != 0 || (o.nx && o.xx)) {
        call_error_syntax(c);
        return;
    }
    double *scores = mem_calloc((size_t)n, sizeof *scores);
    bool good = true;
    for (int i = 0; i < n && good; i++) {
        struct geohash_point p;
        good = geo_arg_point(c, first + 3 * i, &p);
        if (good)
            scores[i] = (double)geohash_encode(p);
    }
    if (good)
        (void)add_places(c, &o, first, scores, n);
    mem_free_sized(scores, (size_t)n * sizeof *scores);
}

/* ---- where places are ---- */

static bool find_place(const struct call *c, const struct entry *e, struct slice member,
                       struct geohash_point *ret_point) {
    double score;
    if (e == NULL)
        return false;
    const struct collection z = call_collection(c, e);
    if (!sorted_set_score(&z, member, &score))
        return false;
    *ret_point = geohash_decode(geohash_of_score(score));
    return true;
}

static void geopos_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    resp_array(c->w, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        struct geohash_point p;
        if (find_place(c, e, c->argv[i], &p))
            geo_reply_point(c, p);
        else
            resp_null_array(c->w);
    }
}

static void geohash_run(struct call *c) {
    struct keyref key = call_key(c, 1);
    struct entry *e;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    resp_array(c->w, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        struct geohash_point p;
        char text[GEOHASH_TEXT_CHARS];
        if (find_place(c, e, c->argv[i], &p)) {
            geohash_text(p, text);
            resp_bulk(c->w, slice_of(text, sizeof text));
        } else {
            resp_null(c->w);
        }
    }
}

static void geodist_run(struct call *c) {
    double metres = 1;
    if (c->argc > 5) {
        call_error_syntax(c);
        return;
    }
    if (c->argc == 5 && !geo_arg_unit(c, 4, &metres))
        return;
    struct keyref key = call_key(c, 1);
    struct entry *e;
    struct geohash_point a, b;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    if (find_place(c, e, c->argv[2], &a) && find_place(c, e, c->argv[3], &b))
        geo_reply_distance(c, geohash_distance_m(a, b) / metres);
    else
        resp_null(c->w);
}

#define READ_ROW(name_, arity_, run_)                                                                                  \
    {                                                                                                                  \
        .name = name_, .group = "geo", .since = "3.2.0", .arity = arity_, .flags = COMMAND_READONLY, .acl = ACL_GEO,   \
        .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)}, .run = run_                                                            \
    }

static const struct command rows[] = {
    {.name = "geoadd",
     .group = "geo",
     .since = "3.2.0",
     .arity = -5,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_GEO,
     .keys = {ROW_KEY(KEY_RW | KEY_UPDATE)},
     .run = geoadd_run},
    READ_ROW("geodist", -4, geodist_run),
    READ_ROW("geohash", -2, geohash_run),
    READ_ROW("geopos", -2, geopos_run),
};

void geo_commands_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
    geo_search_register(t);
}
