"""Times as a shell user writes them (pure)."""

from datetime import UTC, datetime, timedelta

from orchestrator.durations import seconds


def moment(given: str, *, now: datetime) -> datetime:
    """A duration from `now`, or a time (UTC unless it says otherwise); it must lie ahead.

    Raises ValueError with what is expected.
    """
    when = _read(given, now, 1)
    if when <= now:
        raise ValueError(f"{given!r} is not in the future")
    return when


def past(given: str, *, now: datetime) -> datetime:
    """A duration before `now`, or a time (UTC unless it says otherwise), as `moment` takes it."""
    return _read(given, now, -1)


def _read(given: str, now: datetime, direction: int) -> datetime:
    try:
        return now + direction * timedelta(seconds=seconds(given))
    except ValueError:
        return _time(given)
    except OverflowError:
        raise ValueError(f"{given!r} is too far away") from None


def _time(given: str) -> datetime:
    try:
        when = datetime.fromisoformat(given.strip())
    except ValueError:
        raise ValueError(
            f"{given!r} is neither a duration such as 30d nor a time such as 2030-01-31T00:00Z"
        ) from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
