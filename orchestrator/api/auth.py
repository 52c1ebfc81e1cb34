"""Who asks, and whether they may just now: a live key, then a token of its request rate."""

import hashlib

from litestar.types import ASGIApp, Receive, Scope, Send

from admission import usage
from admission.keys import Key, authenticate, well_formed
from admission.lots import Lot
from admission.refusals import Refusal, Taken
from orchestrator.api import denials, problems, services, stamps, styles
from orchestrator.api.problems import Problem
from orchestrator.api.services import Services
from orchestrator.api.stamps import header

NOTHING_TAKEN = Taken(sync_limit=0, sync_running=0, depth=0)
"""Of a key that is gone."""


def authenticated(app: ASGIApp) -> ASGIApp:
    """Serve `app` to requests with a live key, which it finds in `scope["auth"]`.

    Each costs a token whatever becomes of it; one that is refused for its rate costs none.
    """

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        known = await identify(scope)
        if isinstance(known, Problem):
            await problems.reply(known, scope)(scope, receive, send)
            return
        scope["auth"] = known
        here = services.of(scope)
        lot = here.rates.lot(known)
        stamps.tell(scope, lot)
        if here.rates.try_take(lot) or await here.rates.take(lot):
            await app(scope, receive, send)
            return
        refusal = await _refusal(here, lot)
        await problems.reply(denials.refused(refusal), scope)(scope, receive, send)

    return guard


def operators_only(app: ASGIApp) -> ASGIApp:
    """Serve `app` to operators; to a client, whose key is known by now, it is no path at all."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        key: Key = scope["auth"]
        served = app if key.role == "operator" else problems.reply(problems.not_found(), scope)
        await served(scope, receive, send)

    return guard


async def _refusal(here: Services, lot: Lot) -> Refusal:
    async def load() -> Taken | None:
        async with here.pool.connection() as connection:
            return await usage.taken(connection, lot.key_id)

    taken = here.taken.peek(lot.key_id) or await here.taken.get(lot.key_id, load)
    return here.rates.refuse(lot, taken or NOTHING_TAKEN)


async def identify(scope: Scope) -> Key | Problem:
    """The key of a request, or what is wrong with its credentials.

    It is looked up at most once in two seconds a process, and remembered by a digest of the header,
    so that no secret is kept.
    """
    here, given = services.of(scope), header(scope, b"authorization") or b""
    style = styles.of(scope)
    if style is not None and not style.any_case and not given.lstrip().startswith(b"Bearer"):
        return problems.missing_key()
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
