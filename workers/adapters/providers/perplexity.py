"""Perplexity's Sonar models, by their chat completions.

https://docs.perplexity.ai/api-reference/chat-completions-post (`web_search_options.user_location`,
`search_results`, `usage.cost`): every answer is searched for; `[1]` in it is the first result.
"""

from collections.abc import Sequence
from typing import Any

from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest
from workers.adapters.providers import chat
from workers.adapters.providers.answering import Answering, adapter
from workers.adapters.providers.contract import Heard, Place, Provider, ProviderOptions

_HEARD = frozenset({"country", "city", "language"})


class Perplexity(Provider):
    """Perplexity's contract."""

    name = "perplexity"
    key_variable = "PERPLEXITY_API_KEY"
    base_url = "https://api.perplexity.ai"
    endpoint = "/chat/completions"

    def place(self, request: CaptureRequest) -> Place:
        """Country and city; the language as a preference."""
        told: dict[str, Any] = {"country": request.country}
        if request.city:
            told["city"] = request.city
        return Place(told, _HEARD)

    def body(
        self, options: ProviderOptions, request: CaptureRequest, place: Place
    ) -> dict[str, Any]:
        """The request."""
        made = chat.body(options, request)
        if not options.search:
            return made | {"disable_search": True}
        made["web_search_options"] = {"user_location": place.told}
        if request.language:
            made["language_preference"] = request.language
        return made

    def read(self, replies: Sequence[bytes]) -> Heard:
        """The answer."""
        return chat.read(replies, searches=True)


def build(config: SurfaceConfig) -> Answering:
    """The adapter of a configured surface; raises `OptionError`."""
    return adapter(config, Perplexity())
