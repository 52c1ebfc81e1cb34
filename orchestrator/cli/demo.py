"""`demo`: the whole of it in under a minute, on a server of its own that is gone afterwards."""

import signal

from orchestrator.cli.edge import run
from orchestrator.cli.output import console


def demo() -> None:
    """Start a server, submit, watch, read, be refused, and leave nothing behind.

    Needs no network, no database and no key; everything lives in a temporary directory.
    """
    from orchestrator.cli.demo_story import tell

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    run(tell(console()))


def _interrupt(_number: int, _frame: object) -> None:
    """However it is told to end, it ends as by Ctrl-C: in order, leaving nothing behind."""
    signal.raise_signal(signal.SIGINT)
