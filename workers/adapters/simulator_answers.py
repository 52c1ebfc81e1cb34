"""What the simulator says: sentences and pages prepared once, so that an answer is a slice."""

from itertools import cycle, islice

from orchestrator.domain.envelope import Block, Source

_SENTENCES = (
    "Reviews agree on the first choice and differ on the runner-up. ",
    "Prices vary by region, so compare two shops before you decide. ",
    "Most guides recommend starting with the simplest option that fits. ",
    "Independent tests put durability ahead of features. ",
    "Opening hours and availability change with the season. ",
    "A recent comparison measured the difference at under five percent. ",
    "Several sources note that local regulations apply. ",
    "The official documentation describes the steps in detail. ",
    "Readers report good results after the first week. ",
    "Older advice on this topic is out of date. ",
)
_PAGES = (
    ("guide", "A buyer's guide"),
    ("comparison", "The comparison, measured"),
    ("docs/start", "Getting started"),
    ("reviews", "Reviews of the year"),
    ("prices", "Prices by region"),
    ("faq", "Questions and answers"),
    ("news", "What changed lately"),
)
_FEWEST_SOURCES = 2
_MOST_SOURCES = 4
_QUERY_SHOWN = 40  # characters of the query an answer repeats


class Answers:
    """All answers of one length in characters; `pick` chooses by a number."""

    def __init__(self, chars: int) -> None:
        self._chars = chars
        length = chars + len("".join(_SENTENCES))
        self._text = "".join(islice(cycle(_SENTENCES), length // len(min(_SENTENCES, key=len)) + 1))
        lengths = [len(sentence) for sentence in _SENTENCES]
        self._starts = tuple(sum(lengths[:n]) for n in range(len(lengths)))
        self._sources = tuple(
            self._pages(first, count)
            for first in range(len(_PAGES))
            for count in range(_FEWEST_SOURCES, _MOST_SOURCES + 1)
        )

    def pick(
        self, number: int, query: str, country: str
    ) -> tuple[str, tuple[Block, ...], tuple[Source, ...]]:
        """The text, its blocks and its sources that this number stands for."""
        number, start = divmod(number, len(self._starts))
        sources = self._sources[number % len(self._sources)]
        lead = f"On {query[:_QUERY_SHOWN]!r} in {country}: "
        begin = self._starts[start]
        text = (lead + self._text[begin : begin + self._chars])[: self._chars - 1] + "."
        block = Block(type="paragraph", text=text[: len(lead) + 60], reference_ids=(1, 2))
        return text, (block,), sources

    def _pages(self, first: int, count: int) -> tuple[Source, ...]:
        pages = islice(cycle(_PAGES), first, first + count)
        return tuple(
            Source(
                id=number,
                url=f"https://source-{first + number}.example/{path}",
                title=title,
                char_ranges=((0, min(58, self._chars)),) if number == 1 else (),
            )
            for number, (path, title) in enumerate(pages, 1)
        )
