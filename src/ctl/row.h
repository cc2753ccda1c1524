/* A report row that is made here, cell by cell. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/money.h"
#include "core/timestamp.h"
#include "store/report.h"

/* Zero-initialise. Texts that are not copied must live until row_send(). */
struct row {
    const char *columns[REPORT_MAX_COLUMNS];
    struct report_cell cells[REPORT_MAX_COLUMNS];
    char texts[REPORT_MAX_COLUMNS][TIMESTAMP_TEXT_SIZE];
    size_t n;
};

/* An empty text or NULL is NULL. */
void row_text(struct row *row, const char *column, const char *text);
void row_integer(struct row *row, const char *column, int64_t value);
/* A negative number, or instant, is NULL. */
void row_count(struct row *row, const char *column, int64_t value);
void row_time(struct row *row, const char *column, int64_t at);
/* Two columns: amount, as a decimal text, and currency. */
void row_money(struct row *row, const struct money *money);

/* Hands the row over, with `first` behind its column names. What the sink returns. */
int row_send(const struct row *row, bool first, const struct report_sink *sink);
