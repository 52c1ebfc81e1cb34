"""`surfaces check`: what is configured, asked once, live, by the workers' own code."""

import os
import sys
from typing import Annotated

import typer

from orchestrator.cli import places
from orchestrator.cli.options import AsJson

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Only these; their Envelopes are shown whole."),
]
Query = Annotated[
    str | None,
    typer.Option(help="What to ask, else some question, or some page where it reads pages."),
]
Where = Annotated[
    str | None,
    typer.Option(
        "-r",
        "--region",
        help="COUNTRY, COUNTRY/CITY or COUNTRY/CITY/LANGUAGE, else PARALLAX_DEFAULT_COUNTRY.",
    ),
]


def check(
    names: Names = None, *, query: Query = None, region: Where = None, as_json: AsJson = False
) -> None:
    """Validate configuration and credentials, and ask each surface once, live.

    A line each, with names the Envelopes too. Asking may cost what a provider charges for it.
    """
    try:
        where = places.region(region) if region else {}
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--region") from None
    given = {"query": query, **where}
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    command = [sys.executable, "-m", "workers", "check", *options, *["--json"] * as_json]
    os.execv(sys.executable, [*command, "--", *(names or ())])  # noqa: S606 - no shell; becomes it


def build() -> typer.Typer:
    """The group."""
    group = typer.Typer(no_args_is_help=True, help="What is captured from, as it is configured.")
    group.callback()(_group)
    group.command("check")(check)
    return group


def _group() -> None:
    """What is captured from, as it is configured."""
