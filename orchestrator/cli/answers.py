"""The answers of a parent as a table for people."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from orchestrator.cli.output import plain, table
from orchestrator.domain.documents import Envelope

if TYPE_CHECKING:
    from rich.table import Table

LONGEST = 100
MOST_SOURCES = 2


def answers(envelopes: Iterable[Envelope]) -> "Table":
    """A row per Envelope: where from, how it ended, the answer's beginning, its first sources."""
    from rich.text import Text

    made = table("Surface", "Region", "Status", "Answer", "Sources")
    for envelope in envelopes:
        job = envelope.job
        row = (job.surface, region(envelope), job.status, summary(envelope), sources(envelope))
        made.add_row(*(Text(plain(cell)) for cell in row))
    return made


def region(envelope: Envelope) -> str:
    """`US`, `US/New York`, `CH//de`: as `submit -r` takes it."""
    job = envelope.job
    city, language = job.city or "", job.language or ""
    return f"{job.region}/{city}/{language}".rstrip("/")


def summary(envelope: Envelope) -> str:
    """The beginning of the answer on one line, or why there is none."""
    if error := envelope.job.error:
        return _short(f"{error.code}: {error.message}")
    if envelope.provenance.surface_present is False:
        return "(the surface showed nothing)"
    return _short(envelope.answer.text)


def sources(envelope: Envelope) -> str:
    """The first sources, one a line, and how many more there are."""
    found = envelope.evidence.sources
    shown = [_short(source.url) for source in found[:MOST_SOURCES]]
    if more := len(found) - len(shown):
        shown.append(f"… and {more} more")
    return "\n".join(shown)


def _short(text: str) -> str:
    return textwrap.shorten(text, LONGEST, placeholder=" …")
