#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/timestamp.h"
#include "sim.h"
#include "store/permits.h"
#include "store/queue.h"

/* --- events -------------------------------------------------------------------------------------
 */

static bool sooner(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

void schedule(struct sim *sim, int64_t at, enum event_kind kind, int a, int b)
{
    struct event event = {.at = at, .sequence = sim->sequence++, .kind = kind, .a = a, .b = b};
    size_t i;

    if (sim->n_events == sim->allocated) {
        size_t n = sim->allocated ? 2 * sim->allocated : 64;
        struct event *events = reallocarray(sim->events, n, sizeof(*events));

        if (!events)
            abort();
        sim->events = events;
        sim->allocated = n;
    }
    for (i = sim->n_events++; i > 0 && sooner(&event, &sim->events[(i - 1) / 2]); i = (i - 1) / 2)
        sim->events[i] = sim->events[(i - 1) / 2];
    sim->events[i] = event;
}

static struct event take_event(struct sim *sim)
{
    struct event first = sim->events[0], last = sim->events[--sim->n_events];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < sim->n_events) {
        if (child + 1 < sim->n_events && sooner(&sim->events[child + 1], &sim->events[child]))
            child++;
        if (!sooner(&sim->events[child], &last))
            break;
        sim->events[i] = sim->events[child];
        i = child;
    }
    sim->events[i] = last;
    return first;
}

/* --- records: the truth -------------------------------------------------------------------------
 */

bool record_reversed(const struct record *record)
{
    return record->voided || record->returned >= record->minor;
}

static void note_change(struct sim *sim, int64_t at)
{
    if (at != NEVER && at > sim->last_change)
        sim->last_change = at;
}

/* Of each detail that is known, so much is told. The brand and the e-mail in any case of letters.
 */
static void tell(struct sim *sim, const struct plastic *card, unsigned chance, struct plastic *ret)
{
    *ret = (struct plastic){0};
    if (rng_chance(&sim->rng, chance))
        memcpy(ret->last_four, card->last_four, sizeof(ret->last_four));
    if (rng_chance(&sim->rng, chance))
        memcpy(ret->brand, card->brand, sizeof(ret->brand));
    if (rng_chance(&sim->rng, chance)) {
        memcpy(ret->bin, card->bin, sizeof(ret->bin));
        ret->bin[rng_chance(&sim->rng, 300) ? 6 : 8] = '\0';
    }
    if (rng_chance(&sim->rng, chance))
        memcpy(ret->email, card->email, sizeof(ret->email));
    if (rng_chance(&sim->rng, 300))
        for (char *p = ret->email; *p; p++)
            *p = (char)toupper((unsigned char)*p);
}

static int64_t draw_lateness(struct sim *sim)
{
    const struct params *p = &sim->params;

    return draw(sim, rng_chance(&sim->rng, p->tail) ? p->tail_lateness : p->lateness);
}

/* A new record of now. Its fate (when it is shown, whether it goes away) is drawn with it. */
static struct record *add_record(struct sim *sim, enum record_kind kind, int order, int attempt,
                                 int64_t minor)
{
    const struct params *p = &sim->params;
    const struct order *o = &sim->orders[order];
    int i = sim->n_records++;
    struct record *r = &sim->records[i];

    if (i == MAX_RECORDS)
        abort();
    *r = (struct record){.kind = kind,
                         .order = order,
                         .attempt = attempt,
                         .original = NONE,
                         .minor = minor,
                         .created = sim->now + sim->api_offset,
                         .visible_at = sim->now + draw_lateness(sim),
                         .gone_at = NEVER,
                         .repaired_at = NEVER};
    snprintf(r->id, sizeof(r->id), "%04x%06dC", (unsigned)(rng_next(&sim->rng) & 0xffff), i);
    memcpy(r->currency, o->currency, sizeof(r->currency));
    tell(sim, &o->attempts[attempt].card, p->shown, &r->shown);
    r->reference = rng_chance(&sim->rng, p->references);
    r->transacted = r->created - rng_between(&sim->rng, 0, 900);
    r->tells_created = rng_chance(&sim->rng, 700);
    if (!r->tells_created)
        r->transacted = r->created;
    r->settled_at = r->visible_at;
    if (rng_chance(&sim->rng, p->pending))
        r->settled_at += rng_between(&sim->rng, SECOND, 2 * MINUTE);
    if (rng_chance(&sim->rng, p->broken)) {
        r->breakage = (enum breakage)rng_between(&sim->rng, WHOLE + 1, BREAKAGES - 1);
        if (rng_chance(&sim->rng, p->repaired))
            r->repaired_at = r->visible_at + rng_between(&sim->rng, MINUTE, HOUR);
    }
    if (rng_chance(&sim->rng, p->deleted))
        r->gone_at = r->visible_at + rng_between(&sim->rng, 10 * SECOND, HOUR);
    note_change(sim, r->visible_at);
    note_change(sim, r->gone_at);
    note_change(sim, r->settled_at);
    note_change(sim, r->repaired_at);
    return r;
}

