#include "service/sync.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/backoff.h"
#include "core/timestamp.h"
#include "store/daemon_state.h"
#include "store/ledger.h"
#include "store/orders.h"
#include "store/transactions.h"

enum {
    MAX_PAGES = 500, /* of one pass: an API without end is not believed */
    PATIENCE = 5,    /* drifts, or passes without proof, in a row before a pause */
    MAX_BLOCKED = 64,
    ONCE_MAX_FAILURES = 8,
};

static const int64_t SECOND = 1000, MINUTE = 60000, HOUR = 3600000, DAY = 86400000;
static const int64_t NEVER = INT64_MAX;
static const int64_t KEEP_RUNS = 30 * 86400000LL;

/* One stream of questions. */
struct lane {
    struct sync_run run; /* under way if run.id */
    int64_t chunk;       /* windows are cut to this length */
    unsigned page_size;
    unsigned drifts;
    int64_t last_from, last_to; /* of the last whole pass */
    unsigned unproven;          /* whole passes over that window in a row */
};

/* A window that was not understood, and when it is worth another try. */
struct blocked {
    int64_t from, to, until;
    unsigned failures;
};

struct sync {
    struct db *ledger;
    const struct clock *clock;
    struct sync_settings settings;
    sync_rate_wait rate_wait;
    void *userdata;

    struct lane lanes[PURPOSE_COUNT];
    struct blocked blocked[MAX_BLOCKED];
    size_t n_blocked;
    int asking; /* the lane whose question is under way, or -1 */

    int64_t latest; /* reading of the clock */
    int64_t origin, edge;
    int64_t cycle_began_at, next_cycle_at;
    bool cycle_open; /* begun, and its recent lane still has work */
    bool cycle_full; /* it looks back over the whole overlap */
    int64_t next_full_at;
    int64_t recent_pages;
    bool deep_due;
    int64_t deep_began_at, deep_edge;

    int64_t poll_began_at, poll_ended_at, poll_edge; /* of pending orders */
    int64_t order_pages;

    unsigned api_failures, nonsense; /* in a row */
    int64_t api_not_before;
    unsigned failures; /* with `once` */
    bool stopped, idle, cycle_ended, stretched;
    char outcome[512];
    struct sync_tally tally;
};

static void interval_set_clear_p(struct interval_set *set)
{
    interval_set_clear(set);
}

#define _cleanup_set_ _cleanup_(interval_set_clear_p)

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int oom(struct error *err)
{
    return error_set(err, -ENOMEM, "out of memory");
}

/* --- beginning ------------------------------------------------------------------------------ */

static int load_time(struct db *ledger, const char *name, int64_t fallback, int64_t *ret,
                     struct error *err)
{
    char text[TIMESTAMP_TEXT_SIZE];
    int r;

    r = ledger_get_meta(ledger, name, text, sizeof(text), err);
    if (r < 0)
        return r;
    if (timestamp_parse(text, ret) < 0)
        *ret = fallback;
    return 0;
}

static int save_time(struct db *ledger, const char *name, int64_t at, struct error *err)
{
    char text[TIMESTAMP_TEXT_SIZE];

    return ledger_set_meta(ledger, name, timestamp_format(at, text), err);
}

/* History begins where it began when the ledger was empty. */
static int set_up_origin(struct sync *sync, int64_t now, struct error *err)
{
    int r;

    r = load_time(sync->ledger, SYNC_ORIGIN, -1, &sync->origin, err);
    if (r == 0 && sync->origin < 0) {
        sync->origin = timestamp_floor_second(now - sync->settings.backfill);
        r = save_time(sync->ledger, SYNC_ORIGIN, sync->origin, err);
        /* Reading the history is the first deep look-back. */
        if (r == 0)
            r = save_time(sync->ledger, "deep_began_at", now, err);
    }
    if (r == 0)
        r = load_time(sync->ledger, "deep_began_at", 0, &sync->deep_began_at, err);
    return r;
}

/* The clock was ahead, or is behind now: what was read "later" than now is not what a demand means
 * by it, and waits are not waited for twice. */
