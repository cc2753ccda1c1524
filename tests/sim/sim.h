/* A simulated world around the program: customers, a shop and its app, the Pay API with its faults,
 * and the daemon's real parts (sync, intake, matching, both databases) under a clock that jumps
 * from event to event. Everything that happens follows from the seed.
 *
 * "True time" is the daemon's; the app's and the API's clocks are off by a constant. Truth (who was
 * charged by which sale) is known to the world alone; the invariants compare what the ledger says
 * with it, and with what the API had shown by then. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../sandbox/rng.h"
#include "base/clock.h"
#include "core/match.h"
#include "core/rate_budget.h"
#include "service/reconcile.h"
#include "service/sync.h"
#include "store/db.h"
#include "store/ledger.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define NEVER  INT64_MAX
/* The simulated day begins here (2024-03-05T08:00:00Z): the queue refuses attempts that the real
 * clock of the machine calls future. */
#define DAWN INT64_C(1709625600000)

enum {
    MAX_ORDERS = 96,
    MAX_ATTEMPTS = 4,
    MAX_RECORDS = 800,
    MAX_CUSTOMERS = 48,
    MAX_FAILURES = 8,
    MAX_OUTAGES = 4,
    NONE = -1,
};

/* --- what a world is made of ------------------------------------------------------------------ */

struct span {
    int64_t min, max; /* ms, drawn evenly */
};

/* Chances are per mille. */
struct params {
    struct sync_settings sync;
    struct match_settings match;
    unsigned page_size, retries;

    unsigned customers, cards, orders, prices;
    int64_t history;           /* the shop is open this long before the daemon first starts, */
    int64_t open_for;          /* and this long after */
    unsigned in_pairs;         /* an order has a twin: same customer and price, minutes later */
    unsigned unknown, charged; /* cardSale times out; and then the card is charged nevertheless */
    unsigned declined;
    unsigned impatient; /* a second attempt although the first one's outcome is unknown */
    unsigned retries_when_safe;
    unsigned voids, returns, part_returns;
    unsigned extras; /* a surcharge or a tip is on the record */
    unsigned yen;

    unsigned told, shown; /* each card detail is given by the app, by the record */
    unsigned references;
    unsigned claims; /* a sale with a 2xx is reported */
    struct span claim_delay, enqueue_delay;
    unsigned slow_app; /* of both, an hour more */

    int64_t app_skew, api_skew; /* at most */
    struct span processing;     /* from the attempt to the charge */
    struct span lateness;       /* from the charge to where the API shows it */
    unsigned tail;
    struct span tail_lateness;
    unsigned pending; /* a record is unsettled at first */

    bool totals;
    unsigned unreachable, server_error, throttled, refused, garbage;
    unsigned truncated; /* an answer ends early and contradicts itself, if there are totals */
    unsigned silent;    /* an answer lacks rows and nothing in it says so */
    unsigned outages;
    unsigned broken, repaired;
    unsigned deleted;

    unsigned restarts; /* at each step of the daemon */
    struct span downtime;
};

struct scenario {
    const char *name, *what;
    void (*shape)(struct params *p, struct rng *rng); /* NULL: as the base is */
};
extern const struct scenario scenarios[];
extern const size_t n_scenarios;
void params_draw(const struct scenario *scenario, struct rng *rng, struct params *ret);

struct plastic {
    char last_four[5], brand[16], bin[9], email[64];
};

enum outcome { OUTCOME_OK, OUTCOME_DECLINED, OUTCOME_UNKNOWN };

struct attempt {
    int64_t at;      /* true time */
    int64_t told_at; /* as the app writes it, by its own clock */
    struct plastic card;
    struct plastic told; /* what the app says of the card; empty: nothing */
    enum outcome outcome;
    bool by_leave;      /* made because the ledger said that it is safe */
    bool queued, taken; /* written to the queue; taken from it by the daemon */
    int sale;           /* record, or NONE */
};

/* What one method says of an order's first attempt. */
struct answer {
    enum verdict verdict;
    int record; /* or NONE */
};

enum method { METHOD_LEDGER, METHOD_RECIPE, METHOD_RECIPE_CLAIMS, METHOD_COUNT };

struct order {
    char id[32];
    int customer;
    int64_t minor;
    char currency[4];
    char amount[32];
    struct attempt attempts[MAX_ATTEMPTS];
    int n_attempts;
    bool doubtful;       /* the app has asked about it */
    bool forgone;        /* the app does not try again */
    bool recorded;       /* answers[METHOD_LEDGER] is final */
    struct answer heard; /* the latest verdict */
    struct answer answers[METHOD_COUNT];
    bool charged_first; /* the first attempt charged the card */
};

enum record_kind { RECORD_SALE, RECORD_VOID, RECORD_REVERSAL, RECORD_RETURN };
enum breakage { WHOLE, BAD_AMOUNT, BAD_TYPE, BAD_CURRENCY, BAD_TIME, NO_ID, NO_TIME, BREAKAGES };

struct record {
    char id[24];
    enum record_kind kind;
    int order, attempt; /* whose it is */
    int original;       /* the sale it takes back, or NONE */
    int64_t minor, extra;
    char currency[4];
    struct plastic shown; /* as the record shows it */
    bool reference;
    int64_t created, transacted; /* by the API's clock */
    bool tells_created;
    int64_t visible_at, gone_at, settled_at, repaired_at; /* true time */
    bool declined;
    enum breakage breakage;
    int64_t withheld[16]; /* the last times that an answer left it out without a trace */
    unsigned n_withheld;
    int64_t returned; /* in truth */
    bool voided;
    bool claimed_in_truth;  /* the app knows the sale */
    bool delivered, stored; /* an answer with it was taken; the ledger was seen to have it */
    bool used_by_recipe;
};

