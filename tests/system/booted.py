"""Tests the service that 'make install' has installed, as root, in a booted system (see run). Steps
build on each other and run in the order of their numbers, as an administrator's first day does."""
import glob
import json
import os
import pwd
import re
import signal
import sys
import time
import unittest

import harness
from harness import wait_until
from machine import (CONFIG, LEDGER, QUEUE, STATE, UNIT, active_again, answer_names, configuration,
                     count, journal, kill_main, main, mode_of, pid_of, run, show, sql, systemctl,
                     verdict_of, write)

UNITS = "/usr/local/lib/systemd/system"
EVENTS = {"started": "88766ce3e4fa4cda8055ff643fd40d8a",
          "stopped": "63cecdba1bba4510857b8955b9e3a515",
          "reloaded": "64e971dee0c04c7aa6d7da8980987c44",
          "reload refused": "9962b92f6ab54daf81101cdbe3c3a085",
          "revised": "8313c439900247d8a5299a05c4979b63",
          "verdict": "fe8b25921bd94d58acd006121326fd8a",
          "api trouble": "8b96f2c7cc914055a82e80b727a71010"}


# There is no compiler here: the programs count as made. The keys are typed by nobody.
README_SHELL = f"""
cd /opt/src
make() {{
    [ "$*" != install ] || command make -o build/reconciled -o build/reconctl \\
        -o build/reconctl.bash install
}}
install() {{
    case "$*" in *merchant*) echo {harness.API_KEY} ;; *) echo {harness.VAULT_KEY} ;; esac |
        command install "$@"
}}
sudo() {{
    if [ "$1" = -u ]; then
        user=$2; shift 2
        setpriv --reuid="$user" --regid="$user" --init-groups "$@"
    else
        "$@"
    fi
}}
"""


