/* Random numbers that depend on the seed alone (splitmix64: S. Vigna, prng.di.unimi.it). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *rng);

/* 0 .. n - 1 */
unsigned rng_below(struct rng *rng, unsigned n);

/* from .. to, both included */
int64_t rng_between(struct rng *rng, int64_t from, int64_t to);

/* True so many times in a thousand. */
bool rng_chance(struct rng *rng, unsigned per_mille);
