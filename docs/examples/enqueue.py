#!/usr/bin/env python3
"""What a shop tells reconciled, by SQL: sessions, sales it knows, and orders of unknown outcome.

The user that runs this is in the group reconciled-queue and may read the ledger. Card and customer
data go in by SQL, so they never show in a process list.

  enqueue.py session SESSION ORDER                     the session's key on standard input
  enqueue.py paid ORDER TRANSACTION SESSION            cardSale answered 2xx
  enqueue.py unknown ORDER AMOUNT LAST_FOUR EMAIL SESSION   cardSale: 5xx, network error, timeout
"""
import os
import sqlite3
import sys
import time
from urllib.parse import quote

QUEUE = os.environ.get("RECONCILED_QUEUE", "/var/lib/reconciled/queue/queue.db")
LEDGER = os.environ.get("RECONCILED_LEDGER", "/var/lib/reconciled/ledger.db")


def connect(path, mode):
    """mode=rw: a wrong path is an error, not a new and empty file that nobody reads."""
    return sqlite3.connect(f"file:{quote(path)}?mode={mode}", uri=True, timeout=10,
                           isolation_level=None)


def write(sql, *values):
    """One statement, durable when this returns. A row that is refused raises IntegrityError with
    the name of the constraint, which says what is wrong."""
    queue = connect(QUEUE, "rw")
    try:
        return queue.execute(sql, values).fetchall()
    finally:
        queue.close()


def add_session(session_id, session_key, order_id):
    write("INSERT INTO sessions (session_id, session_key, expires_in, order_id)"
          " VALUES (?, ?, 1800, ?)", session_id, session_key, order_id)


def end_session(session_id, how):
    """how: paid, cancelled or abandoned. The Vault is asked to revoke the key at once."""
    write("UPDATE sessions SET ended = ? WHERE session_id = ?", how, session_id)


def claim(order_id, transaction_id):
    write("INSERT INTO claims (transaction_id, order_id) VALUES (?, ?)"
          " ON CONFLICT (transaction_id) DO NOTHING", transaction_id, order_id)


def enqueue(order_id, amount, last_four, email, session_id, http_status=0):
    """Call it at once when cardSale has failed: attempted_at is left out, so it is now, in UTC.
    Returns it; the verdict that counts is one that knows this attempt."""
    return write("INSERT INTO pending_orders (order_id, amount, currency, http_status,"
                 " card_last_four, billing_email, session_id) VALUES (?, ?, 'USD', ?, ?, ?, ?)"
                 " RETURNING attempted_at",
                 order_id, amount, http_status, last_four, email, session_id)[0][0]


def wait_for_verdict(order_id, attempted_at, seconds):
    """The order's row of order_status, or None while nothing can be said. Absence is not said
    before [match] absence_grace (15 minutes): wait in a job, not in a web request."""
    ledger = connect(LEDGER, "ro")
    ledger.row_factory = sqlite3.Row
    end = time.monotonic() + seconds
    try:
        while True:
            row = ledger.execute("SELECT verdict, safe_to_retry, transaction_id, reason"
                                 " FROM order_status WHERE order_id = ? AND last_attempt_at >= ?"
                                 " AND verdict <> 'pending'", (order_id, attempted_at)).fetchone()
            if row or time.monotonic() > end:
                return row
            time.sleep(0.5)
    finally:
        ledger.close()


def take_permit(order_id):
    """The leave to charge again: exactly one caller gets it, however many ask. The daemon offers it
    a moment after the verdict."""
    for _ in range(10):
        if write("INSERT INTO permits (order_id, revision, taken_by)"
                 " SELECT order_id, revision, ? FROM retry_offers WHERE order_id = ?"
                 " ON CONFLICT DO NOTHING RETURNING order_id", f"process {os.getpid()}", order_id):
            return True
        time.sleep(0.2)
    return False


def act(order_id, row):
    """What to do. Nothing but safe_to_retry = 1, and the permit, is leave to charge again."""
    if row is None:
        return f"{order_id}: pending: keep the order, ask again later"
    if row["verdict"] == "charged":
        return f"{order_id}: charged: deliver; the sale is {row['transaction_id']}"
    if row["verdict"] == "double_charged":
        return f"{order_id}: double_charged: deliver, and refund all but one sale: {row['reason']}"
    if row["safe_to_retry"] and take_permit(order_id):
        return f"{order_id}: {row['verdict']}: charge it again, once"
    if row["safe_to_retry"]:
        return f"{order_id}: {row['verdict']}: leave it, another process charges it again"
    return f"{order_id}: needs_review: a person decides: {row['reason']}"


def main(what, *arguments):
    if what == "session":
        session_id, order_id = arguments
        add_session(session_id, sys.stdin.readline().strip(), order_id)
    elif what == "paid":
        order_id, transaction_id, session_id = arguments
        claim(order_id, transaction_id)
        end_session(session_id, "paid")
    elif what == "unknown":
        order_id, amount, last_four, email, session_id = arguments
        attempted_at = enqueue(order_id, amount, last_four, email, session_id)
        end_session(session_id, "abandoned")  # nobody pays with it any more
        print(act(order_id, wait_for_verdict(order_id, attempted_at, 20 * 60)))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
