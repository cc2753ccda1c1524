#include "world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "core/timestamp.h"
#include "memory.h"

enum { N_CUSTOMERS = 1500 };

struct world *world_new(uint64_t seed, int64_t now, struct records *records)
{
    struct world *world = must(calloc(1, sizeof(*world)));

    world->rng.state = seed;
    world->now = now;
    world->records = records;
    world->n_customers = N_CUSTOMERS;
    world->customers = must(calloc(N_CUSTOMERS, sizeof(world->customers[0])));
    for (unsigned i = 0; i < N_CUSTOMERS; i++)
        customer_make(&world->rng, i, &world->customers[i]);
    return world;
}

struct world *world_free(struct world *world)
{
    if (!world)
        return NULL;
    free(world->customers);
    free(world->claims);
    free(world->entries);
    free(world);
    return NULL;
}

void world_claim(struct world *world, const char *transaction_id, const char *order_id)
{
    struct claim *claim;

    GROW(world->claims, world->n_claims, world->allocated_claims);
    claim = &world->claims[world->n_claims++];
    copy_text(claim->transaction_id, sizeof(claim->transaction_id), transaction_id);
    copy_text(claim->order_id, sizeof(claim->order_id), order_id);
}

/* --- records ------------------------------------------------------------- */

static void set_text(json_t *record, const char *name, const char *text)
{
    if (text && *text)
        json_object_set_new(record, name, json_string(text));
}

static void set_money(json_t *record, const char *name, struct money money)
{
    char text[MONEY_TEXT_SIZE];

    if (money.minor != 0)
        set_text(record, name, money_format(money, text));
}

static void describe_payer(json_t *record, const struct entry *entry)
{
    const struct customer *who = entry->who;

    set_text(record, "firstName", who->first);
    set_text(record, "lastName", who->last);
    set_text(record, "email", who->email);
    set_text(record, "phone", who->phone);
    set_text(record, "address1", who->address);
    set_text(record, "city", who->city);
    json_object_set_new(record, "state", json_string(who->state));
    set_text(record, "zipcode", who->zip);
    set_text(record, "country", who->country);
    set_text(record, "clientIpAddress", who->ip);
}

static void describe_means(json_t *record, const struct entry *entry)
{
    const struct customer *who = entry->who;

    if (strncmp(entry->type, "CreditCard", 10) == 0) {
        set_text(record, "cardLastFour", who->last_four);
        set_text(record, "cardBin", who->bin);
        set_text(record, "cardBrand", who->brand);
        set_text(record, "cardExpMonth", who->exp_month);
        set_text(record, "cardExpYear", who->exp_year);
        json_object_set_new(record, "isCreditCard", json_true());
    } else if (strncmp(entry->type, "Ach", 3) == 0) {
        set_text(record, "routingNumber", "021000021");
        set_text(record, "accountLastFour", who->last_four);
    } else {
        set_text(record, "network", "ethereum");
    }
}

/* An id such as 2604280000990C64B: the date, and eleven hexadecimal digits that go up. */
static void give_id(struct world *world, struct entry *entry)
{
    char date[TIMESTAMP_TEXT_SIZE];
    uint64_t number = world->n_ids++ << 8 | rng_below(&world->rng, 256);

    timestamp_format(entry->at, date);
    snprintf(entry->id, sizeof(entry->id), "%.2s%.2s%.2s%011" PRIX64, date + 2, date + 5, date + 8,
             number);
}

static json_t *entry_to_json(const struct entry *entry, int64_t created_at)
{
    char text[TIMESTAMP_TEXT_SIZE], amount[MONEY_TEXT_SIZE];
    json_t *record = must(json_object());

    set_text(record, "transactionId", entry->id);
    set_text(record, "transactionType", entry->type);
    set_text(record, "amount", money_format(entry->amount, amount));
    set_text(record, "currency", entry->amount.currency);
    set_money(record, "surchargeAmount", entry->surcharge);
    set_money(record, "tipAmount", entry->tip);
    set_money(record, "salesTaxAmount", entry->tax);
    set_text(record, "transDate", timestamp_format(entry->at, text));
    set_text(record, "createdAt", timestamp_format(created_at, text));
    set_text(record, "status", entry->status);
    set_text(record, "transactionStatus", entry->transaction_status);
    set_text(record, "originalTransactionId", entry->original);
    set_text(record, "ozuraMerchantId", "sandbox-merchant");
    describe_means(record, entry);
    describe_payer(record, entry);
    if (*entry->order_ref)
        json_object_set_new(record, "metadata",
                            json_pack("{s:s, s:s}", "orderId", entry->order_ref, "source", "web"));
    return record;
}

