#include "config.h"

#include "server/engine/info.h"

#include "tests/support/unit.h"

static void line(void *ctx, struct buf *out) {
    info_field_str(out, "f", ctx);
}

static struct info *sample(void) {
    struct info *i = info_create();
    info_register(i, "Mine", INFO_DEFAULT, line, "mine");
    info_register(i, "Keyspace", INFO_DEFAULT, line, "keys");
    info_register(i, "Commandstats", INFO_ALL, line, "cmd");
    info_register(i, "Server", INFO_DEFAULT, line, "server");
    info_register(i, "Secret", INFO_EVERYTHING, line, "secret");
    info_register(i, "Server", INFO_DEFAULT, line, "more");
    return i;
}

static void check(struct info *i, const char *const *names, int count, const char *expected) {
    struct slice sections[4];
    struct buf out = BUF_INIT;
    for (int n = 0; n < count; n++)
        sections[n] = slice_cstr(names[n]);
    info_compose(i, sections, count, &out);
    assert_bytes_are(out.data, out.len, expected);
    buf_deinit(&out);
}

#define SERVER "# Server\r\nf:server\r\nf:more\r\n"
#define STATS "# Commandstats\r\nf:cmd\r\n"
#define KEYS "# Keyspace\r\nf:keys\r\n"
#define MINE "# Mine\r\nf:mine\r\n"
#define SECRET "# Secret\r\nf:secret\r\n"

static void sections_come_in_the_fields_order(void **state) {
    (void)state;
    struct info *i = sample();
    check(i, NULL, 0, SERVER "\r\n" KEYS "\r\n" MINE);
    info_destroy(i);
}

static void groups_of_sections(void **state) {
    (void)state;
    struct info *i = sample();
    check(i, (const char *const[]){"default"}, 1, SERVER "\r\n" KEYS "\r\n" MINE);
    check(i, (const char *const[]){"ALL"}, 1, SERVER "\r\n" STATS "\r\n" KEYS "\r\n" MINE);
    check(i, (const char *const[]){"everything"}, 1, SERVER "\r\n" STATS "\r\n" KEYS "\r\n" MINE "\r\n" SECRET);
    info_destroy(i);
}

static void sections_by_name(void **state) {
    (void)state;
    struct info *i = sample();
    check(i, (const char *const[]){"keySPACE", "server", "server"}, 3, SERVER "\r\n" KEYS);
    check(i, (const char *const[]){"commandstats"}, 1, STATS);
    check(i, (const char *const[]){"secret"}, 1, SECRET);
    struct buf out = BUF_INIT;
    info_compose(i, &SLICE_LIT("nosuch"), 1, &out);
    assert_int_equal(out.len, 0);
    info_destroy(i);
}

static void fields(void **state) {
    (void)state;
    struct buf out = BUF_INIT;
    info_field_i64(&out, "a", -5);
    info_field_u64(&out, "b", UINT64_MAX);
    info_field_f2(&out, "c", 1.005);
    info_field_bytes(&out, "d", 1536);
    assert_bytes_are(out.data, out.len, "a:-5\r\nb:18446744073709551615\r\nc:1.00\r\nd:1536\r\nd_human:1.50K\r\n");
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_come_in_the_fields_order),
        cmocka_unit_test(groups_of_sections),
        cmocka_unit_test(sections_by_name),
        cmocka_unit_test(fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
