/* Everybody else: thousands of transactions that no open order may mistake for its own. */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "memory.h"
#include "world.h"

enum {
    DAY_SPREAD = 3400,    /* transactions over the day, besides the bursts */
    FIRST_OF_CROWD = 200, /* customers below have the cases to themselves */
    RECENT = 300,         /* a void or a return is of one of so many before it */
};

static const struct kind {
    const char *type;
    const char *reverts; /* the type it takes back, or NULL */
    unsigned weight;     /* in a thousand */
} kinds[] = {
    {"CreditCardSale", NULL, 790},
    {"CreditCardVoid", "CreditCardSale", 25},
    {"CreditCardReversal", "CreditCardSale", 10},
    {"CreditCardReturn", "CreditCardSale", 45},
    {"AchSale", NULL, 70},
    {"AchVoid", "AchSale", 7},
    {"AchReversal", "AchSale", 6},
    {"AchReturn", "AchSale", 8},
    {"CryptoSale", NULL, 25},
    {"CryptoReturn", "CryptoSale", 7},
    {"CryptoWithdrawal", NULL, 7},
};

static const struct kind *draw_kind(struct rng *rng)
{
    unsigned at = rng_below(rng, 1000);
    size_t i = 0;

    while (at >= kinds[i].weight)
        at -= kinds[i++].weight;
    return &kinds[i];
}

static struct money draw_amount(struct rng *rng)
{
    static const char *const usual[] = {"9.99",  "9.99",  "9.99",  "49.00",
                                        "49.00", "19.99", "24.50", "129.00"};
    struct money money = {.currency = "USD"};
    unsigned at = rng_below(rng, 100);

    if (at < 60)
        money_parse(usual[rng_below(rng, ELEMENTSOF(usual))], "USD", &money);
    else if (at < 92)
        money.minor = rng_between(rng, 199, 29999);
    else if (at < 96)
        money = (struct money){rng_between(rng, 199, 29999), "EUR"};
    else if (at < 98)
        money = (struct money){rng_between(rng, 300, 30000), "JPY"};
    else
        money = (struct money){rng_between(rng, 500, 50000), "BHD"};
    return money;
}

/* The amount grows by what is added on top. */
static void draw_extras(struct rng *rng, struct entry *entry)
{
    struct money *extras[] = {&entry->surcharge, &entry->tip, &entry->tax};

    for (size_t i = 0; i < ELEMENTSOF(extras); i++) {
        *extras[i] = entry->amount;
        extras[i]->minor = 0;
    }
    if (rng_chance(rng, 80))
        entry->surcharge.minor = entry->amount.minor * 3 / 100;
    if (rng_chance(rng, 60))
        entry->tip.minor = entry->amount.minor * 15 / 100;
    if (rng_chance(rng, 120))
        entry->tax.minor = entry->amount.minor * 8 / 100;
    for (size_t i = 0; i < ELEMENTSOF(extras); i++)
        entry->amount.minor += extras[i]->minor;
}

static void draw_status(struct rng *rng, struct entry *entry)
{
    unsigned at = rng_below(rng, 1000);

    if (at < 600)
        entry->status = "approved";
    else if (at < 630)
        entry->status = "declined";
    else if (at < 650)
        entry->status = "Pending";
    else if (at < 655)
        entry->transaction_status = "FAILED";
    else if (at < 660)
        entry->status = "error";
    else if (at < 800)
        entry->transaction_status = "settled";
}

static void draw_sale(struct world *world, struct entry *entry)
{
    struct rng *rng = &world->rng;
    unsigned n = world->n_customers - FIRST_OF_CROWD;
    /* A tenth of the customers buys half of the time. */
    unsigned who = rng_chance(rng, 500) ? rng_below(rng, n / 10) : rng_below(rng, n);

    entry->who = &world->customers[FIRST_OF_CROWD + who];
    entry->amount = draw_amount(rng);
    draw_extras(rng, entry);
    draw_status(rng, entry);
    if (rng_chance(rng, 600))
        snprintf(entry->order_ref, sizeof(entry->order_ref), "SHOP-%06u",
                 100000 + (unsigned)(world->n_entries % 900000));
}

