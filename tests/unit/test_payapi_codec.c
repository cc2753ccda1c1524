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
#include "core/timestamp.h"
#include "remote/payapi_codec.h"

#define ID    "\"transactionId\":\"T1\""
#define TYPE  "\"transactionType\":\"CreditCardSale\""
#define MONEY "\"amount\":\"49.00\",\"currency\":\"USD\""
#define TIME  "\"transDate\":\"2026-04-30T22:00:15.850Z\""
#define BASE  ID "," TYPE "," MONEY "," TIME
/* Without one of them, each ending in a comma. */
#define NO_ID    TYPE "," MONEY "," TIME ","
#define NO_TYPE  ID "," MONEY "," TIME ","
#define NO_MONEY ID "," TYPE "," TIME ","
#define NO_TIME  ID "," TYPE "," MONEY ","

static const char *const order_refs[] = {"/metadata/orderId", "/metadata/order_id", "/orderId",
                                         NULL};
static const char *const original_refs[] = {"/originalTransactionId", "/parentTransactionId", NULL};

static struct payapi_codec codec = {.order_ref = order_refs, .original_ref = original_refs};

static struct page *decode_n(const char *body, size_t n)
{
    struct error err = {0};
    struct page *page = NULL;
    int r = payapi_decode(&codec, body, n, &page, &err);

    if (r != 0)
        fail_msg("refused: %s: %.200s", err.text, body);
    assert_non_null(page);
    return page;
}

static void refused(const char *body)
{
    struct error err = {0};
    struct page *page = NULL;

    if (payapi_decode(&codec, body, strlen(body), &page, &err) != -EBADMSG)
        fail_msg("taken: %s", body);
    assert_null(page); /* untouched */
    assert_int_equal(err.code, -EBADMSG);
    assert_true(err.text[0]);
}

/* A last page with these records. */
static struct page *records(const char *list)
{
    _cleanup_free_ char *body = NULL;
    int n = asprintf(&body, "{\"transactions\":[%s],\"pagination\":{\"hasNextPage\":false}}", list);

    assert_true(n > 0);
    return decode_n(body, (size_t)n);
}

/* The only record of the page, by value; what it owns is given up. */
static struct transaction good(const char *members)
{
    _cleanup_free_ char *record = NULL;
    struct transaction t;
    struct page *page;

    assert_true(asprintf(&record, "{%s}", members) > 0);
    page = records(record);
    if (page->n_bad)
        fail_msg("bad: %s: %s", page->bad[0].reason, members);
    assert_int_equal(page->n_records, 1);
    t = page->records[0];
    t.raw = NULL;
    page_free(page);
    return t;
}

static struct bad_record bad(const char *members)
{
    _cleanup_free_ char *record = NULL;
    struct bad_record b;
    struct page *page;

    assert_true(asprintf(&record, "{%s}", members) > 0);
    page = records(record);
    if (page->n_records)
        fail_msg("taken: %s", members);
    assert_int_equal(page->n_bad, 1);
    b = page->bad[0];
    b.raw = NULL;
    assert_true(b.reason[0]);
    assert_int_equal(strlen(b.digest), 32);
    assert_int_equal(strspn(b.digest, "0123456789abcdef"), 32);
    page_free(page);
    return b;
}

/* Bad, for a reason that names the member. */
static void bad_for(const char *member, const char *members)
{
    struct bad_record b = bad(members);

    if (!strstr(b.reason, member))
        fail_msg("%s: %s", b.reason, members);
}

static int64_t instant(const char *text)
{
    int64_t ms;

    assert_int_equal(timestamp_parse(text, &ms), 0);
    return ms;
}

/* --- the answer -------------------------------------------------------------------- */

