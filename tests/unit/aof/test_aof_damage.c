/* Damage to increments: every flipped bit below what was stated durable is corruption, a torn tail never is, and
 * nothing wrong is applied. */
#include "config.h"

#include "tests/unit/aof/sim_node.h"

#include <stdio.h>

#include "server/base/mem.h"
#include "server/log/annotation.h"
#include "tests/support/unit.h"

#define DIR "/data/appendonlydir"

/* Some lives that leave a few increments. */
static void make_log(struct sim_node *n, uint64_t seed, bool clean, size_t groups) {
    sim_node_init(n, seed);
    n->options.policy = DURABILITY_ALWAYS;
    n->child_bases = true;
    struct buf error = BUF_INIT;
    for (int life = 0; life < 2; life++) {
        do
            buf_clear(&error);
        while (sim_node_start(n, &error) != LOADER_OK && (sim_node_die(n), true));
        for (size_t i = 0; i < groups; i++) {
            sim_node_append(n);
            if (rng_below(&n->rng, 3) == 0)
                aof_before_sleep(n->aof);
            if (rng_below(&n->rng, 2) == 0)
                sim_run_job(&n->rng);
            aof_on_wake(n->aof);
            sim_now_us += 50000;
            if (i == groups / 2)
                (void)aof_rewrite(n->aof); /* its base never comes: one more increment */
        }
        if (clean && life == 1) {
            assert_int_equal(aof_stop(n->aof), 0);
        }
        sim_node_die(n);
        simdisk_process_kill(n->disk);
    }
    buf_deinit(&error);
}

/* The lines of a file that state what is durable. */
struct statement {
    size_t from, to; /* bytes */
    uint64_t durable;
};

static size_t statements(const struct buf *file, struct statement *out, size_t max) {
    size_t n = 0;
    for (size_t i = 0; i + 4 < file->len && n < max; i++) {
        if (memcmp(file->data + i, "#HF:", 4) != 0 || (i > 0 && file->data[i - 1] != '\n'))
            continue;
        const char *end = memchr(file->data + i, '\r', file->len - i);
        struct annotation a;
        if (end != NULL && annotation_parse(slice_of(file->data + i, (size_t)(end - file->data) - i), &a) == 0 &&
            (a.fields & ANNOTATION_DURABLE))
            out[n++] = (struct statement){i, (size_t)(end - file->data) + 2, a.durable};
    }
    return n;
}

#define FILES_MAX 16
/* Sanitizers make each replay many times slower: they see every seventh byte. */
#ifdef __SANITIZE_ADDRESS__
#define STRIDE 7
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STRIDE 7
#endif
#endif
#ifndef STRIDE
#define STRIDE 1
#endif
#define STATEMENTS_MAX 4000

static void flip_everywhere(uint64_t seed, bool clean) {
    struct sim_node *n = mem_alloc(sizeof *n);
    make_log(n, seed, clean, 40);
    struct loader_result r;
    struct buf error = BUF_INIT;
    assert_int_equal(sim_node_replay(n, &r, &error), LOADER_OK);
    size_t good = n->loaded;
    static struct statement lines[FILES_MAX][STATEMENTS_MAX];
    static size_t line_count[FILES_MAX];
    struct buf files[FILES_MAX] = {BUF_INIT};
    char paths[FILES_MAX][200];
    size_t count = 0;
    for (const struct aof_manifest_entry *e; (e = aof_manifest_incr(&r.manifest, count)) != NULL; count++) {
        snprintf(paths[count], sizeof paths[count], DIR "/%s", e->name);
        assert_int_equal(simdisk_get(n->disk, paths[count], &files[count]), 0);
        line_count[count] = statements(&files[count], lines[count], STATEMENTS_MAX);
    }
    assert_true(count >= 2);
    size_t caught = 0, cut = 0;
    for (size_t f = 0; f < count; f++) {
        /* Where the last annotation ends: what stands behind it is unsealed and not protected. */
        for (size_t byte = 0; byte < files[f].len; byte += STRIDE) {
            if (f + 1 == count && (int64_t)byte >= r.recovery.last_bytes)
                break;
            size_t bit = byte * 8 + rng_below(&n->rng, 8);
            simdisk_flip_bit(n->disk, paths[f], bit);
            /* What the other lines still state. */
            uint64_t durable = 0;
            for (size_t k = 0; k < count; k++)
                for (size_t i = 0; i < line_count[k]; i++)
                    if ((k != f || byte < lines[k][i].from || byte >= lines[k][i].to) && lines[k][i].durable > durable)
                        durable = lines[k][i].durable;
            struct loader_result damaged;
            buf_clear(&error);
            enum loader_status st = sim_node_replay(n, &damaged, &error);
            if (st == LOADER_REFUSED)
                fail_msg("seed %llu file %zu byte %zu: wrong data was applied: %.*s", (unsigned long long)seed, f, byte,
                         (int)error.len, error.data);
            if (st == LOADER_CORRUPT) {
                caught++;
                assert_int_equal(damaged.recovery.verdict, RECOVERY_CORRUPT);
                /* Located: the report is about this file, or about the gap that it leaves, and not far behind the byte.
                 */
                assert_true(damaged.recovery.fault.good_bytes <= (int64_t)byte ||
                            damaged.recovery.fault.index != f + 1);
            } else {
                assert_int_equal(st, LOADER_OK);
                cut++;
                if (damaged.recovery.verdict == RECOVERY_WHOLE)
                    fail_msg("seed %llu file %zu byte %zu: not detected", (unsigned long long)seed, f, byte);
                if (damaged.recovery.offset < durable)
                    fail_msg("seed %llu file %zu byte %zu: recovered %llu, stated durable %llu: %s",
                             (unsigned long long)seed, f, byte, (unsigned long long)damaged.recovery.offset,
                             (unsigned long long)durable, damaged.recovery.fault.reason);
                assert_true(n->loaded <= good);
            }
            loader_result_deinit(&damaged);
            simdisk_flip_bit(n->disk, paths[f], bit);
        }
    }
    /* After a kill, the last commits were not yet stated durable. */
    assert_true(caught > (clean ? 20 : 2) * cut);
    for (size_t f = 0; f < count; f++)
        buf_deinit(&files[f]);
    loader_result_deinit(&r);
    buf_deinit(&error);
    sim_node_deinit(n);
    mem_free(n);
}

