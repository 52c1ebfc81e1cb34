"""Gemini, by Google's generateContent with grounding in Google Search.

https://ai.google.dev/gemini-api/docs/google-search (the tool, `groundingMetadata`),
https://ai.google.dev/api/caching#RetrievalConfig (`latLng`, `languageCode`). It takes a place as
coordinates; what it cites are redirects of Google's with the site's name as their title, and the
segments it cites for count bytes of UTF-8.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest
from workers.adapters.composing import Citation, Page
from workers.adapters.prose import Span
from workers.adapters.providers import contract, coordinates, refusals
from workers.adapters.providers.answering import Answering, adapter
from workers.adapters.providers.contract import Heard, Place, Provider, ProviderOptions
from workers.adapters.providers.pricing import Spent

_REFUSED = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE"}
) | {"ESCALATION", "MODEL_ARMOR", "PUP_LIMITED_DISABLED"}
_FINISHED = frozenset({"STOP", "FINISH_REASON_UNSPECIFIED", None})
_UNFINISHED = frozenset({"MAX_TOKENS", "CONTINUATION"})
"""Any other reason is a failure of the provider's, unless something was said before it."""


class _Record(msgspec.Struct, rename="camel"):
    pass


class _Part(_Record):
    text: str | None = None
    thought: bool = False


class _Content(_Record):
    parts: list[_Part] | None = None


class _Web(_Record):
    uri: str | None = None
    title: str | None = None


class _Chunk(_Record):
    web: _Web | None = None


class _Segment(_Record):
    start_index: int = 0
    end_index: int = 0
    part_index: int = 0
    text: str | None = None


class _Support(_Record):
    segment: _Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class _Grounding(_Record):
    web_search_queries: list[str] | None = None
    grounding_chunks: list[_Chunk] | None = None
    grounding_supports: list[_Support] | None = None


class _Candidate(_Record):
    content: _Content | None = None
    finish_reason: str | None = None
    grounding_metadata: _Grounding | None = None


class _Feedback(_Record):
    block_reason: str | None = None


class _Usage(_Record):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None


class _Reply(_Record):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    model_version: str | None = None


_reply = msgspec.json.Decoder(_Reply)


class Gemini(Provider):
    """Google's contract."""

    name = "google"
    key_variable = "GEMINI_API_KEY"
    base_url = "https://generativelanguage.googleapis.com/v1beta"
    endpoint = ""

    def path(self, options: ProviderOptions) -> str:
        """The model is in it."""
        return f"/models/{quote(options.model.removeprefix('models/'), safe='')}:generateContent"

    def headers(self, key: str, options: ProviderOptions) -> dict[str, str]:  # noqa: ARG002
        """The key, which is kept out of the URL."""
        return {"x-goog-api-key": key}

    def place(self, request: CaptureRequest) -> Place:
        """The coordinates of the country's capital, and the language."""
        found = coordinates.capital(request.country)
        told: dict[str, Any] = {}
        heard = {"language"}
        if found is not None:
            told["latLng"] = {"latitude": found.latitude, "longitude": found.longitude}
            heard.add("country")
            if request.city and _same(found.city, request.city):
                heard.add("city")
        if request.language:
            told["languageCode"] = request.language
        return Place(told, frozenset(heard))

    def body(
        self, options: ProviderOptions, request: CaptureRequest, place: Place
    ) -> dict[str, Any]:
        """The request."""
        made: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": request.query}]}]}
        if options.system is not None:
            made["systemInstruction"] = {"parts": [{"text": options.system}]}
        generation = {
            "temperature": options.temperature,
            "maxOutputTokens": options.max_output_tokens,
        }
        if set_ := {name: value for name, value in generation.items() if value is not None}:
            made["generationConfig"] = set_
        if tools := contract.tools(options, {"googleSearch": {}}, _searches):
            made["tools"] = tools
        if place.told:
            made["toolConfig"] = {"retrievalConfig": place.told}
        return made

    def read(self, replies: Sequence[bytes]) -> Heard:
        """The first candidate; without one the prompt was refused."""
        reply = _reply.decode(replies[-1])
        used = reply.usage_metadata or _Usage()
        candidate = reply.candidates[0] if reply.candidates else _Candidate()
        blocked = bool(reply.prompt_feedback and reply.prompt_feedback.block_reason)
        if not reply.candidates and not blocked:
            raise msgspec.ValidationError("neither a candidate nor a reason")
        parts = (candidate.content.parts if candidate.content else None) or []
        markdown = "".join(map(_said, parts))
        refused = blocked or candidate.finish_reason in _REFUSED
        ended = refused or candidate.finish_reason in _FINISHED
        if not ended and not markdown and candidate.finish_reason not in _UNFINISHED:
            raise refusals.failed({"status": candidate.finish_reason})
        grounding = candidate.grounding_metadata or _Grounding()
        pages = [_page(chunk) for chunk in grounding.grounding_chunks or ()]
        queries = grounding.web_search_queries or []
        return Heard(
            markdown=markdown,
            citations=_cited(parts, grounding.grounding_supports or (), pages),
            retrieved=[page for page in pages if page is not None],
            queries=queries,
            label=reply.model_version,
            searched=bool(queries or pages),
            spent=_spent(used, _charged(reply.model_version or "", len(queries))),
            refused=refused,
            unfinished=not ended,
        )


def _searches(tool: dict[str, Any]) -> bool:
    return "googleSearch" in tool


def _charged(model: str, searches: int) -> int:
    """Searches that are paid for: until Gemini 3 one an answer, however many it took."""
    return min(searches, 1) if model.startswith(("gemini-1", "gemini-2")) else searches


def _same(city: str | None, asked: str) -> bool:
    return city is not None and city.casefold() == asked.casefold()


def _said(part: _Part) -> str:
    return "" if part.thought or part.text is None else part.text


def _page(chunk: _Chunk) -> Page | None:
    return Page(chunk.web.uri, chunk.web.title) if chunk.web and chunk.web.uri else None


def _cited(
    parts: Sequence[_Part], supports: Sequence[_Support], pages: Sequence[Page | None]
) -> list[Citation]:
    """Each support cites several pages for one segment of one part."""
    cited = []
    begins, begin = [], 0
    for part in parts:
        begins.append(begin)
        begin += len(_said(part))
    raw = [_said(part).encode("utf-8", "surrogatepass") for part in parts]
    for support in supports:
        segment = support.segment
        if segment is None or not 0 <= segment.part_index < len(parts):
            continue
        start, end = (
            begins[segment.part_index] + _points(raw[segment.part_index], place)
            for place in (segment.start_index, segment.end_index)
        )
        numbers = support.grounding_chunk_indices or ()
        named = [pages[number] for number in numbers if 0 <= number < len(pages)]
        cited += [Citation(page, Span(start, end)) for page in named if page is not None]
    return cited


def _points(raw: bytes, place: int) -> int:
    """How many code points there are before this byte."""
    return len(raw[: max(0, place)].decode("utf-8", "ignore"))


def _spent(used: _Usage, searches: int) -> Spent:
    """What tools read is read, and what is thought is written."""
    read, written = used.prompt_token_count, used.candidates_token_count
    return Spent(
        None if read is None else read + (used.tool_use_prompt_token_count or 0),
        None if written is None else written + (used.thoughts_token_count or 0),
        searches,
        cached=used.cached_content_token_count or 0,
    )


def build(config: SurfaceConfig) -> Answering:
    """The adapter of a configured surface; raises `OptionError`."""
    return adapter(config, Gemini())