static void test_envelopes(void **state)
{
    static const struct {
        const char *before, *after; /* the pagination */
    } bodies[] = {
        {"{\"transactions\":[{" BASE "}],\"pagination\":", "}"},
        {"{\"data\":[{" BASE "}],\"pagination\":", "}"},
        {"{\"data\":{\"transactions\":[{" BASE "}],\"pagination\":", "}}"},
        {"{\"data\":{\"transactions\":[{" BASE "}]},\"pagination\":", "}"},
        {"{\"success\":true,\"data\":{\"transactions\":[{" BASE "}],\"pagination\":", "}}"},
        {"\xef\xbb\xbf {\"pagination\":", ",\"success\":true,\"transactions\":[{" BASE "}]}\n"},
        {"{\"transactions\":[{" BASE
         "}],\"data\":null,\"error\":null,\"errors\":[],\"pagination\":",
         ",\"message\":\"ok\"}"},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bodies); i++) {
        char body[1000];
        struct page *page;

        snprintf(body, sizeof(body), "%s%s%s", bodies[i].before,
                 "{\"hasNextPage\":true,\"currentPage\":2,\"totalPages\":\"5\",\"totalCount\":41}",
                 bodies[i].after);
        page = decode_n(body, strlen(body));
        assert_int_equal(page->n_records, 1);
        assert_int_equal(page->n_bad, 0);
        assert_string_equal(page->records[0].id, "T1");
        assert_null(page->records[0].raw);
        assert_true(page->has_next);
        assert_int_equal(page->number, 2);
        assert_int_equal(page->total_pages, 5);
        assert_int_equal(page->total, 41);
        page_free(page);
        snprintf(body, sizeof(body), "%s%s%s", bodies[i].before,
                 "{\"hasNextPage\":false,\"page\":null}", bodies[i].after);
        page = decode_n(body, strlen(body));
        assert_false(page->has_next);
        assert_int_equal(page->number, -1);
        assert_int_equal(page->total_pages, -1);
        assert_int_equal(page->total, -1);
        page_free(page);
    }
}

static void test_lies(void **state)
{
    static const char *const bodies[] = {
        "",
        "<html><body>200 OK</body></html>",
        "null",
        "[]",
        "{}",
        "[{" BASE "}]",
        "{\"transactions\":[]}",
        "{\"pagination\":{\"hasNextPage\":false}}",
        "{\"transactions\":[],\"pagination\":null}",
        "{\"transactions\":[],\"pagination\":[]}",
        "{\"transactions\":[],\"pagination\":{}}",
        "{\"transactions\":null,\"pagination\":{\"hasNextPage\":false}}",
        "{\"transactions\":{},\"pagination\":{\"hasNextPage\":false}}",
        "{\"transactions\":\"\",\"pagination\":{\"hasNextPage\":false}}",
        "{\"data\":null,\"pagination\":{\"hasNextPage\":false}}",
        "{\"data\":{},\"pagination\":{\"hasNextPage\":false}}",
        "{\"data\":\"\",\"pagination\":{\"hasNextPage\":false}}",
        "{\"data\":{\"data\":[]},\"pagination\":{\"hasNextPage\":false}}",
        "{\"data\":[],\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}",
        "{\"Transactions\":[],\"pagination\":{\"hasNextPage\":false}}",
        "{\"data\":{\"transactions\":[],\"pagination\":{\"hasNextPage\":false}},\"pagination\":{}}",
        "{\"transactions\":[],\"pagination\":{\"hasNextPage\":null}}",
        "{\"transactions\":[],\"pagination\":{\"hasNextPage\":0}}",
        "{\"transactions\":[],\"pagination\":{\"hasNextPage\":\"false\"}}",
        "{\"transactions\":[],\"pagination\":{\"hasnextpage\":false}}",
        "{\"success\":false,\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}",
        "{\"success\":null,\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}",
        "{\"success\":\"true\",\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}",
        "{\"error\":\"timeout\",\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}",
        "{\"errors\":[{}],\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}",
        "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false}",
        "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}}",
        "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false}} {}",
    };
    static const char whole[] =
        "{\"data\":{\"transactions\":[{" BASE "}],\"pagination\":{\"hasNextPage\":false}}}";
    char body[sizeof(whole)];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bodies); i++)
        refused(bodies[i]);
    /* Cut off anywhere. */
    page_free(decode_n(whole, sizeof(whole) - 1));
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        memcpy(body, whole, n);
        body[n] = '\0';
        refused(body);
    }
}