static void charge(struct sim *sim, int order, int attempt)
{
    const struct params *p = &sim->params;
    struct order *o = &sim->orders[order];
    int64_t extra = rng_chance(&sim->rng, p->extras) ? o->minor / 10 : 0;
    int i = sim->n_records;
    struct record *r;

    for (int k = 0; k < attempt; k++)
        if (o->attempts[attempt].by_leave && o->attempts[k].sale != NONE &&
            !record_reversed(&sim->records[o->attempts[k].sale]))
            sim->report.counts.double_charges++;
    r = add_record(sim, RECORD_SALE, order, attempt, o->minor + extra);
    r->extra = extra;
    o->attempts[attempt].sale = i;
    story(sim, "    %s attempt %d is charged: %s, shown at +%" PRId64 " s", o->id, attempt + 1,
          r->id, (r->visible_at - sim->now) / SECOND);
    if (rng_chance(&sim->rng, p->voids))
        schedule(sim, sim->now + rng_between(&sim->rng, MINUTE, HOUR), EVENT_VOID, i, 0);
    else if (rng_chance(&sim->rng, p->returns))
        schedule(sim, sim->now + rng_between(&sim->rng, MINUTE, HOUR), EVENT_RETURN, i, 0);
}

static void decline(struct sim *sim, int order, int attempt)
{
    struct record *r;

    if (rng_chance(&sim->rng, 400))
        return; /* some leave no trace */
    r = add_record(sim, RECORD_SALE, order, attempt, sim->orders[order].minor);
    r->declined = true;
}

static void take_back(struct sim *sim, int sale, enum record_kind kind)
{
    struct record *s = &sim->records[sale], *r;
    int64_t minor = s->minor;

    if (record_reversed(s))
        return;
    if (kind != RECORD_VOID && rng_chance(&sim->rng, sim->params.part_returns))
        minor = s->minor / 2;
    r = add_record(sim, kind, s->order, s->attempt, minor);
    r->original = sale;
    r->reference = false;
    if (kind == RECORD_VOID)
        s->voided = true;
    else
        s->returned += minor;
    story(sim, "    sale %s of %s is taken back by %s", s->id, sim->orders[s->order].id, r->id);
}

int world_find_record(const struct sim *sim, const char *id)
{
    int i;

    if (strlen(id) != 11)
        return NONE;
    i = (int)strtol(id + 4, NULL, 10);
    return i < sim->n_records && strcmp(sim->records[i].id, id) == 0 ? i : NONE;
}

/* --- attempts -----------------------------------------------------------------------------------
 */

