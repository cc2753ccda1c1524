#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/verdict.h"

static void test_verdict_names(void **state)
{
    static const char *const names[] = {"pending",  "charged",     "double_charged",
                                        "reversed", "not_charged", "needs_review"};

    (void)state;
    assert_int_equal(ELEMENTSOF(names), VERDICT_COUNT);
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        enum verdict verdict = VERDICT_COUNT;

        assert_string_equal(verdict_name((enum verdict)i), names[i]);
        assert_int_equal(verdict_from_name(names[i], &verdict), 0);
        assert_int_equal(verdict, i);
    }
}

static void test_rule_names(void **state)
{
    static const char *const names[] = {"",       "claim",   "reference", "identity",
                                        "amount", "absence", "person"};

    (void)state;
    assert_int_equal(ELEMENTSOF(names), RULE_COUNT);
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        enum rule rule = RULE_COUNT;

        assert_string_equal(rule_name((enum rule)i), names[i]);
        assert_int_equal(rule_from_name(names[i], &rule), 0);
        assert_int_equal(rule, i);
    }
}

static void test_other_names_are_refused(void **state)
{
    enum verdict verdict = VERDICT_REVERSED;
    enum rule rule = RULE_CLAIM;

    (void)state;
    assert_int_equal(verdict_from_name("", &verdict), -EINVAL);
    assert_int_equal(verdict_from_name("Charged", &verdict), -EINVAL);
    assert_int_equal(verdict_from_name("charged ", &verdict), -EINVAL);
    assert_int_equal(verdict_from_name("charge", &verdict), -EINVAL);
    assert_int_equal(verdict, VERDICT_REVERSED);
    assert_int_equal(rule_from_name("none", &rule), -EINVAL);
    assert_int_equal(rule_from_name("Claim", &rule), -EINVAL);
    assert_int_equal(rule, RULE_CLAIM);
}

static void test_safe_to_retry(void **state)
{
    (void)state;
    assert_false(verdict_safe_to_retry(VERDICT_PENDING));
    assert_false(verdict_safe_to_retry(VERDICT_CHARGED));
    assert_false(verdict_safe_to_retry(VERDICT_DOUBLE_CHARGED));
    assert_true(verdict_safe_to_retry(VERDICT_REVERSED));
    assert_true(verdict_safe_to_retry(VERDICT_NOT_CHARGED));
    assert_false(verdict_safe_to_retry(VERDICT_NEEDS_REVIEW));
}

/* Every change, as a table: a row is where it comes from, a column where it goes. */
static void test_critical_revisions(void **state)
{
    static const bool critical[VERDICT_COUNT][VERDICT_COUNT] = {
        [VERDICT_REVERSED] = {true, true, true, false, false, true},
        [VERDICT_NOT_CHARGED] = {true, true, true, false, false, true},
    };

    (void)state;
    for (int from = 0; from < VERDICT_COUNT; from++)
        for (int to = 0; to < VERDICT_COUNT; to++)
            assert_int_equal(verdict_revision_is_critical((enum verdict)from, (enum verdict)to),
                             critical[from][to]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdict_names),           cmocka_unit_test(test_rule_names),
        cmocka_unit_test(test_other_names_are_refused), cmocka_unit_test(test_safe_to_retry),
        cmocka_unit_test(test_critical_revisions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
