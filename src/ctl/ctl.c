#include "ctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "store/ledger.h"
#include "store/queue.h"

const char *ctl_argument(const struct ctl *ctl, size_t i)
{
    return ctl->args.arguments[i];
}

const char *ctl_option(const struct ctl *ctl, const char *name)
{
    return args_option(&ctl->args, name);
}

int ctl_fail(int status, const struct error *err)
{
    fprintf(stderr, "reconctl: %s\n", err->text);
    return status;
}

static int say(int status, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

static int say(int status, const char *format, va_list args)
{
    struct error err;
    char text[sizeof(err.text)];

    vsnprintf(text, sizeof(text), format, args);
    error_set(&err, 0, "%s", text); /* what was given on the command line stays one line, too */
    return ctl_fail(status, &err);
}

int ctl_say(int status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(status, format, args);
    va_end(args);
    return status;
}

int ctl_usage(const struct ctl *ctl, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(CTL_USAGE, format, args);
    va_end(args);
    verbs_print_usage(ctl->args.verb);
    return CTL_USAGE;
}

/* --- configuration ------------------------------------------------------------------------------
 */

const char *ctl_config_path(const struct ctl *ctl)
{
    const char *given = ctl_option(ctl, "config");

    return given ? given : config_default_path();
}

static int load_config(struct ctl *ctl, struct error *err)
{
    if (ctl->config)
        return 0;
    return config_load(ctl_config_path(ctl), CONFIG_PATHS, ctl_option(ctl, "config") != NULL,
                       &ctl->config, err);
}

int ctl_config(struct ctl *ctl, const struct config **ret)
{
    struct error err;

    if (load_config(ctl, &err) < 0)
        return ctl_fail(EX_CONFIG, &err);
    *ret = ctl->config;
    return CTL_DONE;
}

/* Who may read a ledger that is named to us need not be able to read the daemon's configuration. */
static int config_for_ledger(struct ctl *ctl, const struct config **ret)
{
    struct error err;
    int r = load_config(ctl, &err);

    if (r == -EACCES && ctl_option(ctl, "ledger") && !ctl_option(ctl, "config")) {
        ctl_say(CTL_DONE, "note: %s; the defaults are assumed", err.text);
        r = config_load("/dev/null", CONFIG_PATHS, false, &ctl->config, &err);
    }
    if (r < 0)
        return ctl_fail(EX_CONFIG, &err);
    *ret = ctl->config;
    return CTL_DONE;
}

int ctl_match_settings(struct ctl *ctl, struct match_settings *ret)
{
    const struct config *config;
    int status = config_for_ledger(ctl, &config);

    if (status == CTL_DONE)
        *ret = (struct match_settings){
            .before = config->match_before,
            .after = config->match_after,
            .absence_grace = config->match_absence_grace,
            .late_watch = config->match_late_watch,
            .accept_amount_only = config->match_accept_amount_only,
            .claims_complete = config->match_claims == CLAIMS_COMPLETE,
        };
    return status;
}

int ctl_ledger_path(struct ctl *ctl, const char **ret)
{
    const struct config *config;
    int status = CTL_DONE;

    *ret = ctl_option(ctl, "ledger");
    if (!*ret) {
        status = ctl_config(ctl, &config);
        if (status == CTL_DONE)
            *ret = config->ledger_path;
    }
    return status;
}

int ctl_queue_path(struct ctl *ctl, const char **ret)
{
    const struct config *config;
    int status = CTL_DONE;

    *ret = ctl_option(ctl, "queue");
    if (!*ret) {
        status = ctl_config(ctl, &config);
        if (status == CTL_DONE)
            *ret = config->queue_path;
    }
    return status;
}

/* --- files --------------------------------------------------------------------------------------
 */

int ctl_open_ledger(struct ctl *ctl, struct db **ret)
{
    const char *path;
    struct error err;
    int status = ctl_ledger_path(ctl, &path);

    if (status != CTL_DONE)
        return status;
    return ledger_open_reader(path, ret, &err) < 0 ? ctl_fail(EX_IOERR, &err) : CTL_DONE;
}

int ctl_open_queue(struct ctl *ctl, struct db **ret)
{
    const char *path;
    struct error err;
    bool existed;
    int status = ctl_queue_path(ctl, &path);

    if (status != CTL_DONE)
        return status;
    existed = access(path, F_OK) == 0;
    if (queue_open(path, ret, NULL, 0, &err) < 0)
        return ctl_fail(EX_IOERR, &err);
    if (!existed)
        ctl_say(CTL_DONE, "note: %s did not exist and was made; does the daemon read this queue?",
                path);
    return CTL_DONE;
}

struct db *ctl_peek_queue(struct ctl *ctl)
{
    const char *path = ctl_option(ctl, "queue");
    struct db *queue;

    if (!path && load_config(ctl, NULL) == 0)
        path = ctl->config->queue_path;
    if (!path || access(path, R_OK) < 0 || db_open(path, DB_READ, 0, &queue, NULL) < 0)
        return NULL;
    return queue;
}

pid_t ctl_daemon(const char *ledger_path)
{
    pid_t owner = ledger_owner(ledger_path);

    return owner < 0 ? -1 : owner;
}

/* --- options ------------------------------------------------------------------------------------
 */

int ctl_duration(const struct ctl *ctl, const char *name, int64_t fallback, int64_t *ret)
{
    const char *text = ctl_option(ctl, name);

    *ret = fallback;
    if (text && parse_duration(text, ret) < 0)
        return ctl_usage(ctl, "--%s %s: not a duration, as 500ms, 30s, 15min, 2h or 1d", name,
                         text);
    return CTL_DONE;
}

int ctl_integer(const struct ctl *ctl, const char *name, int64_t min, int64_t max, int64_t fallback,
                int64_t *ret)
{
    const char *text = ctl_option(ctl, name);

    *ret = fallback;
    if (text && parse_int(text, min, max, ret) < 0)
        return ctl_usage(ctl, "--%s %s: not a number from %lld to %lld", name, text, (long long)min,
                         (long long)max);
    return CTL_DONE;
}

/* --- output -------------------------------------------------------------------------------------
 */

int ctl_writer(struct ctl *ctl, enum writer_format table, struct writer **ret)
{
    *ret = writer_new(stdout, ctl->format == WRITER_TABLE ? table : ctl->format);
    return *ret ? CTL_DONE : ctl_say(EX_IOERR, "out of memory");
}

int ctl_finish(struct writer *writer, int status)
{
    int r = writer_end(writer);

    return r < 0 ? ctl_say(EX_IOERR, "cannot write: %s", strerror(-r)) : status;
}
