#include "config.h"

#include "server/log/recovery.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/assert.h"
#include "server/base/hash.h"
#include "server/base/mem.h"
#include "server/base/num.h"
#include "server/log/annotation.h"
#include "server/log/record_reader.h"

/* One pass over the files. Commands of a stretch are collected until its annotation proves them; then they are applied
 * and dropped.
 *
 *     head | stretch, annotation | stretch, annotation | … | tail
 *
 * At the first fault the rest of the file, and every later file, is only surveyed: genuine annotation lines (their own
 * check digits are right) are looked for, because the highest durable offset they state decides between a torn tail and
 * corruption. If the survey finds a genuine line behind the fault in the same file, the stretch had been sealed and
 * none of it is used; else it is the tail, and its whole groups are.
 *
 * A commit of ours is at most about half a MiB of groups, or one group. So when groups go on past STRETCH_MAX without
 * an annotation, and the survey finds none behind, another program wrote them: they are applied as they come.
 */

#define STRETCH_MAX (16 << 20)
#define SECTOR_BYTES 512
#define SURVEY_BYTES (1 << 20)
#define PROGRESS_BYTES (1 << 20)

struct group {
    int64_t start, end; /* in the file */
    size_t first_command, commands;
    uint64_t bytes; /* of its commands */
};

struct command {
    size_t first_arg;
    int argc;
    int64_t start, end;
};

/* A stretch that is not yet stated durable. One that begins below the durable offset is, for that is the end of a
 * stretch; a line that only states something begins where it ends. */
struct unsynced {
    uint64_t begin_offset;
    size_t index;
    int64_t start;
};
#define UNSYNCED_MAX 4096

struct recovery {
    const struct fs *fs;
    struct recovery_callbacks cb;
    struct recovery_result result;
    bool stopped;
    bool in_foreign;       /* the fault is in a file of another program */
    bool is_hard;          /* the fault is corruption whatever is stated behind it */
    uint64_t fault_offset; /* of the log, behind what was applied when the fault was found */
    /* Where the fault stands before the first annotation, what is lost begins at an offset that only later lines tell:
     * at that of the file's own BEGIN line, or else below the lowest one stated. */
    bool is_unanchored, has_begin;
    uint64_t begin_offset, lowest_offset;
    uint64_t stated_durable; /* by good annotations and, after a fault, by genuine ones */
    uint64_t chain;          /* of the last good annotation or head, when link_is_known */
    bool link_is_known;
    bool chain_is_known; /* … and the log offset is too */
    bool pending_clean;  /* the last annotation was a clean seal */
    /* the last file before this one, where a gap is reported */
    size_t last_index;
    int64_t last_bytes;
    struct slice *argv;
    size_t argv_cap;
    struct unsynced unsynced[UNSYNCED_MAX]; /* ascending */
    size_t unsynced_count;
};

struct scan {
    struct recovery *r;
    struct record_reader rr;
    size_t index;
    const char *path;
    bool ours, streaming, is_base;
    uint64_t key;
    uint64_t before_chain; /* at the end of the file before, if before_is_known */
    bool before_is_known;
    int64_t stretch_start;
    struct command *commands; /* of the stretch */
    size_t command_count, command_cap;
    struct group *groups; /* whole groups of the stretch */
    size_t group_count, group_cap;
    bool in_multi;
    size_t multi_first;   /* command index of the MULTI */
    uint64_t group_bytes; /* while streaming: of the group under way */
    int64_t good;         /* end of the last good group */
    bool has_log_bytes;
    int64_t progress_at;
};

/* ---- faults ---------------------------------------------------------------------------------------------------- */

