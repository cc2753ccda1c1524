#include <errno.h>

#include "base/cleanup.h"
#include "ledger_fixture.h"
#include "store/explain.h"

DEFINE_CLEANUP(struct explain *, explain_close)

static const struct match_settings settings = {
    .before = 120 * 1000,
    .after = 900 * 1000,
    .absence_grace = 900 * 1000,
    .late_watch = 72 * 3600 * 1000LL,
};

static struct explain *open_order(struct fixture *f, const char *order_id)
{
    struct explain *e = NULL;
    struct error err = {0};

    if (explain_open(f->db, order_id, &settings, EXPLAIN_SALES, &e, &err) != 1)
        fail_msg("%s", err.text);
    return e;
}

static const struct explain_sale *sale_of(const struct explain *e, const char *id)
{
    for (size_t i = 0; i < e->n_sales; i++)
        if (strcmp(e->sales[i].id, id) == 0)
            return &e->sales[i];
    return NULL;
}

static void sale(struct fixture *f, const char *id, int64_t minor, const char *at,
                 const char *last_four, const char *order_ref)
{
    fixture_transaction(f, id, "CreditCardSale", minor, "USD", at, last_four, order_ref, "", 1);
}

/* Every way in which a sale may be thought to be the order's, and the reason why each is not. */
static void sales_with_their_refusals(void **state)
{
    _cleanup_(explain_close_p) struct explain *e = NULL;
    struct fixture *f = *state;

    fixture_sql(f, FIXTURE_RUN);
    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:30.000Z", "4242", "pending");
    fixture_order(f, "A-9", 4900, "2026-11-22T09:00:30.000Z", "", "charged");
    sale(f, "identity", 4900, "2026-11-22T09:01:00.000Z", "4242", "");
    sale(f, "amount", 4900, "2026-11-22T09:02:00.000Z", "", "");
    sale(f, "other-card", 4900, "2026-11-22T09:03:00.000Z", "1111", "");
    sale(f, "other-amount", 5000, "2026-11-22T09:04:00.000Z", "4242", "");
    sale(f, "early", 4900, "2026-11-22T08:58:29.999Z", "4242", "");
    sale(f, "late-reference", 4900, "2026-11-24T09:00:00.000Z", "", "A-1");
    sale(f, "foreign-reference", 4900, "2026-11-22T09:05:00.000Z", "", "B-1");
    sale(f, "claimed", 1, "2026-10-01T00:00:00.000Z", "", "");
    sale(f, "claimed-by-other", 4900, "2026-11-22T09:06:00.000Z", "4242", "");
    sale(f, "given", 4900, "2026-11-22T09:07:00.000Z", "4242", "");
    fixture_transaction(f, "unsettled", "CreditCardSale", 4900, "USD", "2026-11-22T09:08:00.000Z",
                        "4242", "", "", 0);
    fixture_transaction(f, "void", "CreditCardVoid", 4900, "USD", "2026-11-22T09:09:00.000Z",
                        "4242", "", "identity", 1);
    sale(f, "far", 4900, "2026-11-22T12:00:00.000Z", "4242", "");
    sale(f, "unlike", 123, "2026-11-22T09:01:00.000Z", "9999", "");
    fixture_sql(f, "INSERT INTO claims VALUES ('claimed', 'A-1', '2026-11-22T09:10:00.000Z'),"
                   " ('claimed-by-other', 'B-2', '2026-11-22T09:10:00.000Z');"
                   "INSERT INTO verdict_sales SELECT verdict_id, 'given', 'identity', 1"
                   " FROM verdicts WHERE order_id = 'A-9'");
    e = open_order(f, "A-1");
    assert_int_equal(sale_of(e, "identity")->fit, FIT_IDENTITY);
    assert_string_equal(sale_of(e, "identity")->undone_by, "void (CreditCardVoid)");
    assert_int_equal(sale_of(e, "amount")->fit, FIT_AMOUNT);
    assert_int_equal(sale_of(e, "other-card")->fit, FIT_LAST_FOUR);
    assert_int_equal(sale_of(e, "other-amount")->fit, FIT_MONEY);
    assert_int_equal(sale_of(e, "early")->fit, FIT_TIME);
    assert_int_equal(sale_of(e, "late-reference")->fit, FIT_REFERENCE);
    assert_int_equal(sale_of(e, "foreign-reference")->fit, FIT_OTHER_REFERENCE);
    assert_int_equal(sale_of(e, "claimed")->fit, FIT_CLAIM);
    assert_int_equal(sale_of(e, "claimed-by-other")->fit, FIT_CLAIMED_BY_OTHER);
    assert_string_equal(sale_of(e, "claimed-by-other")->belongs_to, "B-2");
    assert_int_equal(sale_of(e, "given")->fit, FIT_IDENTITY);
    assert_string_equal(sale_of(e, "given")->belongs_to, "A-9");
    assert_int_equal(sale_of(e, "unsettled")->fit, FIT_NOT_A_SALE);
    assert_null(sale_of(e, "void"));
    assert_null(sale_of(e, "far"));
    assert_null(sale_of(e, "unlike"));
    for (size_t i = 1; i < e->n_sales; i++)
        assert_true(e->sales[i - 1].at <= e->sales[i].at);
}

