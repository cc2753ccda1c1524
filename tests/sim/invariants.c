/* What must hold, whatever happens; failures name the letter:
 *
 *  a  not_charged is never said while the API had shown the charge, as a settled sale, when the
 *     evidence began; nor before the grace is over
 *  b  an order is never charged by another's sale, unless nothing in the ledger can tell
 *  c  no sale is given to two orders
 *  d  coverage that proves never claims an interval that lacks a record which the API showed during
 *     the whole pass
 *  e  when the world is quiet, every order is decided
 *  f  and the ledger's records are those of the API
 *  g  and no more is asked than the look-back takes */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/timestamp.h"
#include "sim.h"
#include "store/queue.h"

/* --- eligibility, read from the contract a second time
 * -------------------------------------------- */

static bool known(const struct order *o)
{
    for (int k = 0; k < o->n_attempts; k++)
        if (o->attempts[k].taken)
            return true;
    return false;
}

static void attempts_known(const struct order *o, int64_t *ret_first, int64_t *ret_last)
{
    int64_t first = INT64_MAX, last = INT64_MIN;

    for (int k = 0; k < o->n_attempts; k++) {
        int64_t at = o->attempts[k].told_at;

        if (!o->attempts[k].taken)
            continue;
        first = at < first ? at : first;
        last = at > last ? at : last;
    }
    *ret_first = first;
    *ret_last = last;
}

static bool contradicts(const char *a, const char *b)
{
    return *a && *b && strcasecmp(a, b) != 0;
}

static bool agrees(const char *a, const char *b)
{
    return *a && *b && strcasecmp(a, b) == 0;
}

static size_t common_bin(const struct plastic *a, const struct plastic *b)
{
    size_t n = strlen(a->bin), other = strlen(b->bin);

    return n < other ? n : other;
}

/* FIT_REFERENCE, FIT_IDENTITY, FIT_AMOUNT, or FIT_COUNT for a sale that is not eligible. Claims are
 * the caller's affair. */
static enum fit fit_of(const struct sim *sim, int order, const struct record *r)
{
    const struct match_settings *settings = &sim->params.match;
    const struct order *o = &sim->orders[order];
    bool referenced = r->reference && r->order == order, identity = false, fits = false;
    int64_t at = api_told_transacted(sim, r), first, last;

    if (r->kind != RECORD_SALE || (r->reference && !referenced))
        return FIT_COUNT;
    attempts_known(o, &first, &last);
    if (at < first - (referenced ? settings->late_watch : settings->before) ||
        at > last + (referenced ? settings->late_watch : settings->after))
        return FIT_COUNT;
    for (int k = 0; k < o->n_attempts; k++) {
        const struct plastic *told = &o->attempts[k].told, *shown = &r->shown;
        size_t bin = common_bin(told, shown);

        if (!o->attempts[k].taken || strcmp(o->currency, r->currency) != 0 ||
            (o->minor != r->minor && o->minor != r->minor - r->extra) ||
            contradicts(told->last_four, shown->last_four) ||
            contradicts(told->brand, shown->brand) || contradicts(told->email, shown->email) ||
            (bin && memcmp(told->bin, shown->bin, bin) != 0))
            continue;
        fits = true;
        identity |=
            agrees(told->last_four, shown->last_four) || agrees(told->email, shown->email) || bin;
    }
    if (!fits)
        return FIT_COUNT;
    return referenced ? FIT_REFERENCE : identity ? FIT_IDENTITY : FIT_AMOUNT;
}

/* --- what the ledger holds
 * ------------------------------------------------------------------------ */

struct view {
    bool settled[MAX_RECORDS];  /* a settled sale in the ledger */
    int claimant[MAX_RECORDS];  /* order, or NONE */
    int given_to[MAX_RECORDS];  /* by current verdicts: order, or NONE */
    bool for_good[MAX_RECORDS]; /* and that order is sealed */
    bool open[MAX_ORDERS];
};

static int each_row(struct sim *sim, struct db_stmt **stmt, int r)
{
    struct error err = {0};

    if (r == 0)
        r = db_step(daemon_ledger(sim), *stmt, &err);
    if (r < 0)
        fail(sim, "the ledger cannot be read: %s", err.text);
    return r > 0;
}

