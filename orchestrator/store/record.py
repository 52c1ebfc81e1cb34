"""Parents as the record of admission's gate: known again by their idempotency key."""

from collections.abc import Collection, Mapping, Sequence

from cachetools import LRUCache
from psycopg import AsyncConnection

from admission.deciding import Known
from orchestrator.domain.states import ParentState
from orchestrator.store import groups, parents, strands
from orchestrator.store.parents import Earlier, NewParent

MOST_GROUPS = 10_000


class Record:
    """Where the gate keeps what it admits; `admission.gate.Record` says what each is for.

    It remembers the ids of groups, which never change, of as many as were named lately.
    """

    def __init__(self) -> None:
        self._groups: LRUCache[tuple[int, str], int] = LRUCache(MOST_GROUPS)

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
        return _known(Earlier(stored.id, _state(stored), stored.fingerprint or b""), entry)

    async def store(self, connection: AsyncConnection, entries: Sequence[NewParent]) -> None:
        """Put them into the queue, or straight to work, each into its group."""
        named = [(one.key_id, one.plan.group) for one in entries if one.plan.group is not None]
        if named:
            ids = await self._ids(connection, set(named))
            entries = [one._replace(group_id=_group(one, ids)) for one in entries]
        await parents.insert(connection, entries)

    async def join(
        self, connection: AsyncConnection, waiting: Sequence[tuple[NewParent, Earlier]]
    ) -> None:
        """Have their callers wait for the earlier parents."""
        await parents.attend(connection, [(entry, before.id) for entry, before in waiting])

    async def resumes(
        self, connection: AsyncConnection, keys: Collection[int]
    ) -> Mapping[int, float]:
        """When the queues of these keys move again that lanes keep from moving."""
        return await strands.resumes(connection, keys)

    async def _ids(
        self, connection: AsyncConnection, names: set[tuple[int, str]]
    ) -> dict[tuple[int, str], int]:
        """The ids of these groups; those made here are remembered once they are found again.

        For what is made in this transaction may be undone.
        """
        ids = {name: group for name in names if (group := self._groups.get(name)) is not None}
        if unknown := names - ids.keys():
            found = await groups.find(connection, unknown)
            self._groups.update(found)
            ids |= found
        if new := names - ids.keys():
            ids |= await groups.ensure(connection, new)
        return ids


def _state(stored: NewParent) -> ParentState:
    if stored.caller:
        return ParentState.PROCESSING
    return ParentState.DELAYED if stored.plan.delay else ParentState.QUEUED


def _group(entry: NewParent, ids: dict[tuple[int, str], int]) -> int | None:
    return None if entry.plan.group is None else ids[entry.key_id, entry.plan.group]


def _known(before: Earlier, entry: NewParent) -> Known[Earlier]:
    same = before.fingerprint == entry.fingerprint
    return Known(before, open=same and not before.state.ended, same=same)
