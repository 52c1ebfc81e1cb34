"""Groups: a handle on many parents of a key, counted by the database."""

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from psycopg import AsyncConnection

ENSURE = """
INSERT INTO parent_group (key_id, name)
SELECT key_id, name FROM unnest(%(keys)s::int[], %(names)s::text[]) AS new (key_id, name)
ORDER BY 1, 2
ON CONFLICT (key_id, name) DO NOTHING
"""

FIND = """
SELECT asked.key_id, asked.name, g.id
FROM unnest(%(keys)s::int[], %(names)s::text[]) AS asked (key_id, name)
JOIN parent_group g ON g.key_id = asked.key_id AND g.name = asked.name
"""


async def ensure(
    connection: AsyncConnection, groups: Collection[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    """The id of each of these groups, given by key id and name; those new are made."""
    columns = {"keys": [key for key, _ in groups], "names": [name for _, name in groups]}
    await connection.execute(ENSURE, columns)
    return await find(connection, groups)


async def find(
    connection: AsyncConnection, groups: Collection[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    """The id of each of these groups that is there."""
    columns = {"keys": [key for key, _ in groups], "names": [name for _, name in groups]}
    cursor = await connection.execute(FIND, columns)
    return {(key, name): group async for key, name, group in cursor}


class Counted(NamedTuple):
    """How many parents and cells of a group have each status, as clients see them."""

    parents: dict[str, int]
    cells: dict[str, int]


PARENTS = ("queued", "processing", "completed", "partial", "failed", "canceled", "expired")
ENDS = ("completed", "failed", "canceled", "expired")
COUNTED = """
SELECT what, n FROM group_usage WHERE group_id = %(group)s
"""


async def counted(connection: AsyncConnection, group_id: int) -> Counted:
    """What the database counts of a group, as of one moment."""
    cursor = await connection.execute(COUNTED, {"group": group_id})
    n = Counter({what: n async for what, n in cursor})
    ended = {end: n[f"cells.{end}"] for end in ENDS}
    processing = n["cells.processing"]
    queued = n["cells"] - processing - sum(ended.values())
    return Counted(
        {status: n[f"parents.{status}"] for status in PARENTS},
        {"queued": queued, "processing": processing, **ended},
    )


INHABITED = """
SELECT EXISTS (SELECT FROM parent WHERE group_id = %(group)s)
"""


async def inhabited(connection: AsyncConnection, group_id: int) -> bool:
    """Whether the group has any parent: a name is known from the first submission that gave it."""
    row = await (await connection.execute(INHABITED, {"group": group_id})).fetchone()
    return bool(row and row[0])
