#include "config.h"

#include "server/engine/command.h"

#include <stdio.h>

#include "server/base/buf.h"
#include "server/proto/resp.h"
#include "tests/support/unit.h"

static void run(struct call *c) {
    (void)c;
}

static int keys_of_odd(const struct slice *argv, int argc, struct key_positions *ret_keys) {
    if (argc < 3 || slice_is(argv[1], "bad"))
        return -1;
    for (int i = 1; i < argc; i += 2)
        key_positions_add(ret_keys, i, KEY_RW);
    return 0;
}

#define RANGE(i, l, s, lim)                                                                                            \
    {                                                                                                                  \
        .flags = KEY_RO, .begin = KEY_BEGIN_INDEX, .index = (i), .find = KEY_FIND_RANGE, .last = (l), .step = (s),     \
        .limit = (lim)                                                                                                 \
    }
#define KEYNUM(i, n, f, s)                                                                                             \
    {                                                                                                                  \
        .flags = KEY_RO, .begin = KEY_BEGIN_INDEX, .index = (i), .find = KEY_FIND_KEYNUM, .keynum_index = (n),         \
        .first_key = (f), .keynum_step = (s)                                                                           \
    }
#define KEYWORD(word, from, l, s)                                                                                      \
    {                                                                                                                  \
        .flags = KEY_RW, .begin = KEY_BEGIN_KEYWORD, .keyword = (word), .start_from = (from), .find = KEY_FIND_RANGE,  \
        .last = (l), .step = (s)                                                                                       \
    }

static const struct command subs[] = {
    {.name = "get", .arity = -3, .flags = COMMAND_ADMIN, .run = run},
    {.name = "set-name", .arity = 3, .run = run},
    {.name = NULL},
};

static const struct command rows[] = {
    {.name = "one", .arity = -2, .flags = COMMAND_READONLY | COMMAND_FAST, .keys = {RANGE(1, 0, 1, 0)}, .run = run},
    {.name = "all", .arity = -2, .flags = COMMAND_WRITE, .keys = {RANGE(1, -1, 1, 0)}, .run = run},
    {.name = "pairs", .arity = -3, .keys = {RANGE(1, -1, 2, 0)}, .run = run},
    {.name = "butlast", .arity = -3, .keys = {RANGE(1, -2, 1, 0)}, .run = run},
    {.name = "halves", .arity = -4, .keys = {KEYWORD("STREAMS", 1, -1, 1)}, .run = run},
    {.name = "half", .arity = -3, .keys = {RANGE(1, -1, 1, 2)}, .run = run},
    {.name = "counted", .arity = -3, .keys = {KEYNUM(1, 0, 1, 1)}, .run = run},
    {.name = "store", .arity = -4, .keys = {RANGE(1, 0, 1, 0), KEYNUM(2, 0, 1, 1)}, .run = run},
    {.name = "two", .arity = 3, .keys = {RANGE(1, 0, 1, 0), RANGE(2, 0, 1, 0)}, .run = run},
    {.name = "apart", .arity = 4, .keys = {RANGE(1, 0, 1, 0), RANGE(3, 0, 1, 0)}, .run = run},
    {.name = "tail", .arity = -2, .keys = {KEYWORD("KEYS", -2, -1, 1)}, .run = run},
    {.name = "unknown",
     .arity = -2,
     .keys = {{.flags = KEY_RO, .begin = KEY_BEGIN_UNKNOWN, .find = KEY_FIND_UNKNOWN}},
     .run = run},
    {.name = "channel",
     .arity = -2,
     .keys =
         {{.flags = KEY_NOT_KEY, .begin = KEY_BEGIN_INDEX, .index = 1, .find = KEY_FIND_RANGE, .last = 0, .step = 1}},
     .run = run},
    {.name = "odd", .arity = -2, .get_keys = keys_of_odd, .run = run},
    {.name = "config", .arity = -2, .subcommands = subs},
    {.name = "both", .arity = -1, .subcommands = subs, .run = run},
    {.name = "bare", .arity = 1, .flags = COMMAND_PUBSUB, .run = run},
};

static int setup(void **state) {
    struct command_table *t = command_table_create();
    command_table_register(t, rows, sizeof rows / sizeof rows[0], (void *)(uintptr_t)rows);
    *state = t;
    return 0;
}

static int teardown(void **state) {
    command_table_destroy(*state);
    return 0;
}

