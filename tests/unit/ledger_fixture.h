/* A fresh ledger in a directory of its own, for the tests of what reads it. */
#pragma once

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/money.h"
#include "core/timestamp.h"
#include "store/db.h"
#include "store/migrate.h"
#include "store/report.h"

struct fixture {
    char directory[64], path[128];
    struct db *db;
};

static inline int fixture_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct error err;

    assert_non_null(f);
    snprintf(f->directory, sizeof(f->directory), "/tmp/reconciled-test-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof(f->path), "%s/ledger.db", f->directory);
    assert_int_equal(db_open(f->path, DB_CREATE, 0, &f->db, &err), 0);
    assert_int_equal(migrate(f->db, "ledger", &err), 0);
    *state = f;
    return 0;
}

static inline int fixture_tear_down(void **state)
{
    struct fixture *f = *state;
    DIR *directory = opendir(f->directory);
    struct dirent *entry;

    db_close(f->db);
    while ((entry = readdir(directory)))
        unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    rmdir(f->directory);
    free(f);
    return 0;
}

static inline void fixture_sql(struct fixture *f, const char *sql)
{
    struct error err = {0};

    if (db_exec(f->db, sql, &err) < 0)
        fail_msg("%s", err.text);
}

/* Everything a report gave, as "a|b\n1|x\n"; NULL is "~". */
struct gathered {
    char text[16384];
    size_t n;
};

static inline void gather_text(struct gathered *g, const char *text)
{
    g->n += (size_t)snprintf(g->text + g->n, sizeof(g->text) - g->n, "%s", text);
    assert_true(g->n < sizeof(g->text));
}

static inline int gather_begin(void *userdata, const char *const *columns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        gather_text(userdata, i ? "|" : "");
        gather_text(userdata, columns[i]);
    }
    gather_text(userdata, "\n");
    return 0;
}

static inline int gather_row(void *userdata, const struct report_cell *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char number[32];

        gather_text(userdata, i ? "|" : "");
        switch (cells[i].type) {
        case CELL_NULL:
            gather_text(userdata, "~");
            break;
        case CELL_INTEGER:
            snprintf(number, sizeof(number), "%lld", (long long)cells[i].integer);
            gather_text(userdata, number);
            break;
        case CELL_TEXT:
            gather_text(userdata, cells[i].text);
            break;
        }
    }
    gather_text(userdata, "\n");
    return 0;
}

static inline struct report_sink gather_sink(struct gathered *g)
{
    *g = (struct gathered){0};
    return (struct report_sink){gather_begin, gather_row, g};
}

static inline int64_t instant(const char *text)
{
    int64_t at;

    assert_int_equal(timestamp_parse(text, &at), 0);
    return at;
}

/* One pass, and sales, voids and orders that refer to it. */
static const char FIXTURE_RUN[] =
    "INSERT INTO sync_runs (run_id, purpose, window_from, window_to, began_at, ended_at, next_page,"
    " rows_read, rows_new, rows_bad, repeats, digest, outcome, proof) VALUES (1, 'history',"
    " '2026-11-20T00:00:00.000Z', '2026-11-22T10:00:00.000Z', '2026-11-22T10:00:05.000Z',"
    " '2026-11-22T10:00:07.000Z', 2, 5, 5, 0, 0, 'x', 'complete', 1);";

/* `settled` is 0 or 1; an empty text is NULL. */
static inline void fixture_transaction(struct fixture *f, const char *id, const char *type,
                                       int64_t minor, const char *currency, const char *at,
                                       const char *last_four, const char *order_ref,
                                       const char *original, int settled)
{
    struct error err = {0};
    struct money money = {.minor = minor};
    char decimal[MONEY_TEXT_SIZE];

    snprintf(money.currency, sizeof(money.currency), "%s", currency);
    if (db_run(f->db, &err,
               "INSERT INTO transactions (transaction_id, type, amount_minor, amount, currency,"
               " net_minor, card_last_four, transacted_at, created_at, order_ref,"
               " original_transaction_id, settled, first_seen_at, last_seen_at, last_run_id, raw)"
               " VALUES (?1, ?2, ?3, ?4, ?5, ?3, ?6, ?7, ?7, ?8, ?9, ?10, ?7, ?7, 1,"
               " 'Jane Roe, 1 Main Street')",
               "ttitteteeb", id, type, minor, money_format(money, decimal), currency, last_four, at,
               order_ref, original, settled) < 0)
        fail_msg("%s", err.text);
}

/* An order with one attempt, and unless it is pending one verdict. */
static inline void fixture_order(struct fixture *f, const char *id, int64_t minor, const char *at,
                                 const char *last_four, const char *verdict)
{
    int revision = strcmp(verdict, "pending") != 0;
    struct error err = {0};

    if (db_run(f->db, &err,
               "INSERT INTO orders (order_id, amount, amount_minor, currency, first_attempt_at,"
               " last_attempt_at, taken_at, verdict, revision)"
               " VALUES (?1, '49.00', ?2, 'USD', ?3, ?3, ?3, ?4, ?5)",
               "tittb", id, minor, at, verdict, revision) < 0 ||
        db_run(f->db, &err,
               "INSERT INTO attempts VALUES (?1, ?3, 502, ?2, 'USD', ?4, '', '', '', '', ?3)",
               "titt", id, minor, at, last_four) < 0 ||
        (revision &&
         db_run(f->db, &err,
                "INSERT INTO verdicts (order_id, revision, verdict, safe_to_retry, reason,"
                " decided_at) VALUES (?1, 1, ?2, ?2 IN ('reversed', 'not_charged'), 'so', ?3)",
                "ttt", id, verdict, at) < 0))
        fail_msg("%s", err.text);
}
