from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_core import rules
from cart_core.importers import times

FORMS = (
    "%Y-%m-%d %H:%M:%S UTC",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S+00:00",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%S.%f+00:00",
)
moments = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))
near_times = st.from_regex(
    r"\A[0-9]{4}-[0-3][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,8})?(Z| UTC|\+00:00|\+05:30|)\Z"
)


@given(
    st.lists(moments.flatmap(lambda moment: st.sampled_from(FORMS).map(lambda form: (moment, _written(moment, form)))))
)
def test_every_form_of_a_time_is_read_as_that_time(told):
    """The forms that clickstreams write give the same microseconds, however they are mixed in a column."""
    texts = pa.array([text for _, text in told], pa.string())
    wanted = [
        rules.to_micros(moment.replace(tzinfo=UTC, microsecond=moment.microsecond if "." in text else 0))
        for moment, text in told
    ]
    assert times.parse_column(texts).tolist() == wanted


@given(st.lists(near_times | st.text(max_size=30) | st.none()))
def test_a_column_is_read_like_its_texts_one_by_one(texts):
    """What looks like a time and is none is told from what is, the same way in columns as alone."""
    wanted = [times.NO_TIME if (moment := times.parse_moment(text)) is None else moment for text in texts]
    assert times.parse_column(pa.array(texts, pa.string())).tolist() == wanted


@given(st.lists(near_times | st.text(max_size=30) | st.none()))
def test_rfc3339_columns_know_exactly_the_times_of_the_rule(texts):
    """Envelope times are held to RFC 3339 and to nothing wider."""
    assert times.parse_rfc3339(pa.array(texts, pa.string())).tolist() == [_by_the_rule(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1569888000000", datetime(2019, 10, 1, tzinfo=UTC)),
        ("2019-10-01 02:00:00+02:00", datetime(2019, 10, 1, tzinfo=UTC)),
        ("2019-10-01T00:00:00.1234567Z", datetime(2019, 10, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        ("2020-02-29 00:00:00 UTC", datetime(2020, 2, 29, tzinfo=UTC)),
        ("1900-02-28 23:59:59 UTC", datetime(1900, 2, 28, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_in_a_known_form_is_that_moment(text, wanted):
    """Epoch milliseconds, offsets, long fractions and leap days are read exactly."""
    assert times.from_micros(times.parse_moment(text)) == wanted
    assert times.parse_column(pa.array([text])).tolist() == [rules.to_micros(wanted)]


@pytest.mark.parametrize(
    "text",
    [
        "2019-10-01 00:00:00",
        "2019-02-29 00:00:00 UTC",
        "1900-02-29T00:00:00Z",
        "2019-13-01 00:00:00 UTC",
        "0000-01-01T00:00:00Z",
    ],
)
def test_a_text_without_a_zone_or_a_day_is_no_time(text):
    """A time without a zone, and a day that no calendar has, are refused."""
    assert times.parse_column(pa.array([text])).tolist() == [times.NO_TIME]


def test_offsets_reach_the_edges_of_the_calendar():
    """A moment that its offset carries out of year 9999 is no time, as it could not be written back."""
    late = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))).isoformat()
    assert times.parse_column(pa.array([late])).tolist() == [times.NO_TIME]


def _written(moment, form):
    return moment.strftime(form.replace("%Y", f"{moment.year:04}"))


def _by_the_rule(text):
    try:
        return rules.to_micros(rules.parse_time(text or ""))
    except ValueError:
        return times.NO_TIME
