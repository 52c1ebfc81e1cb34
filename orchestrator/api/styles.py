"""How a part of the API speaks: its errors, and what each of its responses carries.

The native style is that of every path no dialect has.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from litestar import Litestar
from litestar.types import Scope

from orchestrator.api.replies import Header, Reply

Refusing = Callable[[Any, Scope], Reply]
"""Makes the reply of a `Problem`."""


def _none(_: Scope) -> tuple[Header, ...]:
    return ()


class Style(NamedTuple):
    """`any_case`: the scheme of `Authorization` may be written in any case."""

    refuse: Refusing
    headers: Callable[[Scope], Iterable[Header]] = _none
    any_case: bool = True


def of(scope: Scope) -> Style | None:
    """The style of a request; None for the native one.

    The application knows which path has which: also of those at which nothing is served.
    """
    app: Litestar | None = scope.get("litestar_app")
    if app is None:  # it could not even be read
        return None
    known = cast("dict[str, Style | None]", scope["state"])
    if "style" not in known:
        known["style"] = app.state["style_of"](scope["path"])
    return known["style"]
