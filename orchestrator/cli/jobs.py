"""`submit`, `watch` and `results`: the main job from a shell."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import edge, places
from orchestrator.cli.options import AsJson, JobId
from orchestrator.cli.output import console, document, note

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.domain.documents import JobRead

GOOD_ENDS = frozenset({"completed", "partial"})


def submit(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to ask.")],
    *,
    surfaces: Annotated[
        list[str],
        typer.Option("-s", "--surface", help="A surface; repeat, or list with commas."),
    ],
    regions: Annotated[
        list[str] | None,
        typer.Option(
            "-r",
            "--region",
            help="COUNTRY, COUNTRY/CITY or COUNTRY/CITY/LANGUAGE; repeat, or list with commas.",
        ),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=1, max=10, help="Higher runs earlier; 5 unless given.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Where to tell of cells and job that end.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end; show progress, then the answers.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a query to surfaces and regions; prints the job's id.

    With --wait the exit code is 0 when the job ended completed or partial.
    """
    try:
        where = [places.region(name) for name in places.names(regions or [])]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--region") from None
    asked: dict[str, Any] = {"surfaces": places.names(surfaces), "regions": where}
    asked |= {"priority": priority, "webhook": webhook}
    edge.run(_submit(query, asked, wait=wait, as_json=as_json))


def watch(job: JobId, *, as_json: AsJson = False) -> None:
    """Watch a job until it ends; with --json print only how it ended."""
    edge.run(_watch(job, as_json=as_json))


def results(job: JobId, *, as_json: AsJson = False) -> None:
    """Print a job's answers with their sources; with --json the Envelopes."""
    edge.run(_results(job, as_json=as_json))


COMMANDS = (submit, watch, results)


async def _submit(query: str, asked: dict[str, Any], *, wait: bool, as_json: bool) -> None:
    async with edge.client() as client:
        accepted = await client.submit(query, **asked)
        for warning in accepted.warnings:
            note(f"warning: {warning.message}")
        if not wait:
            document(accepted) if as_json else typer.echo(accepted.job_id)
            return
        note(accepted.job_id)
        read = await _follow(client, accepted.job_id, quiet=as_json)
        if as_json:
            children = [raw async for raw in client.raw_results(accepted.job_id)]
            document({"job": read.job, "children": children})
        else:
            await _print_answers(client, accepted.job_id)
        _judge(read)


async def _watch(job: str, *, as_json: bool) -> None:
    async with edge.client() as client:
        read = await _follow(client, job, quiet=as_json, stderr=False)
    if as_json:
        document(read)
    _judge(read)


async def _results(job: str, *, as_json: bool) -> None:
    async with edge.client() as client:
        if as_json:
            document([raw async for raw in client.raw_results(job)])
        else:
            await _print_answers(client, job)


async def _follow(client: "Client", job: str, *, quiet: bool, stderr: bool = True) -> "JobRead":
    """Show progress until the end; the ended parent."""
    if quiet:
        return await client.wait(job)
    from orchestrator.cli.progress import Board

    with Board(console(stderr=stderr)) as board:
        async for read in client.watch(job):
            board.show(read)
    return read


async def _print_answers(client: "Client", job: str) -> None:
    from orchestrator.cli.answers import answers

    console().print(answers([envelope async for envelope in client.results(job)]))


def _judge(read: "JobRead") -> None:
    if read.job.status not in GOOD_ENDS:
        raise typer.Exit(1)
