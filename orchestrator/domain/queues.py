"""Queues of tasks: what a client may call one, and the surface that its tasks run on. Pure."""

import re
from collections.abc import Container

ADAPTER = "asyncqueue"
DEFAULT = "default"
GLOBAL = "GLOBAL"
"""The country of every task: where it is called from is no matter of its own."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Of the queues that clients name; only some of them can be configured."""
CONFIGURABLE = re.compile("[a-z][a-z0-9_]{0,33}")
_PREFIX = "queue_"


def surface(name: str) -> str:
    """The surface of a configured queue."""
    return _PREFIX + name


def is_queue(surface: str) -> bool:
    """Whether this surface is a queue's: what it captures is not asked for by its name."""
    return surface.startswith(_PREFIX)


def serving(name: str, registered: Container[str]) -> str:
    """The surface that the tasks of this queue run on: its own, or the one of all others."""
    own = surface(name)
    return own if CONFIGURABLE.fullmatch(name) and own in registered else surface(DEFAULT)
