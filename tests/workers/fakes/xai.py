"""xAI's Responses API: OpenAI's, with marks of its own and a list of all pages that were met."""

from typing import Any

from pydantic import BaseModel, TypeAdapter

from tests.workers.fakes import openai
from tests.workers.fakes.saying import Fake, Said, Told, bearer


def tell(said: Said) -> Told:
    words, annotations, cited = "", [], []
    for piece, pages in said.pieces:
        words += piece
        for url, _ in pages:
            number = len(annotations) + 1
            mark = f"[[{number}]]({url})"
            annotations.append(
                {
                    "type": "url_citation",
                    "start_index": len(words),
                    "end_index": len(words) + len(mark),
                    "url": url,
                    "title": str(number),
                }
            )
            cited.append((url, f"[{number}]"))
            words += mark
    searches = [
        {
            "type": "web_search_call",
            "id": f"ws_{n}",
            "status": "completed",
            "action": {"type": "search", "query": query, "sources": []},
        }
        for n, query in enumerate(said.queries)
    ]
    content = [openai.text(words, *annotations)]
    if said.refused:
        content = [{"type": "refusal", "refusal": said.words}]
    more: dict[str, Any] = {"citations": [url for url, _ in said.found]}
    if said.truncated:
        more |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return Told(openai.response([*searches, openai.message(*content)], **more), cited)


def _types() -> tuple[TypeAdapter[Any], type[BaseModel]]:
    asked, response = openai.FAKE.types()

    class Answer(response):  # type: ignore[misc, valid-type]  # a class as a value
        """https://docs.x.ai/developers/tools/citations: what OpenAI's type has not."""

        citations: list[str]

    return asked, Answer


FAKE = Fake(
    adapter="xai",
    path="/responses",
    authorized=bearer,
    query_of=lambda body: body["input"],
    country_of=openai.FAKE.country_of,
    tell=tell,
    error=openai.error,
    types=_types,
)
