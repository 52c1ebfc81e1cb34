"""Giving a share in the server back: the last to leave stops it."""

import fcntl
import os
import signal
import time
from contextlib import suppress

from orchestrator.embedded import launch, locks
from orchestrator.embedded.place import Place

STOP_SECONDS = 60.0


def leave(place: Place, users: int) -> bool:
    """Give up the share `users`, holding the lock `start`. True if the server is down then."""
    server = locks.opened(place.lock("server"))
    try:
        if locks.attempt(users, fcntl.LOCK_EX):
            return _halt(place, server) and _swept(place)
        if locks.attempt(users, fcntl.LOCK_SH):
            return False  # others use it
        locks.take(server, fcntl.LOCK_EX, seconds=STOP_SECONDS)  # the guardian was quicker
        return True
    finally:
        os.close(server)


def _swept(place: Place) -> bool:
    """Remove the socket's directory where it is not the cluster's."""
    if place.sockets != place.cluster:
        with suppress(OSError):
            place.sockets.rmdir()
    return True


def _halt(place: Place, server: int) -> bool:
    """Stop the server nobody else uses; one that is not ours (its lock is free) is left alone."""
    for order, seconds in ((signal.SIGINT, STOP_SECONDS / 2), (signal.SIGQUIT, STOP_SECONDS / 2)):
        deadline = time.monotonic() + seconds
        while not locks.attempt(server, fcntl.LOCK_EX):
            launch.tell(place.cluster, order)
            if time.monotonic() > deadline:
                break
            time.sleep(locks.PAUSE_SECONDS)  # its end shows in the lock alone
        else:
            return True
    return False
