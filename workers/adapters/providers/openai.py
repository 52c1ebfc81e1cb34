"""ChatGPT's models, by OpenAI's Responses API with its web search.

https://developers.openai.com/api/docs/guides/tools-web-search. A search without `user_location`
would be made as from the United States.
"""

from collections.abc import Sequence
from typing import Any

from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest
from workers.adapters.composing import Citation
from workers.adapters.providers.answering import Answering, adapter
from workers.adapters.providers.contract import Heard, Place, ProviderOptions
from workers.adapters.providers.responses import Responses

_TRACKING = "utm_source=openai"


class OpenAI(Responses):
    """OpenAI's contract."""

    name = "openai"
    key_variable = "OPENAI_API_KEY"
    base_url = "https://api.openai.com/v1"

    def body(
        self, options: ProviderOptions, request: CaptureRequest, place: Place
    ) -> dict[str, Any]:
        """The request, which asks for the pages that a search met, too."""
        made = super().body(options, request, place)
        if options.search:
            made["include"] = ["web_search_call.action.sources"]
        return made

    def read(self, replies: Sequence[bytes]) -> Heard:
        """The answer; the mark that OpenAI adds to the addresses it cites is taken off."""
        heard = super().read(replies)
        return heard._replace(
            citations=[
                Citation(one.page._replace(url=_plain(one.page.url)), one.span)
                for one in heard.citations
            ],
            retrieved=[page._replace(url=_plain(page.url)) for page in heard.retrieved],
        )


def build(config: SurfaceConfig) -> Answering:
    """The adapter of a configured surface; raises `OptionError`."""
    return adapter(config, OpenAI())


def _plain(url: str) -> str:
    """The address without the mark, all else of it as it was."""
    address, hash_, fragment = url.partition("#")
    path, _, query = address.partition("?")
    if _TRACKING not in query:
        return url
    rest = "&".join(pair for pair in query.split("&") if pair != _TRACKING)
    return f"{path}{'?' if rest else ''}{rest}{hash_}{fragment}"
