"""Steering: what is told to jobs that were taken in: cancel, expire, run again, go.

Every one locks its parents in a statement before the one that changes them: a lock inside the
changing statement hands back the newest parent, but not the children a fan-out made meanwhile.
Parents that wait and parents that work are never changed by one statement, and only those of one
key in a transaction: their counters would be locked in two orders.
"""

from orchestrator.store.steering.cancel import (
    CLEARED,
    Canceled,
    NotCancelable,
    Swept,
    cancel,
    clear,
    clock,
)
from orchestrator.store.steering.dismiss import NotDismissible, dismiss
from orchestrator.store.steering.erase import Erased, NotEnded, erase
from orchestrator.store.steering.expire import Expired, expire
from orchestrator.store.steering.retry import RETRYABLE, Again, NotRetryable, again, retryable
from orchestrator.store.steering.stop import Told, stop

__all__ = [
    "CLEARED",
    "RETRYABLE",
    "Again",
    "Canceled",
    "Erased",
    "Expired",
    "NotCancelable",
    "NotDismissible",
    "NotEnded",
    "NotRetryable",
    "Swept",
    "Told",
    "again",
    "cancel",
    "clear",
    "clock",
    "dismiss",
    "erase",
    "expire",
    "retryable",
    "stop",
]