void world_add(struct world *world, struct entry *entry)
{
    /* Half of the records are created some time after the transaction. */
    int64_t lag = rng_chance(&world->rng, 500) ? 0 : rng_below(&world->rng, 400);
    int64_t created_at = entry->at + lag;
    json_auto_t *json = NULL;

    give_id(world, entry);
    json = entry_to_json(entry, created_at);
    records_add(world->records,
                (struct record){
                    .id = copy_of(entry->id),
                    .type = copy_of(entry->type),
                    /* Both ways of writing what is not ASCII are met in the wild. */
                    .text = must(json_dumps(json, rng_chance(&world->rng, 500)
                                                      ? JSON_COMPACT | JSON_ENSURE_ASCII
                                                      : JSON_COMPACT)),
                    .created_at = created_at,
                    .visible_at = entry->late ? created_at + entry->late : INT64_MIN,
                    .hidden_after = INT64_MAX,
                });
    GROW(world->entries, world->n_entries, world->allocated_entries);
    world->entries[world->n_entries++] = *entry;
}

/* --- the truth ----------------------------------------------------------- */

static bool settled(const struct entry *entry)
{
    static const char *const unsettled[] = {"pending", "declined", "failed", "error"};

    for (size_t i = 0; i < ELEMENTSOF(unsettled); i++)
        if ((entry->status && strcasecmp(entry->status, unsettled[i]) == 0) ||
            (entry->transaction_status && strcasecmp(entry->transaction_status, unsettled[i]) == 0))
            return false;
    return true;
}

static const char *claimed_by(const struct world *world, const char *transaction_id)
{
    for (size_t i = 0; i < world->n_claims; i++)
        if (strcmp(world->claims[i].transaction_id, transaction_id) == 0)
            return world->claims[i].order_id;
    return NULL;
}

static bool amount_agrees(struct money wanted, const struct entry *sale)
{
    struct money net = sale->amount;

    net.minor -= sale->surcharge.minor + sale->tip.minor + sale->tax.minor;
    return money_equal(wanted, sale->amount) || money_equal(wanted, net);
}

bool world_fits(const struct world *world, const struct order *order, const struct entry *sale,
                bool strict)
{
    int64_t before = 2 * MINUTE, after = 15 * MINUTE;
    const char *claim;

    if (strcmp(sale->type, "CreditCardSale") != 0)
        return false;
    if (strict) {
        claim = claimed_by(world, sale->id);
        if (claim)
            return strcmp(claim, order->id) == 0;
        if (!settled(sale))
            return false;
    }
    if (*sale->order_ref) {
        if (strcmp(sale->order_ref, order->id) != 0)
            return false;
        before = after = 72 * HOUR;
    }
    return amount_agrees(order->amount, sale) && sale->at >= order->attempts[0] - before &&
           sale->at <= order->attempts[order->n_attempts - 1] + after &&
           (!order->tells_last_four || strcmp(order->who->last_four, sale->who->last_four) == 0) &&
           (!order->tells_bin || strcmp(order->who->bin, sale->who->bin) == 0) &&
           (!order->tells_brand || strcmp(order->who->brand, sale->who->brand) == 0) &&
           (!order->tells_email || strcmp(order->who->email, sale->who->email) == 0);
}

int world_verify(const struct world *world, struct error *err)
{
    for (size_t i = 0; i < world->n_orders; i++) {
        const struct order *order = &world->orders[i];
        unsigned n = 0;

        for (size_t k = 0; k < world->n_entries; k++)
            n += world_fits(world, order, &world->entries[k], true);
        if (n != order->eligible)
            return error_set(err, -ENOTRECOVERABLE, "the world is wrong: %s (%s) has %u sales",
                             order->id, order->story, n);
    }
    return 0;
}
