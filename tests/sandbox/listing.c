#include "listing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "core/timestamp.h"
#include "memory.h"

enum { DEFAULT_LIMIT = 50, MAX_LIMIT = 100, MAX_MERCHANT = 30 };

struct question {
    int64_t from, to; /* both included, in milliseconds */
    const char *id;
    const char *type;
    const char *fields;
    int64_t page, limit;
    bool descending;
};

/* --- the question -------------------------------------------------------- */

static bool read_date(const struct request *request, const char *name, int64_t *ret)
{
    const char *text = request_parameter(request, name);

    /* Exactly "YYYY-MM-DD HH:MM:SS". */
    return !text || (strlen(text) == 19 && text[10] == ' ' && timestamp_parse(text, ret) == 0);
}

static bool read_number(const struct request *request, const char *name, int64_t max, int64_t *ret)
{
    const char *text = request_parameter(request, name);

    return !text || parse_int(text, 1, max, ret) == 0;
}

/* The name of the parameter that is wrong, or NULL. */
static const char *read_question(const struct request *request, const struct settings *settings,
                                 struct question *ret)
{
    const char *merchant = request_parameter(request, "merchantId");
    const char *by = request_parameter(request, "sortBy");
    const char *order = request_parameter(request, "sortOrder");
    struct question q = {
        .from = INT64_MIN,
        .to = INT64_MAX,
        .id = request_parameter(request, "transactionId"),
        .type = request_parameter(request, "transactionType"),
        .fields = request_parameter(request, "fields"),
        .page = 1,
        .limit = DEFAULT_LIMIT,
        .descending = !order || strcmp(order, "asc") != 0,
    };

    if (!merchant || !*merchant || strlen(merchant) > MAX_MERCHANT)
        return "merchantId";
    if (!read_date(request, "dateFrom", &q.from))
        return "dateFrom";
    if (!read_date(request, "dateTo", &q.to))
        return "dateTo";
    if (!read_number(request, "page", INT32_MAX, &q.page))
        return "page";
    if (!read_number(request, "limit", MAX_LIMIT, &q.limit))
        return "limit";
    if (by && strcmp(by, "createdAt") != 0)
        return "sortBy";
    if (order && strcmp(order, "asc") != 0 && strcmp(order, "desc") != 0)
        return "sortOrder";
    if (settings->whole_second && q.to != INT64_MAX)
        q.to += 999;
    *ret = q;
    return NULL;
}

/* --- the page ------------------------------------------------------------ */

struct found {
    const struct record **records; /* one page of them */
    size_t n;
    int64_t total;
};

static bool matches(const struct record *record, const struct question *q, int64_t now)
{
    return record->visible_at <= now && now < record->hidden_after &&
           (!q->id || strcmp(record->id, q->id) == 0) &&
           (!q->type || strcmp(record->type, q->type) == 0);
}

static struct found find(struct records *records, const struct question *q, int64_t now)
{
    struct found found = {.records = must(calloc((size_t)q->limit, sizeof(*found.records)))};
    size_t n, first, end;
    const struct record *all = records_sorted(records, &n);

    first = records_first_at(all, n, q->from);
    end = q->to == INT64_MAX ? n : records_first_at(all, n, q->to + 1);
    for (size_t i = first; i < end; i++) {
        const struct record *record = &all[q->descending ? end - 1 - (i - first) : i];

        if (!matches(record, q, now))
            continue;
        if (found.total >= (q->page - 1) * q->limit && found.n < (size_t)q->limit)
            found.records[found.n++] = record;
        found.total++;
    }
    return found;
}

/* The text of a record with only the members that `fields` lists; what is no object stays whole. */
static char *select_fields(const struct record *record, const char *fields)
{
    json_auto_t *whole = json_loads(record->text, JSON_ALLOW_NUL, NULL);
    json_auto_t *part = NULL;

    if (!fields || !json_is_object(whole))
        return copy_of(record->text);
    part = must(json_object());
    while (*fields) {
        size_t n = strcspn(fields, ",");
        json_t *value = json_object_getn(whole, fields, n);

        if (value)
            json_object_setn(part, fields, n, value);
        fields += n;
        fields += *fields == ',';
    }
    return must(json_dumps(part, JSON_COMPACT));
}

static json_t *pagination(const struct question *q, const struct found *found, bool totals)
{
    int64_t pages = (found->total + q->limit - 1) / q->limit;
    json_t *object = must(json_pack("{s:b}", "hasNextPage", q->page < pages));

    if (totals) {
        json_object_set_new(object, "page", json_integer(q->page));
        json_object_set_new(object, "totalPages", json_integer(pages));
        json_object_set_new(object, "total", json_integer(found->total));
    }
    return object;
}

