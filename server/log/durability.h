/* The durability policy: which prefix of the change log may be acknowledged, and what is to be done to make it longer.
 *
 * A pure state machine: durability_step(state, event, now) → actions. It owns no file, thread, clock or memory. The AOF
 * runs it with real files and threads; tests run it on a simulated disk with a crash at every step.
 *
 * Offsets are those of the change log. Prefixes, each ≤ the next except that `released` may be anything ≤ `sealed`:
 *
 *   durable   contiguous bytes that are on disk together with the name and the manifest entry of every file they stand
 * in written   bytes handed to the kernel: a killed process does not lose them sealed    whole groups appended to the
 * log
 *
 *   released  never goes back. With the AOF in force:
 *     always           = durable (= written while `no-appendfsync-on-rewrite` applies: a child lives and syncs are put
 * off) everysec, no     = written; = sealed while a write has been stalled by the disk for longer than
 * stall_tolerance_ms ("exposed") broken           stays where it is (see below), under any policy Without a base (the
 * AOF is being switched on: nothing is promised yet) = sealed.
 *
 * Files. `current` is the increment that takes bytes. A rewrite *prepares* the next one: file, head and manifest entry
 * are durable before the machine says CUT; the cut is the sealed offset of that moment, bytes below it go to the old
 * file, bytes from it on to the new one. Bytes of the new file count as durable only after the old file was synced up
 * to the cut. So the durable prefix is contiguous over the switch. A base that is installed also makes everything below
 * its cut durable. One rewrite = PREPARE → CUT + START_BASE (fork) → INSTALL (rename, manifest); each step answers with
 * an event.
 *
 * Writing. At most one write and one sync are in progress. The loop writes itself (WRITE_LOOP) only while neither a
 * sync nor a thread's write is in progress and nothing older is unwritten; else the bytes are handed to the log thread
 * (WRITE_THREAD), for a write may wait for a sync. Under `always` small writes wait for the end of the sync instead,
 * because nothing can be released earlier. A sync covers what was written when it started; what is written meanwhile
 * waits for the next one (pipelined group commit). `everysec` starts one a second while there is something to sync,
 * `always` whenever written > durable, `no` only for a file that is given up.
 *
 * Failures.
 *  - A write fails: commands that write are refused (REFUSE), the write is tried again each second from the last whole
 * commit (the caller cuts the torn part off first), and service resumes with the first success. Whoever waits for a
 * reply longer than give_up_ms is disconnected, never acknowledged. After the third failure in a row that is not a full
 * disk the file is given up as after a failed sync.
 *  - A sync fails: the kernel may have dropped the bytes, so no later sync of this file means anything. The machine is
 * *broken*: the durable and the released prefix stay, writes are refused, and a new increment and base are asked for.
 * Once both are durable the base covers all bytes before its cut and the prefix goes on from there. While that fails,
 * it is tried again with a back-off and whoever waits is disconnected.
 *
 * Thread: whoever owns the state. Nothing here fails or allocates.
 */
#ifndef HF_LOG_DURABILITY_H
#define HF_LOG_DURABILITY_H

#include <stdbool.h>
#include <stdint.h>

enum durability_policy { DURABILITY_ALWAYS, DURABILITY_EVERYSEC, DURABILITY_NO };

struct durability_config {
    enum durability_policy policy;
    bool no_sync_with_child;     /* no-appendfsync-on-rewrite */
    uint64_t buffer_limit_bytes; /* aof-buffer-limit: sealed - written above this is "full"; 0 = no limit */
    int64_t stall_tolerance_ms;  /* aof-stall-tolerance; < 0: never exposed */
    int64_t give_up_ms;          /* disconnect who waits this long for a failing disk */
};

enum durability_event_type {
    DURABILITY_EV_APPENDED,       /* offset = sealed */
    DURABILITY_EV_WRITTEN,        /* offset reached: the whole write that was asked for */
    DURABILITY_EV_WRITE_FAILED,   /* offset reached (whole commits), error */
    DURABILITY_EV_SYNCED,         /* the sync in progress succeeded */
    DURABILITY_EV_SYNC_FAILED,    /* … failed: error */
    DURABILITY_EV_TICK,           /* at least ten times a second */
    DURABILITY_EV_CONFIG,         /* config */
    DURABILITY_EV_CHILD,          /* flag: a snapshot or rewrite child lives */
    DURABILITY_EV_REWRITE,        /* somebody asks for a new base */
    DURABILITY_EV_REWRITE_CANCEL, /* … no longer: what is not yet started does not start */
    DURABILITY_EV_PREPARED,       /* the next increment and its manifest entry are durable */
    DURABILITY_EV_PREPARE_FAILED, /* error */
    DURABILITY_EV_BASE_STARTED,   /* the child lives */
    DURABILITY_EV_BASE_WRITTEN,   /* the child's file is complete and synced */
    DURABILITY_EV_BASE_FAILED,    /* it could not be started, or failed, or was killed */
    DURABILITY_EV_INSTALLED,      /* base named and manifest durable */
    DURABILITY_EV_INSTALL_FAILED, /* error */
};

struct durability_event {
    enum durability_event_type type;
    uint64_t offset;
    int error; /* a positive errno */
    bool flag;
    const struct durability_config *config;
};

