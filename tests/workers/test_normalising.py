import msgspec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.envelope import (
    Answer,
    Block,
    Capture,
    Evidence,
    Mention,
    Provenance,
    Seen,
    Source,
)
from workers.adapters.normalising import encode

odd = st.text(st.sampled_from("ab\0\ud800\udfff\\u0é"), max_size=12)
sources = st.lists(
    st.builds(
        Source,
        id=st.integers(-2, 6),
        url=st.sampled_from(["http://a/", "http://b/", "http://c/"]),
        title=st.none() | odd,
        char_ranges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=2).map(
            tuple
        ),
    ),
    max_size=5,
).map(tuple)
references = st.lists(st.integers(-2, 6), max_size=4).map(tuple)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd, inner, max_size=3),
)
captures = st.builds(
    Capture,
    answer=st.builds(
        Answer,
        text=odd,
        markdown=odd,
        blocks=st.lists(
            st.builds(Block, type=st.just("p"), text=odd, reference_ids=references), max_size=2
        ).map(tuple),
    ),
    evidence=st.builds(
        Evidence,
        sources=sources,
        mentions=st.lists(st.builds(Mention, name=odd, reference_ids=references), max_size=2).map(
            tuple
        ),
    ),
    provenance=st.just(Provenance(adapter="a", method="http", region=Seen(requested="US"))),
    raw=json_values,
)


@given(captures)
def test_what_is_stored_can_be_relied_on(capture):
    """Ids count from 1, URLs come once, references exist, and a database takes every character."""
    stored, encoded = encode(capture)
    assert msgspec.json.decode(encoded, type=Capture) == stored
    assert [s.id for s in stored.evidence.sources] == list(
        range(1, len(stored.evidence.sources) + 1)
    )
    urls = [s.url for s in capture.evidence.sources]
    assert [s.url for s in stored.evidence.sources] == list(dict.fromkeys(urls))
    for referrer in (*stored.answer.blocks, *stored.evidence.mentions):
        assert set(referrer.reference_ids) <= {s.id for s in stored.evidence.sources}
    text = str(msgspec.to_builtins(stored))
    assert not any(0xD800 <= ord(character) < 0xE000 for character in text)
    assert b"\0" not in encoded
    assert "\\x00" not in text.replace("\\\\", "")
    assert len(stored.answer.text) == len(capture.answer.text)


@given(captures)
def test_normalising_twice_changes_nothing(capture):
    """What was made sound is sound."""
    once, encoded = encode(capture)
    assert encode(once) == (once, encoded)


@given(odd, json_values)
def test_replaced_characters_are_told(text, raw):
    """A capture is warned about exactly when characters of it were replaced."""
    provenance = Provenance(adapter="a", method="http", region=Seen(requested="US"))
    capture = Capture(answer=Answer(text=text), evidence=Evidence(), provenance=provenance, raw=raw)
    stored, _ = encode(capture)
    changed = (stored.answer.text, stored.raw) != (text, raw)
    assert [warning.code for warning in stored.warnings] == ["characters_replaced"] * changed
