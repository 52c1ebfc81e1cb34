"""Any server that speaks OpenAI's chat completions: Ollama, vLLM, Azure OpenAI, OpenRouter.

https://developers.openai.com/api/reference/resources/chat, and for what searches add
https://openrouter.ai/docs/guides/features/plugins/web-search. Where its user is cannot be told to
all of them in one way: an `extra_body` with `{country}`, `{city}` and `{language}` in it does.
"""

from collections.abc import Sequence
from typing import Any

from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest, read_options
from workers.adapters.http_template import BodyTemplate
from workers.adapters.places import told, unheard
from workers.adapters.providers import chat
from workers.adapters.providers.answering import Answering, Heard, Place, Provider, ProviderOptions
from workers.errors import OptionError


class Compatible(Provider):
    """Their common contract, which knows neither a search nor a place."""

    name = "openai"
    key_variable = "options.api_key"
    base_url = ""
    endpoint = "/chat/completions"

    def __init__(self, extra_body: dict[str, Any]) -> None:
        self._told = told(BodyTemplate(extra_body).names)

    def headers(self, key: str) -> dict[str, str]:
        """The key as a bearer token; a server of one's own may want none."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def place(self, request: CaptureRequest) -> Place:
        """What of the region the operator's body tells."""
        effective = request.country if "country" in self._told else None
        return Place(None, effective, unheard(request, self._told))

    def body(
        self,
        options: ProviderOptions,
        request: CaptureRequest,
        place: Place,  # noqa: ARG002 - it is in the body that the operator adds
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
    return Answering(config, options, Compatible(options.extra_body), options.api_key or "")
