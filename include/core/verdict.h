/* The verdicts and rules of the product, with the names under which they are stored. The names and
 * the order of the enums are pinned: they are in ledgers. */
#pragma once

#include <stdbool.h>

enum verdict {
    VERDICT_PENDING,        /* nothing can be said yet */
    VERDICT_CHARGED,        /* it has a sale */
    VERDICT_DOUBLE_CHARGED, /* it has two or more */
    VERDICT_REVERSED,       /* its sale was voided, reversed or returned in full */
    VERDICT_NOT_CHARGED,    /* proof of absence */
    VERDICT_NEEDS_REVIEW,   /* a person has to look */
    VERDICT_COUNT
};

enum rule {
    RULE_NONE,
    RULE_CLAIM,     /* the app reported the sale for this order */
    RULE_REFERENCE, /* the record carries the order's id */
    RULE_IDENTITY,  /* card or e-mail compared equal */
    RULE_AMOUNT,    /* amount, currency and time alone */
    RULE_ABSENCE,   /* no sale, and the ledger is complete */
    RULE_PERSON,    /* somebody decided */
    RULE_COUNT
};

/* "charged"; "" for RULE_NONE. */
const char *verdict_name(enum verdict verdict);
const char *rule_name(enum rule rule);

/* -EINVAL for a text that is not a name. */
int verdict_from_name(const char *name, enum verdict *ret);
int rule_from_name(const char *name, enum rule *ret);

/* Whether the order may be charged again without charging twice. */
bool verdict_safe_to_retry(enum verdict verdict);

/* Whether leaving `from` for `to` takes back a leave to charge again: the app may have acted on
 * it, so it is an operator's emergency. */
bool verdict_revision_is_critical(enum verdict from, enum verdict to);
