"""The tables of a catalog, in SQL that databases share; a catalog fills in its own names of types."""

TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position {int} NOT NULL, recorded_at {int} NOT NULL, generation {int} NOT NULL, forgotten {int} NOT NULL,
    running_hash {blob} NOT NULL,
    user_key {int} NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS users (
    user_key {serial}, user_id TEXT NOT NULL, salt {blob}, commitment {blob}, {one_user}
);
CREATE TABLE IF NOT EXISTS forgotten (user_key {int} PRIMARY KEY, commitment {blob});
CREATE TABLE IF NOT EXISTS journal (
    position {int} PRIMARY KEY,
    event_id {blob} NOT NULL UNIQUE,
    cart_id {blob} NOT NULL,
    version {int} NOT NULL CHECK (version >= 1),
    user_key {int} NOT NULL,
    timestamp {int} NOT NULL,
    recorded_at {int} NOT NULL,
    type TEXT NOT NULL,
    product_id TEXT, product_name TEXT, quantity {int}, old_quantity {int}, price_cents {int},
    old_price_cents {int}, currency TEXT, image_url TEXT, coupon_code TEXT, discount_type TEXT,
    discount_value {real}, reason TEXT, last_activity_at {int}, order_id TEXT, total_cents {int},
    metadata TEXT,
    running_hash {blob} NOT NULL,
    UNIQUE (cart_id, version)
);
CREATE TABLE IF NOT EXISTS segments (
    segment_id {serial},
    file TEXT NOT NULL UNIQUE,
    first_position {int} NOT NULL, last_position {int} NOT NULL, rows {int} NOT NULL,
    size_bytes {int} NOT NULL, sha256 TEXT NOT NULL,
    min_timestamp {int} NOT NULL, max_timestamp {int} NOT NULL,
    position_shift {int} NOT NULL, recorded_at {int},
    retired_at {int},
    schema_version {int} NOT NULL DEFAULT 1
);
CREATE TABLE IF NOT EXISTS batches (
    batch {int} PRIMARY KEY,
    first_position {int} NOT NULL, last_position {int} NOT NULL, rows {int} NOT NULL,
    root {blob} NOT NULL, recorded {blob} NOT NULL, sealed_at {int} NOT NULL,
    previous {blob} NOT NULL, entry {blob} NOT NULL,
    journal_anchor {blob},
    user_key {int}, names {blob}
);
"""

UNCOMMITTED = "a user comes with a commitment to the name: restart what runs an earlier version of cart-workbench"

SCHEMA_VERSION = 3
"""The version of these tables, and of the columns of segments that are written under them."""

MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE segments ADD COLUMN schema_version {int} NOT NULL DEFAULT 1",
        "CREATE INDEX IF NOT EXISTS journal_users ON journal (user_key)",
    ),
    2: (
        "ALTER TABLE state ADD COLUMN user_key {int} NOT NULL DEFAULT 0",
        "UPDATE state SET user_key = {last_user}",
        "ALTER TABLE users ADD COLUMN salt {blob}",
        "ALTER TABLE users ADD COLUMN commitment {blob}",
        "ALTER TABLE batches ADD COLUMN user_key {int}",
        "ALTER TABLE batches ADD COLUMN names {blob}",
        "{free_users}",
        "DROP INDEX IF EXISTS journal_users",
    ),
}
"""What makes tables of one version those of the next; what segments hold is upcast where it is read."""
