#include "core/assignment.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/array.h"

#define NONE SIZE_MAX

static size_t *new_array(size_t n, size_t value)
{
    size_t *array = reallocarray(NULL, n + 1, sizeof(*array));

    if (array)
        for (size_t i = 0; i <= n; i++)
            array[i] = value;
    return array;
}

/* --- the graph with hubs ------------------------------------------------------------------------
 * A run becomes edges to a few *hubs*, which stand for the stretches that halving the lists again
 * and again gives: a segment tree, of which only what some run needs is made. Left vertices and
 * hubs are the *nodes* 0, 1, ...; an edge leads from a node to a *target*: a right vertex, or, from
 * n_right on, a node. */

struct graph {
    size_t n_left, n_right, n_nodes;
    size_t *first; /* node -> its first edge; n_nodes + 1 of them */
    size_t *target;
    size_t n_edges;
};

struct hub {
    size_t low, high; /* lists[low] .. lists[high - 1] */
    size_t place;     /* in the tree */
};

struct builder {
    const struct bigraph *bigraph;
    struct graph *graph;
    struct hub *hubs;
    size_t n_hubs;
    size_t *hub_at; /* place in the tree -> hub, or NONE */
};

static void graph_clear(struct graph *graph)
{
    free(graph->first);
    free(graph->target);
}

static void builder_clear(struct builder *builder)
{
    free(builder->hubs);
    free(builder->hub_at);
}

static bool is_right(const struct graph *graph, size_t target)
{
    return target < graph->n_right;
}

static size_t node_of(const struct graph *graph, size_t target)
{
    return target - graph->n_right;
}

static int add_edge(struct graph *graph, size_t target)
{
    if (ARRAY_GROW(graph->target, graph->n_edges) < 0)
        return -ENOMEM;
    graph->target[graph->n_edges++] = target;
    return 0;
}

/* An edge to all of `hub`, which need not have been made before. */
static int add_hub(struct builder *b, struct hub hub)
{
    size_t *made = &b->hub_at[hub.place];

    if (hub.high - hub.low == 1)
        return add_edge(b->graph, b->bigraph->lists[hub.low]);
    if (*made == NONE) {
        *made = b->n_hubs;
        b->hubs[b->n_hubs++] = hub;
    }
    return add_edge(b->graph, b->graph->n_right + b->graph->n_left + *made);
}

/* In memory the lower half's tree follows its parent, and the upper half's follows that. */
static struct hub lower_half(struct hub hub)
{
    return (struct hub){hub.low, hub.low + (hub.high - hub.low) / 2, hub.place + 1};
}

static struct hub upper_half(struct hub hub)
{
    size_t middle = lower_half(hub).high;

    return (struct hub){middle, hub.high, hub.place + 2 * (middle - hub.low)};
}

static int add_run(struct builder *b, struct run run, struct hub hub)
{
    int r = 0;

    if (run.begin <= hub.low && hub.high <= run.end)
        return add_hub(b, hub);
    if (run.begin < upper_half(hub).low)
        r = add_run(b, run, lower_half(hub));
    if (r == 0 && run.end > upper_half(hub).low)
        r = add_run(b, run, upper_half(hub));
    return r;
}

static int build_graph(const struct bigraph *bigraph, struct graph *graph)
{
    const struct hub all = {0, bigraph->n_lists, 0};
    _cleanup_(builder_clear) struct builder b = {.bigraph = bigraph, .graph = graph};
    int r = 0;

    *graph = (struct graph){.n_left = bigraph->n_left, .n_right = bigraph->n_right};
    /* The inner places of the tree are one less than the length of the lists. */
    graph->first = new_array(bigraph->n_left + bigraph->n_lists, 0);
    b.hubs = calloc(bigraph->n_lists + 1, sizeof(*b.hubs));
    b.hub_at = new_array(2 * bigraph->n_lists, NONE);
    if (!graph->first || !b.hubs || !b.hub_at)
        return -ENOMEM;
    for (size_t v = 0; v < bigraph->n_left; v++) {
        graph->first[v] = graph->n_edges;
        for (size_t i = bigraph->first[v]; i < bigraph->first[v + 1] && r == 0; i++)
            r = add_run(&b, bigraph->runs[i], all);
    }
    for (size_t i = 0; i < b.n_hubs && r == 0; i++) {
        graph->first[graph->n_left + i] = graph->n_edges;
        r = add_hub(&b, lower_half(b.hubs[i]));
        if (r == 0)
            r = add_hub(&b, upper_half(b.hubs[i]));
    }
    graph->n_nodes = graph->n_left + b.n_hubs;
    graph->first[graph->n_nodes] = graph->n_edges;
    return r;
}

