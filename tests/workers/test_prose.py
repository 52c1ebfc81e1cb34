"""Markdown as people read it, and where each of its characters goes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.adapters import prose

WORDS = st.sampled_from(
    (
        *(
            "tea",
            "Acmé",
            "e\u0301nd",
            "日本語",
            "👟",
            "👩‍👩‍👧‍👦",
            "🇬🇧",
            "שלום",
            "ไทย",
            "\U0001d7d8x",
        ),
        *("x&y", "naïve", "한국어", "ﬁn", "9", "½"),
    )
)
"""Each a word of its own in markdown, of one to five code points that come in 1 to 4 bytes."""
STYLES = (
    "{}",
    "**{}**",
    "_{}_",
    "~~{}~~",
    "`{}`",
    "[{}](https://a.example/?q=1 'title')",
    "**[{}](<https://b.example/é>)**",
    "![{}](https://c.example/i.png)",
    "<b>{}</b>",
    "\\*{}&amp;",
    "&eacute;{}\\|",
)
LINES = (
    "{}",
    "# {}",
    "- {}",
    "1. {}",
    "> {}",
    "    {}",
    "- > {}",
    "```\n{}\n```",
    "| a | {} |\n|---|---|\n| b | c |",
    "| a | b |\n|---|---|\n| {} | c |",
    "- x\n  - {}",
    "3. - {}\n   -\n4.\n5. x",
    "`x\n{} y`",
    "> `x\n> {}`\n> y",
    "| a | |\n|---|---|\n| | {} |\n| | |\n| b | |",
    "<div>\n{}\n</div>",
    "x  \n{}\\\ny",
    "x\r\n{}\r\ny",
    "[x][r] {}\n\n[r]: https://r.example 'r'",
    "x[^1]\n\n[^1]: {}",
)


@st.composite
def documents(draw):
    """Markdown that has a word at a known place, among others; and that place."""
    before, after = (
        "".join(
            draw(st.sampled_from(LINES)).format(draw(st.sampled_from(STYLES)).format(draw(WORDS)))
            + "\n\n"
            for _ in range(draw(st.integers(0, 3)))
        )
        for _ in range(2)
    )
    line, style = draw(st.sampled_from(LINES)), draw(st.sampled_from(STYLES))
    around = draw(WORDS), draw(WORDS)
    word = f"«{draw(WORDS)}»"
    written = before + line.format(f"{around[0]} {style.format(word)} {around[1]}")
    start = written.index(word, len(before))
    return written + "\n\n" + after, start, word


@given(documents())
@example(("- 👟 [«é»](https://a.example) 日\n", 5, "«é»"))
@example(("| `a\\|«é» b` | c |\n|---|---|", 6, "«é»"))
def test_a_place_is_carried_over_exactly(document):
    """Past emphasis, links, lists, tables, quotes and code; in code points, not in bytes."""
    markdown, start, word = document
    assert markdown[start : start + len(word)] == word
    read = prose.read(markdown)
    span = read.carried(start, start + len(word))
    assert span is not None
    assert read.text[span.start : span.end] == word


ANY = st.text(
    st.one_of(
        st.sampled_from("#*_`~[]()<>|-+!&;:\\\n\t\r 1.0é日👟\u0301\u200d\0\ud800\"'x"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


@given(ANY, st.integers(0, 70), st.integers(0, 70))
def test_anything_is_read(markdown, start, end):
    """No text is malformed: its parts lie in order and apart, and each range is inside the text."""
    read = prose.read(markdown)
    before = 0
    for part in read.parts:
        assert before <= part.span.start < part.span.end <= len(read.text)
        assert read.text[before : part.span.start].strip("\n") == ""
        before = part.span.end
    assert read.text[before:].strip("\n") == ""
    span = read.carried(start, end)
    assert span is None or 0 <= span.start < span.end <= len(read.text)


@given(ANY, st.integers(0, 70), st.integers(0, 70), st.integers(0, 70))
def test_what_is_wider_covers_what_is_narrower(markdown, start, middle, end):
    """A range that holds another still does when both are carried over."""
    start, middle, end = sorted((start, middle, end))
    read = prose.read(markdown)
    wide = read.carried(start, end)
    for narrow in (read.carried(start, middle), read.carried(middle, end)):
        if narrow is not None:
            assert wide is not None
            assert wide.start <= narrow.start < narrow.end <= wide.end


@pytest.mark.parametrize(
    ("markdown", "text", "types"),
    [
        ("", "", []),
        ("# T\n\nOne *two* `three`.\nNext", "T\n\nOne two three.\nNext", ["heading", "paragraph"]),
        ("- a\n- b\n  1. c\n  2. d\n- e", "- a\n- b\n  1. c\n  2. d\n- e", ["list"]),
        ("3. a\n4. b", "3. a\n4. b", ["list"]),
        ("- - a\n  - b\n- c", "- - a\n  - b\n- c", ["list"]),
        ("1. a\n2.\n3. - \n4. b", "1. a\n4. b", ["list"]),
        ("-\n\na", "a", ["paragraph"]),
        ("| a | b |\n|---|---|\n| c | **d** |", "a | b\nc | d", ["table"]),
        ("| a | b |\n|-|-|\n| c | |\n| | |\n| | d |", "a | b\nc\n | d", ["table"]),
        ("> q\n> r\n\nx", "q\nr\n\nx", ["quote", "paragraph"]),
        ("```py\nx = 1\n\ny\n```\nz", "x = 1\n\ny\n\nz", ["code", "paragraph"]),
        ("a \\* b &amp; c &eacute;", "a * b & c é", ["paragraph"]),
        ("a  \nb<br>c", "a\nb<br>c", ["paragraph"]),
        ("[x][1] [y](u)\n\n[1]: https://a.example", "x y", ["paragraph"]),
        ("a\r\nb\r\n\r\nc", "a\nb\n\nc", ["paragraph", "paragraph"]),
        ("---\n\na\n\n---", "a", ["paragraph"]),
        ("\n\n  \n", "", []),
        ("a\ud800b", "a\ufffdb", ["paragraph"]),
    ],
)
def test_it_is_plain_text(markdown, text, types):
    """Marks are gone, words, lines and numbers stay; blocks have an empty line between them."""
    read = prose.read(markdown)
    assert (read.text, [part.type for part in read.parts]) == (text, types)


def test_what_cannot_be_read_has_no_place():
    """A mark, the address of a link, a rule: nobody reads them."""
    read = prose.read("a [b](https://c.example) **d**\n\n---\n")
    assert read.carried(6, 20) is None
    assert read.carried(31, 35) is None
    assert read.carried(500, 600) is None
