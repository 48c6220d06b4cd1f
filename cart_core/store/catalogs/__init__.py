"""Where a store's journal, list of segments and users are kept: one set of tables, in SQLite or PostgreSQL."""
