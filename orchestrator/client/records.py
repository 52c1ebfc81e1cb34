"""What the server answers besides the documents about jobs (`orchestrator.domain`)."""

from dataclasses import dataclass

import msgspec

from orchestrator.client.errors import ApiError, ErrorBody
from orchestrator.domain.envelope import Method, Wire
from orchestrator.domain.lane_views import LaneView
from orchestrator.domain.many import BatchJob


class ResultsPage(Wire):
    """One page of results, each still the server's JSON."""

    results: tuple[msgspec.Raw, ...]
    next_cursor: str | None = None


class Surface(Wire):
    """A surface that can be asked; `regions` None means every country; `lanes` are those used."""

    name: str
    adapter: str
    method: Method
    regions: tuple[str, ...] | None
    live_workers: int
    lanes: tuple[LaneView, ...] = ()


class Surfaces(Wire):
    """Everything that can be asked."""

    surfaces: tuple[Surface, ...]


class Health(Wire):
    """The server's word that it is well."""

    status: str
    schema_version: str


class BatchItem(Wire):
    """What the server says of one item of a batch."""

    index: int
    job: BatchJob | None = None
    error: ErrorBody | None = None


class BatchAnswer(Wire):
    """What the server says of each item, in order."""

    items: tuple[BatchItem, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the item at this index: the stored job, or why it was refused."""

    index: int
    job: BatchJob | None
    error: ApiError | None
