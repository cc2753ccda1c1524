#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/row.h"
#include "store/integrity.h"
#include "store/ledger.h"
#include "store/queue.h"
#include "store/status.h"

enum {
    DISK_MIN_MB = 100,
    INODES_MIN = 1000,
    WAL_MAX_MB = 64,
    CLOCK_SLACK_MS = 60 * 1000, /* a correction of the clock may set it back by a moment */
};

/* Where systemd looks for the credentials that the service's unit names. */
static const char *const CREDENTIAL_STORES[] = {"/etc/credstore", "/etc/credstore.encrypted"};

extern char **environ;

/* Writes the findings: a line each, or with csv and json a row each. */
struct doctor {
    struct ctl *ctl;
    struct writer *writer; /* NULL: lines */
    struct report_sink sink;
    const char *ledger_path, *queue_path;
    struct db *ledger; /* NULL: cannot be read */
    struct status status;
    pid_t daemon;
    bool began, failed;
};

enum finding { FINDING_OK, FINDING_NOTE, FINDING_FAIL };

/* Controls in a path or a text of the API do not reach the terminal. */
static void put_line(enum finding finding, const char *what, const char *advice)
{
    static const char *const marks[] = {"ok  ", "note", "FAIL"};
    struct error line;

    error_set(&line, 0, "%s %s%s%s", marks[finding], what, advice ? ": " : "",
              advice ? advice : "");
    puts(line.text);
}

static void put_row(struct doctor *d, enum finding finding, const char *what, const char *advice)
{
    static const char *const names[] = {"ok", "note", "fail"};
    struct row row = {0};

    row_text(&row, "result", names[finding]);
    row_text(&row, "check", what);
    row_text(&row, "advice", advice);
    row_send(&row, !d->began, &d->sink); /* a failure shows at the end of the output, too */
    d->began = true;
}

static void find(struct doctor *d, enum finding finding, const char *advice, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* `format` says what was found, `advice` (or NULL) what to do. */
static void find(struct doctor *d, enum finding finding, const char *advice, const char *format,
                 ...)
{
    char what[512];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (finding == FINDING_FAIL)
        d->failed = true;
    if (d->writer)
        put_row(d, finding, what, advice);
    else
        put_line(finding, what, advice);
}

/* --- configuration ------------------------------------------------------------------------------
 */

/* The unit's name for a key: reconciled.merchant_api_key, or, where the configuration is that of
 * one of several merchants (/etc/reconciled/NAME/reconciled.conf),
 * reconciled.NAME.merchant_api_key. */
static void credential_name(const char *config_path, const char *key, char *name, size_t size)
{
    char copy[PATH_MAX];
    const char *instance;

    snprintf(copy, sizeof(copy), "%s", config_path);
    instance = basename(dirname(copy));
    if (strcmp(instance, "reconciled") == 0)
        snprintf(name, size, "reconciled.%s", key);
    else
        snprintf(name, size, "reconciled.%s.%s", instance, key);
}

static void check_key_file(struct doctor *d, const char *path, const struct stat *st)
{
    struct error err;
    int r = config_check_key(path, &err);

    if (r == -EACCES)
        find(d, FINDING_NOTE, "run this as root to have it checked", "key %s", path);
    else if (r < 0)
        find(d, FINDING_FAIL, "it must be one line: printf %s KEY >FILE", "key %s", err.text);
    else if (st->st_mode & 0077)
        find(d, FINDING_FAIL, "chmod 0600 it", "key %s can be read by others", path);
    else
        find(d, FINDING_OK, NULL, "key %s", path);
}

/* Of a key that this process was not given itself, as systemd will give it to the daemon. */
static void check_stored_key(struct doctor *d, const char *key)
{
    char name[256], path[PATH_MAX];
    struct stat st;

    credential_name(ctl_config_path(d->ctl), key, name, sizeof(name));
    for (size_t i = 0; i < ELEMENTSOF(CREDENTIAL_STORES); i++) {
        snprintf(path, sizeof(path), "%s/%s", CREDENTIAL_STORES[i], name);
        if (stat(path, &st) == 0 && i == 0)
            check_key_file(d, path, &st);
        else if (stat(path, &st) == 0)
            find(d, FINDING_OK, NULL, "key %s is there, encrypted", path);
        else if (errno == EACCES)
            find(d, FINDING_NOTE, "run this as root to have it checked", "key %s", path);
        else
            continue;
        return;
    }
    find(d, FINDING_FAIL, "put the key there, as one line: owner root, mode 0600",
         "key %s/%s is missing", CREDENTIAL_STORES[0], name);
}

static bool given(const char *variable)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");

    return (directory && *directory) || getenv(variable);
}

