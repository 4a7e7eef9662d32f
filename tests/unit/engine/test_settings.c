#include "config.h"

#include "tests/unit/engine/settings_fixture.h"

#include <stdio.h>

/* Values, files, CONFIG SET and CONFIG GET. Rewriting is in test_settings_rewrite.c. */

static void defaults_stand_after_registration(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_true(f.o.flag);
    assert_int_equal(f.o.memory, 2 << 20);
    assert_int_equal(f.o.mode, 3);
    assert_int_equal(f.o.point_count, 2);
    assert_string_equal(f.o.text, "");
    assert_string_equal(f.o.checked, "quiet");
    assert_int_equal(f.o.applied, 0);
    assert_value(&f, "memory", "2097152");
    assert_value(&f, "percent", "0");
    assert_value(&f, "signals", "default");
    assert_int_equal(settings_value(f.s, "nosuch", &f.error), -1);
    fixture_deinit(&f);
}

static void every_type_is_read_from_a_file(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(
        load_text(&f,
                  "# comment\n\n  FLAG no \r\nnumber -5\nmemory 3gb\npercent 40%\noctal 755\n"
                  "text \"two words\\n\\x41\"\nmode FAST\nsignals save now\npoints 5 6\npoints 7\nfixed yes\nguarded 2",
                  ""),
        0);
    assert_false(f.o.flag);
    assert_int_equal(f.o.number, -5);
    assert_int_equal(f.o.memory, INT64_C(3) << 30);
    assert_int_equal(f.o.percent, -40);
    assert_int_equal(f.o.octal, 0755);
    assert_string_equal(f.o.text, "two words\nA");
    assert_int_equal(f.o.mode, 5);
    assert_int_equal(f.o.signals, 5);
    assert_value(&f, "points", "5 6 7");
    assert_true(f.o.fixed);
    assert_value(&f, "percent", "40%");
    assert_value(&f, "octal", "755");
    assert_value(&f, "signals", "save now");
    assert_int_equal(f.o.applied, 0);
    assert_int_equal(settings_apply_all(f.s, &f.error), 0);
    assert_int_equal(f.o.applied, 1); /* once, though two options share it */
    assert_int_equal(f.o.number_seen, -5);
    fixture_deinit(&f);
}

static void the_command_line_adds_to_the_file(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(load_text(&f, "number 5\npoints 9\n", "number 6\npoints 10\n"), 0);
    assert_int_equal(f.o.number, 6);
    assert_value(&f, "points", "9 10");
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(load_text(&f, "points 9\n", "points \"\"\n"), 0);
    assert_int_equal(f.o.point_count, 0);
    fixture_deinit(&f);
}