static int set_back(struct sync *sync, int64_t now, struct error *err)
{
    int r;

    r = sync_run_give_up(sync->ledger, false, now, "the clock was set back", err);
    if (r == 0)
        r = coverage_forget_after(sync->ledger, now, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < PURPOSE_COUNT; i++)
        if (sync->lanes[i].run.began_at > now)
            sync->lanes[i].run = (struct sync_run){0};
    sync->cycle_open = false;
    sync->next_cycle_at = sync->next_full_at = sync->api_not_before = 0;
    sync->edge = min64(sync->edge, timestamp_floor_second(now - sync->settings.edge_lag));
    sync->deep_due = false;
    sync->deep_began_at = min64(sync->deep_began_at, now);
    sync->poll_began_at = sync->poll_ended_at = -1;
    sync->n_blocked = 0;
    return 0;
}

/* What another API, or this one for another merchant, has shown proves nothing of this one. */
static int check_source(struct sync *sync, int64_t now, struct error *err)
{
    const char *source = sync->settings.source ? sync->settings.source : "";
    char known[2048];
    int r;

    r = ledger_get_meta(sync->ledger, "source", known, sizeof(known), err);
    if (r < 0 || strcmp(known, source) == 0)
        return r;
    r = db_begin(sync->ledger, err);
    if (r == 0)
        r = sync_run_give_up(sync->ledger, true, now, "the API or the merchant was changed", err);
    if (r == 0)
        r = coverage_forget_after(sync->ledger, -1, err);
    if (r == 0)
        r = ledger_set_meta(sync->ledger, "source", source, err);
    if (r == 0)
        r = db_commit(sync->ledger, err);
    if (r < 0)
        db_rollback(sync->ledger);
    return r;
}

/* A page number means another place when the page size is another. */
static int check_page_size(struct sync *sync, int64_t now, struct error *err)
{
    char known[16], wanted[16];
    int r;

    snprintf(wanted, sizeof(wanted), "%u", sync->settings.page_size);
    r = ledger_get_meta(sync->ledger, "page_size", known, sizeof(known), err);
    if (r < 0 || strcmp(known, wanted) == 0)
        return r;
    r = sync_run_give_up(sync->ledger, true, now, "the page size was changed", err);
    return r < 0 ? r : ledger_set_meta(sync->ledger, "page_size", wanted, err);
}

int sync_new(struct db *ledger, const struct clock *clock, const struct sync_settings *settings,
             sync_rate_wait rate_wait, void *userdata, struct sync **ret, struct error *err)
{
    struct sync *sync = calloc(1, sizeof(*sync));
    int64_t now = clock_now(clock);
    int r;

    if (!sync)
        return oom(err);
    sync->ledger = ledger;
    sync->clock = clock;
    sync->settings = *settings;
    sync->rate_wait = rate_wait;
    sync->userdata = userdata;
    sync->asking = -1;
    sync->edge = sync->cycle_began_at = sync->poll_began_at = sync->poll_ended_at = -1;
    sync->latest = now;
    r = set_up_origin(sync, now, err);
    if (r == 0)
        r = set_back(sync, now, err);
    if (r == 0)
        r = check_source(sync, now, err);
    if (r == 0)
        r = check_page_size(sync, now, err);
    for (int i = 0; i < PURPOSE_COUNT && r >= 0; i++) {
        sync->lanes[i].chunk = DAY;
        sync->lanes[i].page_size = settings->page_size;
        r = sync_run_resume(ledger, (enum sync_purpose)i, &sync->lanes[i].run, err);
    }
    if (r < 0) {
        sync_free(sync);
        return r;
    }
    *ret = sync;
    return 0;
}

struct sync *sync_free(struct sync *sync)
{
    free(sync);
    return NULL;
}

/* --- what is wanted ------------------------------------------------------------------------- */

/* Adds to `gaps` what of [from, to] is not covered as demanded. */
static int add_gaps(struct sync *sync, int64_t from, int64_t to,
                    const struct coverage_demand *demand, struct interval_set *gaps,
                    struct error *err)
{
    _cleanup_set_ struct interval_set missing = {0};
    int r;

    if (from > to)
        return 0;
    if (interval_set_add(&missing, from, to) < 0)
        return oom(err);
    r = coverage_subtract(sync->ledger, from, to, demand, &missing, err);
    for (size_t i = 0; i < missing.n && r == 0; i++)
        if (interval_set_add(gaps, missing.items[i].from, missing.items[i].to) < 0)
            r = oom(err);
    return r;
}

/* Pending orders are polled together: `fast_interval` apart, or as far apart as keeps their
 * questions within three fifths of the share; and a poll that took long leaves the other lanes time
 * before the next. */