static void attempt_order(struct sim *sim, int order, bool by_leave)
{
    const struct params *p = &sim->params;
    struct order *o = &sim->orders[order];
    int k = o->n_attempts;
    struct attempt *a = &o->attempts[k];

    if (k == MAX_ATTEMPTS)
        return;
    o->n_attempts++;
    *a = (struct attempt){
        .at = sim->now, .told_at = sim->now + sim->app_offset, .by_leave = by_leave, .sale = NONE};
    if (rng_chance(&sim->rng, 200))
        a->told_at = timestamp_floor_second(a->told_at);
    /* A further attempt may be by another card. */
    a->card = sim->cards[(o->customer + (k > 0 && rng_chance(&sim->rng, 300))) % (int)p->cards];
    tell(sim, &a->card, p->told, &a->told);
    if (rng_chance(&sim->rng, p->unknown) || (k > 0 && rng_chance(&sim->rng, 200))) {
        a->outcome = OUTCOME_UNKNOWN;
        if (rng_chance(&sim->rng, p->charged)) {
            o->charged_first |= k == 0;
            schedule(sim, sim->now + draw(sim, p->processing), EVENT_CHARGE, order, k);
        }
        schedule(sim, sim->now + rng_between(&sim->rng, SECOND, 30 * SECOND), EVENT_LEARN, order,
                 k);
    } else if (rng_chance(&sim->rng, p->declined)) {
        a->outcome = OUTCOME_DECLINED;
        schedule(sim, sim->now + 2 * SECOND, EVENT_LEARN, order, k);
        decline(sim, order, k);
    } else {
        a->outcome = OUTCOME_OK;
        o->charged_first |= k == 0;
        schedule(sim, sim->now + rng_between(&sim->rng, 300, 3000), EVENT_CHARGE, order, k);
        schedule(sim, sim->now + 3500, EVENT_LEARN, order, k);
    }
    story(sim, "    %s attempt %d: %s %s, card %s%s", o->id, k + 1, o->amount, o->currency,
          a->card.last_four,
          a->outcome == OUTCOME_OK         ? ""
          : a->outcome == OUTCOME_DECLINED ? ", declined"
                                           : ", 5xx");
}

static int64_t delay(struct sim *sim, struct span span)
{
    return draw(sim, span) + (rng_chance(&sim->rng, sim->params.slow_app) ? HOUR : 0);
}

static void learn(struct sim *sim, int order, int attempt)
{
    const struct params *p = &sim->params;
    struct order *o = &sim->orders[order];
    struct attempt *a = &o->attempts[attempt];

    switch (a->outcome) {
    case OUTCOME_OK:
        sim->records[a->sale].claimed_in_truth = true;
        if (rng_chance(&sim->rng, p->claims))
            schedule(sim, sim->now + delay(sim, p->claim_delay), EVENT_CLAIM, a->sale, 0);
        break;
    case OUTCOME_DECLINED:
        if (rng_chance(&sim->rng, 500))
            schedule(sim, sim->now + rng_between(&sim->rng, 20 * SECOND, 2 * MINUTE), EVENT_ATTEMPT,
                     order, 0);
        break;
    case OUTCOME_UNKNOWN:
        if (!o->doubtful && attempt == 0)
            recipes_answer(sim, order);
        o->doubtful = true;
        schedule(sim, sim->now + delay(sim, p->enqueue_delay), EVENT_ENQUEUE, order, attempt);
        if (rng_chance(&sim->rng, p->impatient))
            schedule(sim, sim->now + rng_between(&sim->rng, 3 * SECOND, 2 * MINUTE), EVENT_ATTEMPT,
                     order, 1);
        break;
    }
}

/* --- the app ------------------------------------------------------------------------------------
 */

static void enqueue(struct sim *sim, int order, int attempt)
{
    struct order *o = &sim->orders[order];
    struct attempt *a = &o->attempts[attempt];
    char at[TIMESTAMP_TEXT_SIZE];
    struct error err = {0};

    timestamp_format(a->told_at, at);
    if (a->told_at % SECOND == 0 && rng_chance(&sim->rng, 500))
        timestamp_format_query(a->told_at, at);
    if (queue_add_order(sim->app_queue,
                        &(struct queue_order){.order_id = o->id,
                                              .amount = o->amount,
                                              .currency = o->currency,
                                              .attempted_at = at,
                                              .http_status = rng_chance(&sim->rng, 500) ? 504 : 0,
                                              .card_last_four = a->told.last_four,
                                              .card_brand = a->told.brand,
                                              .card_bin = a->told.bin,
                                              .billing_email = a->told.email},
                        &err) < 0)
        fail(sim, "the queue refuses %s: %s", o->id, err.text);
    a->queued = true;
    daemon_notice(sim);
    story(sim, "    the app enqueues %s (attempt %d at %s)", o->id, attempt + 1, at);
    if (attempt > 0)
        schedule(sim, sim->now + rng_between(&sim->rng, SECOND, 20 * MINUTE), EVENT_LOOK, order, 0);
}

