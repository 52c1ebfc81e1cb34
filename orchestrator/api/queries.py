"""What stands beside the body: unknown query parameters are refused on writes, ignored on reads."""

import base64
import re
from typing import NamedTuple
from urllib.parse import parse_qsl

from litestar.types import Scope

from orchestrator.api.problems import Fault

LARGEST_PAGE = 100


class Wanted(NamedTuple):
    """Which results are asked for: at most `limit`, of the cells after ordinal `after`."""

    limit: int
    after: int
    flat: bool


def of(scope: Scope) -> dict[str, str]:
    """The query parameters; the last wins of those given twice."""
    raw = scope["query_string"]
    return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)) if raw else {}


def of_submission(scope: Scope) -> list[Fault]:
    """The faults beside a submission's body: only `?mode=async` is understood today.

    An idempotency key is refused, not ignored: a client that trusts it would get a second job.
    """
    return [
        *(
            Fault(path="Idempotency-Key", message="Not available; leave it out.")
            for name, _ in scope["headers"]
            if name == b"idempotency-key"
        ),
        *(
            Fault(path=f"?{name}", message="Unknown query parameter; allowed: mode.")
            for name in of(scope)
            if name != "mode"
        ),
        *_mode(of(scope).get("mode", "async")),
    ]


def _mode(mode: str) -> list[Fault]:
    if mode == "async":
        return []
    if mode == "sync":
        message = "Waiting for the answer is not available; submit with mode=async and poll."
        return [Fault(path="?mode", message=message)]
    return [Fault(path="?mode", message="The mode is async.")]


def flat(given: dict[str, str]) -> bool | Fault:
    """Whether `view=flat` is asked for."""
    view = given.get("view")
    if view is None or view == "flat":
        return view == "flat"
    return Fault(path="?view", message="The only view is flat; leave it out for Envelopes.")


def results(given: dict[str, str]) -> Wanted | list[Fault]:
    """The results asked for, or all that is wrong with how."""
    wanted = (_limit(given.get("limit")), _ordinal(given.get("cursor")), flat(given))
    faults = [part for part in wanted if isinstance(part, Fault)]
    limit, after, view = wanted
    if isinstance(limit, Fault) or isinstance(after, Fault) or isinstance(view, Fault):
        return faults
    return Wanted(limit, after, view)


def _limit(text: str | None) -> int | Fault:
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
    if after < 0 or cursor(after) != text:
        return Fault(path="?cursor", message="Not a cursor: send nextCursor as it came.")
    return after
