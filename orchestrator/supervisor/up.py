"""What `parallax up` runs, put together."""

import http.client
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog

from orchestrator import embedded, listening, secret_keys
from orchestrator.errors import SUPERVISED, ParallaxError
from orchestrator.settings import Settings
from orchestrator.store import migrations
from orchestrator.supervisor import signals
from orchestrator.supervisor.loop import Loop
from orchestrator.supervisor.processes import Process

SERVE = (sys.executable, "-m", "orchestrator", "serve")
WORK = (sys.executable, "-m", "workers")
HEALTH_SECONDS = 1.0
_log = structlog.get_logger()


def _announce(url: str) -> None:
    _log.info("up.ready", url=url, pid=os.getpid())


def run(
    settings: Settings,
    *,
    api: int = 1,
    workers: int = 1,
    on_ready: Callable[[str], None] = _announce,
    serve: Sequence[str] = SERVE,
    work: Sequence[str] = WORK,
) -> int:
    """Run everything until a signal says stop; `on_ready` gets the base URL once it answers.

    Returns 0 after an orderly stop, 1 when a child said that the configuration is broken or would
    not start at all. `ParallaxError` when the port or the database cannot be had. To be called in
    the main thread.
    """
    with ExitStack() as stack:
        door = stack.enter_context(listening.listen(settings.host, settings.port))
        database = stack.enter_context(_database(settings))
        migrations.upgrade(settings.listen_url or database.url)
        received = stack.enter_context(signals.caught())
        url = listening.url(door)
        environment = _environment(settings, database, urlsplit(url).port, workers)
        answering = environment | {listening.DESCRIPTOR: str(door.fileno())}
        keep = database.keep
        loop = Loop(
            signals=received,
            processes=[
                *_processes("worker", workers, work, environment, keep),
                *_processes("api", api, serve, answering, (*keep, door.fileno())),
            ],
            drain_seconds=settings.drain_seconds,
            ready=lambda: api == 0 or _healthy(url, "?ready=1" if workers else ""),
            on_ready=lambda: on_ready(url),
            tick=database.tick,
        )
        stack.callback(loop.stop)
        stack.callback(door.close)  # first: no connection may wait for a process that is leaving
        return loop.run()


@dataclass(frozen=True, kw_only=True)
class _Database:
    url: str = field(repr=False)
    secret_key: str | None = field(repr=False)
    keep: tuple[int, ...]
    tick: Callable[[], None]


@contextmanager
def _database(settings: Settings) -> Iterator[_Database]:
    if settings.database_url:
        yield _Database(
            url=settings.database_url,
            secret_key=settings.secret_key,
            keep=(),
            tick=lambda: None,
        )
        return
    with embedded.start(settings.data_dir) as server:

        def tick() -> None:
            try:
                server.ensure()
            except ParallaxError as error:
                _log.error("database.gone", why=str(error))

        yield _Database(
            url=server.url,
            secret_key=secret_keys.beside(settings.secret_key, server.place.data_dir),
            keep=(server.fileno(),),
            tick=tick,
        )


def _environment(
    settings: Settings, database: _Database, port: int | None, workers: int
) -> dict[str, str]:
    given = {"DATABASE_URL": database.url, "HOST": settings.host, "PORT": str(port)}
    if database.secret_key:
        given["SECRET_KEY"] = database.secret_key
    named = {f"PARALLAX_{name}": value for name, value in given.items()}
    return os.environ | named | {SUPERVISED: str(workers)}


def _processes(
    name: str,
    count: int,
    argv: Sequence[str],
    environment: Mapping[str, str],
    keep: tuple[int, ...],
) -> Iterator[Process]:
    for number in range(1, count + 1):
        yield Process(name=f"{name}-{number}", argv=argv, environment=environment, keep=keep)


def _healthy(url: str, query: str) -> bool:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(
        where.hostname or "", where.port, timeout=HEALTH_SECONDS
    )
    try:
        connection.request("GET", f"/v1/health{query}")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
