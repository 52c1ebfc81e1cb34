"""An observer in the database: it sees what each key has taken at every commit.

The view `taken` counts rows, not counters. A deferred constraint trigger looks at it as the last
thing before each commit that touched a key, while its usage row is locked; who looks on from
outside sees the same view.
"""

from typing import NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row


class Taken(NamedTuple):
    """What a key had taken at the end of some transaction, or the most of it at any."""

    name: str
    depth: int
    running: int
    unfinished: int
    processing: int
    asynchronous: int
    """Children running that belong to async parents."""


OBSERVE = """
CREATE INDEX ON parent (key_id) WHERE mode <> 'async' AND finished_at IS NULL;

CREATE VIEW taken AS
SELECT k.id, k.name, queue.depth,
       callers.n + greatest(0, sync.detached - k.sync_limit) AS running,
       sync.unfinished, work.processing, work.asynchronous
FROM api_key k
CROSS JOIN LATERAL (
  SELECT count(*)::int AS depth FROM parent WHERE key_id = k.id AND state = 'queued') AS queue
CROSS JOIN LATERAL (
  SELECT count(*)::int AS n FROM sync_wait WHERE key_id = k.id) AS callers
CROSS JOIN LATERAL (
  SELECT count(*)::int AS unfinished, count(*) FILTER (WHERE mode = 'detached')::int AS detached
  FROM parent WHERE key_id = k.id AND mode <> 'async' AND finished_at IS NULL) AS sync
CROSS JOIN LATERAL (
  SELECT count(*)::int AS processing, count(*) FILTER (WHERE priority <= 100)::int AS asynchronous
  FROM child WHERE state = 'processing' AND key_id = k.id) AS work;

CREATE UNLOGGED TABLE seen AS SELECT * FROM taken WHERE false;

CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO seen SELECT * FROM taken WHERE id = coalesce(new.key_id, old.key_id);
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER looked AFTER UPDATE ON usage
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look();

CREATE CONSTRAINT TRIGGER looked AFTER INSERT OR DELETE ON sync_wait
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look();
"""


async def observe(connection: AsyncConnection) -> None:
    """Look at every commit from now on."""
    await connection.execute(OBSERVE)


LOOK = """
SELECT name, depth, running, unfinished, processing, asynchronous FROM taken
"""


async def look(connection: AsyncConnection) -> list[Taken]:
    """What each key has taken now."""
    cursor = connection.cursor(row_factory=class_row(Taken))
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return await (await cursor.execute(LOOK)).fetchall()


MOST = """
SELECT name, max(depth) AS depth, max(running) AS running, max(unfinished) AS unfinished,
       max(processing) AS processing, max(asynchronous) AS asynchronous
FROM seen GROUP BY 1
"""


async def most(connection: AsyncConnection) -> dict[str, Taken]:
    """The most of each that a key had at any commit, by its name."""
    cursor = connection.cursor(row_factory=class_row(Taken))
    return {taken.name: taken for taken in await (await cursor.execute(MOST)).fetchall()}
