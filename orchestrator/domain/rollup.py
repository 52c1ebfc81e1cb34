"""How the ends of its cells make the end of a parent. The database's `rolled_up` says the same."""

from orchestrator.domain.states import ParentState


def end(
    *,
    completed: int,
    failed: int,
    canceled: int,
    expired: int,
    finish: int | None = None,
    cancel_asked: bool = False,
) -> ParentState:
    """The state of a parent whose last cell has ended; so many completed as `finish` are enough."""
    if finish is not None and completed >= finish:
        return ParentState.COMPLETED
    if completed:
        return ParentState.PARTIAL if failed or canceled or expired else ParentState.COMPLETED
    if cancel_asked:
        return ParentState.CANCELED
    if failed:
        return ParentState.FAILED
    return ParentState.EXPIRED if expired else ParentState.CANCELED
