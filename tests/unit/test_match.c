#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/match.h"

enum { MAX = 8, LONG = 20000 };

#define SECOND INT64_C(1000)
#define HOUR   (3600 * SECOND)
#define T      INT64_C(1795355000000) /* 2026-11-22, when orders are attempted */

static struct world {
    struct match_settings settings;
    int64_t now;
    struct match_order orders[MAX];
    struct match_attempt attempts[MAX][MAX];
    struct match_resolution resolutions[MAX];
    struct match_sale sales[MAX];
    struct match_claim claims[MAX];
    size_t n_orders, n_sales, n_claims;
    struct match_result *results;
    size_t n_results;
} w;

static int fresh_world(void **state)
{
    (void)state;
    match_results_free(w.results, w.n_results);
    memset(&w, 0, sizeof(w));
    w.settings = (struct match_settings){.before = 120 * SECOND,
                                         .after = 900 * SECOND,
                                         .absence_grace = 900 * SECOND,
                                         .late_watch = 72 * HOUR};
    w.now = T + HOUR;
    return 0;
}

static struct money money(int64_t minor, const char *currency)
{
    struct money m = {.minor = minor};

    memcpy(m.currency, currency, sizeof(m.currency));
    return m;
}

static struct card card(const char *last_four, const char *bin, const char *brand,
                        const char *email_hash)
{
    struct card c;

    snprintf(c.last_four, sizeof(c.last_four), "%s", last_four);
    snprintf(c.bin, sizeof(c.bin), "%s", bin);
    snprintf(c.brand, sizeof(c.brand), "%s", brand);
    snprintf(c.email_hash, sizeof(c.email_hash), "%s", email_hash);
    return c;
}

/* An order of 49.00 USD by the card that ends in 4242, without anything else known of it. */
static struct match_order *add_order(const char *id, int64_t at)
{
    size_t i = w.n_orders++;

    w.attempts[i][0] = (struct match_attempt){
        .at = at, .amount = money(4900, "USD"), .card = card("4242", "", "", "")};
    w.orders[i] = (struct match_order){.id = id, .attempts = w.attempts[i], .n_attempts = 1};
    return &w.orders[i];
}

static struct match_attempt *attempt(const struct match_order *order, size_t k)
{
    return &w.attempts[order - w.orders][k];
}

static struct match_attempt *add_attempt(struct match_order *order, int64_t at)
{
    struct match_attempt *last = attempt(order, order->n_attempts++);

    *last = *attempt(order, 0);
    last->at = at;
    return last;
}

static struct match_sale *add_sale(const char *id, int64_t at)
{
    struct match_sale *sale = &w.sales[w.n_sales++];

    *sale = (struct match_sale){.id = id,
                                .amount = money(4900, "USD"),
                                .net = money(4900, "USD"),
                                .at = at,
                                .card = card("4242", "", "", ""),
                                .is_sale = true};
    return sale;
}

static void add_claim(const char *transaction_id, const char *order_id)
{
    w.claims[w.n_claims++] =
        (struct match_claim){.transaction_id = transaction_id, .order_id = order_id};
}

static struct match_resolution *resolve(struct match_order *order, enum verdict verdict,
                                        const char *transaction_id)
{
    struct match_resolution *resolution = &w.resolutions[order - w.orders];

    *resolution = (struct match_resolution){
        .verdict = verdict, .transaction_id = transaction_id, .note = "called the customer"};
    order->resolution = resolution;
    return resolution;
}

static int run(void)
{
    const struct match_input input = {.orders = w.orders,
                                      .n_orders = w.n_orders,
                                      .sales = w.sales,
                                      .n_sales = w.n_sales,
                                      .claims = w.claims,
                                      .n_claims = w.n_claims,
                                      .now = w.now,
                                      .settings = w.settings};

    match_results_free(w.results, w.n_results);
    w.results = NULL;
    w.n_results = w.n_orders;
    return match(&input, &w.results);
}

static const struct match_result *result_of(const char *order_id)
{
    for (size_t i = 0; i < w.n_orders; i++)
        if (strcmp(w.orders[i].id, order_id) == 0)
            return &w.results[i];
    fail();
    return NULL;
}

static void expect(const char *order_id, enum verdict verdict, enum rule rule,
                   const char *transaction_id)
{
    const struct match_result *result = result_of(order_id);

    if (result->verdict != verdict || result->rule != rule)
        print_message("%s: %s\n", order_id, result->reason);
    assert_int_equal(result->verdict, verdict);
    assert_int_equal(result->rule, rule);
    assert_string_equal(result->transaction_id, transaction_id);
    assert_true(*result->reason);
}

static void expect_reason(const char *order_id, const char *part)
{
    const char *reason = result_of(order_id)->reason;

    if (!strstr(reason, part))
        print_message("'%s' is not in '%s'\n", part, reason);
    assert_non_null(strstr(reason, part));
}

static void decide(void)
{
    assert_int_equal(run(), 0);
}

static void expect_review(const char *order_id)
{
    expect(order_id, VERDICT_NEEDS_REVIEW, RULE_NONE, "");
}

/* The fit of the world's first order and first sale. */
static enum fit fit(void)
{
    return match_fit(&w.orders[0], &w.sales[0], false, false, &w.settings);
}

/* --- one order, one sale -----------------------------------------------------------------------*/

static void by_each_rule(void **state)
{
    struct match_attempt *a = attempt(add_order("A", T), 0);
    struct match_sale *s = add_sale("S", T + SECOND);

    (void)state;
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
    expect_reason("A", "Sale S agrees in amount, time, last four");

    a->card = s->card = card("", "411111", "", "");
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
    expect_reason("A", "BIN");

    a->card = s->card = card("", "", "", "f00d");
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
    expect_reason("A", "e-mail");

    s->order_ref = "A";
    decide();
    expect("A", VERDICT_CHARGED, RULE_REFERENCE, "S");

    add_claim("S", "A");
    decide();
    expect("A", VERDICT_CHARGED, RULE_CLAIM, "S");
}

static void amount_alone(void **state)
{
    struct match_sale *s;

    (void)state;
    attempt(add_order("A", T), 0)->card = card("", "", "Visa", "");
    s = add_sale("S", T);
    s->card = card("4242", "424242", "VISA", "f00d"); /* a brand in common identifies nobody */
    assert_int_equal(fit(), FIT_AMOUNT);
    decide();
    expect_review("A");
    expect_reason("A", "Nothing but amount and time");

    w.settings.accept_amount_only = true;
    decide();
    expect("A", VERDICT_CHARGED, RULE_AMOUNT, "S");

    add_sale("S2", T)->card = s->card;
    decide();
    expect_review("A");
    w.sales[0].voided = w.sales[1].voided = true;
    decide();
    expect("A", VERDICT_REVERSED, RULE_AMOUNT, "S");
}

