"""`status` and `doctor`: what is going on, and whether the counters tell the truth."""

from typing import TYPE_CHECKING

import typer

from orchestrator.cli import edge
from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, document, note, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.table import Table

    from orchestrator.client import Client, Snapshot
    from orchestrator.client.records import Surface
    from orchestrator.store.counters import Difference

NUMBERS = frozenset({"Taken", "Of", "Free", "Cells", "Counter says", "Recount says"})


def status(*, as_json: AsJson = False) -> None:
    """Show the key's room, its cells in flight, and what they wait for."""
    edge.run(_status(as_json=as_json))


def doctor(*, as_json: AsJson = False) -> None:
    """Recount every counter in the database; exit code 1 when one is wrong."""
    found = edge.run(_differences())
    if as_json:
        document([difference._asdict() for difference in found])
    elif found:
        console().print(_wrong(found))
    else:
        typer.echo("Every counter equals a recount.")
    if found:
        wrong = "1 counter is" if len(found) == 1 else f"{len(found)} counters are"
        note(f"parallax: {wrong} wrong; that is a bug, please report it with what is shown here.")
        raise typer.Exit(1)


COMMANDS = (status, doctor)


async def _status(*, as_json: bool) -> None:
    async with edge.client() as client:
        if as_json:
            typer.echo((await client.get("/v1/async/status")).decode())
            return
        snapshot = await client.status()
        for made in (*tables(snapshot), *waits(snapshot, await surfaces_of(client, snapshot))):
            console().print(made)


async def surfaces_of(client: "Client", snapshot: "Snapshot") -> "list[Surface]":
    """Those in which the key may have something in flight, with such lanes alone.

    The snapshot says where by surface and by region; nothing is asked for when it says nowhere.
    """
    from msgspec.structs import replace

    flight = snapshot.inflight
    if not flight.total:
        return []
    return [
        replace(one, lanes=tuple(at for at in one.lanes if at.country in flight.by_region))
        for one in (await client.surfaces()).surfaces
        if one.name in flight.by_surface
    ]


async def _differences() -> "list[Difference]":
    from orchestrator.cli.database import connected
    from orchestrator.store import counters

    async with connected() as connection:
        return await counters.differences(connection)


def tables(snapshot: "Snapshot") -> "tuple[Table, ...]":
    """The snapshot for people: room, then cells by stage, by surface and by region."""
    queue, sync, rate = snapshot.admission_queue, snapshot.sync_concurrency, snapshot.request_rate
    room = table("Room", "Taken", "Of", "Free", right=NUMBERS, title=f"As of {snapshot.as_of}")
    free = snapshot.headroom
    used = rate.limit - rate.remaining
    _row(room, "admission queue", queue.depth, queue.capacity, free.asynchronous)
    _row(room, "sync callers", sync.running, sync.limit, free.sync)
    _row(room, "requests a minute", used, rate.limit, rate.remaining)
    if limit := snapshot.concurrency:
        _row(room, "cells running", limit.used, limit.max, max(0, limit.max - limit.used))
    inflight = snapshot.inflight
    stages = {
        "waiting": inflight.waiting,
        "queued": inflight.queued,
        "processing": inflight.processing,
        "total": inflight.total,
    }
    groups = {"Surface": inflight.by_surface, "Region": inflight.by_region}
    shown = [_counted(name, cells) for name, cells in groups.items() if cells]
    return room, _counted("In flight", stages), *shown


def waits(snapshot: "Snapshot", surfaces: "Iterable[Surface]") -> "Iterator[Table]":
    """What is held in the queue and why, and what is in the way of these surfaces' lanes."""
    from orchestrator.cli.lane_tables import held, state, table_of

    if snapshot.admission_queue.held:
        yield held(snapshot.admission_queue.held)
    surfaces = list(surfaces)
    unserved = {surface.name for surface in surfaces if not surface.live_workers}
    lanes = (lane for surface in surfaces for lane in surface.lanes)
    if slow := [lane for lane in lanes if state(lane, unserved) != "ok"]:
        yield table_of(slow, title="Lanes that do not run freely", unserved=unserved)


def _row(room: "Table", name: str, *numbers: int) -> None:
    room.add_row(name, *(f"{number:,}" for number in numbers))


def _counted(name: str, cells: dict[str, int]) -> "Table":
    made = table(name, "Cells", right=NUMBERS)
    for key, number in cells.items():
        _row(made, key, number)
    return made


def _wrong(found: "list[Difference]") -> "Table":
    made = table("Counter", "Key", "Place", "Counter says", "Recount says", right=NUMBERS)
    for difference in found:
        made.add_row(*("" if value is None else str(value) for value in difference))
    return made
