"""Parents as the record of admission's gate: known again by their idempotency key."""

from collections.abc import Sequence

from psycopg import AsyncConnection

from admission.deciding import Known
from orchestrator.domain.states import ParentState
from orchestrator.store import parents
from orchestrator.store.parents import Earlier, NewParent


class Record:
    """Where the gate keeps what it admits; `admission.gate.Record` says what each is for."""

    async def recall(
        self, connection: AsyncConnection, entries: Sequence[NewParent]
    ) -> Sequence[Known[Earlier] | None]:
        """The parent of each that was submitted before under its idempotency key."""
        names = [(entry.key_id, entry.idempotency_key or "") for entry in entries]
        found = await parents.earlier(connection, names)
        return [
            _known(before, entry) if before else None
            for entry, before in zip(entries, found, strict=True)
        ]

    def again(self, stored: NewParent, entry: NewParent) -> Known[Earlier]:
        """What a parent stored a moment ago is to another submission under its key."""
        state = ParentState.PROCESSING if stored.caller else ParentState.QUEUED
        return _known(Earlier(stored.id, state, stored.fingerprint or b""), entry)

    async def store(self, connection: AsyncConnection, entries: Sequence[NewParent]) -> None:
        """Put them into the queue, or straight to work."""
        await parents.insert(connection, entries)

    async def join(
        self, connection: AsyncConnection, waiting: Sequence[tuple[NewParent, Earlier]]
    ) -> None:
        """Have their callers wait for the earlier parents."""
        await parents.attend(connection, [(entry, before.id) for entry, before in waiting])


def _known(before: Earlier, entry: NewParent) -> Known[Earlier]:
    same = before.fingerprint == entry.fingerprint
    return Known(before, open=same and not before.state.ended, same=same)
