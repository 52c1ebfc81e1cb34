"""What a provider's module says of its published contract, and what it is told and gives back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, Field

from orchestrator.configured import Headers, HeaderValue, Timeout
from workers.adapters.base import CaptureRequest, Options
from workers.adapters.composing import Citation, Page
from workers.adapters.http_template import check_url
from workers.adapters.providers.pricing import Prices, Spent
from workers.egress import MAX_BYTES


class Heard(NamedTuple):
    """What a reply says; places count code points of the markdown.

    `label` is the model as the reply names it. `searched` is None where it cannot be told.
    `unfinished`: it ended before the answer did.
    """

    markdown: str
    citations: Sequence[Citation] = ()
    retrieved: Sequence[Page] = ()
    queries: Sequence[str] = ()
    label: str | None = None
    searched: bool | None = None
    spent: Spent = Spent()
    refused: bool = False
    unfinished: bool = False


class Place(NamedTuple):
    """Where a search is told that its user is: its own field, and the parts of a region in it."""

    told: dict[str, Any] | None = None
    heard: frozenset[str] = frozenset()


NOWHERE = Place()


def _base(url: str) -> str:
    check_url(url)
    path, mark, query = url.partition("?")
    return path.rstrip("/") + mark + query


class ProviderOptions(Options):
    """`[surfaces.<name>.options]` of every provider.

    `tools` are sent beside the search; one of them that is the provider's search is merged with
    ours. `extra_body`, its placeholders filled, is merged over the request, table by table.
    """

    model: Annotated[str, Field(min_length=1)]
    api_key: Annotated[HeaderValue, Field(min_length=1)] | None = None
    base_url: Annotated[str, AfterValidator(_base)] | None = None
    system: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    search: bool = True
    tools: list[dict[str, Any]] = Field(default_factory=list)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    headers: Headers = Field(default_factory=dict)
    prices: Prices | None = None
    connect_timeout: Timeout = 10.0
    max_bytes: Annotated[int, Field(ge=1, le=256 * 1024 * 1024)] = MAX_BYTES


class Provider(ABC):
    """A published contract, as most are; one that differs says so.

    `name` is what `genai-prices` calls the provider, `key_variable` where its key is looked for.
    """

    name: ClassVar[str]
    key_variable: ClassVar[str]
    base_url: ClassVar[str]
    endpoint: ClassVar[str]

    def path(self, options: ProviderOptions) -> str:  # noqa: ARG002 - some have the model in it
        """What follows the base URL."""
        return self.endpoint

    def headers(self, key: str, options: ProviderOptions) -> dict[str, str]:  # noqa: ARG002 - some
        """Credentials and versions; names in lower case."""
        return {"authorization": f"Bearer {key}"}

    @abstractmethod
    def place(self, request: CaptureRequest) -> Place:
        """The region asked for as the provider's search takes it."""

    @abstractmethod
    def body(
        self, options: ProviderOptions, request: CaptureRequest, place: Place
    ) -> dict[str, Any]:
        """The request, the query in it as it is."""

    @abstractmethod
    def read(self, replies: Sequence[bytes]) -> Heard:
        """What the turns of an answer say.

        Raises `SurfaceError` for a failure told with a status of 2xx, `msgspec.MsgspecError` for a
        reply that breaks the contract.
        """

    def more(self, body: dict[str, Any], reply: bytes) -> dict[str, Any] | None:  # noqa: ARG002
        """The request for the rest of an answer that paused; None for one that is whole."""
        return None


def tools(
    options: ProviderOptions, search: dict[str, Any], same: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]]:
    """The tools of a request: the search, if any, with what the configuration says of it."""
    if not options.search:
        return options.tools
    own = next(filter(same, options.tools), {})
    return [search | own, *(tool for tool in options.tools if tool is not own)]