/* Looks among the latest of the crowd, which begin at `first`, for something to take back. */
static bool draw_reverted(struct world *world, size_t first, const char *type, struct entry *entry)
{
    size_t from = world->n_entries - first > RECENT ? world->n_entries - RECENT : first;

    for (int i = 0; i < 40 && from < world->n_entries; i++) {
        const struct entry *sale =
            &world->entries[from + rng_below(&world->rng, (unsigned)(world->n_entries - from))];

        if (strcmp(sale->type, type) != 0)
            continue;
        entry->who = sale->who;
        entry->amount = sale->amount;
        if (strstr(entry->type, "Return") && rng_chance(&world->rng, 500))
            entry->amount.minor = (entry->amount.minor + 1) / 2;
        copy_text(entry->original, sizeof(entry->original), sale->id);
        return true;
    }
    return false;
}

static bool disturbs(const struct world *world, const struct entry *entry)
{
    for (size_t i = 0; i < world->n_orders; i++)
        if (world_fits(world, &world->orders[i], entry, false))
            return true;
    return false;
}

static void add_one(struct world *world, size_t first, int64_t at)
{
    /* The first few are one of each kind, so that no kind is missing by chance; those that take
     * something back come after the sales. */
    size_t number = world->n_entries - first;
    const struct kind *kind = number >= 100 && number < 100 + ELEMENTSOF(kinds)
                                  ? &kinds[number - 100]
                                  : draw_kind(&world->rng);
    struct entry entry;

    entry = (struct entry){.type = kind->type, .at = at};
    if (!kind->reverts || !draw_reverted(world, first, kind->reverts, &entry)) {
        if (kind->reverts)
            kind = &kinds[0];
        do {
            entry = (struct entry){.type = kind->type, .at = at};
            draw_sale(world, &entry);
        } while (disturbs(world, &entry));
    }
    if (rng_chance(&world->rng, 8))
        entry.late = rng_between(&world->rng, MINUTE, 19 * MINUTE);
    world_add(world, &entry);
    if (strcmp(entry.type, "CreditCardSale") == 0 && *entry.order_ref &&
        rng_chance(&world->rng, 500))
        world_claim(world, entry.id, entry.order_ref);
}

static int compare_times(const void *pa, const void *pb)
{
    int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;

    return (a > b) - (a < b);
}

/* A shop is busier in its evening than in its night. */
static bool is_busy(struct rng *rng, int64_t at)
{
    static const unsigned per_mille[24] = {300, 200, 150, 120, 120, 150, 250, 400,
                                           550, 650, 700, 750, 800, 750, 700, 700,
                                           750, 850, 950, 999, 999, 900, 700, 450};

    return rng_chance(rng, per_mille[at / HOUR % 24]);
}

void world_add_day(struct world *world)
{
    /* More than a page of transactions within one second, and within one millisecond. */
    static const struct {
        int64_t before_end;
        unsigned n;
        unsigned width;
    } bursts[] = {{3 * HOUR, 230, 1000}, {9 * HOUR, 150, 1000}, {15 * HOUR, 220, 1}};
    int64_t end = world->now - 20 * MINUTE, start = world->now - 26 * HOUR;
    int64_t times[DAY_SPREAD + 600];
    size_t n = 0, first = world->n_entries;

    while (n < DAY_SPREAD) {
        int64_t at = rng_between(&world->rng, start, end);

        if (is_busy(&world->rng, at))
            times[n++] = at;
    }
    for (size_t i = 0; i < ELEMENTSOF(bursts); i++) {
        int64_t second = (end - bursts[i].before_end) / SECOND * SECOND;

        for (unsigned k = 0; k < bursts[i].n; k++)
            times[n++] = second + rng_below(&world->rng, bursts[i].width);
    }
    qsort(times, n, sizeof(times[0]), compare_times);
    for (size_t i = 0; i < n; i++)
        add_one(world, first, times[i]);
}

void world_add_history(struct world *world, int64_t n, int64_t days)
{
    int64_t span = days * 24 * HOUR, start = world->now - span;
    size_t first = world->n_entries;

    for (int64_t i = 0; i < n; i++)
        add_one(world, first, start + (span - 20 * MINUTE) * i / n);
}
