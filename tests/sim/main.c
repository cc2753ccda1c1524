/* sim [--seeds N] [--from N] [--jobs N] [--scenario NAME] [--report] [--seed N [--verbose]]
 * [--list]
 *
 * Runs worlds. Seed N is always the same world: of scenario N modulo their number, or of the one
 * that is named. Exit 0 when every invariant held, 1 when one did not (its seed is printed, with
 * how to see its story), 2 on usage. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/parse.h"
#include "core/email_hash.h"
#include "core/timestamp.h"
#include "sim.h"
#include "store/queue.h"

enum { MAX_JOBS = 64, MAX_SCENARIOS = 32 };

int64_t draw(struct sim *sim, struct span span)
{
    return span.max > span.min ? rng_between(&sim->rng, span.min, span.max) : span.min;
}

void story(const struct sim *sim, const char *format, ...)
{
    char at[TIMESTAMP_TEXT_SIZE];
    va_list args;

    if (!sim->verbose)
        return;
    timestamp_format(sim->now, at);
    printf("%.12s  ", at + 11);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void fail(struct sim *sim, const char *format, ...)
{
    char at[TIMESTAMP_TEXT_SIZE], *text;
    va_list args;
    size_t n;

    if (sim->failures++ >= MAX_FAILURES)
        return;
    text = sim->failure[sim->failures - 1];
    n = (size_t)snprintf(text, sizeof(sim->failure[0]), "%.12s ",
                         timestamp_format(sim->now, at) + 11);
    va_start(args, format);
    vsnprintf(text + n, sizeof(sim->failure[0]) - n, format, args);
    va_end(args);
    story(sim, "VIOLATION: %s", text);
}

static int64_t now_of(void *userdata)
{
    const struct sim *sim = userdata;

    return sim->now;
}

/* --- one world
 * ------------------------------------------------------------------------------------ */

static void remove_files(const struct sim *sim)
{
    static const char *const files[] = {"ledger.db",     "ledger.db-wal",  "ledger.db-shm",
                                        "ledger.db.key", "ledger.db.lock", "queue.db",
                                        "queue.db-wal",  "queue.db-shm"};
    char path[320];

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", sim->directory, files[i]);
        unlink(path);
    }
}

/* Fresh databases. The key of the e-mail hashes is always the same, so that seeds repeat. */
static void make_files(struct sim *sim)
{
    char path[320], key[EMAIL_KEY_SIZE] = "simulated";
    struct error err = {0};
    int fd;

    remove_files(sim);
    snprintf(sim->ledger_path, sizeof(sim->ledger_path), "%s/ledger.db", sim->directory);
    snprintf(sim->queue_path, sizeof(sim->queue_path), "%s/queue.db", sim->directory);
    snprintf(path, sizeof(path), "%s.key", sim->ledger_path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, key, sizeof(key)) != (ssize_t)sizeof(key))
        fail(sim, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (queue_open(sim->queue_path, &sim->app_queue, NULL, 0, &err) < 0 ||
        db_exec(sim->app_queue, "PRAGMA synchronous=OFF", &err) < 0)
        fail(sim, "%s", err.text);
}

int64_t quiet_at(const struct sim *sim)
{
    const struct params *p = &sim->params;
    int64_t last = sim->last_change > sim->fine_from ? sim->last_change : sim->fine_from;

    return last + 2 * p->sync.deep_interval + sim->daemon.grace + p->match.after + HOUR;
}

static void live(struct sim *sim)
{
    while (sim->failures < MAX_FAILURES) {
        int64_t event_at = sim->n_events ? sim->events[0].at : NEVER;
        int64_t daemon_at = daemon_next_at(sim);

        if (event_at == NEVER && (daemon_at == NEVER || (daemon_at > quiet_at(sim) &&
                                                         sim->daemon.request == REQUEST_NONE)))
            break;
        if (event_at <= daemon_at)
            world_step(sim);
        else
            daemon_step(sim);
    }
}

static void run_world(struct sim *sim, uint64_t seed, const struct scenario *scenario,
                      const char *directory, bool verbose)
{
    *sim = (struct sim){.seed = seed, .scenario = scenario, .verbose = verbose};
    sim->clock = (struct clock){now_of, sim};
    sim->rng.state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    snprintf(sim->directory, sizeof(sim->directory), "%s", directory);
    params_draw(scenario, &sim->rng, &sim->params);
    make_files(sim);
    if (sim->failures == 0) {
        world_begin(sim);
        live(sim);
        if (sim->failures < MAX_FAILURES)
            check_end(sim);
        if (daemon_is_up(sim))
            report_orders(sim);
    }
    sim->report.counts.seeds = 1;
    sim->report.counts.hours = (sim->now - DAWN) / HOUR;
    daemon_stop(sim);
    sim->app_queue = db_close(sim->app_queue);
    free(sim->events);
    sim->events = NULL;
}

/* --- many worlds
 * ---------------------------------------------------------------------------------- */

struct options {
    int64_t from, seeds, jobs;
    const struct scenario *scenario;
    bool report, verbose;
};

/* In memory that the processes share. */
struct share {
    struct {
        uint64_t seed; /* under way */
        int64_t violations;
        struct report reports[MAX_SCENARIOS];
    } jobs[MAX_JOBS];
};

