"""Chat completions, as OpenAI published them and many others speak them.

https://developers.openai.com/api/reference/resources/chat (requests and replies). Of the search
some add: `annotations` (OpenAI, OpenRouter), `citations` and `search_results` (Perplexity).
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from workers.adapters.base import CaptureRequest
from workers.adapters.composing import Citation, Page
from workers.adapters.prose import Span
from workers.adapters.providers import refusals
from workers.adapters.providers.contract import Heard, ProviderOptions
from workers.adapters.providers.pricing import Spent

_THOUGHT = re.compile(r"\s*<think>.*?(?:</think>\s*|\Z)", re.DOTALL)
"""What a model thinks before it answers, where nobody takes it out: sonar-reasoning, bare vLLM."""
_UNFINISHED = frozenset({"length", "tool_calls", "function_call"})
_MARK = re.compile(r"\[([0-9]{1,3})\](?!\()")


class _Cited(msgspec.Struct):
    url: str = ""
    title: str | None = None
    content: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class _Annotation(msgspec.Struct):
    type: str = ""
    url_citation: _Cited | None = None


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    annotations: list[_Annotation] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    error: dict[str, Any] | str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Amount(msgspec.Struct):
    total_cost: float | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    num_search_queries: int | None = None
    cost: float | _Amount | None = None


class _Result(msgspec.Struct):
    url: str = ""
    title: str | None = None
    snippet: str | None = None


class Reply(msgspec.Struct):
    """A completion; or why there is none, which is told with a status of 200 once it has begun."""

    choices: list[_Choice] = []
    error: dict[str, Any] | str | None = None
    model: str | None = None
    usage: _Usage | None = None
    citations: list[str] | None = None
    search_results: list[_Result] | None = None


_reply = msgspec.json.Decoder(Reply)


def body(options: ProviderOptions, request: CaptureRequest) -> dict[str, Any]:
    """The request without what is said of the search."""
    system = [{"role": "system", "content": options.system}] if options.system is not None else []
    made: dict[str, Any] = {
        "model": options.model,
        "messages": [*system, {"role": "user", "content": request.query}],
    }
    if options.temperature is not None:
        made["temperature"] = options.temperature
    if options.max_output_tokens is not None:
        made["max_tokens"] = options.max_output_tokens
    if options.tools:
        made["tools"] = options.tools
    return made


def read(replies: Sequence[bytes], *, searches: bool) -> Heard:
    """The first choice; `searches` says that whoever wrote it tells of its searches."""
    reply = _reply.decode(replies[-1])
    choice = _choice(reply)
    used = reply.usage or _Usage()
    written = _text(choice.message)
    thought = match.end() if (match := _THOUGHT.match(written)) else 0
    markdown = written[thought:]
    results = _results(reply)
    cited = [*_annotated(choice.message, thought), *_marked(markdown, results)]
    made = used.num_search_queries or 0
    cached = used.prompt_tokens_details.cached_tokens if used.prompt_tokens_details else None
    return Heard(
        markdown=markdown,
        citations=cited,
        retrieved=results,
        label=reply.model,
        searched=bool(made or results or cited) if searches or cited or results else None,
        spent=Spent(
            used.prompt_tokens, used.completion_tokens, made, _amount(used), cached=cached or 0
        ),
        refused=bool(choice.message.refusal) or choice.finish_reason == "content_filter",
        unfinished=choice.finish_reason in _UNFINISHED,
    )


def _choice(reply: Reply) -> _Choice:
    """The first; raises `SurfaceError` where there is an error in its place."""
    if reply.error:
        raise refusals.failed(reply.error)
    if not reply.choices:
        raise msgspec.ValidationError("no choice")
    if reply.choices[0].finish_reason == "error":
        raise refusals.failed(reply.choices[0].error)
    return reply.choices[0]


def _text(message: _Message) -> str:
    match message.content:
        case str() as text if text:
            return text
        case list() as parts:
            return "".join(
                str(part.get("text", "")) for part in parts if part.get("type") == "text"
            )
        case _:
            return message.refusal or ""


def _results(reply: Reply) -> list[Page]:
    """The pages that marks count from one: results, or bare URLs where there are none."""
    if reply.search_results:
        return [Page(one.url, one.title, one.snippet) for one in reply.search_results]
    return [Page(url) for url in reply.citations or ()]


def _annotated(message: _Message, before: int) -> Iterator[Citation]:
    """What the annotations cite; they count from the beginning, with all that was taken out."""
    for one in message.annotations or ():
        if (cited := one.url_citation) is not None and cited.url:
            span = None
            if cited.start_index is not None and cited.end_index is not None:
                span = Span(max(0, cited.start_index - before), cited.end_index - before)
            yield Citation(Page(cited.url, cited.title, cited.content), span)


def _marked(markdown: str, results: Sequence[Page]) -> Iterator[Citation]:
    """`[1]` stands for the first result."""
    for mark in _MARK.finditer(markdown) if results else ():
        number = int(mark[1])
        if 1 <= number <= len(results) and results[number - 1].url:
            yield Citation(results[number - 1], Span(*mark.span()))


def _amount(used: _Usage) -> float | None:
    return used.cost.total_cost if isinstance(used.cost, _Amount) else used.cost
