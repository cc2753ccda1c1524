/* ozura-sandbox: arguments, signals, wiring. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "core/timestamp.h"
#include "export.h"
#include "memory.h"
#include "sandbox.h"
#include "server.h"
#include "vault.h"
#include "world.h"

static const char help[] =
    "Usage: ozura-sandbox [OPTION]...\n"
    "A stand-in for the Ozura Pay API (GET /transQuery) and Vault (POST /sessions/revoke) on\n"
    "127.0.0.1, for the demo and the tests of reconciled. No money, no card, no network.\n"
    "\n"
    "What it holds (--day unless you say otherwise):\n"
    "  --day               a busy shop's last 26 hours: about 4000 transactions, some 50 orders\n"
    "                      whose cardSale had no answer and what became of them, 12 sessions\n"
    "  --history N         N transactions evenly over the last --days D (30)\n"
    "  --empty             nothing; fill it with POST /_sandbox/records\n"
    "  --seed N            another world of the same kind (1)\n"
    "  --now T             its clock starts at T, 2026-11-22T14:00:00Z (the real time)\n"
    "  --queue-sql FILE    writes the app's side of --day: INSERTs for reconciled's queue.db\n"
    "  --truth FILE        writes what reconciled has to find out, as CSV:\n"
    "                      order_id,expected_verdict,transaction_id,story\n"
    "\n"
    "How it answers:\n"
    "  --port N            where to listen; 0 picks a free port (0)\n"
    "  --api-key-file F    the Pay API's key (env SANDBOX_API_KEY, else sandbox-key)\n"
    "  --vault-key-file F  the Vault's key (env SANDBOX_VAULT_KEY, else sandbox-vault-key)\n"
    "  --rate-per-minute N answers 429 beyond so many transQuery requests; 0: no limit (200)\n"
    "  --burst-of-errors   3 of 20 transQuery requests get a 503, a 429 or a 500\n"
    "\n"
    "Ready when it prints 'ozura-sandbox: listening on http://127.0.0.1:PORT'; ends on SIGTERM.\n"
    "\n"
    "Try it:\n"
    "  ozura-sandbox --port 8080 --queue-sql queue.sql --truth truth.csv &\n"
    "  curl -H 'x-api-key: sandbox-key' \\\n"
    "       'http://127.0.0.1:8080/transQuery?merchantId=demo&limit=2&sortOrder=desc'\n"
    "\n"
    "While it runs, http://127.0.0.1:PORT/_sandbox/NAME takes and gives JSON, without a key:\n"
    "  GET truth           the orders and sessions of --day and what is expected of them\n"
    "  GET requests        every request so far; DELETE forgets them\n"
    "  GET revocations     session keys that were revoked, and when\n"
    "  POST sessions       [\"key\", {\"session_key\": \"key\", \"fail_first\": 2}] makes keys "
    "known\n"
    "  GET records         what the Pay API holds; DELETE records?id=ID removes one, without id "
    "all\n"
    "  POST records        an array of records, as given, however odd; or wrapped:\n"
    "                      {\"record\": {...}, \"created_at\": T, \"visible_at\": T,\n"
    "                       \"hidden_after\": T} shows it from and until then;\n"
    "                      {\"raw\": \"text\", ...} puts any text in the place of a record\n"
    "  POST answers        what the next requests meet, one object or an array:\n"
    "      which:          path, method, page, query {name: text}, nth (from the nth on), times\n"
    "                      (1; 0: all until DELETE answers)\n"
    "      what:           status, headers, body (text, JSON, {\"repeat\": \"x\", \"count\": N},\n"
    "                      {\"hex\": \"c328\"}), close, hang; with none of these, the usual "
    "answer\n"
    "      how:            delay_ms, drip_ms (between bytes), truncate (after N bytes)\n"
    "      e.g.            {\"path\": \"/transQuery\", \"nth\": 3, \"status\": 503}\n"
    "  POST settings       envelope (1 {transactions}, 2 {data: []}, 3 {data: {transactions}}),\n"
    "                      success, totals, whole_second, rate_per_minute, burst_of_errors,\n"
    "                      api_key, vault_key, now, insert_between_pages {\"after_page\": N,\n"
    "                      \"records\": [...], \"delete\": [ids]} (once); GET shows them\n";

struct options {
    int64_t port, history, days, seed, rate_per_minute;
    int64_t now; /* INT64_MIN: the real time */
    const char *api_key_file, *vault_key_file, *truth, *queue_sql;
    bool empty, day, burst_of_errors;
};

static int usage(const char *what, const char *why)
{
    fprintf(stderr, "ozura-sandbox: %s: %s\nTry 'ozura-sandbox --help'.\n", what, why);
    return -EINVAL;
}

