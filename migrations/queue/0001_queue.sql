-- The queue: what the app writes, a spool that the daemon empties. A row that breaks a rule is
-- refused at INSERT by a constraint whose name says which rule. Times are UTC. In an optional column
-- an empty text is the same as NULL.

-- An order whose cardSale outcome is unknown.
CREATE TABLE pending_orders (
    order_id       TEXT PRIMARY KEY NOT NULL, -- 1..128 characters
    amount         TEXT NOT NULL,     -- the decimal text given to cardSale
    currency       TEXT NOT NULL DEFAULT 'USD',
    attempted_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), -- when cardSale was called
    http_status    INTEGER NOT NULL DEFAULT 0, -- 500..599, or 0 for network error and timeout
    card_last_four TEXT,
    card_brand     TEXT,
    card_bin       TEXT,              -- 6 to 8 digits
    billing_email  TEXT,
    session_id     TEXT,
    CONSTRAINT order_id_is_1_to_128_characters CHECK ((typeof(order_id) = 'text'
        AND length(order_id) BETWEEN 1 AND 128
        AND length(CAST(order_id AS BLOB)) <= 512 AND instr(order_id, char(0)) = 0)),
    CONSTRAINT order_id_has_a_control_character CHECK (order_id IS NULL OR order_id NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
    CONSTRAINT amount_is_a_decimal_number CHECK (typeof(amount) = 'text'
        AND instr(amount, char(0)) = 0 AND amount GLOB '[0-9]*' AND amount GLOB '*[0-9]' AND amount NOT GLOB '*[^0-9.]*'
        AND length(amount) - length(replace(amount, '.', '')) <= 1),
    CONSTRAINT amount_is_too_large CHECK (length(replace(ltrim(amount, '0'), '.', '')) <= 14
        AND length(amount) <= 40),
    CONSTRAINT amount_is_not_positive CHECK (trim(amount, '0.') <> ''),
    CONSTRAINT amount_has_more_decimals_than_the_currency CHECK (
        instr(amount, '.') = 0
        OR length(rtrim(amount, '0')) - instr(amount, '.') <=
            CASE WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF',
                                   'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
                 WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
                 WHEN currency IN ('CLF', 'UYW') THEN 4
                 ELSE 2 END),
    CONSTRAINT currency_is_three_capital_letters CHECK (currency GLOB '[A-Z][A-Z][A-Z]'),
    CONSTRAINT currency_is_not_iso_4217 CHECK (currency IN (
        'AED', 'AFN', 'ALL', 'AMD', 'AOA', 'ARS', 'AUD', 'AWG', 'AZN', 'BAM', 'BBD', 'BDT', 'BHD',
        'BIF', 'BMD', 'BND', 'BOB', 'BOV', 'BRL', 'BSD', 'BTN', 'BWP', 'BYN', 'BZD', 'CAD', 'CDF',
        'CHE', 'CHF', 'CHW', 'CLF', 'CLP', 'CNY', 'COP', 'COU', 'CRC', 'CUP', 'CVE', 'CZK', 'DJF',
        'DKK', 'DOP', 'DZD', 'EGP', 'ERN', 'ETB', 'EUR', 'FJD', 'FKP', 'GBP', 'GEL', 'GHS', 'GIP',
        'GMD', 'GNF', 'GTQ', 'GYD', 'HKD', 'HNL', 'HTG', 'HUF', 'IDR', 'ILS', 'INR', 'IQD', 'IRR',
        'ISK', 'JMD', 'JOD', 'JPY', 'KES', 'KGS', 'KHR', 'KMF', 'KPW', 'KRW', 'KWD', 'KYD', 'KZT',
        'LAK', 'LBP', 'LKR', 'LRD', 'LSL', 'LYD', 'MAD', 'MDL', 'MGA', 'MKD', 'MMK', 'MNT', 'MOP',
        'MRU', 'MUR', 'MVR', 'MWK', 'MXN', 'MXV', 'MYR', 'MZN', 'NAD', 'NGN', 'NIO', 'NOK', 'NPR',
        'NZD', 'OMR', 'PAB', 'PEN', 'PGK', 'PHP', 'PKR', 'PLN', 'PYG', 'QAR', 'RON', 'RSD', 'RUB',
        'RWF', 'SAR', 'SBD', 'SCR', 'SDG', 'SEK', 'SGD', 'SHP', 'SLE', 'SOS', 'SRD', 'SSP', 'STN',
        'SVC', 'SYP', 'SZL', 'THB', 'TJS', 'TMT', 'TND', 'TOP', 'TRY', 'TTD', 'TWD', 'TZS', 'UAH',
        'UGX', 'USD', 'USN', 'UYI', 'UYU', 'UYW', 'UZS', 'VED', 'VES', 'VND', 'VUV', 'WST', 'XAD',
        'XAF', 'XCD', 'XCG', 'XOF', 'XPF', 'YER', 'ZAR', 'ZMW', 'ZWG')),
    CONSTRAINT attempted_at_is_utc_time CHECK (
        typeof(attempted_at) = 'text' AND instr(attempted_at, char(0)) = 0 AND
        (substr(attempted_at, 1, 19) GLOB
             '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
         AND strftime('%Y-%m-%d %H:%M:%S', substr(attempted_at, 1, 19), '+0 seconds')
             IS replace(substr(attempted_at, 1, 19), 'T', ' ')
         AND substr(attempted_at, 1, 4) BETWEEN '1970' AND '9998'
         AND (substr(attempted_at, 20) IN ('Z', '+00:00')
              OR (substr(attempted_at, 11, 1) = ' ' AND length(attempted_at) = 19)
              OR (substr(attempted_at, 20) GLOB '.[0-9]*' AND length(attempted_at) <= 35
                  AND (substr(attempted_at, 11, 1) = ' ' OR substr(attempted_at, -1) = 'Z' OR substr(attempted_at, -6) = '+00:00')
                  AND substr(attempted_at, 21, length(attempted_at) - 20 -
                          CASE WHEN substr(attempted_at, -1) = 'Z' THEN 1
                               WHEN substr(attempted_at, -6) = '+00:00' THEN 6
                               ELSE 0 END) NOT GLOB '*[^0-9]*')))),
    CONSTRAINT http_status_is_0_or_500_to_599 CHECK (typeof(http_status) = 'integer'
        AND (http_status = 0 OR http_status BETWEEN 500 AND 599)),
    CONSTRAINT card_last_four_is_four_digits CHECK (card_last_four IS NULL OR card_last_four = ''
        OR (typeof(card_last_four) = 'text' AND instr(card_last_four, char(0)) = 0
            AND card_last_four GLOB '[0-9][0-9][0-9][0-9]')),
    CONSTRAINT card_brand_is_at_most_32_characters CHECK (card_brand IS NULL OR card_brand = '' OR (typeof(card_brand) = 'text'
        AND length(card_brand) BETWEEN 1 AND 32
        AND length(CAST(card_brand AS BLOB)) <= 128 AND instr(card_brand, char(0)) = 0)),
    CONSTRAINT card_bin_is_6_to_8_digits CHECK (card_bin IS NULL OR card_bin = ''
        OR (typeof(card_bin) = 'text' AND instr(card_bin, char(0)) = 0
            AND length(card_bin) BETWEEN 6 AND 8 AND card_bin NOT GLOB '*[^0-9]*')),
    CONSTRAINT billing_email_is_an_address CHECK (billing_email IS NULL OR billing_email = ''
        OR (typeof(billing_email) = 'text' AND length(billing_email) <= 254
            AND length(CAST(billing_email AS BLOB)) <= 1016 AND billing_email LIKE '%_@_%' AND instr(billing_email, char(0)) = 0)),
    CONSTRAINT session_id_is_at_most_128_characters CHECK (session_id IS NULL OR session_id = '' OR (typeof(session_id) = 'text'
        AND length(session_id) BETWEEN 1 AND 128
        AND length(CAST(session_id AS BLOB)) <= 512 AND instr(session_id, char(0)) = 0))
);

