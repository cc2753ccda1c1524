#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/timestamp.h"
#include "sim.h"

/* --- the vendor page's recipe
 * ---------------------------------------------------------------------- listTransactions from two
 * minutes ago, the first sale of the same amount; none: "safe". The second form leaves out the
 * sales that the app knows to be another order's: those of its 2xx, and those that the recipe
 * itself has given away. */

static int recipe(struct sim *sim, int order, bool claims_aware)
{
    const struct order *o = &sim->orders[order];
    int64_t from = timestamp_floor_second(sim->now + sim->app_offset - 2 * MINUTE);
    int first = NONE;

    for (int i = 0; i < sim->n_records; i++) {
        const struct record *r = &sim->records[i];

        if (r->kind != RECORD_SALE || !api_shows(sim, r) || r->created < from ||
            r->minor != o->minor || (claims_aware && (r->claimed_in_truth || r->used_by_recipe)) ||
            (first != NONE && sim->records[first].created <= r->created))
            continue;
        first = i;
    }
    return first;
}

void recipes_answer(struct sim *sim, int order)
{
    struct order *o = &sim->orders[order];

    for (enum method m = METHOD_RECIPE; m < METHOD_COUNT; m++) {
        int record = recipe(sim, order, m == METHOD_RECIPE_CLAIMS);

        o->answers[m] = (struct answer){
            .verdict = record == NONE ? VERDICT_NOT_CHARGED : VERDICT_CHARGED, .record = record};
        if (record != NONE && m == METHOD_RECIPE_CLAIMS)
            sim->records[record].used_by_recipe = true;
    }
}

/* --- the ledger's answer
 * ---------------------------------------------------------------------------- */

void report_first_attempt(struct sim *sim, int order)
{
    struct order *o = &sim->orders[order];

    if (!o->recorded)
        o->answers[METHOD_LEDGER] = o->heard;
    o->recorded = true;
}

static void add_answer(const struct sim *sim, int order, enum method method, struct tally *tally)
{
    const struct order *o = &sim->orders[order];
    const struct answer *answer = &o->answers[method];

    tally->orders++;
    tally->charged_in_truth += o->charged_first;
    switch (answer->verdict) {
    case VERDICT_CHARGED:
    case VERDICT_DOUBLE_CHARGED:
    case VERDICT_REVERSED:
        tally->said_charged++;
        tally->right_charged +=
            answer->record != NONE && sim->records[answer->record].order == order;
        break;
    case VERDICT_NOT_CHARGED:
        tally->said_not_charged++;
        tally->wrong_not_charged += o->charged_first;
        break;
    case VERDICT_PENDING:
    case VERDICT_NEEDS_REVIEW:
    case VERDICT_COUNT:
        tally->undecided++;
        break;
    }
}

void report_orders(struct sim *sim)
{
    for (int i = 0; i < sim->n_orders; i++) {
        /* An impatient customer's second attempt leaves no moment when only the first is judged. */
        bool impatient = sim->orders[i].n_attempts > 1 && !sim->orders[i].attempts[1].by_leave;

        if (!sim->orders[i].doubtful || sim->orders[i].attempts[0].outcome != OUTCOME_UNKNOWN ||
            impatient)
            continue;
        report_first_attempt(sim, i);
        for (enum method m = 0; m < METHOD_COUNT; m++)
            add_answer(sim, i, m, &sim->report.tallies[m]);
    }
}

/* --- sums and tables
 * -------------------------------------------------------------------------------- */

static void add_all(int64_t *to, const int64_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

void report_add(struct report *to, const struct report *from)
{
    _Static_assert(sizeof(struct report) % sizeof(int64_t) == 0, "nothing but counts");
    add_all((int64_t *)to, (const int64_t *)from, sizeof(*to) / sizeof(int64_t));
}

static const char *share(int64_t part, int64_t whole, char text[16])
{
    if (whole == 0)
        return "-";
    snprintf(text, 16, "%" PRId64 ".%" PRId64 " %%", part * 100 / whole, part * 1000 / whole % 10);
    return text;
}

static void print_tallies(const char *name, const struct tally *tallies)
{
    static const char *const methods[] = {"reconciled", "recipe", "recipe+claims"};
    char precision[16], recall[16], review[16];

    for (enum method m = 0; m < METHOD_COUNT; m++) {
        const struct tally *t = &tallies[m];

        printf("%-21s %-14s %7" PRId64 " %8" PRId64 " %10s %8s %8" PRId64 " %9" PRId64 " %8s\n",
               m == 0 ? name : "", methods[m], t->orders, t->charged_in_truth,
               share(t->right_charged, t->said_charged, precision),
               share(t->right_charged, t->charged_in_truth, recall),
               t->said_charged - t->right_charged, t->wrong_not_charged,
               share(t->undecided, t->orders, review));
    }
}

static void print_counts(const char *name, const struct counts *c)
{
    printf("%-21s %7" PRId64 " %7" PRId64 " %8" PRId64 " %8" PRId64 " %8" PRId64 " %6" PRId64
           " %9" PRId64 " %6" PRId64 " %8" PRId64 " %8" PRId64 " %8" PRId64 "\n",
           name, c->seeds, c->hours, c->passes, c->restarts, c->verdicts, c->late, c->withheld,
           c->early, c->lookalike, c->swapped, c->double_charges);
}

void report_print(const struct report *reports)
{
    struct report all = {0};

    for (size_t i = 0; i < n_scenarios; i++)
        report_add(&all, &reports[i]);
    puts("An order's first attempt with an unknown outcome; \"charged\" is right when it names the "
         "order's own sale.");
    printf("%-21s %-14s %7s %8s %10s %8s %8s %9s %8s\n", "scenario", "method", "orders", "charged",
           "precision", "recall", "charged", "not chgd", "review");
    printf("%-21s %-14s %7s %8s %10s %8s %8s %9s %8s\n", "", "", "", "in truth", "", "", "wrongly",
           "wrongly", "");
    for (size_t i = 0; i < n_scenarios; i++)
        print_tallies(scenarios[i].name, reports[i].tallies);
    print_tallies("all", all.tallies);
    puts("\nWhat the contract cannot know: charges shown after the evidence (late) or left out of "
         "an answer (withheld), sales of\norders or claims that were not in yet (early), equal "
         "sales (alike, swapped); and double charges that came of it.");
    printf("%-21s %7s %7s %8s %8s %8s %6s %9s %6s %8s %8s %8s\n", "scenario", "seeds", "hours",
           "passes", "restarts", "verdicts", "late", "withheld", "early", "alike", "swapped",
           "doubled");
    for (size_t i = 0; i < n_scenarios; i++)
        print_counts(scenarios[i].name, &reports[i].counts);
    print_counts("all", &all.counts);
}
