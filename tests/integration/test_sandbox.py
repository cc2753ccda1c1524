"""The sandbox itself: the tests of the product are worth what it is worth."""
import csv
import datetime
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

from harness import (API_KEY, VAULT_KEY, Case, Sandbox, SanitizerReport, after, ago, check_stderr,
                     count_by, environment, iso, page_through, parse_time, program, query_time,
                     record, sale_for)

T = datetime.datetime(2026, 11, 22, 10, 0, 0, tzinfo=datetime.timezone.utc)
TYPES = {"CreditCardSale", "CreditCardReversal", "CreditCardReturn", "CreditCardVoid", "AchSale",
         "AchReversal", "AchReturn", "AchVoid", "CryptoSale", "CryptoReturn", "CryptoWithdrawal"}


def ms(milliseconds):
    return after(T, milliseconds=milliseconds)


class Listing(Case):
    def setUp(self):
        self.sandbox = self.start_sandbox()

    def list(self, **query):
        status, _, body = self.sandbox.get(**query)
        self.assertEqual(status, 200, body)
        return json.loads(body)

    def ids(self, **query):
        return [one["transactionId"] for one in self.list(**query)["transactions"]]

    def test_key_and_merchant_are_required(self):
        for key in (None, "wrong", API_KEY + "x", VAULT_KEY):
            status, _, body = self.sandbox.get(key=key)
            self.assertEqual(status, 401)
            self.assertIs(json.loads(body)["success"], False)
        self.assertEqual(self.sandbox.get(merchant=None)[0], 400)
        self.assertEqual(self.sandbox.get(merchant="m" * 31)[0], 400)
        self.assertEqual(self.sandbox.get(merchant="m" * 30)[0], 200)

    def test_bad_parameters_are_refused(self):
        for query in ({"dateFrom": "2026-11-22T10:00:00"}, {"dateTo": "2026-11-31 10:00:00"},
                      {"page": 0}, {"page": "1x"}, {"limit": 0}, {"limit": 101},
                      {"sortBy": "amount"}, {"sortOrder": "up"}):
            self.assertEqual(self.sandbox.get(**query)[0], 400, query)

    def test_both_ends_of_the_range_are_included(self):
        self.sandbox.add(*(record(ms(at), transactionId=str(at)) for at in (-1, 0, 500, 999, 1000)))
        self.assertEqual(self.ids(dateFrom=query_time(T), dateTo=query_time(T)), ["0"])
        self.assertEqual(self.ids(dateTo=query_time(T), sortOrder="asc"), ["-1", "0"])
        self.assertEqual(self.ids(dateFrom=query_time(T), sortOrder="asc"),
                         ["0", "500", "999", "1000"])

    def test_whole_second(self):
        self.sandbox.add(*(record(ms(at), transactionId=str(at)) for at in (0, 999, 1000)))
        self.sandbox.settings(whole_second=True)
        self.assertEqual(self.ids(dateFrom=query_time(T), dateTo=query_time(T), sortOrder="asc"),
                         ["0", "999"])

    def test_sorted_by_time_then_id(self):
        for name, at in (("c", 5), ("a", 5), ("b", 5), ("z", 4), ("y", 6)):
            self.sandbox.add(record(ms(at), transactionId=name))
        self.assertEqual(self.ids(sortOrder="asc"), list("zabcy"))
        self.assertEqual(self.ids(sortOrder="desc", sortBy="createdAt"), list("ycbaz"))

    def test_range_is_over_creation_not_transaction_time(self):
        self.sandbox.add(record(T, transDate=iso(ago(days=900)), transactionId="x"))
        self.assertEqual(self.ids(dateFrom=query_time(T), dateTo=query_time(T)), ["x"])

    def test_pages(self):
        self.sandbox.add(*(record(ms(at), transactionId=f"{at:03}") for at in range(105)))
        first = self.list(limit=100, sortOrder="asc")
        self.assertEqual(first["pagination"],
                         {"hasNextPage": True, "page": 1, "totalPages": 2, "total": 105})
        self.assertEqual(len(self.ids()), 50)
        self.assertEqual(self.ids(limit=100, page=2, sortOrder="asc"),
                         [f"{at:03}" for at in range(100, 105)])
        self.assertIs(self.list(limit=100, page=2)["pagination"]["hasNextPage"], False)
        # The last page may be full.
        self.assertIs(self.list(limit=35, page=3)["pagination"]["hasNextPage"], False)
        self.assertIs(self.list(limit=35, page=2)["pagination"]["hasNextPage"], True)
        beyond = self.list(limit=100, page=3)
        self.assertEqual(beyond["transactions"], [])
        self.assertIs(beyond["pagination"]["hasNextPage"], False)
        self.sandbox.settings(totals=False)
        self.assertEqual(self.list(limit=100)["pagination"], {"hasNextPage": True})

    def test_envelopes(self):
        self.sandbox.add(record(transactionId="x"))
        self.assertEqual(list(self.list()), ["transactions", "pagination"])
        self.sandbox.settings(envelope=2, success=True)
        answer = self.list()
        self.assertEqual(list(answer), ["success", "data", "pagination"])
        self.assertEqual(answer["data"][0]["transactionId"], "x")
        self.sandbox.settings(envelope=3, success=False)
        answer = self.list()
        self.assertEqual(list(answer), ["data"])
        self.assertEqual(list(answer["data"]), ["transactions", "pagination"])

    def test_filters(self):
        self.sandbox.add(record(transactionId="x"), record(transactionType="AchSale"))
        self.assertEqual(self.ids(transactionId="x"), ["x"])
        self.assertEqual(self.ids(transactionType="CreditCardSale"), ["x"])
        self.assertEqual(self.list(transactionId="x", fields="amount,currency,nothing")
                         ["transactions"], [{"amount": "49.00", "currency": "USD"}])

    def test_late_and_deleted_records(self):
        self.sandbox.settings(now=iso(T))
        self.sandbox.add(record(ago(days=9), transactionId="late"), visible_at=ms(60000))
        self.sandbox.add(record(ago(days=9), transactionId="gone"), hidden_after=ms(60000))
        self.assertEqual(self.ids(), ["gone"])
        self.assertEqual(self.list()["pagination"]["total"], 1)
        self.sandbox.settings(now=iso(ms(60001)))
        self.assertEqual(self.ids(), ["late"])

    def test_records_as_given(self):
        odd = [{"transactionId": 1}, "text", None, 7, [], {"transactionId": "\0\U0001F984"}]
        self.sandbox.add(*odd)
        self.sandbox.add_raw('{"transactionId":"\\ud800", nonsense', created_at=ms(0), id="raw")
        _, _, body = self.sandbox.get(dateFrom=query_time(T), dateTo=query_time(T))
        self.assertIn(b'[{"transactionId":"\\ud800", nonsense]', body)
        self.assertEqual(self.sandbox.remove("raw"), 1)
        found = self.list()["transactions"]
        self.assertEqual(len(found), len(odd))
        for one in odd:
            self.assertIn(one, found)
        self.assertEqual(len(self.sandbox.records()), len(odd))
        self.assertEqual(self.sandbox.remove(), len(odd))
        self.assertEqual(self.ids(), [])

    def test_created_at_of_the_wrapper_wins(self):
        self.sandbox.add(record(ago(days=9), transactionId="x"), created_at=T)
        self.assertEqual(self.ids(dateFrom=query_time(T), dateTo=query_time(T)), ["x"])

    def test_drift_between_pages(self):
        self.sandbox.add(*(record(ms(at), transactionId=str(at)) for at in range(4)))
        self.sandbox.settings(insert_between_pages={
            "after_page": 1, "delete": ["0"],
            "records": [record(ms(-5), transactionId="new"), record(ms(-6), transactionId="new2")]})
        self.assertEqual(self.ids(limit=2, sortOrder="asc"), ["0", "1"])
        self.assertEqual(self.ids(limit=2, page=2, sortOrder="asc"), ["1", "2"])
        self.assertEqual(self.ids(limit=2, sortOrder="asc"), ["new2", "new"])
        self.assertIsNone(self.sandbox.settings()["insert_between_pages"])
        self.assertEqual(self.list()["pagination"]["total"], 5)

    def test_rate_limit(self):
        self.sandbox.settings(rate_per_minute=3, now=iso(T))
        for _ in range(3):
            self.assertEqual(self.sandbox.get()[0], 200)
        status, headers, body = self.sandbox.get()
        self.assertEqual(status, 429)
        self.assertIn(int(headers["Retry-After"]), (59, 60))
        self.assertEqual(json.loads(body)["retryAfter"], int(headers["Retry-After"]))
        self.sandbox.settings(now=iso(ms(60500)))
        self.assertEqual(self.sandbox.get()[0], 200)

    def test_wrong_key_takes_nothing_from_the_rate(self):
        self.sandbox.settings(rate_per_minute=1)
        self.sandbox.get(key="wrong")
        self.assertEqual(self.sandbox.get()[0], 200)

    def test_burst_of_errors(self):
        self.sandbox.settings(burst_of_errors=True)
        statuses = [self.sandbox.get()[0] for _ in range(40)]
        self.assertEqual(statuses.count(200), 34)
        self.assertEqual(statuses[:20], statuses[20:])
        self.assertEqual({503, 429, 500, 200}, set(statuses))
        self.assertFalse([pair for pair in zip(statuses, statuses[1:])
                          if pair[0] != 200 and pair[1] != 200])

    def test_requests_are_logged(self):
        self.sandbox.get(dateFrom=query_time(T), page=2)
        self.sandbox.get(key="wrong")
        self.sandbox.answer(status=503)
        self.sandbox.get()
        log = self.sandbox.requests("/transQuery")
        self.assertEqual([one["status"] for one in log], [200, 401, 503])
        self.assertEqual([one["key_ok"] for one in log], [True, False, True])
        self.assertEqual(log[0]["query"]["dateFrom"], query_time(T))
        self.assertEqual(log[0]["query"]["page"], "2")
        self.assertEqual(log[0]["method"], "GET")
        self.assertLess(abs((parse_time(log[0]["at"]) - ago()).total_seconds()), 60)
        self.sandbox.forget_requests()
        self.assertEqual(self.sandbox.requests(), [])

    def test_odd_bytes_in_a_request_are_survived(self):
        self.assertEqual(self.sandbox.request("GET", "/transQuery?merchantId=%ff&x", key=API_KEY)[0],
                         200)
        self.assertEqual(self.sandbox.request("GET", "/%ff%00")[0], 404)
        self.assertEqual(len(self.sandbox.requests()), 2)


