#include "store/integrity.h"

#include <errno.h>
#include <string.h>

static int check_references(struct db *db, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(db, &stmt, err, "PRAGMA foreign_key_check", "");
    if (r == 0)
        r = db_step(db, stmt, err);
    if (r <= 0)
        return r;
    r = error_set(err, -EBADMSG, "%s: a row of %s names a row of %s that is not there", db_path(db),
                  db_text(stmt, 0), db_text(stmt, 2));
    db_done(stmt);
    return r;
}

int integrity_check(struct db *db, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(db, &stmt, err, "PRAGMA quick_check(1)", "");
    if (r == 0)
        r = db_step(db, stmt, err);
    if (r < 0)
        return r;
    if (r > 0 && strcmp(db_text(stmt, 0), "ok") == 0)
        r = 0;
    else
        r = error_set(err, -EBADMSG, "%s: %s", db_path(db),
                      r > 0 ? db_text(stmt, 0) : "the check gave no answer");
    db_done(stmt);
    return r < 0 ? r : check_references(db, err);
}
