/* What the queue's constraints let through, the program has to understand: the currencies and their
 * decimals are written down in SQL and in C, the forms of amounts and times likewise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "core/money.h"
#include "core/timestamp.h"
#include "store/migrate.h"

enum { ROUNDS = 20000 };

static char directory[] = "/tmp/reconciled-test-XXXXXX";

static struct db *open_database(const char *name)
{
    char path[64];
    struct error err = {0};
    struct db *db;

    snprintf(path, sizeof(path), "%s/%s.db", directory, name);
    assert_int_equal(db_open(path, DB_CREATE, 0, &db, &err), 0);
    assert_int_equal(db_exec(db, "PRAGMA synchronous=OFF", &err), 0);
    assert_int_equal(migrate(db, name, &err), 0);
    return db;
}

static int set_up(void **state)
{
    *state = open_database("queue");
    return db_begin(*state, NULL);
}

static int tear_down(void **state)
{
    db_close(*state);
    return 0;
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    static const char *const names[] = {"queue", "ledger"};
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char path[80];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        for (size_t k = 0; k < ELEMENTSOF(suffixes); k++) {
            snprintf(path, sizeof(path), "%s/%s.db%s", directory, names[i], suffixes[k]);
            unlink(path);
        }
    return rmdir(directory);
}

/* Whether the queue takes an order of this amount. */
static bool takes_amount(struct db *queue, const char *amount, const char *currency)
{
    struct error err;
    int r = db_run(queue, &err,
                   "INSERT INTO pending_orders (order_id, amount, currency) VALUES ('o', ?, ?)",
                   "tt", amount, currency);

    if (r < 0)
        assert_non_null(strstr(err.text, "CHECK constraint failed: "));
    return r == 0;
}

/* An attempt, an end and a heartbeat: the same check, written out for each column. */
static bool takes_time(struct db *queue, const char *at)
{
    struct error err;
    bool created, seen, decided, attempted;

    created = db_run(queue, &err,
                     "INSERT OR REPLACE INTO sessions (session_id, session_key, created_at)"
                     " VALUES ('s', 'k', ?)",
                     "t", at) == 0;
    seen = db_run(queue, &err,
                  "INSERT OR REPLACE INTO sessions (session_id, session_key, last_seen_at)"
                  " VALUES ('s', 'k', ?)",
                  "t", at) == 0;
    decided = db_run(queue, &err,
                     "INSERT OR REPLACE INTO resolutions (resolution_key, order_id, decision, note,"
                     " decided_by, decided_at) VALUES ('r', 'o', 'charged', 'n', 'a', ?)",
                     "t", at) == 0;
    attempted = db_run(queue, &err,
                       "INSERT INTO pending_orders (order_id, amount, attempted_at)"
                       " VALUES ('o', '1', ?)",
                       "t", at) == 0;
    if (*at) /* an optional column takes an empty text as NULL */
        assert_int_equal(created, seen);
    assert_int_equal(created, decided);
    if (!attempted && strstr(err.text, "attempted_at_is_in_the_future"))
        return created;
    assert_int_equal(created, attempted);
    return created;
}

/* xorshift64: the same sequence in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t below(uint64_t *state, size_t n)
{
    return (size_t)(next_random(state) % n);
}

/* --- currencies ---------------------------------------------------------------------------------
 */

static void test_queue_and_program_know_the_same_currencies(void **state)
{
    char code[4] = "AAA";
    size_t known = 0;

    for (code[0] = 'A'; code[0] <= 'Z'; code[0]++)
        for (code[1] = 'A'; code[1] <= 'Z'; code[1]++)
            for (code[2] = 'A'; code[2] <= 'Z'; code[2]++) {
                bool ours = currency_exponent(code) >= 0;

                if (takes_amount(*state, "1", code) != ours)
                    fail_msg("%s: the program %s it", code, ours ? "knows" : "does not know");
                known += ours;
            }
    assert_true(known > 150);
}

static void test_queue_and_program_agree_on_decimals(void **state)
{
    for (const char *const *code = currency_codes(); *code; code++) {
        int exponent = currency_exponent(*code);
        char amount[16] = "1.0000000";

        /* A digit that is not zero in each place after the point. */
        for (int place = 1; place <= 6; place++) {
            struct money money;

            amount[1 + place] = '1';
            assert_int_equal(money_parse(amount, *code, &money) == 0, place <= exponent);
            if (takes_amount(*state, amount, *code) != (place <= exponent))
                fail_msg("%s %s: it has %d decimals", amount, *code, exponent);
            amount[1 + place] = '0';
        }
        assert_true(takes_amount(*state, amount, *code));
    }
}

static void test_ledger_and_program_agree_on_decimals(void **state)
{
    struct db *ledger = open_database("ledger");
    struct error err = {0};
    int64_t listed, exceptions = 0;

    (void)state;
    for (const char *const *code = currency_codes(); *code; code++) {
        int64_t exponent;

        assert_int_equal(db_value(ledger, &exponent, 2, &err,
                                  "SELECT exponent FROM currencies WHERE code = ?", "t", *code),
                         0);
        if (exponent != currency_exponent(*code))
            fail_msg("%s: %d decimals, not %d", *code, currency_exponent(*code), (int)exponent);
        exceptions += exponent != 2;
    }
    assert_int_equal(db_value(ledger, &listed, 0, &err, "SELECT count(*) FROM currencies", ""), 0);
    assert_int_equal(listed, exceptions); /* and no other is there */
    db_close(ledger);
}

