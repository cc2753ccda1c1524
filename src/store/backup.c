#include "store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/integrity.h"

DEFINE_CLEANUP(struct db *, db_close)

static int failed(const char *path, struct error *err)
{
    return error_set(err, -errno, "%s: %s", path, strerror(errno));
}

/* An empty file holds the name, so that the finished copy can be renamed over what is surely ours.
 */
static int reserve(const char *path, struct error *err)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

    if (fd >= 0)
        return 0;
    if (errno == EEXIST)
        return error_set(err, -EEXIST, "%s exists and is not overwritten", path);
    return failed(path, err);
}

static int sync_path(const char *path, int flags, struct error *err)
{
    _cleanup_close_ int fd = open(path, flags | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return failed(path, err);
    return 0;
}

static int check(const char *path, struct error *err)
{
    _cleanup_(db_close_p) struct db *copy = NULL;
    int r;

    r = db_open(path, DB_READ, 0, &copy, err);
    return r < 0 ? r : integrity_check(copy, err);
}

static int fill(struct db *db, const char *partial, const char *path, struct error *err)
{
    _cleanup_free_ char *directory = strdup(path);
    int r;

    if (!directory)
        return error_set(err, -ENOMEM, "out of memory");
    if (unlink(partial) < 0 && errno != ENOENT)
        return failed(partial, err);
    r = db_run(db, err, "VACUUM INTO ?", "t", partial);
    if (r == 0)
        r = check(partial, err);
    if (r == 0)
        r = sync_path(partial, O_RDONLY, err);
    if (r == 0 && rename(partial, path) < 0)
        r = failed(path, err);
    if (r == 0)
        r = sync_path(dirname(directory), O_RDONLY | O_DIRECTORY, err);
    return r;
}

int backup_write(struct db *db, const char *path, struct error *err)
{
    _cleanup_free_ char *partial = NULL;
    int r;

    if (asprintf(&partial, "%s.partial", path) < 0) {
        partial = NULL;
        return error_set(err, -ENOMEM, "out of memory");
    }
    r = reserve(path, err);
    if (r < 0)
        return r;
    r = fill(db, partial, path, err);
    if (r < 0) {
        unlink(partial);
        unlink(path);
    }
    return r;
}
