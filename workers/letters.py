"""Letters: what is sent of claimed deliveries, made from what their events are about."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog
from cachetools import LRUCache
from psycopg import AsyncConnection

from orchestrator.domain import deliveries as documents
from orchestrator.domain import ids, plan
from orchestrator.domain.deliveries import Occasion
from orchestrator.domain.dialects import cloro
from orchestrator.domain.ids import EventId
from orchestrator.domain.plan import Cell
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.webhooks import Webhook
from orchestrator.store import children, parents, surfaces, webhook_secrets
from orchestrator.store.deliveries import ClaimedDelivery
from orchestrator.surfaces import SurfaceDescriptor
from workers.secrets import UNREADABLE, Secrets
from workers.signing import Signer

REMEMBERED_BYTES = 16 * 1024 * 1024
"""Of parents, as `_Sender.size` has it: ten thousand ordinary ones."""
CELL_BYTES = 100
REMEMBERED_SECRETS = 2_000
SURFACES_SECONDS = 10.0
_log = structlog.get_logger()


class Letter(NamedTuple):
    """A delivery to attempt: where to, and what of. `signers` is None for one not to be sent.

    cloro's clients are told in its way (`task`: the id of theirs), by the newest secret alone.
    """

    claimed: ClaimedDelivery
    url: str
    body: bytes
    signers: Sequence[Signer] | None
    task: str | None = None


class _Sender(NamedTuple):
    """A parent as it is remembered: with its cells spelled out once."""

    row: ParentRow
    webhook: Webhook
    cells: tuple[Cell, ...]

    @property
    def size(self) -> int:
        """About how many bytes of JSON it would be."""
        return len(plan.encode(self.row.plan)) + CELL_BYTES * len(self.cells)


class _Ended(NamedTuple):
    """A task of cloro's as it is now."""

    parent: ParentRow
    child: ChildRow | None


