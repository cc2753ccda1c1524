/* The stories: orders whose cardSale had no answer, what became of them, and what the daemon has
 * to say with default settings. Each has a customer and, unless it says otherwise, an amount of its
 * own. */
#include <assert.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "memory.h"
#include "world.h"

/* --- material ------------------------------------------------------------ */

static struct money money(const char *text, const char *currency)
{
    struct money result = {0};

    if (money_parse(text, currency, &result) < 0)
        abort();
    return result;
}

/* Orders spread over the day that ended an hour ago, in the order of their stories. The app knows
 * card and e-mail, as from the token's billing details. */
static struct order *open_order(struct world *world, const char *amount, const char *currency)
{
    static const int statuses[] = {500, 0, 502, 503, 0, 504};
    size_t i = world->n_orders++;
    struct order *order = &world->orders[i];
    int64_t slot = 23 * HOUR / MAX_ORDERS;

    assert(i < MAX_ORDERS);
    snprintf(order->id, sizeof(order->id), "ORD-%zu", 10001 + i);
    order->amount = money(amount, currency);
    order->attempts[0] =
        world->now - 25 * HOUR + (int64_t)i * slot + rng_below(&world->rng, 5 * MINUTE);
    order->n_attempts = 1;
    order->http_status = statuses[i % ELEMENTSOF(statuses)];
    order->who = &world->customers[i];
    order->tells_last_four = order->tells_brand = order->tells_bin = order->tells_email = true;
    return order;
}

static struct order *open_usual_order(struct world *world)
{
    static const char *const amounts[] = {"49.00", "9.99", "129.00", "24.50", "19.99"};

    return open_order(world, amounts[world->n_orders % ELEMENTSOF(amounts)], "USD");
}

static void expect(struct order *order, const char *verdict, const char *transaction_id,
                   unsigned eligible, const char *story)
{
    order->verdict = verdict;
    copy_text(order->transaction_id, sizeof(order->transaction_id), transaction_id);
    order->eligible = eligible;
    order->story = story;
}

/* The sale that this order's first attempt made, so long after it. */
static struct entry sale_of(const struct order *order, int64_t after)
{
    return (struct entry){.type = "CreditCardSale",
                          .at = order->attempts[0] + after,
                          .amount = order->amount,
                          .who = order->who,
                          .status = "approved"};
}

static struct entry sale_with_reference(const struct order *order, int64_t after)
{
    struct entry sale = sale_of(order, after);

    copy_text(sale.order_ref, sizeof(sale.order_ref), order->id);
    return sale;
}

static void add_reverting(struct world *world, const struct entry *sale, const char *type,
                          int64_t after, int64_t minor, const char *status)
{
    struct entry entry = {.type = type,
                          .at = sale->at + after,
                          .amount = {.minor = minor},
                          .who = sale->who,
                          .status = status};

    copy_text(entry.amount.currency, sizeof(entry.amount.currency), sale->amount.currency);
    copy_text(entry.original, sizeof(entry.original), sale->id);
    world_add(world, &entry);
}

/* --- charged ------------------------------------------------------------- */

static void late_reference(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_with_reference(order, 5 * HOUR);

    world_add(world, &sale);
    expect(order, "charged", sale.id, 1,
           "a sale with the order's id, five hours after the attempt");
}

static void by_reference(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_with_reference(order, 6 * SECOND);

    world_add(world, &sale);
    expect(order, "charged", sale.id, 1, "a sale carries the order's id");
}

static void by_identity(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 9 * SECOND);

    order->upper_case = rng_chance(&world->rng, 500);
    world_add(world, &sale);
    expect(order, "charged", sale.id, 1, "a sale with the same card and e-mail, without order id");
}

static void by_one_trait(struct world *world, bool last_four, bool bin, bool email,
                         const char *story)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 40 * SECOND);

    order->tells_brand = false;
    order->tells_last_four = last_four;
    order->tells_bin = bin;
    order->tells_email = email;
    world_add(world, &sale);
    expect(order, "charged", sale.id, 1, story);
}

static void by_last_four(struct world *world)
{
    by_one_trait(world, true, false, false, "the app knows the last four digits only; they agree");
}

static void by_bin(struct world *world)
{
    by_one_trait(world, false, true, false, "the app knows the BIN only; it agrees");
}

static void by_email(struct world *world)
{
    by_one_trait(world, false, false, true, "the app knows the e-mail only; it agrees");
}

static void by_claim(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 4 * SECOND);

    world_add(world, &sale);
    world_claim(world, sale.id, order->id);
    expect(order, "charged", sale.id, 1, "the app learned of the sale after all and claims it");
}

