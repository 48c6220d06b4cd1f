"""How shoppers behave: every rate of the simulated shop, in one place."""

from __future__ import annotations

from typing import NamedTuple

MAX_LINES = 16
MAX_COUPONS = 2
MAX_CARTS_OF_USER = 24


class Behaviour(NamedTuple):
    """Rates are chances from 0 to 1 unless the name says otherwise.

    A cart is a few visits with silences between them; the last one ends at the checkout, or in silence for good.
    """

    guest_share: float = 0.35
    another_cart: float = 0.72
    visitors_per_cart: float = 0.5
    bounce: float = 0.3
    conversion_low: float = 0.04
    conversion_high: float = 0.90
    taste_sigma: float = 0.6
    steps_more: float = 0.62
    another_visit: float = 0.42
    most_visits: int = 5
    add: float = 0.60
    add_again: float = 0.12
    change_quantity: float = 0.11
    remove: float = 0.10
    more_views: float = 0.45
    step_gap_s: float = 75.0
    short_silence: float = 0.50
    middle_silence: float = 0.35
    short_silence_s: float = 1_500.0
    middle_silence_s: float = 21_600.0
    long_silence_s: float = 216_000.0
    checkout_then_silence: float = 0.12
    checkout_then_lost: float = 0.30
    pay_s: float = 150.0
    slow_payment: float = 0.03
    slow_payment_s: float = 28_800.0
    expiry_removal: float = 0.30
    expiry_removal_within_s: float = 1_500.0
    overcharged: float = 0.002
    exposed: float = 0.85
    seen_in_both: float = 0.01
    reprice_days: float = 14.0
    address_share: float = 0.88
    consent_share: float = 0.70
