#include "store/db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "core/timestamp.h"

enum { BUSY_TIMEOUT_MS = 5000, MAX_CACHED = 160 };

/* Statements are found again by the address of their text, which is a constant of the program. */
struct cached {
    const char *sql;
    sqlite3_stmt *stmt;
};

struct db {
    sqlite3 *handle;
    char *path;
    struct cached cache[MAX_CACHED];
    size_t n_cached;
};

static sqlite3_stmt *raw(struct db_stmt *stmt)
{
    return (sqlite3_stmt *)stmt;
}

static int to_errno(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_CONSTRAINT:
        return -EEXIST;
    default:
        return -EIO;
    }
}

static int fail(struct db *db, int rc, struct error *err)
{
    return error_set(err, to_errno(rc), "%s: %s", db->path,
                     db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc));
}

static int set_up(struct db *db, enum db_mode mode, struct error *err)
{
    int on = 1, r;

    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
    r = db_exec(db, "PRAGMA trusted_schema=OFF; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;",
                err);
    if (r < 0 || mode == DB_READ)
        return r;
    return db_exec(db,
                   "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;"
                   "PRAGMA journal_size_limit=4194304;",
                   err);
}

int db_adopt(struct db *db, struct error *err)
{
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return db_exec(db, "PRAGMA journal_mode=WAL", err);
}

/* SQLite gives a new file the mode that the umask leaves; a file whose group must write it is made
 * beforehand. Its -wal and -shm take the mode of the file. */
static int make_file(const char *path, mode_t permissions, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return errno == EEXIST ? 0 : error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (fchmod(fd, permissions) < 0)
        return error_set(err, -errno, "%s: %s", path, strerror(errno));
    return 0;
}

int db_open(const char *path, enum db_mode mode, mode_t permissions, struct db **ret,
            struct error *err)
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    struct db *db;
    int rc, r;

    if (mode == DB_CREATE && permissions != 0) {
        r = make_file(path, permissions, err);
        if (r < 0)
            return r;
    }
    flags |= mode == DB_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (mode == DB_CREATE)
        flags |= SQLITE_OPEN_CREATE;
    db = calloc(1, sizeof(*db));
    if (!db || !(db->path = strdup(path))) {
        free(db);
        return error_set(err, -ENOMEM, "out of memory");
    }
    rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
    if (rc == SQLITE_OK && mode != DB_READ && sqlite3_db_readonly(db->handle, "main") == 1)
        r = error_set(err, -EROFS, "%s: no permission to write", path);
    else
        r = rc == SQLITE_OK ? set_up(db, mode, err) : fail(db, rc, err);
    if (r < 0) {
        db_close(db);
        return r;
    }
    *ret = db;
    return 0;
}

struct db *db_close(struct db *db)
{
    if (!db)
        return NULL;
    if (db->handle)
        db_rollback(db);
    for (size_t i = 0; i < db->n_cached; i++)
        sqlite3_finalize(db->cache[i].stmt);
    sqlite3_close_v2(db->handle);
    free(db->path);
    free(db);
    return NULL;
}

void db_set_patience(struct db *db, int ms)
{
    sqlite3_busy_timeout(db->handle, ms);
}

const char *db_path(const struct db *db)
{
    return db->path;
}

int db_exec(struct db *db, const char *sql, struct error *err)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : fail(db, rc, err);
}

int db_begin(struct db *db, struct error *err)
{
    return db_run(db, err, "BEGIN IMMEDIATE", "");
}

int db_commit(struct db *db, struct error *err)
{
    for (size_t i = 0; i < db->n_cached; i++)
        assert(!sqlite3_stmt_busy(db->cache[i].stmt));
    return db_run(db, err, "COMMIT", "");
}

