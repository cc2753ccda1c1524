#include "daemon/manager.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "core/backoff.h"
#include "core/timestamp.h"
#include "daemon/journal.h"
#include "daemon/metrics.h"
#include "remote/http.h"
#include "remote/payapi.h"
#include "remote/vault.h"
#include "service/reconcile.h"
#include "service/revoke.h"
#include "service/sync.h"
#include "store/daemon_state.h"
#include "store/intake.h"
#include "store/ledger.h"
#include "store/orders.h"
#include "store/permits.h"
#include "store/queue.h"
#include "store/status.h"
#include "store/transactions.h"

enum {
    TICK_US = 200 * 1000,   /* a new row in the queue is noticed this soon */
    BUSY_PATIENCE_MS = 200, /* the loop must not stand still for a slow writer of the queue */
    BUSY_PAUSE_MS = 500,
    BUSY_REPORT_MS = 60 * 1000,
    DATABASE_PAUSE_MS = 5000, /* before a database that failed is tried again */
    WIPE_PAUSE_MS = 2000,
    ANSWER_PAUSE_MS = 11 * 60 * 1000, /* no try of a request is put off longer than this */
    LEARN_PAUSE_MS = 60 * 60 * 1000,
    CLOCK_SLACK_MS = 60 * 1000, /* a correction of the clock may set it ahead by a moment */
};

static const int64_t LEARN_FROM_MS = 30 * 86400000LL;

struct manager {
    struct manager_options options;
    const struct clock *clock, *boot;
    struct config *config;
    sd_event *event;
    sd_event_source *tick;
    sd_event_source *signals[4];
    uint64_t watchdog_us;      /* 0: nobody watches */
    uint64_t fed_us, asked_us; /* the watchdog; the question under way. Of the loop's clock */

    struct ledger *ledger;
    struct db *queue;
    struct http *http;
    struct payapi *payapi;
    struct vault *vault; /* NULL: not configured */
    struct sync *sync;
    struct revoke *revoke; /* NULL likewise */
    struct rate_budget *budget;

    struct sync_question question;
    int64_t sync_wake_at, revoke_wake_at;
    int64_t queue_version;
    bool offers_unknown; /* what an earlier process left is to be looked through */
    bool offers_stale;   /* leave to charge again is to be offered anew */
    bool undecided;      /* something changed that may change a verdict */
    int64_t decide_at;   /* not before */
    int64_t not_before;  /* a database failed */
    int64_t wipe_at;
    int64_t grace;    /* the configured one, or a longer one that was learned */
    int64_t learn_at; /* next */
    int64_t busy_report_at;
    int64_t latest, latest_boot; /* readings of the clocks */
    int64_t held_until;          /* passes that began earlier prove no absence */
    bool hold_unsaved;
    bool api_down;
    unsigned api_reports;
    int64_t api_report_at;
    unsigned pass_reports;
    int64_t pass_report_at;
    struct metrics *metrics; /* NULL: not asked for */
    int64_t metrics_at;      /* not before */
    bool metrics_failed;     /* the last writing of them */
    bool no_vault_said, showed_progress;
    bool revoke_failed, revoke_refused, database_failed;
};

static struct db *ledger_of(const struct manager *m)
{
    return ledger_db(m->ledger);
}

static uint64_t loop_time(const struct manager *m)
{
    uint64_t now = 0;

    sd_event_now(m->event, CLOCK_MONOTONIC, &now);
    return now;
}

static const char *const *list(const struct config_list *list)
{
    return (const char *const *)list->items;
}

static struct match_settings match_settings_of(const struct manager *m)
{
    const struct config *config = m->config;

    return (struct match_settings){
        .before = config->match_before,
        .after = config->match_after,
        .absence_grace = m->grace,
        .late_watch = config->match_late_watch,
        .accept_amount_only = config->match_accept_amount_only,
        .claims_complete = config->match_claims == CLAIMS_COMPLETE,
    };
}

static unsigned rate_share_of(const struct config *config)
{
    int64_t share = config->pay_rate_per_minute * config->pay_rate_share / 100;

    return share < 1 ? 1 : (unsigned)share;
}

/* A database that fails (disk full, say) is an emergency, but not a reason to die: what was asked
 * is asked again when it is itself again. A single cycle ends. */