/* `config` is what was read without the keys; `err` says why the daemon would not start with what
 * this process has. */
static void check_keys(struct doctor *d, const struct config *config, const struct error *err)
{
    if (given("MERCHANT_API_KEY") || given("VAULT_API_KEY")) {
        find(d, FINDING_FAIL, "a key is one line and nothing else: printf %s KEY >FILE", "key: %s",
             err->text);
        return;
    }
    check_stored_key(d, "merchant_api_key");
    if (config->vault_url)
        check_stored_key(d, "vault_api_key");
}

/* As the daemon would read it. */
static void check_configuration(struct doctor *d)
{
    static const char advice[] = "correct it; 'reconciled --check-config' checks it again";
    const char *path = ctl_config_path(d->ctl);
    struct config *config = NULL, *whole = NULL;
    struct error err, why;

    if (config_load(path, CONFIG_PATHS, true, &config, &err) < 0)
        find(d, FINDING_FAIL, advice, "configuration: %s", err.text);
    else if (config_load(path, CONFIG_ALL, true, &whole, &why) == 0)
        find(d, FINDING_OK, NULL, "configuration %s, and its keys", path);
    else if (!config->pay_url || (!config->merchant_id && d->daemon <= 0))
        find(d, FINDING_FAIL, advice, "configuration: %s", why.text);
    else {
        find(d, FINDING_OK, NULL, "configuration %s", path);
        if (d->daemon > 0)
            find(d, FINDING_NOTE, "the running daemon has its own", "this user has no keys");
        else
            check_keys(d, config, &why);
    }
    config_free(whole);
    config_free(config);
}

/* --- files --------------------------------------------------------------------------------------
 */

static void check_ledger(struct doctor *d)
{
    struct error err;
    int r = ledger_open_reader(d->ledger_path, &d->ledger, &err);

    if (r < 0) {
        find(d, FINDING_FAIL,
             r == -ENOENT   ? "start the daemon, it makes the ledger"
             : r == -EACCES ? "run this as a user who may read it, as the daemon's"
             : r == -EPROTO ? "restart the daemon, so that it and reconctl are of one version"
                            : "put back a backup",
             "ledger: %s", err.text);
        return;
    }
    find(d, FINDING_OK, NULL, "ledger %s opens, its schema is known", d->ledger_path);
    if (integrity_check(d->ledger, &err) < 0)
        find(d, FINDING_FAIL, "stop the daemon and put back a backup", "ledger: %s", err.text);
    else
        find(d, FINDING_OK, NULL, "ledger is sound");
    if (status_read(d->ledger, clock_now(d->ctl->clock), &d->status, &err) < 0)
        find(d, FINDING_FAIL, "stop the daemon and put back a backup", "ledger: %s", err.text);
}

