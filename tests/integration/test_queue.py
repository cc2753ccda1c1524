"""The two databases as files: what the queue refuses and keeps, who may read and write which, and
what happens to a row on its way from the one to the other."""
import grp
import json
import os
import pwd
import re
import shutil
import signal
import sqlite3
import stat
import statistics
import subprocess
import time
import unittest

from harness import (Case, after, ago, environment, iso, now, query_time, record, sale_for,
                     wait_until)

ROOT = os.geteuid() == 0
ORDER = {"order_id": "o", "amount": "49.00"}
CLAIM = {"transaction_id": "t", "order_id": "o"}
SESSION = {"session_id": "s", "session_key": "k"}
RESOLUTION = {"order_id": "o", "decision": "charged", "note": "n", "decided_by": "ann"}
BAD_TIMES = ("", "now", "2026-01-22", "2026-02-30 10:00:00", "2026-01-22 24:00:00",
             "2026-01-22T14:03:07", "2026-01-22T14:03:07+02:00", "2026-01-22T14:03:07.Z",
             "2026-01-22 14:03:07 ", "22.01.2026 14:03:07", "1969-12-31 23:59:59", 1769090587)

# table, a good row, constraint: (column, bad values)
REFUSED = {
    ("pending_orders", "order_id_is_1_to_128_characters"): ("order_id", ["", "x" * 129, b"o",
                                                                         "a\0b"]),
    ("pending_orders", "order_id_has_a_control_character"): ("order_id", ["a\nb", "\t", "a\x7f"]),
    ("pending_orders", "amount_is_a_decimal_number"): ("amount", [
        "", "49,00", "$49", "-49.00", "+1", "1e2", ".50", "5.", "1.2.3", " 1", "0x1", "NaN",
        b"49"]),
    ("pending_orders", "amount_is_too_large"): ("amount", ["9999999999999.99", "1" * 15,
                                                           "0" * 40 + "1"]),
    ("pending_orders", "amount_is_not_positive"): ("amount", ["0", "0.00", "00"]),
    ("pending_orders", "amount_has_more_decimals_than_the_currency"): ("amount", ["49.001",
                                                                                  "0.0001"]),
    ("pending_orders", "currency_is_three_capital_letters"): ("currency", ["", "usd", "US",
                                                                           "DOLLAR", "U$D"]),
    ("pending_orders", "currency_is_not_iso_4217"): ("currency", ["XXX", "ABC", "XAU"]),
    ("pending_orders", "attempted_at_is_utc_time"): ("attempted_at", BAD_TIMES),
    ("pending_orders", "http_status_is_0_or_500_to_599"): ("http_status", [
        200, 402, 499, 600, -1, "timeout", 500.5]),
    ("pending_orders", "card_last_four_is_four_digits"): ("card_last_four", ["424", "42424",
                                                                             "abcd", "4242 "]),
    ("pending_orders", "card_brand_is_at_most_32_characters"): ("card_brand", ["v" * 33, "a\0",
                                                                               b"Visa"]),
    ("pending_orders", "card_bin_is_6_to_8_digits"): ("card_bin", ["42424", "424242424",
                                                                   "4242xx"]),
    ("pending_orders", "billing_email_is_an_address"): ("billing_email", [
        "jane", "@example.com", "jane@", "j@" + "e" * 260]),
    ("pending_orders", "session_id_is_at_most_128_characters"): ("session_id", ["s" * 129,
                                                                                "a\0"]),
    ("claims", "transaction_id_is_1_to_128_characters"): ("transaction_id", ["", "t" * 129]),
    ("claims", "order_id_is_1_to_128_characters"): ("order_id", ["", "o" * 129]),
    ("claims", "order_id_has_a_control_character"): ("order_id", ["a\nb"]),
    ("sessions", "session_id_is_1_to_128_characters"): ("session_id", ["", "s" * 129]),
    ("sessions", "session_key_is_1_to_4096_characters"): ("session_key", ["", "k" * 4097]),
    ("sessions", "created_at_is_utc_time"): ("created_at", BAD_TIMES),
    ("sessions", "expires_in_is_60_to_1800_seconds"): ("expires_in", [59, 1801, 0, -60, "soon"]),
    ("sessions", "last_seen_at_is_utc_time"): ("last_seen_at", BAD_TIMES[1:]),
    ("sessions", "ended_is_paid_cancelled_or_abandoned"): ("ended", ["Paid", "done", 1]),
    ("sessions", "order_id_is_1_to_128_characters"): ("order_id", ["o" * 129]),
    ("resolutions", "resolution_key_is_1_to_128_characters"): ("resolution_key", ["", "k" * 129]),
    ("resolutions", "order_id_is_1_to_128_characters"): ("order_id", [""]),
    ("resolutions", "decision_is_charged_or_not_charged"): ("decision", ["", "pending",
                                                                         "reversed"]),
    ("resolutions", "transaction_id_is_1_to_128_characters"): ("transaction_id", ["t" * 129]),
    ("resolutions", "note_is_1_to_1000_characters"): ("note", ["", "n" * 1001]),
    ("resolutions", "decided_by_is_1_to_128_characters"): ("decided_by", ["", "a" * 129]),
    ("resolutions", "decided_at_is_utc_time"): ("decided_at", BAD_TIMES),
}
GOOD = {"pending_orders": ORDER, "claims": CLAIM, "sessions": SESSION, "resolutions": RESOLUTION}


