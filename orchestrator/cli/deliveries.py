"""`deliveries`: what was told of jobs by webhooks, and telling it again."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from orchestrator.cli import edge, moments
from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, document, plain, table

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.client import Delivery

Status = Annotated[
    Literal["pending", "delivered", "dead"] | None,
    typer.Option(help="Only deliveries of this status; dead are those that were given up."),
]
DeliveryId = Annotated[
    str | None, typer.Argument(metavar="ID", help="A delivery's id, as `deliveries list` has it.")
]
Since = Annotated[
    str | None,
    typer.Option(metavar="T", help="Of events from then on: `2h` ago, or 2030-01-31T00:00Z."),
]
Until = Annotated[
    str | None, typer.Option(metavar="T", help="Of events before then; now unless given.")
]


def list_(
    *,
    status: Status = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="So many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show deliveries, the newest first."""
    found = edge.run(_listed(status, limit))
    document(found) if as_json else console().print(table_of(found))


def replay(
    delivery: DeliveryId = None,
    *,
    since: Since = None,
    until: Until = None,
    status: Status = None,
    as_json: AsJson = False,
) -> None:
    """Send one delivery again, or with --since all of a time."""
    if (delivery is None) == (since is None) or (delivery and (until or status)):
        raise typer.BadParameter("give an ID, or --since with --until and --status")
    if delivery is not None:
        again = edge.run(_replayed(delivery))
        document(again) if as_json else console().print(table_of([again]))
        return
    matched = edge.run(_all_replayed(*_times(str(since), until), status))
    document({"matched": matched}) if as_json else typer.echo(f"{matched:,} are sent again.")


def build() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="What was told by webhooks, and telling again.")
    group.command("list")(list_)
    group.command("replay")(replay)
    return group


def table_of(deliveries: "Iterable[Delivery]") -> "Table":
    """A row per delivery: what it tells of what, and how that goes. An id is never broken."""
    made = table("Id", "Event", "Status")
    made.columns[0].no_wrap = True
    for one in deliveries:
        made.add_row(one.id, f"{one.type}\n{plain(one.job_id)}", "\n".join(_status(one)))
    return made


def _status(delivery: "Delivery") -> "Iterator[str]":
    """How it goes, when it came home or is attempted next, and how that went so far."""
    yield delivery.status
    if delivery.next_attempt_at:
        yield f"due {delivery.next_attempt_at}"
    if delivery.delivered_at:
        yield delivery.delivered_at
    if delivery.attempts:
        tries = f"{delivery.attempts} attempt{'s' * (delivery.attempts != 1)}"
        yield f"{tries}, last {delivery.last_code or 'without a reply'}"


def _times(since: str, until: str | None) -> tuple[datetime, datetime]:
    """From when to when; from the beginning of a duration, it is before its end."""
    now = datetime.now(UTC)
    begin = _time(since, "--since", now)
    end = _time(until, "--until", now) if until else now
    if end <= begin:
        raise typer.BadParameter("must be before --until", param_hint="--since")
    return begin, end


def _time(given: str, option: str, now: datetime) -> datetime:
    try:
        return moments.past(given, now=now)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


async def _listed(
    status: Literal["pending", "delivered", "dead"] | None, limit: int
) -> "list[Delivery]":
    found: list[Delivery] = []
    async with edge.client() as client:
        async for delivery in client.deliveries(status=status):
            found.append(delivery)
            if len(found) == limit:
                break
    return found


async def _replayed(delivery: str) -> "Delivery":
    async with edge.client() as client:
        return await client.replay(delivery)


async def _all_replayed(
    since: datetime, until: datetime, status: Literal["pending", "delivered", "dead"] | None
) -> int:
    async with edge.client() as client:
        return await client.replay_range(since, until, status=status)
