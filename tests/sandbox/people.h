/* Invented customers with names from everywhere and one card each. */
#pragma once

#include "rng.h"

struct customer {
    const char *first, *last;
    char email[64];
    char phone[24];
    char address[48];
    const char *city, *state, *zip, *country;
    char ip[16];
    const char *brand;
    char bin[7];
    char last_four[5];
    char exp_month[3], exp_year[5];
};

/* `number` is in the e-mail address, so no two customers share one. */
void customer_make(struct rng *rng, unsigned number, struct customer *ret);
