from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.derive.experiments import unit_metrics
from pipelines.derive.experiments.acts import ACTS
from pipelines.derive.experiments.tallying import arms_by_moment, metrics_of, tallies, together

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KINDS = ("view", "cart", "add", "removal", "checkout", "order", "abandoned")
COLUMNS = ("orders", "revenue_cents", "carts", "abandoned_carts", "removals", "converted", "viewed", "added")
HOURS = st.integers(0, 60)
WINDOWS = st.one_of(st.none(), st.integers(0, 40).map(lambda hours: hours * HOUR))
LOOKS = st.lists(HOURS, unique=True, min_size=1).map(sorted)
ACTS_DONE = st.lists(
    st.tuples(st.sampled_from("abcdx"), HOURS, HOURS, st.sampled_from(KINDS), st.integers(0, 9)), max_size=30
).map(
    lambda rows: pl.DataFrame(
        [(user, NOON + max(at, since) * HOUR, NOON + since * HOUR, *rest) for user, at, since, *rest in rows],
        schema=ACTS,
        orient="row",
    )
)
EXPOSED = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.sampled_from(["left", "right"]), HOURS)).map(
    lambda shown: pl.DataFrame(
        [(user, arm, NOON + hours * HOUR) for user, (arm, hours) in shown.items()],
        schema={"user_id": pl.String, "variant": pl.String, "exposed_at": pl.Datetime("us", "UTC")},
        orient="row",
    )
)


@given(done=ACTS_DONE, users=EXPOSED, looks=LOOKS, window=WINDOWS)
@settings(max_examples=60)
def test_one_pass_over_all_days_gives_what_each_day_alone_gives(done, users, looks, window):
    """As of one moment after the other, the users of each arm and what they did are those of that moment alone."""
    moments = [NOON + hours * HOUR for hours in looks]
    told = together([tallies(done, users, moments, window=window)])
    for moment, arms in zip(moments, arms_by_moment(told, users, moments, COLUMNS), strict=True):
        alone = unit_metrics(done, users, window=window, as_of=moment).sort("exposed_at", maintain_order=True)
        expected = {
            arm: part.select(pl.col(COLUMNS).cast(pl.Float64)).to_dict(as_series=False)
            for (arm,), part in alone.partition_by("variant", as_dict=True).items()
        }
        assert {arm: {name: list(of) for name, of in values.items()} for arm, values in arms.items()} == expected


@given(
    done=ACTS_DONE,
    users=EXPOSED,
    looks=LOOKS,
    window=WINDOWS,
    cuts=st.lists(st.integers(0, 30), max_size=3).map(sorted),
)
@settings(max_examples=60)
def test_parts_of_the_acts_add_up_to_the_whole(done, users, looks, window, cuts):
    """However the acts are cut into parts, their tallies together are those of all."""
    moments = [NOON + hours * HOUR for hours in looks]
    parts = [done[low:high] for low, high in zip([0, *cuts], [*cuts, done.height], strict=True)]
    in_parts = together(tallies(part, users, moments, window=window) for part in parts)
    assert in_parts.equals(together([tallies(done, users, moments, window=window)]))


@given(done=ACTS_DONE, users=EXPOSED, looks=LOOKS, window=WINDOWS)
@settings(max_examples=60)
def test_days_do_not_matter_to_the_end(done, users, looks, window):
    """What users did by the last of several moments is what they did by it alone."""
    moments = [NOON + hours * HOUR for hours in looks]
    known = users.filter(pl.col("exposed_at") <= moments[-1])
    told = metrics_of(together([tallies(done, known, moments, window=window)]), known, window=window, as_of=moments[-1])
    assert told.equals(unit_metrics(done, users, window=window, as_of=moments[-1]))


@pytest.mark.parametrize("moments", [[], [NOON + HOUR, NOON], [NOON, NOON]], ids=["none", "back", "twice"])
def test_moments_that_do_not_ascend_are_refused(moments):
    """Each moment grows from the one before it."""
    with pytest.raises(ValueError, match="do not ascend"):
        tallies(pl.DataFrame(schema=ACTS), pl.DataFrame({"user_id": ["u"], "exposed_at": [NOON]}), moments, window=None)