static void stop(struct scan *s, enum recovery_verdict verdict, int64_t offset, const char *reason, bool hard) {
    struct recovery *r = s->r;
    if (r->stopped)
        return;
    r->stopped = true;
    r->is_hard = hard;
    r->is_unanchored = !r->chain_is_known;
    r->in_foreign = !s->ours;
    r->fault_offset = r->result.offset;
    r->result.verdict = verdict;
    struct recovery_fault *f = &r->result.fault;
    f->index = s->index;
    f->offset = offset;
    f->good_bytes = s->good;
    f->file_bytes = s->rr.size;
    snprintf(f->reason, sizeof f->reason, "%s", reason);
    r->result.cut_index = s->index;
    r->result.cut_bytes = s->good;
}

static void describe_key(struct scan *s, struct slice key) {
    struct recovery_fault *f = &s->r->result.fault;
    size_t n = key.n < 64 ? key.n : 64;
    size_t at = 0;
    for (size_t i = 0; i < n && at + 5 < sizeof f->key; i++) {
        unsigned char c = (unsigned char)key.p[i];
        if (c >= 0x20 && c < 0x7f && c != '\\')
            f->key[at++] = (char)c;
        else
            at += (size_t)snprintf(f->key + at, sizeof f->key - at, "\\x%02x", c);
    }
    f->key[at] = '\0';
}

/* The key that a report names: of the command that is being read, else of the first command of the stretch that has
 * one. */
static void name_key(struct scan *s, size_t from_command) {
    const struct record_reader *rr = &s->rr;
    for (size_t i = from_command; i < s->command_count; i++) {
        const struct command *c = &s->commands[i];
        if (c->argc < 2)
            continue;
        const struct record_arg *name = &rr->args[c->first_arg];
        if (slice_is(slice_of(record_reader_bytes(rr, name->offset), name->n), "select"))
            continue;
        describe_key(s, slice_of(record_reader_bytes(rr, name[1].offset), name[1].n));
        return;
    }
    if (rr->argc >= 2 && rr->first_arg + 1 < rr->arg_count) {
        const struct record_arg *a = &rr->args[rr->first_arg + 1];
        describe_key(s, slice_of(record_reader_bytes(rr, a->offset), a->n));
    }
}

/* ---- the survey ------------------------------------------------------------------------------------------------ */

/* Takes the genuine annotations in p[0..n), wherever they stand: the byte before one may be the damaged one. Returns
 * how many. */
static size_t survey_window(struct recovery *r, const char *p, size_t n, uint64_t key, bool is_fault_file) {
    size_t found = 0;
    const char *end = p + n;
    for (const char *at = p; (at = memmem(at, (size_t)(end - at), "#HF:", 4)) != NULL; at += 4) {
        size_t room = (size_t)(end - at);
        const char *newline = memchr(at, '\n', room < ANNOTATION_MAX_BYTES ? room : ANNOTATION_MAX_BYTES);
        struct annotation a;
        if (newline == NULL || newline == at || newline[-1] != '\r')
            continue;
        struct slice line = slice_of(at, (size_t)(newline - at) - 1);
        if (annotation_parse(line, &a) != 0 || !annotation_is_genuine(line, &a, key))
            continue;
        found++;
        if ((a.fields & ANNOTATION_OFFSET) && a.offset < r->lowest_offset)
            r->lowest_offset = a.offset;
        if ((a.fields & ANNOTATION_BEGIN) && is_fault_file) {
            r->has_begin = true;
            r->begin_offset = a.offset;
        }
        if ((a.fields & ANNOTATION_DURABLE) && a.durable > r->stated_durable)
            r->stated_durable = a.durable;
    }
    return found;
}

/* Searches the file from byte `from` on. Returns how many genuine annotations stand there. */
static size_t survey(struct recovery *r, const char *path, int64_t from, uint64_t key, bool is_fault_file) {
    int fd = r->fs->open(r->fs->ctx, path, O_RDONLY, 0);
    if (fd < 0)
        return 0;
    size_t found = 0, kept = 0;
    char *window = mem_alloc(SURVEY_BYTES + ANNOTATION_MAX_BYTES);
    for (;;) {
        ssize_t got = r->fs->pread(r->fs->ctx, fd, window + kept, SURVEY_BYTES, from);
        if (got <= 0)
            break;
        from += got;
        size_t n = kept + (size_t)got;
        found += survey_window(r, window, n, key, is_fault_file);
        /* A line may stand across the windows; what it says twice does no harm. */
        kept = n < ANNOTATION_MAX_BYTES ? n : ANNOTATION_MAX_BYTES;
        memmove(window, window + n - kept, kept);
    }
    mem_free(window);
    (void)r->fs->close(r->fs->ctx, fd);
    return found;
}