class Faults(Case):
    def setUp(self):
        self.sandbox = self.start_sandbox()

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.sandbox.port, timeout=10)
        self.addCleanup(connection.close)
        connection.request("GET", "/transQuery?merchantId=m", headers={"x-api-key": API_KEY})
        return connection

    def test_status_headers_body(self):
        self.sandbox.answer(status=429, headers={"Retry-After": "7"}, body={"a": "\u00e9"})
        status, headers, body = self.sandbox.get()
        self.assertEqual((status, headers["Retry-After"], json.loads(body)),
                         (429, "7", {"a": "\u00e9"}))
        self.assertEqual(self.sandbox.get()[0], 200)
        self.sandbox.answer(body="<html>")
        self.assertEqual(self.sandbox.get()[2], b"<html>")
        self.sandbox.answer(body={"hex": "c32800"})
        self.assertEqual(self.sandbox.get()[2], b"\xc3\x28\x00")

    def test_which_requests(self):
        self.sandbox.answer(page=2, status=500)
        self.sandbox.answer(query={"limit": "7"}, status=501)
        self.sandbox.answer(path="/sessions/revoke", status=502)
        self.sandbox.answer(nth=3, times=2, path="/transQuery", status=503)
        statuses = [self.sandbox.get(**query)[0] for query in
                    ({}, {"page": 2}, {"limit": 7}, {"page": 2}, {}, {}, {})]
        self.assertEqual(statuses, [200, 500, 501, 200, 503, 503, 200])
        self.assertEqual([one["path"] for one in self.sandbox.answers()], ["/sessions/revoke"])
        self.sandbox.forget_answers()
        self.assertEqual(self.sandbox.answers(), [])

    def test_times_zero_is_for_ever(self):
        self.sandbox.answer(status=500, times=0)
        self.assertEqual({self.sandbox.get()[0] for _ in range(5)}, {500})
        self.sandbox.forget_answers()
        self.assertEqual(self.sandbox.get()[0], 200)

    def test_mistakes_are_refused(self):
        for canned in ({"statsu": 500}, {"status": 99}, {"status": "500"}, {"nth": 0},
                       {"body": {"repeat": "", "count": 3}}, {"body": {"hex": "c"}}, "x",
                       {"headers": {"a": 1}}, {"delay_ms": -1}):
            self.assertEqual(self.sandbox.request("POST", "/_sandbox/answers", canned)[0], 400,
                             canned)
        self.assertEqual(self.sandbox.answers(), [])
        for settings in ({"envelope": 4}, {"nothing": 1}, {"totals": 1}, {"now": "soon"}, [],
                         {"api_key": "k", "rate_per_minute": -1}):
            self.assertEqual(self.sandbox.request("POST", "/_sandbox/settings", settings)[0], 400)
        self.assertEqual(self.sandbox.settings()["api_key"], API_KEY)
        self.assertEqual(self.sandbox.request("GET", "/_sandbox/nothing")[0], 404)

    def test_huge_body(self):
        self.sandbox.answer(body={"repeat": "abc", "count": 20_000_000})
        response = self.connect().getresponse()
        self.assertEqual(response.getheader("Content-Length"), "60000000")
        total, tail = 0, b""
        while piece := response.read(1 << 20):
            total, tail = total + len(piece), piece[-3:]
        self.assertEqual((total, tail), (60_000_000, b"abc"))
        with open(f"/proc/{self.sandbox.process.pid}/status", encoding="utf-8") as status:
            peak = int(status.read().split("VmHWM:")[1].split()[0])
        self.assertLess(peak, 300_000, "kB of memory; the body is not to be held in it")

    def test_delay_of_the_usual_answer(self):
        self.sandbox.add(record(transactionId="x"))
        self.sandbox.answer(delay_ms=300)
        started = time.monotonic()
        status, _, body = self.sandbox.get()
        self.assertGreaterEqual(time.monotonic() - started, 0.29)
        self.assertEqual(json.loads(body)["transactions"][0]["transactionId"], "x")

    def test_delay_holds_up_nobody_else(self):
        self.sandbox.answer(path="/transQuery", delay_ms=5000)
        self.connect()
        started = time.monotonic()
        self.assertEqual(self.sandbox.get()[0], 200)
        self.assertLess(time.monotonic() - started, 3)

    def test_drip(self):
        self.sandbox.answer(body="0123456789", drip_ms=30)
        started = time.monotonic()
        response = self.connect().getresponse()
        first = response.read(1)
        self.assertLess(time.monotonic() - started, 0.25)
        self.assertEqual(first + response.read(), b"0123456789")
        self.assertGreaterEqual(time.monotonic() - started, 0.26)

    def test_close(self):
        self.sandbox.answer(close=True)
        with self.assertRaises(http.client.RemoteDisconnected):
            self.connect().getresponse()
        self.assertEqual(self.sandbox.requests()[0]["status"], 0)

    def test_truncate(self):
        for length in (0, 4):
            self.sandbox.answer(body="0123456789", truncate=length)
            response = self.connect().getresponse()
            self.assertEqual(response.getheader("Content-Length"), "10")
            with self.assertRaises(http.client.IncompleteRead) as cut:
                response.read()
            self.assertEqual(cut.exception.partial, b"0123456789"[:length])

    def test_hang(self):
        self.sandbox.answer(hang=True, times=3)
        connections = [self.connect() for _ in range(3)]
        connections[0].sock.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            connections[0].sock.recv(1)
        connections[1].close()
        self.assertEqual(self.sandbox.get()[0], 200)
        self.sandbox.stop()
        self.assertEqual(connections[2].sock.recv(1), b"")


