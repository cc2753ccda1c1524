/* The ledger file: opening it, its lock, and what it remembers about the daemon. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/secret.h"
#include "store/db.h"

struct ledger;

/* Opens the ledger for the one process that writes it: takes the lock beside it ("<path>.lock"),
 * makes the file (mode by the umask) or brings it up to date, after a copy of the old one was put
 * beside it ("<path>.schema-N"), and reads (or makes) the key of the e-mail hashes ("<path>.key",
 * mode 0600).
 * -EALREADY: another daemon has the lock. -EPROTO: a newer schema, or no ledger. -EKEYREJECTED: the
 * key file is not the one this ledger was written with. Else what db_open() returns. */
int ledger_open(const char *path, struct ledger **ret, struct error *err);
struct ledger *ledger_close(struct ledger *ledger);

struct db *ledger_db(struct ledger *ledger);
const struct secret *ledger_email_key(const struct ledger *ledger);

/* Opens a ledger for reading only; the daemon may run or not. -EPROTO when it is of another
 * schema. */
int ledger_open_reader(const char *path, struct db **ret, struct error *err);

/* The process that holds the lock of the ledger at `path`: its id, 0 when there is none, negative
 * errno when that cannot be told. */
pid_t ledger_owner(const char *path);

/* Whether it holds transactions or orders. */
int ledger_is_used(struct db *db, int64_t *ret, struct error *err);

/* Named values. ledger_get_meta() gives an empty text when there is none. */
int ledger_get_meta(struct db *db, const char *name, char *ret, size_t size, struct error *err);
int ledger_set_meta(struct db *db, const char *name, const char *value, struct error *err);