class QueueCase(Case):
    def setUp(self):
        self.sandbox = self.start_sandbox()

    def shop(self, **sections):
        return self.open_shop(self.sandbox, **{
            **sections, "sync": {"backfill": "3h", **sections.get("sync", {})},
            "pay": {"rate_per_minute": 100000, "retries": 0}})

    def settle(self, shop, code=0):
        done = shop.once()
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    @staticmethod
    def insert(shop, table, **columns):
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        shop.queue(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(columns.values()))

    @staticmethod
    def start(shop):
        """The daemon, after its first cycle."""
        begun = iso(now())
        daemon = shop.start()
        wait_until(lambda: shop.ledger("SELECT 1 FROM daemon_state WHERE cycle_ended_at > ?",
                                       (begun,)), what="the first cycle")
        return daemon


class Constraints(QueueCase):
    def test_bad_rows_are_refused_by_name(self):
        shop = self.shop()
        for (table, name), (column, values) in REFUSED.items():
            for value in values:
                with self.subTest(table=table, column=column, value=value):
                    with self.assertRaises(sqlite3.IntegrityError) as refused:
                        self.insert(shop, table, **{**GOOD[table], column: value})
                    self.assertEqual(str(refused.exception), f"CHECK constraint failed: {name}")
        for table in GOOD:
            self.assertEqual(shop.queue(f"SELECT * FROM {table}"), [])

    def test_every_constraint_is_tried_here(self):
        shop = self.shop()
        named = {(row["name"], found) for row in shop.queue("SELECT name, sql FROM sqlite_schema")
                 for found in re.findall(r"CONSTRAINT (\w+) CHECK", row["sql"] or "")}
        self.assertEqual(named, set(REFUSED))

    def test_what_is_missing_is_refused(self):
        shop = self.shop()
        for table, row in GOOD.items():
            for column in row:
                with self.subTest(table=table, column=column):
                    with self.assertRaisesRegex(sqlite3.IntegrityError, f"{table}.{column}"):
                        self.insert(shop, table, **{**row, column: None})

    def test_attempt_in_the_future_is_refused(self):
        # What local time given as UTC amounts to.
        shop = self.shop()
        with self.assertRaisesRegex(sqlite3.IntegrityError, "attempted_at_is_in_the_future"):
            self.insert(shop, "pending_orders", **ORDER,
                        attempted_at=iso(after(now(), minutes=11)))
        self.insert(shop, "pending_orders", **ORDER, attempted_at=iso(after(now(), minutes=9)))
        with self.assertRaisesRegex(sqlite3.IntegrityError, "attempted_at_is_in_the_future"):
            shop.queue(f"UPDATE pending_orders SET attempted_at = '{iso(after(now(), minutes=11))}'")

    def test_bad_rows_are_refused_at_update_too(self):
        shop = self.shop()
        self.insert(shop, "sessions", **SESSION)
        with self.assertRaisesRegex(sqlite3.IntegrityError, "ended_is_paid"):
            shop.queue("UPDATE sessions SET ended = 'finished'")

    def test_good_rows_are_accepted(self):
        shop = self.shop()
        good = {"order_id": ["x" * 128, "\u4e2d" * 128, "a'b\"c; --", "\U0001f600"],
                "amount": ["1", "0.01", "49.5", "049.00", "999999999999.99", "49.000"],
                "attempted_at": ["2026-01-22T14:03:07.250Z", "2026-01-22 14:03:07",
                                 "2026-01-22T14:03:07Z", "2026-01-22 14:03:07.25",
                                 "2026-01-22T14:03:07+00:00",
                                 "2024-02-29 23:59:59"],
                "http_status": [0, 500, 504, 599], "card_last_four": ["0042", "", None],
                "card_brand": ["American Express", "", None],
                "card_bin": ["424242", "42424242", "", None],
                "billing_email": ["a@b", "J\u00e4ne.O'Hara+x@b\u00fccher.example", "", None],
                "session_id": ["s", "", None], "currency": ["USD", "EUR", "XOF"]}
        n = 0
        for column, values in good.items():
            for value in values:
                n += 1
                # The currency without decimals goes with an amount without.
                row = {"amount": "49", "order_id": str(n), column: value}
                self.insert(shop, "pending_orders", **row)
        self.assertEqual(len(shop.queue("SELECT * FROM pending_orders")), n)
        self.settle(shop)
        self.assertEqual(shop.queue("SELECT * FROM pending_orders"), [])
        self.assertEqual(len(shop.ledger("SELECT * FROM order_status")), n)


