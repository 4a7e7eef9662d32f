/* The policy machine by itself: what it releases, what it asks for, and its invariants under random events. */
#include "config.h"

#include "server/log/durability.h"

#include <errno.h>

#include "server/base/rng.h"
#include "tests/support/unit.h"

static struct durability d;
static struct durability_actions a;
static int64_t now;

static void start(enum durability_policy policy) {
    struct durability_config c = {
        .policy = policy, .buffer_limit_bytes = 1000, .stall_tolerance_ms = 500, .give_up_ms = 5000};
    now = 10000;
    durability_init(&d, &c, 0, true, now);
}

static unsigned step(struct durability_event ev) {
    durability_step(&d, &ev, now, &a);
    durability_check(&d);
    return a.flags;
}

static unsigned append(uint64_t to) {
    return step((struct durability_event){.type = DURABILITY_EV_APPENDED, .offset = to});
}
static unsigned written(uint64_t to) {
    return step((struct durability_event){.type = DURABILITY_EV_WRITTEN, .offset = to});
}
static unsigned write_failed(uint64_t to, int error) {
    return step((struct durability_event){.type = DURABILITY_EV_WRITE_FAILED, .offset = to, .error = error});
}
static unsigned event(enum durability_event_type type) {
    return step((struct durability_event){.type = type, .error = EIO});
}
static unsigned tick(int64_t ms) {
    now += ms;
    return event(DURABILITY_EV_TICK);
}

static void test_always_releases_what_is_synced(void **state) {
    (void)state;
    start(DURABILITY_ALWAYS);
    assert_int_equal(append(10), DURABILITY_DO_WRITE_LOOP);
    assert_int_equal(written(10), DURABILITY_DO_SYNC);
    assert_int_equal(d.released, 0);
    assert_true(durability_holds(&d));
    /* The next commit executes while the first is synced, and waits for a sync of its own. */
    assert_int_equal(append(20), 0);
    assert_int_equal(append(30), 0);
    assert_int_equal(event(DURABILITY_EV_SYNCED), DURABILITY_DO_WRITE_LOOP);
    assert_int_equal(a.write_to, 30);
    assert_int_equal(d.released, 10);
    assert_int_equal(written(30), DURABILITY_DO_SYNC);
    assert_int_equal(append(40), 0);
    assert_int_equal(event(DURABILITY_EV_SYNCED), DURABILITY_DO_WRITE_LOOP);
    assert_int_equal(d.released, 30);
    assert_int_equal(written(40), DURABILITY_DO_SYNC);
    /* What is large is written beside the sync. */
    assert_int_equal(append(3 << 20), DURABILITY_DO_WRITE_THREAD);
    assert_int_equal(event(DURABILITY_EV_SYNCED), 0);
    assert_int_equal(written(3 << 20), DURABILITY_DO_SYNC);
    assert_int_equal(event(DURABILITY_EV_SYNCED), 0);
    assert_int_equal(d.released, 3 << 20);
}

static void test_everysec_releases_what_is_written_and_syncs_once_a_second(void **state) {
    (void)state;
    start(DURABILITY_EVERYSEC);
    assert_false(durability_holds(&d));
    assert_int_equal(append(10), DURABILITY_DO_WRITE_LOOP);
    assert_int_equal(written(10), 0);
    assert_int_equal(d.released, 10);
    assert_int_equal(tick(900), 0);
    assert_int_equal(tick(100), DURABILITY_DO_SYNC);
    assert_true(durability_holds(&d));
    assert_int_equal(event(DURABILITY_EV_SYNCED), 0);
    assert_int_equal(d.durable, 10);
    assert_int_equal(tick(2000), 0); /* nothing to sync */
}

static void test_no_never_syncs(void **state) {
    (void)state;
    start(DURABILITY_NO);
    append(10);
    assert_int_equal(written(10), 0);
    assert_int_equal(tick(60000), 0);
    assert_int_equal(d.released, 10);
    assert_int_equal(d.durable, 0);
}

