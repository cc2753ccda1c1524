#include "core/transaction.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

struct page *page_free(struct page *page)
{
    if (!page)
        return NULL;
    for (size_t i = 0; i < page->n_records; i++)
        free(page->records[i].raw);
    for (size_t i = 0; i < page->n_bad; i++)
        free(page->bad[i].raw);
    free(page->records);
    free(page->bad);
    free(page);
    return NULL;
}

enum transaction_kind transaction_kind_of(const char *type)
{
    static const char *const names[] = {
        [TRANSACTION_SALE] = "CreditCardSale",
        [TRANSACTION_VOID] = "CreditCardVoid",
        [TRANSACTION_REVERSAL] = "CreditCardReversal",
        [TRANSACTION_RETURN] = "CreditCardReturn",
    };
    _Static_assert(ELEMENTSOF(names) == TRANSACTION_OTHER, "every kind but the last has a name");

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (text_equal_nocase(type, names[i]))
            return (enum transaction_kind)i;
    return TRANSACTION_OTHER;
}

static bool is_listed(const char *status, const char *const *list)
{
    static const char blank[] = " \t\r\n\v\f";
    char word[STATUS_SIZE];
    size_t n;

    if (copy_text(word, sizeof(word), status + strspn(status, blank)) < 0)
        return false;
    for (n = strlen(word); n > 0 && strchr(blank, word[n - 1]); n--)
        word[n - 1] = '\0';
    if (n == 0)
        return false;
    for (; *list; list++)
        if (text_equal_nocase(word, *list))
            return true;
    return false;
}

bool transaction_settled(const struct transaction *transaction, const char *const *unsettled)
{
    return !is_listed(transaction->status, unsettled) &&
           !is_listed(transaction->transaction_status, unsettled);
}
