#include "core/assignment.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define NONE SIZE_MAX

struct solver {
    const struct bigraph *graph;
    size_t *edge_of; /* left vertex -> its edge in the matching, or NONE */
    size_t *left_of; /* right vertex -> its left vertex in the matching, or NONE */
    size_t size;
};

static size_t *new_array(size_t n, size_t value)
{
    size_t *array = reallocarray(NULL, n + 1, sizeof(*array));

    if (array)
        for (size_t i = 0; i <= n; i++)
            array[i] = value;
    return array;
}

static void join(struct solver *solver, size_t left, size_t edge)
{
    solver->edge_of[left] = edge;
    solver->left_of[solver->graph->right[edge]] = left;
}

/* --- a maximum matching ------------------------------------------------------------------------
 * J. E. Hopcroft, R. M. Karp, "An n^(5/2) algorithm for maximum matchings in bipartite graphs",
 * 1973. It starts from greed, which is nearly always right here. */

static void match_greedily(struct solver *solver)
{
    const struct bigraph *graph = solver->graph;

    for (size_t v = 0; v < graph->n_left; v++)
        for (size_t e = graph->first[v]; e < graph->first[v + 1]; e++)
            if (solver->left_of[graph->right[e]] == NONE) {
                join(solver, v, e);
                solver->size++;
                break;
            }
}

/* Numbers the left vertices by their distance from the exposed ones. How many of them the shortest
 * path to an exposed right vertex has; NONE when there is no such path: the matching is maximum. */
static size_t find_levels(const struct solver *solver, size_t *level, size_t *queue)
{
    const struct bigraph *graph = solver->graph;
    size_t head = 0, tail = 0, end = NONE;

    for (size_t v = 0; v < graph->n_left; v++) {
        level[v] = NONE;
        if (solver->edge_of[v] == NONE) {
            level[v] = 0;
            queue[tail++] = v;
        }
    }
    while (head < tail && level[queue[head]] < end) {
        size_t v = queue[head++];

        for (size_t e = graph->first[v]; e < graph->first[v + 1]; e++) {
            size_t next = solver->left_of[graph->right[e]];

            if (next == NONE) {
                end = level[v] + 1;
            } else if (level[next] == NONE) {
                level[next] = level[v] + 1;
                queue[tail++] = next;
            }
        }
    }
    return end;
}

/* Looks for an exposed right vertex from `root`, a level deeper at each step, `longest` left
 * vertices at most. Those that led nowhere, and those of the path found, lose their level and are
 * not tried again. */
static bool augment(struct solver *solver, size_t root, size_t longest, size_t *level,
                    size_t *cursor, size_t *stack)
{
    const struct bigraph *graph = solver->graph;
    size_t depth = 1;

    stack[0] = root;
    while (depth > 0) {
        size_t v = stack[depth - 1], next;

        if (cursor[v] == graph->first[v + 1]) {
            level[v] = NONE;
            depth--;
            if (depth > 0)
                cursor[stack[depth - 1]]++;
            continue;
        }
        next = solver->left_of[graph->right[cursor[v]]];
        if (next == NONE) {
            while (depth > 0) {
                v = stack[--depth];
                join(solver, v, cursor[v]);
                level[v] = NONE;
            }
            return true;
        }
        if (depth < longest && level[next] == level[v] + 1)
            stack[depth++] = next;
        else
            cursor[v]++;
    }
    return false;
}

static int match_at_most(struct solver *solver)
{
    const struct bigraph *graph = solver->graph;
    _cleanup_free_ size_t *level = new_array(graph->n_left, NONE);
    _cleanup_free_ size_t *cursor = new_array(graph->n_left, 0);
    _cleanup_free_ size_t *work = new_array(graph->n_left, 0);
    size_t longest;

    if (!level || !cursor || !work)
        return -ENOMEM;
    match_greedily(solver);
    while ((longest = find_levels(solver, level, work)) != NONE) {
        memcpy(cursor, graph->first, graph->n_left * sizeof(*cursor));
        for (size_t v = 0; v < graph->n_left; v++)
            if (solver->edge_of[v] == NONE && augment(solver, v, longest, level, cursor, work))
                solver->size++;
    }
    return 0;
}

