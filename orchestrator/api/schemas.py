"""The shape of a submission, field by field; `requests` makes a plan of it."""

from typing import Annotated, Any

import msgspec
from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from orchestrator.api.regions import City, Country, Language, RegionOrCountry, Strict, untitled
from orchestrator.api.webhooks import WebhookIn

LONGEST_QUERY = 10_000
LONGEST_IDEMPOTENCY_KEY = 255
MOST_REGIONS = 50
LARGEST_OPTIONS_BYTES = 16 * 1024
DEEPEST_OPTIONS = 32
MOST_METADATA = 16
LONGEST_SECONDS = 7 * 86_400
MOST_CREDITS = 2**53 - 1
"""The largest whole number every reader of JSON reads as it was written."""
GROUP = r"^[A-Za-z0-9._-]{1,64}$"
SURFACE = r"^[a-z][a-z0-9_]{0,39}$"
STORABLE = r"^[^\u0000]*$"
"""Text PostgreSQL can keep; lone surrogates, which it cannot keep either, no pattern can say."""


def whole(value: Any) -> Any:
    """A whole number, also when it is written 5.0: to JSON Schema that is an integer.

    As a validator it stands behind the bounds, which would else not be told in JSON Schema's words.
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, looking no further than is allowed."""
    depth, level = 0, [value]
    while level and depth <= DEEPEST_OPTIONS:
        inside = [item for item in level if isinstance(item, list | dict)]
        level = [part for item in inside for part in _parts(item)]
        depth += bool(inside)
    return depth


def _parts(item: list[Any] | dict[str, Any]) -> list[Any]:
    return list(item.values()) if isinstance(item, dict) else item


def _options(options: Any) -> Any:
    if _depth(options) > DEEPEST_OPTIONS:
        raise PydanticCustomError("options", f"At most {DEEPEST_OPTIONS} levels deep")
    if len(msgspec.json.encode(options)) > LARGEST_OPTIONS_BYTES:
        raise PydanticCustomError("options", f"At most {LARGEST_OPTIONS_BYTES:,} bytes as JSON")
    return options


_STORABLE = Field(json_schema_extra={"pattern": STORABLE})  # `bodies` refuses what it cannot store
_UNIQUE = Field(json_schema_extra={"uniqueItems": True})  # `requests` says which repeats which
Surface = Annotated[str, StringConstraints(pattern=SURFACE)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64), _STORABLE]
MetadataValue = Annotated[str, StringConstraints(max_length=512), _STORABLE]
OneToTen = Annotated[int, Field(ge=1, le=10), BeforeValidator(whole)]
Cells = Annotated[int, Field(ge=1), BeforeValidator(whole)]
Credits = Annotated[int, Field(ge=0, le=MOST_CREDITS), BeforeValidator(whole)]
Delay = Annotated[float, Field(ge=0, le=LONGEST_SECONDS)]
Deadline = Annotated[float, Field(ge=1, le=LONGEST_SECONDS)]
Group = Annotated[str, StringConstraints(pattern=GROUP)]


def _by_name(schema: dict[str, Any]) -> None:
    """Say of an object's keys that each must match, where pydantic says what those that do hold."""
    ((pattern, values),) = schema.pop("patternProperties").items()
    schema["propertyNames"] = {**schema.get("propertyNames", {}), "pattern": pattern}
    schema["additionalProperties"] = values


_BY_NAME = Field(json_schema_extra=_by_name)
Options = Annotated[dict[Surface, dict[str, Any]], _BY_NAME, BeforeValidator(_options)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MOST_METADATA), _BY_NAME]
IdempotencyKey = Annotated[str, Field(min_length=1, max_length=LONGEST_IDEMPOTENCY_KEY), _STORABLE]
Regions = Annotated[list[RegionOrCountry], Field(min_length=1, max_length=MOST_REGIONS), _UNIQUE]


def _either(schema: dict[str, Any]) -> None:
    """Say in JSON Schema that `prompt` is another name of `query`, and one of them is required."""
    untitled(schema)
    schema["properties"]["prompt"] = schema["properties"]["query"]
    schema["required"] = [name for name in schema["required"] if name != "query"]
    schema["oneOf"] = [{"required": ["query"]}, {"required": ["prompt"]}]


def _one_place(schema: dict[str, Any]) -> None:
    """Say besides that the shorthand stands instead of `regions`."""
    _either(schema)
    absent = {"type": "null"}
    schema["anyOf"] = [
        {"properties": {"regions": absent}},
        {"properties": dict.fromkeys(("country", "city", "language"), absent)},
    ]


class Finish(Strict):
    """When a job is finished before all its cells are."""

    at_least: Annotated[
        Cells,
        Field(
            validation_alias="atLeast",
            description="So many completed cells are enough: the rest is canceled.",
        ),
    ]


class _Submission(Strict):
    """What both paths take."""

    query: Annotated[
        str,
        Field(
            validation_alias=AliasChoices("query", "prompt"),
            min_length=1,
            max_length=LONGEST_QUERY,
            description="What to ask; `prompt` is the same field.",
        ),
        _STORABLE,
    ]
    regions: Annotated[
        Regions | None,
        Field(description="Where from; the server's default country when left out."),
    ] = None
    priority: Annotated[
        OneToTen | None, Field(description="Higher runs earlier among a key's own work; 5.")
    ] = None
    delay: Annotated[
        Delay | None,
        Field(description="Seconds before it may leave the queue, where it holds its place; 0."),
    ] = None
    deadline: Annotated[
        Deadline | None,
        Field(
            description="Seconds from acceptance, more than `delay`, after which what has not"
            " ended expires.",
        ),
    ] = None
    finish: Annotated[Finish | None, Field(description="All cells when left out.")] = None
    webhook: Annotated[
        WebhookIn | None, Field(description="Tells of the cells and the job when they end.")
    ] = None
    group: Annotated[Group | None, Field(description="A handle on many jobs.")] = None
    max_credits: Annotated[
        Credits | None,
        Field(validation_alias="maxCredits", description="Refused when it may cost more."),
    ] = None
    max_attempts: Annotated[
        OneToTen | None,
        Field(
            validation_alias="maxAttempts",
            description="Attempts of each child; the surface's own number when left out.",
        ),
    ] = None
    options: Annotated[
        Options | None,
        Field(description="By surface, as its `optionsSchema` says; at most 16 KiB."),
    ] = None
    metadata: Annotated[Metadata | None, Field(description="Returned untouched.")] = None
    idempotency_key: Annotated[
        IdempotencyKey | None,
        Field(
            validation_alias="idempotencyKey",
            description="The same submission sent again under it is the same job.",
        ),
    ] = None


class SubmitRequest(_Submission):
    """The body of `POST /v1/search`. Null is left out; of a field given twice the last counts."""

    model_config = ConfigDict(json_schema_extra=_either)

    surfaces: Annotated[
        list[Surface],
        Field(min_length=1, description="Configured surfaces, no repeats."),
        _UNIQUE,
    ]


class SurfaceRequest(_Submission):
    """The body of `POST /v1/search/{surface}`: one region in short, or several in `regions`."""

    model_config = ConfigDict(json_schema_extra=_one_place)

    country: Annotated[
        Country | None, Field(description="The server's default country when left out.")
    ] = None
    city: City | None = None
    language: Language | None = None
