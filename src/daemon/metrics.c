#include "daemon/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/status.h"

enum { REQUEST_RESULTS = PAYAPI_STOPPED + 1 };

struct metrics {
    int64_t requests[REQUEST_RESULTS];
    int64_t sessions[REVOCATION_OUTCOMES];
    struct status_revisions revisions;
};

static const char *const request_results[REQUEST_RESULTS] = {
    [PAYAPI_PAGE] = "page",         [PAYAPI_UNREACHABLE] = "unreachable",
    [PAYAPI_FAILED] = "failed",     [PAYAPI_REFUSED] = "refused",
    [PAYAPI_REJECTED] = "rejected", [PAYAPI_NOT_UNDERSTOOD] = "not_understood",
    [PAYAPI_STOPPED] = "stopped",
};

int metrics_new(struct db *ledger, struct metrics **ret, struct error *err)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    int r;

    if (!metrics)
        return error_set(err, -ENOMEM, "out of memory");
    r = status_count_sessions(ledger, metrics->sessions, err);
    if (r < 0) {
        metrics_free(metrics);
        return r;
    }
    *ret = metrics;
    return 0;
}

struct metrics *metrics_free(struct metrics *metrics)
{
    free(metrics);
    return NULL;
}

void metrics_count_request(struct metrics *metrics, enum payapi_outcome outcome)
{
    if (metrics)
        metrics->requests[outcome]++;
}

void metrics_count_session(struct metrics *metrics, enum revocation_outcome outcome)
{
    if (metrics)
        metrics->sessions[outcome]++;
}

/* --- the text format ------------------------------------------------------------------------ */

struct exposition {
    FILE *out;
    const char *name, *merchant_id;
};

