#include "ctl/verbs.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "config/config.h"

const struct verb_option common_options[] = {
    {"config", "FILE", false, "configuration to read instead of the default"},
    {"ledger", "FILE", false, "ledger, instead of the configured one"},
    {"queue", "FILE", false, "queue, instead of the configured one"},
    {"format", "table|csv|json", false, "how rows are printed (table)"},
    {0},
};

const struct verb verbs[] = {
    {
        .name = "enqueue",
        .arguments = {"ORDER"},
        .required = 1,
        .options =
            {
                {"amount", "A", true, "the decimal text given to cardSale, as 49.00"},
                {"currency", "C", false, "ISO 4217 code (USD)"},
                {"attempted-at", "T", false, "when cardSale was called, UTC (now)"},
                {"status", "N", false, "its HTTP status, 500..599; 0: network error, timeout (0)"},
                {"last-four", "D", false, "the card's last four digits"},
                {"brand", "B", false, "the card's brand"},
                {"bin", "D", false, "the card's first 6 to 8 digits"},
                {"email", "E", false, "the customer's e-mail address"},
                {"session", "S", false, "the payment session's id"},
                {"wait", "DURATION", false, "wait for the verdict and print it"},
            },
        .summary = "report an order whose cardSale outcome is unknown",
        .help = "Puts the order into the queue, whether the daemon runs or not. The same order "
                "again is a further attempt. The more of the card is told, the surer the verdict. "
                "With --wait the verdict on this attempt is printed as soon as there is one; exit "
                "1 when there is none yet.",
        .examples = "reconctl enqueue A-1001 --amount 49.00 --last-four 4242 --status 502\n"
                    "reconctl enqueue A-1001 --amount 49.00 --wait 20min --format json\n",
        .run = verb_enqueue,
    },
    {
        .name = "claim",
        .arguments = {"TRANSACTION", "ORDER"},
        .required = 2,
        .summary = "report a sale that the app knows to be an order's",
        .help = "For a sale whose cardSale answered 2xx. The same claim again is no error; exit 1 "
                "while the transaction waits in the queue as a sale of another order.",
        .examples = "reconctl claim 2604280000990C64B A-1001\n",
        .run = verb_claim,
    },
    {
        .name = "session add",
        .arguments = {"ID"},
        .required = 1,
        .options = {{"expires-in", "S", false, "seconds, 60..1800 (1800)"},
                    {"order", "O", false, "the order it was opened for"}},
        .summary = "hand over a payment session, its key on standard input",
        .help = "The key is one line of standard input, so that no argument list or history holds "
                "it. The daemon revokes the session when it has ended, expired or idled.",
        .examples = "printenv SESSION_KEY | reconctl session add S-7 --order A-1001\n",
        .run = verb_session_add,
    },
    {
        .name = "session seen",
        .arguments = {"ID"},
        .required = 1,
        .summary = "tell that the customer is still there",
        .help = "Sets the session's idle time back. Exit 1 when no such session waits.",
        .examples = "reconctl session seen S-7\n",
        .run = verb_session_seen,
    },
    {
        .name = "session end",
        .arguments = {"ID", "paid|cancelled|abandoned"},
        .required = 2,
        .summary = "end a payment session: it is revoked now",
        .help = "Exit 1 when no such session waits.",
        .examples = "reconctl session end S-7 paid\n",
        .run = verb_session_end,
    },
    {
        .name = "verdict",
        .arguments = {"ORDER"},
        .required = 1,
        .summary = "print an order's latest verdict",
        .help = "The order's row of order_status. Charge it again only when safe_to_retry is 1. "
                "Exit 1 while the verdict is pending, and for an order that is not known.",
        .examples = "reconctl verdict A-1001 --format json\n",
        .run = verb_verdict,
    },
    {
        .name = "wait",
        .arguments = {"ORDER"},
        .required = 1,
        .options = {{"timeout", "DURATION", false, "how long to wait (15min)"}},
        .summary = "wait until an order has a verdict, then print it",
        .help = "Returns at once when it has one. Exit 1 when time is up, and for an order that is "
                "not known.",
        .examples = "reconctl wait A-1001 --timeout 20min\n",
        .run = verb_wait,
    },
    {
        .name = "orders",
        .options = {{"verdict", "V", false,
                     "pending, charged, double_charged, reversed, not_charged or needs_review"},
                    {"revised", NULL, false, "revisions instead: verdicts that replaced another"},
                    {"limit", "N", false, "at most so many (all)"}},
        .summary = "list orders with their latest verdicts, newest attempt first",
        .help = "Rows of order_status. With --revised, rows of revisions, the newest first: an "
                "order can be there several times, and critical is 1 where a leave to charge again "
                "was taken back. --verdict is then the one that the order was revised to.",
        .examples = "reconctl orders --verdict needs_review\n"
                    "reconctl orders --revised --limit 20\n"
                    "reconctl orders --limit 20 --format csv\n",
        .run = verb_orders,
    },
    {
        .name = "report",
        .arguments = {"NAME"},
        .options = {{"from", "T", false, "2026-11-22T14:00:00Z, or a day: from its beginning"},
                    {"to", "T", false, "likewise; a day: to its end"}},
        .summary = "print a report; without NAME, list them",
        .help = "Times are UTC and both ends are included. They bound the row's own time: an "
                "order's attempts, a transaction's time, what a pass or an interval spans; in "
                "daily_totals, whole days.",
        .examples = "reconctl report summary --from 2026-11-01 --to 2026-11-30\n"
                    "reconctl report double_charges\n"
                    "reconctl report daily_totals --from 2026-11-01 --format csv\n",
        .run = verb_report,
    },
    {
        .name = "permit",
        .arguments = {"ORDER"},
        .required = 1,
        .summary = "take the leave to charge an order again, given once",
        .help =
            "For an order whose verdict is safe to retry. Exit 0 for exactly one caller, however "
            "many ask at once: that one may call cardSale again. Everybody else gets exit 1 and "
            "the reason. Leave is given anew only after a further attempt was reported.",
        .examples = "reconctl permit A-1001 && charge-again A-1001\n",
        .run = verb_permit,
    },
    {
        .name = "resolve",
        .arguments = {"ORDER", "charged|not_charged"},
        .required = 2,
        .options = {{"transaction", "T", false, "with 'charged': the order's sale"},
                    {"note", "TEXT", true, "why; it is kept with the verdict"}},
        .summary = "decide an order yourself",
        .help = "The decision travels through the queue, with your login name. Nothing overrides "
                "it but another person's. 'not_charged' says that charging again is safe: be sure.",
        .examples = "reconctl resolve A-1001 charged --transaction 2604280000990C64B \\\n"
                    "    --note 'customer sent the receipt'\n",
        .run = verb_resolve,
    },
    {
        .name = "explain",
        .arguments = {"ORDER"},
        .required = 1,
        .options = {{"all", NULL, false, "every sale near the window, not only the likeliest 100"}},
        .summary = "tell why an order has its verdict, and what is asked next",
        .help =
            "Attempts, the window in which its sale may lie, sales that fit and why others do not, "
            "what of the window was read and when, the passes that prove an absence, what still "
            "has to be asked. Table or JSON: one array, each object with its \"section\".",
        .examples = "reconctl explain A-1001\n",
        .run = verb_explain,
    },
    {
        .name = "status",
        .summary = "daemon, last sync, lag, coverage, orders, queue, rate budget",
        .help =
            "A health check: exit 0 when the daemon is alive and its last cycle went well and is "
            "not long ago, else 1. A daemon that has just started is not healthy before its "
            "first cycle has ended.",
        .examples = "reconctl status\n"
                    "reconctl status --format json\n",
        .run = verb_status,
    },
    {
        .name = "sync",
        .summary = "start a cycle now",
        .help = "Exit 1 when no daemon is alive to hear it.",
        .examples = "reconctl sync\n",
        .run = verb_sync,
    },
    {
        .name = "doctor",
        .options = {{"user", "USER", false,
                     "the user of the app, whose access to the queue is tried (as root)"}},
        .summary = "check the installation, each line ok or what to do",
        .help =
            "Configuration, keys, permissions, database integrity, disk, write-ahead logs, clock, "
            "daemon, API. Run it as root, or as the user who has the trouble. Exit 1 when "
            "anything fails.",
        .examples = "sudo reconctl doctor --user www-data\n"
                    "sudo -u reconciled reconctl doctor\n",
        .run = verb_doctor,
    },
    {
        .name = "backup",
        .arguments = {"FILE"},
        .required = 1,
        .summary = "write a consistent, checked copy of the ledger",
        .help = "While the daemon runs or not. An existing file is not overwritten. Keep the "
                "ledger's key file (LEDGER.key) with the copy: the daemon needs both.",
        .examples = "reconctl backup /srv/backup/ledger-2026-11-22.db\n",
        .run = verb_backup,
    },
    {0},
};

