"""An API that does not tell the truth. Whatever it says, the ledger claims nothing that is not so, no
order is called 'not_charged' that was charged, and what is true comes in as soon as it is said."""
import json
import os
import resource
import signal
import subprocess
import time
import unittest

from harness import (ago, after, environment, iso, now, program, record, sale_for, wait_until,
                     BUILD)
from test_sync import SyncCase, burst, spread

# An order of a minute ago is ripe: windows and grace are short.
MATCH = {"before": "60s", "after": "20s", "absence_grace": "20s"}
SANITIZED = b"__asan_init" in open(program("reconciled"), "rb").read() \
    if os.path.exists(program("reconciled")) else False


class LieCase(SyncCase):
    def shop(self, sandbox, **sections):
        return super().shop(sandbox, **{"match": MATCH, **sections})

    def world(self, **settings):
        """A sandbox in which order L-1 was charged (its sale is one of several) and L-2 was not,
        and their shop."""
        sandbox = self.start_sandbox()
        sandbox.settings(**settings) if settings else None
        self.at = ago(minutes=5)
        sandbox.add(*spread(40, step=120), sale_for("L-1", self.at, amount="12.34"))
        shop = self.shop(sandbox)
        shop.enqueue("L-1", amount="12.34", attempted_at=self.at)
        shop.enqueue("L-2", amount="77.77", attempted_at=ago(minutes=4))
        return sandbox, shop

    def assert_honest(self, shop, sandbox):
        self.assert_coverage_true(shop, sandbox)
        verdict = shop.verdict("L-1")
        self.assertTrue(verdict is None or verdict["verdict"] in ("pending", "charged"), verdict)

    def assert_truth(self, shop, sandbox):
        self.assert_in_step(shop, sandbox)
        self.assert_honest(shop, sandbox)
        self.assertEqual(shop.verdict("L-1")["verdict"], "charged")
        self.assertEqual(shop.verdict("L-2")["verdict"], "not_charged")

    def lie_always(self, code, shop_sections=None, text=None, **canned):
        """Every answer is this lie: the cycle fails in a way that says so and claims nothing; the
        truth afterwards is taken."""
        sandbox, shop = self.world()
        sandbox.answer(path="/transQuery", times=0, **canned)
        if shop_sections:
            self.reconfigure(shop, **shop_sections)
        done = shop.once()
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(shop.ledger("SELECT * FROM sync_coverage"), [])
        self.assert_honest(shop, sandbox)
        self.assertEqual(shop.verdict("L-2")["verdict"], "pending")
        if text:
            self.assertIn(text, done.stderr)
        sandbox.forget_answers()
        self.once(shop)
        self.assert_truth(shop, sandbox)
        return done

    def reconfigure(self, shop, **sections):
        from test_sync import PAY, QUICK
        shop.config(match=MATCH, pay={**PAY, **sections.pop("pay", {})},
                    sync={**QUICK, **sections.pop("sync", {})}, **sections)

    def lie_once(self, codes=(0, 75, 76), nth=1, **canned):
        """One answer among true ones is a lie."""
        sandbox, shop = self.world()
        sandbox.answer(path="/transQuery", nth=nth, **canned)
        done = shop.once()
        self.assertIn(done.returncode, codes, done.stderr)
        self.assertEqual(sandbox.answers(), [], "the lie was not told")
        self.assert_honest(shop, sandbox)
        self.once(shop)
        self.assert_truth(shop, sandbox)


def page(*records, has_next=False, **pagination):
    return {"transactions": list(records), "pagination": {"hasNextPage": has_next, **pagination}}


