"""reconctl as a person and an app use it: every verb through the real program against a real ledger.
What it prints, in which form, with which exit status; and that what explain and doctor say is true."""
import csv
import io
import json
import os
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import unittest

import harness
from harness import (Case, after, ago, iso, now, parse_time, program, record, sale_for, wait_until)

QUICK = {"sync": {"backfill": "3h", "interval": "500ms", "fast_interval": "200ms", "edge_lag": "0s",
                  "overlap": "3h", "deep_overlap": "3h"},
         "match": {"before": "10s", "after": "1s", "absence_grace": "1s"},
         "pay": {"rate_per_minute": 100000, "retries": 0}}
# Every verb, with arguments that are enough for it.
VERBS = {"enqueue": ["A", "--amount", "1.00"], "claim": ["T", "A"], "session add": ["S"],
         "session seen": ["S"], "session end": ["S", "paid"], "verdict": ["A"], "wait": ["A"],
         "orders": [], "report": ["summary"], "permit": ["A"],
         "resolve": ["A", "charged", "--note", "n"], "explain": ["A"], "status": [], "sync": [],
         "doctor": [], "backup": ["copy.db"]}
READS = {"verdict": ["A"], "orders": [], "report": ["summary"], "explain": ["A"], "status": [],
         "backup": ["copy.db"]}
NOBODY = "nobody"


def words(verb):
    return verb.split() + VERBS[verb]


