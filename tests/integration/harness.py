"""Drives the real programs from tests: the sandbox, the daemon, the command line, the databases.

RECONCILED_BUILD names the directory of the programs (build/check). Whatever a program writes to
standard error is searched for a sanitizer's report; one fails the test that met it."""
import collections
import datetime
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("RECONCILED_BUILD", "build/check"))
API_KEY = "sandbox-key"
VAULT_KEY = "sandbox-vault-key"
MERCHANT = "test-merchant"

_SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|SUMMARY: \w*Sanitizer")
_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
                "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99"}


class SanitizerReport(AssertionError):
    """A program broke a rule of the language and said so."""


def check_stderr(program, text):
    if _SANITIZER.search(text):
        raise SanitizerReport(f"{program}:\n{text}")


def program(name):
    return os.path.join(BUILD, name)


def environment(**more):
    """What a program gets: a short and known environment, without the caller's secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR")
            if name in os.environ}
    return {**kept, **_ENVIRONMENT, **more}


def wait_until(condition, seconds=10, what="the condition"):
    """Polls until condition() is true and returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(0.02)


# --- time -------------------------------------------------------------------

def now():
    return datetime.datetime.now(datetime.timezone.utc)


def ago(**duration):
    """ago(hours=2): the instant two hours before now."""
    return now() - datetime.timedelta(**duration)


def after(instant, **duration):
    return instant + datetime.timedelta(**duration)


def iso(instant):
    """2026-11-22T14:03:07.250Z; a text is taken as it is."""
    if isinstance(instant, str):
        return instant
    utc = instant.astimezone(datetime.timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03}Z"


def query_time(instant):
    """2026-11-22 14:03:07, the form of dateFrom and dateTo."""
    return iso(instant)[:19].replace("T", " ")


def parse_time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


# --- records ----------------------------------------------------------------

_ids = 0


def record(at=None, **members):
    """A record as transQuery lists it: a settled CreditCardSale of 49.00 USD an hour ago, changed
    by `members`; a member that is None is left out."""
    global _ids
    _ids += 1
    instant = at or ago(hours=1)
    date = iso(instant)
    whole = {
        "transactionId": f"{date[2:4]}{date[5:7]}{date[8:10]}{_ids:011X}",
        "transactionType": "CreditCardSale",
        "amount": "49.00",
        "currency": "USD",
        "transDate": date,
        "createdAt": date,
        "status": "approved",
        "cardLastFour": "4242",
        "cardBin": "424242",
        "cardBrand": "Visa",
        "cardExpMonth": "09",
        "cardExpYear": "2030",
        "isCreditCard": True,
        "firstName": "Jane",
        "lastName": "Smith",
        "email": "jane@example.com",
        "phone": "+15551234567",
        "address1": "123 Main St",
        "city": "San Francisco",
        "state": "CA",
        "zipcode": "94102",
        "country": "US",
        "clientIpAddress": "198.51.100.7",
        "ozuraMerchantId": MERCHANT,
    }
    whole.update(members)
    return {name: value for name, value in whole.items() if value is not None}


def sale_for(order_id, at=None, **members):
    """A sale that carries an order's id."""
    return record(at, metadata={"orderId": order_id}, **members)


# --- the sandbox ------------------------------------------------------------