/* ---- applying -------------------------------------------------------------------------------------------------- */

static void report_progress(struct scan *s, int64_t min_bytes) {
    if (s->r->cb.progress != NULL && s->rr.at - s->progress_at >= min_bytes) {
        s->r->cb.progress(s->r->cb.ctx, (uint64_t)(s->rr.at - s->progress_at));
        s->progress_at = s->rr.at;
    }
}

static int apply(struct scan *s, const struct command *c) {
    struct recovery *r = s->r;
    r->result.commands++;
    if (r->cb.apply == NULL)
        return 0;
    if ((size_t)c->argc > r->argv_cap) {
        r->argv_cap = (size_t)c->argc * 2;
        r->argv = mem_realloc(r->argv, r->argv_cap * sizeof *r->argv);
    }
    const struct record_arg *args = s->rr.args + c->first_arg;
    for (int i = 0; i < c->argc; i++)
        r->argv[i] = slice_of(record_reader_bytes(&s->rr, args[i].offset), args[i].n);
    struct buf error = BUF_INIT;
    if (r->cb.apply(r->cb.ctx, c->argc, r->argv, &error) == 0) {
        buf_deinit(&error);
        return 0;
    }
    char *text = buf_take_cstr(&error);
    stop(s, RECOVERY_REFUSED, c->start, text, false);
    mem_free(text);
    return -1;
}

static int apply_commands(struct scan *s, size_t first, size_t n) {
    for (size_t i = first; i < first + n; i++)
        if (apply(s, &s->commands[i]) != 0)
            return -1;
    return 0;
}

static void drop_stretch(struct scan *s) {
    record_reader_drop(&s->rr);
    s->command_count = s->group_count = 0;
    s->stretch_start = s->rr.at;
    report_progress(s, PROGRESS_BYTES);
}

static bool arg_is(const struct scan *s, const struct command *c, size_t i, const char *lower) {
    const struct record_arg *a = &s->rr.args[c->first_arg + i];
    return slice_is(slice_of(record_reader_bytes(&s->rr, a->offset), a->n), lower);
}

static void push_group(struct scan *s, size_t first) {
    if (s->group_count == s->group_cap) {
        s->group_cap = s->group_cap == 0 ? 64 : s->group_cap * 2;
        s->groups = mem_realloc(s->groups, s->group_cap * sizeof *s->groups);
    }
    struct group g = {.start = s->commands[first].start, .first_command = first, .commands = s->command_count - first};
    for (size_t i = first; i < s->command_count; i++)
        g.bytes += (uint64_t)(s->commands[i].end - s->commands[i].start);
    g.end = s->commands[s->command_count - 1].end;
    s->groups[s->group_count++] = g;
}

/* Collects the command just read; closes a group where one ends. */
static void collect(struct scan *s, int64_t start) {
    if (s->command_count == s->command_cap) {
        s->command_cap = s->command_cap == 0 ? 64 : s->command_cap * 2;
        s->commands = mem_realloc(s->commands, s->command_cap * sizeof *s->commands);
    }
    struct command *c = &s->commands[s->command_count++];
    *c = (struct command){.first_arg = s->rr.first_arg, .argc = s->rr.argc, .start = start, .end = s->rr.at};
    if (s->in_multi) {
        if (c->argc == 1 && arg_is(s, c, 0, "exec")) {
            s->in_multi = false;
            push_group(s, s->multi_first);
        }
    } else if (c->argc == 1 && arg_is(s, c, 0, "multi")) {
        s->in_multi = true;
        s->multi_first = s->command_count - 1;
    } else {
        push_group(s, s->command_count - 1);
    }
}

