#include <errno.h>

#include "ledger_fixture.h"

static char *run(struct fixture *f, const char *name, const char *from, const char *to)
{
    static struct gathered g;
    const struct report_sink sink = gather_sink(&g);
    struct error err = {0};

    if (report_run(f->db, name, from ? instant(from) : -1, to ? instant(to) : -1, &sink, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    return g.text;
}

static void fill(struct fixture *f)
{
    fixture_sql(f, FIXTURE_RUN);
    fixture_transaction(f, "T1", "CreditCardSale", 4900, "USD", "2026-11-21T09:00:00.000Z", "4242",
                        "", "", 1);
    fixture_transaction(f, "T2", "CreditCardSale", 100, "USD", "2026-11-22T00:00:00.000Z", "4242",
                        "", "", 1);
    fixture_transaction(f, "T3", "CreditCardSale", 1500, "JPY", "2026-11-22T09:00:00.000Z", "", "",
                        "", 1);
    fixture_transaction(f, "T4", "CreditCardSale", 777, "USD", "2026-11-22T23:59:59.999Z", "", "",
                        "", 0);
    fixture_order(f, "A-1", 4900, "2026-11-21T08:59:00.000Z", "4242", "charged");
    fixture_order(f, "A-2", 4900, "2026-11-22T08:59:00.000Z", "4242", "pending");
    fixture_order(f, "A-3", 4900, "2026-11-22T09:59:00.000Z", "", "needs_review");
}

/* Every name runs on an empty ledger and gives its columns even without rows. */
static void every_report_runs(void **state)
{
    for (const char *const *name = report_names(); *name; name++) {
        char *text = run(*state, *name, "2026-11-01T00:00:00Z", "2026-11-30T00:00:00Z");

        assert_non_null(strchr(text, '\n'));
        if (strcmp(*name, "summary") != 0 && strcmp(*name, "lateness") != 0)
            assert_string_equal(strchr(text, '\n'), "\n");
    }
}

static void unknown_report_is_refused(void **state)
{
    struct fixture *f = *state;
    struct gathered g;
    const struct report_sink sink = gather_sink(&g);
    struct error err;

    assert_int_equal(report_run(f->db, "orders; DROP", -1, -1, &sink, &err), -ENOENT);
    assert_int_equal(g.n, 0);
}

/* The raw record holds names and addresses. */
static void no_report_shows_the_raw_record(void **state)
{
    fill(*state);
    for (const char *const *name = report_names(); *name; name++) {
        char *text = run(*state, *name, NULL, NULL);

        assert_null(strstr(text, "Main Street"));
        assert_null(strstr(text, "|raw"));
    }
}

static size_t rows(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n - 1;
}

static void both_ends_are_included(void **state)
{
    fill(*state);
    assert_int_equal(rows(run(*state, "transactions", NULL, NULL)), 4);
    assert_int_equal(
        rows(run(*state, "transactions", "2026-11-21T09:00:00Z", "2026-11-22T09:00:00Z")), 3);
    assert_int_equal(
        rows(run(*state, "transactions", "2026-11-21T09:00:00.001Z", "2026-11-22T08:59:59.999Z")),
        1);
    assert_int_equal(rows(run(*state, "transactions", "2026-11-22T10:00:00Z", NULL)), 1);
    assert_int_equal(rows(run(*state, "transactions", NULL, "2026-11-21T08:59:59.999Z")), 0);
}

/* An order of two attempts belongs to every time between them. */
static void orders_belong_to_all_of_their_attempts(void **state)
{
    fill(*state);
    fixture_sql(*state, "UPDATE orders SET last_attempt_at = '2026-11-25T00:00:00.000Z'"
                        " WHERE order_id = 'A-1'");
    assert_int_equal(
        rows(run(*state, "order_status", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z")), 1);
    assert_int_equal(rows(run(*state, "order_status", "2026-11-25T00:00:00.001Z", NULL)), 0);
}

/* Half a day would be a wrong total, so days are whole. */
static void totals_are_of_whole_days(void **state)
{
    fill(*state);
    assert_string_equal(run(*state, "daily_totals", "2026-11-22T12:00:00Z", NULL),
                        "day|type|currency|count|sum|sum_minor|unsettled_count\n"
                        "2026-11-22|CreditCardSale|JPY|1|1500|1500|0\n"
                        "2026-11-22|CreditCardSale|USD|1|1.00|100|1\n");
}

static void summary_counts_and_sums(void **state)
{
    char *text;

    fill(*state);
    text = run(*state, "summary", NULL, NULL);
    assert_non_null(strstr(text, "\ntransactions|4\n"));
    assert_non_null(strstr(text, "\nsettled_sales_JPY|1\nsettled_sum_JPY|1500\n"));
    assert_non_null(strstr(text, "\nsettled_sales_USD|2\nsettled_sum_USD|50.00\n"));
    assert_non_null(strstr(text, "\norders|3\norders_pending|1\norders_charged|1\n"
                                 "orders_double_charged|0\norders_reversed|0\n"
                                 "orders_not_charged|0\norders_needs_review|1\n"));
    assert_non_null(strstr(text, "\nreview_queue|1\n"));
    assert_non_null(strstr(text, "\ncoverage_from|~\ncoverage_to|~\n"));
    text = run(*state, "summary", "2026-11-22T00:00:00.001Z", "2026-11-22T09:30:00Z");
    assert_non_null(strstr(text, "\ntransactions|1\n"));
    assert_non_null(strstr(text, "\norders|1\norders_pending|1\n"));
}

static char *orders(struct fixture *f, const char *verdict, int64_t limit)
{
    static struct gathered g;
    const struct report_sink sink = gather_sink(&g);
    struct error err;

    assert_int_equal(report_orders(f->db, verdict, limit, &sink, &err), 0);
    return strchr(g.text, '\n') + 1;
}

static void orders_newest_first(void **state)
{
    char *text;

    fill(*state);
    text = orders(*state, NULL, -1);
    assert_int_equal(strncmp(text, "A-3|", 4), 0);
    assert_true(strstr(text, "A-2|") < strstr(text, "A-1|"));
    assert_int_equal(strncmp(orders(*state, NULL, 1), "A-3|", 4), 0);
    assert_null(strstr(orders(*state, NULL, 2), "A-1|"));
    assert_string_equal(orders(*state, NULL, 0), "");
    assert_int_equal(strncmp(orders(*state, "charged", -1), "A-1|", 4), 0);
    assert_null(strstr(orders(*state, "charged", -1), "A-2|"));
}

static void one_order(void **state)
{
    struct fixture *f = *state;
    struct gathered g;
    struct report_sink sink = gather_sink(&g);
    enum verdict verdict;
    struct error err;
    int64_t at = 7;

    fill(f);
    assert_int_equal(report_order(f->db, "A-2", &sink, &err), 1);
    assert_non_null(strstr(g.text, "\nA-2|49.00|4900|USD|pending|0|~|~|nothing is known yet|"));
    sink = gather_sink(&g);
    assert_int_equal(report_order(f->db, "a-2", &sink, &err), 0);
    assert_int_equal(report_verdict(f->db, "A-3", &verdict, &at, &err), 1);
    assert_int_equal(verdict, VERDICT_NEEDS_REVIEW);
    assert_int_equal(at, instant("2026-11-22T09:59:00Z"));
    assert_int_equal(report_verdict(f->db, "A-4", &verdict, &at, &err), 0);
    assert_int_equal(at, instant("2026-11-22T09:59:00Z"));
}

static int refuse(void *userdata, const struct report_cell *cells, size_t n)
{
    (void)cells;
    (void)n;
    ++*(int *)userdata;
    return -EPIPE;
}

static int accept_columns(void *userdata, const char *const *columns, size_t n)
{
    (void)userdata;
    (void)columns;
    (void)n;
    return 0;
}

/* A reader that has gone ends the report at once, and leaves no statement open behind it. */
static void a_refusing_sink_ends_the_report(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    int asked = 0;
    const struct report_sink sink = {accept_columns, refuse, &asked};

    fill(f);
    for (const char *const *name = report_names(); *name; name++) {
        int r = report_run(f->db, *name, -1, -1, &sink, &err);

        assert_true(r == 0 || r == -EPIPE);
    }
    assert_int_equal(report_run(f->db, "transactions", -1, -1, &sink, &err), -EPIPE);
    assert_non_null(strstr(err.text, "Broken pipe"));
    asked = 0;
    assert_int_equal(report_run(f->db, "summary", -1, -1, &sink, &err), -EPIPE);
    assert_int_equal(asked, 1);
    assert_int_equal(db_begin(f->db, &err), 0);
    assert_int_equal(db_commit(f->db, &err), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_report_runs),
        TEST(unknown_report_is_refused),
        TEST(no_report_shows_the_raw_record),
        TEST(both_ends_are_included),
        TEST(orders_belong_to_all_of_their_attempts),
        TEST(totals_are_of_whole_days),
        TEST(summary_counts_and_sums),
        TEST(orders_newest_first),
        TEST(one_order),
        TEST(a_refusing_sink_ends_the_report),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