/* Pagination members in a page of two records. */
static void test_contradictions(void **state)
{
    static const struct {
        const char *pagination;
        bool ok;
    } cases[] = {
        {"\"hasNextPage\":false,\"page\":3,\"totalPages\":3", true},
        {"\"hasNextPage\":false,\"page\":2,\"totalPages\":3", false},
        {"\"hasNextPage\":true,\"page\":2,\"totalPages\":3", true},
        {"\"hasNextPage\":true,\"page\":3,\"totalPages\":3", false},
        {"\"hasNextPage\":true,\"page\":4,\"totalPages\":3", false},
        {"\"hasNextPage\":true,\"page\":3,\"totalPages\":0", true}, /* it does not know */
        {"\"hasNextPage\":true,\"totalPages\":1", true},            /* nor do we */
        {"\"hasNextPage\":false,\"total\":2", true},
        {"\"hasNextPage\":false,\"total\":1", false},
        {"\"hasNextPage\":false,\"totalCount\":0", false},
        {"\"hasNextPage\":false,\"totalRecords\":\"1\"", false},
        {"\"hasNextPage\":false,\"total\":102", true},
        {"\"hasNextPage\":false,\"page\":1,\"currentPage\":1", true},
        {"\"hasNextPage\":false,\"page\":1,\"currentPage\":2", false},
        {"\"hasNextPage\":false,\"total\":5,\"totalCount\":6", false},
        {"\"hasNextPage\":false,\"total\":null,\"totalCount\":6", true},
        {"\"hasNextPage\":false,\"page\":-1", false},
        {"\"hasNextPage\":false,\"page\":1.0", false},
        {"\"hasNextPage\":false,\"page\":1e0", false},
        {"\"hasNextPage\":false,\"page\":\"\"", false},
        {"\"hasNextPage\":false,\"page\":\" 1\"", false},
        {"\"hasNextPage\":false,\"page\":true", false},
        {"\"hasNextPage\":false,\"page\":[]", false},
        {"\"hasNextPage\":false,\"totalPages\":\"many\"", false},
        {"\"hasNextPage\":false,\"total\":99999999999999999999999", false},
        {"\"hasNextPage\":false,\"total\":9223372036854775807", true},
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char body[1000];

        /* A bad record is a row too. */
        snprintf(body, sizeof(body), "{\"transactions\":[{" BASE "},{}],\"pagination\":{%s}}",
                 cases[i].pagination);
        if (cases[i].ok)
            page_free(decode_n(body, strlen(body)));
        else
            refused(body);
    }
    refused("{\"transactions\":[],\"pagination\":{\"hasNextPage\":true}}");
    page_free(records(""));
}

static void test_size_of_page(void **state)
{
    enum { MAX = 10000 };
    _cleanup_free_ char *body = malloc(3 * MAX + 100);
    struct page *page;
    char *p = body;

    (void)state;
    assert_non_null(body);
    p = stpcpy(p, "{\"transactions\":[{}");
    for (int i = 1; i < MAX; i++)
        p = stpcpy(p, ",{}");
    stpcpy(p, "],\"pagination\":{\"hasNextPage\":false}}");
    page = decode_n(body, strlen(body));
    assert_int_equal(page->n_bad, MAX);
    page_free(page);
    stpcpy(p, ",{}],\"pagination\":{\"hasNextPage\":false}}");
    refused(body);
}

/* --- a record ---------------------------------------------------------------------- */

static void test_record(void **state)
{
    struct transaction t =
        good("\"transactionId\":\"2604280000990C64B\",\"transactionType\":\"CreditCardSale\","
             "\"amount\":\"52.50\",\"currency\":\"usd\",\"surchargeAmount\":\"1.50\","
             "\"tipAmount\":1.00,\"salesTaxAmount\":\"\",\"cardLastFour\":\"************4242\","
             "\"cardBrand\":\"visa\",\"cardBin\":\"424242\",\"email\":\" Jane@Example.com \","
             "\"createdAt\":\"2026-04-30 22:00:16\",\"transDate\":\"2026-04-30T22:00:15.850Z\","
             "\"status\":\"approved\",\"transactionStatus\":\"settled\","
             "\"metadata\":{\"orderId\":\"order-7\"},\"parentTransactionId\":\"P9\","
             "\"firstName\":\"Jane\",\"unknown\":{\"a\":[1,2]}");
    char expected[EMAIL_HASH_SIZE];

    (void)state;
    assert_string_equal(t.id, "2604280000990C64B");
    assert_string_equal(t.type, "CreditCardSale");
    assert_int_equal(t.amount.minor, 5250);
    assert_string_equal(t.amount.currency, "USD");
    assert_int_equal(t.net.minor, 5000);
    assert_int_equal(t.transacted_at, instant("2026-04-30T22:00:15.850Z"));
    assert_int_equal(t.created_at, instant("2026-04-30T22:00:16Z"));
    assert_string_equal(t.card.last_four, "4242");
    assert_string_equal(t.card.brand, "visa");
    assert_string_equal(t.card.bin, "424242");
    email_hash(codec.email_key, "jane@example.com", expected);
    assert_string_equal(t.card.email_hash, expected);
    assert_string_equal(t.order_ref, "order-7");
    assert_string_equal(t.original_id, "P9");
    assert_string_equal(t.status, "approved");
    assert_string_equal(t.transaction_status, "settled");

    t = good(BASE);
    assert_int_equal(t.net.minor, 4900);
    assert_int_equal(t.created_at, t.transacted_at);
    assert_string_equal(t.card.last_four, "");
    assert_string_equal(t.card.brand, "");
    assert_string_equal(t.card.bin, "");
    assert_string_equal(t.card.email_hash, "");
    assert_string_equal(t.order_ref, "");
    assert_string_equal(t.original_id, "");
    assert_string_equal(t.status, "");
}