/* --- what all maximum matchings have in common -------------------------------------------------
 * C. Berge, "Two theorems in graph theory", 1957: two maximum matchings differ by alternating
 * paths that begin at an exposed vertex and have an even number of edges, and by alternating
 * cycles. So a left vertex is left out by some maximum matching if and only if such a path joins
 * it to an exposed left vertex, and an edge outside of the matching is in another one if and only
 * if it lies on such a path or cycle. */

static int reach_from_left(const struct solver *solver, bool *reached)
{
    const struct bigraph *graph = solver->graph;
    _cleanup_free_ size_t *queue = new_array(graph->n_left, 0);
    size_t head = 0, tail = 0;

    if (!queue)
        return -ENOMEM;
    for (size_t v = 0; v < graph->n_left; v++)
        if (solver->edge_of[v] == NONE) {
            reached[v] = true;
            queue[tail++] = v;
        }
    while (head < tail) {
        size_t v = queue[head++];

        for (size_t e = graph->first[v]; e < graph->first[v + 1]; e++) {
            /* It is not NONE, else the matching could be augmented. */
            size_t next = solver->left_of[graph->right[e]];

            if (!reached[next]) {
                reached[next] = true;
                queue[tail++] = next;
            }
        }
    }
    return 0;
}

static int reach_from_right(const struct solver *solver, bool *reached)
{
    const struct bigraph *graph = solver->graph;
    size_t n_edges = graph->first[graph->n_left];
    _cleanup_free_ size_t *first = new_array(graph->n_right + 1, 0);
    _cleanup_free_ size_t *left = new_array(n_edges, 0);
    _cleanup_free_ size_t *queue = new_array(graph->n_right, 0);
    size_t head = 0, tail = 0;

    if (!first || !left || !queue)
        return -ENOMEM;
    /* The same edges, by their right vertex: count, add up, fill in from each end backwards. */
    for (size_t e = 0; e < n_edges; e++)
        first[graph->right[e]]++;
    for (size_t t = 1; t <= graph->n_right; t++)
        first[t] += first[t - 1];
    for (size_t v = 0; v < graph->n_left; v++)
        for (size_t e = graph->first[v]; e < graph->first[v + 1]; e++)
            left[--first[graph->right[e]]] = v;

    for (size_t t = 0; t < graph->n_right; t++)
        if (solver->left_of[t] == NONE) {
            reached[t] = true;
            queue[tail++] = t;
        }
    while (head < tail) {
        size_t t = queue[head++];

        for (size_t i = first[t]; i < first[t + 1]; i++) {
            size_t next = graph->right[solver->edge_of[left[i]]];

            if (!reached[next]) {
                reached[next] = true;
                queue[tail++] = next;
            }
        }
    }
    return 0;
}

/* Where an alternating cycle may run: an arc leads from a left vertex over an edge outside of the
 * matching, and back over the matching. R. E. Tarjan, "Depth-first search and linear graph
 * algorithms", 1972, with the stack of calls kept by hand. */
static int find_cycles(const struct solver *solver, size_t *ret_number)
{
    const struct bigraph *graph = solver->graph;
    _cleanup_free_ size_t *found = new_array(graph->n_left, NONE);
    _cleanup_free_ size_t *low = new_array(graph->n_left, 0);
    _cleanup_free_ size_t *cursor = new_array(graph->n_left, 0);
    _cleanup_free_ size_t *calls = new_array(graph->n_left, 0);
    _cleanup_free_ size_t *open = new_array(graph->n_left, 0);
    size_t n_found = 0, n_calls = 0, n_open = 0, n_numbers = 0;

    if (!found || !low || !cursor || !calls || !open)
        return -ENOMEM;
    for (size_t root = 0; root < graph->n_left; root++) {
        if (found[root] != NONE)
            continue;
        calls[n_calls++] = root;
        while (n_calls > 0) {
            size_t v = calls[n_calls - 1], next;

            if (found[v] == NONE) {
                found[v] = low[v] = n_found++;
                cursor[v] = graph->first[v];
                open[n_open++] = v;
            }
            if (cursor[v] < graph->first[v + 1]) {
                next = solver->left_of[graph->right[cursor[v]++]];
                if (next == NONE)
                    continue;
                if (found[next] == NONE)
                    calls[n_calls++] = next;
                else if (ret_number[next] == NONE && found[next] < low[v])
                    low[v] = found[next];
                continue;
            }
            n_calls--;
            if (n_calls > 0 && low[v] < low[calls[n_calls - 1]])
                low[calls[n_calls - 1]] = low[v];
            if (low[v] == found[v]) {
                do {
                    next = open[--n_open];
                    ret_number[next] = n_numbers;
                } while (next != v);
                n_numbers++;
            }
        }
    }
    return 0;
}