static void test_a_stalled_write_exposes_replies_after_the_tolerance(void **state) {
    (void)state;
    start(DURABILITY_EVERYSEC);
    append(10);
    written(10);
    tick(1000); /* sync starts */
    assert_int_equal(append(20), DURABILITY_DO_WRITE_THREAD);
    tick(400);
    assert_int_equal(d.released, 10);
    tick(100);
    assert_int_equal(d.released, 20);
    assert_true(a.notes & 1u << DURABILITY_NOTE_EXPOSED);
    assert_int_equal(d.exposures, 1);
    append(30);
    assert_int_equal(d.released, 30);
    written(20);
    assert_true(a.notes & 1u << DURABILITY_NOTE_EXPOSED_END);
    append(40);
    assert_int_equal(d.released, 30);
}

static void test_the_buffer_limit_is_full_and_clears_at_half(void **state) {
    (void)state;
    start(DURABILITY_EVERYSEC);
    append(10);
    written(10);
    tick(1000);
    append(20);
    append(1011);
    assert_true(d.full);
    written(20);
    assert_true(d.full);
    written(1011);
    assert_false(d.full);
}

static void test_a_failed_write_refuses_and_resumes(void **state) {
    (void)state;
    start(DURABILITY_EVERYSEC);
    append(10);
    assert_int_equal(write_failed(0, ENOSPC), 0);
    assert_int_equal(durability_refusal(&d), ENOSPC);
    assert_int_equal(d.released, 0);
    assert_int_equal(tick(900), 0);
    assert_int_equal(tick(100), DURABILITY_DO_WRITE_THREAD);
    write_failed(0, ENOSPC);
    assert_int_equal(tick(3000), DURABILITY_DO_WRITE_THREAD);
    write_failed(0, ENOSPC);
    assert_int_equal(tick(1000) & DURABILITY_DO_CLOSE_WAITERS, DURABILITY_DO_CLOSE_WAITERS);
    written(10);
    assert_int_equal(durability_refusal(&d), 0);
    assert_int_equal(d.released, 10);
}

/* A whole rewrite; returns the flags of the last step. */
static void rewrite(void) {
    assert_int_equal(event(DURABILITY_EV_REWRITE), DURABILITY_DO_PREPARE);
    assert_true(a.list_prepared);
}

static void test_durability_is_contiguous_over_the_switch(void **state) {
    (void)state;
    start(DURABILITY_ALWAYS);
    append(10);
    written(10); /* sync of the first file runs */
    rewrite();
    append(20);
    unsigned flags = event(DURABILITY_EV_PREPARED);
    assert_int_equal(flags, DURABILITY_DO_START_BASE); /* [10, 20) still goes to the first file */
    assert_int_equal(a.cut, 20);
    event(DURABILITY_EV_BASE_STARTED);
    append(30);
    flags = event(DURABILITY_EV_SYNCED);
    assert_int_equal(flags, DURABILITY_DO_WRITE_LOOP);
    assert_int_equal(a.write_to, 20);
    assert_int_equal(d.released, 10);
    flags = written(20);
    assert_int_equal(flags, DURABILITY_DO_SWITCH | DURABILITY_DO_WRITE_LOOP);
    assert_int_equal(a.write_to, 30);
    flags = written(30);
    assert_int_equal(flags, DURABILITY_DO_SYNC);
    assert_true(a.sync_old);
    assert_int_equal(d.released, 10);
    flags = event(DURABILITY_EV_SYNCED);
    assert_int_equal(flags, DURABILITY_DO_DROP_OLD | DURABILITY_DO_SYNC);
    assert_false(a.sync_old);
    assert_int_equal(d.released, 20);
    event(DURABILITY_EV_SYNCED);
    assert_int_equal(d.released, 30);
    assert_int_equal(event(DURABILITY_EV_BASE_WRITTEN), DURABILITY_DO_INSTALL);
    event(DURABILITY_EV_INSTALLED);
    assert_int_equal(d.rewrite, DURABILITY_REWRITE_NONE);
}