static void contradictions(void **state)
{
    struct match_order *o = add_order("A", T);
    struct match_attempt *a = attempt(o, 0);
    struct match_sale *s = add_sale("S", T);
    const struct card all = card("4242", "424242", "Visa", "f00d");

    (void)state;
    a->card = s->card = all;
    assert_int_equal(fit(), FIT_IDENTITY);
    s->card = card("4243", "424242", "Visa", "f00d");
    assert_int_equal(fit(), FIT_LAST_FOUR);
    s->card = card("4242", "424243", "Visa", "f00d");
    assert_int_equal(fit(), FIT_BIN);
    s->card = card("4242", "424242", "Amex", "f00d");
    assert_int_equal(fit(), FIT_BRAND);
    s->card = card("4242", "424242", "Visa", "f00e");
    assert_int_equal(fit(), FIT_EMAIL);
    s->card = all;
    s->amount = s->net = money(4901, "USD");
    assert_int_equal(fit(), FIT_MONEY);
    s->amount = s->net = money(4900, "EUR");
    assert_int_equal(fit(), FIT_CURRENCY);
    s->amount = s->net = money(4900, "USD");
    s->order_ref = "B";
    assert_int_equal(fit(), FIT_OTHER_REFERENCE);
    s->order_ref = "";
    s->sealed_for = "Z";
    assert_int_equal(fit(), FIT_CLAIMED_BY_OTHER);
    s->sealed_for = "A";
    assert_int_equal(fit(), FIT_IDENTITY);
    assert_int_equal(match_fit(o, s, false, true, &w.settings), FIT_CLAIMED_BY_OTHER);
    assert_int_equal(match_fit(o, s, true, true, &w.settings), FIT_CLAIMED_BY_OTHER);
    assert_int_equal(match_fit(o, s, true, false, &w.settings), FIT_CLAIM);
    s->is_sale = false;
    assert_int_equal(fit(), FIT_NOT_A_SALE);
    assert_int_equal(match_fit(o, s, true, false, &w.settings), FIT_NOT_A_SALE);
}

static void card_spelling(void **state)
{
    struct match_attempt *a = attempt(add_order("A", T), 0);
    struct match_sale *s = add_sale("S", T);

    (void)state;
    a->card = card("", "42424242", "MasterCard", "");
    s->card = card("", "424242", "MASTERCARD", "");
    assert_int_equal(fit(), FIT_IDENTITY); /* six digits of eight */
    s->card = card("", "42424299", "mastercard", "");
    assert_int_equal(fit(), FIT_BIN);
    a->card = card("", "424242", "", "");
    assert_int_equal(fit(), FIT_IDENTITY);
    a->card = card("", "42424", "", ""); /* too short to be one */
    assert_int_equal(fit(), FIT_AMOUNT);
}

static void net_amount(void **state)
{
    struct match_sale *s;

    (void)state;
    add_order("A", T);
    s = add_sale("S", T);
    s->amount = money(5500, "USD"); /* with a tip */
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
    s->net = money(4800, "USD");
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE, "");
    s->amount = money(4900, "USD");
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
}

static void window_ends(void **state)
{
    struct match_order *o = add_order("A", T);
    struct match_sale *s = add_sale("S", 0);
    const int64_t first = T - 120 * SECOND, last = T + 10 * SECOND + 900 * SECOND;
    int64_t from, to;

    (void)state;
    add_attempt(o, T + 10 * SECOND);
    match_window(o, &w.settings, &from, &to);
    assert_int_equal(from, first);
    assert_int_equal(to, last);

    for (int i = 0; i < 4; i++) {
        static const bool in[] = {true, true, false, false};
        const int64_t at[] = {first, last, first - 1, last + 1};

        s->at = at[i];
        assert_int_equal(fit(), in[i] ? FIT_IDENTITY : FIT_TIME);
        decide();
        if (in[i])
            expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
        else
            expect("A", VERDICT_PENDING, RULE_NONE, "");
    }

    s->order_ref = "A";
    s->at = T - 72 * HOUR;
    assert_int_equal(fit(), FIT_REFERENCE);
    s->at--;
    assert_int_equal(fit(), FIT_TIME);
    s->at = T + 10 * SECOND + 72 * HOUR;
    assert_int_equal(fit(), FIT_REFERENCE);
    s->at++;
    assert_int_equal(fit(), FIT_TIME);
    w.settings.late_watch = 0; /* widens, and never narrows */
    s->at = last;
    assert_int_equal(fit(), FIT_REFERENCE);
}

static void times_at_the_ends_of_the_world(void **state)
{
    struct match_order *o = add_order("A", INT64_MIN);
    int64_t from, to;

    (void)state;
    add_attempt(o, INT64_MAX);
    match_window(o, &w.settings, &from, &to);
    assert_true(from == INT64_MIN && to == INT64_MAX);
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE, "");
}

/* The amount of one attempt and the card of another are no evidence. */
static void attempts_agree_as_a_whole(void **state)
{
    struct match_order *o = add_order("A", T);
    struct match_attempt *second = add_attempt(o, T + SECOND);
    struct match_sale *s = add_sale("S", T);

    (void)state;
    second->amount = money(5200, "USD");
    second->card = card("1881", "", "", "");
    s->card = second->card;
    assert_int_equal(fit(), FIT_LAST_FOUR); /* the first got further than the second's amount */
    s->amount = s->net = second->amount;
    assert_int_equal(fit(), FIT_IDENTITY);
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
    s->amount = s->net = money(1, "USD");
    assert_int_equal(fit(), FIT_MONEY);
}

/* --- several -----------------------------------------------------------------------------------*/

static void contested_pair(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T + SECOND);
    add_sale("S", T + 2 * SECOND);
    decide();
    expect_review("A");
    expect_review("B");
    expect_reason("A", "Contested: 2 orders have 1 sale between them; this order fits S, and the "
                       "other orders are B");
}

static void two_and_two(void **state)
{
    (void)state;
    add_order("B", T + SECOND);
    add_order("A", T);
    add_sale("S2", T + 3 * SECOND);
    add_sale("S1", T + 2 * SECOND);
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S1");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S2");

    add_sale("S0", T + 2 * SECOND); /* the same instant: the id decides */
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S0");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S1");
    expect_reason("A", "surplus sales: 1");
}

