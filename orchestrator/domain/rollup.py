"""How the ends of its cells make the end of a parent. The settle statement says the same in SQL."""

from orchestrator.domain.states import ParentState


def end(
    *, completed: int, failed: int, canceled: int, expired: int, cancel_asked: bool = False
) -> ParentState:
    """The state of a parent whose last cell has ended."""
    if completed and not (failed or canceled or expired):
        return ParentState.COMPLETED
    if completed:
        return ParentState.PARTIAL
    if cancel_asked:
        return ParentState.CANCELED
    if failed:
        return ParentState.FAILED
    return ParentState.EXPIRED if expired else ParentState.CANCELED
