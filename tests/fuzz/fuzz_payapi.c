/* payapi_decode() on any body: what comes out keeps the promises of its header, comes out again the
 * same, and each record survives being written as raw JSON and read alone. */
#include "fuzz.h"

#include <errno.h>

#include "base/cleanup.h"
#include "remote/payapi_codec.h"

static const char *const order_refs[] = {"/metadata/orderId", "/list/1/a~1b", "/orderId", NULL};
static const char *const original_refs[] = {"/originalTransactionId", "/parentTransactionId", NULL};

static size_t count_characters(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void require_money(struct money money)
{
    char text[MONEY_TEXT_SIZE];
    struct money again;

    REQUIRE(currency_exponent(money.currency) >= 0);
    REQUIRE(money_parse(money_format(money, text), money.currency, &again) == 0);
    REQUIRE(money_equal(money, again));
}

static void require_digits(const char *text, size_t least, size_t most)
{
    size_t n = strspn(text, "0123456789");

    REQUIRE(text[n] == '\0' && (n == 0 || (n >= least && n <= most)));
}

static void require_record(const struct transaction *t)
{
    REQUIRE(t->id[0] && count_characters(t->id) <= 128);
    for (const unsigned char *p = (const unsigned char *)t->id; *p; p++)
        REQUIRE(*p >= 0x20 && *p != 0x7f);
    REQUIRE(t->type[0]);
    REQUIRE(count_characters(t->order_ref) <= 128 && count_characters(t->original_id) <= 128);
    REQUIRE(!strchr(t->order_ref, 0x7f) && !strchr(t->card.brand, 0x7f));
    require_money(t->amount);
    require_money(t->net);
    REQUIRE(strcmp(t->amount.currency, t->net.currency) == 0);
    if (transaction_kind_of(t->type) == TRANSACTION_SALE)
        REQUIRE(t->amount.minor >= 0);
    require_digits(t->card.last_four, 4, 4);
    require_digits(t->card.bin, 6, 8);
    REQUIRE(strlen(t->card.email_hash) == 0 || strlen(t->card.email_hash) == 32);
    REQUIRE(t->raw);
}

static void require_bad(const struct bad_record *bad)
{
    REQUIRE(bad->reason[0] && strlen(bad->digest) == 32 && bad->raw);
    REQUIRE(count_characters(bad->id) <= 128);
}

static void require_equal(const struct transaction *a, const struct transaction *b)
{
    REQUIRE(strcmp(a->id, b->id) == 0 && strcmp(a->type, b->type) == 0);
    REQUIRE(money_equal(a->amount, b->amount) && money_equal(a->net, b->net));
    REQUIRE(a->transacted_at == b->transacted_at && a->created_at == b->created_at);
    REQUIRE(memcmp(&a->card, &b->card, sizeof(a->card)) == 0);
    REQUIRE(strcmp(a->order_ref, b->order_ref) == 0);
    REQUIRE(strcmp(a->original_id, b->original_id) == 0);
    REQUIRE(strcmp(a->status, b->status) == 0);
    REQUIRE(strcmp(a->transaction_status, b->transaction_status) == 0);
    REQUIRE(strcmp(a->raw, b->raw) == 0);
}

/* A page of this record and nothing else. */
static struct page *decode_raw(const struct payapi_codec *codec, const char *raw)
{
    struct page *page = NULL;
    char *body;
    int n = asprintf(&body, "{\"data\":[%s],\"pagination\":{\"hasNextPage\":false}}", raw);

    REQUIRE(n > 0);
    REQUIRE(payapi_decode(codec, body, (size_t)n, &page, NULL) == 0);
    free(body);
    return page;
}

static void require_page(const struct payapi_codec *codec, const struct page *page)
{
    size_t n = page->n_records + page->n_bad;

    REQUIRE(n <= 10000 && (n > 0 || !page->has_next));
    REQUIRE(page->number >= -1 && page->total_pages >= -1 && page->total >= -1);
    REQUIRE(page->total < 0 || (size_t)page->total >= n);
    for (size_t i = 0; i < page->n_records; i++) {
        struct page *alone;

        require_record(&page->records[i]);
        alone = decode_raw(codec, page->records[i].raw);
        REQUIRE(alone->n_records == 1 && alone->n_bad == 0);
        require_equal(&page->records[i], &alone->records[0]);
        page_free(alone);
    }
    for (size_t i = 0; i < page->n_bad; i++) {
        struct page *alone;

        require_bad(&page->bad[i]);
        alone = decode_raw(codec, page->bad[i].raw);
        REQUIRE(alone->n_records == 0 && alone->n_bad == 1);
        REQUIRE(strcmp(page->bad[i].reason, alone->bad[0].reason) == 0);
        REQUIRE(strcmp(page->bad[i].id, alone->bad[0].id) == 0);
        REQUIRE(strcmp(page->bad[i].digest, alone->bad[0].digest) == 0);
        REQUIRE(page->bad[i].has_time == alone->bad[0].has_time);
        page_free(alone);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct secret *key;
    struct payapi_codec codec = {
        .order_ref = order_refs, .original_ref = original_refs, .keep_raw = true};
    struct page *page = NULL;
    struct error err = {0};
    int r;

    if (!key)
        key = secret_new("0123456789abcdef0123456789abcdef", EMAIL_KEY_SIZE);
    REQUIRE(key);
    codec.email_key = key;
    r = payapi_decode(&codec, (const char *)data, size, &page, &err);
    if (r < 0) {
        REQUIRE(r == -EBADMSG && err.code == r && err.text[0] && !page);
        return 0;
    }
    REQUIRE(r == 0);
    require_page(&codec, page);
    page_free(page);
    return 0;
}
