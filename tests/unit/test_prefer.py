import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api import prefer
from orchestrator.api.prefer import Mode, Preferences, Waits

WAITS = Waits(default=60.0, longest=300.0)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Preferences()),
        (["respond-async"], Preferences(respond_async=True)),
        (["wait=10"], Preferences(wait=10)),
        (["respond-async, wait=10"], Preferences(respond_async=True, wait=10)),
        (["respond-async", "wait=10"], Preferences(respond_async=True, wait=10)),
        (["Respond-Async , WAIT = 7"], Preferences(respond_async=True, wait=7)),
        (['wait="7"'], Preferences(wait=7)),
        ([r'wait="\7"'], Preferences(wait=7)),
        (["wait=7; some; other=word"], Preferences(wait=7)),
        (['respond-async=""'], Preferences(respond_async=True)),
        (["wait=007"], Preferences(wait=7)),
        (["wait=0"], Preferences(wait=0)),
        (["wait=5, wait=9"], Preferences(wait=5)),
        (["wait=5", "wait=9"], Preferences(wait=5)),
        (['foo="a, wait=1", wait=3'], Preferences(wait=3)),
        (['handling=lenient, return=minimal, "junk, wait=3'], Preferences(wait=3)),
        (['a="b, wait=1, c" "d, wait=3'], Preferences(wait=3)),
        (['wait=3; ; a ;b= ;c="d;,"'], Preferences(wait=3)),
        (["wait=3; a b, wait=4"], Preferences(wait=4)),
        ([",, ,wait=3,,"], Preferences(wait=3)),
        (["wait"], Preferences()),
        (["wait=x"], Preferences()),
        (["wait=-1"], Preferences()),
        (["wait=1.5"], Preferences()),
        (["wait=²"], Preferences()),
        (["wait==3"], Preferences()),
        (["wait 3"], Preferences()),
        (["respond-async=yes"], Preferences()),
        (["wait=" + "9" * 5000], Preferences(wait=999_999_999)),
    ],
)
def test_the_header_is_read_as_the_grammar_says(headers, expected):
    """The first instance of a preference counts, and what is malformed does not."""
    assert prefer.parse(headers) == expected


@pytest.mark.parametrize(
    "piece", ['"', '\\"', '"a', ",", ";", " ", "a", 'a="b";', "wait=1 ,", "\\"]
)
def test_a_long_header_is_read_in_one_go(piece):
    """In time linear in its length: by the square of it no time limit would be kept."""
    much = piece * (300_000 // len(piece))
    for header in (much, f'a="{much}', f"a={much}b c"):
        assert isinstance(prefer.parse([header]), Preferences)


@given(st.lists(st.text(max_size=200), max_size=5))
def test_any_text_is_some_preferences(headers):
    """No header breaks the parser."""
    assert isinstance(prefer.parse(headers), Preferences)


@pytest.mark.parametrize("evil", ["wait" + " " * 60_000 + "x", "a;" * 30_000 + '!!"', '"' * 60_000])
def test_a_hostile_header_is_read_once(evil):
    """No text makes the parser go over it again and again: this ends at all."""
    assert prefer.parse([evil]) == Preferences()


@pytest.mark.parametrize(
    ("asked", "header", "default", "expected"),
    [
        (None, "", "async", Mode(None)),
        (None, "", "sync", Mode(60.0)),
        ("async", "", "sync", Mode(None)),
        ("async", "wait=5", "sync", Mode(None)),
        ("sync", "", "async", Mode(60.0)),
        ("sync", "wait=5", "async", Mode(5, preferred=True, applied="wait=5")),
        ("sync", "respond-async", "async", Mode(60.0)),
        ("sync", "respond-async, wait=5", "async", Mode(5, preferred=True, applied="wait=5")),
        (None, "wait=5", "async", Mode(5, preferred=True, applied="wait=5")),
        (None, "wait=5", "sync", Mode(5, preferred=True, applied="wait=5")),
        (None, "wait=301", "async", Mode(300, preferred=True, applied="wait=300")),
        (None, "wait=0", "sync", Mode(None, applied="wait=0")),
        (None, "respond-async", "sync", Mode(None, applied="respond-async")),
        (None, "respond-async", "async", Mode(None, applied="respond-async")),
        (
            None,
            "respond-async, wait=5",
            "async",
            Mode(5, preferred=True, applied="respond-async, wait=5"),
        ),
    ],
)
def test_the_query_decides_then_the_preference_then_the_path(asked, header, default, expected):
    """`?mode=` wins; a wait beside it still sets the time; what was applied is said."""
    assert prefer.decide(asked, prefer.parse([header]), default=default, waits=WAITS) == expected
