"""Google's generateContent."""
# ruff: noqa: PLC0415 - its package is imported by those who ask for its types

from typing import Any

from pydantic import BaseModel, TypeAdapter

from tests.workers.fakes.saying import LABEL, MODEL, Fake, Said, Told


def tell(said: Said) -> Told:
    pages = list(dict.fromkeys([page for _, some in said.pieces for page in some] + [*said.found]))
    words, supports, cited = "", [], []
    for piece, some in said.pieces:
        begin = len(words.encode())
        words += piece
        if some:
            segment = {"startIndex": begin, "endIndex": len(words.encode()), "text": piece}
            indices = [pages.index(page) for page in some]
            supports.append({"segment": segment, "groundingChunkIndices": indices})
            cited += [(url, piece.replace("**", "")) for url, _ in some]
    grounding = {
        "webSearchQueries": list(said.queries),
        "groundingChunks": [{"web": {"uri": url, "title": title}} for url, title in pages],
        "groundingSupports": supports,
        "searchEntryPoint": {"renderedContent": "<div></div>"},
    }
    candidate: dict[str, Any] = {
        "index": 0,
        "content": {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": words}]},
        "finishReason": "MAX_TOKENS" if said.truncated else "STOP",
    }
    for support in supports:
        support["segment"]["partIndex"] = 1
    if said.queries:
        candidate["groundingMetadata"] = grounding
    reply: dict[str, Any] = {
        "candidates": [candidate],
        "modelVersion": LABEL,
        "responseId": "1",
        "usageMetadata": {
            "promptTokenCount": 900,
            "toolUsePromptTokenCount": 100,
            "candidatesTokenCount": 150,
            "thoughtsTokenCount": 50,
            "totalTokenCount": 1200,
        },
    }
    if said.refused:
        del reply["candidates"]
        reply["promptFeedback"] = {"blockReason": "PROHIBITED_CONTENT"}
    return Told(reply, cited)


def error(status: int, code: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": "API key key-1 not valid.", "status": code}}


def _country(body: dict[str, Any]) -> str | None:
    """The tests ask from a few places only."""
    place = body["toolConfig"]["retrievalConfig"]["latLng"]
    return {51: "GB", 38: "US", 52: "DE"}[int(place["latitude"])]


def _types() -> tuple[TypeAdapter[Any], type[BaseModel]]:
    from google.genai import types

    class Asked(types.GenerateContentConfig):
        """The body of a request, which the package puts together of its configuration."""

        contents: list[types.Content]
        generationConfig: types.GenerationConfig | None = None  # noqa: N815 - the contract's

    return TypeAdapter(Asked), types.GenerateContentResponse


FAKE = Fake(
    adapter="gemini",
    path=f"/models/{MODEL}:generateContent",
    authorized=lambda headers: headers.get("X-Goog-Api-Key") == "key-1",
    query_of=lambda body: body["contents"][0]["parts"][0]["text"],
    country_of=_country,
    tell=tell,
    error=error,
    extra={"labels": {"seen_from": "{country}"}},
    types=_types,
)
