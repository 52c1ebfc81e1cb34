"""The Responses API, as OpenAI and xAI publish it.

https://developers.openai.com/api/docs/guides/tools-web-search (the search tool, its citations),
https://developers.openai.com/api/reference/resources/responses (requests and replies).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from workers.adapters.base import CaptureRequest
from workers.adapters.composing import Citation, Page
from workers.adapters.prose import Span
from workers.adapters.providers.answering import Heard, Place, ProviderOptions
from workers.adapters.providers.pricing import Spent
from workers.errors import SurfaceError

_PASSING = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout"})
_BETWEEN = "\n\n"


class _Annotation(msgspec.Struct):
    type: str = ""
    url: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class _Content(msgspec.Struct):
    type: str = ""
    text: str = ""
    refusal: str = ""
    annotations: list[_Annotation] = []


class _Found(msgspec.Struct):
    url: str | None = None


class _Action(msgspec.Struct):
    type: str = ""
    query: str | None = None
    queries: list[str] | None = None
    url: str | None = None
    sources: list[_Found] | None = None


class _Item(msgspec.Struct):
    """An item of the output; what other kinds of items hold is not looked into."""

    type: str = ""
    phase: str | None = None
    content: msgspec.Raw = msgspec.Raw(b"[]")
    action: msgspec.Raw = msgspec.Raw(b"{}")


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Why(msgspec.Struct):
    reason: str | None = None


class _Error(msgspec.Struct):
    code: str | None = None


class _Reply(msgspec.Struct):
    output: list[_Item]
    model: str | None = None
    status: str | None = None
    incomplete_details: _Why | None = None
    error: _Error | None = None
    usage: _Usage | None = None
    citations: list[str] | None = None


_reply = msgspec.json.Decoder(_Reply)
_contents = msgspec.json.Decoder(list[_Content])
_action = msgspec.json.Decoder(_Action)


def body(options: ProviderOptions, request: CaptureRequest, place: Place) -> dict[str, Any]:
    """The request; nothing of it is kept at the provider for later calls."""
    made: dict[str, Any] = {"model": options.model, "input": request.query, "store": False}
    if options.system is not None:
        made["instructions"] = options.system
    if options.temperature is not None:
        made["temperature"] = options.temperature
    if options.max_output_tokens is not None:
        made["max_output_tokens"] = options.max_output_tokens
    search = [{"type": "web_search", "user_location": place.told}] if options.search else []
    if tools := [*search, *options.tools]:
        made["tools"] = tools
    return made


def read(replies: Sequence[bytes]) -> Heard:
    """The messages of the answer with their citations, and the searches that were made."""
    reply = _reply.decode(replies[-1])
    if reply.status == "failed":
        raise _failed(reply.error)
    said = _Said()
    queries: list[str] = []
    retrieved = [Page(url) for url in reply.citations or ()]
    searches = 0
    for item in reply.output:
        if item.type == "message" and item.phase != "commentary":
            for content in _contents.decode(item.content):
                said.add(content)
        elif item.type == "web_search_call":
            searches += 1
            action = _action.decode(item.action)
            queries += _queries(action)
            retrieved += [Page(one.url) for one in action.sources or () if one.url]
    why = reply.incomplete_details.reason if reply.incomplete_details else None
    used = reply.usage or _Usage()
    return Heard(
        markdown="".join(said.text),
        citations=said.citations,
        retrieved=retrieved,
        queries=queries,
        label=reply.model,
        searched=searches > 0,
        spent=Spent(used.input_tokens, used.output_tokens, searches),
        refused=said.refused or why == "content_filter",
        truncated=why == "max_output_tokens",
    )


class _Said:
    """The texts of an answer one after the other, and what they cite."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.citations: list[Citation] = []
        self.refused = False
        self._length = 0

    def add(self, content: _Content) -> None:
        """Another part."""
        if content.type == "refusal":
            self.refused = True
            self._add(content.refusal)
        elif content.type == "output_text":
            begun = self._add(content.text)
            self.citations += _cited(content, begun)

    def _add(self, words: str) -> int:
        """Where these words begin."""
        if not words:
            return self._length
        if self.text:
            self.text.append(_BETWEEN)
            self._length += len(_BETWEEN)
        begun = self._length
        self.text.append(words)
        self._length += len(words)
        return begun


def _cited(content: _Content, begun: int) -> Iterator[Citation]:
    for one in content.annotations:
        if one.type == "url_citation" and one.url:
            span = None
            if one.start_index is not None and one.end_index is not None:
                end = min(one.end_index, len(content.text))
                span = Span(begun + max(0, one.start_index), begun + end)
            yield Citation(Page(one.url, one.title or None), span)


def _queries(action: _Action) -> list[str]:
    if action.type != "search":
        return []
    return action.queries or ([action.query] if action.query else [])


def _failed(error: _Error | None) -> SurfaceError:
    code = error.code if error and error.code else "unknown"
    return SurfaceError(
        "BAD_RESPONSE",
        f"the provider failed to answer ({code[:64]})",
        permanent=code not in _PASSING and code != "unknown",
    )
