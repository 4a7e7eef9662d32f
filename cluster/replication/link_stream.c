#include "config.h"

#include "cluster/replication/replication_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"

/* The primary's stream: requests are cut out of the buffer and executed; the bytes of a group enter the log with its
 * last request.
 *
 *   in:  | group_from … parsed | rest
 *
 * A group is a request, or MULTI with all up to EXEC. Nothing of a group is in the log before all of it is here, so a
 * link that breaks inside a transaction leaves the offset before its MULTI, and the primary sends it again. */

#define ARGV_STORE 64
#define BULK_BYTES_MAX (INT64_C(1) << 40) /* memory grows with what arrives, not with what is announced */

static void kill_link(void *ctx) {
    struct replication *r = ctx;
    r->link.kill_due = true;
    loop_dont_wait(r->loop);
}

void link_begin_stream(struct replication *r, int db) {
    struct link *l = &r->link;
    if (l->client == NULL)
        l->client = engine_client_create_primary(r->engine);
    if (db >= 0)
        l->client->db = (unsigned)db;
    changelog_set_db(r->log, (int)l->client->db);
    backlog_open(&r->backlog);
    resp_parser_init(&l->parser);
    l->group_from = l->parsed = 0;
    l->state = LINK_STREAM;
    l->kill_due = false;
    l->own_history = false;
    l->client->created_us = l->client->last_active_us = clock_mono_us();
    engine_set_primary_link(r->engine, l->client, l->conn, kill_link, r);
    l->io_us = clock_mono_us();
    l->acked_us = 0; /* the first acknowledgement goes out at once: it starts the stream behind a snapshot */
    l->last_error[0] = '\0';
    loop_dont_wait(r->loop);
}

void link_end_stream(struct replication *r) {
    struct link *l = &r->link;
    resp_parser_deinit(&l->parser);
    if (l->client != NULL)
        engine_follow_discard(l->client);
    l->group_from = l->parsed = 0;
}

static void note_failure(struct replication *r, struct slice command, const struct buf *error) {
    struct link *l = &r->link;
    l->stream_errors++;
    engine_stats(r->engine)->unexpected_error_replies++;
    if (l->stream_errors > 10 && l->stream_errors % 1000 != 0)
        return; /* the first say it */
    log_warning("== CRITICAL == This replica could not apply '%.*s' of its primary: %.*s. Its data may differ from the "
                "primary's (%" PRIu64 " such commands so far)",
                (int)(command.n > 64 ? 64 : command.n), command.p, (int)error->len, error->data, l->stream_errors);
}

static void run(struct replication *r, const struct resp_request *req) {
    struct link *l = &r->link;
    bool in_group = engine_follow_in_group(l->client);
    bool opens = !in_group && slice_is(req->argv[0], "multi");
    bool goes_on = opens || (in_group && !slice_is(req->argv[0], "exec") && !slice_is(req->argv[0], "discard"));
    struct slice group = slice_of(l->in.data + l->group_from, goes_on ? 0 : l->parsed - l->group_from);
    struct buf error = BUF_INIT;
    if (engine_follow(l->client, req->argv, req->argc, group, &error) != 0)
        note_failure(r, req->argv[0], &error);
    buf_deinit(&error);
    if (goes_on)
        return;
    engine_follow_discard(l->client);
    l->group_from = l->parsed;
    if (changelog_db(r->log) != (int)l->client->db)
        changelog_set_db(r->log, (int)l->client->db);
}

void link_take_stream(struct replication *r) {
    struct link *l = &r->link;
    const struct resp_limits limits = {INT32_MAX, BULK_BYTES_MAX, 65536};
    struct slice argv[ARGV_STORE];
    const char *fault = NULL;
    engine_follow_begin(r->engine);
    l->client->last_active_us = engine_now_us(r->engine);
    while (l->parsed < l->in.len) {
        struct resp_request req;
        size_t wanted = 0;
        if (l->in.data[l->parsed] != '*') {
            fault = "it is no request in the form of the protocol";
            break;
        }
        enum resp_parse got = resp_parse_request(&l->parser, &limits, l->in.data + l->parsed, l->in.len - l->parsed,
                                                 argv, ARGV_STORE, &req, &fault, &wanted);
        if (got == RESP_PARSE_MORE || got == RESP_PARSE_ERROR)
            break;
        if (got == RESP_PARSE_EMPTY || !req.canonical) {
            fault = got == RESP_PARSE_EMPTY ? "it is empty" : "it is not in canonical form";
            break;
        }
        l->parsed += req.consumed;
        run(r, &req);
    }
    engine_follow_end(r->engine);
    if (l->group_from > 0) {
        buf_consume(&l->in, l->group_from);
        l->parsed -= l->group_from;
        l->group_from = 0;
    }
    if (fault != NULL) {
        char text[200];
        snprintf(text, sizeof text, "the request behind offset %" PRIu64 " of the stream is garbage: %s",
                 changelog_sealed(r->log), fault);
        spool_clear(&l->spool);
        link_close(r, text);
    }
}