/* ---- files of another program ---------------------------------------------------------------------------------- */

/* Applies the command just read at once. What is between MULTI and EXEC was good only with its EXEC. */
static int stream(struct scan *s, int64_t start) {
    bool was_in_multi = s->in_multi;
    s->command_count = 0;
    s->group_count = 0;
    collect(s, start);
    if (was_in_multi || s->in_multi)
        s->multi_first = 0; /* the group is not collected */
    s->group_bytes += (uint64_t)(s->rr.at - start);
    s->has_log_bytes = true;
    if (apply(s, &s->commands[0]) != 0)
        return -1;
    if (!s->in_multi) {
        s->r->result.offset += s->group_bytes;
        s->group_bytes = 0;
        s->good = s->rr.at;
    }
    record_reader_drop(&s->rr);
    s->command_count = s->group_count = 0;
    s->stretch_start = s->rr.at;
    report_progress(s, PROGRESS_BYTES);
    return 0;
}

static void end_stream(struct scan *s, enum record_kind kind) {
    struct recovery *r = s->r;
    bool group_is_open = s->in_multi;
    if (group_is_open && r->cb.discard_group != NULL)
        r->cb.discard_group(r->cb.ctx);
    s->in_multi = false;
    if (kind == RECORD_END && !group_is_open)
        return;
    if (kind == RECORD_BAD) {
        stop(s, RECOVERY_TORN, s->rr.bad_offset, s->rr.reason, true);
    } else {
        int64_t offset = kind == RECORD_END ? s->good : s->rr.bad_offset;
        /* A head is durable before the file is named: a torn one is damage. */
        const char *p = s->rr.buf.data;
        bool is_head = s->rr.at == 0 && s->rr.buf.len >= 4 && memcmp(p, "#HF:", 4) == 0;
        stop(s, RECOVERY_TORN, offset, kind == RECORD_END ? "MULTI without its EXEC" : s->rr.reason,
             s->is_base || is_head);
    }
    name_key(s, 0);
}

/* ---- files of ours --------------------------------------------------------------------------------------------- */

/* True when a sector's last byte inside an argument of the group is zero: it may be one that the disk did not get. */
static bool has_hole(const struct scan *s, const struct group *g) {
    for (size_t i = g->first_command; i < g->first_command + g->commands; i++) {
        const struct command *c = &s->commands[i];
        for (size_t k = c->first_arg; k < c->first_arg + (size_t)c->argc; k++) {
            const struct record_arg *a = &s->rr.args[k];
            const char *p = record_reader_bytes(&s->rr, a->offset);
            int64_t last = a->offset | (SECTOR_BYTES - 1);
            for (; last < a->offset + (int64_t)a->n; last += SECTOR_BYTES)
                if (p[last - a->offset] == '\0')
                    return true;
        }
    }
    return false;
}

/* Keeps the stretch in mind until an annotation states it durable. When there are too many, neighbours are joined: what
 * matters is where the first begins. */
static void forget_synced(struct recovery *r) {
    size_t gone = 0;
    while (gone < r->unsynced_count && r->unsynced[gone].begin_offset < r->stated_durable)
        gone++;
    if (gone == 0)
        return;
    r->unsynced_count -= gone;
    memmove(r->unsynced, r->unsynced + gone, r->unsynced_count * sizeof *r->unsynced);
}

static void note_unsynced(struct recovery *r, uint64_t begin_offset, size_t index, int64_t start) {
    forget_synced(r);
    if (r->unsynced_count == UNSYNCED_MAX) {
        for (size_t i = 0; i < UNSYNCED_MAX / 2; i++) {
            r->unsynced[i] = r->unsynced[2 * i];
            r->unsynced[i].begin_offset = r->unsynced[2 * i + 1].begin_offset;
        }
        r->unsynced_count = UNSYNCED_MAX / 2;
    }
    if (begin_offset >= r->stated_durable)
        r->unsynced[r->unsynced_count++] = (struct unsynced){begin_offset, index, start};
}