/* Each a page with one odd record between two good ones: these are stored. */
static void test_one_odd_record(void **state)
{
    static const char *const odd[] = {
        "null",
        "1",
        "\"text\"",
        "[]",
        "true",
        "{}",
        "1e999",
        "{\"transactionId\":{}}",
        "{" NO_MONEY "\"currency\":\"USD\",\"amount\":1111111111111111111111111111111111111111}",
        "{\"transactionId\":\"\\ud800\"," NO_ID "\"x\":\"\\udfff\\u0000\xff\"}",
        "[[[[[[[[[[]]]]]]]]]]",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(odd); i++) {
        _cleanup_free_ char *list = NULL;
        struct page *page;

        assert_true(asprintf(&list,
                             "{" BASE
                             "},%s,{\"transactionId\":\"T2\",\"lastName\":\"\\ud83d\"," NO_ID
                             "\"zip\":123456789012345678901234567890}",
                             odd[i]) > 0);
        page = records(list);
        if (page->n_records != 2 || page->n_bad != 1)
            fail_msg("%zu good, %zu bad: %s", page->n_records, page->n_bad, odd[i]);
        assert_string_equal(page->records[0].id, "T1");
        assert_string_equal(page->records[1].id, "T2");
        page_free(page);
    }
}

static void test_deep_nesting(void **state)
{
    enum { DEPTH = 1000 };
    char list[2 * DEPTH + 1];
    struct page *page;

    (void)state;
    memset(list, '[', DEPTH);
    memset(list + DEPTH, ']', DEPTH);
    list[2 * DEPTH] = '\0';
    page = records(list);
    assert_int_equal(page->n_bad, 1);
    page_free(page);
}

static void test_id(void **state)
{
    char id[128 * 4 + 1] = "", members[1000];
    struct transaction t;

    (void)state;
    assert_string_equal(good("\"transactionId\":12345678901234567890123," NO_ID "\"a\":0").id,
                        "12345678901234567890123");
    /* 128 characters, whatever their bytes. */
    for (int i = 0; i < 128; i++)
        memcpy(id + 4 * i, "\xf0\x9f\x98\x80", 5);
    snprintf(members, sizeof(members), "\"transactionId\":\"%s\"," NO_ID "\"a\":0", id);
    t = good(members);
    assert_string_equal(t.id, id);
    snprintf(members, sizeof(members), "\"transactionId\":\"%sx\"," NO_ID "\"a\":0", id);
    bad_for("transactionId", members);
    assert_string_equal(bad(members).id, "");

    bad_for("transactionId", NO_ID "\"transactionId\":\"\"");
    bad_for("transactionId", NO_ID "\"transactionId\":\" \\t \"");
    bad_for("transactionId", NO_ID "\"transactionId\":null");
    bad_for("transactionId", NO_ID "\"transactionId\":true");
    bad_for("transactionId", NO_ID "\"transactionId\":[\"T1\"]");
    bad_for("transactionId", NO_ID "\"transactionId\":1.5");
    bad_for("transactionId", NO_ID "\"transactionId\":1e5");
    bad_for("transactionId", NO_ID "\"transactionId\":-1");
    bad_for("transactionId", NO_ID "\"transactionId\":\"a\\nb\"");
    bad_for("transactionId", NO_ID "\"transactionId\":\"a\\u007fb\"");
    bad_for("transactionId", NO_ID "\"transactionId\":\"a\\u0085b\"");
    bad_for("transactionId", NO_ID "\"transactionId\":\"a\\u0000\"");
    bad_for("transactionId", NO_ID "\"transactionId\":\"a\\ud800\"");
    bad_for("transactionId", NO_ID "\"transactionId\":\"a\xff\"");
    bad_for("transactionId", NO_ID "\"transactionId\":\"\\u0001"
                                   "12\"");
    bad_for("transactionId", NO_ID "\"transactionid\":\"T1\"");
}

