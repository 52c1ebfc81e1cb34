"""What every response carries: the request's id, the server's version and, with a key, its rate."""

import os
import re
import time
from typing import cast

from litestar.types import Message, Scope

from admission.lots import Lot
from admission.rate import Rate
from orchestrator.api import VERSION, styles

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_VERSION = (b"x-parallax-version", VERSION.encode())


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of this (lower-case) name."""
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


def request_id(scope: Scope) -> str:
    """The caller's id of this request when it is usable, else one made here; the same all along."""
    state = cast("dict[str, str]", scope["state"])
    if "request_id" not in state:
        given = header(scope, b"x-request-id")
        usable = given is not None and _REQUEST_ID.fullmatch(given)
        state["request_id"] = given.decode() if given and usable else os.urandom(12).hex()
    return state["request_id"]


def tell(scope: Scope, rate: Lot | Rate) -> None:
    """Have the response tell this rate: that of a lot as it starts, or one that is said already."""
    cast("dict[str, Lot | Rate]", scope["state"])["rate"] = rate


async def stamp(message: Message, scope: Scope) -> None:
    """Add the common headers to a response that starts; the rate once the key is known."""
    if message["type"] != "http.response.start":
        return
    extra = [(b"x-request-id", request_id(scope).encode()), _VERSION]
    if (style := styles.of(scope)) is not None:
        extra += style.headers(scope)
    known = cast("dict[str, Lot | Rate]", scope["state"]).get("rate")
    if known is not None:
        rate = known.view(time.monotonic(), time.time()) if isinstance(known, Lot) else known
        extra += [
            (b"x-ratelimit-limit", b"%d" % rate.limit),
            (b"x-ratelimit-remaining", b"%d" % rate.remaining),
            (b"x-ratelimit-reset", b"%d" % rate.reset_at),
        ]
    message["headers"] = [*message["headers"], *extra]
