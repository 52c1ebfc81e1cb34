"""From a provider's answer of 10 KB with 20 sources to the JSON that is stored: one core, no IO."""

import statistics
import time

from orchestrator.domain.envelope import Capture, Provenance, Seen
from tests.bench.report import Row
from workers.adapters.composing import Citation, Page, compose
from workers.adapters.mentions import Names
from workers.adapters.normalising import verified
from workers.adapters.prose import Span

CHARACTERS, SOURCES = 10_000, 20
PLAIN = "Reviewers **agree** on the first choice and differ on the [runner-up](https://r.example/a)"
WIDE = "Prüfer *einig* über die erste Wahl 👟, 日本語の評価も[高い](https://r.example/é)です"
NAMES = [f"Brand {n}" for n in range(20)]


def run(scale: float) -> list[Row]:
    """Milliseconds of an answer, p50: to answer and evidence, and to JSON."""
    times = max(20, int(1_000 * scale))
    rows = []
    for what, sentence in (("ASCII", PLAIN), ("with CJK and emoji", WIDE)):
        markdown, citations = _answer(sentence)
        took = _milliseconds(lambda m=markdown, c=citations: _normalised(m, c), times)  # type: ignore[misc]
        rows.append(Row(f"normalising 10 KB and 20 sources, {what}", took, "ms", 1.0, most=True))
    answer, _ = compose(_answer(PLAIN)[0])
    names = Names(NAMES)
    took = _milliseconds(lambda: names.found(answer), times)
    return [*rows, Row("looking for 20 names in it", took, "ms")]


def _normalised(markdown: str, citations: list[Citation]) -> bytes:
    answer, evidence = compose(markdown, citations)
    seen = Provenance(adapter="bench", method="official-api", region=Seen(requested="US"))
    capture, json = verified(Capture(answer=answer, evidence=evidence, provenance=seen))
    assert len(capture.evidence.sources) == SOURCES
    assert all(source.char_ranges for source in capture.evidence.sources)
    return json


def _answer(sentence: str) -> tuple[str, list[Citation]]:
    """An answer with headings, lists and paragraphs, every other sentence of it cited."""
    markdown, citations = "", []
    number = 0
    while len(markdown.encode()) < CHARACTERS:
        number += 1
        markdown += ("", "- ", "", "## ")[number % 4]
        if number % 2:
            url = f"https://s{len(citations) % SOURCES}.example/page"
            span = Span(len(markdown), len(markdown) + len(sentence))
            citations.append(Citation(Page(url, "A page"), span))
        markdown += sentence + (".\n\n" if number % 4 else "\n\n")
    return markdown, citations


def _milliseconds(work: object, times: int) -> float:
    assert callable(work)
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1_000
