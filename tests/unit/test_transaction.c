#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/transaction.h"

static void test_kind_of(void **state)
{
    (void)state;
    assert_int_equal(transaction_kind_of("CreditCardSale"), TRANSACTION_SALE);
    assert_int_equal(transaction_kind_of("creditcardsale"), TRANSACTION_SALE);
    assert_int_equal(transaction_kind_of("CREDITCARDVOID"), TRANSACTION_VOID);
    assert_int_equal(transaction_kind_of("CreditCardReversal"), TRANSACTION_REVERSAL);
    assert_int_equal(transaction_kind_of("CreditCardReturn"), TRANSACTION_RETURN);
}

/* Anything that is not exactly a sale must never count as one. */
static void test_other_kinds(void **state)
{
    static const char *const others[] = {"",
                                         "Sale",
                                         "CreditCard",
                                         "CreditCardSales",
                                         "CreditCardSale2",
                                         "PreCreditCardSale",
                                         "CreditCardAuth",
                                         "AchSale",
                                         "Credit Card Sale"};

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        assert_int_equal(transaction_kind_of(others[i]), TRANSACTION_OTHER);
}

static bool settled(const char *status, const char *transaction_status)
{
    static const char *const unsettled[] = {"pending", "declined", "failed", "error", NULL};
    struct transaction transaction = {0};

    snprintf(transaction.status, sizeof(transaction.status), "%s", status);
    snprintf(transaction.transaction_status, sizeof(transaction.transaction_status), "%s",
             transaction_status);
    return transaction_settled(&transaction, unsettled);
}

static void test_settled(void **state)
{
    (void)state;
    assert_true(settled("", ""));
    assert_true(settled("approved", "settled"));
    assert_true(settled("not pending", "errors"));
    assert_true(settled("pend", ""));
    assert_false(settled("pending", ""));
    assert_false(settled("", "declined"));
    assert_false(settled("approved", "failed"));
    assert_false(settled("ERROR", "approved"));
    assert_false(settled("Pending", "Pending"));
    assert_false(settled(" \tdeclined\r\n ", ""));
}

static void test_settled_by_other_lists(void **state)
{
    static const char *const none[] = {NULL};
    static const char *const with_empty[] = {"", NULL};
    struct transaction transaction = {.status = "declined"};

    (void)state;
    assert_true(transaction_settled(&transaction, none));
    assert_true(transaction_settled(&(struct transaction){0}, with_empty)); /* it does not say */
    /* The longest status that the record can hold. */
    memset(transaction.status, 'x', STATUS_SIZE - 1);
    assert_true(transaction_settled(&transaction, with_empty));
    assert_false(transaction_settled(&transaction,
                                     (const char *const[]){"failed", transaction.status, NULL}));
}

/* Leaks and double frees are for the sanitizers to see. */
static void test_page_free(void **state)
{
    struct page *page = calloc(1, sizeof(*page));

    (void)state;
    assert_null(page_free(NULL));
    assert_null(page_free(page)); /* nothing in it yet */

    page = calloc(1, sizeof(*page));
    page->n_records = 3;
    page->records = calloc(page->n_records, sizeof(*page->records));
    page->records[1].raw = strdup("{}");
    page->n_bad = 2;
    page->bad = calloc(page->n_bad, sizeof(*page->bad));
    page->bad[0].raw = strdup("[]");
    assert_null(page_free(page));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kind_of),   cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_settled),   cmocka_unit_test(test_settled_by_other_lists),
        cmocka_unit_test(test_page_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
