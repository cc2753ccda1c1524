/* Numbered, append-only migrations, compiled in from migrations/<database>/NNNN_name.sql. A fresh
 * database takes the same steps as an old one. */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "store/db.h"

struct migration {
    const char *database; /* "ledger" or "queue" */
    int version;          /* 1, 2, … without gaps; PRAGMA user_version after the step */
    const char *name;
    const char *sql;
};

/* All of them, by database and version; the last has database NULL. */
extern const struct migration migrations[];

/* The version of a database that may be taken; 0 when it is new. -EPROTO: it is newer than this
 * program, or is no such database. Changes nothing. */
int migrate_check(struct db *db, const char *database, int64_t *ret_version, struct error *err);

/* After that check, brings the database to the newest version this program knows, each step and its
 * user_version in one BEGIN IMMEDIATE. */
int migrate(struct db *db, const char *database, struct error *err);

/* The newest version this program knows. */
int migrate_newest(const char *database);
