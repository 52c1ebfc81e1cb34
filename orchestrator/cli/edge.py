"""Where a command meets the event loop and the server."""

import asyncio
import os
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.client import Client

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its end; Ctrl-C cancels it first."""
    return asyncio.run(work)


def client() -> "Client":
    """The client of the server and key of the environment."""
    from orchestrator.client import Client

    if not os.environ.get("PARALLAX_API_KEY"):
        raise ConfigError("PARALLAX_API_KEY is not set; `parallax keys create NAME` makes a key.")
    return Client()