static int64_t next_poll_at(const struct sync *sync)
{
    int64_t per_minute = max64(1, (int64_t)sync->settings.requests_per_minute * 3 / 5);
    int64_t took = sync->poll_ended_at - sync->poll_began_at;

    if (took < 0)
        return NEVER; /* it is under way */
    return max64(sync->poll_began_at +
                     max64(sync->settings.fast_interval, sync->order_pages * MINUTE / per_minute),
                 sync->poll_ended_at + took * 2 / 3);
}

static void tick_poll(struct sync *sync, int64_t now)
{
    if (sync->poll_began_at >= 0 && (sync->settings.once || now < next_poll_at(sync)))
        return;
    sync->poll_began_at = now;
    sync->poll_edge = timestamp_floor_second(now - sync->settings.edge_lag);
    sync->order_pages = 0;
}

/* A pending order needs its window read as far as time has come, again and again, as its sale may
 * show any moment; and when the grace is over, once, by passes that began after that and prove. */
static int order_gaps(struct sync *sync, int64_t now, struct interval_set *gaps, bool *ret_open,
                      struct error *err)
{
    const struct sync_settings *settings = &sync->settings;
    _cleanup_free_ struct open_order *orders = NULL;
    int64_t held_until;
    size_t n;
    int r;

    r = orders_open(sync->ledger, &orders, &n, err);
    if (r == 0)
        r = absence_held_until(sync->ledger, &held_until, err);
    if (r < 0)
        return r;
    *ret_open = n > 0;
    if (n > 0)
        tick_poll(sync, now);
    for (size_t i = 0; i < n && r == 0; i++) {
        int64_t from = timestamp_floor_second(orders[i].first_attempt_at - settings->before);
        int64_t ripe = orders[i].last_attempt_at + settings->absence_grace;
        /* What was paid within the window may be entered until the grace is over. */
        int64_t to = max64(timestamp_ceil_second(orders[i].last_attempt_at + settings->after),
                           timestamp_floor_second(ripe));
        struct coverage_demand demand = {.since = sync->poll_began_at};

        ripe = max64(ripe, held_until);
        if (now > ripe && to <= timestamp_floor_second(now - settings->edge_lag))
            demand = (struct coverage_demand){.since = ripe + 1, .proof = true};
        else
            to = min64(to, sync->poll_edge);
        r = add_gaps(sync, from, to, &demand, gaps, err);
    }
    return r;
}

static int lane_gaps(struct sync *sync, enum sync_purpose purpose, int64_t now,
                     struct interval_set *gaps, bool *ret_open, struct error *err)
{
    struct coverage_demand demand = {0};

    switch (purpose) {
    case PURPOSE_ORDER:
        return order_gaps(sync, now, gaps, ret_open, err);
    case PURPOSE_RECENT:
        if (sync->edge < 0)
            return 0;
        demand.since = sync->cycle_full ? sync->cycle_began_at : 0;
        return add_gaps(sync, max64(sync->origin, sync->edge - sync->settings.overlap), sync->edge,
                        &demand, gaps, err);
    case PURPOSE_DEEP:
        if (!sync->deep_due)
            return 0;
        demand.since = sync->deep_began_at;
        return add_gaps(sync, max64(sync->origin, sync->deep_edge - sync->settings.deep_overlap),
                        sync->deep_edge, &demand, gaps, err);
    case PURPOSE_HISTORY:
        if (sync->edge < 0)
            return 0;
        return add_gaps(sync, sync->origin, sync->edge, &demand, gaps, err);
    case PURPOSE_COUNT:
        break;
    }
    return -EINVAL;
}

static enum rate_priority lane_priority(enum sync_purpose purpose)
{
    return purpose == PURPOSE_ORDER    ? RATE_ORDER
           : purpose == PURPOSE_RECENT ? RATE_CYCLE
                                       : RATE_HISTORY;
}

/* Leaves out the windows that failed, until their time; *wake is when the next one comes back. */
static int leave_out_blocked(struct sync *sync, int64_t now, struct interval_set *gaps,
                             int64_t *wake, struct error *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < sync->n_blocked; i++) {
        struct blocked *b = &sync->blocked[i];

        if (b->until + DAY < now)
            continue; /* forgotten */
        sync->blocked[kept++] = *b;
        if (now >= b->until)
            continue;
        if (interval_set_subtract(gaps, b->from, b->to) < 0)
            return oom(err);
        *wake = min64(*wake, b->until);
    }
    sync->n_blocked = kept;
    return 0;
}

