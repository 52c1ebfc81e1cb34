"""What came of asking a surface once, and how a person is told."""

from collections.abc import Iterator

import msgspec

from orchestrator.cli.output import plain
from orchestrator.domain.envelope import (
    Answer,
    Capture,
    Evidence,
    Failure,
    Provenance,
    Warning,  # noqa: A004 - the contract's word
    Wire,
)

_WIDEST = 100


class Shown(Wire):
    """An Envelope without its `job`: there is none."""

    provenance: Provenance
    answer: Answer
    evidence: Evidence
    raw: object


class Checked(Wire, kw_only=True):
    """A surface that was asked, from this country; either `envelope` or `error` is null."""

    surface: str
    adapter: str
    country: str
    seconds: float
    error: Failure | None = None
    warnings: tuple[Warning, ...] = ()
    envelope: Shown | None = None


class Skipped(Wire, kw_only=True):
    """A surface that cannot be asked like this, and why."""

    surface: str
    reason: str


def shown(capture: Capture) -> Shown:
    """What the adapter brought home as the API would show it."""
    return Shown(
        provenance=capture.provenance,
        answer=capture.answer,
        evidence=capture.evidence,
        raw=capture.raw,
    )


def lines(one: Checked, *, whole: bool) -> Iterator[str]:
    """A line of how it went, a line a warning, and the whole Envelope if it is wanted."""
    head = f"{one.surface} ({one.adapter}, {one.country}, {one.seconds:.1f} s)"
    yield plain(f"{head}: {_ended(one)}").replace("\n", " ")
    for warning in one.warnings:
        yield plain(f"  {warning.code}: {warning.message}").replace("\n", " ")
    if whole and one.envelope:
        yield plain(msgspec.json.format(msgspec.json.encode(one.envelope), indent=2).decode())


def _ended(one: Checked) -> str:
    if one.error is not None:
        return f"FAILED: {one.error.code}: {one.error.message}"
    if one.envelope is None or not one.envelope.provenance.surface_present:
        return "ok, and showed nothing"
    sources = len(one.envelope.evidence.sources)
    words = " ".join(one.envelope.answer.text.split())
    beginning = words if len(words) <= _WIDEST else f"{words[:_WIDEST]}…"
    return f"ok, {sources} source{'s' * (sources != 1)}{_cost(one.envelope)}: {beginning}"


def _cost(envelope: Shown) -> str:
    usage = envelope.provenance.usage
    if usage is None or usage.estimated_cost.amount is None:
        return ""
    return (
        f", about {usage.estimated_cost.amount:.4f} {usage.estimated_cost.currency or ''}".rstrip()
    )