/* --- a maximum matching ------------------------------------------------------------------------
 * J. E. Hopcroft, R. M. Karp, "An n^(5/2) algorithm for maximum matchings in bipartite graphs",
 * 1973. The first round is greed, which is nearly always right here. Hubs do not count as steps. */

struct solver {
    struct graph graph;
    size_t *right_of; /* left vertex -> its right vertex in the matching, or NONE */
    size_t *left_of;  /* right vertex -> its left vertex in the matching, or NONE */
    size_t size;
};

static void solver_clear(struct solver *solver)
{
    graph_clear(&solver->graph);
    free(solver->right_of);
    free(solver->left_of);
}

static void join(struct solver *solver, size_t left, size_t right)
{
    solver->right_of[left] = right;
    solver->left_of[right] = left;
}

/* Numbers the left vertices by their distance from the exposed ones, and hubs like the nearest left
 * vertex that leads to them. How many left vertices the shortest path to an exposed right vertex
 * has; NONE when there is no such path: the matching is maximum. */
static size_t find_levels(const struct solver *solver, size_t *level, size_t *queue, size_t *stack)
{
    const struct graph *graph = &solver->graph;
    size_t head = 0, tail = 0, end = NONE;

    for (size_t x = 0; x < graph->n_nodes; x++)
        level[x] = NONE;
    for (size_t v = 0; v < graph->n_left; v++)
        if (solver->right_of[v] == NONE) {
            level[v] = 0;
            queue[tail++] = v;
        }
    while (head < tail && level[queue[head]] < end) {
        size_t depth = 0, here = level[queue[head]];

        stack[depth++] = queue[head++];
        while (depth > 0) {
            size_t x = stack[--depth];

            for (size_t e = graph->first[x]; e < graph->first[x + 1]; e++) {
                size_t target = graph->target[e], next;

                if (!is_right(graph, target)) {
                    next = node_of(graph, target);
                    if (level[next] == NONE) {
                        level[next] = here;
                        stack[depth++] = next;
                    }
                    continue;
                }
                next = solver->left_of[target];
                if (next == NONE) {
                    end = here + 1;
                } else if (level[next] == NONE) {
                    level[next] = here + 1;
                    queue[tail++] = next;
                }
            }
        }
    }
    return end;
}

/* Looks for an exposed right vertex from `root`, a level deeper at each step, `longest` left
 * vertices at most. Nodes that led nowhere, and left vertices of the path found, lose their level
 * and are not tried again; a hub may lead to what is left of it. */
static bool augment(struct solver *solver, size_t root, size_t longest, size_t *level,
                    size_t *cursor, size_t *stack)
{
    const struct graph *graph = &solver->graph;
    size_t depth = 1;

    stack[0] = root;
    while (depth > 0) {
        size_t x = stack[depth - 1], target, next, wanted = level[x];

        if (cursor[x] == graph->first[x + 1]) {
            level[x] = NONE;
            depth--;
            continue;
        }
        target = graph->target[cursor[x]];
        if (is_right(graph, target)) {
            next = solver->left_of[target];
            if (next == NONE)
                break;
            wanted++;
        } else {
            next = node_of(graph, target);
        }
        if (level[next] == wanted && wanted < longest)
            stack[depth++] = next;
        else
            cursor[x]++;
    }
    if (depth == 0)
        return false;
    for (size_t right = graph->target[cursor[stack[depth - 1]]]; depth > 0;) {
        size_t x = stack[--depth], before;

        if (x >= graph->n_left)
            continue;
        before = solver->right_of[x];
        join(solver, x, right);
        level[x] = NONE;
        right = before;
    }
    return true;
}

