/* Whether a database file is sound. */
#pragma once

#include "base/error.h"
#include "store/db.h"

/* PRAGMA quick_check and foreign_key_check. -EBADMSG with the first finding in `err` when the file
 * is damaged. */
int integrity_check(struct db *db, struct error *err);
