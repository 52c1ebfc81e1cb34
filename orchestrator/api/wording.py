"""What pydantic finds wrong with a submission, as a fault: its path, and what is allowed there."""

from typing import Any

from pydantic_core import ErrorDetails

from orchestrator.api.problems import Fault

_BOTH = (
    "regions, priority, delay, deadline, maxAttempts, finish, webhook, group, idempotencyKey,"
    " maxCredits, options, metadata"
)
_REGION = "country, city, language"
_INSIDE = {"finish": "atLeast", "webhook": "url, secret, events"}
"""What may stand in an object by its name; in the others, which are regions, their fields."""


def said(detail: ErrorDetails, *, short: bool) -> Fault:
    """A fault of pydantic's in the words of this API; `short` when the body has the shorthand."""
    place = detail["loc"]
    path = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in place if part != "[key]"
    ).removeprefix(".")
    return Fault(path=path, message=_message(detail, short=short))


_OBJECTS = {
    "Finish": "atLeast",
    "WebhookIn": "url, and perhaps secret and events",
    "CloroPayload": "prompt, and perhaps country",
    "CloroWebhookIn": "url",
}
"""What an object has to have, by its record; one that is not here is a region."""
_WORDS = {
    "missing": "This field is required",
    "string_type": "Must be text",
    "int_type": "Must be a whole number",
    "float_type": "Must be a number",
    "list_type": "Must be a list",
    "dict_type": "Must be an object",
    "model_type": 'Must be a country such as "US", or an object with country, city and language',
    "string_too_short": "At least {min_length} character",
    "string_too_long": "At most {max_length} characters",
    "too_short": "At least {min_length}",
    "too_long": "At most {max_length}",
    "greater_than_equal": "At least {ge}",
    "less_than_equal": "At most {le}",
    "string_pattern_mismatch": "Must match {pattern}",
    "literal_error": "Must be {expected}",
}


def _message(detail: ErrorDetails, *, short: bool) -> str:
    place, kind = detail["loc"], detail["type"]
    if place == ("prompt",) and kind == "extra_forbidden":
        return "Give query or prompt, not both."
    if kind == "extra_forbidden":
        own = _REGION if short else "surfaces"
        inside = _INSIDE.get(str(place[0]), _REGION)
        allowed = inside if len(place) > 1 else f"query (or prompt), {own}, {_BOTH}"
        return f"Unknown field; allowed: {allowed}."
    bounds = {name: _plainly(bound) for name, bound in detail.get("ctx", {}).items()}
    if kind == "model_type" and bounds["class_name"] in _OBJECTS:
        return f"Must be an object with {_OBJECTS[bounds['class_name']]}."
    known = _WORDS.get(kind)
    words = known.format(**bounds) if known else detail["msg"]
    return f"The key: {words}." if place[-1] == "[key]" else f"{words}."


def _plainly(bound: Any) -> Any:
    """60 instead of 60.0."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound
