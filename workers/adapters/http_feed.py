"""A feed read, RSS or Atom: its entries are the answer, and their pages its sources.

feedparser takes whatever it is given for the name of a file first, so it is given a stream; it
expands the entities that a feed declares, as large as they may become, so none is declared.
"""

import re
from io import BytesIO
from typing import Any

import anyio
import feedparser

from orchestrator.domain.envelope import Block, Source
from workers.adapters import http_page
from workers.adapters.http_charset import decode
from workers.adapters.http_reading import LONG_PAGE_BYTES, Reading, base, page
from workers.egress import Reply
from workers.errors import SurfaceError

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.:-]+)""")


class FeedReader:
    """The entries, the newest first; those without a date stay last, in their order."""

    async def read(self, reply: Reply) -> Reading:
        """The feed; a long one is read on a thread, since it takes milliseconds."""
        if len(reply.body) < LONG_PAGE_BYTES:
            return _read(reply)
        return await anyio.to_thread.run_sync(_read, reply, abandon_on_cancel=True)


def _read(reply: Reply) -> Reading:
    """What a feed says; `SurfaceError` for what is none."""
    raw = _decoded(reply)
    found = _parsed(raw, base(reply.url))
    if not found.get("version"):
        raise SurfaceError("BAD_RESPONSE", "the reply is no feed", permanent=False)
    blocks, sources, shown = [], [], []
    for number, entry in enumerate(sorted(found.entries, key=_moment, reverse=True), 1):
        title = " ".join(_plain(entry, "title").split())
        summary = _plain(entry, "summary")
        url = page(entry.get("link"), reply.url)
        sources += [Source(id=number, url=url, title=title or None)] if url else []
        words = "\n".join(filter(None, (title, summary)))
        references = (number,) if url else ()
        blocks += [Block(type="entry", text=words, reference_ids=references)] if words else []
        shown += [f"## [{title or url}]({url})\n\n{summary}".strip() if url else words]
    text = "\n\n".join(block.text for block in blocks)
    return Reading(text, "\n\n".join(filter(None, shown)), raw, tuple(sources), tuple(blocks))


def _parsed(text: str, home: str) -> Any:
    """What feedparser makes of it, links starting from `home`."""
    headers = {"content-type": "application/xml; charset=utf-8", "content-location": home}
    harmless = text.replace("\0", "").replace("<!ENTITY", "<!IGNORED")  # NULs would hide one
    try:
        body = BytesIO(harmless.encode("utf-8", "replace"))
        return feedparser.parse(body, response_headers=headers)
    except Exception:  # noqa: BLE001 - broken in a way that it did not think of, as `&#x110000;` is
        raise SurfaceError("BAD_RESPONSE", "the feed is malformed", permanent=False) from None


def _decoded(reply: Reply) -> str:
    """The feed's text: the header says its charset, else the XML does."""
    said = reply.content_type
    if "charset" not in said.lower() and (declared := _DECLARED.match(reply.body)):
        said = f"charset={declared[1].decode('ascii')}"
    return decode(reply.body, said)


def _plain(entry: Any, part: str) -> str:
    """The text of a part of an entry, which says whether it is plain; the rest is HTML."""
    words = str(entry.get(part, ""))
    said: Any = entry.get(f"{part}_detail") or next(iter(entry.get("content", ())), {})
    return words.strip() if said.get("type") == "text/plain" else http_page.plain(words)


def _moment(entry: Any) -> tuple[int, ...]:
    """When it was published, else updated; empty when neither is said."""
    for part in ("published_parsed", "updated_parsed"):
        if part in entry and (moment := entry[part]):
            return tuple(moment)
    return ()
