"""Surfaces and regions as a shell user writes them (pure)."""

from collections.abc import Iterable

PARTS = ("country", "city", "language")


def names(given: Iterable[str]) -> list[str]:
    """`-s a -s b` and `-s a,b` alike."""
    return [name.strip() for entry in given for name in entry.split(",") if name.strip()]


def region(given: str) -> dict[str, str]:
    """`US`, `US/New York`, `CH/Zürich/de` or `CH//de` as the API's region.

    Raises ValueError with what is expected.
    """
    parts = [part.strip() for part in given.split("/")]
    if not parts[0] or len(parts) > len(PARTS):
        raise ValueError(f"{given!r} is not COUNTRY, COUNTRY/CITY or COUNTRY/CITY/LANGUAGE")
    return {name: part for name, part in zip(PARTS, parts, strict=False) if part}
