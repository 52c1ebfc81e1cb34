"""From a configured surface to its adapter, and to what the API is told of it."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from orchestrator.configuration import Configuration
from orchestrator.errors import ConfigError
from orchestrator.surfaces import SurfaceConfig, SurfaceDescriptor
from workers.adapters.base import Adapter
from workers.adapters.mentions import Mentioning
from workers.errors import OptionError

GROUP = "parallax.adapters"
Build = Callable[[SurfaceConfig], Adapter]


def names() -> tuple[str, ...]:
    """The adapters that are installed."""
    return tuple(sorted(_found()))


def build(configuration: Configuration, surface: str) -> Adapter:
    """The adapter of a configured surface; raises `ConfigError` with file, line and reason."""
    config = configuration.surfaces[surface]
    if config.adapter not in _found():
        reason = f"no adapter {config.adapter!r} is installed; there are {', '.join(names())}"
        raise configuration.fault(surface, ("adapter",), reason)
    try:
        adapter = make(config)
    except OptionError as error:
        faults = (
            configuration.fault(surface, ("options", *keys), why) for keys, why in error.faults
        )
        raise ConfigError("\n".join(str(fault) for fault in faults)) from None
    if config.coalesce_seconds is not None and adapter.method == "webhook":
        reason = (
            "each of these calls does something of its own: they cannot be shared; leave it out"
        )
        raise configuration.fault(surface, ("coalesce",), reason)
    return adapter


def make(config: SurfaceConfig) -> Adapter:
    """The adapter of a surface, which is installed; raises `OptionError`."""
    build: Build = _found()[config.adapter].load()
    adapter = build(config)
    return Mentioning(adapter, config.mentions) if config.mentions else adapter


def describe(config: SurfaceConfig, adapter: Adapter) -> SurfaceDescriptor:
    """What a worker that serves this surface publishes of it."""
    return SurfaceDescriptor(
        name=config.name,
        adapter=config.adapter,
        method=adapter.method,
        options_schema=adapter.options_schema,
        query_schema=getattr(adapter, "query_schema", {}),
        countries=_countries(config, adapter),
        concurrency=config.concurrency,
        rate=config.rate,
        slots=config.slots,
        attempts=config.attempts,
        credits=config.credits,
        timeout_seconds=config.timeout_seconds,
        learns=adapter.method != "webhook",
        rodin_name=config.rodin_name,
        cloro_tasks=config.cloro_tasks,
        regions={
            country: config.limits(country)
            for country, region in config.regions.items()
            if region.concurrency or region.rate
        },
    )


def _countries(config: SurfaceConfig, adapter: Adapter) -> tuple[str, ...] | None:
    """Where both the operator and the adapter would have it asked from."""
    if config.countries is None or adapter.countries is None:
        return adapter.countries if config.countries is None else config.countries
    return tuple(country for country in config.countries if country in adapter.countries)


def _found() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
