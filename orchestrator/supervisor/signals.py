"""Signals as values: the loop waits for them instead of being interrupted by them."""

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

STOP = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""SIGHUP too: it comes when the terminal is closed."""
RENEW = signal.SIGUSR2


class Signals:
    """The signals that have arrived: requests to stop or to renew, and ends of children."""

    def __init__(self, wakeup: socket.socket) -> None:
        self._wakeup = wakeup

    def wait(self, seconds: float) -> frozenset[int]:
        """Wait for any signal, at most `seconds`; those that have come."""
        readable, _, _ = select.select([self._wakeup], [], [], max(0.0, seconds))
        return frozenset(self._wakeup.recv(4096)) if readable else frozenset()


@contextmanager
def caught() -> Iterator[Signals]:
    """Catch STOP, RENEW and SIGCHLD for the block (main thread only), then as before."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)  # the wake-up descriptor must not block
    caught = (*STOP, RENEW, signal.SIGCHLD)
    before = {number: signal.signal(number, _nothing) for number in caught}
    former = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        yield Signals(ours)
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()


def _nothing(_number: int, _frame: object) -> None:
    """The wake-up descriptor carries the signal; a handler has to exist for that."""
