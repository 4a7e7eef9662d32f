/* Places inside a circle, a rectangle or a polygon: GEOSEARCH GEOSEARCHSTORE GEORADIUS GEORADIUSBYMEMBER and their
 * read-only forms. */
#include "config.h"

#include "server/commands/geo_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/commands/rows.h"
#include "server/commands/zset_int.h"

/* A search covers its shape with cells of the map (geohash_cover()), walks the scores of each and keeps the places that
 * are inside. Distances are those from the centre; a polygon's is the mean of its vertices, and what is inside is
 * decided on the flat map, with an edge as a straight line of longitude and latitude. */

enum form { BY_POINT, BY_MEMBER, SEARCH, SEARCH_STORE };
enum shape { NO_SHAPE, CIRCLE, RECTANGLE, POLYGON };
enum order { ANY_ORDER, NEAREST_FIRST, FARTHEST_FIRST };

struct search {
    enum form form;
    bool may_store; /* GEORADIUS and GEORADIUSBYMEMBER, but for their _RO forms */
    int source_arg;
    int options_arg; /* where the options begin */
    int store_arg;   /* 0: the result is replied */
    bool store_distance;
    bool with_distance, with_hash, with_point;
    bool from_member, from_point;
    enum shape shape;
    enum order order;
    int64_t count; /* 0: all */
    bool any;
    struct geohash_point center;
    double unit_m; /* of radius, width, height and of distances in replies */
    double radius, width, height;
    struct geohash_point *vertices; /* owned */
    size_t vertex_count;
    struct geohash_box around; /* the polygon */
};

/* ---- shapes ---- */

static bool in_polygon(const struct search *s, struct geohash_point p) {
    if (p.lon < s->around.min.lon || p.lon > s->around.max.lon || p.lat < s->around.min.lat ||
        p.lat > s->around.max.lat)
        return false;
    bool inside = false; /* crossed by an odd number of edges on its way east */
    for (size_t i = 0, k = s->vertex_count - 1; i < s->vertex_count; k = i++) {
        const struct geohash_point a = s->vertices[i], b = s->vertices[k];
        if ((a.lat > p.lat) != (b.lat > p.lat) && p.lon < (b.lon - a.lon) * (p.lat - a.lat) / (b.lat - a.lat) + a.lon)
            inside = !inside;
    }
    return inside;
}

/* Parallels lie no nearer than what is on them; rounding does not reach a millionth. */
static bool is_too_far(double lat_distance_m, double radius_m) {
    return lat_distance_m > radius_m * (1 + 1e-6) + 1e-3;
}

/* The distance from the centre where p is inside the shape. */
static bool is_inside(const struct search *s, struct geohash_point p, double *ret_distance_m) {
    if (s->shape == POLYGON) {
        if (!in_polygon(s, p))
            return false;
    } else if (s->shape == CIRCLE) {
        const double radius_m = s->radius * s->unit_m;
        if (is_too_far(geohash_lat_distance_m(s->center.lat, p.lat), radius_m))
            return false;
        *ret_distance_m = geohash_distance_m(s->center, p);
        return !(*ret_distance_m > radius_m);
    } else {
        const struct geohash_point meridian = {s->center.lon, p.lat};
        if (geohash_lat_distance_m(p.lat, s->center.lat) > s->height * s->unit_m / 2 ||
            geohash_distance_m(p, meridian) > s->width * s->unit_m / 2)
            return false;
    }
    *ret_distance_m = geohash_distance_m(s->center, p);
    return true;
}

static double farthest_corner_m(const struct search *s) {
    double most = 0;
    for (int i = 0; i < 4; i++) {
        const struct geohash_point corner = {i & 1 ? s->around.min.lon : s->around.max.lon,
                                             i & 2 ? s->around.min.lat : s->around.max.lat};
        double m = geohash_distance_m(s->center, corner);
        if (m > most)
            most = m;
    }
    return most;
}