static int record_of(struct sim *sim, const char *id)
{
    int i = world_find_record(sim, id);

    if (i == NONE)
        fail(sim, "the ledger speaks of %s, which is not a record", id);
    return i;
}

static void look_at_ledger(struct sim *sim, struct view *ret)
{
    struct db *db = daemon_ledger(sim);
    struct db_stmt *stmt = NULL;
    int i;

    memset(ret, 0, sizeof(*ret));
    for (i = 0; i < MAX_RECORDS; i++)
        ret->claimant[i] = ret->given_to[i] = NONE;
    for (int r = db_query(db, &stmt, NULL,
                          "SELECT transaction_id FROM transactions WHERE settled = 1", "");
         each_row(sim, &stmt, r); r = 0)
        if ((i = record_of(sim, db_text(stmt, 0))) != NONE)
            ret->settled[i] = true;
    for (int r = db_query(db, &stmt, NULL, "SELECT transaction_id, order_id FROM claims", "");
         each_row(sim, &stmt, r); r = 0)
        if ((i = record_of(sim, db_text(stmt, 0))) != NONE)
            ret->claimant[i] = world_find_order(sim, db_text(stmt, 1));
    for (int r = db_query(db, &stmt, NULL,
                          "SELECT s.transaction_id, o.order_id, o.sealed FROM verdict_sales s"
                          " JOIN verdicts v ON v.verdict_id = s.verdict_id"
                          " JOIN orders o ON o.order_id = v.order_id AND o.revision = v.revision"
                          " WHERE s.assigned = 1",
                          "");
         each_row(sim, &stmt, r); r = 0)
        if ((i = record_of(sim, db_text(stmt, 0))) != NONE) {
            ret->given_to[i] = world_find_order(sim, db_text(stmt, 1));
            ret->for_good[i] = db_int(stmt, 2) != 0;
        }
    for (int r = db_query(db, &stmt, NULL, "SELECT order_id FROM orders WHERE sealed = 0", "");
         each_row(sim, &stmt, r); r = 0)
        ret->open[world_find_order(sim, db_text(stmt, 0))] = true;
}

/* How the sale is linked to the order: FIT_CLAIM and so on, or FIT_COUNT. */
static enum fit link_of(const struct sim *sim, const struct view *view, int order, int record)
{
    if (view->claimant[record] != NONE)
        return view->claimant[record] == order ? FIT_CLAIM : FIT_COUNT;
    if (!view->settled[record] || view->for_good[record])
        return FIT_COUNT;
    return fit_of(sim, order, &sim->records[record]);
}

static bool reversed_in(const struct sim *sim, const struct view *view, int sale)
{
    int64_t returned = 0;

    for (int i = 0; i < sim->n_records; i++) {
        if (sim->records[i].original != sale || !view->settled[i])
            continue;
        if (sim->records[i].kind == RECORD_VOID)
            return true;
        returned += sim->records[i].minor;
    }
    return returned >= sim->records[sale].minor;
}

/* --- b: certainty, by maximum matching with and without the order
 * --------------------------------- */

struct graph {
    int edges[MAX_ORDERS][64];
    int n_edges[MAX_ORDERS];
    int given_to[MAX_RECORDS];
    bool seen[MAX_RECORDS];
};

static bool augment(struct graph *g, int order)
{
    for (int e = 0; e < g->n_edges[order]; e++) {
        int record = g->edges[order][e];

        if (g->seen[record])
            continue;
        g->seen[record] = true;
        if (g->given_to[record] == NONE || augment(g, g->given_to[record])) {
            g->given_to[record] = order;
            return true;
        }
    }
    return false;
}

static int largest_matching(struct graph *g, int n_orders, int without)
{
    int n = 0;

    for (int i = 0; i < MAX_RECORDS; i++)
        g->given_to[i] = NONE;
    for (int i = 0; i < n_orders; i++) {
        memset(g->seen, 0, sizeof(g->seen));
        n += i != without && augment(g, i);
    }
    return n;
}

