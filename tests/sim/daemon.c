/* The daemon without its event loop: the same calls in the same order as src/daemon/manager.c, with
 * a transport that is a function call and a clock that the simulation sets. What
 * src/remote/payapi.c does between a question and its answer (retries, waits, rate budget) is
 * repeated here; the answer's bytes go through the real codec. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/backoff.h"
#include "core/timestamp.h"
#include "remote/payapi_codec.h"
#include "sim.h"
#include "store/daemon_state.h"
#include "store/intake.h"
#include "store/permits.h"
#include "store/queue.h"
#include "store/transactions.h"

enum { TICK_MS = 200, DATABASE_PAUSE_MS = 5000, MAX_THROTTLED = 5 };

static const int64_t LEARN_FROM_MS = 30 * 86400000LL;

static const char *const unsettled[] = {"pending", "declined", "failed", "error", NULL};
static const char *const order_ref[] = {"/metadata/orderId", "/metadata/order_id", "/orderId",
                                        NULL};
static const char *const original_ref[] = {"/originalTransactionId", "/parentTransactionId", NULL};

struct db *daemon_ledger(const struct sim *sim)
{
    return ledger_db(sim->daemon.ledger);
}

bool daemon_is_up(const struct sim *sim)
{
    return sim->daemon.sync != NULL;
}

static void expect(struct sim *sim, int r, const char *what, const struct error *err)
{
    if (r < 0)
        fail(sim, "%s: %s", what, err->text);
}

static int64_t on_rate_wait(enum rate_priority priority, void *userdata)
{
    struct sim *sim = userdata;

    return rate_budget_wait(sim->daemon.budget, priority, sim->now);
}

static void learn_grace(struct sim *sim)
{
    struct daemon *d = &sim->daemon;
    int64_t late = 0, grace = sim->params.match.absence_grace;
    struct error err = {0};

    if (sim->now < d->learn_at)
        return;
    d->learn_at = sim->now + HOUR;
    expect(sim, transactions_lateness(ledger_db(d->ledger), sim->now - LEARN_FROM_MS, &late, &err),
           "lateness", &err);
    if (late > sim->params.match.late_watch)
        late = sim->params.match.late_watch;
    if (late > grace)
        grace = timestamp_ceil_second(late);
    if (grace == d->grace)
        return;
    story(sim, "daemon: waits %" PRId64 " s for records that come late", grace / SECOND);
    d->grace = grace;
    if (d->sync)
        sync_set_grace(d->sync, grace);
}

void daemon_start(struct sim *sim)
{
    struct daemon *d = &sim->daemon;
    const struct params *p = &sim->params;
    struct sync_settings settings = p->sync;
    struct error err = {0};
    int r;

    settings.before = p->match.before;
    settings.after = p->match.after;
    settings.page_size = p->page_size;
    settings.unsettled = unsettled;
    *d = (struct daemon){.queue_version = -1,
                         .undecided = true,
                         .offers_stale = true,
                         .tick_at = sim->now,
                         .grace = p->match.absence_grace};
    r = ledger_open(sim->ledger_path, &d->ledger, &err);
    if (r == 0)
        r = queue_open(sim->queue_path, &d->queue, NULL, 0, &err);
    if (r == 0)
        r = db_exec(ledger_db(d->ledger), "PRAGMA synchronous=OFF", &err);
    if (r == 0)
        r = db_exec(d->queue, "PRAGMA synchronous=OFF", &err);
    d->budget = rate_budget_new(settings.requests_per_minute);
    if (r == 0)
        r = rate_log_restore(ledger_db(d->ledger), d->budget, sim->now, &err);
    if (r == 0)
        r = transactions_set_unsettled(ledger_db(d->ledger), unsettled, &err);
    if (r == 0)
        r = ledger_set_meta(ledger_db(d->ledger), "claims",
                            p->match.claims_complete ? "complete" : "partial", &err);
    if (r == 0)
        r = daemon_state_start(ledger_db(d->ledger), "simulated", settings.requests_per_minute,
                               sim->now, &err);
    if (r == 0) {
        learn_grace(sim);
        settings.absence_grace = d->grace;
    }
    if (r == 0)
        r = sync_new(ledger_db(d->ledger), &sim->clock, &settings, on_rate_wait, sim, &d->sync,
                     &err);
    expect(sim, r, "start", &err);
    story(sim, "daemon: starts");
}

void daemon_stop(struct sim *sim)
{
    struct daemon *d = &sim->daemon;

    d->sync = sync_free(d->sync);
    d->budget = rate_budget_free(d->budget);
    d->queue = db_close(d->queue);
    d->ledger = ledger_close(d->ledger);
    free(d->reply.body);
    d->reply.body = NULL;
}

/* Dies here, perhaps, and comes back later. */
static bool dies(struct sim *sim)
{
    if (sim->now >= sim->fine_from || !rng_chance(&sim->rng, sim->params.restarts))
        return false;
    daemon_stop(sim);
    sim->report.counts.restarts++;
    schedule(sim, sim->now + draw(sim, sim->params.downtime), EVENT_START, 0, 0);
    story(sim, "daemon: dies");
    return true;
}

