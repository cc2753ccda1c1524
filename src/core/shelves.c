#include "core/shelves.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "core/fit.h"

/* --- where to find a sale ----------------------------------------------------------------------
 */

/* By what a sale is looked up, beside its amount. */
enum trait {
    TRAIT_NONE,
    TRAIT_LAST_FOUR,
    TRAIT_BIN, /* the first BIN_COMMON_MIN digits */
    TRAIT_EMAIL,
};

struct entry {
    struct money money;
    enum trait trait;
    const char *text;
    size_t length;
    bool has_last_four;
    size_t place;
};

struct index {
    struct entry *entries;
    size_t n;
};

static void index_clear(struct index *index)
{
    free(index->entries);
}

static int compare_money(struct money a, struct money b)
{
    int r = strcmp(a.currency, b.currency);

    return r ? r : COMPARE(a.minor, b.minor);
}

/* But for the place: what a look-up asks for. */
static int compare_keys(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int r = compare_money(a->money, b->money);

    if (!r)
        r = COMPARE(a->trait, b->trait);
    if (!r)
        r = COMPARE(a->length, b->length);
    if (!r)
        r = memcmp(a->text, b->text, a->length);
    return r ? r : COMPARE(a->has_last_four, b->has_last_four);
}

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int r = compare_keys(a, b);

    return r ? r : COMPARE(a->place, b->place);
}

static struct entry trait_of(const struct card *card, enum trait trait)
{
    struct entry entry = {.trait = trait, .text = "", .has_last_four = *card->last_four != '\0'};

    switch (trait) {
    case TRAIT_NONE:
        break;
    case TRAIT_LAST_FOUR:
        entry.text = card->last_four;
        entry.length = strlen(card->last_four);
        break;
    case TRAIT_BIN:
        entry.text = card->bin;
        entry.length = strlen(card->bin) < BIN_COMMON_MIN ? 0 : BIN_COMMON_MIN;
        break;
    case TRAIT_EMAIL:
        entry.text = card->email_hash;
        entry.length = strlen(card->email_hash);
        break;
    }
    return entry;
}

static int add_entries(struct index *index, const struct match_sale *sale, struct money money,
                       size_t place)
{
    for (enum trait trait = TRAIT_NONE; trait <= TRAIT_EMAIL; trait++) {
        struct entry entry = trait_of(&sale->card, trait);

        if (trait != TRAIT_NONE && entry.length == 0)
            continue;
        if (ARRAY_GROW(index->entries, index->n) < 0)
            return -ENOMEM;
        entry.money = money;
        entry.place = place;
        index->entries[index->n++] = entry;
    }
    return 0;
}

static int build_index(const struct match_sale *const *sales, const bool *shelved, size_t n_sales,
                       struct index *index)
{
    int r = 0;

    for (size_t i = 0; i < n_sales && r == 0; i++) {
        if (!shelved[i])
            continue;
        r = add_entries(index, sales[i], sales[i]->amount, i);
        if (r == 0 && !money_equal(sales[i]->amount, sales[i]->net))
            r = add_entries(index, sales[i], sales[i]->net, i);
    }
    array_sort(index->entries, index->n, sizeof(*index->entries), compare_entries);
    return r;
}

/* --- what orders ask for
 * ------------------------------------------------------------------------*/

/* Two orders with equal questions have the same shelf. */
struct question {
    enum fit fit;
    struct match_attempt *attempts; /* sorted, each once, spelt alike, without their time */
    size_t n_attempts;
    size_t order;
};

static int compare_attempt(const void *left, const void *right)
{
    const struct match_attempt *a = left, *b = right;
    int r = compare_money(a->amount, b->amount);

    if (!r)
        r = strcmp(a->card.last_four, b->card.last_four);
    if (!r)
        r = strcmp(a->card.bin, b->card.bin);
    if (!r)
        r = strcmp(a->card.brand, b->card.brand);
    return r ? r : strcmp(a->card.email_hash, b->card.email_hash);
}

static int compare_questions(const void *left, const void *right)
{
    const struct question *a = left, *b = right;
    int r = COMPARE(a->fit, b->fit);

    if (!r)
        r = COMPARE(a->n_attempts, b->n_attempts);
    for (size_t i = 0; i < a->n_attempts && !r; i++)
        r = compare_attempt(&a->attempts[i], &b->attempts[i]);
    return r;
}

/* Of equal ones the one that asks for an earlier window comes first. */
static int compare_askers(const void *left, const void *right)
{
    const struct question *a = left, *b = right;
    int r = compare_questions(a, b);

    return r ? r : COMPARE(a->order, b->order);
}