/* A has S1 in its window, both have S2: so A has S1, though S2 would fit it as well. */
static void chained_windows(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T + 300 * SECOND);
    add_sale("S1", T + 10 * SECOND);
    add_sale("S2", T + 400 * SECOND);
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S1");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S2");
    assert_int_equal(result_of("A")->n_candidates, 2);
    assert_true(result_of("A")->candidates[0].assigned);
    assert_false(result_of("A")->candidates[1].assigned);
}

/* A{S1,S2,S3} B{S3}: B has S3 for certain, and A one of two. */
static void sale_needed_by_another(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T + 600 * SECOND);
    add_sale("S1", T + 10 * SECOND);
    add_sale("S2", T + 20 * SECOND);
    add_sale("S3", T + 700 * SECOND);
    decide();
    expect_review("A");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S3");

    w.settings.claims_complete = true;
    decide();
    expect("A", VERDICT_DOUBLE_CHARGED, RULE_IDENTITY, "S1");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S3");
}

/* A's own sale is not given up for one that came earlier. */
static void surest_before_earliest(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T + SECOND);
    add_sale("S1", T + 10 * SECOND);
    add_sale("S2", T + 20 * SECOND);
    add_sale("S3", T + 30 * SECOND)->order_ref = "A";
    decide();
    expect("A", VERDICT_CHARGED, RULE_REFERENCE, "S3");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S1");
}

static void reversed_among_several(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T + SECOND);
    add_sale("S1", T + 10 * SECOND)->voided = true;
    add_sale("S2", T + 20 * SECOND);
    decide();
    expect_review("A");
    expect_review("B");
    w.sales[1].returned_minor = 4900;
    decide();
    expect("A", VERDICT_REVERSED, RULE_IDENTITY, "S1");
    expect("B", VERDICT_REVERSED, RULE_IDENTITY, "S2");
}

/* In a busy shop somebody always pays the same: an order that has its sale needs no look at those.
 */
static void reference_among_lookalikes(void **state)
{
    (void)state;
    attempt(add_order("A", T), 0)->card = card("", "", "", "");
    add_sale("S1", T + 10 * SECOND)->order_ref = "A";
    add_sale("S2", T + 20 * SECOND);
    add_sale("S3", T + 30 * SECOND);
    decide();
    expect("A", VERDICT_CHARGED, RULE_REFERENCE, "S1");
    /* Once that sale is voided, one of the others may be a further one of this order. */
    w.sales[0].voided = true;
    decide();
    expect_review("A");
}

/* The record was there, and is not any more: no machine's business. */
static void vanished_sale(void **state)
{
    (void)state;
    add_order("A", T);
    add_sale("S1", T + 10 * SECOND);
    w.sales[0].vanished = true;
    decide();
    expect_review("A");
    expect_reason("A", "Sale S1 fits, but the API does not show it any more");
    /* A vanished lookalike that is not the order's changes nothing. */
    w.sales[0].order_ref = "B";
    add_sale("S2", T + 20 * SECOND);
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S2");
}

static void amount_alone_among_several(void **state)
{
    (void)state;
    attempt(add_order("A", T), 0)->card = card("", "", "", "");
    add_order("B", T + SECOND);
    add_sale("S1", T + 10 * SECOND);
    add_sale("S2", T + 20 * SECOND);
    decide();
    expect_review("A");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S2");
    w.settings.accept_amount_only = true;
    decide();
    expect("A", VERDICT_CHARGED, RULE_AMOUNT, "S1");
}

/* --- claims and references ---------------------------------------------------------------------*/

static void claim_needs_no_other_evidence(void **state)
{
    struct match_sale *s;

    (void)state;
    add_order("A", T);
    s = add_sale("S", T - 500 * HOUR);
    s->amount = s->net = money(100, "EUR");
    s->card = card("0000", "", "", "");
    add_claim("S", "A");
    add_claim("S", "A"); /* said twice is said once */
    decide();
    expect("A", VERDICT_CHARGED, RULE_CLAIM, "S");
    expect_reason("A", "another amount, 1.00 EUR");
}

static void claim_without_record(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T);
    add_claim("S", "A");
    decide();
    expect("A", VERDICT_CHARGED, RULE_CLAIM, "S");
    expect_reason("A", "no record of it yet");
    assert_int_equal(result_of("A")->n_candidates, 1);
    assert_string_equal(result_of("A")->candidates[0].transaction_id, "S");
    assert_true(result_of("A")->candidates[0].assigned);
    expect("B", VERDICT_PENDING, RULE_NONE, "");

    add_claim("S", "B");
    decide();
    expect_review("A");
    expect_review("B");
    expect_reason("B", "transaction S for this order, but it is also that of order A");
}

/* A has its claimed sale, so the other one is B's beyond doubt. */
static void claim_frees_the_other_sale(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T);
    add_sale("S", T);
    add_claim("X", "A");
    decide();
    expect("A", VERDICT_CHARGED, RULE_CLAIM, "X");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S");
}

static void claimed_by_another(void **state)
{
    (void)state;
    add_order("A", T);
    add_sale("S", T);
    add_claim("S", "Z"); /* an order that is not in question */
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE, "");
    assert_int_equal(result_of("A")->n_candidates, 0);

    add_claim("S", "A");
    decide();
    expect_review("A");
    assert_int_equal(result_of("A")->n_candidates, 1);
    assert_int_equal(result_of("A")->candidates[0].fit, FIT_CLAIMED_BY_OTHER);
    assert_true(result_of("A")->candidates[0].claim_conflict);
    assert_false(result_of("A")->candidates[0].reference_conflict);
}

static void claimed_and_sealed(void **state)
{
    (void)state;
    add_order("A", T);
    add_sale("S", T)->sealed_for = "Z";
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE, "");
    add_claim("S", "A");
    decide();
    expect_review("A");
    expect_reason("A", "it is also that of order Z");
}

static void claim_of_no_sale(void **state)
{
    (void)state;
    add_order("A", T);
    add_sale("V", T)->is_sale = false;
    add_sale("S", T);
    add_claim("V", "A");
    decide();
    expect_review("A");
    expect_reason("A", "it is not a settled sale");
    w.claims[0].order_id = "B";
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
}

