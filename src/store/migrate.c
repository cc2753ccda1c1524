#include "store/migrate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int migrate_newest(const char *database)
{
    int newest = 0;

    for (const struct migration *m = migrations; m->database; m++)
        if (strcmp(m->database, database) == 0)
            newest = m->version;
    return newest;
}

/* A table that a database has from its first version on, and the other one has not. */
static const char *mark_of(const char *database)
{
    return strcmp(database, "queue") == 0 ? "pending_orders" : "transactions";
}

/* A file that has tables but no version is somebody else's; one with a version may be the other of
 * our two, or another program's. */
static int refuse_foreign(struct db *db, const char *database, int64_t version, struct error *err)
{
    int64_t tables, marks = 0;
    int r = db_value(db, &tables, 0, err, "SELECT count(*) FROM sqlite_schema", "");

    if (r == 0)
        r = db_value(db, &marks, 0, err, "SELECT count(*) FROM sqlite_schema WHERE name = ?", "t",
                     mark_of(database));
    if (r < 0)
        return r;
    if (version == 0 ? tables > 0 : marks == 0)
        return error_set(err, -EPROTO, "%s: this database is no %s of reconciled", db_path(db),
                         database);
    return 0;
}

int migrate_check(struct db *db, const char *database, int64_t *ret_version, struct error *err)
{
    int newest = migrate_newest(database);
    int64_t version;
    int r;

    r = db_value(db, &version, 0, err, "PRAGMA user_version", "");
    if (r < 0)
        return r;
    if (version > newest)
        return error_set(err, -EPROTO,
                         "%s: schema version %" PRId64
                         " is newer than this program, which knows %d; "
                         "install the newer program",
                         db_path(db), version, newest);
    r = refuse_foreign(db, database, version, err);
    if (r == 0)
        *ret_version = version;
    return r;
}

static int step(struct db *db, const struct migration *m, struct error *err)
{
    char pragma[64];
    int64_t version;
    int r;

    r = db_begin(db, err);
    if (r < 0)
        return r;
    /* Another process may have taken the step while we waited for the lock. */
    r = db_value(db, &version, 0, err, "PRAGMA user_version", "");
    if (r == 0 && version < m->version) {
        snprintf(pragma, sizeof(pragma), "PRAGMA user_version=%d", m->version);
        r = db_exec(db, m->sql, err);
        if (r == 0)
            r = db_exec(db, pragma, err);
    }
    if (r == 0)
        r = db_commit(db, err);
    if (r < 0) {
        db_rollback(db);
        return error_prefix(err, r, "migration %s", m->name);
    }
    return 0;
}

int migrate(struct db *db, const char *database, struct error *err)
{
    int64_t version;
    int r;

    r = migrate_check(db, database, &version, err);
    if (r == 0)
        r = db_adopt(db, err);
    for (const struct migration *m = migrations; m->database && r == 0; m++)
        if (strcmp(m->database, database) == 0 && m->version > version)
            r = step(db, m, err);
    return r;
}
