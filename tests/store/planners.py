"""Planners that know more or less of a database, and what each makes of statements."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from tests.store.explained import Explained, Statement

KNOWING = (
    "planned while empty",
    "without statistics",
    "generic, without statistics",
    "with statistics",
    "generic, with statistics",
)
Scans = dict[str, list[Explained]]
Plans = dict[str, Scans]
"""The scans of every statement, by what its planner knew."""
Given = Callable[[psycopg.Connection], Mapping[str, Mapping[str, Any]]]


@contextmanager
def database(
    server: Callable[[str], str], maintenance: psycopg.Connection, template: str
) -> Iterator[str]:
    """The URL of a database to fill, dropped at the end."""
    name = f"plans_{threading.get_native_id()}"
    maintenance.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(template)
        )
    )
    try:
        yield server(name)
    finally:
        maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def planned(
    url: str,
    statements: Mapping[str, Statement],
    seed: Iterable[str],
    quiet: Iterable[str],
    given: Given,
) -> Plans:
    """What each planner makes of these statements once the seed is there.

    Nobody vacuums or analyses the `quiet` tables meanwhile.
    """

    def run(session: psycopg.Connection) -> Scans:
        values = given(session)
        return {name: one.explain(session, values[name]) for name, one in statements.items()}

    def prepared(mode: str) -> psycopg.Connection:
        session = psycopg.connect(url, autocommit=True, options="-c jit=off")
        session.execute("SELECT set_config('plan_cache_mode', %s, false)", [mode])
        for statement in statements.values():
            statement.prepare(session)
        return session

    made = {}
    with psycopg.connect(url, autocommit=True) as seeding:
        for table in quiet:
            seeding.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")  # type: ignore[call-overload]
        with prepared("force_generic_plan") as early:
            run(early)
            for statement in seed:
                seeding.execute(statement)  # type: ignore[call-overload]
            made["planned while empty"] = run(early)
        for when in ("without statistics", "with statistics"):
            with prepared("force_custom_plan") as fresh:
                made[when] = run(fresh)
            with prepared("force_generic_plan") as fresh:
                made[f"generic, {when}"] = run(fresh)
            seeding.execute("ANALYZE")
    return made
