"""Names in answers: whole words, in either case, exactly where they are."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.domain.envelope import Answer, Block
from workers.adapters.mentions import Names


def found(text: str, *names: str) -> dict[str, list[str]]:
    """What stands where each name was found."""
    return {
        one.name: [text[start:end] for start, end in one.char_ranges]
        for one in Names(names).found(Answer(text=text))
    }


@pytest.mark.parametrize(
    ("name", "text", "at"),
    [
        ("Acme", "Acme, ACME and acme's", ["Acme", "ACME", "acme"]),
        ("Acme", "acmeology, xAcme, Acme2, Acme_x", []),
        ("Acme", "(Acme)–Acme-like “Acme”", ["Acme"] * 3),
        ("Acme Pro", "Acme\nPro or Acme  Pro or AcmePro", ["Acme\nPro", "Acme  Pro"]),
        ("C++", "C++ is not C or C+ but c++, C++.", ["C++", "c++", "C++"]),
        ("AT&T", "AT&T at&t. ATT", ["AT&T", "at&t"]),
        ("Yahoo!", "Yahoo! and yahoo!s", ["Yahoo!", "yahoo!"]),
        ("Zoë", "Zoë, Zoe\u0308, zoe", ["Zoë", "Zoe\u0308"]),
        ("Zoe", "Zoë, Zoe\u0308, zoe", ["zoe"]),
        ("トヨタ", "日本ではトヨタが良い", ["トヨタ"]),
        ("ソニー", "ソニーとsony", ["ソニー"]),
        ("삼성", "삼성은 좋다", ["삼성"]),
        ("Straße", "STRASSE, straße", ["STRASSE", "straße"]),
        ("👟", "a 👟b", ["👟"]),
        (".NET", "use .NET, ASP.NET", [".NET", ".NET"]),
        ("Acme", "Acme東京", ["Acme"]),
        ("a.b", "axb a.b", ["a.b"]),
    ],
)
def test_a_name_is_found_as_a_word(name, text, at):
    """As far as its script has words; whatever its punctuation means elsewhere."""
    assert found(text, name) == ({name: at} if at else {})


def test_names_may_overlap_and_come_in_order():
    """One within another, each at its own places; by the first place of each."""
    text = "Pro of Acme Pro"
    assert list(found(text, "Acme Pro", "Acme", "Pro", "Other")) == ["Pro", "Acme", "Acme Pro"]


def test_it_refers_to_the_sources_of_its_blocks():
    """Of every block it stands in, each once; blocks that are not in the text say nothing."""
    blocks = (
        Block(type="title", text="no part of it", reference_ids=(9,)),
        Block(type="paragraph", text="Acme one", reference_ids=(1, 2)),
        Block(type="paragraph", text="none", reference_ids=(3,)),
        Block(type="paragraph", text="more Acme", reference_ids=(2, 4)),
    )
    answer = Answer(text="Acme one\n\nnone\n\nmore Acme", blocks=blocks)
    (mention,) = Names(["Acme"]).found(answer)
    assert mention.reference_ids == (1, 2, 4)


NAMES = st.text(
    st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Po", "So"]), min_size=1, max_size=8
).filter(lambda name: name.strip() == name)
APART = st.sampled_from((" ", ", ", "\n", " (", " – ", "; "))


@given(NAMES, st.lists(NAMES, max_size=4), APART, APART, st.sampled_from(("NFC", "NFD")))
def test_a_name_among_others_is_found_where_it_is(name, others, before, after, form):
    """In whatever composition it is written."""
    written = unicodedata.normalize(form, name)
    lead = "".join(f"{other}{before}" for other in others) or before
    text = f"{lead}{written}{after}x"
    ranges = [
        one for mention in Names([name]).found(Answer(text=text)) for one in mention.char_ranges
    ]
    assert (len(lead), len(lead) + len(written)) in ranges
    assert all(0 <= start < end <= len(text) for start, end in ranges)


@given(
    st.from_regex(r"[A-Za-z]{2,6}", fullmatch=True), st.from_regex(r"[a-z]{1,4}", fullmatch=True)
)
def test_a_longer_word_is_another_word(name, more):
    """Whichever end it is longer at."""
    assume(name.lower() not in more)
    assert found(f"{name}{more}", name) == {}
    assert found(f"{more}{name}", name) == {}