/* Applies the whole groups that stand behind the last annotation. Returns false when they end early, and why. */
static bool apply_tail(struct scan *s) {
    struct recovery *r = s->r;
    for (size_t i = 0; i < s->group_count; i++) {
        const struct group *g = &s->groups[i];
        if (!r->pending_clean && has_hole(s, g)) {
            stop(s, RECOVERY_TORN, g->start, "a sector of the last commit did not reach the disk", false);
            name_key(s, g->first_command);
            return false;
        }
        if (apply_commands(s, g->first_command, g->commands) != 0)
            return false;
        note_unsynced(r, r->result.offset, s->index, s->stretch_start);
        r->result.offset += g->bytes;
        s->good = g->end;
        s->has_log_bytes = true;
    }
    if (s->group_count > 0 && r->pending_clean)
        r->result.foreign_tail = true;
    return true;
}

/* The stretch under way does not end with an annotation that proves it. */
static void end_of_trust(struct scan *s, enum record_kind kind, int64_t offset, const char *reason) {
    struct recovery *r = s->r;
    bool is_fault = reason != NULL;
    bool is_foreign = r->pending_clean && s->group_count > 0;
    if ((is_fault || !is_foreign) && survey(r, s->path, s->stretch_start, s->key, true) > 0) {
        stop(s, RECOVERY_TORN, offset, is_fault ? reason : "a sealed stretch lacks its annotation", false);
        name_key(s, 0);
        return;
    }
    size_t groups = s->group_count;
    size_t open_first = groups == 0 ? 0 : s->groups[groups - 1].first_command + s->groups[groups - 1].commands;
    if (!apply_tail(s))
        return;
    if (is_fault) {
        stop(s, RECOVERY_TORN, offset, reason, is_foreign && kind == RECORD_BAD);
        name_key(s, open_first);
    }
    if (groups > 0)
        r->pending_clean = false;
}

static void stop_stretch(struct scan *s, int64_t offset, const char *reason, bool hard) {
    /* The line that failed may itself be genuine and state what is durable. */
    (void)survey(s->r, s->path, s->stretch_start, s->key, true);
    stop(s, RECOVERY_TORN, offset, reason, hard);
    name_key(s, 0);
}

/* The first bytes of the log in this file must follow the last ones of the file before. */
static bool take_begin(struct scan *s, const struct annotation *a) {
    struct recovery *r = s->r;
    /* After an unclean stop (previous = 0) the log goes on at the offset that was recovered, with a chain of its own.
     */
    bool links = a->previous == 0 || !s->before_is_known || a->previous == s->before_chain;
    if (links && (!r->chain_is_known || a->offset == r->result.offset)) {
        r->result.offset = a->offset;
        return true;
    }
    char text[160];
    snprintf(text, sizeof text, "the next increment begins at log offset %" PRIu64 ", this one ends at %" PRIu64,
             a->offset, r->result.offset);
    bool overlaps = r->chain_is_known && a->offset < r->result.offset;
    struct scan before = {
        .r = r, .ours = true, .index = r->last_index, .good = r->last_bytes, .rr.size = r->last_bytes};
    (void)survey(r, s->path, s->stretch_start, s->key, false);
    stop(&before, RECOVERY_TORN, r->last_bytes, text, overlaps);
    return false;
}

static void take_fields(struct scan *s, const struct annotation *a) {
    struct recovery *r = s->r;
    if (a->fields & ANNOTATION_TIME) {
        r->result.last_time_ms = a->time_ms;
        if (r->cb.at_time != NULL)
            r->cb.at_time(r->cb.ctx, s->index, s->stretch_start, a->time_ms);
    }
    if (a->fields & ANNOTATION_HISTORY)
        r->result.history = a->history;
    if ((a->fields & ANNOTATION_DURABLE) && a->durable > r->stated_durable)
        r->stated_durable = a->durable;
    if (a->fields & ANNOTATION_OFFSET) {
        note_unsynced(r, r->result.offset, s->index, s->stretch_start);
        r->result.annotated = true;
        r->result.offset = a->offset;
        r->result.sealed_offset = a->offset;
        r->result.foreign_tail = false;
        r->chain_is_known = true;
    }
    r->pending_clean = (a->fields & ANNOTATION_CLEAN) != 0;
    r->chain = a->chain;
    r->result.last_chain = a->chain;
}