static void test_type(void **state)
{
    (void)state;
    assert_string_equal(good(NO_TYPE "\"type\":\"AchSale\"").type, "AchSale");
    assert_string_equal(
        good(NO_TYPE "\"type\":\"AchSale\",\"transactionType\":\"CreditCardVoid\"").type,
        "CreditCardVoid");
    assert_string_equal(good(NO_TYPE "\"type\":\"New\",\"transactionType\":\"\"").type, "New");
    assert_int_equal(
        strlen(good(NO_TYPE "\"type\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                            "xxxxxx\"")
                   .type),
        64);
    bad_for("transactionType", NO_TYPE
            "\"type\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"");
    bad_for("transactionType", NO_TYPE "\"a\":0");
    bad_for("transactionType", NO_TYPE "\"type\":5");
    bad_for("transactionType", NO_TYPE "\"type\":[]");
    bad_for("transactionType", NO_TYPE "\"type\":\"CreditCardSale\\u0000\"");
}

static void test_amount(void **state)
{
    static const struct {
        const char *members;
        int64_t minor;
    } taken[] = {
        {"\"currency\":\"USD\",\"amount\":\"49\"", 4900},
        {"\"currency\":\"USD\",\"amount\":49.1", 4910},
        {"\"currency\":\"USD\",\"amount\":0.29", 29}, /* as a double, 28.999… */
        {"\"currency\":\"USD\",\"amount\":90071992547409.93", 9007199254740993}, /* 2^53 + 1 */
        {"\"currency\":\"USD\",\"amount\":1.1000000000000000000000000000000", 110},
        {"\"currency\":\"JPY\",\"amount\":4900.00", 4900},
        {"\"currency\":\"bhd\",\"amount\":\"1.234\"", 1234},
        {"\"currency\":\"USD\",\"amount\":0", 0},
        {"\"currency\":\"USD\",\"amount\":1,\"amount\":2", 200},
    };
    static const char *const refused_amounts[] = {
        "1e2",
        "1E2",
        "1.001",
        "-1",
        "-0.01",
        "\"-1.00\"",
        "\"1e2\"",
        "\"1,00\"",
        "\" 1\"",
        "\"$1\"",
        "\"1.\"",
        "\".5\"",
        "\"abc\"",
        "[]",
        "{}",
        "true",
        "null",
        "\"\"",
        "\" \"",
        "1111111111111111111111111111111111111111",
        "\"9999999999999999999\"",
        "0.00000000000000000000000000000000000000000001",
        "\"1\\ud800\"",
        "\"1\\u0000\"",
    };
    char members[500];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(taken); i++) {
        struct transaction t;

        snprintf(members, sizeof(members), NO_MONEY "%s", taken[i].members);
        t = good(members);
        assert_int_equal(t.amount.minor, taken[i].minor);
        assert_true(money_equal(t.amount, t.net));
    }
    for (size_t i = 0; i < ELEMENTSOF(refused_amounts); i++) {
        snprintf(members, sizeof(members), NO_MONEY "\"currency\":\"USD\",\"amount\":%s",
                 refused_amounts[i]);
        bad_for("amount", members);
    }
    bad_for("amount", NO_MONEY "\"currency\":\"USD\"");
    bad_for("amount", NO_MONEY "\"currency\":\"JPY\",\"amount\":1.5");
    /* What is no sale may be negative. */
    assert_int_equal(good(ID "," TIME ",\"type\":\"CreditCardReturn\",\"currency\":\"USD\","
                             "\"amount\":-5.5")
                         .amount.minor,
                     -550);
    /* An amount is quoted, and cut. */
    snprintf(members, sizeof(members), NO_MONEY "\"currency\":\"USD\",\"amount\":%0100d", 0);
    memset(strstr(members, "000"), '7', 100);
    assert_non_null(strstr(bad(members).reason, "\"7777777777777777777777777777777777777777\""));
}

