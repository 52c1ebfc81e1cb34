"""Starting, sharing and stopping the embedded server; the package's prose says why it works so."""

import fcntl
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from orchestrator.embedded import accounts, binaries, launch, leaving, locks
from orchestrator.embedded.place import Place
from orchestrator.errors import DatabaseUnavailableError, ParallaxError

DATABASE = "parallax"
SYSTEM_USER = "parallax-db"
START_SECONDS = 60.0


@dataclass(kw_only=True)
class Embedded:
    """Our share in a running server; the server lives until its last user has stopped or died."""

    place: Place
    url: str
    _users: int | None = field(repr=False)
    _again: Callable[[], None] = field(repr=False)

    def fileno(self) -> int:
        """The descriptor that is our share: a child process that inherits it keeps the server."""
        if self._users is None:
            raise ParallaxError("this share in the embedded PostgreSQL has been given back")
        return self._users

    def ensure(self) -> None:
        """Start the server again if it has ended under us, its guardian killed or told to go."""
        server = locks.opened(self.place.lock("server"))
        try:
            gone = locks.attempt(server, fcntl.LOCK_SH)
        finally:
            os.close(server)
        if gone:
            self._again()

    def stop(self) -> bool:
        """Give our share back; as its last user stop the server and wait. True if it is down."""
        if self._users is None:
            return False
        users, self._users = self._users, None
        try:
            with locks.exclusive(self.place.lock("start"), seconds=leaving.STOP_SECONDS):
                return leaving.leave(self.place, users)
        finally:
            os.close(users)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start(
    data_dir: Path, *, system_user: str = SYSTEM_USER, options: Mapping[str, str] | None = None
) -> Embedded:
    """Take a share in the server of `data_dir`; it is started if it does not run.

    `options` are server settings for whoever starts it. `ParallaxError` says what is missing.
    """
    place = _prepared(data_dir)
    users = locks.opened(place.lock("users"))

    def reach() -> None:
        with locks.exclusive(place.lock("start"), seconds=START_SECONDS):
            _reach(place, system_user, options or {})
            _create_database(place)

    try:
        locks.take(users, fcntl.LOCK_SH, seconds=leaving.STOP_SECONDS)
        reach()
    except BaseException:
        os.close(users)
        raise
    return Embedded(place=place, url=place.url(DATABASE), _users=users, _again=reach)


def _prepared(data_dir: Path) -> Place:
    place = Place(data_dir=data_dir.expanduser().resolve())
    try:
        place.lock("users").parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(locks.opened(place.lock("server")))
    except OSError as error:
        raise ParallaxError(
            f"The data directory {place.data_dir} cannot be used ({error.strerror})."
            " Set PARALLAX_DATA_DIR, or PARALLAX_DATABASE_URL to a PostgreSQL of your own."
        ) from error
    return place


def _reach(place: Place, system_user: str, options: Mapping[str, str]) -> None:
    server = locks.opened(place.lock("server"))
    launched = False
    deadline = time.monotonic() + START_SECONDS
    try:
        while not _answers(place):
            alive = not locks.attempt(server, fcntl.LOCK_EX)
            if launched and not alive:
                raise DatabaseUnavailableError(launch.fault(place.log))
            if not alive:
                _launch(place, server, system_user, options)
                os.close(server)  # the server has inherited the lock: it is free when that ends
                server = locks.opened(place.lock("server"))
                launched = True
            if time.monotonic() > deadline:
                raise DatabaseUnavailableError(launch.fault(place.log))
            time.sleep(locks.PAUSE_SECONDS)  # it tells nobody that it is ready
    finally:
        os.close(server)


def _answers(place: Place) -> bool:
    try:
        with psycopg.connect(place.url("postgres"), connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


def _launch(place: Place, server: int, system_user: str, options: Mapping[str, str]) -> None:
    programs = binaries.directory(place.cluster)
    account = accounts.choose(place.cluster, system_user)
    try:
        _prepare(place, account, programs)
    except OSError as error:
        raise ParallaxError(
            f"The embedded PostgreSQL cannot be set up as user {account.uid} ({error.strerror})."
            f" {accounts.INSTEAD}"
        ) from error
    sockets = {"unix_socket_directories": launch.listed(place.sockets)}
    settings = {**launch.SETTINGS, **sockets, **options}
    launch.guard(
        launch.Guarded(
            users=place.lock("users"),
            server=server,
            cluster=place.cluster,
            account=account,
            log=place.log,
            command=[str(programs / "postgres"), "-D", str(place.cluster), *launch.flags(settings)],
        )
    )


def _prepare(place: Place, account: accounts.Account, programs: Path) -> None:
    accounts.let_through(account, place.cluster)
    binaries.open_to(account, programs)
    launch.make_cluster(place.cluster, programs, account)
    launch.make_sockets(place.sockets, account)
    launch.forget_dead(place.cluster, place.sockets)


def _create_database(place: Place) -> None:
    with psycopg.connect(place.url("postgres"), autocommit=True) as connection:
        known = connection.execute(
            "SELECT FROM pg_database WHERE datname = %(name)s", {"name": DATABASE}
        )
        if known.rowcount == 0:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
