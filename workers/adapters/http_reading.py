"""From a reply to what it says: JSON by JMESPath, HTML by its readable part, or text."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, get_args
from urllib.parse import urljoin, urlsplit, urlunsplit

import anyio
import jmespath
import msgspec
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from orchestrator.domain.envelope import Block, Role, Source
from workers.adapters import http_page
from workers.adapters.composing import composed
from workers.adapters.http_charset import decode
from workers.adapters.normalising import numbered
from workers.egress import Reply
from workers.errors import SurfaceError

_ROLES: dict[str, Role] = {role: role for role in get_args(Role)}
LONG_PAGE_BYTES = 8 * 1024  # about 4 ms of reading; longer pages leave the event loop


class Reading(NamedTuple):
    """What a reply says; `raw` is its body as a JSON value or as text."""

    text: str
    markdown: str
    raw: Any
    sources: tuple[Source, ...] = ()
    blocks: tuple[Block, ...] = ()

    @property
    def empty(self) -> bool:
        """True when the surface showed nothing."""
        return not (self.text.strip() or self.markdown.strip() or self.sources)


class Reader(Protocol):
    """Reads replies of one surface; raises `SurfaceError` for one it cannot read."""

    async def read(self, reply: Reply) -> Reading:
        """What the reply says."""


class TextReader:
    """The body is the answer."""

    async def read(self, reply: Reply) -> Reading:
        """The text, in whatever charset it came."""
        text = decode(reply.body, reply.content_type)
        return Reading(text, text, text)


class HtmlReader:
    """The readable part of the page is the answer, its links are the sources."""

    async def read(self, reply: Reply) -> Reading:
        """The page; a long one is read on a thread, since it takes milliseconds."""
        html = decode(reply.body, reply.content_type, html=True)
        if len(reply.body) < LONG_PAGE_BYTES:
            read = http_page.read(html, base(reply.url))
        else:
            read = await anyio.to_thread.run_sync(
                http_page.read, html, base(reply.url), abandon_on_cancel=True
            )
        sources = (
            Source(id=number, url=link.url, title=link.title)
            for number, link in enumerate(read.links, 1)
        )
        title = (Block(type="title", text=read.title),) if read.title else ()
        return Reading(read.text, read.markdown, html, numbered(sources), title)


class JsonReader:
    """JMESPath expressions say where in the reply the answer and its sources are.

    Without one for it the markdown is the text, the text the markdown's. What `error` finds is the
    upstream's own word for a failure.
    """

    def __init__(
        self,
        *,
        text: ParsedResult | None,
        markdown: ParsedResult | None = None,
        sources: ParsedResult | None = None,
        error: ParsedResult | None = None,
    ) -> None:
        self._text, self._markdown = text, markdown
        self._sources, self._error = sources, error

    async def read(self, reply: Reply) -> Reading:
        """What the expressions find."""
        document = _parsed(reply)
        try:
            if self._error is not None and self._error.search(document):
                raise SurfaceError(
                    "BAD_RESPONSE",
                    "the upstream answered with an error of its own",
                    permanent=False,
                )
            text = None if self._text is None else _words("text", self._text.search(document))
            markdown = text
            if self._markdown is not None:
                markdown = _words("markdown", self._markdown.search(document))
            found = self._sources.search(document) if self._sources is not None else ()
        except JMESPathError:
            raise _bad("a JMESPath expression of this surface does not fit the reply") from None
        sources = numbered(_listed(found, reply.url))
        if text is None:
            answer, _ = await composed(markdown or "")
            return Reading(answer.text, answer.markdown, document, sources, answer.blocks)
        return Reading(text, markdown or "", document, sources)


def expression(text: str) -> ParsedResult:
    """A compiled JMESPath expression; ValueError for a malformed one."""
    try:
        return jmespath.compile(text)
    except JMESPathError as error:
        reason = " ".join(str(error).splitlines()[0].split())
        raise ValueError(f"not a JMESPath expression: {reason}") from None


def _parsed(reply: Reply) -> Any:
    """The JSON value. The strict parser first; the lenient one knows lone surrogates and NaN."""
    try:
        return msgspec.json.decode(reply.body)
    except RecursionError:
        raise _bad("the reply is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return json.loads(decode(reply.body, reply.content_type))
    except (ValueError, RecursionError):
        raise SurfaceError("BAD_RESPONSE", "the reply is not JSON", permanent=False) from None


def _words(name: str, value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool() | int() | float():
            return json.dumps(value)
        case list() if all(isinstance(part, str) for part in value):
            return "\n\n".join(value)
        case _:
            raise _bad(f"`{name}` of this surface finds no text in the reply")


def _listed(found: Any, origin: str) -> Iterator[Source]:
    """The sources in what the expression found: objects with a `url`, or just URLs."""
    if not isinstance(found, list | tuple | None):
        raise _bad("`sources` of this surface finds no list in the reply")
    for number, entry in enumerate(found or (), 1):
        source = {"url": entry} if isinstance(entry, str) else entry
        if isinstance(source, dict) and (url := page(source.get("url"), origin)):
            yield _source(number, url, source)


def _source(number: int, url: str, entry: dict[str, Any]) -> Source:
    title, quote = entry.get("title"), entry.get("quote")
    role = _ROLES.get(str(entry.get("role")), "cited")
    return Source(
        id=number,
        url=url,
        title=title if isinstance(title, str) else None,
        quote=quote if isinstance(quote, str) else None,
        role=role,
        cited=role == "cited",
    )


def page(url: Any, origin: str) -> str | None:
    """The absolute URL of a page; None for anything a reader should not follow."""
    if not isinstance(url, str) or not url.strip():
        return None
    if url.startswith(("http://", "https://")):
        return url
    try:
        absolute = urljoin(base(origin), url.strip())
    except ValueError:
        return None
    return absolute if absolute.startswith(("http://", "https://")) else None


def base(url: str) -> str:
    """The URL without its query, which may hold a secret and is no part of a relative link."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def _bad(message: str) -> SurfaceError:
    return SurfaceError("BAD_RESPONSE", message, permanent=True)