static int on_leaving(const char *order_id, void *userdata, struct error *err)
{
    const struct sim *sim = userdata;

    return permits_withdraw(sim->daemon.queue, order_id, err);
}

static void on_verdict(const struct verdict_change *change, void *userdata)
{
    struct sim *sim = userdata;

    story(sim, "verdict: %s %s -> %s%s%s %s: %s", change->order_id, verdict_name(change->from),
          verdict_name(change->to), *change->transaction_id ? " by " : "", change->transaction_id,
          rule_name(change->rule), change->reason);
    sim->daemon.offers_stale = true;
    sim->report.counts.verdicts++;
    sim->report.counts.revisions += change->revision > 1;
    check_verdict(sim, change);
    world_hear(sim, change);
}

static void refresh_offers(struct sim *sim)
{
    struct daemon *d = &sim->daemon;
    struct error err = {0};

    if (!d->offers_stale || d->undecided)
        return;
    expect(sim, permits_refresh(ledger_db(d->ledger), d->queue, true, sim->now, &err), "offers",
           &err);
    d->offers_stale = false;
}

static void decide(struct sim *sim)
{
    struct daemon *d = &sim->daemon;
    const struct reconcile_listener listener = {on_leaving, on_verdict, sim};
    struct match_settings settings = sim->params.match;
    struct error err = {0};
    int64_t before = sim->report.counts.verdicts;

    if (!d->undecided)
        return;
    settings.absence_grace = d->grace;
    expect(sim, reconcile_run(ledger_db(d->ledger), &settings, sim->now, &listener, &err),
           "matching", &err);
    if (sim->report.counts.verdicts != before)
        check_uniqueness(sim);
    if (dies(sim))
        return;
    expect(sim,
           db_value(ledger_db(d->ledger), &d->n_sealed, 0, &err,
                    "SELECT count(*) FROM orders WHERE sealed = 1", ""),
           "counting", &err);
    d->undecided = false;
}

static void take_in(struct sim *sim)
{
    struct daemon *d = &sim->daemon;
    int64_t version = db_data_version(d->queue);
    struct intake_counts counts = {0};
    struct error err = {0};

    if (version == d->queue_version)
        return;
    expect(sim,
           intake_run(ledger_db(d->ledger), d->queue, ledger_email_key(d->ledger), sim->now,
                      &counts, &err),
           "intake", &err);
    if (counts.refused)
        fail(sim, "intake refuses a row: %s", counts.refused_text);
    for (int i = 0; i < sim->n_orders; i++)
        for (int k = 0; k < sim->orders[i].n_attempts; k++)
            sim->orders[i].attempts[k].taken = sim->orders[i].attempts[k].queued;
    if (counts.attempts || counts.claims)
        d->undecided = true;
    d->offers_stale = true;
    if (counts.attempts)
        d->sync_wake_at = 0;
    d->queue_version = version;
}

static void pump_sync(struct sim *sim)
{
    struct daemon *d = &sim->daemon;
    struct error err = {0};
    const char *outcome;
    int64_t wait;
    int r;

    if (d->request != REQUEST_NONE || sim->now < d->sync_wake_at)
        return;
    r = sync_next(d->sync, &d->question, &wait, &err);
    expect(sim, r, "the next question", &err);
    if (sync_take_cycle_end(d->sync, &outcome)) {
        d->undecided = true;
        learn_grace(sim);
    }
    if (r <= 0) {
        d->sync_wake_at = r < 0           ? sim->now + DATABASE_PAUSE_MS
                          : wait == NEVER ? NEVER
                                          : sim->now + wait;
        if (r == 0 && wait <= 0)
            fail(sim, "sync_next() waits for %" PRId64 " ms", wait);
        return;
    }
    d->request = REQUEST_WAITS;
    d->request_at = sim->now;
    d->retries = d->throttled = 0;
}

static void pump(struct sim *sim)
{
    struct daemon *d = &sim->daemon;

    take_in(sim);
    if (dies(sim))
        return;
    decide(sim);
    if (!daemon_is_up(sim))
        return;
    refresh_offers(sim);
    pump_sync(sim);
    if (dies(sim))
        return;
    d->tick_at = d->undecided                 ? sim->now + TICK_MS
                 : d->request != REQUEST_NONE ? NEVER
                                              : d->sync_wake_at;
}

void daemon_notice(struct sim *sim)
{
    int64_t at = sim->now + rng_between(&sim->rng, 1, TICK_MS);

    if (at < sim->daemon.tick_at)
        sim->daemon.tick_at = at;
}

/* --- the way to the API and back
 * ------------------------------------------------------------------ */