static void print_usage_line(FILE *out, const struct verb *verb)
{
    fprintf(out, "usage: reconctl %s", verb->name);
    for (size_t i = 0; i < VERB_MAX_ARGUMENTS && verb->arguments[i]; i++)
        fprintf(out, i < verb->required ? " %s" : " [%s]", verb->arguments[i]);
    for (const struct verb_option *option = verb->options; option->name; option++)
        fprintf(out, option->required ? " --%s%s%s" : " [--%s%s%s]", option->name,
                option->value ? " " : "", option->value ? option->value : "");
    fputc('\n', out);
}

void verbs_print_usage(const struct verb *verb)
{
    if (verb)
        print_usage_line(stderr, verb);
    else
        fputs("usage: reconctl [OPTION]... VERB [ARGUMENT]...\n", stderr);
}

static void print_options(const struct verb_option *options)
{
    for (; options->name; options++) {
        char left[40];

        snprintf(left, sizeof(left), "--%s %s", options->name,
                 options->value ? options->value : "");
        printf("  %-24s %s%s\n", left, options->help, options->required ? " (required)" : "");
    }
}

/* Broken at spaces. */
static void print_paragraph(const char *text)
{
    enum { WIDTH = 78 };
    size_t used = 0;

    while (*text) {
        size_t n = strcspn(text, " ");

        if (used > 0 && used + 1 + n > WIDTH) {
            putchar('\n');
            used = 0;
        }
        used += (size_t)printf(used > 0 ? " %.*s" : "%.*s", (int)n, text);
        text += n + (text[n] == ' ');
    }
    putchar('\n');
}

