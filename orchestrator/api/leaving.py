"""When the caller hangs up: a server does not cancel a handler for it."""

from litestar.types import Receive


async def left(receive: Receive) -> None:
    """Return when the caller has hung up; what else they send is not for anybody."""
    while (await receive())["type"] != "http.disconnect":
        pass
