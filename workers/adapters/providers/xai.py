"""Grok, by xAI's Responses API with its web search.

https://docs.x.ai/docs/guides/tools/search-tools (the tool), https://docs.x.ai/developers/tools/citations
(`citations` has every page that was met, annotations those the answer names).
"""

from collections.abc import Sequence
from typing import Any

from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest
from workers.adapters.composing import Citation
from workers.adapters.providers import location, responses
from workers.adapters.providers.answering import Answering, adapter
from workers.adapters.providers.contract import Heard, Place, Provider, ProviderOptions


class XAI(Provider):
    """xAI's contract."""

    name = "x-ai"
    key_variable = "XAI_API_KEY"
    base_url = "https://api.x.ai/v1"
    endpoint = "/responses"

    def place(self, request: CaptureRequest) -> Place:
        """Country and city."""
        return location.approximate(request)

    def body(
        self, options: ProviderOptions, request: CaptureRequest, place: Place
    ) -> dict[str, Any]:
        """The request as OpenAI's is."""
        return responses.body(options, request, place)

    def read(self, replies: Sequence[bytes]) -> Heard:
        """The answer; what xAI calls the title of a page is the number of its mark."""
        heard = responses.read(replies)
        cited = [Citation(one.page._replace(title=None), one.span) for one in heard.citations]
        return heard._replace(citations=cited)


def build(config: SurfaceConfig) -> Answering:
    """The adapter of a configured surface; raises `OptionError`."""
    return adapter(config, XAI())
