"""From what a provider said, and whom it cites, to an Envelope's answer and evidence.

Pure: the text is the plain text of the provider's markdown, and every range is carried over to it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import anyio

from orchestrator.domain.envelope import Answer, Block, Evidence, FanOut, Source
from workers.adapters import prose
from workers.adapters.prose import Prose, Span

LONG = 32 * 1024
"""Characters of markdown that take milliseconds."""


class Page(NamedTuple):
    """A page that a provider names: its URL, and what it is called, if that is said."""

    url: str
    title: str | None = None
    quote: str | None = None


class Citation(NamedTuple):
    """A page the answer rests on, and where in the markdown it says so (in code points)."""

    page: Page
    span: Span | None = None


def compose(
    markdown: str,
    citations: Iterable[Citation] = (),
    *,
    retrieved: Iterable[Page] = (),
    queries: Sequence[str] = (),
) -> tuple[Answer, Evidence]:
    """The answer in blocks that name their sources, and the sources, each URL once.

    Those that are cited come first, in the order of their first citation; then what was only
    `retrieved`. `queries` are the searches that the provider says it made.
    """
    said = prose.read(markdown)
    sources = _sources(said, citations, retrieved)
    answer = Answer(text=said.text, markdown=markdown, blocks=_blocks(said, sources))
    seen = tuple(dict.fromkeys(query for query in queries if query))
    fan_out = FanOut(queries=seen, provenance="observed" if seen else "none")
    return answer, Evidence(sources=sources, fan_out=fan_out)


async def composed(
    markdown: str,
    citations: Iterable[Citation] = (),
    *,
    retrieved: Iterable[Page] = (),
    queries: Sequence[str] = (),
) -> tuple[Answer, Evidence]:
    """As `compose`; a long answer is put together on a thread."""
    work = partial(compose, markdown, citations, retrieved=retrieved, queries=queries)
    if len(markdown) < LONG:
        return work()
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)


class _Found:
    """A source as it is gathered."""

    def __init__(self, page: Page, *, cited: bool) -> None:
        self.page = page
        self.cited = cited
        self.ranges: dict[Span, None] = {}

    def add(self, page: Page, span: Span | None = None) -> None:
        """It is named again: what was missing of it is taken over."""
        self.page = Page(
            self.page.url, self.page.title or page.title, self.page.quote or page.quote
        )
        if span is not None:
            self.ranges[span] = None

    def source(self, number: int) -> Source:
        """The source with this id."""
        return Source(
            id=number,
            url=self.page.url,
            title=self.page.title,
            role="cited" if self.cited else "retrieved",
            cited=self.cited,
            char_ranges=tuple(sorted(self.ranges)),
            quote=self.page.quote,
        )


def _sources(
    said: Prose, citations: Iterable[Citation], retrieved: Iterable[Page]
) -> tuple[Source, ...]:
    placed = [
        (one.page, None if one.span is None else said.carried(*one.span)) for one in citations
    ]
    placed.sort(key=lambda one: len(said.text) if one[1] is None else one[1].start)
    found: dict[str, _Found] = {}
    for page, span in placed:
        found.setdefault(page.url, _Found(page, cited=True)).add(page, span)
    for page in retrieved:
        found.setdefault(page.url, _Found(page, cited=False)).add(page)
    return tuple(one.source(number) for number, one in enumerate(found.values(), 1))


def _blocks(said: Prose, sources: Sequence[Source]) -> tuple[Block, ...]:
    """The blocks, each with the sources that are cited in it."""
    starts = [part.span.start for part in said.parts]
    ends = [part.span.end for part in said.parts]
    references: list[dict[int, None]] = [{} for _ in said.parts]
    for source in sources:
        for start, end in source.char_ranges:
            for place in range(bisect_right(ends, start), bisect_left(starts, end)):
                references[place][source.id] = None
    return tuple(
        Block(
            type=part.type,
            text=said.text[part.span.start : part.span.end],
            reference_ids=tuple(references[place]),
        )
        for place, part in enumerate(said.parts)
    )
