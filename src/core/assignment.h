/* Bipartite graphs: what every maximum matching has in common.
 *
 * All of it is linear in the edges once a maximum matching is known, and nothing here recurses, so
 * a chain of any length is only as deep as memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

/* The edges of left vertex v are numbered first[v] .. first[v + 1] - 1, the best liked first;
 * edge e ends at right vertex right[e]. No two edges join the same two vertices. */
struct bigraph {
    size_t n_left, n_right;
    const size_t *first; /* n_left + 1 of them */
    const size_t *right;
};

struct assignment_component {
    size_t n_left, n_right;
};

/* Edges are *admissible* when some maximum matching has them. A component is a set of vertices
 * that admissible edges connect: maximum matchings choose within each without regard to others. */
struct assignment {
    size_t size;       /* edges of a maximum matching */
    bool *certain;     /* a left vertex: every maximum matching covers it */
    bool *admissible;  /* an edge: some maximum matching has it */
    size_t *component; /* a left vertex: the number of its component */
    size_t *chosen;    /* a certain left vertex: its edge in the first of all maximum matchings
                        * (the left vertices choose in turn what they like best); else SIZE_MAX */
    struct assignment_component *components;
    size_t n_components; /* those with a left vertex, numbered in the order of their first one */
};

/* Fills `ret`, to be released with assignment_clear(). 0 or -ENOMEM.
 * A maximum matching takes O(edges * sqrt(vertices)), its decomposition O(edges + vertices), and
 * the choice at worst O(edges²) within a component, in practice a step for each edge. */
int assignment_solve(const struct bigraph *graph, struct assignment *ret);
void assignment_clear(struct assignment *assignment);
