#include "config.h"

#include "cluster/replication/handshake.h"

#include "tests/support/unit.h"

#define ID "0123456789abcdef0123456789abcdef01234567"
#define NEW_ID "fedcba9876543210fedcba9876543210fedcba98"

struct talk {
    struct handshake h;
    struct buf out;
};

static void begin(struct talk *t, const char *user, const char *password, const char *ip, const char *id) {
    struct handshake_options o = {
        .user = user, .password = password, .port = 6380, .announce_ip = ip, .id = id, .offset = 99};
    t->out = BUF_INIT;
    handshake_begin(&t->h, &o, &t->out);
}

static enum handshake_outcome say(struct talk *t, const char *line) {
    buf_clear(&t->out);
    return handshake_line(&t->h, slice_cstr(line), &t->out);
}

#define assert_sent(t, text) assert_bytes_are((t)->out.data, (t)->out.len, text)

static void test_the_whole_way_to_a_snapshot(void **state) {
    (void)state;
    struct talk t;
    begin(&t, "", "", "", NULL);
    assert_sent(&t, "*1\r\n$4\r\nPING\r\n");
    assert_int_equal(say(&t, "+PONG"), HANDSHAKE_GOES_ON);
    assert_sent(&t, "*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n6380\r\n"
                    "*11\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n$4\r\ncapa\r\n"
                    "$8\r\nholdfast\r\n$4\r\ncapa\r\n$15\r\nholdfast-frames\r\n$4\r\ncapa\r\n"
                    "$12\r\nholdfast-lz4\r\n");
    assert_int_equal(say(&t, "+OK"), HANDSHAKE_GOES_ON);
    assert_int_equal(t.out.len, 0);
    assert_int_equal(say(&t, "+OK"), HANDSHAKE_GOES_ON);
    assert_sent(&t, "*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n");
    assert_int_equal(say(&t, ""), HANDSHAKE_GOES_ON);
    assert_int_equal(say(&t, "+FULLRESYNC " ID " 1234"), HANDSHAKE_FULL);
    assert_string_equal(t.h.id, ID);
    assert_int_equal(t.h.offset, 1234);
    buf_deinit(&t.out);
}

static void test_credentials_and_an_announced_address_are_sent_in_the_field_s_order(void **state) {
    (void)state;
    struct talk t;
    begin(&t, "bob", "pw", "10.0.0.1", ID);
    assert_int_equal(say(&t, "-NOAUTH Authentication required."), HANDSHAKE_GOES_ON);
    static const char first[] =
        "*3\r\n$4\r\nAUTH\r\n$3\r\nbob\r\n$2\r\npw\r\n*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port";
    assert_memory_equal(t.out.data, first, sizeof first - 1);
    assert_non_null(memmem(t.out.data, t.out.len, "ip-address\r\n$8\r\n10.0.0.1", 24));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(say(&t, "+OK"), HANDSHAKE_GOES_ON);
        assert_int_equal(t.out.len, 0);
    }
    assert_int_equal(say(&t, "-ERR unknown capability"), HANDSHAKE_GOES_ON);
    assert_sent(&t, "*3\r\n$5\r\nPSYNC\r\n$40\r\n" ID "\r\n$3\r\n100\r\n");
    buf_deinit(&t.out);
}

static void to_psync(struct talk *t, const char *id) {
    begin(t, "", "", "", id);
    assert_int_equal(say(t, "+PONG"), HANDSHAKE_GOES_ON);
    assert_int_equal(say(t, "+OK"), HANDSHAKE_GOES_ON);
    assert_int_equal(say(t, "+OK"), HANDSHAKE_GOES_ON);
}

static enum handshake_outcome psync_answer(const char *id, const char *line, char ret_id[41]) {
    struct talk t;
    to_psync(&t, id);
    enum handshake_outcome got = say(&t, line);
    memcpy(ret_id, t.h.id, 41);
    buf_deinit(&t.out);
    return got;
}

static void test_a_primary_may_go_on_under_the_same_or_another_id(void **state) {
    (void)state;
    char id[41];
    assert_int_equal(psync_answer(ID, "+CONTINUE", id), HANDSHAKE_CONTINUE);
    assert_string_equal(id, "");
    assert_int_equal(psync_answer(ID, "+CONTINUE " NEW_ID, id), HANDSHAKE_CONTINUE);
    assert_string_equal(id, NEW_ID);
}

