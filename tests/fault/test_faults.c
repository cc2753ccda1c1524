/* The daemon's own loop, services and stores, through a day, with each thing that can fail failing
 * in its turn: a full disk, an I/O error, no file descriptor, a lock that is held, no memory; and
 * with the process, or the machine, ending at each write. Whatever it was: the files are sound,
 * nothing is lost or doubled, and the day ends as it would have without.
 *
 * FAULTS=all tries each place; else as many as fit a test run, other ones for each kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "config/config.h"
#include "core/timestamp.h"
#include "daemon/manager.h"
#include "faults.h"
#include "seams.h"
#include "shop.h"

enum { MAX_LIVES = 4 };

static char config_path[PATH_MAX + 32];
static char *undisturbed; /* what a day comes to */
static char what[128];    /* the case under way */

static void on_abort(int number)
{
    if (write(STDOUT_FILENO, what, strlen(what)) > 0)
        (void)!write(STDOUT_FILENO, ": aborted\n", 10);
    signal(number, SIG_DFL);
    raise(number);
}

static struct config *load_config(void)
{
    struct config *config = NULL;
    struct error err = {0};

    if (config_load(config_path, CONFIG_ALL, true, &config, &err) < 0)
        fail_msg("%s", err.text);
    return config;
}

/* One life of the daemon; the negative errno that it could not begin with. */
static int live(void)
{
    const struct manager_options options = {.config_path = config_path, .config_must_exist = true};
    struct config *config = load_config();
    struct manager *manager;
    struct error err = {0};
    int r;

    faults_resume();
    r = manager_new(config, &options, &shop_clock, &shop_boot, &manager, &err);
    if (r == 0) {
        manager_run(manager);
        manager_free(manager);
    }
    faults_pause();
    if (r < 0 && !faults_fired())
        complain("the daemon does not start: %s", err.text);
    return r;
}

/* From now to the day's end, through as many lives as it takes. */
static void live_on(enum power_variant variant, unsigned seed)
{
    for (int lives = 0; shop->now < SHOP_END; lives++) {
        if (lives == MAX_LIVES) {
            complain("the daemon does not live on");
            return;
        }
        live();
        if (faults_dead()) {
            shop_close_app();
            power_cut(shop_directory, variant, seed);
        }
        if (shop->now < SHOP_END) {
            audit();
            faults_heal();
            shop->now += 100;
        }
    }
    shop_close_app();
    audit();
    if (sqlite3_memory_used() > 0)
        complain("%lld bytes of a database are not freed", (long long)sqlite3_memory_used());
}

/* Line by line, as far as they agree. */
static void compare_with_undisturbed(void)
{
    char *result = audit_result();
    const char *is = result, *was = undisturbed ? undisturbed : result;

    while (*is && *was && strcspn(is, "\n") == strcspn(was, "\n") &&
           strncmp(is, was, strcspn(is, "\n")) == 0) {
        is += strcspn(is, "\n") + 1;
        was += strcspn(was, "\n") + 1;
    }
    if (*is || *was)
        complain("the day ended otherwise: '%.*s' instead of '%.*s'", (int)strcspn(is, "\n"), is,
                 (int)strcspn(was, "\n"), was);
    free(result);
}

static void begin_day(enum fault_kind kind, long nth, bool lasting, bool leave, const char *detail)
{
    shop_begin();
    seams_leave_on_fault(leave);
    snprintf(what, sizeof(what), "%s, %s at %ld%s%s", fault_name(kind),
             lasting ? "from then on" : "once", nth, leave ? ", restarted" : "", detail);
    complain_about(what);
}

static void whole_day(enum fault_kind kind, long nth, bool lasting, bool leave,
                      enum power_variant variant)
{
    static const char *const variants[POWER_VARIANTS] = {
        "",
        ", all written",
        ", the ledger written",
        ", the queue written",
        ", written up to a place",
        ", written here and there",
    };

    begin_day(kind, nth, lasting, leave, kind == FAULT_POWER ? variants[variant] : "");
    faults_arm(kind, nth, lasting);
    live_on(variant, (unsigned)nth);
    compare_with_undisturbed();
}

/* How far apart the places are that are tried. */
static long stride(long usual)
{
    const char *all = getenv("FAULTS");

    if (!all || strcmp(all, "all") != 0)
        return usual;
    return usual < 1000 ? 1 : 37;
}

static void report(enum fault_kind kind, long tried, long of)
{
    print_message("%s: %ld places of %ld\n", fault_name(kind), tried, of);
    assert_int_equal(shop->complaints, 0);
    assert_true(tried > 0);
}