static void errors_of_a_file_name_line_and_reason(void **state) {
    (void)state;
    static const struct {
        const char *text, *line, *reason;
    } cases[] = {
        {"foo bar\n", "at line 1\n>>> 'foo bar'", "Bad directive or wrong number of arguments"},
        {"\n\nnumber\n", "at line 3\n>>> 'number'", "wrong number of arguments"},
        {"number 1 2", "at line 1\n>>> 'number 1 2'", "wrong number of arguments"},
        {"number x", ">>> 'number x'", "argument couldn't be parsed into an integer"},
        {"number 101", ">>> 'number 101'", "argument must be between -5 and 100 inclusive"},
        {"octal 8", ">>> 'octal 8'", "argument couldn't be parsed as an octal number"},
        {"octal 7777", ">>> 'octal 7777'", "argument must be between 0 and 777 inclusive"},
        {"flag maybe", ">>> 'flag maybe'", "argument must be 'yes' or 'no'"},
        {"memory 5x", ">>> 'memory 5x'", "argument must be a memory value"},
        {"percent 101%", ">>> 'percent 101%'", "percentage argument must be less or equal to 100"},
        {"mode x", ">>> 'mode x'", "argument(s) must be one of the following: slow, fast"},
        {"text \"open", ">>> 'text \"open'", "Unbalanced quotes in configuration line"},
        {"points 1 x", ">>> 'points 1 x'", "Invalid points"},
        {"checked !x", ">>> 'checked !x'", "no shouting"},
        {"include", ">>> 'include'", "wrong number of arguments"},
        {"include /nonexistent", ">>> 'include /nonexistent'",
         "Can't open config file '/nonexistent': No such file or directory"},
        {"cluster-enabled yes", ">>> 'cluster-enabled yes'", "option 'cluster-enabled' is not available in this build"},
        {"user alice on", ">>> 'user alice on'", "option 'user' is not available in this build"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        fixture_init(&f);
        assert_int_equal(load_text(&f, cases[i].text, ""), -1);
        assert_error_has(&f, "*** FATAL CONFIG FILE ERROR");
        assert_error_has(&f, f.file);
        assert_error_has(&f, cases[i].line);
        assert_error_has(&f, cases[i].reason);
        fixture_deinit(&f);
    }
}

static void secrets_stay_out_of_errors(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(load_text(&f, "secret hush hush\n", ""), -1);
    assert_error_has(&f, ">>> 'secret (hidden)'");
    buf_append_char(&f.error, '\0');
    assert_null(strstr(f.error.data, "hush"));
    assert_true(settings_is_sensitive(f.s, SLICE_LIT("SECRET")));
    assert_false(settings_is_sensitive(f.s, SLICE_LIT("text")));
    fixture_deinit(&f);
}

static void includes_are_followed(void **state) {
    (void)state;
    struct fixture f;
    char path[128], text[512];
    fixture_init(&f);
    snprintf(path, sizeof path, "%s/b1.inc", f.dir);
    put_file(path, "number 1\npoints 20\n");
    snprintf(path, sizeof path, "%s/b2.inc", f.dir);
    put_file(path, "number 2\ntext b2\n");
    snprintf(text, sizeof text, "points 10\ninclude %s/b*.inc\ninclude %s/none*.inc\nmemory 1mb\n", f.dir, f.dir);
    assert_int_equal(load_text(&f, text, ""), 0);
    assert_int_equal(f.o.number, 2);
    assert_value(&f, "points", "10 20");
    assert_value(&f, "memory", "1048576");
    fixture_close(&f);

    fixture_open(&f); /* a faulty line is located in the included file */
    put_file(path, "\nnumber x\n");
    assert_int_equal(load_text(&f, text, ""), -1);
    assert_error_has(&f, "b2.inc, at line 2");
    fixture_close(&f);

    fixture_open(&f); /* and a file that includes itself ends */
    snprintf(text, sizeof text, "include %s\n", f.file);
    assert_int_equal(load_text(&f, text, ""), -1);
    assert_error_has(&f, "includes are nested more than 16 deep");
    fixture_deinit(&f);
}

static void a_missing_file_is_an_error(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(settings_load(f.s, "/nonexistent/x.conf", SLICE_LIT(""), &f.error), -1);
    assert_error(&f, "Fatal error, can't open config file '/nonexistent/x.conf': No such file or directory");
    fixture_deinit(&f);
}

static void options_of_absent_modules_pass_at_their_default(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(
        load_text(&f,
                  "cluster-enabled no\navailability-zone \"\"\ntls-port 0\nreplica-ignore-disk-write-errors no\n"
                  "oom-score-adj-values 0 200 800\nlist-max-ziplist-entries 3\ncluster-migration-barrier 1\n",
                  ""),
        0);
    assert_int_equal(settings_value(f.s, "cluster-enabled", &f.error), -1);
    assert_int_equal(SET(&f, "cluster-enabled", "no"), -1);
    assert_error(&f, "ERR Unknown option or number of arguments for CONFIG SET - 'cluster-enabled'");
    fixture_deinit(&f);
}

static int set_anything(void *ctx, const struct slice *argv, int argc, bool append, struct buf *error) {
    (void)ctx, (void)argv, (void)argc, (void)append, (void)error;
    return 0;
}

static void get_nothing(void *ctx, struct buf *out) {
    (void)ctx, (void)out;
}

/* Options that every build has and whose lines in the file differ from the default. */
#define ANY(n)                                                                                                         \
    { .name = n, .type = SETTING_SPECIAL, .flags = SETTING_MULTI_ARG, .set = set_anything, .get = get_nothing }
static const struct setting of_every_build[] = {ANY("bind"),
                                                ANY("client-output-buffer-limit"),
                                                ANY("daemonize"),
                                                ANY("pidfile"),
                                                ANY("logfile"),
                                                ANY("save"),
                                                ANY("hash-max-listpack-entries"),
                                                ANY("hash-max-listpack-value"),
                                                ANY("hll-sparse-max-bytes"),
                                                ANY("list-compress-depth"),
                                                ANY("list-max-listpack-size"),
                                                ANY("set-max-intset-entries"),
                                                ANY("stream-node-max-bytes"),
                                                ANY("stream-node-max-entries"),
                                                ANY("zset-max-listpack-entries"),
                                                ANY("zset-max-listpack-value")};

static void the_stock_file_of_debians_redis_loads(void **state) {
    (void)state;
    struct fixture f;
    char path[512];
    const char *source = getenv("srcdir");
    fixture_init(&f);
    settings_register(f.s, of_every_build, sizeof of_every_build / sizeof of_every_build[0], NULL, NULL);
    snprintf(path, sizeof path, "%s/tests/data/debian-redis-7.0.conf", source != NULL ? source : ".");
    int result = settings_load(f.s, path, SLICE_LIT("dir /tmp\n"), &f.error);
    if (result != 0)
        print_error("%.*s\n", (int)f.error.len, f.error.data);
    assert_int_equal(result, 0);
    fixture_deinit(&f);
}

/* ---- CONFIG SET ---- */

static void set_changes_and_applies_once(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(SET(&f, "flag", "no", "memory", "4mb", "number", "8"), 0);
    assert_int_equal(f.o.applied, 1);
    assert_int_equal(f.o.applied_number, 1);
    assert_int_equal(f.o.number_seen, 8);
    assert_int_equal(SET(&f, "number", "8"), 0); /* no change, nothing to apply */
    assert_int_equal(f.o.applied_number, 1);
    assert_int_equal(SET(&f, "OLD-FLAG", "yes", "points", "4 5", "signals", "now save"), 0);
    assert_true(f.o.flag);
    assert_value(&f, "points", "4 5");
    assert_value(&f, "signals", "save now");
    assert_int_equal(SET(&f, "points", ""), 0);
    assert_int_equal(f.o.point_count, 0);
    fixture_deinit(&f);
}

static void set_refuses_with_the_fields_texts(void **state) {
    (void)state;
    static const struct {
        const char *name, *value, *error;
    } cases[] = {
        {"nosuch", "1", "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"},
        {"fixed", "yes", "ERR CONFIG SET failed (possibly related to argument 'fixed') - can't set immutable config"},
        {"guarded", "2", "ERR CONFIG SET failed (possibly related to argument 'guarded') - can't set protected config"},
        {"flag", "maybe",
         "ERR CONFIG SET failed (possibly related to argument 'flag') - argument must be 'yes' or 'no'"},
        {"number", "x",
         "ERR CONFIG SET failed (possibly related to argument 'number') - argument couldn't be parsed into an integer"},
        {"number", "101",
         "ERR CONFIG SET failed (possibly related to argument 'number') - argument must be between -5 and 100 "
         "inclusive"},
        {"memory", "-1",
         "ERR CONFIG SET failed (possibly related to argument 'memory') - argument must be a memory value"},
        {"percent", "-3",
         "ERR CONFIG SET failed (possibly related to argument 'percent') - argument must be a memory or percent value"},
        {"percent", "200%",
         "ERR CONFIG SET failed (possibly related to argument 'percent') - percentage argument must be less or equal "
         "to 100"},
        {"mode", "slow fast",
         "ERR CONFIG SET failed (possibly related to argument 'mode') - argument(s) must be one of the following: "
         "slow, fast"},
        {"signals", "",
         "ERR CONFIG SET failed (possibly related to argument 'signals') - argument(s) must be one of the following: "
         "default, save, now"},
        {"points", "1 x", "ERR CONFIG SET failed (possibly related to argument 'points') - Invalid points"},
        {"checked", "!x", "ERR CONFIG SET failed (possibly related to argument 'checked') - no shouting"},
    };
    struct fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* Beside a good pair, which must not stick. */
        assert_int_equal(SET(&f, "text", "changed", cases[i].name, cases[i].value), -1);
        assert_error(&f, cases[i].error);
        assert_string_equal(f.o.text, "");
        assert_value(&f, "points", "1 2");
    }
    assert_int_equal(SET(&f, "text", "a", "TEXT", "b"), -1);
    assert_error(&f, "ERR CONFIG SET failed (possibly related to argument 'TEXT') - duplicate parameter");
    assert_int_equal(f.o.applied + f.o.applied_number, 0);
    fixture_deinit(&f);
}

