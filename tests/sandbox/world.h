/* A generated shop: what the Pay API knows, what the app wrote into its queue, and the truth. The
 * same seed and time give the same world. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/money.h"
#include "people.h"
#include "records.h"
#include "rng.h"

enum {
    SECOND = 1000,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    WORLD_ID_SIZE = 24,
    MAX_ORDERS = 60,
    MAX_ATTEMPTS = 2,
    MAX_SESSIONS = 16,
};

/* What a record of the Pay API will say. */
struct entry {
    char id[WORLD_ID_SIZE]; /* given by world_add() */
    const char *type;
    int64_t at;
    int64_t late; /* shown only so many ms after `at` */
    struct money amount;
    struct money surcharge, tip, tax; /* contained in the amount; left out when zero */
    const struct customer *who;
    char order_ref[WORLD_ID_SIZE]; /* "": the record does not say */
    char original[WORLD_ID_SIZE];
    const char *status;             /* or NULL */
    const char *transaction_status; /* or NULL */
};

/* An order whose cardSale had no answer, with its truth. */
struct order {
    char id[WORLD_ID_SIZE];
    struct money amount;
    int64_t attempts[MAX_ATTEMPTS];
    size_t n_attempts;
    int http_status;
    const struct customer *who;
    bool tells_last_four, tells_brand, tells_bin, tells_email; /* what the app knows of it */
    bool upper_case; /* it writes brand and e-mail in capitals */
    const char *verdict;
    char transaction_id[WORLD_ID_SIZE]; /* the sale that a verdict must name, or "" */
    unsigned eligible;                  /* how many sales fit it */
    const char *story;
};

struct claim {
    char transaction_id[WORLD_ID_SIZE];
    char order_id[WORLD_ID_SIZE];
};

struct session {
    char id[WORLD_ID_SIZE];
    char key[64];
    int64_t created_at;
    int expires_in;
    int64_t last_seen_at; /* 0: NULL */
    const char *ended;    /* or NULL */
    bool known;           /* to the Vault */
    int fail_first;       /* revocations that the Vault answers with 500 */
    const char *outcome;  /* "revoked", "gone", or NULL while it is not due */
    const char *story;
};

struct world {
    struct rng rng;
    int64_t now;
    struct records *records;
    uint64_t n_ids;
    struct customer *customers;
    unsigned n_customers;
    struct order orders[MAX_ORDERS];
    size_t n_orders;
    struct session sessions[MAX_SESSIONS];
    size_t n_sessions;
    struct claim *claims;
    size_t n_claims, allocated_claims;
    struct entry *entries; /* everything that was added */
    size_t n_entries, allocated_entries;
};

/* Records go into `records`, which the world does not own. */
struct world *world_new(uint64_t seed, int64_t now, struct records *records);
struct world *world_free(struct world *world);

/* Builds the record and adds it; sets entry->id. */
void world_add(struct world *world, struct entry *entry);
void world_claim(struct world *world, const char *transaction_id, const char *order_id);

/* Orders, sessions and the sales they are about (cases.c). */
void world_add_cases(struct world *world);

/* Everybody else's transactions (crowd.c): a busy day, or `n` over so many days. */
void world_add_day(struct world *world);
void world_add_history(struct world *world, int64_t n, int64_t days);

/* Whether a sale counts for an order by the product's rules: written down here a second time, in
 * the plainest way, so that the truth does not rest on the program it is to judge. `strict` false
 * leaves status and claims aside. */
bool world_fits(const struct world *world, const struct order *order, const struct entry *sale,
                bool strict);

/* Counts for each order the sales that fit it; -ENOTRECOVERABLE if one has another number than its
 * story says. */
int world_verify(const struct world *world, struct error *err);
