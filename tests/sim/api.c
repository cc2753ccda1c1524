#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/timestamp.h"
#include "sim.h"

bool api_shows(const struct sim *sim, const struct record *record)
{
    return record->visible_at <= sim->now && sim->now < record->gone_at;
}

static int64_t told_time(const struct sim *sim, int64_t at)
{
    return sim->seconds_only ? timestamp_floor_second(at) : at;
}

int64_t api_told_transacted(const struct sim *sim, const struct record *record)
{
    return told_time(sim, record->transacted);
}

/* --- a record as JSON ---------------------------------------------------------------------------
 */

static void set(json_t *object, const char *name, const char *text)
{
    if (*text)
        json_object_set_new(object, name, json_string(text));
}

static void set_time(const struct sim *sim, json_t *object, const char *name, int64_t at)
{
    char text[TIMESTAMP_TEXT_SIZE];

    at = told_time(sim, at);
    set(object, name,
        sim->seconds_only ? timestamp_format_query(at, text) : timestamp_format(at, text));
}

static void set_money(json_t *object, const char *name, int64_t minor, const char *currency)
{
    char text[MONEY_TEXT_SIZE];
    struct money money = {.minor = minor};

    memcpy(money.currency, currency, sizeof(money.currency));
    set(object, name, money_format(money, text));
}

static void set_reference(const struct sim *sim, json_t *object, const char *order_id)
{
    static const char *const names[] = {"orderId", "order_id"};

    if (sim->reference_place == 2)
        set(object, "orderId", order_id);
    else
        json_object_set_new(object, "metadata",
                            json_pack("{s:s}", names[sim->reference_place], order_id));
}

static void spoil(json_t *object, enum breakage breakage)
{
    switch (breakage) {
    case BAD_AMOUNT:
        set(object, "amount", "49,00");
        break;
    case BAD_TYPE:
        json_object_set_new(object, "transactionType", json_integer(7));
        break;
    case BAD_CURRENCY:
        set(object, "currency", "XXQ");
        break;
    case BAD_TIME:
        set(object, "transDate", "yesterday");
        break;
    case NO_ID:
        json_object_del(object, "transactionId");
        break;
    case NO_TIME:
        json_object_del(object, "transDate");
        json_object_del(object, "createdAt");
        break;
    case WHOLE:
    case BREAKAGES:
        break;
    }
}

static json_t *record_json(const struct sim *sim, const struct record *r)
{
    static const char *const types[] = {"CreditCardSale", "CreditCardVoid", "CreditCardReversal",
                                        "CreditCardReturn"};
    json_t *object = json_object();

    set(object, "transactionId", r->id);
    set(object, "transactionType", types[r->kind]);
    set(object, "currency", r->currency);
    set_money(object, "amount", r->minor, r->currency);
    if (r->extra)
        set_money(object, r->extra % 2 ? "tipAmount" : "surchargeAmount", r->extra, r->currency);
    set(object, "cardLastFour", r->shown.last_four);
    set(object, "cardBrand", r->shown.brand);
    set(object, "cardBin", r->shown.bin);
    set(object, "email", r->shown.email);
    set_time(sim, object, "transDate", r->transacted);
    if (r->tells_created)
        set_time(sim, object, "createdAt", r->created);
    set(object, "status",
        r->declined                ? "Declined"
        : sim->now < r->settled_at ? "PENDING"
        : r->settled_at % 2 == 0   ? "settled"
                                   : "");
    if (r->reference)
        set_reference(sim, object, sim->orders[r->order].id);
    if (r->original != NONE)
        set(object, "originalTransactionId", sim->records[r->original].id);
    if (sim->now < r->repaired_at)
        spoil(object, r->breakage);
    return object;
}

/* --- a list
 * --------------------------------------------------------------------------------------- */

struct listing {
    const struct record *items[MAX_RECORDS];
    int n;
};

static int compare(const void *left, const void *right)
{
    const struct record *const *a = left, *const *b = right;

    if ((*a)->created != (*b)->created)
        return (*a)->created < (*b)->created ? -1 : 1;
    return strcmp((*a)->id, (*b)->id);
}

static void list(const struct sim *sim, const struct sync_question *question, struct listing *ret)
{
    int64_t to = question->to + (sim->whole_last_second ? SECOND - 1 : 0);

    ret->n = 0;
    for (int i = 0; i < sim->n_records; i++) {
        const struct record *r = &sim->records[i];

        if (api_shows(sim, r) && r->created >= question->from && r->created <= to)
            ret->items[ret->n++] = r;
    }
    qsort(ret->items, (size_t)ret->n, sizeof(ret->items[0]), compare);
}