static void claimed_by_one_with_the_id_of_the_other(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T);
    add_sale("S", T)->order_ref = "B";
    add_claim("S", "A");
    decide();
    expect("A", VERDICT_CHARGED, RULE_CLAIM, "S");
    expect_review("B");
    expect_reason("B", "S carries this order's id, but: belongs to another order");
    assert_true(result_of("B")->candidates[0].reference_conflict);
}

static void reference_that_disagrees(void **state)
{
    struct match_sale *s;

    (void)state;
    add_order("A", T)->absence = ABSENCE_PROVEN;
    s = add_sale("S", T);
    s->order_ref = "A";
    s->amount = s->net = money(5900, "USD");
    decide();
    expect_review("A");
    expect_reason("A", "Sale S carries this order's id, but: amount differs, 59.00 USD");

    w.now = T + 900 * SECOND - 1;
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE, "");
    w.now++;
    decide();
    expect_review("A");

    add_sale("S2", T); /* by identity: not enough against the record */
    decide();
    expect_review("A");
    assert_false(result_of("A")->candidates[0].assigned);
    assert_false(result_of("A")->candidates[1].assigned);

    w.sales[1].order_ref = "A";
    decide();
    expect("A", VERDICT_CHARGED, RULE_REFERENCE, "S2");
    expect_reason("A", "; sale S carries this order's id, but: amount differs, 59.00 USD");

    w.sales[1].voided = true; /* else the order could be charged again */
    decide();
    expect_review("A");

    s->is_sale = false; /* one that was declined says nothing */
    decide();
    expect("A", VERDICT_REVERSED, RULE_REFERENCE, "S2");
}

static void reference_of_nobody_is_no_reference(void **state)
{
    (void)state;
    add_order("A", T);
    add_sale("S", T)->order_ref = "";
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
}

/* --- twice, and taken back ---------------------------------------------------------------------*/

static void charged_twice(void **state)
{
    (void)state;
    add_order("A", T);
    add_sale("S2", T + 2 * SECOND)->order_ref = "A";
    add_sale("S1", T + 3 * SECOND)->order_ref = "A";
    decide();
    expect("A", VERDICT_DOUBLE_CHARGED, RULE_REFERENCE, "S2");
    expect_reason("A", "S2, S1");
    assert_true(result_of("A")->candidates[0].assigned && result_of("A")->candidates[1].assigned);

    add_claim("S2", "A");
    decide();
    expect("A", VERDICT_DOUBLE_CHARGED, RULE_REFERENCE, "S2"); /* the weakest link */
    add_claim("S1", "A");
    decide();
    expect("A", VERDICT_DOUBLE_CHARGED, RULE_CLAIM, "S2");

    w.sales[0].voided = true;
    decide();
    expect("A", VERDICT_CHARGED, RULE_CLAIM, "S1");
    w.sales[1].voided = true;
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE,
           ""); /* claims are of other calls than the one in doubt */
    w.orders[0].absence = ABSENCE_PROVEN;
    decide();
    expect("A", VERDICT_REVERSED, RULE_CLAIM, "S2");
}

static void reversed_while_more_may_be_charged(void **state)
{
    struct match_order *a;

    (void)state;
    a = add_order("A", T);
    add_attempt(a, T + 60 * SECOND);
    add_sale("S1", T)->order_ref = "A";
    w.sales[0].voided = true;
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE, ""); /* the second attempt is not accounted for */
    a->absence = ABSENCE_BLOCKED;
    decide();
    expect("A", VERDICT_NEEDS_REVIEW, RULE_NONE, "");
    a->absence = ABSENCE_PROVEN;
    decide();
    expect("A", VERDICT_REVERSED, RULE_REFERENCE, "S1");

    /* B might have S2, but A might have it too. */
    add_sale("S2", T);
    add_order("B", T);
    decide();
    expect("A", VERDICT_NEEDS_REVIEW, RULE_NONE, "");
}

static void charged_twice_before_the_grace_is_over(void **state)
{
    (void)state;
    add_order("A", T);
    add_sale("S1", T)->order_ref = "A";
    add_claim("S2", "A");
    w.now = T + SECOND;
    decide();
    expect("A", VERDICT_DOUBLE_CHARGED, RULE_REFERENCE, "S1");
}

static void two_by_identity(void **state)
{
    (void)state;
    add_order("A", T);
    add_sale("S1", T + SECOND);
    add_sale("S2", T + 2 * SECOND);
    decide();
    expect_review("A"); /* one of them may be a sale that the app did not report */
    expect_reason("A", "the app does not report every sale");

    w.settings.claims_complete = true;
    decide();
    expect("A", VERDICT_DOUBLE_CHARGED, RULE_IDENTITY, "S1");

    w.sales[0].voided = true;
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S2");
    w.settings.claims_complete = false;
    decide();
    expect_review("A");

    w.sales[0].voided = false;
    w.sales[0].order_ref = "A"; /* surely this one, perhaps the other too */
    decide();
    expect_review("A");
    w.sales[1].voided = true;
    decide();
    expect("A", VERDICT_CHARGED, RULE_REFERENCE, "S1");
}

static void taken_back(void **state)
{
    struct match_sale *s;

    (void)state;
    add_order("A", T);
    s = add_sale("S", T);
    s->returned_minor = 4899;
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
    expect_reason("A", "returned in part: 48.99 USD");
    s->returned_minor = 4900;
    decide();
    expect("A", VERDICT_REVERSED, RULE_IDENTITY, "S");
    expect_reason("A", "returned in full: 49.00 USD");
    s->returned_minor = 5000;
    decide();
    expect("A", VERDICT_REVERSED, RULE_IDENTITY, "S");
    s->returned_minor = 0;
    s->voided = true;
    decide();
    expect("A", VERDICT_REVERSED, RULE_IDENTITY, "S");
    expect_reason("A", "voided");
}

/* A return is measured against what was charged, tip included. */
static void returned_without_the_tip(void **state)
{
    struct match_sale *s;

    (void)state;
    add_order("A", T);
    s = add_sale("S", T);
    s->amount = money(5500, "USD");
    s->returned_minor = 4900;
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
}

static void currencies_without_two_decimals(void **state)
{
    static const struct {
        const char *currency, *text;
    } cases[] = {{"JPY", "returned in part: 1000 JPY"}, {"BHD", "returned in part: 1.000 BHD"}};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct match_sale *s;

        fresh_world(NULL);
        attempt(add_order("A", T), 0)->amount = money(4900, cases[i].currency);
        s = add_sale("S", T);
        s->amount = s->net = money(4900, cases[i].currency);
        s->returned_minor = 1000;
        decide();
        expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
        expect_reason("A", cases[i].text);
    }
}

