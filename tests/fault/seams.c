/* What the daemon meets at its seams: an event loop that runs through a day in no time, an API and
 * a Vault that are the shop's. The linker takes these instead of the program's own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "../unit/fake_loop.h"
#include "base/parse.h"
#include "faults.h"
#include "remote/http.h"
#include "remote/payapi.h"
#include "remote/vault.h"
#include "seams.h"
#include "shop.h"

enum { STEP_MS = 5000, LASTS_MS = 20000, RECOVERS_MS = 40000, MAX_JOBS = 8 };

/* --- the loop --------------------------------------------------------------------------------- */

static struct payapi *the_payapi;
static struct vault *the_vault;
static bool leave_on_fault;

void seams_leave_on_fault(bool leave)
{
    leave_on_fault = leave;
}

/* --- the Pay API ------------------------------------------------------------------------------ */

struct payapi {
    payapi_gate gate;
    void *gate_userdata;
    struct payapi_question question;
    payapi_done done;
    void *userdata;
    bool busy;
    int64_t due_at;
};

int payapi_new(sd_event *event, struct http *http, const struct clock *clock,
               const struct payapi_settings *settings, payapi_gate gate, void *gate_userdata,
               struct payapi **ret)
{
    struct payapi *payapi = calloc(1, sizeof(*payapi));

    (void)event;
    (void)http;
    (void)clock;
    (void)settings;
    if (!payapi)
        return -ENOMEM;
    payapi->gate = gate;
    payapi->gate_userdata = gate_userdata;
    *ret = the_payapi = payapi;
    return 0;
}

struct payapi *payapi_free(struct payapi *payapi)
{
    free(payapi);
    the_payapi = NULL;
    return NULL;
}

int payapi_list(struct payapi *payapi, const struct payapi_question *question, payapi_done done,
                void *userdata)
{
    if (payapi->busy)
        return -EBUSY;
    if (fault_of_caller(__builtin_return_address(0)))
        return -ENOMEM;
    payapi->question = *question;
    payapi->done = done;
    payapi->userdata = userdata;
    payapi->busy = true;
    payapi->due_at = shop->now + 100;
    return 0;
}

bool payapi_busy(const struct payapi *payapi)
{
    return payapi->busy;
}

/* Waits at the gate, asks, answers. */
static void deliver_page(struct payapi *payapi)
{
    struct payapi_answer answer = {.outcome = PAYAPI_PAGE, .status = 200, .text = ""};
    int64_t wait;

    if (!payapi || !payapi->busy || shop->now < payapi->due_at)
        return;
    wait = payapi->gate(payapi->question.priority, payapi->gate_userdata);
    if (wait > 0) {
        payapi->due_at = shop->now + wait;
        return;
    }
    faults_pause();
    if (wait < 0) {
        answer = (struct payapi_answer){.outcome = PAYAPI_STOPPED, .text = "the gate gave up"};
    } else if (shop_api_is_down()) {
        answer = (struct payapi_answer){.outcome = PAYAPI_UNREACHABLE, .text = "no route"};
    } else {
        answer.page = shop_page(payapi->question.from, payapi->question.to, payapi->question.page);
    }
    faults_resume();
    payapi->busy = false;
    payapi->done(&answer, payapi->userdata);
    faults_pause();
    page_free(answer.page);
    faults_resume();
}

/* --- the Vault -------------------------------------------------------------------------------- */

struct vault {
    struct {
        char key[16];
        vault_done done;
        void *userdata;
    } jobs[MAX_JOBS];
    size_t n_jobs;
};

int vault_new(sd_event *event, struct http *http, const struct clock *clock,
              const struct vault_settings *settings, struct vault **ret)
{
    (void)event;
    (void)http;
    (void)clock;
    (void)settings;
    the_vault = calloc(1, sizeof(*the_vault));
    if (!the_vault)
        return -ENOMEM;
    *ret = the_vault;
    return 0;
}

struct vault *vault_free(struct vault *vault)
{
    free(vault);
    the_vault = NULL;
    return NULL;
}

int vault_revoke(struct vault *vault, const struct secret *session_key, vault_done done,
                 void *userdata)
{
    if (fault_of_caller(__builtin_return_address(0)))
        return -ENOMEM;
    if (vault->n_jobs == MAX_JOBS)
        abort();
    vault->jobs[vault->n_jobs].done = done;
    vault->jobs[vault->n_jobs].userdata = userdata;
    copy_text(vault->jobs[vault->n_jobs].key, sizeof(vault->jobs[0].key), secret_text(session_key));
    vault->n_jobs++;
    return 0;
}

static void deliver_revocations(struct vault *vault)
{
    while (vault && vault->n_jobs > 0) {
        long status = shop_vault_status(vault->jobs[--vault->n_jobs].key);
        const struct vault_answer answer = {
            .outcome = status == 200   ? VAULT_REVOKED
                       : status == 404 ? VAULT_GONE
                                       : VAULT_FAILED,
            .status = status,
            .text = "the Vault's answer",
        };

        vault->jobs[vault->n_jobs].done(&answer, vault->jobs[vault->n_jobs].userdata);
    }
}

/* --- HTTP: there is none ---------------------------------------------------------------------- */

int http_new(sd_event *event, struct http **ret)
{
    (void)event;
    *ret = NULL;
    return 0;
}

struct http *http_free(struct http *http)
{
    (void)http;
    return NULL;
}

/* --- a day ------------------------------------------------------------------------------------ */

static void advance(void)
{
    int64_t next = shop->now + STEP_MS;

    if (shop_next_step_at() < next)
        next = shop_next_step_at();
    if (the_payapi && the_payapi->busy && the_payapi->due_at < next)
        next = the_payapi->due_at;
    if (the_vault && the_vault->n_jobs > 0)
        next = shop->now + 100;
    shop->now = next > shop->now ? next : shop->now + 1;
}

int sd_event_loop(sd_event *event)
{
    int64_t fired_at = 0;

    while (!event->exit && !faults_dead() && shop->now < SHOP_END) {
        faults_pause();
        shop_app();
        faults_resume();
        deliver_page(the_payapi);
        deliver_revocations(the_vault);
        event->tick(NULL, 0, event->userdata);
        if (faults_striking() && leave_on_fault)
            break;
        if (fired_at == 0 && faults_striking())
            fired_at = shop->now;
        if (fired_at > 0 && shop->now >= fired_at + LASTS_MS)
            faults_heal();
        if (fired_at > 0 && shop->now >= fired_at + RECOVERS_MS) {
            /* The cause is gone: the daemon is at work again. */
            faults_pause();
            shop_check_taken_in();
            faults_resume();
            fired_at = -1;
        }
        advance();
    }
    return event->code;
}
