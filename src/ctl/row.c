#include "ctl/row.h"

#include <assert.h>

_Static_assert((int)MONEY_TEXT_SIZE <= (int)TIMESTAMP_TEXT_SIZE, "a row's texts hold either");

static struct report_cell *add(struct row *row, const char *column)
{
    assert(row->n < REPORT_MAX_COLUMNS);
    row->columns[row->n] = column;
    return &row->cells[row->n++];
}

void row_text(struct row *row, const char *column, const char *text)
{
    *add(row, column) = text && *text ? (struct report_cell){.type = CELL_TEXT, .text = text}
                                      : (struct report_cell){.type = CELL_NULL};
}

void row_integer(struct row *row, const char *column, int64_t value)
{
    *add(row, column) = (struct report_cell){.type = CELL_INTEGER, .integer = value};
}

void row_count(struct row *row, const char *column, int64_t value)
{
    if (value < 0)
        row_text(row, column, NULL);
    else
        row_integer(row, column, value);
}

void row_time(struct row *row, const char *column, int64_t at)
{
    row_text(row, column, at < 0 ? NULL : timestamp_format(at, row->texts[row->n]));
}

void row_money(struct row *row, const struct money *money)
{
    row_text(row, "amount", money_format(*money, row->texts[row->n]));
    row_text(row, "currency", money->currency);
}

int row_send(const struct row *row, bool first, const struct report_sink *sink)
{
    int r = first ? sink->begin(sink->userdata, row->columns, row->n) : 0;

    return r < 0 ? r : sink->row(sink->userdata, row->cells, row->n);
}