static void with_tip(struct world *world)
{
    struct order *order = open_order(world, "49.00", "USD");
    struct entry sale = sale_of(order, 15 * SECOND);

    sale.tip = money("7.35", "USD");
    sale.amount = money("56.35", "USD");
    world_add(world, &sale);
    expect(order, "charged", sale.id, 1, "the sale is the order's amount and a tip");
}

static void with_tip_foreseen(struct world *world)
{
    struct order *order = open_order(world, "56.35", "USD");
    struct entry sale = sale_of(order, 15 * SECOND);

    sale.tip = money("7.35", "USD");
    world_add(world, &sale);
    expect(order, "charged", sale.id, 1, "the order's amount contains the tip already");
}

static void with_surcharge_and_tax(struct world *world)
{
    struct order *order = open_order(world, "100.00", "USD");
    struct entry sale = sale_of(order, 15 * SECOND);

    sale.surcharge = money("3.00", "USD");
    sale.tax = money("8.25", "USD");
    sale.amount = money("111.25", "USD");
    world_add(world, &sale);
    expect(order, "charged", sale.id, 1, "the sale is the order's amount, a surcharge and tax");
}

static void in_currency(struct world *world, const char *amount, const char *currency,
                        const char *story)
{
    struct order *order = open_order(world, amount, currency);
    struct entry sale = sale_of(order, 12 * SECOND);

    world_add(world, &sale);
    expect(order, "charged", sale.id, 1, story);
}

static void in_yen(struct world *world)
{
    in_currency(world, "4900", "JPY", "a sale in yen, which have no decimals");
}

static void in_dinars(struct world *world)
{
    in_currency(world, "12.345", "BHD", "a sale in dinars, which have three decimals");
}

static void in_euros(struct world *world)
{
    in_currency(world, "49.00", "EUR", "a sale in euros");
}

static void partly_returned(struct world *world)
{
    struct order *order = open_order(world, "129.00", "USD");
    struct entry sale = sale_of(order, 7 * SECOND);

    world_add(world, &sale);
    add_reverting(world, &sale, "CreditCardReturn", 25 * MINUTE, 4000, "approved");
    expect(order, "charged", sale.id, 1, "a part of the sale was returned");
}

static void void_declined(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 7 * SECOND);

    world_add(world, &sale);
    add_reverting(world, &sale, "CreditCardVoid", 10 * MINUTE, sale.amount.minor, "declined");
    expect(order, "charged", sale.id, 1, "a void of the sale was asked for, and declined");
}

static void second_attempt_made_no_sale(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 8 * SECOND);

    order->attempts[order->n_attempts++] = order->attempts[0] + 6 * MINUTE;
    world_add(world, &sale);
    expect(order, "charged", sale.id, 1, "two attempts; the first made a sale");
}

/* Two orders, two sales, and each sale fits both orders. */
static void twins(struct world *world)
{
    struct order *first = open_order(world, "64.20", "USD");
    struct order *second = open_order(world, "64.20", "USD");
    struct entry sale, other;

    second->who = first->who;
    second->attempts[0] = first->attempts[0] + 90 * SECOND;
    sale = sale_of(first, 20 * SECOND);
    other = sale_of(second, 20 * SECOND);
    world_add(world, &sale);
    world_add(world, &other);
    expect(first, "charged", sale.id, 2, "one of two equal orders with two equal sales");
    expect(second, "charged", other.id, 2, "the other of two equal orders with two equal sales");
}

/* --- reversed, charged twice --------------------------------------------- */

static void voided(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 5 * SECOND);

    world_add(world, &sale);
    add_reverting(world, &sale, "CreditCardVoid", 12 * MINUTE, sale.amount.minor, "approved");
    expect(order, "reversed", sale.id, 1, "the sale was voided");
}

static void reversed(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_with_reference(order, 5 * SECOND);

    world_add(world, &sale);
    add_reverting(world, &sale, "CreditCardReversal", MINUTE, sale.amount.minor, "approved");
    expect(order, "reversed", sale.id, 1, "the sale was reversed");
}

static void returned(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 5 * SECOND);

    world_add(world, &sale);
    add_reverting(world, &sale, "CreditCardReturn", 30 * MINUTE, sale.amount.minor, NULL);
    expect(order, "reversed", sale.id, 1, "the sale was returned in full");
}

static void returned_in_two_parts(struct world *world)
{
    struct order *order = open_order(world, "80.00", "USD");
    struct entry sale = sale_of(order, 5 * SECOND);

    world_add(world, &sale);
    add_reverting(world, &sale, "CreditCardReturn", 20 * MINUTE, 3000, "approved");
    add_reverting(world, &sale, "CreditCardReturn", 30 * MINUTE, 5000, "approved");
    expect(order, "reversed", sale.id, 1, "the sale was returned in full, in two parts");
}

static void charged_twice(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_with_reference(order, 5 * SECOND);
    struct entry again = sale_with_reference(order, 50 * SECOND);

    world_add(world, &sale);
    world_add(world, &again);
    expect(order, "double_charged", sale.id, 2, "two sales carry the order's id");
}

