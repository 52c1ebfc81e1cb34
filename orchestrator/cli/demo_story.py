"""What the demo shows, in order."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING

from rich.text import Text

from orchestrator.cli.answers import answers
from orchestrator.cli.demo_server import Server, make_key, running
from orchestrator.cli.demo_site import site
from orchestrator.cli.output import table
from orchestrator.cli.progress import Board
from orchestrator.client import ApiError, Client, Snapshot
from orchestrator.errors import ParallaxError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

QUERY = "best running shoes for beginners"
SURFACES = ("chatgpt", "claude", "perplexity", "gemini", "google_ai_overview", "site")
REGIONS = ("US", "GB", "DE", "FR")
CAPACITY = 3
CONCURRENCY = 8
MOST_TRIES = 20

SIMULATED = """
[surfaces.{name}]
adapter = "simulator"
[surfaces.{name}.options]
latency_ms = [400, 1600]
error_rate = 0.05
seed = {seed}
"""
FETCHED = """
[surfaces.site]
adapter = "http"
[surfaces.site.options]
url = "{base}/search?q={{query}}&cc={{country}}"
format = "json"
text = "answer.text"
sources = "results[].{{url: link, title: title}}"
"""
SLOW = """
[surfaces.slow]
adapter = "simulator"
concurrency = 1
timeout = "2m"
[surfaces.slow.options]
latency_ms = 60000
"""


async def tell(console: "Console") -> None:
    """The whole demo."""
    began = monotonic()
    console.print(Text("Parallax: one question, seen from many places at once.", style="bold"))
    with TemporaryDirectory(prefix="parallax-", ignore_cleanup_errors=True) as made, site() as base:
        _say(console, "Starting PostgreSQL, the API, a worker, and a small web site to ask …")
        async with running(Path(made), configuration(base)) as server:
            _fact(console, f"{server.url} answers after {monotonic() - began:.1f} s")
            await _scenes(console, server)
            _say(console, "Stopping …")
    _fact(console, f"Nothing is left running. The demo took {monotonic() - began:.0f} s.")


def configuration(base: str) -> str:
    """The demo's `parallax.toml`: five simulated surfaces, the site at `base`, and a slow one."""
    simulated = [
        SIMULATED.format(name=name, seed=seed) for seed, name in enumerate(SURFACES[:-1], start=1)
    ]
    return "".join([*simulated, FETCHED.format(base=base), SLOW])


async def _scenes(console: "Console", server: Server) -> None:
    _say(console, f"A key that may have {CAPACITY} jobs waiting and {CONCURRENCY} cells running")
    limits = ("--queue-capacity", str(CAPACITY), "--concurrency", str(CONCURRENCY))
    key = await make_key(server, "demo", *limits)
    _fact(console, f"parallax keys create demo {' '.join(limits)}")
    async with Client(url=server.url, key=key) as client:
        before = await client.status()
        job, during = await _submit_and_watch(console, client)
        _say(console, "The answers, with the pages they rest on")
        console.print(answers([envelope async for envelope in client.results(job)]))
        _say(console, "The snapshot of the key's room, before, during and after")
        snapshots = {"Before": before, "During": during, "After": await client.status()}
        console.print(compared(snapshots))
        await _be_refused(console, client)


async def _submit_and_watch(console: "Console", client: Client) -> tuple[str, Snapshot]:
    """Follow one parent to its end; its id, and the snapshot when it was half done."""
    _say(console, f"POST /v1/search “{QUERY}”")
    accepted = await client.submit(QUERY, surfaces=SURFACES, regions=REGIONS)
    cells = f"{len(SURFACES)} surfaces in {len(REGIONS)} regions, {len(accepted.children)} cells"
    _fact(console, f"202 Accepted: {accepted.job_id}, {cells}")
    during: Snapshot | None = None
    with Board(console) as board:
        async for read in client.watch(accepted.job_id):
            board.show(read)
            if during is None and read.job.counts.processing:
                during = await client.status()
    if during is None:
        raise ParallaxError("the job was never seen running")
    return accepted.job_id, during


async def _be_refused(console: "Console", client: Client) -> None:
    """Fill the queue with jobs for a surface that takes a minute a cell, one at a time."""
    _say(console, "A full queue: jobs for a surface that takes a minute for each answer")
    for accepted in range(MOST_TRIES):
        try:
            await client.submit(QUERY, surfaces=["slow"], regions=["US"])
        except ApiError as refusal:
            if refusal.status != 429:  # noqa: PLR2004 - the status this is about
                raise
            _fact(console, f"{accepted} accepted, then {refusal.status} {refusal.code}")
            _fact(console, refusal.message)
            _fact(console, f"details: {refusal.details.decode()}")
            snapshot = await client.status()
            queue, free = snapshot.admission_queue, snapshot.headroom.asynchronous
            _fact(console, f"snapshot: {queue.depth} of {queue.capacity} waiting, room for {free}")
            return
    raise ParallaxError(f"{MOST_TRIES} jobs were accepted, more than the queue holds")


def compared(snapshots: dict[str, Snapshot]) -> "Table":
    """Snapshots side by side."""
    made = table("", *snapshots, right=frozenset(snapshots))
    seen = snapshots.values()
    queues = [snapshot.admission_queue for snapshot in seen]
    cells = [snapshot.inflight for snapshot in seen]
    _row(made, "jobs in the queue", (f"{queue.depth} of {queue.capacity}" for queue in queues))
    _row(made, "room for more jobs", (snapshot.headroom.asynchronous for snapshot in seen))
    _row(made, "cells waiting", (each.waiting for each in cells))
    _row(made, "cells queued", (each.queued for each in cells))
    _row(made, "cells processing", (each.processing for each in cells))
    _row(made, "cells in flight", (each.total for each in cells))
    for name in SURFACES:
        _row(made, f"  {name}", (each.by_surface.get(name, 0) for each in cells))
    for name in REGIONS:
        _row(made, f"  {name}", (each.by_region.get(name, 0) for each in cells))
    return made


def _row(made: "Table", name: str, values: Iterable[object]) -> None:
    made.add_row(name, *map(str, values))


def _say(console: "Console", text: str) -> None:
    console.print()
    console.print(Text(f"▸ {text}", style="bold cyan"))


def _fact(console: "Console", text: str) -> None:
    console.print(Text(f"  {text}"), soft_wrap=True)  # a fact is one line, to be copied
