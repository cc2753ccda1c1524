#include "store/explain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/interval.h"
#include "ctl/row.h"
#include "ctl/waiting.h"
#include "store/daemon_state.h"
#include "store/ledger.h"

DEFINE_CLEANUP(struct explain *, explain_close)

/* One explanation being written. */
struct telling {
    struct explain *order;
    const struct match_settings *settings;
    int64_t edge_lag;
    int64_t held_until, now;
    struct writer *writer;
    struct report_sink sink;
    struct error *err;
};

static int send(struct telling *t, const struct row *row, bool first)
{
    int r = row_send(row, first, &t->sink);

    return r < 0 ? error_set(t->err, r, "cannot write: %s", strerror(-r)) : 0;
}

/* Begins a section of rows that the ledger has as they are. */
static int tell_rows(struct telling *t, const char *title, enum explain_section section,
                     enum writer_format layout)
{
    writer_section(t->writer, title, layout);
    return explain_rows(t->order, section, &t->sink, t->err);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Since when a pass must have begun to count as proof of absence. */
static int64_t proof_since(const struct telling *t)
{
    int64_t ripe = t->order->last_attempt + t->settings->absence_grace;

    /* What was proved before is not touched by a hold. */
    return (verdict_safe_to_retry(t->order->verdict) ? ripe : larger(ripe, t->held_until)) + 1;
}

static int tell_window(struct telling *t)
{
    const struct explain *e = t->order;
    struct match_settings wide = *t->settings;
    struct row row = {0};
    int64_t from, to;

    writer_section(t->writer, "window", WRITER_RECORD);
    row_time(&row, "sale_from", e->window_from);
    row_time(&row, "sale_to", e->window_to);
    wide.before = larger(wide.before, wide.late_watch);
    wide.after = larger(wide.after, wide.late_watch);
    match_window(&(struct match_order){.attempts = e->attempts, .n_attempts = e->n_attempts}, &wide,
                 &from, &to);
    row_time(&row, "with_its_id_from", from);
    row_time(&row, "with_its_id_to", to);
    row_time(&row, "absence_is_proven_by_passes_since", proof_since(t));
    return send(t, &row, true);
}

static int tell_attempts(struct telling *t)
{
    const struct explain *e = t->order;
    int r = 0;

    writer_section(t->writer, "attempts", WRITER_TABLE);
    for (size_t i = 0; i < e->n_attempts && r == 0; i++) {
        const struct match_attempt *attempt = &e->attempts[i];
        struct row row = {0};

        row_time(&row, "attempted_at", attempt->at);
        row_integer(&row, "http_status", e->told[i].http_status);
        row_money(&row, &attempt->amount);
        row_text(&row, "card_last_four", attempt->card.last_four);
        row_text(&row, "card_brand", attempt->card.brand);
        row_text(&row, "card_bin", attempt->card.bin);
        row_text(&row, "email", *attempt->card.email_hash ? "given" : NULL);
        row_text(&row, "session_id", e->told[i].session_id);
        row_time(&row, "taken_at", e->told[i].taken_at);
        r = send(t, &row, i == 0);
    }
    return r;
}

/* Why the sale is, or is not, the order's. */
static void describe(const struct explain_sale *sale, char *text, size_t size)
{
    const char *fit = fit_text(sale->fit);

    if (sale->assigned)
        snprintf(text, size, "%s", fit_eligible(sale->fit) ? fit : sale->recorded);
    else if (!fit_eligible(sale->fit))
        snprintf(text, size, "%s", fit);
    else if (sale->vanished_at >= 0)
        snprintf(text, size, "%s, but the API does not show it any more", fit);
    else if (*sale->belongs_to)
        snprintf(text, size, "%s, but it is given to order %s", fit, sale->belongs_to);
    else if (sale->fit == FIT_AMOUNT)
        snprintf(text, size, "amount and time alone: no last four, BIN or e-mail to compare");
    else
        snprintf(text, size, "%s, but not certain", fit);
}

static int tell_sales(struct telling *t)
{
    const struct explain *e = t->order;
    int r = 0;

    writer_section(t->writer, "sales", WRITER_TABLE);
    for (size_t i = 0; i < e->n_sales && r == 0; i++) {
        const struct explain_sale *sale = &e->sales[i];
        struct row row = {0};
        char why[ID_SIZE + 64];

        describe(sale, why, sizeof(why));
        row_text(&row, "transaction_id", sale->id);
        row_text(&row, "taken", sale->assigned ? "yes" : "no");
        row_text(&row, "why", why);
        row_time(&row, "transacted_at", sale->at);
        row_money(&row, &sale->amount);
        row_text(&row, "card_last_four", sale->card.last_four);
        row_text(&row, "card_brand", sale->card.brand);
        row_text(&row, "card_bin", sale->card.bin);
        row_text(&row, "type", sale->type);
        row_text(&row, "status", sale->status);
        row_text(&row, "order_ref", sale->order_ref);
        row_text(&row, "belongs_to", sale->belongs_to);
        row_text(&row, "undone_by", sale->undone_by);
        row_time(&row, "vanished_at", sale->vanished_at);
        r = send(t, &row, i == 0);
    }
    if (e->more_sales)
        ctl_say(CTL_DONE, "note: only the likeliest %zu sales are shown; --all shows the rest",
                e->n_sales);
    return r;
}

static const char *worth_of(const struct telling *t, const struct explain_coverage *coverage)
{
    if (!coverage->proof)
        return "no proof: records may have moved while it was read";
    if (coverage->began_at < proof_since(t))
        return "no proof: the pass began too early";
    if (!coverage->clear)
        return "proof, but for a quarantined record that may lie here";
    return "proof";
}

static int tell_coverage(struct telling *t)
{
    const struct explain *e = t->order;
    int r = 0;

    writer_section(t->writer, "coverage", WRITER_TABLE);
    for (size_t i = 0; i < e->n_coverage && r == 0; i++) {
        const struct explain_coverage *coverage = &e->coverage[i];
        struct row row = {0};

        row_time(&row, "covered_from", coverage->from);
        row_time(&row, "covered_to", coverage->to);
        row_integer(&row, "run_id", coverage->run_id);
        row_time(&row, "began_at", coverage->began_at);
        row_integer(&row, "proof", coverage->proof);
        row_integer(&row, "clear", coverage->clear);
        row_text(&row, "worth", worth_of(t, coverage));
        r = send(t, &row, i == 0);
    }
    return r;
}

/* What of the window is without proof; with `read_at_all`, what was never read completely. */
static int find_gaps(const struct telling *t, bool read_at_all, struct interval_set *gaps)
{
    const struct explain *e = t->order;
    int r = interval_set_add(gaps, e->read_from, e->read_to);

    for (size_t i = 0; i < e->n_coverage && r == 0; i++) {
        const struct explain_coverage *coverage = &e->coverage[i];

        if (read_at_all || (coverage->proof && coverage->began_at >= proof_since(t)))
            r = interval_set_subtract(gaps, coverage->from, coverage->to);
    }
    return r < 0 ? error_set(t->err, r, "out of memory") : 0;
}

static int tell_gaps(struct telling *t)
{
    _cleanup_(interval_set_clear) struct interval_set gaps = {0};
    int r = find_gaps(t, true, &gaps);

    writer_section(t->writer, "gaps", WRITER_TABLE);
    for (size_t i = 0; i < gaps.n && r == 0; i++) {
        struct row row = {0};

        row_time(&row, "never_read_from", gaps.items[i].from);
        row_time(&row, "never_read_to", gaps.items[i].to);
        r = send(t, &row, i == 0);
    }
    return r;
}

static int tell_step(struct telling *t, const char *what, int64_t from, int64_t to,
                     int64_t earliest, bool first)
{
    struct row row = {0};

    row_text(&row, "what", what);
    row_time(&row, "from", from);
    row_time(&row, "to", to);
    row_time(&row, "earliest", earliest);
    return send(t, &row, first);
}

/* What a pass can still add, while no verdict that it could change is final. */
static int tell_next(struct telling *t)
{
    _cleanup_(interval_set_clear) struct interval_set gaps = {0};
    const struct explain *e = t->order;
    int64_t readable = e->read_to + t->edge_lag;
    int64_t earliest = larger(proof_since(t), readable);
    int r;

    writer_section(t->writer, "next", WRITER_TABLE);
    if (e->sealed)
        return tell_step(t, "nothing: decided, and the time for late records is over", -1, -1, -1,
                         true);
    if (e->verdict == VERDICT_NEEDS_REVIEW)
        return tell_step(t,
                         "a person has to decide ('reconctl resolve'), unless a late record does",
                         -1, e->last_attempt + t->settings->late_watch, -1, true);
    if (e->verdict != VERDICT_PENDING)
        return tell_step(t, "the look-back only: a late record may revise the verdict", -1,
                         e->last_attempt + t->settings->late_watch, -1, true);
    r = find_gaps(t, false, &gaps);
    if (r == 0 && gaps.n == 0)
        return tell_step(t, "nothing is missing: the next cycle decides", -1, -1, t->now, true);
    for (size_t i = 0; i < gaps.n && r == 0; i++)
        r = tell_step(t, "read this, late enough to prove an absence", gaps.items[i].from,
                      gaps.items[i].to, earliest, i == 0);
    return r;
}

static int tell(struct telling *t)
{
    int r = tell_rows(t, "order", EXPLAIN_ORDER, WRITER_RECORD);

    if (r == 0)
        r = tell_window(t);
    if (r == 0)
        r = tell_attempts(t);
    if (r == 0)
        r = tell_rows(t, "claims", EXPLAIN_CLAIMS, WRITER_TABLE);
    if (r == 0)
        r = tell_rows(t, "decisions", EXPLAIN_RESOLUTIONS, WRITER_TABLE);
    if (r == 0)
        r = tell_rows(t, "verdicts", EXPLAIN_VERDICTS, WRITER_TABLE);
    if (r == 0)
        r = tell_sales(t);
    if (r == 0)
        r = tell_coverage(t);
    if (r == 0)
        r = tell_gaps(t);
    if (r == 0)
        r = tell_rows(t, "passes", EXPLAIN_RUNS, WRITER_TABLE);
    if (r == 0)
        r = tell_rows(t, "quarantine", EXPLAIN_QUARANTINE, WRITER_TABLE);
    return r < 0 ? r : tell_next(t);
}

/* The ledger's view is shown all the same; it is what the verdicts so far rest on. */
static void note_queued(struct ctl *ctl, const char *order_id)
{
    _cleanup_(db_close_p) struct db *queue = ctl_peek_queue(ctl);

    if (waiting_in_queue(queue, order_id) == 1)
        ctl_say(CTL_DONE, "note: an attempt of order %s waits in the queue", order_id);
}

/* What the daemon waits for: it may have learned to wait longer than it was told to. */
static int use_grace_in_force(struct db *ledger, struct match_settings *settings,
                              int64_t *ret_held_until)
{
    char grace[24];
    struct error err;

    if (ledger_get_meta(ledger, "absence_grace_ms", grace, sizeof(grace), &err) < 0 ||
        absence_held_until(ledger, ret_held_until, &err) < 0)
        return ctl_fail(EX_IOERR, &err);
    if (*grace)
        parse_int(grace, 0, INT64_MAX, &settings->absence_grace);
    return CTL_DONE;
}

int verb_explain(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *ledger = NULL;
    _cleanup_(writer_free_p) struct writer *writer = NULL;
    _cleanup_(explain_close_p) struct explain *order = NULL;
    const char *order_id = ctl_argument(ctl, 0);
    struct match_settings settings;
    struct telling telling;
    int64_t held_until = 0;
    struct error err;
    int status, r;

    if (ctl->format == WRITER_CSV)
        return ctl_usage(ctl, "--format csv: an explanation has rows of many kinds; use json");
    status = ctl_match_settings(ctl, &settings);
    if (status == CTL_DONE)
        status = ctl_open_ledger(ctl, &ledger);
    if (status == CTL_DONE)
        status = use_grace_in_force(ledger, &settings, &held_until);
    if (status == CTL_DONE)
        status = ctl_writer(ctl, WRITER_TABLE, &writer);
    if (status != CTL_DONE)
        return status;
    note_queued(ctl, order_id);
    r = explain_open(ledger, order_id, &settings,
                     ctl_option(ctl, "all") ? INT32_MAX : EXPLAIN_SALES, &order, &err);
    if (r == 0)
        return ctl_finish(writer, ctl_say(CTL_NO, "order %s is not in the ledger", order_id));
    telling = (struct telling){.order = order,
                               .settings = &settings,
                               .edge_lag = ctl->config->sync_edge_lag,
                               .held_until = held_until,
                               .now = clock_now(ctl->clock),
                               .writer = writer,
                               .sink = writer_sink(writer),
                               .err = &err};
    if (r > 0)
        r = tell(&telling);
    return r < 0 ? ctl_fail(EX_IOERR, &err) : ctl_finish(writer, CTL_DONE);
}