static void give_answer(struct sim *sim, const struct sync_answer *answer)
{
    struct daemon *d = &sim->daemon;
    struct sync_news news = {0};
    struct error err = {0};
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];

    expect(sim, sync_answer(d->sync, answer, &news, &err), "an answer", &err);
    if (answer->kind == SYNC_PAGE)
        for (size_t i = 0; i < d->reply.n_listed; i++)
            sim->records[d->reply.listed[i]].delivered = true;
    story(sim, "daemon: %s %s..%s page %" PRId64 ": %" PRId64 " rows, %" PRId64 " new%s %s",
          sync_purpose_name(d->question.purpose), timestamp_format_query(d->question.from, from),
          timestamp_format_query(d->question.to, to) + 11, d->question.page, news.stored,
          news.new_records, news.pass_ended ? ", pass ended" : "", news.text);
    if (news.pass_ended) {
        sim->report.counts.passes++;
        check_pass(sim, &d->question);
    }
    if (news.new_records || news.pass_ended || news.vanished)
        d->undecided = true;
    d->request = REQUEST_NONE;
    d->sync_wake_at = 0;
    free(d->reply.body);
    d->reply.body = NULL;
    if (!dies(sim))
        pump(sim);
}

static void give_trouble(struct sim *sim, enum sync_answer_kind kind, const char *text)
{
    give_answer(sim, &(struct sync_answer){.kind = kind, .text = text});
}

static void retry_or_give_up(struct sim *sim, enum sync_answer_kind kind, const char *text)
{
    struct daemon *d = &sim->daemon;

    if (d->retries >= sim->params.retries) {
        give_trouble(sim, kind, text);
        return;
    }
    d->request = REQUEST_WAITS;
    d->request_at = sim->now + backoff_delay(SECOND, d->retries++, MINUTE);
}

static void receive_page(struct sim *sim)
{
    struct daemon *d = &sim->daemon;
    const struct payapi_codec codec = {.order_ref = order_ref,
                                       .original_ref = original_ref,
                                       .email_key = ledger_email_key(d->ledger)};
    struct page *page = NULL;
    struct error err = {0};
    int r;

    r = payapi_decode(&codec, d->reply.body, strlen(d->reply.body), &page, &err);
    if (r < 0 || (page->number >= 0 && page->number != d->question.page) ||
        (!page->has_next && page->total_pages > d->question.page))
        give_trouble(sim, SYNC_NOT_UNDERSTOOD, r < 0 ? err.text : "the page contradicts itself");
    else
        give_answer(sim, &(struct sync_answer){.kind = SYNC_PAGE, .page = page, .status = 200});
    page_free(page);
}

static void receive(struct sim *sim)
{
    struct daemon *d = &sim->daemon;

    switch (d->reply.kind) {
    case REPLY_BODY:
        receive_page(sim);
        break;
    case REPLY_NONE:
        retry_or_give_up(sim, SYNC_UNREACHABLE, "no answer");
        break;
    case REPLY_SERVER_ERROR:
        retry_or_give_up(sim, SYNC_FAILED, "500");
        break;
    case REPLY_REFUSED:
        give_trouble(sim, SYNC_REFUSED, "401");
        break;
    case REPLY_THROTTLED:
        if (++d->throttled >= MAX_THROTTLED) {
            give_trouble(sim, SYNC_FAILED, "429");
            break;
        }
        d->request = REQUEST_WAITS;
        d->request_at = sim->now + d->reply.retry_after;
        break;
    }
}

static void send_request(struct sim *sim)
{
    struct daemon *d = &sim->daemon;
    int64_t wait = rate_budget_wait(d->budget, d->question.priority, sim->now);
    struct error err = {0};

    if (wait > 0) {
        d->request_at = sim->now + wait;
        return;
    }
    expect(sim, rate_log_note(ledger_db(d->ledger), sim->now, &err), "the rate log", &err);
    rate_budget_note(d->budget, sim->now);
    if (rate_budget_used(d->budget, sim->now) > sim->params.sync.requests_per_minute)
        fail(sim, "more requests in a minute than allowed");
    sim->report.counts.requests++;
    sim->quiet_requests += sim->now > quiet_at(sim) - sim->params.sync.deep_interval;
    d->request = REQUEST_SENT;
    d->request_at = sim->now + rng_between(&sim->rng, 5, 400);
    if (rng_chance(&sim->rng, 10))
        d->request_at += 10 * SECOND;
}

static void step_request(struct sim *sim)
{
    struct daemon *d = &sim->daemon;

    switch (d->request) {
    case REQUEST_NONE:
        break;
    case REQUEST_WAITS:
        send_request(sim);
        break;
    case REQUEST_SENT:
        api_serve(sim, &d->question, &d->reply);
        d->request = REQUEST_SERVED;
        d->request_at = sim->now + rng_between(&sim->rng, 5, 400);
        if (d->reply.kind == REPLY_NONE && rng_chance(&sim->rng, 500))
            d->request_at += 30 * SECOND;
        break;
    case REQUEST_SERVED:
        receive(sim);
        break;
    }
}

int64_t daemon_next_at(const struct sim *sim)
{
    const struct daemon *d = &sim->daemon;

    if (!daemon_is_up(sim))
        return NEVER;
    return d->request != REQUEST_NONE && d->request_at < d->tick_at ? d->request_at : d->tick_at;
}

void daemon_step(struct sim *sim)
{
    struct daemon *d = &sim->daemon;

    sim->now = daemon_next_at(sim);
    if (d->request != REQUEST_NONE && d->request_at <= sim->now) {
        if (!dies(sim))
            step_request(sim);
    } else {
        pump(sim);
    }
}
