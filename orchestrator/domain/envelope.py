"""The Envelope: what a capture found, in one shape for every surface.

An adapter returns a `Capture`; the worker stores it as JSON beside the child; a read puts the
child's `job` part in front of it and it is an Envelope. Field names are camelCase on the wire.
"""

from typing import Any, Literal, dataclass_transform

import msgspec

SCHEMA_VERSION = "1.0"

Method = Literal["official-api", "http", "browser", "webhook", "simulator"]
Role = Literal["cited", "retrieved", "related"]


# Type checkers do not pass `frozen` and `kw_only` of a Struct on to its subclasses by themselves.
@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A frozen record that crosses the HTTP boundary in camelCase."""


class Block(Wire):
    """A part of the answer; `reference_ids` name sources of the same Envelope."""

    type: str
    text: str
    reference_ids: tuple[int, ...] = ()


class Answer(Wire):
    """What the surface said. Empty, never null, before the end and when it showed nothing."""

    text: str = ""
    markdown: str = ""
    blocks: tuple[Block, ...] = ()


class Source(Wire):
    """A page the answer rests on. Ids count from 1; `char_ranges` are code points of the text."""

    id: int
    url: str
    title: str | None = None
    role: Role = "cited"
    cited: bool = True
    char_ranges: tuple[tuple[int, int], ...] = ()
    quote: str | None = None


class FanOut(Wire):
    """The searches the surface made for the query, when it lets them be seen."""

    queries: tuple[str, ...] = ()
    provenance: Literal["observed", "none"] = "none"


class Mention(Wire):
    """A configured name found in the answer."""

    name: str
    char_ranges: tuple[tuple[int, int], ...] = ()
    reference_ids: tuple[int, ...] = ()


class Evidence(Wire):
    """What the answer rests on."""

    sources: tuple[Source, ...] = ()
    fan_out: FanOut = FanOut()
    mentions: tuple[Mention, ...] = ()
    shopping: tuple[dict[str, Any], ...] = ()
    ads: tuple[dict[str, Any], ...] = ()


class Model(Wire):
    """The model that answered, as the provider names it and as it was seen."""

    provider_id: str | None = None
    observed_label: str | None = None
    inferred: bool | None = None
    confidence: float | None = None


class WebSearch(Wire):
    """Whether the surface searched the web; `known` says whether it could be told."""

    enabled: bool | None = None
    known: bool | None = None


class Cost(Wire):
    """An estimated amount of money."""

    amount: float | None = None
    currency: str | None = None


class TokenUsage(Wire):
    """Tokens as the provider counted them."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    estimated_cost: Cost = Cost()


class Seen(Wire):
    """The region asked for and the one the surface really used."""

    requested: str
    effective: str | None = None


class Provenance(Wire, kw_only=True):
    """Where a capture came from; before the end adapter, method and requested region alone."""

    adapter: str | None
    method: Method | None
    model: Model | None = Model()
    web_search: WebSearch | None = WebSearch()
    region: Seen
    surface_present: bool | None = None
    captured_at: str | None = None
    usage: TokenUsage | None = TokenUsage()
    coalesced: bool | None = False
    schema_version: str | None = SCHEMA_VERSION


def pending(adapter: str | None, method: Method | None, region: Seen) -> Provenance:
    """The provenance of what has not ended: whatever it does not name is null."""
    return Provenance(
        adapter=adapter,
        method=method,
        model=None,
        web_search=None,
        region=region,
        usage=None,
        coalesced=None,
        schema_version=None,
    )


class Warning(Wire):  # noqa: A001 - the contract's word; never used as a built-in here
    """Something a reader should know about a capture that did work."""

    code: str
    message: str


class Capture(Wire):
    """What one successful call of an adapter brought home; stored as JSON, about 1 KB.

    `response_code` is the upstream's status, for surfaces whose attempts tell of it.
    """

    answer: Answer
    evidence: Evidence
    provenance: Provenance
    raw: Any = None
    warnings: tuple[Warning, ...] = ()
    response_code: int | msgspec.UnsetType = msgspec.UNSET


class Failure(Wire):
    """Why an attempt, and in the end a child, failed."""

    code: str
    message: str
    retryable: bool


OVERDUE = Failure(
    code="DEADLINE_EXCEEDED",
    message="The deadline of the job passed before this cell was captured.",
    retryable=True,
)
"""The error of a cell that its job's deadline ended."""
