"""What `keys` does in the database; imported by the command that runs."""

from collections.abc import Sequence
from datetime import datetime

from psycopg import AsyncConnection

from admission import keys
from admission.keys import Issued, Key, Role
from admission.limits import Limits
from orchestrator.cli.database import connected
from orchestrator.cli.key_options import Chosen
from orchestrator.errors import ParallaxError
from orchestrator.settings import Settings


async def create(name: str, chosen: Chosen, *, role: Role, expires_at: datetime | None) -> Issued:
    """A new key; `chosen` is what differs from any new one's."""
    async with connected() as connection, connection.transaction():
        try:
            made = await keys.create(
                connection,
                name,
                limits=_changed(Limits(), chosen),
                role=role,
                expires_at=expires_at,
            )
        except keys.NameTakenError:
            raise ParallaxError(
                f"A key named {name!r} exists; `parallax keys rotate` makes a new secret for it."
            ) from None
        return made._replace(key=await _granted(connection, made.key, chosen))


async def all_keys() -> Sequence[Key]:
    """Every key, by name."""
    async with connected() as connection:
        return await keys.all_keys(connection)


async def rotate(name: str, *, overlap_seconds: float, expires_at: datetime | None) -> Issued:
    """A new secret for the key."""
    async with connected() as connection:
        key = await _find(connection, name)
        return await keys.rotate(
            connection, key, overlap_seconds=overlap_seconds, expires_at=expires_at
        )


async def revoke(name: str) -> int:
    """Revoke the key's secrets; how many there were."""
    async with connected() as connection:
        return await keys.revoke(connection, await _find(connection, name))


async def limit(name: str, chosen: Chosen) -> Key:
    """The key, with what was chosen changed if there is any."""
    async with connected() as connection, connection.transaction():
        key = await _find(connection, name)
        limits = _changed(key.limits, chosen)
        if limits != key.limits:
            key = await keys.set_limits(connection, key, limits)
        return await _granted(connection, key, chosen)


async def make_anew(name: str, settings: Settings) -> Issued:
    """The key with a fresh secret that is its only one: made when there is none, else rotated."""
    async with connected(settings) as connection:
        key = await keys.find(connection, name)
        if key is None:
            return await keys.create(connection, name)
        return await keys.rotate(connection, key)


async def _find(connection: AsyncConnection, name: str) -> Key:
    if key := await keys.find(connection, name):
        return key
    raise ParallaxError(f"No key is named {name!r}; `parallax keys list` shows those there are.")


def _changed(limits: Limits, chosen: Chosen) -> Limits:
    return Limits(**(limits._asdict() | {k: v for k, v in chosen.items() if k != "credits"}))


async def _granted(connection: AsyncConnection, key: Key, chosen: Chosen) -> Key:
    if "credits" not in chosen:
        return key
    free = chosen["credits"]
    return await keys.set_credits(connection, key, None if free is None else int(free))
