/* A record of listTransactions as the program understands it, and a page of them. Plain values:
 * no member owns memory, except where said. Texts are NUL-terminated UTF-8; an empty text means
 * that the record does not say. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/email_hash.h"
#include "core/money.h"

enum {
    ID_SIZE = 513, /* 128 characters of at most 4 bytes */
    TYPE_SIZE = 65,
    STATUS_SIZE = 65,
    BRAND_SIZE = 33,
    BIN_SIZE = 9,
    LAST_FOUR_SIZE = 5,
    EMAIL_SIZE = 321, /* RFC 3696 erratum 1690: 64 + 1 + 255 */
};

/* What a type means for matching. Types are those of the SDK page ("TransactionType"); one that is
 * new to us is TRANSACTION_OTHER: stored, and no sale. */
enum transaction_kind {
    TRANSACTION_SALE,     /* CreditCardSale */
    TRANSACTION_VOID,     /* CreditCardVoid */
    TRANSACTION_REVERSAL, /* CreditCardReversal */
    TRANSACTION_RETURN,   /* CreditCardReturn */
    TRANSACTION_OTHER,
};

enum transaction_kind transaction_kind_of(const char *type);

/* What identifies a card and its holder, on a record and on an order's attempt alike. */
struct card {
    char last_four[LAST_FOUR_SIZE]; /* 4 digits */
    char brand[BRAND_SIZE];
    char bin[BIN_SIZE]; /* 6 to 8 digits */
    char email_hash[EMAIL_HASH_SIZE];
};

struct transaction {
    char id[ID_SIZE];
    char type[TYPE_SIZE];
    struct money amount;
    struct money net;      /* amount less surcharge, tip and tax */
    int64_t transacted_at; /* transDate, else createdAt */
    int64_t created_at;    /* createdAt, else transDate: what the date range filters by */
    struct card card;
    char order_ref[ID_SIZE]; /* one that is longer than any order id is cut and ends in U+2026 */
    char original_id[ID_SIZE];
    char status[STATUS_SIZE];             /* `status` */
    char transaction_status[STATUS_SIZE]; /* `transactionStatus` */
    char *raw; /* the record's JSON, owned by the page; NULL unless asked for */
};

/* A record that could not be understood. */
struct bad_record {
    char id[ID_SIZE]; /* empty if it has none */
    bool has_time;
    int64_t created_at;    /* what the date range filters by, if has_time */
    int64_t transacted_at; /* its own time, likewise; created_at when that is not understood */
    char reason[256];      /* which member and what is wrong with it; no personal data */
    char digest[33];       /* of the record's JSON, to know it again */
    char *raw;             /* as above */
};

/* One answer of listTransactions. */
struct page {
    struct transaction *records;
    size_t n_records;
    struct bad_record *bad;
    size_t n_bad;
    bool has_next;
    int64_t number;      /* `page` or `currentPage`; -1 when the answer does not say */
    int64_t total;       /* `total`, `totalCount` or `totalRecords`; -1 likewise */
    int64_t total_pages; /* -1 likewise */
};

/* Frees the page and what it owns; NULL is accepted and returned. */
struct page *page_free(struct page *page);

/* True unless `status` or `transaction_status` is, in any case, one of the NULL-terminated list
 * `unsettled`. */
bool transaction_settled(const struct transaction *transaction, const char *const *unsettled);
