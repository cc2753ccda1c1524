#include <errno.h>

#include "ctl/ctl.h"
#include "store/backup.h"
#include "store/queue.h"

/* Without a daemon the request is not left behind: one that starts begins a cycle anyway. */
int verb_sync(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *queue = NULL;
    const char *ledger_path;
    struct error err;
    int status = ctl_ledger_path(ctl, &ledger_path);

    if (status != CTL_DONE)
        return status;
    if (ctl_daemon(ledger_path) == 0)
        return ctl_say(CTL_NO, "no daemon runs on %s", ledger_path);
    status = ctl_open_queue(ctl, &queue);
    if (status != CTL_DONE)
        return status;
    return queue_request_sync(queue, &err) < 0 ? ctl_fail(EX_IOERR, &err) : CTL_DONE;
}

int verb_backup(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *ledger = NULL;
    const char *path = ctl_argument(ctl, 0);
    struct error err;
    int status, r;

    status = ctl_open_ledger(ctl, &ledger);
    if (status != CTL_DONE)
        return status;
    r = backup_write(ledger, path, &err);
    if (r < 0)
        return ctl_fail(r == -EEXIST ? CTL_NO : EX_IOERR, &err);
    ctl_say(CTL_DONE, "note: the daemon needs %s.key with it, which is not in the copy",
            db_path(ledger));
    return CTL_DONE;
}
