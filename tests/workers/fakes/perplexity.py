"""Perplexity's chat completions."""
# ruff: noqa: PLC0415 - its package is imported by those who ask for its types

from typing import Any

from pydantic import BaseModel, TypeAdapter

from tests.workers.fakes.saying import LABEL, Fake, Said, Told, bearer


def tell(said: Said) -> Told:
    known = list(
        dict.fromkeys([page for _, pages in said.pieces for page in pages] + [*said.found])
    )
    words, cited = "", []
    for piece, pages in said.pieces:
        words += piece
        for page in pages:
            number = known.index(page) + 1
            words += f"[{number}]"
            cited.append((page[0], f"[{number}]"))
    answer = {"role": "assistant", "content": words}
    reply = {
        "id": "1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": LABEL,
        "choices": [
            {
                "index": 0,
                "finish_reason": "length" if said.truncated else "stop",
                "message": answer,
                "delta": {"role": "assistant", "content": ""},
            }
        ],
        "citations": [url for url, _ in known],
        "search_results": [
            {"title": title, "url": url, "date": None, "snippet": f"of {title}", "source": "web"}
            for url, title in known
        ],
        "usage": {
            "prompt_tokens": 1000,
            "completion_tokens": 200,
            "total_tokens": 1200,
            "search_context_size": "low",
            "num_search_queries": len(said.queries),
            "cost": {
                "input_tokens_cost": 0.001,
                "output_tokens_cost": 0.0002,
                "request_cost": 0.005,
                "total_cost": 0.0062,
            },
        },
    }
    return Told(reply, cited)


def error(status: int, code: str) -> dict[str, Any]:
    return {"error": {"message": "Invalid API key key-1", "type": code, "code": status}}


def _types() -> tuple[TypeAdapter[Any], type[BaseModel]]:
    from perplexity.types import StreamChunk
    from perplexity.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    return TypeAdapter(CompletionCreateParamsNonStreaming), StreamChunk


FAKE = Fake(
    adapter="perplexity",
    path="/chat/completions",
    authorized=bearer,
    query_of=lambda body: body["messages"][-1]["content"],
    country_of=lambda body: body["web_search_options"]["user_location"]["country"],
    tell=tell,
    error=error,
    extra={"response_metadata": {"user_id": "{country}"}},
    types=_types,
    names_queries=False,
    refuses=False,
)
