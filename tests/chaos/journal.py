"""What the database itself noted of every claim, outcome, end and process, in the order it was.

A row says how a child ended, not how often: triggers of the tests' own, in a schema of its own,
write a line in the transaction that did it. A claim that a crash forgets is forgotten here too.
"""

from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

INSTALL = """
CREATE SCHEMA journal;
CREATE TABLE journal.claim (
  parent uuid, ordinal int, node int, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE journal.outcome (
  parent uuid, ordinal int, run int, state text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE journal.ended (
  parent uuid, run int, state text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE journal.delivered (
  parent uuid, ordinal int, run int, state text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE journal.node (
  id int, kind text, pid int, slots int, at timestamptz DEFAULT clock_timestamp());

CREATE FUNCTION journal.note_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO journal.claim VALUES (NEW.parent_id, NEW.ordinal, NEW.node);
  RETURN NULL;
END $$;
CREATE TRIGGER journal_claim AFTER UPDATE ON child FOR EACH ROW
  WHEN (NEW.claim IS NOT NULL AND NEW.claim IS DISTINCT FROM OLD.claim)
  EXECUTE FUNCTION journal.note_claim();

CREATE FUNCTION journal.note_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO journal.outcome
  SELECT NEW.parent_id, NEW.ordinal, run, NEW.state FROM parent WHERE id = NEW.parent_id;
  RETURN NULL;
END $$;
CREATE TRIGGER journal_outcome AFTER UPDATE ON child FOR EACH ROW
  WHEN (NEW.finished_at IS NOT NULL
        AND (NEW.finished_at IS DISTINCT FROM OLD.finished_at
             OR NEW.state <> OLD.state OR NEW.result::text IS DISTINCT FROM OLD.result::text))
  EXECUTE FUNCTION journal.note_outcome();

CREATE FUNCTION journal.note_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO journal.ended VALUES (NEW.id, NEW.run, NEW.state);
  RETURN NULL;
END $$;
CREATE TRIGGER journal_end AFTER UPDATE ON parent FOR EACH ROW
  WHEN (NEW.finished_at IS NOT NULL
        AND (NEW.finished_at IS DISTINCT FROM OLD.finished_at OR NEW.state <> OLD.state))
  EXECUTE FUNCTION journal.note_end();

CREATE FUNCTION journal.note_delivered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO journal.delivered VALUES (NEW.parent_id, NEW.ordinal, NEW.run, NEW.state);
  RETURN NULL;
END $$;
CREATE TRIGGER journal_delivered AFTER UPDATE ON delivery FOR EACH ROW
  WHEN (NEW.status = 'delivered') EXECUTE FUNCTION journal.note_delivered();

CREATE FUNCTION journal.note_node() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO journal.node VALUES (NEW.id, NEW.kind, NEW.pid, NEW.slots);
  RETURN NULL;
END $$;
CREATE TRIGGER journal_node AFTER INSERT ON node FOR EACH ROW
  EXECUTE FUNCTION journal.note_node();
"""


async def install(connection: AsyncConnection) -> None:
    """Begin to note, in a migrated database."""
    await connection.execute(INSTALL)


class Claimed(NamedTuple):
    """A node was given a child."""

    parent: UUID
    ordinal: int
    node: int
    at: datetime


class Noted(NamedTuple):
    """An end was recorded: a child's, or with ordinal 0 its parent's; or that it was delivered."""

    parent: UUID
    ordinal: int
    run: int
    state: str
    at: datetime


class Entered(NamedTuple):
    """A process entered the nodes."""

    id: int
    kind: str
    pid: int
    slots: int
    at: datetime


class Journal(NamedTuple):
    """All that was noted, each in order."""

    claims: list[Claimed]
    outcomes: list[Noted]
    ends: list[Noted]
    delivered: list[Noted]
    nodes: list[Entered]


CLAIMS = """
SELECT j.parent, j.ordinal, j.node, j.at
FROM journal.claim j JOIN parent p ON p.id = j.parent JOIN api_key k ON k.id = p.key_id
WHERE k.name = %(key)s
ORDER BY j.at
"""
OUTCOMES = """
SELECT j.parent, j.ordinal, j.run, j.state, j.at
FROM journal.outcome j JOIN parent p ON p.id = j.parent JOIN api_key k ON k.id = p.key_id
WHERE k.name = %(key)s
ORDER BY j.at
"""
ENDS = """
SELECT j.parent, 0 AS ordinal, j.run, j.state, j.at
FROM journal.ended j JOIN parent p ON p.id = j.parent JOIN api_key k ON k.id = p.key_id
WHERE k.name = %(key)s
ORDER BY j.at
"""
DELIVERED = """
SELECT j.parent, j.ordinal, j.run, j.state, j.at
FROM journal.delivered j JOIN parent p ON p.id = j.parent JOIN api_key k ON k.id = p.key_id
WHERE k.name = %(key)s
ORDER BY j.at
"""
NODES = """
SELECT id, kind, pid, slots, at FROM journal.node ORDER BY at
"""
Line = TypeVar("Line", Claimed, Noted, Entered)


async def read(connection: AsyncConnection, key: str) -> Journal:
    """What was noted of the jobs of this key, and of all processes."""

    async def lines(kind: type[Line], statement: Any) -> list[Line]:
        cursor = connection.cursor(row_factory=class_row(kind))
        return await (await cursor.execute(statement, {"key": key})).fetchall()

    return Journal(
        await lines(Claimed, CLAIMS),
        await lines(Noted, OUTCOMES),
        await lines(Noted, ENDS),
        await lines(Noted, DELIVERED),
        await lines(Entered, NODES),
    )