/* Each line behind two spaces. */
static void print_indented(const char *lines)
{
    while (*lines) {
        size_t n = strcspn(lines, "\n");

        printf("  %.*s\n", (int)n, lines);
        lines += n + (lines[n] == '\n');
    }
}

static void print_verb_help(const struct verb *verb)
{
    print_usage_line(stdout, verb);
    printf("\n%s: %s.\n\n", verb->name, verb->summary);
    print_paragraph(verb->help);
    if (verb->options[0].name) {
        puts("\noptions:");
        print_options(verb->options);
    }
    puts("\neverywhere:");
    print_options(common_options);
    puts("\nexamples:");
    print_indented(verb->examples);
}

static void print_program_help(void)
{
    puts("usage: reconctl [OPTION]... VERB [ARGUMENT]...\n"
         "\n"
         "Tells which card payments of unknown outcome were made, and which may be charged again.\n"
         "\n"
         "verbs ('reconctl VERB --help' tells more):");
    for (const struct verb *verb = verbs; verb->name; verb++)
        printf("  %-14s %s\n", verb->name, verb->summary);
    puts("\noptions, before the verb or behind it:");
    print_options(common_options);
    printf("  %-24s %s\n  %-24s %s\n", "--help", "this text, or a verb's", "--version",
           "the program's version");
    printf("\n"
           "Without --config, %s is read if it exists.\n"
           "Exit status: 0 done; 1 the answer is no; 2 usage; 74 a database; 78 configuration.\n"
           "\n"
           "examples:\n"
           "  cardSale timed out: is the customer charged?\n"
           "    reconctl enqueue A-1001 --amount 49.00 --last-four 4242 --wait 20min\n"
           "  What waits for a person, and why?\n"
           "    reconctl orders --verdict needs_review\n"
           "    reconctl explain A-1001\n"
           "  Is all well?\n"
           "    reconctl status && reconctl doctor\n",
           config_default_path());
}

void verbs_print_help(const struct verb *verb, const char *group)
{
    if (verb) {
        print_verb_help(verb);
        return;
    }
    if (!group) {
        print_program_help();
        return;
    }
    for (verb = verbs; verb->name; verb++)
        if (strncmp(verb->name, group, strlen(group)) == 0 && verb->name[strlen(group)] == ' ') {
            print_usage_line(stdout, verb);
            printf("  %s\n", verb->summary);
        }
}
