#include "store/orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"

/* Texts and small arrays of a book live as long as the book: blocks in a list. */
struct book_memory {
    struct book_memory *next;
    char bytes[];
};

static void *book_allocate(struct order_book *book, size_t size)
{
    struct book_memory *block = calloc(1, sizeof(*block) + size);

    if (!block)
        return NULL;
    block->next = book->memory;
    book->memory = block;
    return block->bytes;
}

static const char *book_text(struct order_book *book, const char *text)
{
    char *copy = book_allocate(book, strlen(text) + 1);

    return copy ? memcpy(copy, text, strlen(text)) : NULL;
}

struct order_book *order_book_free(struct order_book *book)
{
    struct book_memory *next;

    if (!book)
        return NULL;
    for (; book->memory; book->memory = next) {
        next = book->memory->next;
        free(book->memory);
    }
    free(book->orders);
    free(book->states);
    free(book->sales);
    free(book->claims);
    free(book);
    return NULL;
}

static void money_column(struct db_stmt *stmt, int amount, int currency, struct money *ret)
{
    ret->minor = db_int(stmt, amount);
    db_copy(stmt, currency, ret->currency, sizeof(ret->currency));
}

static void card_columns(struct db_stmt *stmt, int first, struct card *ret)
{
    db_copy(stmt, first, ret->last_four, sizeof(ret->last_four));
    db_copy(stmt, first + 1, ret->brand, sizeof(ret->brand));
    db_copy(stmt, first + 2, ret->bin, sizeof(ret->bin));
    db_copy(stmt, first + 3, ret->email_hash, sizeof(ret->email_hash));
}

/* --- orders ----------------------------------------------------------------------------------- */

static int add_order(struct order_book *book, struct db_stmt *stmt)
{
    size_t n = book->n_orders;
    struct order_state *state;

    if (ARRAY_GROW(book->orders, n) < 0 || ARRAY_GROW(book->states, n) < 0)
        return -ENOMEM;
    book->orders[n] = (struct match_order){.id = book_text(book, db_text(stmt, 0))};
    state = &book->states[n];
    *state = (struct order_state){
        .revision = db_int(stmt, 2),
        .first_attempt_at = db_time(stmt, 3),
        .last_attempt_at = db_time(stmt, 4),
    };
    if (!book->orders[n].id || verdict_from_name(db_text(stmt, 1), &state->verdict) < 0)
        return book->orders[n].id ? -EBADMSG : -ENOMEM;
    db_copy(stmt, 5, state->transaction_id, sizeof(state->transaction_id));
    db_copy(stmt, 6, state->rule, sizeof(state->rule));
    db_copy(stmt, 7, state->reason, sizeof(state->reason));
    state->decided_at = db_time(stmt, 8);
    book->n_orders++;
    return 0;
}

static int load_attempts(struct db *ledger, struct order_book *book, struct match_order *order,
                         struct error *err)
{
    _cleanup_free_ struct match_attempt *attempts = NULL;
    struct match_attempt *kept;
    struct db_stmt *stmt;
    size_t n = 0;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT attempted_at, amount_minor, currency, card_last_four, card_brand,"
                 " card_bin, email_hash FROM attempts WHERE order_id = ? ORDER BY attempted_at",
                 "t", order->id);
    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        if (ARRAY_GROW(attempts, n) < 0) {
            db_done(stmt);
            return -ENOMEM;
        }
        attempts[n] = (struct match_attempt){.at = db_time(stmt, 0)};
        money_column(stmt, 1, 2, &attempts[n].amount);
        card_columns(stmt, 3, &attempts[n].card);
        n++;
        r = 0;
    }
    if (r < 0)
        return r;
    kept = book_allocate(book, n * sizeof(*kept));
    if (!kept)
        return -ENOMEM;
    if (n > 0)
        memcpy(kept, attempts, n * sizeof(*kept));
    order->attempts = kept;
    order->n_attempts = n;
    return 0;
}

/* Whoever said "not charged" spoke of what had been attempted until then: it is no leave to repeat
 * an attempt made since. */
