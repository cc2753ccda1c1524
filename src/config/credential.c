#include "config/credential.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* `source` is where the text came from, for the error. */
static int take(const char *source, const char *text, size_t n, struct secret **ret,
                struct error *err)
{
    struct secret *secret;

    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    if (n == 0)
        return error_set(err, -EINVAL, "%s: the key is empty", source);
    if (n > CREDENTIAL_MAX)
        return error_set(err, -EINVAL, "%s: the key is longer than %d bytes", source,
                         CREDENTIAL_MAX);
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return error_set(err, -EINVAL,
                             "%s: the key has white space, a control character or a character that "
                             "is not ASCII in it",
                             source);
    secret = secret_new(text, n);
    if (!secret)
        return error_set(err, -ENOMEM, "%s: out of memory that can be locked", source);
    *ret = secret;
    return 0;
}

/* Reads until the end or until the buffer is full; unbuffered, so that no copy is left behind. */
static int read_all(int fd, char *buffer, size_t size, size_t *ret_n)
{
    size_t n = 0;

    while (n < size) {
        ssize_t got = read(fd, buffer + n, size - n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *ret_n = n;
    return 0;
}

int credential_read_file(const char *path, struct secret **ret, struct error *err)
{
    /* Room for line ends behind the longest key, and then for a byte too many. */
    char buffer[CREDENTIAL_MAX + 64];
    _cleanup_close_ int fd = -1;
    struct stat st;
    size_t n = 0;
    int r;

    /* O_NONBLOCK: a FIFO in this place must not stop the start. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return CREDENTIAL_ABSENT;
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = -errno;
        return error_set(err, r, "%s: %s", path, strerror(-r));
    }
    if (!S_ISREG(st.st_mode))
        return error_set(err, -EINVAL, "%s: the key must be in a regular file", path);
    r = read_all(fd, buffer, sizeof(buffer), &n);
    if (r < 0)
        error_set(err, r, "%s: %s", path, strerror(-r));
    else if (n == sizeof(buffer))
        r = error_set(err, -EINVAL, "%s: the key is longer than %d bytes", path, CREDENTIAL_MAX);
    else
        r = take(path, buffer, n, ret, err);
    secret_wipe(buffer, sizeof(buffer));
    return r;
}

int credential_read(const char *name, const char *variable, struct secret **ret, struct error *err)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    const char *value = getenv(variable);
    _cleanup_free_ char *path = NULL;
    char source[64];
    int r;

    if (directory && *directory) {
        if (asprintf(&path, "%s/%s", directory, name) < 0) {
            path = NULL;
            return error_set(err, -ENOMEM, "out of memory");
        }
        r = credential_read_file(path, ret, err);
        if (r != CREDENTIAL_ABSENT)
            return r;
    }
    if (!value)
        return CREDENTIAL_ABSENT;
    snprintf(source, sizeof(source), "%s in the environment", variable);
    return take(source, value, strlen(value), ret, err);
}
