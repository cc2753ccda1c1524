#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/verdict.h"
#include "ctl/waiting.h"
#include "store/ledger.h"
#include "store/permits.h"
#include "store/report.h"

/* Why there is no leave, as far as this user can see. */
static int refuse(struct ctl *ctl, struct db *queue, const char *order_id)
{
    _cleanup_(db_close_p) struct db *ledger = NULL;
    char by[256], at[64];
    enum verdict verdict;
    int64_t last_attempt;
    const char *path;

    if (waiting_in_queue(queue, order_id) == 1)
        return ctl_say(CTL_NO, "no: order %s waits in the queue", order_id);
    if (ctl_ledger_path(ctl, &path) == CTL_DONE && ledger_open_reader(path, &ledger, NULL) == 0) {
        if (report_verdict(ledger, order_id, &verdict, &last_attempt, NULL) != 1)
            return ctl_say(CTL_NO, "no: order %s is not known", order_id);
        if (!verdict_safe_to_retry(verdict))
            return ctl_say(CTL_NO, "no: order %s is %s", order_id, verdict_name(verdict));
    }
    if (permit_last(queue, order_id, by, sizeof(by), at, sizeof(at), NULL) == 1)
        return ctl_say(CTL_NO,
                       "no: leave to charge order %s again was taken at %s by %s; it is given anew "
                       "after a further attempt is reported",
                       order_id, at, *by ? by : "somebody");
    return ctl_say(CTL_NO, "no: leave to charge order %s again is not offered (yet)", order_id);
}

int verb_permit(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *queue = NULL;
    const char *order_id = ctl_argument(ctl, 0);
    char host[128] = "", who[192];
    struct error err;
    int status, r;

    status = ctl_open_queue(ctl, &queue);
    if (status != CTL_DONE)
        return status;
    gethostname(host, sizeof(host) - 1);
    snprintf(who, sizeof(who), "%s, process %ld", host, (long)getppid());
    r = permit_take(queue, order_id, who, &err);
    if (r < 0)
        return ctl_fail(EX_IOERR, &err);
    if (r != PERMIT_TAKEN)
        return refuse(ctl, queue, order_id);
    ctl_say(CTL_DONE, "charge order %s again, once", order_id);
    return CTL_DONE;
}
