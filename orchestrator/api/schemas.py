"""The shape of a submission, field by field; `requests` makes a plan of it."""

import unicodedata
from functools import cache
from typing import Annotated, Any

import msgspec
import pycountry
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

LONGEST_QUERY = 10_000
MOST_REGIONS = 50
LARGEST_OPTIONS_BYTES = 16 * 1024
DEEPEST_OPTIONS = 32
MOST_METADATA = 16


@cache
def countries() -> frozenset[str]:
    """The ISO 3166-1 alpha-2 codes, in upper case."""
    return frozenset(country.alpha_2 for country in pycountry.countries)


def _country(code: str) -> str:
    upper = code.upper()
    if upper not in countries():
        raise PydanticCustomError("country", "Not an ISO 3166-1 alpha-2 country, such as US")
    return upper


def _city(name: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise PydanticCustomError("city", "Control characters are not allowed")
    return name


def _region(value: Any) -> Any:
    """The shorthand `"US"` in full."""
    return {"country": value} if isinstance(value, str) else value


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


def _untitled(schema: dict[str, Any]) -> None:
    """Drop pydantic's titles, which repeat the names of the fields."""
    for field in schema["properties"].values():
        field.pop("title", None)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra=_untitled)


class RegionIn(_Strict):
    """Where to capture from: a country in any case, perhaps a city and a language tag."""

    country: Annotated[str, AfterValidator(_country)]
    city: (
        Annotated[
            str,
            StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
            AfterValidator(_city),
        ]
        | None
    ) = None
    language: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", max_length=35),
        ]
        | None
    ) = None


RegionOrCountry = Annotated[
    RegionIn, BeforeValidator(_region, json_schema_input_type=RegionIn | str)
]
Surface = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


def _either(schema: dict[str, Any]) -> None:
    """Say in JSON Schema that `prompt` is another name of `query`, and one of them is required."""
    _untitled(schema)
    schema["properties"]["prompt"] = schema["properties"]["query"]
    schema["required"].remove("query")
    schema["oneOf"] = [{"required": ["query"]}, {"required": ["prompt"]}]


class SubmitRequest(_Strict):
    """The body of `POST /v1/search`. A field that is null is a field left out."""

    model_config = ConfigDict(json_schema_extra=_either)

    query: Annotated[
        str,
        Field(
            validation_alias=AliasChoices("query", "prompt"),
            min_length=1,
            max_length=LONGEST_QUERY,
            description="What to ask; `prompt` is the same field.",
        ),
    ]
    surfaces: Annotated[
        list[Surface], Field(min_length=1, description="Configured surfaces, no repeats.")
    ]
    regions: Annotated[
        list[RegionOrCountry] | None,
        Field(
            min_length=1,
            max_length=MOST_REGIONS,
            description="Where from; the server's default country when left out.",
        ),
    ] = None
    priority: Annotated[
        int | None, Field(ge=1, le=10, description="Higher runs earlier among a key's own work; 5.")
    ] = None
    max_attempts: Annotated[
        int | None,
        Field(
            ge=1,
            le=10,
            validation_alias="maxAttempts",
            description="Attempts of each child; the surface's own number when left out.",
        ),
    ] = None
    options: Annotated[
        dict[Surface, dict[str, Any]] | None,
        BeforeValidator(_options),
        Field(description="By surface, as its `optionsSchema` says; at most 16 KiB."),
    ] = None
    metadata: Annotated[
        dict[MetadataKey, MetadataValue] | None,
        Field(max_length=MOST_METADATA, description="Returned untouched."),
    ] = None
