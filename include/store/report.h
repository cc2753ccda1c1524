/* What people and programs read out of the ledger: named reports, row by row. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/verdict.h"
#include "store/db.h"

struct report_cell {
    enum { CELL_NULL, CELL_INTEGER, CELL_TEXT } type;
    int64_t integer;
    const char *text;
};

/* Receives a report. `begin` comes once, before any row; a negative return ends the report,
 * which returns it with a text in `err`. Cells live until `row` returns. */
struct report_sink {
    int (*begin)(void *userdata, const char *const *columns, size_t n);
    int (*row)(void *userdata, const struct report_cell *cells, size_t n);
    void *userdata;
};

enum { REPORT_MAX_COLUMNS = 40 };

/* Steps a query to its end and hands every row to the sink. */
int report_rows(struct db *db, struct db_stmt *stmt, const struct report_sink *sink,
                struct error *err);

/* The names of the reports: the views of docs/SCHEMA.md and "summary", NULL-terminated. */
const char *const *report_names(void);

/* Runs a report, oldest row first. `from` and `to` (ms, both included; negative: open) bound the
 * report's own time: attempts for orders, the transaction's time for sales, whole days for totals,
 * what an interval or a pass spans for coverage. -ENOENT: no such report. */
int report_run(struct db *ledger, const char *name, int64_t from, int64_t to,
               const struct report_sink *sink, struct error *err);

/* Orders with their latest verdicts, newest attempt first, `limit` of them (negative: all);
 * `verdict` NULL for any. */
int report_orders(struct db *ledger, const char *verdict, int64_t limit,
                  const struct report_sink *sink, struct error *err);
/* Rows of revisions, newest first; likewise, `verdict` being the later one. */
int report_revisions(struct db *ledger, const char *verdict, int64_t limit,
                     const struct report_sink *sink, struct error *err);
/* One order's row of order_status. 1: found, 0: not, negative errno. */
int report_order(struct db *ledger, const char *order_id, const struct report_sink *sink,
                 struct error *err);
/* One order's verdict and last attempt. Likewise. */
int report_verdict(struct db *ledger, const char *order_id, enum verdict *ret,
                   int64_t *ret_last_attempt, struct error *err);
