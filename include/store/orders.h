/* Orders and the sales that may be theirs, as the matcher wants them; and what it decided. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/match.h"
#include "store/db.h"

/* The latest verdict of an order, beside its place in the matcher's input. */
struct order_state {
    enum verdict verdict;
    int64_t revision;
    char transaction_id[ID_SIZE];
    char rule[16];
    char reason[1024];
    int64_t first_attempt_at, last_attempt_at;
    int64_t decided_at;       /* -1: never */
    char decided_by[ID_SIZE]; /* of the resolution, if there is one */
};

/* Everything one matching needs. Free with order_book_free(). */
struct order_book {
    struct match_order *orders;
    struct order_state *states;
    size_t n_orders;
    struct match_sale *sales;
    size_t n_sales;
    struct match_claim *claims;
    size_t n_claims;
    struct book_memory *memory;
};

/* Loads the orders that are not sealed, their attempts and decisions, every record that might be
 * the sale of one of them, and the claims on those. `absence` is left ABSENCE_UNPROVEN. */
int order_book_load(struct db *ledger, const struct match_settings *settings,
                    struct order_book **ret, struct error *err);
/* The same for one order, sealed or not, without competitors; 1 when there is such an order. */
int order_book_load_one(struct db *ledger, const char *order_id,
                        const struct match_settings *settings, struct order_book **ret,
                        struct error *err);
struct order_book *order_book_free(struct order_book *book);

/* A pending order's window, for the sync. */
struct open_order {
    int64_t first_attempt_at, last_attempt_at;
};
/* The pending orders by first attempt; *ret is to be freed. */
int orders_open(struct db *ledger, struct open_order **ret, size_t *ret_n, struct error *err);

/* Appends a verdict as the order's next revision, with its candidates. In a transaction.
 * ret_verdict_id names it for orders_add_evidence(). */
int orders_add_verdict(struct db *ledger, const struct order_book *book, size_t order,
                       const struct match_result *result, int64_t now, int64_t *ret_verdict_id,
                       struct error *err);
int orders_add_evidence(struct db *ledger, int64_t verdict_id, int64_t run_id, struct error *err);

/* Leaves alone, from now on, the decided orders whose last attempt is before `before`. */
int orders_seal(struct db *ledger, int64_t before, struct error *err);