static int load_resolution(struct db *ledger, struct order_book *book, size_t i, struct error *err)
{
    struct match_order *order = &book->orders[i];
    struct match_resolution *resolution;
    struct db_stmt *stmt;
    int r;

    r = db_query(
        ledger, &stmt, err,
        "SELECT decision, transaction_id, note, decided_by FROM resolutions r"
        " WHERE resolution_id = (SELECT max(resolution_id) FROM resolutions"
        "                        WHERE order_id = ?)"
        " AND (decision = 'charged'"
        "      OR NOT EXISTS (SELECT 1 FROM attempts a WHERE a.order_id = r.order_id"
        /* An attempt told in whole seconds may have come after a decision of that second. */
        "                     AND (a.attempted_at > r.decided_at"
        "                          OR (substr(a.attempted_at, 20) = '.000Z' AND"
        "                              substr(a.attempted_at, 1, 19) ="
        "                              substr(r.decided_at, 1, 19)))))",
        "t", order->id);
    if (r == 0)
        r = db_step(ledger, stmt, err);
    if (r <= 0)
        return r;
    resolution = book_allocate(book, sizeof(*resolution));
    if (resolution) {
        r = verdict_from_name(db_text(stmt, 0), &resolution->verdict);
        resolution->transaction_id = db_is_null(stmt, 1) ? NULL : book_text(book, db_text(stmt, 1));
        resolution->note = book_text(book, db_text(stmt, 2));
        db_copy(stmt, 3, book->states[i].decided_by, sizeof(book->states[i].decided_by));
        order->resolution = resolution;
    }
    db_done(stmt);
    return resolution ? r : -ENOMEM;
}

/* --- sales ------------------------------------------------------------------------------------ */

/* The ids of records that might be a sale of one of the orders, with repetitions. */
struct id_list {
    const char **items;
    size_t n;
};

static int collect(struct db *ledger, struct order_book *book, struct id_list *ids,
                   struct db_stmt *stmt, struct error *err)
{
    int r = 0;

    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        const char *id = book_text(book, db_text(stmt, 0));

        if (!id || ARRAY_GROW(ids->items, ids->n) < 0) {
            db_done(stmt);
            return -ENOMEM;
        }
        ids->items[ids->n++] = id;
        r = 0;
    }
    return r;
}

/* An amount that orders ask for, and when. */
struct span {
    struct money amount;
    int64_t from, to;
};

static int compare_spans(const void *left, const void *right)
{
    const struct span *a = left, *b = right;
    int r = strcmp(a->amount.currency, b->amount.currency);

    if (r)
        return r;
    if (a->amount.minor != b->amount.minor)
        return COMPARE(a->amount.minor, b->amount.minor);
    return COMPARE(a->from, b->from);
}

static int collect_span(struct db *ledger, struct order_book *book, struct id_list *ids,
                        const struct span *span, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT transaction_id FROM transactions WHERE currency = ?1"
                 " AND amount_minor = ?2 AND transacted_at BETWEEN ?3 AND ?4 UNION ALL "
                 "SELECT transaction_id FROM transactions WHERE currency = ?1"
                 " AND net_minor = ?2 AND transacted_at BETWEEN ?3 AND ?4",
                 "tiTT", span->amount.currency, span->amount.minor, span->from, span->to);
    return r < 0 ? r : collect(ledger, book, ids, stmt, err);
}

/* What fits an order's amount and window. Windows that overlap are read once: thousands of orders
 * with one price may wait at the same time. */
static int collect_by_amount(struct db *ledger, struct order_book *book, struct id_list *ids,
                             const struct match_settings *settings, struct error *err)
{
    _cleanup_free_ struct span *spans = NULL;
    size_t n = 0, merged = 0;
    int r = 0;

    for (size_t i = 0; i < book->n_orders; i++)
        for (size_t k = 0; k < book->orders[i].n_attempts; k++) {
            if (ARRAY_GROW(spans, n) < 0)
                return -ENOMEM;
            spans[n] = (struct span){.amount = book->orders[i].attempts[k].amount};
            match_window(&book->orders[i], settings, &spans[n].from, &spans[n].to);
            n++;
        }
    array_sort(spans, n, sizeof(*spans), compare_spans);
    for (size_t i = 0; i < n; i++) {
        struct span *last = merged > 0 ? &spans[merged - 1] : NULL;

        if (!last || !money_equal(last->amount, spans[i].amount) || spans[i].from > last->to)
            spans[merged++] = spans[i];
        else if (spans[i].to > last->to)
            last->to = spans[i].to;
    }
    for (size_t i = 0; i < merged && r == 0; i++)
        r = collect_span(ledger, book, ids, &spans[i], err);
    return r;
}