static void test_net(void **state)
{
    static const char *const names[] = {"surchargeAmount", "tipAmount", "salesTaxAmount"};
    char members[500];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        struct transaction t;

        snprintf(members, sizeof(members), BASE ",\"%s\":\"1.47\"", names[i]);
        t = good(members);
        assert_int_equal(t.amount.minor, 4900);
        assert_int_equal(t.net.minor, 4753);
        snprintf(members, sizeof(members), BASE ",\"%s\":null", names[i]);
        assert_int_equal(good(members).net.minor, 4900);
        snprintf(members, sizeof(members), BASE ",\"%s\":\"x\"", names[i]);
        bad_for(names[i], members);
        snprintf(members, sizeof(members), BASE ",\"%s\":false", names[i]);
        bad_for(names[i], members);
    }
    bad_for("surchargeAmount",
            ID "," TIME ",\"type\":\"X\",\"currency\":\"JPY\",\"amount\":\"-9223372036854775800\","
               "\"surchargeAmount\":\"100\"");
}

static void test_currency(void **state)
{
    static const char *const values[] = {"null",    "\"\"",          "840", "\"USDX\"", "\"US\"",
                                         "\"XYZ\"", "\"US\\u0000\"", "{}",  "\" USD\""};
    char members[300];

    (void)state;
    bad_for("currency", NO_MONEY "\"amount\":\"1\"");
    for (size_t i = 0; i < ELEMENTSOF(values); i++) {
        snprintf(members, sizeof(members), NO_MONEY "\"amount\":\"1\",\"currency\":%s", values[i]);
        bad_for("currency", members);
    }
}

static void test_times(void **state)
{
    static const char created[] = "2026-01-02T03:04:05Z";
    struct transaction t = good(NO_TIME "\"createdAt\":\"2026-01-02 03:04:05\"");
    struct bad_record b;

    (void)state;
    assert_int_equal(t.created_at, instant(created));
    assert_int_equal(t.transacted_at, instant(created));
    t = good(NO_TIME "\"createdAt\":\"2026-01-02 03:04:05\",\"transDate\":\"\"");
    assert_int_equal(t.transacted_at, instant(created));
    t = good(BASE ",\"createdAt\":\"yesterday\"");
    assert_int_equal(t.created_at, t.transacted_at);

    b = bad(NO_TIME "\"createdAt\":\"2026-01-02 03:04:05\",\"transDate\":\"2026-13-01\"");
    assert_non_null(strstr(b.reason, "transDate"));
    assert_true(b.has_time);
    assert_int_equal(b.created_at, instant(created));
    assert_string_equal(b.id, "T1");
    b = bad(NO_TIME "\"transDate\":1777586415");
    assert_non_null(strstr(b.reason, "transDate"));
    assert_false(b.has_time);
    b = bad(NO_TIME "\"createdAt\":{}");
    assert_non_null(strstr(b.reason, "createdAt"));
    assert_false(b.has_time);
    b = bad(NO_TIME "\"a\":0");
    assert_false(b.has_time);
    /* Whatever is wrong, what can be known of it is. */
    b = bad(ID "," TIME);
    assert_string_equal(b.id, "T1");
    assert_true(b.has_time);
    assert_int_equal(b.created_at, instant("2026-04-30T22:00:15.850Z"));
    b = bad(NO_ID "\"createdAt\":\"2026-01-02 03:04:05\"");
    assert_true(b.has_time);
    assert_int_equal(b.created_at, instant(created));
    assert_string_equal(b.id, "");
}

