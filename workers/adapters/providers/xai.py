"""Grok, by xAI's Responses API with its web search.

https://docs.x.ai/docs/guides/tools/search-tools (the tool), https://docs.x.ai/developers/tools/citations
(`citations` has every page that was met, annotations those the answer names).
"""

from collections.abc import Sequence

from orchestrator.surfaces import SurfaceConfig
from workers.adapters.composing import Citation
from workers.adapters.providers.answering import Answering, adapter
from workers.adapters.providers.contract import Heard
from workers.adapters.providers.responses import Responses


class XAI(Responses):
    """xAI's contract."""

    name = "x-ai"
    key_variable = "XAI_API_KEY"
    base_url = "https://api.x.ai/v1"

    def read(self, replies: Sequence[bytes]) -> Heard:
        """The answer; what xAI calls the title of a page is the number of its mark."""
        heard = super().read(replies)
        cited = [Citation(one.page._replace(title=None), one.span) for one in heard.citations]
        return heard._replace(citations=cited)


def build(config: SurfaceConfig) -> Answering:
    """The adapter of a configured surface; raises `OptionError`."""
    return adapter(config, XAI())