/* What lies between two gaps that are near each other is read once more rather than asked around:
 * the windows of many orders would cut a day into as many questions. */
static int join_near(struct sync *sync, struct interval_set *gaps, struct error *err)
{
    int64_t near = sync->settings.before + sync->settings.after + MINUTE;

    for (size_t i = 0; i + 1 < gaps->n;) {
        int64_t end = gaps->items[i].to, begin = gaps->items[i + 1].from;

        if (begin - end > near)
            i++;
        else if (interval_set_add(gaps, end, begin) < 0)
            return oom(err);
    }
    return 0;
}

/* Begins a pass over the lane's next gap. 1: it did. 0: the lane has nothing to ask. */
static int begin_pass(struct sync *sync, enum sync_purpose purpose, int64_t now, int64_t *wake,
                      struct error *err)
{
    struct lane *lane = &sync->lanes[purpose];
    _cleanup_set_ struct interval_set gaps = {0};
    struct sync_run run = {.purpose = purpose, .began_at = now};
    const struct interval *gap;
    bool open_orders = false;
    int r;

    r = lane_gaps(sync, purpose, now, &gaps, &open_orders, err);
    if (r < 0)
        return r;
    /* Before gaps are joined, or what lies between a blocked one and the next would be read again
     * and again; and after, as they may be joined across it. */
    r = leave_out_blocked(sync, now, &gaps, wake, err);
    if (r == 0 && purpose != PURPOSE_ORDER) {
        r = join_near(sync, &gaps, err);
        if (r == 0)
            r = leave_out_blocked(sync, now, &gaps, wake, err);
    }
    if (r == 0 && gaps.n == 0 && purpose == PURPOSE_ORDER &&
        sync->poll_ended_at < sync->poll_began_at)
        sync->poll_ended_at = now;
    if (r < 0 || gaps.n == 0) {
        if (r == 0 && open_orders && !sync->settings.once)
            *wake = min64(*wake, next_poll_at(sync));
        return r;
    }
    if (purpose == PURPOSE_HISTORY) {
        gap = &gaps.items[gaps.n - 1];
        run.to = gap->to;
        run.from = timestamp_floor_second(max64(gap->from, gap->to - lane->chunk));
    } else {
        gap = &gaps.items[0];
        run.from = timestamp_floor_second(gap->from);
        run.to = min64(timestamp_ceil_second(gap->to), run.from + lane->chunk);
    }
    run.to = timestamp_ceil_second(run.to);
    r = sync_run_begin(sync->ledger, &run, err);
    if (r < 0)
        return r;
    lane->run = run;
    return 1;
}

/* --- cycles --------------------------------------------------------------------------------- */

static int begin_cycle(struct sync *sync, int64_t now, struct error *err)
{
    int64_t edge = timestamp_floor_second(now - sync->settings.edge_lag);
    int r = save_time(sync->ledger, SYNC_EDGE, edge, err);

    if (r < 0)
        return r;
    sync->cycle_began_at = now;
    sync->edge = edge;
    sync->cycle_open = true;
    sync->cycle_full = sync->settings.once || now >= sync->next_full_at;
    sync->recent_pages = 0;
    snprintf(sync->outcome, sizeof(sync->outcome), "ok");
    if (!sync->deep_due && now >= sync->deep_began_at + sync->settings.deep_interval) {
        sync->deep_due = true;
        sync->deep_began_at = now;
        sync->deep_edge = sync->edge;
    }
    sync->next_cycle_at = now + sync->settings.interval;
    return 0;
}

/* The look-back of a busy merchant must not eat the share that open orders need: it is repeated as
 * far apart as keeps it within three tenths. */
static int end_cycle(struct sync *sync, struct error *err)
{
    int64_t per_minute = max64(1, (int64_t)sync->settings.requests_per_minute * 3 / 10);

    sync->cycle_open = false;
    sync->cycle_ended = true;
    if (sync->cycle_full) {
        int64_t pause = sync->recent_pages * MINUTE / per_minute;

        sync->stretched = pause > sync->settings.interval;
        sync->next_full_at = sync->stretched ? sync->cycle_began_at + pause : sync->cycle_began_at;
    }
    return sync_run_prune(sync->ledger, sync->cycle_began_at - KEEP_RUNS, err);
}

static void finish_deep(struct sync *sync)
{
    sync->deep_due = false;
    /* Losing this to an error costs one deep look-back too many. */
    save_time(sync->ledger, "deep_began_at", sync->deep_began_at, NULL);
}