/* --- absence, grace, people --------------------------------------------------------------------*/

static void absence(void **state)
{
    struct match_order *o = add_order("A", T - HOUR);

    (void)state;
    add_attempt(o, T); /* the last attempt counts */
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE, "");
    o->absence = ABSENCE_PROVEN;
    decide();
    expect("A", VERDICT_NOT_CHARGED, RULE_ABSENCE, "");
    w.now = T + 900 * SECOND;
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE, "");
    w.now++;
    decide();
    expect("A", VERDICT_NOT_CHARGED, RULE_ABSENCE, "");
    o->absence = ABSENCE_BLOCKED;
    decide();
    expect_review("A");
    w.now = T;
    decide();
    expect("A", VERDICT_PENDING, RULE_NONE, "");
}

static void no_absence_beside_a_sale(void **state)
{
    (void)state;
    add_order("A", T)->absence = ABSENCE_PROVEN;
    add_order("B", T)->absence = ABSENCE_PROVEN;
    add_sale("S", T);
    decide();
    expect_review("A");
    expect_review("B");
}

static void doubt_waits_for_the_grace(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T + 10 * SECOND);
    add_sale("S", T);
    w.now = T + 905 * SECOND;
    decide();
    expect_review("A");
    expect("B", VERDICT_PENDING, RULE_NONE, "");
    expect_reason("B", "Held until 2026-");
    expect_reason("B", "Z: contested");
}

static void a_person_decides(void **state)
{
    struct match_order *a = add_order("A", T), *b;

    (void)state;
    b = add_order("B", T);
    add_sale("S", T);
    resolve(a, VERDICT_NOT_CHARGED, NULL);
    decide();
    expect("A", VERDICT_NOT_CHARGED, RULE_PERSON, "");
    expect_reason("A", "called the customer");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S");

    resolve(a, VERDICT_CHARGED, "S"); /* then it is not B's */
    decide();
    expect("A", VERDICT_CHARGED, RULE_PERSON, "S");
    assert_true(result_of("A")->candidates[0].assigned);
    expect("B", VERDICT_PENDING, RULE_NONE, "");

    add_claim("S", "B"); /* the app says otherwise: A stays, and B is looked at */
    decide();
    expect("A", VERDICT_CHARGED, RULE_PERSON, "S");
    expect_review("B");

    resolve(b, VERDICT_NOT_CHARGED, NULL)->note = NULL;
    decide();
    expect("B", VERDICT_NOT_CHARGED, RULE_PERSON, "");
}

/* --- form --------------------------------------------------------------------------------------*/

static void bad_input(void **state)
{
    (void)state;
    assert_int_equal(run(), 0); /* nothing is decided about nothing */
    add_order("A", T);
    decide();
    w.orders[0].n_attempts = 0;
    assert_int_equal(run(), -EINVAL);
    assert_null(w.results);
    w.orders[0].n_attempts = 1;
    add_order("A", T + SECOND);
    assert_int_equal(run(), -EINVAL);
    w.n_orders = 1;
    add_order("B", T);
    add_order("A", T + SECOND); /* not beside the other in any order */
    assert_int_equal(run(), -EINVAL);
    w.n_orders = 1;
    add_sale("S", T);
    add_sale("R", T);
    add_sale("S", T + SECOND);
    assert_int_equal(run(), -EINVAL);
}

static void candidates_in_order(void **state)
{
    static const char *const ids[] = {"S0", "S1", "S2", "S3"};
    const struct match_result *result;

    (void)state;
    add_order("A", T);
    add_sale("S3", T + 20 * SECOND);
    add_sale("S2", T + 10 * SECOND);
    add_sale("S0", T - 70 * HOUR)->order_ref = "A";
    add_sale("S1", T + 10 * SECOND);
    add_sale("no", T + 10 * SECOND)->card = card("0000", "", "", "");
    decide();
    result = result_of("A");
    assert_int_equal(result->n_candidates, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(result->candidates[i].transaction_id, ids[i]);
        assert_int_equal(result->candidates[i].fit, i == 0 ? FIT_REFERENCE : FIT_IDENTITY);
    }
}

/* The surest sale was paid back; the next is live, and no other order's. */
static void live_reference_beside_a_reversed_claim(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T);
    add_sale("S1", T);
    add_sale("S2", T);
    add_sale("C", T)->voided = true;
    add_sale("R", T)->order_ref = "A";
    add_claim("C", "A");
    decide();
    expect("A", VERDICT_CHARGED, RULE_REFERENCE, "R");
    expect("B", VERDICT_CHARGED, RULE_IDENTITY, "S1");
}

/* What a sealed order has, it has when it is looked at again, and keeps from others. */
static void its_own_sealed_sale(void **state)
{
    (void)state;
    add_order("A", T);
    add_order("B", T);
    add_sale("S", T)->sealed_for = "A";
    decide();
    expect("A", VERDICT_CHARGED, RULE_IDENTITY, "S");
    expect("B", VERDICT_PENDING, RULE_NONE, "");
}

/* --- reasons -----------------------------------------------------------------------------------
 * An accountant reads them, and an order's verdict is stored anew when its reason changes. */

static void expect_whole_reason(const char *order_id, const char *reason)
{
    assert_string_equal(result_of(order_id)->reason, reason);
}

static void reasons_for_evidence(void **state)
{
    struct match_order *o = add_order("A", T);
    struct match_sale *s = add_sale("S", T);

    (void)state;
    attempt(o, 0)->card = s->card = card("4242", "411111", "", "f00d");
    decide();
    expect_whole_reason("A", "Sale S agrees in amount, time, last four, BIN, e-mail");
    s->returned_minor = 100;
    decide();
    expect_whole_reason("A", "Sale S agrees in amount, time, last four, BIN, e-mail; returned in "
                             "part: 1.00 USD");
    s->returned_minor = 4900;
    decide();
    expect_whole_reason("A", "Sale S agrees in amount, time, last four, BIN, e-mail; returned in "
                             "full: 49.00 USD");
    s->voided = true;
    decide();
    expect_whole_reason("A",
                        "Sale S agrees in amount, time, last four, BIN, e-mail; it was voided");
    s->voided = false;
    s->returned_minor = 0;
    s->order_ref = "A";
    decide();
    expect_whole_reason("A", "Sale S carries this order's id, and nothing in it disagrees");
    add_claim("S", "A");
    decide();
    expect_whole_reason("A", "The app reported sale S for this order");
    *attempt(o, 1) = *attempt(o, 0); /* of which the order knows nothing */
    attempt(o, 0)->amount = money(1, "USD");
    decide();
    expect_whole_reason("A", "The app reported sale S for this order, though with another amount, "
                             "49.00 USD");
    w.sales[0].id = "other";
    decide();
    expect_whole_reason("A", "The app reported sale S for this order; the ledger has no record of "
                             "it yet; sale other carries this order's id, but: amount differs, "
                             "49.00 USD");
}

