-- The ledger. Every time is ISO 8601 UTC text of fixed width ("2026-11-22T14:03:07.250Z"), so text
-- order is time order; money is integer minor units of an ISO 4217 currency. Tables and views named
-- in docs/SCHEMA.md are stable, the others are the program's own.

-- What the program remembers about itself.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The currencies whose minor unit is not a hundredth (ISO 4217).
CREATE TABLE currencies (
    code     TEXT PRIMARY KEY,
    exponent INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO currencies (code, exponent) VALUES
    ('BIF', 0), ('CLP', 0), ('DJF', 0), ('GNF', 0), ('ISK', 0), ('JPY', 0), ('KMF', 0), ('KRW', 0),
    ('PYG', 0), ('RWF', 0), ('UGX', 0), ('UYI', 0), ('VND', 0), ('VUV', 0), ('XAF', 0), ('XOF', 0),
    ('XPF', 0), ('BHD', 3), ('IQD', 3), ('JOD', 3), ('KWD', 3), ('LYD', 3), ('OMR', 3), ('TND', 3),
    ('CLF', 4), ('UYW', 4);

-- Every record of listTransactions, once.
CREATE TABLE transactions (
    transaction_id TEXT PRIMARY KEY,
    type           TEXT NOT NULL,
    amount_minor   INTEGER NOT NULL,
    amount         TEXT NOT NULL,     -- the same as a decimal text
    currency       TEXT NOT NULL,
    net_minor      INTEGER NOT NULL,  -- amount less surcharge, tip and tax
    card_last_four TEXT,              -- NULL: the record does not say; likewise below
    card_brand     TEXT,
    card_bin       TEXT,
    email_hash     TEXT,              -- keyed; the address itself is never stored
    transacted_at  TEXT NOT NULL,     -- transDate, else createdAt
    created_at     TEXT NOT NULL,     -- createdAt, else transDate: what the API's date range filters by
    order_ref      TEXT,              -- the order id that the record carries
    original_transaction_id TEXT,     -- the sale that a void, reversal or return names
    status         TEXT,
    transaction_status TEXT,
    settled        INTEGER NOT NULL CHECK (settled IN (0, 1)), -- by [match] unsettled
    first_seen_at  TEXT NOT NULL,
    last_seen_at   TEXT NOT NULL,
    last_run_id    INTEGER NOT NULL,  -- the pass that last showed it
    raw            TEXT               -- the JSON as received, with [ledger] keep_raw
);
CREATE INDEX transactions_by_amount ON transactions (currency, amount_minor, transacted_at);
CREATE INDEX transactions_by_net ON transactions (currency, net_minor, transacted_at);
CREATE INDEX transactions_by_order_ref ON transactions (order_ref) WHERE order_ref IS NOT NULL;
CREATE INDEX transactions_by_original ON transactions (original_transaction_id)
    WHERE original_transaction_id IS NOT NULL;
CREATE INDEX transactions_by_time ON transactions (transacted_at);
CREATE INDEX transactions_by_creation ON transactions (created_at);

-- One pass over one closed window, from its first page to its last. A row with outcome 'running'
-- is the cursor: next_page is what will be asked, everything before it is stored.
CREATE TABLE sync_runs (
    run_id      INTEGER PRIMARY KEY,
    purpose     TEXT NOT NULL CHECK (purpose IN ('order', 'recent', 'deep', 'history')),
    window_from TEXT NOT NULL,
    window_to   TEXT NOT NULL,
    began_at    TEXT NOT NULL,        -- before the first page was asked for
    ended_at    TEXT,                 -- NULL while running
    next_page   INTEGER NOT NULL,
    rows_read   INTEGER NOT NULL,
    rows_new    INTEGER NOT NULL,
    rows_bad    INTEGER NOT NULL,     -- quarantined
    page_rows   INTEGER,              -- rows of the first page; every page but the last must have as many
    total       INTEGER,              -- as the API said; NULL when it does not say
    repeats     INTEGER NOT NULL,     -- rows that this pass had shown already on an earlier page
    digest      TEXT NOT NULL,        -- running hash over the ids in the order they came
    outcome     TEXT NOT NULL CHECK (outcome IN ('running', 'complete', 'drifted', 'failed')),
    proof       INTEGER NOT NULL DEFAULT 0 CHECK (proof IN (0, 1)), -- complete, and nothing can have moved
    http_status INTEGER,              -- of the last answer
    detail      TEXT,                 -- what went wrong
    CHECK (window_from <= window_to)
);
CREATE INDEX sync_runs_open ON sync_runs (purpose) WHERE outcome = 'running';
CREATE INDEX sync_runs_by_window ON sync_runs (window_from, window_to, run_id);

-- For every instant that was ever read completely, the newest pass that did. Intervals of one pass
-- are cut as newer passes cover parts of them again.
CREATE TABLE coverage (
    run_id       INTEGER NOT NULL REFERENCES sync_runs (run_id),
    covered_from TEXT NOT NULL,
    covered_to   TEXT NOT NULL,
    began_at     TEXT NOT NULL,       -- of the pass
    proof        INTEGER NOT NULL,    -- of the pass
    clear        INTEGER NOT NULL CHECK (clear IN (0, 1)), -- 0: a quarantined record may lie here
    CHECK (covered_from <= covered_to)
);
CREATE INDEX coverage_by_time ON coverage (covered_from, covered_to);
CREATE INDEX coverage_by_run ON coverage (run_id);

-- Records that could not be understood.
CREATE TABLE quarantine (
    quarantine_id  INTEGER PRIMARY KEY,
    digest         TEXT NOT NULL UNIQUE, -- of the record, so that it is kept once
    transaction_id TEXT,                 -- if it has one
    created_at     TEXT,                 -- if it has a time
    transacted_at  TEXT,                 -- likewise
    reason         TEXT NOT NULL,
    run_id         INTEGER NOT NULL REFERENCES sync_runs (run_id), -- the pass that last showed it
    window_from    TEXT NOT NULL,        -- the request it came from
    window_to      TEXT NOT NULL,
    page           INTEGER NOT NULL,
    first_seen_at  TEXT NOT NULL,
    last_seen_at   TEXT NOT NULL,
    raw            TEXT                  -- with [ledger] keep_raw
);

CREATE INDEX quarantine_by_transaction ON quarantine (transaction_id)
    WHERE transaction_id IS NOT NULL;

-- Orders of unknown outcome, taken from the queue. The columns from `verdict` on repeat the latest
-- row of `verdicts`; an order that has none yet is pending at revision 0.
CREATE TABLE orders (
    order_id         TEXT PRIMARY KEY,
    amount           TEXT NOT NULL,   -- of the latest attempt
    amount_minor     INTEGER NOT NULL,
    currency         TEXT NOT NULL,
    first_attempt_at TEXT NOT NULL,
    last_attempt_at  TEXT NOT NULL,
    taken_at         TEXT NOT NULL,
    verdict          TEXT NOT NULL DEFAULT 'pending',
    revision         INTEGER NOT NULL DEFAULT 0,
    sealed           INTEGER NOT NULL DEFAULT 0 -- 1: decided and past [match] late_watch
);
CREATE INDEX orders_unsealed ON orders (last_attempt_at) WHERE sealed = 0;

-- Every call of cardSale for an order that the app told of.
CREATE TABLE attempts (
    order_id       TEXT NOT NULL REFERENCES orders (order_id),
    attempted_at   TEXT NOT NULL,
    http_status    INTEGER NOT NULL,
    amount_minor   INTEGER NOT NULL,
    currency       TEXT NOT NULL,
    card_last_four TEXT NOT NULL,     -- '' when the app did not say; likewise below
    card_brand     TEXT NOT NULL,
    card_bin       TEXT NOT NULL,
    email_hash     TEXT NOT NULL,
    session_id     TEXT NOT NULL,
    taken_at       TEXT NOT NULL,
    PRIMARY KEY (order_id, attempted_at, http_status, amount_minor, currency, card_last_four,
                 card_brand, card_bin, email_hash, session_id)
) WITHOUT ROWID;

-- Sales that the app knows, because cardSale answered 2xx.
CREATE TABLE claims (
    transaction_id TEXT NOT NULL,
    order_id       TEXT NOT NULL,
    taken_at       TEXT NOT NULL,
    PRIMARY KEY (transaction_id, order_id)
) WITHOUT ROWID;
CREATE INDEX claims_by_order ON claims (order_id);

-- Persons' decisions; the latest one of an order holds.
CREATE TABLE resolutions (
    resolution_id  INTEGER PRIMARY KEY,
    queue_key      TEXT NOT NULL UNIQUE, -- so that a decision taken from the queue twice counts once
    order_id       TEXT NOT NULL,
    decision       TEXT NOT NULL CHECK (decision IN ('charged', 'not_charged')),
    transaction_id TEXT,
    note           TEXT NOT NULL,
    decided_by     TEXT NOT NULL,
    decided_at     TEXT NOT NULL
);
CREATE INDEX resolutions_by_order ON resolutions (order_id, resolution_id);

-- Every verdict ever given.
CREATE TABLE verdicts (
    verdict_id     INTEGER PRIMARY KEY,
    order_id       TEXT NOT NULL REFERENCES orders (order_id),
    revision       INTEGER NOT NULL,  -- 1, 2, … for each order
    verdict        TEXT NOT NULL CHECK (verdict IN ('pending', 'charged', 'double_charged',
                                                    'reversed', 'not_charged', 'needs_review')),
    safe_to_retry  INTEGER NOT NULL CHECK (safe_to_retry IN (0, 1)),
    transaction_id TEXT,              -- the order's sale, if one is certain
    rule           TEXT,              -- NULL while nothing is decided
    reason         TEXT NOT NULL,
    decided_at     TEXT NOT NULL,
    decided_by     TEXT,              -- the person, with rule 'person'
    UNIQUE (order_id, revision),
    CHECK (safe_to_retry = (verdict IN ('reversed', 'not_charged')))
);
CREATE TRIGGER verdicts_are_append_only_update BEFORE UPDATE ON verdicts
BEGIN
    SELECT RAISE(ABORT, 'verdicts are append-only');
END;
CREATE TRIGGER verdicts_are_append_only_delete BEFORE DELETE ON verdicts
BEGIN
    SELECT RAISE(ABORT, 'verdicts are append-only');
END;

-- The sales that a verdict considered.
CREATE TABLE verdict_sales (
    verdict_id     INTEGER NOT NULL REFERENCES verdicts (verdict_id),
    transaction_id TEXT NOT NULL,
    fit            TEXT NOT NULL,     -- by which rule it fits, or what does not agree
    assigned       INTEGER NOT NULL,  -- 1: it is the order's sale
    PRIMARY KEY (verdict_id, transaction_id)
) WITHOUT ROWID;
CREATE INDEX verdict_sales_by_transaction ON verdict_sales (transaction_id);

-- The passes that a verdict of absence rests on. They cannot be deleted.
CREATE TABLE verdict_runs (
    verdict_id INTEGER NOT NULL REFERENCES verdicts (verdict_id),
    run_id     INTEGER NOT NULL REFERENCES sync_runs (run_id),
    PRIMARY KEY (verdict_id, run_id)
) WITHOUT ROWID;
CREATE INDEX verdict_runs_by_run ON verdict_runs (run_id);

-- Payment sessions that were, or are being, revoked. Never the key.
CREATE TABLE session_revocations (
    session_id  TEXT NOT NULL,
    created_at  TEXT NOT NULL,        -- of the session
    why         TEXT NOT NULL CHECK (why IN ('paid', 'cancelled', 'abandoned', 'expired', 'idle')),
    outcome     TEXT NOT NULL CHECK (outcome IN ('waiting', 'revoked', 'gone', 'lapsed')),
    attempts    INTEGER NOT NULL,
    asked_at    TEXT,                 -- last
    closed_at   TEXT,                 -- NULL while waiting
    next_try_at TEXT,                 -- NULL once closed
    http_status INTEGER,              -- of the last answer; NULL: none came
    detail      TEXT,
    PRIMARY KEY (session_id, created_at)
) WITHOUT ROWID;

-- Requests of the past minute, so that a restart does not forget the rate limit.
CREATE TABLE rate_log (
    requested_at TEXT NOT NULL
);

-- One row: what the daemon is doing, for `reconctl status`.
CREATE TABLE daemon_state (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    pid            INTEGER NOT NULL,
    version        TEXT NOT NULL,
    started_at     TEXT NOT NULL,
    updated_at     TEXT NOT NULL,
    stopped_at     TEXT,              -- NULL: running, or killed
    cycle_began_at TEXT,
    cycle_ended_at TEXT,
    cycle_outcome  TEXT,              -- 'ok' or what went wrong
    edge           TEXT,              -- nothing newer was asked for
    origin         TEXT,              -- history is fetched from here on
    rate_limit     INTEGER NOT NULL,  -- requests a minute that the daemon may make
    stretched      INTEGER NOT NULL DEFAULT 0, -- 1: the look-back does not fit the rate share
    api_state      TEXT,              -- 'ok', or what the last failed request said
    api_checked_at TEXT,
    vault_state    TEXT,
    sessions_waiting INTEGER NOT NULL DEFAULT 0
);

-- --- what reports read ------------------------------------------------------------------------

CREATE VIEW order_status AS
SELECT o.order_id, o.amount, o.amount_minor, o.currency, o.verdict,
       coalesce(v.safe_to_retry, 0) AS safe_to_retry,
       v.transaction_id, v.rule,
       coalesce(v.reason, 'nothing is known yet') AS reason,
       o.first_attempt_at, o.last_attempt_at, v.decided_at, o.revision, v.decided_by
  FROM orders o
  LEFT JOIN verdicts v ON v.order_id = o.order_id AND v.revision = o.revision;

-- A row an order; candidates as "id (how it fits), …" by time.
CREATE VIEW review_queue AS
SELECT o.order_id, o.amount, o.amount_minor, o.currency, v.reason,
       (SELECT group_concat(transaction_id || ' (' || fit || ')', ', ')
          FROM (SELECT s.transaction_id, s.fit
                  FROM verdict_sales s
                  LEFT JOIN transactions t ON t.transaction_id = s.transaction_id
                 WHERE s.verdict_id = v.verdict_id
                 ORDER BY t.transacted_at, s.transaction_id)) AS candidates,
       o.first_attempt_at, o.last_attempt_at, v.decided_at
  FROM orders o
  JOIN verdicts v ON v.order_id = o.order_id AND v.revision = o.revision
 WHERE o.verdict = 'needs_review';

-- A row an order; the ids of all its sales by time.
CREATE VIEW double_charges AS
SELECT o.order_id, o.amount, o.amount_minor, o.currency,
       (SELECT count(*) FROM verdict_sales s
         WHERE s.verdict_id = v.verdict_id AND s.assigned = 1) AS sales,
       (SELECT group_concat(transaction_id, ', ')
          FROM (SELECT s.transaction_id
                  FROM verdict_sales s
                  LEFT JOIN transactions t ON t.transaction_id = s.transaction_id
                 WHERE s.verdict_id = v.verdict_id AND s.assigned = 1
                 ORDER BY t.transacted_at, s.transaction_id)) AS transaction_ids,
       v.reason, o.first_attempt_at, o.last_attempt_at, v.decided_at
  FROM orders o
  JOIN verdicts v ON v.order_id = o.order_id AND v.revision = o.revision
 WHERE o.verdict = 'double_charged';

-- Settled sales that no order is known for; empty unless the app reports every sale it knows.
-- A sale that an undecided order may still turn out to own is not listed.
CREATE VIEW unclaimed_sales AS
SELECT t.transaction_id, t.amount, t.amount_minor, t.currency, t.transacted_at,
       t.card_last_four, t.card_brand, t.card_bin, t.order_ref, t.status, t.first_seen_at
  FROM transactions t
 WHERE (SELECT value FROM meta WHERE name = 'claims') = 'complete'
   AND t.type = 'CreditCardSale' COLLATE NOCASE AND t.settled = 1
   AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.transaction_id = t.transaction_id)
   AND NOT EXISTS (SELECT 1 FROM verdict_sales s
                     JOIN verdicts v ON v.verdict_id = s.verdict_id
                     JOIN orders o ON o.order_id = v.order_id AND o.revision = v.revision
                    WHERE s.transaction_id = t.transaction_id
                      AND (s.assigned = 1 OR o.verdict IN ('pending', 'needs_review')));

