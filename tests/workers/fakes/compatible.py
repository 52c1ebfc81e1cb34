"""Chat completions as OpenRouter answers them, with the annotations of a search."""
# ruff: noqa: PLC0415 - its package is imported by those who ask for its types

from typing import Any

from pydantic import BaseModel, TypeAdapter

from tests.workers.fakes.saying import LABEL, Fake, Said, Told, bearer


def tell(said: Said) -> Told:
    words, annotations, cited = "", [], []
    for piece, pages in said.pieces:
        words += piece
        for url, title in pages:
            mark = f"[{title}]({url})"
            place = {"start_index": len(words), "end_index": len(words) + len(mark)}
            citation = place | {"url": url, "title": title}
            annotations.append({"type": "url_citation", "url_citation": citation})
            cited.append((url, title))
            words += mark
    message: dict[str, Any] = {"role": "assistant", "content": words, "refusal": None}
    if said.refused:
        message |= {"content": None, "refusal": said.words}
    if annotations:
        message["annotations"] = annotations
    choice = {
        "index": 0,
        "finish_reason": "length" if said.truncated else "stop",
        "logprobs": None,
        "message": message,
    }
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
    reply = {
        "id": "1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": LABEL,
        "choices": [choice],
        "usage": usage,
    }
    return Told(reply, cited)


def error(status: int, code: str) -> dict[str, Any]:
    return {"error": {"message": "Bad key key-1", "type": code, "code": code}}


def _types() -> tuple[TypeAdapter[Any], type[BaseModel]]:
    from openai.types.chat import ChatCompletion
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    return TypeAdapter(CompletionCreateParamsNonStreaming), ChatCompletion


FAKE = Fake(
    adapter="openai_compatible",
    path="/chat/completions",
    authorized=bearer,
    query_of=lambda body: body["messages"][-1]["content"],
    country_of=lambda body: None,
    tell=tell,
    error=error,
    types=_types,
    names_queries=False,
    searches=False,
)