static void report_claim(struct sim *sim, int sale)
{
    struct error err = {0};

    if (queue_add_claim(sim->app_queue, sim->records[sale].id,
                        sim->orders[sim->records[sale].order].id, &err) < 0)
        fail(sim, "the queue refuses a claim: %s", err.text);
    daemon_notice(sim);
    story(sim, "    the app claims %s for %s", sim->records[sale].id,
          sim->orders[sim->records[sale].order].id);
}

static bool outcome_awaited(const struct sim *sim, const struct order *o)
{
    const struct attempt *last = &o->attempts[o->n_attempts - 1];

    return sim->now < last->at + 31 * SECOND || (last->outcome == OUTCOME_UNKNOWN && !last->queued);
}

/* The permit's time is the machine's; here it must be that of the simulation. */
static int take_permit(struct sim *sim, const char *order_id)
{
    struct error err = {0};
    int r = permit_take(sim->app_queue, order_id, "the app", &err);

    if (r == PERMIT_TAKEN &&
        db_run(sim->app_queue, &err, "UPDATE permits SET taken_at = ?2 WHERE order_id = ?1", "tT",
               order_id, sim->now + sim->app_offset) < 0)
        r = -1;
    if (r < 0)
        fail(sim, "the permit for %s: %s", order_id, err.text);
    return r;
}

/* The app tries again when, and only when, it is given leave. */
static void look(struct sim *sim, int order)
{
    struct order *o = &sim->orders[order];

    if (o->forgone || o->n_attempts == MAX_ATTEMPTS ||
        o->attempts[o->n_attempts - 1].outcome == OUTCOME_OK)
        return;
    if (outcome_awaited(sim, o)) {
        schedule(sim, sim->now + 30 * SECOND, EVENT_LOOK, order, 0);
        return;
    }
    if (take_permit(sim, o->id) != PERMIT_TAKEN)
        return;
    check_leave(sim, order);
    report_first_attempt(sim, order);
    story(sim, "    the app has leave to charge %s again", o->id);
    attempt_order(sim, order, true);
}

void world_hear(struct sim *sim, const struct verdict_change *change)
{
    int order = world_find_order(sim, change->order_id);

    sim->orders[order].heard =
        (struct answer){change->to, world_find_record(sim, change->transaction_id)};
    if (!verdict_safe_to_retry(change->to) || sim->orders[order].forgone)
        return;
    sim->orders[order].forgone = !rng_chance(&sim->rng, sim->params.retries_when_safe);
    schedule(sim, sim->now + rng_between(&sim->rng, SECOND, 10 * MINUTE), EVENT_LOOK, order, 0);
}

int world_find_order(const struct sim *sim, const char *id)
{
    int i = (int)strtol(id + 1, NULL, 10);

    if (i < 0 || i >= sim->n_orders || strcmp(sim->orders[i].id, id) != 0)
        abort();
    return i;
}

/* --- beginning ----------------------------------------------------------------------------------
 */

static void make_cards(struct sim *sim)
{
    static const char *const brands[] = {"Visa", "Mastercard", "Amex"};

    for (unsigned i = 0; i < sim->params.cards; i++) {
        struct plastic *card = &sim->cards[i];

        /* Different cards may well end in the same four digits. */
        snprintf(card->last_four, sizeof(card->last_four), "%04u", rng_below(&sim->rng, 8) * 1111);
        snprintf(card->brand, sizeof(card->brand), "%s", brands[rng_below(&sim->rng, 3)]);
        snprintf(card->bin, sizeof(card->bin), "4%07u", 10 * i + rng_below(&sim->rng, 10));
        snprintf(card->email, sizeof(card->email), "customer%u@example.com", i);
    }
}