static void test_card(void **state)
{
    static const struct {
        const char *json, *last_four, *bin;
    } cases[] = {
        {"\"4242\"", "4242", ""},
        {"\"****0007\"", "0007", ""},
        {"7", "0007", ""},
        {"4242", "4242", ""},
        {"0", "0000", ""},
        {"\"123\"", "", ""},
        {"\"424x\"", "", ""},
        {"1.5", "", ""},
        {"-424", "", ""},
        {"null", "", ""},
        {"[]", "", ""},
        {"\"12 34\"", "", ""},
        {"\"424242\"", "4242", "424242"},
        {"42424242", "4242", "42424242"},
        {"\"4242424299\"", "4299", "42424242"},
        {"\"42424x\"", "", ""},
        {"\"424242**\"", "", ""},
    };
    char members[500];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        snprintf(members, sizeof(members), BASE ",\"cardLastFour\":%s", cases[i].json);
        assert_string_equal(good(members).card.last_four, cases[i].last_four);
        snprintf(members, sizeof(members), BASE ",\"cardBin\":%s", cases[i].json);
        assert_string_equal(good(members).card.bin, cases[i].bin);
    }
    assert_string_equal(good(BASE ",\"cardBrand\":5").card.brand, "");
    assert_int_equal(
        strlen(good(BASE ",\"cardBrand\":\"abcdefghijklmnopqrstuvwxyz012345\"").card.brand), 32);
    assert_string_equal(
        good(BASE ",\"cardBrand\":\"abcdefghijklmnopqrstuvwxyz0123456\"").card.brand, "");
    /* What arrived broken must not count as a contradiction. */
    assert_string_equal(good(BASE ",\"cardBrand\":\"vi\\ud800sa\"").card.brand, "");
    assert_string_equal(good(BASE ",\"email\":\"a\xff@example.com\"").card.email_hash, "");
}

static void test_email(void **state)
{
    struct transaction a =
        good(BASE ",\"email\":\"a@example.com\",\"billingEmail\":\"b@b.example\"");
    struct transaction b = good(BASE ",\"email\":\"\",\"billingEmail\":\"A@EXAMPLE.com\"");
    struct transaction c = good(BASE ",\"billingEmail\":\"b@b.example\"");

    (void)state;
    assert_int_equal(strlen(a.card.email_hash), 32);
    assert_string_equal(a.card.email_hash, b.card.email_hash);
    assert_string_not_equal(a.card.email_hash, c.card.email_hash);
    /* Nowhere in the record in clear. */
    assert_null(memmem(&a, sizeof(a), "example.com", 11));
    assert_string_equal(good(BASE ",\"email\":5,\"billingEmail\":null").card.email_hash, "");
}

static void test_status(void **state)
{
    struct transaction t = good(
        BASE ",\"status\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9"
             "\",\"transactionStatus\":[]");

    (void)state;
    assert_int_equal(strlen(t.status), 63); /* not through the middle of a character */
    assert_string_equal(t.transaction_status, "");
}

/* --- references ---------------------------------------------------------------------- */

static void test_references(void **state)
{
    static const char *const pointers[] = {"/a~1b/0/c~0d", "/list/1", "/top",
                                           "/list/00",     "/",       NULL};
    struct payapi_codec saved = codec;
    char members[2000], id[600] = "";

    (void)state;
    /* In turn, and past what yields nothing. */
    assert_string_equal(
        good(BASE ",\"orderId\":\"c\",\"metadata\":{\"orderId\":\"\",\"order_id\":\"b\"}")
            .order_ref,
        "b");
    assert_string_equal(good(BASE ",\"orderId\":1001,\"metadata\":null").order_ref, "1001");
    assert_string_equal(good(BASE ",\"orderId\":\"c\",\"metadata\":\"x\"").order_ref, "c");
    assert_string_equal(good(BASE ",\"orderId\":\"c\",\"metadata\":[1]").order_ref, "c");
    assert_string_equal(good(BASE ",\"orderId\":{}").order_ref, "");
    assert_string_equal(good(BASE ",\"orderId\":true").order_ref, "");
    assert_string_equal(good(BASE ",\"orderId\":\"  \"").order_ref, "");
    assert_string_equal(good(BASE ",\"orderId\":\"a\\u0000\"").order_ref, "");
    assert_string_equal(good(BASE ",\"orderId\":\" a\\tb \"").order_ref, " a\tb ");

    codec.order_ref = pointers;
    assert_string_equal(good(BASE ",\"a/b\":[{\"c~d\":\"deep\"}],\"top\":\"t\"").order_ref, "deep");
    assert_string_equal(good(BASE ",\"list\":[\"x\",\"second\"],\"top\":\"t\"").order_ref,
                        "second");
    assert_string_equal(good(BASE ",\"list\":[\"x\"],\"top\":\"t\"").order_ref, "t");
    assert_string_equal(good(BASE ",\"list\":[\"x\"]").order_ref, ""); /* 00 is no index */
    assert_string_equal(good(BASE ",\"list\":{\"00\":\"name\"}").order_ref, "name");
    assert_string_equal(good(BASE ",\"\":\"empty\"").order_ref, "empty");
    codec.order_ref = (const char *const[]){"orderId", "/orderId/", "/a~2", "/a~", "", NULL};
    assert_string_equal(good(BASE ",\"orderId\":\"c\",\"a~2\":\"x\",\"a~\":\"y\"").order_ref, "");
    codec = saved;

    /* 128 characters are an id, 129 are no id's equal. */
    for (int i = 0; i < 128; i++)
        memcpy(id + 2 * i, "\xc3\xa9", 3);
    snprintf(members, sizeof(members), BASE ",\"orderId\":\"%s\",\"originalTransactionId\":\"%s!\"",
             id, id);
    assert_string_equal(good(members).order_ref, id);
    memcpy(id + 127 * 2, "\xe2\x80\xa6", 4);
    assert_string_equal(good(members).original_id, id);
}

