"""All commands, put together."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator.cli import (
    deliveries,
    demo,
    headroom,
    initial,
    jobs,
    keys,
    lanes,
    servers,
    surfaces,
)
from orchestrator.errors import ParallaxError


class _Commands(TyperGroup):
    """Commands whose expected failures are one line on stderr and exit code 1."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command named on the command line."""
        try:
            return super().main(*args, **kwargs)
        except ParallaxError as error:
            typer.echo(f"parallax: {error}", err=True)
            sys.exit(1)


def _version(asked: bool) -> None:  # noqa: FBT001 - the shape typer calls
    if asked:
        from importlib.metadata import version

        typer.echo(f"parallax {version('parallax-orchestrator')}")
        raise typer.Exit


def _root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """One question, seen from many places at once."""


def build() -> typer.Typer:
    """The application."""
    commands = typer.Typer(
        cls=_Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    commands.callback()(_root)
    commands.command()(demo.demo)
    commands.command()(initial.init)
    for group in (servers, jobs, headroom):
        for command in group.COMMANDS:
            commands.command()(command)
    commands.add_typer(keys.build(), name="keys")
    commands.add_typer(surfaces.build(), name="surfaces")
    commands.add_typer(lanes.build(), name="lanes")
    commands.add_typer(deliveries.build(), name="deliveries")
    return commands


app = build()
