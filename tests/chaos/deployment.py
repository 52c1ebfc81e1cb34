"""What a cell lays hands on: two API processes and two workers over a PostgreSQL of their own."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import LiteralString

from tests.chaos import cluster as clusters
from tests.chaos.cluster import Cluster
from tests.chaos.explaining import Death, Seen
from tests.chaos.load import COUNTRIES, SURFACE
from tests.chaos.receiver import OPEN_NETWORK, Receiver, receiving
from tests.e2e import witness
from tests.e2e.processes import Server
from tests.e2e.witness import FINE, Manner, Witness, always

PLACES = 12
"""Of each lane."""
ANSWER_SECONDS = 0.8
TIMEOUT_SECONDS = 3
WORKERS, APIS = ("worker-1", "worker-2"), ("api-1", "api-2")
BUSIEST = """
SELECT n.pid FROM node n JOIN child c ON c.node = n.id
WHERE c.state = 'processing' GROUP BY 1 ORDER BY count(*) DESC LIMIT 1
"""
CONFIGURATION = """
[surfaces.{surface}]
adapter = "http"
concurrency = {places}
timeout = {timeout}
attempts = 10
[surfaces.{surface}.options]
url = "{url}/{surface}?q={{query}}&cc={{country}}"
text = "answer"
headers = {{ "X-Worker" = "any" }}
"""


class Deployment(Server):
    """The processes, and whom of them a cell has stopped.

    The lanes bound the rate of work far below what the machine could do: so it is steady.
    """

    def __init__(
        self,
        directory: Path,
        cluster: Cluster,
        upstream: Witness,
        receiver: Receiver,
        *,
        database: str,
    ) -> None:
        super().__init__(directory, database=database)
        self.environment["PARALLAX_SECRET_KEY"] = "chaos" * 8
        self.environment["PARALLAX_ALLOW_NETWORKS"] = OPEN_NETWORK
        self.cluster = cluster
        self.upstream = upstream
        self.receiver = receiver
        self.deaths: list[Death] = []
        self.crashes: list[float] = []
        told = {"surface": SURFACE, "places": PLACES, "timeout": TIMEOUT_SECONDS}
        configuration = CONFIGURATION.format(url=upstream.url, **told)
        (directory / "parallax.toml").write_text(configuration)

    async def busiest(self) -> str:
        """The worker that has most in hand."""
        ((pid,),) = await self.rows(BUSIEST)
        return self.name_of(pid)

    def strike(self, *names: str) -> None:
        """Kill those of these processes that run; the supervisor starts them in its own time."""
        for name in names:
            with suppress(ProcessLookupError):
                self._stopped(name, SIGKILL)

    def freeze(self, name: str) -> int:
        """Stop this process in its tracks, for `thaw`; its process id."""
        return self._stopped(name, SIGSTOP)

    def thaw(self, pid: int) -> None:
        """Let it go on where it was."""
        os.kill(pid, SIGCONT)

    async def crash(self) -> None:
        """Kill the database's server."""
        self.crashes.append(time.time())
        await self.cluster.stop(SIGKILL)

    def behave(self, manner: Manner | None = None) -> None:
        """How all lanes answer from now on; else as at first."""
        for country in COUNTRIES:
            self.upstream.behave(SURFACE, country, manner or always(FINE, seconds=ANSWER_SECONDS))

    def calls(self, name: str) -> list[Seen]:
        """The upstream's log of a cell's queries."""
        return [
            Seen((SURFACE, country), call)
            for country in COUNTRIES
            for call in self.upstream.of(SURFACE, country)
            if call.query.startswith(f"{name}: ")
        ]

    async def run(self, statement: LiteralString) -> None:
        """Have the database do something that our role may do."""
        async with self.connected() as connection:
            await connection.execute(statement)

    def exits(self) -> list[str]:
        """Processes that ended by themselves: none does, whatever happens to the database."""
        return [str(line) for line in self.logged("process.died") if line["code"] != -SIGKILL]

    def _stopped(self, name: str, how: int) -> int:
        pid = self.pid(name)
        at = time.time()
        os.kill(pid, how)
        self.deaths.append(Death(pid, at))
        return pid


@asynccontextmanager
async def deployed(directory: Path, **settings: str) -> AsyncIterator[Deployment]:
    """A deployment on one server with these settings, ready for work."""
    async with clusters.clusters("one", **settings) as (one,):
        one.make()
        async with one.running():
            await clusters.furnish(one)
            async with over(directory, one, one.url()) as made:
                yield made


@asynccontextmanager
async def over(
    directory: Path, cluster: Cluster, url: str, *, listen: str | None = None
) -> AsyncIterator[Deployment]:
    """A deployment that finds its database, which runs on this server now, by this URL.

    With `listen` that one is a pooler's, and this is the server's own.
    """
    with witness.witnessing() as upstream, receiving() as receiver:
        made = Deployment(directory, cluster, upstream, receiver, database=url)
        made.behave()
        if listen:
            made.environment["PARALLAX_LISTEN_URL"] = listen
        async with made.up("--api", str(len(APIS)), "--workers", str(len(WORKERS))):
            yield made
