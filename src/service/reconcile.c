#include "service/reconcile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/timestamp.h"
#include "store/daemon_state.h"
#include "store/ledger.h"
#include "store/orders.h"
#include "store/sync_runs.h"
#include "store/transactions.h"

DEFINE_CLEANUP(struct order_book *, order_book_free)

static void interval_set_clear_p(struct interval_set *set)
{
    interval_set_clear(set);
}

static int covers(struct db *ledger, int64_t from, int64_t to, const struct coverage_demand *demand,
                  bool *ret, struct error *err)
{
    _cleanup_(interval_set_clear_p) struct interval_set missing = {0};
    int r;

    if (interval_set_add(&missing, from, to) < 0)
        return error_set(err, -ENOMEM, "out of memory");
    r = coverage_subtract(ledger, from, to, demand, &missing, err);
    if (r == 0)
        *ret = missing.n == 0;
    return r;
}

static int64_t last_attempt(const struct match_order *order)
{
    int64_t last = order->attempts[0].at;

    for (size_t i = 1; i < order->n_attempts; i++)
        if (order->attempts[i].at > last)
            last = order->attempts[i].at;
    return last;
}

/* What has to be read before an absence can be said: the order's window, and on to the end of the
 * grace, as what was paid within the window may be entered until then. Whole seconds. */
static void evidence_window(const struct match_order *order, const struct match_settings *settings,
                            int64_t *ret_from, int64_t *ret_to)
{
    int64_t from, to, grace_end = last_attempt(order) + settings->absence_grace;

    match_window(order, settings, &from, &to);
    *ret_from = timestamp_floor_second(from);
    *ret_to = timestamp_ceil_second(to);
    if (*ret_to < timestamp_floor_second(grace_end))
        *ret_to = timestamp_floor_second(grace_end);
}

/* Only passes that began then or later prove the order's absence. A clock that was set ahead holds
 * back what is about to be said, and takes nothing back. */
static int proof_since(struct db *ledger, const struct match_order *order, enum verdict said,
                       const struct match_settings *settings, int64_t *ret, struct error *err)
{
    int64_t ripe = last_attempt(order) + settings->absence_grace, held_until;
    int r = absence_held_until(ledger, &held_until, err);

    if (r == 0)
        *ret = (held_until > ripe && !verdict_safe_to_retry(said) ? held_until : ripe) + 1;
    return r;
}

static int load_instant(struct db *ledger, const char *name, int64_t *ret, struct error *err)
{
    char text[TIMESTAMP_TEXT_SIZE];
    int r = ledger_get_meta(ledger, name, text, sizeof(text), err);

    if (r == 0 && timestamp_parse(text, ret) < 0)
        *ret = -1;
    return r;
}

/* A record that carries the order's id counts from far outside of its window. So nothing may be
 * unread there either, as far as the ledger reaches: not while history is still being fetched, and
 * not after a time in which nobody read. */
static int surroundings_read(struct db *ledger, const struct match_order *order,
                             const struct match_settings *settings, bool *ret, struct error *err)
{
    const struct coverage_demand demand = {0};
    int64_t from, to, origin, edge;
    int r;

    r = load_instant(ledger, SYNC_ORIGIN, &origin, err);
    if (r == 0)
        r = load_instant(ledger, SYNC_EDGE, &edge, err);
    if (r < 0)
        return r;
    match_window(
        order,
        &(struct match_settings){.before = settings->late_watch, .after = settings->late_watch},
        &from, &to);
    from = from < origin ? origin : timestamp_ceil_second(from);
    to = to > edge ? edge : timestamp_floor_second(to);
    *ret = true;
    return from < to ? covers(ledger, from, to, &demand, ret, err) : 0;
}

int reconcile_absence(struct db *ledger, const struct match_order *order, enum verdict said,
                      const struct match_settings *settings, int64_t now, enum absence *ret,
                      int64_t *ret_since, struct error *err)
{
    struct coverage_demand demand = {.proof = true};
    bool covered = false, clear = false;
    int64_t from, to;
    int r;

    evidence_window(order, settings, &from, &to);
    r = proof_since(ledger, order, said, settings, &demand.since, err);
    if (r == 0 && ret_since)
        *ret_since = demand.since;
    if (r == 0 && now >= demand.since && now >= to)
        r = covers(ledger, from, to, &demand, &covered, err);
    if (r == 0 && covered)
        r = surroundings_read(ledger, order, settings, &covered, err);
    if (r == 0 && covered) {
        demand.clear = true;
        r = covers(ledger, from, to, &demand, &clear, err);
    }
    if (r == 0 && clear) {
        bool quarantined;

        r = transactions_quarantined(ledger, from, to, &quarantined, err);
        clear = r == 0 && !quarantined;
    }
    if (r == 0)
        *ret = clear ? ABSENCE_PROVEN : covered ? ABSENCE_BLOCKED : ABSENCE_UNPROVEN;
    return r;
}

struct evidence {
    struct db *ledger;
    int64_t verdict_id;
    struct error *err;
};