static void add_edges(const struct sim *sim, const struct view *view, int order, struct graph *g)
{
    bool owned = false;

    for (int k = 0; k < sim->n_records; k++)
        owned =
            owned || (link_of(sim, view, order, k) <= FIT_REFERENCE && !reversed_in(sim, view, k));
    /* What agrees in amount and time only is no evidence beside a sale of the order's own. */
    for (int k = 0; k < sim->n_records && g->n_edges[order] < 64; k++)
        if (link_of(sim, view, order, k) <= (owned ? FIT_IDENTITY : FIT_AMOUNT))
            g->edges[order][g->n_edges[order]++] = k;
}

static bool certain(const struct sim *sim, const struct view *view, int order)
{
    struct graph g = {.n_edges = {0}};

    for (int i = 0; i < sim->n_orders; i++)
        if (view->open[i] && known(&sim->orders[i]))
            add_edges(sim, view, i, &g);
    return largest_matching(&g, sim->n_orders, order) < largest_matching(&g, sim->n_orders, NONE);
}

static int own_sales(const struct sim *sim, int order)
{
    int n = 0;

    for (int k = 0; k < sim->orders[order].n_attempts; k++)
        n += sim->orders[order].attempts[k].sale != NONE;
    return n;
}

/* Why an order that has no sale may seem to have one: it and others fit as many sales as they are,
 * because one of these sales is of an attempt that the ledger has heard nothing of, or because one
 * of the orders was charged twice. No rule can tell then. */
enum excuse { EXCUSE_NONE, EXCUSE_UNHEARD, EXCUSE_TWICE };

static enum excuse find_excuse(const struct sim *sim, const struct view *view, int order)
{
    bool reached[MAX_ORDERS] = {false}, sales[MAX_RECORDS] = {false}, more = true;

    reached[order] = true;
    while (more) {
        more = false;
        for (int i = 0; i < sim->n_orders; i++)
            for (int k = 0; view->open[i] && known(&sim->orders[i]) && k < sim->n_records; k++) {
                if ((reached[i] && sales[k]) || (!reached[i] && !sales[k]) ||
                    link_of(sim, view, i, k) == FIT_COUNT)
                    continue;
                reached[i] = sales[k] = more = true;
            }
    }
    for (int k = 0; k < sim->n_records; k++) {
        const struct record *r = &sim->records[k];

        if (sales[k] && view->claimant[k] == NONE &&
            !sim->orders[r->order].attempts[r->attempt].taken)
            return EXCUSE_UNHEARD;
    }
    for (int i = 0; i < sim->n_orders; i++)
        if (reached[i] && own_sales(sim, i) >= 2)
            return EXCUSE_TWICE;
    return EXCUSE_NONE;
}

static void judge_foreign(struct sim *sim, const struct view *view, int order, int record,
                          const struct verdict_change *change)
{
    const struct record *r = &sim->records[record];
    struct counts *counts = &sim->report.counts;
    enum fit fit = fit_of(sim, order, r);

    if (change->rule == RULE_CLAIM || change->rule == RULE_REFERENCE)
        fail(sim, "b: %s is charged by %s's sale %s by %s", change->order_id,
             sim->orders[r->order].id, r->id, rule_name(change->rule));
    else if (view->claimant[record] != NONE)
        fail(sim, "b: %s is charged by sale %s, which is claimed for %s", change->order_id, r->id,
             sim->orders[r->order].id);
    else if (fit == FIT_COUNT || (fit == FIT_AMOUNT && change->rule == RULE_IDENTITY))
        fail(sim, "b: %s is charged by %s's sale %s, which is not eligible", change->order_id,
             sim->orders[r->order].id, r->id);
    else if (own_sales(sim, order) > 0)
        counts->swapped++;
    else if (!view->open[order])
        counts->lookalike++;
    else
        switch (find_excuse(sim, view, order)) {
        case EXCUSE_NONE:
            fail(sim, "b: %s is charged by sale %s of %s", change->order_id, r->id,
                 sim->orders[r->order].id);
            break;
        case EXCUSE_UNHEARD:
            counts->early += sim->params.match.claims_complete;
            counts->lookalike += !sim->params.match.claims_complete;
            break;
        case EXCUSE_TWICE:
            counts->lookalike++;
            break;
        }
}

/* A reversed sale accounts for one attempt. Of a further one nothing is known before the grace is
 * over. */