static void database_trouble(struct manager *m, const struct error *err)
{
    int64_t now = clock_now(m->clock);
    bool busy = err->code == -EBUSY; /* an app holds on to the queue's write lock */

    if (!busy || now >= m->busy_report_at)
        journal_database(err->text);
    if (busy && now >= m->busy_report_at)
        m->busy_report_at = now + BUSY_REPORT_MS;
    m->not_before = now + (busy ? BUSY_PAUSE_MS : DATABASE_PAUSE_MS);
    m->database_failed = true;
    if (m->options.once)
        sd_event_exit(m->event, EX_IOERR);
}

/* For those who read the ledger. *ret_changed (may be NULL): it is not the one they know, also from
 * an earlier process. */
static int note_grace(struct manager *m, bool *ret_changed, struct error *err)
{
    char text[32], known[32];
    int r;

    snprintf(text, sizeof(text), "%" PRId64, m->grace);
    r = ledger_get_meta(ledger_of(m), "absence_grace_ms", known, sizeof(known), err);
    if (r == 0)
        r = ledger_set_meta(ledger_of(m), "absence_grace_ms", text, err);
    if (r == 0 && ret_changed)
        *ret_changed = strcmp(text, known) != 0;
    return r;
}

/* Where records are seen to come later than the grace allows for, absence is said later. */
static void learn_grace(struct manager *m)
{
    int64_t now = clock_now(m->clock), late, grace = m->config->match_absence_grace;
    struct error err = {0};
    bool changed = true;

    if (now < m->learn_at)
        return;
    m->learn_at = now + LEARN_PAUSE_MS;
    if (transactions_lateness(ledger_of(m), now - LEARN_FROM_MS, &late, &err) < 0) {
        database_trouble(m, &err);
        return;
    }
    if (late > m->config->match_late_watch)
        late = m->config->match_late_watch;
    if (late > grace)
        grace = timestamp_ceil_second(late);
    if (grace == m->grace)
        return;
    m->grace = grace;
    note_grace(m, &changed, NULL);
    if (changed)
        journal_grace(m->config->match_absence_grace, grace);
    if (m->sync)
        sync_set_grace(m->sync, grace);
}

/* --- verdicts ------------------------------------------------------------------------------- */

static int on_leaving(const char *order_id, void *userdata, struct error *err)
{
    struct manager *m = userdata;

    m->offers_stale = true; /* also if the verdict is not replaced after all */
    return permits_withdraw(m->queue, order_id, err);
}

static void on_verdict(const struct verdict_change *change, void *userdata)
{
    struct manager *m = userdata;

    m->offers_stale = true;
    journal_verdict(change);
}

/* After a verdict, and after rows in the queue that took an offer back before they were taken in;
 * but not while a verdict may have to go: what a matching that failed has withdrawn stays so. */
static void refresh_offers(struct manager *m)
{
    struct error err = {0};

    if (!m->offers_stale || m->undecided)
        return;
    if (permits_refresh(ledger_of(m), m->queue, m->offers_unknown, clock_now(m->clock), &err) < 0)
        database_trouble(m, &err);
    else
        m->offers_stale = m->offers_unknown = false;
}

static void decide(struct manager *m)
{
    struct match_settings settings = match_settings_of(m);
    const struct reconcile_listener listener = {on_leaving, on_verdict, m};
    int64_t before = clock_now(m->clock), after;
    struct error err = {0};

    if (!m->undecided || before < m->decide_at)
        return;
    if (reconcile_run(ledger_of(m), &settings, before, &listener, &err) < 0) {
        database_trouble(m, &err);
        return;
    }
    m->undecided = false;
    after = clock_now(m->clock);
    /* Thousands of open orders must not keep the loop from the rest of its work. */
    m->decide_at = after - before > 50 ? after + 4 * (after - before) : 0;
}

/* --- the queue ------------------------------------------------------------------------------ */

