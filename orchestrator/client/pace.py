"""How often to look at a job that is watched, and for how long to try again (pure)."""

from http import HTTPStatus

from orchestrator.client.errors import ApiError

SHORTEST = 0.25
LONGEST = 2.0
AGAIN = 1.0
"""Seconds until the next try, where nobody says when."""
AWAY = frozenset(
    {
        None,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


def pause(previous: float, *, changed: bool) -> float:
    """Seconds until the next look: short while things move, then half as long again up to 2 s.

    So a watcher costs at most 4 requests a second of its key's rate, and 30 a minute when idle.
    """
    return SHORTEST if changed else min(LONGEST, max(SHORTEST, previous * 1.5))


class Patience:
    """Waits for a server that is busy as it says, and so long for one that is away.

    `now` is what a clock says, in seconds.
    """

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._until = now + seconds

    def heard(self, now: float) -> None:
        """The server is there: its time begins anew."""
        self._until = now + self._seconds

    def rest(self, error: ApiError, now: float) -> float:
        """Seconds until the request may be sent again; raises the error when that helps nobody."""
        seconds = AGAIN if error.retry_after is None else error.retry_after
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            self.heard(now)
        elif error.status not in AWAY or now + seconds > self._until:
            raise error
        return seconds