/* Opening would make it; who asks what is wrong wants nothing made. */
static void check_queue(struct doctor *d)
{
    _cleanup_(db_close_p) struct db *queue = NULL;
    struct error err;
    int r;

    if (access(d->queue_path, F_OK) < 0) {
        find(d, FINDING_FAIL,
             errno == ENOENT ? "start the daemon, it makes the queue"
                             : "add this user to the group " QUEUE_GROUP " and log in again",
             "queue %s: %s", d->queue_path, strerror(errno));
        return;
    }
    r = queue_open(d->queue_path, &queue, NULL, 0, &err);
    if (r == 0)
        r = db_begin(queue, &err);
    if (r == 0) {
        db_rollback(queue);
        r = integrity_check(queue, &err);
    }
    if (r == 0)
        find(d, FINDING_OK, NULL, "queue %s opens, this user may write it, it is sound",
             d->queue_path);
    else
        find(d, FINDING_FAIL,
             r == -EPROTO    ? "install the newer program"
             : r == -EBADMSG ? "stop the daemon, move the queue away, start it, enqueue again"
             : r == -EBUSY   ? "an app holds its write lock: end its transaction"
                             : "add this user to the group " QUEUE_GROUP " and log in again",
             "queue: %s", err.text);
}

static bool directory_of(const char *path, char *buffer, size_t size)
{
    char copy[PATH_MAX];

    if ((size_t)snprintf(copy, sizeof(copy), "%s", path) >= sizeof(copy))
        return false;
    return (size_t)snprintf(buffer, size, "%s", dirname(copy)) < size;
}

/* `forbidden` are the permission bits that the path must not have. */
static bool check_mode(struct doctor *d, const char *path, mode_t forbidden, const char *why)
{
    char advice[64];
    struct stat st;

    if (stat(path, &st) < 0 || (st.st_mode & forbidden) == 0)
        return true;
    snprintf(advice, sizeof(advice), "chmod %04o it", (unsigned)(st.st_mode & 07777 & ~forbidden));
    find(d, FINDING_FAIL, advice, "%s has mode %04o: %s", path, (unsigned)(st.st_mode & 07777),
         why);
    return false;
}

/* A directory, or a file in it, that root made when it tried something out shuts the daemon out. */
static bool check_owner(struct doctor *d, const char *path, uid_t owner)
{
    char advice[96];
    struct passwd *user = getpwuid(owner);
    struct stat st;

    if (stat(path, &st) < 0 || st.st_uid == owner)
        return true;
    snprintf(advice, sizeof(advice), "chown it to %s", user ? user->pw_name : "the daemon's user");
    find(d, FINDING_FAIL, advice, "%s belongs to another user than its directory", path);
    return false;
}

static bool check_ledger_files(struct doctor *d)
{
    static const char *const endings[] = {"", "-wal", "-shm", ".key", ".lock"};
    char directory[PATH_MAX], path[PATH_MAX];
    bool good = true;
    struct stat st;

    if (!directory_of(d->ledger_path, directory, sizeof(directory)) || stat(directory, &st) < 0)
        return true;
    good &= check_mode(d, directory, 0022, "others can replace the ledger");
    for (size_t i = 0; i < ELEMENTSOF(endings); i++) {
        bool key = strcmp(endings[i], ".key") == 0;

        snprintf(path, sizeof(path), "%s%s", d->ledger_path, endings[i]);
        good &= check_owner(d, path, st.st_uid);
        good &= check_mode(d, path, key ? 0077 : 0022,
                           key ? "it must be secret, or e-mail hashes can be guessed"
                               : "others can rewrite the ledger");
    }
    return good;
}

