/* A consistent copy of a database while others read and write it. */
#pragma once

#include "base/error.h"
#include "store/db.h"

/* Copies the database to `path`: whole, checked and on disk when 0 is returned, and not there
 * otherwise. The mode is by the umask. -EEXIST: `path` exists; nothing is ever overwritten.
 * -EBADMSG: the copy is damaged. Else what the file system or db_open() returns. */
int backup_write(struct db *db, const char *path, struct error *err);
