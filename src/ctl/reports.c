#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/timestamp.h"
#include "ctl/ctl.h"
#include "store/ledger.h"
#include "store/report.h"

enum { DAY_MS = 24 * 60 * 60 * 1000 };

/* An instant, or a day; then its first millisecond, or with `end` its last. */
static int parse_bound(const struct ctl *ctl, const char *name, bool end, int64_t *ret)
{
    const char *text = ctl_option(ctl, name);
    char midnight[TIMESTAMP_TEXT_SIZE];

    *ret = -1;
    if (!text || timestamp_parse(text, ret) == 0)
        return CTL_DONE;
    if (strlen(text) == strlen("2026-11-22")) {
        snprintf(midnight, sizeof(midnight), "%sT00:00:00Z", text);
        if (timestamp_parse(midnight, ret) == 0) {
            *ret += end ? DAY_MS - 1 : 0;
            return CTL_DONE;
        }
    }
    return ctl_usage(ctl, "--%s %s: not a time, as 2026-11-22 or 2026-11-22T14:03:07Z", name, text);
}

static int list_reports(void)
{
    for (const char *const *name = report_names(); *name; name++)
        puts(*name);
    return fflush(stdout) == 0 ? CTL_DONE : ctl_say(EX_IOERR, "cannot write");
}

/* An empty answer that only means that nobody asked the question. */
static void explain_empty(struct db *ledger, const char *name)
{
    char claims[32];

    if (strcmp(name, "unclaimed_sales") == 0 &&
        ledger_get_meta(ledger, "claims", claims, sizeof(claims), NULL) == 0 &&
        strcmp(claims, "complete") != 0)
        ctl_say(CTL_DONE, "note: sales count as unclaimed only with [match] claims = complete");
}

int verb_report(struct ctl *ctl)
{
    _cleanup_(writer_free_p) struct writer *writer = NULL;
    _cleanup_(db_close_p) struct db *ledger = NULL;
    const char *name = ctl_argument(ctl, 0);
    const char *const *known = report_names();
    struct report_sink sink;
    int64_t from, to;
    struct error err;
    int status;

    if (!name)
        return list_reports();
    while (*known && strcmp(*known, name) != 0)
        known++;
    if (!*known)
        return ctl_usage(ctl, "%s: no such report; 'reconctl report' lists them", name);
    status = parse_bound(ctl, "from", false, &from);
    if (status == CTL_DONE)
        status = parse_bound(ctl, "to", true, &to);
    if (status == CTL_DONE)
        status = ctl_open_ledger(ctl, &ledger);
    if (status == CTL_DONE)
        status = ctl_writer(ctl, WRITER_TABLE, &writer);
    if (status != CTL_DONE)
        return status;
    explain_empty(ledger, name);
    sink = writer_sink(writer);
    if (report_run(ledger, name, from, to, &sink, &err) < 0)
        return ctl_fail(EX_IOERR, &err);
    return ctl_finish(writer, CTL_DONE);
}
