/* A small shop on a small day: what the API shows, what the Vault answers, what the app writes and
 * when. It lives in shared memory and outlives the daemon, which may be killed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "core/transaction.h"
#include "store/db.h"

enum { SHOP_RECORDS = 24, SHOP_ATTEMPTS = 16, SHOP_SESSIONS = 3, SHOP_PAGE_SIZE = 6 };

struct shop_record {
    const char *id, *type, *last_four, *order_ref, *original_id;
    int64_t minor, created_at, visible_at;
    bool bad; /* cannot be understood */
};

/* What the app was told is stored. */
struct shop_attempt {
    const char *order_id;
    int64_t at, http_status;
};

struct shop {
    int64_t now, ahead;
    int64_t set_ahead_at, set_ahead_by; /* once, by somebody */
    size_t steps;                       /* of the app's day */
    struct shop_record records[SHOP_RECORDS];
    size_t n_records;
    struct shop_attempt attempts[SHOP_ATTEMPTS];
    size_t n_attempts;
    bool claimed, resolved, paid, opened;
    unsigned vault_asked[SHOP_SESSIONS];
    bool vault_closed[SHOP_SESSIONS]; /* the Vault said that it is */
    unsigned permits;                 /* taken for the order that is charged again */
    int64_t charged_again_at;
    unsigned complaints;
};

extern struct shop *shop;
extern char shop_directory[];
extern const struct clock shop_clock, shop_boot; /* `now`, and less what the clock was set ahead */
extern const int64_t SHOP_BEGIN, SHOP_END;

/* A new day; `make_directory` once before. */
void shop_begin(void);
void shop_path(const char *name, char *ret, size_t size);

/* The app does what it does by now. */
void shop_app(void);
void shop_close_app(void);
/* What was written a while ago has left the queue. */
void shop_check_taken_in(void);
int64_t shop_next_step_at(void);

/* The API's and the Vault's answers. */
struct page *shop_page(int64_t from, int64_t to, int64_t page);
bool shop_api_is_down(void);
long shop_vault_status(const char *session_key);

/* Something does not hold: says so, with the case under way. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void complain_about(const char *what);

/* Holds both databases against what the shop knows; between two lives of the daemon. */
void audit(void);
/* What a day comes to, as a text that does not depend on when things happened. To be freed. */
char *audit_result(void);