static void take_in(struct manager *m)
{
    int64_t version = db_data_version(m->queue);
    struct intake_counts counts = {0};
    struct error err = {0};
    int r;

    if (version == m->queue_version)
        return;
    m->revoke_wake_at = 0;
    if (m->revoke)
        revoke_poke(m->revoke);
    r = intake_run(ledger_of(m), m->queue, ledger_email_key(m->ledger), clock_now(m->clock),
                   &counts, &err);
    journal_intake(&counts);
    if (counts.attempts || counts.claims || counts.resolutions) {
        m->undecided = true;
        m->decide_at = 0;
    }
    m->offers_stale = true; /* a row takes an offer back, also one that is gone again */
    if (counts.attempts || counts.sync_requests)
        m->sync_wake_at = 0;
    if (counts.sync_requests)
        sync_poke(m->sync, true);
    if (r < 0) {
        database_trouble(m, &err);
        return;
    }
    m->queue_version = version;
}

/* --- the Pay API ---------------------------------------------------------------------------- */

static int64_t on_rate_wait(enum rate_priority priority, void *userdata)
{
    struct manager *m = userdata;

    return rate_budget_wait(m->budget, priority, clock_now(m->clock));
}

/* Asked before each HTTP request; a request counts from before it is made, also across a death. */
static int64_t on_gate(enum rate_priority priority, void *userdata)
{
    struct manager *m = userdata;
    int64_t now = clock_now(m->clock);
    int64_t wait = rate_budget_wait(m->budget, priority, now);
    struct error err = {0};
    int r;

    if (wait > 0)
        return wait;
    r = rate_log_note(ledger_of(m), now, &err);
    if (r < 0) {
        database_trouble(m, &err);
        return r;
    }
    rate_budget_note(m->budget, now);
    return 0;
}

/* Work that must not keep the daemon from its own: what fails is told, once, and what takes long is
 * done less often. */
static void write_metrics(struct manager *m, bool running)
{
    const struct metrics_scene scene = {
        .merchant_id = m->config->merchant_id,
        .ledger = ledger_of(m),
        .queue = m->queue,
        .budget = m->budget,
        .running = running,
    };
    int64_t before = clock_now(m->clock), after;
    struct error err = {0};
    int r;

    if (!m->metrics || (running && before < m->metrics_at))
        return;
    r = metrics_write(m->metrics, m->config->metrics_path, &scene, before, &err);
    if (r < 0 && !m->metrics_failed)
        journal_metrics(err.text);
    m->metrics_failed = r < 0;
    after = clock_now(m->clock);
    m->metrics_at = after > before ? after + 20 * (after - before) : after;
}

static void report_api(struct manager *m, bool down, const char *what)
{
    int64_t now = clock_now(m->clock);

    if (down && (!m->api_down || now >= m->api_report_at)) {
        /* Once when it begins, then at growing intervals. */
        journal_api_trouble(what);
        m->api_reports = m->api_down ? m->api_reports + 1 : 0;
        m->api_report_at = now + backoff_delay(60 * 1000, m->api_reports, 60 * 60 * 1000);
        daemon_state_api(ledger_of(m), what, now, NULL);
    }
    if (!down && m->api_down)
        journal_api_recovered();
    if (!down && (m->api_down || m->api_report_at == 0)) {
        daemon_state_api(ledger_of(m), "ok", now, NULL);
        m->api_report_at = now;
    }
    m->api_down = down;
}

/* The same: a window that is not understood will be asked for again and again. */
static void report_pass(struct manager *m, const struct sync_news *news)
{
    int64_t now = clock_now(m->clock);

    if (news->pass_ended && !*news->text)
        m->pass_reports = 0;
    if (!*news->text || (m->pass_reports > 0 && now < m->pass_report_at))
        return;
    journal_pass(news);
    m->pass_report_at = now + backoff_delay(60 * 1000, m->pass_reports++, 60 * 60 * 1000);
}

static void show_progress(struct manager *m)
{
    struct sync_progress progress;
    int64_t records;

    if (!m->options.once || !isatty(STDERR_FILENO) ||
        sync_get_progress(m->sync, &progress, NULL) < 0 || progress.edge <= progress.origin ||
        db_value(ledger_of(m), &records, 0, NULL, "SELECT count(*) FROM transactions", "") < 0)
        return;
    fprintf(stderr, "\rhistory %3" PRId64 " %%, %" PRId64 " records ",
            100 - progress.history_left * 100 / (progress.edge - progress.origin), records);
    m->showed_progress = true;
}