static const struct scenario *scenario_of(const struct options *options, uint64_t seed)
{
    return options->scenario ? options->scenario : &scenarios[seed % n_scenarios];
}

static void print_failures(const struct options *options, const struct sim *sim)
{
    for (int i = 0; i < sim->failures && i < MAX_FAILURES; i++)
        printf("seed %" PRIu64 " (%s): %s\n", sim->seed, sim->scenario->name, sim->failure[i]);
    printf("    replay: --seed %" PRIu64 "%s%s --verbose\n", sim->seed,
           options->scenario ? " --scenario " : "", options->scenario ? sim->scenario->name : "");
    fflush(stdout);
}

static int make_directory(char *ret, size_t size)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");

    snprintf(ret, size, "%s/reconciled-sim-XXXXXX", base ? base : "/tmp");
    return mkdtemp(ret) ? 0 : -errno;
}

static int work(const struct options *options, struct share *share, int64_t job)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    char directory[256];

    if (!sim || make_directory(directory, sizeof(directory)) < 0)
        return 1;
    for (int64_t i = job; i < options->seeds; i += options->jobs) {
        uint64_t seed = (uint64_t)(options->from + i);

        share->jobs[job].seed = seed;
        run_world(sim, seed, scenario_of(options, seed), directory, options->verbose);
        report_add(&share->jobs[job].reports[sim->scenario - scenarios], &sim->report);
        if (sim->failures) {
            share->jobs[job].violations++;
            print_failures(options, sim);
        }
    }
    remove_files(sim);
    rmdir(directory);
    free(sim);
    return 0;
}

/* A process that dies says in which seed. */
static bool wait_for_jobs(const struct options *options, const pid_t *pids,
                          const struct share *share)
{
    bool good = true;
    int status;

    for (int64_t job = 0; job < options->jobs; job++)
        if (waitpid(pids[job], &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            printf("seed %" PRIu64 ": the process died\n", share->jobs[job].seed);
            good = false;
        }
    return good;
}

static int run(struct options *options)
{
    struct share *share =
        mmap(NULL, sizeof(*share), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct report reports[MAX_SCENARIOS] = {0};
    int64_t violations = 0, hours = 0;
    pid_t pids[MAX_JOBS];
    bool good;

    if (share == MAP_FAILED)
        return 1;
    if (options->jobs > options->seeds)
        options->jobs = options->seeds;
    fflush(stdout);
    for (int64_t job = 0; job < options->jobs; job++) {
        pids[job] = fork();
        if (pids[job] == 0)
            exit(work(options, share, job));
    }
    good = wait_for_jobs(options, pids, share);
    for (int64_t job = 0; job < options->jobs; job++) {
        violations += share->jobs[job].violations;
        for (size_t i = 0; i < n_scenarios; i++) {
            report_add(&reports[i], &share->jobs[job].reports[i]);
            hours += share->jobs[job].reports[i].counts.hours;
        }
    }
    if (options->report)
        report_print(reports);
    printf("simulator: %" PRId64 " seeds, %" PRId64 " hours, %" PRId64 " seeds with violations\n",
           options->seeds, hours, violations);
    munmap(share, sizeof(*share));
    return good && violations == 0 ? 0 : 1;
}

static int usage(void)
{
    fputs("usage: sim [--seeds N] [--from N] [--jobs N] [--scenario NAME] [--report]\n"
          "       sim --seed N [--scenario NAME] [--verbose]\n"
          "       sim --list\n",
          stderr);
    return 2;
}

static const struct scenario *find_scenario(const char *name)
{
    for (size_t i = 0; i < n_scenarios; i++)
        if (strcmp(name, scenarios[i].name) == 0)
            return &scenarios[i];
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"seeds", required_argument, NULL, 'n'},
        {"from", required_argument, NULL, 'f'},
        {"jobs", required_argument, NULL, 'j'},
        {"scenario", required_argument, NULL, 's'},
        {"report", no_argument, NULL, 'r'},
        {"seed", required_argument, NULL, 'o'},
        {"verbose", no_argument, NULL, 'v'},
        {"list", no_argument, NULL, 'l'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.seeds = 210, .jobs = sysconf(_SC_NPROCESSORS_ONLN)};
    bool good = true;
    int c;

    if (options.jobs < 1 || options.jobs > MAX_JOBS)
        options.jobs = 1;
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
        switch (c) {
        case 'n':
            good = good && parse_int(optarg, 1, INT32_MAX, &options.seeds) == 0;
            break;
        case 'f':
            good = good && parse_int(optarg, 0, INT32_MAX, &options.from) == 0;
            break;
        case 'j':
            good = good && parse_int(optarg, 1, MAX_JOBS, &options.jobs) == 0;
            break;
        case 's':
            options.scenario = find_scenario(optarg);
            good = good && options.scenario;
            break;
        case 'r':
            options.report = true;
            break;
        case 'o':
            good = good && parse_int(optarg, 0, INT32_MAX, &options.from) == 0;
            options.seeds = options.jobs = 1;
            break;
        case 'v':
            options.verbose = true;
            break;
        case 'l':
            for (size_t i = 0; i < n_scenarios; i++)
                printf("%-21s %s\n", scenarios[i].name, scenarios[i].what);
            return 0;
        default:
            good = false;
        }
    }
    if (!good || optind < argc)
        return usage();
    return run(&options);
}
