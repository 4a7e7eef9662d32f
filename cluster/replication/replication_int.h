/* What the sources of replication share. */
#ifndef HF_REPLICATION_REPLICATION_INT_H
#define HF_REPLICATION_REPLICATION_INT_H

#include <netinet/in.h>

#include "cluster/replication/backlog.h"
#include "cluster/replication/frames.h"
#include "cluster/replication/handshake.h"
#include "cluster/replication/history.h"
#include "cluster/replication/replication.h"
#include "cluster/replication/spool.h"
#include "cluster/replication/transfer.h"
#include "cluster/replication/unpack.h"
#include "server/engine/call.h"

enum diskless_load { DISKLESS_LOAD_DISABLED, DISKLESS_LOAD_EMPTY, DISKLESS_LOAD_SWAP, DISKLESS_LOAD_FLUSH };

struct replication_options {
    bool accept_empty_primary, disable_tcp_nodelay, diskless_sync, transfer_lz4, lazy_flush, serve_stale_data,
        read_only, ignore_maxmemory, announced;
    char *announce_ip, *user, *password;
    int diskless_load; /* enum diskless_load */
    int64_t priority, diskless_delay_s, diskless_max_replicas, announce_port, timeout_s, ping_period_s;
    int64_t min_replicas, min_replicas_max_lag_s;
    int64_t backlog_size_bytes, backlog_ttl_s;
    char *primary_host; /* "" : none */
    int primary_port;
};

/* ---- our replicas ---- */

enum replica_state {
    REPLICA_INTRODUCES, /* a client that has sent REPLCONF; it is no replica yet */
    REPLICA_WAITS,      /* for the next snapshot to begin */
    REPLICA_MAKING,     /* its snapshot is being written to disk */
    REPLICA_SENDING,    /* the snapshot is on its way */
    REPLICA_LOADS,      /* all of it is out; the stream begins with its first acknowledgement, or, with frames, at once,
                         * and the replica puts it aside */
    REPLICA_ONLINE,     /* fed by its cursor */
    REPLICA_DONE,       /* wanted a snapshot only, and has it */
};

/* What a peer understands beyond the protocol of 2013. */
enum replica_capability {
    REPLICA_CAPA_EOF = 1 << 0,
    REPLICA_CAPA_PSYNC2 = 1 << 1,
    REPLICA_CAPA_HOLDFAST = 1 << 2,
    REPLICA_CAPA_FRAMES = 1 << 3, /* "holdfast-frames": see frames.h */
    REPLICA_CAPA_LZ4 = 1 << 4,    /* "holdfast-lz4": a snapshot may be an LZ4 frame */
};

struct full_sync;

/* What a member of a session is sent in frames; of those without frames `used` is false. */
struct frame_feed {
    bool used;
    bool size_due, end_due, ping_due;
    bool open; /* a frame is being written: */
    unsigned char head[FRAMES_HEAD_BYTES + FRAMES_SIZE_BYTES];
    size_t head_at, head_len;
    uint32_t left; /* of its payload */
    unsigned row;  /* frames of the stream since the last other one */
};

struct replica {
    struct replication *r;
    struct client *client;
    enum replica_state state;
    unsigned capa;
    unsigned version; /* of REPLCONF version, 0x070204; 0: not told */
    bool speaks_sync; /* SYNC: no acknowledgements, no ids */
    bool rdb_only, without_data;
    int port;
    char ip[64];                     /* announced; "" : the address we see */
    struct changelog_cursor *cursor; /* from FULLRESYNC or CONTINUE on */
    uint64_t acked, durable;         /* acknowledged offsets */
    int64_t acked_us, waits_since_us;
    /* the snapshot */
    struct full_sync *sync;
    int fd; /* of a snapshot on disk, -1 */
    int64_t file_at, file_bytes;
    char *block; /* of the file: [block_at, block_len) is to be written */
    size_t block_at, block_len;
    uint64_t taken;     /* of the bytes that the session has read from its child */
    int64_t held_up_us; /* for how long it has kept the session's others waiting */
    struct frame_feed frames;
};

