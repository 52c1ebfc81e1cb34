"""What adapters of answer engines have in common: the call, the wording of failures, the capture.

A provider's module says what its published contract says: the body of a request, and what a reply
of it means.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import msgspec
from pydantic import AfterValidator, Field

from orchestrator.configured import Headers, Timeout
from orchestrator.domain import envelope
from orchestrator.domain.envelope import Capture, Method, Model, Provenance, Seen, WebSearch
from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest, Options, now_text, read_options
from workers.adapters.composing import Citation, Page, compose
from workers.adapters.http_template import BodyTemplate, check_url
from workers.adapters.locales import values
from workers.adapters.places import broadened
from workers.adapters.providers import refusals
from workers.adapters.providers.pricing import Prices, Spent, usage
from workers.egress import MAX_BYTES, Call, Egress
from workers.errors import OptionError, SurfaceError

MOST_TURNS = 5
"""Calls that one answer may take of a provider that pauses in the middle of it."""


class Heard(NamedTuple):
    """What a reply says; places count code points of the markdown.

    `label` is the model as the reply names it. `searched` is None where it cannot be told.
    """

    markdown: str
    citations: Sequence[Citation] = ()
    retrieved: Sequence[Page] = ()
    queries: Sequence[str] = ()
    label: str | None = None
    searched: bool | None = None
    spent: Spent = Spent()
    refused: bool = False
    truncated: bool = False


class Place(NamedTuple):
    """Where a provider is told that its user is: its own field, and what that leaves out."""

    told: dict[str, Any] | None
    effective: str | None
    unheard: tuple[str, ...] = ()


def _base(url: str) -> str:
    check_url(url)
    return url.rstrip("/")


class ProviderOptions(Options):
    """`[surfaces.<name>.options]` of every provider.

    `tools` are sent beside the search; `extra_body`, its placeholders filled, is merged over the
    request, table by table.
    """

    model: Annotated[str, Field(min_length=1)]
    api_key: Annotated[str, Field(min_length=1)] | None = None
    base_url: Annotated[str, AfterValidator(_base)] | None = None
    system: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    search: bool = True
    tools: list[dict[str, Any]] = Field(default_factory=list)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    headers: Headers = Field(default_factory=dict)
    prices: Prices | None = None
    connect_timeout: Timeout = 10.0
    max_bytes: Annotated[int, Field(ge=1, le=256 * 1024 * 1024)] = MAX_BYTES


class Provider(ABC):
    """A published contract, as most are; one that differs says so.

    `name` is what `genai-prices` calls the provider, `key_variable` where its key is looked for.
    """

    name: ClassVar[str]
    key_variable: ClassVar[str]
    base_url: ClassVar[str]
    endpoint: ClassVar[str]

    def path(self, options: ProviderOptions) -> str:  # noqa: ARG002 - some have the model in it
        """What follows the base URL."""
        return self.endpoint

    def headers(self, key: str) -> dict[str, str]:
        """Credentials and versions; names in lower case."""
        return {"authorization": f"Bearer {key}"}

    @abstractmethod
    def place(self, request: CaptureRequest) -> Place:
        """The region asked for as the provider takes it."""

    @abstractmethod
    def body(
        self, options: ProviderOptions, request: CaptureRequest, place: Place
    ) -> dict[str, Any]:
        """The request, the query in it as it is."""

    @abstractmethod
    def read(self, replies: Sequence[bytes]) -> Heard:
        """What the turns of an answer say.

        Raises `SurfaceError` for a failure told with a status of 2xx, `msgspec.MsgspecError` for a
        reply that breaks the contract.
        """

    def more(self, body: dict[str, Any], reply: bytes) -> dict[str, Any] | None:  # noqa: ARG002
        """The request for the rest of an answer that paused; None for one that is whole."""
        return None


class Answering:
    """An answer engine, called as its provider's contract says."""

    method: Method = "official-api"
    countries: tuple[str, ...] | None = None
    instant = False
    options_schema: ClassVar[dict[str, Any]] = {"type": "object", "additionalProperties": False}

    def __init__(
        self, config: SurfaceConfig, options: ProviderOptions, provider: Provider, key: str
    ) -> None:
        self._config = config
        self._options = options
        self._provider = provider
        self._url = (options.base_url or provider.base_url) + provider.path(options)
        given = {name.lower(): value for name, value in options.headers.items()}
        self._headers = {"content-type": "application/json", **provider.headers(key), **given}
        self._extra = BodyTemplate(options.extra_body)
        self._egress = Egress(regions=config.regions)

    async def capture(self, request: CaptureRequest) -> Capture:
        """What it answers, as seen from the region as far as it lets itself be told."""
        own = self._config.region(request.country).locale
        asked = msgspec.structs.replace(request, language=request.language or own)
        place = self._provider.place(asked)
        body = _merged(
            self._provider.body(self._options, asked, place), self._extra.fill(values(request, own))
        )
        try:
            return self._captured(request, place, await self._replies(request, body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            reason = "the reply is not what the provider's contract says"
            raise SurfaceError("BAD_RESPONSE", reason, permanent=False) from None

    async def close(self) -> None:
        """Closes the lanes' clients."""
        await self._egress.close()

    async def _replies(self, request: CaptureRequest, body: dict[str, Any]) -> list[bytes]:
        """The turns of the answer."""
        replies: list[bytes] = []
        turn: dict[str, Any] | None = body
        while turn is not None and len(replies) < MOST_TURNS:
            reply = await self._egress.fetch(request.country, self._call(request, turn))
            replies.append(reply.body)
            turn = self._provider.more(turn, reply.body)
        return replies

    def _call(self, request: CaptureRequest, body: dict[str, Any]) -> Call:
        seconds = self._config.timeout_seconds
        own = self._config.region(request.country).headers
        return Call(
            method="POST",
            url=self._url,
            headers=self._headers | {name.lower(): value for name, value in own.items()},
            body=msgspec.json.encode(body),
            connect_seconds=self._options.connect_timeout,
            read_seconds=seconds,
            total_seconds=seconds,
            max_bytes=self._options.max_bytes,
            explain=self._explain,
        )

    def _explain(self, error: SurfaceError, body: bytes) -> SurfaceError:
        return refusals.explained(error, body, self._provider.key_variable)

    def _captured(self, request: CaptureRequest, place: Place, replies: Sequence[bytes]) -> Capture:
        heard = self._provider.read(replies)
        present = bool(heard.markdown.strip())
        answer, evidence = compose(
            heard.markdown if present else "",
            heard.citations,
            retrieved=heard.retrieved,
            queries=heard.queries,
        )
        options = self._options
        return Capture(
            answer=answer,
            evidence=evidence,
            provenance=Provenance(
                adapter=self._config.adapter,
                method=self.method,
                model=Model(
                    provider_id=options.model,
                    observed_label=heard.label,
                    inferred=None if heard.label is None else False,
                ),
                web_search=WebSearch(enabled=heard.searched, known=heard.searched is not None),
                region=Seen(requested=request.country, effective=place.effective),
                surface_present=present,
                captured_at=now_text(),
                usage=usage(
                    self._provider.name, heard.label or options.model, heard.spent, options.prices
                ),
            ),
            raw=_raw(replies) if self._config.raw else None,
            warnings=tuple(_warnings(place, heard, present=present)),
        )


def adapter(config: SurfaceConfig, provider: Provider) -> Answering:
    """The adapter of a surface whose key is its own, or the environment's; raises `OptionError`."""
    options = read_options(config, ProviderOptions)
    key = options.api_key or os.environ.get(provider.key_variable, "")
    if not key:
        reason = f"missing: set the environment variable {provider.key_variable}"
        raise OptionError((("api_key",), reason))
    return Answering(config, options, provider, key)


def _warnings(place: Place, heard: Heard, *, present: bool) -> Iterator[envelope.Warning]:
    yield from broadened(place.effective, place.unheard)
    if heard.refused:
        yield envelope.Warning(code="refused", message="the provider refused to answer")
    if heard.truncated:
        yield envelope.Warning(
            code="truncated", message="the answer stops where the provider's limit of tokens is"
        )
    if not present and not heard.refused:
        yield envelope.Warning(
            code="surface_absent", message="the surface showed nothing for this query"
        )


def _raw(replies: Sequence[bytes]) -> Any:
    turns = [msgspec.json.decode(reply) for reply in replies]
    return turns[0] if len(turns) == 1 else turns


def _merged(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The body with what the operator adds; a table is merged with the one it meets."""
    merged = dict(body)
    for name, value in extra.items():
        before = merged.get(name)
        both = isinstance(before, dict) and isinstance(value, dict)
        merged[name] = _merged(before, value) if both else value  # type: ignore[arg-type]  # mypy: both are
    return merged
