"""The shape of `parallax.toml`: every key there is today; anything else is refused."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import pycountry
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from orchestrator.domain import queues
from orchestrator.domain.dialects.task_types import TaskType
from orchestrator.domain.regions import is_language_tag
from orchestrator.durations import seconds
from orchestrator.surfaces import per_second

_SURFACE = re.compile(r"[a-z][a-z0-9_]{0,39}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROXIES = ("http", "socks4", "socks4a", "socks5", "socks5h")
_LONGEST_TIMEOUT_SECONDS = 3600.0
_LONGEST_SHARED_SECONDS = 7 * 86_400.0
MOST_MENTIONS = 1000
MOST_SLOTS = 1000
"""That a child may take."""


def _surface_name(name: str) -> str:
    if not _SURFACE.fullmatch(name):
        raise ValueError(
            "a surface's name is a-z, 0-9 and _, begins with a letter and has at most 40 characters"
        )
    if name == "batch" or queues.is_queue(name):
        raise ValueError("reserved: a surface is not named `batch`, nor begins with `queue_`")
    return name


def _queue_name(name: str) -> str:
    if not queues.CONFIGURABLE.fullmatch(name):
        raise ValueError(
            "a configured queue's name is a-z, 0-9 and _, begins with a letter and has at most 34"
            " characters; every other queue runs on [queues.default]"
        )
    return name


def _country(code: str) -> str:
    if pycountry.countries.get(alpha_2=code.upper()) is None or len(code) != len("GB"):
        raise ValueError("not a country of ISO 3166-1 alpha-2, such as GB")
    return code


def _once(regions: dict[str, Any]) -> dict[str, Any]:
    if len({country.upper() for country in regions}) < len(regions):
        raise ValueError("a country is named twice, in upper and in lower case")
    return regions


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError("not the name of an HTTP header")
    return name


def _header_value(value: str) -> str:
    if any(character < " " and character != "\t" for character in value) or not value.isascii():
        raise ValueError("a header's value is one line of ASCII")
    return value


def _proxy(url: str) -> str:
    try:
        parts = urlsplit(url)
        whole = parts.scheme in _PROXIES and parts.hostname and parts.port
    except ValueError:
        whole = None
    if not whole:
        raise ValueError(f"a proxy is scheme://host:port with {', '.join(_PROXIES)} as its scheme")
    return url


def _locale(tag: str) -> str:
    if not is_language_tag(tag):
        raise ValueError("not a language tag, such as en-GB")
    return tag


def _rate(written: Any) -> Any:
    per_second(str(written))
    return written


Country = Annotated[str, AfterValidator(_country)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
Headers = dict[Annotated[str, AfterValidator(_header)], HeaderValue]
Concurrency = Annotated[int, Field(ge=1, le=100_000)]
Rate = Annotated[str, BeforeValidator(_rate)]
Timeout = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=_LONGEST_TIMEOUT_SECONDS)]
Shared = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=_LONGEST_SHARED_SECONDS)]


class Table(BaseModel):
    """A table of the file: strict, frozen, closed; neither its errors nor `repr` show a value."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield from ((None, name) for name in sorted(self.model_fields_set))


class RegionTable(Table):
    """`[surfaces.<name>.regions.<CC>]`."""

    proxy: Annotated[str, AfterValidator(_proxy)] | None = None
    headers: Headers = {}
    locale: Annotated[str, AfterValidator(_locale)] | None = None
    concurrency: Concurrency | None = None
    rate: Rate | None = None


class SurfaceTable(Table):
    """`[surfaces.<name>]`."""

    adapter: Annotated[str, Field(min_length=1)]
    concurrency: Concurrency = 100
    rate: Rate | None = None
    slots: Annotated[int, Field(ge=1, le=MOST_SLOTS)] = 1
    timeout: Timeout | None = None
    attempts: Annotated[int, Field(ge=1, le=10)] = 4
    credits: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    coalesce: Shared | None = None
    raw: bool = False
    rodin_name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    mentions: Annotated[list[Name], Field(max_length=MOST_MENTIONS)] = []
    countries: Annotated[list[Country], Field(min_length=1)] | None = None
    options: dict[str, Any] = {}
    regions: Annotated[dict[Country, RegionTable], AfterValidator(_once)] = {}


class QueueTable(Table):
    """`[queues.<name>]`: how the tasks of a queue are called."""

    concurrency: Concurrency = 100
    rate: Rate | None = None
    attempts: Annotated[int, Field(ge=1, le=10)] = 4
    timeout: Timeout = 30.0


class CloroTable(Table):
    """`[cloro]`: the surface that each kind of task is captured from."""

    tasks: dict[TaskType, Annotated[str, AfterValidator(_surface_name)]] = {}


class Document(Table):
    """The whole file."""

    surfaces: dict[Annotated[str, AfterValidator(_surface_name)], SurfaceTable] = {}
    queues: dict[Annotated[str, AfterValidator(_queue_name)], QueueTable] = {}
    cloro: CloroTable = CloroTable()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Something can be asked."""
        if not self.surfaces and not self.queues:
            raise ValueError("no surface is configured, and no queue: begin with [surfaces.<name>]")
        return self

    def faults(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """What its tables say of each other that cannot be so: the keys, and why."""
        for kind, surface in self.cloro.tasks.items():
            if surface not in self.surfaces:
                yield ("cloro", "tasks", kind), f"no surface {surface} is configured"
        taken: dict[str, str] = {}
        for name, table in self.surfaces.items():
            called = table.rodin_name or name
            if called in taken:
                reason = f"Rodin's clients know {taken[called]} by that name; give one another"
                yield ("surfaces", name, "rodin_name"), reason
            taken.setdefault(called, name)
