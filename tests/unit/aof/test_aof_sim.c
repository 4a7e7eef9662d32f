/* The real AOF on a simulated disk under random events, faults and crashes, life after life. */
#include "config.h"

#include "tests/unit/aof/sim_node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/mem.h"
#include "tests/support/unit.h"

static void fail_seed(uint64_t seed, const struct sim_node *n, const char *what, const struct buf *error) {
    fail_msg("seed %llu, life %u: %s%s%.*s (groups %zu, loaded %zu, promised kill %zu power %zu, log: %s)",
             (unsigned long long)seed, n->life_now, what, error->len > 0 ? ": " : "", (int)error->len, error->data,
             n->groups, n->loaded, n->promised_kill, n->promised_power, n->last_log);
}

static void inject(struct sim_node *n) {
    static const int errors[] = {ENOSPC, EIO};
    int error = errors[rng_below(&n->rng, 2)];
    uint64_t times = rng_below(&n->rng, 3) == 0 ? 1000 : 1 + rng_below(&n->rng, 3);
    switch (rng_below(&n->rng, 4)) {
    case 0:
        simdisk_fail(n->disk, SIMDISK_WRITE, NULL, rng_below(&n->rng, 3), times, error);
        break;
    case 1:
        simdisk_fail(n->disk, SIMDISK_FSYNC, NULL, rng_below(&n->rng, 3), times, error);
        break;
    case 2:
        simdisk_fail(n->disk, SIMDISK_RENAME | SIMDISK_CREATE | SIMDISK_FSYNC_DIR | SIMDISK_TRUNCATE, NULL,
                     rng_below(&n->rng, 3), times, error);
        break;
    default:
        simdisk_short_writes(n->disk, true);
        break;
    }
}

struct plan {
    bool faults;   /* disk errors */
    bool policies; /* appendfsync changes at run time */
    bool toggles;  /* appendonly no, then yes */
};

static void one_event(struct sim_node *n, const struct plan *plan) {
    switch (rng_below(&n->rng, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        for (uint64_t i = 1 + rng_below(&n->rng, 4); i > 0; i--)
            sim_node_append(n);
        aof_before_sleep(n->aof);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
        sim_run_job(&n->rng);
        if (rng_below(&n->rng, 4) != 0)
            aof_on_wake(n->aof);
        break;
    case 9:
    case 10:
        sim_now_us += (int64_t)rng_below(&n->rng, 700000);
        aof_cron(n->aof);
        break;
    case 11:
        if (rng_below(&n->rng, 3) == 0)
            (void)aof_rewrite(n->aof);
        break;
    case 12:
        sim_base_finish(n, rng_below(&n->rng, 5) != 0);
        break;
    case 13:
        if (plan->faults && rng_below(&n->rng, 3) == 0)
            inject(n);
        else if (rng_below(&n->rng, 2) == 0)
            simdisk_heal(n->disk);
        break;
    case 14:
        if (plan->policies && rng_below(&n->rng, 4) == 0) {
            n->options.policy = (enum durability_policy)rng_below(&n->rng, 3);
            n->options.timestamps = rng_below(&n->rng, 2) == 0;
            n->always_from = n->groups;
            aof_set_options(n->aof, &n->options);
        }
        break;
    default:
        if (plan->toggles && rng_below(&n->rng, 10) == 0) {
            struct buf error = BUF_INIT;
            int rc = aof_is_on(n->aof) ? aof_stop(n->aof) : aof_start(n->aof, NULL, &error);
            (void)rc; /* a failing disk may refuse either */
            buf_deinit(&error);
        }
        break;
    }
    sim_node_note_promises(n);
}

/* Ends the life in one of the ways that lives end in, and says what must be there afterwards. */
static size_t end_life(struct sim_node *n) {
    uint64_t way = rng_below(&n->rng, 6);
    if (way == 0) {
        simdisk_heal(n->disk);
        int rc = aof_is_on(n->aof) ? aof_stop(n->aof) : -1;
        bool complete = rc == 0 && n->in_force;
        size_t must = complete ? n->groups : n->promised_kill;
        sim_node_die(n);
        if (complete)
            simdisk_crash_strict(n->disk);
        else
            simdisk_process_kill(n->disk);
        return must;
    }
    if (way == 1) {
        /* Dies inside the next few calls. */
        simdisk_heal(n->disk);
        simdisk_kill_at(n->disk, 1 + rng_below(&n->rng, 8));
        static const struct plan quiet = {0};
        for (int i = 0; i < 60 && !simdisk_is_dead(n->disk); i++)
            one_event(n, &quiet);
    }
    size_t kill = n->promised_kill, power = n->promised_power;
    sim_node_die(n);
    if (way <= 2) {
        simdisk_process_kill(n->disk);
        return kill;
    }
    if (way == 3)
        simdisk_crash_strict(n->disk);
    else
        simdisk_crash(n->disk);
    return power;
}

static void run_seed(uint64_t seed, const struct plan *plan) {
    struct sim_node *n = mem_alloc(sizeof *n);
    sim_node_init(n, seed);
    n->options.policy = rng_below(&n->rng, 2) == 0 ? DURABILITY_ALWAYS : (enum durability_policy)rng_below(&n->rng, 3);
    n->child_bases = rng_below(&n->rng, 4) != 0;
    struct buf error = BUF_INIT;
    size_t must = 0;
    for (int life = 0; life < 6; life++) {
        simdisk_heal(n->disk);
        enum loader_status st;
        /* Bases may fail to start: try again as an operator would. */
        for (int tries = 0;; tries++) {
            buf_clear(&error);
            st = sim_node_start(n, &error);
            if (st != LOADER_IO || tries == 5)
                break;
            sim_node_die(n);
        }
        if (st != LOADER_OK)
            fail_seed(seed, n, "the node does not start", &error);
        if (n->loaded < must)
            fail_seed(seed, n, "a promise is broken", &error);
        n->promised_kill = n->loaded;
        /* What a killed process left is synced at the start, so it counts as durable from here on. */
        n->promised_power = n->loaded;
        uint64_t events = 20 + rng_below(&n->rng, 200);
        for (uint64_t i = 0; i < events; i++)
            one_event(n, plan);
        must = end_life(n);
    }
    buf_deinit(&error);
    sim_node_deinit(n);
    mem_free(n);
}

static void run_seeds(uint64_t first, const struct plan *plan) {
    const char *only = getenv("SIM_SEED");
    const char *count = getenv("SIM_COUNT");
    if (only != NULL) {
        run_seed(strtoull(only, NULL, 10), plan);
        return;
    }
    uint64_t n = count != NULL ? strtoull(count, NULL, 10) : 300;
    for (uint64_t i = 0; i < n; i++)
        run_seed(first + i, plan);
}

static void test_crashes_lose_nothing_promised(void **state) {
    (void)state;
    run_seeds(1000000, &(struct plan){0});
}

static void test_crashes_with_disk_faults(void **state) {
    (void)state;
    run_seeds(2000000, &(struct plan){.faults = true});
}

static void test_crashes_with_settings_changed(void **state) {
    (void)state;
    run_seeds(3000000, &(struct plan){.policies = true, .toggles = true});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crashes_lose_nothing_promised),
        cmocka_unit_test(test_crashes_with_disk_faults),
        cmocka_unit_test(test_crashes_with_settings_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
