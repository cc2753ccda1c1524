"""make install and uninstall; the units, the message catalogue, as far as they can be tested
without booting (tests/system does that)."""
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import unittest

import harness

PREFIX = "usr/local"
UNITS = f"{PREFIX}/lib/systemd/system"
CATALOGUE = os.path.join(harness.ROOT, "systemd/reconciled.catalog")


def run(*command, **more):
    return subprocess.run(command, text=True, errors="replace", stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, check=False,
                          **more)


def make(target, root, **variables):
    """make TARGET of the programs under test; every file goes below root."""
    arguments = [f"{name}={value}" for name, value in variables.items()]
    done = run("make", "-C", harness.ROOT, target, f"BUILD={harness.BUILD}", "SANITIZE=1",
               f"DESTDIR={root}", *arguments, env=harness.environment(MAKEFLAGS="", MAKELEVEL=""))
    if done.returncode != 0:
        raise AssertionError(f"make {target}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def tree(root):
    """Each file below root with its mode: {"etc/x.conf": 0o644}."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, root)] = stat.S_IMODE(os.lstat(path).st_mode)
    return found


def text_of(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


class Staged(unittest.TestCase):
    """Into an empty directory, as a packager does."""

    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="reconciled-install-")
        self.addCleanup(shutil.rmtree, self.root)

    def path(self, *names):
        return os.path.join(self.root, *names)

    def test_files_and_modes(self):
        make("install", self.root)
        files = tree(self.root)
        for name, mode in {f"{PREFIX}/sbin/reconciled": 0o755, f"{PREFIX}/bin/reconctl": 0o755,
                           f"{UNITS}/reconciled.service": 0o644,
                           f"{UNITS}/reconciled@.service": 0o644,
                           f"{PREFIX}/lib/sysusers.d/reconciled.conf": 0o644,
                           f"{PREFIX}/lib/tmpfiles.d/reconciled.conf": 0o644,
                           f"{PREFIX}/lib/systemd/catalog/reconciled.catalog": 0o644,
                           f"{PREFIX}/share/man/man5/reconciled.conf.5": 0o644,
                           f"{PREFIX}/share/bash-completion/completions/reconctl": 0o644,
                           "etc/reconciled/reconciled.conf": 0o644,
                           "var/lib/reconciled/queue/queue.db": 0o660}.items():
            self.assertEqual(files.get(name), mode, name)
        pages = {name for name in os.listdir(os.path.join(harness.ROOT, "docs"))
                 if re.search(r"\.[158]$", name)}
        self.assertEqual({os.path.basename(name) for name in files if "/man/" in name}, pages)
        self.assertFalse([name for name in files if "sandbox" in name])
        self.assertFalse([name for name in files if "ledger" in os.path.basename(name)
                          and "/man/" not in name], "the ledger is the daemon's to make")

    def test_queue_is_ready_for_the_app(self):
        make("install", self.root)
        directory = os.stat(self.path("var/lib/reconciled/queue"))
        self.assertEqual(stat.S_IMODE(directory.st_mode), 0o2770)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("var/lib/reconciled")).st_mode), 0o751)
        queue = sqlite3.connect(self.path("var/lib/reconciled/queue/queue.db"))
        try:
            with queue:
                queue.execute("INSERT INTO pending_orders (order_id, amount) VALUES ('A', '1.00')")
            self.assertEqual(queue.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        finally:
            queue.close()

    def test_again_keeps_configuration_and_queue(self):
        make("install", self.root)
        with open(self.path("etc/reconciled/reconciled.conf"), "w", encoding="utf-8") as out:
            out.write("# mine\n")
        queue = sqlite3.connect(self.path("var/lib/reconciled/queue/queue.db"))
        with queue:
            queue.execute("INSERT INTO pending_orders (order_id, amount) VALUES ('A', '1.00')")
        queue.close()
        before = tree(self.root)
        make("install", self.root)
        self.assertEqual(tree(self.root), before)
        self.assertEqual(text_of(self.root, "etc/reconciled/reconciled.conf"), "# mine\n")
        queue = sqlite3.connect(self.path("var/lib/reconciled/queue/queue.db"))
        self.assertEqual(queue.execute("SELECT count(*) FROM pending_orders").fetchone(), (1,))
        queue.close()

    def test_uninstall_leaves_configuration_and_state(self):
        make("install", self.root)
        make("uninstall", self.root)
        self.assertEqual(sorted(tree(self.root)), ["etc/reconciled/reconciled.conf",
                                                   "var/lib/reconciled/queue/queue.db"])

    def test_paths_are_honoured(self):
        make("install", self.root, PREFIX="/usr", SYSCONFDIR="/srv/etc",
             UNITDIR="/lib/systemd/system", STATEDIR="/srv/state")
        files = tree(self.root)
        for name in ("usr/sbin/reconciled", "usr/bin/reconctl",
                     "lib/systemd/system/reconciled.service", "srv/etc/reconciled/reconciled.conf",
                     "usr/lib/sysusers.d/reconciled.conf", "srv/state/queue/queue.db"):
            self.assertIn(name, files)
        for name in ("reconciled.service", "reconciled@.service"):
            unit = text_of(self.root, "lib/systemd/system", name)
            self.assertIn("ExecStart=/usr/sbin/reconciled --config /srv/etc/reconciled/", unit)
            self.assertNotIn("/usr/local/", unit)
            self.assertNotIn(" /etc/reconciled/", unit)
        self.assertNotIn("/var/lib/", text_of(self.root, "usr/lib/tmpfiles.d/reconciled.conf"))
        make("uninstall", self.root, PREFIX="/usr", SYSCONFDIR="/srv/etc",
             UNITDIR="/lib/systemd/system", STATEDIR="/srv/state")
        self.assertEqual(sorted(tree(self.root)), ["srv/etc/reconciled/reconciled.conf",
                                                   "srv/state/queue/queue.db"])

    def test_sample_configuration_lacks_only_what_nobody_can_know(self):
        make("install", self.root)
        done = run(harness.program("reconciled"), "--check-config", "--config",
                   self.path("etc/reconciled/reconciled.conf"), env=harness.environment())
        self.assertEqual(done.returncode, 78, done.stderr)
        self.assertIn("[pay] url is required", done.stderr)


@unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd-analyze here")
class Units(unittest.TestCase):
    NAMES = ("reconciled.service", "reconciled@.service")

    def test_verify_is_silent(self):
        with tempfile.TemporaryDirectory(prefix="reconciled-units-") as directory:
            for name in self.NAMES:
                unit = text_of(harness.ROOT, "systemd", name)
                path = os.path.join(directory, name)
                with open(path, "w", encoding="utf-8") as out:
                    out.write(unit.replace("/usr/local/sbin/reconciled",
                                           harness.program("reconciled")))
                # It succeeds also for keys that it does not know: what it prints is what counts.
                done = run("systemd-analyze", "verify", "--man=no", path)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""), name)

    def test_exposure(self):
        for name in self.NAMES:
            done = run("systemd-analyze", "security", "--offline=true", "--threshold=12",
                       os.path.join(harness.ROOT, "systemd", name))
            self.assertEqual(done.returncode, 0, done.stdout[-400:] + done.stderr)

    def test_template_differs_only_in_paths(self):
        """Whoever mends one unit must mend the other."""
        def settings(name, *more):
            lines = re.findall(r"^\w+=.*", text_of(harness.ROOT, "systemd", name), re.M)
            return [line for line in lines if not line.startswith(("Description=", *more))]

        template = [line.replace("/%i", "").replace(".%i", "") for line in
                    settings("reconciled@.service", "TemporaryFileSystem=", "BindPaths=")]
        self.assertEqual(template, settings("reconciled.service"))


class Catalogue(unittest.TestCase):
    def entries(self):
        text = re.sub(r"^#.*\n", "", text_of(CATALOGUE), flags=re.M)
        return re.findall(r"^-- ([0-9a-f]{32})\n(.*?)(?=^-- |\Z)", text, re.M | re.S)

    def test_each_event_is_explained_and_nothing_else(self):
        events = re.findall(r'"([0-9a-f]{32})"', text_of(harness.ROOT, "src/daemon/events.h"))
        explained = [one for one, _ in self.entries()]
        self.assertEqual(sorted(explained), sorted(events))
        self.assertEqual(len(set(events)), len(events), "an id is used twice")

    def test_an_entry_says_what_happened_what_it_means_and_what_to_do(self):
        for one, text in self.entries():
            header, _, body = text.partition("\n\n")
            self.assertRegex(header, r"^Subject: \S", one)
            self.assertIn("\nDefined-By: reconciled", header, one)
            self.assertRegex(body, r"(?s)^\S.+\n\nMoney[:,] ?.+\n\nTo do: .+", one)

    def test_fields_are_those_that_the_daemon_sends(self):
        sent = set(re.findall(r'\{"([A-Z_]+)",', text_of(harness.ROOT, "src/daemon/journal.c")))
        for one, text in self.entries():
            self.assertLessEqual(set(re.findall(r"@([A-Z_]+)@", text)), sent, one)

    @unittest.skipUnless(shutil.which("journalctl"), "no journalctl here")
    def test_journalctl_takes_it(self):
        with tempfile.TemporaryDirectory(prefix="reconciled-catalogue-") as root:
            os.makedirs(os.path.join(root, "usr/lib/systemd/catalog"))
            os.makedirs(os.path.join(root, "var/lib/systemd/catalog"))
            shutil.copy(CATALOGUE, os.path.join(root, "usr/lib/systemd/catalog"))
            done = run("journalctl", "--update-catalog", f"--root={root}")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            done = run("journalctl", "--list-catalog", f"--root={root}")
            self.assertEqual(len(done.stdout.splitlines()), len(self.entries()), done.stdout)


if __name__ == "__main__":
    unittest.main()