static void test_a_flipped_bit_is_found_after_a_clean_stop(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++)
        flip_everywhere(seed, true);
}

static void test_a_flipped_bit_is_found_after_a_kill(void **state) {
    (void)state;
    for (uint64_t seed = 10; seed <= 12; seed++)
        flip_everywhere(seed, false);
}

/* The last increment cut at every byte: whole groups come back, as many as are sealed before the cut. */
static void test_a_file_cut_anywhere_loads_its_whole_groups(void **state) {
    (void)state;
    struct sim_node *n = mem_alloc(sizeof *n);
    make_log(n, 77, false, 30);
    struct loader_result r;
    struct buf error = BUF_INIT, file = BUF_INIT;
    assert_int_equal(sim_node_replay(n, &r, &error), LOADER_OK);
    char path[200];
    const struct aof_manifest_entry *e = NULL;
    for (size_t i = 0; aof_manifest_incr(&r.manifest, i) != NULL; i++)
        e = aof_manifest_incr(&r.manifest, i);
    snprintf(path, sizeof path, DIR "/%s", e->name);
    assert_int_equal(simdisk_get(n->disk, path, &file), 0);
    size_t before = SIZE_MAX;
    uint64_t stated = r.recovery.durable;
    loader_result_deinit(&r);
    for (size_t len = file.len; len > STRIDE; len -= STRIDE) {
        simdisk_put(n->disk, path, file.data, len);
        buf_clear(&error);
        enum loader_status st = sim_node_replay(n, &r, &error);
        /* Without its head a file is damaged; a cut inside what other files state cannot be told from a crash. */
        if (st != LOADER_OK)
            assert_int_equal(st, LOADER_CORRUPT);
        else
            assert_true(n->loaded <= before);
        if (st == LOADER_OK)
            before = n->loaded;
        loader_result_deinit(&r);
    }
    assert_true(stated > 0 && before != SIZE_MAX);
    buf_deinit(&file);
    buf_deinit(&error);
    sim_node_deinit(n);
    mem_free(n);
}

static void test_a_clean_stop_continues_id_and_offset(void **state) {
    (void)state;
    struct sim_node *n = mem_alloc(sizeof *n);
    sim_node_init(n, 5);
    struct buf error = BUF_INIT;
    while (sim_node_start(n, &error) != LOADER_OK)
        sim_node_die(n);
    for (int i = 0; i < 10; i++)
        sim_node_append(n);
    struct changelog_history h = *changelog_history(n->cl);
    uint64_t offset = changelog_sealed(n->cl);
    assert_int_equal(aof_stop(n->aof), 0);
    sim_node_die(n);
    simdisk_crash_strict(n->disk);
    assert_int_equal(sim_node_start(n, &error), LOADER_OK);
    assert_int_equal(n->groups, 10);
    assert_string_equal(changelog_history(n->cl)->id, h.id);
    assert_int_equal(changelog_sealed(n->cl), offset);
    /* Killed right after: the replicas may have seen what this file never got. */
    sim_node_die(n);
    simdisk_process_kill(n->disk);
    assert_int_equal(sim_node_start(n, &error), LOADER_OK);
    assert_string_not_equal(changelog_history(n->cl)->id, h.id);
    assert_string_equal(changelog_history(n->cl)->id2, h.id);
    assert_int_equal(changelog_history(n->cl)->id2_offset, offset);
    assert_int_equal(changelog_sealed(n->cl), offset);
    sim_node_die(n);
    buf_deinit(&error);
    sim_node_deinit(n);
    mem_free(n);
}

static void test_crash_loops_do_not_collect_files(void **state) {
    (void)state;
    struct sim_node *n = mem_alloc(sizeof *n);
    sim_node_init(n, 6);
    struct buf error = BUF_INIT;
    while (sim_node_start(n, &error) != LOADER_OK)
        sim_node_die(n);
    sim_node_append(n);
    aof_before_sleep(n->aof);
    for (int i = 0; i < 10; i++) {
        sim_node_die(n);
        simdisk_process_kill(n->disk);
        assert_int_equal(sim_node_start(n, &error), LOADER_OK);
    }
    struct loader_result r;
    assert_int_equal(sim_node_replay(n, &r, &error), LOADER_OK);
    assert_true(r.manifest.count <= 3);
    loader_result_deinit(&r);
    sim_node_die(n);
    assert_int_equal(simdisk_open_files(n->disk), 0);
    buf_deinit(&error);
    sim_node_deinit(n);
    mem_free(n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_flipped_bit_is_found_after_a_clean_stop),
        cmocka_unit_test(test_a_flipped_bit_is_found_after_a_kill),
        cmocka_unit_test(test_a_file_cut_anywhere_loads_its_whole_groups),
        cmocka_unit_test(test_a_clean_stop_continues_id_and_offset),
        cmocka_unit_test(test_crash_loops_do_not_collect_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
