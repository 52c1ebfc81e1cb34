"""OpenAI's Responses API."""
# ruff: noqa: PLC0415 - its package is imported by those who ask for its types

from typing import Any

from pydantic import BaseModel, TypeAdapter

from tests.workers.fakes.saying import LABEL, Fake, Said, Told, bearer


def response(output: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A whole response around this output."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1764000000.0,
        "status": "completed",
        "model": LABEL,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [{"type": "web_search"}],
        "error": None,
        "incomplete_details": None,
        "usage": {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 200,
            "output_tokens_details": {"reasoning_tokens": 50},
            "total_tokens": 1200,
        },
    } | more


def message(*content: dict[str, Any], phase: str | None = None) -> dict[str, Any]:
    """A message of the answer."""
    whole = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": list(content),
    }
    return whole | ({"phase": phase} if phase else {})


def text(words: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": list(annotations), "logprobs": []}


def tell(said: Said) -> Told:
    words, annotations, cited = "", [], []
    for piece, pages in said.pieces:
        words += piece
        for url, title in pages:
            address = f"{url}{'&' if '?' in url else '?'}utm_source=openai"
            mark = f"([{title}]({address}))"
            annotations.append(
                {
                    "type": "url_citation",
                    "start_index": len(words),
                    "end_index": len(words) + len(mark),
                    "url": address,
                    "title": title,
                }
            )
            cited.append((url, f"({title})"))
            words += mark
    searches = [
        {
            "type": "web_search_call",
            "id": f"ws_{n}",
            "status": "completed",
            "action": {
                "type": "search",
                "query": query,
                "queries": [query],
                "sources": [{"type": "url", "url": url} for url, _ in said.found],
            },
        }
        for n, query in enumerate(said.queries)
    ]
    content = [text(words, *annotations)]
    if said.refused:
        content = [{"type": "refusal", "refusal": said.words}]
    why = {}
    if said.truncated:
        why = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    return Told(response([reasoning, *searches, message(*content)], **why), cited)


def error(status: int, code: str) -> dict[str, Any]:
    said = {"message": "Incorrect API key provided: key-1.", "type": code, "param": None}
    return {"error": said | {"code": code}}


def _country(body: dict[str, Any]) -> str | None:
    tools = body.get("tools", [])
    return tools[0]["user_location"]["country"] if tools else None


def _types() -> tuple[TypeAdapter[Any], type[BaseModel]]:
    from openai.types.responses import Response
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    return TypeAdapter(ResponseCreateParamsNonStreaming), Response


FAKE = Fake(
    adapter="openai",
    path="/responses",
    authorized=bearer,
    query_of=lambda body: body["input"],
    country_of=_country,
    tell=tell,
    error=error,
    types=_types,
)
