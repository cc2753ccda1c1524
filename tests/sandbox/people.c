#include "people.h"

#include <stdio.h>

#include "base/cleanup.h"

/* Names that have broken programs: combining marks, right-to-left scripts, characters outside the
 * Basic Multilingual Plane, an apostrophe, a single letter. */
static const char *const first_names[] = {
    "Jane",      "Ama",        "Zoë",         "Jose\u0301", "Łukasz",        "محمد",
    "שרה",       "李",         "नमिता",       "Nguyễn",     "Søren",         "Ирина",
    "Γιώργος",   "\U0001F984", "Ana\u0308is", "さくら",     "D\u2019Angelo", "O",
    "Mary-Kate", "Ibrahim",    "지우",        "Chidi",      "\U0001D4D0da",  "Björk",
    "Tom",
};
static const char *const last_names[] = {
    "Smith",        "O'Neil", "Müller", "García Márquez", "Иванова",
    "الفارسي",      "כהן",    "王",     "शर्मा",           "Þórsdóttir",
    "van der Berg", "Okafor", "Nowak",  "Παπαδόπουλος",   "김",
    "田中",         "Doe",    "d'Arc",  "Ñuñez",          "\U0001F33B Sunflower",
};
static const struct {
    const char *city, *state, *zip, *country;
} towns[] = {
    {"San Francisco", "CA", "94102", "US"}, {"Austin", "TX", "73301", "US"},
    {"New York", "NY", "10001", "US"},      {"Boise", "ID", "83702", "US"},
    {"Québec", "QC", "G1R 4P5", "CA"},      {"München", "BY", "80331", "DE"},
    {"東京", "13", "100-0001", "JP"},       {"المنامة", "", "317", "BH"},
};
static const struct {
    const char *brand;
    unsigned bin_from, bin_to;
} brands[] = {
    {"Visa", 400000, 499999},       {"Visa", 400000, 499999}, {"Mastercard", 510000, 559999},
    {"Mastercard", 222100, 272099}, {"Amex", 370000, 379999}, {"Discover", 601100, 601199},
};

void customer_make(struct rng *rng, unsigned number, struct customer *ret)
{
    unsigned town = rng_below(rng, ELEMENTSOF(towns));
    unsigned brand = rng_below(rng, ELEMENTSOF(brands));

    ret->first = first_names[rng_below(rng, ELEMENTSOF(first_names))];
    ret->last = last_names[rng_below(rng, ELEMENTSOF(last_names))];
    snprintf(ret->email, sizeof(ret->email), "customer.%u@%s", number,
             number % 7 == 3 ? "b\u00fccher.example" : "example.com");
    snprintf(ret->phone, sizeof(ret->phone), "+1555%07u", rng_below(rng, 10000000));
    snprintf(ret->address, sizeof(ret->address), "%u Main St", 1 + rng_below(rng, 9999));
    ret->city = towns[town].city;
    ret->state = towns[town].state;
    ret->zip = towns[town].zip;
    ret->country = towns[town].country;
    /* 198.51.100.0/24 and its like are for documentation (RFC 5737). */
    snprintf(ret->ip, sizeof(ret->ip), "198.51.100.%u", rng_below(rng, 256));
    ret->brand = brands[brand].brand;
    snprintf(ret->bin, sizeof(ret->bin), "%06u",
             (unsigned)rng_between(rng, brands[brand].bin_from, brands[brand].bin_to));
    snprintf(ret->last_four, sizeof(ret->last_four), "%04u", rng_below(rng, 10000));
    snprintf(ret->exp_month, sizeof(ret->exp_month), "%02u", 1 + rng_below(rng, 12));
    snprintf(ret->exp_year, sizeof(ret->exp_year), "%u", 2027 + rng_below(rng, 8));
}