static void judge_reversal(struct sim *sim, const struct view *view, int order)
{
    const struct order *o = &sim->orders[order];
    int attempts = 0, accounted = 0;
    int64_t first, last;

    attempts_known(o, &first, &last);
    for (int k = 0; k < o->n_attempts; k++)
        attempts += o->attempts[k].taken;
    for (int i = 0; i < sim->n_records; i++) {
        enum fit fit = link_of(sim, view, order, i);

        accounted += fit != FIT_CLAIM && fit != FIT_COUNT && reversed_in(sim, view, i);
    }
    if (accounted < attempts && sim->now <= last + sim->daemon.grace)
        fail(sim, "a: %s is reversed, and of another attempt nothing is known yet", o->id);
}

static void judge_sales(struct sim *sim, int order, const struct verdict_change *change)
{
    struct view view;
    struct db_stmt *stmt = NULL;
    int64_t n_sealed = 0;
    int n = 0, i;

    look_at_ledger(sim, &view);
    for (int r = db_query(daemon_ledger(sim), &stmt, NULL,
                          "SELECT s.transaction_id FROM verdict_sales s JOIN verdicts v"
                          " ON v.verdict_id = s.verdict_id WHERE v.order_id = ?"
                          " AND v.revision = ? AND s.assigned = 1",
                          "ti", change->order_id, change->revision);
         each_row(sim, &stmt, r); r = 0) {
        if ((i = record_of(sim, db_text(stmt, 0))) == NONE)
            continue;
        n++;
        if (sim->records[i].order != order)
            judge_foreign(sim, &view, order, i, change);
        if (change->to == VERDICT_REVERSED && !reversed_in(sim, &view, i))
            fail(sim, "%s is reversed, and its sale %s is not", change->order_id,
                 sim->records[i].id);
    }
    i = record_of(sim, change->transaction_id);
    if (i != NONE && sim->records[i].order != order && change->rule == RULE_CLAIM)
        fail(sim, "b: %s is charged by a claim for %s", change->order_id,
             sim->orders[sim->records[i].order].id);
    if (n < 1 && change->rule != RULE_CLAIM)
        fail(sim, "%s is %s without a sale", change->order_id, verdict_name(change->to));
    /* A sale that is claimed, and whose record has not come yet, is the order's too. */
    for (i = 0; i < sim->n_records; i++)
        n += view.claimant[i] == order && !sim->records[i].delivered;
    if (n < 2 && change->to == VERDICT_DOUBLE_CHARGED)
        fail(sim, "%s is double_charged by %d sale(s)", change->order_id, n);
    if (change->rule == RULE_AMOUNT && !sim->params.match.accept_amount_only)
        fail(sim, "b: %s is charged by amount alone", change->order_id);
    if (change->to == VERDICT_REVERSED)
        judge_reversal(sim, &view, order);
    for (int k = 0; change->to == VERDICT_REVERSED && k < sim->orders[order].n_attempts; k++) {
        int sale = sim->orders[order].attempts[k].sale;

        if (sale == NONE || !view.settled[sale] || reversed_in(sim, &view, sale) ||
            link_of(sim, &view, order, sale) == FIT_COUNT)
            continue;
        if (view.given_to[sale] != NONE)
            sim->report.counts.lookalike++; /* another order seems to need it */
        else
            fail(sim, "%s is reversed, and the ledger has its live sale %s", change->order_id,
                 sim->records[sale].id);
    }
    /* Orders sealed by the same matching took part in it and are gone from the view. */
    if (view.open[order] &&
        db_value(daemon_ledger(sim), &n_sealed, 0, NULL,
                 "SELECT count(*) FROM orders WHERE sealed = 1", "") == 0 &&
        n_sealed == sim->daemon.n_sealed && !certain(sim, &view, order))
        fail(sim, "b: %s is %s, and some assignment leaves it out", change->order_id,
             verdict_name(change->to));
}

/* --- a: absence
 * ----------------------------------------------------------------------------------- */