/* Once the other order is left alone for good, its sale is out of reach. */
static void sale_of_a_sealed_order_is_its_own(void **state)
{
    _cleanup_(explain_close_p) struct explain *e = NULL;
    struct fixture *f = *state;

    fixture_sql(f, FIXTURE_RUN);
    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:30.000Z", "4242", "charged");
    fixture_order(f, "A-9", 4900, "2026-11-22T09:00:30.000Z", "", "charged");
    sale(f, "T1", 4900, "2026-11-22T09:01:00.000Z", "4242", "");
    sale(f, "T2", 4900, "2026-11-22T09:02:00.000Z", "4242", "");
    fixture_sql(f, "INSERT INTO verdict_sales SELECT verdict_id, 'T1', 'identity', 1 FROM verdicts"
                   " WHERE order_id = 'A-1';"
                   "INSERT INTO verdict_sales SELECT verdict_id, 'T2', 'identity', 1 FROM verdicts"
                   " WHERE order_id = 'A-9';"
                   "UPDATE orders SET sealed = 1 WHERE order_id = 'A-9'");
    e = open_order(f, "A-1");
    assert_true(sale_of(e, "T1")->assigned);
    assert_string_equal(sale_of(e, "T1")->recorded, "identity");
    assert_string_equal(sale_of(e, "T1")->belongs_to, "");
    assert_false(sale_of(e, "T2")->assigned);
    assert_int_equal(sale_of(e, "T2")->fit, FIT_CLAIMED_BY_OTHER);
}

static void window_and_coverage(void **state)
{
    _cleanup_(explain_close_p) struct explain *e = NULL;
    struct fixture *f = *state;

    fixture_sql(f, FIXTURE_RUN);
    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:30.250Z", "4242", "pending");
    fixture_sql(f, "INSERT INTO attempts VALUES ('A-1', '2026-11-22T09:10:00.000Z', 0, 4900, 'USD',"
                   " '', '', '', '', 'S1', '2026-11-22T09:10:01.000Z');"
                   "UPDATE orders SET last_attempt_at = '2026-11-22T09:10:00.000Z';"
                   "INSERT INTO coverage VALUES"
                   " (1, '2026-11-22T09:25:00.000Z', '2026-11-22T09:30:00.000Z', "
                   "'2026-11-22T09:31:00.000Z', 1, 0),"
                   " (1, '2026-11-22T08:00:00.000Z', '2026-11-22T08:58:30.000Z', "
                   "'2026-11-22T09:31:00.000Z', 0, 1),"
                   " (1, '2026-11-22T08:00:00.000Z', '2026-11-22T08:58:29.000Z', "
                   "'2026-11-22T09:31:00.000Z', 0, 1),"
                   " (1, '2026-11-22T09:25:01.000Z', '2026-11-22T09:30:00.000Z', "
                   "'2026-11-22T09:31:00.000Z', 0, 1)");
    e = open_order(f, "A-1");
    assert_int_equal(e->n_attempts, 2);
    assert_string_equal(e->told[1].session_id, "S1");
    assert_int_equal(e->window_from, instant("2026-11-22T08:58:30.250Z"));
    assert_int_equal(e->window_to, instant("2026-11-22T09:25:00.000Z"));
    assert_int_equal(e->read_from, instant("2026-11-22T08:58:30.000Z"));
    assert_int_equal(e->read_to, instant("2026-11-22T09:25:00.000Z"));
    /* What only touches the window's ends is in, what lies a second off is not. */
    assert_int_equal(e->n_coverage, 2);
    assert_false(e->coverage[0].proof);
    assert_true(e->coverage[1].proof);
    assert_false(e->coverage[1].clear);
}

static char *rows(struct explain *e, enum explain_section section)
{
    static struct gathered g;
    const struct report_sink sink = gather_sink(&g);
    struct error err = {0};

    if (explain_rows(e, section, &sink, &err) < 0)
        fail_msg("%s", err.text);
    return strchr(g.text, '\n') + 1;
}

