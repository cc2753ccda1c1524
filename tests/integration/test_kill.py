"""Death at any instant, and a disk without room: nothing is lost, nothing is stored twice, and what
was fetched is not fetched again."""
import collections
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest

from harness import ago, iso, query_time, record, wait_until
from test_sync import SyncCase, spread


class KillCase(SyncCase):
    def assert_sound(self, path):
        database = sqlite3.connect(path)
        try:
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            self.assertEqual(database.execute("PRAGMA foreign_key_check").fetchall(), [])
        finally:
            database.close()

    def kill(self, shop, daemon):
        self.assertEqual(shop.stop(daemon, signal.SIGKILL), -signal.SIGKILL)


class Backfill(KillCase):
    def test_killed_again_and_again(self):
        chance = random.Random(17)
        sandbox = self.start_sandbox("--history", "10000", "--days", "20", "--rate-per-minute", "0")
        shop = self.shop(sandbox, sync={"backfill": "30d", "interval": "1h"},
                         pay={"rate_per_minute": 100000})
        look_back = query_time(ago(minutes=11))
        kills, code = 0, None
        while code is None:
            daemon = shop.start("--once")
            # From "before it has opened anything" to "several pages on".
            try:
                code = daemon.wait(chance.uniform(0.02, 0.4))
                shop.stop(daemon)
            except subprocess.TimeoutExpired:
                self.kill(shop, daemon)
                kills += 1
                self.assertLess(kills, 200, "it never ends")
        self.assertEqual(code, 0)
        self.assertGreater(kills, 3)
        self.assert_in_step(shop, sandbox)
        self.assert_coverage_true(shop, sandbox)
        self.assert_sound(shop.ledger_path)
        # Each cycle looks back anew; the rest is asked for once.
        asked = collections.Counter(one for one in self.asked(sandbox) if one[0] < look_back)
        again = sum(times - 1 for times in asked.values())
        self.assertLessEqual(again, kills, "a page that was stored was fetched again")
        self.assertLess(len(asked), 10000 / 100 * 1.3 + 40 + kills)

    def test_killed_within_a_burst(self):
        """Pages by number: each is in hand at most once for every kill that hit it."""
        chance = random.Random(23)
        sandbox = self.start_sandbox()
        at = ago(minutes=30).replace(microsecond=0)
        sandbox.add(*[record(at, amount=f"{n}.00") for n in range(1, 1501)])
        shop = self.shop(sandbox, pay={"page_size": 50})
        sandbox.answer(path="/transQuery", times=0, delay_ms=15)
        kills, code = 0, None
        while code is None:
            daemon = shop.start("--once")
            try:
                code = daemon.wait(chance.uniform(0.05, 0.7))
                shop.stop(daemon)
            except subprocess.TimeoutExpired:
                self.kill(shop, daemon)
                kills += 1
                self.assertLess(kills, 100, "it never ends")
        self.assertEqual(code, 0)
        self.assert_in_step(shop, sandbox)
        self.assert_coverage_true(shop, sandbox)
        self.assert_sound(shop.ledger_path)
        asked = collections.Counter(self.asked(sandbox))
        # A window of several pages is proven by reading it twice alike.
        self.assertLessEqual(sum(max(times - 2, 0) for times in asked.values()), kills)