static enum sync_answer_kind answer_kind(enum payapi_outcome outcome)
{
    switch (outcome) {
    case PAYAPI_PAGE:
        return SYNC_PAGE;
    case PAYAPI_UNREACHABLE:
        return SYNC_UNREACHABLE;
    case PAYAPI_FAILED:
    case PAYAPI_STOPPED:
        return SYNC_FAILED;
    case PAYAPI_REFUSED:
        return SYNC_REFUSED;
    case PAYAPI_REJECTED:
    case PAYAPI_NOT_UNDERSTOOD:
        break;
    }
    return SYNC_NOT_UNDERSTOOD;
}

static void pump(struct manager *m);

static void on_page(struct payapi_answer *answer, void *userdata)
{
    struct manager *m = userdata;
    struct sync_answer to_sync = {
        .kind = answer_kind(answer->outcome),
        .page = answer->page,
        .status = answer->status,
        .text = answer->text,
    };
    struct sync_news news = {0};
    struct error err = {0};

    m->sync_wake_at = 0;
    metrics_count_request(m->metrics, answer->outcome);
    if (answer->outcome == PAYAPI_STOPPED) { /* the ledger would not take the request's note */
        sync_forget_question(m->sync);
        return;
    }
    if (sync_answer(m->sync, &to_sync, &news, &err) < 0) {
        database_trouble(m, &err);
        return;
    }
    if (to_sync.kind == SYNC_PAGE) {
        report_api(m, false, NULL);
        report_pass(m, &news);
    } else {
        report_api(m, true, answer->text);
        write_metrics(m, true);
    }
    if (news.vanished)
        journal_vanished(news.vanished);
    if (news.new_bad_records)
        journal_quarantined(&m->question, news.new_bad_records);
    if (news.new_records || news.pass_ended || news.vanished)
        m->undecided = true;
    show_progress(m);
    pump(m);
}

static void report_cycle(struct manager *m, const char *outcome)
{
    struct sync_progress progress;
    int64_t now = clock_now(m->clock), sessions = 0;
    char lag[32] = "nothing is proven yet";
    struct status status;
    struct error err = {0};
    int r;

    r = sync_get_progress(m->sync, &progress, &err);
    if (r == 0)
        r = sessions_count(m->queue, &sessions, &err);
    if (r == 0)
        r = daemon_state_cycle(ledger_of(m), progress.cycle_began_at, now, outcome, progress.edge,
                               progress.origin, progress.stretched, sessions, &err);
    if (r == 0)
        r = status_read(ledger_of(m), now, &status, &err);
    if (r < 0) {
        database_trouble(m, &err);
        return;
    }
    if (status.covered_to >= 0)
        snprintf(lag, sizeof(lag), "%" PRId64 " s behind", (now - status.covered_to) / 1000);
    if (!m->config->vault_url && sessions > 0 && !m->no_vault_said) {
        journal_no_vault(sessions);
        m->no_vault_said = true;
    }
    sd_notifyf(0,
               "STATUS=%s; %s; %" PRId64 " order(s) pending, %" PRId64
               " to review, %u of %u requests this minute",
               strcmp(outcome, "ok") == 0 ? "in step with the API" : outcome, lag,
               status.orders[VERDICT_PENDING], status.orders[VERDICT_NEEDS_REVIEW],
               rate_budget_used(m->budget, now), rate_budget_limit(m->budget));
}

static void pump_sync(struct manager *m)
{
    struct payapi_question question;
    int64_t now = clock_now(m->clock), wait;
    struct error err = {0};
    const char *outcome;
    int r;

    if (payapi_busy(m->payapi) || now < m->sync_wake_at)
        return;
    r = sync_next(m->sync, &m->question, &wait, &err);
    if (sync_take_cycle_end(m->sync, &outcome)) {
        m->undecided = true; /* time has passed: a grace may be over */
        learn_grace(m);
        report_cycle(m, outcome);
        write_metrics(m, true);
    }
    if (r < 0) {
        database_trouble(m, &err);
        return;
    }
    if (r == 0) {
        m->sync_wake_at = wait == INT64_MAX ? INT64_MAX : now + wait;
        return;
    }
    question = (struct payapi_question){
        .from = m->question.from,
        .to = m->question.to,
        .page = m->question.page,
        .priority = m->question.priority,
    };
    m->asked_us = loop_time(m);
    r = payapi_list(m->payapi, &question, on_page, m);
    if (r < 0) {
        sync_forget_question(m->sync);
        m->sync_wake_at = now + DATABASE_PAUSE_MS;
        log_error("Pay API: the request could not be made: %s", strerror(-r));
    }
}

