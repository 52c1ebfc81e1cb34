import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.adapters.http_charset import decode
from workers.adapters.http_reading import HtmlReader, JsonReader, TextReader, expression
from workers.adapters.locales import accept_language
from workers.egress import Reply
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio

PAGE = """<!doctype html><html><head><title> Tea &amp;
 more </title><script>var x = "no";</script><style>p {}</style></head><body>
<nav><a href="/menu">Menu</a></nav><h1>Tea</h1><p>It is <b>tea</b>, see <a href="/one?a=1#x">the
first</a> and <a href="https://two.example/">two</a>, again <a href="/one?a=1">one</a>,
<a href="javascript:alert(1)">bad</a> <a href="#top">top</a> <a href="">here</a>.</p>
<!-- hidden --><ul><li>green</li><li>black</li></ul><footer>Imprint</footer></body></html>"""


def reply(body: bytes | str, content_type: str = "") -> Reply:
    body = body.encode() if isinstance(body, str) else body
    return Reply(
        status=200, url="http://h.example/a/?key=s3cret", content_type=content_type, body=body
    )


def reader(text: str = "t", markdown: str | None = None, sources: str | None = "s") -> JsonReader:
    return JsonReader(
        text=expression(text),
        markdown=None if markdown is None else expression(markdown),
        sources=None if sources is None else expression(sources),
    )


async def test_json_is_read_by_expressions():
    """Text, markdown and sources are where the expressions say; URLs come once, absolute."""
    document = {
        "a": {"t": "tea", "m": "*tea*"},
        "r": [
            {"link": "https://one.example/", "name": "One"},
            {"link": "/two", "name": None},
            {"link": "https://one.example/", "name": "Again"},
            {"link": "javascript:alert(1)"},
            {"link": None},
            {"name": "no link"},
        ],
    }
    read = await reader("a.t", "a.m", "r[].{url: link, title: name}").read(
        reply(json.dumps(document))
    )
    assert (read.text, read.markdown, read.raw) == ("tea", "*tea*", document)
    assert [(s.id, s.url, s.title) for s in read.sources] == [
        (1, "https://one.example/", "One"),
        (2, "http://h.example/two", None),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [("tea", "tea"), (None, ""), (3, "3"), (True, "true"), (["a", "b"], "a\n\nb"), ([], "")],
)
async def test_what_counts_as_text(value, text):
    """Strings, numbers and lists of strings are text; nothing is no text."""
    assert (await reader().read(reply(json.dumps({"t": value})))).text == text


@pytest.mark.parametrize(
    ("body", "permanent"),
    [
        (b"", False),
        (b"<html>", False),
        (b'{"t": "cut', False),
        (b"[" * 100_000, True),
        (b'{"t": {"a": 1}}', True),
        (b'{"t": [1]}', True),
        (b'{"t": "x", "s": 5}', True),
    ],
)
async def test_json_that_cannot_be_read(body, permanent):
    """What is no JSON may come right; what does not fit the expressions will not."""
    with pytest.raises(SurfaceError) as caught:
        await reader().read(reply(body))
    assert (caught.value.code, caught.value.permanent) == ("BAD_RESPONSE", permanent)


async def test_an_expression_that_does_not_fit():
    """A JMESPath function on the wrong type is a failure of the surface, not of the worker."""
    with pytest.raises(SurfaceError, match="JMESPath"):
        await reader("join(',', t)").read(reply('{"t": 5}'))


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"t": "\xc3\xa9"}',
        '{"t": "é"}'.encode("utf-16"),
        '{"t": "é"}'.encode("latin-1"),
        b'{"t": "\\u00e9", "n": NaN}',
    ],
)
async def test_json_in_other_clothes(body):
    """Byte order marks, other charsets and NaN do not keep an answer away."""
    assert (await reader().read(reply(body))).text == "é"


async def test_a_page_is_read():
    """Title, readable text, markdown and links, without menus, scripts and comments."""
    read = await HtmlReader().read(reply(PAGE, "text/html"))
    assert [(block.type, block.text) for block in read.blocks] == [("title", "Tea & more")]
    assert "It is tea, see the first and two" in " ".join(read.text.split())
    assert "# Tea" in read.markdown
    assert "**tea**" in read.markdown
    assert "- green\n- black" in read.markdown
    for unread in ("Menu", "Imprint", "var x", "hidden", "s3cret"):
        assert unread not in read.text + read.markdown
    assert [(source.id, source.url) for source in read.sources] == [
        (1, "http://h.example/one?a=1"),
        (2, "https://two.example/"),
    ]
    assert read.sources[0].title == "the first"


async def test_the_main_part_is_preferred():
    """A page that marks its content is read there only."""
    html = "<body><div>around</div><main><p>tea</p></main></body>"
    assert (await HtmlReader().read(reply(html))).text == "tea"


async def test_a_long_page_is_read_too():
    """A page long enough for a thread reads the same."""
    rows = "".join(f"<p>row {n} <a href='/{n}'>more</a></p>" for n in range(2000))
    read = await HtmlReader().read(reply(f"<title>t</title><body>{rows}</body>"))
    assert read.text.startswith("row 0 more")
    assert len(read.sources) == 2000


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_no_page_is_too_broken(body):
    """Whatever bytes come as HTML, reading them ends with a reading."""
    with pytest.raises(StopIteration) as end:
        HtmlReader().read(reply(body, "text/html")).send(None)
    assert isinstance(end.value.value.text, str)


@pytest.mark.parametrize("html", ["", "  ", "<!-- x -->", "<p></p>", "<script>1</script>", "\0"])
async def test_an_empty_page_is_empty(html):
    """A page that shows nothing is no answer."""
    read = await HtmlReader().read(reply(html))
    assert read.empty or read.text == "\N{REPLACEMENT CHARACTER}"


async def test_deep_nesting_is_survived():
    """A hundred thousand open tags neither crash nor hang the reader."""
    await HtmlReader().read(reply("<div>" * 100_000 + "tea"))


async def test_plain_text_is_the_answer():
    """A text surface's body is its answer."""
    assert (await TextReader().read(reply("tea\n"))).text == "tea\n"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("é".encode(), "", "é"),
        (b"\xe9\x80", "", "é€"),
        (b"\xe9", "text/html; charset=ISO-8859-1", "é"),
        (b"\x80", 'text/html; Charset="latin1"', "€"),
        ("é".encode(), "text/html; charset=nonsense", "é"),
        ("é".encode(), "text/html; charset=utf-7", "é"),
        ("é".encode(), "text/html; charset=rot13", "é"),
        ("é".encode(), "text/html; charset=base64", "é"),
        (b"\xef\xbb\xbf\xc3\xa9", "text/html; charset=latin-1", "é"),
        ("é".encode("utf-16"), "", "é"),
        ("é".encode("utf-16-be"), "x; charset=utf-16be", "é"),
        ("日本".encode("shift_jis"), "text/html; charset=Shift_JIS", "日本"),
        ("<meta charset='euc-kr'>가".encode("euc-kr"), "text/html", "<meta charset='euc-kr'>가"),
        (
            b'<meta http-equiv=x content="text/html; charset=windows-1251">\xc4',
            "",
            '<meta http-equiv=x content="text/html; charset=windows-1251">Д',
        ),
        ("<meta charset=utf-16>é".encode(), "", "<meta charset=utf-16>é"),
        (b"\xff", "x; charset=utf-8", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_charsets(body, content_type, expected):
    """Mark, header, meta, UTF-8, windows-1252: in this order, and labels as browsers read them."""
    assert decode(body, content_type, html=True) == expected


@pytest.mark.parametrize(
    ("country", "language", "expected"),
    [
        ("GB", None, "en-GB,en;q=0.9"),
        ("CH", "fr", "fr-CH,fr;q=0.9"),
        ("CH", None, "de-CH,de;q=0.9"),
        ("US", "pt-BR", "pt-BR,pt;q=0.9"),
        ("AQ", None, ""),
        ("US", "en\r\nX: y", "en-US,en;q=0.9"),
        ("US", "Englisch, bitte", "en-US,en;q=0.9"),
    ],
)
def test_accept_language(country, language, expected):
    """The language asked for in its country, else the country's own; never what is no tag."""
    assert accept_language(country, language) == expected