class Letters:
    """Writes letters. What it reads is remembered: parents that were, secrets that were opened."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._senders: LRUCache[UUID, _Sender] = LRUCache(
            REMEMBERED_BYTES, getsizeof=lambda sender: sender.size
        )
        self._signers: LRUCache[str, Signer | None] = LRUCache(REMEMBERED_SECRETS)
        self._surfaces: Mapping[str, SurfaceDescriptor] = {}
        self._read_at = -SURFACES_SECONDS

    async def write(
        self, connection: AsyncConnection, claimed: Collection[ClaimedDelivery]
    ) -> list[Letter]:
        """A letter for each; one whose parent is gone or cannot be read is not to be sent."""
        senders = await self._read_senders(connection, {one.parent_id for one in claimed})
        tasks = [row.id for row, _, _ in senders.values() if row.plan.task_type is not None]
        ended = await _ended(connection, tasks)
        keyed = {row.key_id for row, webhook, _ in senders.values() if webhook.sealed is None}
        sealed = await webhook_secrets.sealed(connection, keyed) if keyed else {}
        await self._read_surfaces(connection)
        return [
            self._safely(one, senders.get(one.parent_id), sealed, ended.get(one.parent_id))
            for one in claimed
        ]

    def _safely(
        self,
        claimed: ClaimedDelivery,
        sender: _Sender | None,
        sealed: Mapping[int, Sequence[str]],
        ended: _Ended | None,
    ) -> Letter:
        """One that cannot be written must not hold up the others."""
        if sender is not None:
            try:
                if sender.row.plan.task_type is None:
                    return self._letter(claimed, sender, sealed)
                return self._task_letter(claimed, sender, sealed, ended)
            except Exception:  # noqa: BLE001 - logged whole, and tried again by the schedule
                _log.exception("delivery.unwritable")
        return Letter(claimed._replace(child=None), "", b"", None)

    def _letter(
        self, claimed: ClaimedDelivery, sender: _Sender, sealed: Mapping[int, Sequence[str]]
    ) -> Letter:
        webhook = sender.webhook
        secrets = [webhook.sealed] if webhook.sealed else sealed.get(claimed.key_id, ())
        signers = [self._signer(secret) for secret in secrets]
        known = [signer for signer in signers if signer is not None]
        return Letter(
            claimed._replace(child=None),  # what it captured is in the body now
            webhook.url,
            self._body(claimed, sender),
            known if len(known) == len(signers) else None,
        )

    def _task_letter(
        self,
        claimed: ClaimedDelivery,
        sender: _Sender,
        sealed: Mapping[int, Sequence[str]],
        ended: _Ended | None,
    ) -> Letter:
        """Of a task of cloro's, whose row says more of it now than when it was remembered."""
        if ended is None:
            return Letter(claimed._replace(child=None), "", b"", None)
        surface = self._surfaces.get(ended.parent.plan.surfaces[0])
        signers = [self._signer(secret) for secret in sealed.get(claimed.key_id, ())[:1]]
        known = [signer for signer in signers if signer is not None]
        return Letter(
            claimed._replace(child=None),
            sender.webhook.url,
            cloro.told(ended.parent, ended.child, surface),
            known if len(known) == len(signers) else None,
            str(claimed.parent_id),
        )

    def _body(self, claimed: ClaimedDelivery, sender: _Sender) -> bytes:
        event = EventId(claimed.parent_id, claimed.ordinal, claimed.run)
        occasion = Occasion(event, claimed.state, claimed.created_at)
        if claimed.child is None:
            return documents.parent_body(occasion, claimed.counts or (0, 0, 0, 0))
        cell = sender.cells[claimed.ordinal - 1]
        surface = self._surfaces.get(cell.surface)
        return documents.child_body(occasion, sender.row, cell, claimed.child, surface)

    def _signer(self, sealed: str) -> Signer | None:
        """None for a secret that none of our keys opens: to send unsigned would be to lie."""
        if sealed not in self._signers:
            secret = self._secrets.opened(sealed)
            self._signers[sealed] = None if secret == UNREADABLE else Signer(secret)
        return self._signers[sealed]

    async def _read_senders(
        self, connection: AsyncConnection, wanted: set[UUID]
    ) -> dict[UUID, _Sender]:
        found = {parent: self._senders[parent] for parent in wanted if parent in self._senders}
        if unknown := wanted - found.keys():
            for parent, row in (await _readable(connection, unknown)).items():
                if (webhook := row.plan.webhook) is not None:
                    sender = _Sender(row, webhook, tuple(row.plan.cells()))
                    found[parent] = self._senders[parent] = sender
        return found

    async def _read_surfaces(self, connection: AsyncConnection) -> None:
        """Which adapter a cell would have gone to that ended without a capture."""
        if time.monotonic() - self._read_at > SURFACES_SECONDS:
            described = await surfaces.all_surfaces(connection)
            self._surfaces = {surface.name: surface for surface in described}
            self._read_at = time.monotonic()


async def _ended(connection: AsyncConnection, tasks: Collection[UUID]) -> dict[UUID, _Ended]:
    """These tasks, with what their cells found."""
    if not tasks:
        return {}
    found = await parents.many(connection, tasks)
    cells = await children.firsts(connection, tasks, whole=True)
    return {task: _Ended(row, cells.get(task)) for task, row in found.items()}


async def _readable(connection: AsyncConnection, wanted: set[UUID]) -> dict[UUID, ParentRow]:
    """These parents, but for those whose plan cannot be read: by a later version, perhaps."""
    try:
        return await parents.many(connection, wanted)
    except msgspec.DecodeError:
        if len(wanted) == 1:
            _log.exception("delivery.parent_unreadable", parent=ids.text(*wanted))
            return {}
    each = [await _readable(connection, {parent}) for parent in wanted]
    return {parent: row for some in each for parent, row in some.items()}