/* Everything in the queue's directory is the group's: whoever comes first makes -wal and -shm. */
static bool check_queue_group(struct doctor *d, const char *directory)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    const struct group *group = getgrnam(QUEUE_GROUP);
    char path[PATH_MAX];
    struct stat st;

    if (!group) {
        find(d, FINDING_NOTE,
             "only the daemon's own user can write the queue; 'make install' or the package makes "
             "it",
             "there is no group " QUEUE_GROUP);
        return true;
    }
    if (stat(directory, &st) == 0 && st.st_gid != group->gr_gid) {
        find(d, FINDING_FAIL, "chgrp -R " QUEUE_GROUP " it, chmod 2770 it",
             "%s does not belong to the group " QUEUE_GROUP, directory);
        return false;
    }
    if (stat(directory, &st) == 0 && (st.st_mode & 02070) != 02070) {
        find(d, FINDING_FAIL, "chmod 2770 it", "%s has mode %04o: the app cannot work in it",
             directory, (unsigned)(st.st_mode & 07777));
        return false;
    }
    for (size_t i = 0; i < ELEMENTSOF(endings); i++) {
        snprintf(path, sizeof(path), "%s%s", d->queue_path, endings[i]);
        if (stat(path, &st) < 0 || (st.st_gid == group->gr_gid && (st.st_mode & 0060) == 0060))
            continue;
        find(d, FINDING_FAIL, "chgrp " QUEUE_GROUP " it, chmod 0660 it",
             "%s cannot be written by the group " QUEUE_GROUP, path);
        return false;
    }
    return true;
}

static void check_permissions(struct doctor *d)
{
    char directory[PATH_MAX];
    bool good = check_ledger_files(d);

    good &= check_mode(d, d->queue_path, 0007, "it holds session keys");
    if (directory_of(d->queue_path, directory, sizeof(directory))) {
        good &= check_mode(d, directory, 0007, "it holds session keys");
        good &= check_queue_group(d, directory);
    }
    if (good)
        find(d, FINDING_OK, NULL, "permissions of ledger, key and queue");
}

