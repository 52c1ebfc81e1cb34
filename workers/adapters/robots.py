"""What the owners of sites allow robots, by RFC 9309."""

import asyncio
from collections.abc import Awaitable, Callable
from weakref import WeakValueDictionary

import msgspec
from cachetools import TTLCache
from protego import Protego
from yarl import URL

from workers.adapters.http_charset import decode
from workers.egress import MAX_BYTES, MAX_REDIRECTS, Call, Egress
from workers.errors import SurfaceError

KEPT_SECONDS = 3600.0
HEARD_CHARACTERS = 512 * 1024
"""Of the rules of a site; what comes after them is not read."""
_SITES = 4096
_FIRST_SERVER_ERROR = 500
_PATH = "/robots.txt"
_Site = tuple[str, str]


class Robots:
    """The rules of sites, as seen from a country; each is asked for them once an hour."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._rules: TTLCache[_Site, tuple[Protego | None]] = TTLCache(_SITES, KEPT_SECONDS)
        self._asking: WeakValueDictionary[_Site, asyncio.Lock] = WeakValueDictionary()

    def asked(self, country: str, call: Call) -> Callable[[str], Awaitable[None]]:
        """What is asked before each URL of this call, by the name it goes by."""
        home = URL(call.url, encoded=True).origin()
        name = call.headers["user-agent"]

        async def check(url: str) -> None:
            site = URL(url, encoded=True).origin()
            # What a region sends along is for the site it was asked about.
            headers = call.headers if site == home else {"user-agent": name}
            rules = await self._of(country, site, msgspec.structs.replace(call, headers=headers))
            if rules is not None and not rules.can_fetch(url, name):
                reason = "the site's robots.txt asks robots to leave this page alone"
                raise SurfaceError("ROBOTS_DISALLOWED", reason, permanent=True)

        return check

    async def _of(self, country: str, site: URL, call: Call) -> Protego | None:
        """The rules of a site; None where there are none."""
        key = country, str(site)
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            if (kept := self._rules.get(key)) is None:
                kept = self._rules[key] = (await self._fetched(country, site, call),)
            return kept[0]

    async def _fetched(self, country: str, site: URL, call: Call) -> Protego | None:
        """Rules that cannot be read now allow nothing now; a 4xx says that there are none."""
        asking = msgspec.structs.replace(
            call,
            url=str(site.with_path(_PATH)),
            max_bytes=MAX_BYTES,
            max_redirects=MAX_REDIRECTS,
            before=None,
        )
        try:
            reply = await self._egress.fetch(country, asking)
        except SurfaceError as error:
            if _none(error):
                return None
            raise
        text = decode(reply.body, reply.content_type)
        return Protego.parse(text[:HEARD_CHARACTERS])


def _none(error: SurfaceError) -> bool:
    """Whether a site that answers so has no rules: by a 4xx, or by nothing that could be read."""
    if error.response_code is None:
        return error.permanent and error.code in {"BAD_RESPONSE", "RESPONSE_TOO_LARGE"}
    return error.permanent and error.response_code < _FIRST_SERVER_ERROR