static void reasons_for_amount(void **state)
{
    static const char *const ids[] = {"S1", "S2", "S3", "S4", "S5", "S6"};
    struct match_order *o = add_order("A", T);

    (void)state;
    attempt(o, 0)->card = card("", "", "", "");
    for (size_t n = 1; n <= 6; n++) {
        static const char *const reasons[] = {
            "Nothing but amount and time can be compared for sale S1",
            "Nothing but amount and time can be compared for sales S1, S2",
            "Nothing but amount and time can be compared for sales S1, S2, S3",
            "Nothing but amount and time can be compared for sales S1, S2, S3, S4",
            "Nothing but amount and time can be compared for sales S1, S2, S3, S4 and 1 more",
            "Nothing but amount and time can be compared for sales S1, S2, S3, S4 and 2 more"};

        /* The later half of them is live, the other is not. */
        add_sale(ids[n - 1], T + (int64_t)n * SECOND)->voided = n % 2;
        decide();
        expect_whole_reason("A", reasons[n - 1]);
    }
    w.settings.accept_amount_only = true;
    w.n_sales = 1;
    w.sales[0].voided = false;
    decide();
    expect_whole_reason("A", "Sale S1 agrees in amount and time, and nothing else can be compared");
    w.n_sales = 2;
    decide();
    expect_whole_reason("A", "2 sales fit this order, and which of them are its own is not "
                             "certain, for the app does not report every sale: S1, S2");
    w.settings.claims_complete = true;
    decide();
    expect_whole_reason("A", "2 sales fit this order, and which of them are its own is not "
                             "certain: S1, S2");
}

static void reasons_for_several(void **state)
{
    static const char *const orders[] = {"A", "B", "C", "D", "E", "F", "G"};
    struct match_sale *s;

    (void)state;
    for (size_t i = 0; i < 7; i++)
        add_order(orders[i], T + (int64_t)i * SECOND);
    s = add_sale("S1", T + 10 * SECOND);
    decide();
    expect_whole_reason("B", "Contested: 7 orders have 1 sale between them; this order fits S1, "
                             "and the other orders are A, C, D, E and 2 more");
    expect_whole_reason("G", "Contested: 7 orders have 1 sale between them; this order fits S1, "
                             "and the other orders are A, B, C, D and 2 more");
    /* Those of another component are none of its business. */
    for (size_t i = 4; i < 7; i++)
        attempt(&w.orders[i], 0)->amount = money(100, "USD");
    *add_sale("S2", T + 10 * SECOND) = *s;
    w.sales[1].id = "S2";
    w.sales[1].amount = w.sales[1].net = money(100, "USD");
    decide();
    expect_whole_reason("C", "Contested: 4 orders have 1 sale between them; this order fits S1, "
                             "and the other orders are A, B, D");
    expect_whole_reason("F", "Contested: 3 orders have 1 sale between them; this order fits S2, "
                             "and the other orders are E, G");
    attempt(&w.orders[4], 0)->amount = money(4900, "USD");
    w.n_orders = 5;
    w.n_sales = 1;
    add_sale("S2", T + 9 * SECOND);
    decide();
    expect_whole_reason("E", "Contested: 5 orders have 2 sales between them; this order fits S2, "
                             "S1, and the other orders are A, B, C, D");
    w.n_orders = 2;
    decide();
    expect_whole_reason("A", "Sale S2 agrees in amount, time, last four; 2 orders and 2 sales fit "
                             "one another, and however they are paired this order has one, by "
                             "time this");
    add_sale("S3", T + 11 * SECOND);
    decide();
    expect_whole_reason("B", "Sale S1 agrees in amount, time, last four; 2 orders and 3 sales fit "
                             "one another, and however they are paired this order has one, by "
                             "time this; surplus sales: 1");
    s->voided = true;
    decide();
    expect_whole_reason("B", "3 sales fit this order and others, some of which were reversed: S2, "
                             "S1, S3");
}

static void reasons_for_claims(void **state)
{
    (void)state;
    add_order("A", T);
    add_sale("S1", T);
    add_sale("S2", T)->is_sale = false;
    add_sale("S3", T)->sealed_for = "Z";
    add_claim("S1", "A");
    add_claim("S1", "B");
    decide();
    expect_whole_reason("A", "The app reported transaction S1 for this order, but it is also that "
                             "of order B");
    add_claim("S2", "A");
    add_claim("S3", "A");
    decide();
    expect_whole_reason("A", "The app reported transaction S2 for this order, but it is not a "
                             "settled sale; the app reported transaction S1 for this order, but it "
                             "is also that of order B; the app reported transaction S3 for this "
                             "order, but it is also that of order Z");
    w.n_claims = 0;
    w.n_sales = 1;
    add_claim("S1", "A");
    add_claim("S8", "A");
    decide();
    expect_whole_reason("A", "This order has 2 sales, each by claim or surer: S1, S8; of 1 the "
                             "ledger has no record yet");
    add_claim("S9", "A");
    decide();
    expect_whole_reason("A", "This order has 3 sales, each by claim or surer: S1, S8, S9; of 2 the "
                             "ledger has no record yet");
    w.n_claims = 0;
    add_sale("S2", T + SECOND)->order_ref = "A";
    w.sales[0].order_ref = "A";
    w.n_sales = 2;
    w.sales[1] = w.sales[0];
    w.sales[1].id = "S2";
    decide();
    expect_whole_reason("A", "This order has 2 sales, each by reference or surer: S1, S2");
}

