"""Deliveries: the outbox of webhooks.

An event is put there by the transaction that ends a child or a parent, so nothing that ended goes
untold; its key (parent, run, child) lets it be told once. A deliverer claims what is due for a
while, sends it, and records how that went under its claim's token: whoever is too late changes
nothing, and what a dead one held is due again when its claim runs out. So an event is told at least
once, and recorded as delivered once.

Locks: deliveries after parents, children and counters, in the order of their keys, unless they are
skipped when somebody else has them.
"""

from orchestrator.store.deliveries.claim import (
    BEFORE_ALL,
    LEASE_SECONDS,
    ClaimedDelivery,
    Due,
    Look,
    Met,
    Order,
    claim,
    due,
)
from orchestrator.store.deliveries.counting import undelivered
from orchestrator.store.deliveries.keeping import forget, keep
from orchestrator.store.deliveries.listing import DeliveryRow, Wanted, one, page
from orchestrator.store.deliveries.ranges import Place, Range, go_on, request
from orchestrator.store.deliveries.record import Attempted, Status, record
from orchestrator.store.deliveries.replay import replay
from orchestrator.store.deliveries.tell import tell

__all__ = [
    "BEFORE_ALL",
    "LEASE_SECONDS",
    "Attempted",
    "ClaimedDelivery",
    "DeliveryRow",
    "Due",
    "Look",
    "Met",
    "Order",
    "Place",
    "Range",
    "Status",
    "Wanted",
    "claim",
    "due",
    "forget",
    "go_on",
    "keep",
    "one",
    "page",
    "record",
    "replay",
    "request",
    "tell",
    "undelivered",
]