/* --- the Vault ------------------------------------------------------------------------------ */

static enum revoke_answer_kind revocation_kind(enum vault_outcome outcome)
{
    switch (outcome) {
    case VAULT_REVOKED:
        return REVOKE_DONE;
    case VAULT_GONE:
        return REVOKE_GONE;
    case VAULT_REFUSED:
        return REVOKE_REFUSED;
    case VAULT_LATER:
        return REVOKE_LATER;
    case VAULT_FAILED:
    case VAULT_REJECTED:
        break;
    }
    return REVOKE_FAILED;
}

static void on_revoked(const struct vault_answer *answer, void *userdata)
{
    struct revocation_task *task = userdata;
    struct manager *m = revoke_task_userdata(task);
    struct revoke_answer to_revoke = {
        .kind = revocation_kind(answer->outcome),
        .status = answer->status,
        .wait_ms = answer->wait_ms,
        .text = answer->text,
    };
    struct revoke_news news;
    struct error err = {0};

    m->revoke_wake_at = 0;
    if (revoke_answer(m->revoke, task, &to_revoke, &news, &err) < 0) {
        database_trouble(m, &err);
        return;
    }
    m->revoke_refused |= to_revoke.kind == REVOKE_REFUSED;
    m->revoke_failed |= news.outcome == REVOCATION_WAITING;
    metrics_count_session(m->metrics, news.outcome);
    journal_revocation(&news, &to_revoke);
    daemon_state_vault(
        ledger_of(m),
        to_revoke.kind == REVOKE_DONE || to_revoke.kind == REVOKE_GONE ? "ok" : answer->text,
        clock_now(m->clock), NULL);
    pump(m);
}

static void pump_revoke(struct manager *m)
{
    int64_t now = clock_now(m->clock), wait = 0;
    struct revocation_task *task;
    struct secret *key;
    struct error err = {0};
    int r = 1;

    if (!m->revoke || now < m->revoke_wake_at)
        return;
    while (r > 0) {
        r = revoke_next(m->revoke, &task, &key, &wait, &err);
        if (r <= 0)
            break;
        r = vault_revoke(m->vault, key, on_revoked, task);
        secret_free(key);
        if (r < 0) {
            struct revoke_answer failed = {.kind = REVOKE_FAILED, .text = strerror(-r)};
            struct revoke_news news;

            revoke_answer(m->revoke, task, &failed, &news, &err);
            break;
        }
        r = 1;
    }
    if (r < 0) {
        database_trouble(m, &err);
        return;
    }
    m->revoke_wake_at = now + wait;
}

static void wipe_keys(struct manager *m)
{
    int64_t now = clock_now(m->clock);
    struct error err = {0};

    if (!m->revoke || !revoke_unwiped(m->revoke) || now < m->wipe_at || !revoke_idle(m->revoke))
        return;
    /* Busy (the app reads or writes) is ordinary: it is tried again. A large queue is not rewritten
     * so often that it keeps the disk from other work. */
    revoke_wipe(m->revoke, &err);
    m->wipe_at = now + WIPE_PAUSE_MS + 20 * (clock_now(m->clock) - now);
}

/* --- the loop ------------------------------------------------------------------------------- */

static int finish_once(struct manager *m)
{
    struct sync_tally tally;

    sync_get_tally(m->sync, &tally);
    if (m->database_failed)
        return EX_IOERR;
    if (tally.refused || m->revoke_refused)
        return EX_NOPERM;
    if (tally.not_understood || tally.quarantined)
        return EX_PROTOCOL;
    if (tally.unreachable || tally.failed || tally.drifted || m->revoke_failed)
        return EX_TEMPFAIL;
    return EX_OK;
}

/* When the clock is set ahead, a grace seems to be over that is not. Whether it is right now or was
 * before, once a whole grace has passed in any case, that of every attempt made until then has. */
