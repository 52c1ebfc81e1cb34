"""Any server that speaks OpenAI's chat completions: Ollama, vLLM, Azure OpenAI, OpenRouter.

https://developers.openai.com/api/reference/resources/chat, and for what searches add
https://openrouter.ai/docs/guides/features/plugins/web-search. Where its user is cannot be told to
all of them in one way: an `extra_body` with `{country}`, `{city}` and `{language}` in it does.
A key goes along as a bearer token; for another header (`api-key`) there is `headers`, and what a
server wants in its query (`api-version`) stands at the end of `base_url`.
"""

from collections.abc import Sequence
from typing import Any

from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest, read_options
from workers.adapters.providers import chat
from workers.adapters.providers.answering import Answering
from workers.adapters.providers.contract import NOWHERE, Heard, Place, Provider, ProviderOptions
from workers.errors import OptionError


class Compatible(Provider):
    """Their common contract, which knows neither a search nor a place."""

    name = "openai"
    key_variable = "options.api_key"
    base_url = ""
    endpoint = "/chat/completions"

    def headers(self, key: str, options: ProviderOptions) -> dict[str, str]:  # noqa: ARG002
        """The key as a bearer token; a server of one's own may want none."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def place(self, request: CaptureRequest) -> Place:  # noqa: ARG002 - there is no field for it
        """None: all of the region that is told is in the body that the operator adds."""
        return NOWHERE

    def body(
        self,
        options: ProviderOptions,
        request: CaptureRequest,
        place: Place,  # noqa: ARG002 - as above
    ) -> dict[str, Any]:
        """The request."""
        return chat.body(options, request)

    def read(self, replies: Sequence[bytes]) -> Heard:
        """The answer."""
        return chat.read(replies, searches=False)


def build(config: SurfaceConfig) -> Answering:
    """The adapter of a configured surface; raises `OptionError`."""
    options = read_options(config, ProviderOptions)
    if options.base_url is None:
        reason = "missing: where the server is, up to and with its /v1"
        raise OptionError((("base_url",), reason))
    return Answering(config, options, Compatible(), options.api_key or "")
