"""Who asks: `Authorization: Bearer <key>`, looked up at most once in two seconds a process."""

import hashlib

from litestar.types import ASGIApp, Receive, Scope, Send

from admission.keys import Key, authenticate, well_formed
from orchestrator.api import problems, services
from orchestrator.api.problems import Problem
from orchestrator.api.services import Services
from orchestrator.api.stamps import header


def authenticated(app: ASGIApp) -> ASGIApp:
    """Serve `app` to requests with a live key, which it finds in `scope["auth"]`."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        known = await identify(scope)
        if isinstance(known, Problem):
            await problems.reply(known, scope)(scope, receive, send)
            return
        scope["auth"] = known
        await app(scope, receive, send)

    return guard


async def identify(scope: Scope) -> Key | Problem:
    """The key of a request, or what is wrong with its credentials.

    A key is remembered by a digest of the header, so that no secret is kept.
    """
    here, given = services.of(scope), header(scope, b"authorization") or b""
    digest = hashlib.sha256(given).digest()
    return here.keys.peek(digest) or await _identify(here, digest, given.decode("latin-1"))


async def _identify(here: Services, digest: bytes, given: str) -> Key | Problem:
    scheme, _, secret = given.strip().partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        return problems.missing_key()
    if not well_formed(secret):
        return problems.malformed_key()

    async def load() -> Key | None:
        async with here.pool.connection() as connection:
            return await authenticate(connection, secret)

    return await here.keys.get(digest, load) or problems.unknown_key()
