"""The tables of the whole database, with their constraints and indexes."""

from sqlmodel import SQLModel

from admission.tables import ApiKey, ApiSecret, RateBucket, RateLot, SyncWait, UsageRow
from orchestrator.store.tables.counted import Backlog, Inflight, LaneLoad
from orchestrator.store.tables.jobs import Child, Parent
from orchestrator.store.tables.lanes import Lane, Node, Surface

__all__ = [
    "ApiKey",
    "ApiSecret",
    "Backlog",
    "Child",
    "Inflight",
    "Lane",
    "LaneLoad",
    "Node",
    "Parent",
    "RateBucket",
    "RateLot",
    "Surface",
    "SyncWait",
    "UsageRow",
    "metadata",
]

metadata = SQLModel.metadata
