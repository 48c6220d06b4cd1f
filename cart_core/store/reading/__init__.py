"""Everything that a store answers: carts, scans, views for DuckDB, states kept in memory."""