static void reasons_for_absence(void **state)
{
    struct match_order *o = add_order("A", T);

    (void)state;
    decide();
    expect_whole_reason("A", "No sale fits so far, and the ledger is not yet complete from "
                             "2026-11-22T13:41:20.000Z to 2026-11-22T13:58:20.000Z");
    o->absence = ABSENCE_BLOCKED;
    decide();
    expect_whole_reason("A", "No sale fits, but a record that could not be understood may lie in "
                             "2026-11-22T13:41:20.000Z to 2026-11-22T13:58:20.000Z");
    o->absence = ABSENCE_PROVEN;
    decide();
    expect_whole_reason("A", "No sale fits, and the ledger is complete from "
                             "2026-11-22T13:41:20.000Z to 2026-11-22T13:58:20.000Z");
    w.now = T;
    decide();
    expect_whole_reason("A", "No sale fits so far, and absence is not said before "
                             "2026-11-22T13:58:20.000Z");
    o->absence = ABSENCE_BLOCKED;
    decide();
    expect_whole_reason("A", "Held until 2026-11-22T13:58:20.000Z: no sale fits, but a record that "
                             "could not be understood may lie in 2026-11-22T13:41:20.000Z to "
                             "2026-11-22T13:58:20.000Z");
}

static void reasons_for_references(void **state)
{
    struct match_sale *s;

    (void)state;
    add_order("A", T);
    add_order("B", T);
    add_sale("S", T);
    s = add_sale("R", T);
    s->order_ref = "A";
    s->card.last_four[0] = '9';
    decide();
    /* The first doubt stays, the second comes to it. */
    expect_whole_reason("A", "Contested: 2 orders have 1 sale between them; this order fits S, and "
                             "the other orders are B; sale R carries this order's id, but: last "
                             "four differ");
    w.n_orders = 1;
    decide();
    expect_whole_reason("A", "Sale R carries this order's id, but: last four differ");
    s->amount = money(4900, "EUR");
    decide();
    expect_whole_reason("A", "Sale R carries this order's id, but: currency differs, 49.00 EUR");
    w.sales[0].vanished = true;
    w.n_sales = 1;
    decide();
    expect_whole_reason("A", "Sale S fits, but the API does not show it any more");
}

/* A sale of nothing can be claimed, and was not given back. */
static void sale_of_nothing(void **state)
{
    struct match_sale *s;

    (void)state;
    add_order("A", T);
    s = add_sale("S", T);
    s->amount = s->net = money(0, "USD");
    add_claim("S", "A");
    decide();
    expect("A", VERDICT_CHARGED, RULE_CLAIM, "S");
}

/* An overlong reason is cut between characters, and stays one line. */
static void long_reason(void **state)
{
    static char note[2000];
    struct match_order *o = add_order("A", T);

    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        const char *reason, *tail;

        note[0] = '\n';
        memset(note + 1, 'x', shift);
        for (size_t i = shift + 1; i + 3 < sizeof(note); i += 3)
            memcpy(note + i, "\xe2\x82\xac", 3); /* EURO SIGN */
        resolve(o, VERDICT_CHARGED, NULL)->note = note;
        decide();
        reason = result_of("A")->reason;
        assert_true(strlen(reason) > 500 && strlen(reason) < sizeof(result_of("A")->reason));
        assert_null(strchr(reason, '\n'));
        tail = reason + strlen(reason) - 6;
        assert_memory_equal(tail, "\xe2\x82\xac\xe2\x80\xa6", 6);
    }
}

/* Just long enough, and one too long. */
static void reason_of_any_length(void **state)
{
    static const char start[] = "A person decided: ";
    size_t size = sizeof(((struct match_result *)NULL)->reason);
    struct match_order *o = add_order("A", T);
    static char note[600];

    (void)state;
    for (size_t n = 400; n < sizeof(note); n++) {
        size_t whole = sizeof(start) - 1 + n;
        const char *reason;

        memset(note, 'x', n);
        note[n] = '\0';
        resolve(o, VERDICT_CHARGED, NULL)->note = note;
        decide();
        reason = result_of("A")->reason;
        if (whole < size) {
            assert_int_equal(strlen(reason), whole);
            assert_string_equal(reason + sizeof(start) - 1, note);
        } else {
            assert_int_equal(strlen(reason), size - 1);
            assert_string_equal(reason + strlen(reason) - 3, "\xe2\x80\xa6");
        }
    }
}

static void every_fit_has_a_text(void **state)
{
    (void)state;
    for (enum fit i = FIT_CLAIM; i < FIT_COUNT; i++)
        assert_true(*fit_text(i));
}

/* --- size --------------------------------------------------------------------------------------*/

struct crowd {
    struct match_order *orders;
    struct match_attempt *attempts;
    struct match_sale *sales;
    char (*ids)[16];
    size_t n;
    struct match_result *results;
};

/* n orders and n + 1 sales, `step` apart. */
static void crowd_setup(struct crowd *c, size_t n, int64_t step)
{
    c->n = n;
    c->orders = calloc(n, sizeof(*c->orders));
    c->attempts = calloc(n, sizeof(*c->attempts));
    c->sales = calloc(n + 1, sizeof(*c->sales));
    c->ids = calloc(n + 1, sizeof(*c->ids));
    assert_true(c->orders && c->attempts && c->sales && c->ids);
    for (size_t i = 0; i <= n; i++) {
        int64_t at = T + (int64_t)i * step;

        snprintf(c->ids[i], sizeof(c->ids[i]), "%06zu", i);
        c->sales[i] = (struct match_sale){.id = c->ids[i],
                                          .amount = money(4900, "USD"),
                                          .net = money(4900, "USD"),
                                          .at = at,
                                          .card = card("4242", "", "", ""),
                                          .is_sale = true};
        if (i == n)
            break;
        c->attempts[i] = (struct match_attempt){
            .at = at, .amount = c->sales[i].amount, .card = c->sales[i].card};
        c->orders[i] =
            (struct match_order){.id = c->ids[i], .attempts = &c->attempts[i], .n_attempts = 1};
    }
}

static void crowd_decide(struct crowd *c, size_t first_sale, size_t n_sales)
{
    const struct match_input input = {.orders = c->orders,
                                      .n_orders = c->n,
                                      .sales = c->sales + first_sale,
                                      .n_sales = n_sales,
                                      .now = T + 1000000 * HOUR,
                                      .settings = w.settings};

    c->results = match_results_free(c->results, c->n);
    assert_int_equal(match(&input, &c->results), 0);
}

static void crowd_clear(struct crowd *c)
{
    match_results_free(c->results, c->n);
    free(c->orders);
    free(c->attempts);
    free(c->sales);
    free(c->ids);
}