-- Local time given as UTC is the likeliest mistake, and would move the order's window to where its
-- sale cannot be. What lies ahead of us is caught here.
CREATE TRIGGER attempted_at_is_in_the_future BEFORE INSERT ON pending_orders
WHEN julianday(NEW.attempted_at) > julianday('now') + 10.0 / 1440
BEGIN
    SELECT RAISE(ABORT, 'attempted_at_is_in_the_future (times are UTC)');
END;
CREATE TRIGGER attempted_at_becomes_one_in_the_future BEFORE UPDATE ON pending_orders
WHEN julianday(NEW.attempted_at) > julianday('now') + 10.0 / 1440
BEGIN
    SELECT RAISE(ABORT, 'attempted_at_is_in_the_future (times are UTC)');
END;

-- A further attempt of an order that still waits in the queue: both are kept.
CREATE TABLE earlier_attempts (
    order_id TEXT NOT NULL, amount TEXT NOT NULL, currency TEXT NOT NULL, attempted_at TEXT NOT NULL,
    http_status INTEGER NOT NULL, card_last_four TEXT, card_brand TEXT, card_bin TEXT,
    billing_email TEXT, session_id TEXT
);
CREATE TRIGGER pending_orders_keep_earlier_attempt BEFORE INSERT ON pending_orders
WHEN EXISTS (SELECT 1 FROM pending_orders WHERE order_id = NEW.order_id)
BEGIN
    INSERT INTO earlier_attempts SELECT * FROM pending_orders WHERE order_id = NEW.order_id;
    DELETE FROM pending_orders WHERE order_id = NEW.order_id;