static void sweep(enum fault_kind kind, bool lasting, bool leave, long first, long usual)
{
    long tried = 0, nth = stride(usual) == 1 ? 1 : first;

    for (;; nth += stride(usual)) {
        whole_day(kind, nth, lasting, leave, (enum power_variant)(tried % POWER_VARIANTS));
        if (!faults_fired() || shop->complaints > 0)
            break;
        tried++;
    }
    report(kind, tried, nth - 1);
}

/* The `call`th time that each place asks. */
static void sweep_callers(long call, bool lasting, bool leave)
{
    long tried = 0, nth = 1;

    do {
        char detail[32];

        snprintf(detail, sizeof(detail), ", call %ld", call);
        begin_day(FAULT_MEMORY, nth, lasting, leave, detail);
        faults_arm_caller(nth, call, lasting);
        live_on(POWER_NOTHING, 0);
        compare_with_undisturbed();
        tried += faults_fired();
    } while (shop->complaints == 0 && nth++ < faults_callers());
    report(FAULT_MEMORY, tried, nth - 1);
}

/* What the others are held against, said outright. */
static void test_undisturbed(void **state)
{
    static const char *const lines[] = {
        "record sale-late CreditCardSale 20.00USD 1\n",
        "quarantined bad amount: missing\n",
        "order absent 40.00 not_charged - absence 1\n",
        "order again 30.00 charged sale-again identity 2\n",
        "order charged 10.00 charged sale-charged identity 2\n",
        "order claimed 50.00 charged sale-claimed claim 1\n",
        "order contested-1 70.00 needs_review - - 1\n",
        "order contested-2 70.00 needs_review - - 1\n",
        "order late 20.00 charged sale-late identity 1\n",
        "order resolved 60.00 charged sale-other person 1\n",
        "order reversed 80.00 reversed sale-reversed reference 1\n",
        "claim sale-claimed claimed\n",
        "session session-1 paid revoked\n",
        "session session-2 expired gone\n",
        "session session-3 cancelled revoked\n",
        "waiting 0\noffer absent not_charged\noffer reversed reversed\npermit again app\n",
    };

    (void)state;
    assert_int_equal(shop->complaints, 0);
    for (size_t i = 0; i < ELEMENTSOF(lines); i++)
        if (!strstr(undisturbed, lines[i]))
            fail_msg("no line '%s' in:\n%s", lines[i], undisturbed);
    assert_null(strstr(undisturbed, "unread"));
}

/* When the first absence was proved. */
static int64_t first_absence(void)
{
    char path[PATH_MAX];
    int64_t at = 0;
    sqlite3_stmt *stmt;
    sqlite3 *db;

    shop_path("ledger.db", path, sizeof(path));
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT coalesce(min(decided_at), '1970-01-01T00:00:00.000Z')"
                           " FROM verdicts WHERE rule = 'absence'",
                           -1, &stmt, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(timestamp_parse((const char *)sqlite3_column_text(stmt, 0), &at), 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return at;
}

/* Graces seem to be over at once, and are not: nothing is proved until one has passed since. */
static void test_clock_set_ahead(void **state)
{
    const int64_t at = SHOP_BEGIN + 30000, by = 600000, grace = 270000;
    int64_t proved;

    (void)state;
    begin_day(FAULT_NONE, 0, false, false, ", the clock set ahead");
    shop->set_ahead_at = at;
    shop->set_ahead_by = by;
    live_on(POWER_NOTHING, 0);
    assert_int_equal(shop->complaints, 0);
    proved = first_absence() - at - by;
    if (proved <= grace || proved > grace + 60000)
        fail_msg("the first absence is proved %lld s after", (long long)proved / 1000);
}

static void test_disk_full(void **state)
{
    (void)state;
    sweep(FAULT_DISK_FULL, true, false, 1, 31);
    sweep(FAULT_DISK_FULL, true, true, 11, 31);
}

static void test_half_a_write(void **state)
{
    (void)state;
    sweep(FAULT_HALF_A_WRITE, false, false, 3, 61);
    sweep(FAULT_HALF_A_WRITE, false, true, 27, 61);
}

static void test_io_error(void **state)
{
    (void)state;
    sweep(FAULT_IO, false, false, 1, 59);
    sweep(FAULT_IO, true, true, 14, 59);
    sweep(FAULT_IO, true, false, 28, 59);
}

static void test_no_file_descriptor(void **state)
{
    (void)state;
    sweep(FAULT_NO_FILES, false, false, 1, 1);
    sweep(FAULT_NO_FILES, true, true, 1, 1);
}

static void test_busy(void **state)
{
    (void)state;
    sweep(FAULT_BUSY, true, false, 2, 29);
    sweep(FAULT_BUSY, true, true, 12, 29);
}

static void test_no_memory(void **state)
{
    (void)state;
    sweep_callers(1, false, false);
    sweep_callers(1, true, true);
    sweep_callers(7, false, false);
    sweep_callers(40, true, false);
}

static void test_no_memory_for_sqlite(void **state)
{
    (void)state;
    sweep(FAULT_SQLITE_MEMORY, false, false, 1, 2003);
    sweep(FAULT_SQLITE_MEMORY, true, true, 700, 2003);
}

static void test_power_cut(void **state)
{
    (void)state;
    sweep(FAULT_POWER, false, false, 1, 17);
}

/* A child lives and is killed; we live on with what it left. False: it reached the day's end. */
static bool kill_at(enum fault_kind kind, long nth)
{
    int status;
    pid_t child;

    shop_begin();
    snprintf(what, sizeof(what), "%s at %ld", fault_name(kind), nth);
    complain_about(what);
    fflush(stdout);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        faults_arm(kind, nth, false);
        live_on(POWER_NOTHING, 0);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != FAULT_EXIT)) {
        complain("it ended with status %#x", (unsigned)status);
        return false;
    }
    if (WEXITSTATUS(status) == 0)
        return false;
    faults_arm(FAULT_NONE, 0, false);
    audit();
    live_on(POWER_NOTHING, 0);
    compare_with_undisturbed();
    return true;
}