class Service(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.sandbox = harness.Sandbox("--history", "2000", "--days", "1", "--rate-per-minute", "0")
        answer_names()

    @classmethod
    def tearDownClass(cls):
        systemctl("stop", UNIT, "reconciled@*", check=False)
        cls.sandbox.stop()

    def ready(self, unit=UNIT):
        self.assertEqual(show(unit, "ActiveState"), "active")

    def enqueue(self, order_id, user="shop", **columns):
        columns = {"order_id": order_id, "amount": "49.00",
                   "attempted_at": harness.iso(harness.ago(hours=1)), **columns}
        names, values = ", ".join(columns), ", ".join(f"'{one}'" for one in columns.values())
        sql(QUEUE, f"INSERT INTO pending_orders ({names}) VALUES ({values})", user)

    def readme(self, number):
        """Runs a shell block of the README's section Install, word for word."""
        with open("/opt/src/README.md", encoding="utf-8") as file:
            section = re.search(r"(?ms)^## Install$(.*?)^## ", file.read())[1]
        block = re.findall(r"(?ms)^```sh$(.*?)^```$", section)[number]
        done = run("bash", "-ec", README_SHELL + block)
        self.assertNotIn("FAIL", done.stdout)

    # Installing.

    def test_01_readme_install(self):
        self.readme(0)
        for user, group in (("shop", "nogroup"), ("analyst", "reconciled"),
                            ("stranger", "nogroup")):
            run("useradd", "--create-home", "--groups", group, user)
        write("/home/shop/private", "")
        self.assertEqual(mode_of(STATE), (0o751, "reconciled", "reconciled"))
        self.assertEqual(mode_of(f"{STATE}/queue"), (0o2770, "reconciled", "reconciled-queue"))
        self.assertEqual(mode_of(QUEUE), (0o660, "reconciled", "reconciled-queue"))
        self.assertEqual(mode_of("/etc/credstore"), (0o700, "root", "root"))

    def test_02_units_are_accepted(self):
        for unit in (UNIT, "reconciled@one.service"):
            done = run("systemd-analyze", "verify", "--man=no", unit)
            self.assertEqual((done.stdout, done.stderr), ("", ""))
            done = run("systemd-analyze", "security", "--threshold=12", unit, check=False)
            self.assertEqual(done.returncode, 0, done.stdout[-300:])

    def test_03_app_writes_before_the_first_start(self):
        run("adduser", "shop", "reconciled-queue")
        self.enqueue("BEFORE", user="shop")
        self.assertEqual(count(QUEUE, "pending_orders", "shop"), 1)

    def test_04_refused_configuration_is_said_and_not_retried(self):
        systemctl("start", UNIT, check=False)
        wait_until(lambda: show(UNIT, "ActiveState") == "failed", 10, "the unit failed")
        self.assertEqual(show(UNIT, "ExecMainStatus"), "78")
        self.assertIn("[pay] url is required", journal()[-1]["MESSAGE"])
        time.sleep(0.2)
        self.assertEqual(show(UNIT, "NRestarts"), "0")

    def test_05_missing_key_is_said(self):
        write(CONFIG, configuration(self.sandbox.url))
        systemctl("start", UNIT, check=False)
        wait_until(lambda: show(UNIT, "ActiveState") == "failed", 10, "the unit failed")
        self.assertEqual(show(UNIT, "ExecMainStatus"), "78")
        self.assertIn("merchant_api_key", journal()[-1]["MESSAGE"])

    # Running.

    def test_10_start_is_ready_and_says_its_state(self):
        # Short times, so that the tests need not wait; the rest is the unit as it is.
        write(f"/run/systemd/system/{UNIT}.d/test.conf",
              "[Service]\nRestartSec=100ms\nWatchdogSec=1s\nTimeoutAbortSec=1s\n")
        systemctl("daemon-reload")
        systemctl("reset-failed", UNIT, check=False)
        self.readme(1)
        self.ready()
        self.assertEqual(show(UNIT, "UnitFileState"), "enabled")
        # The README's shop also reads verdicts; here the app and the analyst are two.
        run("deluser", "shop", "reconciled")
        self.assertEqual(show(UNIT, "SubState"), "running")
        wait_until(lambda: "in step with the API" in show(UNIT, "StatusText"), 30, "the status")
        self.assertRegex(show(UNIT, "StatusText"),
                         r"; \d+ s behind; \d+ order\(s\) pending.*\d+ of \d+ requests")
        with open(f"/proc/{pid_of(UNIT)}/status", encoding="ascii") as file:
            uid = re.search(r"Uid:\s+(\d+)", file.read())[1]
        self.assertEqual(pwd.getpwuid(int(uid)).pw_name, "reconciled")

    def test_11_real_sync(self):
        records = len(self.sandbox.records())
        self.assertGreater(records, 1900)
        wait_until(lambda: count(LEDGER, "transactions", "analyst") == records, 30, "every record")
        # Once the history around it is read, which is later than that its own window is.
        wait_until(lambda: verdict_of("BEFORE") == "not_charged", 15, "BEFORE not charged")
        self.sandbox.add(harness.sale_for("PAID", harness.ago(minutes=30)))
        wait_until(lambda: count(LEDGER, "transactions", "analyst") == records + 1, 15, "the sale")
        self.enqueue("PAID", attempted_at=harness.iso(harness.ago(minutes=30)))
        wait_until(lambda: verdict_of("PAID") == "charged", 15, "PAID charged")

    def test_12_session_is_revoked(self):
        self.sandbox.sessions("the-session-key")
        sql(QUEUE, "INSERT INTO sessions (session_id, session_key, ended)"
                   " VALUES ('S1', 'the-session-key', 'paid')", "shop")
        wait_until(lambda: count(QUEUE, "sessions", "shop") == 0, 10, "the session is closed")
        self.assertEqual(sql(LEDGER, "SELECT outcome FROM session_revocations", "analyst"),
                         "revoked")
        for path in glob.glob(f"{STATE}/**", recursive=True):
            if os.path.isfile(path):
                wait_until(lambda path=path: b"the-session-key" not in open(path, "rb").read(), 10,
                           f"the key has left {path}")

    def test_13_files_are_closed_to_others(self):
        for path, expected in ((LEDGER, (0o640, "reconciled", "reconciled")),
                               (f"{LEDGER}-wal", (0o640, "reconciled", "reconciled")),
                               (f"{LEDGER}.key", (0o600, "reconciled", "reconciled")),
                               (QUEUE, (0o660, "reconciled", "reconciled-queue"))):
            self.assertEqual(mode_of(path), expected, path)
        for path in glob.glob(f"{STATE}/queue/*"):
            self.assertEqual(mode_of(path)[2], "reconciled-queue", path)

    def test_14_app_and_analyst(self):
        """The app writes the queue and not the ledger; the analyst reads the ledger and sees no
        queue; a stranger neither."""
        self.enqueue("BY-APP", user="shop")
        for user, path, statement in (
                ("shop", LEDGER, "SELECT count(*) FROM transactions"),
                ("shop", LEDGER, "DELETE FROM transactions"),
                ("analyst", LEDGER, "DELETE FROM transactions"),
                ("analyst", QUEUE, "SELECT count(*) FROM sessions"),
                ("stranger", LEDGER, "SELECT count(*) FROM transactions"),
                ("stranger", QUEUE, "SELECT count(*) FROM sessions")):
            with self.subTest(user=user, statement=statement):
                done = sql(path, statement, user, check=False)
                self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertGreater(count(LEDGER, "transactions", "analyst"), 1900)
        for user, path, allowed in (("shop", f"{STATE}/queue", True), ("shop", STATE, False),
                                    ("analyst", f"{STATE}/queue", False),
                                    ("analyst", f"{LEDGER}.key", False),
                                    ("shop", f"{LEDGER}.key", False)):
            with self.subTest(user=user, path=path):
                test = "test -r " + path
                self.assertEqual(run("sh", "-c", test, user=user, check=False).returncode == 0,
                                 allowed)

    def test_15_reconctl_as_app_and_analyst(self):
        done = run("reconctl", "enqueue", "BY-CTL", "--amount", "49.00", "--attempted-at",
                   harness.iso(harness.ago(hours=2)), user="shop")
        self.assertEqual(done.stderr, "")
        wait_until(lambda: verdict_of("BY-CTL"), 15, "a verdict")
        done = run("reconctl", "--format", "json", "verdict", "BY-CTL", user="analyst")
        self.assertEqual(json.loads(done.stdout)[0]["order_id"], "BY-CTL")

    def test_16_reader_with_the_daemon_stopped(self):
        systemctl("stop", UNIT)
        self.assertGreater(count(LEDGER, "transactions", "analyst"), 1900)
        self.enqueue("WHILE-STOPPED")
        systemctl("start", UNIT)
        wait_until(lambda: verdict_of("WHILE-STOPPED"), 15, "a verdict")

    # Credentials.

    def test_20_credentials(self):
        directory = f"/run/credentials/{UNIT}"
        held = os.path.join(directory, "merchant_api_key")
        with open(held, encoding="ascii") as file:
            self.assertEqual(file.read().strip(), harness.API_KEY)
        for user in ("shop", "analyst", "stranger"):
            self.assertNotEqual(run("cat", held, user=user, check=False).returncode, 0, user)
        pid = pid_of(UNIT)
        for name in ("environ", "cmdline"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                text = file.read()
            self.assertNotIn(harness.API_KEY.encode(), text)
            self.assertNotIn(harness.VAULT_KEY.encode(), text)
        systemctl("stop", UNIT)
        self.assertFalse(os.path.exists(held))
        systemctl("start", UNIT)
        logged = run("journalctl", "--no-pager", "-o", "export").stdout
        self.assertNotIn(harness.API_KEY, logged)
        self.assertNotIn(harness.VAULT_KEY, logged)

    def test_21_encrypted_credentials(self):
        """As the unit's comment shows it."""
        with open(f"{UNITS}/{UNIT}", encoding="utf-8") as file:
            shown = re.findall(r"(?m)^#   (LoadCredential.*)$", file.read())
        self.assertEqual(len(shown), 3)
        systemctl("stop", UNIT)
        os.makedirs("/etc/credstore.encrypted", exist_ok=True)
        for name in ("merchant_api_key", "vault_api_key"):
            plain = f"/etc/credstore/reconciled.{name}"
            run("systemd-creds", "encrypt", "--with-key=host", f"--name={name}", plain,
                f"/etc/credstore.encrypted/reconciled.{name}")
            os.rename(plain, f"/root/{name}")
        drop_in = f"/run/systemd/system/{UNIT}.d/encrypted.conf"
        write(drop_in, "[Service]\n" + "\n".join(shown) + "\n")
        systemctl("daemon-reload")
        try:
            systemctl("start", UNIT)
            with open(f"/run/credentials/{UNIT}/merchant_api_key", encoding="ascii") as file:
                self.assertEqual(file.read().strip(), harness.API_KEY)
        finally:
            os.unlink(drop_in)
            for name in ("merchant_api_key", "vault_api_key"):
                os.rename(f"/root/{name}", f"/etc/credstore/reconciled.{name}")
            systemctl("daemon-reload")
            systemctl("restart", UNIT)
        self.ready()

    def test_22_no_core_no_dump_locked_memory(self):
        pid = pid_of(UNIT)
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            limits = file.read()
        self.assertRegex(limits, r"Max core file size\s+0\s+0")
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = file.read()
        self.assertGreater(int(re.search(r"VmLck:\s+(\d+)", status)[1]), 0)
        self.assertIn("NoNewPrivs:\t1", status)
        self.assertIn("Seccomp:\t2", status)
        self.assertEqual(int(re.search(r"CapBnd:\s+(\w+)", status)[1], 16), 0)

    # Trouble.

    def test_30_watchdog_restarts_a_stopped_process(self):
        restarts = int(show(UNIT, "NRestarts"))
        pid = kill_main(UNIT, signal.SIGSTOP)
        active_again(UNIT, pid)
        self.assertGreater(int(show(UNIT, "NRestarts")), restarts)
        self.assertTrue(run("journalctl", "--no-pager", "-u", UNIT, "--grep",
                            "[Ww]atchdog").stdout.strip())

    def test_31_killed_in_the_middle_loses_nothing(self):
        """Two thousand records, five deaths: each record is there once, and so are the orders."""
        systemctl("stop", UNIT)
        for path in glob.glob(f"{LEDGER}*"):
            os.unlink(path)
        write(CONFIG, configuration(self.sandbox.url, pay={"page_size": 10}))
        systemctl("start", UNIT)
        records = len(self.sandbox.records())
        for i in range(5):
            wait_until(lambda i=i: os.path.exists(LEDGER) and int(
                sql(LEDGER, "SELECT count(*) FROM transactions", check=False).stdout.strip() or 0)
                       > 150 * (i + 1), 30, "more records")
            self.enqueue(f"DEATH-{i}")
            active_again(UNIT, kill_main(UNIT, signal.SIGKILL))
        wait_until(lambda: count(LEDGER, "transactions") == records, 60, "every record")
        for i in range(5):
            wait_until(lambda i=i: verdict_of(f"DEATH-{i}") == "not_charged", 20, f"DEATH-{i}")
        self.assertEqual(sql(LEDGER, "PRAGMA integrity_check"), "ok")
        self.assertEqual(sql(LEDGER, "SELECT count(*) FROM (SELECT transaction_id FROM transactions"
                                     " GROUP BY 1 HAVING count(*) > 1)"), "0")
        write(CONFIG, configuration(self.sandbox.url))
        systemctl("reload", UNIT)

    def test_32_clean_stop_stays_stopped(self):
        started = time.monotonic()
        systemctl("stop", UNIT)
        self.assertLess(time.monotonic() - started, 5)
        self.assertEqual(show(UNIT, "Result"), "success")
        self.assertEqual(show(UNIT, "ExecMainStatus"), "0")
        time.sleep(0.5)
        self.assertEqual(show(UNIT, "ActiveState"), "inactive")
        systemctl("start", UNIT)

    def test_33_reload_good_and_bad(self):
        pid = pid_of(UNIT)
        systemctl("reload", UNIT)
        wait_until(lambda: journal(MESSAGE_ID=EVENTS["reloaded"]), 5, "the reload is logged")
        good = configuration(self.sandbox.url)
        write(CONFIG, good + "[pay]\nurl = ftp://nonsense\n")
        self.assertNotEqual(systemctl("reload", UNIT, check=False).returncode, 0)
        refused = wait_until(lambda: journal(MESSAGE_ID=EVENTS["reload refused"]), 5,
                             "the refusal is logged")
        self.assertEqual(refused[-1]["PRIORITY"], "3")
        self.assertIn(CONFIG, refused[-1]["MESSAGE"])
        self.ready()
        self.assertEqual(pid_of(UNIT), pid)
        self.sandbox.forget_requests()
        wait_until(lambda: self.sandbox.requests("/transQuery"), 10, "it works on with the old one")
        write(CONFIG, good)
        systemctl("reload", UNIT)
        self.assertEqual(pid_of(UNIT), pid)

    def test_34_second_daemon_is_refused(self):
        done = run("reconciled", "--config", CONFIG, "--once", user="reconciled", check=False,
                   env={"MERCHANT_API_KEY": "x", "VAULT_API_KEY": "x"})
        self.assertEqual(done.returncode, 74, done.stderr)
        self.assertIn("another reconciled", done.stderr)

    # The journal.

    def test_40_fields(self):
        found = [one for one in journal(MESSAGE_ID=EVENTS["verdict"]) if one["ORDER_ID"] == "PAID"]
        self.assertTrue(found)
        one = found[0]
        self.assertEqual((one["VERDICT"], one["RULE"], one["SAFE_TO_RETRY"], one["PRIORITY"]),
                         ("charged", "reference", "0", "5"))
        self.assertTrue(one["TRANSACTION_ID"])
        self.assertEqual(one["SYSLOG_IDENTIFIER"], "reconciled")

    def test_41_catalogue(self):
        text = run("journalctl", "--no-pager", "-x", f"MESSAGE_ID={EVENTS['verdict']}",
                   "ORDER_ID=PAID").stdout
        self.assertIn("Subject: Order PAID has a verdict: charged", text)
        self.assertIn("Defined-By: reconciled", text)
        self.assertIn("do not charge again", text)
        text = run("journalctl", "--no-pager", "-x", f"MESSAGE_ID={EVENTS['started']}").stdout
        self.assertIn(f"the only writer of the ledger {LEDGER}", text)

    def test_42_taken_back_is_critical(self):
        attempted = harness.ago(minutes=20)
        self.enqueue("LATE", attempted_at=harness.iso(attempted))
        wait_until(lambda: verdict_of("LATE") == "not_charged", 15, "LATE not charged")
        self.sandbox.add(harness.sale_for("LATE", attempted))
        wait_until(lambda: verdict_of("LATE") == "charged", 15, "LATE charged")
        found = journal(MESSAGE_ID=EVENTS["revised"], ORDER_ID="LATE")
        self.assertEqual([(one["PRIORITY"], one["PREVIOUS_VERDICT"]) for one in found],
                         [("2", "not_charged")])
        text = run("journalctl", "--no-pager", "-x", f"MESSAGE_ID={EVENTS['revised']}").stdout
        self.assertIn("refund one of the", text)

    def test_43_quiet_when_nothing_happens(self):
        wait_until(lambda: "in step" in show(UNIT, "StatusText"), 10, "the status")
        cursor = run("journalctl", "--no-pager", "-n", "0", "--show-cursor").stdout.split()[-1]
        self.sandbox.forget_requests()
        wait_until(lambda: len(self.sandbox.requests("/transQuery")) >= 6, 20, "six more cycles")
        lines = run("journalctl", "--no-pager", "-q", "-u", UNIT, f"--after-cursor={cursor}").stdout
        self.assertEqual(lines, "")

    def test_44_failing_api_is_logged_on_change(self):
        before = len(journal(MESSAGE_ID=EVENTS["api trouble"]))
        self.sandbox.forget_requests()
        self.sandbox.answer(path="/transQuery", status=503, times=0)
        wait_until(lambda: len(self.sandbox.requests("/transQuery")) >= 4, 30, "four requests")
        self.sandbox.forget_answers()
        run("reconctl", "sync", user="shop")
        wait_until(lambda: "in step" in show(UNIT, "StatusText"), 30, "the status")
        self.assertEqual(len(journal(MESSAGE_ID=EVENTS["api trouble"])), before + 1)

    # The sandbox around the service.

    def probe(self, command):
        found = re.findall(r"^(\S+) (\S+)$", command, re.M)
        return {kind: [name for what, name in found if what == kind]
                for kind in ("denied", "ALLOWED", "works", "BROKEN")}

    def probe_in(self, unit, base, state):
        """Runs the probe as the main program of a unit that is otherwise the installed one."""
        with open(f"{UNITS}/{base}", encoding="utf-8") as file:
            text = file.read()
        text = re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/usr/local/bin/probe "
                      f"{state} {self.sandbox.port}", text)
        text = re.sub(r"(?m)^(Restart|WatchdogSec|ExecReload)=.*$", "", text)
        text = text.replace("Type=notify", "Type=oneshot")
        write(f"/run/systemd/system/{unit}", text)
        os.makedirs("/usr/local/bin", exist_ok=True)
        run("install", "-m", "0755", "/opt/test/bin/probe", "/usr/local/bin/probe")
        systemctl("daemon-reload")
        try:
            systemctl("start", unit)
            time.sleep(0.1)
            return self.probe("\n".join(one["MESSAGE"] for one in journal(unit)))
        finally:
            os.unlink(f"/run/systemd/system/{unit}")
            systemctl("daemon-reload")

    def test_50_what_the_service_cannot_do(self):
        write("/tmp/of-another", "", 0o644)
        free = self.probe(run("/opt/test/bin/probe", STATE, str(self.sandbox.port)).stdout)
        # Attempts that this container denies even to root prove nothing; there are few.
        self.assertGreater(len(free["ALLOWED"]), 25, free)
        caged = self.probe_in("reconciled-probe.service", UNIT, STATE)
        self.assertEqual((caged["ALLOWED"], caged["BROKEN"]), ([], []))
        self.assertEqual(len(caged["denied"]), len(free["denied"]) + len(free["ALLOWED"]))
        self.assertGreater(len(caged["works"]), 8)

    # Several merchants.

    def test_60_two_instances(self):
        other = harness.Sandbox()
        self.addCleanup(other.stop)
        other.settings(api_key="key-of-beta")
        other.add(harness.sale_for("ORDER-1", harness.ago(hours=1)))
        for name, key, sandbox in (("alpha", harness.API_KEY, self.sandbox),
                                   ("beta", "key-of-beta", other)):
            write(f"/etc/reconciled/{name}/reconciled.conf",
                  configuration(sandbox.url, merchant={"id": f"merchant-{name}"}))
            write(f"/etc/credstore/reconciled.{name}.merchant_api_key", key, 0o600)
            write(f"/etc/credstore/reconciled.{name}.vault_api_key", harness.VAULT_KEY, 0o600)
        systemctl("start", "reconciled@alpha", "reconciled@beta")
        self.addCleanup(systemctl, "stop", "reconciled@alpha", "reconciled@beta", check=False)
        for name in ("alpha", "beta"):
            self.ready(f"reconciled@{name}.service")
            state = f"{STATE}/{name}"
            self.assertEqual(mode_of(state), (0o751, "reconciled", "reconciled"))
            self.assertEqual(mode_of(f"{state}/queue"), (0o2770, "reconciled", "reconciled-queue"))
            self.assertEqual(mode_of(f"{state}/queue/queue.db"),
                             (0o660, "reconciled", "reconciled-queue"))
            run("reconctl", "--config", f"/etc/reconciled/{name}/reconciled.conf", "enqueue",
                "ORDER-1", "--amount", "49.00", "--attempted-at",
                harness.iso(harness.ago(hours=1)), user="shop", env={"STATE_DIRECTORY": state})
        wait_until(lambda: verdict_of("ORDER-1", f"{STATE}/beta") == "charged", 20, "beta charged")
        wait_until(lambda: verdict_of("ORDER-1", f"{STATE}/alpha") == "not_charged", 20,
                   "alpha not charged")
        self.assertEqual(verdict_of("ORDER-1"), "")
        self.assertEqual({one["query"]["merchantId"] for one in other.requests("/transQuery")},
                         {"merchant-beta"})
        self.ready()
        # The death of one is nothing to the other.
        beta = pid_of("reconciled@beta")
        kill_main("reconciled@alpha", signal.SIGKILL)
        self.assertEqual(pid_of("reconciled@beta"), beta)

    def test_61_an_instance_sees_no_other(self):
        pid = pid_of(UNIT)
        self.assertTrue(os.path.exists(f"/proc/{pid}/root{STATE}/alpha"))
        systemctl("start", "reconciled@alpha")
        self.addCleanup(systemctl, "stop", "reconciled@alpha")
        seen = os.listdir(f"/proc/{pid_of('reconciled@alpha')}/root{STATE}")
        self.assertEqual(seen, ["alpha"])


if __name__ == "__main__":
    sys.exit(main())
