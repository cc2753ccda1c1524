-- Leave to charge an order again, given at most once.
--
-- The daemon offers it for a verdict that is safe to retry and withdraws the offer before it takes
-- the verdict back. The app takes it by an INSERT that exactly one caller can make:
--
--   INSERT INTO permits (order_id, revision, taken_by)
--   SELECT order_id, revision, ? FROM retry_offers WHERE order_id = ?
--
-- One row inserted: charge. None, or a UNIQUE constraint: do not.

CREATE TABLE retry_offers (
    order_id   TEXT PRIMARY KEY NOT NULL,
    revision   INTEGER NOT NULL,      -- of the verdict
    verdict    TEXT NOT NULL,
    offered_at TEXT NOT NULL
);

CREATE TABLE permits (
    order_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    taken_by TEXT,
    taken_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    PRIMARY KEY (order_id, revision)
);

CREATE TRIGGER no_leave_to_charge_again BEFORE INSERT ON permits
WHEN NOT EXISTS (SELECT 1 FROM retry_offers
                  WHERE order_id = NEW.order_id AND revision = NEW.revision)
BEGIN
    SELECT RAISE(ABORT, 'no_leave_to_charge_again');
END;

-- What the app says of an order makes the verdict stale at once, before the daemon knows. A row
-- that waits may still be changed, also to be one of another order.
CREATE TRIGGER pending_orders_withdraw_offer AFTER INSERT ON pending_orders
BEGIN
    DELETE FROM retry_offers WHERE order_id = NEW.order_id;
END;
CREATE TRIGGER pending_orders_withdraw_offer_when_changed AFTER UPDATE ON pending_orders
BEGIN
    DELETE FROM retry_offers WHERE order_id = NEW.order_id;
END;
CREATE TRIGGER claims_withdraw_offer AFTER INSERT ON claims
BEGIN
    DELETE FROM retry_offers WHERE order_id = NEW.order_id;
END;
CREATE TRIGGER claims_withdraw_offer_when_changed AFTER UPDATE ON claims
BEGIN
    DELETE FROM retry_offers WHERE order_id = NEW.order_id;
END;
CREATE TRIGGER resolutions_withdraw_offer AFTER INSERT ON resolutions
BEGIN
    DELETE FROM retry_offers WHERE order_id = NEW.order_id;
END;
CREATE TRIGGER resolutions_withdraw_offer_when_changed AFTER UPDATE ON resolutions
BEGIN
    DELETE FROM retry_offers WHERE order_id = NEW.order_id;
END;
