"""Anthropic's Messages API."""
# ruff: noqa: PLC0415 - its package is imported by those who ask for its types

from typing import Any

from pydantic import BaseModel, TypeAdapter

from tests.workers.fakes.saying import LABEL, Fake, Said, Told


def turn(content: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A whole message around this content."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": LABEL,
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 700,
            "output_tokens": 200,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 200,
            "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
        },
    } | more


def searched(query: str, found: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    """A search and what it found."""
    return [
        {
            "type": "server_tool_use",
            "id": "srvtoolu_1",
            "name": "web_search",
            "input": {"query": query},
        },
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [
                {
                    "type": "web_search_result",
                    "url": url,
                    "title": title,
                    "encrypted_content": "e",
                    "page_age": None,
                }
                for url, title in found
            ],
        },
    ]


def tell(said: Said) -> Told:
    content: list[dict[str, Any]] = []
    for query in said.queries:
        content += searched(query, said.found)
    cited = []
    for words, pages in said.pieces:
        citations = [
            {
                "type": "web_search_result_location",
                "url": url,
                "title": title,
                "cited_text": f"of {title}",
                "encrypted_index": "i",
            }
            for url, title in pages
        ]
        content.append({"type": "text", "text": words, "citations": citations or None})
        cited += [(url, words.replace("**", "")) for url, _ in pages]
    reason = "refusal" if said.refused else "max_tokens" if said.truncated else "end_turn"
    more: dict[str, Any] = {"stop_reason": reason}
    if not said.queries:
        more["usage"] = {"input_tokens": 1000, "output_tokens": 200}
    return Told(turn(content, **more), cited)


def error(status: int, code: str) -> dict[str, Any]:
    said = {"type": code, "message": "invalid x-api-key key-1"}
    return {"type": "error", "error": said, "request_id": "req_1"}


def _country(body: dict[str, Any]) -> str | None:
    tools = body.get("tools", [])
    return tools[0]["user_location"]["country"] if tools else None


def _types() -> tuple[TypeAdapter[Any], type[BaseModel]]:
    from anthropic.types import Message
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    return TypeAdapter(MessageCreateParamsNonStreaming), Message


FAKE = Fake(
    adapter="anthropic",
    path="/messages",
    authorized=lambda headers: (
        headers.get("X-Api-Key") == "key-1"
        and headers.get("Anthropic-Version") in {"2026-10-21", "2023-06-01"}
    ),
    query_of=lambda body: body["messages"][0]["content"],
    country_of=_country,
    tell=tell,
    error=error,
    types=_types,
)
