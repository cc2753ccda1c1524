/* What is asked of the API, and what its answers prove. The clock, the answers and the budget are
 * the test's. Times are seconds after T0. */
#include "base/cleanup.h"
#include "ledger_fixture.h"
#include "service/sync.h"
#include "store/ledger.h"

static const int64_t T0 = INT64_C(1750000000000);
static const int64_t DAY_S = 86400, LONG_S = 1000000;
static const char *const unsettled[] = {"declined", NULL};

static int64_t s(int64_t seconds)
{
    return T0 + seconds * 1000;
}

/* One API and one daemon. */
static struct fixture *f;
static struct sync *subject;
static struct sync_settings settings;
static struct sync_question question;
static int64_t now_ms;

static int64_t now_of(void *userdata)
{
    (void)userdata;
    return now_ms;
}

static const struct clock test_clock = {now_of, NULL};

static int64_t no_wait(enum rate_priority priority, void *userdata)
{
    (void)priority;
    (void)userdata;
    return 0;
}

static void ok(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->text);
}

static void start(void)
{
    struct error err = {0};

    subject = sync_free(subject);
    ok(sync_new(f->db, &test_clock, &settings, no_wait, NULL, &subject, &err), &err);
}

/* A minute of history, which is the look-back too (no window is made shorter than that, however
 * many pages it has); cycles and look-backs far apart. */
static int set_up(void **state)
{
    fixture_set_up(state);
    f = *state;
    fixture_sql(f, "PRAGMA synchronous=OFF");
    now_ms = s(0);
    settings = (struct sync_settings){.interval = LONG_S * 1000,
                                      .fast_interval = 30000,
                                      .backfill = 60000,
                                      .overlap = 60000,
                                      .deep_overlap = 60000,
                                      .deep_interval = LONG_S * 1000,
                                      .before = 10000,
                                      .after = 20000,
                                      .absence_grace = 50000,
                                      .requests_per_minute = 1000,
                                      .page_size = 5,
                                      .unsettled = unsettled};
    return 0;
}

static int tear_down(void **state)
{
    subject = sync_free(subject);
    return fixture_tear_down(state);
}

static int64_t number(const char *sql)
{
    struct error err = {0};
    int64_t value;

    ok(db_value(f->db, &value, -1, &err, sql, ""), &err);
    return value;
}

/* --- questions and answers ----------------------------------------------------------------------
 */

static bool asks(void)
{
    struct error err = {0};
    int64_t wait;
    int r = sync_next(subject, &question, &wait, &err);

    ok(r, &err);
    return r > 0;
}

static void assert_question(enum sync_purpose purpose, int64_t from, int64_t to, int64_t page)
{
    assert_true(asks());
    assert_int_equal(question.purpose, purpose);
    assert_int_equal((question.from - T0) / 1000, from);
    assert_int_equal((question.to - T0) / 1000, to);
    assert_int_equal(question.page, page);
}

static struct sync_news give(const struct sync_answer *answer)
{
    struct sync_news news = {0};
    struct error err = {0};

    ok(sync_answer(subject, answer, &news, &err), &err);
    return news;
}

static struct sync_news nonsense(void)
{
    return give(&(struct sync_answer){.kind = SYNC_NOT_UNDERSTOOD, .text = "no JSON"});
}

static struct transaction row(const char *id, int64_t created, int64_t transacted)
{
    struct transaction t = {.amount = {4900, "USD"},
                            .net = {4900, "USD"},
                            .created_at = created,
                            .transacted_at = transacted,
                            .type = "CreditCardSale"};

    snprintf(t.id, sizeof(t.id), "%s", id);
    return t;
}

static struct sync_answer page_of(struct page *page, struct transaction *rows, size_t n, bool more,
                                  int64_t total)
{
    *page = (struct page){
        .records = rows, .n_records = n, .has_next = more, .total = total, .number = -1};
    return (struct sync_answer){.kind = SYNC_PAGE, .page = page, .status = 200};
}

