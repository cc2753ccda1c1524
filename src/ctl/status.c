#include "store/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/row.h"
#include "store/queue.h"

/* When it cannot be seen who holds the lock, the daemon's own word is taken. */
static bool is_alive(pid_t daemon, const struct status *s)
{
    return daemon > 0 || (daemon < 0 && s->ran && s->stopped_at < 0);
}

/* A daemon that is alive and does nothing is as bad as a dead one. */
static bool is_healthy(const struct ctl *ctl, const struct status *s, pid_t daemon, int64_t now)
{
    int64_t interval = ctl->config ? ctl->config->sync_interval : 0;

    return is_alive(daemon, s) && strcmp(s->cycle_outcome, "ok") == 0 &&
           !status_is_late(s, interval, now);
}

static void add_daemon(struct row *row, const struct status *s, pid_t daemon, int64_t now)
{
    bool ended = daemon == 0 && s->stopped_at >= 0;

    row_text(row, "daemon",
             daemon > 0   ? "alive"
             : daemon < 0 ? "cannot be told"
             : !s->ran    ? "never ran"
             : ended      ? "stopped"
                          : "died");
    row_count(row, "pid", daemon > 0 ? daemon : -1);
    row_text(row, "version", s->version);
    row_time(row, "started_at", s->started_at);
    row_time(row, "stopped_at", s->stopped_at);
    row_time(row, "cycle_began_at", s->cycle_began_at);
    row_time(row, "cycle_ended_at", s->cycle_ended_at);
    row_text(row, "cycle_outcome", s->cycle_outcome);
    row_count(row, "lag_seconds",
              s->covered_to < 0 || now < s->covered_to ? -1 : (now - s->covered_to) / 1000);
}

static void add_ledger(struct row *row, const struct status *s,
                       const struct status_revisions *revisions,
                       const struct status_lateness *lateness)
{
    row_time(row, "covered_from", s->covered_from);
    row_time(row, "covered_to", s->covered_to);
    row_integer(row, "coverage_gaps", s->gaps);
    row_count(row, "backfill_percent", s->backfill_percent);
    row_integer(row, "open_orders", s->orders[VERDICT_PENDING]);
    row_integer(row, "charged", s->orders[VERDICT_CHARGED]);
    row_integer(row, "double_charged", s->orders[VERDICT_DOUBLE_CHARGED]);
    row_integer(row, "reversed", s->orders[VERDICT_REVERSED]);
    row_integer(row, "not_charged", s->orders[VERDICT_NOT_CHARGED]);
    row_integer(row, "needs_review", s->orders[VERDICT_NEEDS_REVIEW]);
    row_integer(row, "revisions", revisions->all);
    row_integer(row, "critical_revisions", revisions->critical);
    row_integer(row, "quarantined", s->quarantined);
    row_count(row, "late_median_seconds", lateness->median);
    row_count(row, "late_p99_seconds", lateness->p99);
    row_count(row, "late_max_seconds", lateness->max);
    row_count(row, "absence_grace_seconds", s->absence_grace < 0 ? -1 : s->absence_grace / 1000);
}

/* NULL where this user cannot look. */
static void add_queue(struct ctl *ctl, struct row *row)
{
    _cleanup_(db_close_p) struct db *queue = ctl_peek_queue(ctl);
    struct queue_depth depth = {-1, -1, -1, -1};

    if (queue)
        queue_depth(queue, &depth, NULL);
    row_count(row, "queue_orders", depth.orders);
    row_count(row, "queue_claims", depth.claims);
    row_count(row, "queue_sessions", depth.sessions);
    row_count(row, "queue_resolutions", depth.resolutions);
}

static void add_api(struct row *row, const struct status *s)
{
    row_integer(row, "requests_last_minute", s->requests_last_minute);
    row_count(row, "requests_limit", s->ran ? s->rate_limit : -1);
    row_integer(row, "lookback_stretched", s->stretched);
    row_integer(row, "sessions_waiting", s->sessions_waiting);
    row_text(row, "api_state", s->api_state);
    row_time(row, "api_checked_at", s->api_checked_at);
    row_text(row, "vault_state", s->vault_state);
}

int verb_status(struct ctl *ctl)
{
    _cleanup_(writer_free_p) struct writer *writer = NULL;
    _cleanup_(db_close_p) struct db *ledger = NULL;
    struct row row = {0};
    struct report_sink sink;
    struct status_revisions revisions = {0};
    struct status_lateness lateness;
    struct status s;
    struct error err;
    int64_t now = clock_now(ctl->clock);
    pid_t daemon;
    int status, r;

    status = ctl_open_ledger(ctl, &ledger);
    if (status == CTL_DONE)
        status = ctl_writer(ctl, WRITER_RECORD, &writer);
    if (status != CTL_DONE)
        return status;
    if (status_read(ledger, now, &s, &err) < 0 ||
        status_count_revisions(ledger, &revisions, &err) < 0 ||
        status_read_lateness(ledger, &lateness, &err) < 0)
        return ctl_fail(EX_IOERR, &err);
    daemon = ctl_daemon(db_path(ledger));
    row_integer(&row, "healthy", is_healthy(ctl, &s, daemon, now));
    add_daemon(&row, &s, daemon, now);
    add_ledger(&row, &s, &revisions, &lateness);
    add_queue(ctl, &row);
    add_api(&row, &s);
    sink = writer_sink(writer);
    r = row_send(&row, true, &sink);
    if (r < 0)
        return ctl_say(EX_IOERR, "cannot write: %s", strerror(-r));
    return ctl_finish(writer, is_healthy(ctl, &s, daemon, now) ? CTL_DONE : CTL_NO);
}
