"""What the server answers besides the documents about jobs (`orchestrator.domain.documents`)."""

import msgspec

from orchestrator.domain.envelope import Method, Wire


class ResultsPage(Wire):
    """One page of results, each still the server's JSON."""

    results: tuple[msgspec.Raw, ...]
    next_cursor: str | None = None


class Surface(Wire):
    """A surface that can be asked; `regions` None means every country."""

    name: str
    adapter: str
    method: Method
    regions: tuple[str, ...] | None
    live_workers: int


class Surfaces(Wire):
    """Everything that can be asked."""

    surfaces: tuple[Surface, ...]


class Health(Wire):
    """The server's word that it is well."""

    status: str
    schema_version: str