/* A letter a row, well within the window that was asked for; a capital letter: two days before. */
static struct sync_news page(const char *text, bool more, int64_t total)
{
    struct transaction rows[32];
    struct sync_answer answer;
    struct page page;
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++) {
        bool stranger = text[i] < 'a';
        int64_t at = stranger ? question.from - 2 * DAY_S * 1000
                              : question.from + 10000 + (text[i] - 'a') * 1000;

        rows[i] = row((char[]){text[i], '\0'}, at, at);
    }
    answer = page_of(&page, rows, n, more, total);
    return give(&answer);
}

/* Asked for, and answered by one page or two. */
static struct sync_news read_page(const char *text)
{
    assert_true(asks());
    return page(text, false, -1);
}

static struct sync_news read_pages(const char *first, const char *second, int64_t total)
{
    assert_true(asks());
    page(first, true, total);
    assert_true(asks());
    assert_int_equal(question.page, 2);
    return page(second, false, total);
}

/* --- what came of the last pass -----------------------------------------------------------------
 */

static void assert_ended(const char *outcome, bool covers, bool proves)
{
    struct coverage_demand demand = {0};
    struct db_stmt *stmt;
    struct error err = {0};

    ok(db_query(f->db, &stmt, &err,
                "SELECT outcome, proof FROM sync_runs ORDER BY run_id DESC LIMIT 1", ""),
       &err);
    assert_int_equal(db_step(f->db, stmt, &err), 1);
    assert_string_equal(db_text(stmt, 0), outcome);
    assert_int_equal(db_int(stmt, 1), proves);
    db_done(stmt);
    for (int proof = 0; proof < 2; proof++) {
        _cleanup_(interval_set_clear) struct interval_set missing = {0};

        demand.proof = proof != 0;
        assert_int_equal(interval_set_add(&missing, question.from, question.to), 0);
        ok(coverage_subtract(f->db, question.from, question.to, &demand, &missing, &err), &err);
        assert_int_equal(missing.n == 0, proof ? proves : covers);
    }
}

static void one_page_proves(void **state)
{
    (void)state;
    start();
    assert_question(PURPOSE_RECENT, -60, 0, 1);
    assert_true(page("abc", false, -1).pass_ended);
    assert_ended("complete", true, true);
    assert_false(asks());
}

static void empty_window_proves(void **state)
{
    (void)state;
    start();
    read_page("");
    assert_ended("complete", true, true);
}

static void one_page_that_agrees_with_its_total_proves(void **state)
{
    (void)state;
    start();
    assert_true(asks());
    page("abc", false, 3);
    assert_ended("complete", true, true);
}

static void several_pages_with_a_total_cover_and_do_not_prove(void **state)
{
    (void)state;
    start();
    read_pages("abcde", "fg", 7);
    assert_ended("complete", true, false);
    assert_false(asks());
}

static void several_pages_prove_when_read_twice_alike(void **state)
{
    (void)state;
    start();
    read_pages("abcde", "fg", -1);
    assert_ended("complete", false, false);
    read_pages("abcde", "fh", -1);
    assert_ended("complete", false, false);
    read_pages("abcde", "fg", -1); /* as at first: g was gone and came back */
    assert_ended("complete", true, true);
    assert_false(asks());
}

static void last_page_may_be_empty_or_short(void **state)
{
    (void)state;
    start();
    read_pages("abcde", "", -1);
    assert_ended("complete", false, false);
    read_pages("abcde", "", -1);
    assert_ended("complete", true, true);
}

static void pages_in_the_middle_are_as_long_as_the_first(void **state)
{
    (void)state;
    start();
    assert_true(asks());
    page("abcde", true, -1);
    assert_true(asks());
    page("fghij", true, -1);
    assert_true(asks());
    page("klmno", true, -1);
    assert_true(asks());
    page("p", false, -1);
    assert_ended("complete", false, false);
    assert_true(asks());
    page("abcde", true, -1);
    assert_true(asks());
    assert_true(page("fgh", true, -1).drifted);
    assert_ended("drifted", false, false);
    assert_true(asks());
    assert_int_equal(question.page, 1);
}

