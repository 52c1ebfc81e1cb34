from datetime import UTC, datetime
from math import nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.egress_errors import retry_after_seconds
from workers.errors import SurfaceError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("12", 12.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("999999999999", 999_999_999_999.0),
        ("Sat, 01 Nov 2025 10:00:30 GMT", 30.0),
        ("Sat, 01 Nov 2025 09:00:00 GMT", 0.0),
        ("Sat, 01 Nov 2025 11:00:30 +0100", 30.0),
        ("Saturday, 01-Nov-25 10:00:30 GMT", 30.0),
        ("Sat Nov  1 10:00:30 2025", 30.0),
        ("Sat, 01 Nov 2025 10:00:30 -0000", 30.0),
        ("Sat, 32 Nov 2025 10:00:30 GMT", None),
        ("", None),
        ("-", None),
        ("5 s", None),
        ("soon", None),
        ("²", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, expected):
    """Both forms of `Retry-After` are read; nonsense is as none."""
    assert retry_after_seconds(value, now=datetime(2025, 11, 1, 10, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Sat, 01 Nov 2025 10:00:00 GMT", 30.0),
        ("Sat, 01 Nov 2025 11:00:00 GMT", 0.0),
        ("yesterday", 3600.0),
        (None, 3600.0),
    ],
)
def test_a_date_counts_from_the_reply_s_own(date, expected):
    """An upstream whose clock is an hour late is asked again when it meant, not an hour late."""
    until = "Sat, 01 Nov 2025 10:00:30 GMT"
    ours = datetime(2025, 11, 1, 9, 0, 30, tzinfo=UTC)
    assert retry_after_seconds(until, date, now=ours) == expected


@given(st.text(), st.text())
@example("0\x1f", "")
def test_no_text_is_too_strange_to_be_read_as_retry_after(value, date):
    """It is nonsense, or it is seconds from 0 on."""
    seconds = retry_after_seconds(value, date)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("asked", "heard"),
    [(None, None), (0, 0), (7, 7), (-3, 0), (3600, 3600), (3601, 3600), (1e300, 3600), (nan, 0)],
)
def test_an_upstream_is_heard_for_an_hour(asked, heard):
    """Whatever an adapter reads out of a reply; longer is a mistake, or a way to be left alone."""
    error = SurfaceError("X", "x", permanent=False, retry_after_seconds=asked)
    assert error.retry_after_seconds == heard
    assert heard is None or isinstance(error.retry_after_seconds, float)