static void test_a_failed_sync_is_never_success(void **state) {
    (void)state;
    for (int policy = DURABILITY_ALWAYS; policy <= DURABILITY_EVERYSEC; policy++) {
        start((enum durability_policy)policy);
        append(10);
        written(10);
        tick(1000);
        append(20);
        if (d.writing_loop || d.writing_thread)
            written(20);
        uint64_t released = d.released;
        unsigned flags = event(DURABILITY_EV_SYNC_FAILED);
        assert_int_equal(flags, DURABILITY_DO_PREPARE);
        assert_int_equal(durability_refusal(&d), EIO);
        append(30);
        assert_int_equal(d.released, released);
        flags = event(DURABILITY_EV_PREPARED);
        assert_true(flags & DURABILITY_DO_SKIP && flags & DURABILITY_DO_SWITCH && flags & DURABILITY_DO_START_BASE);
        event(DURABILITY_EV_BASE_STARTED);
        append(40);
        written(40);
        tick(1000);
        if (d.syncing)
            event(DURABILITY_EV_SYNCED); /* of the new increment: the prefix is still broken */
        assert_int_equal(d.released, released);
        event(DURABILITY_EV_BASE_WRITTEN);
        assert_int_equal(d.released, released);
        event(DURABILITY_EV_INSTALLED);
        assert_int_equal(d.released, 40);
        assert_int_equal(durability_refusal(&d), 0);
    }
}

static void test_waiters_are_closed_when_the_new_base_fails_too(void **state) {
    (void)state;
    start(DURABILITY_ALWAYS);
    append(10);
    written(10);
    assert_int_equal(event(DURABILITY_EV_SYNC_FAILED), DURABILITY_DO_PREPARE);
    assert_int_equal(event(DURABILITY_EV_PREPARE_FAILED), DURABILITY_DO_CLOSE_WAITERS);
    assert_int_equal(d.released, 0);
    assert_int_equal(tick(500), 0);
    assert_int_equal(tick(500), DURABILITY_DO_PREPARE); /* again, with a back-off */
}

static void test_no_appendfsync_on_rewrite_puts_syncs_off(void **state) {
    (void)state;
    start(DURABILITY_ALWAYS);
    struct durability_config c = d.config;
    c.no_sync_with_child = true;
    step((struct durability_event){.type = DURABILITY_EV_CONFIG, .config = &c});
    step((struct durability_event){.type = DURABILITY_EV_CHILD, .flag = true});
    append(10);
    assert_int_equal(written(10), 0);
    assert_int_equal(d.released, 10);
    assert_int_equal(step((struct durability_event){.type = DURABILITY_EV_CHILD, .flag = false}), DURABILITY_DO_SYNC);
}

static void test_nothing_is_promised_without_a_base(void **state) {
    (void)state;
    struct durability_config c = {.policy = DURABILITY_ALWAYS, .stall_tolerance_ms = 500, .give_up_ms = 5000};
    now = 10000;
    durability_init(&d, &c, 0, false, now);
    unsigned flags = append(10);
    assert_true(flags & DURABILITY_DO_PREPARE);
    assert_false(a.list_prepared);
    assert_int_equal(d.released, 10);
    assert_false(durability_holds(&d));
    written(10);
    event(DURABILITY_EV_SYNCED);
    event(DURABILITY_EV_PREPARED);
    event(DURABILITY_EV_BASE_STARTED);
    event(DURABILITY_EV_BASE_WRITTEN);
    event(DURABILITY_EV_INSTALLED);
    append(20);
    assert_int_equal(d.released, 10);
    assert_true(durability_holds(&d));
}

/* Legal events at random; the machine must keep its invariants and never release under `always` what no sync has
 * covered. */