/* ---- our primary ---- */

enum link_state {
    LINK_OFF,        /* we are a primary */
    LINK_WAITS,      /* for the next attempt */
    LINK_CONNECTING, /* TCP */
    LINK_HANDSHAKE,
    LINK_HEADER,   /* of the snapshot */
    LINK_TRANSFER, /* its bytes, into a file */
    LINK_LOADING,  /* from the file or from the wire */
    LINK_STREAM,
    LINK_DRAINS, /* the connection is gone; what was put aside is executed before the next attempt */
};

struct link {
    enum link_state state;
    struct conn *conn;
    struct handshake handshake;
    struct transfer transfer;
    struct frames frames;
    struct unpack unpack;
    struct spool spool; /* of the stream, while a snapshot comes and is loaded */
    bool spools;        /* the frames have ended: whatever comes is the stream */
    bool loading;       /* adopt() is running */
    struct buf in;      /* bytes read and not yet taken */
    struct buf out;     /* bytes that did not fit */
    bool watches_write, watches_read;
    struct client *client; /* executes the stream; kept over a broken link */
    struct resp_parser parser;
    size_t group_from, parsed; /* in `in`: the open group, and where the next request begins */
    bool history_known;        /* id and offset of the log are a primary's: ask to continue */
    bool own_history;          /* … or were written by this node before it was told to follow another */
    bool kill_due;             /* somebody has closed our session */
    bool load_due;             /* the snapshot is to be loaded before the loop sleeps */
    int fd;                    /* of the snapshot on disk, -1 */
    uint64_t file_bytes;
    char path[64];
    int64_t io_us, down_us, retry_us, acked_us, synced_us;
    uint64_t asked, told_durable; /* offset at the last GETACK; the durable offset of our last acknowledgement */
    uint64_t stream_errors;
    char last_error[200]; /* said once */
};

/* ---- handing our role over ---- */

enum failover_state { FAILOVER_NONE, FAILOVER_WAITS_FOR_SYNC, FAILOVER_IN_PROGRESS };

struct failover {
    enum failover_state state;
    bool force;          /* past the deadline hand over to who is behind, too */
    unsigned requests;   /* sent. A second one: the first was never answered, the target may be a primary by now … */
    bool plain;          /* … and is one: follow it */
    int64_t deadline_us; /* 0: none */
    char host[256];      /* "": whoever catches up first */
    int port;
};

struct replication {
    struct replication_parts parts;
    struct engine *engine;
    struct loop *loop;
    struct changelog *log;
    struct replication_options options;
    bool started;
    bool empty_start; /* a primary that found no data at its start: maybe it has lost them */
    int64_t started_us;
    bool refused_history; /* … and a replica has come that has some */

    struct replica **replicas;
    size_t replica_count, replica_cap;
    struct full_sync *sync; /* in progress, NULL: none */
    struct backlog backlog;
    uint64_t fed; /* end of the log when the replicas were last woken */
    int64_t no_replicas_since_us, ping_us;
    bool ask_acks;
    uint64_t full_syncs, partial_ok, partial_refused;
    uint64_t net_in, net_out; /* of the link; to replicas that are gone */

    bool is_replica;
    struct link link;
    struct failover failover;
    uint64_t timer;
    int64_t second_us; /* when what is done once a second was done last */
};

/* ---- primary.c ---- */
extern const struct client_source replica_source;
struct replica *replica_of(const struct client *cl);                         /* NULL: it never sent REPLCONF or PSYNC */
void replica_describe(const struct replica *p, char *dst, size_t dst_bytes); /* "127.0.0.1:6380" */
void replica_ip(const struct replica *p, char *dst, size_t dst_bytes);
/* Closes its connection; no longer counted from now on. */
void replica_drop(struct replica *p, const char *reason);
void replica_online(struct replica *p);
/* Disconnects all and lets go of their cursors: their history is not ours any more. */
void replicas_disconnect(struct replication *r, const char *reason);
bool replica_is_attached(const struct replica *p); /* past PSYNC or SYNC, and not leaving */
size_t replicas_attached(const struct replication *r);
/* Whether one is attached that is neither ours nor at least of this version of Redis (0x070400). */
bool replicas_older(const struct replication *r, unsigned version);
size_t replicas_good(const struct replication *r); /* online, with a lag of at most min-replicas-max-lag */
void replicas_cron(struct replication *r);
void primary_psync(struct call *c, bool old);
void primary_replconf(struct call *c);
void primary_append(struct replication *r, const char *const *words, int n);

