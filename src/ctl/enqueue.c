#include <errno.h>

#include "core/timestamp.h"
#include "ctl/waiting.h"
#include "store/queue.h"

/* A row that the queue's constraints refuse was given wrong values. */
static int refused(int r, const struct error *err)
{
    return ctl_fail(r == -EEXIST ? CTL_USAGE : EX_IOERR, err);
}

/* In the ledger's own form, so that waiting knows the very instant that the ledger will show. */
static int attempted_at(const struct ctl *ctl, int64_t *ret, char text[TIMESTAMP_TEXT_SIZE])
{
    const char *given = ctl_option(ctl, "attempted-at");

    *ret = clock_now(ctl->clock);
    if (given && timestamp_parse(given, ret) < 0)
        return ctl_usage(ctl, "--attempted-at %s: not a time, as 2026-11-22T14:03:07Z", given);
    timestamp_format(*ret, text);
    return CTL_DONE;
}

int verb_enqueue(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *queue = NULL;
    char at_text[TIMESTAMP_TEXT_SIZE];
    struct queue_order order = {
        .order_id = ctl_argument(ctl, 0),
        .amount = ctl_option(ctl, "amount"),
        .currency = ctl_option(ctl, "currency"),
        .attempted_at = at_text,
        .card_last_four = ctl_option(ctl, "last-four"),
        .card_brand = ctl_option(ctl, "brand"),
        .card_bin = ctl_option(ctl, "bin"),
        .billing_email = ctl_option(ctl, "email"),
        .session_id = ctl_option(ctl, "session"),
    };
    int64_t at, timeout;
    struct error err;
    int status, r;

    status = attempted_at(ctl, &at, at_text);
    if (status == CTL_DONE)
        status = ctl_integer(ctl, "status", 0, 999, 0, &order.http_status);
    if (status == CTL_DONE)
        status = ctl_duration(ctl, "wait", -1, &timeout);
    if (status == CTL_DONE)
        status = ctl_open_queue(ctl, &queue);
    if (status != CTL_DONE)
        return status;
    r = queue_add_order(queue, &order, &err);
    if (r < 0)
        return refused(r, &err);
    if (timeout < 0)
        return CTL_DONE;
    status = waiting_run(ctl, queue, order.order_id, at, timeout);
    if (status != CTL_DONE && status != CTL_NO)
        ctl_say(status, "the order is in the queue all the same");
    return status;
}

int verb_claim(struct ctl *ctl)
{
    _cleanup_(db_close_p) struct db *queue = NULL;
    struct error err;
    int status = ctl_open_queue(ctl, &queue), r;

    if (status != CTL_DONE)
        return status;
    r = queue_add_claim(queue, ctl_argument(ctl, 0), ctl_argument(ctl, 1), &err);
    if (r == -EALREADY)
        return ctl_fail(CTL_NO, &err);
    return r < 0 ? refused(r, &err) : CTL_DONE;
}