/* The newest proof over the instant where the sale lies. */
static bool find_evidence(struct sim *sim, int64_t at, int64_t *ret_began, int64_t *ret_ended)
{
    struct db_stmt *stmt = NULL;

    if (!each_row(sim, &stmt,
                  db_query(daemon_ledger(sim), &stmt, NULL,
                           "SELECT c.began_at, r.ended_at FROM coverage c"
                           " JOIN sync_runs r ON r.run_id = c.run_id"
                           " WHERE c.covered_from <= ?1 AND c.covered_to >= ?1 AND c.proof = 1"
                           " AND c.clear = 1 ORDER BY c.began_at DESC LIMIT 1",
                           "T", at)))
        return false;
    *ret_began = db_time(stmt, 0);
    *ret_ended = db_time(stmt, 1);
    db_done(stmt);
    return true;
}

static void judge_charge_unseen(struct sim *sim, int order, const struct record *r)
{
    int64_t began, ended;

    if (!find_evidence(sim, r->created, &began, &ended)) {
        fail(sim, "a: %s is not_charged without proof over its sale %s", sim->orders[order].id,
             r->id);
        return;
    }
    if (r->visible_at > began || r->gone_at <= ended) {
        sim->report.counts.late += r->visible_at > began;
        sim->report.counts.withheld += r->visible_at <= began;
        story(sim, "limit: the API shows %s's sale %s only later", sim->orders[order].id, r->id);
        return;
    }
    if (api_withheld(r, began, ended)) {
        sim->report.counts.withheld++;
        story(sim, "limit: the API withheld %s's sale %s", sim->orders[order].id, r->id);
        return;
    }
    if (r->breakage != WHOLE && r->repaired_at > began)
        fail(sim, "a: %s is not_charged, and its sale %s was shown, though spoilt",
             sim->orders[order].id, r->id);
    else if (r->settled_at > began)
        sim->report.counts.late++;
    else
        fail(sim, "a: %s is not_charged, and its sale %s was shown", sim->orders[order].id, r->id);
}

/* The passes that the verdict names must, together, have read the whole window. */
static void check_certificate(struct sim *sim, const struct verdict_change *change, int64_t from,
                              int64_t to)
{
    struct db_stmt *stmt = NULL;
    int64_t reached = from;

    for (int r = db_query(daemon_ledger(sim), &stmt, NULL,
                          "SELECT r.window_from, r.window_to FROM verdict_runs e"
                          " JOIN verdicts v ON v.verdict_id = e.verdict_id"
                          " JOIN sync_runs r ON r.run_id = e.run_id"
                          " WHERE v.order_id = ? AND v.revision = ? ORDER BY r.window_from",
                          "ti", change->order_id, change->revision);
         each_row(sim, &stmt, r); r = 0)
        if (db_time(stmt, 0) <= reached && db_time(stmt, 1) > reached)
            reached = db_time(stmt, 1);
    if (reached < to)
        fail(sim, "a: the passes behind %s leave out a part of its window", change->order_id);
}

static void judge_absence(struct sim *sim, int order, const struct verdict_change *change)
{
    const struct order *o = &sim->orders[order];
    int64_t first, last, runs = 0, unfit = 0;

    attempts_known(o, &first, &last);
    if (sim->now <= last + sim->daemon.grace)
        fail(sim, "a: %s is not_charged before its grace is over", o->id);
    if (db_value(daemon_ledger(sim), &runs, 0, NULL,
                 "SELECT count(*) FROM verdict_runs e JOIN verdicts v"
                 " ON v.verdict_id = e.verdict_id WHERE v.order_id = ? AND v.revision = ?",
                 "ti", o->id, change->revision) < 0 ||
        db_value(daemon_ledger(sim), &unfit, 0, NULL,
                 "SELECT count(*) FROM verdict_runs e JOIN verdicts v"
                 " ON v.verdict_id = e.verdict_id JOIN sync_runs r ON r.run_id = e.run_id"
                 " WHERE v.order_id = ? AND v.revision = ?"
                 " AND (r.proof = 0 OR r.outcome <> 'complete' OR r.began_at <= ?)",
                 "tiT", o->id, change->revision, last + sim->daemon.grace) < 0)
        fail(sim, "a: the evidence for %s cannot be read", o->id);
    if (runs < 1 || unfit > 0)
        fail(sim, "a: %s is not_charged by %" PRId64 " passes, of which %" PRId64 " prove nothing",
             o->id, runs, unfit);
    check_certificate(sim, change, first - sim->params.match.before,
                      last + sim->params.match.after);
    for (int k = 0; k < o->n_attempts; k++)
        if (o->attempts[k].taken && o->attempts[k].sale != NONE)
            judge_charge_unseen(sim, order, &sim->records[o->attempts[k].sale]);
}

