"""What the tests inside of a booted system share: running commands as users, asking systemd and the
journal, the configuration of a test, and the run itself."""
import grp
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
import threading
import unittest

from harness import wait_until

UNIT = "reconciled.service"
STATE = "/var/lib/reconciled"
LEDGER = f"{STATE}/ledger.db"
QUEUE = f"{STATE}/queue/queue.db"
CONFIG = "/etc/reconciled/reconciled.conf"


def run(*command, user=None, check=True, input=None, timeout=60, env=None):
    """Runs a command, as a user with that user's groups if one is given."""
    if user:
        account = pwd.getpwnam(user)
        command = ("setpriv", f"--reuid={user}", f"--regid={account.pw_gid}", "--init-groups",
                   *command)
    done = subprocess.run(command, text=True, errors="replace", timeout=timeout, check=False,
                          input=input if input is not None else "", stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=dict(os.environ, **(env or {})))
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def systemctl(*arguments, check=True):
    return run("systemctl", *arguments, check=check)


def show(unit, name):
    return systemctl("show", "--value", "-p", name, unit).stdout.strip()


def pid_of(unit):
    return int(show(unit, "MainPID"))


def kill_main(unit, number):
    pid = pid_of(unit)
    assert pid > 1, f"{unit} has no main process"
    os.kill(pid, number)
    return pid


def active_again(unit, old_pid):
    """Waits until the unit runs with another process than before."""
    wait_until(lambda: show(unit, "ActiveState") == "active" and pid_of(unit) not in (0, old_pid),
               30, f"{unit} active again")


def journal(unit=UNIT, **fields):
    matches = [f"{name}={value}" for name, value in fields.items()]
    done = run("journalctl", "--no-pager", "-o", "json", f"_SYSTEMD_UNIT={unit}", *matches)
    return [json.loads(line) for line in done.stdout.splitlines()]


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    os.chmod(path, mode)


def configuration(url, **more):
    sections = {"merchant": {"id": "test-merchant"},
                "pay": {"url": url, "rate_per_minute": 60000, "rate_share": "100%", "retries": 0},
                "vault": {"url": url},
                "sync": {"interval": "500ms", "fast_interval": "200ms", "backfill": "2d",
                         "edge_lag": "0s"},
                "match": {"after": "1s", "before": "1s", "absence_grace": "1s"}}
    for section, keys in more.items():
        sections[section] = {**sections.get(section, {}), **keys}
    return "".join(f"[{section}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
                   for section, keys in sections.items())


def sql(path, statement, user="root", check=True):
    """The app's and the analyst's way: sqlite3 of their own."""
    done = run("sqlite3", "-bail", path, ".timeout 5000", statement, user=user, check=check)
    return done.stdout.strip() if check else done


def count(path, table, user="root"):
    return int(sql(path, f"SELECT count(*) FROM {table}", user))


def verdict_of(order_id, state=STATE):
    return sql(f"{state}/ledger.db",
               f"SELECT verdict FROM order_status WHERE order_id='{order_id}'", "analyst")


def mode_of(path):
    found = os.stat(path)
    return (stat.S_IMODE(found.st_mode), pwd.getpwuid(found.st_uid).pw_name,
            grp.getgrgid(found.st_gid).gr_name)


def answer_names():
    """A name server for the whole of example.test: 127.0.0.1."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def serve():
        while True:
            query, client = server.recvfrom(512)
            end = query.index(b"\0", 12) + 5
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
            is_a = query[end - 4:end - 2] == b"\0\1"
            server.sendto(query[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") +
                          b"\0\0\0\0" + query[12:end] + (answer if is_a else b""), client)

    write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    threading.Thread(target=serve, daemon=True).start()


class Result(unittest.TextTestResult):
    def addSuccess(self, test):
        self.passed = getattr(self, "passed", 0) + 1
        super().addSuccess(test)


def main():
    loader = unittest.TestLoader()
    if os.environ.get("SYSTEM_TESTS"):
        loader.testNamePatterns = [f"*{one}*" for one in os.environ["SYSTEM_TESTS"].split(",")]
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result)
    result = runner.run(loader.loadTestsFromModule(sys.modules["__main__"]))
    failed = len(result.failures) + len(result.errors)
    if failed:
        print(run("journalctl", "--no-pager", "-b", "-n", "150", check=False).stdout)
    print(f"{getattr(result, 'passed', 0)} passed, {failed} failed")
    return 1 if failed else 0

