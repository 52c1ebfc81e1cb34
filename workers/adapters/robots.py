"""What the owners of sites allow robots, by RFC 9309."""

from collections.abc import Awaitable, Callable

import msgspec
from cachetools import TTLCache
from protego import Protego
from yarl import URL

from workers.adapters.http_charset import decode
from workers.egress import Call, Egress
from workers.errors import SurfaceError

KEPT_SECONDS = 3600.0
LARGEST_BYTES = 512 * 1024
_SITES = 4096
_FIRST_SERVER_ERROR = 500
_PATH = "/robots.txt"


class Robots:
    """The rules of sites, as seen from a country; each is asked for them once an hour."""

    def __init__(self, egress: Egress, user_agent: str) -> None:
        self._egress = egress
        self._user_agent = user_agent
        self._rules: TTLCache[tuple[str, str], Protego | None] = TTLCache(_SITES, KEPT_SECONDS)

    def asked(self, country: str, call: Call) -> Callable[[str], Awaitable[None]]:
        """What is asked before each URL of this call."""

        async def check(url: str) -> None:
            rules = await self._of(country, call, URL(url, encoded=True).origin())
            if rules is not None and not rules.can_fetch(url, self._user_agent):
                reason = "the site's robots.txt asks robots to leave this page alone"
                raise SurfaceError("ROBOTS_DISALLOWED", reason, permanent=True)

        return check

    async def _of(self, country: str, call: Call, site: URL) -> Protego | None:
        """The rules of a site; None where there are none."""
        key = country, str(site)
        if key not in self._rules:
            self._rules[key] = await self._fetched(country, call, site)
        return self._rules[key]

    async def _fetched(self, country: str, call: Call, site: URL) -> Protego | None:
        """Rules that cannot be read now allow nothing now; a 4xx says that there are none."""
        asking = msgspec.structs.replace(
            call, url=str(site.with_path(_PATH)), max_bytes=LARGEST_BYTES, before=None
        )
        try:
            reply = await self._egress.fetch(country, asking)
        except SurfaceError as error:
            status = error.response_code
            if status is not None and status < _FIRST_SERVER_ERROR and error.permanent:
                return None
            if error.code == "RESPONSE_TOO_LARGE":
                return None
            raise
        return Protego.parse(decode(reply.body, reply.content_type))
