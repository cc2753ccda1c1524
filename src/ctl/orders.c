#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/verdict.h"
#include "ctl/waiting.h"
#include "store/explain.h"
#include "store/ledger.h"
#include "store/queue.h"
#include "store/report.h"

enum { DEFAULT_TIMEOUT_MS = 15 * 60 * 1000 };

int verb_verdict(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *queue = ctl_peek_queue(ctl);
    _cleanup_(db_close_p) struct db *ledger = NULL;
    const char *order_id = ctl_argument(ctl, 0);
    int queued = waiting_in_queue(queue, order_id);
    enum verdict verdict;
    int64_t last_attempt;
    struct error err;
    int status, r;

    /* The ledger may hold a verdict on earlier attempts. It is not shown: "safe to retry" would not
     * be true of the attempt that waits. */
    if (queued == 1) {
        ctl_say(CTL_NO, "order %s waits in the queue; is the daemon running?", order_id);
        return waiting_print(ctl, NULL, order_id, CTL_NO);
    }
    status = ctl_open_ledger(ctl, &ledger);
    if (status != CTL_DONE)
        return status;
    r = report_verdict(ledger, order_id, &verdict, &last_attempt, &err);
    if (r < 0)
        return ctl_fail(EX_IOERR, &err);
    if (r == 0)
        ctl_say(CTL_NO, "order %s is not known%s", order_id,
                queued < 0 ? " (it may wait in the queue, which cannot be read)" : "");
    return waiting_print(ctl, ledger, order_id,
                         r == 0 || verdict == VERDICT_PENDING ? CTL_NO : CTL_DONE);
}

int verb_wait(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *queue = NULL;
    int64_t timeout;
    int status = ctl_duration(ctl, "timeout", DEFAULT_TIMEOUT_MS, &timeout);

    if (status != CTL_DONE)
        return status;
    queue = ctl_peek_queue(ctl);
    return waiting_run(ctl, queue, ctl_argument(ctl, 0), -1, timeout);
}

int verb_orders(struct ctl *ctl)
{
    _cleanup_(writer_free_p) struct writer *writer = NULL;
    _cleanup_(db_close_p) struct db *ledger = NULL;
    const char *name = ctl_option(ctl, "verdict");
    struct report_sink sink;
    enum verdict verdict;
    struct error err;
    int64_t limit;
    int status;

    if (name && verdict_from_name(name, &verdict) < 0)
        return ctl_usage(ctl, "--verdict %s: no such verdict", name);
    status = ctl_integer(ctl, "limit", 0, INT64_MAX, -1, &limit);
    if (status == CTL_DONE)
        status = ctl_open_ledger(ctl, &ledger);
    if (status == CTL_DONE)
        status = ctl_writer(ctl, WRITER_TABLE, &writer);
    if (status != CTL_DONE)
        return status;
    sink = writer_sink(writer);
    if ((ctl_option(ctl, "revised") ? report_revisions : report_orders)(ledger, name, limit, &sink,
                                                                        &err) < 0)
        return ctl_fail(EX_IOERR, &err);
    return ctl_finish(writer, CTL_DONE);
}

/* --- resolve ------------------------------------------------------------------------------------
 */

/* Who sits at the terminal, also behind sudo; else whose process this is. */
static void login_name(char *name, size_t size)
{
    struct passwd entry, *found = NULL;
    char buffer[4096];

    if (getlogin_r(name, size) == 0 && *name)
        return;
    if (getpwuid_r(getuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found)
        snprintf(name, size, "%s", found->pw_name);
    else
        snprintf(name, size, "uid %u", (unsigned)getuid());
}

/* As far as this user can see: one who may only write the queue is believed. */
static int check_known(struct ctl *ctl, struct db *queue, const char *order_id,
                       const char *transaction_id)
{
    _cleanup_(db_close_p) struct db *ledger = NULL;
    enum verdict verdict;
    int64_t last_attempt;
    const char *path;
    int status = ctl_ledger_path(ctl, &path);

    if (status != CTL_DONE || ledger_open_reader(path, &ledger, NULL) < 0)
        return status;
    if (waiting_in_queue(queue, order_id) == 0 &&
        report_verdict(ledger, order_id, &verdict, &last_attempt, NULL) == 0)
        return ctl_say(CTL_NO, "order %s is not known", order_id);
    if (transaction_id && explain_has_transaction(ledger, transaction_id, NULL) == 0)
        ctl_say(CTL_DONE, "note: the ledger has no transaction %s (yet)", transaction_id);
    return CTL_DONE;
}

int verb_resolve(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *queue = NULL;
    const char *order_id = ctl_argument(ctl, 0), *decision = ctl_argument(ctl, 1);
    const char *transaction_id = ctl_option(ctl, "transaction");
    char who[129];
    struct error err;
    int status;

    if (strcmp(decision, "charged") != 0 && strcmp(decision, "not_charged") != 0)
        return ctl_usage(ctl, "%s: a person decides charged or not_charged", decision);
    if (transaction_id && strcmp(decision, "charged") != 0)
        return ctl_usage(ctl, "--transaction goes with charged only");
    status = ctl_open_queue(ctl, &queue);
    if (status == CTL_DONE)
        status = check_known(ctl, queue, order_id, transaction_id);
    if (status != CTL_DONE)
        return status;
    login_name(who, sizeof(who));
    switch (queue_add_resolution(queue, order_id, decision, transaction_id, ctl_option(ctl, "note"),
                                 who, &err)) {
    case 0:
        return CTL_DONE;
    case -EEXIST:
        return ctl_fail(CTL_USAGE, &err);
    default:
        return ctl_fail(EX_IOERR, &err);
    }
}
