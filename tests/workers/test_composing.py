"""Answers put together: blocks, sources in order of first citation, ranges of the plain text."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.adapters import composing
from workers.adapters.composing import Citation, Page, compose, composed
from workers.adapters.prose import Span

WORDS = (
    "tea",
    "Acmé",
    "e\u0301nd",
    "日本語",
    "👩‍👩‍👧",
    "שלום",
    "**bold**",
    "[link](https://x.example)",
)
URLS = [f"https://{letter}.example/" for letter in "abcd"]


@st.composite
def answers(draw):
    """Paragraphs and items of words, each word perhaps cited; citations in any order."""
    markdown, citations = "", []
    for _ in range(draw(st.integers(0, 5))):
        markdown += draw(st.sampled_from(("", "- ", "## ", "> ")))
        for _ in range(draw(st.integers(1, 4))):
            word = draw(st.sampled_from(WORDS))
            for url in draw(st.lists(st.sampled_from(URLS), max_size=2)):
                title = draw(st.sampled_from((None, "T")))
                span = Span(len(markdown), len(markdown) + len(word))
                citations.append((Citation(Page(url, title), span), word))
            markdown += word + " "
        markdown += "\n\n"
    return markdown, draw(st.permutations(citations))


PLAIN = {"**bold**": "bold", "[link](https://x.example)": "link"}


@given(answers(), st.lists(st.sampled_from([*URLS, "https://e.example/"])))
def test_what_is_cited_is_where_it_is_cited(answer, retrieved):
    """Each page once, in the order of first citation; ranges have the words, blocks the sources."""
    markdown, cited = answer
    made, evidence = compose(
        markdown, [one for one, _ in cited], retrieved=[Page(url) for url in retrieved]
    )
    sources = evidence.sources
    assert [source.id for source in sources] == list(range(1, len(sources) + 1))
    assert len({source.url for source in sources}) == len(sources)

    said = sorted(cited, key=lambda one: one[0].span.start)
    first = dict.fromkeys(one.page.url for one, _ in said)
    by_place = [source.url for source in sources if source.cited]
    assert set(by_place) == set(first)
    starts = [source.char_ranges[0][0] for source in sources if source.cited]
    assert starts == sorted(starts)
    assert [source.cited for source in sources] == sorted(
        (source.cited for source in sources), reverse=True
    )
    assert {source.url for source in sources} == {*first, *retrieved}
    for source in sources:
        assert source.role == ("cited" if source.cited else "retrieved")
        ranges = [made.text[start:end] for start, end in source.char_ranges]
        words = {
            (one.span, PLAIN.get(word, word)) for one, word in said if one.page.url == source.url
        }
        assert sorted(ranges) == sorted(word for _, word in words)
        assert list(source.char_ranges) == sorted(set(source.char_ranges))
        titles = {one.page.title for one, _ in said if one.page.url == source.url} - {None}
        assert (source.title in titles) if titles else source.title is None

    at = 0
    for block in made.blocks:
        begin = made.text.index(block.text, at)
        at = begin + len(block.text)
        meets = {
            source.id
            for source in sources
            for start, end in source.char_ranges
            if start < at and begin < end
        }
        assert set(block.reference_ids) == meets
        assert len(block.reference_ids) == len(meets)


def test_a_page_without_a_place_comes_after_those_with_one():
    """It is cited nevertheless, and its quote is kept."""
    _, evidence = compose(
        "one two",
        [Citation(Page(URLS[0], None, "said there")), Citation(Page(URLS[1]), Span(4, 7))],
    )
    assert [(one.url, one.cited, one.char_ranges, one.quote) for one in evidence.sources] == [
        (URLS[1], True, ((4, 7),), None),
        (URLS[0], True, (), "said there"),
    ]


def test_what_one_says_of_a_page_completes_another():
    """The first title and the first quote that are said of it are its own, whoever says them."""
    cited = [Page(URLS[0], None, "first"), Page(URLS[0], "Title", "second")]
    _, evidence = compose(
        "one two",
        [Citation(cited[0], Span(0, 3)), Citation(cited[1], Span(4, 7)), Citation(Page(URLS[1]))],
        retrieved=[Page(URLS[1], "Other"), Page(URLS[1], "Later", "said")],
    )
    assert [(one.title, one.quote, one.cited) for one in evidence.sources] == [
        ("Title", "first", True),
        ("Other", "said", True),
    ]


def test_searches_are_told_once_each():
    """In the order they were made; none that was seen says so."""
    for queries, told in ((("b", "a", "", "b"), ("b", "a")), ((), ())):
        _, evidence = compose("x", queries=queries)
        assert evidence.fan_out.queries == told
        assert evidence.fan_out.provenance == ("observed" if told else "none")


def test_nothing_is_nothing():
    """No words, no blocks; what was retrieved is there all the same."""
    answer, evidence = compose("", [Citation(Page(URLS[0]), Span(0, 9))], retrieved=[Page(URLS[1])])
    assert (answer.text, answer.markdown, answer.blocks) == ("", "", ())
    assert [source.url for source in evidence.sources] == URLS[:2]
    assert evidence.sources[0].char_ranges == ()


@pytest.mark.anyio
async def test_a_long_answer_leaves_the_event_loop(monkeypatch):
    """It is put together on a thread, a short one where it is, and both are what they are."""
    threads = []

    def noted(*arguments, **named):
        threads.append(threading.current_thread() is threading.main_thread())
        return compose(*arguments, **named)

    monkeypatch.setattr(composing, "compose", noted)
    cited = [Citation(Page(URLS[0]), Span(0, 5))]
    for markdown in ("*tea* " * 9, "*tea* " * composing.LONG):
        assert await composed(markdown, cited) == compose(markdown, cited)
    assert threads == [True, False]
