/* A ledger of an older schema, as an older program has left it. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "store/ledger.h"
#include "store/migrate.h"

struct place {
    char directory[64], ledger[96], copy[128];
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    snprintf(place->directory, sizeof(place->directory), "/tmp/reconciled-upgrade-XXXXXX");
    if (!mkdtemp(place->directory))
        return -1;
    snprintf(place->ledger, sizeof(place->ledger), "%s/ledger.db", place->directory);
    snprintf(place->copy, sizeof(place->copy), "%s.schema-1", place->ledger);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const suffixes[] = {
        "", "-wal", "-shm", ".lock", ".key", ".schema-1", ".schema-1.partial"};
    struct place *place = *state;
    char path[160];

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
        snprintf(path, sizeof(path), "%s%s", place->ledger, suffixes[i]);
        unlink(path);
    }
    if (rmdir(place->directory) < 0)
        print_message("%s: %s\n", place->directory, strerror(errno));
    free(place);
    return 0;
}

static void sql(const char *path, const char *text)
{
    char *why = NULL;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", path, why);
    sqlite3_close(db);
}

static int64_t value(const char *path, const char *text)
{
    sqlite3_stmt *stmt;
    sqlite3 *db;
    int64_t v;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    v = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return v;
}

static void make_old(const char *path)
{
    for (const struct migration *m = migrations; m->database; m++)
        if (strcmp(m->database, "ledger") == 0 && m->version == 1)
            sql(path, m->sql);
    sql(path, "PRAGMA user_version=1; INSERT INTO meta (name, value) VALUES ('witness', 'old')");
}

/* A file of that many zeros. */
static int make_file(const char *path, off_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600), r;

    assert_true(fd >= 0);
    r = ftruncate(fd, size);
    close(fd);
    return r;
}

static int open_and_close(const char *path, struct error *err)
{
    struct ledger *ledger;
    int r = ledger_open(path, &ledger, err);

    if (r == 0)
        ledger_close(ledger);
    return r;
}

/* The copy is the old ledger, and no more readable for others than the ledger is. */
static void old_ledger_is_copied_first(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    struct stat st;
    mode_t mask = umask(0027);

    make_old(place->ledger);
    if (open_and_close(place->ledger, &err) < 0)
        fail_msg("%s", err.text);
    umask(mask);
    assert_int_equal(value(place->ledger, "PRAGMA user_version"), migrate_newest("ledger"));
    assert_int_equal(value(place->copy, "PRAGMA user_version"), 1);
    assert_int_equal(value(place->copy, "SELECT count(*) FROM meta WHERE value = 'old'"), 1);
    assert_int_equal(stat(place->copy, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

static void new_ledger_is_not_copied(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    assert_int_equal(open_and_close(place->ledger, &err), 0);
    assert_int_equal(open_and_close(place->ledger, &err), 0);
    assert_int_equal(access(place->copy, F_OK), -1);
}

/* Of an upgrade that died after the copy: the copy stays, the upgrade goes on. */
static void copy_is_never_overwritten(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    make_old(place->ledger);
    sql(place->copy, "PRAGMA user_version=77");
    assert_int_equal(open_and_close(place->ledger, &err), 0);
    assert_int_equal(value(place->copy, "PRAGMA user_version"), 77);
    assert_int_equal(value(place->ledger, "PRAGMA user_version"), migrate_newest("ledger"));
}

/* Killed while the copy was written: its name is there, and what was written so far beside it. */
static void copy_that_was_begun_is_made(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    char partial[160];

    make_old(place->ledger);
    snprintf(partial, sizeof(partial), "%s.partial", place->copy);
    assert_int_equal(make_file(place->copy, 0), 0);
    assert_int_equal(make_file(partial, 5000), 0);
    assert_int_equal(open_and_close(place->ledger, &err), 0);
    assert_int_equal(value(place->copy, "SELECT count(*) FROM meta WHERE value = 'old'"), 1);
    assert_int_equal(value(place->ledger, "PRAGMA user_version"), migrate_newest("ledger"));
}

/* The queue has a version, too, and somebody else's database may. */
static void foreign_file_is_not_copied(void **state)
{
    struct place *place = *state;
    struct error err = {0};

    sql(place->ledger, "CREATE TABLE customers (name); PRAGMA user_version=1");
    assert_int_equal(open_and_close(place->ledger, &err), -EPROTO);
    assert_int_equal(access(place->copy, F_OK), -1);
}

/* No room for the copy, say: then nothing is changed. */
static void no_copy_no_upgrade(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    char obstacle[160];

    make_old(place->ledger);
    snprintf(obstacle, sizeof(obstacle), "%s.partial", place->copy);
    assert_int_equal(mkdir(obstacle, 0700), 0);
    assert_true(open_and_close(place->ledger, &err) < 0);
    assert_non_null(strstr(err.text, ".schema-1"));
    assert_int_equal(value(place->ledger, "PRAGMA user_version"), 1);
    rmdir(obstacle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(old_ledger_is_copied_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(new_ledger_is_not_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copy_is_never_overwritten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copy_that_was_begun_is_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(foreign_file_is_not_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_copy_no_upgrade, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