/* --- not charged --------------------------------------------------------- */

static void no_sale(struct world *world)
{
    expect(open_usual_order(world), "not_charged", "", 0, "no sale was made");
}

static void no_sale_in_yen(struct world *world)
{
    expect(open_order(world, "4900", "JPY"), "not_charged", "", 0, "no sale was made, in yen");
}

static void two_attempts_no_sale(struct world *world)
{
    struct order *order = open_usual_order(world);

    order->attempts[order->n_attempts++] = order->attempts[0] + 6 * MINUTE;
    expect(order, "not_charged", "", 0, "two attempts, and neither made a sale");
}

static void look_alikes(struct world *world)
{
    struct order *order = open_usual_order(world);

    for (int i = 0; i < 3; i++) {
        struct entry sale = sale_of(order, (5 + 40 * i) * SECOND);

        sale.who = &world->customers[MAX_ORDERS + rng_below(&world->rng, 100)];
        world_add(world, &sale);
    }
    expect(order, "not_charged", "", 0, "no sale; other customers paid this amount at that time");
}

static void declined(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 5 * SECOND);
    struct entry again = sale_with_reference(order, 30 * SECOND);

    sale.status = "declined";
    again.status = NULL;
    again.transaction_status = "FAILED";
    world_add(world, &sale);
    world_add(world, &again);
    expect(order, "not_charged", "", 0, "the card was declined, twice");
}

static void claimed_by_another(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 30 * SECOND);

    world_add(world, &sale);
    world_claim(world, sale.id, "SHOP-000001");
    expect(order, "not_charged", "", 0, "the customer's sale at that time is claimed by an order");
}

static void referring_to_another(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 30 * SECOND);

    copy_text(sale.order_ref, sizeof(sale.order_ref), "SHOP-000002");
    world_add(world, &sale);
    expect(order, "not_charged", "", 0,
           "the customer's sale at that time carries another order's id");
}

static void only_outside_window(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry before = sale_of(order, -3 * MINUTE);
    struct entry after = sale_of(order, 16 * MINUTE);

    world_add(world, &before);
    world_add(world, &after);
    expect(order, "not_charged", "", 0, "the customer paid this amount too early and too late");
}

static void namesake_card(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct customer *other = &world->customers[MAX_ORDERS + 100];
    struct entry sale = sale_of(order, 10 * SECOND);

    copy_text(other->last_four, sizeof(other->last_four), order->who->last_four);
    sale.who = other;
    world_add(world, &sale);
    expect(order, "not_charged", "", 0, "a sale with the same last four and another e-mail");
}

static void paid_from_bank(struct world *world)
{
    struct order *order = open_usual_order(world);
    struct entry sale = sale_of(order, 10 * SECOND);

    sale.type = "AchSale";
    world_add(world, &sale);
    expect(order, "not_charged", "", 0, "the customer's AchSale of this amount is no card sale");
}

static void other_currency(struct world *world)
{
    struct order *order = open_order(world, "49.00", "USD");
    struct entry sale = sale_of(order, 10 * SECOND);

    sale.amount = money("49.00", "EUR");
    world_add(world, &sale);
    expect(order, "not_charged", "", 0, "the customer's sale of the same number is in euros");
}

/* --- for a person -------------------------------------------------------- */

static void two_by_identity(struct world *world)
{
    struct order *order = open_order(world, "37.70", "USD");
    struct entry sale = sale_of(order, 10 * SECOND), other = sale_of(order, 70 * SECOND);

    world_add(world, &sale);
    world_add(world, &other);
    expect(order, "needs_review", "", 2,
           "two sales fit; one may be of an order we were not told of");
}

static void contested(struct world *world)
{
    struct order *first = open_order(world, "71.10", "USD");
    struct order *second = open_order(world, "71.10", "USD");
    struct entry sale;

    second->who = first->who;
    second->attempts[0] = first->attempts[0] + 90 * SECOND;
    sale = sale_of(second, 10 * SECOND);
    world_add(world, &sale);
    expect(first, "needs_review", "", 1, "one of two equal orders with one sale");
    expect(second, "needs_review", "", 1, "the other of two equal orders with one sale");
}

static void other_amount(struct world *world)
{
    struct order *order = open_order(world, "52.00", "USD");
    struct entry sale = sale_with_reference(order, 10 * SECOND);

    sale.amount = money("25.00", "USD");
    world_add(world, &sale);
    expect(order, "needs_review", "", 0, "the sale with the order's id has another amount");
}

static void other_currency_by_reference(struct world *world)
{
    struct order *order = open_order(world, "58.00", "USD");
    struct entry sale = sale_with_reference(order, 10 * SECOND);

    sale.amount = money("58.00", "EUR");
    world_add(world, &sale);
    expect(order, "needs_review", "", 0, "the sale with the order's id is in another currency");
}