void check_verdict(struct sim *sim, const struct verdict_change *change)
{
    int order = world_find_order(sim, change->order_id);
    int64_t first, last;

    switch (change->to) {
    case VERDICT_PENDING:
    case VERDICT_COUNT:
        break;
    case VERDICT_CHARGED:
    case VERDICT_DOUBLE_CHARGED:
    case VERDICT_REVERSED:
        judge_sales(sim, order, change);
        break;
    case VERDICT_NOT_CHARGED:
        judge_absence(sim, order, change);
        break;
    case VERDICT_NEEDS_REVIEW:
        attempts_known(&sim->orders[order], &first, &last);
        if (sim->now < last + sim->daemon.grace)
            fail(sim, "%s needs review before its grace is over", change->order_id);
        break;
    }
}

void check_leave(struct sim *sim, int order)
{
    const struct order *o = &sim->orders[order];
    int64_t first, last, seen = 0;

    attempts_known(o, &first, &last);
    if (!verdict_safe_to_retry(o->heard.verdict))
        fail(sim, "a: leave for %s, and its verdict is %s", o->id, verdict_name(o->heard.verdict));
    for (int k = 0; k < o->n_attempts; k++) {
        const struct attempt *a = &o->attempts[k];

        if (a->queued && !a->taken)
            fail(sim, "a: leave for %s, and its attempt %d never reached the ledger", o->id, k + 1);
        if (!a->taken || a->sale == NONE || !daemon_is_up(sim) || sim->daemon.undecided ||
            record_reversed(&sim->records[a->sale]))
            continue;
        if (db_value(daemon_ledger(sim), &seen, 0, NULL,
                     "SELECT 1 FROM transactions WHERE transaction_id = ? AND settled = 1"
                     " AND first_seen_at < ?",
                     "tT", sim->records[a->sale].id, last + sim->params.match.late_watch) == 0 &&
            seen)
            fail(sim, "a: leave for %s, and the ledger has its sale %s", o->id,
                 sim->records[a->sale].id);
    }
}

/* --- c, d
 * ----------------------------------------------------------------------------------------- */

void check_uniqueness(struct sim *sim)
{
    struct db_stmt *stmt = NULL;

    if (each_row(sim, &stmt,
                 db_query(daemon_ledger(sim), &stmt, NULL,
                          "SELECT s.transaction_id, min(o.order_id), max(o.order_id)"
                          " FROM verdict_sales s JOIN verdicts v ON v.verdict_id = s.verdict_id"
                          " JOIN orders o ON o.order_id = v.order_id AND o.revision = v.revision"
                          " WHERE s.assigned = 1 GROUP BY 1 HAVING count(*) > 1",
                          ""))) {
        fail(sim, "c: sale %s is given to %s and to %s", db_text(stmt, 0), db_text(stmt, 1),
             db_text(stmt, 2));
        db_done(stmt);
    }
}

static bool is_stored(struct sim *sim, struct record *r)
{
    int64_t found = 0;

    if (!r->stored &&
        db_value(daemon_ledger(sim), &found, 0, NULL,
                 "SELECT 1 FROM transactions WHERE transaction_id = ?", "t", r->id) < 0)
        fail(sim, "the ledger cannot be read");
    return r->stored = r->stored || found;
}

static void check_interval(struct sim *sim, int64_t from, int64_t to, int64_t began, bool proof)
{
    for (int i = 0; i < sim->n_records; i++) {
        struct record *r = &sim->records[i];

        if (r->created < from || r->created > to || r->visible_at > began ||
            r->gone_at <= sim->now || api_withheld(r, began, sim->now) || is_stored(sim, r))
            continue;
        if (proof)
            fail(sim, "d: coverage claims %s and lacks it", r->id);
    }
}

