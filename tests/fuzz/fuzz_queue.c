/* Rows of any values for the queue. What its constraints refuse leaves no trace; what they accept,
 * the daemon understands: it is taken in whole, and says in the ledger what it said in the queue.
 */
#include "fuzz.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <unistd.h>

#include "core/money.h"
#include "core/timestamp.h"
#include "store/db.h"
#include "store/intake.h"
#include "store/migrate.h"
#include "store/sessions.h"

enum { MAX_ROWS = 12, MAX_COLUMNS = 10 };

static const char *const tables[][MAX_COLUMNS + 1] = {
    {"pending_orders", "order_id", "amount", "currency", "attempted_at", "http_status",
     "card_last_four", "card_brand", "card_bin", "billing_email", "session_id"},
    {"claims", "transaction_id", "order_id"},
    {"sessions", "session_id", "session_key", "created_at", "expires_in", "last_seen_at", "ended",
     "order_id"},
    {"resolutions", "resolution_key", "order_id", "decision", "transaction_id", "note",
     "decided_by", "decided_at"},
};

static struct db *ledger, *queue;
static sqlite3 *app; /* the queue as main, the ledger as `ledger` */
static struct secret *email_key;

static void run(const char *sql)
{
    REQUIRE(sqlite3_exec(app, sql, NULL, NULL, NULL) == SQLITE_OK);
}

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *stmt;

    REQUIRE(sqlite3_prepare_v2(app, sql, -1, &stmt, NULL) == SQLITE_OK);
    return stmt;
}

static int64_t number(const char *sql)
{
    sqlite3_stmt *stmt = prepare(sql);
    int64_t value;

    REQUIRE(sqlite3_step(stmt) == SQLITE_ROW);
    value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static char directory[] = "/dev/shm/reconciled-fuzz-XXXXXX";
static char other[] = "/tmp/reconciled-fuzz-XXXXXX";
static const char *at;

static void close_databases(void)
{
    static const char *const names[] = {"l", "l-wal", "l-shm", "q", "q-wal", "q-shm"};
    char path[64];

    sqlite3_close(app);
    db_close(queue);
    db_close(ledger);
    secret_free(email_key);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", at, names[i]);
        unlink(path);
    }
    rmdir(at);
}

static void open_databases(void)
{
    char path[64], attach[96];

    at = mkdtemp(directory) ? directory : mkdtemp(other);
    REQUIRE(at);
    atexit(close_databases);
    snprintf(path, sizeof(path), "%s/l", at);
    REQUIRE(db_open(path, DB_CREATE, 0, &ledger, NULL) == 0);
    REQUIRE(migrate(ledger, "ledger", NULL) == 0);
    snprintf(attach, sizeof(attach), "ATTACH '%s' AS ledger", path);
    snprintf(path, sizeof(path), "%s/q", at);
    REQUIRE(db_open(path, DB_CREATE, 0, &queue, NULL) == 0);
    REQUIRE(migrate(queue, "queue", NULL) == 0);
    REQUIRE(sqlite3_open(path, &app) == SQLITE_OK);
    run(attach);
    run("PRAGMA synchronous = OFF; PRAGMA ledger.synchronous = OFF;"
        "CREATE TEMP TABLE taken AS SELECT * FROM pending_orders;"
        "CREATE TEMP TABLE taken_claims AS SELECT * FROM claims;"
        "CREATE TEMP TABLE taken_sessions AS SELECT * FROM sessions;"
        "CREATE TEMP TABLE taken_resolutions AS SELECT * FROM resolutions");
    REQUIRE(db_exec(ledger, "PRAGMA synchronous = OFF", NULL) == 0);
    REQUIRE(db_exec(queue, "PRAGMA synchronous = OFF", NULL) == 0);
    email_key = secret_new("0123456789abcdef0123456789abcdef", EMAIL_KEY_SIZE);
    REQUIRE(email_key);
}

/* --- the input: a byte for the table, then for each column a byte for the kind of its value, and
 * the value ------------------------------------------------------------------------------------ */

struct input {
    const uint8_t *data;
    size_t size;
};

