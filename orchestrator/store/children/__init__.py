"""Children: claimed, settled, staged, rescued and read."""

from orchestrator.store.children.claim import Claimed, claim, claimed
from orchestrator.store.children.outcomes import (
    Completed,
    Failed,
    Fence,
    GivenBack,
    Outcome,
    Retry,
    Settled,
)
from orchestrator.store.children.pace import forget_turns, next_start
from orchestrator.store.children.read import firsts, of, one, results, stopped
from orchestrator.store.children.rescue import SUSPECT_AFTER, Rescued, blame, rescue
from orchestrator.store.children.settle import settle
from orchestrator.store.children.stage import Staged, stage

__all__ = [
    "SUSPECT_AFTER",
    "Claimed",
    "Completed",
    "Failed",
    "Fence",
    "GivenBack",
    "Outcome",
    "Rescued",
    "Retry",
    "Settled",
    "Staged",
    "blame",
    "claim",
    "claimed",
    "firsts",
    "forget_turns",
    "next_start",
    "of",
    "one",
    "rescue",
    "results",
    "settle",
    "stage",
    "stopped",
]