/* At the commonest of all amounts: the crowd has to keep clear of it. */
static void amount_only(struct world *world)
{
    struct order *order = open_order(world, "9.99", "USD");
    struct entry sale = sale_of(order, 10 * SECOND);

    order->tells_last_four = order->tells_brand = order->tells_bin = order->tells_email = false;
    world_add(world, &sale);
    expect(order, "needs_review", "", 1, "amount and time agree, and the app knows nothing else");
}

static void brand_only(struct world *world)
{
    struct order *order = open_order(world, "77.31", "USD");
    struct entry sale = sale_of(order, 10 * SECOND);

    order->tells_last_four = order->tells_bin = order->tells_email = false;
    world_add(world, &sale);
    expect(order, "needs_review", "", 1, "the app knows the brand only, which identifies nobody");
}

static void add_orders(struct world *world)
{
    static const struct {
        void (*tell)(struct world *world);
        int times;
    } stories[] = {
        {late_reference, 1},
        {by_reference, 4},
        {no_sale, 4},
        {by_identity, 4},
        {look_alikes, 3},
        {by_last_four, 1},
        {by_bin, 1},
        {by_email, 1},
        {by_claim, 1},
        {with_tip, 1},
        {with_tip_foreseen, 1},
        {declined, 2},
        {with_surcharge_and_tax, 1},
        {in_yen, 1},
        {in_dinars, 1},
        {in_euros, 1},
        {no_sale_in_yen, 1},
        {twins, 1},
        {contested, 1},
        {voided, 1},
        {reversed, 1},
        {returned, 1},
        {returned_in_two_parts, 1},
        {partly_returned, 1},
        {void_declined, 1},
        {charged_twice, 2},
        {two_by_identity, 1},
        {claimed_by_another, 1},
        {referring_to_another, 1},
        {only_outside_window, 1},
        {namesake_card, 1},
        {paid_from_bank, 1},
        {other_currency, 1},
        {other_amount, 1},
        {other_currency_by_reference, 1},
        {amount_only, 2},
        {brand_only, 1},
        {two_attempts_no_sale, 1},
        {second_attempt_made_no_sale, 1},
        {no_sale, 2},
    };

    for (size_t i = 0; i < ELEMENTSOF(stories); i++)
        for (int k = 0; k < stories[i].times; k++)
            stories[i].tell(world);
}

/* --- sessions ------------------------------------------------------------ */

static void add_sessions(struct world *world)
{
    static const struct {
        int64_t age, unseen; /* unseen 0: no heartbeat */
        const char *ended;
        bool known;
        int fail_first;
        const char *outcome, *story;
    } kinds[] = {
        {1 * MINUTE, 0, NULL, true, 0, NULL, "just begun"},
        {20 * MINUTE, 30 * SECOND, NULL, true, 0, NULL, "old, and seen just now"},
        {2 * MINUTE, 10 * SECOND, NULL, true, 0, NULL, "seen just now"},
        {45 * MINUTE, 0, NULL, true, 0, "revoked", "expired"},
        {3 * HOUR, 2 * HOUR, NULL, true, 0, "revoked", "expired long ago"},
        {25 * MINUTE, 0, NULL, true, 0, "revoked", "idle, never seen"},
        {28 * MINUTE, 17 * MINUTE, NULL, true, 0, "revoked", "idle since its last heartbeat"},
        {6 * MINUTE, MINUTE, "paid", true, 0, "revoked", "paid"},
        {9 * MINUTE, 0, "cancelled", true, 0, "revoked", "cancelled"},
        {12 * MINUTE, 0, "abandoned", true, 0, "revoked", "abandoned"},
        {4 * MINUTE, 0, "cancelled", true, 1, "revoked", "the Vault fails at first"},
        {5 * MINUTE, 0, "paid", false, 0, "gone", "unknown to the Vault"},
    };

    for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
        struct session *session = &world->sessions[world->n_sessions++];

        snprintf(session->id, sizeof(session->id), "session-%02zu", i + 1);
        snprintf(session->key, sizeof(session->key), "sk_%016llx%016llx",
                 (unsigned long long)rng_next(&world->rng),
                 (unsigned long long)rng_next(&world->rng));
        session->created_at = world->now - kinds[i].age;
        session->expires_in = 1800;
        session->last_seen_at = kinds[i].unseen ? world->now - kinds[i].unseen : 0;
        session->ended = kinds[i].ended;
        session->known = kinds[i].known;
        session->fail_first = kinds[i].fail_first;
        session->outcome = kinds[i].outcome;
        session->story = kinds[i].story;
    }
}

void world_add_cases(struct world *world)
{
    add_orders(world);
    add_sessions(world);
}