class NoPage(LieCase):
    """Answers that are no page."""

    def test_not_understood(self):
        fine = record(ago(minutes=3))
        lies = {
            "html": "<html><body>Service unavailable</body></html>",
            "empty body": "",
            "json text": json.dumps("ok"),
            "null": "null",
            "array": json.dumps([fine]),
            "success false": {"success": False, **page()},
            "success false with records": {"success": False, **page(fine)},
            "success as a text": {"success": "true", **page()},
            "an error in an empty page": {"error": "database timeout", **page()},
            "no pagination": {"transactions": []},
            "no list": {"pagination": {"hasNextPage": False}},
            "list is an object": {"transactions": {}, "pagination": {"hasNextPage": False}},
            "list is null": {"transactions": None, "pagination": {"hasNextPage": False}},
            "hasNextPage as a text": {"transactions": [], "pagination": {"hasNextPage": "false"}},
            "hasNextPage null": {"transactions": [], "pagination": {"hasNextPage": None}},
            "no hasNextPage": {"transactions": [], "pagination": {"total": 0}},
            "empty page promises more": page(has_next=True),
            "empty with a total": page(total=3),
            "fewer than the total": page(fine, total=3),
            "more than the total": page(fine, record(ago(minutes=2)), total=1),
            "another page's number": page(page=2),
            "last of several pages": page(fine, page=1, totalPages=4),
            "two totals": page(total=0, totalCount=5),
            "a broken total": page(total="many"),
            "not utf-8": {"hex": (b"\xff\xfe{}").hex()},
            "deep": "[" * 100000,
        }
        sandbox, shop = self.world()
        for name, body in lies.items():
            with self.subTest(name):
                sandbox.forget_answers()
                sandbox.answer(path="/transQuery", times=0, body=body)
                done = shop.once()
                self.assertEqual(done.returncode, 76, f"{name}: {done.stderr}")
                self.assertEqual(shop.ledger("SELECT * FROM sync_coverage"), [])
                self.assert_honest(shop, sandbox)
                self.assertEqual(shop.verdict("L-2")["verdict"], "pending")
        sandbox.forget_answers()
        # What came with the lies is not of this API: it goes by its time.
        self.once(shop)
        self.assert_honest(shop, sandbox)
        self.assertEqual(shop.verdict("L-1")["verdict"], "charged")

    def test_truncated(self):
        for length in (0, 1, 200, 5000):
            with self.subTest(length=length):
                self.lie_always(75, truncate=length)

    def test_cut_off_in_the_middle_of_a_record_but_whole_for_http(self):
        text = json.dumps(page(record(ago(minutes=3)), record(ago(minutes=2))))
        self.lie_always(76, body=text[:len(text) // 2])

    def test_cut_off_once(self):
        self.lie_once(truncate=3000)

    def test_connection_closed(self):
        self.lie_always(75, close=True)

    def test_redirect_is_not_followed(self):
        other = self.start_sandbox()
        for status in (301, 302, 303, 307, 308):
            with self.subTest(status=status):
                self.lie_always(76, status=status, headers={"Location": other.url + "/transQuery"})
        self.assertEqual(other.requests(), [])

    def test_other_statuses(self):
        for status, code in ((204, 76), (206, 76), (400, 76), (404, 76), (403, 77), (500, 75)):
            with self.subTest(status=status):
                self.lie_always(code, text=str(status), status=status,
                                body="" if status == 204 else page())

    def test_slow_drip_times_out(self):
        began = time.monotonic()
        self.lie_always(75, {"pay": {"timeout": "1s"}}, drip_ms=50)
        self.assertLess(time.monotonic() - began, 10)

    def test_no_answer_times_out(self):
        self.lie_always(75, {"pay": {"timeout": "1s"}}, hang=True)


class Retries(LieCase):
    def test_5xx_is_tried_again_as_configured(self):
        sandbox, shop = self.world()
        self.reconfigure(shop, pay={"retries": 2})
        sandbox.answer(path="/transQuery", status=502, times=2)
        began = time.monotonic()
        self.once(shop)
        self.assertGreaterEqual(time.monotonic() - began, 2.9, "1 s, then 2 s")
        statuses = [one["status"] for one in sandbox.requests("/transQuery")]
        self.assertEqual(statuses[:3], [502, 502, 200])
        self.assert_truth(shop, sandbox)

    def test_5xx_for_too_long_is_75(self):
        sandbox, shop = self.world()
        self.reconfigure(shop, pay={"retries": 1})
        sandbox.answer(path="/transQuery", status=502, times=0)
        self.once(shop, 75)
        self.assertEqual(len(sandbox.requests("/transQuery")), 2)
        self.assert_honest(shop, sandbox)

    def test_429_waits_as_long_as_it_says(self):
        for canned in ({"headers": {"Retry-After": "2"}},
                       {"body": {"success": False, "retryAfter": 2}}):
            with self.subTest(canned):
                sandbox, shop = self.world()
                sandbox.answer(path="/transQuery", status=429, **canned)
                self.once(shop)
                first, second = sandbox.requests("/transQuery")[:2]
                gap = (self.at_of(second) - self.at_of(first)).total_seconds()
                self.assertGreaterEqual(gap, 1.95)
                self.assertLess(gap, 4)
                self.assert_truth(shop, sandbox)

    def at_of(self, request):
        from harness import parse_time
        return parse_time(request["at"])

    def test_429_for_ever_is_75(self):
        sandbox, shop = self.world()
        sandbox.answer(path="/transQuery", status=429, headers={"Retry-After": "0"}, times=0)
        self.once(shop, 75)
        self.assert_honest(shop, sandbox)

    def test_daemon_recovers_by_itself(self):
        sandbox, shop = self.world()
        sandbox.answer(path="/transQuery", status=500, times=2)
        daemon = shop.start()
        wait_until(lambda: (shop.verdict("L-2") or {}).get("verdict") == "not_charged", 15)
        self.assertEqual(shop.stop(daemon), 0)
        self.assertIn("it answers again", shop.log(daemon))
        self.assert_truth(shop, sandbox)


class Pages(LieCase):
    """Pages that do not go together."""

    def test_same_page_for_ever(self):
        rows = [record(ago(minutes=3)) for _ in range(3)]
        sandbox, shop = self.world()
        sandbox.answer(path="/transQuery", times=0, body=page(*rows, has_next=True))
        done = shop.once()
        self.assertEqual(done.returncode, 76, done.stderr)
        self.assertLess(len(sandbox.requests("/transQuery")), 60)
        self.assert_honest(shop, sandbox)
        self.assertNotEqual(shop.verdict("L-2")["verdict"], "not_charged")

    def test_same_page_of_unreadable_rows_for_ever(self):
        rows = [record(ago(minutes=3), amount="much") for _ in range(3)]
        sandbox, shop = self.world()
        sandbox.answer(path="/transQuery", times=0, body=page(*rows, has_next=True))
        done = shop.once()
        self.assertEqual(done.returncode, 76, done.stderr)
        self.assertLess(len(sandbox.requests("/transQuery")), 60)
        self.assert_honest(shop, sandbox)
        self.assertNotEqual(shop.verdict("L-2")["verdict"], "not_charged")

    def test_pages_without_end(self):
        """More and more new rows of one second."""
        sandbox, shop = self.world()
        at = ago(minutes=3).replace(microsecond=0)
        sandbox.answer(*[], path="/transQuery", times=0, query={"page": "1"},
                       body=page(record(at), has_next=True))
        for number in range(2, 1003):
            pass
        import http.server
        import threading

        class Endless(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            served = 0

            def do_GET(self):
                Endless.served += 1
                body = json.dumps(page(record(at), record(at), has_next=True)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.reconfigure(shop, pay={"url": f"http://127.0.0.1:{server.server_port}"},
                         sync={"backfill": "10min"})
        done = shop.once(timeout=120)
        self.assertEqual(done.returncode, 76, done.stderr)
        self.assertIn("have no end", done.stderr)
        self.assertEqual(shop.ledger("SELECT * FROM sync_coverage WHERE ? BETWEEN covered_from AND"
                                     " covered_to", (iso(at),)), [])
        self.assert_honest(shop, sandbox)

    def test_one_row_in_the_place_of_another(self):
        """The total is right and so is the number of rows, but one came twice and one is missing."""
        sandbox, shop = self.world()
        rows = [one["record"] for one in sandbox.records()]
        lie = [one for one in rows if one.get("metadata") is None]
        lie.append(lie[-1])
        sandbox.answer(path="/transQuery", body=page(*lie, total=len(lie)))
        done = shop.once()
        self.assertEqual(sandbox.answers(), [])
        self.assertIn(done.returncode, (0, 75, 76), done.stderr)
        self.assert_honest(shop, sandbox)
        self.once(shop)
        self.assert_truth(shop, sandbox)

    def test_the_answer_to_another_question(self):
        """A cache that does not look at the dates."""
        sandbox, shop = self.world()
        old = [record(ago(hours=30)) for _ in range(5)]
        sandbox.answer(path="/transQuery", times=0, body=page(*old, total=5))
        done = shop.once()
        self.assertEqual(done.returncode, 76, done.stderr)
        self.assertEqual(shop.ledger("SELECT * FROM sync_coverage"), [])
        self.assert_honest(shop, sandbox)
        self.assertEqual(shop.verdict("L-2")["verdict"], "pending")

    def test_dates_are_not_looked_at_and_all_comes_every_time(self):
        """An API that ignores the range gives more than asked, never less: it is taken."""
        sandbox, shop = self.world()
        rows = [one["record"] for one in sandbox.records()]
        sandbox.answer(path="/transQuery", times=0, body=page(*rows, total=len(rows)))
        done = shop.once()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_truth(shop, sandbox)

    def test_descending_though_asked_ascending(self):
        sandbox, shop = self.world()
        rows = [one["record"] for one in sandbox.records()][::-1]
        for number in range(5):
            part = rows[number * 10:number * 10 + 10]
            sandbox.answer(path="/transQuery", times=0, page=number + 1,
                           body=page(*part, has_next=number < 4, total=len(rows)))
        done = shop.once()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_truth(shop, sandbox)

    def test_empty_answer_for_what_is_known(self):
        """Records that were there cannot all be gone: an empty page is an error, not an absence."""
        sandbox, shop = self.world()
        self.once(shop)
        shop.enqueue("L-3", amount="12.34", attempted_at=ago(seconds=45))
        sandbox.add(sale_for("L-3", ago(seconds=40), amount="12.34"))
        sandbox.answer(path="/transQuery", times=0, body=page())
        shop.once()
        self.assertNotEqual(shop.verdict("L-1")["verdict"], "not_charged")
        self.assert_honest(shop, sandbox)


class Records(LieCase):
    """Odd records among good ones."""

    def odd(self):
        return {
            "no id": {"transactionId": None},
            "id is an object": {"transactionId": {}},
            "no amount": {"amount": None},
            "amount of words": {"amount": "much"},
            "40 digits": {"amount": "9" * 40 + ".00"},
            "amount is an array": {"amount": [49]},
            "negative sale": {"amount": "-49.00"},
            "too many decimals": {"amount": "49.001"},
            "unknown currency": {"currency": "XXQ"},
            "no currency": {"currency": None},
            "no type": {"transactionType": None},
            "no time": {"transDate": None, "createdAt": None},
            "odd time": {"transDate": "yesterday"},
        }

    def test_one_bad_record_among_good_ones(self):
        for name, change in self.odd().items():
            with self.subTest(name):
                sandbox, shop = self.world()
                bad_at = ago(minutes=30)
                sandbox.add({**{"transDate": iso(bad_at), "createdAt": iso(bad_at)},
                             **record(bad_at, **change)}
                            if "transDate" not in change else record(bad_at, **change),
                            created_at=bad_at)
                # L-3's window holds the bad record, L-1's and L-2's do not.
                shop.enqueue("L-3", amount="33.33", attempted_at=bad_at)
                done = self.once(shop, 76)
                self.assertIn("quarantine", done.stderr)
                stored = {row["transaction_id"]
                          for row in shop.ledger("SELECT transaction_id FROM transactions")}
                good = {one["id"] for one in sandbox.records()
                        if one["created_at"] != iso(bad_at)}
                self.assertEqual(stored, good)
                [row] = shop.ledger("SELECT * FROM quarantine")
                self.assertTrue(row["reason"])
                self.assertEqual(shop.verdict("L-1")["verdict"], "charged")
                self.assertEqual(shop.verdict("L-3")["verdict"], "needs_review")
                if change.get("transDate", "") is not None:
                    self.assertEqual(shop.verdict("L-2")["verdict"], "not_charged")
                else: # without a time it may lie in any window that was asked for together
                    self.assertIn(shop.verdict("L-2")["verdict"], ("not_charged", "needs_review"))

    def test_a_bad_record_that_is_mended_leaves_quarantine(self):
        sandbox, shop = self.world()
        at = ago(minutes=6)
        bad = record(at, amount="much")
        sandbox.add(bad)
        shop.enqueue("L-3", amount="33.33", attempted_at=at)
        self.once(shop, 76)
        self.assertEqual(shop.verdict("L-3")["verdict"], "needs_review")
        sandbox.remove(bad["transactionId"])
        sandbox.add({**bad, "amount": "33.33", "metadata": {"orderId": "L-3"}})
        self.once(shop)
        self.assertEqual(shop.ledger("SELECT * FROM quarantine"), [])
        self.assertEqual(shop.verdict("L-3")["verdict"], "charged")

    def test_a_bad_record_that_was_created_late(self):
        """It happened in the order's window and was entered after it: it is still in the way."""
        sandbox, shop = self.world()
        happened, entered = ago(minutes=10), ago(minutes=8)
        sandbox.add(record(happened, amount="much", createdAt=iso(entered)))
        shop.enqueue("L-3", amount="33.33", attempted_at=happened)
        self.once(shop, 76)
        self.assertEqual(shop.verdict("L-3")["verdict"], "needs_review")

    def test_texts_that_no_parser_likes(self):
        sandbox, shop = self.world()
        names = [r"\u0000", r"\ud83d", r"\udc00\ud83d", r"a\u0000b", "\x7f", r"\uffff"]
        for name in names:
            one = json.dumps(record(ago(minutes=7), amount="5.55", firstName="@@"))
            sandbox.add_raw(one.replace("@@", name), created_at=ago(minutes=7))
        self.once(shop)
        rows = shop.ledger("SELECT count(*) AS n FROM transactions WHERE amount_minor = 555")
        self.assertEqual(rows[0]["n"], len(names))
        self.assertEqual(shop.verdict("L-1")["verdict"], "charged")

    def test_odd_text_in_an_email_matches_nobody(self):
        sandbox, shop = self.world()
        at = ago(minutes=9)
        one = json.dumps(record(at, amount="8.88", email="@@", cardLastFour=None, cardBin=None))
        sandbox.add_raw(one.replace("@@", r"jane\ud800@example.com"), created_at=at)
        shop.enqueue("L-3", amount="8.88", attempted_at=at, billing_email="jane@example.com")
        self.once(shop)
        self.assertNotEqual(shop.verdict("L-3")["verdict"], "charged")

    def test_amounts_as_numbers(self):
        sandbox, shop = self.world()
        texts = {"49": 4900, "49.5": 4950, "0.29": 29, "1e2": None, "4.35": 435, "1.10": 110,
                 "90071992547409.93": 9007199254740993, "19.99": 1999}
        for text in texts:
            one = json.dumps(record(ago(minutes=7), amount="@@", cardBin=None))
            sandbox.add_raw(one.replace('"@@"', text), created_at=ago(minutes=7))
        done = shop.once()
        self.assertIn(done.returncode, (0, 76), done.stderr)
        found = [row["amount_minor"] for row in shop.ledger(
            "SELECT amount_minor FROM transactions WHERE card_bin IS NULL")]
        wanted = [minor for minor in texts.values() if minor is not None]
        refused = shop.ledger("SELECT count(*) AS n FROM quarantine")[0]["n"]
        # 1e2 is read without error, or refused.
        self.assertEqual(sorted(found), sorted(wanted + ([] if refused else [10000])))


class Size(LieCase):
    def peak(self, shop):
        """Runs one cycle; (exit code, stderr, peak of memory in MB)."""
        child = subprocess.Popen(
            [program("reconciled"), "--config", shop.config_path, "--once"], text=True,
            env=environment(**shop.secrets), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        messages = child.stderr.read()
        child.stderr.close()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        from harness import check_stderr
        check_stderr("reconciled", messages)
        return child.returncode, messages, usage.ru_maxrss / 1024

    def bounded(self, code, limit_mb, **canned):
        sandbox, shop = self.world()
        sandbox.answer(path="/transQuery", times=0, **canned)
        exit_code, messages, peak = self.peak(shop)
        self.assertEqual(exit_code, code, messages)
        self.assertEqual(shop.ledger("SELECT * FROM sync_coverage"), [])
        self.assert_honest(shop, sandbox)
        if not SANITIZED:
            self.assertLess(peak, limit_mb)

    def test_200_mb(self):
        self.bounded(76, 60, body={"repeat": "x" * 1024, "count": 200 * 1024})

    def test_16_mb_of_tiny_values(self):
        """Each costs a parser many times its size."""
        for body in ("1,", "{},", "[],", '"",', '{"":[]},', "null,"):
            with self.subTest(body):
                head = '{"transactions":['
                self.bounded(76, 250, body=head + body * ((16 * 2**20 - 100) // len(body)) + "1]}")

    def test_large_headers(self):
        self.bounded(76, 60, body=page(), headers={"X-Filler": "x" * 30000, "X-More": "y" * 40000})


if __name__ == "__main__":
    unittest.main()