int sync_next(struct sync *sync, struct sync_question *ret, int64_t *ret_wait, struct error *err)
{
    int64_t now = clock_now(sync->clock);
    int64_t wake = NEVER, rate;
    bool work = false;
    int r;

    if (sync->asking >= 0 || sync->idle || sync->stopped) {
        sync->idle |= sync->stopped;
        *ret_wait = NEVER;
        return 0;
    }
    if (now < sync->latest) {
        r = set_back(sync, now, err);
        if (r < 0)
            return r;
    }
    sync->latest = now;
    if (!sync->cycle_open && now >= sync->next_cycle_at &&
        !(sync->settings.once && sync->edge >= 0)) {
        r = begin_cycle(sync, now, err);
        if (r < 0)
            return r;
    }
    if (now < sync->api_not_before) {
        *ret_wait = sync->api_not_before - now;
        return 0;
    }
    for (int i = 0; i < PURPOSE_COUNT; i++) {
        struct lane *lane = &sync->lanes[i];

        if (!lane->run.id) {
            r = begin_pass(sync, (enum sync_purpose)i, now, &wake, err);
            if (r < 0)
                return r;
            if (r == 0 && i == PURPOSE_RECENT && sync->cycle_open) {
                r = end_cycle(sync, err);
                if (r < 0)
                    return r;
            }
            if (!lane->run.id && i == PURPOSE_DEEP && sync->deep_due)
                finish_deep(sync);
        }
        if (!lane->run.id)
            continue;
        work = true;
        rate = sync->rate_wait(lane_priority((enum sync_purpose)i), sync->userdata);
        if (rate > 0) {
            wake = min64(wake, now + rate);
            continue;
        }
        sync->asking = i;
        *ret = (struct sync_question){.purpose = (enum sync_purpose)i,
                                      .priority = lane_priority((enum sync_purpose)i),
                                      .from = lane->run.from,
                                      .to = lane->run.to,
                                      .page = lane->run.next_page};
        return 1;
    }
    if (sync->settings.once && !work)
        sync->idle = true;
    if (!sync->settings.once)
        wake = min64(wake, sync->next_cycle_at);
    *ret_wait = wake == NEVER ? NEVER : max64(wake - now, 1);
    return 0;
}

/* --- answers -------------------------------------------------------------------------------- */

static void describe(const struct sync_run *run, char *text, size_t size)
{
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];

    snprintf(text, size, "%s pass %" PRId64 " over %s .. %s, page %" PRId64,
             sync_purpose_name(run->purpose), run->id, timestamp_format_query(run->from, from),
             timestamp_format_query(run->to, to), run->next_page);
}

static void say(struct sync *sync, const struct sync_run *run, struct sync_news *news,
                const char *what)
{
    char where[160];

    describe(run, where, sizeof(where));
    snprintf(news->text, sizeof(news->text), "%s: %s", where, what);
    snprintf(sync->outcome, sizeof(sync->outcome), "%s", news->text);
}

/* A window that cannot be read is left alone for a while, longer each time; the lane's next windows
 * are smaller, so that what is wrong is closed in on and the rest goes on. */
static void block(struct sync *sync, struct lane *lane, const struct sync_run *run, int64_t now)
{
    struct blocked *slot = NULL;

    for (size_t i = 0; i < sync->n_blocked && !slot; i++)
        if (sync->blocked[i].from == run->from && sync->blocked[i].to == run->to)
            slot = &sync->blocked[i];
    if (!slot) {
        if (sync->n_blocked == MAX_BLOCKED)
            memmove(sync->blocked, sync->blocked + 1, --sync->n_blocked * sizeof(sync->blocked[0]));
        slot = &sync->blocked[sync->n_blocked++];
        *slot = (struct blocked){.from = run->from, .to = run->to};
    }
    slot->until = sync->settings.once
                      ? now + DAY
                      : now + backoff_delay(5 * SECOND, slot->failures, 10 * MINUTE);
    slot->failures++;
    lane->chunk = max64(lane->chunk / 2, MINUTE);
    lane->drifts = lane->unproven = 0;
    sync->failures++;
    if (sync->settings.once && sync->failures >= ONCE_MAX_FAILURES)
        sync->stopped = true;
}

