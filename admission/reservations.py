"""Reservations: places of a key's queue held for submissions to come, until drawn or expired.

A row counts while `expires_at` is ahead, and no longer: nobody has to free what expired. Rows are
made and drawn on under the lock of their key's usage row alone, so the sum of what waits and what
is reserved is decided on by one at a time.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg import AsyncConnection

MOST = 20
"""Live reservations of a key: what is left of them is summed at each admission."""
LONGEST_SECONDS = 120
MOST_FORGOTTEN = 1_000


class Reservation(NamedTuple):
    """Places held until a moment."""

    id: UUID
    places: int
    expires_at: datetime


MAKE = """
INSERT INTO reservation (id, key_id, places, expires_at)
VALUES (%(id)s, %(key)s, %(places)s, clock_timestamp() + %(seconds)s * interval '1 second')
RETURNING id, places, expires_at
"""


async def make(
    connection: AsyncConnection, reservation: UUID, *, key_id: int, places: int, seconds: float
) -> Reservation:
    """Hold places under a new id.

    The caller holds the lock of the key's usage, has decided that they are free, and that it has
    fewer than `MOST` live reservations.
    """
    asked = {"id": reservation, "key": key_id, "places": places, "seconds": seconds}
    ((made, held, expires_at),) = await (await connection.execute(MAKE, asked)).fetchall()
    return Reservation(made, held, expires_at)


DRAW = """
UPDATE reservation r SET places = d.places
FROM unnest(%(ids)s::uuid[], %(lefts)s::int[]) AS d (id, places)
WHERE r.id = d.id AND r.id = ANY(%(ids)s::uuid[])
"""


async def draw(connection: AsyncConnection, left: Mapping[UUID, int]) -> None:
    """Store how many places each has left; the caller holds the locks of their keys' usage.

    One that was given back meanwhile stays so: whoever wants its places waits for that lock.
    """
    await connection.execute(DRAW, {"ids": list(left), "lefts": list(left.values())})


CANCEL = """
DELETE FROM reservation
WHERE id = %(id)s AND key_id = %(key)s AND expires_at > now()
"""


async def cancel(connection: AsyncConnection, key_id: int, reservation: UUID) -> bool:
    """Give back what is left of a reservation of this key; False when it has no such one.

    An expired one is gone, whether or not it is forgotten yet.
    """
    found = await connection.execute(CANCEL, {"id": reservation, "key": key_id})
    return found.rowcount > 0


FORGET = """
DELETE FROM reservation
WHERE id = ANY(ARRAY(
  SELECT id FROM reservation
  WHERE expires_at < now()
  ORDER BY expires_at
  LIMIT %(most)s
  FOR UPDATE SKIP LOCKED))
"""


async def forget_expired(connection: AsyncConnection, *, most: int = MOST_FORGOTTEN) -> int:
    """Delete some of the reservations that expired; how many.

    They count no more in any case: this keeps the table small.
    """
    return (await connection.execute(FORGET, {"most": most})).rowcount