enum event_kind {
    EVENT_ATTEMPT,
    EVENT_CHARGE,
    EVENT_LEARN,
    EVENT_ENQUEUE,
    EVENT_CLAIM,
    EVENT_LOOK, /* the app looks whether the order may be tried again */
    EVENT_VOID,
    EVENT_RETURN,
    EVENT_START,
};

struct event {
    int64_t at;
    uint64_t sequence;
    enum event_kind kind;
    int a, b;
};

struct counts {
    int64_t seeds, hours, passes, requests, restarts, verdicts, revisions;
    int64_t late;           /* not_charged, and the charge was shown only after the evidence */
    int64_t withheld;       /* not_charged, and the API left the charge out of its answer */
    int64_t early;          /* another's sale, when that other's order or claim was not in yet */
    int64_t lookalike;      /* another's sale, though nothing in the ledger could tell */
    int64_t swapped;        /* likewise, but the order was charged too, by an equal sale */
    int64_t double_charges; /* a charge, after leave was given, of an order that had one */
};

struct tally { /* of one method in one scenario, over orders */
    int64_t orders, charged_in_truth;
    int64_t said_charged, right_charged;
    int64_t said_not_charged, wrong_not_charged;
    int64_t undecided;
};

struct report {
    struct counts counts;
    struct tally tallies[METHOD_COUNT];
};

struct reply {
    enum { REPLY_BODY, REPLY_NONE, REPLY_SERVER_ERROR, REPLY_THROTTLED, REPLY_REFUSED } kind;
    char *body; /* to be freed */
    int64_t retry_after;
    int listed[128]; /* records in it */
    size_t n_listed;
};

struct daemon {
    struct ledger *ledger;
    struct db *queue;
    struct rate_budget *budget;
    struct sync *sync;
    int64_t sync_wake_at, tick_at;
    int64_t queue_version;
    bool undecided;
    bool offers_stale;
    int64_t grace; /* the configured one, or a longer one that was learned */
    int64_t learn_at;
    int64_t n_sealed; /* after the last matching */

    enum { REQUEST_NONE, REQUEST_WAITS, REQUEST_SENT, REQUEST_SERVED } request;
    int64_t request_at; /* its next step */
    struct sync_question question;
    unsigned retries, throttled;
    struct reply reply;
};

struct sim {
    uint64_t seed;
    const struct scenario *scenario;
    struct params params;
    struct rng rng;
    bool verbose;
    int64_t now;
    struct clock clock;
    char directory[256], ledger_path[300], queue_path[300];

    struct event *events; /* a heap */
    size_t n_events, allocated;
    uint64_t sequence;

    struct plastic cards[MAX_CUSTOMERS];
    struct order orders[MAX_ORDERS];
    int n_orders;
    struct record records[MAX_RECORDS];
    int n_records;
    int64_t app_offset, api_offset;
    int64_t fine_from;      /* no faults from here on */
    int64_t last_change;    /* of anything that the API shows */
    int64_t quiet_requests; /* made when everything was long decided */
    struct interval outages[MAX_OUTAGES];
    int n_outages;
    bool seconds_only, whole_last_second, numbers;
    unsigned envelope, reference_place;

    struct db *app_queue; /* the app's own connection */
    struct daemon daemon;

    struct report report;
    int failures;
    char failure[MAX_FAILURES][512];
};

/* --- main.c ----------------------------------------------------------------------------------- */

void fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void story(const struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t draw(struct sim *sim, struct span span);
/* When everything that happened has been read and decided. */
int64_t quiet_at(const struct sim *sim);

/* --- world.c: customers, shop, app, truth -------------------------------------------------------
 */

void schedule(struct sim *sim, int64_t at, enum event_kind kind, int a, int b);
void world_begin(struct sim *sim);
/* Makes the next event happen. */
void world_step(struct sim *sim);
/* The app hears of a verdict. */
void world_hear(struct sim *sim, const struct verdict_change *change);
int world_find_order(const struct sim *sim, const char *id);
int world_find_record(const struct sim *sim, const char *id);
bool record_reversed(const struct record *record);

/* --- api.c ------------------------------------------------------------------------------------ */

/* Whether the API shows the record now. */
bool api_shows(const struct sim *sim, const struct record *record);
/* Whether an answer of that time left it out. */
bool api_withheld(const struct record *record, int64_t from, int64_t to);
/* Times as the record tells them. */
int64_t api_told_transacted(const struct sim *sim, const struct record *record);
void api_serve(struct sim *sim, const struct sync_question *question, struct reply *ret);

/* --- daemon.c -----------------------------------------------------------------------------------
 */

void daemon_start(struct sim *sim);
void daemon_stop(struct sim *sim);
bool daemon_is_up(const struct sim *sim);
/* When it has something to do. */
int64_t daemon_next_at(const struct sim *sim);
void daemon_step(struct sim *sim);
struct db *daemon_ledger(const struct sim *sim);
/* The queue was written to; the daemon notices within its tick. */
void daemon_notice(struct sim *sim);

/* --- invariants.c -------------------------------------------------------------------------------
 */

void check_verdict(struct sim *sim, const struct verdict_change *change);
/* Before the app charges again. */
void check_leave(struct sim *sim, int order);
void check_pass(struct sim *sim, const struct sync_question *question);
void check_uniqueness(struct sim *sim);
void check_end(struct sim *sim);

/* --- report.c -----------------------------------------------------------------------------------
 */

/* What the vendor page's recipe says, at the moment when the app learns of the failure. */
void recipes_answer(struct sim *sim, int order);
/* The ledger's answer about the first attempt is what it says now. */
void report_first_attempt(struct sim *sim, int order);
void report_orders(struct sim *sim);
void report_add(struct report *to, const struct report *from);
void report_print(const struct report *reports);