enum {
    DURABILITY_DO_WRITE_LOOP =
        1 << 0, /* write [written, write_to) here and now; answer WRITTEN or WRITE_FAILED before any other event */
    DURABILITY_DO_WRITE_THREAD = 1 << 1, /* the same by the log thread */
    DURABILITY_DO_SYNC = 1 << 2,         /* by the log thread: sync the old file if sync_old, else the current one */
    DURABILITY_DO_SWITCH =
        1
        << 3, /* from the byte at `cut` on, write to the prepared increment; keep the old file open for its last sync */
    DURABILITY_DO_DROP_OLD = 1 << 4, /* close the old file */
    DURABILITY_DO_PREPARE = 1 << 5,  /* make the next increment; list it in the manifest if list_prepared */
    DURABILITY_DO_START_BASE =
        1 << 6, /* now, at `cut` = sealed: fork the child; answer BASE_STARTED or BASE_FAILED before any other event */
    DURABILITY_DO_INSTALL = 1 << 7, /* name the base, replace the manifest */
    DURABILITY_DO_SKIP =
        1 << 8, /* bytes below `cut` will not be written (the new base covers them): move on to `cut` */
    DURABILITY_DO_CLOSE_WAITERS = 1 << 9, /* disconnect everybody whose reply waits for an offset above `released` */
};

/* Lines for the log; error is in actions.error where one belongs to it. */
enum durability_note {
    DURABILITY_NOTE_WRITE_FAILED, /* writes are refused until the disk takes them again */
    DURABILITY_NOTE_WRITE_RESUMED,
    DURABILITY_NOTE_SYNC_FAILED,   /* replies are held until a new base is durable */
    DURABILITY_NOTE_SYNC_RESTORED, /* the new base and increment are durable */
    DURABILITY_NOTE_SYNC_SLOW,     /* everysec: a second passed and the last sync still runs */
    DURABILITY_NOTE_EXPOSED,       /* replies go out before the write */
    DURABILITY_NOTE_EXPOSED_END,
    DURABILITY_NOTE_FULL, /* writes wait */
    DURABILITY_NOTE_FULL_END,
    DURABILITY_NOTE_PREPARE_FAILED,
    DURABILITY_NOTE_BASE_FAILED,
    DURABILITY_NOTE_INSTALL_FAILED,
    DURABILITY_NOTE_INSTALLED,
    DURABILITY_NOTE_GIVE_UP, /* connections that wait are closed */
    DURABILITY_NOTES
};

struct durability_actions {
    unsigned flags; /* DURABILITY_DO_… in this order: SKIP, SWITCH, START_BASE, WRITE_*, SYNC, the rest */
    uint64_t write_to;
    bool sync_old;
    bool list_prepared;
    uint64_t cut;
    int error;
    uint32_t notes; /* bit per enum durability_note */
};

enum durability_rewrite {
    DURABILITY_REWRITE_NONE,
    DURABILITY_REWRITE_WANTED, /* waits: for the old file's last sync, or for a back-off */
    DURABILITY_REWRITE_PREPARING,
    DURABILITY_REWRITE_PREPARED, /* waits for the moment of the cut */
    DURABILITY_REWRITE_BASE,     /* the child works */
    DURABILITY_REWRITE_INSTALLING
};

/* Readable by everybody, changed by durability_step() only. */
struct durability {
    struct durability_config config;
    uint64_t sealed, written, durable, released;
    bool has_base; /* manifest has a base: the AOF is in force */
    bool child;
    /* write in progress */
    bool writing_thread, writing_loop;
    bool behind; /* a step ended with bytes unwritten: the loop leaves the catching up to the thread */
    uint64_t write_to;
    int64_t unwritten_since_ms; /* when the oldest unwritten byte was first seen */
    /* sync in progress */
    bool syncing, syncing_old;
    uint64_t sync_to;
    int64_t sync_started_ms;
    bool sync_slow_noted;
    /* files */
    bool old_open;   /* an old file waits for its last sync, up to cut */
    bool old_synced; /* … which is done: it also covers annotations behind the last commit */
    bool old_sync_is_last;
    bool cut_pending;        /* bytes below cut still go to the current file, then SWITCH */
    uint64_t cut;            /* where the newest increment starts */
    uint64_t covered;        /* bytes below are in the installed base */
    uint64_t current_synced; /* prefix of the current increment that was synced, ≥ its start */
    /* rewrite */
    enum durability_rewrite rewrite;
    bool rewrite_asked;
    int64_t rewrite_not_before_ms;
    unsigned rewrite_failures; /* in a row */
    /* failures */
    int write_error; /* errno of the last write, 0 when it succeeded */
    unsigned write_failures;
    int64_t write_retry_ms, write_failed_since_ms;
    bool broken; /* bytes below broken_to are in doubt until a base with cut ≥ broken_to is installed */
    uint64_t broken_to;
    int broken_error;
    int64_t close_waiters_ms; /* when to disconnect who waits; 0: not planned */
    bool exposed, full;
    /* counters */
    uint64_t exposures;     /* times that replies went out before the write */
    uint64_t delayed_syncs; /* everysec syncs that had to wait for the last one */
    uint64_t syncs, sync_failures, writes_failed;
};

/* written = durable = released = sealed = offset. has_base: the files hold a base already; false: a rewrite is to come
 * (EV_REWRITE). */
void durability_init(struct durability *d, const struct durability_config *config, uint64_t offset, bool has_base,
                     int64_t now_ms);
/* Takes one event. now_ms is monotonic. */
void durability_step(struct durability *d, const struct durability_event *ev, int64_t now_ms,
                     struct durability_actions *ret_actions);
/* True while a change appended now would not be released before the loop sleeps: reads of keys in flight are to be
 * tracked. */
bool durability_holds(const struct durability *d);
/* The errno for which commands that write are refused, or 0. */
int durability_refusal(const struct durability *d);
/* Asserts the invariants. */
void durability_check(const struct durability *d);

#endif
