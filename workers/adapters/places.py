"""What of a region an upstream is told, and what a reader is told of the rest."""

from collections.abc import Collection, Iterator, Sequence

from orchestrator.domain import envelope
from workers.adapters.base import CaptureRequest

_TELL = {
    "country": frozenset({"country", "country_lower", "country_name", "google_country", "place"}),
    "city": frozenset({"city", "place"}),
    "language": frozenset(
        {"language", "locale", "primary_language", "written_language", "google_language"}
    ),
}
"""The placeholders by which each part of a region is told."""


def told(placeholders: Collection[str]) -> frozenset[str]:
    """The parts of a region that a request with these placeholders tells."""
    return frozenset(part for part, names in _TELL.items() if not names.isdisjoint(placeholders))


def unheard(request: CaptureRequest, heard: Collection[str]) -> tuple[str, ...]:
    """What was asked for and is not among what is told, in words."""
    asked = {"country": request.country, "city": request.city, "language": request.language}
    return tuple(f"{part} {value}" for part, value in asked.items() if value and part not in heard)


def broadened(effective: str | None, left_out: Sequence[str]) -> Iterator[envelope.Warning]:
    """That a capture is of a wider place than was asked for."""
    if left_out:
        asked = ", ".join(left_out)
        where = f"as seen from {effective}" if effective else "as seen from where it is"
        message = f"the upstream was not told of {asked}: the answer is {where}"
        yield envelope.Warning(code="region_broadened", message=message)