static int decompose(const struct solver *solver, struct assignment *assignment)
{
    const struct bigraph *graph = solver->graph;
    _cleanup_free_ bool *left_reached = calloc(graph->n_left + 1, sizeof(bool));
    _cleanup_free_ bool *right_reached = calloc(graph->n_right + 1, sizeof(bool));
    _cleanup_free_ size_t *cycle = new_array(graph->n_left, NONE);
    int r;

    if (!left_reached || !right_reached || !cycle)
        return -ENOMEM;
    r = reach_from_left(solver, left_reached);
    if (r < 0)
        return r;
    r = reach_from_right(solver, right_reached);
    if (r < 0)
        return r;
    r = find_cycles(solver, cycle);
    if (r < 0)
        return r;
    for (size_t v = 0; v < graph->n_left; v++) {
        assignment->certain[v] = !left_reached[v];
        for (size_t e = graph->first[v]; e < graph->first[v + 1]; e++) {
            size_t other = solver->left_of[graph->right[e]];

            assignment->admissible[e] =
                left_reached[v] || right_reached[graph->right[e]] || cycle[v] == cycle[other];
        }
    }
    return 0;
}

/* --- components --------------------------------------------------------------------------------*/

static size_t find_root(size_t *parent, size_t i)
{
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

static int find_components(const struct bigraph *graph, struct assignment *assignment)
{
    size_t n = graph->n_left + graph->n_right;
    _cleanup_free_ size_t *parent = new_array(n, 0);
    _cleanup_free_ size_t *number = new_array(n, NONE);

    if (!parent || !number)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        parent[i] = i;
    for (size_t v = 0; v < graph->n_left; v++)
        for (size_t e = graph->first[v]; e < graph->first[v + 1]; e++)
            if (assignment->admissible[e])
                parent[find_root(parent, graph->n_left + graph->right[e])] = find_root(parent, v);
    for (size_t v = 0; v < graph->n_left; v++) {
        size_t *root = &number[find_root(parent, v)];

        if (*root == NONE)
            *root = assignment->n_components++;
        assignment->component[v] = *root;
        assignment->components[*root].n_left++;
    }
    for (size_t t = 0; t < graph->n_right; t++) {
        size_t root = number[find_root(parent, graph->n_left + t)];

        if (root != NONE)
            assignment->components[root].n_right++;
    }
    return 0;
}

/* --- the choice --------------------------------------------------------------------------------*/

struct chooser {
    struct solver *solver;
    const bool *admissible;
    bool *fixed;  /* a right vertex: taken for good */
    size_t *seen; /* a right vertex: number of the search that last saw it */
    size_t *from; /* and the left vertex and the edge by which it came there */
    size_t *via;
    size_t *queue;
    size_t search;
};

/* Lets left vertex `start` give up the right vertex `wanted` for another, and the next one
 * likewise, until one is exposed or is `offered`. False, and no change, when that cannot be. */
static bool move_over(struct chooser *chooser, size_t start, size_t wanted, size_t offered)
{
    struct solver *solver = chooser->solver;
    const struct bigraph *graph = solver->graph;
    size_t head = 0, tail = 0;

    chooser->search++;
    chooser->seen[wanted] = chooser->search;
    chooser->queue[tail++] = start;
    while (head < tail) {
        size_t v = chooser->queue[head++];

        for (size_t e = graph->first[v]; e < graph->first[v + 1]; e++) {
            size_t t = graph->right[e];

            if (!chooser->admissible[e] || chooser->fixed[t] || chooser->seen[t] == chooser->search)
                continue;
            chooser->seen[t] = chooser->search;
            chooser->from[t] = v;
            chooser->via[t] = e;
            if (t != offered && solver->left_of[t] != NONE) {
                chooser->queue[tail++] = solver->left_of[t];
                continue;
            }
            if (t != offered)
                solver->left_of[offered] = NONE;
            for (;;) {
                size_t before = graph->right[solver->edge_of[v]];

                join(solver, v, chooser->via[t]);
                if (v == start)
                    return true;
                t = before;
                v = chooser->from[t];
            }
        }
    }
    return false;
}

/* Gives left vertex v the right end of edge e, if a maximum matching then remains. */
static bool take(struct chooser *chooser, size_t v, size_t e)
{
    struct solver *solver = chooser->solver;
    size_t wanted = solver->graph->right[e];
    size_t own = solver->graph->right[solver->edge_of[v]];

    if (wanted == own)
        return true;
    if (solver->left_of[wanted] == NONE)
        solver->left_of[own] = NONE;
    else if (!move_over(chooser, solver->left_of[wanted], wanted, own))
        return false;
    join(solver, v, e);
    return true;
}

static int choose(struct solver *solver, struct assignment *assignment)
{
    const struct bigraph *graph = solver->graph;
    _cleanup_free_ bool *fixed = calloc(graph->n_right + 1, sizeof(bool));
    _cleanup_free_ size_t *seen = new_array(graph->n_right, 0);
    _cleanup_free_ size_t *from = new_array(graph->n_right, NONE);
    _cleanup_free_ size_t *via = new_array(graph->n_right, NONE);
    _cleanup_free_ size_t *queue = new_array(graph->n_left, 0);
    struct chooser chooser = {.solver = solver,
                              .admissible = assignment->admissible,
                              .fixed = fixed,
                              .seen = seen,
                              .from = from,
                              .via = via,
                              .queue = queue};

    if (!fixed || !seen || !from || !via || !queue)
        return -ENOMEM;
    for (size_t v = 0; v < graph->n_left; v++) {
        if (!assignment->certain[v])
            continue;
        for (size_t e = graph->first[v]; e < graph->first[v + 1]; e++) {
            if (!assignment->admissible[e] || fixed[graph->right[e]] || !take(&chooser, v, e))
                continue;
            assignment->chosen[v] = e;
            fixed[graph->right[e]] = true;
            break;
        }
    }
    return 0;
}

void assignment_clear(struct assignment *assignment)
{
    free(assignment->certain);
    free(assignment->admissible);
    free(assignment->component);
    free(assignment->chosen);
    free(assignment->components);
    *assignment = (struct assignment){0};
}

int assignment_solve(const struct bigraph *graph, struct assignment *ret)
{
    _cleanup_(assignment_clear) struct assignment result = {0};
    _cleanup_free_ size_t *edge_of = new_array(graph->n_left, NONE);
    _cleanup_free_ size_t *left_of = new_array(graph->n_right, NONE);
    struct solver solver = {.graph = graph, .edge_of = edge_of, .left_of = left_of};
    int r;

    result.certain = calloc(graph->n_left + 1, sizeof(bool));
    result.admissible = calloc(graph->first[graph->n_left] + 1, sizeof(bool));
    result.component = new_array(graph->n_left, NONE);
    result.chosen = new_array(graph->n_left, NONE);
    result.components = calloc(graph->n_left + 1, sizeof(*result.components));
    if (!edge_of || !left_of || !result.certain || !result.admissible || !result.component ||
        !result.chosen || !result.components)
        return -ENOMEM;
    r = match_at_most(&solver);
    if (r < 0)
        return r;
    result.size = solver.size;
    r = decompose(&solver, &result);
    if (r < 0)
        return r;
    r = find_components(graph, &result);
    if (r < 0)
        return r;
    r = choose(&solver, &result);
    if (r < 0)
        return r;
    *ret = result;
    result = (struct assignment){0};
    return 0;
}
