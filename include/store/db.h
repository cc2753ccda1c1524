/* A thin layer over SQLite: opening with the pragmas this program relies on, transactions, and
 * statements that are always bound. Only the room `store` includes SQLite's own header.
 *
 * Errors are negative errno: -EBUSY (another writer, after 5 s of waiting), -ENOSPC (disk full),
 * -EROFS, -EACCES (cannot be opened), -EBADMSG (not a database, or damaged), -EEXIST (a constraint
 * refused a row), -ENOMEM, -EIO (anything else). `struct error` gets SQLite's words and the path.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct db;
struct db_stmt; /* a prepared statement, owned by the database's cache */

enum db_mode {
    DB_READ,   /* read-only; never writes, not even a lock file where it may not */
    DB_WRITE,  /* must exist */
    DB_CREATE, /* read-write, made if missing */
};

/* Opens `path`. synchronous=FULL, foreign keys, secure_delete, temp_store=memory, trusted_schema
 * off; the -wal and -shm files stay when it is closed, so that a reader without write permission
 * can open a ledger whose daemon is stopped. `permissions` (0: what the umask gives) is the mode of
 * a file that is made. One that was there may be somebody else's and is left as it is, byte for
 * byte, until db_adopt(). */
int db_open(const char *path, enum db_mode mode, mode_t permissions, struct db **ret,
            struct error *err);
/* The file is one of ours: WAL from now on. */
int db_adopt(struct db *db, struct error *err);
/* Rolls back what is open; NULL is accepted and returned. */
struct db *db_close(struct db *db);
const char *db_path(const struct db *db);
/* How long another writer is waited for before -EBUSY. */
void db_set_patience(struct db *db, int ms);

/* BEGIN IMMEDIATE. */
int db_begin(struct db *db, struct error *err);
/* Fails an assertion when a statement of this database is still running. */
int db_commit(struct db *db, struct error *err);
/* Does nothing when no transaction is open. */
void db_rollback(struct db *db);

/* Runs SQL text without parameters and rows (a schema, a pragma). */
int db_exec(struct db *db, const char *sql, struct error *err);

/* Prepares (or takes from the cache; `sql` must be a constant) and binds: one letter of `types` a
 * parameter:
 *   i  int64_t        t  const char * (NULL is NULL)     e  const char * ('' is NULL too)
 *   T  int64_t, an instant in ms, bound as ledger text   b  int (bool)
 *   N  an int64_t that is NULL when negative             M  like T, NULL when negative
 * Texts must live until the statement is done. */
int db_query(struct db *db, struct db_stmt **ret, struct error *err, const char *sql,
             const char *types, ...);
/* 1: a row; 0: no more (the statement is reset); negative: an error (likewise). */
int db_step(struct db *db, struct db_stmt *stmt, struct error *err);
/* Resets a statement before its last row. NULL is accepted. */
void db_done(struct db_stmt *stmt);

/* Columns of the current row, from 0. */
int64_t db_int(struct db_stmt *stmt, int column);
bool db_is_null(struct db_stmt *stmt, int column);
/* The text, "" for NULL; valid until the next step. */
const char *db_text(struct db_stmt *stmt, int column);
/* An instant stored as ledger text; -1 for NULL or what is no instant. */
int64_t db_time(struct db_stmt *stmt, int column);
/* Copies a text column; one that does not fit is cut. */
void db_copy(struct db_stmt *stmt, int column, char *to, size_t size);
int db_columns(struct db_stmt *stmt);
const char *db_column_name(struct db_stmt *stmt, int column);
bool db_is_integer(struct db_stmt *stmt, int column);

/* db_query() and one db_step() for a statement without rows. */
int db_run(struct db *db, struct error *err, const char *sql, const char *types, ...);
/* The first column of the first row as an integer; `fallback` when there is no row or it is NULL.
 */
int db_value(struct db *db, int64_t *ret, int64_t fallback, struct error *err, const char *sql,
             const char *types, ...);

int64_t db_last_id(struct db *db);
/* Rows that the last db_run() changed. */
int64_t db_changes(struct db *db);
/* Changes whenever another connection commits: PRAGMA data_version. Negative errno on failure. */
int64_t db_data_version(struct db *db);
