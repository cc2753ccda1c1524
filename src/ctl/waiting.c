#include "ctl/waiting.h"

#include <errno.h>
#include <time.h>

#include "base/parse.h"
#include "store/ledger.h"
#include "store/queue.h"
#include "store/report.h"

enum {
    POLL_MS = 200,
    POLLS_FOR_NEW_LEDGER = 25, /* one that the daemon is making has no schema for a moment */
};

int waiting_in_queue(struct db *queue, const char *order_id)
{
    int r = queue ? queue_has_order(queue, order_id, NULL) : -1;

    return r < 0 ? -1 : r;
}

int waiting_print(struct ctl *ctl, struct db *ledger, const char *order_id, int status)
{
    _cleanup_(writer_free_p) struct writer *writer = NULL;
    struct report_sink sink;
    struct error err;
    int failed = ctl_writer(ctl, WRITER_RECORD, &writer);

    if (failed)
        return failed;
    sink = writer_sink(writer);
    if (ledger && report_order(ledger, order_id, &sink, &err) < 0)
        return ctl_fail(EX_IOERR, &err);
    return ctl_finish(writer, status);
}

struct wait {
    const char *order_id;
    int64_t attempt;
    struct db *queue, *ledger;
    const char *ledger_path;
    unsigned polls;
};

enum outcome { WAITS_IN_QUEUE, IS_PENDING, IS_DECIDED, IS_UNKNOWN };

static int open_ledger(struct wait *w, struct error *err)
{
    int r;

    if (w->ledger)
        return 0;
    r = ledger_open_reader(w->ledger_path, &w->ledger, err);
    return r == -EPROTO && w->polls < POLLS_FOR_NEW_LEDGER ? -ENOENT : r;
}

/* The queue is asked first: a row leaves it only after the ledger has it. */
static int poll(struct wait *w, enum outcome *ret, struct error *err)
{
    int queued = waiting_in_queue(w->queue, w->order_id);
    enum verdict verdict;
    int64_t last_attempt;
    int r;

    w->polls++;
    r = open_ledger(w, err);
    if (r == 0)
        r = report_verdict(w->ledger, w->order_id, &verdict, &last_attempt, err);
    else if (r == -ENOENT)
        r = 0;
    if (r < 0)
        return r;
    if (queued == 1)
        *ret = WAITS_IN_QUEUE;
    else if (r == 0 || last_attempt < w->attempt)
        *ret = queued == 0 && w->attempt < 0 ? IS_UNKNOWN : WAITS_IN_QUEUE;
    else
        *ret = verdict == VERDICT_PENDING ? IS_PENDING : IS_DECIDED;
    return 0;
}

static void sleep_ms(int64_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

static int give_up(struct ctl *ctl, const struct wait *w, enum outcome outcome, int64_t timeout)
{
    char text[32];

    format_duration(timeout, text, sizeof(text));
    if (outcome == IS_PENDING)
        ctl_say(CTL_NO, "still pending after %s: order %s", text, w->order_id);
    else
        ctl_say(CTL_NO,
                "still pending after %s: order %s waits in the queue; is the daemon running?", text,
                w->order_id);
    /* A verdict from before this attempt is never shown. */
    return waiting_print(ctl, outcome == IS_PENDING ? w->ledger : NULL, w->order_id, CTL_NO);
}

static int wait_until(struct ctl *ctl, struct wait *w, int64_t timeout)
{
    int64_t begin = clock_now(ctl->clock);
    enum outcome outcome;
    struct error err;

    for (;;) {
        int64_t left;

        if (poll(w, &outcome, &err) < 0)
            return ctl_fail(EX_IOERR, &err);
        if (outcome == IS_DECIDED)
            return waiting_print(ctl, w->ledger, w->order_id, CTL_DONE);
        if (outcome == IS_UNKNOWN) {
            ctl_say(CTL_NO, "order %s is not known", w->order_id);
            return waiting_print(ctl, NULL, w->order_id, CTL_NO);
        }
        left = timeout - (clock_now(ctl->clock) - begin);
        if (left <= 0)
            return give_up(ctl, w, outcome, timeout);
        sleep_ms(left < POLL_MS ? left : POLL_MS);
    }
}

int waiting_run(struct ctl *ctl, struct db *queue, const char *order_id, int64_t attempt,
                int64_t timeout)
{
    struct wait w = {.order_id = order_id, .attempt = attempt, .queue = queue};
    int status = ctl_ledger_path(ctl, &w.ledger_path);

    if (status != CTL_DONE)
        return status;
    if (ctl_daemon(w.ledger_path) == 0)
        ctl_say(CTL_DONE, "note: no daemon runs on %s; waiting for one", w.ledger_path);
    status = wait_until(ctl, &w, timeout);
    db_close(w.ledger);
    return status;
}