static int match_at_most(struct solver *solver)
{
    const struct graph *graph = &solver->graph;
    _cleanup_free_ size_t *level = new_array(graph->n_nodes, NONE);
    _cleanup_free_ size_t *cursor = new_array(graph->n_nodes, 0);
    _cleanup_free_ size_t *queue = new_array(graph->n_left, 0);
    _cleanup_free_ size_t *stack = new_array(graph->n_nodes, 0);
    size_t longest;

    if (!level || !cursor || !queue || !stack)
        return -ENOMEM;
    while ((longest = find_levels(solver, level, queue, stack)) != NONE) {
        memcpy(cursor, graph->first, graph->n_nodes * sizeof(*cursor));
        for (size_t v = 0; v < graph->n_left; v++)
            if (solver->right_of[v] == NONE && augment(solver, v, longest, level, cursor, stack))
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

/* The nodes that such paths from exposed left vertices lead to. */
static int reach_from_left(const struct solver *solver, bool *reached)
{
    const struct graph *graph = &solver->graph;
    _cleanup_free_ size_t *stack = new_array(graph->n_nodes, 0);
    size_t depth = 0;

    if (!stack)
        return -ENOMEM;
    for (size_t v = 0; v < graph->n_left; v++)
        if (solver->right_of[v] == NONE) {
            reached[v] = true;
            stack[depth++] = v;
        }
    while (depth > 0) {
        size_t x = stack[--depth];

        for (size_t e = graph->first[x]; e < graph->first[x + 1]; e++) {
            size_t target = graph->target[e];
            /* It is not NONE, else the matching could be augmented. */
            size_t next =
                is_right(graph, target) ? solver->left_of[target] : node_of(graph, target);

            if (!reached[next]) {
                reached[next] = true;
                stack[depth++] = next;
            }
        }
    }
    return 0;
}

/* The targets that such paths from exposed right vertices lead to: right vertices, and the hubs
 * that stand for some of them. */
static int reach_from_right(const struct solver *solver, bool *reached)
{
    const struct graph *graph = &solver->graph;
    size_t n_targets = graph->n_right + graph->n_nodes;
    _cleanup_free_ size_t *first = new_array(n_targets + 1, 0);
    _cleanup_free_ size_t *source = new_array(graph->n_edges, 0);
    _cleanup_free_ size_t *stack = new_array(n_targets, 0);
    size_t depth = 0;

    if (!first || !source || !stack)
        return -ENOMEM;
    /* The same edges by their target: count, add up, fill in from each end backwards. */
    for (size_t e = 0; e < graph->n_edges; e++)
        first[graph->target[e]]++;
    for (size_t t = 1; t <= n_targets; t++)
        first[t] += first[t - 1];
    for (size_t x = 0; x < graph->n_nodes; x++)
        for (size_t e = graph->first[x]; e < graph->first[x + 1]; e++)
            source[--first[graph->target[e]]] = x;

    for (size_t t = 0; t < graph->n_right; t++)
        if (solver->left_of[t] == NONE) {
            reached[t] = true;
            stack[depth++] = t;
        }
    while (depth > 0) {
        size_t t = stack[--depth];

        for (size_t i = first[t]; i < first[t + 1]; i++) {
            size_t x = source[i];
            size_t next = x < graph->n_left ? solver->right_of[x] : graph->n_right + x;

            if (!reached[next]) {
                reached[next] = true;
                stack[depth++] = next;
            }
        }
    }
    return 0;
}

/* Where an alternating cycle may run: an arc leads from a left vertex over an edge outside of the
 * matching, by way of hubs, and back over the matching. R. E. Tarjan, "Depth-first search and
 * linear graph algorithms", 1972, with the stack of calls kept by hand. */
static int find_cycles(const struct solver *solver, size_t *ret_number)
{
    const struct graph *graph = &solver->graph;
    _cleanup_free_ size_t *found = new_array(graph->n_nodes, NONE);
    _cleanup_free_ size_t *low = new_array(graph->n_nodes, 0);
    _cleanup_free_ size_t *cursor = new_array(graph->n_nodes, 0);
    _cleanup_free_ size_t *calls = new_array(graph->n_nodes, 0);
    _cleanup_free_ size_t *open = new_array(graph->n_nodes, 0);
    size_t n_found = 0, n_calls = 0, n_open = 0, n_numbers = 0;

    if (!found || !low || !cursor || !calls || !open)
        return -ENOMEM;
    for (size_t root = 0; root < graph->n_nodes; root++) {
        if (found[root] != NONE)
            continue;
        calls[n_calls++] = root;
        while (n_calls > 0) {
            size_t x = calls[n_calls - 1], next;

            if (found[x] == NONE) {
                found[x] = low[x] = n_found++;
                cursor[x] = graph->first[x];
                open[n_open++] = x;
            }
            if (cursor[x] < graph->first[x + 1]) {
                next = graph->target[cursor[x]++];
                next = is_right(graph, next) ? solver->left_of[next] : node_of(graph, next);
                if (next == NONE)
                    continue;
                if (found[next] == NONE)
                    calls[n_calls++] = next;
                else if (ret_number[next] == NONE && found[next] < low[x])
                    low[x] = found[next];
                continue;
            }
            n_calls--;
            if (n_calls > 0 && low[x] < low[calls[n_calls - 1]])
                low[calls[n_calls - 1]] = low[x];
            if (low[x] == found[x]) {
                do {
                    next = open[--n_open];
                    ret_number[next] = n_numbers;
                } while (next != x);
                n_numbers++;
            }
        }
    }
    return 0;
}

struct reach {
    bool *from_left;  /* of nodes */
    bool *from_right; /* of targets */
};

static void reach_clear(struct reach *reach)
{
    free(reach->from_left);
    free(reach->from_right);
}

/* An edge is admissible if its left end is reached from the left, its right end from the right, or
 * both are on one cycle. One number for each vertex says it all, for these do not mix: a left
 * vertex that may have a reached right vertex gives its own up for it, so its own is reached as
 * well, and so is all that leads there, such as the rest of a cycle; and likewise from the left. */
static int find_groups(const struct solver *solver, const struct reach *reach,
                       struct assignment *assignment)
{
    const struct graph *graph = &solver->graph;
    _cleanup_free_ size_t *cycle = new_array(graph->n_nodes, NONE);
    int r;

    if (!cycle)
        return -ENOMEM;
    r = find_cycles(solver, cycle);
    if (r < 0)
        return r;
    for (size_t t = 0; t < graph->n_right; t++)
        assignment->right_group[t] =
            reach->from_right[t] ? GROUP_OPEN : GROUP_FIRST + cycle[solver->left_of[t]];
    for (size_t v = 0; v < graph->n_left; v++)
        assignment->left_group[v] =
            reach->from_left[v] ? GROUP_ANY : assignment->right_group[solver->right_of[v]];
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

static void unite(size_t *parent, size_t a, size_t b)
{
    parent[find_root(parent, a)] = find_root(parent, b);
}

/* Unites the ends of admissible edges, numbered like targets. A hub that is reached from the left
 * is one of left vertices that may have all it stands for; one that is reached from the right, of
 * left vertices that may have what is reached in it. */
static void unite_ends(const struct solver *solver, const struct reach *reach,
                       const struct assignment *assignment, size_t *parent, size_t *first_of)
{
    const struct graph *graph = &solver->graph;

    for (size_t x = 0; x < graph->n_nodes; x++)
        for (size_t e = graph->first[x]; e < graph->first[x + 1]; e++)
            if (reach->from_left[x] || reach->from_right[graph->target[e]])
                unite(parent, graph->n_right + x, graph->target[e]);
    for (size_t v = 0; v < graph->n_left; v++) {
        size_t *first = &first_of[assignment->left_group[v]];

        if (solver->right_of[v] != NONE)
            unite(parent, graph->n_right + v, solver->right_of[v]);
        if (assignment->left_group[v] < GROUP_FIRST)
            continue;
        if (*first == NONE)
            *first = v;
        unite(parent, graph->n_right + v, graph->n_right + *first);
    }
}

static int find_components(const struct solver *solver, const struct reach *reach,
                           struct assignment *assignment)
{
    const struct graph *graph = &solver->graph;
    size_t n = graph->n_right + graph->n_nodes;
    _cleanup_free_ size_t *parent = new_array(n, 0);
    _cleanup_free_ size_t *number = new_array(n, NONE);
    _cleanup_free_ size_t *first_of = new_array(GROUP_FIRST + graph->n_nodes, NONE);

    if (!parent || !number || !first_of)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        parent[i] = i;
    unite_ends(solver, reach, assignment, parent, first_of);
    for (size_t v = 0; v < graph->n_left; v++) {
        size_t *root = &number[find_root(parent, graph->n_right + v)];

        if (*root == NONE)
            *root = assignment->n_components++;
        assignment->component[v] = *root;
        assignment->components[*root].n_left++;
    }
    for (size_t t = 0; t < graph->n_right; t++) {
        size_t root = number[find_root(parent, t)];

        if (root != NONE)
            assignment->components[root].n_right++;
    }
    return 0;
}

/* --- the choice --------------------------------------------------------------------------------*/

struct chooser {
    struct solver *solver;
    struct assignment *assignment;
    bool *fixed;   /* a target: a right vertex taken for good, or a hub of no others */
    size_t *seen;  /* a target: the last left vertex, counted from 1, on whose behalf it was seen */
    size_t *from;  /* and, of a right vertex, the left vertex that came there */
    size_t *queue; /* of left vertices */
    size_t *stack; /* of nodes */
    size_t search;
};

/* Lets left vertex `start` give up the right vertex `wanted` for another, and the next one
 * likewise, until one is exposed or is `offered`. False, and no change, when that cannot be. */
static bool move_over(struct chooser *chooser, size_t start, size_t wanted, size_t offered)
{
    struct solver *solver = chooser->solver;
    const struct graph *graph = &solver->graph;
    size_t head = 0, tail = 0;

    /* What an earlier look for the same vertex saw leads nowhere. */
    if (chooser->seen[wanted] == chooser->search)
        return false;
    chooser->seen[wanted] = chooser->search;
    chooser->queue[tail++] = start;
    while (head < tail) {
        size_t v = chooser->queue[head++], depth = 0;

        chooser->stack[depth++] = v;
        while (depth > 0) {
            size_t x = chooser->stack[--depth];

            for (size_t e = graph->first[x]; e < graph->first[x + 1]; e++) {
                size_t t = graph->target[e];

                if (chooser->fixed[t] || chooser->seen[t] == chooser->search)
                    continue;
                chooser->seen[t] = chooser->search;
                if (!is_right(graph, t)) {
                    chooser->stack[depth++] = node_of(graph, t);
                    continue;
                }
                chooser->from[t] = v;
                if (t != offered && solver->left_of[t] != NONE) {
                    chooser->queue[tail++] = solver->left_of[t];
                    continue;
                }
                if (t != offered)
                    solver->left_of[offered] = NONE;
                for (;;) {
                    size_t before = solver->right_of[v];

                    join(solver, v, t);
                    if (v == start)
                        return true;
                    t = before;
                    v = chooser->from[t];
                }
            }
        }
    }
    return false;
}

/* Gives left vertex v the right vertex `wanted`, if a maximum matching then remains. */
static bool take(struct chooser *chooser, size_t v, size_t wanted)
{
    struct solver *solver = chooser->solver;
    size_t own = solver->right_of[v];

    if (wanted == own)
        return true;
    if (solver->left_of[wanted] == NONE)
        solver->left_of[own] = NONE;
    else if (!move_over(chooser, solver->left_of[wanted], wanted, own))
        return false;
    join(solver, v, wanted);
    return true;
}

/* Fixes what left vertex v likes best of what is left at `node`, v itself or a hub. */
static bool fix_best(struct chooser *chooser, size_t v, size_t node)
{
    const struct graph *graph = &chooser->solver->graph;
    bool rest = false;

    for (size_t e = graph->first[node]; e < graph->first[node + 1]; e++) {
        size_t t = graph->target[e];

        if (chooser->fixed[t])
            continue;
        if (!is_right(graph, t)) {
            if (fix_best(chooser, v, node_of(graph, t)))
                return true;
        } else if (assignment_admits(chooser->assignment, v, t) && take(chooser, v, t)) {
            chooser->assignment->chosen[v] = t;
            chooser->fixed[t] = true;
            return true;
        }
        rest = rest || !chooser->fixed[t];
    }
    chooser->fixed[graph->n_right + node] = !rest;
    return false;
}

static int choose(struct solver *solver, struct assignment *assignment)
{
    const struct graph *graph = &solver->graph;
    size_t n_targets = graph->n_right + graph->n_nodes;
    _cleanup_free_ bool *fixed = calloc(n_targets + 1, sizeof(bool));
    _cleanup_free_ size_t *seen = new_array(n_targets, 0);
    _cleanup_free_ size_t *from = new_array(graph->n_right, NONE);
    _cleanup_free_ size_t *queue = new_array(graph->n_left, 0);
    _cleanup_free_ size_t *stack = new_array(graph->n_nodes, 0);
    struct chooser chooser = {.solver = solver,
                              .assignment = assignment,
                              .fixed = fixed,
                              .seen = seen,
                              .from = from,
                              .queue = queue,
                              .stack = stack};

    if (!fixed || !seen || !from || !queue || !stack)
        return -ENOMEM;
    for (size_t v = 0; v < graph->n_left; v++) {
        chooser.search++;
        if (assignment_certain(assignment, v))
            fix_best(&chooser, v, v);
    }
    return 0;
}

/* --- the whole -------------------------------------------------------------------------------- */

void assignment_clear(struct assignment *assignment)
{
    free(assignment->left_group);
    free(assignment->right_group);
    free(assignment->component);
    free(assignment->chosen);
    free(assignment->components);
    *assignment = (struct assignment){0};
}

static int decompose(const struct solver *solver, struct assignment *assignment)
{
    size_t n_nodes = solver->graph.n_nodes, n_targets = solver->graph.n_right + n_nodes;
    _cleanup_(reach_clear) struct reach reach = {calloc(n_nodes + 1, sizeof(bool)),
                                                 calloc(n_targets + 1, sizeof(bool))};
    int r;

    if (!reach.from_left || !reach.from_right)
        return -ENOMEM;
    r = reach_from_left(solver, reach.from_left);
    if (r == 0)
        r = reach_from_right(solver, reach.from_right);
    if (r == 0)
        r = find_groups(solver, &reach, assignment);
    if (r == 0)
        r = find_components(solver, &reach, assignment);
    return r;
}

int assignment_solve(const struct bigraph *bigraph, struct assignment *ret)
{
    _cleanup_(assignment_clear) struct assignment result = {0};
    _cleanup_(solver_clear) struct solver solver = {0};
    int r;

    r = build_graph(bigraph, &solver.graph);
    if (r < 0)
        return r;
    solver.right_of = new_array(bigraph->n_left, NONE);
    solver.left_of = new_array(bigraph->n_right, NONE);
    result.left_group = new_array(bigraph->n_left, GROUP_ANY);
    result.right_group = new_array(bigraph->n_right, GROUP_OPEN);
    result.component = new_array(bigraph->n_left, NONE);
    result.chosen = new_array(bigraph->n_left, NONE);
    result.components = calloc(bigraph->n_left + 1, sizeof(*result.components));
    if (!solver.right_of || !solver.left_of || !result.left_group || !result.right_group ||
        !result.component || !result.chosen || !result.components)
        return -ENOMEM;
    r = match_at_most(&solver);
    if (r == 0)
        r = decompose(&solver, &result);
    if (r == 0)
        r = choose(&solver, &result);
    if (r < 0)
        return r;
    result.size = solver.size;
    *ret = result;
    result = (struct assignment){0};
    return 0;
}
