"""Sealed events in Parquet files: how they lie, where they are, and how one cart is found among them."""