static int cover(const struct search *s, struct geohash_range ret_ranges[GEOHASH_CELLS_MAX]) {
    if (s->shape == POLYGON)
        return geohash_cover(s->center, farthest_corner_m(s), &s->around, false, ret_ranges);
    double half_width = s->radius, half_height = s->radius, radius = s->radius;
    if (s->shape == RECTANGLE) {
        half_width = s->width / 2;
        half_height = s->height / 2;
        radius = sqrt(half_width * half_width + half_height * half_height);
    }
    struct geohash_box box = geohash_box_around(s->center, s->unit_m * half_width, s->unit_m * half_height);
    return geohash_cover(s->center, radius * s->unit_m, &box, true, ret_ranges);
}

/* ---- finding ---- */

struct place {
    struct packed_item member;
    struct geohash_point point;
    double score, distance_m;
    size_t at; /* order of finding */
};

struct finds {
    const struct search *s;
    struct place *at;
    size_t count, cap;
};

static int keep_if_inside(void *arg, const struct packed_item *member, double score) {
    struct finds *f = arg;
    const struct geohash_point p = geohash_decode(geohash_of_score(score));
    double distance_m;
    if (!is_inside(f->s, p, &distance_m))
        return 0;
    if (f->count == f->cap) {
        f->cap = f->cap != 0 ? f->cap * 2 : 16;
        f->at = mem_realloc(f->at, f->cap * sizeof *f->at);
    }
    f->at[f->count] = (struct place){*member, p, score, distance_m, f->count};
    f->count++;
    return f->s->any && f->count == (uint64_t)f->s->count;
}

static void find_places(const struct search *s, const struct collection *z, struct finds *f) {
    struct geohash_range ranges[GEOHASH_CELLS_MAX];
    const int n = cover(s, ranges);
    for (int i = 0; i < n; i++) {
        size_t first = sorted_set_rank_of_score(z, (double)ranges[i].min, false);
        size_t end = sorted_set_rank_of_score(z, (double)ranges[i].max, false);
        if (end > first && sorted_set_each(z, first, end - first, false, keep_if_inside, f) != 0)
            break;
    }
}

static int nearest(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->distance_m != y->distance_m)
        return x->distance_m < y->distance_m ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int farthest(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->distance_m != y->distance_m)
        return x->distance_m > y->distance_m ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void sink(struct place *heap, size_t n, size_t i, int (*compare)(const void *, const void *)) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            return;
        if (child + 1 < n && compare(&heap[child], &heap[child + 1]) < 0)
            child++;
        if (compare(&heap[i], &heap[child]) >= 0)
            return;
        struct place t = heap[i];
        heap[i] = heap[child];
        heap[child] = t;
        i = child;
    }
}

/* The first `wanted` of all in order. Where they are few of many, a heap of the best so far finds them. */
static void sort_places(struct finds *f, enum order order, size_t wanted) {
    int (*compare)(const void *, const void *) = order == NEAREST_FIRST ? nearest : farthest;
    if (wanted < f->count / 4) {
        for (size_t i = wanted / 2; i-- > 0;)
            sink(f->at, wanted, i, compare);
        for (size_t i = wanted; i < f->count; i++) {
            if (compare(&f->at[i], &f->at[0]) < 0) {
                f->at[0] = f->at[i];
                sink(f->at, wanted, 0, compare);
            }
        }
        f->count = wanted;
    }
    qsort(f->at, f->count, sizeof *f->at, compare);
}

/* ---- options ---- */

static bool place_of_member(struct call *c, const struct collection *z, int at, struct search *s) {
    double score;
    if (!sorted_set_score(z, c->argv[at], &score)) {
        call_error(c, "ERR could not decode requested zset member");
        return false;
    }
    s->center = geohash_decode(geohash_of_score(score));
    return true;
}

static bool arg_radius(struct call *c, int at, struct search *s) {
    if (!geo_arg_number(c, at, "ERR need numeric radius", &s->radius))
        return false;
    if (s->radius < 0) {
        call_error(c, "ERR radius cannot be negative");
        return false;
    }
    s->shape = CIRCLE;
    return geo_arg_unit(c, at + 1, &s->unit_m);
}

static bool arg_rectangle(struct call *c, int at, struct search *s) {
    if (!geo_arg_number(c, at, "ERR need numeric width", &s->width) ||
        !geo_arg_number(c, at + 1, "ERR need numeric height", &s->height))
        return false;
    if (s->width < 0 || s->height < 0) {
        call_error(c, "ERR height or width cannot be negative");
        return false;
    }
    s->shape = RECTANGLE;
    return geo_arg_unit(c, at + 2, &s->unit_m);
}

