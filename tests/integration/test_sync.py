"""Fetching: what the API holds comes into the ledger, once, within the rate, and what the ledger
claims to cover is there."""
import os
import signal
import sqlite3
import time
import unittest

from harness import (Case, after, ago, iso, now, parse_time, query_time, record, sale_for,
                     wait_until)

QUICK = {"interval": "1s", "fast_interval": "100ms", "backfill": "2h", "overlap": "10min",
         "deep_overlap": "30min", "deep_interval": "1h", "edge_lag": "0s"}
PAY = {"retries": 0, "timeout": "5s", "rate_per_minute": 100000}


def spread(n, first=None, step=7.0, **members):
    """n records, `step` seconds apart, from two hours ago on."""
    first = first or ago(minutes=115)
    return [record(after(first, seconds=i * step), amount=f"{i % 90 + 1}.{i % 100:02}", **members)
            for i in range(n)]


def burst(n, at):
    """n records within one second."""
    second = at.replace(microsecond=0)
    return [record(after(second, milliseconds=i * 900 // n)) for i in range(n)]


class SyncCase(Case):
    def shop(self, sandbox, **sections):
        sections = {"pay": {**PAY, **sections.pop("pay", {})},
                    "sync": {**QUICK, **sections.pop("sync", {})}, **sections}
        return self.open_shop(sandbox, **sections)

    def once(self, shop, code=0):
        done = shop.once()
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def assert_in_step(self, shop, sandbox):
        """The ledger holds every record of the API once, and nothing else."""
        expected = sorted(one["record"]["transactionId"] for one in sandbox.records())
        found = sorted(row["transaction_id"]
                       for row in shop.ledger("SELECT transaction_id FROM transactions"))
        self.assertEqual(len(found), len(expected))
        self.assertEqual(found, expected)

    def assert_coverage_true(self, shop, sandbox):
        """No interval that is called complete leaves out a record that was to be seen then."""
        known = {row["transaction_id"]
                 for row in shop.ledger("SELECT transaction_id FROM transactions")}
        intervals = shop.ledger("SELECT * FROM sync_coverage")
        for one in sandbox.records():
            if one["id"] in known:
                continue
            lies = [interval for interval in intervals
                    if interval["covered_from"] <= one["created_at"] <= interval["covered_to"]
                    and (one["visible_at"] or "") <= interval["began_at"]]
            self.assertEqual(lies, [], f"{one['id']} of {one['created_at']} is not in the ledger")

    def asked(self, sandbox):
        return [(one["query"]["dateFrom"], one["query"]["dateTo"], int(one["query"]["page"]))
                for one in sandbox.requests("/transQuery")]


class Backfill(SyncCase):
    def test_every_envelope_with_and_without_totals(self):
        for envelope in (1, 2, 3):
            for totals in (True, False):
                with self.subTest(envelope=envelope, totals=totals):
                    sandbox = self.start_sandbox()
                    sandbox.settings(envelope=envelope, totals=totals, success=envelope == 3)
                    records = spread(730)
                    sandbox.add(*records)
                    shop = self.shop(sandbox)
                    self.once(shop)
                    self.assert_in_step(shop, sandbox)
                    self.assert_coverage_true(shop, sandbox)
                    rows = shop.ledger("SELECT transaction_id, amount_minor, currency, type,"
                                       " transacted_at FROM transactions")
                    expected = {(one["transactionId"], int(one["amount"].replace(".", "")), "USD",
                                 "CreditCardSale", one["transDate"]) for one in records}
                    self.assertEqual({tuple(row.values()) for row in rows}, expected)
                    # Without a total, several pages are believed once they were read twice alike.
                    self.assertLessEqual(len(sandbox.requests("/transQuery")),
                                         12 if totals else 30)

    def test_second_cycle_asks_only_the_look_back(self):
        sandbox = self.start_sandbox()
        sandbox.add(*spread(730))
        shop = self.shop(sandbox)
        began = now()
        self.once(shop)
        before = shop.ledger("SELECT transaction_id, first_seen_at FROM transactions")
        sandbox.forget_requests()
        self.once(shop)
        self.assertEqual(shop.ledger("SELECT transaction_id, first_seen_at FROM transactions"),
                         before)
        asked = self.asked(sandbox)
        self.assertTrue(asked)
        oldest = min(window[0] for window in asked)
        self.assertGreaterEqual(oldest, query_time(after(began, minutes=-10, seconds=-2)))
        self.assertLessEqual(len(asked), 3)

    def test_history_ends_where_the_backfill_says(self):
        sandbox = self.start_sandbox()
        old, young = record(ago(hours=3)), record(ago(minutes=100))
        sandbox.add(old, young)
        shop = self.shop(sandbox)
        self.once(shop)
        rows = shop.ledger("SELECT transaction_id FROM transactions")
        self.assertEqual([row["transaction_id"] for row in rows], [young["transactionId"]])

    def test_empty_api_is_covered(self):
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox)
        self.once(shop)
        [row] = shop.ledger("SELECT min(covered_from) a, max(covered_to) b FROM sync_coverage")
        self.assertLessEqual(row["a"], iso(ago(minutes=119)))
        self.assertGreaterEqual(row["b"], iso(ago(minutes=1)))

    def test_bursts_across_page_borders(self):
        for totals in (True, False):
            with self.subTest(totals=totals):
                sandbox = self.start_sandbox()
                sandbox.settings(totals=totals)
                sandbox.add(*burst(257, ago(minutes=50)), *burst(100, ago(minutes=40)),
                            *burst(101, ago(minutes=5)), *burst(200, ago(minutes=4)),
                            *spread(300))
                shop = self.shop(sandbox)
                self.once(shop)
                self.assert_in_step(shop, sandbox)
                self.assert_coverage_true(shop, sandbox)

    def test_last_second_may_be_whole_or_not(self):
        """Whether dateTo includes its own second's records is unknown: both ways nothing is lost
        or doubled."""
        for whole in (True, False):
            with self.subTest(whole=whole):
                sandbox = self.start_sandbox()
                sandbox.settings(whole_second=whole)
                sandbox.add(*spread(400, first=ago(minutes=110), step=0.173))
                shop = self.shop(sandbox, pay={"page_size": 20})
                self.once(shop)
                self.once(shop)
                self.assert_in_step(shop, sandbox)
                self.assert_coverage_true(shop, sandbox)

    def test_burst_of_errors(self):
        """503, 429 and 500 sprinkled over the answers: retries bring everything in."""
        sandbox = self.start_sandbox()
        sandbox.settings(burst_of_errors=True)
        sandbox.add(*spread(600))
        shop = self.shop(sandbox, pay={"retries": 2, "page_size": 50})
        self.once(shop)
        self.assertTrue({429, 503} <= {one["status"] for one in sandbox.requests("/transQuery")})
        self.assert_in_step(shop, sandbox)


class LookBack(SyncCase):
    def late(self, sandbox, at):
        """A record of `at` that shows only now."""
        one = record(at)
        sandbox.add(one)
        return one["transactionId"]

    def known(self, shop, transaction_id):
        return bool(shop.ledger("SELECT 1 FROM transactions WHERE transaction_id = ?",
                                (transaction_id,)))

    def test_overlap_catches_a_late_record(self):
        sandbox = self.start_sandbox()
        sandbox.add(*spread(50))
        shop = self.shop(sandbox)
        self.once(shop)
        within = self.late(sandbox, ago(minutes=9))
        beyond = self.late(sandbox, ago(minutes=20))
        self.once(shop)
        self.assertTrue(self.known(shop, within))
        self.assertFalse(self.known(shop, beyond))
        self.assert_coverage_true_but(shop, sandbox, beyond)

    def assert_coverage_true_but(self, shop, sandbox, late):
        """What came late is missing only from intervals read before it came; the sandbox does not
        note that time, so it is looked for in those read since."""
        [row] = shop.ledger("SELECT created_at FROM (SELECT ? AS created_at)",
                            (next(one["created_at"] for one in sandbox.records()
                                  if one["id"] == late),))
        cycle = shop.ledger("SELECT max(began_at) AS began_at FROM sync_runs")[0]["began_at"]
        self.assertEqual(shop.ledger(
            "SELECT * FROM sync_coverage WHERE ? BETWEEN covered_from AND covered_to"
            " AND began_at >= ?", (row["created_at"], cycle)), [])

    def test_deep_look_back_reaches_further(self):
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox, sync={"deep_interval": "1s"})
        self.once(shop)
        within = self.late(sandbox, ago(minutes=25))
        beyond = self.late(sandbox, ago(minutes=40))
        # A cycle is due for a deep look when a second has passed since the last.
        wait_until(lambda: now() > after(parse_time(shop.ledger(
            "SELECT max(began_at) AS at FROM sync_runs")[0]["at"]), seconds=1.1), 5)
        self.once(shop)
        self.assertTrue(self.known(shop, within))
        self.assertFalse(self.known(shop, beyond))
        self.assertTrue(shop.ledger("SELECT 1 FROM sync_runs WHERE purpose = 'deep'"))


class Drift(SyncCase):
    """The world changes between two pages of one window."""

    # All in the look-back, so that a page number's meaning is at stake in one window.
    def world(self, sandbox, totals):
        sandbox.settings(totals=totals)
        records = [record(after(ago(minutes=9), seconds=i)) for i in range(350)]
        sandbox.add(*records)
        return records

    def drift(self, totals, insert_at=None, delete=None):
        sandbox = self.start_sandbox()
        records = self.world(sandbox, totals)
        change = {"after_page": 1}
        if insert_at is not None:
            at = parse_time(records[insert_at]["createdAt"])
            change["records"] = [record(after(at, milliseconds=500))]
        if delete is not None:
            change["delete"] = [records[delete]["transactionId"]]
        sandbox.settings(insert_between_pages=change)
        shop = self.shop(sandbox)
        done = shop.once()
        self.assertIn(done.returncode, (0, 75), done.stderr)
        self.once(shop) # what came to a place that was read already is for the look-back
        # What was deleted was seen before, or not; everything else must be there.
        known = {row["transaction_id"]
                 for row in shop.ledger("SELECT transaction_id FROM transactions")}
        missing = {one["id"] for one in sandbox.records()} - known
        self.assertEqual(missing, set())
        self.assert_coverage_true(shop, sandbox)
        self.assertIsNone(sandbox.settings()["insert_between_pages"], "nothing drifted")
        self.assertEqual(shop.ledger(
            "SELECT 1 FROM sync_coverage c JOIN sync_runs r ON r.run_id = c.run_id"
            " WHERE r.outcome <> 'complete'"), [])
        return shop

    def test_inserted_before(self):
        for totals in (True, False):
            with self.subTest(totals=totals):
                self.drift(totals, insert_at=50)

    def test_inserted_behind(self):
        for totals in (True, False):
            with self.subTest(totals=totals):
                self.drift(totals, insert_at=250)

    def test_deleted_before(self):
        for totals in (True, False):
            with self.subTest(totals=totals):
                self.drift(totals, delete=50)

    def test_deleted_behind(self):
        for totals in (True, False):
            with self.subTest(totals=totals):
                self.drift(totals, delete=250)

    def test_one_deleted_one_inserted(self):
        """The total stays what it was, no row comes twice, and yet one slips across a border."""
        for totals in (True, False):
            with self.subTest(totals=totals):
                self.drift(totals, insert_at=250, delete=50)

    def test_within_one_second(self):
        """A burst that no finer window can take apart."""
        for totals in (True, False):
            with self.subTest(totals=totals):
                sandbox = self.start_sandbox()
                sandbox.settings(totals=totals)
                records = burst(350, ago(minutes=5))
                extra = record(parse_time(records[300]["createdAt"]))
                sandbox.add(*records)
                sandbox.settings(insert_between_pages={
                    "after_page": 2, "records": [extra], "delete": [records[50]["transactionId"]]})
                shop = self.shop(sandbox)
                done = shop.once()
                self.assertIn(done.returncode, (0, 75), done.stderr)
                self.assertIsNone(sandbox.settings()["insert_between_pages"], "nothing drifted")
                if totals:
                    # One gone and one come leave the total as it was. That is no proof, so nobody
                    # is told "not charged" by it, and the next look back finds what slipped by.
                    at = records[0]["createdAt"]
                    self.assertEqual(shop.ledger(
                        "SELECT * FROM sync_coverage WHERE ? BETWEEN covered_from AND covered_to"
                        " AND proof = 1", (at,)), [])
                    self.once(shop)
                known = {row["transaction_id"]
                         for row in shop.ledger("SELECT transaction_id FROM transactions")}
                self.assertEqual({one["id"] for one in sandbox.records()} - known, set())
                self.assert_coverage_true(shop, sandbox)

    def test_changed_page_size_between_pages(self):
        """A page number means another place when the page size changes: a pass under way begins
        again."""
        sandbox = self.start_sandbox()
        sandbox.settings(totals=False)
        sandbox.add(*burst(120, ago(minutes=5)))
        shop = self.shop(sandbox, pay={"page_size": 50, "timeout": "30s"})
        sandbox.answer(path="/transQuery", page=2, hang=True)
        daemon = shop.start()
        wait_until(lambda: any(one["query"]["page"] == "2" for one in sandbox.requests()))
        shop.stop(daemon)
        shop.config(pay={**PAY, "page_size": 100}, sync=QUICK)
        self.once(shop)
        self.assert_in_step(shop, sandbox)
        self.assert_coverage_true(shop, sandbox)


class Rate(SyncCase):
    def assert_within(self, sandbox, share, seconds=60):
        """Never more than the share in any minute, by the API's own clock."""
        times = sorted(parse_time(one["at"]).timestamp() for one in sandbox.requests("/transQuery"))
        for first, last in zip(times, times[share:]):
            # The way to the API takes some milliseconds, and not always as many.
            self.assertGreater(last - first, seconds - 0.1)
        return times

    def test_share_is_kept_across_restarts(self):
        sandbox = self.start_sandbox()
        sandbox.add(*spread(600, step=5))
        shop = self.shop(sandbox, pay={"rate_per_minute": 20, "rate_share": "50%", "page_size": 10},
                         sync={"fast_interval": "100ms"})
        shop.enqueue("R-1", attempted_at=ago(seconds=30))
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            daemon = shop.start()
            wait_until(lambda: shop.ledger("SELECT 1 FROM daemon_state WHERE pid = ?",
                                           (daemon.pid,)))
            time.sleep(0.7)
            shop.stop(daemon, number)
        times = self.assert_within(sandbox, 10)
        self.assertEqual(len(times), 10, "the share is there to be used")

    def test_reload_does_not_renew_the_share(self):
        sandbox = self.start_sandbox()
        sandbox.add(*spread(600, step=5))
        shop = self.shop(sandbox, pay={"rate_per_minute": 20, "rate_share": "50%", "page_size": 10})
        daemon = shop.start()
        wait_until(lambda: len(sandbox.requests("/transQuery")) >= 5)
        for n in range(3):
            daemon.send_signal(signal.SIGHUP)
            wait_until(lambda: shop.log(daemon).count("reloaded") > n)
        time.sleep(0.5)
        self.assertLessEqual(len(sandbox.requests("/transQuery")), 10)

    def test_orders_come_before_history(self):
        """With nine tenths of the share gone on history, an order is still asked for at once."""
        sandbox = self.start_sandbox()
        sandbox.add(*spread(600, step=5))
        shop = self.shop(sandbox, pay={"rate_per_minute": 40, "rate_share": "50%", "page_size": 5},
                         sync={"overlap": "1s"})
        daemon = shop.start()
        wait_until(lambda: len(sandbox.requests("/transQuery")) >= 16)
        time.sleep(0.3)
        before = len(sandbox.requests("/transQuery"))
        self.assertLess(before, 20)
        sandbox.add(sale_for("R-2", ago(seconds=20), amount="7.77"))
        shop.enqueue("R-2", amount="7.77", attempted_at=ago(seconds=25))
        wait_until(lambda: (shop.verdict("R-2") or {}).get("verdict") == "charged", 5)
        self.assertEqual(shop.stop(daemon), 0)


class Polling(SyncCase):
    def test_fast_while_an_order_is_open_and_quiet_otherwise(self):
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox, sync={"interval": "1h", "fast_interval": "200ms"})
        daemon = shop.start()
        wait_until(lambda: sandbox.requests("/transQuery"))
        wait_until(lambda: self.quiet(sandbox)) # the history is in
        sandbox.forget_requests()
        time.sleep(1)
        self.assertEqual(sandbox.requests("/transQuery"), [], "nothing to ask, and yet it asked")

        asked_at = time.monotonic()
        shop.enqueue("P-1", attempted_at=ago(seconds=5))
        wait_until(lambda: sandbox.requests("/transQuery"), 3)
        self.assertLess(time.monotonic() - asked_at, 1)
        wait_until(lambda: len(sandbox.requests("/transQuery")) >= 5, 5)
        windows = {one["query"]["dateFrom"] for one in sandbox.requests("/transQuery")}
        self.assertEqual(len(windows), 1, "only the order's window is asked for")

        sandbox.add(sale_for("P-1", ago(seconds=4)))
        wait_until(lambda: (shop.verdict("P-1") or {})["verdict"] == "charged", 3)
        wait_until(lambda: self.quiet(sandbox), 5)
        self.assertEqual(shop.stop(daemon), 0)

    def quiet(self, sandbox):
        before = len(sandbox.requests("/transQuery"))
        time.sleep(0.6)
        return len(sandbox.requests("/transQuery")) == before

    def test_a_slow_writer_of_the_queue_stops_nothing(self):
        """The app holds the queue's write lock: the sync goes on, and SIGTERM is heard in time."""
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox)
        daemon = shop.start()
        wait_until(lambda: len(sandbox.requests("/transQuery")) >= 2)
        app = sqlite3.connect(shop.queue_path, isolation_level=None)
        try:
            shop.enqueue("P-2", attempted_at=ago(seconds=5))
            app.execute("BEGIN IMMEDIATE")
            time.sleep(0.5)
            before = len(sandbox.requests("/transQuery"))
            wait_until(lambda: len(sandbox.requests("/transQuery")) >= before + 2, 8)
            began = time.monotonic()
            self.assertEqual(shop.stop(daemon), 0)
            self.assertLess(time.monotonic() - began, 5)
        finally:
            app.close()