class Vault(Case):
    def setUp(self):
        self.sandbox = self.start_sandbox()

    def revoke(self, key, vault_key=VAULT_KEY):
        status, _, body = self.sandbox.request("POST", "/sessions/revoke", {"sessionKey": key},
                                               vault_key)
        return status, json.loads(body)["success"]

    def test_revocation(self):
        self.sandbox.sessions("a", b=2)
        self.assertEqual(self.revoke("a", None), (401, False))
        self.assertEqual(self.revoke("a", API_KEY), (401, False))
        self.assertEqual(self.sandbox.revocations(), [])
        self.assertEqual(self.revoke("a"), (200, True))
        self.assertEqual(self.revoke("a"), (404, False))
        self.assertEqual(self.revoke("unknown"), (404, False))
        self.assertEqual([self.revoke("b")[0] for _ in range(4)], [500, 500, 200, 404])
        self.assertEqual([one["session_key"] for one in self.sandbox.revocations()], ["a", "b"])
        self.assertEqual(self.sandbox.request("POST", "/sessions/revoke", {}, VAULT_KEY)[0], 400)

    def test_revocation_by_path(self):
        self.sandbox.sessions("a")
        self.assertEqual(self.sandbox.request("DELETE", "/sessions/a", key=VAULT_KEY)[0], 200)
        self.assertEqual(self.sandbox.request("DELETE", "/sessions/a", key=VAULT_KEY)[0], 404)


