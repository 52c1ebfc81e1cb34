"""The heartbeat: a thread with a connection of its own.

Neither a busy event loop nor an exhausted pool stops it.
"""

import threading
import time
from typing import Any

import psycopg
import structlog

from orchestrator.errors import DatabaseUnavailableError
from orchestrator.store import nodes
from orchestrator.store.nodes import NewNode

BEAT_SECONDS = 2.0
FRESH_SECONDS = 8.0
"""Without a beat for this long a node starts nothing new; after ten others take its children."""

_log = structlog.get_logger()


class Heartbeat:
    """Says every two seconds that this node lives, and knows how well that goes."""

    def __init__(
        self, url: str, options: dict[str, Any], node: NewNode, *, node_id: int | None = None
    ) -> None:
        self._url = url
        self._options = options
        self._node = node
        self._node_id = node_id
        self._tried = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._last_good = time.monotonic()

    @property
    def node_id(self) -> int:
        """The id of this node; `DatabaseUnavailableError` before it could be entered."""
        if self._node_id is None:
            raise DatabaseUnavailableError("this process has not reached its database yet")
        return self._node_id

    @property
    def fresh(self) -> bool:
        """True while this node may start children."""
        return time.monotonic() - self._last_good < FRESH_SECONDS

    def start(self) -> None:
        """Begin to beat. A node that has no id yet is entered first."""
        self._thread.start()

    def tried(self) -> None:
        """Return once the database was reached, or was not, for the first time."""
        self._tried.wait()

    def stop(self) -> None:
        """Beat no more; returns when the thread has ended."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._beat_on()
            except Exception as error:  # noqa: BLE001 - whatever it was, to fall silent is worse
                self._tried.set()
                _log.warning("heartbeat.failed", node=self._node_id, error=type(error).__name__)
                self._stopping.wait(0.5)

    def _beat_on(self) -> None:
        with psycopg.connect(self._url, **self._options) as connection:
            if self._node_id is None:
                self._node_id = nodes.enter(connection, self._node)
            while not self._stopping.is_set():
                nodes.beat(connection, self._node_id, self._node)
                self._last_good = time.monotonic()
                self._tried.set()
                self._stopping.wait(BEAT_SECONDS)
