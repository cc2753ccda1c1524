/* Why an order has its verdict: everything in the ledger that bears on it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "core/match.h"
#include "store/db.h"
#include "store/report.h"

/* What the app told of an attempt beyond what the matcher needs. */
struct explain_attempt {
    int64_t http_status;
    char session_id[ID_SIZE];
    int64_t taken_at; /* into the ledger */
};

/* A sale that is, or might be thought to be, the order's. */
struct explain_sale {
    char id[ID_SIZE];
    char type[TYPE_SIZE];
    char status[STATUS_SIZE];
    struct money amount, net;
    int64_t at;
    struct card card;
    char order_ref[ID_SIZE];
    char belongs_to[ID_SIZE]; /* another order that claims it, or that has it by its verdict */
    char undone_by[ID_SIZE];  /* the settled voids, reversals and returns that name it */
    int64_t vanished_at;      /* since when the API does not show it any more; -1: it does */
    char recorded[64];        /* how it fitted when the latest verdict was given; empty: not seen */
    bool assigned;            /* it is the order's sale by the latest verdict */
    enum fit fit;             /* how it fits now */
};

/* A stretch of the order's window that was read completely. */
struct explain_coverage {
    int64_t from, to;
    int64_t run_id;
    int64_t began_at;
    bool proof, clear;
};

struct explain {
    struct db *ledger;
    char order_id[ID_SIZE];
    enum verdict verdict;
    bool sealed; /* decided, and no longer watched */
    struct match_attempt *attempts;
    struct explain_attempt *told; /* beside each attempt */
    size_t n_attempts;
    int64_t last_attempt;
    int64_t window_from, window_to; /* of its sale */
    int64_t read_from, read_to; /* what must be read to prove that there is none: whole seconds */
    struct explain_sale *sales; /* by time */
    size_t n_sales;
    bool more_sales;                   /* there are more than were loaded */
    struct explain_coverage *coverage; /* by time; intervals may overlap at their ends only */
    size_t n_coverage;
};

/* The sections that explain_rows() knows. */
enum explain_section {
    EXPLAIN_ORDER,       /* its row of order_status */
    EXPLAIN_CLAIMS,      /* the app's claims for the order */
    EXPLAIN_VERDICTS,    /* every verdict, newest last */
    EXPLAIN_RESOLUTIONS, /* persons' decisions */
    EXPLAIN_RUNS,        /* the passes that the latest verdict rests on */
    EXPLAIN_QUARANTINE,  /* records that could not be understood and may lie in the window */
};

/* How many sales are enough for a person. */
enum { EXPLAIN_SALES = 100 };

/* Loads what concerns the order, of its sales the likeliest `max_sales`, as of one instant: a read
 * transaction stays open until explain_close(). 1: found, 0: no such order (`ret` is untouched),
 * negative errno. */
int explain_open(struct db *ledger, const char *order_id, const struct match_settings *settings,
                 size_t max_sales, struct explain **ret, struct error *err);
/* NULL is accepted and returned. */
struct explain *explain_close(struct explain *explain);

int explain_rows(struct explain *explain, enum explain_section section,
                 const struct report_sink *sink, struct error *err);

/* 1 when the ledger has this transaction, 0 when not, negative errno. */
int explain_has_transaction(struct db *ledger, const char *transaction_id, struct error *err);
