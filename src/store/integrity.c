#include "store/integrity.h"

#include <errno.h>
#include <string.h>

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
    return r;
}
