"""The API keys and what is personal: nowhere but where they have to be."""
import glob
import os
import socket
import ssl
import subprocess
import threading
import unittest

from harness import MERCHANT, Case, after, ago, record, sale_for, wait_until

PAY_KEY = "pk_live_51c0ffee-pay-do-not-tell"
VAULT_KEY = "vk_live_51c0ffee-vault-do-not-tell"
SECRETS = (PAY_KEY, VAULT_KEY)


class SecretCase(Case):
    def setUp(self):
        self.sandbox = self.start_sandbox()
        self.sandbox.settings(api_key=PAY_KEY, vault_key=VAULT_KEY)

    def shop(self, **sections):
        shop = self.open_shop(self.sandbox, **{
            **sections, "sync": {"backfill": "10min"},
            "pay": {"rate_per_minute": 100000, "retries": 0, "timeout": "300ms",
                    **sections.get("pay", {})},
            "vault": {"retries": 0, "timeout": "300ms", **sections.get("vault", {})}})
        shop.secrets = {"MERCHANT_API_KEY": PAY_KEY, "VAULT_API_KEY": VAULT_KEY}
        return shop

    def check_silent(self, *texts):
        for text in texts:
            for secret in SECRETS:
                self.assertNotIn(secret, text)

    def check_files(self, shop, *secrets):
        """No file of the shop holds one of these."""
        for path in glob.glob(os.path.join(shop.directory, "**"), recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    held = file.read()
                for secret in secrets or SECRETS:
                    self.assertNotIn(secret.encode(), held, path)


class Keys(SecretCase):
    def test_both_keys_are_used_and_told_to_nobody(self):
        shop = self.shop()
        self.sandbox.add(record(ago(minutes=5)))
        self.sandbox.sessions("session key")
        shop.session("s", "session key", ended="paid")
        done = shop.once("--debug")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(all(one["key_ok"] for one in self.sandbox.requests()))
        self.assertEqual(len(self.sandbox.revocations()), 1)
        self.check_silent(done.stderr, done.stdout)
        self.check_files(shop)

    def test_no_answer_makes_the_program_tell(self):
        echo = {"success": False, "message": f"the key {PAY_KEY} or {VAULT_KEY} is wrong"}
        away = f"/elsewhere?key={PAY_KEY}{VAULT_KEY}"
        for canned in ({"status": 200, "body": echo}, {"status": 400, "body": echo},
                       {"status": 401, "body": echo}, {"status": 403, "body": echo},
                       {"status": 404, "body": echo}, {"status": 500, "body": echo},
                       {"status": 200, "body": f"<{PAY_KEY} {VAULT_KEY}"},
                       {"status": 302, "headers": {"Location": away}},
                       {"status": 429, "headers": {"Retry-After": f"{PAY_KEY}"}},
                       {"hang": True}, {"close": True}):
            with self.subTest(**canned):
                # What 429 asks for is waited for before the cycle ends: only the Vault's.
                path = {"path": "/sessions/revoke"} if canned.get("status") == 429 else {}
                shop = self.shop()
                shop.session("s", "session key", ended="paid")
                self.sandbox.answer(times=0, **path, **canned)
                done = shop.once("--debug")
                self.sandbox.forget_answers()
                self.assertTrue(done.stderr)
                self.check_silent(done.stderr, done.stdout)
                self.check_files(shop)

    def test_an_unreachable_server_makes_it_not_tell_either(self):
        for url in ("http://127.0.0.1:1", "https://127.0.0.1:1", "https://unknown.invalid"):
            with self.subTest(url):
                shop = self.shop(pay={"url": url}, vault={"url": url})
                shop.session("s", "session key", ended="paid")
                done = shop.once("--debug")
                self.assertEqual(done.returncode, 75, done.stderr)
                self.check_silent(done.stderr, done.stdout)
                self.check_files(shop)

    def test_running_daemon_shows_it_to_no_other_user(self):
        shop = self.shop()
        daemon = shop.start("--debug")
        wait_until(lambda: shop.ledger("SELECT 1 FROM daemon_state"
                                       " WHERE cycle_ended_at IS NOT NULL"))
        with open(f"/proc/{daemon.pid}/cmdline", encoding="utf-8") as file:
            self.check_silent(file.read())
        with open(f"/proc/{daemon.pid}/limits", encoding="utf-8") as file:
            limits = {line[:26].strip(): line[26:].split() for line in file}
        self.assertEqual(limits["Max core file size"][:2], ["0", "0"])
        self.assertEqual(shop.stop(daemon), 0)
        self.check_silent(shop.log(daemon))
        self.check_files(shop)

    def test_probe_and_command_line_do_not_tell(self):
        shop = self.shop()
        self.sandbox.answer(path="/transQuery", status=401, times=0,
                            body={"message": f"bad key {PAY_KEY}"})
        for done in (shop.run("reconciled", "--config", shop.config_path, "--probe"),
                     shop.ctl("doctor"), shop.ctl("status")):
            self.check_silent(done.stderr, done.stdout)

    def test_each_key_goes_to_its_own_server(self):
        vault = self.start_sandbox()
        vault.settings(api_key=PAY_KEY, vault_key=VAULT_KEY)
        vault.sessions("session key")
        shop = self.shop(vault={"url": vault.url})
        shop.session("s", "session key", ended="paid")
        self.assertEqual(shop.once().returncode, 0)
        self.assertEqual({one["path"] for one in vault.requests()}, {"/sessions/revoke"})
        self.assertEqual({one["path"] for one in self.sandbox.requests()}, {"/transQuery"})
        self.assertTrue(all(one["key_ok"] for one in vault.requests() + self.sandbox.requests()))

    def test_redirect_is_not_followed(self):
        other = self.start_sandbox()
        for status in (301, 302, 303, 307, 308):
            with self.subTest(status):
                shop = self.shop()
                self.sandbox.answer(path="/transQuery", status=status, times=0,
                                    headers={"Location": other.url + "/transQuery"})
                self.assertEqual(shop.once().returncode, 76)
                self.sandbox.forget_answers()
                self.assertEqual(other.requests(), [])

    def test_certificate_is_verified(self):
        # A server whose certificate nobody vouches for is told nothing.
        shop = self.shop()
        key, certificate = (os.path.join(shop.directory, name) for name in ("key", "certificate"))
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
                               "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                               "-keyout", key, "-out", certificate], capture_output=True,
                              check=False)
        if made.returncode != 0:
            self.skipTest("no openssl")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        heard = []

        def serve(listener):
            while True:
                try:
                    plain, _ = listener.accept()
                    with plain, context.wrap_socket(plain, server_side=True) as connection:
                        heard.append(connection.recv(65536))
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            shop.config(pay={"url": f"https://127.0.0.1:{listener.getsockname()[1]}",
                             "retries": 0, "timeout": "2s"}, sync={"backfill": "10min"})
            done = shop.once("--debug")
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        self.assertEqual(done.returncode, 75, done.stderr)
        self.assertIn("certificate", done.stderr)
        self.assertEqual(b"".join(heard), b"")


