#!/usr/bin/env php
<?php
/* What a shop tells reconciled, by SQL: sessions, sales it knows, and orders of unknown outcome.
 * Needs php-sqlite3. The user that runs this is in the group reconciled-queue and may read the
 * ledger. Card and customer data go in by SQL, so they never show in a process list.
 *
 *   enqueue.php session SESSION ORDER                     the session's key on standard input
 *   enqueue.php paid ORDER TRANSACTION SESSION            cardSale answered 2xx
 *   enqueue.php unknown ORDER AMOUNT LAST_FOUR EMAIL SESSION   cardSale: 5xx, network, timeout */
declare(strict_types=1);

/* With these flags a wrong path is an error, not a new and empty file that nobody reads. */
function connect(string $path, int $flags): PDO
{
    return new PDO("sqlite:$path", null, null, [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_TIMEOUT => 10,
        PDO::SQLITE_ATTR_OPEN_FLAGS => $flags,
    ]);
}

function queue(): PDO
{
    return connect(getenv('RECONCILED_QUEUE') ?: '/var/lib/reconciled/queue/queue.db',
                   PDO::SQLITE_OPEN_READWRITE);
}

function ledger(): PDO
{
    return connect(getenv('RECONCILED_LEDGER') ?: '/var/lib/reconciled/ledger.db',
                   PDO::SQLITE_OPEN_READONLY);
}

/* One statement, durable when this returns. A row that is refused throws a PDOException with the
 * name of the constraint, which says what is wrong. */
function write(string $sql, ?string ...$values): array
{
    $statement = queue()->prepare($sql);
    $statement->execute($values);
    return $statement->fetchAll(PDO::FETCH_ASSOC);
}

function add_session(string $session, string $key, string $order): void
{
    write('INSERT INTO sessions (session_id, session_key, expires_in, order_id)
           VALUES (?, ?, 1800, ?)', $session, $key, $order);
}

/* $how: paid, cancelled or abandoned. The Vault is asked to revoke the key at once. */
function end_session(string $session, string $how): void
{
    write('UPDATE sessions SET ended = ? WHERE session_id = ?', $how, $session);
}

function claim(string $order, string $transaction): void
{
    write('INSERT INTO claims (transaction_id, order_id) VALUES (?, ?)
           ON CONFLICT (transaction_id) DO NOTHING', $transaction, $order);
}

/* Call it at once when cardSale has failed: attempted_at is left out, so it is now, in UTC.
 * Returns it; the verdict that counts is one that knows this attempt. */
function enqueue(string $order, string $amount, string $last_four, string $email,
                 string $session): string
{
    return write("INSERT INTO pending_orders (order_id, amount, currency, card_last_four,
                  billing_email, session_id) VALUES (?, ?, 'USD', ?, ?, ?)
                  RETURNING attempted_at",
                 $order, $amount, $last_four, $email, $session)[0]['attempted_at'];
}

/* The order's row of order_status, or null while nothing can be said. Absence is not said before
 * [match] absence_grace (15 minutes): wait in a job, not in a web request. */
function wait_for_verdict(string $order, string $attempted_at, float $seconds): ?array
{
    $statement = ledger()->prepare(
        "SELECT verdict, safe_to_retry, transaction_id, reason FROM order_status
         WHERE order_id = ? AND last_attempt_at >= ? AND verdict <> 'pending'");
    $end = microtime(true) + $seconds;
    while (true) {
        $statement->execute([$order, $attempted_at]);
        $rows = $statement->fetchAll(PDO::FETCH_ASSOC);
        if ($rows || microtime(true) > $end)
            return $rows[0] ?? null;
        usleep(500000);
    }
}

/* The leave to charge again: exactly one caller gets it, however many ask. The daemon offers it a
 * moment after the verdict. */
function take_permit(string $order): bool
{
    for ($i = 0; $i < 10; $i++) {
        if (write('INSERT INTO permits (order_id, revision, taken_by)
                   SELECT order_id, revision, ? FROM retry_offers WHERE order_id = ?
                   ON CONFLICT DO NOTHING RETURNING order_id', 'process ' . getmypid(), $order))
            return true;
        usleep(200000);
    }
    return false;
}

/* What to do. Nothing but safe_to_retry = 1, and the permit, is leave to charge again. */
function act(string $order, ?array $row): string
{
    if ($row === null)
        return "$order: pending: keep the order, ask again later";
    if ($row['verdict'] === 'charged')
        return "$order: charged: deliver; the sale is {$row['transaction_id']}";
    if ($row['verdict'] === 'double_charged')
        return "$order: double_charged: deliver, and refund all but one sale: {$row['reason']}";
    if ((int)$row['safe_to_retry'] === 1 && take_permit($order))
        return "$order: {$row['verdict']}: charge it again, once";
    if ((int)$row['safe_to_retry'] === 1)
        return "$order: {$row['verdict']}: leave it, another process charges it again";
    return "$order: needs_review: a person decides: {$row['reason']}";
}

[$what, $arguments] = [$argv[1] ?? '', array_slice($argv, 2)];
if ($what === 'session' && count($arguments) === 2) {
    [$session, $order] = $arguments;
    add_session($session, trim(fgets(STDIN)), $order);
} elseif ($what === 'paid' && count($arguments) === 3) {
    [$order, $transaction, $session] = $arguments;
    claim($order, $transaction);
    end_session($session, 'paid');
} elseif ($what === 'unknown' && count($arguments) === 5) {
    [$order, $amount, $last_four, $email, $session] = $arguments;
    $attempted_at = enqueue($order, $amount, $last_four, $email, $session);
    end_session($session, 'abandoned'); /* nobody pays with it any more */
    echo act($order, wait_for_verdict($order, $attempted_at, 20 * 60)), "\n";
} else {
    fwrite(STDERR, "usage: enqueue.php session|paid|unknown ARGUMENT...\n");
    exit(2);
}
