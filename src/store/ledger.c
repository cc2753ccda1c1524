#include "store/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "core/email_hash.h"
#include "store/backup.h"
#include "store/migrate.h"

struct ledger {
    struct db *db;
    struct secret *email_key;
    int lock_fd;
};

static int path_with(const char *path, const char *suffix, char *ret, size_t size,
                     struct error *err)
{
    if ((size_t)snprintf(ret, size, "%s%s", path, suffix) >= size)
        return error_set(err, -ENAMETOOLONG, "%s: the path is too long", path);
    return 0;
}

/* A POSIX lock, because F_GETLK tells others who holds it without taking it. It is lost when any
 * descriptor of the file is closed, so this is the only place that opens the file to keep it. */
static int take_lock(const char *ledger_path, int *ret_fd, struct error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int fd = -1;
    char path[4096];
    int r;

    r = path_with(ledger_path, ".lock", path, sizeof(path), err);
    if (r < 0)
        return r;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set(err, -errno, "%s: %s", path, strerror(errno));
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        if (errno != EACCES && errno != EAGAIN)
            return error_set(err, -errno, "%s: %s", path, strerror(errno));
        return error_set(err, -EALREADY, "%s: another reconciled (process %ld) runs on this ledger",
                         ledger_path, (long)ledger_owner(ledger_path));
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

pid_t ledger_owner(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    _cleanup_close_ int fd = -1;
    char lock_path[4096];
    int r;

    r = path_with(path, ".lock", lock_path, sizeof(lock_path), NULL);
    if (r < 0)
        return r;
    fd = open(lock_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fcntl(fd, F_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

static int read_key(const char *path, struct secret **ret, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char bytes[EMAIL_KEY_SIZE + 1];
    ssize_t n;

    if (fd < 0)
        return error_set(err, -errno, "%s: %s", path, strerror(errno));
    n = read(fd, bytes, sizeof(bytes));
    if (n == EMAIL_KEY_SIZE)
        *ret = secret_new(bytes, EMAIL_KEY_SIZE);
    secret_wipe(bytes, sizeof(bytes));
    if (n != EMAIL_KEY_SIZE)
        return error_set(err, -EKEYREJECTED, "%s: this is no key of e-mail hashes (%d bytes)", path,
                         EMAIL_KEY_SIZE);
    return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* A name is on disk only when its directory is. */
static int sync_directory_of(const char *path)
{
    _cleanup_close_ int fd = -1;
    char copy[4096 + 8];

    snprintf(copy, sizeof(copy), "%s", path);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

/* On disk, whole, under its name, before the first hash made with it can be. */
static int write_key(const char *path, const struct secret *key, struct error *err)
{
    _cleanup_close_ int fd = -1;
    char temporary[4096 + 8];
    int r = 0;

    snprintf(temporary, sizeof(temporary), "%s.new", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, -errno, "%s: %s", temporary, strerror(errno));
    if (write(fd, secret_text(key), EMAIL_KEY_SIZE) != EMAIL_KEY_SIZE || fsync(fd) < 0 ||
        rename(temporary, path) < 0 || sync_directory_of(path) < 0)
        r = errno ? -errno : -EIO;
    return r < 0 ? error_set(err, r, "%s: %s", path, strerror(-r)) : 0;
}

static int set_up_key(struct ledger *ledger, const char *ledger_path, struct error *err)
{
    char check[EMAIL_HASH_SIZE], known[EMAIL_HASH_SIZE], path[4096];
    int r;

    r = path_with(ledger_path, ".key", path, sizeof(path), err);
    if (r == 0)
        r = ledger_get_meta(ledger->db, "email_key_check", known, sizeof(known), err);
    if (r < 0)
        return r;
    r = read_key(path, &ledger->email_key, err);
    if (r == -ENOENT && !*known) {
        ledger->email_key = email_key_new();
        if (!ledger->email_key)
            return error_set(err, -ENOMEM, "out of memory");
        r = write_key(path, ledger->email_key, err);
    } else if (r == -ENOENT) {
        return error_set(err, -EKEYREJECTED,
                         "%s is missing: the ledger's e-mail hashes were made with it; put it back "
                         "from the backup",
                         path);
    }
    if (r < 0)
        return r;
    email_hash(ledger->email_key, "check", check);
    if (!*known)
        return ledger_set_meta(ledger->db, "email_key_check", check, err);
    if (strcmp(check, known) != 0)
        return error_set(
            err, -EKEYREJECTED,
            "%s is not the key that the ledger's e-mail hashes were made with; put the "
            "right one back from the backup",
            path);
    return 0;
}

/* A step of the schema is one transaction; the copy is for a person who wants the old program back.
 * One that is there already is of an upgrade that did not come to its end; an empty one is only the
 * name, of a copy that did not, and as the lock is ours nobody is at it. */
static int keep_copy(struct db *db, const char *path, struct error *err)
{
    char suffix[32], copy[4096];
    struct stat st;
    int64_t version;
    int r;

    r = migrate_check(db, "ledger", &version, err);
    if (r < 0 || version == 0 || version == migrate_newest("ledger"))
        return r;
    snprintf(suffix, sizeof(suffix), ".schema-%lld", (long long)version);
    r = path_with(path, suffix, copy, sizeof(copy), err);
    if (r == 0 && stat(copy, &st) == 0 && st.st_size == 0)
        unlink(copy);
    if (r == 0)
        r = backup_write(db, copy, err);
    return r == -EEXIST ? 0 : r;
}

int ledger_open(const char *path, struct ledger **ret, struct error *err)
{
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    int r;

    if (!ledger)
        return error_set(err, -ENOMEM, "out of memory");
    ledger->lock_fd = -1;
    r = take_lock(path, &ledger->lock_fd, err);
    if (r == 0)
        r = db_open(path, DB_CREATE, 0, &ledger->db, err);
    if (r == 0)
        r = keep_copy(ledger->db, path, err);
    if (r == 0)
        r = migrate(ledger->db, "ledger", err);
    if (r == 0)
        r = set_up_key(ledger, path, err);
    if (r < 0) {
        ledger_close(ledger);
        return r;
    }
    *ret = ledger;
    return 0;
}

struct ledger *ledger_close(struct ledger *ledger)
{
    if (!ledger)
        return NULL;
    db_close(ledger->db);
    secret_free(ledger->email_key);
    if (ledger->lock_fd >= 0)
        close(ledger->lock_fd);
    free(ledger);
    return NULL;
}

struct db *ledger_db(struct ledger *ledger)
{
    return ledger->db;
}

const struct secret *ledger_email_key(const struct ledger *ledger)
{
    return ledger->email_key;
}

int ledger_open_reader(const char *path, struct db **ret, struct error *err)
{
    struct db *db;
    int64_t version;
    int r;

    if (access(path, F_OK) < 0)
        return error_set(err, -errno, "%s: %s", path, strerror(errno));
    r = db_open(path, DB_READ, 0, &db, err);
    if (r < 0)
        return r;
    r = db_value(db, &version, 0, err, "PRAGMA user_version", "");
    if (r == 0 && version != migrate_newest("ledger"))
        r = error_set(err, -EPROTO,
                      "%s: schema version %lld, this program reads version %d; use the reconctl of "
                      "the daemon that writes it",
                      path, (long long)version, migrate_newest("ledger"));
    if (r < 0) {
        db_close(db);
        return r;
    }
    *ret = db;
    return 0;
}

int ledger_is_used(struct db *db, int64_t *ret, struct error *err)
{
    return db_value(db, ret, 0, err,
                    "SELECT EXISTS (SELECT 1 FROM transactions) OR EXISTS (SELECT 1 FROM orders)",
                    "");
}

int ledger_get_meta(struct db *db, const char *name, char *ret, size_t size, struct error *err)
{
    struct db_stmt *stmt;
    int r;

    r = db_query(db, &stmt, err, "SELECT value FROM meta WHERE name = ?", "t", name);
    if (r < 0)
        return r;
    r = db_step(db, stmt, err);
    if (r < 0)
        return r;
    *ret = '\0';
    if (r > 0) {
        db_copy(stmt, 0, ret, size);
        db_done(stmt);
    }
    return 0;
}

int ledger_set_meta(struct db *db, const char *name, const char *value, struct error *err)
{
    return db_run(db, err,
                  "INSERT INTO meta (name, value) VALUES (?1, ?2)"
                  " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                  "tt", name, value);
}