-- What was settled, by day (UTC), type and currency. A void, reversal or return is a type of its own
-- and is not taken off a sale here.
CREATE VIEW daily_totals AS
SELECT substr(t.transacted_at, 1, 10) AS day, t.type, t.currency,
       sum(t.settled) AS count,
       CASE coalesce(c.exponent, 2)
           WHEN 0 THEN printf('%d', sum(t.amount_minor * t.settled))
           WHEN 3 THEN printf('%s%d.%03d', iif(sum(t.amount_minor * t.settled) < 0, '-', ''),
                              abs(sum(t.amount_minor * t.settled)) / 1000,
                              abs(sum(t.amount_minor * t.settled)) % 1000)
           WHEN 4 THEN printf('%s%d.%04d', iif(sum(t.amount_minor * t.settled) < 0, '-', ''),
                              abs(sum(t.amount_minor * t.settled)) / 10000,
                              abs(sum(t.amount_minor * t.settled)) % 10000)
           ELSE printf('%s%d.%02d', iif(sum(t.amount_minor * t.settled) < 0, '-', ''),
                       abs(sum(t.amount_minor * t.settled)) / 100,
                       abs(sum(t.amount_minor * t.settled)) % 100)
       END AS sum,
       sum(t.amount_minor * t.settled) AS sum_minor,
       count(*) - sum(t.settled) AS unsettled_count
  FROM transactions t
  LEFT JOIN currencies c ON c.code = t.currency
 GROUP BY day, t.type, t.currency;

-- Intervals for which the ledger is complete, as of the beginning of the pass that read them.
CREATE VIEW sync_coverage AS
SELECT covered_from, covered_to, began_at, run_id, proof
  FROM coverage
 WHERE clear = 1;
