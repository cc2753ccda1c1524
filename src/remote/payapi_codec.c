#include "remote/payapi_codec.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "core/email_hash.h"
#include "core/money.h"
#include "core/timestamp.h"
#include "remote/json_text.h"

enum {
    MAX_RECORDS = 10000, /* in a page; the API's own limit is 100 */
    MAX_ID_CHARACTERS = 128,
    MAX_QUOTED = 40,
    DIGEST_BYTES = 16,
};

DEFINE_CLEANUP(json_t *, json_decref)
DEFINE_CLEANUP(struct page *, page_free)

/* --- members ---------------------------------------------------------------- */

enum member_kind {
    MEMBER_ABSENT, /* not there, null, or nothing but white space */
    MEMBER_STRING,
    MEMBER_NUMBER,
    MEMBER_OTHER, /* an object, array or boolean */
};

struct member {
    enum member_kind kind;
    const char *text; /* of a string or number, else NULL */
};

static struct member member_of(const json_t *value)
{
    const char *text = json_text_number(value);

    if (text)
        return (struct member){MEMBER_NUMBER, text};
    text = json_text_string(value);
    if (text && text[strspn(text, " \t\r\n\v\f")])
        return (struct member){MEMBER_STRING, text};
    if (!value || text || json_is_null(value))
        return (struct member){MEMBER_ABSENT, NULL};
    return (struct member){MEMBER_OTHER, NULL};
}

static struct member get(const json_t *object, const char *name)
{
    return member_of(json_object_get(object, name));
}

static struct member get_either(const json_t *object, const char *name, const char *other_name)
{
    struct member member = get(object, name);

    return member.kind == MEMBER_ABSENT ? get(object, other_name) : member;
}

/* False for a text in which a character had to be replaced: to compare it with another could only
 * mislead. */
static bool is_intact(const char *text)
{
    return !strchr(text, JSON_TEXT_REPLACED);
}

static bool is_digits(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == '\0';
}

static bool has_control(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] < 0xa0))
            return true;
    return false;
}

/* The bytes that the first `n` characters of valid UTF-8 take. */
static size_t characters_size(const char *text, size_t n)
{
    const char *p = text;

    for (; *p && n > 0; n--)
        do
            p++;
        while (((unsigned char)*p & 0xc0) == 0x80);
    return (size_t)(p - text);
}

/* Copies what fits, in whole characters. */
static void copy_cut(char *to, size_t size, const char *text)
{
    size_t n = strnlen(text, size - 1);

    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    memcpy(to, text, n);
    to[n] = '\0';
}

/* Notes why a record is bad; the first reason stays. Always false. */
__attribute__((format(printf, 2, 3))) static bool refuse(struct bad_record *bad, const char *format,
                                                         ...)
{
    va_list args;

    if (bad->reason[0])
        return false;
    va_start(args, format);
    vsnprintf(bad->reason, sizeof(bad->reason), format, args);
    va_end(args);
    return false;
}

/* --- a record ----------------------------------------------------------------- */

static bool read_id(const json_t *json, struct transaction *t, struct bad_record *bad)
{
    struct member id = get(json, "transactionId");

    switch (id.kind) {
    case MEMBER_ABSENT:
        return refuse(bad, "transactionId: missing");
    case MEMBER_OTHER:
        return refuse(bad, "transactionId: neither a text nor a number");
    case MEMBER_NUMBER:
        if (!is_digits(id.text))
            return refuse(bad, "transactionId: not a whole number");
        break;
    case MEMBER_STRING:
        if (has_control(id.text))
            return refuse(bad, "transactionId: has a control or broken character");
        break;
    }
    if (id.text[characters_size(id.text, MAX_ID_CHARACTERS)])
        return refuse(bad, "transactionId: longer than %d characters", MAX_ID_CHARACTERS);
    memcpy(t->id, id.text, strlen(id.text) + 1);
    memcpy(bad->id, id.text, strlen(id.text) + 1);
    return true;
}