static void watch_clock(struct manager *m, int64_t now)
{
    int64_t boot = clock_now(m->boot);
    int64_t moved = now - m->latest, passed = boot - m->latest_boot;
    int64_t wait = m->grace > m->config->match_after ? m->grace : m->config->match_after;
    bool ahead = moved > passed + CLOCK_SLACK_MS;

    if (now < m->latest) /* it was set back: no wait may become longer by it */
        m->sync_wake_at = m->revoke_wake_at = m->not_before = m->decide_at = m->wipe_at =
            m->metrics_at = 0;
    if (ahead || m->held_until > now + wait) {
        m->held_until = now + wait;
        m->hold_unsaved = true;
    }
    if (ahead)
        journal_clock(moved, passed, m->held_until);
    m->latest = now;
    m->latest_boot = boot;
}

static int save_hold(struct manager *m)
{
    struct error err = {0};
    int r = 0;

    if (m->hold_unsaved)
        r = absence_hold(ledger_of(m), m->held_until, &err);
    if (r < 0)
        database_trouble(m, &err);
    else
        m->hold_unsaved = false;
    return r;
}

static void pump(struct manager *m)
{
    int64_t now = clock_now(m->clock);

    watch_clock(m, now);
    if (now < m->not_before || save_hold(m) < 0)
        return;
    take_in(m);
    decide(m);
    refresh_offers(m);
    pump_sync(m);
    pump_revoke(m);
    wipe_keys(m);
    if (m->options.once && sync_idle(m->sync) && (!m->revoke || revoke_idle(m->revoke))) {
        m->undecided = true;
        m->decide_at = 0;
        decide(m);
        refresh_offers(m);
        sd_event_exit(m->event, finish_once(m));
    }
}

/* A question may wait for its share of the rate, for each try's timeout and backoff, and for what
 * 429 asks; one that outlasts all of that is lost, and so is every question behind it. */
static bool work_advances(const struct manager *m)
{
    int64_t tries = m->config->pay_retries + PAYAPI_MAX_429 + 1;
    int64_t limit = tries * (m->config->pay_timeout + ANSWER_PAUSE_MS);

    return !payapi_busy(m->payapi) || loop_time(m) - m->asked_us < (uint64_t)limit * 1000;
}

