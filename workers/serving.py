"""The surfaces that a process serves, each with what captures it."""

from collections.abc import Mapping, Sequence

from orchestrator.configuration import Configuration
from orchestrator.errors import ConfigError
from workers.adapters import discovery
from workers.execution import Served


def served(configured: Configuration, names: Sequence[str]) -> Mapping[str, Served]:
    """These surfaces, or all; raises `ConfigError`, for names that are not configured too."""
    unknown = sorted(set(names) - configured.surfaces.keys())
    if unknown:
        raise ConfigError(
            f"not configured: {', '.join(unknown)}; there are {', '.join(configured.surfaces)}"
        )
    return {
        name: Served(configured.surfaces[name], discovery.build(configured, name))
        for name in names or configured.surfaces
    }