static void kill_sweep(enum fault_kind kind, long usual)
{
    long nth = 1, tried = 0;

    for (; kill_at(kind, nth) && shop->complaints == 0; nth += stride(usual))
        tried++;
    report(kind, tried, nth - 1);
}

static void test_kill(void **state)
{
    (void)state;
    kill_sweep(FAULT_KILL, 41);
    kill_sweep(FAULT_KILL_AFTER, 5);
}

static int set_up(void **state)
{
    static char directory[] = "/dev/shm/reconciled-test-XXXXXX",
                other[] = "/tmp/reconciled-test-XXXXXX";
    FILE *file;

    (void)state;
    shop = mmap(NULL, sizeof(*shop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shop == MAP_FAILED)
        return -1;
    /* Where nothing waits for a disk, if there is such a place. */
    if (!mkdtemp(directory) && !mkdtemp(other))
        return -1;
    snprintf(shop_directory, PATH_MAX, "%s/d", access(directory, F_OK) == 0 ? directory : other);
    snprintf(config_path, sizeof(config_path), "%.*s/c", (int)strlen(shop_directory) - 2,
             shop_directory);
    if (mkdir(shop_directory, 0700) < 0)
        return -1;
    file = fopen(config_path, "w");
    if (!file)
        return -1;
    fprintf(file,
            "[merchant]\nid = m\n[pay]\nurl = https://pay.invalid\nrate_per_minute = 1000\n"
            "page_size = %d\n[vault]\nurl = https://vault.invalid\n"
            "[ledger]\npath = %s/ledger.db\n[queue]\npath = %s/queue/queue.db\n"
            "[sync]\ninterval = 8min\nfast_interval = 90s\nbackfill = 1h\noverlap = 10min\n"
            "deep_overlap = 45min\ndeep_interval = 12min\nedge_lag = 5s\n"
            "[match]\nbefore = 60s\nafter = 240s\nabsence_grace = 270s\n"
            "[sessions]\nidle_timeout = 10min\n",
            SHOP_PAGE_SIZE, shop_directory, shop_directory);
    if (fclose(file) != 0)
        return -1;
    setenv("MERCHANT_API_KEY", "key", 1);
    setenv("VAULT_API_KEY", "key", 1);
    log_open(-1);
    signal(SIGABRT, on_abort);
    faults_install();
    faults_pause();
    whole_day(FAULT_NONE, 0, false, false, POWER_NOTHING);
    undisturbed = audit_result();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    shop_begin();
    unlink(config_path);
    rmdir(shop_directory);
    *strrchr(shop_directory, '/') = '\0';
    rmdir(shop_directory);
    free(undisturbed);
    return munmap(shop, sizeof(*shop));
}

/* An argument chooses the tests by their names: '*power*'. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_undisturbed),
        cmocka_unit_test(test_clock_set_ahead),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_half_a_write),
        cmocka_unit_test(test_io_error),
        cmocka_unit_test(test_no_file_descriptor),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_memory_for_sqlite),
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_kill),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