static void total_does_not_change_between_pages(void **state)
{
    (void)state;
    start();
    assert_true(asks());
    page("abcde", true, 12);
    assert_true(asks());
    assert_true(page("fghij", true, 13).drifted);
    assert_ended("drifted", false, false);
}

static void rows_add_up_to_the_total(void **state)
{
    (void)state;
    start();
    assert_true(read_pages("abcde", "fg", 6).drifted);
    assert_ended("drifted", false, false);
    assert_true(read_pages("abcde", "fg", 8).drifted);
    assert_ended("drifted", false, false);
}

/* One answer is read in one instant: nothing can have moved. */
static void answer_that_contradicts_itself_is_not_understood(void **state)
{
    (void)state;
    start();
    assert_true(asks());
    assert_true(page("abc", false, 2).not_understood);
    assert_ended("failed", false, false);
    assert_false(asks()); /* at once */
    now_ms += 4999;
    assert_false(asks());
    now_ms += 1;
    assert_true(asks());
    assert_true(page("abc", false, 4).not_understood);
    assert_ended("failed", false, false);
}

static void one_answer_that_holds_a_row_twice_proves_the_second_time(void **state)
{
    (void)state;
    start();
    assert_true(read_page("aab").drifted);
    assert_ended("drifted", false, false);
    read_page("aab");
    assert_ended("complete", true, true);
}

/* A row that came twice on several pages is in the place of one that did not come. */
static void row_that_came_on_two_pages_is_never_proof(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 2; i++) {
        assert_true(read_pages("abcde", "ef", -1).drifted);
        assert_ended("drifted", false, false);
    }
    for (int i = 0; i < 2; i++) {
        assert_true(read_pages("abcde", "ef", 7).drifted);
        assert_ended("drifted", false, false);
    }
}

static void same_page_again_is_not_read_on(void **state)
{
    (void)state;
    start();
    assert_true(asks());
    page("aabcd", true, -1);
    assert_true(asks());
    assert_int_equal(question.page, 2);
    page("defgh", true, -1); /* moved by one: still read on */
    assert_true(asks());
    assert_int_equal(question.page, 3);
    assert_true(page("defgh", true, -1).not_understood);
    assert_ended("failed", false, false);
}

static void pages_without_end_are_given_up(void **state)
{
    struct sync_news news = {0};
    int pages = 0;

    (void)state;
    start();
    do {
        char id[16];
        struct transaction rows[1];
        struct sync_answer answer;
        struct page page;

        assert_true(asks());
        snprintf(id, sizeof(id), "t%d", pages++);
        rows[0] = row(id, s(-30), s(-30));
        answer = page_of(&page, rows, 1, true, -1);
        news = give(&answer);
        assert_true(pages <= 500);
    } while (!news.not_understood);
    assert_int_equal(pages, 500);
    assert_ended("failed", false, false);
}

/* --- rows of another time -----------------------------------------------------------------------
 */

static struct sync_news two_rows(int64_t created, int64_t transacted)
{
    struct transaction rows[] = {row("y", s(created), s(transacted)),
                                 row("z", s(created), s(transacted))};
    struct sync_answer answer;
    struct page page;

    assert_true(asks());
    answer = page_of(&page, rows, 2, false, -1);
    return give(&answer);
}

static void answer_to_another_question_is_not_understood(void **state)
{
    (void)state;
    start();
    assert_true(two_rows(-2 * DAY_S, -2 * DAY_S).not_understood);
    assert_ended("failed", false, false);
    now_ms += 5000;
    assert_true(two_rows(2 * DAY_S, 2 * DAY_S).not_understood);
    assert_ended("failed", false, false);
}