static int add_evidence(int64_t run_id, void *userdata)
{
    struct evidence *evidence = userdata;

    return orders_add_evidence(evidence->ledger, evidence->verdict_id, run_id, evidence->err);
}

/* Names the passes that a verdict of absence rests on. */
static int note_evidence(struct db *ledger, const struct match_order *order, enum verdict said,
                         const struct match_settings *settings, int64_t verdict_id,
                         struct error *err)
{
    struct evidence evidence = {ledger, verdict_id, err};
    struct coverage_demand demand = {.proof = true, .clear = true};
    int64_t from, to;
    int r = proof_since(ledger, order, said, settings, &demand.since, err);

    evidence_window(order, settings, &from, &to);
    return r < 0 ? r : coverage_runs(ledger, from, to, &demand, add_evidence, &evidence, err);
}

static bool differs(const struct order_state *state, const struct match_result *result)
{
    if (state->verdict == VERDICT_PENDING && result->verdict == VERDICT_PENDING)
        return false;
    return state->verdict != result->verdict ||
           strcmp(state->transaction_id, result->transaction_id) != 0 ||
           strcmp(state->rule, rule_name(result->rule)) != 0 ||
           strcmp(state->reason, result->reason) != 0;
}

static int decide(struct db *ledger, struct order_book *book, const struct match_settings *settings,
                  int64_t now, struct match_result **ret, struct error *err)
{
    struct match_input input = {
        .sales = book->sales,
        .n_sales = book->n_sales,
        .claims = book->claims,
        .n_claims = book->n_claims,
        .orders = book->orders,
        .n_orders = book->n_orders,
        .now = now,
        .settings = *settings,
    };
    int r = 0;

    for (size_t i = 0; i < book->n_orders && r == 0; i++) {
        struct match_order *order = &book->orders[i];

        r = reconcile_absence(ledger, order, book->states[i].verdict, settings, now,
                              &order->absence, NULL, err);
        /* A proof once given is not lost because more is asked for now; unless the clock was ahead
         * when it was given. */
        if (order->absence == ABSENCE_UNPROVEN && book->states[i].verdict == VERDICT_NOT_CHARGED &&
            book->states[i].decided_at <= now)
            order->absence = ABSENCE_STANDS;
    }
    if (r < 0)
        return r;
    r = match(&input, ret);
    return r < 0 ? error_set(err, r, "matching failed: %s", strerror(-r)) : 0;
}

static int announce_leaving(const struct order_book *book, const struct match_result *results,
                            const struct reconcile_listener *listener, struct error *err)
{
    int r = 0;

    if (!listener->leaving)
        return 0;
    for (size_t i = 0; i < book->n_orders && r == 0; i++)
        if (verdict_safe_to_retry(book->states[i].verdict) &&
            differs(&book->states[i], &results[i]))
            r = listener->leaving(book->orders[i].id, listener->userdata, err);
    return r;
}

static int store_changes(struct db *ledger, struct order_book *book,
                         const struct match_result *results, const struct match_settings *settings,
                         int64_t now, struct error *err)
{
    int r;

    r = db_begin(ledger, err);
    for (size_t i = 0; i < book->n_orders && r == 0; i++) {
        int64_t verdict_id;

        if (!differs(&book->states[i], &results[i]))
            continue;
        r = orders_add_verdict(ledger, book, i, &results[i], now, &verdict_id, err);
        if (r == 0 && results[i].verdict == VERDICT_NOT_CHARGED && results[i].rule == RULE_ABSENCE)
            r = note_evidence(ledger, &book->orders[i], book->states[i].verdict, settings,
                              verdict_id, err);
    }
    if (r == 0)
        r = orders_seal(ledger, now - settings->late_watch, err);
    if (r == 0)
        r = db_commit(ledger, err);
    if (r < 0)
        db_rollback(ledger);
    return r;
}

int reconcile_run(struct db *ledger, const struct match_settings *settings, int64_t now,
                  const struct reconcile_listener *listener, struct error *err)
{
    _cleanup_(order_book_free_p) struct order_book *book = NULL;
    struct match_result *results = NULL;
    int r;

    r = order_book_load(ledger, settings, &book, err);
    if (r < 0 || book->n_orders == 0)
        return r;
    r = decide(ledger, book, settings, now, &results, err);
    if (r == 0)
        r = announce_leaving(book, results, listener, err);
    if (r == 0)
        r = store_changes(ledger, book, results, settings, now, err);
    for (size_t i = 0; i < book->n_orders && r == 0; i++) {
        const struct order_state *state = &book->states[i];

        if (differs(state, &results[i]))
            listener->changed(
                &(struct verdict_change){
                    .order_id = book->orders[i].id,
                    .from = state->verdict,
                    .to = results[i].verdict,
                    .rule = results[i].rule,
                    .transaction_id = results[i].transaction_id,
                    .reason = results[i].reason,
                    .revision = state->revision + 1,
                    .critical = verdict_revision_is_critical(state->verdict, results[i].verdict),
                },
                listener->userdata);
    }
    match_results_free(results, book->n_orders);
    return r;
}