static void test_a_replica_is_asked_to_take_the_lead_by_a_word_behind_psync(void **state) {
    (void)state;
    struct talk t;
    begin(&t, "", "", "", ID);
    t.h.options.failover = true;
    assert_int_equal(say(&t, "+PONG"), HANDSHAKE_GOES_ON);
    assert_int_equal(say(&t, "+OK"), HANDSHAKE_GOES_ON);
    assert_int_equal(say(&t, "+OK"), HANDSHAKE_GOES_ON);
    assert_sent(&t, "*4\r\n$5\r\nPSYNC\r\n$40\r\n" ID "\r\n$3\r\n100\r\n$8\r\nFAILOVER\r\n");
    assert_int_equal(say(&t, "+CONTINUE " NEW_ID), HANDSHAKE_CONTINUE);
    buf_deinit(&t.out);
}

static void test_answers_that_make_no_sense_fail(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "+CONTINUE short",
        "+FULLRESYNC",
        "+FULLRESYNC " ID,
        "+FULLRESYNC " ID " x",
        "+FULLRESYNC " ID " -1",
        "+FULLRESYNC  1",
        "+FULLRESYNC " ID " 1 2",
        "+FULLRESYNC x 1",
        "+OK",
        "hello",
        "$-1",
        "+FULLRESYNC " ID " 99999999999999999999",
        "+CONTINUE 0123456789ABCDEF0123456789abcdef01234567",
    };
    char id[41];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(psync_answer(ID, wrong[i], id), HANDSHAKE_FAILED);
    /* It cannot go on with a history that was not asked for. */
    assert_int_equal(psync_answer(NULL, "+CONTINUE " NEW_ID, id), HANDSHAKE_FAILED);
}

static void test_a_primary_that_cannot_now_is_asked_again(void **state) {
    (void)state;
    char id[41];
    assert_int_equal(psync_answer(ID, "-NOMASTERLINK Can't SYNC while not connected with my master", id),
                     HANDSHAKE_LATER);
    assert_int_equal(psync_answer(ID, "-LOADING Redis is loading the dataset in memory", id), HANDSHAKE_LATER);
    assert_int_equal(psync_answer(ID, "-ERR something else", id), HANDSHAKE_LATER);
}

static void test_an_old_primary_gets_sync(void **state) {
    (void)state;
    struct talk t;
    to_psync(&t, NULL);
    assert_int_equal(say(&t, "-ERR unknown command 'PSYNC'"), HANDSHAKE_OLD);
    assert_sent(&t, "*1\r\n$4\r\nSYNC\r\n");
    buf_deinit(&t.out);
}

static void test_a_wrong_password_is_the_end(void **state) {
    (void)state;
    struct talk t;
    begin(&t, "", "pw", "", NULL);
    assert_int_equal(say(&t, "+PONG"), HANDSHAKE_GOES_ON);
    assert_int_equal(say(&t, "-WRONGPASS invalid username-password pair or user is disabled."), HANDSHAKE_FAILED);
    assert_non_null(strstr(t.h.reason, "WRONGPASS"));
    buf_deinit(&t.out);
}

static void test_ping_must_be_answered(void **state) {
    (void)state;
    static const char *const refused[] = {"-DENIED Redis is running in protected mode",
                                          "-ERR max number of clients reached", "HTTP/1.1 400 Bad Request", ":1"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct talk t;
        begin(&t, "", "", "", NULL);
        assert_int_equal(say(&t, refused[i]), HANDSHAKE_FAILED);
        buf_deinit(&t.out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_whole_way_to_a_snapshot),
        cmocka_unit_test(test_credentials_and_an_announced_address_are_sent_in_the_field_s_order),
        cmocka_unit_test(test_a_primary_may_go_on_under_the_same_or_another_id),
        cmocka_unit_test(test_a_replica_is_asked_to_take_the_lead_by_a_word_behind_psync),
        cmocka_unit_test(test_answers_that_make_no_sense_fail),
        cmocka_unit_test(test_a_primary_that_cannot_now_is_asked_again),
        cmocka_unit_test(test_an_old_primary_gets_sync),
        cmocka_unit_test(test_a_wrong_password_is_the_end),
        cmocka_unit_test(test_ping_must_be_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
