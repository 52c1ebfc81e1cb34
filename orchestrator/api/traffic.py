"""What this process answered: how often, and how soon. Counted as it happens, told when asked.

Plain numbers of one thread: a metrics library's own, which are locked, cost a request ten times as
much.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
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


@dataclass(slots=True)
class Timed:
    """How soon the responses of a route began: how many in each bucket, and seconds in all."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """One more response."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    @property
    def within(self) -> Iterator[int]:
        """How many began within each bound, and in the end all."""
        return accumulate(self.buckets)


class Traffic:
    """The requests of this process by method, route and status, and their times by route."""

    def __init__(self) -> None:
        self._answered: Counter[Answered] = Counter()
        self._timed: dict[str, Timed] = {}

    @property
    def answered(self) -> Mapping[Answered, int]:
        """Responses that began."""
        return self._answered

    @property
    def timed(self) -> Mapping[str, Timed]:
        """Times by route; those of paths that are none are not taken."""
        return self._timed

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
        # mypy: Litestar's router adds it to the scope of what is served
        route = cast("str", scope.get("path_template", OTHER))
        method = cast("HTTPScope", scope)["method"]
        known = method if method in METHODS else OTHER
        self._answered[Answered(known, route, message["status"])] += 1
        if (began := scope["state"].get("began")) is not None:
            if (timed := self._timed.get(route)) is None:
                timed = self._timed[route] = Timed()
            timed.add(time.perf_counter() - began)