static void sections(void **state)
{
    _cleanup_(explain_close_p) struct explain *e = NULL;
    struct fixture *f = *state;

    fixture_sql(f, FIXTURE_RUN);
    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:30.000Z", "4242", "not_charged");
    fixture_sql(f, "INSERT INTO verdict_runs VALUES (1, 1);"
                   "INSERT INTO claims VALUES ('T-unseen', 'A-1', '2026-11-22T09:10:00.000Z');"
                   "INSERT INTO resolutions (queue_key, order_id, decision, note, decided_by,"
                   " decided_at) VALUES ('k', 'A-1', 'charged', 'seen', 'jo',"
                   " '2026-11-22T09:20:00.000Z');"
                   "INSERT INTO quarantine (digest, created_at, reason, run_id, window_from,"
                   " window_to, page, first_seen_at, last_seen_at) VALUES"
                   " ('1', '2026-11-22T09:05:00.000Z', 'in the window', 1, '', '', 1, '', ''),"
                   " ('2', '2026-11-22T08:05:00.000Z', 'before it', 1,"
                   "  '2026-11-22T08:00:00.000Z', '2026-11-22T10:00:00.000Z', 1, '', ''),"
                   " ('3', NULL, 'of no time', 1,"
                   "  '2026-11-22T08:00:00.000Z', '2026-11-22T10:00:00.000Z', 1, '', ''),"
                   " ('4', NULL, 'of another request', 1,"
                   "  '2026-11-22T07:00:00.000Z', '2026-11-22T08:00:00.000Z', 1, '', '')");
    e = open_order(f, "A-1");
    assert_int_equal(strncmp(rows(e, EXPLAIN_ORDER), "A-1|49.00|4900|USD|not_charged|1|", 33), 0);
    assert_string_equal(rows(e, EXPLAIN_CLAIMS), "T-unseen|2026-11-22T09:10:00.000Z|0\n");
    assert_string_equal(rows(e, EXPLAIN_VERDICTS),
                        "1|not_charged|1|~|~|so|2026-11-22T09:00:30.000Z|~\n");
    assert_string_equal(rows(e, EXPLAIN_RESOLUTIONS),
                        "charged|~|seen|jo|2026-11-22T09:20:00.000Z\n");
    assert_int_equal(strncmp(rows(e, EXPLAIN_RUNS), "1|history|2026-11-20T", 21), 0);
    assert_non_null(strstr(rows(e, EXPLAIN_QUARANTINE), "in the window"));
    assert_non_null(strstr(rows(e, EXPLAIN_QUARANTINE), "of no time"));
    assert_null(strstr(rows(e, EXPLAIN_QUARANTINE), "before it"));
    assert_null(strstr(rows(e, EXPLAIN_QUARANTINE), "of another request"));
}

/* All of it is of one instant, and the transaction ends with it. */
static void explanation_is_one_snapshot(void **state)
{
    struct fixture *f = *state;
    struct explain *e = NULL;
    struct db *reader;
    struct error err;

    fixture_sql(f, FIXTURE_RUN);
    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:30.000Z", "4242", "pending");
    assert_int_equal(db_open(f->path, DB_READ, 0, &reader, &err), 0);
    assert_int_equal(explain_open(reader, "A-1", &settings, EXPLAIN_SALES, &e, &err), 1);
    fixture_sql(f, "UPDATE orders SET currency = 'EUR'");
    assert_non_null(strstr(rows(e, EXPLAIN_ORDER), "|USD|"));
    explain_close(e);
    e = NULL;
    assert_int_equal(explain_open(reader, "A-2", &settings, EXPLAIN_SALES, &e, &err), 0);
    assert_null(e);
    assert_int_equal(explain_open(reader, "A-1", &settings, EXPLAIN_SALES, &e, &err), 1);
    assert_non_null(strstr(rows(e, EXPLAIN_ORDER), "|EUR|"));
    explain_close(e);
    assert_int_equal(explain_has_transaction(reader, "A-1", &err), 0);
    db_close(reader);
}

static void many_sales_are_cut_to_the_likeliest(void **state)
{
    _cleanup_(explain_close_p) struct explain *e = NULL;
    struct fixture *f = *state;
    char id[32], at[TIMESTAMP_TEXT_SIZE];
    struct error err;

    fixture_sql(f, FIXTURE_RUN);
    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:00.000Z", "", "pending");
    for (int i = 0; i < 250; i++) {
        snprintf(id, sizeof(id), "T%03d", i);
        sale(f, id, 4900, timestamp_format(instant("2026-11-22T09:00:00Z") + i * 1000, at), "",
             i == 249 ? "A-1" : "");
    }
    e = open_order(f, "A-1");
    assert_true(e->more_sales);
    assert_int_equal(e->n_sales, 100);
    assert_string_equal(e->sales[0].id, "T000");
    assert_string_equal(e->sales[98].id, "T098");
    assert_string_equal(e->sales[99].id, "T249");

    explain_close(TAKE_PTR(e));
    assert_int_equal(explain_open(f->db, "A-1", &settings, 1000, &e, &err), 1);
    assert_false(e->more_sales);
    assert_int_equal(e->n_sales, 250);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sales_with_their_refusals),   TEST(sale_of_a_sealed_order_is_its_own),
        TEST(window_and_coverage),         TEST(sections),
        TEST(explanation_is_one_snapshot), TEST(many_sales_are_cut_to_the_likeliest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
