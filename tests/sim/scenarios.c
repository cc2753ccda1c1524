#include "sim.h"

static int64_t between(struct rng *rng, int64_t from, int64_t to)
{
    return rng_between(rng, from, to);
}

static unsigned some(struct rng *rng, unsigned from, unsigned to)
{
    return (unsigned)rng_between(rng, from, to);
}

/* An ordinary shop. Intervals are longer than the defaults, so that hours cost little; what has to
 * do with proof (before, after, grace) is as in the defaults or a little shorter. */
static void draw_base(struct params *p, struct rng *rng)
{
    *p = (struct params){
        .sync = {.interval = between(rng, 150, 400) * SECOND,
                 .fast_interval = between(rng, 30, 90) * SECOND,
                 .overlap = between(rng, 20, 60) * MINUTE,
                 .deep_interval = between(rng, 40, 90) * MINUTE,
                 .edge_lag = between(rng, 1, 10) * SECOND,
                 .requests_per_minute = some(rng, 30, 120)},
        .match = {.before = 120 * SECOND,
                  .after = between(rng, 300, 900) * SECOND,
                  .absence_grace = between(rng, 300, 900) * SECOND,
                  .late_watch = between(rng, 8, 72) * HOUR},
        .page_size = some(rng, 5, 25),
        .retries = some(rng, 0, 2),
        .customers = some(rng, 10, 30),
        .orders = some(rng, 24, 48),
        .prices = some(rng, 4, 9),
        .history = between(rng, 0, 60) * MINUTE,
        .open_for = between(rng, 60, 120) * MINUTE,
        .in_pairs = 100,
        .unknown = some(rng, 150, 300),
        .charged = some(rng, 400, 600),
        .declined = 50,
        .impatient = 20,
        .retries_when_safe = 700,
        .voids = 10,
        .returns = 10,
        .part_returns = 300,
        .extras = 50,
        .yen = 50,
        .told = 850,
        .shown = 850,
        .claims = 700,
        .claim_delay = {0, 5 * SECOND},
        .enqueue_delay = {0, 3 * SECOND},
        .app_skew = 15 * SECOND,
        .api_skew = 15 * SECOND,
        .processing = {500, 20 * SECOND},
        .lateness = {0, 30 * SECOND},
        .pending = 30,
        .totals = rng_chance(rng, 600),
        .downtime = {500, 5 * MINUTE},
    };
    p->cards = p->customers;
    p->sync.backfill = p->history + between(rng, 10, 120) * MINUTE;
    p->sync.deep_overlap = between(rng, 8, 16) * HOUR;
}

static void with_references(struct params *p, struct rng *rng)
{
    p->references = some(rng, 500, 1000);
    p->in_pairs = 300;
}

/* Hardly anything but amount and time can be compared. */
static void anonymous(struct params *p, struct rng *rng)
{
    p->told = some(rng, 0, 250);
    p->shown = some(rng, 0, 250);
    p->match.claims_complete = rng_chance(rng, 500);
    p->claims = p->match.claims_complete ? 1000 : 500;
}

static void amount_only(struct params *p, struct rng *rng)
{
    anonymous(p, rng);
    p->match.claims_complete = true;
    p->match.accept_amount_only = true;
    p->claims = 1000;
}

static void lookalikes(struct params *p, struct rng *rng)
{
    p->prices = some(rng, 1, 2);
    p->cards = some(rng, 2, 6);
    p->in_pairs = 500;
}

static void lookalikes_complete(struct params *p, struct rng *rng)
{
    lookalikes(p, rng);
    p->match.claims_complete = true;
    p->claims = 1000;
}

static void claims_late(struct params *p, struct rng *rng)
{
    lookalikes_complete(p, rng);
    p->claim_delay = (struct span){0, 30 * MINUTE};
    p->enqueue_delay = (struct span){0, 3 * MINUTE};
    p->slow_app = some(rng, 20, 150);
}

/* Everything shows late, but within the grace. */
static void late(struct params *p, struct rng *rng)
{
    p->lateness = (struct span){10 * SECOND, p->match.absence_grace - 90 * SECOND};
    p->pending = some(rng, 0, 300);
}

/* Some of it only after the grace: the documented limit. */
static void very_late(struct params *p, struct rng *rng)
{
    p->tail = some(rng, 100, 400);
    p->tail_lateness = (struct span){p->match.absence_grace, 2 * HOUR};
    p->references = rng_chance(rng, 300) ? 500 : 0;
}

static void skewed(struct params *p, struct rng *rng)
{
    p->match.after = between(rng, 600, 900) * SECOND;
    p->app_skew = p->api_skew = 59 * SECOND;
    p->processing = (struct span){500, 7 * MINUTE};
}

/* Rows move while they are read. */
static void drifting(struct params *p, struct rng *rng)
{
    p->orders = some(rng, 70, 96);
    p->open_for = between(rng, 40, 70) * MINUTE;
    p->unknown = 120;
    p->page_size = some(rng, 1, 6);
    p->lateness = (struct span){0, 4 * MINUTE};
    p->deleted = some(rng, 0, 100);
    p->sync.requests_per_minute = some(rng, 40, 150);
}

/* Records that the API takes back. */
static void vanishing(struct params *p, struct rng *rng)
{
    p->deleted = some(rng, 50, 400);
    p->orders = some(rng, 10, 40);
}

static void faulty(struct params *p, struct rng *rng)
{
    p->unreachable = some(rng, 0, 150);
    p->server_error = some(rng, 0, 150);
    p->throttled = some(rng, 0, 100);
    p->garbage = some(rng, 0, 150);
    p->refused = some(rng, 0, 20);
    p->outages = some(rng, 0, 3);
}