/* systemd ends and restarts a daemon whose loop stands still, or turns without getting anywhere. */
static void feed_watchdog(struct manager *m)
{
    uint64_t now = loop_time(m);

    if (m->watchdog_us == 0 || now - m->fed_us < m->watchdog_us / 4 || !work_advances(m))
        return;
    sd_notify(0, "WATCHDOG=1");
    m->fed_us = now;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct manager *m = userdata;

    (void)usec;
    pump(m);
    feed_watchdog(m);
    sd_event_source_set_time_relative(source, TICK_US);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* The parts that the configuration shapes. What is under way is dropped and will be asked again:
 * cursors are in the ledger. */
static void free_parts(struct manager *m)
{
    m->payapi = payapi_free(m->payapi);
    m->vault = vault_free(m->vault);
    m->sync = sync_free(m->sync);
    m->revoke = revoke_free(m->revoke);
}

static int make_payapi(struct manager *m)
{
    const struct config *c = m->config;
    const struct payapi_settings settings = {
        .url = c->pay_url,
        .merchant_id = c->merchant_id,
        .api_key = c->merchant_api_key,
        .timeout_ms = c->pay_timeout,
        .retries = (unsigned)c->pay_retries,
        .page_size = (unsigned)c->pay_page_size,
        .max_body = (size_t)c->pay_max_body,
        .codec = {.order_ref = list(&c->match_order_ref),
                  .original_ref = list(&c->match_original_ref),
                  .keep_raw = c->ledger_keep_raw,
                  .email_key = ledger_email_key(m->ledger)},
    };

    return payapi_new(m->event, m->http, m->clock, &settings, on_gate, m, &m->payapi);
}

static int make_vault(struct manager *m)
{
    const struct config *c = m->config;
    const struct vault_settings settings = {
        .url = c->vault_url,
        .method = c->vault_method,
        .path = c->vault_path,
        .api_key = c->vault_api_key,
        .timeout_ms = c->vault_timeout,
        .retries = (unsigned)c->vault_retries,
    };
    int r;

    if (!c->vault_url)
        return 0;
    r = vault_new(m->event, m->http, m->clock, &settings, &m->vault);
    return r < 0 ? r
                 : revoke_new(ledger_of(m), m->queue, m->clock, c->sessions_idle_timeout,
                              (size_t)c->vault_concurrency, m, &m->revoke);
}

/* A ledger holds the transactions of one merchant. */
static int check_merchant(struct manager *m, const struct config *config, struct error *err)
{
    char known[128];
    int64_t used = 0;
    int r;

    r = ledger_get_meta(ledger_of(m), "merchant_id", known, sizeof(known), err);
    if (r == 0)
        r = ledger_is_used(ledger_of(m), &used, err);
    if (r < 0)
        return r;
    if (used && *known && strcmp(known, config->merchant_id) != 0)
        return error_set(err, -EINVAL,
                         "%s holds the transactions of merchant %s, and [merchant] id is %s: give "
                         "each merchant a ledger of its own",
                         config->ledger_path, known, config->merchant_id);
    return ledger_set_meta(ledger_of(m), "merchant_id", config->merchant_id, err);
}

static int make_sync(struct manager *m, struct error *err)
{
    const struct config *c = m->config;
    char source[2048];
    const struct sync_settings settings = {
        .interval = c->sync_interval,
        .fast_interval = c->sync_fast_interval,
        .backfill = c->sync_backfill,
        .overlap = c->sync_overlap,
        .deep_overlap = c->sync_deep_overlap,
        .deep_interval = c->sync_deep_interval,
        .edge_lag = c->sync_edge_lag,
        .before = c->match_before,
        .after = c->match_after,
        .absence_grace = m->grace,
        .requests_per_minute = rate_share_of(c),
        .source = source,
        .page_size = (unsigned)c->pay_page_size,
        .unsettled = list(&c->match_unsettled),
        .once = m->options.once,
    };

    snprintf(source, sizeof(source), "%s %s", c->merchant_id, c->pay_url);
    return sync_new(ledger_of(m), m->clock, &settings, on_rate_wait, m, &m->sync, err);
}

static int make_parts(struct manager *m, struct error *err)
{
    struct rate_budget *budget = rate_budget_new(rate_share_of(m->config));
    int r;

    if (!budget)
        return error_set(err, -ENOMEM, "out of memory");
    rate_budget_free(m->budget);
    m->budget = budget;
    r = check_merchant(m, m->config, err);
    if (r == 0)
        r = rate_log_restore(ledger_of(m), budget, clock_now(m->clock), err);
    if (r == 0)
        r = transactions_set_unsettled(ledger_of(m), list(&m->config->match_unsettled), err);
    if (r == 0)
        r = ledger_set_meta(ledger_of(m), "claims",
                            m->config->match_claims == CLAIMS_COMPLETE ? "complete" : "partial",
                            err);
    if (r == 0)
        r = daemon_state_start(ledger_of(m), RECONCILED_VERSION, rate_share_of(m->config),
                               clock_now(m->clock), err);
    if (r < 0)
        return r;
    m->grace = m->config->match_absence_grace;
    m->learn_at = 0;
    learn_grace(m);
    r = note_grace(m, NULL, err);
    if (r == 0 && m->config->metrics_path && !m->metrics)
        r = metrics_new(ledger_of(m), &m->metrics, err);
    if (r == 0)
        r = make_sync(m, err);
    if (r < 0)
        return r;
    if (!m->config->metrics_path)
        m->metrics = metrics_free(m->metrics);
    r = make_payapi(m);
    if (r == 0)
        r = make_vault(m);
    if (r < 0)
        return error_set(err, r, "cannot set up the HTTP clients: %s", strerror(-r));
    m->queue_version = -1;
    m->sync_wake_at = m->revoke_wake_at = 0;
    m->undecided = m->offers_stale = m->offers_unknown = true;
    return 0;
}

static void reload(struct manager *m)
{
    struct config *config = NULL, *old = m->config;
    struct error err = {0};
    int r;

    sd_notify(0, "RELOADING=1");
    r = config_load(m->options.config_path, CONFIG_ALL, m->options.config_must_exist, &config,
                    &err);
    if (r == 0 && (strcmp(config->ledger_path, old->ledger_path) != 0 ||
                   strcmp(config->queue_path, old->queue_path) != 0)) {
        r = error_set(&err, -EINVAL, "[ledger] path and [queue] path change only with a restart");
    }
    if (r == 0)
        r = check_merchant(m, config, &err);
    if (r < 0) {
        config_free(config);
        journal_reload_refused(err.text);
        sd_notify(0, "READY=1");
        return;
    }
    free_parts(m);
    m->config = config;
    r = make_parts(m, &err);
    config_free(old);
    if (r < 0) {
        journal_database(err.text);
        sd_event_exit(m->event, EX_IOERR);
        return;
    }
    journal_reloaded(m->options.config_path);
    sd_notify(0, "READY=1");
    pump(m);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    struct manager *m = userdata;

    (void)source;
    switch (info->ssi_signo) {
    case SIGHUP:
        reload(m);
        break;
    case SIGUSR1:
        sync_poke(m->sync, true);
        m->sync_wake_at = 0;
        pump(m);
        break;
    default:
        /* The page in hand is either committed or was never begun: the loop is between two. */
        sd_event_exit(m->event, EX_OK);
    }
    return 0;
}

static int make_loop(struct manager *m)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    int r;

    r = sd_event_new(&m->event);
    for (size_t i = 0; i < ELEMENTSOF(numbers) && r >= 0; i++)
        r = sd_event_add_signal(m->event, &m->signals[i], numbers[i], on_signal, m);
    if (r >= 0)
        r = sd_watchdog_enabled(0, &m->watchdog_us);
    if (r >= 0)
        r = sd_event_add_time_relative(m->event, &m->tick, CLOCK_MONOTONIC, 0, TICK_US / 10,
                                       on_tick, m);
    return r < 0 ? r : http_new(m->event, &m->http);
}