static int read_options(int argc, char **argv, struct options *ret)
{
    enum {
        PORT = 256,
        API_KEY,
        VAULT_KEY,
        EMPTY,
        DAY,
        HISTORY,
        DAYS,
        SEED,
        NOW,
        TRUTH,
        QUEUE,
        RATE,
        BURST
    };
    static const struct option table[] = {
        {"port", required_argument, NULL, PORT},
        {"api-key-file", required_argument, NULL, API_KEY},
        {"vault-key-file", required_argument, NULL, VAULT_KEY},
        {"empty", no_argument, NULL, EMPTY},
        {"day", no_argument, NULL, DAY},
        {"history", required_argument, NULL, HISTORY},
        {"days", required_argument, NULL, DAYS},
        {"seed", required_argument, NULL, SEED},
        {"now", required_argument, NULL, NOW},
        {"truth", required_argument, NULL, TRUTH},
        {"queue-sql", required_argument, NULL, QUEUE},
        {"rate-per-minute", required_argument, NULL, RATE},
        {"burst-of-errors", no_argument, NULL, BURST},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.days = 30, .seed = 1, .rate_per_minute = 200, .now = INT64_MIN};
    int which, r = 0;

    while ((which = getopt_long(argc, argv, "h", table, NULL)) != -1) {
        switch (which) {
        case PORT:
            r = parse_int(optarg, 0, 65535, &options.port);
            break;
        case API_KEY:
            options.api_key_file = optarg;
            break;
        case VAULT_KEY:
            options.vault_key_file = optarg;
            break;
        case EMPTY:
            options.empty = true;
            break;
        case DAY:
            options.day = true;
            break;
        case HISTORY:
            r = parse_int(optarg, 1, 5000000, &options.history);
            break;
        case DAYS:
            r = parse_int(optarg, 1, 3650, &options.days);
            break;
        case SEED:
            r = parse_int(optarg, 0, INT64_MAX, &options.seed);
            break;
        case NOW:
            r = timestamp_parse(optarg, &options.now);
            break;
        case TRUTH:
            options.truth = optarg;
            break;
        case QUEUE:
            options.queue_sql = optarg;
            break;
        case RATE:
            r = parse_int(optarg, 0, 1000000, &options.rate_per_minute);
            break;
        case BURST:
            options.burst_of_errors = true;
            break;
        case 'h':
            fputs(help, stdout);
            exit(EXIT_SUCCESS);
        default:
            return usage(argv[optind - 1], "unknown option or missing value");
        }
        if (r < 0)
            return usage(argv[optind - 1], "not a value it can have");
    }
    if (optind < argc)
        return usage(argv[optind], "unexpected argument");
    if (options.empty && (options.day || options.history > 0))
        return usage("--empty", "does not go with --day or --history");
    if (!options.empty && options.history == 0)
        options.day = true;
    *ret = options;
    return 0;
}

/* The first line of the file, else the environment's value; NULL when there is neither. */
static int read_key(const char *file, const char *variable, char **ret, struct error *err)
{
    _cleanup_free_ char *line = NULL;
    size_t size = 0;
    FILE *in;

    if (!file) {
        const char *value = getenv(variable);

        *ret = value ? copy_of(value) : NULL;
        return 0;
    }
    in = fopen(file, "re");
    if (!in)
        return error_set(err, -errno, "%s: %s", file, strerror(errno));
    if (getline(&line, &size, in) < 0) {
        fclose(in);
        return error_set(err, -EINVAL, "%s: holds no key", file);
    }
    fclose(in);
    line[strcspn(line, "\r\n")] = '\0';
    *ret = TAKE_PTR(line);
    return 0;
}

static int configure(struct sandbox *sandbox, const struct options *options, struct error *err)
{
    _cleanup_free_ char *api_key = NULL, *vault_key = NULL;
    json_auto_t *changes = NULL;
    int r;

    r = read_key(options->api_key_file, "SANDBOX_API_KEY", &api_key, err);
    if (r == 0)
        r = read_key(options->vault_key_file, "SANDBOX_VAULT_KEY", &vault_key, err);
    if (r < 0)
        return r;
    changes = json_pack("{s:I, s:b}", "rate_per_minute", (json_int_t)options->rate_per_minute,
                        "burst_of_errors", options->burst_of_errors);
    if (api_key)
        json_object_set_new(changes, "api_key", json_string(api_key));
    if (vault_key)
        json_object_set_new(changes, "vault_key", json_string(vault_key));
    if (options->now != INT64_MIN)
        sandbox_set_now(sandbox, options->now);
    return sandbox_change_settings(sandbox, changes, err);
}

static int create_world(struct sandbox *sandbox, const struct options *options, struct error *err)
{
    /* Exactly the given time, so that the world depends on nothing else. */
    int64_t now = options->now != INT64_MIN ? options->now : clock_now(&sandbox->clock);
    struct world *world = world_new((uint64_t)options->seed, now, sandbox->records);
    int r;

    if (options->history > 0)
        world_add_history(world, options->history, options->days);
    if (options->day) {
        world_add_cases(world);
        world_add_day(world);
    }
    r = world_verify(world, err);
    if (r == 0 && options->truth)
        r = export_truth_csv(world, options->truth, err);
    if (r == 0 && options->queue_sql)
        r = export_queue_sql(world, options->queue_sql, err);
    json_decref(sandbox->truth);
    sandbox->truth = export_truth_json(world);
    for (size_t i = 0; i < world->n_sessions; i++)
        if (world->sessions[i].known)
            vault_register(sandbox, world->sessions[i].key, world->sessions[i].fail_first);
    world_free(world);
    return r;
}

static int run(const struct options *options, struct error *err)
{
    struct sandbox *sandbox = sandbox_new();
    struct server *server = NULL;
    _cleanup_close_ int stop = -1;
    sigset_t signals;
    int r;

    /* Blocked before anything takes time, so that an early SIGTERM ends the program in order. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    stop = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);

    r = configure(sandbox, options, err);
    if (r == 0 && !options->empty)
        r = create_world(sandbox, options, err);
    if (r == 0)
        r = server_new((uint16_t)options->port, sandbox_handle, sandbox, &server, err);
    if (r == 0) {
        printf("ozura-sandbox: listening on http://127.0.0.1:%u\n", (unsigned)server_port(server));
        fflush(stdout);
        r = server_run(server, stop, err);
    }
    server_free(server);
    sandbox_free(sandbox);
    return r;
}

int main(int argc, char **argv)
{
    struct options options;
    struct error err;

    if (read_options(argc, argv, &options) < 0)
        return EX_USAGE;
    if (run(&options, &err) < 0) {
        fprintf(stderr, "ozura-sandbox: %s\n", err.text);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
