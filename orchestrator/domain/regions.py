"""Regions: a country, perhaps a city and a language, and the token that names one in ids."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

import msgspec
from slugify import slugify

LANGUAGE_TAG = r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*"
LONGEST_LANGUAGE_TAG = 35
"""Characters: what BCP 47 tells software to make room for."""
_TAG = re.compile(LANGUAGE_TAG)


class Region(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a cell is captured from: upper-case ISO 3166-1 alpha-2, a city, a language tag."""

    country: str
    city: str | None = None
    language: str | None = None

    @property
    def identity(self) -> tuple[str, str | None, str | None]:
        """Equal for two regions that are the same to a reader (city case-folded and NFC)."""
        return (self.country, _fold(self.city), _fold(self.language))


def tokens(regions: Iterable[Region]) -> tuple[str, ...]:
    """A distinct id part for each region: `us`, `us_new-york`, `us_new-york_en`, `us__en`.

    An empty slug or a clash gets `-2`, `-3` … in order.
    """
    taken: set[str] = set()
    made = []
    for region in regions:
        base, n = _token(region), 2 if _vague(region) else 1
        while (token := base if n == 1 else f"{base}-{n}") in taken:
            n += 1
        taken.add(token)
        made.append(token)
    return tuple(made)


def is_language_tag(text: str) -> bool:
    """True for `en` and `zh-Hant-TW`; whether anyone speaks it is not asked."""
    return len(text) <= LONGEST_LANGUAGE_TAG and _TAG.fullmatch(text) is not None


def _token(region: Region) -> str:
    token = region.country.lower()
    if region.city is None and region.language is None:
        return token
    token += "_" + _slug(region.city or "", 80)
    if region.language is not None:
        token += "_" + _slug(region.language, 40)
    return token


@lru_cache(maxsize=4096)
def _slug(text: str, longest: int) -> str:
    """Transliterating costs some 20 µs, and the same cities come again and again."""
    return slugify(text, max_length=longest)


def _vague(region: Region) -> bool:
    """True when a city is named whose slug is empty: the bare token would be another region's."""
    return region.city is not None and not _slug(region.city, 80)


def _fold(text: str | None) -> str | None:
    return None if text is None else unicodedata.normalize("NFC", text).casefold()