/* An annotation line that starts at byte `start`. */
static void take_annotation(struct scan *s, int64_t start) {
    struct recovery *r = s->r;
    struct annotation a;
    struct slice line = s->rr.comment;
    if (annotation_parse(line, &a) != 0) {
        stop_stretch(s, start, "a damaged annotation line", false);
        return;
    }
    const char *stretch = record_reader_bytes(&s->rr, s->stretch_start);
    size_t bytes = (size_t)(start - s->stretch_start);
    uint64_t chain = hash_xxh3_seed(r->result.last_chain, stretch, bytes + a.chained_bytes);
    if (chain != a.chain || !annotation_is_genuine(line, &a, s->key)) {
        char text[160];
        snprintf(text, sizeof text, "checksum mismatch in the group commit at bytes %" PRId64 " to %" PRId64,
                 s->stretch_start, s->rr.at);
        stop_stretch(s, s->stretch_start, text, false);
        return;
    }
    if (s->in_multi ||
        ((a.fields & ANNOTATION_OFFSET) && a.offset < r->result.offset && !(a.fields & ANNOTATION_BEGIN)) ||
        ((a.fields & (ANNOTATION_OFFSET | ANNOTATION_DURABLE)) == (ANNOTATION_OFFSET | ANNOTATION_DURABLE) &&
         a.durable > a.offset)) {
        stop_stretch(s, start, s->in_multi ? "an annotation inside MULTI" : "an annotation that contradicts itself",
                     true);
        return;
    }
    if ((a.fields & ANNOTATION_BEGIN) && !take_begin(s, &a))
        return;
    if ((a.fields & ANNOTATION_OFFSET) && a.offset != r->result.sealed_offset && !(a.fields & ANNOTATION_BEGIN))
        s->has_log_bytes = true;
    if (apply_commands(s, 0, s->command_count) != 0)
        return;
    r->result.stretches++;
    take_fields(s, &a);
    s->good = s->rr.at;
    drop_stretch(s);
}

/* The first line of a file. Returns false when it is a damaged head. */
static bool take_first_line(struct scan *s) {
    struct recovery *r = s->r;
    struct annotation a;
    struct slice line = s->rr.comment;
    struct annotation_chain chain;
    if (annotation_parse(line, &a) == 0 && (a.fields & ANNOTATION_HEAD)) {
        annotation_chain_begin(&chain, 0);
        annotation_chain_update(&chain, line.p, a.chained_bytes);
        if (annotation_chain_value(&chain) == a.chain && annotation_is_genuine(line, &a, a.chain)) {
            if (a.version > ANNOTATION_VERSION) {
                stop(s, RECOVERY_CORRUPT, 0, "annotations of a newer version of Holdfast", true);
                return false;
            }
            s->ours = true;
            s->key = a.chain;
            s->before_chain = r->chain;
            s->before_is_known = r->link_is_known;
            r->chain = a.chain;
            r->link_is_known = true;
            r->result.last_chain = a.chain;
            r->result.last_key = a.chain;
            r->result.last_seq = a.seq;
            s->good = s->rr.at;
            drop_stretch(s);
            return true;
        }
    }
    /* No other program writes lines of this form. */
    bool looks_like_ours = (line.n >= 4 && memcmp(line.p, "#HF:", 4) == 0) || memmem(line.p, line.n, ";c=", 3) != NULL;
    if (looks_like_ours)
        stop(s, RECOVERY_CORRUPT, 0, "the head of the file is damaged", true);
    return !looks_like_ours;
}