# The rules of section 6 of the contract (docs/ARCHITECTURE.md), once more, in few words and for
# the sandbox's own worlds only: what it declares to be the truth must follow from what it shows.

def minor(text):
    return int(text.replace(".", ""))


def eligible(order, attempts, sale, claims):
    if sale["transactionType"] != "CreditCardSale":
        return None
    claimed = claims.get(sale["transactionId"])
    if claimed:
        return "claim" if claimed == order["order_id"] else None
    status = {str(sale.get(name)).lower() for name in ("status", "transactionStatus")}
    if status & {"pending", "declined", "failed", "error"}:
        return None
    reference = sale.get("metadata", {}).get("orderId")
    if reference not in (None, order["order_id"]):
        return None
    extras = sum(minor(sale.get(name, "0")) for name in
                 ("surchargeAmount", "tipAmount", "salesTaxAmount"))
    amount = minor(sale["amount"])
    if sale["currency"] != order["currency"] or \
            minor(order["amount"]) not in (amount, amount - extras):
        return None
    at = parse_time(sale["transDate"])
    before, behind = (72 * 3600, 72 * 3600) if reference else (120, 900)
    if not (attempts[0] - datetime.timedelta(seconds=before) <= at <=
            attempts[-1] + datetime.timedelta(seconds=behind)):
        return None
    pairs = [(order[ours], sale.get(theirs)) for ours, theirs in
             (("card_last_four", "cardLastFour"), ("card_bin", "cardBin"),
              ("billing_email", "email"), ("card_brand", "cardBrand"))]
    compared = [(a.lower() == b.lower()) if a and b else None for a, b in pairs]
    if False in compared:
        return None
    if reference:
        return "reference"
    return "identity" if True in compared[:3] else "amount"


