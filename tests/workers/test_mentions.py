"""Names in answers: whole words, in either case, exactly where they are."""

import unicodedata
from typing import ClassVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.domain.envelope import Answer, Block, Capture, Evidence, Provenance, Seen
from workers.adapters.base import CaptureRequest
from workers.adapters.mentions import LONG, Mentioning, Names


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
        ("Acme Pro", "By Acme\n\nPro tips, Acme\n \n Pro", []),
        ("Acme", "Zoe\u0301Acme, Acme\u0301, ดีAcme ™️Acme", ["Acme"] * 2),
        ("टोयोटा", "टोयोटा, टोयोटाकी", ["टोयोटा"]),
        ("👩", "👩‍👧 👧‍👩 👩", ["👩"]),
        ("❤", "❤️ ❤️‍🔥 ❤", ["❤"] * 2),
        ("İstanbul", "İSTANBUL", ["İSTANBUL"]),
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


@given(
    st.text("ab \n", max_size=30), st.lists(st.text("ab \n", min_size=1, max_size=6), max_size=5)
)
def test_it_refers_to_each_block_it_meets(text, written):
    """Wherever foreign blocks are: one within another, in another order, or nowhere."""
    blocks = [
        Block(type="paragraph", text=one, reference_ids=(number,))
        for number, one in enumerate(written, 1)
    ]
    for mention in Names(["a", "b", "ab"]).found(Answer(text=text, blocks=tuple(blocks))):
        nowhere = {number for number, one in enumerate(written, 1) if one not in text}
        assert not nowhere & set(mention.reference_ids)
        assert len(set(mention.reference_ids)) == len(mention.reference_ids)
    whole = Block(type="paragraph", text=text, reference_ids=(9,))
    for mention in Names(["a", "b", "ab"]).found(Answer(text=text, blocks=(whole, *blocks))):
        assert 9 in mention.reference_ids


def test_a_block_out_of_order_hides_no_other():
    """A title that an answer repeats at its end is no reason to lose what stands between."""
    texts = ("Best shoes", "Acme is good.", "Acme is one of the Best shoes")
    blocks = [
        Block(type="paragraph", text=one, reference_ids=(n,)) for n, one in enumerate(texts, 1)
    ]
    answer = Answer(text="\n\n".join(texts[1:]), blocks=tuple(blocks))
    (mention,) = Names(["Acme"]).found(answer)
    assert mention.reference_ids == (2, 3)


class Saying:
    """An adapter that says the same always."""

    method = "http"
    options_schema: ClassVar[dict] = {}
    countries = None
    instant = False

    def __init__(self, text: str) -> None:
        self._text = text

    async def capture(self, request: CaptureRequest) -> Capture:
        """The text."""
        seen = Provenance(adapter="saying", method="http", region=Seen(requested=request.country))
        return Capture(answer=Answer(text=self._text), evidence=Evidence(), provenance=seen)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.anyio
@pytest.mark.parametrize("words", [1, LONG // 7])
async def test_a_capture_has_its_names(words):
    """A short one and one that is read on a thread."""
    text = "tea of " * words + "Acme"
    request = CaptureRequest(child="x", query="q", surface="s", country="US")
    found = await Mentioning(Saying(text), ["Acme", "Other"]).capture(request)
    assert [(one.name, one.char_ranges) for one in found.evidence.mentions] == [
        ("Acme", ((len(text) - 4, len(text)),))
    ]


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
