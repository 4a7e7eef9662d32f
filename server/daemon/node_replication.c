#include "config.h"

#include "server/daemon/node.h"

#include "persistence/aof/aof.h"
#include "server/base/logging.h"

/* Replication and persistence know nothing of each other: what one needs from the other goes through here. */

static void snapshot_options(void *ctx, struct snapshot_options *ret_options) {
    struct node *n = ctx;
    persist_snapshot_options(n->persist, ret_options);
}

static int start_child(void *ctx, const struct child_job *job) {
    struct node *n = ctx;
    return persist_start_child(n->persist, job);
}

static void child_ended(void *ctx) {
    struct node *n = ctx;
    persist_child_ended(n->persist);
}

static void kill_child(void *ctx) {
    struct node *n = ctx;
    persist_kill_child(n->persist);
}

static enum replication_adopted adopt(void *ctx, const struct replication_adoption *a, int *ret_db, struct buf *error) {
    struct node *n = ctx;
    const struct persist_adoption p = {
        .path = a->path,
        .source = a->source,
        .source_arg = a->source_arg,
        .bytes = a->bytes,
        .id = a->id,
        .offset = a->offset,
        .beside = a->beside,
        .serve = a->serve,
        .lazy_flush = a->lazy_flush,
        .let_go = a->let_go,
        .let_go_arg = a->let_go_arg,
    };
    switch (persist_adopt(n->persist, &p, ret_db, error)) {
    case PERSIST_ADOPTED:
        return REPLICATION_ADOPTED;
    case PERSIST_ADOPT_KEPT:
        return REPLICATION_ADOPT_KEPT;
    case PERSIST_ADOPT_LOST:
        break;
    }
    return REPLICATION_ADOPT_LOST;
}

static void resume_log(void *ctx, bool rewrite) {
    struct node *n = ctx;
    persist_resume_aof(n->persist);
    if (rewrite && aof_rewrite(persist_aof(n->persist)) == AOF_REWRITE_STARTED)
        log_notice("The AOF holds commands of the former primary that failed here: it is rewritten");
}

static void role_changed(void *ctx) {
    node_set_oom_score(ctx);
}

static int port(void *ctx) {
    const struct node *n = ctx;
    return (int)n->options.port;
}

void node_create_replication(struct node *n) {
    struct replication_parts parts = {
        .engine = n->engine,
        .fs = fs_posix(),
        .worker = n->worker,
        .ctx = n,
        .snapshot_options = snapshot_options,
        .start_child = start_child,
        .child_ended = child_ended,
        .kill_child = kill_child,
        .adopt = adopt,
        .resume_log = resume_log,
        .role_changed = role_changed,
        .port = port,
    };
    n->replication = replication_create(&parts);
}

size_t node_replicas_acked(void *ctx, uint64_t offset, bool durable) {
    const struct node *n = ctx;
    return replication_acked(n->replication, offset, durable);
}

void node_ask_replicas(void *ctx) {
    struct node *n = ctx;
    replication_ask_acks(n->replication);
}

bool node_is_replica(void *ctx) {
    const struct node *n = ctx;
    return n->replication != NULL && replication_is_replica(n->replication);
}