/* What somebody, or the record itself, says to be the order's. */
static int collect_own(struct db *ledger, struct order_book *book, struct id_list *ids,
                       const struct match_order *order, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT transaction_id FROM transactions WHERE order_ref = ?1 UNION ALL "
                 "SELECT t.transaction_id FROM claims c JOIN transactions t"
                 " ON t.transaction_id = c.transaction_id WHERE c.order_id = ?1 UNION ALL "
                 "SELECT transaction_id FROM transactions WHERE transaction_id = ?2",
                 "te", order->id, order->resolution ? order->resolution->transaction_id : NULL);
    return r < 0 ? r : collect(ledger, book, ids, stmt, err);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int load_sale(struct db *ledger, struct order_book *book, const char *id, struct error *err)
{
    struct match_sale *sale;
    struct db_stmt *stmt;
    int r;

    if (ARRAY_GROW(book->sales, book->n_sales) < 0)
        return -ENOMEM;
    r = db_query(ledger, &stmt, err,
                 "SELECT t.amount_minor, t.currency, t.net_minor, t.transacted_at, t.order_ref,"
                 " t.settled = 1 AND t.type = 'CreditCardSale' COLLATE NOCASE,"
                 " t.card_last_four, t.card_brand, t.card_bin, t.email_hash,"
                 " EXISTS (SELECT 1 FROM transactions v WHERE v.original_transaction_id = ?1"
                 "         AND v.settled = 1 AND v.type = 'CreditCardVoid' COLLATE NOCASE),"
                 " (SELECT sum(abs(v.amount_minor)) FROM transactions v"
                 "   WHERE v.original_transaction_id = ?1 AND v.settled = 1"
                 "     AND v.currency = t.currency"
                 "     AND lower(v.type) IN ('creditcardreversal', 'creditcardreturn')),"
                 " (SELECT o.order_id FROM verdict_sales s"
                 "    JOIN verdicts d ON d.verdict_id = s.verdict_id"
                 "    JOIN orders o ON o.order_id = d.order_id AND o.revision = d.revision"
                 "   WHERE s.transaction_id = ?1 AND s.assigned = 1 AND o.sealed = 1 LIMIT 1),"
                 " t.vanished_at IS NOT NULL"
                 " FROM transactions t WHERE t.transaction_id = ?1",
                 "t", id);
    if (r == 0)
        r = db_step(ledger, stmt, err);
    if (r <= 0)
        return r;
    sale = &book->sales[book->n_sales];
    *sale = (struct match_sale){
        .id = id,
        .at = db_time(stmt, 3),
        .order_ref = book_text(book, db_text(stmt, 4)),
        .is_sale = db_int(stmt, 5) != 0,
        .voided = db_int(stmt, 10) != 0,
        .vanished = db_int(stmt, 13) != 0,
        .returned_minor = db_int(stmt, 11),
        .sealed_for = book_text(book, db_text(stmt, 12)),
    };
    money_column(stmt, 0, 1, &sale->amount);
    money_column(stmt, 2, 1, &sale->net);
    card_columns(stmt, 6, &sale->card);
    db_done(stmt);
    if (!sale->order_ref || !sale->sealed_for)
        return -ENOMEM;
    book->n_sales++;
    return 0;
}

static int add_claims(struct db *ledger, struct order_book *book, const char *transaction_id,
                      const char *order_id, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT transaction_id, order_id FROM claims"
                 " WHERE transaction_id = ?1 OR order_id = ?2",
                 "tt", transaction_id, order_id);
    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        struct match_claim claim = {book_text(book, db_text(stmt, 0)),
                                    book_text(book, db_text(stmt, 1))};

        if (!claim.transaction_id || !claim.order_id ||
            ARRAY_GROW(book->claims, book->n_claims) < 0) {
            db_done(stmt);
            return -ENOMEM;
        }
        book->claims[book->n_claims++] = claim;
        r = 0;
    }
    return r;
}

static int load_around(struct db *ledger, struct order_book *book,
                       const struct match_settings *settings, struct error *err)
{
    struct id_list ids = {0};
    int r = 0;

    for (size_t i = 0; i < book->n_orders && r == 0; i++) {
        r = load_attempts(ledger, book, &book->orders[i], err);
        if (r == 0)
            r = load_resolution(ledger, book, i, err);
        if (r == 0)
            r = collect_own(ledger, book, &ids, &book->orders[i], err);
        if (r == 0)
            r = add_claims(ledger, book, NULL, book->orders[i].id, err);
    }
    if (r == 0)
        r = collect_by_amount(ledger, book, &ids, settings, err);
    array_sort(ids.items, ids.n, sizeof(*ids.items), compare_texts);
    for (size_t i = 0; i < ids.n && r == 0; i++) {
        if (i > 0 && strcmp(ids.items[i], ids.items[i - 1]) == 0)
            continue;
        r = load_sale(ledger, book, ids.items[i], err);
        if (r == 0)
            r = add_claims(ledger, book, ids.items[i], NULL, err);
    }
    free(ids.items);
    return r;
}

#define SELECT_ORDERS                                                                              \
    "SELECT o.order_id, o.verdict, o.revision, o.first_attempt_at, o.last_attempt_at,"             \
    " v.transaction_id, v.rule, v.reason, v.decided_at FROM orders o LEFT JOIN verdicts v"         \
    " ON v.order_id = o.order_id AND v.revision = o.revision"