def expected_verdict(order, fits, rivals, records):
    """For worlds in which at most two orders meet; `rivals` are orders that share a sale."""
    if not fits:
        conflict = [one for one in records
                    if one.get("metadata", {}).get("orderId") == order["order_id"] and
                    (one.get("status"), one.get("transactionStatus")) == ("approved", None)]
        return "needs_review" if conflict else "not_charged"
    rules = set(fits.values())
    if rules == {"amount"}:
        return "needs_review"
    if rivals:
        return "charged" if len(fits) > len(rivals) else "needs_review"
    if len(fits) > 1:
        return "double_charged" if rules == {"reference"} else "needs_review"
    sale_id = next(iter(fits))
    back = [one for one in records if one.get("originalTransactionId") == sale_id and
            one.get("status") != "declined"]
    sale = next(one for one in records if one["transactionId"] == sale_id)
    returned = sum(minor(one["amount"]) for one in back)
    return "reversed" if returned >= minor(sale["amount"]) else "charged"


class World(Case):
    NOW = "2026-11-22T14:03:07.250Z"

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)

    def build(self, *arguments, seed=1):
        truth = os.path.join(self.directory.name, "truth.csv")
        queue = os.path.join(self.directory.name, "queue.sql")
        sandbox = self.start_sandbox("--now", self.NOW, "--seed", str(seed), "--truth", truth,
                                     "--queue-sql", queue, "--rate-per-minute", "0", *arguments)
        with open(truth, encoding="utf-8", newline="") as rows:
            sandbox.truth_rows = list(csv.DictReader(rows))
        sandbox.database = sqlite3.connect(":memory:")
        self.addCleanup(sandbox.database.close)
        sandbox.database.row_factory = sqlite3.Row
        sandbox.database.executescript("""
            CREATE TABLE pending_orders (order_id TEXT, amount TEXT NOT NULL,
                currency TEXT NOT NULL, attempted_at TEXT NOT NULL, http_status INTEGER NOT NULL,
                card_last_four TEXT, card_brand TEXT, card_bin TEXT, billing_email TEXT,
                session_id TEXT);
            CREATE TABLE claims (transaction_id TEXT PRIMARY KEY, order_id TEXT NOT NULL);
            CREATE TABLE sessions (session_id TEXT PRIMARY KEY, session_key TEXT NOT NULL,
                created_at TEXT NOT NULL, expires_in INTEGER NOT NULL, last_seen_at TEXT,
                ended TEXT CHECK (ended IN ('paid', 'cancelled', 'abandoned')), order_id TEXT);""")
        with open(queue, encoding="utf-8") as script:
            sandbox.database.executescript(script.read())
        return sandbox

    def test_a_busy_day(self):
        sandbox = self.build()
        records = page_through(sandbox, limit=100, sortOrder="asc")
        self.assertTrue(3500 <= len(records) <= 4500, len(records))
        self.assertEqual(len({one["transactionId"] for one in records}), len(records))
        self.assertEqual({one["transactionType"] for one in records}, TYPES)
        times = [parse_time(one["createdAt"]) for one in records]
        now = parse_time(self.NOW)
        self.assertEqual(times, sorted(times))
        self.assertGreaterEqual(now - times[-1], datetime.timedelta(minutes=19))
        self.assertLess(now - times[0], datetime.timedelta(hours=27))
        self.assertGreater(now - times[0], datetime.timedelta(hours=25))
        seconds = count_by(records, "createdAt")
        self.assertGreater(max(seconds.values()), 100, "records within one millisecond")
        by_second = {}
        for one in records:
            by_second[one["createdAt"][:19]] = by_second.get(one["createdAt"][:19], 0) + 1
        self.assertGreaterEqual(len([n for n in by_second.values() if n > 100]), 2)
        currencies = count_by(records, "currency")
        self.assertEqual(set(currencies), {"USD", "EUR", "JPY", "BHD"})
        self.assertGreater(currencies["USD"], len(records) * 0.85)
        names = {one["firstName"] for one in records}
        self.assertTrue(any("\u0301" in name for name in names))
        self.assertTrue(any(ord(name[0]) > 0xffff for name in names))
        statuses = {one.get("status") for one in records}
        self.assertTrue({"declined", "Pending", None} <= statuses)
        for name in ("surchargeAmount", "tipAmount", "salesTaxAmount"):
            self.assertTrue(any(name in one for one in records))
            self.assertFalse(any(minor(one.get(name, "1")) == 0 for one in records))
        known = {one["transactionId"] for one in records}
        for one in records:
            if one["transactionType"].endswith(("Void", "Reversal", "Return")):
                self.assertIn(one["originalTransactionId"], known)
        late = [one for one in sandbox.records() if one["visible_at"]]
        self.assertGreater(len(late), 5)

    def check_truth(self, seed):
        sandbox = self.build(seed=seed)
        records = page_through(sandbox, limit=100)
        claims = {row["transaction_id"]: row["order_id"]
                  for row in sandbox.database.execute("SELECT * FROM claims")}
        orders, attempts = {}, {}
        for row in sandbox.database.execute("SELECT * FROM pending_orders ORDER BY attempted_at"):
            orders.setdefault(row["order_id"], row)
            attempts.setdefault(row["order_id"], []).append(parse_time(row["attempted_at"]))
        fits = {}
        for order_id, order in orders.items():
            fits[order_id] = {}
            for one in records:
                rule = eligible(order, attempts[order_id], one, claims)
                if rule:
                    fits[order_id][one["transactionId"]] = rule
        self.assertEqual(len(sandbox.truth_rows), len(orders))
        self.assertEqual(len(orders), 57)
        for row in sandbox.truth_rows:
            order_id = row["order_id"]
            rivals = [other for other in fits
                      if other != order_id and set(fits[other]) & set(fits[order_id])]
            self.assertEqual(expected_verdict(orders[order_id], fits[order_id], rivals, records),
                             row["expected_verdict"], (seed, row, fits[order_id]))
            if row["expected_verdict"] in ("charged", "reversed", "double_charged"):
                self.assertIn(row["transaction_id"], fits[order_id])
            else:
                self.assertEqual(row["transaction_id"], "")
            self.assertLess(attempts[order_id][-1],
                            parse_time(self.NOW) - datetime.timedelta(hours=1))
        verdicts = count_by(sandbox.truth_rows, "expected_verdict")
        self.assertEqual(set(verdicts), {"charged", "not_charged", "double_charged", "reversed",
                                         "needs_review"})
        self.assertGreater(len(claims), 300)
        for transaction_id in claims:
            self.assertTrue(any(one["transactionId"] == transaction_id for one in records))
        told = sandbox.truth()["orders"]
        self.assertEqual([(one["order_id"], one["expected_verdict"], one["transaction_id"] or "")
                          for one in told],
                         [(row["order_id"], row["expected_verdict"], row["transaction_id"])
                          for row in sandbox.truth_rows])
        sandbox.stop()

    def test_truth_follows_from_the_records(self):
        for seed in (1, 2, 3):
            self.check_truth(seed)

    def test_sessions(self):
        sandbox = self.build()
        now = parse_time(self.NOW)
        rows = {row["session_id"]: row
                for row in sandbox.database.execute("SELECT * FROM sessions")}
        truth = sandbox.truth()["sessions"]
        self.assertEqual(len(truth), 12)
        self.assertEqual({one["expected_outcome"] for one in truth}, {None, "revoked", "gone"})
        for one in truth:
            row = rows[one["session_id"]]
            created = parse_time(row["created_at"] + "Z")
            seen = parse_time(row["last_seen_at"]) if row["last_seen_at"] else created
            due = bool(row["ended"]) or now - created > datetime.timedelta(seconds=1800) or \
                now - seen > datetime.timedelta(minutes=15)
            self.assertEqual(due, one["expected_outcome"] is not None, one)
            status = [sandbox.request("POST", "/sessions/revoke",
                                      {"sessionKey": row["session_key"]}, VAULT_KEY)[0]
                      for _ in range(2)]
            self.assertEqual(status, {"unknown to the Vault": [404, 404],
                                      "the Vault fails at first": [500, 200]}
                             .get(one["story"], [200, 404]), one)
        self.assertEqual({row["ended"] for row in rows.values()},
                         {None, "paid", "cancelled", "abandoned"})

    def test_same_seed_same_world(self):
        first, again, other = (self.build(seed=seed) for seed in (7, 7, 8))
        whole = [page_through(one, limit=100) for one in (first, again, other)]
        self.assertEqual(whole[0], whole[1])
        self.assertNotEqual(whole[0], whole[2])

    def test_history(self):
        sandbox = self.start_sandbox("--now", self.NOW, "--history", "3000", "--days", "10",
                                     "--rate-per-minute", "0")
        records = page_through(sandbox, limit=100, sortOrder="asc")
        self.assertEqual(len(records), 3000)
        days = count_by([{"day": one["createdAt"][:10]} for one in records], "day")
        self.assertEqual(len(days), 11)
        self.assertLess(max(days.values()), 330)
        self.assertEqual(sandbox.truth(), {"orders": [], "sessions": []})


