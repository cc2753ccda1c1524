"""Payment sessions: when they are revoked, what each answer of the Vault makes of them, and that
their keys are nowhere but where they have to be."""
import datetime
import json
import os
import signal
import sqlite3
import subprocess
import time
import unittest

from harness import Case, after, ago, iso, now, parse_time, wait_until

KEY = "vaultkey-3f1c9a7e5b2d4860-do-not-tell"


class SessionCase(Case):
    def setUp(self):
        self.sandbox = self.start_sandbox()

    def shop(self, vault=None, **sections):
        return self.open_shop(
            self.sandbox, vault={"retries": 0, **vault} if vault != "none" else None,
            **{"sync": {"backfill": "10min"}, "pay": {"rate_per_minute": 100000, "retries": 0},
               **sections})

    def settle(self, shop, code=0, *arguments):
        done = shop.once(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def revocation(self, shop, session="s"):
        rows = shop.ledger("SELECT * FROM session_revocations WHERE session_id = ?", (session,))
        self.assertLessEqual(len(rows), 1)
        return rows[0] if rows else None

    def waiting(self, shop):
        """The sessions that are left in the queue."""
        return {row["session_id"] for row in shop.queue("SELECT session_id FROM sessions")}

    def ended(self, key=KEY, session="s", vault=None, **sections):
        """A shop with one session to revoke."""
        shop = self.shop(vault or {}, **sections)
        self.sandbox.sessions(key)
        shop.session(session, key, ended="paid", created_at=ago(minutes=1))
        return shop

    def asked(self):
        return [json.loads(one["body"])["sessionKey"]
                for one in self.sandbox.requests("/sessions/revoke")]


class Due(SessionCase):
    def test_each_reason(self):
        shop = self.shop({})
        due = {"paid": {"ended": "paid"}, "cancelled": {"ended": "cancelled"},
               "abandoned": {"ended": "abandoned"},
               "expired": {"created_at": ago(minutes=30, seconds=1), "last_seen_at": ago()},
               "expired early": {"created_at": ago(seconds=61), "expires_in": 60},
               "idle": {"created_at": ago(minutes=15, seconds=1)},
               "idle after a while": {"created_at": ago(minutes=29),
                                      "last_seen_at": ago(minutes=15, seconds=1)}}
        alive = {"fresh": {}, "not yet idle": {"created_at": ago(minutes=14)},
                 "seen": {"created_at": ago(minutes=29), "last_seen_at": ago(minutes=1)},
                 "empty texts": {"ended": "", "last_seen_at": "", "order_id": ""}}
        for name, columns in {**due, **alive}.items():
            self.sandbox.sessions(f"key of {name}")
            shop.session(name, f"key of {name}", **columns)
        self.settle(shop)
        self.assertEqual(self.waiting(shop), set(alive))
        rows = shop.ledger("SELECT * FROM session_revocations")
        self.assertEqual({row["session_id"]: row["why"] for row in rows},
                         {name: name.split()[0] for name in due})
        self.assertEqual({row["outcome"] for row in rows}, {"revoked"})
        self.assertEqual({one["session_key"] for one in self.sandbox.revocations()},
                         {f"key of {name}" for name in due})

    def test_idle_timeout_is_configurable(self):
        shop = self.shop({}, sessions={"idle_timeout": "1min"})
        self.sandbox.sessions("a", "b")
        shop.session("a", "a", created_at=ago(seconds=59 - 30))
        shop.session("b", "b", created_at=ago(seconds=61))
        self.settle(shop)
        self.assertEqual(self.waiting(shop), {"a"})
        self.assertEqual(self.revocation(shop, "b")["why"], "idle")

    def test_heartbeat_keeps_a_session_alive_until_it_stops(self):
        shop = self.shop({}, sessions={"idle_timeout": "2s"}, sync={"backfill": "10min"})
        self.sandbox.sessions(KEY)
        shop.session("s", KEY)
        begun = time.monotonic()
        daemon = shop.start()
        while time.monotonic() - begun < 4:
            shop.queue("UPDATE sessions SET last_seen_at = ?", (iso(now()),))
            self.assertIsNone(self.revocation(shop))
            time.sleep(0.2)
        wait_until(lambda: not self.waiting(shop), 6, "the revocation")
        self.assertEqual(self.revocation(shop)["why"], "idle")
        self.assertEqual(shop.stop(daemon), 0)

    def test_ending_is_noticed_at_once(self):
        shop = self.shop({}, sync={"interval": "1h", "backfill": "10min"})
        self.sandbox.sessions(KEY)
        shop.session("s", KEY)
        daemon = shop.start()
        wait_until(lambda: shop.ledger("SELECT 1 FROM daemon_state"
                                       " WHERE cycle_ended_at IS NOT NULL"))
        self.assertEqual(self.sandbox.revocations(), [])
        shop.queue("UPDATE sessions SET ended = 'cancelled'")
        wait_until(lambda: not self.waiting(shop), 3, "the revocation")
        self.assertEqual(shop.stop(daemon), 0)

    def test_one_session_id_may_come_again(self):
        shop = self.ended()
        self.settle(shop)
        self.sandbox.sessions("second key")
        shop.session("s", "second key", ended="paid")
        self.settle(shop)
        self.assertEqual([one["session_key"] for one in self.sandbox.revocations()],
                         [KEY, "second key"])
        self.assertEqual(self.waiting(shop), set())


class Answers(SessionCase):
    def answer(self, code, vault=None, shop=None, **canned):
        shop = shop or self.ended(vault=vault)
        self.sandbox.answer(path="/sessions/revoke", **canned)
        self.before = now()
        self.said = self.settle(shop, code)
        return shop, self.revocation(shop)

    def closed(self, outcome, shop, row):
        self.assertEqual((row["outcome"], row["next_try_at"]), (outcome, None), row)
        self.assertTrue(row["asked_at"] <= row["closed_at"] <= iso(now()), row)
        self.assertEqual(self.waiting(shop), set())

    def kept(self, shop, row, at_least, at_most):
        self.assertEqual((row["outcome"], row["closed_at"]), ("waiting", None), row)
        self.assertEqual(self.waiting(shop), {"s"})
        wait = (parse_time(row["next_try_at"]) - self.before).total_seconds()
        self.assertTrue(at_least <= wait <= at_most + 2, wait)

    def test_2xx_is_revoked(self):
        for status in (200, 202, 204):
            with self.subTest(status):
                shop, row = self.answer(0, status=status)
                self.closed("revoked", shop, row)
                self.assertEqual((row["http_status"], row["attempts"]), (status, 1))

    def test_404_and_410_are_gone(self):
        for status in (404, 410):
            with self.subTest(status):
                shop, row = self.answer(0, status=status)
                self.closed("gone", shop, row)
                self.assertEqual(row["http_status"], status)

    def test_401_and_403_are_kept_and_an_error(self):
        for status in (401, 403):
            with self.subTest(status):
                shop, row = self.answer(77, status=status)
                self.kept(shop, row, 10, 60)
                self.assertRegex(self.said, rf"(?m)^error: session s .*{status}")
                self.sandbox.forget_requests()
                self.settle(shop)  # not due for another try
                self.assertEqual(self.asked(), [])

    def test_refused_key_does_not_lapse(self):
        shop = self.shop({})
        shop.session("s", KEY, created_at=ago(minutes=40))
        shop, row = self.answer(77, shop=shop, status=401)
        self.kept(shop, row, 10, 60)

    def test_429_is_tried_after_retry_after(self):
        for headers, body, seconds in (({"Retry-After": "7"}, {}, 7),
                                       ({}, {"success": False, "retry_after_seconds": 11}, 11),
                                       ({}, {}, 30)):
            with self.subTest(seconds):
                shop, row = self.answer(75, status=429, headers=headers, body=body)
                self.kept(shop, row, seconds - 0.1, seconds)
                self.assertEqual(row["http_status"], 429)

    def test_5xx_is_tried_again_at_once_and_then_with_backoff(self):
        shop = self.ended(vault={"retries": 1})
        self.sandbox.sessions(**{KEY: 1})
        self.settle(shop)
        self.closed("revoked", shop, self.revocation(shop))
        self.assertEqual(self.asked(), [KEY, KEY])
        shop, row = self.answer(75, status=503)
        self.kept(shop, row, 1, 10)
        self.assertRegex(self.said, r"(?m)^warning: session s .*503")

    def test_backoff_grows(self):
        shop = self.ended()
        self.sandbox.answer(path="/sessions/revoke", status=500, times=0)
        waits = []
        for attempts in (1, 2, 3):
            self.before = now()
            self.settle(shop, 75)
            row = self.revocation(shop)
            self.assertEqual(row["attempts"], attempts)
            waits.append(parse_time(row["next_try_at"]) - self.before)
            self.due_now(shop)
        self.assertTrue(waits[0] < waits[1] < waits[2], waits)

    @staticmethod
    def due_now(shop):
        """Brings the next try forward, where the test would wait."""
        database = sqlite3.connect(shop.ledger_path)
        with database:
            database.execute("UPDATE session_revocations SET next_try_at = ?", (iso(now()),))
        database.close()

    def test_running_daemon_tries_again_by_itself(self):
        shop = self.ended()
        self.sandbox.sessions(**{KEY: 1})
        daemon = shop.start()
        wait_until(lambda: not self.waiting(shop), 15, "the revocation")
        self.assertEqual(shop.stop(daemon), 0)
        row = self.revocation(shop)
        self.closed("revoked", shop, row)
        self.assertEqual(row["attempts"], 2)

    def test_no_answer_is_kept(self):
        for canned in ({"hang": True}, {"close": True}):
            with self.subTest(**canned):
                shop, row = self.answer(75, vault={"timeout": "300ms"}, **canned)
                self.kept(shop, row, 1, 10)
                self.assertIsNone(row["http_status"])

    def test_vault_that_is_not_there_is_no_matter_for_the_sync(self):
        shop = self.ended(vault={"url": "http://127.0.0.1:1"})
        self.settle(shop, 75)
        self.assertEqual(self.waiting(shop), {"s"})
        self.assertEqual(shop.ledger("SELECT cycle_outcome FROM daemon_state"),
                         [{"cycle_outcome": "ok"}])

    def test_lapsed_five_minutes_after_the_expiry(self):
        shop = self.shop({})
        shop.session("s", KEY, created_at=ago(minutes=35, seconds=1))
        shop, row = self.answer(0, shop=shop, status=500)
        self.closed("lapsed", shop, row)
        self.assertRegex(self.said, r"(?m)^warning: session s .*expired")
        shop = self.shop({})
        shop.session("s", KEY, created_at=ago(minutes=34, seconds=56))
        shop, row = self.answer(75, shop=shop, status=500)
        self.kept(shop, row, 1, 5)  # not later than the lapse
        lapse = parse_time(row["created_at"]) + datetime.timedelta(minutes=35)
        self.assertLessEqual(parse_time(row["next_try_at"]), lapse)

    def test_any_other_refusal_is_kept(self):
        for status in (302, 400, 422):
            with self.subTest(status):
                shop, row = self.answer(75, status=status)
                self.kept(shop, row, 1, 10)

    def test_without_a_vault_sessions_stay_and_are_a_warning(self):
        shop = self.shop("none")
        shop.session("s", KEY, ended="paid")
        shop.session("t", KEY, created_at=ago(minutes=40))
        said = self.settle(shop)
        self.assertRegex(said, r"(?m)^warning: .*2 session.*\[vault\] url")
        self.assertEqual(self.waiting(shop), {"s", "t"})
        self.assertEqual(self.sandbox.requests("/sessions/revoke"), [])
        self.assertEqual(shop.ledger("SELECT * FROM session_revocations"), [])


class Together(SessionCase):
    def many(self, n, **vault):
        shop = self.shop(vault, sync={"backfill": "10min", "interval": "300ms"})
        keys = [f"key{i}" for i in range(n)]
        self.sandbox.sessions(*keys)
        for key in keys:
            shop.session(key, key, ended="paid")
        return shop

    def test_one_that_hangs_delays_neither_the_others_nor_the_sync(self):
        shop = self.many(12, timeout="60s", concurrency=2,
                         revoke="DELETE /sessions/{sessionKey}")
        self.sandbox.answer(path="/sessions/key5", hang=True, times=0)
        daemon = shop.start()
        wait_until(lambda: self.waiting(shop) == {"key5"}, 10, "the other revocations")
        self.assertEqual(len(self.sandbox.revocations()), 11)
        self.sandbox.forget_requests()
        wait_until(lambda: len(self.sandbox.requests("/transQuery")) >= 2, 10, "the sync")
        shop.enqueue("o", attempted_at=ago(minutes=50))
        wait_until(lambda: (shop.verdict("o") or {}).get("verdict") == "not_charged", 10,
                   "a verdict")
        begun = time.monotonic()
        self.assertEqual(shop.stop(daemon), 0)
        self.assertLess(time.monotonic() - begun, 5)
        self.assertEqual(self.waiting(shop), {"key5"})

    def test_ones_that_fail_delay_no_other(self):
        shop = self.many(12, concurrency=4, retries=5)
        # Each of these is retried for half a minute.
        for i in (0, 3, 7):
            shop.queue("UPDATE sessions SET session_key = 'failing' || session_id"
                       " WHERE session_id = ?", (f"key{i}",))
            self.sandbox.sessions(**{f"failingkey{i}": 100})
        daemon = shop.start()
        wait_until(lambda: len(self.waiting(shop)) == 3, 10, "the other revocations")
        self.assertEqual(shop.stop(daemon), 0)

    def test_no_more_at_once_than_configured(self):
        shop = self.many(6, concurrency=3, timeout="2s")
        self.sandbox.answer(path="/sessions/revoke", hang=True, times=0)
        daemon = shop.start()
        wait_until(lambda: len(self.asked()) >= 3)
        time.sleep(0.5)
        self.assertEqual(len(self.asked()), 3)
        self.assertEqual(shop.stop(daemon), 0)

    def test_death_between_asking_and_noting_asks_again(self):
        shop = self.many(1, timeout="60s")
        self.sandbox.answer(path="/sessions/revoke", hang=True)
        daemon = shop.start()
        wait_until(self.asked)
        shop.stop(daemon, signal.SIGKILL)
        self.settle(shop)
        self.assertEqual(self.waiting(shop), set())
        self.assertEqual(self.revocation(shop, "key0")["outcome"], "revoked")


class Wire(SessionCase):
    def test_key_goes_in_the_body_and_is_authorised(self):
        shop = self.ended()
        self.settle(shop)
        one, = self.sandbox.requests("/sessions/revoke")
        self.assertEqual((one["method"], one["key_ok"], json.loads(one["body"])),
                         ("POST", True, {"sessionKey": KEY}))

    def test_key_in_the_path(self):
        key = "a b/c?d=%41&\u00e9"
        shop = self.ended(key, vault={"revoke": "DELETE /sessions/{sessionKey}"})
        self.settle(shop)
        self.assertEqual([one["session_key"] for one in self.sandbox.revocations()], [key])
        self.assertEqual(self.sandbox.requests("/sessions/revoke"), [])
        one, = [one for one in self.sandbox.requests() if one["method"] == "DELETE"]
        self.assertTrue(one["key_ok"])
        self.assertEqual(one["body"], "")

    def test_odd_keys_arrive_as_they_are(self):
        keys = ['quote " backslash \\ slash /', "line\nbreak\ttab", "\u00fcml\u00e4ut \U0001f511",
                "k" * 4096]
        shop = self.shop({})
        self.sandbox.sessions(*keys)
        for i, key in enumerate(keys):
            shop.session(str(i), key, ended="paid")
        self.settle(shop)
        self.assertEqual({one["session_key"] for one in self.sandbox.revocations()}, set(keys))

    def test_redirect_is_not_followed(self):
        other = self.start_sandbox()
        shop = self.ended()
        self.sandbox.answer(path="/sessions/revoke", status=307,
                            headers={"Location": other.url + "/sessions/revoke"})
        self.settle(shop, 75)
        self.assertEqual(other.requests(), [])


class KeysLeaveNoTrace(SessionCase):
    def files_with(self, shop, key, name="*"):
        """Which files of the shop's directory hold the key. By another process: closing a file
        here would give up the locks of this process's own connections to it."""
        done = subprocess.run(["grep", "-rlaF", f"--include={name}", "-e", key, shop.directory],
                              stdout=subprocess.PIPE, text=True, check=False)
        return sorted(os.path.basename(path) for path in done.stdout.splitlines())

    def busy_app(self, shop, key):
        """An app at work, whose SQLite wipes nothing by itself: the row is moved and copied within
        the file before it is ended."""
        for i in range(60):
            shop.session(f"other {i}", f"other key {i} " + "x" * (i * 37 % 900))
        shop.session("s", key)
        app = sqlite3.connect(shop.queue_path, isolation_level=None, timeout=10)
        self.addCleanup(app.close)
        app.execute("PRAGMA secure_delete=OFF")
        for i in range(30):
            app.execute("UPDATE sessions SET last_seen_at = ? WHERE session_id = 's'",
                        (iso(ago(seconds=30 - i)),))
            # A row that is replaced, grows and shrinks leaves copies of itself behind.
            app.execute("REPLACE INTO sessions (session_id, session_key, order_id)"
                        " VALUES ('s', ?, ?)", (key, "o" * (i * 17 % 128)))
            app.execute("DELETE FROM sessions WHERE session_id = ?", (f"other {i}",))
        self.assertTrue(self.files_with(shop, KEY))
        app.execute("UPDATE sessions SET ended = 'paid' WHERE session_id = 's'")

    def test_key_is_overwritten_once_the_session_is_closed(self):
        for key in (KEY, KEY + "y" * 3000, KEY + "z" * 4000):
            with self.subTest(length=len(key)):
                shop = self.shop({})
                self.sandbox.sessions(key)
                self.busy_app(shop, key)
                self.settle(shop)
                self.assertEqual(self.revocation(shop)["outcome"], "revoked")
                self.assertEqual(self.files_with(shop, KEY), [])
                self.assertEqual(len(self.waiting(shop)), 30)

    def test_key_is_overwritten_with_the_daemon_running(self):
        shop = self.shop({})
        self.sandbox.sessions(KEY)
        daemon = shop.start()
        self.busy_app(shop, KEY)
        wait_until(lambda: self.revocation(shop), what="the revocation")
        wait_until(lambda: not self.files_with(shop, KEY), what="the overwriting")
        self.assertEqual(shop.stop(daemon), 0)
        self.assertEqual(self.files_with(shop, KEY), [])

    def test_key_is_overwritten_when_a_reader_lets_go(self):
        shop = self.ended()
        reader = sqlite3.connect(shop.queue_path, isolation_level=None)
        self.addCleanup(reader.close)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sessions").fetchall()
        daemon = shop.start()
        wait_until(lambda: not self.waiting(shop), what="the revocation")
        reader.execute("COMMIT")
        wait_until(lambda: not self.files_with(shop, KEY), 15, "the overwriting")
        self.assertEqual(shop.stop(daemon), 0)

    def test_key_is_overwritten_after_a_death_before_that(self):
        shop = self.ended()
        # It stays open, so that it is not its end that empties the WAL.
        reader = sqlite3.connect(shop.queue_path, isolation_level=None)
        self.addCleanup(reader.close)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sessions").fetchall()
        daemon = shop.start()
        wait_until(lambda: not self.waiting(shop), what="the revocation")
        shop.stop(daemon, signal.SIGKILL)
        self.assertTrue(self.files_with(shop, KEY))
        reader.execute("COMMIT")
        self.settle(shop)
        self.assertEqual(self.files_with(shop, KEY), [])

    def test_every_way_to_close_overwrites(self):
        for status, created in ((404, ago(minutes=1)), (500, ago(minutes=40))):
            with self.subTest(status):
                shop = self.shop({})
                shop.session("s", KEY, ended="paid", created_at=created)
                self.sandbox.answer(path="/sessions/revoke", status=status)
                self.settle(shop)
                self.assertEqual(self.files_with(shop, KEY), [])

    def test_key_is_in_no_ledger_and_no_log(self):
        echo = {"success": False, "message": f"session {KEY} is odd", "data": None}
        for revoke, path in (("POST /sessions/revoke", "/sessions/revoke"),
                             ("DELETE /sessions/{sessionKey}", f"/sessions/{KEY}")):
            for canned in ({"status": 200, "body": echo}, {"status": 400, "body": echo},
                           {"status": 401, "body": echo}, {"status": 429, "body": echo},
                           {"status": 500, "body": echo}, {"hang": True}, {"close": True},
                           {"status": 302, "headers": {"Location": f"/elsewhere/{KEY}"}}):
                with self.subTest(revoke=revoke, **canned):
                    shop = self.ended(vault={"revoke": revoke, "timeout": "200ms"})
                    self.sandbox.answer(path=path, **canned)
                    done = shop.once("--debug")
                    self.assertIsNotNone(self.revocation(shop))
                    self.assertNotIn(KEY, done.stderr + done.stdout)
                    self.assertEqual(self.files_with(shop, KEY, "ledger*"), [])

    def test_command_line_takes_the_key_from_standard_input_only(self):
        shop = self.shop({})
        self.sandbox.sessions(KEY)
        done = shop.ctl("session", "add", "s", "--expires-in", 600, input=KEY + "\n")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(shop.queue("SELECT session_key, expires_in FROM sessions"),
                         [{"session_key": KEY, "expires_in": 600}])
        done = shop.ctl("session", "add", "s", input=KEY + "\n")  # it is there already
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn(KEY, done.stderr + done.stdout)
        self.assertEqual(shop.ctl("session", "seen", "s").returncode, 0)
        self.assertTrue(shop.queue("SELECT last_seen_at FROM sessions")[0]["last_seen_at"])
        self.assertEqual(shop.ctl("session", "end", "s", "paid").returncode, 0)
        self.settle(shop)
        self.assertEqual(self.revocation(shop)["why"], "paid")
        self.assertEqual(self.files_with(shop, KEY), [])


if __name__ == "__main__":
    unittest.main()