/* The API may filter by either of its times, and by a clock of its own. */
static void rows_of_about_the_time_are_no_strangers(void **state)
{
    static const int64_t cases[][2] = {{-30, -2 * DAY_S}, {-30, 2 * DAY_S}, {-2 * DAY_S, -30},
                                       {2 * DAY_S, -30},  {-3000, -3000},   {1800, 1800}};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        fixture_sql(f, "DELETE FROM coverage");
        fixture_sql(f, "DELETE FROM transactions");
        start();
        two_rows(cases[i][0], cases[i][1]);
        assert_ended("complete", true, true);
    }
}

static void odd_row_among_good_ones_needs_a_second_reading(void **state)
{
    (void)state;
    start();
    read_page("abA");
    assert_ended("complete", false, false);
    read_page("abA");
    assert_ended("complete", true, true);
}

static void only_row_may_be_odd(void **state)
{
    (void)state;
    start();
    read_page("A");
    assert_ended("complete", false, false);
    read_page("A");
    assert_ended("complete", true, true);
}

/* --- records that are known ---------------------------------------------------------------------
 */

static void known(const char *text)
{
    start();
    read_page(text);
    fixture_sql(f, "DELETE FROM coverage");
    now_ms += 1000;
}

static void answer_that_lacks_a_known_record_needs_a_second_reading(void **state)
{
    (void)state;
    known("abc");
    assert_int_equal(read_page("ac").vanished, 0);
    assert_ended("complete", false, false);
    assert_int_equal(number("SELECT count(missed_at) FROM transactions"), 1);
    now_ms += 1000;
    assert_int_equal(read_page("ac").vanished, 1);
    assert_ended("complete", true, true);
    assert_int_equal(number("SELECT count(vanished_at) FROM transactions"), 1);
}

static void empty_answer_is_not_believed_where_records_are_known(void **state)
{
    (void)state;
    known("abc");
    for (int i = 0; i < 5; i++) {
        assert_true(read_page("").not_understood);
        assert_ended("failed", false, false);
        assert_false(asks());
        now_ms += 300000;
    }
    assert_int_equal(number("SELECT count(missed_at) FROM transactions"), 0);
    /* But not for ever. */
    assert_false(read_page("").not_understood);
    assert_ended("complete", false, false);
    read_page("");
    assert_ended("complete", true, true);
}

static void pass_that_fails_makes_nothing_vanish(void **state)
{
    (void)state;
    known("abcdz");
    for (int i = 0; i < 3; i++) {
        assert_true(asks());
        page("abcd", true, 9);
        assert_true(asks());
        assert_true(page("efgh", true, 10).drifted);
        now_ms += 1000;
    }
    assert_int_equal(number("SELECT count(missed_at) FROM transactions"), 0);
}

/* --- a pass and its cursor ----------------------------------------------------------------------
 */

static void pass_goes_on_after_a_restart(void **state)
{
    (void)state;
    start();
    assert_true(asks());
    page("abcde", true, 7);
    start();
    assert_question(PURPOSE_RECENT, -60, 0, 2);
    start();
    assert_question(PURPOSE_RECENT, -60, 0, 2);
    page("fg", false, 7);
    assert_ended("complete", true, false);
}

static void page_and_cursor_are_stored_together_or_not_at_all(void **state)
{
    struct transaction rows[] = {row("a", s(-30), s(-30))};
    struct sync_answer answer;
    struct sync_news news;
    struct error err = {0};
    struct page page;

    (void)state;
    start();
    assert_true(asks());
    fixture_sql(f, "CREATE TRIGGER fails BEFORE UPDATE ON sync_runs"
                   " BEGIN SELECT RAISE(ABORT, 'disk full'); END");
    answer = page_of(&page, rows, 1, false, -1);
    assert_true(sync_answer(subject, &answer, &news, &err) < 0);
    assert_int_equal(number("SELECT count(*) FROM transactions"), 0);
    fixture_sql(f, "DROP TRIGGER fails");
    assert_question(PURPOSE_RECENT, -60, 0, 1);
    assert_int_equal(number("SELECT count(*) FROM sync_runs"), 1);
}

