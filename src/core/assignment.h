/* Bipartite graphs: what every maximum matching has in common.
 *
 * A left vertex may have any right vertex of its *runs*, stretches of lists that left vertices
 * share. So thousands that may all have the same thousands are a small graph, though every one of
 * them were asked for: all of it is near-linear in the left vertices, their runs and the length of
 * the lists. Nothing recurses deeper than the logarithm of that length, so a chain of any length is
 * only as deep as memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

/* lists[begin] .. lists[end - 1]; not empty. */
struct run {
    size_t begin, end;
};

/* Left vertex v may have what runs[first[v]] .. runs[first[v + 1] - 1] hold; it likes best what
 * stands first in the first. A left vertex has no right vertex twice. */
struct bigraph {
    size_t n_left, n_right;
    const size_t *first; /* n_left + 1 of them */
    const struct run *runs;
    const size_t *lists; /* of right vertices, one after the other */
    size_t n_lists;      /* the length of all together */
};

struct assignment_component {
    size_t n_left, n_right;
};

/* Vertices fall into groups that decide what is possible. An edge is *admissible*, that is, some
 * maximum matching has it, if and only if its left vertex is of GROUP_ANY or both its ends are of
 * one group. A left vertex is left out by some maximum matching if and only if it is of
 * GROUP_ANY. */
enum { GROUP_ANY, GROUP_OPEN, GROUP_FIRST };

/* A component is a set of vertices that admissible edges connect: maximum matchings choose within
 * each without regard to others. */
struct assignment {
    size_t size;         /* edges of a maximum matching */
    size_t *left_group;  /* of a left vertex */
    size_t *right_group; /* of a right vertex; never GROUP_ANY */
    size_t *component;   /* a left vertex: the number of its component */
    size_t *chosen;      /* a left vertex that all maximum matchings cover: its right vertex in the
                          * first of them (the left vertices choose in turn what they like best);
                          * else SIZE_MAX */
    struct assignment_component *components;
    size_t n_components; /* those with a left vertex, numbered in the order of their first one */
};

/* Whether every maximum matching covers this left vertex; whether some one has this edge. */
static inline bool assignment_certain(const struct assignment *a, size_t left)
{
    return a->left_group[left] != GROUP_ANY;
}

static inline bool assignment_admits(const struct assignment *a, size_t left, size_t right)
{
    return a->left_group[left] == GROUP_ANY || a->left_group[left] == a->right_group[right];
}

/* Fills `ret`, to be released with assignment_clear(). 0 or -ENOMEM.
 * With n the left vertices, runs and length of the lists together, a maximum matching takes at
 * worst O(n log n sqrt(n)) and in practice a few rounds of O(n log n), what it has in common with
 * others O(n log n), and the choice in practice O(n log n); at worst, when each left vertex has to
 * be asked to move for each other, O(n²) within a component. */
int assignment_solve(const struct bigraph *bigraph, struct assignment *ret);
void assignment_clear(struct assignment *assignment);