static void begin(struct exposition *page, const char *name, const char *type, const char *help)
{
    page->name = name;
    fprintf(page->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_label(FILE *out, const char *value)
{
    fputc('"', out);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            fputc('\\', out);
        fputc(*value, out);
    }
    fputc('"', out);
}

/* The sample of the metric that was begun, up to its value. */
static void put_name(const struct exposition *page, const char *label, const char *value)
{
    fprintf(page->out, "%s{merchant=", page->name);
    put_label(page->out, page->merchant_id);
    if (label) {
        fprintf(page->out, ",%s=", label);
        put_label(page->out, value);
    }
    fputs("} ", page->out);
}

static void put_labelled(const struct exposition *page, const char *label, const char *value,
                         int64_t sample)
{
    put_name(page, label, value);
    fprintf(page->out, "%" PRId64 "\n", sample);
}

static void gauge(struct exposition *page, const char *name, const char *help, int64_t sample)
{
    begin(page, name, "gauge", help);
    put_labelled(page, NULL, NULL, sample);
}

/* Milliseconds as seconds. Nothing is said of what is not known. */
static void seconds(struct exposition *page, const char *name, const char *help, int64_t ms)
{
    if (ms < 0)
        return;
    begin(page, name, "gauge", help);
    put_name(page, NULL, NULL);
    fprintf(page->out, "%" PRId64 ".%03d\n", ms / 1000, (int)(ms % 1000));
}

/* --- what is told --------------------------------------------------------------------------- */

static int64_t age(int64_t now, int64_t at)
{
    return at < 0 ? -1 : now > at ? now - at : 0;
}

static void put_sync(struct exposition *page, const struct status *s,
                     const struct metrics_scene *scene, int64_t now)
{
    begin(page, "reconciled_build_info", "gauge", "Always 1; the version of the daemon.");
    put_labelled(page, "version", RECONCILED_VERSION, 1);
    gauge(page, "reconciled_up", "1 while the daemon runs, 0 once it has ended in order.",
          scene->running);
    gauge(page, "reconciled_last_cycle_ok", "1 when the last cycle went well.",
          strcmp(s->cycle_outcome, "ok") == 0);
    seconds(page, "reconciled_last_cycle_timestamp_seconds", "When the last cycle ended.",
            s->cycle_ended_at);
    seconds(page, "reconciled_lag_seconds",
            "How far the part of the ledger that proves absence is behind.",
            age(now, s->proven_to));
    seconds(page, "reconciled_proven_timestamp_seconds",
            "The newest instant for which the ledger proves absence.", s->proven_to);
    seconds(page, "reconciled_coverage_age_seconds",
            "How far the part of the ledger that was read completely is behind.",
            age(now, s->covered_to));
    gauge(page, "reconciled_coverage_gaps", "Stretches of time that are not read yet.", s->gaps);
    gauge(page, "reconciled_lookback_stretched",
          "1 when looking back for late records does not fit the rate share.", s->stretched);
    seconds(page, "reconciled_absence_grace_seconds",
            "After how long an absence is believed, as configured or as learned.",
            s->absence_grace);
}

static void put_orders(struct exposition *page, const struct metrics *metrics,
                       const struct status *s)
{
    begin(page, "reconciled_orders", "gauge", "Orders by their latest verdict.");
    for (int i = 0; i < VERDICT_COUNT; i++)
        put_labelled(page, "verdict", verdict_name((enum verdict)i), s->orders[i]);
    gauge(page, "reconciled_review_queue_orders", "Orders that wait for a person.",
          s->orders[VERDICT_NEEDS_REVIEW]);
    begin(page, "reconciled_revisions_total", "counter", "Verdicts that replaced another verdict.");
    put_labelled(page, NULL, NULL, metrics->revisions.all);
    begin(page, "reconciled_critical_revisions_total", "counter",
          "Verdicts that took back a leave to charge again.");
    put_labelled(page, NULL, NULL, metrics->revisions.critical);
    gauge(page, "reconciled_quarantined_records", "Records that could not be understood.",
          s->quarantined);
}

static void put_api(struct exposition *page, const struct metrics *metrics,
                    const struct metrics_scene *scene, int64_t now)
{
    begin(page, "reconciled_requests_total", "counter",
          "Questions to the Pay API by how they ended, since the daemon started.");
    for (int i = 0; i < REQUEST_RESULTS; i++)
        put_labelled(page, "result", request_results[i], metrics->requests[i]);
    gauge(page, "reconciled_rate_budget_used_requests", "Requests of the past minute.",
          rate_budget_used(scene->budget, now));
    gauge(page, "reconciled_rate_budget_limit_requests",
          "Requests a minute that the daemon may make.", rate_budget_limit(scene->budget));
}

static void put_sessions(struct exposition *page, const struct metrics *metrics, int64_t waiting)
{
    gauge(page, "reconciled_sessions_waiting", "Payment sessions in the queue.", waiting);
    begin(page, "reconciled_sessions_closed_total", "counter",
          "Payment sessions that were closed, by outcome.");
    for (int i = REVOCATION_REVOKED; i < REVOCATION_OUTCOMES; i++)
        put_labelled(page, "outcome", revocation_outcome_name((enum revocation_outcome)i),
                     metrics->sessions[i]);
}

static int64_t size_of(const char *path, const char *ending)
{
    _cleanup_free_ char *name = NULL;
    struct stat st;

    if (asprintf(&name, "%s%s", path, ending) < 0) {
        name = NULL;
        return 0;
    }
    return stat(name, &st) < 0 ? 0 : st.st_size;
}

static void put_sizes(struct exposition *page, const struct metrics_scene *scene)
{
    const char *ledger = db_path(scene->ledger), *queue = db_path(scene->queue);

    begin(page, "reconciled_database_size_bytes", "gauge", "Size of a database's file.");
    put_labelled(page, "database", "ledger", size_of(ledger, ""));
    put_labelled(page, "database", "queue", size_of(queue, ""));
    begin(page, "reconciled_wal_size_bytes", "gauge", "Size of a database's write-ahead log.");
    put_labelled(page, "database", "ledger", size_of(ledger, "-wal"));
    put_labelled(page, "database", "queue", size_of(queue, "-wal"));
}

/* --- the file ------------------------------------------------------------------------------- */

static int cannot_write(const char *path, struct error *err)
{
    int r = errno ? -errno : -EIO;

    return error_set(err, r, "%s: %s", path, strerror(-r));
}

/* Not synced: after a crash of the machine the next cycle writes it anew. */
static int replace(const char *path, const char *text, size_t n, struct error *err)
{
    _cleanup_free_ char *temporary = NULL;
    FILE *out;
    bool good;
    int r;

    if (asprintf(&temporary, "%s.new", path) < 0) {
        temporary = NULL;
        return error_set(err, -ENOMEM, "out of memory");
    }
    out = fopen(temporary, "we");
    if (!out)
        return cannot_write(temporary, err);
    errno = 0;
    good = fwrite(text, 1, n, out) == n;
    good = fchmod(fileno(out), 0644) == 0 && good;
    good = fclose(out) == 0 && good;
    if (good && rename(temporary, path) == 0)
        return 0;
    r = cannot_write(path, err);
    unlink(temporary);
    return r;
}

int metrics_write(struct metrics *metrics, const char *path, const struct metrics_scene *scene,
                  int64_t now, struct error *err)
{
    _cleanup_free_ char *text = NULL;
    struct exposition page = {.merchant_id = scene->merchant_id};
    struct status status;
    int64_t waiting;
    size_t n;
    int r;

    r = status_read(scene->ledger, now, &status, err);
    if (r == 0)
        r = status_count_revisions(scene->ledger, &metrics->revisions, err);
    if (r == 0)
        r = sessions_count(scene->queue, &waiting, err);
    if (r < 0)
        return r;
    page.out = open_memstream(&text, &n);
    if (!page.out)
        return error_set(err, -ENOMEM, "out of memory");
    put_sync(&page, &status, scene, now);
    put_orders(&page, metrics, &status);
    put_api(&page, metrics, scene, now);
    put_sessions(&page, metrics, waiting);
    put_sizes(&page, scene);
    if (fclose(page.out) != 0)
        return error_set(err, -ENOMEM, "out of memory");
    return replace(path, text, n, err);
}