int manager_new(struct config *config, const struct manager_options *options,
                const struct clock *clock, const struct clock *boot, struct manager **ret,
                struct error *err)
{
    struct manager *m = calloc(1, sizeof(*m));
    char note[512];
    int r;

    if (!m) {
        config_free(config);
        return error_set(err, -ENOMEM, "out of memory");
    }
    m->config = config;
    m->options = *options;
    m->clock = clock;
    m->boot = boot;
    m->latest = clock_now(clock);
    m->latest_boot = clock_now(boot);
    /* The lock on the ledger comes first: a second daemon must touch nothing. */
    r = ledger_open(config->ledger_path, &m->ledger, err);
    if (r == 0)
        r = queue_open(config->queue_path, &m->queue, note, sizeof(note), err);
    if (r == 0 && *note)
        log_warning("%s", note);
    if (r == 0 && !options->once)
        db_set_patience(m->queue, BUSY_PATIENCE_MS);
    if (r == 0) {
        r = make_loop(m);
        if (r < 0)
            error_set(err, r, "cannot set up the event loop: %s", strerror(-r));
    }
    if (r == 0)
        r = absence_held_until(ledger_of(m), &m->held_until, err);
    if (r == 0)
        r = make_parts(m, err);
    if (r < 0) {
        manager_free(m);
        return r;
    }
    *ret = m;
    return 0;
}

struct manager *manager_free(struct manager *m)
{
    if (!m)
        return NULL;
    free_parts(m);
    metrics_free(m->metrics);
    http_free(m->http);
    rate_budget_free(m->budget);
    for (size_t i = 0; i < ELEMENTSOF(m->signals); i++)
        sd_event_source_disable_unref(m->signals[i]);
    sd_event_source_disable_unref(m->tick);
    sd_event_unref(m->event);
    db_close(m->queue);
    ledger_close(m->ledger);
    config_free(m->config);
    free(m);
    return NULL;
}

int manager_run(struct manager *m)
{
    int code;

    journal_started(m->config->ledger_path, m->options.once);
    sd_notify(0, "READY=1\nSTATUS=starting");
    code = sd_event_loop(m->event);
    sd_notify(0, "STOPPING=1");
    if (m->revoke)
        revoke_wipe(m->revoke, NULL);
    if (m->showed_progress)
        fputc('\n', stderr);
    daemon_state_stop(ledger_of(m), clock_now(m->clock), NULL);
    write_metrics(m, false);
    if (!m->options.once)
        journal_stopped();
    if (code < 0) {
        log_error("event loop: %s", strerror(-code));
        return EX_OSERR;
    }
    return code;
}
