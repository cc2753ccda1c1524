"""Tests the Debian package, as root, in a booted system (see run): /opt/test/debs has the package,
and old.deb, which is the same with a lower version. Steps run in the order of their numbers."""
import glob
import os
import pwd
import sqlite3
import sys
import unittest

import harness
from harness import wait_until
from machine import (CONFIG, LEDGER, QUEUE, STATE, UNIT, configuration, count, main, mode_of,
                     pid_of, run, show, sql, systemctl, write)

DEBS = "/opt/test/debs"
INSTANCE = "reconciled@alpha.service"
NEW = [path for path in glob.glob(f"{DEBS}/reconciled_*.deb")][0]


def apt(*arguments, check=True, env=None):
    # There is no network here: what the package depends on is installed already.
    return run("apt-get", "-y", "--no-install-recommends", *arguments, check=check, timeout=120,
               env={"DEBIAN_FRONTEND": "noninteractive", **(env or {})})


def version():
    return run("dpkg-query", "-W", "-f", "${Version}", "reconciled").stdout


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = harness.Sandbox("--history", "300", "--days", "1", "--rate-per-minute", "0")

    @classmethod
    def tearDownClass(cls):
        systemctl("stop", UNIT, "reconciled@*", check=False)
        cls.sandbox.stop()

    def all_fetched(self, path=LEDGER):
        records = len(self.sandbox.records())
        wait_until(lambda: os.path.exists(path) and sql(
            path, "SELECT count(*) FROM transactions", check=False).stdout.strip() == str(records),
                   30, f"every record in {path}")

    def test_01_install(self):
        done = apt("install", f"{DEBS}/old.deb")
        self.assertNotIn("warning", done.stderr.lower())
        # It has no configuration yet: it must neither run nor be enabled.
        self.assertEqual(show(UNIT, "ActiveState"), "inactive")
        self.assertEqual(show(UNIT, "UnitFileState"), "disabled")
        self.assertEqual(mode_of(STATE), (0o751, "reconciled", "reconciled"))
        self.assertEqual(mode_of(f"{STATE}/queue"), (0o2770, "reconciled", "reconciled-queue"))
        for path in ("/usr/sbin/reconciled", "/usr/bin/reconctl",
                     "/lib/systemd/system/reconciled@.service",
                     "/usr/lib/systemd/catalog/reconciled.catalog"):
            self.assertTrue(os.path.exists(path), path)
        listed = run("journalctl", "--list-catalog", "88766ce3e4fa4cda8055ff643fd40d8a").stdout
        self.assertIn("The daemon has started", listed)
        for unit in (UNIT, INSTANCE):
            done = run("systemd-analyze", "verify", "--man=no", unit)
            self.assertEqual((done.stdout, done.stderr), ("", ""))

    def test_02_it_runs(self):
        write(CONFIG, configuration(self.sandbox.url))
        write("/etc/reconciled/alpha/reconciled.conf", configuration(self.sandbox.url))
        for name in ("reconciled", "reconciled.alpha"):
            write(f"/etc/credstore/{name}.merchant_api_key", harness.API_KEY, 0o600)
            write(f"/etc/credstore/{name}.vault_api_key", harness.VAULT_KEY, 0o600)
        systemctl("enable", "--now", UNIT, INSTANCE)
        self.all_fetched()
        self.all_fetched(f"{STATE}/alpha/ledger.db")

    def test_03_upgrade_restarts_what_runs_and_keeps_everything(self):
        before = {unit: pid_of(unit) for unit in (UNIT, INSTANCE)}
        records = count(LEDGER, "transactions")
        with open(CONFIG, encoding="utf-8") as file:
            text = file.read()
        apt("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
            "install", NEW)
        for unit, pid in before.items():
            wait_until(lambda unit=unit: show(unit, "ActiveState") == "active", 10, unit)
            self.assertNotIn(pid_of(unit), (0, pid), unit)
        self.assertEqual(count(LEDGER, "transactions"), records)
        with open(CONFIG, encoding="utf-8") as file:
            self.assertEqual(file.read(), text)

    def test_04_upgrade_of_an_older_ledger_keeps_a_copy(self):
        systemctl("stop", UNIT)
        for path in glob.glob(f"{LEDGER}*"):
            os.unlink(path)
        old = sqlite3.connect(LEDGER)
        with open("/opt/test/0001_ledger.sql", encoding="utf-8") as file:
            old.executescript(file.read())
        old.executescript("PRAGMA user_version=1; PRAGMA journal_mode=WAL;"
                          "INSERT INTO meta (name, value) VALUES ('witness', 'old');")
        old.close()
        account = pwd.getpwnam("reconciled")
        for path in glob.glob(f"{LEDGER}*"):
            os.chown(path, account.pw_uid, account.pw_gid)
            os.chmod(path, 0o640)
        systemctl("start", UNIT)
        self.all_fetched()
        self.assertEqual(mode_of(f"{LEDGER}.schema-1"), (0o640, "reconciled", "reconciled"))
        for path, schema in ((LEDGER, None), (f"{LEDGER}.schema-1", "1")):
            self.assertEqual(sql(path, "SELECT value FROM meta WHERE name='witness'"), "old")
            if schema:
                self.assertEqual(sql(path, "PRAGMA user_version"), schema)

    def test_05_remove_keeps_configuration_and_state(self):
        records = count(LEDGER, "transactions")
        apt("remove", "reconciled")
        for unit in (UNIT, INSTANCE):
            self.assertNotEqual(show(unit, "ActiveState"), "active", unit)
        self.assertFalse(os.path.exists("/usr/sbin/reconciled"))
        self.assertTrue(os.path.exists(CONFIG))
        self.assertEqual(count(LEDGER, "transactions"), records)
        apt("install", NEW)
        self.assertEqual(count(LEDGER, "transactions"), records)

    def test_06_purge_keeps_the_ledger(self):
        records = count(LEDGER, "transactions")
        done = apt("purge", "reconciled")
        self.assertIn(f"ledger and queue are kept in {STATE}", done.stdout + done.stderr)
        self.assertFalse(os.path.exists(CONFIG))
        self.assertEqual(count(LEDGER, "transactions"), records)
        self.assertTrue(os.path.exists(QUEUE))
        self.assertTrue(os.path.exists(f"{LEDGER}.key"))
        self.assertFalse(glob.glob("/etc/systemd/system/*/reconciled*"), "still enabled")

    def test_07_purge_deletes_when_told(self):
        apt("install", NEW)
        apt("purge", "reconciled", env={"RECONCILED_PURGE_LEDGER": "yes"})
        self.assertFalse(os.path.exists(STATE))


if __name__ == "__main__":
    sys.exit(main())