static bool read_times(const json_t *json, struct transaction *t, struct bad_record *bad)
{
    struct member transacted = get(json, "transDate");
    struct member created = get(json, "createdAt");
    int64_t transacted_at, created_at;
    bool has_transacted, has_created;

    has_transacted =
        transacted.kind == MEMBER_STRING && timestamp_parse(transacted.text, &transacted_at) == 0;
    has_created = created.kind == MEMBER_STRING && timestamp_parse(created.text, &created_at) == 0;

    bad->has_time = has_created || has_transacted;
    if (bad->has_time)
        bad->created_at = has_created ? created_at : transacted_at;
    if (bad->has_time)
        bad->transacted_at = has_transacted ? transacted_at : created_at;
    if (transacted.kind != MEMBER_ABSENT && !has_transacted)
        return refuse(bad, "transDate: not a time");
    if (!bad->has_time)
        return refuse(bad, created.kind == MEMBER_ABSENT ? "transDate and createdAt: missing"
                                                         : "createdAt: not a time");
    t->created_at = bad->created_at;
    t->transacted_at = bad->transacted_at;
    return true;
}

static bool read_type(const json_t *json, struct transaction *t, struct bad_record *bad)
{
    struct member type = get_either(json, "transactionType", "type");

    if (type.kind == MEMBER_ABSENT)
        return refuse(bad, "transactionType: missing");
    if (type.kind != MEMBER_STRING)
        return refuse(bad, "transactionType: not a text");
    if (has_control(type.text))
        return refuse(bad, "transactionType: has a control or broken character");
    if (copy_text(t->type, sizeof(t->type), type.text) < 0)
        return refuse(bad, "transactionType: longer than %d bytes", TYPE_SIZE - 1);
    return true;
}

