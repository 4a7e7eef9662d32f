#include "config.h"

#include <string.h>

#include "server/base/clock.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/engine/engine_int.h"

/* The engine's cycle hooks and its periodic work. */

void engine_after_wake(struct engine *e) {
    e->now_us = clock_mono_us();
    e->now_ms = clock_wall_ms();
    keyspace_set_now_ms(e->ks, e->now_ms);
    engine_note_log_state(e);
}

void engine_before_sleep(struct engine *e) {
    if (e->inflight.ring_count != 0 || e->inflight.all_offset != 0)
        inflight_prune(&e->inflight, changelog_released(e->log));
    block_check_all(e);
    engine_write_clients(e);
    if (e->closing_count > 0 && e->busy_depth == 0)
        engine_free_closed(e);
    if (e->late_count > 0)
        engine_accept_late(e);
    if (e->ready_count > 0)
        loop_dont_wait(e->loop);
}

static void pin(struct engine *e, const struct call *running, int by) {
    for (size_t i = 0; i < e->batch_count; i++)
        e->batch[i]->pinned = (uint8_t)(e->batch[i]->pinned + by);
    running->client->pinned = (uint8_t)(running->client->pinned + by);
}

/* From inside a command (DEBUG RELOAD) this is a cycle within a cycle: the requests of the outer group stay where they
 * are, so their clients are left alone, nobody is freed, and what the engine knows of the running command comes back
 * afterwards. */
void engine_serve_while_busy(struct engine *e) {
    struct call *running = e->call;
    if (running == NULL) {
        loop_run_once(e->loop, 0);
        return;
    }
    struct group *group = e->group;
    const bool in_exec = e->in_exec, exec_wrote = e->exec_wrote, log_active = e->log_active;
    const uint64_t read_offset = e->read_offset;
    struct client *busy_client = e->busy_client;
    e->busy_client = running->client;
    pin(e, running, 1);
    e->busy_depth++;
    e->group = mem_calloc(1, sizeof *e->group);
    e->in_exec = e->exec_wrote = false;
    loop_run_once(e->loop, 0);
    mem_free(e->group);
    e->group = group;
    e->in_exec = in_exec;
    e->exec_wrote = exec_wrote;
    e->log_active = log_active;
    e->read_offset = read_offset;
    e->call = running;
    e->busy_depth--;
    pin(e, running, -1);
    e->busy_client = busy_client;
}

/* ---- expiry ---- */

/* Due keys are few most of the time: then this costs one comparison. When many are due, active-expire-effort sets the
 * share of time they may take. */
static void expire(struct engine *e, int64_t period_ms) {
    if (!e->active_expire || e->loading || e->following || e->pause_until_ms != 0)
        return;
    int64_t next = keyspace_next_deadline_ms(e->ks);
    if (next < 0 || next > e->now_ms)
        return;
    int64_t budget_us = period_ms * 1000 * (20 + 5 * e->options.active_expire_effort) / 100;
    int64_t start = clock_mono_ns();
    keyspace_expire_due(e->ks, budget_us);
    e->stats.expire_ns += (uint64_t)(clock_mono_ns() - start);
    next = keyspace_next_deadline_ms(e->ks);
    e->stats.expire_lag_ms = next >= 0 && next < e->now_ms ? e->now_ms - next : 0;
    if (e->stats.expire_lag_ms > 0)
        e->stats.expire_cap_reached++;
}

/* ---- clients ---- */

static void check_client(struct engine *e, struct client *cl) {
    int64_t idle_us = e->now_us - cl->last_active_us;
    if (e->options.timeout_s > 0 &&
        !(cl->flags & (CLIENT_REPLICA | CLIENT_PRIMARY | CLIENT_BLOCKED | CLIENT_PAUSED | CLIENT_PUBSUB)) &&
        idle_us > e->options.timeout_s * 1000000) {
        log_verbose("Closing idle client");
        client_close_asap(cl);
        return;
    }
    client_check_output_limit(cl);
}

static int64_t maxmemory_clients_bytes(const struct engine *e) {
    int64_t limit = e->options.maxmemory_clients;
    if (limit < 0)
        limit = (int64_t)(e->maxmemory_bytes / 100 * (uint64_t)-limit);
    return limit;
}

/* Disconnects the clients that hold most until all together are below maxmemory-clients. */
static void evict_clients(struct engine *e) {
    int64_t limit = maxmemory_clients_bytes(e);
    if (limit <= 0)
        return;
    size_t total = engine_clients_memory(e);
    while (total > (uint64_t)limit) {
        struct client *worst = NULL;
        for (size_t i = 0; i < e->client_count; i++) {
            struct client *cl = e->clients[i];
            if (cl->flags & (CLIENT_NO_EVICT | CLIENT_CLOSE_ASAP | CLIENT_REPLICA | CLIENT_PRIMARY))
                continue;
            if (worst == NULL || client_memory_bytes(cl) > client_memory_bytes(worst))
                worst = cl;
        }
        if (worst == NULL)
            return;
        struct buf b = BUF_INIT;
        client_describe(worst, &b);
        log_notice("Evicting client: %.*s", (int)b.len, b.data);
        buf_deinit(&b);
        total -= client_memory_bytes(worst);
        e->stats.evicted_clients++;
        client_close_asap(worst);
    }
}