static void take_comment(struct scan *s, int64_t start) {
    struct slice line = s->rr.comment;
    if (line.n >= 4 && memcmp(line.p, "#HF:", 4) == 0) {
        if (s->ours && !s->streaming)
            take_annotation(s, start);
        else
            stop(s, RECOVERY_CORRUPT, start, "an annotation line in a file without a head", true);
        return;
    }
    bool is_time = line.n >= 4 && memcmp(line.p, "#TS:", 4) == 0;
    if (s->ours && !s->streaming && !is_time) {
        end_of_trust(s, RECORD_BAD, start, "a comment line that neither Holdfast nor Redis writes");
        return;
    }
    uint64_t seconds;
    if (line.n > 4 && memcmp(line.p, "#TS:", 4) == 0 &&
        num_parse_u64(slice_of(line.p + 4, line.n - 4), &seconds) == 0 && seconds < UINT64_MAX / 1000) {
        s->r->result.last_time_ms = seconds * 1000;
        if (s->r->cb.at_time != NULL && !s->in_multi)
            s->r->cb.at_time(s->r->cb.ctx, s->index, start, seconds * 1000);
    }
    if (s->streaming && !s->in_multi) {
        s->good = s->rr.at;
        drop_stretch(s);
    }
}

/* Groups go on where a commit of ours would have ended. */
static void take_long_stretch(struct scan *s) {
    struct recovery *r = s->r;
    if (survey(r, s->path, s->stretch_start, s->key, true) > 0) {
        stop(s, RECOVERY_TORN, s->stretch_start, "a sealed stretch lacks its annotation", false);
        name_key(s, 0);
        return;
    }
    r->pending_clean = true; /* nothing of this size is a commit cut short */
    if (!apply_tail(s))
        return;
    r->pending_clean = false;
    r->result.foreign_tail = true;
    s->streaming = true;
    drop_stretch(s);
}

static void scan_records(struct scan *s) {
    struct record_reader *rr = &s->rr;
    bool is_first = rr->at == 0;
    while (!s->r->stopped) {
        int64_t start = rr->at;
        enum record_kind kind = record_reader_next(rr);
        if (kind == RECORD_COMMENT) {
            if (is_first && !take_first_line(s))
                return;
            if (!s->ours)
                s->streaming = true;
            if (!(is_first && s->ours))
                take_comment(s, start);
        } else if (kind == RECORD_COMMAND) {
            if (!s->ours)
                s->streaming = true;
            if (s->streaming) {
                if (stream(s, start) != 0)
                    return;
            } else {
                bool is_long =
                    s->group_count > 0 && s->groups[s->group_count - 1].end - s->stretch_start >= STRETCH_MAX;
                collect(s, start);
                if (is_long && !s->in_multi)
                    take_long_stretch(s);
            }
        } else if (kind == RECORD_IO) {
            stop(s, RECOVERY_IO, rr->at, rr->reason, true);
            return;
        } else {
            if (!s->ours || s->streaming) {
                end_stream(s, kind);
            } else if (kind != RECORD_END) {
                end_of_trust(s, kind, rr->bad_offset, rr->reason);
            } else if (s->in_multi) {
                end_of_trust(s, kind, s->commands[s->multi_first].start, "MULTI without its EXEC");
            } else if (s->command_count > 0) {
                end_of_trust(s, kind, s->stretch_start, NULL);
            }
            return;
        }
        is_first = false;
    }
}

/* ---- public ---------------------------------------------------------------------------------------------------- */

struct recovery *recovery_create(const struct fs *fs, const struct recovery_callbacks *callbacks) {
    struct recovery *r = mem_calloc(1, sizeof *r);
    r->fs = fs;
    r->cb = *callbacks;
    r->lowest_offset = UINT64_MAX;
    memset(r->result.history.id, '0', CHANGELOG_ID_CHARS);
    memset(r->result.history.id2, '0', CHANGELOG_ID_CHARS);
    r->result.history.id2_offset = -1;
    return r;
}

