"""A point of each country: that of its capital."""

from functools import cache
from typing import NamedTuple

from countryinfo import CountryInfo, CountryNotFoundError


class Point(NamedTuple):
    """Degrees north and east, and the city that is there."""

    latitude: float
    longitude: float
    city: str | None


@cache
def capital(country: str) -> Point | None:
    """The capital of a country of ISO 3166-1 alpha-2; None where none is known."""
    try:
        about = CountryInfo(country)
        latitude, longitude = about.capital_latlng()
        return Point(float(latitude), float(longitude), about.capital())
    except (CountryNotFoundError, KeyError, TypeError, ValueError):
        return None