/* --- raw and digest -------------------------------------------------------------------- */

static void test_raw(void **state)
{
    struct page *page;

    (void)state;
    codec.keep_raw = true;
    page =
        records("{" BASE ",\"amount\":49.10, \"n\" : [1e5, 12345678901234567890123 ],\"s\":\"5\"},"
                " 1.50, {\"z\":0.10,\"a\":null}");
    codec.keep_raw = false;
    assert_int_equal(page->n_records, 1);
    assert_string_equal(page->records[0].raw,
                        "{" ID "," TYPE ",\"amount\":49.10,\"currency\":\"USD\"," TIME
                        ",\"n\":[1e5,12345678901234567890123],\"s\":\"5\"}");
    assert_int_equal(page->n_bad, 2);
    assert_string_equal(page->bad[0].raw, "1.50");
    assert_string_equal(page->bad[1].raw, "{\"z\":0.10,\"a\":null}");
    page_free(page);
}

static void test_digest(void **state)
{
    struct bad_record a = bad("\"x\":1,\"y\":\"2\""), b = bad("\"y\" : \"2\", \"x\": 1");
    struct bad_record c = bad("\"x\":\"1\",\"y\":\"2\""), d = bad("\"x\":1.0,\"y\":\"2\"");

    (void)state;
    assert_string_equal(a.digest, b.digest); /* the order of members does not matter */
    assert_string_not_equal(a.digest, c.digest);
    assert_string_not_equal(a.digest, d.digest);
}

/* A reason is logged and stored: no value but an amount is in it. */
static void test_reasons_are_not_personal(void **state)
{
    static const char *const members[] = {
        NO_ID "\"transactionId\":\"jane\\u0000doe\"",
        NO_TYPE "\"type\":[\"jane doe\"]",
        NO_MONEY "\"amount\":\"1\",\"currency\":\"jane doe\"",
        NO_TIME "\"transDate\":\"jane doe\"",
        "\"email\":\"jane@example.com\",\"firstName\":\"jane\"",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(members); i++)
        assert_null(strstr(bad(members[i]).reason, "jane"));
}

static void test_huge_body_is_refused(void **state)
{
    enum { SIZE = 16 * 1024 * 1024 };
    _cleanup_free_ char *body = malloc(SIZE + 1);
    struct page *page = NULL;
    struct error err = {0};

    (void)state;
    assert_non_null(body);
    for (size_t i = 0; i < SIZE; i++)
        body[i] = "[0"[i > 0 && i % 2];
    for (size_t i = 2; i < SIZE; i += 2)
        body[i] = ',';
    body[SIZE] = '\0';
    assert_int_equal(payapi_decode(&codec, body, SIZE, &page, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "too many values"));
}

static int make_key(void **state)
{
    *state = email_key_new();
    codec.email_key = *state;
    return *state ? 0 : -1;
}

static int free_key(void **state)
{
    secret_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelopes),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_size_of_page),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_one_odd_record),
        cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_id),
        cmocka_unit_test(test_type),
        cmocka_unit_test(test_amount),
        cmocka_unit_test(test_net),
        cmocka_unit_test(test_currency),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_card),
        cmocka_unit_test(test_email),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_reasons_are_not_personal),
        cmocka_unit_test(test_huge_body_is_refused),
    };

    return cmocka_run_group_tests(tests, make_key, free_key);
}
