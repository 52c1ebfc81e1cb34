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
from workers.adapters.providers import contract, location, refusals
from workers.adapters.providers.contract import Heard, Place, Provider, ProviderOptions
from workers.adapters.providers.pricing import Spent

_PASSING = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout", None})
_REFUSED = frozenset({"bio_policy", "misalignment_policy_violation"})
_ENDED = frozenset({"completed", "incomplete", None})
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
    """What was done: `search`, `open_page` or `find_in_page`; the first is what is paid for."""

    type: str = ""
    query: str | None = None
    queries: list[str] | None = None
    url: str | None = None
    sources: list[_Found] | None = None


class _Item(msgspec.Struct):
    """An item of the output; what other kinds of items hold is not looked into."""

    type: str = ""
    phase: str | None = None
    status: str | None = None
    content: msgspec.Raw = msgspec.Raw(b"[]")
    action: msgspec.Raw = msgspec.Raw(b"{}")


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None


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


class Responses(Provider):
    """What OpenAI's contract and xAI's have in common."""

    endpoint = "/responses"

    def place(self, request: CaptureRequest) -> Place:
        """Country and city."""
        return location.approximate(request)

    def body(
        self, options: ProviderOptions, request: CaptureRequest, place: Place
    ) -> dict[str, Any]:
        """The request; nothing of it is kept at the provider for later calls."""
        return _body(options, request, place)

    def read(self, replies: Sequence[bytes]) -> Heard:
        """The messages of the answer with their citations, and the searches that were made."""
        return _read(replies)


def _body(options: ProviderOptions, request: CaptureRequest, place: Place) -> dict[str, Any]:
    made: dict[str, Any] = {"model": options.model, "input": request.query, "store": False}
    if options.system is not None:
        made["instructions"] = options.system
    if options.temperature is not None:
        made["temperature"] = options.temperature
    if options.max_output_tokens is not None:
        made["max_output_tokens"] = options.max_output_tokens
    search = {"type": "web_search", "user_location": place.told}
    if tools := contract.tools(options, search, _searches):
        made["tools"] = tools
    return made


def _read(replies: Sequence[bytes]) -> Heard:
    reply = _reply.decode(replies[-1])
    why = _why(reply)
    said = _Said()
    for item in reply.output:
        said.hear(item)
    used = reply.usage or _Usage()
    cached = used.input_tokens_details.cached_tokens if used.input_tokens_details else None
    return Heard(
        markdown="".join(said.text),
        citations=said.citations,
        retrieved=[*map(Page, reply.citations or ()), *said.retrieved],
        queries=said.queries,
        label=reply.model,
        searched=said.searched,
        spent=Spent(used.input_tokens, used.output_tokens, said.searches, cached=cached or 0),
        refused=said.refused or why == "content_filter",
        unfinished=said.interrupted or why not in {None, "content_filter"},
    )


def _why(reply: _Reply) -> str | None:
    """Why there is no whole answer; raises `SurfaceError` where there is none at all."""
    if reply.status == "failed":
        code = reply.error.code if reply.error else None
        if code in _REFUSED:
            return "content_filter"
        raise refusals.failed({"code": code}, permanent=code not in _PASSING)
    if reply.status not in _ENDED:
        # Nobody asks for the rest of what runs in the background, and each attempt costs.
        raise refusals.failed({"code": reply.status}, permanent=True)
    if reply.status == "incomplete":
        return (reply.incomplete_details and reply.incomplete_details.reason) or "unknown"
    return None


def _searches(tool: dict[str, Any]) -> bool:
    return str(tool.get("type", "")).startswith("web_search")


class _Said:
    """The texts of an answer one after the other, what they cite, and what was searched for."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.citations: list[Citation] = []
        self.retrieved: list[Page] = []
        self.queries: list[str] = []
        self.searches = 0
        self.searched = False
        self.refused = False
        self.interrupted = False
        self._length = 0

    def hear(self, item: _Item) -> None:
        """Another item; a function is not ours to call."""
        match item.type:
            case "message" if item.phase != "commentary":
                for content in _contents.decode(item.content):
                    self._say(content)
            case "web_search_call":
                self._search(_action.decode(item.action), well=item.status != "failed")
            case "function_call" | "custom_tool_call":
                self.interrupted = True

    def _search(self, action: _Action, *, well: bool) -> None:
        self.searched |= well
        if action.type == "search":
            self.searches += well
            self.queries += action.queries or ([action.query] if action.query else [])
        found = [one.url for one in action.sources or ()] if action.sources else [action.url]
        self.retrieved += [Page(url) for url in found if url and well]

    def _say(self, content: _Content) -> None:
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
