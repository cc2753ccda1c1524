"""Leave to charge an order again: once, whoever asks, and never on the strength of an old verdict."""
import sqlite3
import subprocess
import unittest

import harness
from harness import Case, ago, program, record, sale_for


class Permits(Case):
    def setUp(self):
        super().setUp()
        self.api = self.start_sandbox()
        self.shop = self.open_shop(self.api)

    def not_charged(self, order_id="A"):
        self.shop.enqueue(order_id, "49.00", ago(hours=1), card_last_four="4242")
        self.assertEqual(self.shop.once().returncode, 0)
        self.assertEqual(self.shop.verdict(order_id)["verdict"], "not_charged")

    def take_by_sql(self, order_id):
        queue = sqlite3.connect(self.shop.queue_path, timeout=10)
        try:
            return queue.execute(
                "INSERT INTO permits (order_id, revision, taken_by)"
                " SELECT order_id, revision, 'test' FROM retry_offers WHERE order_id = ?",
                (order_id,)).rowcount
        finally:
            queue.commit()
            queue.close()

    def test_exactly_one_of_fifty_processes(self):
        self.not_charged()
        callers = [subprocess.Popen([program("reconctl"), "--config", self.shop.config_path,
                                     "permit", "A"], env=harness.environment(),
                                    stderr=subprocess.PIPE, text=True)
                   for _ in range(50)]
        said = [(caller.communicate()[1], caller.returncode) for caller in callers]
        for text, _ in said:
            harness.check_stderr("reconctl permit", text)
        self.assertEqual(sorted(code for _, code in said), [0] + [1] * 49)
        self.assertTrue(all("was taken at" in text for text, code in said if code == 1), said)

    def test_by_sql_the_unique_key_fences(self):
        self.not_charged()
        self.assertEqual(self.take_by_sql("A"), 1)
        with self.assertRaisesRegex(sqlite3.IntegrityError, "UNIQUE"):
            self.take_by_sql("A")

    def test_taken_once_it_is_not_offered_again(self):
        self.not_charged()
        self.assertEqual(self.take_by_sql("A"), 1)
        for _ in range(2):
            self.assertEqual(self.shop.once().returncode, 0)
            self.assertEqual(self.shop.ctl("permit", "A").returncode, 1)

    def test_no_leave_for_other_verdicts(self):
        self.api.add(sale_for("C", at=ago(hours=1)))
        self.shop.enqueue("C", "49.00", ago(hours=1))
        self.assertEqual(self.shop.once().returncode, 0)
        done = self.shop.ctl("permit", "C")
        self.assertEqual(done.returncode, 1)
        self.assertIn("order C is charged", done.stderr)
        self.assertEqual(self.take_by_sql("C"), 0)
        unknown = self.shop.ctl("permit", "nobody")
        self.assertEqual((unknown.returncode, "not known" in unknown.stderr), (1, True))
        queue = sqlite3.connect(self.shop.queue_path)
        with self.assertRaisesRegex(sqlite3.IntegrityError, "no_leave_to_charge_again"):
            queue.execute("INSERT INTO permits (order_id, revision) VALUES ('C', 1)")
        queue.close()

    def test_a_further_attempt_voids_an_unused_permit_at_once(self):
        self.not_charged()
        self.shop.enqueue("A", "49.00", ago(minutes=30), card_last_four="4242")
        self.assertEqual(self.take_by_sql("A"), 0, "the daemon does not even run")
        self.assertEqual(self.shop.once().returncode, 0)
        self.assertEqual(self.shop.verdict("A")["verdict"], "not_charged")
        self.assertEqual(self.take_by_sql("A"), 1, "a new verdict on both attempts gives new leave")

    def test_a_claim_voids_it(self):
        self.not_charged()
        self.shop.claim("T-1", "A")
        self.assertEqual(self.take_by_sql("A"), 0)
        self.assertEqual(self.shop.once().returncode, 0)
        self.assertEqual(self.shop.ctl("permit", "A").returncode, 1)

    def test_a_row_that_becomes_one_of_this_order_voids_it(self):
        changes = {
            "attempt": ("INSERT INTO pending_orders (order_id, amount) VALUES ('B', '49.00')",
                        "UPDATE pending_orders SET order_id = 'attempt'"),
            "claim": ("INSERT INTO claims VALUES ('T-1', 'B')",
                      "INSERT INTO claims VALUES ('T-1', 'claim') ON CONFLICT (transaction_id)"
                      " DO UPDATE SET order_id = excluded.order_id"),
            "decision": ("INSERT INTO resolutions (order_id, decision, note, decided_by)"
                         " VALUES ('B', 'charged', 'n', 'ann')",
                         "UPDATE resolutions SET order_id = 'decision'"),
        }
        for order in changes:
            self.not_charged(order)
        for order, (written, changed) in changes.items():
            with self.subTest(order):
                self.shop.queue(written)
                self.assertEqual(self.shop.queue("SELECT 1 FROM retry_offers WHERE order_id = ?",
                                                 (order,)), [{"1": 1}], "not yet")
                self.shop.queue(changed)
                self.assertEqual(self.take_by_sql(order), 0)

    def test_a_late_record_withdraws_it(self):
        self.not_charged()
        self.api.add(record(at=ago(minutes=59)))
        self.assertEqual(self.shop.once().returncode, 0)
        self.assertEqual(self.shop.verdict("A")["verdict"], "charged")
        self.assertEqual(self.take_by_sql("A"), 0)


if __name__ == "__main__":
    unittest.main()