static int split(const char *line, char storage[512], struct slice *argv) {
    int n = 0;
    snprintf(storage, 512, "%s", line);
    for (char *at = storage, *word; (word = strsep(&at, " ")) != NULL;)
        argv[n++] = slice_cstr(word);
    return n;
}

/* The key positions of a request as "1 2 3"; "-" for an error. */
static const char *keys_of(struct command_table *t, const char *line) {
    static char text[256];
    char storage[512];
    struct slice argv[64];
    int argc = split(line, storage, argv);
    struct command_entry *container, *e = command_table_resolve(t, argv, argc, &container);
    assert_non_null(e);
    struct key_positions k;
    key_positions_init(&k);
    text[0] = '\0';
    if (command_get_keys(e, argv, argc, &k) != 0)
        snprintf(text, sizeof text, "-");
    else
        for (int i = 0; i < k.count; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d", i ? " " : "", k.at[i].index);
    key_positions_deinit(&k);
    return text;
}

static void test_keys(void **state) {
    static const struct {
        const char *request, *keys;
    } cases[] = {
        {"one a", "1"},
        {"one a b c", "1"},
        {"one", "-"},
        {"all a", "1"},
        {"all a b c", "1 2 3"},
        {"pairs a 1 b 2", "1 3"},
        {"butlast a b 0", "1 2"},
        {"butlast a", ""},
        {"half a b x y", "1 2"},
        {"half a x", "1"},
        {"halves COUNT 1 streams a b", "4 5"},
        {"halves COUNT 1 other a b", ""},
        {"counted 2 a b", "2 3"},
        {"counted 2 a b OPTION 3", "2 3"},
        {"counted 0", ""},
        {"counted 3 a b", "-"},
        {"counted x a b", "-"},
        {"counted -1 a", "-"},
        {"counted 9223372036854775807 a", "-"},
        {"counted", "-"},
        {"store dst 2 a b", "1 3 4"},
        {"two a b", "1 2"},
        {"apart a x b", "1 3"},
        {"tail x y KEYS a", "4"},
        {"tail x KEYS", ""},
        {"unknown a b", ""},
        {"channel a", ""},
        {"odd a 1 b 2", "1 3"},
        {"odd bad 1", "-"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = keys_of(*state, cases[i].request);
        if (strcmp(got, cases[i].keys) != 0)
            fail_msg("%s: keys \"%s\", not \"%s\"", cases[i].request, got, cases[i].keys);
    }
}

static void test_many_keys(void **state) {
    static struct slice argv[1001];
    for (int i = 0; i < 1001; i++)
        argv[i] = SLICE_LIT("all");
    struct key_positions k;
    key_positions_init(&k);
    assert_int_equal(command_get_keys(command_table_find(*state, argv[0]), argv, 1001, &k), 0);
    assert_int_equal(k.count, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(k.at[i].index, i + 1);
        assert_int_equal(k.at[i].flags, KEY_RO);
    }
    key_positions_deinit(&k);
}

static const char *resolved(struct command_table *t, const char *line, const char **ret_container) {
    char storage[512];
    struct slice argv[64];
    int argc = split(line, storage, argv);
    struct command_entry *container, *e = command_table_resolve(t, argv, argc, &container);
    if (ret_container != NULL)
        *ret_container = container != NULL ? container->row->name : NULL;
    return e != NULL ? e->full_name : NULL;
}

static void test_resolve(void **state) {
    struct command_table *t = *state;
    const char *container;
    assert_string_equal(resolved(t, "OnE a", NULL), "one");
    assert_null(resolved(t, "ones a", &container));
    assert_null(container);
    assert_string_equal(resolved(t, "CONFIG Get x", &container), "config|get");
    assert_string_equal(resolved(t, "config SET-NAME x", NULL), "config|set-name");
    assert_null(resolved(t, "config nothing", &container));
    assert_string_equal(container, "config");
    assert_null(resolved(t, "config", &container));
    assert_string_equal(container, "config");
    assert_string_equal(resolved(t, "both", NULL), "both");
    assert_string_equal(resolved(t, "both get", NULL), "both|get");
    assert_null(resolved(t, "both other", NULL));
    assert_string_equal(command_table_find_full(t, SLICE_LIT("config|get"))->full_name, "config|get");
    assert_null(command_table_find_full(t, SLICE_LIT("config|")));
    assert_null(command_table_find_full(t, SLICE_LIT("|get")));
    assert_ptr_equal(command_table_find(t, SLICE_LIT("one"))->ctx, rows);
    assert_ptr_equal(command_table_find_full(t, SLICE_LIT("config|get"))->parent,
                     command_table_find(t, SLICE_LIT("config")));
}

/* Names as clients may send them: no byte beyond the names is looked at (the sanitizers watch). */
static void test_odd_names(void **state) {
    struct command_table *t = *state;
    assert_null(command_table_find(t, slice_of("", 0)));
    assert_null(command_table_find(t, slice_of("one\0", 4)));
    assert_null(command_table_find(t, slice_of("\0one", 4)));
    char long_name[200];
    memset(long_name, 'a', sizeof long_name);
    assert_null(command_table_find(t, slice_of(long_name, sizeof long_name)));
    /* Every name of two bytes: none is found, whatever cell it falls in. */
    for (unsigned i = 0; i < 65536; i++) {
        char name[2] = {(char)(i & 255), (char)(i >> 8)};
        assert_null(command_table_find(t, slice_of(name, 2)));
    }
    for (unsigned i = 0; i < 65536; i++) {
        char name[6] = {'o', 'n', 'e', '\0', (char)(i & 255), (char)(i >> 8)};
        assert_null(command_table_find(t, slice_of(name, 6)));
    }
}

static void triple(struct command_table *t, const char *name, int first, int last, int step, bool movable) {
    const struct command_entry *e = command_table_find(t, slice_cstr(name));
    assert_non_null(e);
    if (e->first_key != first || e->last_key != last || e->key_step != step)
        fail_msg("%s: %d %d %d", name, e->first_key, e->last_key, e->key_step);
    assert_int_equal((e->flags & COMMAND_MOVABLE_KEYS) != 0, movable);
}

static void test_triples(void **state) {
    struct command_table *t = *state;
    triple(t, "one", 1, 1, 1, false);
    triple(t, "all", 1, -1, 1, false);
    triple(t, "pairs", 1, -1, 2, false);
    triple(t, "butlast", 1, -2, 1, false);
    triple(t, "two", 1, 2, 1, false);
    triple(t, "counted", 0, 0, 0, true);
    triple(t, "store", 1, 1, 1, true);
    triple(t, "halves", 0, 0, 0, true);
    triple(t, "odd", 0, 0, 0, true);
    triple(t, "bare", 0, 0, 0, false);
}

static void test_arity(void **state) {
    struct command_table *t = *state;
    const struct command_entry *two = command_table_find(t, SLICE_LIT("two")),
                               *pairs = command_table_find(t, SLICE_LIT("pairs"));
    assert_false(command_arity_ok(two, 2));
    assert_true(command_arity_ok(two, 3));
    assert_false(command_arity_ok(two, 4));
    assert_false(command_arity_ok(pairs, 2));
    assert_true(command_arity_ok(pairs, 3));
    assert_true(command_arity_ok(pairs, 30));
}

static void count_one(void *arg, struct command_entry *e) {
    assert_non_null(e->full_name);
    ++*(int *)arg;
}

static void test_derived(void **state) {
    struct command_table *t = *state;
    int n = 0;
    command_table_each(t, count_one, &n);
    assert_int_equal(n, sizeof rows / sizeof rows[0]);
    assert_int_equal(command_table_count(t), n);
    assert_int_equal(command_table_ids(t), n + 4);
    assert_int_equal(command_table_find(t, SLICE_LIT("one"))->acl, ACL_READ | ACL_FAST);
    assert_int_equal(command_table_find(t, SLICE_LIT("all"))->acl, ACL_WRITE | ACL_SLOW);
    assert_int_equal(command_table_find(t, SLICE_LIT("bare"))->acl, ACL_PUBSUB | ACL_SLOW);
    assert_int_equal(command_table_find_full(t, SLICE_LIT("config|get"))->acl, ACL_ADMIN | ACL_DANGEROUS | ACL_SLOW);
    for (unsigned bit = 0; bit <= 20; bit++) {
        const char *name = acl_category_name(1u << bit);
        assert_non_null(name);
        assert_int_equal(acl_category_by_name(slice_cstr(name)), 1u << bit);
    }
    assert_int_equal(acl_category_by_name(SLICE_LIT("nothing")), 0);
    assert_null(command_flag_name(COMMAND_WHOLE_KEYSPACE));
    assert_string_equal(command_flag_name(COMMAND_DENYOOM), "denyoom");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),      cmocka_unit_test(test_many_keys), cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_odd_names), cmocka_unit_test(test_triples),   cmocka_unit_test(test_arity),
        cmocka_unit_test(test_derived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
