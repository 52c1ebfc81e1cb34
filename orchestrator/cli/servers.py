"""`up`, `serve`, `work`, `migrate`, `openapi`: what runs and prepares the server."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import AsJson
from orchestrator.cli.output import document, note
from orchestrator.errors import BROKEN_CONFIGURATION, ConfigError

if TYPE_CHECKING:
    from orchestrator.settings import Settings

Host = Annotated[
    str | None, typer.Option(help="Address to listen on, else PARALLAX_HOST or 127.0.0.1.")
]
Port = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port to listen on, else PARALLAX_PORT or 8080."),
]


Processes = Annotated[int, typer.Option(min=0, max=64, metavar="N", help="How many processes.")]


def up(
    *,
    host: Host = None,
    port: Port = None,
    api: Processes = 1,
    workers: Processes = 1,
    play: Annotated[
        bool, typer.Option("--play", help="Make a key named `play` and show what to try.")
    ] = False,
) -> None:
    """Run the database (unless one is configured), the API and the workers until Ctrl-C."""
    from orchestrator.supervisor import run

    settings = _serving(host, port)
    if play:
        from orchestrator.cli.play import welcome

        code = run(settings, api=api, workers=workers, on_ready=partial(welcome, settings))
    else:
        code = run(settings, api=api, workers=workers)
    raise typer.Exit(code)


def serve(*, host: Host = None, port: Port = None) -> None:
    """Run one API process; SIGTERM finishes what is under way and ends it."""
    from orchestrator import listening
    from orchestrator.api.server import serve as run
    from orchestrator.cli.database import prepared

    settings = _serving(host, port)
    if door := listening.inherited():  # `up` has opened it, and prepared the database
        code = _supervised(lambda: run(settings, host="", port=0, fd=door.detach()))
    else:
        with prepared(settings) as here:
            code = run(here.settings, host=settings.host, port=settings.port)
    raise typer.Exit(code)


def work(
    *,
    slots: Annotated[int | None, typer.Option(min=1, help="Cells run at once.")] = None,
    surfaces: Annotated[
        str | None, typer.Option(metavar="A,B", help="Serve only these surfaces.")
    ] = None,
) -> None:
    """Run one worker process."""
    from orchestrator.cli.database import prepared

    given = (("--slots", slots), ("--surfaces", surfaces))
    arguments = [str(part) for pair in given if pair[1] is not None for part in pair]
    with prepared(_settings()) as (settings, share):
        if share is not None:
            os.set_inheritable(share.fileno(), True)  # noqa: FBT003 - the worker keeps our share
        environment = os.environ | {"PARALLAX_DATABASE_URL": str(settings.database_url)}
        if settings.secret_key:
            environment["PARALLAX_SECRET_KEY"] = settings.secret_key
        command = [sys.executable, "-m", "workers", *arguments]
        os.execve(sys.executable, command, environment)  # noqa: S606 - no shell; becomes the worker


def migrate(
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database to this version's schema."""
    from orchestrator.cli.database import served
    from orchestrator.store import migrations

    with served(_settings()) as (settings, _):
        url = settings.listen_url or str(settings.database_url)
        revisions = migrations.pending(url) if plan else migrations.upgrade(url)
    if as_json:
        document({"pending" if plan else "applied": revisions})
    elif revisions:
        typer.echo("\n".join(revisions))
    else:
        note("The schema is up to date.")


def openapi() -> None:
    """Print the OpenAPI document of the HTTP API."""
    from orchestrator.api.openapi import text

    typer.echo(text(), nl=False)


COMMANDS = (up, serve, work, migrate, openapi)


def _settings() -> "Settings":
    from orchestrator.settings import load

    return load()


def _serving(host: str | None, port: int | None) -> "Settings":
    """The settings of a process that serves and therefore logs."""
    from orchestrator import observability

    given = {"host": host, "port": port}
    said = {name: value for name, value in given.items() if value is not None}
    settings = _settings().model_copy(update=said)
    observability.configure(settings)
    return settings


def _supervised(process: Callable[[], int]) -> int:
    """Tell a supervisor by the exit code that starting this again would not help."""
    try:
        return process()
    except ConfigError as error:
        note(f"parallax: {error}")
        return BROKEN_CONFIGURATION