static int load(struct db *ledger, const char *order_id, const struct match_settings *settings,
                struct order_book **ret, struct error *err)
{
    struct order_book *book = calloc(1, sizeof(*book));
    struct db_stmt *stmt;
    int r;

    if (!book)
        return error_set(err, -ENOMEM, "out of memory");
    r = order_id
            ? db_query(ledger, &stmt, err, SELECT_ORDERS " WHERE o.order_id = ?", "t", order_id)
            : db_query(ledger, &stmt, err,
                       SELECT_ORDERS " WHERE o.sealed = 0"
                                     " ORDER BY o.first_attempt_at, o.order_id",
                       "");
    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        r = add_order(book, stmt);
        if (r < 0)
            db_done(stmt);
    }
    if (r == 0)
        r = load_around(ledger, book, settings, err);
    if (r < 0) {
        order_book_free(book);
        if (r == -ENOMEM)
            return error_set(err, r, "out of memory");
        return r;
    }
    *ret = book;
    return 0;
}

int order_book_load(struct db *ledger, const struct match_settings *settings,
                    struct order_book **ret, struct error *err)
{
    return load(ledger, NULL, settings, ret, err);
}

int order_book_load_one(struct db *ledger, const char *order_id,
                        const struct match_settings *settings, struct order_book **ret,
                        struct error *err)
{
    struct order_book *book;
    int r = load(ledger, order_id, settings, &book, err);

    if (r < 0)
        return r;
    if (book->n_orders == 0) {
        order_book_free(book);
        return 0;
    }
    *ret = book;
    return 1;
}

int orders_open(struct db *ledger, struct open_order **ret, size_t *ret_n, struct error *err)
{
    _cleanup_free_ struct open_order *orders = NULL;
    struct db_stmt *stmt;
    size_t n = 0;
    int r;

    r = db_query(ledger, &stmt, err,
                 "SELECT first_attempt_at, last_attempt_at FROM orders"
                 " WHERE sealed = 0 AND verdict = 'pending' ORDER BY first_attempt_at",
                 "");
    while (r == 0 && (r = db_step(ledger, stmt, err)) > 0) {
        if (ARRAY_GROW(orders, n) < 0) {
            db_done(stmt);
            return error_set(err, -ENOMEM, "out of memory");
        }
        orders[n++] = (struct open_order){db_time(stmt, 0), db_time(stmt, 1)};
        r = 0;
    }
    if (r < 0)
        return r;
    *ret = TAKE_PTR(orders);
    *ret_n = n;
    return 0;
}

/* --- verdicts --------------------------------------------------------------------------------- */

int orders_add_verdict(struct db *ledger, const struct order_book *book, size_t order,
                       const struct match_result *result, int64_t now, int64_t *ret_verdict_id,
                       struct error *err)
{
    const char *id = book->orders[order].id;
    int64_t revision = book->states[order].revision + 1;
    int64_t verdict_id;
    int r;

    r = db_run(ledger, err,
               "INSERT INTO verdicts (order_id, revision, verdict, safe_to_retry, transaction_id,"
               " rule, reason, decided_at, decided_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
               "titbeetTe", id, revision, verdict_name(result->verdict),
               (int)verdict_safe_to_retry(result->verdict), result->transaction_id,
               rule_name(result->rule), result->reason, now,
               result->rule == RULE_PERSON ? book->states[order].decided_by : NULL);
    verdict_id = db_last_id(ledger);
    for (size_t i = 0; i < result->n_candidates && r == 0; i++)
        r = db_run(ledger, err,
                   "INSERT INTO verdict_sales (verdict_id, transaction_id, fit, assigned)"
                   " VALUES (?, ?, ?, ?)",
                   "ittb", verdict_id, result->candidates[i].transaction_id,
                   fit_text(result->candidates[i].fit), (int)result->candidates[i].assigned);
    if (r == 0)
        r = db_run(ledger, err, "UPDATE orders SET verdict = ?2, revision = ?3 WHERE order_id = ?1",
                   "tti", id, verdict_name(result->verdict), revision);
    if (r == 0)
        *ret_verdict_id = verdict_id;
    return r;
}

int orders_add_evidence(struct db *ledger, int64_t verdict_id, int64_t run_id, struct error *err)
{
    return db_run(ledger, err, "INSERT INTO verdict_runs (verdict_id, run_id) VALUES (?, ?)", "ii",
                  verdict_id, run_id);
}

/* An order under review stays: without it, those that compete with it for a sale would seem to have
 * it for themselves. */
int orders_seal(struct db *ledger, int64_t before, struct error *err)
{
    return db_run(ledger, err,
                  "UPDATE orders SET sealed = 1 WHERE sealed = 0"
                  " AND verdict NOT IN ('pending', 'needs_review') AND last_attempt_at < ?",
                  "T", before);
}
