"""What the documents show works: the example programs against the real daemon, the commands and
the SQL of the README, and its table of verdicts."""
import os
import re
import shutil
import stat
import subprocess
import sys

import harness
from harness import Case, environment, program, record, sale_for, wait_until

EXAMPLES = os.path.join(harness.ROOT, "docs/examples")
README = os.path.join(harness.ROOT, "README.md")
# Absence is said after a second instead of a quarter of an hour.
QUICK = {"sync": {"interval": "1s", "fast_interval": "100ms", "edge_lag": 0, "backfill": "2h"},
         "match": {"after": "1s", "absence_grace": "1s"}}


class Examples(Case):
    """Each does the same in its language, so each passes the same test."""

    def setUp(self):
        self.sandbox = self.start_sandbox()
        self.shop = self.open_shop(self.sandbox, **QUICK)
        self.shop.start()

    def call(self, command, *arguments, input=""):
        done = subprocess.run(
            [*command, *arguments], input=input, text=True, timeout=30, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environment(
                RECONCILED_QUEUE=self.shop.queue_path, RECONCILED_LEDGER=self.shop.ledger_path,
                RECONCTL=program("reconctl"), RECONCILED_CONFIG=self.shop.config_path))
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        return done.stdout.strip()

    def walk(self, command, email=("jane@example.com",)):
        # A sale with 2xx, and the session it was paid with.
        self.sandbox.sessions("key-paid", "key-lost")
        self.call(command, "session", "S-1", "A-1", input="key-paid\n")
        self.assertEqual(self.shop.queue("SELECT session_key, order_id, ended FROM sessions"),
                         [{"session_key": "key-paid", "order_id": "A-1", "ended": None}])
        self.call(command, "paid", "A-1", "T-PAID", "S-1")
        wait_until(lambda: self.shop.ledger(
            "SELECT 1 FROM claims WHERE transaction_id = 'T-PAID' AND order_id = 'A-1'"))
        wait_until(lambda: self.shop.ledger(
            "SELECT 1 FROM session_revocations WHERE session_id = 'S-1' AND why = 'paid'"
            " AND outcome = 'revoked'"))

        # A timeout behind which there is a sale.
        sale = sale_for("A-2", harness.now())
        self.sandbox.add(sale)
        self.call(command, "session", "S-2", "A-2", input="key-lost\n")
        said = self.call(command, "unknown", "A-2", "49.00", "4242", *email, "S-2")
        self.assertEqual(said, f"A-2: charged: deliver; the sale is {sale['transactionId']}")
        wait_until(lambda: self.shop.ledger(
            "SELECT 1 FROM session_revocations WHERE session_id = 'S-2' AND why = 'abandoned'"))

        # One behind which there is none, a sale of another card in the same minute besides.
        self.sandbox.add(record(harness.now(), cardLastFour="1111", email="joe@example.com"))
        said = self.call(command, "unknown", "A-3", "49.00", "4242", *email, "S-3")
        self.assertEqual(said, "A-3: not_charged: charge it again, once")
        self.assertEqual(self.shop.ctl("permit", "A-3").returncode, 1)

        # A further attempt of that order: the verdict on the one before is not taken for its own.
        sale = sale_for("A-3", harness.now())
        self.sandbox.add(sale)
        said = self.call(command, "unknown", "A-3", "49.00", "4242", *email, "S-3")
        self.assertEqual(said, f"A-3: charged: deliver; the sale is {sale['transactionId']}")

        # A record that carries the order's id and another amount.
        self.sandbox.add(sale_for("A-4", harness.now(), amount="50.00"))
        said = self.call(command, "unknown", "A-4", "49.00", "4242", *email, "S-4")
        self.assertTrue(said.startswith("A-4: needs_review: a person decides: "), said)
        self.assertIn("50.00 USD", said)

        # Two sales for one order.
        for _ in range(2):
            self.sandbox.add(sale_for("A-5", harness.now()))
        wait_until(lambda: len(self.shop.ledger(
            "SELECT 1 FROM transactions WHERE order_ref = 'A-5'")) == 2)
        said = self.call(command, "unknown", "A-5", "49.00", "4242", *email, "S-5")
        self.assertTrue(said.startswith("A-5: double_charged: deliver, and refund"), said)

        self.assertEqual(self.shop.queue("SELECT * FROM pending_orders"), [])
        self.assertEqual([one["session_key"] for one in self.sandbox.revocations()],
                         ["key-paid", "key-lost"])

    def test_python(self):
        self.walk([sys.executable, os.path.join(EXAMPLES, "enqueue.py")])

    def test_node(self):
        self.walk(["node", os.path.join(EXAMPLES, "enqueue.js")], email=())

    def test_php(self):
        self.walk(["php", os.path.join(EXAMPLES, "enqueue.php")])

    def test_a_row_that_is_refused_is_an_error(self):
        for command, email in (([sys.executable, "enqueue.py"], ["jane@example.com"]),
                               (["node", "enqueue.js"], []), (["php", "enqueue.php"],
                                                              ["jane@example.com"])):
            with self.subTest(command[1]):
                done = subprocess.run(
                    [*command, "unknown", "A-9", "49.001", "4242", *email, "S-9"], cwd=EXAMPLES,
                    text=True, timeout=30, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    env=environment(
                        RECONCILED_QUEUE=self.shop.queue_path,
                        RECONCILED_LEDGER=self.shop.ledger_path, RECONCTL=program("reconctl"),
                        RECONCILED_CONFIG=self.shop.config_path, PYTHONDONTWRITEBYTECODE="1"))
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("amount_has_more_decimals_than_the_currency", done.stdout)

    def test_a_wrong_path_is_an_error_and_makes_no_file(self):
        missing = os.path.join(self.shop.directory, "elsewhere.db")
        for command in ([sys.executable, "enqueue.py"], ["php", "enqueue.php"]):
            with self.subTest(command[1]):
                done = subprocess.run(
                    [*command, "paid", "A-9", "T-9", "S-9"], cwd=EXAMPLES, text=True, timeout=30,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    env=environment(RECONCILED_QUEUE=missing))
                self.assertNotEqual(done.returncode, 0)
                self.assertFalse(os.path.exists(missing))


