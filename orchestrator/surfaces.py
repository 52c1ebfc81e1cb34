"""Surfaces: as `parallax.toml` configures them, and as a worker publishes them to the API."""

import re
from typing import Any, Literal

import msgspec

from orchestrator.domain.envelope import Method

Backoff = Literal["jittered", "doubling"]
"""Of attempts: drawn from a span that doubles, or exactly 1, 2, 4 … seconds."""
_RATE = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,6})?)/(s|min|h)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def per_second(rate: str | None) -> float | None:
    """Starts a second that `"10/s"`, `"600/min"` or `"3600/h"` allows; None for None: no limit.

    ValueError says how to write one.
    """
    if rate is None:
        return None
    match = _RATE.fullmatch(rate)
    if match is None or not float(match[1]):
        raise ValueError('write a rate as "10/s", "600/min" or "0.5/h": more than 0 of a time')
    return float(match[1]) / _SECONDS[match[2]]


class Discreet(msgspec.Struct, frozen=True, kw_only=True):
    """A record that holds secrets, and shows none of them in any `repr`."""

    def _shown(self) -> dict[str, Any]:
        """What of it may be seen."""
        raise NotImplementedError  # each record says it of itself

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._shown().items())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return list(self._shown().items())


class RegionConfig(Discreet, frozen=True, kw_only=True):
    """What one country of a surface does differently; a limit that is None is the surface's.

    `locale` is the language of who is there, if a request names none.
    """

    proxy: str | None = None
    headers: dict[str, str] = {}
    locale: str | None = None
    concurrency: int | None = None
    rate: str | None = None

    def _shown(self) -> dict[str, Any]:
        return {
            "proxy": self.proxy and "…",
            "headers": tuple(self.headers),
            "locale": self.locale,
            "concurrency": self.concurrency,
            "rate": self.rate,
        }


class RegionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many children of a lane run at once, and how often one starts (`per_second`), at most.

    A lane that `learns` is also limited by what its upstream bears, as its outcomes tell.
    """

    concurrency: int
    rate: str | None = None
    learns: bool = True


class SurfaceConfig(Discreet, frozen=True, kw_only=True):
    """One `[surfaces.<name>]`; `options` are the adapter's own, secrets filled in.

    `concurrency` and `rate` (as it is written: `per_second`) bound each lane (surface, country)
    over all workers; `slots` of a worker are taken by each of its children. `regions` is keyed by
    ISO 3166-1 alpha-2 country in upper case. `reachable` has the networks, as CIDRs, that addresses
    chosen by clients may be in beside the internet's. `backoff` says how long an attempt waits for
    the next (`workers.retry`). `rodin_name` and `cloro_tasks` are what dialects call it. `mentions`
    are names looked for in its answers. It is asked from these `countries` only, None: from any.
    What a cell captured is good for identical ones for `coalesce_seconds`; None: each calls itself.
    """

    name: str
    adapter: str
    concurrency: int = 100
    rate: str | None = None
    slots: int = 1
    timeout_seconds: float = 30.0
    attempts: int = 4
    credits: int = 0
    raw: bool = False
    options: dict[str, Any] = {}
    regions: dict[str, RegionConfig] = {}
    reachable: tuple[str, ...] = ()
    backoff: Backoff = "jittered"
    rodin_name: str | None = None
    cloro_tasks: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    countries: tuple[str, ...] | None = None
    coalesce_seconds: float | None = None

    def _shown(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self) | {"options": tuple(self.options)}

    def region(self, country: str) -> RegionConfig:
        """What this country does differently; nothing, when it is not configured."""
        return self.regions.get(country, _NO_REGION)

    def regional(self, country: str) -> bool:
        """Whether this country's calls differ from others': by a proxy, or by headers."""
        own = self.region(country)
        return bool(own.proxy or own.headers)

    @property
    def paced(self) -> bool:
        """True when some lane of it has a rate."""
        return self.rate is not None or any(region.rate for region in self.regions.values())

    def limits(self, country: str) -> RegionLimits:
        """The limits of this country's lane: its own, or else the surface's."""
        own = self.region(country)
        return RegionLimits(
            concurrency=own.concurrency or self.concurrency, rate=own.rate or self.rate
        )


class SurfaceDescriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker publishes of a surface: all the API knows of it, and no secret.

    `options_schema` is the JSON Schema of a request's `options[name]`, `query_schema` of its query
    where not any text will do; `countries` None means any;
    `regions` has the limits of the countries whose lanes have their own. `credits` is what a cell
    costs that shows something; `slots` what it takes of its worker's. What its calls run into says
    something of it if it `learns`: not where each job has an upstream of its own. `rodin_name` is
    what Rodin's clients call it, `cloro_tasks` are the kinds of cloro's tasks it captures.
    """

    name: str
    adapter: str
    method: Method
    options_schema: dict[str, Any]
    query_schema: dict[str, Any] = {}
    countries: tuple[str, ...] | None = None
    concurrency: int = 100
    rate: str | None = None
    slots: int = 1
    attempts: int = 4
    timeout_seconds: float = 30.0
    credits: int = 0
    # Stored by a name of its own: `regions` of an older worker are numbers.
    regions: dict[str, RegionLimits] = msgspec.field(default_factory=dict, name="lanes")
    learns: bool = True
    rodin_name: str | None = None
    cloro_tasks: tuple[str, ...] = ()

    def limits(self, country: str) -> RegionLimits:
        """The limits of this country's lane."""
        own = self.regions.get(country)
        concurrency, rate = (own.concurrency, own.rate) if own else (self.concurrency, self.rate)
        return RegionLimits(concurrency=concurrency, rate=rate, learns=self.learns)


_NO_REGION = RegionConfig()