static void set_is_rolled_back_when_applying_fails(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.o.refuse_apply = true;
    assert_int_equal(SET(&f, "flag", "no", "text", "new", "points", "8", "number", "13"), -1);
    assert_error(&f, "ERR CONFIG SET failed (possibly related to argument 'number') - thirteen is bad luck");
    assert_true(f.o.flag);
    assert_string_equal(f.o.text, "");
    assert_value(&f, "points", "1 2");
    assert_int_equal(f.o.number, 7);
    assert_int_equal(f.o.number_seen, 7); /* the old value was applied again */
    assert_int_equal(f.o.applied, 2);
    fixture_deinit(&f);
}

static void protection_and_loading(void **state) {
    (void)state;
    struct fixture f;
    struct slice guarded[] = {SLICE_LIT("guarded"), SLICE_LIT("3")}, loading[] = {SLICE_LIT("loading"), SLICE_LIT("3")};
    fixture_init(&f);
    assert_int_equal(settings_set(f.s, guarded, 1, false, true, &f.error), 0);
    assert_int_equal(f.o.guarded, 3);
    assert_int_equal(settings_set(f.s, loading, 1, true, false, &f.error), -1);
    assert_error(&f, "LOADING Redis is loading the dataset in memory");
    assert_int_equal(settings_set(f.s, loading, 1, false, false, &f.error), 0);
    struct slice zero[] = {SLICE_LIT("text"), SLICE_LIT("a\0b")};
    buf_clear(&f.error);
    assert_int_equal(settings_set(f.s, zero, 1, false, false, &f.error), -1);
    fixture_deinit(&f);
}

