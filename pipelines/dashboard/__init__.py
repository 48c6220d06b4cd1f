"""The pages that people look at: they read derived tables and never compute a figure of their own."""
