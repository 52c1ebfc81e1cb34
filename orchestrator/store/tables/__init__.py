"""The tables of the whole database, with their constraints and indexes."""

from sqlmodel import SQLModel

from admission.tables import (
    ApiKey,
    ApiSecret,
    RateBucket,
    RateLot,
    Reservation,
    SyncWait,
    UsageRow,
)
from orchestrator.store.tables.counted import Backlog, Inflight, LaneLoad, Strand
from orchestrator.store.tables.deliveries import DataKey, Delivery, DeliveryReplay, WebhookSecret
from orchestrator.store.tables.groups import GroupAction, GroupUsage, ParentGroup
from orchestrator.store.tables.jobs import Child, Parent, SharedCall
from orchestrator.store.tables.lanes import Lane, LanePace, Node, Surface, Watcher

__all__ = [
    "ApiKey",
    "ApiSecret",
    "Backlog",
    "Child",
    "DataKey",
    "Delivery",
    "DeliveryReplay",
    "GroupAction",
    "GroupUsage",
    "Inflight",
    "Lane",
    "LaneLoad",
    "LanePace",
    "Node",
    "Parent",
    "ParentGroup",
    "RateBucket",
    "RateLot",
    "Reservation",
    "SharedCall",
    "Strand",
    "Surface",
    "SyncWait",
    "UsageRow",
    "Watcher",
    "WebhookSecret",
    "metadata",
]

metadata = SQLModel.metadata