static void answer_that_is_not_understood_ends_the_pass(void **state)
{
    (void)state;
    start();
    assert_true(asks());
    page("abcde", true, -1);
    assert_true(asks());
    assert_true(nonsense().not_understood);
    assert_ended("failed", false, false);
    assert_false(asks());
    now_ms += 5000;
    assert_question(PURPOSE_RECENT, -60, 0, 1);
}

static void page_number_means_another_place_with_another_page_size(void **state)
{
    (void)state;
    start();
    assert_true(asks());
    page("abcde", true, 7);
    settings.page_size = 6;
    start();
    assert_question(PURPOSE_RECENT, -60, 0, 1);
    page("abcdef", true, 7);
    start();
    assert_question(PURPOSE_RECENT, -60, 0, 2);
}

static void what_another_api_has_shown_proves_nothing(void **state)
{
    (void)state;
    settings.source = "merchant https://one";
    start();
    read_page("abc");
    start();
    settings.source = "merchant https://other";
    start();
    assert_int_equal(number("SELECT count(*) FROM coverage"), 0);
    assert_true(asks());
    page("abcde", true, 7);
    start();
    assert_question(PURPOSE_RECENT, -60, 0, 2);
    page("fg", false, 7);
    start();
    assert_int_equal(number("SELECT count(*) FROM coverage"), 1);
    now_ms += 1000;
    assert_true(asks());
    page("abcde", true, 7);
    settings.source = "merchant https://one";
    start();
    assert_true(asks());
    assert_int_equal(question.page, 1);
}

/* --- patience -----------------------------------------------------------------------------------
 */

static void window_of_which_no_two_readings_agree_is_left_alone(void **state)
{
    int readings = 0;

    (void)state;
    start();
    while (readings < 20 && asks()) {
        page("abcde", true, -1);
        assert_true(asks());
        page((char[]){(char)('f' + readings++), '\0'}, false, -1);
    }
    assert_int_equal(readings, 6);
    now_ms += 5000;
    assert_true(asks());
}

static void window_that_drifts_is_left_alone(void **state)
{
    int readings = 0;

    (void)state;
    start();
    while (readings < 20 && asks()) {
        page("abcde", true, 7);
        assert_true(asks());
        page("f", true, 8);
        readings++;
    }
    assert_int_equal(readings, 5);
}

/* --- what is asked for --------------------------------------------------------------------------
 */

static void window_is_no_longer_than_a_day(void **state)
{
    (void)state;
    settings.backfill = settings.overlap = 3 * DAY_S * 1000;
    start();
    assert_question(PURPOSE_RECENT, -3 * DAY_S, -2 * DAY_S, 1);
    fixture_sql(f, "DELETE FROM sync_runs");
    settings.overlap = 60000;
    start();
    assert_question(PURPOSE_RECENT, -60, 0, 1);
    page("", false, -1);
    assert_question(PURPOSE_HISTORY, -60 - DAY_S, -60, 1);
}

static void history_is_read_from_its_origin(void **state)
{
    (void)state;
    settings.backfill = 7200000;
    start();
    assert_question(PURPOSE_RECENT, -60, 0, 1);
    page("", false, -1);
    assert_question(PURPOSE_HISTORY, -7200, -60, 1);
    page("", false, -1);
    assert_false(asks());
}

static void look_back_is_read_anew_each_cycle(void **state)
{
    (void)state;
    settings.interval = 60000;
    settings.backfill = 600000;
    settings.overlap = 300000;
    start();
    assert_question(PURPOSE_RECENT, -300, 0, 1);
    page("", false, -1);
    read_page("");
    assert_false(asks());
    now_ms = s(60);
    assert_question(PURPOSE_RECENT, -240, 60, 1);
    page("", false, -1);
    assert_false(asks());
}

static void look_back_does_not_reach_behind_the_origin(void **state)
{
    (void)state;
    settings.overlap = 900000;
    start();
    assert_question(PURPOSE_RECENT, -60, 0, 1);
}

