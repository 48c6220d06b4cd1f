"""Whom a campaign may write to, and when: the rules as data, the holdout, and the shopper's quiet hours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

REASONS = (
    "bought_since",
    "contacted",
    "no_consent",
    "no_address",
    "below_minimum",
    "mixed_currency",
    "too_old",
    "out_of_stock",
    "another_cart",
    "holdout",
)
"""Why an open episode is not written about, in the order in which reasons are listed."""

TREATMENT, HOLDOUT = "treatment", "holdout"
HASH_RANGE = 2**64


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one campaign.

    ``idle`` and ``window`` define the episodes. A cart is too old beyond ``max_age`` since the last activity, and
    worth no mail below ``min_value_cents`` (of its own currency). A shopper gets at most ``cap`` mails, of any
    campaign, within ``cap_period``. Quiet hours run from ``quiet_from`` to ``quiet_until`` on the shopper's clock,
    over midnight where that is earlier; equal times mean none. ``time_zone`` is used where a shopper's is not known.
    A share ``holdout`` of shoppers is never written to. A coupon ending within ``coupon_warning`` is expiring.
    Raises ValueError for what cannot be meant.
    """

    campaign: str = "recovery"
    idle: timedelta = timedelta(minutes=60)
    window: timedelta = timedelta(days=7)
    min_value_cents: int = 0
    max_age: timedelta = timedelta(days=3)
    cap: int = 1
    cap_period: timedelta = timedelta(days=7)
    quiet_from: time = time(21)
    quiet_until: time = time(8)
    time_zone: str = "UTC"
    holdout: float = 0.1
    coupon_warning: timedelta = timedelta(days=2)

    def __post_init__(self) -> None:
        if not self.campaign or not 0 <= self.holdout <= 1 or self.cap < 1:
            raise ValueError(
                f"campaign is {self.campaign!r}, holdout {self.holdout}, cap {self.cap}: "
                "a campaign has a name, a holdout from 0 to 1, and a cap of at least 1"
            )
        if min(self.idle, self.window, self.max_age, self.cap_period) <= timedelta(0):
            raise ValueError("idle, window, max_age and cap_period must be longer than 0")
        if known_zone(self.time_zone) is None:
            raise ValueError(f"there is no time zone {self.time_zone!r}; give an IANA name such as Europe/Berlin")

    def assignment(self, user_id: str) -> str:
        """Which arm a shopper is in for this campaign: the same at any time, on any machine.

        The first 8 bytes of SHA-256 over campaign, NUL and user id, as a fraction of 2**64, against the share.
        """
        digest = hashlib.sha256(f"{self.campaign}\0{user_id}".encode()).digest()
        return HOLDOUT if int.from_bytes(digest[:8]) < self.holdout * HASH_RANGE else TREATMENT

    def send_after(self, as_of: datetime, time_zone: str | None) -> datetime:
        """The first moment from ``as_of`` on, in UTC, at which the shopper's clock shows no quiet hour."""
        zone = known_zone(time_zone) or ZoneInfo(self.time_zone)
        if not self._quiet(as_of.astimezone(zone).time()):
            return as_of.astimezone(UTC)
        return min(self._ends_of_quiet(as_of, zone))

    def _quiet(self, clock: time) -> bool:
        if self.quiet_from <= self.quiet_until:
            return self.quiet_from <= clock < self.quiet_until
        return clock >= self.quiet_from or clock < self.quiet_until

    def _ends_of_quiet(self, as_of: datetime, zone: tzinfo) -> list[datetime]:
        """The moments after ``as_of`` at which the clock shows ``quiet_until``, or jumps over it."""
        today = as_of.astimezone(zone).date()
        ends = []
        for days in range(2):
            for fold in (0, 1):
                clock = datetime.combine(today + timedelta(days), self.quiet_until, zone).replace(fold=fold)
                moment = clock.astimezone(UTC)
                jumped = moment.astimezone(zone).time() != self.quiet_until
                ends.append(_jump(moment, zone) if jumped else moment)
        return [moment for moment in ends if moment > as_of]


def known_zone(name: str | None) -> ZoneInfo | None:
    """A time zone by its IANA name; None where there is none of that name."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _jump(near: datetime, zone: tzinfo) -> datetime:
    """The moment within a day before or after at which the zone's clock jumps."""
    low, high = near - timedelta(days=1), near + timedelta(days=1)
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high.replace(microsecond=0)