/* Records are spliced in as text, because some of them are, on purpose, no JSON. */
static void write_page(const struct question *q, const struct settings *settings,
                       const struct found *found, struct reply *reply)
{
    static const struct {
        const char *head, *before_pagination, *tail;
    } envelopes[] = {
        [ENVELOPE_TRANSACTIONS] = {"\"transactions\":[", "],\"pagination\":", "}"},
        [ENVELOPE_DATA] = {"\"data\":[", "],\"pagination\":", "}"},
        [ENVELOPE_NESTED] = {"\"data\":{\"transactions\":[", "],\"pagination\":", "}}"},
    };
    json_auto_t *last = pagination(q, found, settings->totals);
    _cleanup_free_ char *last_text = must(json_dumps(last, JSON_COMPACT));
    char *text = NULL;
    size_t length = 0;
    FILE *out = must(open_memstream(&text, &length));

    fputs(settings->success ? "{\"success\":true," : "{", out);
    fputs(envelopes[settings->envelope].head, out);
    for (size_t i = 0; i < found->n; i++) {
        _cleanup_free_ char *record = select_fields(found->records[i], q->fields);

        if (i > 0)
            fputc(',', out);
        fputs(record, out);
    }
    fputs(envelopes[settings->envelope].before_pagination, out);
    fputs(last_text, out);
    fputs(envelopes[settings->envelope].tail, out);
    fclose(out);
    reply_text(reply, 200, must(text), length);
}

/* The world changes between two pages of one window: the drift that a reader must notice. */
static void drift_after(struct sandbox *sandbox, int64_t page)
{
    json_auto_t *drift = NULL;
    size_t i;
    json_t *value;

    if (json_integer_value(json_object_get(sandbox->settings.insert_between_pages, "after_page")) !=
        page)
        return;
    drift = TAKE_PTR(sandbox->settings.insert_between_pages);
    json_array_foreach(json_object_get(drift, "records"), i, value)
    {
        struct record record;

        if (record_from_json(value, clock_now(&sandbox->clock), &record, NULL) == 0)
            records_add(sandbox->records, record);
    }
    json_array_foreach(json_object_get(drift, "delete"), i, value)
    {
        if (json_is_string(value))
            records_remove(sandbox->records, json_string_value(value));
    }
}

/* --- the answer ---------------------------------------------------------- */

static void refuse_for_now(struct reply *reply, int64_t wait_ms)
{
    int64_t seconds = (wait_ms + 999) / 1000;
    char text[32];

    snprintf(text, sizeof(text), "%" PRId64, seconds);
    reply_json(reply, 429,
               json_pack("{s:b, s:s, s:I}", "success", 0, "message", "Too many requests",
                         "retryAfter", (json_int_t)seconds));
    reply_header(reply, "Retry-After", text);
}

/* Three bad answers in every twenty, never two in a row. */
static bool sprinkle_error(uint64_t number, struct reply *reply)
{
    switch (number % 20) {
    case 5:
        reply_error(reply, 503, "The service is busy");
        return true;
    case 11:
        refuse_for_now(reply, 1000);
        return true;
    case 17:
        reply_error(reply, 500, "Something went wrong");
        return true;
    default:
        return false;
    }
}

void listing_answer(struct sandbox *sandbox, const struct request *request, bool key_ok,
                    struct reply *reply)
{
    int64_t now = clock_now(&sandbox->clock);
    struct question q;
    struct found found;
    const char *wrong;
    int64_t wait;

    if (strcmp(request->method, "GET") != 0) {
        reply_error(reply, 405, "transQuery takes GET");
        return;
    }
    if (!key_ok) {
        reply_error(reply, 401, "Invalid API key");
        return;
    }
    wait = rate_take(sandbox->rate, now);
    if (wait > 0) {
        refuse_for_now(reply, wait);
        return;
    }
    sandbox->listings++;
    if (sandbox->settings.burst_of_errors && sprinkle_error(sandbox->listings, reply))
        return;
    wrong = read_question(request, &sandbox->settings, &q);
    if (wrong) {
        reply_error(reply, 400, "%s is missing or not a value it can have", wrong);
        return;
    }
    found = find(sandbox->records, &q, now);
    write_page(&q, &sandbox->settings, &found, reply);
    free(found.records);
    drift_after(sandbox, q.page);
}