class Rows(QueueCase):
    def test_both_forms_of_time_mean_the_same(self):
        shop = self.shop()
        at = ago(minutes=30).replace(microsecond=0)
        shop.enqueue("iso", attempted_at=iso(at))
        shop.enqueue("plain", attempted_at=query_time(at))
        self.settle(shop)
        for order in ("iso", "plain"):
            self.assertEqual(shop.verdict(order)["last_attempt_at"], iso(at))

    def test_defaults(self):
        shop = self.shop()
        begun = iso(now())
        self.insert(shop, "pending_orders", **ORDER)
        self.insert(shop, "sessions", **SESSION)
        row = shop.queue("SELECT * FROM pending_orders")[0]
        self.assertEqual((row["currency"], row["http_status"]), ("USD", 0))
        self.assertTrue(begun <= row["attempted_at"] <= iso(now()), row)
        row = shop.queue("SELECT * FROM sessions")[0]
        self.assertEqual((row["expires_in"], row["ended"], row["last_seen_at"], row["order_id"]),
                         (1800, None, None, None))
        self.assertTrue(begun <= row["created_at"] <= iso(now()), row)

    def test_columns_come_in_the_documented_order(self):
        shop = self.shop()
        at = iso(ago(minutes=30))
        shop.queue("INSERT INTO pending_orders VALUES ('o', '49.00', 'EUR', ?, 504, '4242', 'Visa',"
                   " '424242', 'jane@example.com', 's')", (at,))
        shop.queue("INSERT INTO claims VALUES ('t', 'o')")
        shop.queue("INSERT INTO sessions VALUES ('s', 'k', ?, 600, ?, 'paid', 'o')", (at, at))
        self.assertEqual(shop.queue("SELECT order_id, amount, currency, attempted_at, http_status,"
                                    " card_last_four, card_brand, card_bin, billing_email,"
                                    " session_id FROM pending_orders"),
                         shop.queue("SELECT * FROM pending_orders"))
        self.assertEqual(shop.queue("SELECT transaction_id AS a, order_id AS b FROM claims"),
                         [{"a": "t", "b": "o"}])
        self.assertEqual(shop.queue("SELECT * FROM sessions")[0],
                         {"session_id": "s", "session_key": "k", "created_at": at,
                          "expires_in": 600, "last_seen_at": at, "ended": "paid", "order_id": "o"})

    def test_attempts_that_wait_together_are_all_kept(self):
        shop = self.shop()
        times = [ago(minutes=50), ago(minutes=40), ago(minutes=30)]
        sale = record(after(times[1], minutes=1), amount="39.00", cardLastFour="1111")
        self.sandbox.add(sale)
        for at, amount, last_four in zip(times, ("29.00", "39.00", "49.00"),
                                         ("4242", "1111", "4242")):
            shop.enqueue("o", amount, at, card_last_four=last_four)
        self.assertEqual([row["amount"] for row in shop.queue("SELECT * FROM pending_orders")],
                         ["49.00"])
        self.settle(shop)
        row = shop.verdict("o")
        self.assertEqual((row["first_attempt_at"], row["last_attempt_at"], row["amount"]),
                         (iso(times[0]), iso(times[2]), "49.00"))
        self.assertEqual((row["verdict"], row["transaction_id"]),
                         ("charged", sale["transactionId"]))

    def test_upsert_keeps_both_attempts_too(self):
        shop = self.shop()
        times = [ago(minutes=50), ago(minutes=30)]
        for at in times:
            shop.queue("INSERT OR REPLACE INTO pending_orders (order_id, amount, attempted_at)"
                       " VALUES ('o', '49.00', ?)", (iso(at),))
        self.settle(shop)
        row = shop.verdict("o")
        self.assertEqual((row["first_attempt_at"], row["last_attempt_at"]),
                         tuple(map(iso, times)))

    def test_rows_wait_while_the_daemon_is_stopped(self):
        shop = self.shop()
        sale = sale_for("o", ago(minutes=49))
        self.sandbox.add(sale)
        shop.enqueue("o", attempted_at=ago(minutes=50))
        shop.claim("t", "p")
        daemon = shop.start()
        wait_until(lambda: shop.verdict("o"), what="the order")
        self.assertEqual(shop.stop(daemon, signal.SIGKILL), -signal.SIGKILL)
        shop.enqueue("p", attempted_at=ago(minutes=50))
        daemon = shop.start()
        for order, transaction in (("o", sale["transactionId"]), ("p", "t")):
            wait_until(lambda: (shop.verdict(order) or {}).get("transaction_id") == transaction,
                       what=f"the verdict on {order}")
        self.assertEqual(shop.stop(daemon), 0)

    def test_row_taken_twice_changes_nothing(self):
        # As after a death between the ledger's commit and the queue's.
        shop = self.shop()
        self.sandbox.sessions("key")
        shop.enqueue("o", attempted_at=ago(minutes=50), card_last_four="4242",
                     billing_email="jane@example.com")
        shop.enqueue("o", attempted_at=ago(minutes=40), card_last_four="4242")
        shop.enqueue("p", "7.00", ago(minutes=50))
        shop.claim("t", "o")
        shop.session("s", "key", ended="paid")
        shop.queue("INSERT INTO resolutions (order_id, decision, note, decided_by)"
                   " VALUES ('p', 'not_charged', 'n', 'ann')")
        tables = ("orders", "attempts", "claims", "resolutions", "verdicts",
                  "session_revocations")
        saved = shop.queue_path + ".saved"
        shutil.copy(shop.queue_path, saved)
        if os.path.exists(shop.queue_path + "-wal"):
            shutil.copy(shop.queue_path + "-wal", saved + "-wal")
        self.settle(shop)
        first = {table: shop.ledger(f"SELECT * FROM {table}") for table in tables}
        for suffix in ("-wal", "-shm"):
            if os.path.exists(shop.queue_path + suffix):
                os.unlink(shop.queue_path + suffix)
        shutil.copy(saved, shop.queue_path)
        if os.path.exists(saved + "-wal"):
            shutil.copy(saved + "-wal", shop.queue_path + "-wal")
        for table in ("pending_orders", "earlier_attempts", "claims", "sessions", "resolutions"):
            self.assertTrue(shop.queue(f"SELECT * FROM {table}"), table)
        self.settle(shop)
        for table in tables:
            self.assertEqual(shop.ledger(f"SELECT * FROM {table}"), first[table])
        for table in ("pending_orders", "earlier_attempts", "claims", "sessions", "resolutions"):
            self.assertEqual(shop.queue(f"SELECT * FROM {table}"), [], table)
        self.assertEqual(len(self.sandbox.revocations()), 1)
        self.assertEqual(len(self.sandbox.requests("/sessions/revoke")), 1)

    def test_new_rows_are_noticed_within_a_second_and_without_the_api(self):
        # No history beyond the first look back, so that nothing is asked after it.
        shop = self.shop(sync={"interval": "1h", "backfill": "30min"})
        daemon = self.start(shop)
        self.sandbox.forget_requests()
        delays = []
        for i in range(3):
            shop.claim(f"t{i}", f"o{i}")
            begun = time.monotonic()
            wait_until(lambda: shop.ledger("SELECT 1 FROM claims WHERE transaction_id = ?",
                                           (f"t{i}",)), what="the claim in the ledger")
            delays.append(time.monotonic() - begun)
        self.assertLess(statistics.median(delays), 1.0)
        self.assertEqual(self.sandbox.requests(), [])
        shop.enqueue("o0", attempted_at=ago(minutes=50))
        begun = time.monotonic()
        wait_until(lambda: (shop.verdict("o0") or {}).get("verdict") == "charged",
                   what="the verdict")
        self.assertLess(time.monotonic() - begun, 3.0)
        self.assertEqual(shop.stop(daemon), 0)

    def test_app_may_write_while_the_daemon_reads(self):
        shop = self.shop(sync={"interval": "200ms", "fast_interval": "100ms"})
        daemon = shop.start()
        for i in range(200):
            shop.enqueue(f"o{i}", attempted_at=ago(minutes=50, seconds=i))
        wait_until(lambda: len(shop.ledger("SELECT * FROM order_status"
                                           " WHERE verdict = 'not_charged'")) == 200,
                   20, "every verdict")
        self.assertEqual(shop.stop(daemon), 0)
        self.assertEqual(shop.queue("SELECT * FROM pending_orders"), [])

    def test_a_row_the_program_cannot_read_does_not_hold_up_the_others(self):
        # Somebody switched the constraints off.
        shop = self.shop()
        shop.enqueue("good", attempted_at=ago(minutes=50))
        database = sqlite3.connect(shop.queue_path)
        database.execute("PRAGMA ignore_check_constraints=ON")
        database.execute("INSERT INTO pending_orders (order_id, amount) VALUES ('bad', 'free')")
        database.commit()
        database.close()
        said = self.settle(shop)
        self.assertEqual(shop.verdict("good")["verdict"], "not_charged")
        self.assertIn('"free"', said)
        self.assertEqual([row["order_id"] for row in shop.queue("SELECT * FROM pending_orders")],
                         ["bad"])

    def test_nor_do_as_many_as_are_read_at_once(self):
        shop = self.shop()
        many = range(450)
        tables = ("pending_orders", "earlier_attempts", "claims", "resolutions")
        database = sqlite3.connect(shop.queue_path)
        database.execute("PRAGMA ignore_check_constraints=ON")
        for table, sql in (
                ("pending_orders", "INSERT INTO pending_orders (order_id, amount)"
                                   " VALUES ('bad' || ?, 'free')"),
                ("earlier_attempts", "INSERT INTO earlier_attempts (order_id, amount, currency,"
                                     " attempted_at, http_status)"
                                     " VALUES ('bad' || ?, 'free', 'USD', '', 0)"),
                # A text that ends for the program where it does not for SQLite.
                ("claims", "INSERT INTO claims VALUES ('t' || char(0) || ?, 'bad')"),
                ("resolutions", "INSERT INTO resolutions (order_id, decision, note, decided_by)"
                                " VALUES ('bad' || ?, 'perhaps', 'n', 'ann')")):
            database.executemany(sql, [(n,) for n in many])
            self.assertEqual(database.execute(f"SELECT count(*) FROM {table}").fetchone(),
                             (len(many),))
        database.commit()
        database.close()
        shop.enqueue("good", attempted_at=ago(minutes=50))
        shop.enqueue("good", attempted_at=ago(minutes=40))
        shop.enqueue("claimed", attempted_at=ago(minutes=50))
        shop.claim("sale", "claimed")
        shop.enqueue("decided", attempted_at=ago(minutes=50))
        self.insert(shop, "resolutions", **{**RESOLUTION, "order_id": "decided"})
        said = self.settle(shop)
        self.assertEqual(shop.verdict("good")["verdict"], "not_charged")
        self.assertEqual(shop.ledger("SELECT count(*) AS n FROM attempts"
                                     " WHERE order_id = 'good'"), [{"n": 2}])
        self.assertEqual(shop.verdict("claimed")["rule"], "claim")
        self.assertEqual(shop.verdict("decided")["rule"], "person")
        self.assertIn(f'{3 * len(many)} row(s) stay in the queue: order bad', said)
        for table in tables:
            self.assertEqual(shop.queue(f"SELECT count(*) AS n FROM {table}"),
                             [{"n": len(many)}], table)


class Files(QueueCase):
    def test_both_are_wal(self):
        shop = self.shop()
        for path in (shop.ledger_path, shop.queue_path):
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            self.assertEqual(database.execute("PRAGMA journal_mode").fetchone(), ("wal",))
            database.close()

    def test_verdicts_are_append_only(self):
        shop = self.shop()
        shop.enqueue("o", attempted_at=ago(minutes=50))
        self.settle(shop)
        database = sqlite3.connect(shop.ledger_path)
        self.addCleanup(database.close)
        for sql in ("UPDATE verdicts SET verdict = 'charged', safe_to_retry = 0",
                    "DELETE FROM verdicts"):
            with self.assertRaisesRegex(sqlite3.Error, "append-only"):
                database.execute(sql)

    def create(self, path, umask):
        """A shop whose queue is to be made at `path`, and what making it said."""
        shop = self.open_shop_unprepared(path)
        before = os.umask(umask)
        try:
            done = shop.run("reconciled", "--config", shop.config_path, "--create")
        finally:
            os.umask(before)
        self.assertEqual(done.returncode, 0, done.stderr)
        return shop, done.stderr

    def open_shop_unprepared(self, path):
        shop = self.shop()
        shop.queue_path = os.path.join(shop.directory, path)
        shop.config(pay={"rate_per_minute": 100000, "retries": 0}, sync={"backfill": "3h"})
        return shop

    def test_queue_belongs_to_its_group_whatever_the_umask(self):
        for umask in (0o022, 0o077, 0o000):
            with self.subTest(umask=oct(umask)):
                shop, said = self.create("spool/queue.db", umask)
                file = os.stat(shop.queue_path)
                directory = os.stat(os.path.dirname(shop.queue_path))
                self.assertEqual(stat.S_IMODE(file.st_mode), 0o660)
                self.assertEqual(stat.S_IMODE(directory.st_mode), 0o2770)
                try:
                    group = grp.getgrnam("reconciled-queue").gr_gid
                    if ROOT:
                        self.assertEqual((file.st_gid, directory.st_gid), (group, group))
                except KeyError:
                    self.assertRegex(said, "warning: .*no group reconciled-queue")

    def test_ledger_is_no_one_elses_to_write(self):
        shop = self.shop()
        self.assertEqual(stat.S_IMODE(os.stat(shop.ledger_path).st_mode) & 0o022, 0)
        self.assertEqual(stat.S_IMODE(os.stat(shop.ledger_path + ".key").st_mode), 0o600)

    def refused(self, shop, path, pattern):
        """The daemon does not start on this file and leaves it as it is."""
        with open(path, "rb") as file:
            before = file.read()
        done = shop.once()
        self.assertEqual(done.returncode, 74, done.stderr)
        self.assertRegex(done.stderr, pattern)
        self.assertIn(path, done.stderr)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)

    @staticmethod
    def change(path, *statements):
        database = sqlite3.connect(path)
        for sql in statements:
            database.execute(sql)
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()

    def test_newer_schema_is_refused(self):
        for name in ("ledger_path", "queue_path"):
            with self.subTest(name):
                shop = self.shop()
                path = getattr(shop, name)
                self.change(path, "PRAGMA user_version=99")
                self.refused(shop, path, "99 is newer")

    def test_foreign_database_is_refused(self):
        for name in ("ledger_path", "queue_path"):
            with self.subTest(name):
                shop = self.shop()
                path = getattr(shop, name)
                for suffix in ("", "-wal", "-shm"):
                    if os.path.exists(path + suffix):
                        os.unlink(path + suffix)
                self.change(path, "CREATE TABLE customers (name)",
                            "INSERT INTO customers VALUES ('Jane')")
                self.refused(shop, path, "no (ledger|queue) of reconciled")
                self.assertFalse(os.path.exists(path + "-wal"))
                database = sqlite3.connect(path)
                self.assertEqual(database.execute("SELECT name FROM customers").fetchall(),
                                 [("Jane",)])
                self.assertEqual(len(database.execute("SELECT * FROM sqlite_schema").fetchall()),
                                 1)
                database.close()

    def test_foreign_write_ahead_log_is_left_alone(self):
        """Its program was killed: what it committed last is in the log only, for it to put back."""
        shop = self.shop()
        source = os.path.join(shop.directory, "foreign.db")
        database = sqlite3.connect(source)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE customers (name)")
        database.commit()
        for name in ("ledger_path", "queue_path"):
            with self.subTest(name):
                path = os.path.join(shop.directory, name)
                for suffix in ("", "-wal"):
                    shutil.copy(source + suffix, path + suffix)
                with open(path + "-wal", "rb") as file:
                    log = file.read()
                self.assertTrue(log)
                shop.config(**{name[:-5]: {"path": path}})
                self.refused(shop, path, "no (ledger|queue) of reconciled")
                with open(path + "-wal", "rb") as file:
                    self.assertEqual(file.read(), log)
        database.close()

    def test_ledger_and_queue_are_told_apart(self):
        shop, other = self.shop(), self.shop()
        other.claim("t", "o")
        self.settle(other)
        shop.queue_path = other.ledger_path
        shop.config()
        self.refused(shop, other.ledger_path, "no queue of reconciled")
        self.assertEqual(len(other.ledger("SELECT * FROM claims")), 1)
        shop.ledger_path, shop.queue_path = other.queue_path, shop.directory + "/new.db"
        shop.config()
        self.refused(shop, other.queue_path, "no ledger of reconciled")

    def test_file_that_is_no_database_is_refused(self):
        for name in ("ledger_path", "queue_path"):
            with self.subTest(name):
                shop = self.shop()
                path = getattr(shop, name)
                with open(path, "wb") as file:
                    file.write(b"Dear diary, " * 100)
                self.refused(shop, path, "not a database")


@unittest.skipUnless(ROOT, "needs to become another user")
class OtherUsers(QueueCase):
    """nobody, in no group of ours but those a test names."""

    def as_nobody(self, path, sql, uri=False, group=None):
        """What the statement gave nobody: rows, or the error's text. In a child of ours, because
        the interpreter itself may be where nobody can start it."""
        user = pwd.getpwnam("nobody")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(user.pw_gid if group is None else group)
                os.setuid(user.pw_uid)
                database = sqlite3.connect(path, uri=uri, timeout=5)
                answer = database.execute(sql).fetchall()
                database.commit()
                database.close()
            except Exception as error:  # to be told on the other side, whatever it is
                answer = str(error)
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as out:
            answer = json.loads(out.read())
        os.waitpid(child, 0)
        return answer

    @staticmethod
    def shell(*command):
        """The same with the sqlite3 program."""
        return subprocess.run(["sqlite3", *command], user="nobody", group="nogroup",
                              extra_groups=[], cwd="/", env=environment(), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=30).stdout.strip()

    def read_in_every_way(self, shop, expected):
        sql, path = "SELECT count(*) FROM verdicts", shop.ledger_path
        self.assertEqual(self.as_nobody(path, sql), [[expected]])
        self.assertEqual(self.as_nobody(f"file:{path}?mode=ro", sql, uri=True), [[expected]])
        if shutil.which("sqlite3"):
            self.assertEqual(self.shell(path, sql), str(expected))
            self.assertEqual(self.shell("-readonly", path, sql), str(expected))
        self.assertIn("readonly", self.as_nobody(path, "DELETE FROM claims"))

    def readable_shop(self):
        shop = self.shop()
        # Not writable by the reader, so that it can make neither -wal nor -shm.
        os.chmod(shop.directory, 0o755)
        shop.enqueue("o", attempted_at=ago(minutes=50))
        self.settle(shop)
        return shop

    def test_ledger_opens_with_the_daemon_stopped(self):
        self.read_in_every_way(self.readable_shop(), 1)

    def test_ledger_opens_with_the_daemon_running(self):
        shop = self.readable_shop()
        daemon = self.start(shop)
        self.read_in_every_way(shop, 1)
        shop.enqueue("p", attempted_at=ago(minutes=50))
        wait_until(lambda: (shop.verdict("p") or {}).get("verdict") == "not_charged")
        self.read_in_every_way(shop, 2)
        self.assertEqual(shop.stop(daemon), 0)
        self.read_in_every_way(shop, 2)

    def test_ledger_opens_after_the_daemon_was_killed(self):
        shop = self.readable_shop()
        daemon = shop.start()
        shop.enqueue("p", attempted_at=ago(minutes=50))
        wait_until(lambda: (shop.verdict("p") or {}).get("verdict") == "not_charged")
        shop.stop(daemon, signal.SIGKILL)
        self.read_in_every_way(shop, 2)

    def test_ledger_opens_before_the_first_cycle(self):
        shop = self.shop()
        os.chmod(shop.directory, 0o755)
        self.read_in_every_way(shop, 0)

    def test_ledger_opens_after_a_writer_of_another_kind_closed_it(self):
        # Whoever may write the ledger and closes it last, takes -wal and -shm away.
        shop = self.readable_shop()
        database = sqlite3.connect(shop.ledger_path)
        database.execute("SELECT * FROM verdicts").fetchall()
        database.close()
        daemon = self.start(shop)
        self.read_in_every_way(shop, 1)
        self.assertEqual(shop.stop(daemon), 0)
        self.read_in_every_way(shop, 1)

    def grouped_shop(self):
        """A shop whose queue is in a directory of its own, as the daemon makes it."""
        shop = self.shop()
        shop.queue_path = os.path.join(shop.directory, "queue", "queue.db")
        shop.config(pay={"rate_per_minute": 100000}, sync={"backfill": "3h"})
        os.chmod(shop.directory, 0o755)
        return shop.prepare()

    def test_group_writes_the_queue_and_nobody_else(self):
        shop = self.grouped_shop()
        group = os.stat(shop.queue_path).st_gid
        insert = "INSERT INTO pending_orders (order_id, amount) VALUES ('{}', '49.00')"
        self.assertEqual(self.as_nobody(shop.queue_path, insert.format("a"), group=group), [])
        daemon = shop.start()
        wait_until(lambda: shop.verdict("a"))
        self.assertEqual(self.as_nobody(shop.queue_path, insert.format("b"), group=group), [])
        wait_until(lambda: shop.verdict("b"))
        self.assertEqual(shop.stop(daemon), 0)
        self.assertEqual(self.as_nobody(shop.queue_path, insert.format("c"), group=group), [])
        self.settle(shop)
        self.assertTrue(shop.verdict("c"))
        for sql in (insert.format("d"), "SELECT * FROM sessions"):
            self.assertIn("unable to open", self.as_nobody(shop.queue_path, sql))
        self.assertIn("readonly", self.as_nobody(shop.ledger_path, "DELETE FROM claims",
                                                 group=group))


if __name__ == "__main__":
    unittest.main()
