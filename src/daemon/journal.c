#include "daemon/journal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "core/timestamp.h"
#include "daemon/events.h"

void journal_started(const char *ledger_path, bool once)
{
    const struct log_field fields[] = {{"LEDGER", ledger_path}};

    log_event(once ? LOG_DEBUG : LOG_INFO, EVENT_STARTED, fields, ELEMENTSOF(fields),
              "reconciled %s started on %s", RECONCILED_VERSION, ledger_path);
}

void journal_stopped(void)
{
    log_event(LOG_INFO, EVENT_STOPPED, NULL, 0, "stopped");
}

void journal_reloaded(const char *path)
{
    log_event(LOG_INFO, EVENT_RELOADED, NULL, 0, "configuration %s reloaded", path);
}

void journal_reload_refused(const char *why)
{
    log_event(LOG_ERR, EVENT_RELOAD_REFUSED, NULL, 0,
              "the configuration is not reloaded, the old one stays: %s", why);
}

static int verdict_priority(const struct verdict_change *change)
{
    if (change->critical)
        return LOG_CRIT;
    switch (change->to) {
    case VERDICT_DOUBLE_CHARGED:
    case VERDICT_NEEDS_REVIEW:
        return LOG_WARNING;
    case VERDICT_PENDING:
    case VERDICT_CHARGED:
    case VERDICT_REVERSED:
    case VERDICT_NOT_CHARGED:
    case VERDICT_COUNT:
        break;
    }
    return LOG_NOTICE;
}

void journal_verdict(const struct verdict_change *change)
{
    char revision[24];
    const struct log_field fields[] = {
        {"ORDER_ID", change->order_id},
        {"VERDICT", verdict_name(change->to)},
        {"PREVIOUS_VERDICT", verdict_name(change->from)},
        {"RULE", rule_name(change->rule)},
        {"TRANSACTION_ID", *change->transaction_id ? change->transaction_id : NULL},
        {"REVISION", revision},
        {"SAFE_TO_RETRY", verdict_safe_to_retry(change->to) ? "1" : "0"},
    };

    snprintf(revision, sizeof(revision), "%" PRId64, change->revision);
    if (change->critical)
        log_event(verdict_priority(change), EVENT_REVISED, fields, ELEMENTSOF(fields),
                  "order %s: %s is taken back, it is %s: %s; if the order was charged again since, "
                  "refund one sale",
                  change->order_id, verdict_name(change->from), verdict_name(change->to),
                  change->reason);
    else
        log_event(verdict_priority(change), EVENT_VERDICT, fields, ELEMENTSOF(fields),
                  "order %s: %s: %s", change->order_id, verdict_name(change->to), change->reason);
}

void journal_api_trouble(const char *what)
{
    log_event(LOG_ERR, EVENT_API_TROUBLE, NULL, 0, "Pay API: %s", what);
}

void journal_api_recovered(void)
{
    log_event(LOG_NOTICE, EVENT_API_RECOVERED, NULL, 0, "Pay API: it answers again");
}

void journal_quarantined(const struct sync_question *question, int64_t records)
{
    char from[TIMESTAMP_TEXT_SIZE], to[TIMESTAMP_TEXT_SIZE];

    log_event(LOG_ERR, EVENT_QUARANTINED, NULL, 0,
              "%" PRId64 " record(s) of %s .. %s page %" PRId64
              " could not be understood and are in quarantine (reconctl report quarantine)",
              records, timestamp_format_query(question->from, from),
              timestamp_format_query(question->to, to), question->page);
}

void journal_pass(const struct sync_news *news)
{
    if (*news->text)
        log_event(news->not_understood ? LOG_ERR : LOG_WARNING,
                  news->not_understood ? EVENT_API_TROUBLE : EVENT_DRIFTED, NULL, 0, "%s",
                  news->text);
}

void journal_intake(const struct intake_counts *counts)
{
    if (counts->attempts || counts->claims || counts->resolutions)
        log_debug("taken from the queue: %" PRId64 " attempt(s), %" PRId64 " claim(s), %" PRId64
                  " decision(s)",
                  counts->attempts, counts->claims, counts->resolutions);
    if (counts->refused)
        log_event(LOG_ERR, EVENT_QUEUE_REFUSED, NULL, 0, "%" PRId64 " row(s) stay in the queue: %s",
                  counts->refused, counts->refused_text);
}

void journal_revocation(const struct revoke_news *news, const struct revoke_answer *answer)
{
    const struct log_field fields[] = {
        {"SESSION_ID", news->session_id},
        {"WHY", session_why_name(news->why)},
        {"OUTCOME", revocation_outcome_name(news->outcome)},
    };
    char at[TIMESTAMP_TEXT_SIZE];

    switch (news->outcome) {
    case REVOCATION_REVOKED:
    case REVOCATION_GONE:
        log_event(LOG_INFO, EVENT_REVOKED, fields, ELEMENTSOF(fields), "session %s (%s): %s",
                  news->session_id, session_why_name(news->why),
                  revocation_outcome_name(news->outcome));
        return;
    case REVOCATION_LAPSED:
        log_event(LOG_WARNING, EVENT_REVOKE_TROUBLE, fields, ELEMENTSOF(fields),
                  "session %s (%s) was not revoked and has expired by itself: %s", news->session_id,
                  session_why_name(news->why), answer->text);
        return;
    case REVOCATION_WAITING:
        log_event(answer->kind == REVOKE_REFUSED ? LOG_ERR : LOG_WARNING, EVENT_REVOKE_TROUBLE,
                  fields, ELEMENTSOF(fields), "session %s (%s) is not revoked yet: %s; next try %s",
                  news->session_id, session_why_name(news->why), answer->text,
                  timestamp_format(news->next_try_at, at));
        return;
    }
}

void journal_no_vault(int64_t sessions)
{
    log_event(LOG_WARNING, EVENT_REVOKE_TROUBLE, NULL, 0,
              "%" PRId64 " session(s) wait in the queue and no [vault] url is configured: they are "
              "not revoked",
              sessions);
}

void journal_database(const char *what)
{
    log_event(LOG_CRIT, EVENT_DATABASE, NULL, 0, "database: %s", what);
}

void journal_grace(int64_t configured, int64_t grace)
{
    char a[24], b[24];

    log_event(
        LOG_NOTICE, EVENT_GRACE, NULL, 0,
        "records are seen to come late: absence is said after %s, where [match] absence_grace "
        "is %s",
        format_duration(grace, b, sizeof(b)), format_duration(configured, a, sizeof(a)));
}

void journal_vanished(int64_t records)
{
    log_event(LOG_WARNING, EVENT_VANISHED, NULL, 0,
              "%" PRId64 " record(s) are not shown by the API any more; they are kept (reconctl "
              "report vanished_transactions)",
              records);
}

void journal_clock(int64_t moved, int64_t passed, int64_t held_until)
{
    char a[24], b[24], until[TIMESTAMP_TEXT_SIZE];

    log_event(LOG_WARNING, EVENT_CLOCK, NULL, 0,
              "the clock was set ahead: it moved by %s while %s passed; no absence is said by what "
              "is read before %s",
              format_duration(timestamp_floor_second(moved), a, sizeof(a)),
              format_duration(timestamp_floor_second(passed), b, sizeof(b)),
              timestamp_format(held_until, until));
}

void journal_metrics(const char *what)
{
    log_event(LOG_WARNING, EVENT_METRICS, NULL, 0, "metrics are not written: %s", what);
}