/* Rows that are of another time than was asked for, by either of their times and a wide margin. */
static size_t count_strangers(const struct sync_run *run, const struct page *page)
{
    int64_t from = run->from - HOUR, to = run->to + HOUR;
    size_t n = 0;

    for (size_t i = 0; i < page->n_records; i++) {
        const struct transaction *t = &page->records[i];

        n += (t->created_at < from || t->created_at > to) &&
             (t->transacted_at < from || t->transacted_at > to);
    }
    return n;
}

/* What is wrong with a page in the light of the pass so far; NULL: nothing. */
static const char *find_drift(const struct sync_run *before, const struct page *page)
{
    int64_t rows = (int64_t)(page->n_records + page->n_bad);

    /* One odd row is an odd row; several, and no other, are the answer to another question. */
    if (rows > 1 && (int64_t)count_strangers(before, page) == rows)
        return "the rows are of another time than was asked for";
    if (before->next_page > 1 && page->total != before->total)
        return "the total changed between pages";
    if (before->next_page > 1 && page->has_next && rows != before->page_rows)
        return "a page in the middle has another number of rows than the first";
    if (page->total >= 0 && before->rows_read + rows > page->total)
        return "more rows came than the total says";
    if (page->total >= 0 && !page->has_next && before->rows_read + rows < page->total)
        return "fewer rows came than the total says";
    return NULL;
}

/* What came of a page. */
struct taken {
    bool ended;
    enum run_outcome outcome; /* once ended */
    bool covers;              /* every record of the window was read */
    bool proof;               /* and nothing can have moved meanwhile */
    const char *detail;       /* why not, or NULL */
    int64_t vanished;
};

static void fail(struct taken *taken, enum run_outcome outcome, const char *detail)
{
    *taken = (struct taken){.ended = true, .outcome = outcome, .detail = detail};
}

static unsigned times_blocked(const struct sync *sync, const struct sync_run *run)
{
    for (size_t i = 0; i < sync->n_blocked; i++)
        if (sync->blocked[i].from == run->from && sync->blocked[i].to == run->to)
            return sync->blocked[i].failures;
    return 0;
}

/* The pass read its last page. */
static int judge_pass(struct sync *sync, const struct sync_run *run, bool strangers,
                      struct taken *ret, struct error *err)
{
    bool one_page = run->next_page == 1, whole;
    int64_t missing;
    int r;

    r = transactions_missing(sync->ledger, run, &missing, err);
    if (r < 0)
        return r;
    *ret = (struct taken){.ended = true, .outcome = RUN_COMPLETE};
    /* Most likely an error of the API; but not for ever. Then it is as with rows that are missing.
     */
    if (run->rows_read == 0 && missing > 0 && times_blocked(sync, run) < PATIENCE) {
        fail(ret, RUN_FAILED, "an empty answer for a window in which records are known");
        return 0;
    }
    /* One page is read in one instant. Several are held together by the total; but one row gone and
     * one come leave that as it was, so it does not prove an absence. */
    if (missing == 0 && run->repeats == 0 && !strangers) {
        ret->proof = one_page;
        ret->covers = one_page || run->total >= 0;
    }
    if (ret->proof)
        return 0;
    /* On several pages a row that came twice is in the place of one that did not come. */
    whole = one_page || run->repeats == 0;
    /* Rows may have moved across a page's border unseen, or be left out by mistake. Nothing did if
     * the same question had the same answer, row for row, before. */
    r = sync_run_has_twin(sync->ledger, run, err);
    if (r < 0)
        return r;
    if (r > 0 && whole)
        ret->covers = ret->proof = true;
    else if (run->repeats > 0)
        fail(ret, RUN_DRIFTED,
             one_page ? "one answer holds a row twice"
                      : "rows came twice: they moved from one page to the next");
    else
        ret->detail = missing > 0 ? "records that are known were not shown"
                      : strangers ? "there are rows of another time than was asked for"
                                  : "several pages, not yet read twice alike";
    return 0;
}

/* What the page makes of the pass. */
static int judge_page(struct sync *sync, const struct sync_run *before, struct sync_run *run,
                      const struct page *page, struct taken *ret, struct error *err)
{
    const char *drift = find_drift(before, page);
    int64_t rows = run->rows_read - before->rows_read;

    *ret = (struct taken){0};
    if (drift) /* one answer that contradicts itself cannot have drifted */
        fail(ret, before->next_page == 1 ? RUN_FAILED : RUN_DRIFTED, drift);
    else if (before->next_page > 1 && rows > 0 && run->repeats - before->repeats == rows)
        fail(ret, RUN_FAILED, "a page holds nothing but rows of earlier pages");
    else if (page->has_next && run->next_page >= MAX_PAGES)
        fail(ret, RUN_FAILED, "the pages have no end");
    else if (page->has_next)
        run->next_page++;
    else
        return judge_pass(sync, run, count_strangers(before, page) > 0, ret, err);
    return 0;
}

