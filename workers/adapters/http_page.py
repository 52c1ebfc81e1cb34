"""An HTML page read: its title, the readable part as text and markdown, and its links."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urldefrag

import lxml.html
from html_to_markdown import ConversionOptions, HeadingStyle, OutputFormat, convert
from lxml import etree

_UNREAD = ("script", "style", "noscript", "template", "svg", "iframe", "object")
_AROUND = ("nav", "header", "footer", "aside", "form")
_MAIN = ("//main", "//*[@role='main']", "//article")


class Link(NamedTuple):
    """A link to a page, absolute."""

    url: str
    title: str | None


class Page(NamedTuple):
    """What a page says. Empty for a page that shows nothing."""

    title: str | None = None
    text: str = ""
    markdown: str = ""
    links: tuple[Link, ...] = ()


def read(html: str, base: str) -> Page:
    """The page, however malformed; relative links start from `base`."""
    try:
        root = lxml.html.document_fromstring(
            html.encode("utf-8", "replace"), parser=lxml.html.HTMLParser(encoding="utf-8")
        )
    except etree.ParserError:  # nothing but space or comments
        return Page()
    title = " ".join(root.findtext(".//title", "").split()) or None
    root.make_links_absolute(base, handle_failures="discard")
    main = _main(root)
    source = lxml.html.tostring(main, encoding="unicode", with_tail=False)
    return Page(
        title=title,
        text=_converted(source, OutputFormat.PLAIN),
        markdown=_converted(source, OutputFormat.MARKDOWN),
        links=tuple(_links(main, base)),
    )


def plain(html: str) -> str:
    """The text of a piece of HTML."""
    return _converted(html, OutputFormat.PLAIN) if "<" in html or "&" in html else html.strip()


def _main(root: lxml.html.HtmlElement) -> lxml.html.HtmlElement:
    """The part that says it marks the content; else the body without what surrounds content."""
    etree.strip_elements(root, etree.Comment, *_UNREAD, with_tail=False)
    for path in _MAIN:
        if len(found := root.xpath(path)) == 1:
            return found[0]
    body = root.find("body")
    body = root if body is None else body
    etree.strip_elements(body, *_AROUND, with_tail=False)
    return body


def _links(main: lxml.html.HtmlElement, base: str) -> Iterator[Link]:
    for anchor in main.iter("a"):
        url = urldefrag(anchor.get("href", "")).url
        if url.startswith(("http://", "https://")) and url != base:
            yield Link(url, " ".join(anchor.text_content().split()) or None)


@lru_cache(maxsize=2)
def _options(output: OutputFormat) -> ConversionOptions:
    return ConversionOptions(
        heading_style=HeadingStyle.ATX,
        skip_images=True,
        extract_metadata=False,
        output_format=output,
    )


def _converted(html: str, output: OutputFormat) -> str:
    return (convert(html, _options(output)).content or "").strip()
