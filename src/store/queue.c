#include "store/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/migrate.h"

/* -ENOENT: no such group; -EPERM: we may not give the file to it. */
static int give_to_group(const char *path)
{
    struct group group, *found;
    struct stat st;
    char buffer[4096];

    if (getgrnam_r(QUEUE_GROUP, &group, buffer, sizeof(buffer), &found) != 0 || !found)
        return -ENOENT;
    if (stat(path, &st) == 0 && st.st_gid == found->gr_gid)
        return 0;
    return chown(path, (uid_t)-1, found->gr_gid) < 0 ? -errno : 0;
}

static int make_directory(const char *path, struct error *err)
{
    _cleanup_free_ char *copy = strdup(path);
    const char *directory;

    if (!copy)
        return error_set(err, -ENOMEM, "out of memory");
    directory = dirname(copy);
    if (mkdir(directory, 0770) < 0) {
        if (errno == EEXIST)
            return 0;
        return error_set(err, -errno, "%s: %s", directory, strerror(errno));
    }
    give_to_group(directory);
    /* Set-group-ID, so that the -wal and -shm files belong to the group whoever makes them. */
    if (chmod(directory, 02770) < 0)
        return error_set(err, -errno, "%s: %s", directory, strerror(errno));
    return 0;
}

/* What is made in a set-group-ID directory has its group from the start. A service in a user
 * namespace of its own can neither see that group nor give anything to it. */
static bool inherits_group(const char *path)
{
    _cleanup_free_ char *copy = strdup(path);
    struct stat st;

    return copy && stat(dirname(copy), &st) == 0 && (st.st_mode & S_ISGID);
}

int queue_open(const char *path, struct db **ret, char *ret_note, size_t note_size,
               struct error *err)
{
    bool existed = access(path, F_OK) == 0, inherits = inherits_group(path);
    struct db *db;
    int r;

    if (ret_note)
        *ret_note = '\0';
    r = make_directory(path, err);
    if (r == 0)
        r = db_open(path, DB_CREATE, 0660, &db, err);
    if (r < 0)
        return r;
    if (!existed && !inherits) {
        r = give_to_group(path);
        if (r < 0 && ret_note)
            snprintf(ret_note, note_size,
                     r == -ENOENT ? "%s: there is no group " QUEUE_GROUP ", so only the owner and "
                                    "its group can write the queue"
                                  : "%s: not permitted to give the queue to the group " QUEUE_GROUP,
                     path);
    }
    r = migrate(db, "queue", err);
    if (r < 0) {
        db_close(db);
        return r;
    }
    *ret = db;
    return 0;
}

int queue_add_order(struct db *queue, const struct queue_order *order, struct error *err)
{
    return db_run(queue, err,
                  "INSERT INTO pending_orders (order_id, amount, currency, attempted_at,"
                  " http_status, card_last_four, card_brand, card_bin, billing_email, session_id)"
                  " VALUES (?1, ?2, coalesce(?3, 'USD'),"
                  " coalesce(?4, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), ?5, ?6, ?7, ?8, ?9, ?10)",
                  "ttttittttt", order->order_id, order->amount, order->currency,
                  order->attempted_at, order->http_status, order->card_last_four, order->card_brand,
                  order->card_bin, order->billing_email, order->session_id);
}

/* What waits already is the same claim, or contradicts it. */
static int is_claimed_for(struct db *queue, const char *transaction_id, const char *order_id,
                          struct error *err)
{
    char claimed_for[ID_SIZE];
    struct db_stmt *stmt;
    int r;

    r = db_query(queue, &stmt, err, "SELECT order_id FROM claims WHERE transaction_id = ?", "t",
                 transaction_id);
    if (r == 0)
        r = db_step(queue, stmt, err);
    if (r < 0)
        return r;
    db_copy(stmt, 0, claimed_for, sizeof(claimed_for));
    db_done(stmt);
    if (strcmp(claimed_for, order_id) == 0)
        return 0;
    return error_set(err, -EALREADY,
                     "transaction %s waits in the queue as a sale of order %s already; nothing was "
                     "changed",
                     transaction_id, claimed_for);
}

int queue_add_claim(struct db *queue, const char *transaction_id, const char *order_id,
                    struct error *err)
{
    int r;

    r = db_begin(queue, err);
    if (r < 0)
        return r;
    r = db_run(queue, err,
               "INSERT INTO claims (transaction_id, order_id) VALUES (?, ?)"
               " ON CONFLICT (transaction_id) DO NOTHING",
               "tt", transaction_id, order_id);
    if (r == 0 && db_changes(queue) == 0)
        r = is_claimed_for(queue, transaction_id, order_id, err);
    if (r == 0)
        r = db_commit(queue, err);
    if (r < 0)
        db_rollback(queue);
    return r;
}

int queue_add_session(struct db *queue, const char *session_id, const struct secret *key,
                      int64_t expires_in, const char *order_id, struct error *err)
{
    return db_run(queue, err,
                  "INSERT INTO sessions (session_id, session_key, expires_in, order_id)"
                  " VALUES (?, ?, ?, ?)",
                  "ttit", session_id, secret_text(key), expires_in, order_id);
}

static int changed_session(struct db *queue, int r, const char *session_id, struct error *err)
{
    if (r == 0 && db_changes(queue) == 0)
        return error_set(err, -ENOENT, "no session %s waits in the queue", session_id);
    return r;
}

int queue_touch_session(struct db *queue, const char *session_id, struct error *err)
{
    int r = db_run(queue, err,
                   "UPDATE sessions SET last_seen_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
                   " WHERE session_id = ?",
                   "t", session_id);

    return changed_session(queue, r, session_id, err);
}

int queue_end_session(struct db *queue, const char *session_id, const char *ended,
                      struct error *err)
{
    int r = db_run(queue, err, "UPDATE sessions SET ended = ? WHERE session_id = ?", "tt", ended,
                   session_id);

    return changed_session(queue, r, session_id, err);
}

int queue_add_resolution(struct db *queue, const char *order_id, const char *decision,
                         const char *transaction_id, const char *note, const char *decided_by,
                         struct error *err)
{
    return db_run(queue, err,
                  "INSERT INTO resolutions (order_id, decision, transaction_id, note, decided_by)"
                  " VALUES (?, ?, ?, ?, ?)",
                  "ttttt", order_id, decision, transaction_id, note, decided_by);
}

int queue_request_sync(struct db *queue, struct error *err)
{
    return db_run(queue, err, "INSERT INTO sync_requests DEFAULT VALUES", "");
}

int queue_has_order(struct db *queue, const char *order_id, struct error *err)
{
    int64_t found;
    int r;

    r = db_value(queue, &found, 0, err,
                 "SELECT 1 FROM (SELECT order_id FROM pending_orders UNION ALL"
                 " SELECT order_id FROM earlier_attempts) WHERE order_id = ?",
                 "t", order_id);
    return r < 0 ? r : (int)found;
}

int queue_depth(struct db *queue, struct queue_depth *ret, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(queue, &stmt, err,
                 "SELECT (SELECT count(*) FROM pending_orders)"
                 " + (SELECT count(*) FROM earlier_attempts),"
                 " (SELECT count(*) FROM claims), (SELECT count(*) FROM sessions),"
                 " (SELECT count(*) FROM resolutions)",
                 "");
    if (r == 0)
        r = db_step(queue, stmt, err);
    if (r < 0)
        return r;
    *ret = (struct queue_depth){db_int(stmt, 0), db_int(stmt, 1), db_int(stmt, 2), db_int(stmt, 3)};
    db_done(stmt);
    return 0;
}