static void spell(struct match_attempt *attempt)
{
    attempt->at = 0;
    if (strlen(attempt->card.bin) < BIN_COMMON_MIN)
        *attempt->card.bin = '\0';
    for (char *c = attempt->card.brand; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
}

static size_t spell_attempts(const struct match_order *order, struct match_attempt *to)
{
    size_t n = 0;

    memcpy(to, order->attempts, order->n_attempts * sizeof(*to));
    for (size_t i = 0; i < order->n_attempts; i++)
        spell(&to[i]);
    array_sort(to, order->n_attempts, sizeof(*to), compare_attempt);
    for (size_t i = 0; i < order->n_attempts; i++)
        if (i == 0 || compare_attempt(&to[n - 1], &to[i]) != 0)
            to[n++] = to[i];
    return n;
}

/* A sale fits by amount alone if it says nothing of what the order can compare: so what exactly
 * the order would compare does not matter. The stand-in is no sale's. */
static struct match_attempt without_values(struct match_attempt attempt)
{
    static const char unknown[] = "??????";

    if (*attempt.card.last_four)
        memcpy(attempt.card.last_four, unknown, sizeof(attempt.card.last_four) - 1);
    if (*attempt.card.bin)
        memcpy(attempt.card.bin, unknown, sizeof(unknown));
    if (*attempt.card.email_hash)
        memcpy(attempt.card.email_hash, unknown, sizeof(unknown));
    return attempt;
}

struct questions {
    struct question *items; /* sorted */
    size_t n;
    struct match_attempt *attempts; /* of all */
};

static void questions_clear(struct questions *questions)
{
    free(questions->items);
    free(questions->attempts);
}

static int build_questions(const struct match_order *const *orders, size_t n_orders,
                           struct questions *q)
{
    size_t n_attempts = 0;
    struct match_attempt *next;

    for (size_t i = 0; i < n_orders; i++)
        n_attempts += orders[i]->n_attempts + 1;
    q->items = calloc(2 * n_orders + 1, sizeof(*q->items));
    q->attempts = next = calloc(n_attempts + 1, sizeof(*q->attempts));
    if (!q->items || !q->attempts)
        return -ENOMEM;
    for (size_t i = 0; i < n_orders; i++) {
        struct question identity = {FIT_IDENTITY, next, spell_attempts(orders[i], next), i};
        struct question amount = identity;

        next += identity.n_attempts;
        amount.fit = FIT_AMOUNT;
        if (amount.n_attempts == 1) {
            *next = without_values(*identity.attempts);
            amount.attempts = next++;
        }
        q->items[q->n++] = identity;
        q->items[q->n++] = amount;
    }
    array_sort(q->items, q->n, sizeof(*q->items), compare_askers);
    return 0;
}

/* --- shelves
 * ------------------------------------------------------------------------------------*/

struct found {
    size_t *items;
    size_t n;
};

/* Places from `begin` to before `end`: a window, or several that overlap. */
struct stretch {
    size_t begin, end;
};

/* The sales that have this trait in common with an attempt. When the attempt knows its last four,
 * those whose own differ do not matter, and those whose own agree are found by them. */
static int look_up(const struct index *index, const struct match_attempt *attempt, enum trait trait,
                   struct stretch stretch, struct found *found)
{
    struct entry key = trait_of(&attempt->card, trait);
    bool from = trait == TRAIT_LAST_FOUR, to = from || !*attempt->card.last_four;

    if (trait != TRAIT_NONE && key.length == 0)
        return 0;
    key.money = attempt->amount;
    key.place = stretch.begin;
    for (int has_last_four = from; has_last_four <= to; has_last_four++) {
        key.has_last_four = has_last_four;
        for (size_t i = array_find(index->entries, index->n, sizeof(key), &key, compare_entries);
             i < index->n && compare_keys(&index->entries[i], &key) == 0 &&
             index->entries[i].place < stretch.end;
             i++) {
            if (ARRAY_GROW(found->items, found->n) < 0)
                return -ENOMEM;
            found->items[found->n++] = index->entries[i].place;
        }
    }
    return 0;
}

/* Adds all that might stand on the question's shelves, by time. */
static int look_up_all(const struct index *index, const struct question *question,
                       struct stretch stretch, struct found *found)
{
    size_t first = found->n, n = first;
    int r = 0;

    for (size_t i = 0; i < question->n_attempts; i++) {
        const struct match_attempt *attempt = &question->attempts[i];

        if (question->fit == FIT_AMOUNT)
            r = look_up(index, attempt, TRAIT_NONE, stretch, found);
        for (enum trait trait = TRAIT_LAST_FOUR;
             question->fit == FIT_IDENTITY && trait <= TRAIT_EMAIL && r == 0; trait++)
            r = look_up(index, attempt, trait, stretch, found);
        if (r < 0)
            return r;
    }
    if (found->n > first)
        array_sort(&found->items[first], found->n - first, sizeof(*found->items), compare_sizes);
    for (size_t i = first; i < found->n; i++)
        if (i == first || found->items[n - 1] != found->items[i])
            found->items[n++] = found->items[i];
    found->n = n;
    return 0;
}

static bool answers(const struct question *question, const struct match_sale *sale)
{
    unsigned agrees;

    return compare_attempts(question->attempts, question->n_attempts, sale, true, &agrees) ==
               FIT_COUNT &&
           question->fit == (agrees ? FIT_IDENTITY : FIT_AMOUNT);
}

static int add_shelf(struct shelves *shelves, const struct question *question, bool live,
                     const struct match_sale *const *sales, const struct found *found)
{
    struct shelf shelf = {.begin = shelves->n_lists, .fit = question->fit, .live = live};

    for (size_t i = 0; i < found->n; i++) {
        const struct match_sale *sale = sales[found->items[i]];

        if (sale_reversed(sale) == live || !answers(question, sale))
            continue;
        if (ARRAY_GROW(shelves->lists, shelves->n_lists) < 0)
            return -ENOMEM;
        shelves->lists[shelves->n_lists++] = found->items[i];
    }
    shelf.end = shelves->n_lists;
    if (ARRAY_GROW(shelves->shelves, shelves->n_shelves) < 0)
        return -ENOMEM;
    shelves->shelves[shelves->n_shelves++] = shelf;
    return 0;
}

struct builder {
    struct shelves *shelves;
    const struct match_order *const *orders;
    const struct match_sale *const *sales;
    size_t n_sales;
    const struct match_settings *settings;
    struct index index;
    struct questions questions;
    struct found found;
};

static void builder_clear(struct builder *builder)
{
    index_clear(&builder->index);
    questions_clear(&builder->questions);
    free(builder->found.items);
}

/* The first place whose sale is later than `at`, or not earlier. */
static size_t find_time(const struct builder *b, int64_t at, bool later)
{
    size_t low = 0, high = b->n_sales;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (b->sales[middle]->at < at || (later && b->sales[middle]->at == at))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct stretch find_window(const struct builder *b, const struct question *question)
{
    int64_t from, to;

    match_window(b->orders[question->order], b->settings, &from, &to);
    return (struct stretch){find_time(b, from, false), find_time(b, to, true)};
}

/* One pair of shelves, live and reversed, for `n` orders with the same question. Windows that
 * overlap are looked up once, and what lies between others not at all. */
static int add_shelves(struct builder *b, const struct question *questions, size_t n)
{
    struct stretch stretch = find_window(b, questions);
    int r = 0;

    b->found.n = 0;
    for (size_t i = 1; i < n && r == 0; i++) {
        struct stretch next = find_window(b, &questions[i]);

        if (next.begin > stretch.end) {
            r = look_up_all(&b->index, questions, stretch, &b->found);
            stretch = next;
        } else if (next.end > stretch.end) {
            stretch.end = next.end;
        }
    }
    if (r == 0)
        r = look_up_all(&b->index, questions, stretch, &b->found);
    if (r == 0)
        r = add_shelf(b->shelves, questions, true, b->sales, &b->found);
    if (r == 0)
        r = add_shelf(b->shelves, questions, false, b->sales, &b->found);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        size_t *of_order =
            &b->shelves->of_order[questions[i].order][questions[i].fit == FIT_AMOUNT ? 2 : 0];

        of_order[0] = b->shelves->n_shelves - 2;
        of_order[1] = b->shelves->n_shelves - 1;
    }
    return 0;
}

static int add_all_shelves(struct builder *b)
{
    const struct question *items = b->questions.items;
    int r = 0;

    for (size_t first = 0, end; first < b->questions.n && r == 0; first = end) {
        end = first + 1;
        while (end < b->questions.n && compare_questions(&items[first], &items[end]) == 0)
            end++;
        r = add_shelves(b, &items[first], end - first);
    }
    return r;
}

void shelves_clear(struct shelves *shelves)
{
    free(shelves->lists);
    free(shelves->shelves);
    free(shelves->of_order);
    *shelves = (struct shelves){0};
}

int shelves_build(const struct match_order *const *orders, size_t n_orders,
                  const struct match_sale *const *sales, const bool *shelved, size_t n_sales,
                  const struct match_settings *settings, struct shelves *ret)
{
    _cleanup_(shelves_clear) struct shelves shelves = {0};
    _cleanup_(builder_clear) struct builder b = {.shelves = &shelves,
                                                 .orders = orders,
                                                 .sales = sales,
                                                 .n_sales = n_sales,
                                                 .settings = settings};
    int r;

    shelves.of_order = calloc(n_orders + 1, sizeof(*shelves.of_order));
    if (!shelves.of_order)
        return -ENOMEM;
    r = build_index(sales, shelved, n_sales, &b.index);
    if (r == 0)
        r = build_questions(orders, n_orders, &b.questions);
    if (r == 0)
        r = add_all_shelves(&b);
    if (r < 0)
        return r;
    *ret = shelves;
    shelves = (struct shelves){0};
    return 0;
}