/* Stores the page and moves the cursor, in the caller's transaction. */
static int take_page(struct sync *sync, struct sync_run *run, const struct page *page, long status,
                     struct taken *ret, struct error *err)
{
    const struct sync_run before = *run;
    int64_t now = clock_now(sync->clock);
    int r;

    r = transactions_store(sync->ledger, run, page, sync->settings.unsettled, now, err);
    if (r < 0)
        return r;
    if (before.next_page == 1) {
        run->page_rows = run->rows_read;
        run->total = page->total;
    }
    r = judge_page(sync, &before, run, page, ret, err);
    if (r == 0 && ret->ended && ret->outcome == RUN_COMPLETE)
        r = transactions_note_missing(sync->ledger, run, now, &ret->vanished, err);
    if (r == 0)
        r = sync_run_advance(sync->ledger, run, err);
    if (r == 0 && ret->ended)
        r = sync_run_end(sync->ledger, run, ret->outcome, ret->proof, now, status, ret->detail,
                         err);
    if (r == 0 && ret->covers)
        r = coverage_add(sync->ledger, run, ret->proof, err);
    return r;
}

/* Windows are made to hold somewhat less than a page, as one page is proof by itself: the next one
 * is as long as would have held four fifths of one here, and grows while there is little. */
static void adapt_chunk(struct lane *lane, const struct sync_run *run)
{
    int64_t length = run->to - run->from;

    if (run->next_page > 1)
        lane->chunk = max64(length / run->rows_read * max64(run->page_rows * 4 / 5, 1),
                            max64(length / 8, MINUTE));
    else if (length >= lane->chunk && run->rows_read * 2 < (int64_t)lane->page_size)
        lane->chunk = min64(lane->chunk * 2, DAY);
}

static void after_pass(struct sync *sync, struct lane *lane, const struct sync_run *run,
                       const struct taken *taken, struct sync_news *news)
{
    int64_t now = clock_now(sync->clock);
    bool again = run->from == lane->last_from && run->to == lane->last_to;

    switch (taken->outcome) {
    case RUN_COMPLETE:
        news->pass_ended = true;
        lane->drifts = 0;
        sync->nonsense = 0;
        adapt_chunk(lane, run);
        /* A window of which too little is proved is asked again at once, for a while. */
        lane->unproven = taken->proof || !again ? 0 : lane->unproven + 1;
        lane->last_from = run->from;
        lane->last_to = run->to;
        if (lane->unproven >= PATIENCE) {
            sync->tally.drifted = true;
            say(sync, run, news, taken->detail);
            block(sync, lane, run, now);
        }
        return;
    case RUN_DRIFTED:
        news->drifted = true;
        say(sync, run, news, taken->detail);
        if (++lane->drifts >= PATIENCE) {
            sync->tally.drifted = true;
            block(sync, lane, run, now);
        }
        return;
    case RUN_FAILED:
        news->not_understood = true;
        sync->tally.not_understood = true;
        say(sync, run, news, taken->detail);
        /* An API that answers nothing but nonsense is not asked at the full rate. */
        if (++sync->nonsense > PATIENCE)
            sync->api_not_before =
                now + backoff_delay(2 * SECOND, sync->nonsense - PATIENCE, 5 * MINUTE);
        if (run->next_page >= MAX_PAGES) /* that took long enough */
            sync->failures = ONCE_MAX_FAILURES;
        block(sync, lane, run, now);
        return;
    }
}

static int answer_page(struct sync *sync, struct lane *lane, const struct sync_answer *answer,
                       struct sync_news *news, struct error *err)
{
    struct sync_run run = lane->run;
    struct taken taken = {0};
    int r;