static bool read_currency(const json_t *json, char ret[4], struct bad_record *bad)
{
    struct member currency = get(json, "currency");

    if (currency.kind == MEMBER_ABSENT)
        return refuse(bad, "currency: missing");
    if (currency.kind != MEMBER_STRING || copy_text(ret, 4, currency.text) < 0)
        return refuse(bad, "currency: not a code of three letters");
    for (char *p = ret; *p; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
    if (currency_exponent(ret) < 0)
        return refuse(bad, "currency: not an active code of ISO 4217");
    return true;
}

static void quote(const char *text, char ret[MAX_QUOTED + 1])
{
    size_t n = strnlen(text, MAX_QUOTED);

    for (size_t i = 0; i < n; i++)
        ret[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    ret[n] = '\0';
}

/* Absent is zero. */
static bool read_money(const json_t *json, const char *name, const char *currency,
                       struct money *ret, struct bad_record *bad)
{
    struct member amount = get(json, name);
    char quoted[MAX_QUOTED + 1];
    int r;

    if (amount.kind == MEMBER_OTHER)
        return refuse(bad, "%s: neither a text nor a number", name);
    r = money_parse(amount.kind == MEMBER_ABSENT ? "0" : amount.text, currency, ret);
    if (r < 0) {
        quote(amount.text, quoted);
        return refuse(bad, "%s: \"%s\" %s %s", name, quoted,
                      r == -ERANGE ? "is too large for" : "is no amount of", currency);
    }
    return true;
}

static bool read_amounts(const json_t *json, struct transaction *t, struct bad_record *bad)
{
    static const char *const extras[] = {"surchargeAmount", "tipAmount", "salesTaxAmount"};
    struct money extra;
    char currency[4];

    if (!read_currency(json, currency, bad))
        return false;
    if (get(json, "amount").kind == MEMBER_ABSENT)
        return refuse(bad, "amount: missing");
    if (!read_money(json, "amount", currency, &t->amount, bad))
        return false;
    if (t->amount.minor < 0 && transaction_kind_of(t->type) == TRANSACTION_SALE)
        return refuse(bad, "amount: a sale of less than nothing");
    t->net = t->amount;
    for (size_t i = 0; i < ELEMENTSOF(extras); i++) {
        if (!read_money(json, extras[i], currency, &extra, bad))
            return false;
        if (money_sub(t->net, extra, &t->net) < 0)
            return refuse(bad, "%s: is too large to take off", extras[i]);
    }
    return true;
}

static void read_card(const json_t *json, const struct secret *email_key, struct card *card)
{
    struct member last_four = get(json, "cardLastFour");
    struct member bin = get(json, "cardBin");
    struct member brand = get(json, "cardBrand");
    struct member email = get_either(json, "email", "billingEmail");
    size_t n;

    /* A number has lost its leading zeros, a text may be masked up to the last four. */
    if (last_four.kind == MEMBER_NUMBER && is_digits(last_four.text)) {
        n = strlen(last_four.text);
        memcpy(card->last_four, "0000", 5);
        if (n > 4)
            memcpy(card->last_four, last_four.text + n - 4, 4);
        else
            memcpy(card->last_four + 4 - n, last_four.text, n);
    } else if (last_four.kind == MEMBER_STRING) {
        n = strlen(last_four.text);
        if (n >= 4 && is_digits(last_four.text + n - 4))
            memcpy(card->last_four, last_four.text + n - 4, 5);
    }
    if (bin.text && is_digits(bin.text) && strlen(bin.text) >= 6)
        copy_cut(card->bin, sizeof(card->bin), bin.text);
    if (brand.kind == MEMBER_STRING && is_intact(brand.text))
        (void)copy_text(card->brand, sizeof(card->brand), brand.text);
    if (email.kind == MEMBER_STRING && is_intact(email.text))
        email_hash(email_key, email.text, card->email_hash);
}

/* --- JSON Pointers ------------------------------------------------------------- */

/* One reference token (RFC 6901 section 4) of `n` bytes. */
static const json_t *pointer_step(const json_t *value, const char *token, size_t n)
{
    char name[256];
    size_t length = 0;
    int64_t index;

    if (n >= sizeof(name))
        return NULL;
    for (size_t i = 0; i < n; i++, length++) {
        name[length] = token[i];
        if (token[i] != '~')
            continue;
        if (++i == n || (token[i] != '0' && token[i] != '1'))
            return NULL;
        name[length] = token[i] == '0' ? '~' : '/';
    }
    name[length] = '\0';
    if (json_is_object(value))
        return json_object_get(value, name);
    if (!json_is_array(value) || (name[0] == '0' && name[1]))
        return NULL;
    if (parse_int(name, 0, INT32_MAX, &index) < 0)
        return NULL;
    return json_array_get(value, (size_t)index);
}

static const json_t *pointer_get(const json_t *value, const char *pointer)
{
    while (value && *pointer == '/') {
        size_t n = strcspn(++pointer, "/");

        value = pointer_step(value, pointer, n);
        pointer += n;
    }
    return *pointer ? NULL : value;
}

/* The first of the pointers that yields something. A reference longer than any id is cut so that
 * it still is one, and is no id's equal. */
static void read_reference(const json_t *json, const char *const *pointers, char ret[ID_SIZE])
{
    static const char ellipsis[] = "\xe2\x80\xa6";
    size_t n;

    for (; pointers && *pointers; pointers++) {
        struct member reference = member_of(pointer_get(json, *pointers));

        if (!reference.text || !is_intact(reference.text))
            continue;
        n = characters_size(reference.text, MAX_ID_CHARACTERS);
        if (reference.text[n] == '\0') {
            memcpy(ret, reference.text, n + 1);
        } else {
            n = characters_size(reference.text, MAX_ID_CHARACTERS - 1);
            memcpy(ret, reference.text, n);
            memcpy(ret + n, ellipsis, sizeof(ellipsis));
        }
        return;
    }
}

static void read_status(const json_t *json, const char *name, char *ret, size_t size)
{
    struct member status = get(json, name);

    if (status.text)
        copy_cut(ret, size, status.text);
}

/* False when the record is bad; `bad` then says why, and both ways what is known of it. */
static bool read_record(const struct payapi_codec *codec, const json_t *json, struct transaction *t,
                        struct bad_record *bad)
{
    bool good;

    if (!json_is_object(json))
        return refuse(bad, "the record is no object");
    /* Id and time first and always: what can be said of a bad record helps to find it. */
    good = read_id(json, t, bad);
    good = read_times(json, t, bad) && good;
    if (!good || !read_type(json, t, bad) || !read_amounts(json, t, bad))
        return false;
    read_card(json, codec->email_key, &t->card);
    read_reference(json, codec->order_ref, t->order_ref);
    read_reference(json, codec->original_ref, t->original_id);
    read_status(json, "status", t->status, sizeof(t->status));
    read_status(json, "transactionStatus", t->transaction_status, sizeof(t->transaction_status));
    return true;
}

static int digest_part(const char *part, size_t n, void *userdata)
{
    return crypto_generichash_update(userdata, (const unsigned char *)part, n);
}

static int digest_record(const json_t *json, char ret[2 * DIGEST_BYTES + 1])
{
    crypto_generichash_state state;
    unsigned char digest[DIGEST_BYTES];

    crypto_generichash_init(&state, NULL, 0, sizeof(digest));
    if (json_dump_callback(json, digest_part, &state,
                           JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) < 0)
        return -ENOMEM;
    crypto_generichash_final(&state, digest, sizeof(digest));
    sodium_bin2hex(ret, 2 * DIGEST_BYTES + 1, digest, sizeof(digest));
    return 0;
}

/* --- an answer ---------------------------------------------------------------- */

/* A count that may go by several names: -1 when it is absent. Names that differ contradict. */
static int read_count(const json_t *pagination, const char *const *names, int64_t *ret,
                      struct error *err)
{
    int64_t count = -1, value;

    for (; *names; names++) {
        const json_t *json = json_object_get(pagination, *names);
        const char *text = json_text_number(json);

        if (!json || json_is_null(json))
            continue;
        if (!text)
            text = json_text_string(json);
        if (!text || parse_int(text, 0, INT64_MAX, &value) < 0)
            return error_set(err, -EBADMSG, "pagination.%s is no whole number", *names);
        if (count >= 0 && value != count)
            return error_set(err, -EBADMSG, "pagination.%s contradicts its other name", *names);
        count = value;
    }
    *ret = count;
    return 0;
}

static int read_pagination(const json_t *pagination, struct page *page, struct error *err)
{
    static const char *const number[] = {"page", "currentPage", NULL};
    static const char *const total_pages[] = {"totalPages", NULL};
    static const char *const total[] = {"total", "totalCount", "totalRecords", NULL};
    const json_t *has_next = json_object_get(pagination, "hasNextPage");
    int r;

    if (!json_is_object(pagination))
        return error_set(err, -EBADMSG, "there is no object \"pagination\"");
    if (!json_is_boolean(has_next))
        return error_set(err, -EBADMSG, "pagination.hasNextPage is not true or false");
    page->has_next = json_is_true(has_next);
    r = read_count(pagination, number, &page->number, err);
    if (r >= 0)
        r = read_count(pagination, total_pages, &page->total_pages, err);
    if (r >= 0)
        r = read_count(pagination, total, &page->total, err);
    return r;
}

/* An answer that cannot be whole must not pass for one: the absence of a sale may rest on it. */
static int check_consistent(const struct page *page, size_t n, struct error *err)
{
    if (page->has_next && n == 0)
        return error_set(err, -EBADMSG, "an empty page promises a next one");
    if (page->total >= 0 && (uint64_t)page->total < n)
        return error_set(err, -EBADMSG, "%zu records on a page of %" PRId64 " in total", n,
                         page->total);
    if (page->number < 0 || page->total_pages < 0)
        return 0;
    if (!page->has_next && page->number < page->total_pages)
        return error_set(err, -EBADMSG, "page %" PRId64 " of %" PRId64 " claims to be the last",
                         page->number, page->total_pages);
    if (page->has_next && page->total_pages > 0 && page->number >= page->total_pages)
        return error_set(err, -EBADMSG, "page %" PRId64 " of %" PRId64 " promises a next one",
                         page->number, page->total_pages);
    return 0;
}

/* An error report that comes in an envelope of its own or, worse, in one that looks like an empty
 * page. */
static bool reports_error(const json_t *root)
{
    static const char *const names[] = {"error", "errors"};

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        const json_t *value = json_object_get(root, names[i]);
        struct member member = member_of(value);

        if (member.kind == MEMBER_ABSENT || json_is_false(value))
            continue;
        if (member.text && strcmp(member.text, "0") == 0)
            continue;
        if ((json_is_array(value) && json_array_size(value) == 0) ||
            (json_is_object(value) && json_object_size(value) == 0))
            continue;
        return true;
    }
    return false;
}

/* Finds the list and the pagination in the known envelopes. */
static int open_envelope(const json_t *root, const json_t **ret_records,
                         const json_t **ret_pagination, struct error *err)
{
    const json_t *success = json_object_get(root, "success");
    const json_t *data = json_object_get(root, "data");
    const json_t *records = json_object_get(root, "transactions");
    const json_t *pagination = json_object_get(root, "pagination");

    if (!json_is_object(root))
        return error_set(err, -EBADMSG, "the answer is no object");
    if (success && !json_is_true(success))
        return error_set(err, -EBADMSG, "the answer does not say \"success\": true");
    if (reports_error(root))
        return error_set(err, -EBADMSG, "the answer reports an error");
    if (json_is_null(data))
        data = NULL;
    if (data && records)
        return error_set(err, -EBADMSG, "both \"data\" and \"transactions\"");
    if (json_is_object(data)) {
        const json_t *inner = json_object_get(data, "pagination");

        if (inner && pagination && !json_equal(inner, pagination))
            return error_set(err, -EBADMSG, "two paginations that differ");
        if (inner)
            pagination = inner;
        records = json_object_get(data, "transactions");
    } else if (data) {
        records = data;
    }
    if (!json_is_array(records))
        return error_set(err, -EBADMSG, "there is no list of transactions");
    if (json_array_size(records) > MAX_RECORDS)
        return error_set(err, -EBADMSG, "more than %d records on one page", MAX_RECORDS);
    *ret_records = records;
    *ret_pagination = pagination;
    return 0;
}

static int read_records(const struct payapi_codec *codec, const json_t *records, struct page *page)
{
    size_t n = json_array_size(records);
    char *raw = NULL;
    int r;

    /* Memory that is never touched costs nothing, so there is room for all being good, or bad. */
    page->records = calloc(n + 1, sizeof(*page->records));
    page->bad = calloc(n + 1, sizeof(*page->bad));
    if (!page->records || !page->bad)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *json = json_array_get(records, i);
        struct transaction *t = &page->records[page->n_records];
        struct bad_record *bad = &page->bad[page->n_bad];
        bool good;

        if (codec->keep_raw) {
            raw = json_text_dump(json);
            if (!raw)
                return -ENOMEM;
        }
        memset(t, 0, sizeof(*t));
        memset(bad, 0, sizeof(*bad));
        good = read_record(codec, json, t, bad);
        if (good) {
            page->n_records++;
            t->raw = TAKE_PTR(raw);
            continue;
        }
        page->n_bad++;
        bad->raw = TAKE_PTR(raw);
        r = digest_record(json, bad->digest);
        if (r < 0)
            return r;
    }
    return 0;
}

int payapi_decode(const struct payapi_codec *codec, const char *body, size_t length,
                  struct page **ret, struct error *err)
{
    _cleanup_(json_decref_p) json_t *root = NULL;
    _cleanup_(page_free_p) struct page *page = NULL;
    const json_t *records = NULL, *pagination = NULL;
    int r;

    r = json_text_load(body, length, &root, err);
    if (r < 0)
        return r;
    page = calloc(1, sizeof(*page));
    if (!page)
        return -ENOMEM;
    r = open_envelope(root, &records, &pagination, err);
    if (r >= 0)
        r = read_pagination(pagination, page, err);
    if (r >= 0)
        r = check_consistent(page, json_array_size(records), err);
    if (r >= 0)
        r = read_records(codec, records, page);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(page);
    return 0;
}