/* One that does not fit its share of the rate is repeated less often; what is new is read. */
static void stretched_look_back_is_not_repeated_each_cycle(void **state)
{
    (void)state;
    settings.interval = 30000;
    settings.requests_per_minute = 3;
    start();
    read_page("");
    assert_false(asks());
    now_ms = s(30);
    assert_question(PURPOSE_RECENT, 0, 30, 1);
    page("", false, -1);
    assert_false(asks());
    now_ms = s(60);
    assert_question(PURPOSE_RECENT, 0, 60, 1);
}

static void deep_look_back_reaches_further(void **state)
{
    (void)state;
    settings.interval = 60000;
    settings.backfill = 600000;
    settings.overlap = 120000;
    settings.deep_overlap = 400000;
    settings.deep_interval = 50000;
    start();
    read_page("");
    read_page("");
    assert_false(asks());
    now_ms = s(60);
    assert_question(PURPOSE_RECENT, -60, 60, 1);
    page("", false, -1);
    assert_question(PURPOSE_DEEP, -340, -60, 1);
    page("", false, -1);
    assert_false(asks());
}

/* Before the first attempt and up to now, again and again. */
static void pending_order(const char *at)
{
    start();
    read_page("");
    assert_false(asks());
    fixture_order(f, "A", 4900, at, "4242", "pending");
}

static const char AT_0[] = "2025-06-15T15:06:40.000Z"; /* T0 */

static void window_of_a_pending_order_is_read_again_and_again(void **state)
{
    (void)state;
    settings.edge_lag = 5000;
    pending_order(AT_0);
    now_ms = s(10);
    assert_question(PURPOSE_ORDER, -10, 5, 1);
    page("", false, -1);
    assert_false(asks());
    now_ms = s(39);
    assert_false(asks());
    now_ms = s(40);
    assert_question(PURPOSE_ORDER, -10, 35, 1);
    page("", false, -1);
    assert_false(asks());
}

static void window_of_an_order_is_read_once_more_for_proof(void **state)
{
    (void)state;
    pending_order(AT_0);
    now_ms = s(50);
    assert_question(PURPOSE_ORDER, -10, 50, 1); /* it is the grace's last instant */
    page("", false, -1);
    assert_false(asks());
    now_ms = s(50) + 2;
    assert_question(PURPOSE_ORDER, -10, 50, 1);
    page("abcde", true, 7);
    assert_true(asks());
    page("fg", false, 7); /* covers, and does not prove */
    assert_true(asks());
    assert_int_equal(question.purpose, PURPOSE_ORDER);
    page("abcde", true, 7);
    assert_true(asks());
    page("fg", false, 7);
    assert_ended("complete", true, true);
    now_ms = s(400);
    assert_false(asks());
}

static void proof_is_not_asked_for_within_the_last_second_of_the_grace(void **state)
{
    (void)state;
    pending_order("2025-06-15T15:06:40.500Z");
    now_ms = s(50) + 200;
    assert_question(PURPOSE_ORDER, -10, 50, 1);
    page("", false, -1);
    assert_false(asks());
}

static void window_that_ends_after_the_grace_is_read_to_its_end(void **state)
{
    (void)state;
    settings.after = 40000;
    settings.absence_grace = 10000;
    pending_order(AT_0);
    now_ms = s(100);
    assert_question(PURPOSE_ORDER, -10, 40, 1);
}

static void grace_that_ends_after_the_window_is_read_to_its_end(void **state)
{
    (void)state;
    pending_order(AT_0);
    now_ms = s(100);
    assert_question(PURPOSE_ORDER, -10, 50, 1);
}

/* What lies within `edge_lag` of now may still change. */
static void window_is_read_for_proof_when_its_end_cannot_change_any_more(void **state)
{
    (void)state;
    settings.edge_lag = 30000;
    pending_order(AT_0);
    now_ms = s(60);
    assert_question(PURPOSE_ORDER, -10, 30, 1);
    page("", false, -1);
    assert_false(asks());
    now_ms = s(79);
    assert_false(asks()); /* not due */
    now_ms = s(80);
    assert_question(PURPOSE_ORDER, 30, 50, 1);
}

