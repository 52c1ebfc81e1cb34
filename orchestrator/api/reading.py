"""A job as a client reads it now: its statements want to see one moment."""

from uuid import UUID

from psycopg import AsyncConnection

from orchestrator.api.catalogue import Catalogue
from orchestrator.domain import cell_views, views
from orchestrator.domain.documents import Envelope, JobRead
from orchestrator.domain.ids import ChildId
from orchestrator.domain.rows import ParentRow
from orchestrator.store import children, parents, standing


async def job(connection: AsyncConnection, *, key_id: int, parent: UUID) -> JobRead | None:
    """The read of a parent of this key, or None."""
    row = await parents.read(connection, key_id=key_id, parent=parent)
    return await of(connection, row) if row else None


async def of(connection: AsyncConnection, parent: ParentRow) -> JobRead:
    """The read of this parent."""
    return views.job_read(
        parent,
        await children.of(connection, parent.id),
        queued=await standing.place(connection, parent),
        obstacles=await standing.obstacles(connection, parent),
    )


async def cell(
    connection: AsyncConnection, existing: Catalogue, *, key_id: int, child: ChildId
) -> Envelope | None:
    """The Envelope of a child of this key, or None."""
    parent = await parents.read(connection, key_id=key_id, parent=child.parent)
    found = parent.plan.find(child.surface, child.region) if parent else None
    if parent is None or found is None:
        return None
    row = await children.one(connection, child.parent, found.ordinal)
    surface = existing.surfaces.get(found.surface)
    obstacles = await standing.obstacles(connection, parent)
    return cell_views.envelope(parent, found, row, surface, obstacles)
