"""Backups of a ledger that is being written, restored as docs/OPERATIONS.md says; and a ledger made
again from nothing."""
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import time
import unittest

import harness
from harness import Case, after, ago, environment, program, record, sale_for, wait_until

QUICK = {"sync": {"backfill": "6h", "interval": "200ms", "fast_interval": "100ms", "edge_lag": "0s"},
         "match": {"absence_grace": "1s", "before": "10s", "after": "1s"},
         "pay": {"rate_per_minute": 100000, "rate_share": "100%", "retries": 0, "page_size": 5}}
# Of a record, and not of when or by which pass it was read.
FACTS = ("transaction_id, type, amount_minor, amount, currency, net_minor, card_last_four, card_brand,"
         " card_bin, transacted_at, created_at, order_ref, original_transaction_id, status,"
         " transaction_status, settled")


def rows(path, sql):
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


class BackupCase(Case):
    def setUp(self):
        self.sandbox = self.start_sandbox()
        self.records = 0

    def add_day(self, n=400):
        """Records all over the last five hours, some of them of orders, one void, one amount odd."""
        some = [sale_for(f"o-{i}", ago(seconds=40 * i + 30), amount=f"{i % 90 + 1}.00",
                         email=f"c{i % 7}@example.com") for i in range(n)]
        some.append(record(ago(minutes=20), transactionType="CreditCardVoid", amount="1.00",
                           originalTransactionId=some[0]["transactionId"]))
        some.append(record(ago(minutes=21), amount="1250", currency="JPY", status="declined"))
        self.sandbox.add(*some)
        self.records += len(some)

    def open_state(self, **sections):
        """A shop whose files lie in a directory of their own, as in /var/lib/reconciled."""
        shop = harness.Shop(self.sandbox)
        self.addCleanup(shop.close)
        self.state = os.path.join(shop.directory, "state")
        os.mkdir(self.state)
        shop.ledger_path = os.path.join(self.state, "ledger.db")
        self.sections = {**QUICK, **sections}
        shop.config(**self.sections)
        self.kept = os.path.join(shop.directory, "backup")
        os.mkdir(self.kept)
        return shop.prepare()

    def run_block(self, shop, tag):
        """Runs the shell lines of docs/OPERATIONS.md that have this tag."""
        with open(os.path.join(harness.ROOT, "docs/OPERATIONS.md"), encoding="utf-8") as file:
            script, = re.findall(rf"(?ms)^```sh {tag}\n(.*?)^```$", file.read())
        script = script.replace("/var/lib/reconciled", self.state).replace("/srv/backup", self.kept)
        wrapper = os.path.join(shop.directory, "bin", "reconctl")
        os.makedirs(os.path.dirname(wrapper), exist_ok=True)
        with open(wrapper, "w", encoding="utf-8") as out:
            out.write(f'#!/bin/sh\nexec {program("reconctl")} --config {shop.config_path} "$@"\n')
        os.chmod(wrapper, stat.S_IRWXU)
        done = subprocess.run(["sh", "-eu", "-c", script], text=True, check=False,
                              env=environment(PATH=f"{os.path.dirname(wrapper)}:{os.environ['PATH']}"),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        harness.check_stderr("reconctl", done.stdout)

    def check_copy(self, shop, path):
        """Sound, readable for reconctl, and an instant of the live ledger: what never changes there
        is the same here."""
        self.assertEqual(rows(path, "PRAGMA integrity_check"), [("ok",)])
        self.assertEqual(rows(path, "PRAGMA foreign_key_check"), [])
        for verb in (["orders"], ["report", "summary"], ["status"]):
            self.assertIn(shop.ctl("--ledger", path, *verb).returncode, (0, 1))
        for sql in ("SELECT * FROM verdicts", "SELECT * FROM verdict_runs",
                    f"SELECT {FACTS} FROM transactions"):
            self.assertLessEqual(set(rows(path, sql)), set(rows(shop.ledger_path, sql)))
        # A page and the cursor that says that it is stored are in the copy together, or neither.
        self.assertEqual(rows(path, "SELECT coalesce(sum(rows_new), 0) FROM sync_runs"),
                         rows(path, "SELECT count(*) FROM transactions"))


class UnderLoad(BackupCase):
    def test_copies_while_the_daemon_writes(self):
        self.add_day()
        shop = self.open_state()
        for i in range(0, 400, 20):
            shop.enqueue(f"o-{i}", f"{i % 90 + 1}.00", ago(seconds=40 * i + 31))
        # Slow enough to be met in the middle of it, on any machine.
        self.sandbox.answer(path="/transQuery", delay_ms=60, times=0)
        daemon = shop.start()
        sizes, n, end = [], 0, time.monotonic() + 90
        while (not sizes or sizes[-1] < self.records) and time.monotonic() < end:
            path = os.path.join(self.kept, f"copy-{n}.db")
            done = shop.ctl("backup", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            sizes.append(rows(path, "SELECT count(*) FROM transactions")[0][0])
            self.check_copy(shop, path)
            if n:
                self.assertGreaterEqual(sizes[-1], sizes[-2])
            n += 1
            if len(set(sizes)) > 2:
                self.sandbox.control("DELETE", "answers")
        self.assertEqual(sizes[-1], self.records)
        self.assertGreater(len(set(sizes)), 2, "no copy was made while the daemon wrote")
        self.assertEqual(shop.stop(daemon), 0)
        self.assertNotIn("database", shop.log(daemon), "a backup does not get in the daemon's way")
        self.assertEqual([name for name in os.listdir(self.kept) if not name.endswith(".db")], [])


class Restore(BackupCase):
    def setUp(self):
        super().setUp()
        self.add_day(60)
        self.shop = self.open_state()
        self.shop.enqueue("o-5", "6.00", ago(seconds=231))
        self.shop.enqueue("gone", "777.00", ago(hours=1))
        self.shop.claim("T-claimed", "claimed")
        self.assertEqual(self.shop.once().returncode, 0)
        self.assertEqual(self.shop.ctl("resolve", "gone", "charged", "--note", "by phone").returncode,
                         0)
        self.assertEqual(self.shop.once().returncode, 0)
        self.history = self.shop.ledger("SELECT * FROM verdicts ORDER BY verdict_id")
        self.assertEqual(len(self.history), 3)
        self.run_block(self.shop, "backup")

    def restored(self):
        """After the block of the manual: the daemon goes on as if nothing had been."""
        self.run_block(self.shop, "restore")
        new = sale_for("later", ago(minutes=2), amount="5.00")
        self.sandbox.add(new)
        self.shop.enqueue("later", "5.00", ago(minutes=2))
        done = self.shop.once()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.shop.ledger("SELECT * FROM verdicts WHERE order_id <> 'later'"
                                          " ORDER BY verdict_id"), self.history)
        self.assertEqual(self.shop.verdict("later")["transaction_id"], new["transactionId"])
        self.assertEqual(self.shop.verdict("gone")["rule"], "person")
        self.assertEqual(self.shop.ledger("SELECT count(*) AS n FROM transactions")[0]["n"],
                         self.records + 1)
        self.assertEqual(self.shop.ledger("SELECT count(*) AS n FROM claims")[0]["n"], 1)
        # The key is the same: a new record of a known customer hashes to the known hash.
        self.assertEqual(self.shop.ledger("SELECT count(DISTINCT email_hash) AS n FROM transactions")
                         [0]["n"], 7 + 1)
        self.assertNotIn("FAIL ledger", self.shop.ctl("doctor").stdout)

    def test_the_files_are_gone(self):
        for name in os.listdir(self.state):
            os.unlink(os.path.join(self.state, name))
        self.restored()

    def test_the_ledger_is_damaged_and_its_wal_is_there(self):
        """The old write-ahead log would be played into the copy, were it left beside it."""
        ledger = sqlite3.connect(self.shop.ledger_path)
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ledger.close()
        daemon = self.shop.start()
        self.sandbox.add(record(ago(minutes=1), email="c1@example.com"))
        self.records += 1
        wait_until(lambda: self.shop.ledger("SELECT count(*) AS n FROM transactions")[0]["n"]
                   == self.records)
        self.shop.stop(daemon, 9)
        self.assertGreater(os.path.getsize(self.shop.ledger_path + "-wal"), 0)
        with open(self.shop.ledger_path, "r+b") as ledger:
            ledger.seek(4096)
            ledger.write(b"\xa5" * (os.path.getsize(self.shop.ledger_path) - 4096))
        self.assertEqual(self.shop.once().returncode, 74)
        self.restored()
        self.assertIn("ledger.db", os.listdir(os.path.join(self.state, "damaged")), "kept")

    def test_ledger_without_its_key_is_refused_and_not_spoilt(self):
        key = self.shop.ledger_path + ".key"
        for change in (lambda: os.unlink(key), lambda: open(key, "wb").write(os.urandom(32))):
            change()
            done = self.shop.once()
            self.assertEqual(done.returncode, 74)
            self.assertRegex(done.stderr, r"ledger.db.key .*put (it|the right one) back")
            self.assertEqual(self.shop.ledger("SELECT * FROM verdicts ORDER BY verdict_id"),
                             self.history)
        shutil.copy(os.path.join(self.kept, "ledger.db.key"), key)
        self.assertEqual(self.shop.once().returncode, 0)

    def test_an_order_that_the_copy_does_not_know_is_not_offered(self):
        """Taken in after the backup, decided, and lost: nobody may charge on a lost verdict."""
        self.shop.enqueue("lost", "888.00", ago(hours=1))
        self.assertEqual(self.shop.once().returncode, 0)
        self.assertEqual(self.shop.verdict("lost")["verdict"], "not_charged")
        self.run_block(self.shop, "restore")
        self.assertEqual(self.shop.once().returncode, 0)
        self.assertEqual(self.shop.ctl("permit", "lost").returncode, 1)
        self.assertIn("not known", self.shop.ctl("verdict", "lost").stderr)
        self.shop.enqueue("lost", "888.00", ago(hours=1))
        self.assertEqual(self.shop.once().returncode, 0)
        self.assertEqual(self.shop.verdict("lost")["verdict"], "not_charged")
        self.assertEqual(self.shop.ctl("permit", "lost").returncode, 0)


class FromNothing(BackupCase):
    def test_backfill_equals_the_lost_ledger(self):
        self.add_day(150)
        shop = self.open_state()
        # The old ledger grew bit by bit, with the daemon restarted in between.
        self.assertEqual(shop.once().returncode, 0)
        self.sandbox.add(*[sale_for(f"n-{i}", after(ago(minutes=3), seconds=i)) for i in range(40)])
        self.assertEqual(shop.once().returncode, 0)
        covered, = shop.ledger("SELECT min(covered_from) AS a, max(covered_to) AS b"
                               " FROM sync_coverage")
        facts = (f"SELECT {FACTS}, email_hash FROM transactions WHERE created_at BETWEEN"
                 f" '{covered['a']}' AND '{covered['b']}' ORDER BY transaction_id")
        old = {sql: rows(shop.ledger_path, sql)
               for sql in (facts, "SELECT * FROM daily_totals ORDER BY day, type, currency")}
        self.assertEqual(len(old[facts]), self.records + 40)
        os.rename(self.state, self.state + ".lost")
        os.mkdir(self.state)
        shutil.copy(self.state + ".lost/ledger.db.key", self.state)
        shop.config(**{**self.sections, "pay": {**self.sections["pay"], "page_size": 17}})
        done = shop.once()
        self.assertEqual(done.returncode, 0, done.stderr)
        for sql, before in old.items():
            self.assertEqual(rows(shop.ledger_path, sql), before)
        gaps, = shop.ledger("SELECT min(covered_from) AS a, max(covered_to) AS b FROM sync_coverage")
        self.assertGreaterEqual(gaps["b"], covered["b"])
        self.assertRegex(shop.ctl("status").stdout, r"(?m)^backfill_percent +100$")

    def test_without_the_key_only_the_hashes_differ(self):
        self.add_day(20)
        shop = self.open_state()
        self.assertEqual(shop.once().returncode, 0)
        facts = f"SELECT {FACTS} FROM transactions ORDER BY transaction_id"
        hashes = "SELECT email_hash FROM transactions ORDER BY transaction_id"
        old, old_hashes = rows(shop.ledger_path, facts), rows(shop.ledger_path, hashes)
        os.rename(self.state, self.state + ".lost")
        os.mkdir(self.state)
        self.assertEqual(shop.once().returncode, 0)
        self.assertEqual(rows(shop.ledger_path, facts), old)
        self.assertFalse(set(rows(shop.ledger_path, hashes)) & set(old_hashes) - {(None,)})


if __name__ == "__main__":
    unittest.main()