/* --- the clock ----------------------------------------------------------------------------------
 */

static void what_was_read_later_than_now_is_read_again(void **state)
{
    (void)state;
    settings.backfill = settings.overlap = 3600000;
    start();
    read_page("");
    assert_false(asks());
    now_ms = s(-1000);
    assert_question(PURPOSE_RECENT, -3600, -1000, 1);
    assert_int_equal(number("SELECT count(*) FROM coverage"), 0);
}

static void pass_from_the_future_is_begun_anew(void **state)
{
    (void)state;
    settings.backfill = settings.overlap = 600000;
    start();
    assert_true(asks());
    page("abcde", true, 7);
    now_ms = s(-100);
    assert_question(PURPOSE_RECENT, -600, -100, 1);
    page("abcde", true, 7);
    now_ms = s(-200);
    start();
    assert_question(PURPOSE_RECENT, -600, -200, 1);
}

static void pass_that_began_before_goes_on(void **state)
{
    (void)state;
    start();
    assert_true(asks());
    page("abcde", true, 7);
    now_ms = s(100);
    assert_true(asks());
    sync_forget_question(subject);
    now_ms = s(50);
    assert_question(PURPOSE_RECENT, -60, 0, 2);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_page_proves),
        TEST(empty_window_proves),
        TEST(one_page_that_agrees_with_its_total_proves),
        TEST(several_pages_with_a_total_cover_and_do_not_prove),
        TEST(several_pages_prove_when_read_twice_alike),
        TEST(last_page_may_be_empty_or_short),
        TEST(pages_in_the_middle_are_as_long_as_the_first),
        TEST(total_does_not_change_between_pages),
        TEST(rows_add_up_to_the_total),
        TEST(answer_that_contradicts_itself_is_not_understood),
        TEST(one_answer_that_holds_a_row_twice_proves_the_second_time),
        TEST(row_that_came_on_two_pages_is_never_proof),
        TEST(same_page_again_is_not_read_on),
        TEST(pages_without_end_are_given_up),
        TEST(answer_to_another_question_is_not_understood),
        TEST(rows_of_about_the_time_are_no_strangers),
        TEST(odd_row_among_good_ones_needs_a_second_reading),
        TEST(only_row_may_be_odd),
        TEST(answer_that_lacks_a_known_record_needs_a_second_reading),
        TEST(empty_answer_is_not_believed_where_records_are_known),
        TEST(pass_that_fails_makes_nothing_vanish),
        TEST(pass_goes_on_after_a_restart),
        TEST(page_and_cursor_are_stored_together_or_not_at_all),
        TEST(answer_that_is_not_understood_ends_the_pass),
        TEST(page_number_means_another_place_with_another_page_size),
        TEST(what_another_api_has_shown_proves_nothing),
        TEST(window_of_which_no_two_readings_agree_is_left_alone),
        TEST(window_that_drifts_is_left_alone),
        TEST(window_is_no_longer_than_a_day),
        TEST(history_is_read_from_its_origin),
        TEST(look_back_is_read_anew_each_cycle),
        TEST(look_back_does_not_reach_behind_the_origin),
        TEST(stretched_look_back_is_not_repeated_each_cycle),
        TEST(deep_look_back_reaches_further),
        TEST(window_of_a_pending_order_is_read_again_and_again),
        TEST(window_of_an_order_is_read_once_more_for_proof),
        TEST(proof_is_not_asked_for_within_the_last_second_of_the_grace),
        TEST(window_that_ends_after_the_grace_is_read_to_its_end),
        TEST(grace_that_ends_after_the_window_is_read_to_its_end),
        TEST(window_is_read_for_proof_when_its_end_cannot_change_any_more),
        TEST(what_was_read_later_than_now_is_read_again),
        TEST(pass_from_the_future_is_begun_anew),
        TEST(pass_that_began_before_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