static char *envelop(const struct sim *sim, json_t *records, json_t *pagination)
{
    json_t *root;
    char *text;

    switch (sim->envelope) {
    case 0:
        root = json_pack("{s:o, s:o}", "transactions", records, "pagination", pagination);
        break;
    case 1:
        root =
            json_pack("{s:b, s:o, s:o}", "success", 1, "data", records, "pagination", pagination);
        break;
    default:
        root = json_pack("{s:b, s:{s:o, s:o}}", "success", 1, "data", "transactions", records,
                         "pagination", pagination);
    }
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

static void withhold(struct sim *sim, const struct record *record)
{
    struct record *r = &sim->records[record - sim->records];

    r->withheld[r->n_withheld++ % (sizeof(r->withheld) / sizeof(r->withheld[0]))] = sim->now;
}

bool api_withheld(const struct record *record, int64_t from, int64_t to)
{
    for (size_t i = 0; i < sizeof(record->withheld) / sizeof(record->withheld[0]); i++)
        if (record->withheld[i] >= from && record->withheld[i] <= to)
            return true;
    return false;
}

/* Leaves rows out of [first, *end): the last ones, all, or one. Returns how many. */
static int leave_out(struct sim *sim, struct listing *listing, int first, int *end, bool *has_next,
                     bool noted)
{
    int dropped = *end - first;
    int kept = 0;

    switch (rng_below(&sim->rng, 3)) {
    case 0: /* everything, as if there were nothing */
        *has_next = false;
        break;
    case 1: /* the tail, with all that follows */
        *has_next = false;
        kept = dropped > 1 ? (int)rng_below(&sim->rng, (unsigned)dropped) : 0;
        break;
    case 2: /* the first row */
        dropped = dropped > 0;
        for (int i = first; noted && i < first + dropped; i++)
            withhold(sim, listing->items[i]);
        memmove(&listing->items[first], &listing->items[first + dropped],
                (size_t)(*end - first - dropped) * sizeof(listing->items[0]));
        *end -= dropped;
        return dropped;
    }
    for (int i = first + kept; noted && i < listing->n; i++)
        withhold(sim, listing->items[i]);
    dropped = listing->n - (first + kept);
    *end = first + kept;
    return dropped;
}

static void serve_page(struct sim *sim, const struct sync_question *question, struct reply *ret)
{
    const struct params *p = &sim->params;
    bool faults = sim->now < sim->fine_from;
    int size = (int)p->page_size;
    json_t *records = json_array(), *pagination = json_object();
    struct listing listing;
    int first, end, total, pages;
    bool has_next;

    list(sim, question, &listing);
    total = listing.n;
    pages = (total + size - 1) / size;
    first = (int)question->page - 1 >= pages ? total : ((int)question->page - 1) * size;
    end = first + size > total ? total : first + size;
    has_next = end < total;
    if (faults && rng_chance(&sim->rng, p->truncated)) {
        leave_out(sim, &listing, first, &end, &has_next, !p->totals);
    } else if (faults && rng_chance(&sim->rng, p->silent)) {
        total -= leave_out(sim, &listing, first, &end, &has_next, true);
        pages = (total + size - 1) / size;
    }
    for (int i = first; i < end; i++) {
        const struct record *r = listing.items[i];

        json_array_append_new(records, record_json(sim, r));
        if (r->breakage == WHOLE || sim->now >= r->repaired_at)
            ret->listed[ret->n_listed++] = (int)(r - sim->records);
    }
    json_object_set_new(pagination, "hasNextPage", json_boolean(has_next));
    if (p->totals)
        json_object_set_new(pagination, "total", json_integer(total));
    if (sim->numbers) {
        json_object_set_new(pagination, "currentPage", json_integer(question->page));
        if (p->totals && pages >= question->page)
            json_object_set_new(pagination, "totalPages", json_integer(pages));
    }
    ret->kind = REPLY_BODY;
    ret->body = envelop(sim, records, pagination);
}

/* What is no answer, though it comes with 200. */
static void serve_garbage(struct sim *sim, const struct sync_question *question, struct reply *ret)
{
    static const char *const bodies[] = {
        "",
        "<html>busy</html>",
        "{\"success\":false,\"message\":\"later\",\"data\":null}",
        "{\"transactions\":[]}",
        "{\"error\":\"timeout\",\"transactions\":[],\"pagination\":{\"hasNextPage\":false}}",
        "{\"transactions\":[],\"pagination\":{\"hasNextPage\":true}}",
        "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false,\"currentPage\":99}}",
        "{\"transactions\":[],\"pagination\":{\"hasNextPage\":false,\"totalPages\":99}}",
        "[]",
    };
    unsigned i = rng_below(&sim->rng, 1 + sizeof(bodies) / sizeof(bodies[0]));
    size_t n;

    if (i < sizeof(bodies) / sizeof(bodies[0])) {
        ret->kind = REPLY_BODY;
        ret->body = strdup(bodies[i]);
        return;
    }
    /* Or a good one whose end got lost. */
    serve_page(sim, question, ret);
    n = strlen(ret->body);
    ret->body[rng_below(&sim->rng, (unsigned)n)] = '\0';
    ret->n_listed = 0;
}

void api_serve(struct sim *sim, const struct sync_question *question, struct reply *ret)
{
    const struct params *p = &sim->params;
    bool faults = sim->now < sim->fine_from;

    *ret = (struct reply){.kind = REPLY_NONE};
    for (int i = 0; i < sim->n_outages; i++)
        if (sim->outages[i].from <= sim->now && sim->now <= sim->outages[i].to)
            return;
    if (faults && rng_chance(&sim->rng, p->unreachable))
        return;
    if (faults && rng_chance(&sim->rng, p->server_error)) {
        ret->kind = REPLY_SERVER_ERROR;
    } else if (faults && rng_chance(&sim->rng, p->refused)) {
        ret->kind = REPLY_REFUSED;
    } else if (faults && rng_chance(&sim->rng, p->throttled)) {
        ret->kind = REPLY_THROTTLED;
        ret->retry_after = rng_between(&sim->rng, 1, 60) * SECOND;
    } else if (faults && rng_chance(&sim->rng, p->garbage)) {
        serve_garbage(sim, question, ret);
    } else {
        serve_page(sim, question, ret);
    }
}
