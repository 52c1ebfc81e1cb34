"""The language of a place, and the words for it: what a browser there would send, and say."""

import re
from functools import lru_cache

from babel import Locale, UnknownLocaleError

from workers.adapters.base import CaptureRequest

_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_LONGEST_TAG = 35


@lru_cache(maxsize=4096)
def locale(country: str, language: str | None) -> str | None:
    """The tag of a language spoken in a country, `en-GB`; None where nothing is known.

    A language that is no tag is passed over: it comes from a client and becomes a header.
    """
    if language is not None and _TAG.fullmatch(language) and len(language) <= _LONGEST_TAG:
        return language if "-" in language else f"{language.lower()}-{country}"
    spoken = _spoken(country)
    return None if spoken is None else f"{spoken}-{country}"


def accept_language(country: str, language: str | None) -> str:
    """For GB: `en-GB,en;q=0.9`; for CH and `fr`: `fr-CH,fr;q=0.9`; empty when nothing is known."""
    tag = locale(country, language)
    return "" if tag is None else f"{tag},{primary(tag)};q=0.9"


def primary(tag: str) -> str:
    """The language of a tag: `en` of `en-GB`."""
    return tag.partition("-")[0].lower()


def values(request: CaptureRequest, own: str | None) -> dict[str, str]:
    """What is filled in for each placeholder of a template; `own` is the region's own locale."""
    tag = locale(request.country, request.language or own) or ""
    name = _named(request.country)
    return {
        "query": request.query,
        "country": request.country,
        "country_lower": request.country.lower(),
        "country_name": name,
        "city": request.city or "",
        "place": f"{request.city}, {name}" if request.city else name,
        "language": request.language or own or "",
        "locale": tag,
        "primary_language": primary(tag),
    }


@lru_cache(maxsize=512)
def _named(country: str) -> str:
    """The country in English, as CLDR calls it."""
    return str(Locale("en").territories.get(country, country))


def _spoken(country: str) -> str | None:
    """The language CLDR expects where nothing but the country is known."""
    try:
        return Locale.parse(f"und_{country}").language
    except (UnknownLocaleError, ValueError):
        return None
