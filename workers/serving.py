"""The surfaces that a process serves, each with what captures it."""

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint

import structlog

from orchestrator.configuration import Configuration
from orchestrator.domain import queues
from orchestrator.errors import ConfigError
from workers.adapters import discovery, foreign
from workers.execution import Served

_log = structlog.get_logger()


def served(configured: Configuration, names: Sequence[str]) -> Mapping[str, Served]:
    """These surfaces, or all.

    Raises `ConfigError` with the faults of each, and for names that are not configured.
    """
    unknown = sorted(set(names) - configured.surfaces.keys())
    if unknown:
        there = [name for name in configured.surfaces if not queues.is_queue(name)]
        said = f"there are {', '.join(there)}" if there else "no surface is"
        raise ConfigError(f"not configured: {', '.join(unknown)}; {said}")
    brought = foreign.brought()
    made: dict[str, Served] = {}
    faults = []
    for name in dict.fromkeys(names or configured.surfaces):
        try:
            made[name] = _made(configured, name, brought)
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return made


def _made(
    configured: Configuration, name: str, brought: Mapping[str, tuple[EntryPoint, ...]]
) -> Served:
    """A surface with its adapter, which may be somebody else's code."""
    config = configured.surfaces[name]
    entries = brought.get(config.adapter)
    if entries is None:
        return Served(config, discovery.build(configured, name))
    if wrong := foreign.contested(entries):
        raise configured.fault(name, ("adapter",), wrong)
    try:
        adapter = discovery.build(configured, name)
        wrong = foreign.fault(config, adapter)
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - somebody else's code
        _log.exception("adapter.broken", surface=name)
        reason = f"its adapter cannot be made ({type(error).__name__}); the log says more"
        raise configured.fault(name, ("adapter",), reason) from None
    if wrong:
        raise configured.fault(name, ("adapter",), wrong)
    return Served(config, adapter)