/* A number of vertices at `at`, then their coordinates. Returns the place behind, or 0 where an error was replied. */
static int arg_polygon(struct call *c, int at, struct search *s) {
    int64_t n;
    if (!call_arg_i64(c, at, &n))
        return 0;
    if (n < 3) {
        call_error(c, "ERR GEOSEARCH BYPOLYGON must have at least 3 vertices");
        return 0;
    }
    if (n > (c->argc - at - 1) / 2) {
        call_error_syntax(c);
        return 0;
    }
    mem_free(s->vertices);
    s->vertices = mem_calloc((size_t)n, sizeof *s->vertices);
    s->vertex_count = (size_t)n;
    struct geohash_point sum = {0, 0};
    for (int i = 0; i < (int)n; i++) {
        struct geohash_point p;
        if (!geo_arg_point(c, at + 1 + 2 * i, &p))
            return 0;
        s->vertices[i] = p;
        sum.lon += p.lon;
        sum.lat += p.lat;
        if (i == 0)
            s->around = (struct geohash_box){p, p};
        s->around.min.lon = fmin(s->around.min.lon, p.lon);
        s->around.min.lat = fmin(s->around.min.lat, p.lat);
        s->around.max.lon = fmax(s->around.max.lon, p.lon);
        s->around.max.lat = fmax(s->around.max.lat, p.lat);
    }
    s->center = (struct geohash_point){sum.lon / (double)n, sum.lat / (double)n};
    s->unit_m = 1;
    s->shape = POLYGON;
    return at + 1 + 2 * (int)n;
}

/* The words that are only a flag. */
static bool parse_flag(const struct call *c, int i, struct search *s) {
    const struct slice word = c->argv[i];
    if (slice_is(word, "withdist"))
        s->with_distance = true;
    else if (slice_is(word, "withhash"))
        s->with_hash = true;
    else if (slice_is(word, "withcoord"))
        s->with_point = true;
    else if (slice_is(word, "any"))
        s->any = true;
    else if (slice_is(word, "asc"))
        s->order = NEAREST_FIRST;
    else if (slice_is(word, "desc"))
        s->order = FARTHEST_FIRST;
    else if (s->form == SEARCH_STORE && slice_is(word, "storedist"))
        s->store_distance = true;
    else
        return false;
    return true;
}

/* What only GEOSEARCH and GEOSEARCHSTORE have: the place behind the option at i, 0 where an error was replied, i where
 * it is none of these, or one that does not go with those before. A polygon has its own centre. z is NULL where there
 * is no such key. */
static int parse_where(struct call *c, int i, struct search *s, const struct collection *z) {
    const struct slice word = c->argv[i];
    const int left = c->argc - i - 1;
    if (slice_is(word, "frommember") && left >= 1 && !s->from_point && s->shape != POLYGON) {
        s->from_member = true;
        return z == NULL || place_of_member(c, z, i + 1, s) ? i + 2 : 0;
    }
    if (slice_is(word, "fromlonlat") && left >= 2 && !s->from_member && s->shape != POLYGON) {
        s->from_point = true;
        return geo_arg_point(c, i + 1, &s->center) ? i + 3 : 0;
    }
    if (slice_is(word, "byradius") && left >= 2 && (s->shape == NO_SHAPE || s->shape == CIRCLE)) {
        return arg_radius(c, i + 1, s) ? i + 3 : 0;
    }
    if (slice_is(word, "bybox") && left >= 3 && (s->shape == NO_SHAPE || s->shape == RECTANGLE)) {
        return arg_rectangle(c, i + 1, s) ? i + 4 : 0;
    }
    if (slice_is(word, "bypolygon") && left >= 1 && !s->from_member && !s->from_point &&
        (s->shape == NO_SHAPE || s->shape == POLYGON))
        return arg_polygon(c, i + 1, s);
    return i;
}

static int parse_count(struct call *c, int i, struct search *s) {
    if (!call_arg_i64(c, i + 1, &s->count))
        return 0;
    if (s->count <= 0) {
        call_error(c, "ERR COUNT must be > 0");
        return 0;
    }
    return i + 2;
}

