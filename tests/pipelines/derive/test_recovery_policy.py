from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.derive.recovery_policy import Policy

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago"]
MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    """A moment from RFC 3339 text."""
    return datetime.fromisoformat(text)


def test_outside_quiet_hours_a_mail_goes_at_once() -> None:
    """At noon nothing waits."""
    noon = at("2026-01-01T12:00:00+00:00")
    assert Policy().send_after(noon, "Europe/Berlin") == noon


@pytest.mark.parametrize(
    ("as_of", "zone", "expected"),
    [
        ("2026-01-01T22:00:00+00:00", "UTC", "2026-01-02T08:00:00+00:00"),
        ("2026-01-01T03:00:00+00:00", "UTC", "2026-01-01T08:00:00+00:00"),
        ("2026-01-01T21:00:00+00:00", "UTC", "2026-01-02T08:00:00+00:00"),
        ("2026-01-01T08:00:00+00:00", "UTC", "2026-01-01T08:00:00+00:00"),
        ("2026-01-01T20:30:00+00:00", "Europe/Berlin", "2026-01-02T07:00:00+00:00"),
        ("2026-03-28T22:00:00+00:00", "Europe/Berlin", "2026-03-29T06:00:00+00:00"),
        ("2026-10-24T22:00:00+00:00", "Europe/Berlin", "2026-10-25T07:00:00+00:00"),
    ],
    ids=["evening", "night", "first quiet", "first free", "local", "spring forward", "fall back"],
)
def test_a_mail_waits_for_the_end_of_the_shoppers_quiet_hours(as_of: str, zone: str, expected: str) -> None:
    """Between 21:00 and 8:00 on the shopper's clock it waits until 8:00 on that clock, over clock changes too."""
    assert Policy().send_after(at(as_of), zone) == at(expected)


def test_an_end_of_quiet_that_the_clock_skips_is_the_skip() -> None:
    """Quiet until 2:30 on the night when 2:00 becomes 3:00 ends at 3:00."""
    policy = Policy(quiet_from=time(22), quiet_until=time(2, 30))
    assert policy.send_after(at("2026-03-29T00:30:00+00:00"), "Europe/Berlin") == at("2026-03-29T01:00:00+00:00")


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(ZONES),
    st.times(),
    st.times(),
)
def test_a_mail_waits_no_longer_than_it_must(as_of: datetime, zone: str, start: time, end: time) -> None:
    """The clock shows no quiet hour then, and every minute before it, from as_of on, is quiet."""
    start, end = start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0)
    policy = Policy(quiet_from=start, quiet_until=end)

    def quiet(moment: datetime) -> bool:
        clock = moment.astimezone(ZoneInfo(zone)).time()
        return start <= clock < end if start <= end else clock >= start or clock < end

    send_after = policy.send_after(as_of, zone)
    assert send_after >= as_of
    assert not quiet(send_after)
    waited = int((send_after - as_of) / MINUTE)
    assert all(quiet(as_of + MINUTE * minute) for minute in range(waited))


@pytest.mark.parametrize("zone", [None, "", "Mars/Olympus", "../etc/passwd"])
def test_an_unknown_zone_is_the_policys(zone: str | None) -> None:
    """Where a shopper's zone is unknown or none, the policy's clock counts."""
    policy = Policy(time_zone="Asia/Tokyo")
    assert policy.send_after(at("2026-01-01T13:00:00+00:00"), zone) == at("2026-01-01T23:00:00+00:00")


def test_the_holdout_is_drawn_by_shopper_and_campaign() -> None:
    """The same shopper is in the same arm of a campaign for ever, and independently in another's."""
    policy, other = Policy(campaign="a"), Policy(campaign="b")
    users = [f"u{number}" for number in range(4_000)]
    drawn = [policy.assignment(user) for user in users]
    assert drawn == [policy.assignment(user) for user in users]
    both = sum(one == two == "holdout" for one, two in zip(drawn, map(other.assignment, users), strict=True))
    assert 340 <= drawn.count("holdout") <= 460
    assert 20 <= both <= 65


def test_the_draw_is_the_documented_hash() -> None:
    """The arm is the first 8 bytes of SHA-256 over campaign, NUL and user, as a fraction, against the share."""
    assert [Policy(holdout=share).assignment("u1") for share in (0.0, 1.0)] == ["treatment", "holdout"]
    fraction = 0xC3826A1E7DA9007C / 2**64
    assert Policy(holdout=fraction + 1e-9).assignment("u1") == "holdout"
    assert Policy(holdout=fraction - 1e-9).assignment("u1") == "treatment"


@pytest.mark.parametrize(
    "wrong", [{"campaign": ""}, {"holdout": 1.5}, {"cap": 0}, {"max_age": timedelta(0)}, {"time_zone": "Mars/Olympus"}]
)
def test_a_policy_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    """No name, a share above 1, no mail at all, no age, no zone: refused when it is made."""
    with pytest.raises(ValueError, match=r"campaign is|longer than 0|no time zone"):
        Policy(**wrong)  # type: ignore[arg-type]