static void clients_cron(struct engine *e, int64_t period_ms) {
    /* All clients are looked at once a second. */
    size_t n = (size_t)((int64_t)e->client_count * period_ms / 1000) + 5;
    if (n > e->client_count)
        n = e->client_count;
    for (size_t i = 0; i < n; i++) {
        if (e->cron_client >= e->client_count)
            e->cron_client = 0;
        struct client *cl = e->clients[e->cron_client++];
        if (!(cl->flags & CLIENT_CLOSE_ASAP))
            check_client(e, cl);
    }
    evict_clients(e);
}

/* ---- rates ---- */

static void sample_rates(struct engine *e) {
    int64_t passed = e->now_us - e->rate_last.at_us;
    if (passed < 100000)
        return;
    struct loop_stats ls;
    loop_stats(e->loop, &ls);
    struct engine_rates *r = &e->rate_ring[e->rate_index];
    e->rate_index = (e->rate_index + 1) % 16;
    uint64_t cycles = ls.cycles - e->rate_last.cycles;
    r->ops_per_s = (e->stats.commands - e->rate_last.ops) * 1000000 / (uint64_t)passed;
    r->in_bytes_per_s = (e->stats.net_in - e->rate_last.in) * 1000000 / (uint64_t)passed;
    r->out_bytes_per_s = (e->stats.net_out - e->rate_last.out) * 1000000 / (uint64_t)passed;
    r->cycles_per_s = cycles * 1000000 / (uint64_t)passed;
    r->cycle_us = cycles ? (ls.busy_us - e->rate_last.busy_us) / cycles : 0;
    if (e->rate_last.at_us == 0 || e->stats.commands < e->rate_last.ops)
        memset(r, 0, sizeof *r);
    e->rate_last.ops = e->stats.commands;
    e->rate_last.in = e->stats.net_in;
    e->rate_last.out = e->stats.net_out;
    e->rate_last.cycles = ls.cycles;
    e->rate_last.busy_us = ls.busy_us;
    e->rate_last.at_us = e->now_us;
}

void engine_rates(const struct engine *e, struct engine_rates *ret_rates) {
    memset(ret_rates, 0, sizeof *ret_rates);
    for (int i = 0; i < 16; i++) {
        ret_rates->ops_per_s += e->rate_ring[i].ops_per_s;
        ret_rates->in_bytes_per_s += e->rate_ring[i].in_bytes_per_s;
        ret_rates->out_bytes_per_s += e->rate_ring[i].out_bytes_per_s;
        ret_rates->cycles_per_s += e->rate_ring[i].cycles_per_s;
        ret_rates->cycle_us += e->rate_ring[i].cycle_us;
    }
    ret_rates->ops_per_s /= 16;
    ret_rates->in_bytes_per_s /= 16;
    ret_rates->out_bytes_per_s /= 16;
    ret_rates->cycles_per_s /= 16;
    ret_rates->cycle_us /= 16;
}

/* ---- cron ---- */

int64_t engine_cron(struct engine *e) {
    int64_t hz = e->options.hz;
    if (e->options.dynamic_hz)
        while (hz < 500 && e->client_count / (uint64_t)hz > 200)
            hz *= 2;
    int64_t period_ms = 1000 / hz;
    if (period_ms < 1)
        period_ms = 1;
    e->cron_runs++;
    size_t used = mem_used();
    if (used > e->stats.peak_memory)
        e->stats.peak_memory = used;
    if (e->cron_paused)
        return period_ms;
    block_check_pause(e, e->now_us / 1000);
    expire(e, period_ms);
    clients_cron(e, period_ms);
    if (e->options.activerehashing)
        keyspace_step(e->ks, 1000);
    if (e->maxmemory_bytes != 0)
        engine_evict(e);
    sample_rates(e);
    if (e->cron_runs % 50 == 0) {
        /* Peaks of the last five to ten seconds, as INFO reports them. */
        e->input_peak[1] = e->input_peak[0];
        e->input_peak[0] = 0;
        e->output_peak[1] = e->output_peak[0];
        e->output_peak[0] = 0;
    }
    e->stats.max_input = e->input_peak[0] > e->input_peak[1] ? e->input_peak[0] : e->input_peak[1];
    e->stats.max_output = e->output_peak[0] > e->output_peak[1] ? e->output_peak[0] : e->output_peak[1];
    return period_ms;
}

void engine_flush_and_close(struct engine *e, int64_t budget_ms) {
    int64_t until = clock_mono_us() + budget_ms * 1000;
    do {
        engine_write_clients(e);
    } while (e->writing_count > 0 && clock_mono_us() < until);
    for (size_t i = 0; i < e->client_count; i++)
        client_close_asap(e->clients[i]);
    engine_free_closed(e);
}