/* ---- full_sync.c ---- */
/* Starts the next session or lets p join the one that is being written to disk. */
void full_sync_want(struct replication *r, struct replica *p);
void full_sync_cron(struct replication *r);
void full_sync_leave(struct replica *p); /* it is gone */
void full_sync_abort(struct replication *r, const char *reason);
int full_sync_iov(struct replica *p, struct iovec *iov, size_t *ret_bytes);
void full_sync_written(struct replica *p, size_t n);
/* ---- full_sync_frames.c ---- */
int full_sync_frames_iov(struct replica *p, struct iovec *iov, int max, size_t *ret_bytes);
void full_sync_frames_written(struct replica *p, size_t n);

/* ---- link.c ---- */
void link_start(struct replication *r); /* towards options.primary_*, at once */
void link_close(struct replication *r, const char *reason);
void link_off(struct replication *r);
void link_retry(struct replication *r); /* when it is time to */
void link_cron(struct replication *r);  /* once a second */
void link_before_sleep(struct replication *r);
void link_send(struct replication *r, const struct slice *argv, int argc);
void link_send_ack(struct replication *r);
void link_update_watch(struct replication *r);
/* ---- link_sync.c ---- */
void link_begin_snapshot(struct replication *r);
void link_take_snapshot(struct replication *r); /* bytes of it are in link.in */
void link_load_snapshot(struct replication *r); /* between cycles */
void link_drop_snapshot(struct replication *r);
/* ---- link_spool.c ---- */
/* The payload of the snapshot that is next in link.in, as transfer_take(); what belongs to the stream is put aside.
 * 0, or -1: the link is closed, or (inside of a load) to be closed, with *ret_reason. */
int link_take_payload(struct replication *r, size_t *ret_payload, size_t *ret_used, const char **ret_reason);
/* Puts link.in from `from` on aside; closes the link where that fails. */
void link_spool_input(struct replication *r, size_t from);
void link_drain_spool(struct replication *r); /* executes a piece of what was put aside */
void link_drain_without_connection(struct replication *r, int db); /* … behind a load that the connection did not outlive */
/* ---- link_stream.c ---- */
void link_begin_stream(struct replication *r, int db);
void link_take_stream(struct replication *r); /* bytes of it are in link.in */
void link_end_stream(struct replication *r);  /* what is left of an open group is forgotten */

/* ---- role.c ---- */
void role_follow(struct replication *r, const char *host, int port);
void role_lead(struct replication *r);
void role_update_guard(struct replication *r);

/* ---- failover.c ---- */
void failover_cmd(struct call *c);
/* PSYNC with the word FAILOVER: promotes this node. False: an error was replied. */
bool failover_take_request(struct call *c);
/* Each cycle: hands over once the target is in step. */
void failover_step(struct replication *r);
/* What a handshake in the course of a failover says. */
void failover_introduce(const struct replication *r, struct handshake_options *o);
/* What the answer to a line of the handshake means for a failover. True: it is given up, and the link is gone. */
bool failover_note_answer(struct replication *r, enum handshake_step step, enum handshake_outcome outcome,
                          struct slice line);
const char *failover_state_name(const struct replication *r);

/* ---- replication_settings.c, replication_cmd.c, replication_info.c ---- */
void replication_register_settings(struct replication *r);
void replication_register_commands(struct replication *r);
void replication_register_info(struct replication *r);

#endif