class Sandbox:
    """The sandbox, started; also a context manager. Without arguments it is empty and has no
    rate limit."""

    def __init__(self, *arguments, env=None):
        self.stderr = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [program("ozura-sandbox"), *(arguments or ("--empty", "--rate-per-minute", "0"))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.stderr, text=True,
            env=environment(**(env or {})))
        line = self.process.stdout.readline()
        found = re.fullmatch(r"ozura-sandbox: listening on (http://127\.0\.0\.1:(\d+))\n", line)
        if not found:
            code = self._end(signal.SIGKILL)
            raise AssertionError(f"sandbox: exit {code}: {line!r} {self.messages()}")
        self.url, self.port = found[1], int(found[2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def messages(self):
        self.stderr.seek(0)
        return self.stderr.read()

    def _end(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.stdout.close()

    def stop(self):
        """Ends it in order; once is enough, twice does no harm."""
        if self.stderr.closed:
            return
        code = self._end(signal.SIGTERM)
        messages = self.messages()
        self.stderr.close()
        check_stderr("ozura-sandbox", messages)
        assert code == 0, f"ozura-sandbox: exit {code}: {messages}"

    # Requests as the daemon makes them.

    def get(self, path="/transQuery", key=API_KEY, merchant=MERCHANT, **query):
        """(status, headers, body) of a GET; parameters that are None are left out."""
        query = {"merchantId": merchant, **query}
        query = {name: value for name, value in query.items() if value is not None}
        return self.request("GET", f"{path}?{urllib.parse.urlencode(query)}", key=key)

    def request(self, method, path, body=None, key=None):
        headers = {"x-api-key": key} if key else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.headers, refused.read()

    # The control interface.

    def control(self, method, name, body=None):
        status, _, text = self.request(method, f"/_sandbox/{name}", body)
        if status != 200:
            raise AssertionError(f"{method} {name}: {status} {text.decode(errors='replace')}")
        return json.loads(text)

    def add(self, *records, **wrapper):
        """Adds records; visible_at, created_at and hidden_after wrap each of them."""
        if wrapper:
            wrapper = {name: iso(value) if name != "id" else value
                       for name, value in wrapper.items()}
            records = [{"record": one, **wrapper} for one in records]
        self.control("POST", "records", list(records))

    def add_raw(self, text, **wrapper):
        """Puts any text in the place of a record."""
        self.control("POST", "records",
                     [{"raw": text, **{name: iso(value) if name != "id" else value
                                       for name, value in wrapper.items()}}])

    def remove(self, transaction_id=None):
        name = "records"
        if transaction_id is not None:
            name += "?" + urllib.parse.urlencode({"id": transaction_id})
        return self.control("DELETE", name)["deleted"]

    def records(self):
        return self.control("GET", "records")

    def answer(self, **canned):
        """Queues a canned answer: answer(path="/transQuery", status=503, times=2)."""
        self.control("POST", "answers", canned)

    def answers(self):
        """The canned answers that are left."""
        return self.control("GET", "answers")

    def forget_answers(self):
        self.control("DELETE", "answers")

    def requests(self, path=None):
        return [one for one in self.control("GET", "requests")
                if path is None or one["path"] == path]

    def forget_requests(self):
        self.control("DELETE", "requests")

    def settings(self, **changes):
        return self.control("POST" if changes else "GET", "settings", changes or None)

    def truth(self):
        return self.control("GET", "truth")

    def revocations(self):
        return self.control("GET", "revocations")

    def sessions(self, *keys, **failing):
        """Makes session keys known: sessions("a", "b", c=2), where c fails twice at first."""
        self.control("POST", "sessions", list(keys) + [
            {"session_key": key, "fail_first": times} for key, times in failing.items()])


# --- the product ------------------------------------------------------------

class Shop:
    """One merchant: a configuration, a queue, a ledger, and the programs run on them. Sections of
    the configuration are given as dictionaries: Shop(sandbox, sync={"interval": "1s"})."""

    def __init__(self, sandbox=None, **sections):
        self.sandbox = sandbox
        self.directory = tempfile.mkdtemp(prefix="reconciled-test-")
        self.config_path = os.path.join(self.directory, "reconciled.conf")
        self.ledger_path = os.path.join(self.directory, "ledger.db")
        self.queue_path = os.path.join(self.directory, "queue.db")
        self.secrets = {"MERCHANT_API_KEY": API_KEY, "VAULT_API_KEY": VAULT_KEY}
        self.daemons = []
        self.config(**sections)

    def __enter__(self):
        return self.prepare()

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the daemons and removes the directory."""
        try:
            for daemon in list(self.daemons):
                self.stop(daemon)
        finally:
            for daemon in self.daemons:
                daemon.kill()
                daemon.wait()
            shutil.rmtree(self.directory, ignore_errors=True)

    def config(self, **sections):
        """Writes reconciled.conf: what every test needs, changed by `sections`; a value that is
        None takes its key out, a section that is None takes all of it out."""
        url = self.sandbox.url if self.sandbox else "http://127.0.0.1:1"
        whole = {"merchant": {"id": MERCHANT}, "pay": {"url": url}, "vault": {"url": url},
                 "ledger": {"path": self.ledger_path}, "queue": {"path": self.queue_path}}
        for section, keys in sections.items():
            whole[section] = None if keys is None else {**(whole.get(section) or {}), **keys}
        with open(self.config_path, "w", encoding="utf-8") as out:
            for section, keys in whole.items():
                if keys is None:
                    continue
                out.write(f"[{section}]\n")
                for key, value in keys.items():
                    if value is not None:
                        out.write(f"{key} = {value}\n")
        return self.config_path

    def run(self, name, *arguments, timeout=60, input=None, env=None):
        done = subprocess.run([program(name), *arguments], cwd=self.directory, timeout=timeout,
                              env=environment(**self.secrets, **(env or {})),
                              input=input if input is not None else "", text=True,
                              errors="replace", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        check_stderr(name, done.stderr)
        return done

    def prepare(self):
        """Creates both databases."""
        done = self.run("reconciled", "--config", self.config_path, "--create")
        if done.returncode != 0:
            raise AssertionError(f"reconciled --create: exit {done.returncode}: {done.stderr}")
        return self

    def once(self, *arguments, timeout=60, **more):
        """One cycle; the caller looks at returncode and stderr."""
        return self.run("reconciled", "--config", self.config_path, "--once", *arguments,
                        timeout=timeout, **more)

    def ctl(self, *arguments, **more):
        return self.run("reconctl", "--config", self.config_path, *map(str, arguments), **more)

    # The daemon.

    def start(self, *arguments):
        """Starts the daemon; its log is in daemon.log_path. close() ends what is left."""
        log_path = os.path.join(self.directory, f"daemon-{time.monotonic_ns()}.log")
        with open(log_path, "w", encoding="utf-8") as log:
            daemon = subprocess.Popen(
                [program("reconciled"), "--config", self.config_path, *arguments],
                cwd=self.directory, env=environment(**self.secrets), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log)
        daemon.log_path = log_path
        self.daemons.append(daemon)
        return daemon

    @staticmethod
    def log(daemon):
        with open(daemon.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def stop(self, daemon, number=signal.SIGTERM, seconds=10):
        """Sends a signal, waits, and returns the exit status (negative: died of a signal)."""
        if daemon in self.daemons:
            self.daemons.remove(daemon)
        if daemon.poll() is None:
            daemon.send_signal(number)
        try:
            code = daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
            raise AssertionError(f"the daemon did not end within {seconds} s:\n{self.log(daemon)}")
        check_stderr("reconciled", self.log(daemon))
        return code

    # The databases.

    @staticmethod
    def _rows(path, mode, sql, parameters):
        uri = f"file:{urllib.parse.quote(path)}?mode={mode}"
        database = sqlite3.connect(uri, uri=True, timeout=10)
        try:
            database.row_factory = sqlite3.Row
            with database:
                return [dict(row) for row in database.execute(sql, parameters)]
        finally:
            database.close()

    def ledger(self, sql, parameters=()):
        """Rows of the ledger, opened as a reader opens it."""
        return self._rows(self.ledger_path, "ro", sql, parameters)

    def queue(self, sql, parameters=()):
        """Runs a statement on the queue, as the app does."""
        return self._rows(self.queue_path, "rw", sql, parameters)

    def queue_script(self, path):
        """Runs a file of INSERTs, such as the sandbox writes."""
        database = sqlite3.connect(self.queue_path, timeout=10)
        try:
            with open(path, encoding="utf-8") as script:
                database.executescript(script.read())
        finally:
            database.close()

    def _insert(self, table, **columns):
        columns = {name: iso(value) if isinstance(value, datetime.datetime) else value
                   for name, value in columns.items()}
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        self.queue(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(columns.values()))

    def enqueue(self, order_id, amount="49.00", attempted_at=None, **columns):
        """An order of unknown outcome, attempted an hour ago unless said otherwise."""
        self._insert("pending_orders", order_id=order_id, amount=amount,
                     attempted_at=attempted_at or ago(hours=1), **columns)

    def claim(self, transaction_id, order_id):
        self._insert("claims", transaction_id=transaction_id, order_id=order_id)

    def session(self, session_id, session_key, **columns):
        self._insert("sessions", session_id=session_id, session_key=session_key, **columns)

    def verdict(self, order_id):
        """The order's row of order_status, or None."""
        rows = self.ledger("SELECT * FROM order_status WHERE order_id = ?", (order_id,))
        return rows[0] if rows else None


# --- test cases -------------------------------------------------------------

class Case(unittest.TestCase):
    """Programs that a test starts end with it, and a sanitizer's report fails it."""

    def start_sandbox(self, *arguments, **more):
        sandbox = Sandbox(*arguments, **more)
        self.addCleanup(sandbox.stop)
        return sandbox

    def open_shop(self, sandbox=None, **sections):
        shop = Shop(sandbox, **sections)
        self.addCleanup(shop.close)
        return shop.prepare()


def page_through(sandbox, **query):
    """Every record of a listing, page by page."""
    found, page = [], 1
    while True:
        status, _, body = sandbox.get(page=page, **query)
        assert status == 200, (status, body)
        answer = json.loads(body)
        found += answer["transactions"]
        if not answer["pagination"]["hasNextPage"]:
            return found
        page += 1


def count_by(rows, name):
    return collections.Counter(row[name] for row in rows)