static void make_order(struct sim *sim, int i, int64_t closes)
{
    static const int64_t prices[] = {4900, 1999, 900, 12000, 4901, 4800, 250, 9900, 100000};
    const struct params *p = &sim->params;
    struct order *o = &sim->orders[i];
    int64_t at = rng_between(&sim->rng, DAWN, closes);
    bool yen = rng_chance(&sim->rng, p->yen);

    *o = (struct order){.customer = (int)rng_below(&sim->rng, p->customers)};
    o->minor = prices[rng_below(&sim->rng, p->prices)];
    if (i > 0 && rng_chance(&sim->rng, p->in_pairs)) {
        const struct order *twin = &sim->orders[i - 1];

        o->customer = twin->customer;
        o->minor = twin->minor;
        yen = strcmp(twin->currency, "JPY") == 0;
        at = twin->attempts[0].at + rng_between(&sim->rng, 5 * SECOND, 10 * MINUTE);
    }
    snprintf(o->id, sizeof(o->id), "O%03d", i);
    memcpy(o->currency, yen ? "JPY" : "USD", 4);
    money_format((struct money){.minor = o->minor,
                                .currency = {o->currency[0], o->currency[1], o->currency[2]}},
                 o->amount);
    for (int m = 0; m < METHOD_COUNT; m++)
        o->answers[m].record = NONE;
    o->attempts[0].at = at;
    schedule(sim, at, EVENT_ATTEMPT, i, 0);
}

void world_begin(struct sim *sim)
{
    const struct params *p = &sim->params;
    int64_t closes = DAWN + p->history + p->open_for;

    sim->now = sim->last_change = DAWN;
    sim->app_offset = rng_between(&sim->rng, -p->app_skew, p->app_skew);
    sim->api_offset = rng_between(&sim->rng, -p->api_skew, p->api_skew);
    sim->fine_from = closes + 45 * MINUTE;
    sim->seconds_only = rng_chance(&sim->rng, 200);
    sim->whole_last_second = rng_chance(&sim->rng, 500);
    sim->numbers = rng_chance(&sim->rng, 500);
    sim->envelope = rng_below(&sim->rng, 3);
    sim->reference_place = rng_below(&sim->rng, 3);
    for (unsigned i = 0; i < p->outages; i++) {
        int64_t from = rng_between(&sim->rng, DAWN, closes);

        sim->outages[sim->n_outages++] =
            (struct interval){from, from + rng_between(&sim->rng, MINUTE, 40 * MINUTE)};
    }
    make_cards(sim);
    sim->n_orders = (int)p->orders;
    for (int i = 0; i < sim->n_orders; i++)
        make_order(sim, i, closes);
    schedule(sim, DAWN + p->history, EVENT_START, 0, 0);
}

void world_step(struct sim *sim)
{
    struct event event = take_event(sim);

    sim->now = event.at;
    switch (event.kind) {
    case EVENT_ATTEMPT:
        if (event.b)
            report_first_attempt(sim, event.a);
        attempt_order(sim, event.a, false);
        break;
    case EVENT_CHARGE:
        charge(sim, event.a, event.b);
        break;
    case EVENT_LEARN:
        learn(sim, event.a, event.b);
        break;
    case EVENT_ENQUEUE:
        enqueue(sim, event.a, event.b);
        break;
    case EVENT_CLAIM:
        report_claim(sim, event.a);
        break;
    case EVENT_LOOK:
        look(sim, event.a);
        break;
    case EVENT_VOID:
        take_back(sim, event.a, RECORD_VOID);
        break;
    case EVENT_RETURN:
        take_back(sim, event.a, rng_chance(&sim->rng, 500) ? RECORD_RETURN : RECORD_REVERSAL);
        break;
    case EVENT_START:
        daemon_start(sim);
        break;
    }
    if (event.kind != EVENT_START)
        note_change(sim, sim->now);
}