class Sources(SecretCase):
    def check(self, shop, code, **env):
        done = shop.run("reconciled", "--config", shop.config_path, "--check-config", env=env)
        self.assertEqual(done.returncode, code, done.stderr)
        self.check_silent(done.stderr, done.stdout)
        return done.stderr

    def test_credential_file_comes_before_the_environment(self):
        shop = self.shop()
        credentials = os.path.join(shop.directory, "credentials")
        os.mkdir(credentials)
        for name, key in (("merchant_api_key", PAY_KEY), ("vault_api_key", VAULT_KEY)):
            with open(os.path.join(credentials, name), "w", encoding="ascii") as file:
                file.write(key + "\n")
        shop.secrets = {"MERCHANT_API_KEY": "old", "VAULT_API_KEY": "old"}
        done = shop.once(env={"CREDENTIALS_DIRECTORY": credentials})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(all(one["key_ok"] for one in self.sandbox.requests()))

    def test_missing_key_is_a_matter_of_configuration(self):
        for missing in ("MERCHANT_API_KEY", "VAULT_API_KEY"):
            shop = self.shop()
            del shop.secrets[missing]
            self.assertIn(missing, self.check(shop, 78))
            self.assertEqual(self.sandbox.requests(), [])

    def test_odd_key_is_refused_without_being_told(self):
        for key in (PAY_KEY + "\r\nX-Other: 1", PAY_KEY + "\u00e9", "a " + PAY_KEY,
                    PAY_KEY + "x" * 5000):
            shop = self.shop()
            shop.secrets["MERCHANT_API_KEY"] = key
            self.assertIn("MERCHANT_API_KEY", self.check(shop, 78))

    def test_secret_in_the_file_is_refused_with_its_place(self):
        for section, entry in (("merchant", "api_key"), ("merchant", "merchant_api_key"),
                               ("pay", "api_key"), ("pay", "key"), ("pay", "x-api-key"),
                               ("vault", "api_key"), ("vault", "vault_api_key"),
                               ("pay", "password"), ("pay", "token"), ("pay", "MERCHANT_API_KEY")):
            with self.subTest(section=section, key=entry):
                shop = self.shop()
                with open(shop.config_path, "a", encoding="utf-8") as file:
                    file.write(f"# a comment\n[{section}]\n{entry} = {PAY_KEY}\n")
                with open(shop.config_path, encoding="utf-8") as file:
                    line = len(file.readlines())
                said = self.check(shop, 78)
                self.assertIn(f"{shop.config_path}:{line}: ", said)

    def test_secret_in_a_url_is_refused_with_its_place(self):
        for url in (f"https://user:{PAY_KEY}@api.example.com", f"https://{PAY_KEY}@api.example.com",
                    f"https://api.example.com/?key={PAY_KEY}",
                    f"https://api.example.com/#{PAY_KEY}"):
            with self.subTest(url):
                shop = self.shop(merchant=None)
                shop.config(merchant=None, ledger=None, queue=None, vault=None, pay={"url": url})
                said = self.check(shop, 78, MERCHANT_ID=MERCHANT)
                self.assertIn(f"{shop.config_path}:2: ", said)

    def test_plain_http_is_for_loopback_only(self):
        shop = self.shop()
        good = ("https://api.example.com", "https://api.example.com/v2/", "http://127.0.0.1:8080",
                "http://127.255.0.9", "http://localhost", "http://[::1]:80")
        bad = ("http://api.example.com", "http://10.0.0.1", "http://192.168.1.1:8080",
               "http://127.0.0.1.example.com", "http://localhost.example.com",
               "http://localhost@example.com", "http://127.0.0.1@example.com", "http://0.0.0.0",
               "http://[::2]", "http://[::ffff:10.0.0.1]", "http://128.0.0.1", "ftp://127.0.0.1",
               "file:///etc/passwd", "api.example.com", "//api.example.com", "http://",
               "https://", "http://127.0.0.1\\@example.com")
        for section in ("pay", "vault"):
            for url in good + bad:
                with self.subTest(section=section, url=url):
                    shop.config(**{section: {"url": url}})
                    said = self.check(shop, 78 if url in bad else 0)
                    if url in bad:
                        self.assertRegex(said, rf"{shop.config_path}:\d+: ")