static void random_walk(uint64_t seed) {
    struct rng r;
    rng_init(&r, seed);
    struct durability_config c = {.policy = (enum durability_policy)rng_below(&r, 3),
                                  .no_sync_with_child = rng_below(&r, 2) == 0,
                                  .buffer_limit_bytes = 500,
                                  .stall_tolerance_ms = 300,
                                  .give_up_ms = 2000};
    now = 1000;
    durability_init(&d, &c, 100, rng_below(&r, 4) != 0, now);
    uint64_t released = d.released;
    bool started = false;
    for (int i = 0; i < 400; i++) {
        struct durability_event ev = {.type = DURABILITY_EV_TICK, .error = rng_below(&r, 2) == 0 ? EIO : ENOSPC};
        bool ok = rng_below(&r, 6) != 0;
        uint64_t what = d.writing_loop ? 1 : rng_below(&r, 8);
        if (what == 0) {
            ev.type = DURABILITY_EV_APPENDED;
            ev.offset = d.sealed + rng_below(&r, 100);
        } else if (what == 1 && (d.writing_loop || d.writing_thread)) {
            ev.type = ok ? DURABILITY_EV_WRITTEN : DURABILITY_EV_WRITE_FAILED;
            ev.offset = ok ? d.write_to : d.written + rng_below(&r, d.write_to - d.written + 1);
        } else if (what == 2 && d.syncing) {
            ev.type = ok ? DURABILITY_EV_SYNCED : DURABILITY_EV_SYNC_FAILED;
        } else if (what == 3 && d.rewrite == DURABILITY_REWRITE_PREPARING) {
            ev.type = ok ? DURABILITY_EV_PREPARED : DURABILITY_EV_PREPARE_FAILED;
        } else if (what == 4 && d.rewrite == DURABILITY_REWRITE_BASE) {
            ev.type = !started && ok ? DURABILITY_EV_BASE_STARTED
                      : ok           ? DURABILITY_EV_BASE_WRITTEN
                                     : DURABILITY_EV_BASE_FAILED;
            started = ev.type == DURABILITY_EV_BASE_STARTED;
        } else if (what == 4 && d.rewrite == DURABILITY_REWRITE_INSTALLING) {
            ev.type = ok ? DURABILITY_EV_INSTALLED : DURABILITY_EV_INSTALL_FAILED;
        } else if (what == 5) {
            ev.type = rng_below(&r, 4) == 0 ? DURABILITY_EV_REWRITE : DURABILITY_EV_TICK;
        } else if (what == 6) {
            ev.type = DURABILITY_EV_CHILD;
            ev.flag = rng_below(&r, 2) == 0;
        } else {
            now += (int64_t)rng_below(&r, 400);
        }
        step(ev);
        assert_true(d.released >= released);
        if (d.has_base && c.policy == DURABILITY_ALWAYS && !c.no_sync_with_child && d.released > released)
            assert_true(d.released <= d.durable || ev.type == DURABILITY_EV_INSTALLED);
        released = d.released;
    }
}

static void test_random_events_keep_the_invariants(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 5000; seed++)
        random_walk(seed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_always_releases_what_is_synced),
        cmocka_unit_test(test_everysec_releases_what_is_written_and_syncs_once_a_second),
        cmocka_unit_test(test_no_never_syncs),
        cmocka_unit_test(test_a_stalled_write_exposes_replies_after_the_tolerance),
        cmocka_unit_test(test_the_buffer_limit_is_full_and_clears_at_half),
        cmocka_unit_test(test_a_failed_write_refuses_and_resumes),
        cmocka_unit_test(test_durability_is_contiguous_over_the_switch),
        cmocka_unit_test(test_a_failed_sync_is_never_success),
        cmocka_unit_test(test_waiters_are_closed_when_the_new_base_fails_too),
        cmocka_unit_test(test_no_appendfsync_on_rewrite_puts_syncs_off),
        cmocka_unit_test(test_nothing_is_promised_without_a_base),
        cmocka_unit_test(test_random_events_keep_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
