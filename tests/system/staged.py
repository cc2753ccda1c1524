"""Tests a service whose files were staged by 'make install DESTDIR=' and copied: everything belongs
to root, and nobody has made a user. Steps run in the order of their numbers."""
import os
import sys
import unittest

import harness
from harness import wait_until
from machine import (CONFIG, QUEUE, STATE, UNIT, configuration, main, mode_of, run, show, sql,
                     systemctl, verdict_of, write)


def back_to_root():
    run("chown", "-R", "root:root", STATE)
    run("chmod", "0755", STATE)
    run("chmod", "0770", f"{STATE}/queue")


class Staged(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sandbox = harness.Sandbox()
        write(CONFIG, configuration(cls.sandbox.url))
        write("/etc/credstore/reconciled.merchant_api_key", harness.API_KEY, 0o600)
        write("/etc/credstore/reconciled.vault_api_key", harness.VAULT_KEY, 0o600)

    @classmethod
    def tearDownClass(cls):
        systemctl("stop", UNIT, check=False)
        cls.sandbox.stop()

    def app_can_write(self, order_id):
        self.assertEqual(mode_of(f"{STATE}/queue"), (0o2770, "reconciled", "reconciled-queue"))
        self.assertEqual(mode_of(QUEUE), (0o660, "reconciled", "reconciled-queue"))
        sql(QUEUE, "INSERT INTO pending_orders (order_id, amount, attempted_at) VALUES"
                   f" ('{order_id}', '1.00', '{harness.iso(harness.ago(hours=1))}')", "shop")

    def test_01_users(self):
        run("systemd-sysusers")
        run("useradd", "--groups", "reconciled-queue", "shop")
        run("useradd", "--groups", "reconciled", "analyst")
        self.assertTrue(os.path.exists(QUEUE))

    def test_02_start_alone_gives_each_its_own(self):
        back_to_root()
        systemctl("start", UNIT)
        self.app_can_write("FIRST")
        wait_until(lambda: verdict_of("FIRST"), 15, "a verdict")
        self.assertEqual(mode_of(STATE), (0o751, "reconciled", "reconciled"))

    def test_03_tmpfiles_gives_each_its_own(self):
        systemctl("stop", UNIT)
        back_to_root()
        run("systemd-tmpfiles", "--create", "reconciled.conf")
        self.app_can_write("SECOND")
        run("chown", "-R", "reconciled:reconciled", *(os.path.join(STATE, name) for name in
                                                      os.listdir(STATE) if name != "queue"))
        systemctl("start", UNIT)
        wait_until(lambda: verdict_of("SECOND"), 15, "a verdict")
        self.assertEqual(show(UNIT, "ActiveState"), "active")


if __name__ == "__main__":
    sys.exit(main())
