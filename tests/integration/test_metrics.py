"""The metrics file: its form, that what it says is the ledger's truth, that a reader never sees half
of it, and that the alerting rules speak of metrics that exist."""
import os
import re
import shutil
import stat
import subprocess
import unittest

import harness
from harness import Case, ago, after, now, record, sale_for, wait_until

QUICK = {"sync": {"backfill": "3h", "interval": "100ms", "fast_interval": "100ms", "edge_lag": "0s",
                  "overlap": "3h", "deep_overlap": "3h"},
         "match": {"absence_grace": "1s", "before": "10s", "after": "1s"},
         "pay": {"rate_per_minute": 100000, "retries": 0}}
DOCS = os.path.join(harness.ROOT, "docs")
PROMTOOL = shutil.which("promtool", path=os.pathsep.join(
    [os.environ.get("PATH", ""), os.path.join(harness.ROOT, "build/tools")]))
SAMPLE = re.compile(r'(reconciled_[a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+\}) (-?\d+(?:\.\d+)?)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """{(name, frozenset of labels but the merchant's): value}; every line has to be understood, and
    every sample has its HELP and TYPE before it."""
    samples, helped, typed = {}, set(), {}
    for line in text.splitlines():
        if found := re.fullmatch(r"# HELP (\S+) \S.*\.", line):
            assert found[1] not in helped, f"{line}: twice"
            helped.add(found[1])
        elif found := re.fullmatch(r"# TYPE (\S+) (gauge|counter)", line):
            typed[found[1]] = found[2]
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            assert found[1] in helped and found[1] in typed, line
            assert (typed[found[1]] == "counter") == found[1].endswith("_total"), line
            labels = dict(LABEL.findall(found[2]))
            assert labels.pop("merchant"), line
            key = found[1].removeprefix("reconciled_"), frozenset(labels.items())
            assert key not in samples, line
            samples[key] = float(found[3])
    assert text.endswith("\n") and helped == typed.keys() == {f"reconciled_{k[0]}" for k in samples}
    return samples


class Metrics(Case):
    def setUp(self):
        self.sandbox = self.start_sandbox()

    def open(self, path="m.prom", **sections):
        shop = harness.Shop(self.sandbox)
        self.addCleanup(shop.close)
        self.path = os.path.join(shop.directory, path)
        self.shop = shop
        self.sections = {**QUICK, "metrics": {"path": self.path}, **sections}
        shop.config(**self.sections)
        return shop.prepare()

    def read(self):
        with open(self.path, encoding="utf-8") as file:
            return parse(file.read())

    def value(self, name, **labels):
        return self.read()[name, frozenset(labels.items())]

    def test_off_unless_asked_for(self):
        shop = self.open()
        shop.config(**QUICK)
        self.assertEqual(shop.once().returncode, 0)
        self.assertFalse([name for name in os.listdir(shop.directory) if ".prom" in name])

    def test_it_tells_the_truth(self):
        shop = self.open()
        at = ago(hours=1)
        self.sandbox.add(sale_for("charged", at, amount="1.00"), sale_for("double", at, amount="2.00"),
                         sale_for("double", at, amount="2.00"), record(at, amount="5.00"))
        self.sandbox.add_raw('{"transactionId": "bad", "createdAt": "' + harness.iso(ago(minutes=5))
                             + '"}', created_at=ago(minutes=5))
        for order, amount in (("charged", "1.00"), ("double", "2.00"), ("absent", "4.00"),
                              ("doubtful", "5.00")):
            shop.enqueue(order, amount, at)
        self.sandbox.sessions("k")
        shop.session("S", "k", ended="paid")
        shop.session("T", "unknown", ended="paid")
        shop.session("U", "live")
        self.assertEqual(shop.once().returncode, 76, "a record is in quarantine")
        self.sandbox.add(sale_for("absent", at, amount="4.00"))
        shop.enqueue("open", "6.00", after(now(), minutes=5))
        self.assertEqual(shop.once().returncode, 76)
        said = self.read()
        for verdict, n in shop_verdicts(shop).items():
            self.assertEqual(said["orders", frozenset({("verdict", verdict)})], n, verdict)
        plain = {name: value for (name, labels), value in said.items() if not labels}
        self.assertEqual(plain["review_queue_orders"],
                         len(shop.ledger("SELECT 1 FROM review_queue")))
        self.assertEqual(plain["quarantined_records"], 1)
        self.assertEqual((plain["revisions_total"], plain["critical_revisions_total"]),
                         (len(shop.ledger("SELECT 1 FROM revisions")),
                          len(shop.ledger("SELECT 1 FROM revisions WHERE critical = 1"))))
        self.assertGreaterEqual(plain["critical_revisions_total"], 1)
        self.assertEqual(plain["sessions_waiting"], 1)
        self.assertEqual({dict(labels)["outcome"]: value for (name, labels), value in said.items()
                          if name == "sessions_closed_total"},
                         {"revoked": 1, "gone": 1, "lapsed": 0}, "also those of an earlier process")
        requests = sum(value for (name, _), value in said.items() if name == "requests_total")
        self.assertEqual(requests, said["requests_total", frozenset({("result", "page")})])
        self.assertGreater(requests, 0)
        self.assertLessEqual(requests, plain["rate_budget_used_requests"])
        self.assertEqual(plain["rate_budget_limit_requests"], 50000)
        self.assertEqual((plain["up"], plain["coverage_gaps"]), (0, 0))
        self.assertLess(abs(plain["last_cycle_timestamp_seconds"] - now().timestamp()), 30)
        self.assertLess(plain["lag_seconds"], 30)
        self.assertLess(plain["coverage_age_seconds"], 30)
        self.assertLess(abs(now().timestamp() - plain["proven_timestamp_seconds"]), 30)
        self.assertEqual(said["database_size_bytes", frozenset({("database", "ledger")})],
                         os.stat(shop.ledger_path).st_size)
        self.assertEqual(said["database_size_bytes", frozenset({("database", "queue")})],
                         os.stat(shop.queue_path).st_size)

    def test_file_is_for_everybody_and_leaves_nothing_beside_it(self):
        shop = self.open()
        old = os.umask(0o077)
        try:
            self.assertEqual(shop.once().returncode, 0)
        finally:
            os.umask(old)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o644)
        self.assertEqual([name for name in os.listdir(shop.directory) if "m.prom" in name],
                         ["m.prom"])

    def test_merchant_with_quotes(self):
        shop = self.open(merchant={"id": 'a"b\\c'})
        self.assertEqual(shop.once().returncode, 0)
        with open(self.path, encoding="utf-8") as file:
            text = file.read()
        parse(text)
        self.assertIn('{merchant="a\\"b\\\\c"}', text)

    def test_life_trouble_and_end(self):
        shop = self.open()
        daemon = shop.start()
        wait_until(lambda: os.path.exists(self.path))
        self.assertEqual((self.value("up"), self.value("last_cycle_ok")), (1, 1))
        first = self.value("last_cycle_timestamp_seconds")
        wait_until(lambda: self.value("last_cycle_timestamp_seconds") > first)
        self.sandbox.answer(path="/transQuery", status=500, times=0)
        wait_until(lambda: self.value("requests_total", result="failed") >= 2, what="two failures")
        self.assertEqual(self.value("last_cycle_ok"), 0)
        self.sandbox.forget_answers()
        wait_until(lambda: self.value("last_cycle_ok") == 1, seconds=20)
        self.assertEqual(shop.stop(daemon), 0)
        self.assertEqual(self.value("up"), 0)

    def test_a_reader_never_sees_half(self):
        shop = self.open()
        shop.start()
        wait_until(lambda: os.path.exists(self.path))
        inodes, names = set(), set()

        def seen_enough():
            with open(self.path, encoding="utf-8") as file:
                names.add(frozenset(name for name, _ in parse(file.read())))
                inodes.add(os.fstat(file.fileno()).st_ino)
                return len(inodes) > 1 and self.value("requests_total", result="page") > 20

        wait_until(seen_enough)
        self.assertEqual(len(names), 1)

    def test_what_cannot_be_written_is_told_once_and_stops_nothing(self):
        shop = self.open("later/m.prom")
        daemon = shop.start()
        told = "metrics are not written: "
        wait_until(lambda: told in shop.log(daemon))
        wait_until(lambda: shop.ctl("status").returncode == 0)
        self.sandbox.forget_requests()
        wait_until(lambda: len(self.sandbox.requests("/transQuery")) > 5)
        self.assertEqual(shop.log(daemon).count(told), 1)
        os.mkdir(os.path.dirname(self.path))
        wait_until(lambda: os.path.exists(self.path))
        self.assertEqual(shop.stop(daemon), 0)

    def test_reload_turns_it_on_and_off(self):
        shop = self.open()
        shop.config(**QUICK)
        daemon = shop.start()
        wait_until(lambda: shop.ctl("status").returncode == 0)
        shop.config(**self.sections)
        daemon.send_signal(1)
        wait_until(lambda: os.path.exists(self.path))
        shop.config(**QUICK)
        daemon.send_signal(1)
        wait_until(lambda: shop.log(daemon).count("reloaded") == 2)
        os.unlink(self.path)
        self.sandbox.forget_requests()
        wait_until(lambda: len(self.sandbox.requests("/transQuery")) > 5)
        self.assertFalse(os.path.exists(self.path))

    @unittest.skipUnless(PROMTOOL, "no promtool here")
    def test_promtool_finds_no_fault(self):
        shop = self.open()
        self.assertEqual(shop.once().returncode, 0)
        with open(self.path, encoding="utf-8") as file:
            done = subprocess.run([PROMTOOL, "check", "metrics"], stdin=file, text=True, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


def shop_verdicts(shop):
    rows = shop.ledger("SELECT verdict, count(*) AS n FROM order_status GROUP BY verdict")
    names = ("pending", "charged", "double_charged", "reversed", "not_charged", "needs_review")
    return {name: sum(row["n"] for row in rows if row["verdict"] == name) for name in names}


class Alerts(Case):
    def rules(self):
        with open(os.path.join(DOCS, "alerts.yml"), encoding="utf-8") as file:
            return file.read()

    def test_rules_speak_of_metrics_that_exist(self):
        sandbox = self.start_sandbox()
        shop = harness.Shop(sandbox)
        self.addCleanup(shop.close)
        path = os.path.join(shop.directory, "m.prom")
        shop.config(**QUICK, metrics={"path": path})
        self.assertEqual(shop.prepare().once().returncode, 0)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        rules = self.rules()
        names = set(re.findall(r"\breconciled_[a-z_]+", rules))
        self.assertGreater(len(names), 10)
        self.assertLessEqual(names, {f"reconciled_{name}" for name, _ in parse(text)})
        for name, label in re.findall(r'(reconciled_[a-z_]+)\{([a-z]+="[a-z_]+")\}', rules):
            self.assertRegex(text, rf'(?m)^{name}\{{.*{label}')

    def test_every_rule_is_tested_firing_and_silent(self):
        with open(os.path.join(DOCS, "alerts_test.yml"), encoding="utf-8") as file:
            tests = file.read()
        names = re.findall(r"- alert: (\w+)", self.rules())
        self.assertGreater(len(names), 10)
        for name in names:
            self.assertRegex(tests, rf"alertname: {name}\n +exp_alerts:", "it fires nowhere")
            self.assertRegex(tests, rf"alertname: {name}\}}", "it is silent nowhere")

    @unittest.skipUnless(PROMTOOL, "no promtool here")
    def test_promtool(self):
        for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
            done = subprocess.run([PROMTOOL, *command], cwd=DOCS, text=True, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