class Program(Case):
    def run_it(self, *arguments):
        done = subprocess.run([program("ozura-sandbox"), *arguments], text=True, timeout=20,
                              env=environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        check_stderr("ozura-sandbox", done.stderr)
        return done

    def test_help(self):
        done = self.run_it("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("--burst-of-errors", "--queue-sql", "/_sandbox/", "curl"):
            self.assertIn(word, done.stdout)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 100)

    def test_wrong_arguments(self):
        for arguments in (["--port", "65536"], ["--port"], ["--now", "soon"], ["--nothing"],
                          ["more"], ["--empty", "--day"], ["--history", "0"]):
            done = self.run_it(*arguments)
            self.assertEqual((done.returncode, done.stdout), (64, ""), arguments)
            self.assertIn("--help", done.stderr)

    def test_what_cannot_be_written_or_read(self):
        for arguments in (["--truth", "/nowhere/t.csv"], ["--queue-sql", "/nowhere/q.sql"],
                          ["--empty", "--api-key-file", "/nowhere/key"]):
            done = self.run_it(*arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("/nowhere/", done.stderr)

    def test_port_in_use(self):
        sandbox = self.start_sandbox()
        done = self.run_it("--empty", "--port", str(sandbox.port))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("cannot listen", done.stderr)

    def test_keys_from_files_and_environment(self):
        with tempfile.NamedTemporaryFile("w") as key:
            key.write("from file\n")
            key.flush()
            sandbox = self.start_sandbox("--empty", "--api-key-file", key.name,
                                         env={"SANDBOX_API_KEY": "lost",
                                              "SANDBOX_VAULT_KEY": "from environment"})
        self.assertEqual(sandbox.get(key="from file")[0], 200)
        self.assertEqual(sandbox.get(key="lost")[0], 401)
        sandbox.sessions("a")
        self.assertEqual(sandbox.request("DELETE", "/sessions/a", key="from environment")[0], 200)

    def test_ends_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            sandbox = Sandbox()
            idle = socket.create_connection(("127.0.0.1", sandbox.port))
            sandbox.process.send_signal(number)
            self.assertEqual(sandbox.process.wait(5), 0)
            idle.close()
            sandbox.stop()

    def test_many_at_once(self):
        sandbox = self.start_sandbox()
        sandbox.add(*(record() for _ in range(200)), sale_for("ORD-1"))
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(sandbox.get(limit=100)[0]))
                   for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(statuses, [200] * 40)

    def test_a_sanitizer_report_is_noticed(self):
        for text in ("==1==ERROR: AddressSanitizer: heap-use-after-free",
                     "x.c:1:2: runtime error: signed integer overflow"):
            self.assertRaises(SanitizerReport, check_stderr, "it", text)
        check_stderr("it", "error: nothing of the kind")


if __name__ == "__main__":
    unittest.main()