void recovery_destroy(struct recovery *r) {
    if (r == NULL)
        return;
    mem_free(r->argv);
    mem_free(r);
}

bool recovery_is_stopped(const struct recovery *r) {
    return r->stopped;
}

/* A file behind the fault: does it state that more was durable, and is it what follows a crash? */
static void survey_file(struct recovery *r, const char *path) {
    struct record_reader rr;
    if (record_reader_open(&rr, r->fs, path, 0) != 0) {
        record_reader_close(&rr);
        return; /* it is not needed */
    }
    struct annotation a;
    bool is_head = rr.size > 0 && record_reader_next(&rr) == RECORD_COMMENT && annotation_parse(rr.comment, &a) == 0 &&
                   (a.fields & ANNOTATION_HEAD) && annotation_is_genuine(rr.comment, &a, a.chain);
    if (is_head) {
        size_t found = survey(r, path, rr.at, a.chain, false);
        r->is_hard |= found > 0 && r->in_foreign; /* we went on behind a file that was whole then */
    } else if (rr.size > 0)
        r->is_hard = true; /* another program went on behind the damage, or the head is damaged too */
    record_reader_close(&rr);
}

void recovery_file(struct recovery *r, const char *path, int64_t start, bool may_be_torn) {
    size_t index = r->result.files++;
    if (r->stopped) {
        survey_file(r, path);
        return;
    }
    struct scan s = {.r = r,
                     .index = index,
                     .path = path,
                     .is_base = !may_be_torn,
                     .good = start,
                     .stretch_start = start,
                     .progress_at = start};
    int error = record_reader_open(&s.rr, r->fs, path, start);
    if (error != 0) {
        stop(&s, RECOVERY_IO, 0, strerror(-error), true);
        record_reader_close(&s.rr);
        return;
    }
    bool was_clean = r->pending_clean;
    r->pending_clean = false;
    scan_records(&s);
    report_progress(&s, 1);
    if (!s.ours) {
        /* An empty file of another program says nothing; any other ends our history. */
        if (s.has_log_bytes) {
            r->result.foreign_tail = true;
            r->chain_is_known = r->link_is_known = false;
        } else {
            r->pending_clean = was_clean && index > 0;
        }
    }
    /* A gap in front of this file makes the one before it the last. */
    if (!r->stopped || r->result.fault.index == index) {
        r->last_index = index;
        r->last_bytes = s.good;
        r->result.last_index = index;
        r->result.last_bytes = s.good;
        r->result.last_is_empty = s.ours && !s.has_log_bytes;
        r->result.link_before_last = s.before_is_known ? s.before_chain : 0;
    }
    if (r->stopped && r->result.fault.index != index)
        r->chain = s.before_chain; /* its head does not count */
    r->result.clean = s.ours && r->pending_clean && !r->stopped && !r->result.foreign_tail;
    record_reader_close(&s.rr);
    mem_free(s.commands);
    mem_free(s.groups);
}

void recovery_finish(struct recovery *r, struct recovery_result *ret_result) {
    struct recovery_result *res = &r->result;
    res->durable = r->stated_durable;
    res->link = r->link_is_known ? r->chain : 0;
    forget_synced(r);
    res->unsynced_index = r->unsynced_count > 0 ? r->unsynced[0].index : res->files;
    res->unsynced_bytes = r->unsynced_count > 0 ? r->unsynced[0].start : 0;
    if (r->stopped) {
        res->clean = false;
        bool was_durable;
        if (!r->is_unanchored)
            was_durable = r->stated_durable > r->fault_offset;
        else if (r->has_begin)
            was_durable = r->stated_durable > r->begin_offset;
        else
            was_durable = r->stated_durable >= r->lowest_offset;
        if (res->verdict == RECOVERY_TORN && (r->is_hard || was_durable))
            res->verdict = RECOVERY_CORRUPT;
    }
    *ret_result = *res;
}
