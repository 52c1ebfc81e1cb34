"""Claude, by Anthropic's Messages API with its web search.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool (the tool, its
results, citations, and `pause_turn`: a turn that is to be sent back to go on),
https://platform.claude.com/docs/en/api/versioning (what the versions of the contract differ in). A
citation stands for the whole text block that has it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest
from workers.adapters.composing import Citation, Page
from workers.adapters.prose import Span
from workers.adapters.providers import contract, location
from workers.adapters.providers.answering import Answering, adapter
from workers.adapters.providers.contract import Heard, Place, Provider, ProviderOptions
from workers.adapters.providers.pricing import Spent

VERSION = "2026-10-21"
SAMPLED = "2023-06-01"
"""The version before, the last one that has a `temperature`; models since Claude 4.7 have none."""
SEARCH = "web_search_20250305"
"""The tool whose results the model reads itself; later ones have code of its filter them."""
MOST_TOKENS = 4096
"""Of an answer, where the configuration names no number: the contract wants one."""
_UNFINISHED = frozenset({"max_tokens", "model_context_window_exceeded", "pause_turn", "tool_use"})
"""Why a last turn is not the end: it was one of many, or asks for a tool that we do not run."""


class _Cited(msgspec.Struct):
    type: str = ""
    url: str | None = None
    title: str | None = None
    cited_text: str | None = None


class _Input(msgspec.Struct):
    query: str | None = None


class _Result(msgspec.Struct):
    type: str = ""
    url: str | None = None
    title: str | None = None


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    name: str | None = None
    citations: list[_Cited] | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")
    content: msgspec.Raw = msgspec.Raw(b"[]")


class _Tools(msgspec.Struct):
    web_search_requests: int = 0


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    server_tool_use: _Tools | None = None


class _Message(msgspec.Struct):
    content: list[_Block]
    model: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Turn(msgspec.Struct):
    """A message as it is sent back."""

    content: msgspec.Raw
    stop_reason: str | None = None


_message = msgspec.json.Decoder(_Message)
_turn = msgspec.json.Decoder(_Turn)
_input = msgspec.json.Decoder(_Input)
_results = msgspec.json.Decoder(list[_Result])


class Anthropic(Provider):
    """Anthropic's contract."""

    name = "anthropic"
    key_variable = "ANTHROPIC_API_KEY"
    base_url = "https://api.anthropic.com/v1"
    endpoint = "/messages"

    def headers(self, key: str, options: ProviderOptions) -> dict[str, str]:
        """The key, and the version of the contract."""
        version = VERSION if options.temperature is None else SAMPLED
        return {"x-api-key": key, "anthropic-version": version}

    def place(self, request: CaptureRequest) -> Place:
        """Country and city."""
        return location.approximate(request)

    def body(
        self, options: ProviderOptions, request: CaptureRequest, place: Place
    ) -> dict[str, Any]:
        """The request."""
        made: dict[str, Any] = {
            "model": options.model,
            "max_tokens": options.max_output_tokens or MOST_TOKENS,
            "messages": [{"role": "user", "content": request.query}],
        }
        if options.system is not None:
            made["system"] = options.system
        if options.temperature is not None:
            made["temperature"] = options.temperature
        search = {"type": SEARCH, "name": "web_search", "user_location": place.told}
        if tools := contract.tools(options, search, _searches):
            made["tools"] = tools
        return made

    def read(self, replies: Sequence[bytes]) -> Heard:
        """The texts of all turns one after the other, with what they cite."""
        turns = [_message.decode(reply) for reply in replies]
        said = _Said()
        for turn in turns:
            for block in turn.content:
                said.add(block)
        used = [turn.usage or _Usage() for turn in turns]
        searches = sum(
            one.server_tool_use.web_search_requests for one in used if one.server_tool_use
        )
        return Heard(
            markdown="".join(said.text),
            citations=said.citations,
            retrieved=said.retrieved,
            queries=said.queries,
            label=turns[-1].model,
            searched=said.searched or searches > 0,
            spent=Spent(
                sum(map(_read_tokens, used)),
                sum(one.output_tokens for one in used),
                searches,
                cached=sum(one.cache_read_input_tokens or 0 for one in used),
            ),
            refused=turns[-1].stop_reason == "refusal",
            unfinished=turns[-1].stop_reason in _UNFINISHED,
        )

    def more(self, body: dict[str, Any], reply: bytes) -> dict[str, Any] | None:
        """A turn that paused goes on when it is sent back as it is."""
        turn = _turn.decode(reply)
        if turn.stop_reason != "pause_turn":
            return None
        paused = {"role": "assistant", "content": turn.content}
        return {**body, "messages": [*body["messages"], paused]}


class _Said:
    def __init__(self) -> None:
        self.text: list[str] = []
        self.citations: list[Citation] = []
        self.retrieved: list[Page] = []
        self.queries: list[str] = []
        self.searched = False  # a search that failed has no results, but an error
        self._length = 0
        self._apart = False  # whether a search stands between what was said and what is said next

    def add(self, block: _Block) -> None:
        """Another block of a turn."""
        match block.type:
            case "text" if block.text:
                self._say(block)
            case "server_tool_use" if block.name == "web_search":
                self._apart = True
                if query := _input.decode(block.input).query:
                    self.queries.append(query)
            case "web_search_tool_result" if bytes(block.content).lstrip().startswith(b"["):
                self._apart = self.searched = True
                self.retrieved += [
                    Page(one.url, one.title) for one in _results.decode(block.content) if one.url
                ]

    def _say(self, block: _Block) -> None:
        if self._apart and self.text and not self.text[-1].endswith("\n"):
            self._add("\n\n")
        self._apart = False
        begun = self._length
        self._add(block.text)
        for one in block.citations or ():
            if one.url:
                page = Page(one.url, one.title, one.cited_text)
                self.citations.append(Citation(page, Span(begun, self._length)))

    def _add(self, words: str) -> None:
        self.text.append(words)
        self._length += len(words)


def _searches(tool: dict[str, Any]) -> bool:
    return tool.get("name") == "web_search"


def _read_tokens(used: _Usage) -> int:
    cached = (used.cache_creation_input_tokens or 0) + (used.cache_read_input_tokens or 0)
    return used.input_tokens + cached


def build(config: SurfaceConfig) -> Answering:
    """The adapter of a configured surface; raises `OptionError`."""
    return adapter(config, Anthropic())
