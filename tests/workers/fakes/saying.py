"""What a fake is to say, whatever its contract, and what is to be found in it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter

MODEL = "model-1"
LABEL = "model-1-2026-11-01"


class Said(NamedTuple):
    """An answer: its words in pieces, each with the pages it is cited for (URL, title)."""

    pieces: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    found: tuple[tuple[str, str], ...] = ()
    queries: tuple[str, ...] = ()
    refused: bool = False
    truncated: bool = False

    @property
    def words(self) -> str:
        """Without any mark of a citation."""
        return "".join(words for words, _ in self.pieces)


class Told(NamedTuple):
    """A reply, and for each citation, in order, the URL and the plain words that its range has."""

    reply: dict[str, Any]
    cited: list[tuple[str, str]]


class Fake(NamedTuple):
    """A contract: where it is called, with what, and how it answers.

    `types` are the provider's own of a request and of a reply, imported by who asks for them: that
    takes a second. The checks raise for what those refuse, or do not know.
    """

    adapter: str
    path: str
    authorized: Callable[[Mapping[str, str]], bool]
    query_of: Callable[[dict[str, Any]], str]
    country_of: Callable[[dict[str, Any]], str | None]
    tell: Callable[[Said], Told]
    error: Callable[[int, str], dict[str, Any]]
    types: Callable[[], tuple[TypeAdapter[Any], type[BaseModel]]]
    extra: Mapping[str, Any] = {"metadata": {"user_id": "{country}"}}
    names_queries: bool = True
    searches: bool = True
    refuses: bool = True

    def check_asked(self, body: dict[str, Any]) -> None:
        """The request is one that the provider's package could have sent, every field known.

        What it reads lazily, its types drop, or read as something else is missed in what it dumps.
        """
        asked, _ = self.types()
        read = asked.validate_python(body)
        dumped = asked.dump_python(
            read, mode="json", by_alias=True, exclude_unset=True, warnings=False
        )
        assert dumped == body

    def check_reply(self, reply: dict[str, Any]) -> None:
        """The reply is one that the provider's package reads, every field of it known."""
        _, replied = self.types()
        assert unknown(replied.model_validate(reply)) == []


def unknown(read: Any, path: str = "") -> list[str]:
    """The fields that a model holds without knowing them."""
    if isinstance(read, BaseModel):
        extra = [f"{path}.{name}" for name in read.model_extra or ()]
        fields = {name: getattr(read, name) for name in type(read).model_fields}
        return extra + [
            one for name, value in fields.items() for one in unknown(value, f"{path}.{name}")
        ]
    if isinstance(read, list | tuple):
        return [one for n, value in enumerate(read) for one in unknown(value, f"{path}[{n}]")]
    return []


def bearer(headers: Mapping[str, str]) -> bool:
    return headers.get("Authorization") == "Bearer key-1"
