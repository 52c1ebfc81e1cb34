"""Where to capture from, as a submission says it: each field refuses what its JSON Schema does."""

import re
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Any

import pycountry
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.types import StringConstraints
from pydantic_core import PydanticCustomError

from orchestrator.domain.regions import LANGUAGE_TAG, LONGEST_LANGUAGE_TAG

LONGEST_CITY = 100
_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_SPACE = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
CITY = f"^[^{_CONTROL}]*[^{_CONTROL}{_SPACE}][^{_CONTROL}]*$"
"""Something besides spaces, and no control characters."""
_CITY = re.compile(CITY)


@cache
def countries() -> frozenset[str]:
    """The ISO 3166-1 alpha-2 codes, in upper case."""
    return frozenset(country.alpha_2 for country in pycountry.countries)


def _pattern() -> str:
    """What matches exactly these codes, in any case."""
    by_first = groupby(sorted(countries()), key=itemgetter(0))
    groups = (_cased(first) + _cased("".join(c[1] for c in codes)) for first, codes in by_first)
    return f"^(?:{'|'.join(groups)})$"


def _cased(letters: str) -> str:
    return "[" + "".join(letter + letter.lower() for letter in letters) + "]"


COUNTRY = _pattern()


def _country(code: str) -> str:
    upper = code.upper()
    if upper not in countries() or not code.isascii():  # the upper case of ß is SS, South Sudan
        raise PydanticCustomError("country", "Not an ISO 3166-1 alpha-2 country, such as US")
    return upper


def _city(name: str) -> str:
    if not _CITY.fullmatch(name):
        message = "Must have something besides spaces, and no control characters"
        raise PydanticCustomError("city", message)
    return name.strip()


def untitled(schema: dict[str, Any]) -> None:
    """Drop pydantic's titles, which repeat the names of the fields."""
    for field in schema["properties"].values():
        field.pop("title", None)


class Strict(BaseModel):
    """A record read from JSON: nothing is converted, nothing unknown is let through."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,  # it may be a secret
        json_schema_extra=untitled,
    )


Country = Annotated[
    str, Field(json_schema_extra={"pattern": COUNTRY}, examples=["US"]), AfterValidator(_country)
]
City = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_CITY, json_schema_extra={"pattern": CITY}),
    AfterValidator(_city),
]
Language = Annotated[
    str, StringConstraints(pattern=f"^{LANGUAGE_TAG}$", max_length=LONGEST_LANGUAGE_TAG)
]


class RegionIn(Strict):
    """Where to capture from: a country in any case, perhaps a city and a language tag."""

    country: Country
    city: City | None = None
    language: Language | None = None


def _region(value: Any) -> Any:
    """The shorthand `"US"` in full."""
    return {"country": value} if isinstance(value, str) else value


RegionOrCountry = Annotated[
    RegionIn, BeforeValidator(_region, json_schema_input_type=RegionIn | Country)
]