def reconctl(*arguments, **more):
    """Without a shop: no configuration is named."""
    done = subprocess.run([program("reconctl"), *arguments], text=True, timeout=60, check=False,
                          input="a-key\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=harness.environment(), **more)
    harness.check_stderr("reconctl", done.stderr)
    return done


class Usage(Case):
    """What can be said without a ledger."""

    def test_help_names_every_verb(self):
        done = reconctl("--help")
        self.assertEqual(done.returncode, 0)
        shown = re.search(r"(?s)verbs \(.*?:\n(.*?)\n\n", done.stdout)[1]
        self.assertEqual({re.match(r"  (\S+(?: \S+)?) ", line)[1] for line in shown.splitlines()},
                         set(VERBS), "this test has to know every verb")
        self.assertNotIn("completion", done.stdout)

    def test_help_of_each_verb(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                done = reconctl(*verb.split(), "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertTrue(done.stdout.startswith(f"usage: reconctl {verb}"), done.stdout)
                self.assertIn("\nexamples:\n  ", done.stdout)

    def test_examples_in_the_help_can_be_parsed(self):
        """Each is run against no configuration: usage (2) would be the example's fault."""
        for verb in VERBS:
            text = reconctl(*verb.split(), "--help").stdout.split("\nexamples:\n")[1]
            for line in text.replace("\\\n", "").splitlines():
                found = re.search(r"reconctl (.*?)( && .*)?$", line)
                arguments = subprocess.run(["sh", "-c", f"printf '%s\\n' {found[1]}"], text=True,
                                           stdout=subprocess.PIPE, check=True).stdout.splitlines()
                with self.subTest(line=line):
                    done = reconctl("--config", "/nonexistent", *arguments)
                    self.assertNotEqual(done.returncode, 2, done.stderr)

    def test_what_is_missing_or_wrong_is_usage(self):
        lines = [verb.split()[:1] + ["--no-such-option"] for verb in VERBS] + [
            [], ["nonsense"], ["session"], ["session", "steal"], ["enqueue", "A"], ["claim", "T"],
            ["verdict"], ["verdict", "A", "B"], ["session", "end", "S"], ["resolve", "A", "charged"],
            ["orders", "--format", "xml"], ["orders", "--revised=yes"], ["orders", "--limit"],
            ["orders", "--limit", "1", "--limit", "2"], ["--completion", "fish"]]
        for line in lines:
            with self.subTest(line=line):
                done = reconctl(*line)
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertTrue(done.stderr.startswith("reconctl: "), done.stderr)

    def test_values_that_are_wrong_are_usage(self):
        with harness.Shop() as shop:
            for line in (["orders", "--verdict", "maybe"], ["orders", "--limit", "-1"],
                         ["wait", "A", "--timeout", "soon"], ["report", "nonsense"],
                         ["report", "verdicts", "--from", "yesterday"],
                         ["resolve", "A", "perhaps", "--note", "n"],
                         ["resolve", "A", "not_charged", "--transaction", "T", "--note", "n"],
                         ["enqueue", "A", "--amount", "1,00"],
                         ["enqueue", "A", "--amount", "1.00", "--status", "404"],
                         ["session", "end", "S", "eaten"], ["explain", "A", "--format", "csv"]):
                with self.subTest(line=line):
                    done = shop.ctl(*line)
                    self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)

    def test_claims_that_wait_are_not_contradicted(self):
        with harness.Shop() as shop:
            for transaction, order, code in (("T", "A", 0), ("T", "A", 0), ("T", "B", 1),
                                             ("U", "B", 0), ("V", "\n", 2), ("T", "A", 0)):
                with self.subTest(transaction=transaction, order=order):
                    done = shop.ctl("claim", transaction, order)
                    self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
                    if code == 1:
                        self.assertIn("T waits in the queue as a sale of order A", done.stderr)
                        self.assertNotIn("constraint", done.stderr)
            self.assertEqual([tuple(row.values()) for row in
                              shop.queue("SELECT * FROM claims ORDER BY transaction_id")],
                             [("T", "A"), ("U", "B")])

    def test_no_configuration_is_78(self):
        for verb in VERBS.keys() - {"doctor"}:
            with self.subTest(verb=verb):
                done = reconctl("--config", "/nonexistent/x.conf", *words(verb))
                self.assertEqual((done.returncode, done.stdout), (78, ""), done.stderr)
                self.assertIn("/nonexistent/x.conf", done.stderr)

    def test_no_ledger_is_74(self):
        with harness.Shop() as shop:
            shop.config(ledger={"path": "/nonexistent/ledger.db"})
            for verb in READS:
                with self.subTest(verb=verb):
                    done = shop.ctl(*words(verb))
                    self.assertEqual((done.returncode, done.stdout), (74, ""), done.stderr)
                    self.assertIn("/nonexistent/ledger.db", done.stderr)

    def test_no_queue_is_74(self):
        with harness.Shop() as shop:
            shop.config(queue={"path": "/proc/nonexistent/queue.db"})
            for verb in ("enqueue", "claim", "session seen", "session end", "resolve"):
                with self.subTest(verb=verb):
                    done = shop.ctl(*words(verb))
                    self.assertEqual((done.returncode, done.stdout), (74, ""), done.stderr)

    def test_what_is_no_ledger_is_74(self):
        with harness.Shop() as shop:
            with open(shop.ledger_path, "wb") as out:
                out.write(b"not a database" * 1000)
            for verb in READS:
                with self.subTest(verb=verb):
                    self.assertEqual(shop.ctl(*words(verb)).returncode, 74)

    def test_a_full_disk_is_74(self):
        """A report that is cut off must not look like a whole one."""
        with harness.Shop() as shop, open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([program("reconctl"), "--config", shop.config_path, "report"],
                                  stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                                  env=harness.environment())
            self.assertEqual(done.returncode, 74, done.stderr)


class Completion(Case):
    @classmethod
    def setUpClass(cls):
        cls.script = reconctl("--completion", "bash").stdout

    def complete(self, *typed):
        """What bash would offer behind these words; the last is the one being typed."""
        driver = (self.script + '\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _reconctl\n'
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", driver, "bash", "reconctl", *typed], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split())

    def test_every_verb(self):
        self.assertEqual(self.complete(""), {verb.split()[0] for verb in VERBS})
        self.assertEqual(self.complete("session", ""), {"add", "seen", "end"})

    def test_options_are_those_that_the_help_shows(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                shown = set(re.findall(r"^  (--[a-z-]+)", reconctl(*verb.split(), "--help").stdout,
                                       re.M))
                self.assertEqual(self.complete(*verb.split(), "--"), shown | {"--help"})

    def test_values(self):
        self.assertEqual(self.complete("orders", "--verdict", "n"), {"not_charged", "needs_review"})
        self.assertEqual(self.complete("orders", "--verdict", "=", "p"), {"pending"})
        self.assertEqual(self.complete("--format", ""), {"table", "csv", "json"})
        self.assertEqual(self.complete("resolve", "A", ""), {"charged", "not_charged"})
        self.assertEqual(self.complete("--format", "json", "session", "end", "S", ""),
                         {"paid", "cancelled", "abandoned"})
        self.assertEqual(self.complete("enqueue", "A", "--amount", ""), set())
        with harness.Shop() as shop:
            self.assertEqual(self.complete("report", ""),
                             set(shop.ctl("report").stdout.split()))

    def test_a_flag_takes_no_value(self):
        self.assertIn("--format", self.complete("orders", "--revised", "--f"))

    def test_files_with_spaces(self):
        with harness.Shop() as shop:
            path = os.path.join(shop.directory, "a b.conf")
            open(path, "w", encoding="utf-8").close()
            self.assertEqual(self.complete("--config", os.path.join(shop.directory, "a ")),
                             set(path.split()))


class Ledger(Case):
    """One ledger with an order of every verdict, read by everything that reads."""

    @classmethod
    def setUpClass(cls):
        cls.sandbox = harness.Sandbox()
        cls.addClassCleanup(cls.sandbox.stop)
        cls.shop = shop = harness.Shop(cls.sandbox, **QUICK)
        cls.addClassCleanup(shop.close)
        shop.prepare()
        at, long_ago = ago(hours=1), ago(hours=2)
        cls.at = at
        sale = sale_for("reversed", at, amount="3.00")
        cls.charged = sale_for("charged", at, amount="1.00")
        cls.sandbox.add(
            cls.charged, sale_for("double", at, amount="2.00"),
            sale_for("double", at, amount="2.00"), sale, record(long_ago, amount="5.00"),
            record(after(at, milliseconds=500), amount="3.00", transactionType="CreditCardVoid",
                   originalTransactionId=sale["transactionId"]))
        for order, amount in (("charged", "1.00"), ("double", "2.00"), ("reversed", "3.00"),
                              ("absent", "4.00")):
            shop.enqueue(order, amount, at)
        shop.enqueue("doubtful", "5.00", long_ago)
        assert shop.once().returncode == 0
        # Late: the verdict is taken back. Three of them: the daemon learns to wait longer.
        cls.sandbox.add(sale_for("absent", at, amount="4.00"), record(at), record(at))
        assert shop.once().returncode == 0
        shop.enqueue("open", "6.00", after(now(), minutes=5))
        assert shop.once().returncode == 0

    def rows(self, *arguments):
        done = self.shop.ctl(*arguments, "--format", "json")
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return json.loads(done.stdout)

    def check_formats(self, *arguments, code=0):
        """JSON, CSV and the table tell the same; returns the rows."""
        rows = self.rows(*arguments)
        done = self.shop.ctl(*arguments, "--format", "csv")
        self.assertEqual(done.returncode, code, done.stderr)
        read = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
        self.assertEqual(read, [{name: "" if value is None else str(value)
                                 for name, value in row.items()} for row in rows])
        done = self.shop.ctl(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        for row in rows[:5]:
            for name, value in row.items():
                self.assertIn(name, done.stdout)
                self.assertIn("-" if value is None else str(value), done.stdout)
        return rows

    def test_every_report_in_every_format(self):
        done = self.shop.ctl("report")
        names = done.stdout.split()
        self.assertEqual(done.returncode, 0)
        for name in ("transactions", "order_status", "verdicts", "review_queue", "double_charges",
                     "unclaimed_sales", "daily_totals", "session_revocations", "quarantine",
                     "sync_runs", "sync_coverage", "revisions", "summary"):
            self.assertIn(name, names)
        for name in names:
            with self.subTest(name=name):
                rows = self.check_formats("report", name)
                if rows and name != "summary":
                    columns = self.shop.ledger(f"SELECT * FROM {name} LIMIT 1")[0].keys()
                    self.assertLessEqual(rows[0].keys(), columns)

    def test_orders(self):
        rows = self.check_formats("orders")
        self.assertEqual({row["order_id"]: row["verdict"] for row in rows},
                         {"charged": "charged", "double": "double_charged", "reversed": "reversed",
                          "absent": "charged", "doubtful": "needs_review", "open": "pending"})
        self.assertEqual(rows[0]["order_id"], "open", "newest attempt first")
        self.assertEqual([row["order_id"] for row in
                          self.check_formats("orders", "--verdict", "needs_review")], ["doubtful"])
        self.assertEqual(len(self.rows("orders", "--limit", "2")), 2)
        self.assertEqual(self.rows("orders", "--verdict", "not_charged"), [])

    def test_orders_revised(self):
        rows = self.check_formats("orders", "--revised")
        self.assertEqual([(row["order_id"], row["previous_verdict"], row["verdict"], row["critical"])
                          for row in rows], [("absent", "not_charged", "charged", 1)])
        self.assertEqual(self.rows("orders", "--revised", "--verdict", "charged"), rows)
        self.assertEqual(self.rows("orders", "--revised", "--verdict", "reversed"), [])
        self.assertEqual(self.rows("orders", "--revised", "--limit", "0"), [])

    def test_verdict(self):
        row, = self.check_formats("verdict", "charged")
        self.assertEqual(row, self.shop.verdict("charged"))
        done = self.shop.ctl("verdict", "open")
        self.assertEqual(done.returncode, 1)
        done = self.shop.ctl("verdict", "unheard-of", "--format", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)), (1, []))
        self.assertIn("not known", done.stderr)

    def test_wait_for_what_is_decided(self):
        self.assertEqual(self.rows("wait", "absent")[0]["transaction_id"],
                         self.shop.verdict("absent")["transaction_id"])
        for order, code in (("open", 1), ("unheard-of", 1), ("charged", 0)):
            done = self.shop.ctl("wait", order, "--timeout", "100ms")
            self.assertEqual(done.returncode, code, done.stderr)

    def test_options_before_the_verb_and_files_by_name(self):
        done = reconctl("--format=json", "--ledger", self.shop.ledger_path, "verdict",
                        "--queue=/nonexistent", "--", "charged")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)[0]["order_id"], "charged")

    def test_status_counts(self):
        row, = self.check_formats("status", code=1)
        self.assertEqual((row["daemon"], row["healthy"]), ("stopped", 0))
        for verdict, n in (("open_orders", 1), ("charged", 2), ("double_charged", 1),
                           ("reversed", 1), ("not_charged", 0), ("needs_review", 1),
                           ("revisions", 1), ("critical_revisions", 1), ("queue_orders", 0)):
            self.assertEqual(row[verdict], n, verdict)
        self.assertEqual(row["absence_grace_seconds"],
                         int(self.shop.ledger("SELECT value FROM meta WHERE name ="
                                              " 'absence_grace_ms'")[0]["value"]) // 1000)
        # Records came an hour late: absence is believed later than it was configured.
        self.assertGreaterEqual(row["late_max_seconds"], 3600)
        late = sorted(found["late_ms"] // 1000 for found in self.shop.ledger(
            "SELECT late_ms FROM transactions WHERE late_ms IS NOT NULL"))
        self.assertEqual((row["late_median_seconds"], row["late_p99_seconds"],
                          row["late_max_seconds"]),
                         (late[(len(late) - 1) // 2], late[len(late) - len(late) // 100 - 1],
                          late[-1]))

    def test_without_a_daemon_sync_says_no(self):
        done = self.shop.ctl("sync")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no daemon", done.stderr)

    def test_permit_only_where_it_is_safe(self):
        for order in ("charged", "double", "doubtful", "open", "absent"):
            self.assertEqual(self.shop.ctl("permit", order).returncode, 1, order)
        self.assertEqual(self.shop.ctl("permit", "reversed").returncode, 0)
        self.assertEqual(self.shop.ctl("permit", "reversed").returncode, 1)

    # explain: each statement is checked against the ledger, not against its own words.

    def explain(self, order):
        done = self.shop.ctl("explain", order, "--format", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        sections = {}
        for row in json.loads(done.stdout):
            sections.setdefault(row.pop("section"), []).append(row)
        self.assertEqual(sections["order"], [self.shop.verdict(order)])
        text = self.shop.ctl("explain", order).stdout
        for title in ("order", "window", "attempts", "verdicts", "sales", "coverage", "next"):
            self.assertRegex(text, rf"(?m)^{title}:$")
        return sections

    def test_explain_charged(self):
        told = self.explain("charged")
        sale, = [row for row in told["sales"] if row["taken"] == "yes"]
        self.assertEqual((sale["transaction_id"], sale["order_ref"], sale["belongs_to"]),
                         (self.charged["transactionId"], "charged", None))
        self.assertIn("look-back", told["next"][0]["what"])

    def test_explain_double_charged(self):
        sales = [row["transaction_id"] for row in self.explain("double")["sales"]
                 if row["taken"] == "yes"]
        self.assertEqual(", ".join(sales), self.shop.ledger(
            "SELECT transaction_ids FROM double_charges")[0]["transaction_ids"])
        self.assertEqual(len(sales), 2)

    def test_explain_reversed(self):
        sale, = [row for row in self.explain("reversed")["sales"] if row["taken"] == "yes"]
        undoing, = self.shop.ledger("SELECT * FROM transactions WHERE original_transaction_id = ?",
                                    (sale["transaction_id"],))
        self.assertEqual(sale["undone_by"], f"{undoing['transaction_id']} (CreditCardVoid)")

    def test_explain_review(self):
        told = self.explain("doubtful")
        sale, = [row for row in told["sales"] if row["amount"] == "5.00"]
        self.assertEqual(sale["taken"], "no")
        self.assertIn("amount and time alone", sale["why"])
        self.assertIn("a person has to decide", told["next"][0]["what"])

    def test_explain_pending(self):
        told = self.explain("open")
        window, = told["window"]
        at = parse_time(told["attempts"][0]["attempted_at"])
        self.assertEqual(parse_time(window["sale_from"]), after(at, seconds=-10))
        self.assertEqual(parse_time(window["sale_to"]), after(at, seconds=1))
        self.assertEqual(told.get("coverage", []), [], "nothing was read of the future")
        self.assertEqual(told["next"][0]["what"], "read this, late enough to prove an absence")
        grace = int(self.shop.ledger("SELECT value FROM meta WHERE name = 'absence_grace_ms'")[0]
                    ["value"])
        self.assertGreaterEqual(parse_time(told["next"][0]["earliest"]),
                                after(at, milliseconds=grace),
                                "the grace that the daemon learned counts, not the configured one")
        self.assertGreater(grace, 1000)

    def test_explain_revised_names_the_passes_it_had_rested_on(self):
        told = self.explain("absent")
        self.assertEqual([row["verdict"] for row in told["verdicts"]], ["not_charged", "charged"])
        self.assertEqual([row["order_ref"] for row in told["sales"] if row["taken"] == "yes"],
                         ["absent"])

    def test_explain_absence_names_its_passes(self):
        with harness.Shop(self.sandbox, **QUICK) as shop:
            shop.enqueue("gone", "999.00", self.at)
            self.assertEqual(shop.once().returncode, 0)
            told = json.loads(shop.ctl("explain", "gone", "--format", "json").stdout)
            window, = [row for row in told if row["section"] == "window"]
            passes = [row for row in told if row["section"] == "passes"]
            self.assertEqual({row["run_id"] for row in passes}, {row["run_id"] for row in shop.ledger(
                "SELECT run_id FROM verdict_runs")})
            self.assertTrue(passes)
            since = window["absence_is_proven_by_passes_since"]
            covered = sorted((row["window_from"], row["window_to"]) for row in passes)
            self.assertLessEqual(covered[0][0], window["sale_from"])
            self.assertGreaterEqual(max(to for _, to in covered), window["sale_to"])
            self.assertTrue(all(row["began_at"] >= since and row["proof"] == 1 for row in passes))
            self.assertFalse([row for row in told if row["section"] == "gaps"])

    def test_explain_unknown(self):
        done = self.shop.ctl("explain", "unheard-of", "--format", "json")
        self.assertEqual((done.returncode, json.loads(done.stdout)), (1, []))


class ManySales(Case):
    def test_explain_shows_the_likeliest_or_all(self):
        sandbox = self.start_sandbox()
        shop = self.open_shop(sandbox, **QUICK)
        at = ago(hours=2)
        shop.enqueue("A", attempted_at=at)
        sandbox.add(*(record(at=after(at, seconds=i)) for i in range(150)))
        shop.once()
        few = shop.ctl("explain", "A", "--format", "json")
        self.assertIn("only the likeliest 100 sales are shown; --all shows the rest", few.stderr)
        every = shop.ctl("explain", "A", "--all", "--format", "json")
        self.assertNotIn("likeliest", every.stderr)
        for done, n in ((few, 100), (every, 150)):
            self.assertEqual(done.returncode, 0)
            self.assertEqual(sum(row["section"] == "sales" for row in json.loads(done.stdout)), n)


class Daemon(Case):
    """The verbs that speak to a daemon."""

    def setUp(self):
        self.sandbox = self.start_sandbox()
        self.shop = self.open_shop(self.sandbox, **QUICK)

    def start(self):
        daemon = self.shop.start()
        wait_until(lambda: self.shop.ctl("status").returncode == 0, what="a healthy daemon")
        return daemon

    def test_enqueue_and_wait(self):
        self.start()
        self.sandbox.add(sale_for("A", now(), amount="49.00"))
        done = self.shop.ctl("enqueue", "A", "--amount", "49.00", "--last-four", "4242", "--brand",
                             "visa", "--bin", "424242", "--email", "jane@example.com", "--session",
                             "S", "--status", "502", "--currency", "USD", "--wait", "20s",
                             "--format", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)[0]["verdict"], "charged")
        attempt, = self.shop.ledger("SELECT * FROM attempts")
        self.assertEqual((attempt["http_status"], attempt["card_last_four"], attempt["session_id"]),
                         (502, "4242", "S"))
        self.assertNotIn("jane", str(attempt))

    def test_wait_in_another_process_ends_with_the_verdict(self):
        self.start()
        self.shop.enqueue("A", "49.00", now())
        done = self.shop.ctl("wait", "A", "--timeout", "20s", "--format", "csv")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("not_charged", done.stdout)
        self.assertEqual(self.shop.ctl("permit", "A").returncode, 0)

    def test_claim_resolve_and_sessions_arrive(self):
        self.start()
        self.shop.enqueue("A", "49.00", now())
        self.assertEqual(self.shop.ctl("claim", "T-1", "A").returncode, 0)
        self.assertEqual(self.shop.ctl("claim", "T-1", "A").returncode, 0, "again is no error")
        wait_until(lambda: (self.shop.verdict("A") or {}).get("rule") == "claim")
        done = self.shop.ctl("resolve", "A", "not_charged", "--note", "the bank says so")
        self.assertEqual(done.returncode, 0, done.stderr)
        wait_until(lambda: self.shop.verdict("A")["rule"] == "person")
        self.assertIn("the bank says so", self.shop.verdict("A")["reason"])
        self.assertTrue(self.shop.verdict("A")["decided_by"])
        done = self.shop.ctl("resolve", "unheard-of", "charged", "--note", "x")
        self.assertEqual(done.returncode, 1)
        self.sandbox.sessions("secret-1")
        self.assertEqual(self.shop.ctl("session", "add", "S", "--order", "A", input="secret-1\n")
                         .returncode, 0)
        self.assertEqual(self.shop.ctl("session", "seen", "S").returncode, 0)
        self.assertEqual(self.shop.ctl("session", "end", "S", "paid").returncode, 0)
        wait_until(lambda: self.shop.ledger("SELECT 1 FROM session_revocations"
                                            " WHERE outcome = 'revoked'"))
        wait_until(lambda: not self.shop.queue("SELECT 1 FROM sessions"))
        for verb in (["seen", "S"], ["end", "S", "paid"]):
            self.assertEqual(self.shop.ctl("session", *verb).returncode, 1, "it is closed")

    def test_sync_makes_a_cycle(self):
        self.shop.config(**{**QUICK, "sync": {**QUICK["sync"], "interval": "1h"}})
        self.start()
        self.sandbox.forget_requests()
        self.assertEqual(self.shop.ctl("sync").returncode, 0)
        wait_until(lambda: self.sandbox.requests("/transQuery"))

    def test_status_is_a_health_check(self):
        """Not healthy: never run, fresh, in trouble, stopped, killed. Healthy: in step."""
        def status():
            done = self.shop.ctl("status", "--format", "json")
            row, = json.loads(done.stdout)
            self.assertEqual(done.returncode, 0 if row["healthy"] else 1)
            return row["healthy"], row["daemon"], row["cycle_outcome"]

        self.assertEqual(status(), (0, "never ran", None))
        daemon = self.start()
        self.assertEqual(status(), (1, "alive", "ok"))
        self.sandbox.answer(path="/transQuery", status=500, times=0)
        wait_until(lambda: status()[0] == 0, what="trouble")
        self.assertIn("500", status()[2])
        self.sandbox.forget_answers()
        wait_until(lambda: status()[0] == 1, seconds=20, what="recovery")
        self.shop.stop(daemon)
        self.assertEqual(status(), (0, "stopped", "ok"))
        # What an earlier daemon did says nothing of one that cannot even ask.
        self.sandbox.answer(path="/transQuery", times=0, delay_ms=30000)
        daemon = self.shop.start()
        wait_until(lambda: status()[1] == "alive")
        wait_until(lambda: self.sandbox.requests("/transQuery"))
        self.assertEqual(status(), (0, "alive", None))
        self.shop.stop(daemon, signal.SIGKILL)
        self.assertEqual(status()[:2], (0, "died"))

    def test_a_daemon_that_does_nothing_is_not_healthy(self):
        daemon = self.start()
        daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(daemon.send_signal, signal.SIGCONT)
        ledger = sqlite3.connect(self.shop.ledger_path, timeout=10)
        with ledger:
            ledger.execute("UPDATE daemon_state SET cycle_ended_at = ?", (iso(ago(hours=1)),))
        ledger.close()
        self.assertEqual(self.shop.ctl("status").returncode, 1)
        done = self.shop.ctl("doctor")
        self.assertIn("long ago", done.stdout)
        self.assertEqual(done.returncode, 1)

    def test_backup_exists_and_is_not_overwritten(self):
        path = os.path.join(self.shop.directory, "copy.db")
        self.start()
        done = self.shop.ctl("backup", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("ledger.db.key", done.stderr)
        before = os.stat(path)
        self.assertEqual(self.shop.ctl("backup", path).returncode, 1)
        self.assertEqual(os.stat(path).st_mtime_ns, before.st_mtime_ns)
        self.assertEqual(self.shop.ctl("backup", "/nonexistent/copy.db").returncode, 74)


@unittest.skipUnless(os.geteuid() == 0, "becoming another user takes root")
class AnotherUser(Case):
    """A reader who may read the ledger and nothing else; and one who may write the queue only."""

    def setUp(self):
        self.sandbox = self.start_sandbox()
        self.shop = self.open_shop(self.sandbox, **QUICK)
        self.nobody = pwd.getpwnam(NOBODY)
        os.chmod(self.shop.directory, 0o755)
        os.chmod(self.shop.queue_path, 0o600)
        # The programs may lie where others cannot look.
        shutil.copy(program("reconctl"), self.shop.directory)
        self.shop.enqueue("A", "49.00")
        self.assertEqual(self.shop.once().returncode, 0)
        for name in os.listdir(self.shop.directory):
            if name.startswith("ledger.db") and not name.endswith(".key"):
                os.chmod(os.path.join(self.shop.directory, name), 0o644)

    def ctl(self, *arguments, **more):
        done = subprocess.run([os.path.join(self.shop.directory, "reconctl"), "--config",
                               self.shop.config_path, *arguments], text=True, check=False,
                              cwd="/", env=harness.environment(), user=self.nobody.pw_uid,
                              group=self.nobody.pw_gid, extra_groups=[], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        harness.check_stderr("reconctl", done.stderr)
        return done

    def read_everything(self):
        for verb in ("verdict", "orders", "report", "explain", "status"):
            with self.subTest(verb=verb):
                done = self.ctl(*verb.split(), *READS[verb], "--format", "json")
                self.assertIn(done.returncode, (0, 1), done.stderr)
                self.assertTrue(json.loads(done.stdout), done.stderr)
        row, = json.loads(self.ctl("status", "--format", "json").stdout)
        self.assertIsNone(row["queue_orders"], "what cannot be seen is not 0")
        return row

    def test_reads_with_the_daemon_stopped_and_running(self):
        self.assertEqual(self.read_everything()["healthy"], 0)
        self.shop.start()
        wait_until(lambda: self.shop.ctl("status").returncode == 0)
        self.assertEqual(self.read_everything()["healthy"], 1)
        self.assertEqual(self.ctl("status").returncode, 0)

    def test_cannot_write(self):
        for verb in ("enqueue", "claim", "session seen", "session end", "resolve"):
            with self.subTest(verb=verb):
                done = self.ctl(*words(verb))
                self.assertEqual(done.returncode, 74, done.stderr)
        self.assertEqual(self.shop.queue("SELECT * FROM pending_orders"), [])

    def test_backs_up_where_it_may_write(self):
        with harness.Shop() as other:
            os.chown(other.directory, self.nobody.pw_uid, self.nobody.pw_gid)
            path = os.path.join(other.directory, "copy.db")
            self.assertEqual(self.ctl("backup", path).returncode, 0)
            self.assertEqual(os.stat(path).st_uid, self.nobody.pw_uid)
            os.chown(other.directory, 0, 0)

    def test_doctor_says_what_this_user_cannot(self):
        done = self.ctl("doctor")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"(?m)^FAIL queue: .*: add this user to the group")
        self.assertRegex(done.stdout, r"(?m)^ok   ledger .* opens")


class Doctor(Case):
    """Each thing that an administrator gets wrong, made wrong: doctor says so and what to do, and
    says nothing of the kind while it is right."""

    def setUp(self):
        self.sandbox = self.start_sandbox()
        self.shop = self.open_shop(self.sandbox, **QUICK)

    def doctor(self, *arguments, **more):
        """(exit status, text)"""
        done = self.shop.ctl("doctor", *arguments, **more)
        self.assertEqual(done.stderr, "")
        for line in done.stdout.splitlines():
            self.assertRegex(line, r"^(ok  |note|FAIL) \S")
        self.assertEqual(done.returncode, 1 if "\nFAIL" in "\n" + done.stdout else 0)
        return done.stdout

    def fails(self, pattern, *arguments, **more):
        text = self.doctor(*arguments, **more)
        self.assertRegex(text, rf"(?m)^FAIL .*{pattern}")
        return text

    def never_fails(self, pattern):
        self.assertNotRegex(self.doctor(), rf"(?m)^FAIL .*{pattern}")

    def test_all_is_well(self):
        self.shop.start()
        wait_until(lambda: self.shop.ctl("status").returncode == 0)
        text = self.doctor()
        self.assertNotIn("FAIL", text)
        for what in ("configuration", "ledger is sound", "queue .* may write", "permissions",
                     "MB are free", "log of the ledger", "log of the queue", "clock says",
                     "daemon is alive", "API is reached"):
            self.assertRegex(text, rf"(?m)^ok   .*{what}")
        rows = json.loads(self.shop.ctl("doctor", "--format", "json").stdout)
        self.assertEqual({row["result"] for row in rows} - {"note"}, {"ok"})
        self.assertEqual(rows[0].keys(), {"result", "check", "advice"})

    def test_no_daemon(self):
        self.fails("no daemon runs.*: systemctl start")

    def test_configuration(self):
        self.shop.config(sync={"intervall": "1s"})
        done = self.shop.ctl("doctor")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"^FAIL configuration: .*reconciled.conf:\d+: unknown key")
        self.shop.config(pay={"url": None})
        self.fails(r"\[pay\] url is required")

    def test_key_missing(self):
        self.shop.secrets = {}
        text = self.fails("key /etc/credstore/reconciled.*merchant_api_key is missing: put the key")
        self.assertRegex(text, r"(?m)^ok   configuration /")
        self.assertRegex(text, r"(?m)^note API was not asked")

    def test_key_with_a_stray_newline_or_empty(self):
        credentials = os.path.join(self.shop.directory, "credentials")
        os.mkdir(credentials)
        path = os.path.join(credentials, "merchant_api_key")
        self.shop.secrets = {"CREDENTIALS_DIRECTORY": credentials, "VAULT_API_KEY": "v"}
        for text, bad in ((f"{harness.API_KEY}\n", False), (f"\n{harness.API_KEY}\n", True),
                          ("sandbox-\nkey", True), ("", True), ("\n", True),
                          (f"{harness.API_KEY} ", True)):
            with self.subTest(text=text), open(path, "w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                if bad:
                    said = self.fails("merchant_api_key: .*one line")
                    self.assertNotIn("sandbox", said.replace(self.shop.directory, ""))
                else:
                    self.never_fails("key")

    @unittest.skipUnless(os.geteuid() == 0, "systemd's credentials are root's")
    def test_key_that_systemd_would_give(self):
        """In a mount namespace with a credential store of its own."""
        if subprocess.run(["unshare", "-m", "true"], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no mount namespaces here")
        script = ("mkdir -p /etc/credstore && mount -t tmpfs -o mode=0700 none /etc/credstore\n"
                  f"umask 077; name=/etc/credstore/reconciled.{os.path.basename(self.shop.directory)}\n"
                  "printf 'one\\ntwo\\n' >$name.merchant_api_key\n"
                  "printf 'fine\\n' >$name.vault_api_key; chmod 0644 $name.vault_api_key\n"
                  f"{program('reconctl')} --config {self.shop.config_path} doctor")
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], text=True, check=False,
                              env=harness.environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self.assertRegex(done.stdout, r"(?m)^FAIL key .*merchant_api_key: .*one line", done.stderr)
        self.assertRegex(done.stdout, r"(?m)^FAIL key .*vault_api_key can be read by others: chmod")

    def test_key_refused(self):
        self.shop.secrets["MERCHANT_API_KEY"] = "wrong"
        text = self.fails("API refuses the key.*: put the right key")
        self.assertNotIn("wrong", text)
        self.shop.start()
        wait_until(lambda: "API: " in self.doctor())
        self.fails("API: .*40[13].*: put the right key")

    def test_wrong_url(self):
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
        self.addCleanup(closed.close)
        for url, pattern in (
                (f"http://127.0.0.1:{closed.getsockname()[1]}", "nothing listens there"),
                (self.sandbox.url + "/nowhere", "404.*correct the path"),
                ("https://reconciled-test.invalid", "the host is not known")):
            with self.subTest(url=url):
                self.shop.config(pay={"url": url, "retries": 0, "timeout": "5s"})
                self.fails(pattern)

    def test_tls(self):
        """A service with a certificate that nobody signed."""
        pem = os.path.join(self.shop.directory, "tls.pem")
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
                               "1", "-subj", "/CN=localhost", "-addext",
                               "subjectAltName=DNS:localhost", "-keyout", pem, "-out", pem + ".crt"],
                              stderr=subprocess.PIPE, check=False)
        self.assertEqual(made.returncode, 0, made.stderr)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem + ".crt", pem)
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    with context.wrap_socket(listener.accept()[0], server_side=True):
                        pass
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        self.shop.config(pay={"url": f"https://localhost:{listener.getsockname()[1]}"})
        self.fails("certificate.*: is the url right, is the clock right")

    def test_api_in_trouble(self):
        self.sandbox.answer(path="/transQuery", status=503, times=0)
        self.fails("503.*: the API itself is in trouble")
        self.sandbox.forget_answers()
        self.assertRegex(self.doctor(), r"(?m)^ok   API is reached and accepts the key$")

    def test_clock_behind_the_ledger(self):
        self.assertEqual(self.shop.once().returncode, 0)
        self.never_fails("clock")
        ledger = sqlite3.connect(self.shop.ledger_path)
        with ledger:
            ledger.execute("INSERT INTO sync_runs (purpose, window_from, window_to, began_at,"
                           " ended_at, next_page, rows_read, rows_new, rows_bad, repeats, digest,"
                           " outcome) VALUES ('deep', ?1, ?1, ?1, ?1, 1, 0, 0, 0, 0, '', 'failed')",
                           (iso(after(now(), hours=1)),))
        ledger.close()
        self.fails("clock is behind the ledger.*: set the clock")

    def test_permissions(self):
        cases = ((self.shop.ledger_path, 0o666, "others can rewrite the ledger"),
                 (self.shop.ledger_path + ".key", 0o644, "it must be secret"),
                 (self.shop.queue_path, 0o666, "it holds session keys"),
                 (self.shop.directory, 0o777, "others can replace the ledger"))
        self.never_fails("mode")
        for path, mode, pattern in cases:
            with self.subTest(path=path):
                before = os.stat(path).st_mode & 0o7777
                os.chmod(path, mode)
                advice = re.search(r"chmod (\d+) it", self.fails(rf"{re.escape(path)} .*{pattern}"))
                os.chmod(path, int(advice[1], 8))  # what it says helps
                self.never_fails(re.escape(pattern))
                os.chmod(path, before)

    @unittest.skipUnless(os.geteuid() == 0, "giving files away takes root")
    def test_files_that_root_left_behind(self):
        nobody = pwd.getpwnam(NOBODY)
        for name in os.listdir(self.shop.directory):
            os.chown(os.path.join(self.shop.directory, name), nobody.pw_uid, nobody.pw_gid)
        os.chown(self.shop.directory, nobody.pw_uid, nobody.pw_gid)
        self.never_fails("another user")
        os.chown(self.shop.ledger_path, 0, 0)
        self.fails(f"ledger.db belongs to another user than its directory: chown it to {NOBODY}")

    @unittest.skipUnless(os.geteuid() == 0, "becoming another user takes root")
    def test_queue_for_the_apps_user(self):
        os.chmod(self.shop.directory, 0o755)
        os.chmod(self.shop.queue_path, 0o600)
        self.fails(f"user {NOBODY}: .*: adduser it to the group", "--user", NOBODY)
        nobody = pwd.getpwnam(NOBODY)
        apart = os.path.join(self.shop.directory, "queue")
        os.mkdir(apart, 0o770)
        self.shop.queue_path = os.path.join(apart, "queue.db")
        self.shop.config(**QUICK)
        self.shop.prepare()
        for path in (apart, *(os.path.join(apart, name) for name in os.listdir(apart))):
            os.chown(path, -1, nobody.pw_gid)
        self.assertRegex(self.doctor("--user", NOBODY),
                         rf"(?m)^ok   user {NOBODY} may write the queue, and not the ledger")
        os.chmod(self.shop.ledger_path, 0o666)
        self.fails(f"user {NOBODY}: it may write the ledger", "--user", NOBODY)
        self.fails("there is no user not-a-user", "--user", "not-a-user")

    def test_queue_missing_held_or_damaged(self):
        held = sqlite3.connect(self.shop.queue_path, isolation_level=None)
        held.execute("BEGIN IMMEDIATE")
        self.fails("queue: .*: an app holds its write lock")
        held.execute("ROLLBACK")
        held.close()
        self.never_fails("queue")
        os.rename(self.shop.queue_path, self.shop.queue_path + ".away")
        self.fails("queue .*No such file.*: start the daemon")
        self.assertFalse(os.path.exists(self.shop.queue_path), "doctor makes nothing")

    def test_integrity(self):
        self.sandbox.add(*[record(ago(minutes=n)) for n in range(100)])
        self.assertEqual(self.shop.once().returncode, 0)
        for name in ("-wal", "-shm"):
            if os.path.exists(self.shop.ledger_path + name):
                ledger = sqlite3.connect(self.shop.ledger_path)
                ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                ledger.close()
        with open(self.shop.ledger_path, "r+b") as ledger:
            ledger.seek(0, os.SEEK_END)
            for page in range(4, ledger.tell() // 4096, 3):
                ledger.seek(page * 4096)
                ledger.write(b"\xa5" * 512)
        self.fails("ledger: .*: (stop the daemon and )?put back a backup")

    def test_rows_that_name_what_is_not_there(self):
        ledger = sqlite3.connect(self.shop.ledger_path)
        with ledger:
            ledger.execute("INSERT INTO coverage VALUES (4711, ?1, ?1, ?1, 1, 1)", (iso(now()),))
        ledger.close()
        self.fails("a row of coverage names a row of sync_runs")

    def test_wal_growth(self):
        with open(self.shop.ledger_path + "-wal", "ab") as wal:
            wal.truncate(65 << 20)
        self.fails("ledger.db-wal has grown to 65 MB: a reader keeps a transaction open")

    def test_disk_and_metrics_directory(self):
        self.shop.config(**QUICK, metrics={"path": "/nonexistent/x.prom"})
        self.fails("metrics: /nonexistent: .*: make the directory")
        self.shop.config(ledger={"path": "/nonexistent/ledger.db"})
        self.fails("/nonexistent/ledger.db: .*: make the directory")

    @unittest.skipUnless(os.geteuid() == 0, "mounting takes root")
    def test_disk_that_is_nearly_full(self):
        script = (f"mount -t tmpfs -o size=8M none {self.shop.directory}/small\n"
                  f"cp {self.shop.ledger_path}* {self.shop.directory}/small/\n"
                  f"{program('reconctl')} --config {self.shop.config_path}"
                  f" --ledger {self.shop.directory}/small/ledger.db doctor")
        os.mkdir(os.path.join(self.shop.directory, "small"))
        if subprocess.run(["unshare", "-m", "true"], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no mount namespaces here")
        done = subprocess.run(["unshare", "-m", "sh", "-ec", script], text=True, check=False,
                              env=harness.environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self.assertRegex(done.stdout, r"(?m)^FAIL only \d MB are free in .*/small: make room",
                         done.stderr)


if __name__ == "__main__":
    unittest.main()