static bool parse_options(struct call *c, struct search *s, const struct collection *z) {
    const bool search = s->form == SEARCH || s->form == SEARCH_STORE;
    for (int i = s->options_arg; i < c->argc;) {
        const bool more = i + 1 < c->argc;
        int next = i;
        if (parse_flag(c, i, s)) {
            next = i + 1;
        } else if (more && slice_is(c->argv[i], "count")) {
            next = parse_count(c, i, s);
        } else if (search) {
            next = parse_where(c, i, s, z);
        } else if (s->may_store && more && (slice_is(c->argv[i], "store") || slice_is(c->argv[i], "storedist"))) {
            s->store_distance = slice_is(c->argv[i], "storedist");
            s->store_arg = i + 1;
            next = i + 2;
        }
        if (next == i)
            call_error_syntax(c);
        if (next == i || next == 0)
            return false;
        i = next;
    }
    return true;
}

/* What does not go together. */
static bool check_options(struct call *c, const struct search *s) {
    const bool search = s->form == SEARCH || s->form == SEARCH_STORE;
    const int name = (int)(c->argv[0].n < 64 ? c->argv[0].n : 64);
    if (s->store_arg != 0 && (s->with_distance || s->with_hash || s->with_point))
        call_errorf(c, "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                    s->form == SEARCH_STORE ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
    else if (search && s->shape != POLYGON && !s->from_member && !s->from_point)
        call_errorf(c, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s", name, c->argv[0].p);
    else if (search && s->shape == NO_SHAPE)
        call_errorf(c, "ERR exactly one of BYRADIUS and BYBOX can be specified for %.*s", name, c->argv[0].p);
    else if (s->any && s->count == 0)
        call_error(c, "ERR the ANY argument requires COUNT argument");
    else
        return true;
    return false;
}

/* ---- results ---- */

static void reply_places(struct call *c, const struct search *s, const struct finds *f, size_t n) {
    const size_t extras = (size_t)s->with_distance + s->with_hash + s->with_point;
    resp_array(c->w, n);
    for (size_t i = 0; i < n; i++) {
        const struct place *p = &f->at[i];
        if (extras != 0)
            resp_array(c->w, extras + 1);
        call_reply_item(c->w, &p->member);
        if (s->with_distance)
            geo_reply_distance(c, p->distance_m / s->unit_m);
        if (s->with_hash)
            resp_int(c->w, (int64_t)p->score);
        if (s->with_point)
            geo_reply_point(c, p->point);
    }
}

static void store_places(struct call *c, const struct search *s, const struct finds *f, size_t n) {
    struct keyref to = call_key(c, s->store_arg);
    size_t longest = 0;
    char digits[24];
    for (size_t i = 0; i < n; i++) {
        struct slice member = packed_text(&f->at[i].member, digits);
        if (member.n > longest)
            longest = member.n;
    }
    struct collection z = sorted_set_create(keyspace_rules(c->ks), n, longest);
    for (size_t i = 0; i < n; i++)
        (void)sorted_set_put(&z, packed_text(&f->at[i].member, digits),
                             s->store_distance ? f->at[i].distance_m / s->unit_m : f->at[i].score);
    zset_store_result(c, &to, &z, s->form == SEARCH_STORE ? "geosearchstore" : "georadiusstore");
}

static void answer(struct call *c, struct search *s, const struct collection *z) {
    struct finds f = {.s = s};
    if (s->count != 0 && s->order == ANY_ORDER && !s->any)
        s->order = NEAREST_FIRST; /* so many, of all: it means the nearest */
    if (z != NULL)
        find_places(s, z, &f);
    const size_t n = s->count == 0 || f.count < (uint64_t)s->count ? f.count : (size_t)s->count;
    if (s->order != ANY_ORDER && f.count > 1)
        sort_places(&f, s->order, n);
    if (s->store_arg != 0)
        store_places(c, s, &f, n);
    else
        reply_places(c, s, &f, n);
    mem_free(f.at);
}

/* What stands before the options of GEORADIUS and GEORADIUSBYMEMBER. Without a key, a member's is not looked at. */
static bool parse_fixed(struct call *c, struct search *s, const struct collection *z) {
    if (s->form == BY_POINT)
        return geo_arg_point(c, 2, &s->center) && arg_radius(c, 4, s);
    if (s->form == BY_MEMBER && z != NULL)
        return place_of_member(c, z, 2, s) && arg_radius(c, 3, s);
    return true;
}

static void search(struct call *c, struct search s) {
    struct keyref key = call_key(c, s.source_arg);
    struct entry *e;
    struct collection z;
    if (!call_find_read_type(c, &key, VALUE_ZSET, &e))
        return;
    if (e != NULL)
        z = call_collection(c, e);
    s.unit_m = 1;
    if (parse_fixed(c, &s, e != NULL ? &z : NULL) && parse_options(c, &s, e != NULL ? &z : NULL) &&
        check_options(c, &s))
        answer(c, &s, e != NULL ? &z : NULL);
    mem_free(s.vertices);
}

static void georadius_run(struct call *c) {
    search(c, (struct search){.form = BY_POINT, .may_store = true, .source_arg = 1, .options_arg = 6});
}
static void georadius_ro_run(struct call *c) {
    search(c, (struct search){.form = BY_POINT, .source_arg = 1, .options_arg = 6});
}
static void georadiusbymember_run(struct call *c) {
    search(c, (struct search){.form = BY_MEMBER, .may_store = true, .source_arg = 1, .options_arg = 5});
}
static void georadiusbymember_ro_run(struct call *c) {
    search(c, (struct search){.form = BY_MEMBER, .source_arg = 1, .options_arg = 5});
}
static void geosearch_run(struct call *c) {
    search(c, (struct search){.form = SEARCH, .source_arg = 1, .options_arg = 2});
}
static void geosearchstore_run(struct call *c) {
    search(c, (struct search){.form = SEARCH_STORE, .source_arg = 2, .store_arg = 1, .options_arg = 3});
}

#define STORE_KEY(word_, from_)                                                                                        \
    {                                                                                                                  \
        .flags = KEY_OW | KEY_UPDATE, .begin = KEY_BEGIN_KEYWORD, .keyword = word_, .start_from = from_,               \
        .find = KEY_FIND_RANGE, .last = 0, .step = 1                                                                   \
    }
#define RADIUS_ROW(name_, arity_, run_)                                                                                \
    {                                                                                                                  \
        .name = name_, .group = "geo", .since = "3.2.0", .arity = -(arity_), .flags = COMMAND_WRITE | COMMAND_DENYOOM, \
        .acl = ACL_GEO,                                                                                                \
        .keys = {ROW_KEY(KEY_RO | KEY_ACCESS), STORE_KEY("STORE", arity_), STORE_KEY("STOREDIST", arity_)},            \
        .run = run_                                                                                                    \
    }
#define READ_ROW(name_, since_, arity_, run_)                                                                          \
    {                                                                                                                  \
        .name = name_, .group = "geo", .since = since_, .arity = arity_, .flags = COMMAND_READONLY, .acl = ACL_GEO,    \
        .keys = {ROW_KEY(KEY_RO | KEY_ACCESS)}, .run = run_                                                            \
    }

static const struct command rows[] = {
    RADIUS_ROW("georadius", 6, georadius_run),
    RADIUS_ROW("georadiusbymember", 5, georadiusbymember_run),
    READ_ROW("georadiusbymember_ro", "3.2.10", -5, georadiusbymember_ro_run),
    READ_ROW("georadius_ro", "3.2.10", -6, georadius_ro_run),
    READ_ROW("geosearch", "6.2.0", -7, geosearch_run),
    {.name = "geosearchstore",
     .group = "geo",
     .since = "6.2.0",
     .arity = -8,
     .flags = COMMAND_WRITE | COMMAND_DENYOOM,
     .acl = ACL_GEO,
     .keys = {ROW_KEY(KEY_OW | KEY_UPDATE), ROW_KEYS(KEY_RO | KEY_ACCESS, 2, 0, 1)},
     .run = geosearchstore_run},
};

void geo_search_register(struct command_table *t) {
    command_table_register(t, rows, ROW_COUNT(rows), NULL);
}
