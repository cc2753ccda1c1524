#include "core/verdict.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

/* In ledgers: never renumber or rename, only append. */
_Static_assert(VERDICT_PENDING == 0, "pinned");
_Static_assert(VERDICT_CHARGED == 1, "pinned");
_Static_assert(VERDICT_DOUBLE_CHARGED == 2, "pinned");
_Static_assert(VERDICT_REVERSED == 3, "pinned");
_Static_assert(VERDICT_NOT_CHARGED == 4, "pinned");
_Static_assert(VERDICT_NEEDS_REVIEW == 5, "pinned");

_Static_assert(RULE_NONE == 0, "pinned");
_Static_assert(RULE_CLAIM == 1, "pinned");
_Static_assert(RULE_REFERENCE == 2, "pinned");
_Static_assert(RULE_IDENTITY == 3, "pinned");
_Static_assert(RULE_AMOUNT == 4, "pinned");
_Static_assert(RULE_ABSENCE == 5, "pinned");
_Static_assert(RULE_PERSON == 6, "pinned");

static const struct {
    const char *name;
    bool safe_to_retry;
} verdicts[] = {
    [VERDICT_PENDING] = {"pending", false},
    [VERDICT_CHARGED] = {"charged", false},
    [VERDICT_DOUBLE_CHARGED] = {"double_charged", false},
    [VERDICT_REVERSED] = {"reversed", true},
    [VERDICT_NOT_CHARGED] = {"not_charged", true},
    [VERDICT_NEEDS_REVIEW] = {"needs_review", false},
};
_Static_assert(ELEMENTSOF(verdicts) == VERDICT_COUNT, "one row a verdict");

static const char *const rules[] = {
    [RULE_NONE] = "",
    [RULE_CLAIM] = "claim",
    [RULE_REFERENCE] = "reference",
    [RULE_IDENTITY] = "identity",
    [RULE_AMOUNT] = "amount",
    [RULE_ABSENCE] = "absence",
    [RULE_PERSON] = "person",
};
_Static_assert(ELEMENTSOF(rules) == RULE_COUNT, "one name a rule");

const char *verdict_name(enum verdict verdict)
{
    return verdicts[verdict].name;
}

const char *rule_name(enum rule rule)
{
    return rules[rule];
}

int verdict_from_name(const char *name, enum verdict *ret)
{
    for (size_t i = 0; i < ELEMENTSOF(verdicts); i++)
        if (strcmp(name, verdicts[i].name) == 0) {
            *ret = (enum verdict)i;
            return 0;
        }
    return -EINVAL;
}

int rule_from_name(const char *name, enum rule *ret)
{
    for (size_t i = 0; i < ELEMENTSOF(rules); i++)
        if (strcmp(name, rules[i]) == 0) {
            *ret = (enum rule)i;
            return 0;
        }
    return -EINVAL;
}

bool verdict_safe_to_retry(enum verdict verdict)
{
    return verdicts[verdict].safe_to_retry;
}

bool verdict_revision_is_critical(enum verdict from, enum verdict to)
{
    return verdict_safe_to_retry(from) && !verdict_safe_to_retry(to);
}
