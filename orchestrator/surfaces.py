"""Surfaces: as `parallax.toml` configures them, and as a worker publishes them to the API."""

from typing import Any

import msgspec

from orchestrator.domain.envelope import Method


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
    """What one country of a surface does differently. `concurrency` None: as the surface."""

    proxy: str | None = None
    headers: dict[str, str] = {}
    concurrency: int | None = None

    def _shown(self) -> dict[str, Any]:
        return {
            "proxy": self.proxy and "…",
            "headers": tuple(self.headers),
            "concurrency": self.concurrency,
        }


class SurfaceConfig(Discreet, frozen=True, kw_only=True):
    """One `[surfaces.<name>]`; `options` are the adapter's own, secrets filled in.

    `concurrency` bounds each lane (surface, country) over all workers; `regions` is keyed by
    ISO 3166-1 alpha-2 country in upper case.
    """

    name: str
    adapter: str
    concurrency: int = 100
    timeout_seconds: float = 30.0
    attempts: int = 4
    credits: int = 0
    raw: bool = False
    options: dict[str, Any] = {}
    regions: dict[str, RegionConfig] = {}

    def _shown(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self) | {"options": tuple(self.options)}

    def region(self, country: str) -> RegionConfig:
        """What this country does differently; nothing, when it is not configured."""
        return self.regions.get(country, _NO_REGION)


class SurfaceDescriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker publishes of a surface: all the API knows of it, and no secret.

    `options_schema` is the JSON Schema of a request's `options[name]`; `countries` None means any;
    `regions` maps a country to the concurrency of its lane where it differs. `credits` is what a
    cell costs that shows something.
    """

    name: str
    adapter: str
    method: Method
    options_schema: dict[str, Any]
    countries: tuple[str, ...] | None = None
    concurrency: int = 100
    attempts: int = 4
    timeout_seconds: float = 30.0
    credits: int = 0
    regions: dict[str, int] = {}


_NO_REGION = RegionConfig()
