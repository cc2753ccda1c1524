#include <fcntl.h>
#include <sys/stat.h>

#include "ctl/waiting.h"
#include "ledger_fixture.h"
#include "store/queue.h"

/* The verdict of order A-1, from a ledger and a queue as they are left by each test. Time passes
 * with every look at the clock, so that nothing waits for long. */
static int64_t passed;

static int64_t fast_now(void *userdata)
{
    (void)userdata;
    return passed += 10 * 1000;
}

static struct db *open_queue(struct fixture *f)
{
    char path[128];
    struct error err = {0};
    struct db *queue;

    snprintf(path, sizeof(path), "%s/queue.db", f->directory);
    if (queue_open(path, &queue, NULL, 0, &err) < 0)
        fail_msg("%s", err.text);
    return queue;
}

/* Runs with standard output in a file, standard error nowhere, and gives what was printed. */
static int run(struct fixture *f, struct db *queue, int64_t attempt, char *output, size_t size)
{
    const struct clock clock = {fast_now, NULL};
    struct ctl ctl = {.clock = &clock, .format = WRITER_CSV};
    char *argv[] = {(char *)"reconctl", (char *)"--ledger", f->path,
                    (char *)"wait",     (char *)"A-1",      NULL};
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    int file = open(f->directory, O_RDWR | O_TMPFILE, 0600), null = open("/dev/null", O_WRONLY);
    int status;
    ssize_t n;

    passed = 0;
    assert_int_equal(args_parse(5, argv, &ctl.args, NULL), 0);
    fflush(stdout);
    dup2(file, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    status = waiting_run(&ctl, queue, "A-1", attempt, 30 * 1000);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    n = pread(file, output, size - 1, 0);
    output[n > 0 ? n : 0] = '\0';
    close(file);
    close(null);
    close(out);
    close(err);
    return status;
}

static void enqueue(struct db *queue, const char *at)
{
    const struct queue_order order = {
        .order_id = "A-1", .amount = "49.00", .attempted_at = at, .http_status = 502};
    struct error err = {0};

    if (queue_add_order(queue, &order, &err) < 0)
        fail_msg("%s", err.text);
}

static void decided_order_is_printed(void **state)
{
    struct fixture *f = *state;
    struct db *queue = open_queue(f);
    char output[1024];

    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:30.000Z", "", "charged");
    assert_int_equal(run(f, queue, -1, output, sizeof(output)), CTL_DONE);
    assert_non_null(strstr(output, "A-1,49.00,4900,USD,charged,0,"));
    db_close(queue);
}

/* The old verdict knows nothing of the attempt that still waits. */
static void old_verdict_is_not_printed_while_an_attempt_waits(void **state)
{
    struct fixture *f = *state;
    struct db *queue = open_queue(f);
    char output[1024];

    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:30.000Z", "", "not_charged");
    enqueue(queue, "2026-11-22T09:30:00.000Z");
    assert_int_equal(run(f, queue, -1, output, sizeof(output)), CTL_NO);
    assert_string_equal(output, "");
    assert_int_equal(run(f, queue, instant("2026-11-22T09:30:00Z"), output, sizeof(output)),
                     CTL_NO);
    assert_string_equal(output, "");
    db_close(queue);
}

/* Nor when the row has left the queue and the ledger does not show the attempt. */
static void verdict_must_know_the_attempt(void **state)
{
    struct fixture *f = *state;
    struct db *queue = open_queue(f);
    char output[1024];

    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:30.000Z", "", "not_charged");
    assert_int_equal(run(f, queue, instant("2026-11-22T09:00:30.001Z"), output, sizeof(output)),
                     CTL_NO);
    assert_string_equal(output, "");
    assert_int_equal(run(f, queue, instant("2026-11-22T09:00:30Z"), output, sizeof(output)),
                     CTL_DONE);
    assert_non_null(strstr(output, ",not_charged,1,"));
    db_close(queue);
}

static void pending_order_is_printed_when_time_is_up(void **state)
{
    struct fixture *f = *state;
    struct db *queue = open_queue(f);
    char output[1024];

    fixture_order(f, "A-1", 4900, "2026-11-22T09:00:30.000Z", "", "pending");
    assert_int_equal(run(f, queue, -1, output, sizeof(output)), CTL_NO);
    assert_non_null(strstr(output, "A-1,49.00,4900,USD,pending,0,"));
    db_close(queue);
}

/* Said at once; unless it may wait in a queue that cannot be read. */
static void unknown_order(void **state)
{
    struct fixture *f = *state;
    struct db *queue = open_queue(f);
    char output[1024];

    assert_int_equal(run(f, queue, -1, output, sizeof(output)), CTL_NO);
    assert_string_equal(output, "");
    assert_true(passed < 30 * 1000);
    assert_int_equal(run(f, NULL, -1, output, sizeof(output)), CTL_NO);
    assert_true(passed > 30 * 1000);
    assert_int_equal(waiting_in_queue(queue, "A-1"), 0);
    enqueue(queue, "2026-11-22T09:30:00.000Z");
    assert_int_equal(waiting_in_queue(queue, "A-1"), 1);
    assert_int_equal(waiting_in_queue(NULL, "A-1"), -1);
    db_close(queue);
}

/* A ledger that is not there yet is waited for; what is no ledger is an error at once. */
static void missing_ledger(void **state)
{
    struct fixture *f = *state;
    struct db *queue = open_queue(f);
    char output[1024];

    enqueue(queue, "2026-11-22T09:30:00.000Z");
    f->db = db_close(f->db);
    unlink(f->path);
    assert_int_equal(run(f, queue, -1, output, sizeof(output)), CTL_NO);
    assert_int_equal(mkdir(f->path, 0700), 0);
    assert_int_equal(run(f, queue, -1, output, sizeof(output)), EX_IOERR);
    rmdir(f->path);
    db_close(queue);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(decided_order_is_printed),
        TEST(old_verdict_is_not_printed_while_an_attempt_waits),
        TEST(verdict_must_know_the_attempt),
        TEST(pending_order_is_printed_when_time_is_up),
        TEST(unknown_order),
        TEST(missing_ledger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
