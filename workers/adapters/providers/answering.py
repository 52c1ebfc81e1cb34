"""An answer engine as an adapter: the call, the wording of failures, the capture.

A provider's module says what its published contract says: the body of a request, and what a reply
of it means.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orchestrator.domain import envelope
from orchestrator.domain.envelope import Capture, Method, Model, Provenance, Seen, WebSearch
from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest, now_text, read_options
from workers.adapters.composing import composed
from workers.adapters.http_template import BodyTemplate
from workers.adapters.locales import values
from workers.adapters.normalising import absent
from workers.adapters.places import broadened, told, unheard
from workers.adapters.providers import refusals
from workers.adapters.providers.contract import NOWHERE, Heard, Provider, ProviderOptions
from workers.adapters.providers.pricing import usage
from workers.egress import Call, Egress
from workers.errors import OptionError, SurfaceError

MOST_TURNS = 5
"""Calls that one answer may take of a provider that pauses in the middle of it."""


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
        base, mark, query = (options.base_url or provider.base_url).partition("?")
        self._url = base + provider.path(options) + mark + query
        given = {name.lower(): value for name, value in options.headers.items()}
        own = {"content-type": "application/json", **provider.headers(key, options)}
        self._headers = own | given
        self._extra = BodyTemplate(options.extra_body)
        self._told = told(self._extra.names)
        self._egress = Egress(regions=config.regions)

    async def capture(self, request: CaptureRequest) -> Capture:
        """What it answers, as seen from the region as far as it lets itself be told."""
        own = self._config.region(request.country).locale
        asked = msgspec.structs.replace(
            request,
            query=request.query.encode(errors="replace").decode(),
            language=request.language or own,
        )
        place = self._provider.place(asked) if self._options.search else NOWHERE
        body = _merged(
            self._provider.body(self._options, asked, place), self._extra.fill(values(request, own))
        )
        try:
            replies = await self._replies(request, body)
            return await self._captured(request, place.heard | self._told, replies)
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

    async def _captured(
        self, request: CaptureRequest, heard_of: frozenset[str], replies: Sequence[bytes]
    ) -> Capture:
        heard = self._provider.read(replies)
        effective = request.country if "country" in heard_of else None
        present = bool(heard.markdown.strip())
        answer, evidence = await composed(
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
                region=Seen(requested=request.country, effective=effective),
                surface_present=present,
                captured_at=now_text(),
                usage=usage(
                    self._provider.name, heard.label or options.model, heard.spent, options.prices
                ),
            ),
            raw=_raw(replies) if self._config.raw else None,
            warnings=(
                *broadened(effective, unheard(request, heard_of)),
                *_warnings(heard, present=present),
            ),
        )


def adapter(config: SurfaceConfig, provider: Provider) -> Answering:
    """The adapter of a surface whose key is its own, or the environment's; raises `OptionError`."""
    options = read_options(config, ProviderOptions)
    key = options.api_key or os.environ.get(provider.key_variable, "").strip()
    if not key:
        reason = f"missing: set the environment variable {provider.key_variable}"
        raise OptionError((("api_key",), reason))
    if not (key.isascii() and key.isprintable()):
        reason = f"the environment variable {provider.key_variable} is no key: one line of ASCII is"
        raise OptionError((("api_key",), reason))
    return Answering(config, options, provider, key)


def _warnings(heard: Heard, *, present: bool) -> Iterator[envelope.Warning]:
    if heard.refused:
        yield envelope.Warning(code="refused", message="the provider refused to answer")
    if heard.unfinished:
        yield envelope.Warning(
            code="truncated", message="the provider stopped before the answer was at its end"
        )
    if not present and not heard.refused:
        yield absent()


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