class Intake(KillCase):
    def test_killed_while_taking_in(self):
        chance = random.Random(5)
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox)
        at = ago(minutes=1)
        queue = sqlite3.connect(shop.queue_path)
        with queue:
            for n in range(300):
                queue.execute("INSERT INTO pending_orders (order_id, amount, attempted_at,"
                              " card_brand) VALUES (?, ?, ?, ?)",
                              (f"K-{n}", f"{n + 1}.00", iso(at), "Visa" if n % 3 else None))
                queue.execute("INSERT INTO claims VALUES (?, ?)", (f"T-{n}", f"K-{n}"))
            for n in range(0, 300, 3): # a second attempt of every third
                queue.execute("INSERT INTO pending_orders (order_id, amount, attempted_at)"
                              " VALUES (?, ?, ?)", (f"K-{n}", f"{n + 1}.00", iso(ago(seconds=20))))
        queue.close()
        kills = 0
        while shop.queue("SELECT 1 FROM pending_orders UNION ALL SELECT 1 FROM claims"
                         " UNION ALL SELECT 1 FROM earlier_attempts LIMIT 1"):
            daemon = shop.start()
            time.sleep(chance.uniform(0.02, 0.25))
            self.kill(shop, daemon)
            kills += 1
            self.assertLess(kills, 200)
        self.assertGreater(kills, 0)
        self.assert_sound(shop.ledger_path)
        self.assert_sound(shop.queue_path)
        orders = shop.ledger("SELECT order_id, amount FROM orders ORDER BY order_id")
        self.assertEqual([tuple(row.values()) for row in orders],
                         sorted((f"K-{n}", f"{n + 1}.00") for n in range(300)))
        attempts = collections.Counter(row["order_id"] for row in
                                       shop.ledger("SELECT order_id FROM attempts"))
        self.assertEqual(attempts, {f"K-{n}": 2 if n % 3 == 0 else 1 for n in range(300)})
        claims = shop.ledger("SELECT transaction_id, order_id FROM claims")
        self.assertEqual(sorted(tuple(row.values()) for row in claims),
                         sorted((f"T-{n}", f"K-{n}") for n in range(300)))

    def test_rows_that_cannot_be_deleted_do_not_hold_the_daemon(self):
        """A brand of 32 characters that are more bytes; texts that C reads differently."""
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox)
        shop.enqueue("K-1", attempted_at=ago(minutes=1), card_brand="é" * 32)
        for order_id, columns in (("K-2", {"card_last_four": b"4242"}),
                                  ("K-3", {"card_last_four": "4242\0"}),
                                  ("K-4", {"card_bin": b"424242"})):
            try:
                shop.enqueue(order_id, attempted_at=ago(minutes=1), **columns)
            except sqlite3.IntegrityError:
                pass # better still
        shop.enqueue("K-5", attempted_at=ago(minutes=1))
        self.assertIn(shop.once(timeout=10).returncode, (0, 74))
        self.assertIsNotNone(shop.verdict("K-1"))
        self.assertIsNotNone(shop.verdict("K-5"))
        self.assertEqual(shop.queue("SELECT 1 FROM pending_orders WHERE order_id IN"
                                    " ('K-1', 'K-5')"), [])


class DiskFull(KillCase):
    def setUp(self):
        self.disk = tempfile.mkdtemp(prefix="reconciled-disk-")
        self.addCleanup(shutil.rmtree, self.disk, True)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "none", self.disk],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 check=False) if os.geteuid() == 0 else None
        if mounted is None or mounted.returncode != 0:
            self.skipTest("no small disk can be mounted here")
        self.addCleanup(subprocess.run, ["umount", self.disk], check=False)
        self.sandbox = self.start_sandbox()
        self.sandbox.add(*spread(3000, step=2))
        self.full_shop = self.shop(self.sandbox, ledger={"path": self.disk + "/ledger.db"})
        self.full_shop.ledger_path = self.disk + "/ledger.db"

    def make_room(self):
        subprocess.run(["mount", "-o", "remount,size=64m", self.disk], check=True)

    def test_once_says_so_and_goes_on_later(self):
        shop = self.full_shop
        done = self.once(shop, 74)
        self.assertRegex(done.stderr, "ledger.db.*full")
        self.assert_coverage_true(shop, self.sandbox)
        stored = shop.ledger("SELECT count(*) AS n FROM transactions")[0]["n"]
        self.assertGreater(stored, 0)
        self.make_room()
        self.once(shop)
        self.assert_in_step(shop, self.sandbox)
        self.assert_sound(shop.ledger_path)

    def test_daemon_waits_for_room(self):
        shop = self.full_shop
        daemon = shop.start()
        wait_until(lambda: "full" in shop.log(daemon))
        self.assertIsNone(daemon.poll())
        self.make_room()
        wait_until(lambda: shop.ledger("SELECT count(*) AS n FROM transactions")[0]["n"] == 3000,
                   20)
        self.assertEqual(shop.stop(daemon), 0)
        self.assert_in_step(shop, self.sandbox)
        self.assert_sound(shop.ledger_path)


if __name__ == "__main__":
    unittest.main()
