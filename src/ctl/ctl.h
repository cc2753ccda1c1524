/* What the verbs share: the files, the configuration, the output and the exit statuses. */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <sysexits.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "config/config.h"
#include "core/match.h"
#include "ctl/verbs.h"
#include "ctl/writer.h"
#include "store/db.h"

/* EX_IOERR (74) is the database, EX_CONFIG (78) the configuration. */
enum { CTL_DONE = 0, CTL_NO = 1, CTL_USAGE = 2 };

struct ctl {
    struct args args;
    const struct clock *clock;
    enum writer_format format;
    struct config *config; /* NULL until somebody asks */
};

/* Argument i, or the option; NULL: not given. */
const char *ctl_argument(const struct ctl *ctl, size_t i);
const char *ctl_option(const struct ctl *ctl, const char *name);

/* "reconctl: text" on standard error. Each returns its exit status. */
int ctl_fail(int status, const struct error *err);
int ctl_say(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The reason, and the verb's usage line: CTL_USAGE. */
int ctl_usage(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The following return CTL_DONE, or an exit status after having said why. */

int ctl_config(struct ctl *ctl, const struct config **ret);
/* The configuration file that ctl_config() reads. */
const char *ctl_config_path(const struct ctl *ctl);
int ctl_match_settings(struct ctl *ctl, struct match_settings *ret);
int ctl_ledger_path(struct ctl *ctl, const char **ret);
int ctl_queue_path(struct ctl *ctl, const char **ret);
int ctl_open_ledger(struct ctl *ctl, struct db **ret);
int ctl_open_queue(struct ctl *ctl, struct db **ret);

/* The queue for reading, without making it; NULL when this user cannot read it. */
struct db *ctl_peek_queue(struct ctl *ctl);

/* The process id of the daemon, 0 when none runs, -1 when that cannot be told. */
pid_t ctl_daemon(const char *ledger_path);

/* A duration option in milliseconds; `fallback` when it is not given. */
int ctl_duration(const struct ctl *ctl, const char *name, int64_t fallback, int64_t *ret);
/* An integer option, likewise. */
int ctl_integer(const struct ctl *ctl, const char *name, int64_t min, int64_t max, int64_t fallback,
                int64_t *ret);

/* A writer for what was asked for; `table` says how WRITER_TABLE looks. */
int ctl_writer(struct ctl *ctl, enum writer_format table, struct writer **ret);
/* Ends the output; `status` if that went well. */
int ctl_finish(struct writer *writer, int status);

DEFINE_CLEANUP(struct writer *, writer_free)
DEFINE_CLEANUP(struct db *, db_close)
