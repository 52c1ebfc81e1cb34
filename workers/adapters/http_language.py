"""`Accept-Language` for a region: the language asked for, else the country's own."""

import re
from functools import lru_cache

from babel import Locale, UnknownLocaleError

_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")


@lru_cache(maxsize=4096)
def accept_language(country: str, language: str | None) -> str:
    """For GB: `en-GB,en;q=0.9`; for CH and `fr`: `fr-CH,fr;q=0.9`; empty when nothing is known.

    A language that is no tag is passed over: it comes from a client and becomes a header.
    """
    if language is not None and _TAG.fullmatch(language) and len(language) <= len("x" * 35):
        tag = language if "-" in language else f"{language.lower()}-{country}"
    elif (spoken := _spoken(country)) is not None:
        tag = f"{spoken}-{country}"
    else:
        return ""
    primary = tag.partition("-")[0].lower()
    return f"{tag},{primary};q=0.9"


def _spoken(country: str) -> str | None:
    """The language CLDR expects where nothing but the country is known."""
    try:
        return Locale.parse(f"und_{country}").language
    except (UnknownLocaleError, ValueError):
        return None
