"""`lanes`: what each may do and does, and an operator's word to it; straight in the database."""

import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.edge import run
from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, document

if TYPE_CHECKING:
    from orchestrator.domain.lane_views import LaneView

NO_LIMIT = "none"

SurfaceName = Annotated[str, typer.Argument(metavar="SURFACE", help="A configured surface.")]
Country = Annotated[str, typer.Argument(metavar="COUNTRY", help="A country, such as US.")]
Limit = Annotated[
    str,
    typer.Argument(
        metavar="N|none", help="So many at once at most; none: as many as are configured."
    ),
]


def list_(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the lanes and what is in their way, or say to one what it may do."""
    from orchestrator.cli import lane_orders

    if context.invoked_subcommand is None:
        _tell(run(lane_orders.all_lanes()), as_json=as_json)
    elif as_json:
        context.default_map = {context.invoked_subcommand: {"as_json": True}}


def pause(surface: SurfaceName, country: Country, *, as_json: AsJson = False) -> None:
    """Have nothing start in a lane until it is resumed; what runs there ends."""
    from orchestrator.cli import lane_orders

    _ordered(lane_orders.pause(surface, country), as_json=as_json)


def resume(surface: SurfaceName, country: Country, *, as_json: AsJson = False) -> None:
    """Have a lane start what it may, as one that works: its breaker closes too."""
    from orchestrator.cli import lane_orders

    _ordered(lane_orders.resume(surface, country), as_json=as_json)


def limit(surface: SurfaceName, country: Country, most: Limit, *, as_json: AsJson = False) -> None:
    """Let so many of a lane run at once at most, whatever is configured."""
    from orchestrator.cli import lane_orders

    _ordered(lane_orders.limit(surface, country, at_once(most)), as_json=as_json)


def at_once(given: str) -> int | None:
    """The limit as a shell user writes it; None for `none`."""
    from orchestrator.operating import MOST_AT_ONCE

    if given.lower() == NO_LIMIT:
        return None
    number = int(given) if re.fullmatch("[0-9]{1,6}", given) else 0
    if not 1 <= number <= MOST_AT_ONCE:
        told = f"1 to {MOST_AT_ONCE}, or none; to stop a lane, pause it"
        raise typer.BadParameter(told, param_hint="N")
    return number


def build() -> typer.Typer:
    """The group."""
    group = typer.Typer(help="Lanes (a surface from a country): limits, breakers, pauses.")
    group.callback(invoke_without_command=True)(list_)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("limit")(limit)
    return group


def _ordered(work: "Coroutine[Any, Any, LaneView]", *, as_json: bool) -> None:
    lane = run(work)
    if as_json:
        document(lane)
    else:
        _tell([lane], as_json=False)


def _tell(lanes: "list[LaneView]", *, as_json: bool) -> None:
    from orchestrator.cli.lane_tables import table_of

    if as_json:
        document(lanes)
    else:
        console().print(table_of(lanes))
