"""Whom to write to, what came of it, and what coupons do."""