void check_pass(struct sim *sim, const struct sync_question *question)
{
    struct db_stmt *stmt = NULL;

    for (int r = db_query(daemon_ledger(sim), &stmt, NULL,
                          "SELECT covered_from, covered_to, began_at, proof FROM coverage"
                          " WHERE clear = 1 AND run_id = (SELECT max(run_id) FROM sync_runs"
                          " WHERE window_from = ? AND ended_at = ?)",
                          "TT", question->from, sim->now);
         each_row(sim, &stmt, r); r = 0)
        check_interval(sim, db_time(stmt, 0), db_time(stmt, 1), db_time(stmt, 2),
                       db_int(stmt, 3) != 0);
}

/* --- e, f: the end
 * -------------------------------------------------------------------------------- */

static void compare_row(struct sim *sim, const struct record *r, struct db_stmt *stmt)
{
    static const char *const types[] = {"CreditCardSale", "CreditCardVoid", "CreditCardReversal",
                                        "CreditCardReturn"};
    bool gone = r->gone_at <= sim->now;

    if (strcmp(db_text(stmt, 1), types[r->kind]) != 0 || db_int(stmt, 2) != r->minor ||
        db_int(stmt, 3) != r->minor - r->extra || strcmp(db_text(stmt, 4), r->currency) != 0 ||
        strcmp(db_text(stmt, 5), r->shown.last_four) != 0 ||
        strcmp(db_text(stmt, 6), r->reference ? sim->orders[r->order].id : "") != 0 ||
        db_time(stmt, 7) != api_told_transacted(sim, r) ||
        (!gone && (db_int(stmt, 8) != 0) == r->declined) ||
        strcmp(db_text(stmt, 9), r->original == NONE ? "" : sim->records[r->original].id) != 0)
        fail(sim, "f: record %s is not in the ledger as the API showed it", r->id);
}

static void check_records(struct sim *sim)
{
    struct db_stmt *stmt = NULL;
    int64_t n = 0;

    for (int r = db_query(daemon_ledger(sim), &stmt, NULL,
                          "SELECT transaction_id, type, amount_minor, net_minor, currency,"
                          " card_last_four, order_ref, transacted_at, settled,"
                          " original_transaction_id FROM transactions",
                          "");
         each_row(sim, &stmt, r); r = 0) {
        int i = record_of(sim, db_text(stmt, 0));

        if (i == NONE)
            continue;
        sim->records[i].stored = true;
        if (!sim->records[i].delivered)
            fail(sim, "f: record %s is in the ledger, and the API never showed it",
                 sim->records[i].id);
        compare_row(sim, &sim->records[i], stmt);
    }
    for (int i = 0; i < sim->n_records; i++) {
        struct record *r = &sim->records[i];
        bool spoilt = r->breakage != WHOLE && r->repaired_at > sim->now;

        if (!api_shows(sim, r))
            continue;
        if (!spoilt && !r->stored)
            fail(sim, "f: record %s of %s is missing", r->id, sim->orders[r->order].id);
        if (r->breakage == NO_ID || r->breakage == WHOLE)
            continue;
        if (db_value(daemon_ledger(sim), &n, 0, NULL,
                     "SELECT count(*) FROM quarantine WHERE transaction_id = ?", "t", r->id) < 0 ||
            (n > 0) != spoilt)
            fail(sim, "f: record %s is %d times in quarantine", r->id, (int)n);
    }
}

static bool seen_in_time(struct sim *sim, const struct record *r, int64_t last)
{
    int64_t seen = 0;

    return db_value(daemon_ledger(sim), &seen, 0, NULL,
                    "SELECT 1 FROM transactions WHERE transaction_id = ? AND settled = 1"
                    " AND first_seen_at < ?",
                    "tT", r->id, last + sim->params.match.late_watch) == 0 &&
           seen;
}

static int64_t sales_listed(struct sim *sim, const char *order_id)
{
    int64_t n = 0;

    if (db_value(daemon_ledger(sim), &n, 0, NULL,
                 "SELECT sales FROM double_charges WHERE order_id = ?", "t", order_id) < 0)
        fail(sim, "double_charges cannot be read");
    return n;
}

