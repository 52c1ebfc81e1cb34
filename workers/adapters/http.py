"""The `http` adapter: a surface declared by its URL and by how to read its reply."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from jmespath.parser import ParsedResult
from pydantic import AfterValidator, Field, model_validator

from orchestrator.configured import Headers, Timeout
from orchestrator.domain.envelope import Answer, Capture, Evidence, Method, Provenance, Seen
from orchestrator.surfaces import SurfaceConfig
from workers.adapters import presets
from workers.adapters.base import CaptureRequest, Options, now_text, read_options
from workers.adapters.http_feed import FeedReader
from workers.adapters.http_reading import (
    HtmlReader,
    JsonReader,
    Reader,
    Reading,
    TextReader,
    expression,
)
from workers.adapters.http_template import (
    BodyTemplate,
    UrlTemplate,
    Values,
    check_url,
    header,
)
from workers.adapters.locales import accept_language, values
from workers.adapters.normalising import absent
from workers.adapters.places import broadened, told, unheard
from workers.egress import MAX_BYTES, Call, Egress

_ABSENT = (absent(),)


def _url(text: str) -> str:
    check_url(text)
    return text


def _jmespath(text: str) -> str:
    expression(text)
    return text


Expression = Annotated[str, AfterValidator(_jmespath)]


class HttpOptions(Options):
    """`[surfaces.<name>.options]`: the request, and where in the reply the answer is.

    A `preset` has been taken over by then.
    """

    url: Annotated[str, AfterValidator(_url)]
    method: Annotated[str, Field(pattern=r"^(GET|POST|PUT|PATCH)$")] | None = None
    headers: Headers = Field(default_factory=dict)
    body: dict[str, Any] | list[Any] | None = None
    format: Literal["json", "html", "text", "feed"] = "json"
    text: Expression | None = None
    markdown: Expression | None = None
    sources: Expression | None = None
    error: Expression | None = None
    connect_timeout: Timeout = 10.0
    read_timeout: Timeout | None = None
    max_bytes: Annotated[int, Field(ge=1, le=256 * 1024 * 1024)] = MAX_BYTES

    @model_validator(mode="after")
    def _readable(self) -> "HttpOptions":
        if self.format == "json" and self.text is None and self.markdown is None:
            raise ValueError(
                "`text` or `markdown` is missing: the JMESPath of the answer in the JSON reply"
            )
        if self.format != "json" and (self.text or self.markdown or self.sources or self.error):
            raise ValueError(
                '`text`, `markdown`, `sources` and `error` read only `format = "json"`'
            )
        return self


class Http:
    """Calls the surface as its region wants it called, and reads the reply."""

    method: Method = "http"
    countries: tuple[str, ...] | None = None
    instant = False
    options_schema: ClassVar[dict[str, Any]] = {"type": "object", "additionalProperties": False}

    def __init__(self, config: SurfaceConfig, options: HttpOptions) -> None:
        self._config = config
        self._options = options
        self._url = UrlTemplate(options.url)
        self._body = None if options.body is None else BodyTemplate(options.body)
        self._verb = options.method or ("GET" if self._body is None else "POST")
        self._headers = {name.lower(): header(text) for name, text in options.headers.items()}
        self._reader = _reader(options)
        body = frozenset() if self._body is None else self._body.names
        named = (template.names for template in self._headers.values())
        self._told = told(self._url.names.union(body, *named)) | _accepted(options)
        self._egress = Egress(regions=config.regions)

    async def capture(self, request: CaptureRequest) -> Capture:
        """What the upstream shows for this query from this region."""
        reply = await self._egress.fetch(request.country, self._call(request))
        return self._captured(request, await self._reader.read(reply))

    async def close(self) -> None:
        """Closes the lanes' clients."""
        await self._egress.close()

    def _call(self, request: CaptureRequest) -> Call:
        said = values(request, self._config.region(request.country).locale)
        body = None if self._body is None else msgspec.json.encode(self._body.fill(said))
        timeout = self._config.timeout_seconds
        return Call(
            method=self._verb,
            url=self._url.fill(said),
            headers=self._headers_for(request, said),
            body=body,
            connect_seconds=self._options.connect_timeout,
            read_seconds=self._options.read_timeout or timeout,
            total_seconds=timeout,
            max_bytes=self._options.max_bytes,
        )

    def _headers_for(self, request: CaptureRequest, said: Values) -> dict[str, str]:
        """The surface's headers over the usual ones, and the region's over both."""
        headers = {}
        own = self._config.region(request.country)
        if language := accept_language(request.country, request.language or own.locale):
            headers["accept-language"] = language
        if self._body is not None:
            headers["content-type"] = "application/json"
        for name, template in self._headers.items():
            headers[name] = template.fill(said)
        for name, value in own.headers.items():
            headers[name.lower()] = value
        return headers

    def _captured(self, request: CaptureRequest, reading: Reading) -> Capture:
        present = not reading.empty
        heard = self._told | ({"country"} if self._config.regional(request.country) else set())
        left_out = unheard(request, heard)
        effective = request.country if "country" in heard else None
        answer = Answer(text=reading.text, markdown=reading.markdown, blocks=reading.blocks)
        return Capture(
            answer=answer if present else Answer(),
            evidence=Evidence(sources=reading.sources),
            provenance=Provenance(
                adapter=self._config.adapter,
                method=self.method,
                region=Seen(requested=request.country, effective=effective),
                surface_present=present,
                captured_at=now_text(),
            ),
            raw=reading.raw if self._config.raw else None,
            warnings=(*broadened(effective, left_out), *(() if present else _ABSENT)),
        )


def build(config: SurfaceConfig) -> Http:
    """The adapter of a configured surface; raises `OptionError`."""
    whole = msgspec.structs.replace(config, options=presets.applied(config.options))
    return Http(config, read_options(whole, HttpOptions))


def _reader(options: HttpOptions) -> Reader:
    match options.format:
        case "text":
            return TextReader()
        case "html":
            return HtmlReader()
        case "feed":
            return FeedReader()
        case "json":
            return JsonReader(
                text=_optional(options.text),
                markdown=_optional(options.markdown),
                sources=_optional(options.sources),
                error=_optional(options.error),
            )


def _accepted(options: HttpOptions) -> set[str]:
    """What an `Accept-Language` tells: a page heeds it, an API passes it to nobody."""
    return set() if options.format == "json" else {"language"}


def _optional(text: str | None) -> ParsedResult | None:
    return None if text is None else expression(text)