class Personal(SecretCase):
    def test_ledger_holds_no_name_address_phone_ip_or_email(self):
        shop = self.shop(pay={"timeout": "30s"})
        sale = sale_for("o", ago(minutes=5), firstName="Wilhelmina", lastName="Xanthopoulos",
                        email="wilhelmina@example.org", phone="+4917055512345",
                        address1="Kastanienallee 77", city="Recklinghausen", zipcode="45657",
                        clientIpAddress="203.0.113.177")
        broken = {**record(ago(minutes=4)), **{name: sale[name] for name in (
            "firstName", "lastName", "email", "phone", "address1", "clientIpAddress")},
            "amount": "forty-nine"}
        self.sandbox.add(sale, broken)
        shop.enqueue("o", attempted_at=after(ago(minutes=5), seconds=-5),
                     billing_email="Wilhelmina@example.org")
        done = shop.once("--debug")
        self.assertEqual(done.returncode, 76, done.stderr)
        self.assertEqual(shop.verdict("o")["verdict"], "charged")
        held = ("ilhelmina", "Xanthopoulos", "4917055512345", "Kastanienallee", "Recklinghausen",
                "203.0.113.177")
        for text in held:
            self.assertNotIn(text, done.stderr)
        for path in glob.glob(shop.ledger_path + "*"):
            with open(path, "rb") as file:
                content = file.read()
            for text in held:
                self.assertNotIn(text.encode(), content, path)

    def test_hash_of_an_email_is_keyed(self):
        hashes = []
        self.sandbox.add(record(ago(minutes=5)))
        for _ in range(2):
            shop = self.shop()
            self.assertEqual(shop.once().returncode, 0)
            hashes += [row["email_hash"] for row in shop.ledger("SELECT * FROM transactions")]
        self.assertEqual(len(set(hashes)), 2, "two ledgers, one hash of the same address")

    def test_raw_records_are_kept_only_when_asked_for(self):
        self.sandbox.add(record(ago(minutes=5)))
        for keep in ("no", "yes"):
            shop = self.shop()
            shop.config(ledger={"keep_raw": keep}, sync={"backfill": "10min"})
            self.assertEqual(shop.once().returncode, 0)
            row, = shop.ledger("SELECT raw FROM transactions")
            if keep == "yes":
                self.assertIn("Smith", row["raw"])
            else:
                self.assertIsNone(row["raw"])


if __name__ == "__main__":
    unittest.main()
