#include "config.h"

#include "server/base/clock.h"
#include "server/base/mem.h"
#include "server/commands/persist_int.h"

/* INFO: the section Persistence, and what persist knows of Stats and Memory. */

static void loading_fields(const struct persist *p, struct buf *out) {
    uint64_t done = p->load_done, total = p->load_total;
    int64_t elapsed_s = (clock_mono_us() - p->load_started_us) / 1000000;
    info_field_i64(out, "loading_start_time", p->load_started_s);
    info_field_u64(out, "loading_total_bytes", total);
    info_field_u64(out, "loading_rdb_used_mem", 0);
    info_field_u64(out, "loading_loaded_bytes", done);
    info_field_f2(out, "loading_loaded_perc", total ? 100.0 * (double)done / (double)total : 0);
    info_field_i64(out, "loading_eta_seconds",
                   done ? (int64_t)((double)elapsed_s * (double)(total > done ? total - done : 0) / (double)done) : 1);
}

static void aof_fields(const struct persist *p, struct buf *out) {
    struct aof_stats a;
    aof_stats(p->aof, &a);
    info_field_i64(out, "aof_enabled", a.enabled);
    info_field_i64(out, "aof_rewrite_in_progress", a.rewrite_in_progress);
    info_field_i64(out, "aof_rewrite_scheduled", a.rewrite_scheduled || p->rewrite_later);
    info_field_i64(out, "aof_last_rewrite_time_sec", a.last_rewrite_time_s);
    info_field_i64(out, "aof_current_rewrite_time_sec", a.current_rewrite_time_s);
    info_field_str(out, "aof_last_bgrewrite_status", a.last_bgrewrite_ok ? "ok" : "err");
    info_field_u64(out, "aof_rewrites", a.rewrites);
    info_field_u64(out, "aof_rewrites_consecutive_failures", a.rewrites_consecutive_failures);
    info_field_str(out, "aof_last_write_status", a.last_write_ok && !a.broken ? "ok" : "err");
    info_field_u64(out, "aof_last_cow_size", a.last_cow_size_bytes);
    info_field_i64(out, "module_fork_in_progress", 0);
    info_field_i64(out, "module_fork_last_cow_size", 0);
    if (!a.enabled)
        return;
    info_field_i64(out, "aof_current_size", a.current_size_bytes);
    info_field_i64(out, "aof_base_size", a.base_size_bytes);
    info_field_i64(out, "aof_pending_rewrite", a.rewrite_scheduled);
    info_field_u64(out, "aof_buffer_length", a.buffer_length_bytes);
    info_field_u64(out, "aof_pending_bio_fsync", a.pending_sync);
    info_field_u64(out, "aof_delayed_fsync", a.delayed_fsync);
    info_field_u64(out, "aof_written_offset", a.written_offset);
    info_field_u64(out, "aof_durable_offset", a.durable_offset);
    info_field_u64(out, "aof_released_offset", a.released_offset);
    info_field_u64(out, "aof_exposures", a.exposures);
    info_field_u64(out, "aof_exposed_bytes", a.exposed_bytes);
    info_field_i64(out, "aof_last_fsync_usec", a.last_sync_us);
    info_field_i64(out, "aof_max_fsync_usec", a.max_sync_us);
}

static void section(void *ctx, struct buf *out) {
    const struct persist *p = ctx;
    struct child_stats st;
    child_stats(p->children, &st);
    bool saving = st.running == CHILD_SNAPSHOT || st.running == CHILD_REPLICATION;
    info_field_i64(out, "loading", p->loading && !p->load_async);
    info_field_i64(out, "async_loading", p->loading && p->load_async);
    info_field_u64(out, "current_cow_peak", st.cow_peak_bytes);
    info_field_u64(out, "current_cow_size", st.cow_bytes);
    info_field_i64(out, "current_cow_size_age", st.cow_age_s);
    info_field_f2(out, "current_fork_perc", st.percent);
    info_field_u64(out, "current_save_keys_processed", st.keys_done);
    info_field_u64(out, "current_save_keys_total", st.keys_total);
    info_field_u64(out, "rdb_changes_since_last_save", engine_dirty(p->engine));
    info_field_i64(out, "rdb_bgsave_in_progress", saving);
    info_field_i64(out, "rdb_last_save_time", p->last_save_s);
    info_field_str(out, "rdb_last_bgsave_status", p->last_bgsave_ok ? "ok" : "err");
    info_field_i64(out, "rdb_last_bgsave_time_sec", p->last_bgsave_time_s);
    info_field_i64(out, "rdb_current_bgsave_time_sec", saving ? (clock_mono_us() - st.started_mono_us) / 1000000 : -1);
    info_field_u64(out, "rdb_saves", p->saves);
    info_field_u64(out, "rdb_last_cow_size", p->last_cow_bytes);
    info_field_u64(out, "rdb_last_load_keys_expired", p->last_load_expired);
    info_field_u64(out, "rdb_last_load_keys_loaded", p->last_load_loaded);
    if (p->aof != NULL)
        aof_fields(p, out);
    if (p->loading)
        loading_fields(p, out);
}

static void stats_fields(void *ctx, struct buf *out) {
    const struct persist *p = ctx;
    struct child_stats st;
    child_stats(p->children, &st);
    info_field_i64(out, "latest_fork_usec", st.last_fork_us);
    info_field_u64(out, "total_forks", st.forks);
}

void persist_register_info(struct persist *p) {
    info_register(engine_info(p->engine), "Persistence", INFO_DEFAULT, section, p);
    info_register(engine_info(p->engine), "Stats", INFO_DEFAULT, stats_fields, p);
}