    r = db_begin(sync->ledger, err);
    if (r == 0)
        r = take_page(sync, &run, answer->page, answer->status, &taken, err);
    if (r == 0)
        r = db_commit(sync->ledger, err);
    if (r < 0) {
        db_rollback(sync->ledger);
        return r;
    }
    news->stored = run.rows_read - lane->run.rows_read;
    news->new_records = run.rows_new - lane->run.rows_new;
    news->bad_records = run.rows_bad - lane->run.rows_bad;
    news->new_bad_records = run.rows_bad_new - lane->run.rows_bad_new;
    news->vanished = taken.vanished;
    sync->tally.quarantined |= news->bad_records > 0;
    sync->api_failures = 0;
    sync->order_pages += run.purpose == PURPOSE_ORDER;
    sync->recent_pages += run.purpose == PURPOSE_RECENT;
    lane->run = taken.ended ? (struct sync_run){0} : run;
    if (taken.ended)
        after_pass(sync, lane, &run, &taken, news);
    return 0;
}

/* The API as a whole is in trouble: the pass keeps its cursor, everything waits. */
static void answer_trouble(struct sync *sync, const struct sync_answer *answer,
                           const struct sync_run *run, struct sync_news *news)
{
    int64_t now = clock_now(sync->clock);

    say(sync, run, news, answer->text);
    sync->tally.unreachable |= answer->kind == SYNC_UNREACHABLE;
    sync->tally.failed |= answer->kind == SYNC_FAILED;
    sync->tally.refused |= answer->kind == SYNC_REFUSED;
    sync->api_not_before =
        now + backoff_delay(answer->kind == SYNC_REFUSED ? 10 * SECOND : 2 * SECOND,
                            sync->api_failures++,
                            answer->kind == SYNC_REFUSED ? 5 * MINUTE : MINUTE);
    if (sync->cycle_open) {
        /* The cycle has failed; the next one comes when the API is itself again. */
        sync->cycle_open = false;
        sync->cycle_ended = true;
    }
    if (sync->settings.once)
        sync->stopped = true;
}

static int answer_nonsense(struct sync *sync, struct lane *lane, const struct sync_answer *answer,
                           struct sync_news *news, struct error *err)
{
    const struct sync_run run = lane->run;
    struct taken taken;
    int r;

    fail(&taken, RUN_FAILED, answer->text);
    r = sync_run_end(sync->ledger, &run, RUN_FAILED, false, clock_now(sync->clock), answer->status,
                     answer->text, err);
    if (r < 0)
        return r;
    lane->run = (struct sync_run){0};
    after_pass(sync, lane, &run, &taken, news);
    return 0;
}

int sync_answer(struct sync *sync, const struct sync_answer *answer, struct sync_news *ret,
                struct error *err)
{
    struct lane *lane = &sync->lanes[sync->asking];
    struct sync_news news = {0};
    int r = 0;

    sync->asking = -1;
    switch (answer->kind) {
    case SYNC_PAGE:
        r = answer_page(sync, lane, answer, &news, err);
        break;
    case SYNC_UNREACHABLE:
    case SYNC_FAILED:
    case SYNC_REFUSED:
        answer_trouble(sync, answer, &lane->run, &news);
        break;
    case SYNC_NOT_UNDERSTOOD:
        r = answer_nonsense(sync, lane, answer, &news, err);
        break;
    }
    if (r == 0)
        *ret = news;
    return r;
}

void sync_forget_question(struct sync *sync)
{
    sync->asking = -1;
}

void sync_set_grace(struct sync *sync, int64_t absence_grace)
{
    sync->settings.absence_grace = absence_grace;
}

void sync_poke(struct sync *sync, bool cycle)
{
    if (cycle)
        sync->next_cycle_at = sync->next_full_at = sync->api_not_before = 0;
}

bool sync_idle(const struct sync *sync)
{
    return sync->idle;
}

bool sync_take_cycle_end(struct sync *sync, const char **ret_outcome)
{
    if (!sync->cycle_ended)
        return false;
    sync->cycle_ended = false;
    *ret_outcome = sync->outcome;
    return true;
}

void sync_get_tally(const struct sync *sync, struct sync_tally *ret)
{
    *ret = sync->tally;
}

int sync_get_progress(struct sync *sync, struct sync_progress *ret, struct error *err)
{
    _cleanup_set_ struct interval_set gaps = {0};
    struct sync_progress progress = {
        .origin = sync->origin,
        .edge = sync->edge,
        .cycle_began_at = sync->cycle_began_at,
        .stretched = sync->stretched,
    };
    int r = 0;

    if (sync->edge >= 0)
        r = add_gaps(sync, sync->origin, sync->edge, &(struct coverage_demand){0}, &gaps, err);
    for (size_t i = 0; i < gaps.n; i++)
        progress.history_left += gaps.items[i].to - gaps.items[i].from;
    if (r == 0)
        *ret = progress;
    return r;
}