/* In a process of its own, as the user and with the user's groups: "" or what is wrong. */
static const char *try_as_user(struct doctor *d, const struct passwd *user, struct error *err)
{
    _cleanup_(db_close_p) struct db *queue = NULL;

    if (initgroups(user->pw_name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 ||
        setuid(user->pw_uid) < 0) {
        error_set(err, -errno, "cannot become that user: %s", strerror(errno));
        return err->text;
    }
    if (access(d->queue_path, F_OK) < 0) {
        error_set(err, -errno, "%s: %s", d->queue_path, strerror(errno));
        return err->text;
    }
    if (access(d->ledger_path, W_OK) == 0)
        return "it may write the ledger, which only the daemon should";
    if (queue_open(d->queue_path, &queue, NULL, 0, err) < 0 || db_begin(queue, err) < 0)
        return err->text;
    db_rollback(queue);
    return "";
}

static void read_line(int fd, char *line, size_t size);

static void check_user(struct doctor *d)
{
    const char *name = ctl_option(d->ctl, "user");
    const struct passwd *user = name ? getpwnam(name) : NULL;
    char line[512];
    int pipe_fds[2];
    pid_t child;

    if (!name)
        return;
    if (!user || (geteuid() != 0 && geteuid() != user->pw_uid)) {
        find(d, FINDING_FAIL, user ? "run this as root" : "correct --user",
             user ? "whether user %s may write the queue cannot be tried" : "there is no user %s",
             name);
        return;
    }
    if (pipe2(pipe_fds, O_CLOEXEC) < 0 || fflush(stdout) != 0 || (child = fork()) < 0) {
        find(d, FINDING_FAIL, "try again", "a process for user %s: %s", name, strerror(errno));
        return;
    }
    if (child == 0) {
        struct error err = {0};

        dprintf(pipe_fds[1], "%s", try_as_user(d, user, &err));
        _exit(0);
    }
    close(pipe_fds[1]);
    read_line(pipe_fds[0], line, sizeof(line));
    close(pipe_fds[0]);
    waitpid(child, NULL, 0);
    if (*line)
        find(d, FINDING_FAIL,
             "adduser it to the group " QUEUE_GROUP " (and to no other of reconciled's), then "
             "restart what runs as it",
             "user %s: %s", name, line);
    else
        find(d, FINDING_OK, NULL, "user %s may write the queue, and not the ledger", name);
}

static void check_disk(struct doctor *d, const char *path)
{
    char directory[PATH_MAX];
    struct statvfs space;
    unsigned long long mb;

    if (!directory_of(path, directory, sizeof(directory)) || statvfs(directory, &space) < 0) {
        find(d, FINDING_FAIL, "make the directory, or correct its path in the configuration",
             "%s: %s", path, strerror(errno));
        return;
    }
    mb = space.f_bavail * (unsigned long long)space.f_frsize >> 20;
    if (mb < DISK_MIN_MB)
        find(d, FINDING_FAIL, "make room: nothing can be stored when it is full",
             "only %llu MB are free in %s", mb, directory);
    else if (space.f_files > 0 && space.f_favail < INODES_MIN)
        find(d, FINDING_FAIL, "remove files: none can be made when there are no inodes left",
             "only %llu inodes are free in %s", (unsigned long long)space.f_favail, directory);
    else
        find(d, FINDING_OK, NULL, "%llu MB are free in %s", mb, directory);
}

static void check_disks(struct doctor *d)
{
    struct stat ledger, queue;
    char directory[PATH_MAX];

    check_disk(d, d->ledger_path);
    if (directory_of(d->ledger_path, directory, sizeof(directory)) &&
        stat(directory, &ledger) == 0 &&
        directory_of(d->queue_path, directory, sizeof(directory)) && stat(directory, &queue) == 0 &&
        ledger.st_dev != queue.st_dev)
        check_disk(d, d->queue_path);
    if (d->ctl->config && d->ctl->config->metrics_path &&
        directory_of(d->ctl->config->metrics_path, directory, sizeof(directory)) &&
        access(directory, F_OK) < 0)
        find(d, FINDING_FAIL, "make the directory, or correct [metrics] path", "metrics: %s: %s",
             directory, strerror(errno));
}

static void check_wal(struct doctor *d, const char *path, const char *name)
{
    char wal[PATH_MAX];
    struct stat st;

    if ((size_t)snprintf(wal, sizeof(wal), "%s-wal", path) >= sizeof(wal) || stat(wal, &st) < 0)
        return;
    if (st.st_size >> 20 >= WAL_MAX_MB)
        find(d, FINDING_FAIL,
             "a reader keeps a transaction open for long: find it (fuser) and end it",
             "%s has grown to %lld MB", wal, (long long)st.st_size >> 20);
    else
        find(d, FINDING_OK, NULL, "write-ahead log of the %s has %lld KB", name,
             (long long)st.st_size >> 10);
}

/* --- clock, daemon, API -------------------------------------------------------------------------
 */

static void check_clock(struct doctor *d)
{
    int64_t now = clock_now(d->ctl->clock);
    char text[TIMESTAMP_TEXT_SIZE];
    struct timex state = {0};

    if (d->ledger && d->status.last_run_at > now + CLOCK_SLACK_MS)
        find(d, FINDING_FAIL, "set the clock; windows and verdicts depend on it",
             "clock is behind the ledger, which was written at %s",
             timestamp_format(d->status.last_run_at, text));
    else
        find(d, FINDING_OK, NULL, "clock says %s", timestamp_format(now, text));
    if (adjtimex(&state) == TIME_ERROR || (state.status & STA_UNSYNC))
        find(d, FINDING_NOTE, "let a time service keep it",
             "clock is not known to be synchronised");
}

static void check_daemon(struct doctor *d)
{
    int64_t interval = d->ctl->config ? d->ctl->config->sync_interval : 0;
    char text[TIMESTAMP_TEXT_SIZE];

    if (d->daemon > 0)
        find(d, FINDING_OK, NULL, "daemon is alive (process %ld)", (long)d->daemon);
    else if (d->daemon == 0)
        find(d, FINDING_FAIL, "systemctl start reconciled, or see its journal",
             "no daemon runs on this ledger");
    else
        find(d, FINDING_NOTE, "run this as a user who may read the ledger's lock file",
             "whether a daemon runs cannot be told");
    if (d->ledger && d->status.ran && *d->status.cycle_outcome &&
        strcmp(d->status.cycle_outcome, "ok") != 0)
        find(d, FINDING_FAIL, "see the daemon's journal", "last cycle: %s",
             d->status.cycle_outcome);
    else if (d->daemon > 0 && d->ledger &&
             status_is_late(&d->status, interval, clock_now(d->ctl->clock)))
        find(d, FINDING_FAIL, "see the daemon's journal, then restart it",
             "the last cycle ended at %s, long ago",
             timestamp_format(d->status.cycle_ended_at, text));
}

/* "<directory of this program>/<below>reconciled", if it can be run. */
static bool beside(const char *below, char *path, size_t size)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n < 0)
        return false;
    self[n] = '\0';
    return (size_t)snprintf(path, size, "%s/%sreconciled", dirname(self), below) < size &&
           access(path, X_OK) == 0;
}