def readme():
    with open(README, encoding="utf-8") as file:
        return file.read()


class Readme(Case):
    """Fenced blocks that are tagged `sh demo` are run in turn, in one directory, as they stand.
    /var/lib/reconciled and /etc/reconciled are a directory of the test's own."""

    def open_installation(self):
        sandbox = self.start_sandbox()
        shop = harness.Shop(sandbox)
        self.addCleanup(shop.close)
        state = os.path.join(shop.directory, "state")
        os.mkdir(state)
        shop.ledger_path = os.path.join(state, "ledger.db")
        shop.queue_path = os.path.join(state, "queue/queue.db")
        shop.config(ledger={"path": shop.ledger_path}, queue={"path": shop.queue_path}, **QUICK)
        shop.prepare()
        for name in ("reconctl", "reconciled"):
            path = os.path.join(shop.directory, "bin", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as wrapper:
                wrapper.write(f'#!/bin/sh\nexec {program(name)} --config {shop.config_path} "$@"\n')
            os.chmod(path, stat.S_IRWXU)
        return shop

    def test_every_command_marked_as_runnable_works(self):
        blocks = re.findall(r"^```sh demo\n(.*?)^```$", readme(), re.M | re.S)
        self.assertGreaterEqual(len(blocks), 4)
        shop = self.open_installation()
        shop.sandbox.add(sale_for("A-1001", harness.now(), amount="49.00"))
        shop.start()
        wait_until(lambda: shop.ctl("status").returncode == 0)
        shop.sandbox.sessions("5f0c8d1e")
        env = environment(PATH=os.path.join(shop.directory, "bin") + ":" + os.environ["PATH"])
        cwd = os.path.join(shop.directory, "cwd")
        os.mkdir(cwd)
        for block in blocks:
            if "retry_offers" in block:  # offered a moment after the verdict was printed
                wait_until(lambda: shop.queue("SELECT 1 FROM retry_offers"))
            script = block.replace("/var/lib/reconciled", os.path.join(shop.directory, "state"))
            done = subprocess.run(["sh", "-eu", "-c", script], cwd=cwd, env=env, text=True,
                                  timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, f"{script}\n{done.stdout}")
            harness.check_stderr("README", done.stdout)
        verdicts = {row["order_id"]: row["verdict"]
                    for row in shop.ledger("SELECT order_id, verdict FROM order_status")}
        self.assertEqual(verdicts.get("A-1001"), "charged")
        self.assertEqual(verdicts.get("A-1002"), "not_charged")
        self.assertEqual(shop.queue("SELECT order_id, taken_by FROM permits"),
                         [{"order_id": "A-1002", "taken_by": "worker 1"}])
        wait_until(lambda: shop.ledger("SELECT 1 FROM claims WHERE order_id = 'A-1003'"))
        wait_until(lambda: shop.ledger(
            "SELECT 1 FROM session_revocations WHERE session_id = 'S-7' AND outcome = 'revoked'"))

    def test_the_table_of_verdicts_is_the_contract(self):
        rows = re.findall(r"^\| `(\w+)` \| .+ \| ([01]) \| .+ \|$", readme(), re.M)
        said = {verdict: int(safe) for verdict, safe in rows}
        self.assertEqual(len(rows), len(said))
        self.assertEqual(said, {"pending": 0, "charged": 0, "double_charged": 0, "reversed": 1,
                                "not_charged": 1, "needs_review": 0})
        # And the ledger holds to it.
        shop = self.open_shop()
        schema = shop.ledger("SELECT sql FROM sqlite_schema WHERE name = 'verdicts'")[0]["sql"]
        self.assertEqual(set(re.findall(r"'(\w+)'", schema.split("verdict IN (")[1].split(")")[0])),
                         set(said))
        safe = re.search(r"safe_to_retry = \(verdict IN \((.*?)\)\)", schema)[1]
        self.assertEqual(set(re.findall(r"'(\w+)'", safe)),
                         {verdict for verdict, value in said.items() if value})

    def test_every_file_and_verb_it_names_is_there(self):
        text = readme()
        for path in re.findall(r"\]\(([^)#:]+)\)", text):
            self.assertTrue(os.path.exists(os.path.join(harness.ROOT, path)), path)
        shop = self.open_shop()
        for verb in set(re.findall(r"^\s*(?:sudo (?:-u \w+ )?)?reconctl ([a-z]+)", text, re.M)):
            self.assertEqual(shop.ctl(verb, "--help").returncode, 0, verb)

    def test_the_manual_pages_are_clean(self):
        pages = [os.path.join(harness.ROOT, "docs", name)
                 for name in ("reconciled.8", "reconciled-ledger.5")]
        done = subprocess.run([shutil.which("mandoc"), "-T", "lint", "-W", "warning", *pages],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
