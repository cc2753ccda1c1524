"""An API that does not tell the truth. Whatever it says, the ledger claims nothing that is not so,
no order is called 'not_charged' that was charged, and the truth comes in as soon as it is said."""
import http.server
import json
import threading
import time
import unittest

from harness import (after, ago, iso, parse_time, program, record, sale_for, wait_until)
from test_sync import PAY, QUICK, SyncCase, spread

# An order of a minute ago is ripe: windows and grace are short.
MATCH = {"before": "60s", "after": "20s", "absence_grace": "20s"}


def is_sanitized():
    with open(program("reconciled"), "rb") as file:
        return b"__asan_init" in file.read()


class LieCase(SyncCase):
    def shop(self, sandbox, **sections):
        return super().shop(sandbox, **{"match": MATCH, **sections})

    def world(self, **settings):
        """A sandbox in which order L-1 was charged (its sale is one of several) and L-2 was not,
        and their shop."""
        sandbox = self.start_sandbox()
        if settings:
            sandbox.settings(**settings)
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
        sandbox, shop = self.world()
        fine, other = (one["record"] for one in sandbox.records()[:2])
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
            "more than the total": page(fine, other, total=1),
            "another page's number": page(page=2),
            "last of several pages": page(fine, page=1, totalPages=4),
            "two totals": page(total=0, totalCount=5),
            "a broken total": page(total="many"),
            "not utf-8": {"hex": (b"\xff\xfe{}").hex()},
            "deep": "[" * 100000,
        }
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
        self.once(shop)
        self.assert_truth(shop, sandbox)

    def test_truncated(self):
        for length in (0, 1, 40):
            with self.subTest(length=length):
                self.lie_always(75, truncate=length)

    def test_cut_off_in_the_middle_of_a_record_but_whole_for_http(self):
        text = json.dumps(page(record(ago(minutes=3)), record(ago(minutes=2))))
        self.lie_always(76, body=text[:len(text) // 2])

    def test_cut_off_once(self):
        self.lie_once(truncate=40)

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
                gap = (parse_time(second["at"]) - parse_time(first["at"])).total_seconds()
                self.assertGreaterEqual(gap, 1.95)
                self.assertLess(gap, 4)
                self.assert_truth(shop, sandbox)

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
        wait_until(lambda: shop.ledger("SELECT count(*) AS n FROM transactions")[0]["n"] == 41)
        self.assertEqual(shop.stop(daemon), 0)
        self.assertIn("it answers again", shop.log(daemon))
        self.assert_truth(shop, sandbox)


class Pages(LieCase):
    """Pages that do not go together."""

    def test_same_page_for_ever(self):
        # Within the orders' windows: what lies before these rows is not there only by their word.
        rows = [record(ago(minutes=3, seconds=50)) for _ in range(3)]
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
        """The total is right, the number of rows too, but one came twice and one is missing."""
        sandbox, shop = self.world()
        sandbox.add(*[record(after(self.at, seconds=n)) for n in range(5)])
        rows = [one["record"] for one in sandbox.records()
                if one["created_at"] >= iso(after(self.at, seconds=-60))]
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
        self.reconfigure(shop, sync={"backfill": "40min"})
        rows = [record(ago(minutes=10 + n)) for n in range(14)]
        rows.insert(0, sale_for("L-1", self.at, amount="12.34"))
        sandbox.remove()
        sandbox.add(*rows)
        for number in range(3):
            part = rows[number * 5:number * 5 + 5]
            sandbox.answer(path="/transQuery", times=0, page=number + 1,
                           body=page(*part, has_next=number < 2, total=len(rows)))
        done = shop.once()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_truth(shop, sandbox)

    def test_empty_answer_for_what_is_known(self):
        """Records that were there cannot all be gone: an empty page is an error, not an absence."""
        sandbox, shop = self.world()
        self.once(shop)
        late = record(self.at)
        sandbox.add(late)
        sandbox.answer(path="/transQuery", times=0, body=page())
        done = shop.once()
        self.assertEqual(done.returncode, 76, done.stderr)
        self.assertEqual(shop.verdict("L-1")["verdict"], "charged")
        sandbox.forget_answers()
        self.once(shop)
        self.assert_truth(shop, sandbox)


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
    def peak(self, shop, sandbox):
        """The most memory that the daemon ever had, in MB, once it has met the answer twice."""
        daemon = shop.start()
        sandbox.forget_requests()
        wait_until(lambda: len(sandbox.requests("/transQuery")) > 2, 30)
        with open(f"/proc/{daemon.pid}/status", encoding="utf-8") as status:
            [line] = [line for line in status if line.startswith("VmHWM")]
        self.assertEqual(shop.stop(daemon), 0)
        return int(line.split()[1]) / 1024

    def bounded(self, code, limit_mb, **canned):
        sandbox, shop = self.world()
        self.reconfigure(shop, sync={"backfill": "10min"})
        sandbox.answer(path="/transQuery", times=0, **canned)
        self.once(shop, code)
        self.assertEqual(shop.ledger("SELECT * FROM sync_coverage"), [])
        self.assert_honest(shop, sandbox)
        if not is_sanitized(): # a sanitizer needs several times as much
            self.assertLess(self.peak(shop, sandbox), limit_mb)

    def test_200_mb(self):
        self.bounded(76, 60, body={"repeat": "x" * 1024, "count": 200 * 1024})

    def test_16_mb_of_tiny_values(self):
        """Each costs a parser many times its size."""
        for body in ("1,", "{},", '{"":[]},'):
            with self.subTest(body):
                head = '{"transactions":['
                self.bounded(76, 250, body=head + body * ((16 * 2**20 - 100) // len(body)) + "1]}")


if __name__ == "__main__":
    unittest.main()
