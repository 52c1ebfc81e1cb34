"""The `page` adapter: the query is the URL of a page, which is read as its region sees it."""

from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import Field

from orchestrator.configured import HeaderValue, Timeout
from orchestrator.domain import urls
from orchestrator.domain.addresses import networks
from orchestrator.domain.envelope import (
    Answer,
    Capture,
    Evidence,
    Method,
    Provenance,
    Seen,
    Source,
    WebSearch,
)
from orchestrator.domain.urls import LONGEST_URL
from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest, Options, now_text, read_options
from workers.adapters.http_reading import HtmlReader, Reading, TextReader
from workers.adapters.locales import accept_language
from workers.adapters.normalising import absent, numbered
from workers.adapters.places import broadened, unheard
from workers.adapters.robots import Robots
from workers.egress import MAX_BYTES, MAX_REDIRECTS, Call, Egress, Reply
from workers.errors import SurfaceError
from workers.guard import Guard

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXT = ("text/", "application/json", "application/xml")
_TEXTUAL = ("+json", "+xml")
_ACCEPT = "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.5"
_ABSENT = (absent("the page shows nothing to read"),)


class PageOptions(Options):
    """`[surfaces.<name>.options]`: how the pages of others are called on."""

    user_agent: Annotated[HeaderValue, Field(min_length=1, max_length=500)] = (
        "parallax-orchestrator"
    )
    robots: bool = True
    max_redirects: Annotated[int, Field(ge=0, le=20)] = MAX_REDIRECTS
    connect_timeout: Timeout = 10.0
    max_bytes: Annotated[int, Field(ge=1, le=256 * 1024 * 1024)] = MAX_BYTES


class PageSurface:
    """Fetches pages that clients name: their title, text, markdown and links."""

    method: Method = "http"
    countries: tuple[str, ...] | None = None
    instant = False
    options_schema: ClassVar[dict[str, Any]] = {"type": "object", "additionalProperties": False}
    query_schema: ClassVar[dict[str, Any]] = {
        "type": "string",
        "format": "uri",
        "maxLength": LONGEST_URL,
    }

    def __init__(self, config: SurfaceConfig, options: PageOptions) -> None:
        self._config = config
        self._options = options
        self._reachable = networks(" ".join(config.reachable))
        self._egress = Egress(regions=config.regions, guard=Guard(self._reachable))
        self._robots = Robots(self._egress) if options.robots else None
        self._html, self._text = HtmlReader(), TextReader()

    async def capture(self, request: CaptureRequest) -> Capture:
        """The page as it is read from this region."""
        if wrong := urls.fault(request.query, self._reachable):
            reason = f"the query is not a URL that may be called: {wrong.message}"
            raise SurfaceError("ADDRESS_FORBIDDEN", reason, permanent=True)
        reply = await self._egress.fetch(request.country, self._call(request))
        return self._captured(request, await self._read(reply), reply)

    async def close(self) -> None:
        """Closes the lanes' clients."""
        await self._egress.close()

    def _call(self, request: CaptureRequest) -> Call:
        own = self._config.region(request.country)
        headers = {"user-agent": self._options.user_agent, "accept": _ACCEPT}
        if language := accept_language(request.country, request.language or own.locale):
            headers["accept-language"] = language
        headers |= {name.lower(): value for name, value in own.headers.items()}
        seconds = self._config.timeout_seconds
        call = Call(
            method="GET",
            url=urls.normal(request.query),
            headers=headers,
            connect_seconds=self._options.connect_timeout,
            read_seconds=seconds,
            total_seconds=seconds,
            max_bytes=self._options.max_bytes,
            max_redirects=self._options.max_redirects,
        )
        if self._robots is None:
            return call
        return msgspec.structs.replace(call, before=self._robots.asked(request.country, call))

    async def _read(self, reply: Reply) -> Reading:
        kind = reply.content_type.partition(";")[0].strip().lower()
        if kind in _HTML or not kind:
            return await self._html.read(reply)
        if kind.startswith(_TEXT) or kind.endswith(_TEXTUAL):
            return await self._text.read(reply)
        raise SurfaceError(
            "UNSUPPORTED_CONTENT", "the page is neither HTML nor any other text", permanent=True
        )

    def _captured(self, request: CaptureRequest, reading: Reading, reply: Reply) -> Capture:
        present = not reading.empty
        regional = self._config.regional(request.country)
        effective = request.country if regional else None
        left_out = unheard(request, {"language", *(("country",) if regional else ())})
        links = tuple(
            msgspec.structs.replace(link, role="related", cited=False) for link in reading.sources
        )
        own = Source(id=1, url=reply.url, title=_title(reading), role="retrieved", cited=False)
        return Capture(
            answer=Answer(text=reading.text, markdown=reading.markdown, blocks=reading.blocks)
            if present
            else Answer(),
            evidence=Evidence(sources=numbered((own, *links))),
            provenance=Provenance(
                adapter=self._config.adapter,
                method=self.method,
                web_search=WebSearch(enabled=False, known=True),
                region=Seen(requested=request.country, effective=effective),
                surface_present=present,
                captured_at=now_text(),
            ),
            raw=reading.raw if self._config.raw else None,
            warnings=(*broadened(effective, left_out), *(() if present else _ABSENT)),
        )


def build(config: SurfaceConfig) -> PageSurface:
    """The adapter of a configured surface; raises `OptionError`."""
    return PageSurface(config, read_options(config, PageOptions))


def _title(reading: Reading) -> str | None:
    return next((block.text for block in reading.blocks if block.type == "title"), None)