END;

-- A sale whose cardSale returned 2xx.
CREATE TABLE claims (
    transaction_id TEXT PRIMARY KEY NOT NULL,
    order_id       TEXT NOT NULL,
    CONSTRAINT transaction_id_is_1_to_128_characters CHECK ((typeof(transaction_id) = 'text'
        AND length(transaction_id) BETWEEN 1 AND 128
        AND length(CAST(transaction_id AS BLOB)) <= 512 AND instr(transaction_id, char(0)) = 0)),
    CONSTRAINT order_id_is_1_to_128_characters CHECK ((typeof(order_id) = 'text'
        AND length(order_id) BETWEEN 1 AND 128
        AND length(CAST(order_id AS BLOB)) <= 512 AND instr(order_id, char(0)) = 0)),
    CONSTRAINT order_id_has_a_control_character CHECK (order_id IS NULL OR order_id NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*')
);

-- A payment session, kept until it is closed.
CREATE TABLE sessions (
    session_id   TEXT PRIMARY KEY NOT NULL,
    session_key  TEXT NOT NULL,       -- a secret; overwritten when the session is closed
    created_at   TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    expires_in   INTEGER NOT NULL DEFAULT 1800, -- seconds
    last_seen_at TEXT,                -- optional heartbeat
    ended        TEXT,                -- NULL while the customer is at it
    order_id     TEXT,
    CONSTRAINT session_id_is_1_to_128_characters CHECK ((typeof(session_id) = 'text'
        AND length(session_id) BETWEEN 1 AND 128
        AND length(CAST(session_id AS BLOB)) <= 512 AND instr(session_id, char(0)) = 0)),
    CONSTRAINT session_key_is_1_to_4096_characters CHECK ((typeof(session_key) = 'text'
        AND length(session_key) BETWEEN 1 AND 4096 AND instr(session_key, char(0)) = 0)),
    CONSTRAINT created_at_is_utc_time CHECK (
        typeof(created_at) = 'text' AND instr(created_at, char(0)) = 0 AND
        (substr(created_at, 1, 19) GLOB
             '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
         AND strftime('%Y-%m-%d %H:%M:%S', substr(created_at, 1, 19), '+0 seconds')
             IS replace(substr(created_at, 1, 19), 'T', ' ')
         AND substr(created_at, 1, 4) BETWEEN '1970' AND '9998'
         AND (substr(created_at, 20) IN ('Z', '+00:00')
              OR (substr(created_at, 11, 1) = ' ' AND length(created_at) = 19)
              OR (substr(created_at, 20) GLOB '.[0-9]*' AND length(created_at) <= 35
                  AND (substr(created_at, 11, 1) = ' ' OR substr(created_at, -1) = 'Z' OR substr(created_at, -6) = '+00:00')
                  AND substr(created_at, 21, length(created_at) - 20 -
                          CASE WHEN substr(created_at, -1) = 'Z' THEN 1
                               WHEN substr(created_at, -6) = '+00:00' THEN 6
                               ELSE 0 END) NOT GLOB '*[^0-9]*')))),
    CONSTRAINT expires_in_is_60_to_1800_seconds CHECK (typeof(expires_in) = 'integer'
        AND expires_in BETWEEN 60 AND 1800),
    CONSTRAINT last_seen_at_is_utc_time CHECK (last_seen_at IS NULL OR last_seen_at = '' OR
        typeof(last_seen_at) = 'text' AND instr(last_seen_at, char(0)) = 0 AND
        (substr(last_seen_at, 1, 19) GLOB
             '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
         AND strftime('%Y-%m-%d %H:%M:%S', substr(last_seen_at, 1, 19), '+0 seconds')
             IS replace(substr(last_seen_at, 1, 19), 'T', ' ')
         AND substr(last_seen_at, 1, 4) BETWEEN '1970' AND '9998'
         AND (substr(last_seen_at, 20) IN ('Z', '+00:00')
              OR (substr(last_seen_at, 11, 1) = ' ' AND length(last_seen_at) = 19)
              OR (substr(last_seen_at, 20) GLOB '.[0-9]*' AND length(last_seen_at) <= 35
                  AND (substr(last_seen_at, 11, 1) = ' ' OR substr(last_seen_at, -1) = 'Z' OR substr(last_seen_at, -6) = '+00:00')
                  AND substr(last_seen_at, 21, length(last_seen_at) - 20 -
                          CASE WHEN substr(last_seen_at, -1) = 'Z' THEN 1
                               WHEN substr(last_seen_at, -6) = '+00:00' THEN 6
                               ELSE 0 END) NOT GLOB '*[^0-9]*')))),
    CONSTRAINT ended_is_paid_cancelled_or_abandoned CHECK (ended IS NULL
        OR ended IN ('', 'paid', 'cancelled', 'abandoned')),
    CONSTRAINT order_id_is_1_to_128_characters CHECK (order_id IS NULL OR order_id = '' OR (typeof(order_id) = 'text'
        AND length(order_id) BETWEEN 1 AND 128
        AND length(CAST(order_id AS BLOB)) <= 512 AND instr(order_id, char(0)) = 0))
);

-- A person's decision on an order (`reconctl resolve`).
CREATE TABLE resolutions (
    resolution_key TEXT PRIMARY KEY NOT NULL DEFAULT (lower(hex(randomblob(16)))),
    order_id       TEXT NOT NULL,
    decision       TEXT NOT NULL,
    transaction_id TEXT,
    note           TEXT NOT NULL,
    decided_by     TEXT NOT NULL,
    decided_at     TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    CONSTRAINT resolution_key_is_1_to_128_characters CHECK ((typeof(resolution_key) = 'text'
        AND length(resolution_key) BETWEEN 1 AND 128
        AND length(CAST(resolution_key AS BLOB)) <= 512 AND instr(resolution_key, char(0)) = 0)),
    CONSTRAINT order_id_is_1_to_128_characters CHECK ((typeof(order_id) = 'text'
        AND length(order_id) BETWEEN 1 AND 128
        AND length(CAST(order_id AS BLOB)) <= 512 AND instr(order_id, char(0)) = 0)),
    CONSTRAINT decision_is_charged_or_not_charged CHECK (decision IN ('charged', 'not_charged')),
    CONSTRAINT transaction_id_is_1_to_128_characters CHECK (transaction_id IS NULL OR transaction_id = '' OR (typeof(transaction_id) = 'text'
        AND length(transaction_id) BETWEEN 1 AND 128
        AND length(CAST(transaction_id AS BLOB)) <= 512 AND instr(transaction_id, char(0)) = 0)),
    CONSTRAINT note_is_1_to_1000_characters CHECK ((typeof(note) = 'text'
        AND length(note) BETWEEN 1 AND 1000
        AND length(CAST(note AS BLOB)) <= 4000 AND instr(note, char(0)) = 0)),
    CONSTRAINT decided_by_is_1_to_128_characters CHECK ((typeof(decided_by) = 'text'
        AND length(decided_by) BETWEEN 1 AND 128
        AND length(CAST(decided_by AS BLOB)) <= 512 AND instr(decided_by, char(0)) = 0)),
    CONSTRAINT decided_at_is_utc_time CHECK (
        typeof(decided_at) = 'text' AND instr(decided_at, char(0)) = 0 AND
        (substr(decided_at, 1, 19) GLOB
             '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][T ][0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
         AND strftime('%Y-%m-%d %H:%M:%S', substr(decided_at, 1, 19), '+0 seconds')
             IS replace(substr(decided_at, 1, 19), 'T', ' ')
         AND substr(decided_at, 1, 4) BETWEEN '1970' AND '9998'
         AND (substr(decided_at, 20) IN ('Z', '+00:00')
              OR (substr(decided_at, 11, 1) = ' ' AND length(decided_at) = 19)
              OR (substr(decided_at, 20) GLOB '.[0-9]*' AND length(decided_at) <= 35
                  AND (substr(decided_at, 11, 1) = ' ' OR substr(decided_at, -1) = 'Z' OR substr(decided_at, -6) = '+00:00')
                  AND substr(decided_at, 21, length(decided_at) - 20 -
                          CASE WHEN substr(decided_at, -1) = 'Z' THEN 1
                               WHEN substr(decided_at, -6) = '+00:00' THEN 6
                               ELSE 0 END) NOT GLOB '*[^0-9]*'))))
);

-- `reconctl sync`: a row asks for a cycle now.
CREATE TABLE sync_requests (
    requested_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
