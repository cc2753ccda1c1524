/* The matcher: which sale belongs to which order, and what may be said of each order.
 *
 * A pure function of its input: no I/O, no clock, no state, and the same result whatever the order
 * of the input arrays. The rules are section 6 of the product's contract (docs/ARCHITECTURE.md
 * repeats them); certainty over all maximum one-to-one assignments is decided by the
 * Dulmage-Mendelsohn decomposition of the bipartite graph of orders and eligible sales
 * (A. L. Dulmage, N. S. Mendelsohn, "Coverings of bipartite graphs", 1958), not by greed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/transaction.h"
#include "core/verdict.h"

struct match_settings {
    int64_t before, after;   /* ms a sale may precede the first attempt, follow the last */
    int64_t absence_grace;   /* ms after the last attempt before absence or doubt is said */
    int64_t late_watch;      /* ms the window is widened by for a record with the order's id */
    bool accept_amount_only; /* amount, currency and time alone decide */
    bool claims_complete;    /* the app reports every sale it knows */
};

/* One call of cardSale for an order. */
struct match_attempt {
    int64_t at;
    struct money amount;
    struct card card;
};

/* What the ledger can prove about the absence of a sale in the order's window. The caller finds
 * out; it is consulted only for an order that has no eligible sale, or none but reversed ones. */
enum absence {
    ABSENCE_UNPROVEN, /* the window is not yet read completely, late enough */
    ABSENCE_PROVEN,   /* it is */
    ABSENCE_BLOCKED,  /* it is, but for a record that could not be understood */
    ABSENCE_STANDS,   /* it was proved, and said, before */
};

/* A person's decision. */
struct match_resolution {
    enum verdict verdict;       /* VERDICT_CHARGED or VERDICT_NOT_CHARGED */
    const char *transaction_id; /* or NULL */
    const char *note;
};

struct match_order {
    const char *id;
    const struct match_attempt *attempts; /* at least one, in any order */
    size_t n_attempts;
    enum absence absence;
    const struct match_resolution *resolution; /* or NULL */
};

struct match_sale {
    const char *id;
    struct money amount, net;
    int64_t at;
    struct card card;
    const char *order_ref; /* NULL or empty: the record does not say */
    const char
        *sealed_for; /* id of an order, not in the input, that has this sale for good; or NULL */
    bool is_sale;    /* a settled CreditCardSale. Others matter only when claimed */
    bool voided;     /* a settled CreditCardVoid names it */
    bool vanished;   /* the API does not show it any more */
    int64_t returned_minor; /* sum of the settled reversals and returns that name it */
};

/* A sale that the app reported. One whose transaction is not in the input charges its order too:
 * the app had its 2xx. */
struct match_claim {
    const char *transaction_id;
    const char *order_id;
};

/* Why a sale is, or is not, a candidate for an order. */
enum fit {
    FIT_CLAIM,
    FIT_REFERENCE,
    FIT_IDENTITY,
    FIT_AMOUNT,
    /* Not eligible, from here on. */
    FIT_NOT_A_SALE,       /* another type, or not settled */
    FIT_CLAIMED_BY_OTHER, /* another order claims it, or has it for good */
    FIT_OTHER_REFERENCE,  /* it carries another order's id */
    FIT_CURRENCY,         /* these name the first thing that does not agree, in this order, with
                           * the attempt that agrees furthest */
    FIT_MONEY,
    FIT_TIME,
    FIT_LAST_FOUR,
    FIT_BIN,
    FIT_BRAND,
    FIT_EMAIL,
    FIT_COUNT
};

/* A short text for a person: "identity", "last four differ". */
const char *fit_text(enum fit fit);

static inline bool fit_eligible(enum fit fit)
{
    return fit <= FIT_AMOUNT;
}

struct match_candidate {
    const char *transaction_id; /* the input's own text: of a sale, or a claim without a record */
    enum fit fit;
    bool reference_conflict; /* it carries this order's id and yet is not eligible */
    bool claim_conflict;     /* the app reported it for this order and yet it is not eligible */
    bool assigned;           /* this sale is (one of) the order's by the verdict */
};

enum { MATCH_CANDIDATES_MAX = 100 };

struct match_result {
    enum verdict verdict;
    enum rule rule;
    char transaction_id[ID_SIZE]; /* the order's sale; empty when it has none, or none is certain */
    char reason[512];             /* one sentence for a person; one line of UTF-8 */
    struct match_candidate *candidates; /* eligible sales and conflicts, by time then id; those of
                                         * which there is no record last. Of more than
                                         * MATCH_CANDIDATES_MAX the surest and earliest, and all
                                         * that are assigned or in conflict */
    size_t n_candidates;
};

struct match_input {
    const struct match_order *orders;
    size_t n_orders;
    const struct match_sale *sales;
    size_t n_sales;
    const struct match_claim *claims;
    size_t n_claims;
    int64_t now;
    struct match_settings settings;
};

/* How one sale fits one order, as the matcher sees it. `claimed_by_order`: the app claims the sale
 * for this order; `claimed_by_other`: for another (with both, nobody is given it). A claim needs no
 * other evidence; else the sale has to agree with one of the attempts as a whole. */
enum fit match_fit(const struct match_order *order, const struct match_sale *sale,
                   bool claimed_by_order, bool claimed_by_other,
                   const struct match_settings *settings);

/* The order's window [ret_from, ret_to]: first attempt - before, last attempt + after. */
void match_window(const struct match_order *order, const struct match_settings *settings,
                  int64_t *ret_from, int64_t *ret_to);

/* Decides every order. `ret_results` gets n_orders results, in the input's order, to be freed with
 * match_results_free(). 0, -ENOMEM, or -EINVAL for an order without attempts or two orders or two
 * sales with one id. */
int match(const struct match_input *input, struct match_result **ret_results);
struct match_result *match_results_free(struct match_result *results, size_t n);