class Signals(SyncCase):
    def test_term_while_a_request_hangs(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number):
                sandbox = self.start_sandbox()
                sandbox.answer(path="/transQuery", hang=True, times=0)
                shop = self.shop(sandbox, pay={"timeout": "60s"})
                daemon = shop.start()
                wait_until(lambda: sandbox.requests("/transQuery"))
                began = time.monotonic()
                self.assertEqual(shop.stop(daemon, number), 0)
                self.assertLess(time.monotonic() - began, 5)
                self.assertEqual(shop.ledger("SELECT * FROM sync_coverage"), [])
                sandbox.forget_answers()
                self.once(shop)

    def test_term_in_the_middle_of_a_window_resumes_there(self):
        sandbox = self.start_sandbox()
        sandbox.add(*burst(450, ago(minutes=5)))
        shop = self.shop(sandbox, pay={"timeout": "60s"})
        sandbox.answer(path="/transQuery", page=4, hang=True)
        daemon = shop.start()
        wait_until(lambda: any(one["query"]["page"] == "4" for one in sandbox.requests()))
        self.assertEqual(shop.stop(daemon), 0)
        stored = shop.ledger("SELECT count(*) AS n FROM transactions")[0]["n"]
        self.assertEqual(stored, 300)
        sandbox.forget_requests()
        self.once(shop)
        [first, *_] = self.asked(sandbox)
        self.assertEqual(first[2], 4)
        self.assert_in_step(shop, sandbox)

    def test_hup_takes_a_good_configuration(self):
        old, new = self.start_sandbox(), self.start_sandbox()
        shop = self.shop(old)
        daemon = shop.start()
        wait_until(lambda: old.requests("/transQuery"))
        shop.config(pay={**PAY, "url": new.url}, sync=QUICK)
        daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: new.requests("/transQuery"), 5)
        old.forget_requests()
        wait_until(lambda: len(new.requests("/transQuery")) >= 3, 10)
        self.assertEqual(old.requests("/transQuery"), [])
        self.assertIsNone(daemon.poll())

    def test_hup_while_a_request_hangs(self):
        sandbox = self.start_sandbox()
        sandbox.add(*spread(150))
        sandbox.answer(path="/transQuery", hang=True)
        shop = self.shop(sandbox, pay={"timeout": "60s"})
        daemon = shop.start()
        wait_until(lambda: sandbox.requests("/transQuery"))
        daemon.send_signal(signal.SIGHUP)
        wait_until(lambda: shop.ledger("SELECT count(*) AS n FROM transactions")[0]["n"] == 150)
        self.assertEqual(shop.stop(daemon), 0)

    def test_hup_refuses_a_bad_configuration(self):
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox)
        daemon = shop.start()
        wait_until(lambda: sandbox.requests("/transQuery"))
        for section, key, value in (("sync", "interval", "soon"), ("sync", "intervall", "1s"),
                                    ("ledger", "path", shop.directory + "/other.db")):
            with self.subTest(key=key, value=value):
                shop.config(**{"pay": PAY, "sync": QUICK,
                               section: {**({"sync": QUICK}.get(section, {})), key: value}})
                lines = shop.log(daemon).count("\n")
                daemon.send_signal(signal.SIGHUP)
                wait_until(lambda: shop.log(daemon).count("\n") > lines)
                self.assertIn("the old one stays", shop.log(daemon).splitlines()[lines])
                before = len(sandbox.requests("/transQuery"))
                wait_until(lambda: len(sandbox.requests("/transQuery")) > before, 5)
        self.assertEqual(shop.stop(daemon), 0)

    def test_usr1_begins_a_cycle(self):
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox, sync={"interval": "1h"})
        daemon = shop.start()
        wait_until(lambda: shop.ledger("SELECT 1 FROM daemon_state WHERE cycle_ended_at NOT NULL"))
        one = record(ago(minutes=1))
        sandbox.add(one)
        daemon.send_signal(signal.SIGUSR1)
        wait_until(lambda: shop.ledger("SELECT 1 FROM transactions"), 3)
        self.assertEqual(shop.stop(daemon), 0)

    def test_second_daemon_is_refused(self):
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox)
        daemon = shop.start()
        wait_until(lambda: shop.ledger("SELECT 1 FROM daemon_state WHERE pid = ?", (daemon.pid,)))
        second = shop.start()
        self.assertNotEqual(wait_until(lambda: second.poll() is not None and second, 10).returncode,
                            0)
        self.assertIn(f"another reconciled (process {daemon.pid})", shop.log(second))
        self.assertNotEqual(shop.once().returncode, 0)
        self.assertIsNone(daemon.poll())
        self.assertEqual(shop.stop(daemon), 0)


