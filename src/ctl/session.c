#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/secret.h"
#include "ctl/ctl.h"
#include "store/queue.h"

enum { KEY_MAX = 4096 };

DEFINE_CLEANUP(struct secret *, secret_free)

/* Reads to the end, at most `size` bytes. */
static ssize_t read_all(int fd, char *buffer, size_t size)
{
    size_t n = 0;

    while (n < size) {
        ssize_t got = read(fd, buffer + n, size - n);

        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            break;
        if (got > 0)
            n += (size_t)got;
    }
    return (ssize_t)n;
}

/* One line; its end does not belong to the key. */
static int understand_key(const struct ctl *ctl, const char *line, size_t n, struct secret **ret)
{
    if (n > 0 && line[n - 1] == '\n')
        n--;
    if (n > 0 && line[n - 1] == '\r')
        n--;
    if (n == 0)
        return ctl_usage(ctl, "standard input holds no key");
    if (n > KEY_MAX)
        return ctl_usage(ctl, "the key is longer than %d bytes", KEY_MAX);
    if (memchr(line, '\n', n) || memchr(line, '\0', n))
        return ctl_usage(ctl, "standard input holds more than one line");
    *ret = secret_new(line, n);
    return *ret ? CTL_DONE : ctl_say(EX_IOERR, "out of memory");
}

/* From the descriptor, because a stdio buffer could not be wiped. */
static int read_key(const struct ctl *ctl, struct secret **ret)
{
    char line[KEY_MAX + 3]; /* and the line's end, and one too many */
    ssize_t n = read_all(STDIN_FILENO, line, sizeof(line));
    int status;

    if (n < 0)
        status = ctl_say(EX_IOERR, "standard input: %s", strerror((int)-n));
    else
        status = understand_key(ctl, line, (size_t)n, ret);
    secret_wipe(line, sizeof(line));
    return status;
}

int verb_session_add(struct ctl *ctl)
{
    _cleanup_(secret_free_p) struct secret *key = NULL;
    _cleanup_(db_close_p) struct db *queue = NULL;
    int64_t expires_in;
    struct error err;
    int status, r;

    prctl(PR_SET_DUMPABLE, 0); /* the key is in SQLite's pages, too, for a while */
    status = ctl_integer(ctl, "expires-in", 60, 1800, 1800, &expires_in);
    if (status == CTL_DONE)
        status = read_key(ctl, &key);
    if (status == CTL_DONE)
        status = ctl_open_queue(ctl, &queue);
    if (status != CTL_DONE)
        return status;
    r = queue_add_session(queue, ctl_argument(ctl, 0), key, expires_in, ctl_option(ctl, "order"),
                          &err);
    return r < 0 ? ctl_fail(r == -EEXIST ? CTL_USAGE : EX_IOERR, &err) : CTL_DONE;
}

/* The exit status of a change to a session that may not be there. */
static int changed(int r, const struct error *err)
{
    if (r == 0)
        return CTL_DONE;
    return ctl_fail(r == -ENOENT ? CTL_NO : EX_IOERR, err);
}

int verb_session_seen(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *queue = NULL;
    struct error err;
    int status = ctl_open_queue(ctl, &queue);

    if (status != CTL_DONE)
        return status;
    return changed(queue_touch_session(queue, ctl_argument(ctl, 0), &err), &err);
}

int verb_session_end(struct ctl *ctl)
{
    static const char *const endings[] = {"paid", "cancelled", "abandoned"};
    _cleanup_(db_close_p) struct db *queue = NULL;
    const char *ended = ctl_argument(ctl, 1);
    struct error err;
    size_t i = 0;
    int status;

    while (i < ELEMENTSOF(endings) && strcmp(ended, endings[i]) != 0)
        i++;
    if (i == ELEMENTSOF(endings))
        return ctl_usage(ctl, "%s: a session ends as paid, cancelled or abandoned", ended);
    status = ctl_open_queue(ctl, &queue);
    if (status != CTL_DONE)
        return status;
    return changed(queue_end_session(queue, ctl_argument(ctl, 0), ended, &err), &err);
}
