"""The language of a place, and the words for it: what a browser there would send, and say."""

from functools import lru_cache

import pycountry
from babel import Locale, UnknownLocaleError
from babel.core import get_global

from orchestrator.domain.regions import is_language_tag
from workers.adapters.base import CaptureRequest

_SHORT = {"HK": "Hong Kong", "MO": "Macao", "PS": "Palestine"}
"""CLDR's short names where its own are of use to nobody; Babel leaves them out."""
_GOOGLE = {"nb": "no", "nn": "no", "he": "iw", "fil": "tl", "jv": "jw"}
"""What Google's `hl` calls a language, where it is not by its ISO 639 code."""
_FIRST_GOOGLE_COUNTRY = 2000


@lru_cache(maxsize=4096)
def locale(country: str, language: str | None) -> str | None:
    """The tag of a language spoken in a country, `en-GB`; None where nothing is known.

    A language that is no tag is passed over: it comes from a client and becomes a header.
    """
    if language is not None and is_language_tag(language):
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


def written(tag: str) -> str:
    """The language of a tag, Chinese by its script: `zh-CN`, `zh-TW`, `en` of `en-GB`."""
    if primary(tag) != "zh":
        return primary(tag)
    parts = tag.lower().split("-")[1:]
    if "hans" in parts or "hant" in parts:
        return "zh-TW" if "hant" in parts else "zh-CN"
    likely = get_global("likely_subtags").get(f"zh_{parts[-1].upper()}", "") if parts else ""
    return "zh-TW" if "Hant" in likely else "zh-CN"


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
        "written_language": written(tag),
        "google_language": _GOOGLE.get(primary(tag), written(tag).lower()),
        "google_country": _numbered(request.country),
        "query_escaped": request.query.replace("%", "%25").replace("+", "%2B"),
    }


@lru_cache(maxsize=512)
def _named(country: str) -> str:
    """The country in English: `Trinidad and Tobago`, `Hong Kong`."""
    name = _SHORT.get(country) or str(Locale("en").territories.get(country, country))
    return name.replace(" & ", " and ").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


@lru_cache(maxsize=512)
def _numbered(country: str) -> str:
    """Google's own number of a country, after that of ISO 3166-1: `2840` for US."""
    found = pycountry.countries.get(alpha_2=country)
    return "0" if found is None else str(_FIRST_GOOGLE_COUNTRY + int(found.numeric))


def _spoken(country: str) -> str | None:
    """The language CLDR expects where nothing but the country is known."""
    try:
        return Locale.parse(f"und_{country}").language
    except (UnknownLocaleError, ValueError):
        return None
