-- Evidence cannot be taken away from under a verdict; records that the API takes back are told; how
-- late records become visible is measured.

-- A complete pass over its time did not show it. NULL: the last one did.
ALTER TABLE transactions ADD COLUMN missed_at TEXT;
-- Neither did a further one. NULL: it is there.
ALTER TABLE transactions ADD COLUMN vanished_at TEXT;
-- How long after its time it was first shown, if a proving pass over its time had not shown it;
-- 0: the first pass over its time did. NULL: not measured.
ALTER TABLE transactions ADD COLUMN late_ms INTEGER;
CREATE INDEX transactions_by_first_seen ON transactions (first_seen_at, late_ms);

CREATE TRIGGER sync_runs_hold_verdicts_delete BEFORE DELETE ON sync_runs
WHEN EXISTS (SELECT 1 FROM verdict_runs WHERE run_id = OLD.run_id)
BEGIN
    SELECT RAISE(ABORT, 'a verdict rests on this pass');
END;
CREATE TRIGGER sync_runs_hold_verdicts_update BEFORE UPDATE ON sync_runs
WHEN EXISTS (SELECT 1 FROM verdict_runs WHERE run_id = OLD.run_id)
BEGIN
    SELECT RAISE(ABORT, 'a verdict rests on this pass');
END;
CREATE TRIGGER verdict_runs_are_append_only_update BEFORE UPDATE ON verdict_runs
BEGIN
    SELECT RAISE(ABORT, 'the evidence of verdicts is append-only');
END;
CREATE TRIGGER verdict_runs_are_append_only_delete BEFORE DELETE ON verdict_runs
BEGIN
    SELECT RAISE(ABORT, 'the evidence of verdicts is append-only');
END;
CREATE TRIGGER verdict_sales_are_append_only_update BEFORE UPDATE ON verdict_sales
BEGIN
    SELECT RAISE(ABORT, 'the evidence of verdicts is append-only');
END;
CREATE TRIGGER verdict_sales_are_append_only_delete BEFORE DELETE ON verdict_sales
BEGIN
    SELECT RAISE(ABORT, 'the evidence of verdicts is append-only');
END;

-- Records that two complete passes over their time did not show any more.
CREATE VIEW vanished_transactions AS
SELECT transaction_id, type, amount, amount_minor, currency, transacted_at, order_ref, status,
       last_seen_at, vanished_at
  FROM transactions
 WHERE vanished_at IS NOT NULL;

-- How late records became visible, over the past 30 days, in seconds.
CREATE VIEW lateness AS
WITH measured AS (
    SELECT late_ms, row_number() OVER (ORDER BY late_ms) AS n, count(*) OVER () AS of
      FROM transactions
     WHERE late_ms IS NOT NULL
       AND first_seen_at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-30 days'))
SELECT count(*) AS measured,
       coalesce(sum(late_ms > 0), 0) AS late,
       max(CASE WHEN n = (of + 1) / 2 THEN late_ms END) / 1000 AS median_s,
       max(CASE WHEN n = of - of / 100 THEN late_ms END) / 1000 AS p99_s,
       max(late_ms) / 1000 AS max_s
  FROM measured;

-- Orders whose verdict was taken back or changed since it was first given.
CREATE VIEW revisions AS
SELECT v.order_id, v.revision, p.verdict AS previous_verdict, v.verdict, v.transaction_id, v.rule,
       v.reason, v.decided_at,
       p.verdict IN ('not_charged', 'reversed') AND v.safe_to_retry = 0
           AND v.reason <> 'a further attempt was reported' AS critical
  FROM verdicts v
  JOIN verdicts p ON p.order_id = v.order_id AND p.revision = v.revision - 1
 WHERE p.verdict <> 'pending' AND p.verdict <> v.verdict;
