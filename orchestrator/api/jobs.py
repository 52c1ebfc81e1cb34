"""Jobs over HTTP: submit one, read it."""

from typing import Any, cast
from uuid import UUID

from litestar import Request, asgi, get, post
from litestar.exceptions import MethodNotAllowedException
from litestar.types import HTTPScope, Receive, Scope, Send

from admission.keys import Key
from orchestrator.api import answering, asking, problems, queries, services
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.replies import Reply, document
from orchestrator.api.services import Services
from orchestrator.domain import ids, views
from orchestrator.domain.ids import ChildId, ParentId
from orchestrator.store import children, parents

AnyRequest = Request[Any, Any, Any]


@asgi("/v1/search", copy_scope=False)
async def search(scope: Scope, receive: Receive, send: Send) -> None:
    """`POST /v1/search`, without what Litestar does for a handler: a tenth of its cost."""
    if cast("HTTPScope", scope)["method"] != "POST":
        raise MethodNotAllowedException(headers={"allow": "POST"})
    await (await submit(scope, receive, None))(scope, receive, send)


@post("/v1/search/{surface:str}")
async def search_surface(request: AnyRequest) -> Reply:
    """`POST /v1/search/{surface}`: one surface, answered in the same call unless said otherwise."""
    scope = request.scope
    return await submit(scope, request.receive, scope["path_params"]["surface"])


async def submit(scope: Scope, receive: Receive, surface: str | None) -> Reply:
    """Take a plan in, and wait for its answer when that is asked for."""
    question = await asking.read(scope, receive, surface)
    if isinstance(question, Problem):
        return problems.reply(question, scope)
    here = services.of(scope)
    if question.mode.wait_seconds is None:
        answer = await asking.queue(here, question)
    else:
        answer = await answering.answer(here, question, receive)
    return problems.reply(answer, scope) if isinstance(answer, Problem) else answer


@get("/v1/jobs/{job:str}")
async def read(request: AnyRequest) -> Reply:
    """A parent with its children, or the Envelope of one child."""
    scope = request.scope
    key: Key = scope["auth"]
    flat = queries.flat(queries.of(scope))
    if isinstance(flat, Fault):
        return problems.reply(problems.invalid([flat]), scope)
    match ids.read(scope["path_params"]["job"]):
        case ParentId(parent):
            found = await _parent(services.of(scope), key, parent)
        case ChildId() as child:
            found = await _child(services.of(scope), key, child, flat=flat)
        case None:
            found = None
    return problems.reply(problems.job_not_found(), scope) if found is None else found


async def _parent(here: Services, key: Key, parent: UUID) -> Reply | None:
    async with here.reading() as connection:
        row = await parents.read(connection, key_id=key.id, parent=parent)
        if row is None:
            return None
        rows = await children.of(connection, parent)
    return document(views.job_read(row, rows))


async def _child(here: Services, key: Key, child: ChildId, *, flat: bool) -> Reply | None:
    async with here.reading() as connection:
        parent = await parents.read(connection, key_id=key.id, parent=child.parent)
        cell = parent.plan.find(child.surface, child.region) if parent else None
        if parent is None or cell is None:
            return None
        row = await children.one(connection, child.parent, cell.ordinal)
    existing = await here.catalogue()
    envelope = views.envelope(parent, cell, row, existing.surfaces.get(cell.surface))
    return document(views.flat(envelope) if flat else envelope)
