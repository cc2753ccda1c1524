#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "ledger_fixture.h"
#include "store/backup.h"
#include "store/integrity.h"

static void path_in(const struct fixture *f, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", f->directory, name);
}

static int64_t value(struct db *db, const char *sql)
{
    struct error err = {0};
    int64_t v;

    if (db_value(db, &v, -1, &err, sql, "") < 0)
        fail_msg("%s", err.text);
    return v;
}

static void fill(struct fixture *f)
{
    fixture_sql(f, FIXTURE_RUN);
    fixture_transaction(f, "T1", "CreditCardSale", 4900, "USD", "2026-11-21T09:00:00.000Z", "4242",
                        "", "", 1);
}

/* A reader without leave to write makes the copy while the writer has a transaction open: what is
 * not committed is not in it, and what was committed last, and is in the -wal only, is. */
static void copy_is_what_was_committed(void **state)
{
    struct fixture *f = *state;
    struct db *reader, *copy;
    struct error err = {0};
    char path[128];

    fill(f);
    path_in(f, "copy.db", path, sizeof(path));
    assert_int_equal(db_open(f->path, DB_READ, 0, &reader, &err), 0);
    assert_int_equal(db_begin(f->db, &err), 0);
    fixture_sql(f, "DELETE FROM transactions");
    if (backup_write(reader, path, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(db_commit(f->db, &err), 0);
    db_close(reader);
    assert_int_equal(db_open(path, DB_READ, 0, &copy, &err), 0);
    assert_int_equal(value(copy, "SELECT count(*) FROM transactions"), 1);
    assert_int_equal(value(copy, "SELECT count(*) FROM sync_runs"), 1);
    assert_int_equal(value(copy, "PRAGMA user_version"), migrate_newest("ledger"));
    assert_int_equal(integrity_check(copy, &err), 0);
    db_close(copy);
    path_in(f, "copy.db.partial", path, sizeof(path));
    assert_int_equal(access(path, F_OK), -1);
}

/* The copy can be the ledger: a writer opens it and takes the schema as it is. */
static void copy_can_be_put_in_place(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct db *copy;
    char path[128];

    fill(f);
    path_in(f, "copy.db", path, sizeof(path));
    assert_int_equal(backup_write(f->db, path, &err), 0);
    assert_int_equal(db_open(path, DB_WRITE, 0, &copy, &err), 0);
    assert_int_equal(migrate(copy, "ledger", &err), 0);
    assert_int_equal(db_run(copy, &err, "DELETE FROM transactions", ""), 0);
    db_close(copy);
}

static void nothing_is_overwritten(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char path[128];
    struct stat st;
    int fd;

    path_in(f, "precious", path, sizeof(path));
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    assert_int_equal(backup_write(f->db, path, &err), -EEXIST);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 1);
    assert_int_equal(backup_write(f->db, f->path, &err), -EEXIST);
}

static void mode_is_by_the_umask(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char path[128];
    struct stat st;
    mode_t before = umask(0027);

    path_in(f, "copy.db", path, sizeof(path));
    assert_int_equal(backup_write(f->db, path, &err), 0);
    umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

/* A copy that cannot be made leaves nothing that looks like one. */
static void failure_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char path[160];
    int64_t page;
    int fd;

    path_in(f, "missing/copy.db", path, sizeof(path));
    assert_int_equal(backup_write(f->db, path, &err), -ENOENT);
    fill(f);
    page = value(f->db, "SELECT rootpage FROM sqlite_schema WHERE name = 'transactions'");
    f->db = db_close(f->db);
    fd = open(f->path, O_WRONLY);
    assert_int_equal(pwrite(fd, "damage damage", 13, (page - 1) * 4096), 13);
    close(fd);
    path_in(f, "ledger.db-wal", path, sizeof(path));
    unlink(path);
    assert_int_equal(db_open(f->path, DB_WRITE, 0, &f->db, &err), 0);
    assert_int_equal(integrity_check(f->db, &err), -EBADMSG);
    path_in(f, "copy.db", path, sizeof(path));
    assert_true(backup_write(f->db, path, &err) < 0);
    assert_int_equal(access(path, F_OK), -1);
    path_in(f, "copy.db.partial", path, sizeof(path));
    assert_int_equal(access(path, F_OK), -1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(copy_is_what_was_committed), TEST(copy_can_be_put_in_place),
        TEST(nothing_is_overwritten),     TEST(mode_is_by_the_umask),
        TEST(failure_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