static void cut_off(struct params *p, struct rng *rng)
{
    p->truncated = some(rng, 50, 300);
    p->page_size = some(rng, 3, 12);
    p->tail = 100;
    p->tail_lateness = (struct span){1 * MINUTE, p->match.absence_grace};
}

/* Answers that lack rows and do not say so. */
static void withholding(struct params *p, struct rng *rng)
{
    p->silent = some(rng, 50, 200);
    p->totals = rng_chance(rng, 300);
    p->page_size = some(rng, 3, 12);
    p->lateness = (struct span){0, 5 * MINUTE};
}

static void odd_records(struct params *p, struct rng *rng)
{
    p->broken = some(rng, 20, 200);
    p->repaired = some(rng, 0, 800);
}

static void restarts(struct params *p, struct rng *rng)
{
    p->restarts = some(rng, 5, 40);
    if (rng_chance(rng, 300))
        p->downtime.max = 40 * MINUTE;
    if (rng_chance(rng, 500))
        p->page_size = some(rng, 1, 6);
    p->lateness = (struct span){0, 4 * MINUTE};
}

static void reversals(struct params *p, struct rng *rng)
{
    p->voids = some(rng, 50, 200);
    p->returns = some(rng, 50, 200);
    p->match.claims_complete = rng_chance(rng, 500);
    p->claims = p->match.claims_complete ? 1000 : 600;
    p->references = rng_chance(rng, 500) ? some(rng, 0, 1000) : 0;
}

static void impatient(struct params *p, struct rng *rng)
{
    p->impatient = some(rng, 200, 700);
    p->charged = some(rng, 500, 800);
    p->match.claims_complete = rng_chance(rng, 500);
    p->claims = p->match.claims_complete ? 1000 : 600;
    p->references = rng_chance(rng, 500) ? some(rng, 0, 1000) : 0;
}

static void rationed(struct params *p, struct rng *rng)
{
    p->sync.requests_per_minute = some(rng, 3, 8);
    p->page_size = some(rng, 4, 12);
    p->throttled = some(rng, 0, 100);
}

/* A watch so short that orders are sealed while the world goes on. */
static void short_watch(struct params *p, struct rng *rng)
{
    p->match.late_watch = p->match.absence_grace + p->match.after + between(rng, 10, 40) * MINUTE;
    p->open_for = between(rng, 120, 180) * MINUTE;
    p->in_pairs = 300;
    p->cards = some(rng, 3, 8);
    p->prices = 2;
    p->tail = some(rng, 0, 100);
    p->tail_lateness = (struct span){p->match.absence_grace, 2 * HOUR};
    p->match.claims_complete = rng_chance(rng, 500);
    p->claims = p->match.claims_complete ? 1000 : 600;
}

/* Each of the above, a little, or not. */
static void everything(struct params *p, struct rng *rng)
{
    static void (*const shapes[])(struct params *, struct rng *) = {
        with_references, anonymous, lookalikes, claims_late, late,        very_late,
        skewed,          drifting,  faulty,     cut_off,     withholding, odd_records,
        restarts,        reversals, impatient,  rationed};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (rng_chance(rng, 250))
            shapes[i](p, rng);
}

const struct scenario scenarios[] = {
    {"plain", "an ordinary shop", NULL},
    {"references", "records carry the order's id, mostly", with_references},
    {"anonymous", "card details are hardly ever there", anonymous},
    {"amount-only", "likewise, with accept_amount_only and complete claims", amount_only},
    {"look-alikes", "few cards and prices, claims partial", lookalikes},
    {"look-alikes-complete", "few cards and prices, claims complete", lookalikes_complete},
    {"claims-late", "likewise, and the app is slow", claims_late},
    {"late", "records show minutes late, within the grace", late},
    {"very-late", "some show after the grace", very_late},
    {"skewed", "clocks that are off, slow processing", skewed},
    {"drifting", "small pages, records come and go between them", drifting},
    {"vanishing", "records that the API takes back", vanishing},
    {"faulty", "outages, 5xx, 429, answers that are none", faulty},
    {"cut-off", "lists that end too early", cut_off},
    {"withholding", "lists that lack rows and do not say so", withholding},
    {"odd-records", "records that cannot be understood", odd_records},
    {"restarts", "the daemon dies at any step", restarts},
    {"reversals", "voids, returns, part returns", reversals},
    {"impatient", "second attempts that nobody allowed", impatient},
    {"rationed", "a handful of requests a minute", rationed},
    {"short-watch", "orders are sealed early", short_watch},
    {"everything", "any of it together", everything},
};
const size_t n_scenarios = sizeof(scenarios) / sizeof(scenarios[0]);

/* Clocks may be off, and processing may last, by as much as `before` and `after` allow. */
static void keep_within_limits(struct params *p)
{
    int64_t slack = p->match.before / 2 - SECOND;
    int64_t longest;

    if (p->app_skew > slack)
        p->app_skew = slack;
    if (p->api_skew > slack)
        p->api_skew = slack;
    longest = p->match.after - p->app_skew - p->api_skew - 2 * SECOND;
    if (p->processing.max > longest)
        p->processing.max = longest;
}

void params_draw(const struct scenario *scenario, struct rng *rng, struct params *ret)
{
    draw_base(ret, rng);
    if (scenario->shape)
        scenario->shape(ret, rng);
    keep_within_limits(ret);
}