/* Order i fits sales i and i + 1. A sale more than orders, as many, and one less. */
static void long_chain(void **state)
{
    _cleanup_(crowd_clear) struct crowd c = {0};

    (void)state;
    crowd_setup(&c, LONG, 600 * SECOND);
    crowd_decide(&c, 0, LONG + 1);
    for (size_t i = 0; i < LONG; i++) {
        assert_int_equal(c.results[i].verdict, VERDICT_CHARGED);
        assert_string_equal(c.results[i].transaction_id, c.ids[i]);
    }
    crowd_decide(&c, 1, LONG);
    for (size_t i = 0; i < LONG; i++) {
        assert_int_equal(c.results[i].verdict, VERDICT_CHARGED);
        assert_string_equal(c.results[i].transaction_id, c.ids[i + 1]);
    }
    crowd_decide(&c, 1, LONG - 1);
    for (size_t i = 0; i < LONG; i++)
        assert_int_equal(c.results[i].verdict, VERDICT_NEEDS_REVIEW);
}

/* Every order fits every sale: more pairs than would fit into memory. */
static void dense_crowd(void **state)
{
    _cleanup_(crowd_clear) struct crowd c = {0};

    (void)state;
    crowd_setup(&c, LONG, 1);
    crowd_decide(&c, 0, LONG);
    for (size_t i = 0; i < LONG; i++) {
        assert_int_equal(c.results[i].verdict, VERDICT_CHARGED);
        assert_string_equal(c.results[i].transaction_id, c.ids[i]);
    }
    crowd_decide(&c, 0, LONG - 1);
    for (size_t i = 0; i < LONG; i++)
        assert_int_equal(c.results[i].verdict, VERDICT_NEEDS_REVIEW);
}

/* What one side can say, the other cannot: each order and each sale is like no other, and nothing
 * but amount and time can be compared. */
static void dense_strangers(void **state)
{
    _cleanup_(crowd_clear) struct crowd c = {0};

    (void)state;
    w.settings.accept_amount_only = true;
    crowd_setup(&c, LONG, 1);
    for (size_t i = 0; i <= LONG; i++) {
        struct card *theirs = &c.sales[i].card;

        *theirs = card("", "", "", "");
        snprintf(theirs->last_four, sizeof(theirs->last_four), "%04zu", i % 10000);
        if (i == LONG)
            break;
        c.attempts[i].card = card("", "", "", "");
        snprintf(c.attempts[i].card.email_hash, sizeof(c.attempts[i].card.email_hash), "%zu", i);
    }
    crowd_decide(&c, 0, LONG);
    for (size_t i = 0; i < LONG; i++) {
        assert_int_equal(c.results[i].verdict, VERDICT_CHARGED);
        assert_int_equal(c.results[i].rule, RULE_AMOUNT);
        assert_string_equal(c.results[i].transaction_id, c.ids[i]);
    }
}

/* Of very many candidates the surest and earliest are told, and always the one that is given. */
static void many_candidates(void **state)
{
    _cleanup_(crowd_clear) struct crowd c = {0};
    const struct match_result *last;
    size_t assigned = 0;

    (void)state;
    crowd_setup(&c, 1000, 1);
    c.attempts[999].card = card("4242", "", "", "x");
    c.sales[500].card = card("4242", "", "", "x");
    crowd_decide(&c, 0, 1000);
    last = &c.results[999];
    assert_int_equal(last->verdict, VERDICT_CHARGED);
    assert_int_equal(last->n_candidates, MATCH_CANDIDATES_MAX + 1);
    for (size_t i = 0; i + 1 < last->n_candidates; i++)
        assert_true(
            strcmp(last->candidates[i].transaction_id, last->candidates[i + 1].transaction_id) < 0);
    for (size_t i = 0; i < last->n_candidates; i++)
        if (last->candidates[i].assigned) {
            assigned++;
            assert_string_equal(last->candidates[i].transaction_id, last->transaction_id);
        }
    assert_int_equal(assigned, 1);

    /* And what is in conflict. */
    c.sales[700].order_ref = "000999";
    c.sales[700].amount = c.sales[700].net = money(1, "USD");
    crowd_decide(&c, 0, 1000);
    last = &c.results[999];
    assert_int_equal(last->n_candidates, MATCH_CANDIDATES_MAX + 1);
    assert_string_equal(last->candidates[MATCH_CANDIDATES_MAX].transaction_id, "000700");
    assert_true(last->candidates[MATCH_CANDIDATES_MAX].reference_conflict);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh_world, fresh_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(by_each_rule),
        TEST(amount_alone),
        TEST(contradictions),
        TEST(card_spelling),
        TEST(net_amount),
        TEST(window_ends),
        TEST(times_at_the_ends_of_the_world),
        TEST(attempts_agree_as_a_whole),
        TEST(contested_pair),
        TEST(two_and_two),
        TEST(chained_windows),
        TEST(sale_needed_by_another),
        TEST(surest_before_earliest),
        TEST(reversed_among_several),
        TEST(reference_among_lookalikes),
        TEST(vanished_sale),
        TEST(amount_alone_among_several),
        TEST(claim_needs_no_other_evidence),
        TEST(claim_without_record),
        TEST(claim_frees_the_other_sale),
        TEST(claimed_by_another),
        TEST(claimed_and_sealed),
        TEST(claim_of_no_sale),
        TEST(claimed_by_one_with_the_id_of_the_other),
        TEST(reference_that_disagrees),
        TEST(reference_of_nobody_is_no_reference),
        TEST(charged_twice),
        TEST(reversed_while_more_may_be_charged),
        TEST(charged_twice_before_the_grace_is_over),
        TEST(two_by_identity),
        TEST(taken_back),
        TEST(returned_without_the_tip),
        TEST(currencies_without_two_decimals),
        TEST(absence),
        TEST(no_absence_beside_a_sale),
        TEST(doubt_waits_for_the_grace),
        TEST(a_person_decides),
        TEST(bad_input),
        TEST(candidates_in_order),
        TEST(live_reference_beside_a_reversed_claim),
        TEST(its_own_sealed_sale),
        TEST(reasons_for_evidence),
        TEST(reasons_for_amount),
        TEST(reasons_for_several),
        TEST(reasons_for_claims),
        TEST(reasons_for_absence),
        TEST(reasons_for_references),
        TEST(sale_of_nothing),
        TEST(long_reason),
        TEST(reason_of_any_length),
        TEST(every_fit_has_a_text),
        TEST(long_chain),
        TEST(dense_crowd),
        TEST(dense_strangers),
        TEST(many_candidates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
