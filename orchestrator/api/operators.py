"""What operators may see beside their own: every process and every key."""

from typing import Any

from litestar import Request, get

from admission import accounts
from admission.accounts import Account
from orchestrator.api import services
from orchestrator.api.account import LimitsView
from orchestrator.api.replies import Reply, document
from orchestrator.domain.envelope import Wire
from orchestrator.domain.times import rfc3339
from orchestrator.store.nodes import Kind, NodeRow, all_nodes

AnyRequest = Request[Any, Any, Any]


class NodeView(Wire):
    """A process; `alive` while its heartbeat is fresh, `running` counts the children it holds."""

    id: int
    kind: Kind
    host: str
    pid: int
    slots: int
    surfaces: tuple[str, ...]
    alive: bool
    running: int
    started_at: str
    heartbeat_at: str


class Nodes(Wire):
    """The answer to `GET /v1/nodes`: dead processes too, until their work is taken over."""

    nodes: tuple[NodeView, ...]


class KeyUsage(Wire):
    """What a key has taken: places, children that run, sync places. As its snapshot says it."""

    depth: int
    processing: int
    sync_running: int


class ListedKey(Wire):
    """A key; `secrets` is how many live ones it has, `credits` how many are free; null: any."""

    id: int
    name: str
    role: str
    limits: LimitsView
    created_at: str
    secrets: int
    credits: int | None
    usage: KeyUsage


class Keys(Wire):
    """The answer to `GET /v1/keys`."""

    keys: tuple[ListedKey, ...]


@get("/v1/nodes")
async def nodes(request: AnyRequest) -> Reply:
    """Every process there is."""
    async with services.of(request.scope).reading() as connection:
        rows = await all_nodes(connection)
    return document(Nodes(nodes=tuple(map(_node, rows))))


@get("/v1/keys")
async def keys(request: AnyRequest) -> Reply:
    """Every key there is, never a secret."""
    async with services.of(request.scope).pool.connection() as connection:
        found = await accounts.all_accounts(connection)
    return document(Keys(keys=tuple(map(_key, found))))


def _node(row: NodeRow) -> NodeView:
    return NodeView(
        id=row.id,
        kind=row.kind,
        host=row.host,
        pid=row.pid,
        slots=row.slots,
        surfaces=tuple(row.surfaces),
        alive=row.alive,
        running=row.running,
        started_at=rfc3339(row.started_at),
        heartbeat_at=rfc3339(row.heartbeat_at),
    )


def _key(account: Account) -> ListedKey:
    return ListedKey(
        id=account.id,
        name=account.name,
        role=account.role,
        limits=LimitsView(**account.limits._asdict()),
        created_at=rfc3339(account.created_at),
        secrets=account.secrets,
        credits=account.credits,
        usage=KeyUsage(
            depth=account.usage.depth,
            processing=account.processing,
            sync_running=account.usage.sync_running,
        ),
    )
