-- Understood by SQLite and PostgreSQL alike. Ids are kept as the API writes them.
CREATE TABLE api_keys (key_hash TEXT PRIMARY KEY, scope TEXT NOT NULL);
CREATE TABLE events (
    event_id TEXT PRIMARY KEY,
    details TEXT NOT NULL,              -- what does not change during the sale, as JSON
    purchase_limit INTEGER NOT NULL,
    hold_seconds INTEGER NOT NULL,
    tax_rate DOUBLE PRECISION NOT NULL,
    admits_at_once INTEGER NOT NULL     -- 1: no waiting room
);
CREATE TABLE rooms (event_id TEXT PRIMARY KEY, next_place BIGINT NOT NULL, waiting BIGINT NOT NULL);
CREATE TABLE entries (
    entry_id TEXT PRIMARY KEY,
    event_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device_hash TEXT NOT NULL,
    place BIGINT NOT NULL,
    status TEXT NOT NULL,
    expires_at BIGINT,
    UNIQUE (event_id, user_id),
    UNIQUE (event_id, device_hash)
);
CREATE INDEX entries_waiting ON entries (event_id, place) WHERE status = 'QUEUED';
CREATE TABLE seats (
    seat_id TEXT PRIMARY KEY,
    event_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,           -- its place in the order of the hall
    section_id TEXT NOT NULL,
    section TEXT NOT NULL,
    row_name TEXT NOT NULL,
    number TEXT NOT NULL,
    tier_id TEXT NOT NULL,
    price_minor INTEGER NOT NULL,
    fees_minor INTEGER NOT NULL,
    status TEXT NOT NULL,
    reservation_id TEXT
);
CREATE INDEX seats_of_event ON seats (event_id, ordinal);
CREATE INDEX seats_of_reservation ON seats (reservation_id) WHERE reservation_id IS NOT NULL;
CREATE TABLE purchases (
    event_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    seats INTEGER NOT NULL,
    PRIMARY KEY (event_id, user_id)
);
CREATE TABLE reservations (
    reservation_id TEXT PRIMARY KEY,
    event_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    status TEXT NOT NULL,
    seats INTEGER NOT NULL,
    expires_at BIGINT NOT NULL
);