static unsigned next_byte(struct input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

/* Texts of `n` bytes, or up to the next ';' where people write them. */
static void bind_value(sqlite3_stmt *stmt, int i, unsigned kind, struct input *input)
{
    size_t n = 0;

    switch (kind) {
    case 'i':
        sqlite3_bind_int64(stmt, i, (sqlite3_int64)next_byte(input) * 256 + next_byte(input));
        return;
    case 'r':
        sqlite3_bind_double(stmt, i, next_byte(input) / 8.0);
        return;
    case 'n':
        sqlite3_bind_null(stmt, i);
        return;
    default:
        while (n < input->size && input->data[n] != ';')
            n++;
        if (kind == 'b')
            sqlite3_bind_blob(stmt, i, input->data, (int)n, SQLITE_STATIC);
        else
            sqlite3_bind_text(stmt, i, (const char *)input->data, (int)n, SQLITE_STATIC);
        input->data += n;
        input->size -= n;
        next_byte(input);
    }
}

static size_t count_columns(unsigned table)
{
    size_t n = 0;

    while (n < MAX_COLUMNS && tables[table][n + 1])
        n++;
    return n;
}

/* INSERT with the columns that are not left to their defaults ('.'). */
static bool insert(struct input *input)
{
    unsigned table = next_byte(input) % 4, kinds[MAX_COLUMNS];
    size_t n = count_columns(table);
    char sql[512], values[64] = "";
    sqlite3_stmt *stmt;
    bool accepted, first = true;
    int given = 0;

    snprintf(sql, sizeof(sql), "INSERT INTO %s (", tables[table][0]);
    for (size_t i = 0; i < n; i++) {
        kinds[i] = next_byte(input);
        if (kinds[i] == '.')
            continue;
        snprintf(sql + strlen(sql), sizeof(sql) - strlen(sql), "%s%s", first ? "" : ", ",
                 tables[table][i + 1]);
        snprintf(values + strlen(values), sizeof(values) - strlen(values), first ? "?" : ", ?");
        first = false;
    }
    if (first) /* every default: no row can be that */
        return false;
    snprintf(sql + strlen(sql), sizeof(sql) - strlen(sql), ") VALUES (%s)", values);
    stmt = prepare(sql);
    for (size_t i = 0; i < n; i++)
        if (kinds[i] != '.')
            bind_value(stmt, ++given, kinds[i], input);
    accepted = sqlite3_step(stmt) == SQLITE_DONE;
    sqlite3_finalize(stmt);
    if (accepted) {
        static const char *const keep[] = {
            "INSERT INTO taken SELECT * FROM pending_orders WHERE rowid = last_insert_rowid()",
            "INSERT INTO taken_claims SELECT * FROM claims WHERE rowid = last_insert_rowid()",
            "INSERT INTO taken_sessions SELECT * FROM sessions WHERE rowid = last_insert_rowid()",
            ("INSERT INTO taken_resolutions SELECT * FROM resolutions"
             " WHERE rowid = last_insert_rowid()")};

        run(keep[table]);
        REQUIRE(sqlite3_changes(app) == 1);
    }
    return accepted;
}

static int64_t rows_waiting(void)
{
    return number("SELECT (SELECT count(*) FROM pending_orders)"
                  " + (SELECT count(*) FROM earlier_attempts) + (SELECT count(*) FROM claims)"
                  " + (SELECT count(*) FROM resolutions) + (SELECT count(*) FROM sessions)");
}

/* --- what must be in the ledger --------------------------------------------------------------- */

static const char *column(sqlite3_stmt *stmt, int i)
{
    const unsigned char *text = sqlite3_column_text(stmt, i);

    return text ? (const char *)text : "";
}

/* "007.50" and "7.5" are one amount. */
static bool same_decimal(const char *a, const char *b)
{
    a += strspn(a, "0");
    b += strspn(b, "0");
    while (*a && *a == *b && *a != '.')
        a++, b++;
    if (*a && *a != '.')
        return false;
    if (*b && *b != '.')
        return false;
    a += *a == '.';
    b += *b == '.';
    while (*a || *b) {
        if ((*a ? *a : '0') != (*b ? *b : '0'))
            return false;
        a += *a != '\0';
        b += *b != '\0';
    }
    return true;
}

/* The time that the app wrote, cut to milliseconds, as the ledger writes it. */
static bool same_time(const char *written, const char *stored)
{
    char expected[32];

    snprintf(expected, sizeof(expected), "%.19s.000Z", written);
    expected[10] = 'T';
    for (int i = 0;
         i < 3 && written[19] == '.' && strchr("0123456789", written[20 + i]) && written[20 + i];
         i++)
        expected[20 + i] = written[20 + i];
    return strcmp(expected, stored) == 0;
}

static bool same_attempt(sqlite3_stmt *written, sqlite3_stmt *stored)
{
    struct money money = {.minor = sqlite3_column_int64(stored, 0)};
    char text[MONEY_TEXT_SIZE];

    snprintf(money.currency, sizeof(money.currency), "%s", column(stored, 1));
    return strcmp(column(written, 2), money.currency) == 0 &&
           same_decimal(column(written, 1), money_format(money, text)) &&
           same_time(column(written, 3), column(stored, 2)) &&
           sqlite3_column_int64(written, 4) == sqlite3_column_int64(stored, 3) &&
           strcmp(column(written, 5), column(stored, 4)) == 0 &&
           strcmp(column(written, 7), column(stored, 5)) == 0 &&
           strcmp(column(written, 9), column(stored, 6)) == 0 &&
           !*column(written, 8) == !*column(stored, 7);
}

static void require_attempts(void)
{
    sqlite3_stmt *written = prepare("SELECT * FROM taken");
    sqlite3_stmt *stored = prepare("SELECT amount_minor, currency, attempted_at, http_status,"
                                   " card_last_four, card_bin, session_id, email_hash"
                                   " FROM ledger.attempts WHERE order_id = ?");

    while (sqlite3_step(written) == SQLITE_ROW) {
        bool found = false;

        sqlite3_reset(stored);
        sqlite3_bind_text(stored, 1, column(written, 0), -1, SQLITE_TRANSIENT);
        while (!found && sqlite3_step(stored) == SQLITE_ROW)
            found = same_attempt(written, stored);
        REQUIRE(found);
    }
    sqlite3_finalize(written);
    sqlite3_finalize(stored);
}

static int require_session(const struct session *session, void *userdata)
{
    struct secret *key = NULL;
    sqlite3_stmt *stmt = prepare("SELECT session_key, created_at, expires_in, ended"
                                 " FROM taken_sessions WHERE session_id = ?");

    sqlite3_bind_text(stmt, 1, session->id, -1, SQLITE_STATIC);
    REQUIRE(sqlite3_step(stmt) == SQLITE_ROW);
    REQUIRE(session->created_at >= 0);
    REQUIRE(session->expires_at == session->created_at + sqlite3_column_int64(stmt, 2) * 1000);
    REQUIRE(session->last_seen_at >= session->created_at);
    REQUIRE(strcmp(session->ended, column(stmt, 3)) == 0);
    REQUIRE(session_key(queue, session, &key, NULL) == 0);
    REQUIRE(strcmp(secret_text(key), column(stmt, 0)) == 0);
    secret_free(key);
    sqlite3_finalize(stmt);
    ++*(int64_t *)userdata;
    return 0;
}

static void require_taken_in(void)
{
    struct intake_counts counts = {0};
    struct error err = {0};
    int64_t sessions = 0;

    if (intake_run(ledger, queue, email_key, 1780000000000, &counts, &err) < 0)
        fprintf(stderr, "%s\n", err.text), abort();
    if (counts.refused > 0)
        fprintf(stderr, "%s\n", counts.refused_text), abort();
    REQUIRE(rows_waiting() == number("SELECT count(*) FROM sessions"));
    require_attempts();
    REQUIRE(number("SELECT count(*) FROM taken_claims t WHERE NOT EXISTS (SELECT 1"
                   " FROM ledger.claims c WHERE c.transaction_id = t.transaction_id"
                   " AND c.order_id = t.order_id)") == 0);
    REQUIRE(number("SELECT count(*) FROM taken_resolutions t WHERE NOT EXISTS (SELECT 1"
                   " FROM ledger.resolutions r WHERE r.order_id = t.order_id"
                   " AND r.decision = t.decision AND r.note = t.note"
                   " AND r.decided_by = t.decided_by AND coalesce(r.transaction_id, '')"
                   " = coalesce(t.transaction_id, ''))") == 0);
    REQUIRE(sessions_each(queue, require_session, &sessions, NULL) == 0);
    REQUIRE(sessions == number("SELECT count(*) FROM taken_sessions"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    if (!app)
        open_databases();
    for (int i = 0; i < MAX_ROWS && input.size > 0; i++) {
        int64_t before = rows_waiting();

        if (!insert(&input))
            REQUIRE(rows_waiting() == before);
    }
    require_taken_in();
    run("DELETE FROM taken; DELETE FROM taken_claims; DELETE FROM taken_sessions;"
        "DELETE FROM taken_resolutions; DELETE FROM sessions;"
        "DELETE FROM ledger.attempts; DELETE FROM ledger.orders; DELETE FROM ledger.claims;"
        "DELETE FROM ledger.resolutions");
    return 0;
}
