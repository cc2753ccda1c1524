#include "shop.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "core/timestamp.h"
#include "store/queue.h"

struct shop *shop;
char shop_directory[PATH_MAX];

/* Long ago, as the queue refuses times to come. */
const int64_t SHOP_BEGIN = 1750000000000, SHOP_END = SHOP_BEGIN + 45 * 60000LL;

static const char *complaint_about = "";
static struct db *app;

static int64_t now(void *userdata)
{
    (void)userdata;
    return shop->now;
}

static int64_t boot(void *userdata)
{
    (void)userdata;
    return shop->now - SHOP_BEGIN - shop->ahead;
}

const struct clock shop_clock = {now, NULL}, shop_boot = {boot, NULL};

void complain_about(const char *what)
{
    complaint_about = what;
}

void complain(const char *format, ...)
{
    va_list args;

    if (shop->complaints++ > 8)
        return;
    printf("%s: at %+lld s: ", complaint_about, (long long)(shop->now - SHOP_BEGIN) / 1000);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

void shop_path(const char *name, char *ret, size_t size)
{
    if ((size_t)snprintf(ret, size, "%s/%s", shop_directory, name) >= size)
        abort();
}

/* --- what the API knows ----------------------------------------------------------------------- */

static void add_record(struct shop_record record)
{
    size_t at = shop->n_records++;

    if (shop->n_records > SHOP_RECORDS)
        abort();
    for (; at > 0 && shop->records[at - 1].created_at > record.created_at; at--)
        shop->records[at] = shop->records[at - 1];
    shop->records[at] = record;
}

static void add_sale(const char *id, int64_t at, int64_t minor, const char *last_four)
{
    add_record((struct shop_record){.id = id,
                                    .type = "CreditCardSale",
                                    .last_four = last_four,
                                    .minor = minor,
                                    .created_at = at,
                                    .visible_at = at});
}

static struct shop_record *record_of(const char *id)
{
    for (size_t i = 0; i < shop->n_records; i++)
        if (strcmp(shop->records[i].id, id) == 0)
            return &shop->records[i];
    abort();
}

static void fill_in(const struct shop_record *record, struct transaction *t)
{
    *t = (struct transaction){.transacted_at = record->created_at,
                              .created_at = record->created_at,
                              .amount = {record->minor, "USD"},
                              .net = {record->minor, "USD"}};
    snprintf(t->id, sizeof(t->id), "%s", record->id);
    snprintf(t->type, sizeof(t->type), "%s", record->type);
    snprintf(t->card.last_four, sizeof(t->card.last_four), "%s",
             record->last_four ? record->last_four : "");
    snprintf(t->order_ref, sizeof(t->order_ref), "%s", record->order_ref ? record->order_ref : "");
    snprintf(t->original_id, sizeof(t->original_id), "%s",
             record->original_id ? record->original_id : "");
}

static void fill_in_bad(const struct shop_record *record, struct bad_record *bad)
{
    *bad = (struct bad_record){
        .has_time = true,
        .created_at = record->created_at,
        .transacted_at = record->created_at,
    };
    snprintf(bad->id, sizeof(bad->id), "%s", record->id);
    snprintf(bad->reason, sizeof(bad->reason), "amount: missing");
    snprintf(bad->digest, sizeof(bad->digest), "%032x", (unsigned)record->minor);
}

struct page *shop_page(int64_t from, int64_t to, int64_t number)
{
    struct page *page = calloc(1, sizeof(*page));
    int64_t skip = (number - 1) * SHOP_PAGE_SIZE, total = 0;

    page->records = calloc(SHOP_PAGE_SIZE, sizeof(*page->records));
    page->bad = calloc(SHOP_PAGE_SIZE, sizeof(*page->bad));
    for (size_t i = 0; i < shop->n_records; i++) {
        const struct shop_record *record = &shop->records[i];

        if (record->created_at < from || record->created_at > to ||
            record->visible_at > shop->now || total++ < skip || total > skip + SHOP_PAGE_SIZE)
            continue;
        if (record->bad)
            fill_in_bad(record, &page->bad[page->n_bad++]);
        else
            fill_in(record, &page->records[page->n_records++]);
    }
    page->has_next = total > skip + SHOP_PAGE_SIZE;
    page->number = number;
    page->total = total;
    page->total_pages = -1;
    return page;
}

bool shop_api_is_down(void)
{
    return shop->now >= SHOP_BEGIN + 290000 && shop->now < SHOP_BEGIN + 310000;
}

/* One is revoked, one is gone, one is revoked at the second time of asking. */
long shop_vault_status(const char *session_key)
{
    size_t i = (size_t)(session_key[strlen(session_key) - 1] - '1');

    if (i >= SHOP_SESSIONS)
        abort();
    if (shop->vault_asked[i]++ == 0 && i == 2)
        return 500;
    shop->vault_closed[i] = true;
    return i == 1 ? 404 : 200;
}

/* --- what the app does ------------------------------------------------------------------------ */

static void must(int r, const struct error *err)
{
    if (r < 0)
        complain("the app: %s", err->text);
}

static struct db *queue_of_app(void)
{
    char path[PATH_MAX];
    struct error err = {0};

    shop_path("queue/queue.db", path, sizeof(path));
    if (!app)
        must(db_open(path, DB_WRITE, 0, &app, &err), &err);
    return app;
}

void shop_close_app(void)
{
    app = db_close(app);
}

static void enqueue_at(int64_t at, const char *order_id, const char *amount, const char *last_four)
{
    char text[TIMESTAMP_TEXT_SIZE];
    struct error err = {0};
    const struct queue_order order = {
        .order_id = order_id,
        .amount = amount,
        .attempted_at = timestamp_format(at, text),
        .http_status = 502,
        .card_last_four = last_four,
        .billing_email = "buyer@example.com",
    };

    must(queue_add_order(queue_of_app(), &order, &err), &err);
    if (shop->n_attempts == SHOP_ATTEMPTS)
        abort();
    shop->attempts[shop->n_attempts++] = (struct shop_attempt){order_id, at, 502};
}

static void enqueue(const char *order_id, const char *amount, const char *last_four)
{
    enqueue_at(shop->now, order_id, amount, last_four);
}

/* Twice, before the daemon looks. */
static void order_charged(void)
{
    enqueue_at(shop->now - 2000, "charged", "10.00", "1111");
    enqueue("charged", "10.00", "1111");
    add_sale("sale-charged", shop->now + 1000, 1000, "1111");
}

/* Its sale shows long after its absence was proved. */
static void order_late(void)
{
    enqueue("late", "20.00", "2222");
    add_sale("sale-late", shop->now + 1500, 2000, "2222");
    record_of("sale-late")->visible_at = SHOP_BEGIN + 26 * 60000LL;
}

static void orders_absent(void)
{
    enqueue("again", "30.00", "3333");
    enqueue("absent", "40.00", "4444");
}

static void order_claimed(void)
{
    struct error err = {0};

    enqueue("claimed", "50.00", NULL);
    must(queue_add_claim(queue_of_app(), "sale-claimed", "claimed", &err), &err);
    add_sale("sale-claimed", shop->now + 500, 5000, NULL);
    shop->claimed = true;
}

static void order_resolved(void)
{
    struct error err = {0};

    must(queue_add_resolution(queue_of_app(), "resolved", "charged", "sale-other", "by hand", "ann",
                              &err),
         &err);
    shop->resolved = true;
}

static void orders_contested(void)
{
    enqueue("resolved", "60.00", "6666");
    enqueue("contested-1", "70.00", "7777");
    enqueue("contested-2", "70.00", "7777");
    add_sale("sale-contested", shop->now + 2500, 7000, "7777");
}

static void order_reversed(void)
{
    enqueue("reversed", "80.00", "8888");
    add_sale("sale-reversed", shop->now + 800, 8000, "8888");
    record_of("sale-reversed")->order_ref = "reversed";
    add_record((struct shop_record){.id = "void",
                                    .type = "CreditCardVoid",
                                    .original_id = "sale-reversed",
                                    .minor = 8000,
                                    .created_at = shop->now + 60000,
                                    .visible_at = shop->now + 60000});
}

static void open_sessions(void)
{
    static const char *const ended[] = {"", "", "cancelled"};
    char id[] = "session-0", key[] = "key-0", at[TIMESTAMP_TEXT_SIZE];
    struct error err = {0};

    timestamp_format(shop->now, at);
    for (int i = 0; i < SHOP_SESSIONS; i++) {
        id[strlen(id) - 1] = key[strlen(key) - 1] = (char)('1' + i);
        must(db_run(queue_of_app(), &err,
                    "INSERT INTO sessions (session_id, session_key, created_at, expires_in, ended)"
                    " VALUES (?, ?, ?, ?, ?)",
                    "tttit", id, key, at, (int64_t)(i == 1 ? 60 : 1800), ended[i]),
             &err);
    }
    shop->opened = true;
}

static void end_session(void)
{
    struct error err = {0};

    must(queue_end_session(queue_of_app(), "session-1", "paid", &err), &err);
    shop->paid = true;
}

static void ask_for_cycle(void)
{
    struct error err = {0};

    must(queue_request_sync(queue_of_app(), &err), &err);
}

static const struct step {
    int64_t at;
    void (*act)(void);
} day[] = {
    {5, order_charged},    {5, open_sessions},    {15, order_late},       {20, orders_absent},
    {40, order_claimed},   {45, end_session},     {50, orders_contested}, {60, order_reversed},
    {200, order_resolved}, {1200, ask_for_cycle},
};

/* Charges again as soon as it may, and at most once; the outcome is reported a minute later. */
static void charge_again(void)
{
    char at[TIMESTAMP_TEXT_SIZE];
    struct error err = {0};
    int r;

    if (shop->charged_again_at && shop->now >= shop->charged_again_at + 60000 &&
        strcmp(shop->attempts[shop->n_attempts - 1].order_id, "again") != 0) {
        enqueue_at(shop->charged_again_at, "again", "30.00", "3333");
        add_sale("sale-again", shop->charged_again_at + 700, 3000, "3333");
    }
    r = db_run(queue_of_app(), &err,
               "INSERT INTO permits (order_id, revision, taken_by, taken_at)"
               " SELECT order_id, revision, 'app', ?1 FROM retry_offers"
               " WHERE order_id IN ('again', 'charged', 'claimed')",
               "t", timestamp_format(shop->now, at));
    if (r == -EEXIST || (r == 0 && db_changes(queue_of_app()) == 0))
        return;
    must(r, &err);
    if (++shop->permits > 1)
        complain("leave to charge again was given twice");
    shop->charged_again_at = shop->now;
}

void shop_app(void)
{
    if (shop->set_ahead_by > 0 && shop->now >= shop->set_ahead_at) {
        shop->now += shop->set_ahead_by;
        shop->ahead += shop->set_ahead_by;
        shop->set_ahead_by = 0;
    }
    for (; shop->steps < ELEMENTSOF(day) && shop->now >= SHOP_BEGIN + day[shop->steps].at * 1000;
         shop->steps++)
        day[shop->steps].act();
    /* Nothing is offered before the first absence can be proved. */
    if (shop->now > SHOP_BEGIN + 200000 && shop->now < SHOP_END - 120000)
        charge_again();
}

void shop_check_taken_in(void)
{
    char before[TIMESTAMP_TEXT_SIZE];
    int64_t waiting = 0;
    struct error err = {0};

    must(db_value(queue_of_app(), &waiting, 0, &err,
                  "SELECT (SELECT count(*) FROM pending_orders WHERE attempted_at < ?1)"
                  " + (SELECT count(*) FROM earlier_attempts WHERE attempted_at < ?1)",
                  "t", timestamp_format(shop->now - 20000, before)),
         &err);
    if (waiting > 0)
        complain("%d row(s) stay in the queue", (int)waiting);
}

int64_t shop_next_step_at(void)
{
    return shop->steps < ELEMENTSOF(day) ? SHOP_BEGIN + day[shop->steps].at * 1000 : INT64_MAX;
}

/* --- a new day -------------------------------------------------------------------------------- */

static void empty_directory(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;

    while (directory && (entry = readdir(directory))) {
        char inner[PATH_MAX];

        if (entry->d_name[0] == '.')
            continue;
        if ((size_t)snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name) >= sizeof(inner))
            abort();
        if (unlink(inner) < 0) {
            empty_directory(inner);
            rmdir(inner);
        }
    }
    if (directory)
        closedir(directory);
}

void shop_begin(void)
{
    static const char *const history[] = {"old-1", "old-2", "old-3", "old-4",
                                          "old-5", "old-6", "old-7", "old-8"};

    empty_directory(shop_directory);
    *shop = (struct shop){.now = SHOP_BEGIN};
    for (size_t i = 0; i < ELEMENTSOF(history); i++)
        add_sale(history[i], SHOP_BEGIN - (int64_t)(ELEMENTSOF(history) - i) * 300000,
                 100 + (int64_t)i, "0000");
    add_record((struct shop_record){.id = "bad",
                                    .minor = 1,
                                    .bad = true,
                                    .created_at = SHOP_BEGIN - 2000000,
                                    .visible_at = SHOP_BEGIN - 2000000});
    add_sale("sale-other", SHOP_BEGIN - 1000, 6100, "6666");
}
