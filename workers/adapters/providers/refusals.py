"""What a provider's error says: a word of its contract, never its text, which may quote a key."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from workers.errors import SurfaceError

_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{0,63}")  # without a digit, which any key has
_DELAY = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,9})?)s")
_FOR_GOOD = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""Said with a 429, and no patience helps."""
_UNPAID = frozenset({401, 403})
_NO_KEY = frozenset({"API_KEY_INVALID"})
"""Said with a 400."""


def explained(error: SurfaceError, body: bytes, key_variable: str) -> SurfaceError:
    """The failure, with what the error's body says of it."""
    told = _told(body)
    word = next(_words(told), None)
    message = error.message if word is None else f"{error.message} ({word})"
    if error.response_code in _UNPAID or word in _NO_KEY:
        message += f"; check the API key of this surface ({key_variable})"
    after = error.retry_after_seconds
    return SurfaceError(
        error.code,
        message,
        permanent=error.permanent or word in _FOR_GOOD,
        retry_after_seconds=_delay(told) if after is None and not error.permanent else after,
        response_code=error.response_code,
    )


def failed(error: object, *, permanent: bool = False) -> SurfaceError:
    """The failure of a reply with a status of 2xx that holds this error."""
    word = next(_words(error), None) if isinstance(error, dict) else None
    said = "" if word is None else f" ({word})"
    return SurfaceError("BAD_RESPONSE", f"the provider failed to answer{said}", permanent=permanent)


def _told(body: bytes) -> dict[str, Any]:
    """The error of the body: `{"error": {…}}` in all of these contracts, in a list at times."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if isinstance(found, list) and found:
        found = found[0]
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def _words(error: dict[str, Any]) -> Iterator[str]:
    """Its words, the most telling first."""
    reasons = (detail.get("reason") for detail in _details(error))
    for word in (*reasons, *(error.get(name) for name in ("code", "status", "type"))):
        if isinstance(word, str) and _WORD.fullmatch(word):
            yield word


def _delay(error: dict[str, Any]) -> float | None:
    """The `retryDelay` of a `google.rpc.RetryInfo`."""
    for detail in _details(error):
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (match := _DELAY.fullmatch(delay)):
            return float(match[1])
    return None


def _details(error: dict[str, Any]) -> Iterator[dict[str, Any]]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield detail
