"""What this process answered: how often, and how soon. Counted as it happens, told when asked.

Plain numbers of one thread, which cost a request about 2 µs; those of a metrics library are locked
and cost more.
"""

import time
from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple, cast

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0)
"""Seconds up to which a request is in a bucket; a sync call may wait for minutes."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""Stands for any other method and for a path that is not one: a caller cannot add to the labels."""


class Answered(NamedTuple):
    """A kind of response; `route` is the template of the path."""

    method: str
    route: str
    status: int


class Timed:
    """How soon responses of a kind began: how many in each bucket, the last beyond all bounds."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """One more response."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


class Traffic:
    """The responses of this process, by kind."""

    def __init__(self) -> None:
        self._timed: dict[tuple[str, str, int], Timed] = {}

    @property
    def timed(self) -> Mapping[Answered, Timed]:
        """How soon they began; of paths that are none only their number means something.

        The kinds are those so far, their numbers go on.
        """
        return {Answered(*kind): timed for kind, timed in self._timed.items()}

    def watched(self, app: ASGIApp) -> ASGIApp:
        """Serve `app`, and know when each request came."""

        async def watch(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"]["began"] = time.perf_counter()
            await app(scope, receive, send)

        return watch

    async def note(self, message: Message, scope: Scope) -> None:
        """Count a response that starts."""
        if message["type"] != "http.response.start":
            return
        kind = (
            cast("HTTPScope", scope)["method"],
            scope.get("path_template", OTHER),  # the router adds it to what is served
            message["status"],
        )
        now = time.perf_counter()
        (self._timed.get(kind) or self._new(*kind)).add(now - scope["state"].get("began", now))

    def _new(self, method: str, route: str, status: int) -> Timed:
        known = method if method in METHODS else OTHER
        return self._timed.setdefault((known, route, status), Timed())