/* --- amounts ------------------------------------------------------------------------------------
 */

static void test_program_understands_every_amount_that_the_queue_takes(void **state)
{
    static const char digits[] = "0123456789";
    static const char odd[] = ".,-+ eE'x";
    static const char *const currencies[] = {"USD", "JPY", "BHD", "CLF"};
    uint64_t random = 20261122;
    size_t taken = 0, refused = 0;

    for (size_t round = 0; round < ROUNDS; round++) {
        const char *currency = currencies[below(&random, ELEMENTSOF(currencies))];
        size_t whole = below(&random, 18), fraction = below(&random, 6), n = 0;
        struct money money;
        char amount[48];

        for (size_t i = 0; i < whole; i++)
            amount[n++] = digits[below(&random, 10) * below(&random, 2)];
        if (fraction > 0)
            amount[n++] = '.';
        for (size_t i = 1; i < fraction; i++)
            amount[n++] = digits[below(&random, 10) * below(&random, 2)];
        amount[n] = '\0';
        if (n > 0 && below(&random, 4) == 0)
            amount[below(&random, n)] = odd[below(&random, sizeof(odd) - 1)];

        if (!takes_amount(*state, amount, currency)) {
            refused++;
            continue;
        }
        taken++;
        if (money_parse(amount, currency, &money) < 0 || money.minor <= 0)
            fail_msg("the queue takes %s %s, the program does not", amount, currency);
    }
    assert_true(taken > ROUNDS / 10 && refused > ROUNDS / 10);
}

static void test_queue_takes_what_a_shop_may_charge(void **state)
{
    static const struct {
        const char *amount, *currency;
    } good[] = {{"0.01", "USD"},   {"49", "USD"},     {"49.5", "USD"},
                {"49.50", "USD"},  {"049.00", "USD"}, {"1", "JPY"},
                {"1.00", "JPY"},   {"1.250", "BHD"},  {"999999999999.99", "USD"},
                {"0.0001", "CLF"}, {"49.000", "USD"}};

    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        if (!takes_amount(*state, good[i].amount, good[i].currency))
            fail_msg("%s %s", good[i].amount, good[i].currency);
}

/* --- times --------------------------------------------------------------------------------------
 */

static void test_program_understands_every_time_that_the_queue_takes(void **state)
{
    static const char *const forms[] = {
        "2026-11-22T14:03:07.250Z", "2026-11-22 14:03:07",       "2026-11-22T14:03:07Z",
        "2026-11-22 14:03:07.5",    "2026-11-22T14:03:07+00:00", "2026-11-22 14:03:07.123456",
        "2024-02-29T23:59:59.999Z", "1999-12-31 23:59:59.0Z",    "2026-11-22T14:03:07.25+00:00",
    };
    static const char letters[] = "0123456789-:.T Zz+";
    uint64_t random = 14030725;
    size_t taken = 0, refused = 0;

    for (size_t i = 0; i < ELEMENTSOF(forms); i++)
        if (!takes_time(*state, forms[i]))
            fail_msg("%s is refused", forms[i]);
    for (size_t round = 0; round < ROUNDS; round++) {
        const char *form = forms[below(&random, ELEMENTSOF(forms))];
        char at[40];
        size_t n = strlen(form);
        int64_t ms;

        memcpy(at, form, n + 1);
        for (size_t changes = 1 + below(&random, 2); changes > 0; changes--) {
            size_t place = below(&random, n);

            switch (below(&random, 3)) {
            case 0:
                at[place] = letters[below(&random, sizeof(letters) - 1)];
                break;
            case 1: /* left out */
                memmove(at + place, at + place + 1, n - place);
                n--;
                break;
            default: /* put in */
                memmove(at + place + 1, at + place, n - place + 1);
                at[place] = letters[below(&random, sizeof(letters) - 1)];
                n++;
            }
        }
        if (!takes_time(*state, at)) {
            refused++;
            continue;
        }
        taken++;
        if (timestamp_parse(at, &ms) < 0)
            fail_msg("the queue takes %s, the program does not", at);
    }
    assert_true(taken > ROUNDS / 20 && refused > ROUNDS / 10);
}

static void test_every_day_of_the_calendar(void **state)
{
    for (int year = 1999; year <= 2001; year++)
        for (int month = 0; month <= 13; month++)
            for (int day = 0; day <= 32; day++) {
                char at[64];
                int64_t ms;

                snprintf(at, sizeof(at), "%04d-%02d-%02d 12:00:00", year, month, day);
                assert_int_equal(takes_time(*state, at), timestamp_parse(at, &ms) == 0);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_queue_and_program_know_the_same_currencies, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_queue_and_program_agree_on_decimals, set_up,
                                        tear_down),
        cmocka_unit_test(test_ledger_and_program_agree_on_decimals),
        cmocka_unit_test_setup_teardown(test_program_understands_every_amount_that_the_queue_takes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue_takes_what_a_shop_may_charge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_program_understands_every_time_that_the_queue_takes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_day_of_the_calendar, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