void db_rollback(struct db *db)
{
    for (size_t i = 0; i < db->n_cached; i++)
        sqlite3_reset(db->cache[i].stmt);
    if (!sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

static int prepare(struct db *db, const char *sql, sqlite3_stmt **ret, struct error *err)
{
    sqlite3_stmt *stmt;
    int rc;

    for (size_t i = 0; i < db->n_cached; i++)
        if (db->cache[i].sql == sql) {
            sqlite3_reset(db->cache[i].stmt);
            sqlite3_clear_bindings(db->cache[i].stmt);
            *ret = db->cache[i].stmt;
            return 0;
        }
    assert(db->n_cached < MAX_CACHED);
    rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (rc != SQLITE_OK)
        return fail(db, rc, err);
    db->cache[db->n_cached++] = (struct cached){sql, stmt};
    *ret = stmt;
    return 0;
}

static int bind_time(sqlite3_stmt *stmt, int i, int64_t at)
{
    char text[TIMESTAMP_TEXT_SIZE];

    return sqlite3_bind_text(stmt, i, timestamp_format(at, text), -1, SQLITE_TRANSIENT);
}

static int bind_text(sqlite3_stmt *stmt, int i, const char *text, bool empty_is_null)
{
    if (!text || (empty_is_null && !*text))
        return sqlite3_bind_null(stmt, i);
    return sqlite3_bind_text(stmt, i, text, -1, SQLITE_STATIC);
}

static int bind_all(sqlite3_stmt *stmt, const char *types, va_list args)
{
    int rc = SQLITE_OK;

    assert((size_t)sqlite3_bind_parameter_count(stmt) == strlen(types));
    for (int i = 1; types[i - 1] && rc == SQLITE_OK; i++) {
        int64_t number;

        switch (types[i - 1]) {
        case 'i':
            rc = sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
            break;
        case 'b':
            rc = sqlite3_bind_int(stmt, i, va_arg(args, int));
            break;
        case 't':
            rc = bind_text(stmt, i, va_arg(args, const char *), false);
            break;
        case 'e':
            rc = bind_text(stmt, i, va_arg(args, const char *), true);
            break;
        case 'T':
            rc = bind_time(stmt, i, va_arg(args, int64_t));
            break;
        case 'N':
            number = va_arg(args, int64_t);
            rc = number < 0 ? sqlite3_bind_null(stmt, i) : sqlite3_bind_int64(stmt, i, number);
            break;
        case 'M':
            number = va_arg(args, int64_t);
            rc = number < 0 ? sqlite3_bind_null(stmt, i) : bind_time(stmt, i, number);
            break;
        default:
            assert(!"unknown type letter");
        }
    }
    return rc;
}

static int query(struct db *db, sqlite3_stmt **ret, struct error *err, const char *sql,
                 const char *types, va_list args)
{
    int r, rc;

    r = prepare(db, sql, ret, err);
    if (r < 0)
        return r;
    rc = bind_all(*ret, types, args);
    return rc == SQLITE_OK ? 0 : fail(db, rc, err);
}

int db_query(struct db *db, struct db_stmt **ret, struct error *err, const char *sql,
             const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list args;
    int r;

    va_start(args, types);
    r = query(db, &stmt, err, sql, types, args);
    va_end(args);
    if (r == 0)
        *ret = (struct db_stmt *)stmt;
    return r;
}

int db_step(struct db *db, struct db_stmt *stmt, struct error *err)
{
    int rc = sqlite3_step(raw(stmt));
    int r;

    if (rc == SQLITE_ROW)
        return 1;
    r = rc == SQLITE_DONE ? 0 : fail(db, rc, err);
    sqlite3_reset(raw(stmt));
    return r;
}

void db_done(struct db_stmt *stmt)
{
    if (stmt)
        sqlite3_reset(raw(stmt));
}

int64_t db_int(struct db_stmt *stmt, int column)
{
    return sqlite3_column_int64(raw(stmt), column);
}

bool db_is_null(struct db_stmt *stmt, int column)
{
    return sqlite3_column_type(raw(stmt), column) == SQLITE_NULL;
}

const char *db_text(struct db_stmt *stmt, int column)
{
    const unsigned char *text = sqlite3_column_text(raw(stmt), column);

    return text ? (const char *)text : "";
}

int64_t db_time(struct db_stmt *stmt, int column)
{
    int64_t at;

    return timestamp_parse(db_text(stmt, column), &at) == 0 ? at : -1;
}

void db_copy(struct db_stmt *stmt, int column, char *to, size_t size)
{
    snprintf(to, size, "%s", db_text(stmt, column));
}

int db_columns(struct db_stmt *stmt)
{
    return sqlite3_column_count(raw(stmt));
}

const char *db_column_name(struct db_stmt *stmt, int column)
{
    return sqlite3_column_name(raw(stmt), column);
}

bool db_is_integer(struct db_stmt *stmt, int column)
{
    return sqlite3_column_type(raw(stmt), column) == SQLITE_INTEGER;
}

int db_run(struct db *db, struct error *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list args;
    int r;

    va_start(args, types);
    r = query(db, &stmt, err, sql, types, args);
    va_end(args);
    if (r < 0)
        return r;
    r = db_step(db, (struct db_stmt *)stmt, err);
    if (r > 0)
        sqlite3_reset(stmt);
    return r < 0 ? r : 0;
}

int db_value(struct db *db, int64_t *ret, int64_t fallback, struct error *err, const char *sql,
             const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list args;
    int r;

    va_start(args, types);
    r = query(db, &stmt, err, sql, types, args);
    va_end(args);
    if (r < 0)
        return r;
    r = db_step(db, (struct db_stmt *)stmt, err);
    if (r < 0)
        return r;
    *ret = r > 0 && sqlite3_column_type(stmt, 0) != SQLITE_NULL ? sqlite3_column_int64(stmt, 0)
                                                                : fallback;
    sqlite3_reset(stmt);
    return 0;
}

int64_t db_last_id(struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int64_t db_changes(struct db *db)
{
    return sqlite3_changes64(db->handle);
}

int64_t db_data_version(struct db *db)
{
    struct error err;
    int64_t version;
    int r = db_value(db, &version, 0, &err, "PRAGMA data_version", "");

    return r < 0 ? r : version;
}