/* The first line of what can be read to its end, as far as it fits. */
static void read_line(int fd, char *line, size_t size)
{
    char rest[512];
    size_t n = 0;
    ssize_t got;

    while (n + 1 < size && (got = read(fd, line + n, size - 1 - n)) > 0)
        n += (size_t)got;
    while (read(fd, rest, sizeof(rest)) > 0)
        continue;
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
}

/* Runs `reconciled --probe`, which asks the API one question, and takes its first line. Its exit
 * status; negative errno when it cannot be run. */
static int probe(const char *config_path, char *line, size_t size)
{
    char program[PATH_MAX], option[] = "--probe", config_option[] = "--config";
    _cleanup_free_ char *config = strdup(config_path);
    char *argv[] = {program, option, config_option, config, NULL};
    posix_spawn_file_actions_t actions;
    int pipe_fds[2], r, state;
    pid_t child;

    if (!config)
        return -ENOMEM;
    if (!beside("", program, sizeof(program)) && !beside("../sbin/", program, sizeof(program)))
        snprintf(program, sizeof(program), "reconciled");
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -errno;
    }
    posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    r = posix_spawnp(&child, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fds[1]);
    read_line(pipe_fds[0], line, size);
    close(pipe_fds[0]);
    if (r != 0)
        return -r;
    while (waitpid(child, &state, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(state) ? WEXITSTATUS(state) : -ECHILD;
}

/* By the words in which trouble with an API is told. */
static const char *advice_on(const char *trouble)
{
    static const struct {
        const char *words, *advice;
    } known[] = {
        {"resolve host", "correct the url, or mend the name service: the host is not known"},
        {"resolve proxy", "correct the proxy in the environment (https_proxy)"},
        {"certificate", "is the url right, is the clock right (timedatectl), are ca-certificates "
                        "installed? The certificate is not accepted"},
        {"SSL", "is the url right, and a TLS service there? Is the clock right (timedatectl)?"},
        {"TLS", "is the url right, and a TLS service there? Is the clock right (timedatectl)?"},
        {"connect to", "nothing listens there: check the url's host and port, and the firewall"},
        {"timed out", "it is too slow: check the network and the firewall, or raise the timeout"},
        {"HTTP status 401", "put the right key in place and restart the daemon"},
        {"HTTP status 403",
         "put the right key in place and restart the daemon; check [merchant] id"},
        {"HTTP status 404", "correct the path in the url"},
        {"HTTP status 429", "something else uses up the limit: lower [pay] rate_share, or wait"},
        {"HTTP status 3", "give the url that it redirects to; redirects are not followed"},
        {"HTTP status 5", "the API itself is in trouble: wait, and ask its operator"},
    };

    for (size_t i = 0; i < ELEMENTSOF(known); i++)
        if (strcasestr(trouble, known[i].words))
            return known[i].advice;
    return "check the url, [merchant] id and the network";
}

static void ask_api(struct doctor *d)
{
    char answer[400];
    int status = probe(ctl_config_path(d->ctl), answer, sizeof(answer));

    switch (status) {
    case EX_OK:
        find(d, FINDING_OK, NULL, "API is reached and accepts the key");
        break;
    case EX_TEMPFAIL:
        find(d, FINDING_FAIL, advice_on(answer), "API cannot be reached, or keeps failing (%s)",
             answer);
        break;
    case EX_PROTOCOL:
        find(d, FINDING_FAIL, advice_on(answer), "API gives no answer that can be understood (%s)",
             answer);
        break;
    case EX_NOPERM:
        find(d, FINDING_FAIL, advice_on(answer), "API refuses the key (%s)", answer);
        break;
    case EX_CONFIG:
        find(d, FINDING_NOTE,
             "run this with MERCHANT_API_KEY in the environment, or start the daemon",
             "API was not asked: configuration or key are missing");
        break;
    default:
        find(d, FINDING_FAIL, "is it installed?", "API was not asked: reconciled cannot be run: %s",
             status < 0 ? strerror(-status) : "unexpected exit status");
    }
}

/* A daemon that is alive has asked with the key that counts; else one that is started for this. */
static void check_api(struct doctor *d)
{
    char when[TIMESTAMP_TEXT_SIZE];

    if (d->daemon == 0 || !d->ledger) {
        ask_api(d);
        return;
    }
    if (d->status.api_checked_at < d->status.started_at)
        find(d, FINDING_NOTE, "wait for its first cycle", "daemon has not asked the API yet");
    else if (strcmp(d->status.api_state, "ok") == 0)
        find(d, FINDING_OK, NULL, "API is reached and accepts the key (since %s)",
             timestamp_format(d->status.api_checked_at, when));
    else
        find(d, FINDING_FAIL, advice_on(d->status.api_state), "API: %s (%s)", d->status.api_state,
             timestamp_format(d->status.api_checked_at, when));
    if (*d->status.vault_state && strcmp(d->status.vault_state, "ok") != 0)
        find(d, FINDING_FAIL, advice_on(d->status.vault_state), "Vault: %s", d->status.vault_state);
}

static void examine(struct doctor *d)
{
    check_configuration(d);
    check_ledger(d);
    check_queue(d);
    check_permissions(d);
    check_user(d);
    check_disks(d);
    check_wal(d, d->ledger_path, "ledger");
    check_wal(d, d->queue_path, "queue");
    check_clock(d);
    check_daemon(d);
    check_api(d);
}

int verb_doctor(struct ctl *ctl)
{
    _cleanup_(writer_free_p) struct writer *writer = NULL;
    struct doctor d = {.ctl = ctl};
    struct error err;
    int status = ctl_writer(ctl, WRITER_TABLE, &writer);

    if (status != CTL_DONE)
        return status;
    if (ctl->format != WRITER_TABLE) {
        d.writer = writer;
        d.sink = writer_sink(writer);
    }
    /* Without it the files are not known, unless they are named. */
    if (config_load(ctl_config_path(ctl), CONFIG_PATHS, ctl_option(ctl, "config") != NULL,
                    &ctl->config, &err) < 0 &&
        !(ctl_option(ctl, "ledger") && ctl_option(ctl, "queue"))) {
        find(&d, FINDING_FAIL, "correct it, or give --ledger and --queue", "configuration: %s",
             err.text);
        return ctl_finish(writer, CTL_NO);
    }
    status = ctl_ledger_path(ctl, &d.ledger_path);
    if (status == CTL_DONE)
        status = ctl_queue_path(ctl, &d.queue_path);
    if (status != CTL_DONE)
        return status;
    d.daemon = ctl_daemon(d.ledger_path);
    examine(&d);
    db_close(d.ledger);
    return ctl_finish(writer, d.failed ? CTL_NO : CTL_DONE);
}