/* ---- CONFIG GET ---- */

static void collect(void *arg, const char *name, struct slice value) {
    buf_printf(arg, "%s=%.*s;", name, (int)value.n, value.p);
}

static void get_matches_names_and_aliases(void **state) {
    (void)state;
    struct fixture f;
    struct buf out = BUF_INIT;
    fixture_init(&f);
    settings_get(f.s, (struct slice[]){SLICE_LIT("*FLAG"), SLICE_LIT("flag")}, 2, collect, &out);
    assert_bytes_are(out.data, out.len, "flag=yes;old-flag=yes;");
    buf_clear(&out);
    settings_get(f.s, (struct slice[]){SLICE_LIT("m*"), SLICE_LIT("nosuch"), SLICE_LIT("nu")}, 3, collect, &out);
    assert_bytes_are(out.data, out.len, "memory=2097152;mode=slow;");
    buf_clear(&out);
    settings_get(f.s, &SLICE_LIT("hid*"), 1, collect, &out);
    assert_int_equal(out.len, 0);
    settings_get(f.s, &SLICE_LIT("HIDDEN"), 1, collect, &out);
    assert_bytes_are(out.data, out.len, "hidden=here;");
    buf_deinit(&out);
    fixture_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_stand_after_registration),
        cmocka_unit_test(every_type_is_read_from_a_file),
        cmocka_unit_test(the_command_line_adds_to_the_file),
        cmocka_unit_test(errors_of_a_file_name_line_and_reason),
        cmocka_unit_test(secrets_stay_out_of_errors),
        cmocka_unit_test(includes_are_followed),
        cmocka_unit_test(a_missing_file_is_an_error),
        cmocka_unit_test(options_of_absent_modules_pass_at_their_default),
        cmocka_unit_test(the_stock_file_of_debians_redis_loads),
        cmocka_unit_test(set_changes_and_applies_once),
        cmocka_unit_test(set_refuses_with_the_fields_texts),
        cmocka_unit_test(set_is_rolled_back_when_applying_fails),
        cmocka_unit_test(protection_and_loading),
        cmocka_unit_test(get_matches_names_and_aliases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
