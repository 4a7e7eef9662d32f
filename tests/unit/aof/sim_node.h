/* A node in miniature for tests of the AOF: a change log, the real AOF on a simulated disk, and a data set that is a
 * list of groups.
 *
 * The threads of the AOF (struct worker) and the monotonic clock are replaced at link time by ones that the test moves,
 * so a run is determined by its seed. Group g of life `l` has the content that pad() says, so a replay can tell every
 * wrong, lost, doubled or resurrected group.
 */
#ifndef HF_TESTS_UNIT_AOF_SIM_NODE_H
#define HF_TESTS_UNIT_AOF_SIM_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "persistence/aof/aof.h"
#include "server/base/rng.h"
#include "tests/support/simdisk.h"

#define SIM_GROUPS_MAX 20000

struct sim_base {
    bool pending, killed;
    char *path;
    size_t groups; /* of the data set when the child was forked */
};

struct sim_node {
    struct simdisk *disk;
    struct rng rng;
    struct aof_options options;
    struct changelog *cl;
    struct aof *aof;  /* NULL between lives */
    bool child_bases; /* bases are written by a "child": by sim_base_finish() */
    bool child;
    struct sim_base base;
    /* the data set */
    size_t groups;
    uint32_t life[SIM_GROUPS_MAX];
    uint64_t end[SIM_GROUPS_MAX]; /* log offset behind the group, in the life that appended it */
    uint32_t life_now;
    size_t tracked; /* groups from here on were appended in this life */
    /* promises: so many groups must survive */
    size_t promised_kill, promised_power;
    size_t always_from; /* groups from here on were appended under always */
    bool in_force;      /* as last seen */
    unsigned waiters_closed;
    char last_log[512];
    /* while loading */
    size_t loaded;
    bool in_multi;
    uint32_t multi_parts;
};

void sim_node_init(struct sim_node *n, uint64_t seed);
void sim_node_deinit(struct sim_node *n);
/* Loads and starts. Returns the loader's status; on LOADER_OK the node lives. */
enum loader_status sim_node_start(struct sim_node *n, struct buf *error);
/* Replays what is on disk without changing it into n->loaded; the data set is compared, not changed. */
enum loader_status sim_node_replay(struct sim_node *n, struct loader_result *ret_result, struct buf *error);
/* Appends one group of a random kind, unless writes are refused. */
void sim_node_append(struct sim_node *n);
/* Takes what the AOF released as promises. */
void sim_node_note_promises(struct sim_node *n);
/* The child ends: writes its file (or fails). */
void sim_base_finish(struct sim_node *n, bool ok);
/* The process is gone: no job runs any more. */
void sim_node_die(struct sim_node *n);

/* The replaced clock and threads. */
extern int64_t sim_now_us;
size_t sim_jobs(void);
/* Runs the oldest job of a random thread. */
void sim_run_job(struct rng *rng);
void sim_forget_jobs(void);

#endif