/* Every claim and every order is in by now, so that less is left to chance. */
static void check_final(struct sim *sim, const struct view *view, int order, enum verdict verdict,
                        const char *transaction_id)
{
    const struct order *o = &sim->orders[order];
    int64_t first, last;
    int sale = *transaction_id ? record_of(sim, transaction_id) : NONE;
    enum excuse excuse;

    attempts_known(o, &first, &last);
    if (verdict == VERDICT_PENDING)
        fail(sim, "e: %s is still pending", o->id);
    if (verdict == VERDICT_DOUBLE_CHARGED && sales_listed(sim, o->id) < 2)
        fail(sim, "%s is double_charged, and double_charges does not list its sales", o->id);
    if (verdict == VERDICT_NOT_CHARGED)
        for (int k = 0; k < o->n_attempts; k++)
            if (o->attempts[k].taken && o->attempts[k].sale != NONE &&
                seen_in_time(sim, &sim->records[o->attempts[k].sale], last))
                fail(sim, "a: %s is still not_charged, and its sale %s was seen", o->id,
                     sim->records[o->attempts[k].sale].id);
    if (sale == NONE || sim->records[sale].order == order || own_sales(sim, order) > 0 ||
        !view->open[order])
        return;
    excuse = find_excuse(sim, view, order);
    if (excuse == EXCUSE_NONE || (excuse == EXCUSE_UNHEARD && sim->params.match.claims_complete))
        fail(sim, "b: %s is still %s by %s's sale %s", o->id, verdict_name(verdict),
             sim->orders[sim->records[sale].order].id, transaction_id);
}

static void check_orders(struct sim *sim)
{
    struct db_stmt *stmt = NULL;
    struct view view;
    bool found[MAX_ORDERS] = {false};

    look_at_ledger(sim, &view);
    for (int r = db_query(daemon_ledger(sim), &stmt, NULL,
                          "SELECT order_id, verdict, coalesce(transaction_id, '')"
                          " FROM order_status",
                          "");
         each_row(sim, &stmt, r); r = 0) {
        int order = world_find_order(sim, db_text(stmt, 0));
        enum verdict verdict;
        char transaction_id[ID_SIZE];

        found[order] = true;
        db_copy(stmt, 2, transaction_id, sizeof(transaction_id));
        if (verdict_from_name(db_text(stmt, 1), &verdict) < 0)
            fail(sim, "%s has the verdict %s", sim->orders[order].id, db_text(stmt, 1));
        else
            check_final(sim, &view, order, verdict, transaction_id);
    }
    for (int i = 0; i < sim->n_orders; i++)
        if (found[i] != sim->orders[i].doubtful)
            fail(sim, "e: %s was enqueued, and is not in the ledger", sim->orders[i].id);
}

/* Every cycle, and the deep look-back over all there is, several times over: rows that come in
 * bursts are read twice, and small pages in small windows. */
static void check_requests(struct sim *sim)
{
    const struct params *p = &sim->params;
    int64_t pages = sim->n_records / (int64_t)p->page_size + 4;
    int64_t cycles = p->sync.deep_interval / p->sync.interval + 2;

    if (sim->quiet_requests > 4 * cycles + 8 * pages)
        fail(sim, "g: %" PRId64 " requests in a quiet time", sim->quiet_requests);
}

/* All has been read but what a cycle that has just begun is about to read. */
static void check_history(struct sim *sim)
{
    const struct coverage_demand any = {0};
    struct sync_progress progress = {0};
    struct interval_set missing = {0};
    int64_t read_to;

    if (sync_get_progress(sim->daemon.sync, &progress, NULL) < 0) {
        fail(sim, "e: the daemon knows nothing of its progress");
        return;
    }
    read_to = progress.edge - progress.history_left;
    if (sim->now - progress.cycle_began_at > MINUTE)
        read_to = progress.edge;
    if (interval_set_add(&missing, progress.origin, read_to) < 0 ||
        coverage_subtract(daemon_ledger(sim), progress.origin, read_to, &any, &missing, NULL) < 0 ||
        missing.n > 0)
        fail(sim, "e: some of the history was never read");
    interval_set_clear(&missing);
}

void check_end(struct sim *sim)
{
    struct queue_depth depth = {0};

    if (!daemon_is_up(sim)) {
        fail(sim, "e: the daemon is down at the end");
        return;
    }
    if (queue_depth(sim->app_queue, &depth, NULL) < 0 || depth.orders || depth.claims)
        fail(sim, "e: rows are left in the queue");
    check_history(sim);
    check_requests(sim);
    check_records(sim);
    check_orders(sim);
    check_uniqueness(sim);
}
