"""Feeds: what there is in them, in whatever charset, and what a hostile one cannot do."""

import asyncio

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.surfaces import SurfaceConfig
from workers.adapters import base, http
from workers.adapters.http_feed import FeedReader
from workers.egress import Reply
from workers.errors import SurfaceError

pytestmark = pytest.mark.anyio

RSS = '<rss version="2.0"><channel><title>c</title>{}</channel></rss>'
ITEM = "<item><title>{}</title><link>{}</link><description>{}</description></item>"
RSS_1 = """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns="http://purl.org/rss/1.0/"><channel rdf:about="/"><title>c</title></channel>
<item rdf:about="/one"><title>One</title><link>one?a=1</link>
<description>First.</description></item></rdf:RDF>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xml:base="http://other.example/b/"><title>t</title>
<entry><title type="html">One &amp;amp; &lt;i&gt;all&lt;/i&gt;</title><link href="one"/>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>First.</p></div></content></entry>
<entry><title>1 &lt; 2 &lt;b&gt;</title><id>urn:x</id><summary>5 &lt; 6</summary></entry></feed>"""


def reply(body: bytes | str, content_type: str = "application/xml") -> Reply:
    body = body.encode() if isinstance(body, str) else body
    url = "http://h.example/a/feed.xml?key=s3cret"
    return Reply(status=200, url=url, content_type=content_type, body=body)


async def read(body: bytes | str, content_type: str = "application/xml"):
    return await FeedReader().read(reply(body, content_type))


def entries(reading):
    """The words of each entry, and where its page is."""
    urls = {source.id: source.url for source in reading.sources}
    return [(block.text, *map(urls.get, block.reference_ids)) for block in reading.blocks]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (RSS.format(ITEM.format("One", "/one?a=1", "First.")), "http://h.example/one?a=1"),
        (RSS_1, "http://h.example/a/one?a=1"),
    ],
)
async def test_rss_is_read(body, expected):
    """Version 2.0 and 1.0: each entry is a block and its page a source, its link absolute."""
    reading = await read(body)
    assert entries(reading) == [("One\nFirst.", expected)]
    assert reading.text == "One\nFirst."
    assert reading.markdown == f"## [One]({expected})\n\nFirst."
    assert [source.title for source in reading.sources] == ["One"]
    assert "s3cret" not in repr(reading._replace(raw=None))


async def test_atom_is_read():
    """Titles and contents by their type, HTML or plain words; links by their base."""
    reading = await read(ATOM)
    assert entries(reading) == [
        ("One & all\nFirst.", "http://other.example/b/one"),
        ("1 < 2 <b>\n5 < 6",),
    ]


async def test_html_in_an_entry_becomes_text():
    """Without scripts, tags and entities, in titles too."""
    words = "&lt;p&gt;He &amp;amp; she&lt;script&gt;alert(1)&lt;/script&gt;&lt;/p&gt;"
    reading = await read(RSS.format(ITEM.format("Q&amp;amp;A &lt;b&gt;now&lt;/b&gt;", "/x", words)))
    assert entries(reading) == [("Q&A now\nHe & she", "http://h.example/x")]
    assert reading.sources[0].title == "Q&A now"


async def test_an_entry_shows_what_it_has():
    """Only a link, only words, a link that nobody should follow: each for itself."""
    items = (
        "<item><link>https://one.example/</link></item>",
        "<item><description>only words</description></item>",
        "<item><title>bad</title><link>javascript:alert(1)</link></item>",
        "<item></item>",
    )
    reading = await read(RSS.format("".join(items)))
    assert entries(reading) == [("only words",), ("bad",)]
    assert [source.url for source in reading.sources] == ["https://one.example/"]
    assert reading.markdown == (
        "## [https://one.example/](https://one.example/)\n\nonly words\n\nbad"
    )


async def test_the_newest_come_first():
    """Whatever the order of the feed; those without a date stay behind, in their order."""
    dated = "<item><title>{}</title><pubDate>{}</pubDate></item>"
    items = (
        dated.format("old", "Mon, 01 Jan 2024 00:00:00 GMT"),
        "<item><title>first</title></item>",
        dated.format("odd", "some day"),
        dated.format("new", "Tue, 02 Jan 2024 00:00:00 +0200"),
        '<item><title>newer</title><date xmlns="http://purl.org/dc/elements/1.1/">2025-01-01</date></item>',
    )
    reading = await read(RSS.format("".join(items)))
    assert [block.text for block in reading.blocks] == ["newer", "new", "old", "first", "odd"]


@pytest.mark.parametrize(
    ("charset", "declared", "content_type", "words"),
    [
        ("utf-8", "", "", "café 日本"),
        ("utf-8", "", "text/xml", "café 日本"),
        ("iso-8859-1", "ISO-8859-1", "text/xml", "café"),
        ("iso-8859-1", "", "application/rss+xml; charset=ISO-8859-1", "café"),
        ("iso-8859-1", "UTF-8", "application/rss+xml; charset=ISO-8859-1", "café"),
        ("utf-16", "UTF-16", "application/xml", "café 日本"),
        ("koi8-r", "koi8-r", "application/rss+xml", "чай"),
        ("utf-8", "nonsense", "application/xml", "café"),
    ],
)
async def test_charsets(charset, declared, content_type, words):
    """A byte order mark, the header or the XML says how a feed is written."""
    first = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    text = first + RSS.format(f"<item><title>{words}</title></item>")
    reading = await read(text.encode(charset), content_type)
    assert reading.text == words
    assert reading.raw == text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html><body>tea</body></html>",
        b'{"version": "1"}',
        b"<foo/>",
        b"tea",
        b"\0\xff",
    ],
)
async def test_what_is_no_feed_is_said_to_be_none(body):
    """It may be one at the next attempt."""
    with pytest.raises(SurfaceError) as caught:
        await read(body)
    assert (caught.value.code, caught.value.permanent) == ("BAD_RESPONSE", False)


