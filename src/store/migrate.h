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

/* Brings the database to the newest version this program knows, each step and its user_version in
 * one BEGIN IMMEDIATE. -EPROTO: the file is newer than this program, or is no such database;
 * -EIO and what db_exec() returns otherwise. */
int migrate(struct db *db, const char *database, struct error *err);

/* The newest version this program knows. */
int migrate_newest(const char *database);
