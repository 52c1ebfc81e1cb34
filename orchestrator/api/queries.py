"""What stands beside the body: unknown query parameters are refused on writes, ignored on reads."""

import base64
import re
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl
from uuid import UUID

from litestar.types import Scope

from orchestrator.api import prefer
from orchestrator.api.prefer import Mode, Waits
from orchestrator.api.problems import Fault
from orchestrator.api.stamps import header
from orchestrator.domain import ids

LARGEST_PAGE = 100
LONGEST_WAIT_SECONDS = 60
IDEMPOTENCY_KEY = "^[!-~]([ -~]{0,253}[!-~])?$"
"""The key in a header, where what is not ASCII would mean what each reader thinks it means."""


class Wanted(NamedTuple):
    """Which results are asked for: at most `limit`, of the cells after ordinal `after`."""

    limit: int
    after: int
    flat: bool


def of(scope: Scope) -> dict[str, str]:
    """The query parameters; the last wins of those given twice."""
    raw = scope["query_string"]
    return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)) if raw else {}


def unknown(scope: Scope) -> list[Fault]:
    """The faults of a write that takes no query parameters."""
    message = "Unknown query parameter; none is allowed."
    return [Fault(path=f"?{name}", message=message) for name in of(scope)]


class Beside(NamedTuple):
    """What stands beside the body of a submission."""

    mode: Mode
    idempotency_key: str | None
    flat: bool


def of_submission(
    scope: Scope, *, default: Literal["async", "sync"], waits: Waits
) -> Beside | list[Fault]:
    """How a submission wants to be answered, or all that is wrong with what stands beside it.

    `default` is the mode of the path.
    """
    given = of(scope)
    faults = [
        Fault(path=f"?{name}", message="Unknown query parameter; allowed: mode, view.")
        for name in given
        if name not in {"mode", "view"}
    ]
    mode, key, view = (_mode(given.get("mode")), idempotency_key(scope), flat(given))
    faults += [part for part in (mode, key, view) if isinstance(part, Fault)]
    if faults or isinstance(mode, Fault) or isinstance(key, Fault) or isinstance(view, Fault):
        return faults
    preferences = prefer.parse(headers(scope, b"prefer"))
    decided = prefer.decide(mode or None, preferences, default=default, waits=waits)
    return Beside(decided, key or None, view)


def _mode(mode: str | None) -> Literal["async", "sync", ""] | Fault:
    match mode:
        case None:
            return ""
        case "async" | "sync":
            return mode
    return Fault(path="?mode", message="The mode is async or sync.")


def idempotency_key(scope: Scope) -> str | Fault:
    """The key of the header, '' without one."""
    given = headers(scope, b"idempotency-key")
    if not given:
        return ""
    if len(set(given)) > 1:
        return Fault(path="Idempotency-Key", message="Given twice and unequal; send one.")
    if not re.fullmatch(IDEMPOTENCY_KEY, given[0]):
        message = "1 to 255 visible ASCII characters, spaces between; others go into the body."
        return Fault(path="Idempotency-Key", message=message)
    return given[0]


def reservation(scope: Scope) -> UUID | None:
    """The reservation the header names; one that nothing can be is ignored as an unknown one is."""
    named = header(scope, b"x-reservation")
    return None if named is None else ids.read_reservation(named.decode("latin-1").strip())


def headers(scope: Scope, name: bytes) -> list[str]:
    """The values of every header of this (lower-case) name, as UTF-8 where they are."""
    return [_text(value).strip() for header, value in scope["headers"] if header == name]


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def flat(given: dict[str, str]) -> bool | Fault:
    """Whether `view=flat` is asked for."""
    view = given.get("view")
    if view is None or view == "flat":
        return view == "flat"
    return Fault(path="?view", message="The only view is flat; leave it out for Envelopes.")


def wait(given: dict[str, str]) -> int | Fault:
    """The seconds a read may be held; 0 when it may not."""
    text = given.get("wait", "0")
    if re.fullmatch("[0-9]{1,2}", text) and int(text) <= LONGEST_WAIT_SECONDS:
        return int(text)
    return Fault(path="?wait", message=f"Whole seconds, 0 to {LONGEST_WAIT_SECONDS}.")


def results(given: dict[str, str]) -> Wanted | list[Fault]:
    """The results asked for, or all that is wrong with how."""
    wanted = (limit(given), _ordinal(given.get("cursor")), flat(given))
    faults = [part for part in wanted if isinstance(part, Fault)]
    most, after, view = wanted
    if isinstance(most, Fault) or isinstance(after, Fault) or isinstance(view, Fault):
        return faults
    return Wanted(most, after, view)


def limit(given: dict[str, str]) -> int | Fault:
    """How many a page may have."""
    text = given.get("limit")
    if text is None:
        return LARGEST_PAGE
    if re.fullmatch("[0-9]{1,3}", text) and 1 <= int(text) <= LARGEST_PAGE:
        return int(text)
    return Fault(path="?limit", message=f"A number from 1 to {LARGEST_PAGE}.")


def cursor(ordinal: int) -> str:
    """The opaque text that stands for 'after this ordinal'."""
    return base64.urlsafe_b64encode(f"o{ordinal}".encode()).decode().rstrip("=")


def _ordinal(text: str | None) -> int | Fault:
    """The ordinal a cursor stands for; 0 without one."""
    if text is None:
        return 0
    try:
        digits = base64.urlsafe_b64decode(text.encode() + b"==").decode().removeprefix("o")
        after = int(digits[:6])
    except ValueError:  # not base64, not UTF-8 or not a number
        after = -1
    return no_cursor() if after < 0 or cursor(after) != text else after


def no_cursor() -> Fault:
    """A cursor that no page ended with."""
    return Fault(path="?cursor", message="Not a cursor: send nextCursor as it came.")