PIECES = (
    *(
        "<item>",
        "</item>",
        "<title>",
        "<title type='html'>",
        "</title>",
        "<![CDATA[",
        "]]>",
        "<!--",
    ),
    *(
        "<link>",
        "<link href='http://[x'/>",
        "</link>",
        "http://[::1",
        "<description>",
        "<?php",
        "?>",
    ),
    *("<!DOCTYPE x [", "<!ENTITY a 'b'>", "]>", "&a;", "&#x110000;", "&#xD800;", "&#0;", "\0", "é"),
    *("<pubDate>Mon</pubDate>", "<updated>99999-13-45T00:00:00Z</updated>", "<content src='//['/>"),
)


@given(
    st.sampled_from([RSS, '<feed xmlns="http://www.w3.org/2005/Atom">{}</feed>', "{}"]),
    st.binary(max_size=300) | st.lists(st.sampled_from(PIECES)).map(lambda x: "".join(x).encode()),
)
def test_no_feed_is_too_broken(around, body):
    """Whatever bytes come, they are a feed or refused."""
    with pytest.raises((StopIteration, SurfaceError)):
        FeedReader().read(reply(around.encode().replace(b"{}", body))).send(None)


async def test_a_reply_that_names_a_file_is_not_that_file(tmp_path):
    """An upstream cannot make a worker read what lies on its disk, or call an address."""
    secret = tmp_path / "secret.xml"
    secret.write_text(RSS.format("<item><title>secret</title></item>"))
    for name in (str(secret), secret.as_uri()):
        with pytest.raises(SurfaceError, match="no feed"):
            await read(name)


BOMB = "<!DOCTYPE rss [\n<!ENTITY a '{}'>\n<!ENTITY b \"{}\">\n]>".format(
    "A" * 50_000, "B" * 50_000
)


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-16-be", "utf-16-le", "utf-32-be"])
async def test_a_bomb_of_entities_does_not_go_off(charset):
    """What a feed declares is not put in, however it is written: a hundred kilobytes stay that."""
    items = RSS.format(f"<item><title>{'&a;&b;' * 2000}</title></item>")
    text = f'<?xml version="1.0"?>{BOMB}{items}'
    assert len((await read(text.encode(charset))).text) < len(text)


async def test_laughs_in_a_chain_do_not_go_off():
    """Entities of entities neither: the billionth of them is a word like any other."""
    chain = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">\n' for n in range(1, 10))
    head = f'<!DOCTYPE rss [\n<!ENTITY l0 "lol">\n{chain}]>'
    assert len((await read(head + RSS.format("<item><title>&l9;</title></item>"))).text) < 100


async def test_nothing_outside_is_fetched(serve, tmp_path):
    """External entities, parameter entities and DTDs are left where they are."""
    seen = []

    async def handler(request):
        seen.append(request.path)
        return web.Response(text="<!ENTITY y 'fetched'>")

    home = await serve(handler)
    secret = tmp_path / "secret"
    secret.write_text("s3cret-words")
    head = (
        f'<!DOCTYPE rss PUBLIC "-//x//y" "{home}/dtd" [\n<!ENTITY x SYSTEM "{secret.as_uri()}">\n'
        f'<!ENTITY u SYSTEM "{home}/u">\n<!ENTITY % p SYSTEM "{home}/p">\n%p;\n]>'
    )
    reading = await read(head + RSS.format("<item><title>tea &x; &u; &y;</title></item>"))
    assert "s3cret-words" not in reading.text + reading.markdown
    assert "fetched" not in reading.text + reading.markdown
    assert seen == []


async def test_a_long_feed_leaves_the_event_loop():
    """While thousands of entries are read, others go on."""
    body = RSS.format("".join(ITEM.format(n, f"/{n}", "words " * 20) for n in range(3000)))
    reading = asyncio.ensure_future(read(body))
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert len((await reading).blocks) == 3000
    assert turns > 10


async def test_a_feed_is_a_surface(serve):
    """Each page is one source with an id of its own; an empty feed shows nothing."""
    items = (
        ITEM.format("One", "/x", "a"),
        ITEM.format("Two", "", "b"),
        ITEM.format("3", "/x", "c"),
    )
    bodies = [RSS.format("".join(items)), RSS.format("")]

    async def handler(request):
        return web.Response(body=bodies.pop(0), content_type="application/rss+xml")

    options = {"url": await serve(handler), "format": "feed"}
    adapter = http.build(SurfaceConfig(name="feed", adapter="http", options=options))
    request = base.CaptureRequest(child="c", query="tea", surface="feed", country="GB")
    capture = (await base.run(adapter, request, timeout_seconds=30)).capture
    assert [(source.id, source.url) for source in capture.evidence.sources] == [
        (1, options["url"] + "/x")
    ]
    assert [block.reference_ids for block in capture.answer.blocks] == [(1,), (), (1,)]
    empty = (await base.run(adapter, request, timeout_seconds=30)).capture
    assert not empty.provenance.surface_present
    await adapter.close()