class Exit(SyncCase):
    """--once says how it went."""

    def test_done_is_0(self):
        sandbox = self.start_sandbox()
        self.assertEqual(self.once(self.shop(sandbox)).stderr, "")

    def test_no_api_is_75(self):
        shop = self.shop(None)
        done = self.once(shop, 75)
        self.assertRegex(done.stderr, r"Pay API: .*127\.0\.0\.1:1")
        self.assertEqual(shop.ledger("SELECT * FROM sync_coverage"), [])

    def test_failing_api_is_75(self):
        sandbox = self.start_sandbox()
        sandbox.answer(path="/transQuery", status=503, times=0)
        self.assertIn("503", self.once(self.shop(sandbox), 75).stderr)

    def test_refused_key_is_77(self):
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox)
        shop.secrets["MERCHANT_API_KEY"] = "another-key-of-mine"
        done = self.once(shop, 77)
        self.assertIn("401", done.stderr)
        self.assertNotIn("another-key-of-mine", done.stderr)
        self.assertEqual(len(sandbox.requests("/transQuery")), 1, "4xx is never asked again")

    def test_nonsense_is_76(self):
        sandbox = self.start_sandbox()
        sandbox.answer(path="/transQuery", body="<html>", times=0)
        shop = self.shop(sandbox)
        self.once(shop, 76)
        self.assertEqual(shop.ledger("SELECT * FROM sync_coverage"), [])

    def test_configuration_is_78(self):
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox)
        shop.config(pay=PAY, sync={"interval": "soon"})
        done = self.once(shop, 78)
        self.assertRegex(done.stderr, r"reconciled\.conf:\d+: .*interval")

    def test_database_is_74(self):
        sandbox = self.start_sandbox()
        shop = self.shop(sandbox)
        for name in ("ledger.db-wal", "ledger.db-shm"):
            if os.path.exists(os.path.join(shop.directory, name)):
                os.unlink(os.path.join(shop.directory, name))
        with open(shop.ledger_path, "wb") as ledger:
            ledger.write(b"this is no database, but it is long enough to look at" * 100)
        done = self.once(shop, 74)
        self.assertIn(shop.ledger_path, done.stderr)
        with open(shop.ledger_path, "rb") as ledger:
            self.assertTrue(ledger.read().startswith(b"this is no"), "it was overwritten")


class Clock(SyncCase):
    def test_readings_from_the_future_prove_nothing(self):
        """The clock was ahead and is right again: what was 'read' then is no proof now."""
        sandbox = self.start_sandbox()
        sandbox.add(*spread(20))
        shop = self.shop(sandbox, match={"after": "1s", "absence_grace": "1s", "before": "5s"})
        self.once(shop)
        ahead = iso(after(now(), days=1))
        ledger = sqlite3.connect(shop.ledger_path)
        with ledger:
            ledger.execute("UPDATE coverage SET covered_to = ?1, began_at = ?1, proof = 1",
                           (ahead,))
            ledger.execute("UPDATE sync_runs SET window_to = ?1, began_at = ?1, ended_at = ?1",
                           (ahead,))
        ledger.close()
        sale = sale_for("C-1", ago(minutes=1))
        sandbox.add(sale)
        shop.enqueue("C-1", attempted_at=ago(minutes=1))
        self.once(shop)
        self.assertEqual(shop.verdict("C-1")["verdict"], "charged")


if __name__ == "__main__":
    unittest.main()
