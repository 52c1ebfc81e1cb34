"""Jobs over HTTP: submit one, read it."""

from typing import Any, cast
from uuid import UUID

from litestar import HttpMethod, Request, asgi, post, route
from litestar.exceptions import MethodNotAllowedException
from litestar.types import HTTPScope, Receive, Scope, Send

from admission.keys import Key
from orchestrator.api import (
    answering,
    asking,
    polling,
    problems,
    queries,
    reading,
    services,
    steering,
)
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.replies import Reply, document
from orchestrator.api.services import Services
from orchestrator.domain import cell_views, ids
from orchestrator.domain.ids import ChildId, ParentId

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


@route("/v1/jobs/{job:str}", http_method=[HttpMethod.GET, HttpMethod.DELETE], status_code=200)
async def job(request: AnyRequest) -> Reply:
    """`GET` and `DELETE` of a job: one handler, or what OPTIONS allows would be the first's."""
    if request.method == HttpMethod.DELETE:
        return await steering.remove(request)
    return await read(request)


async def read(request: AnyRequest) -> Reply:
    """A parent with its children, or the Envelope of one child."""
    scope = request.scope
    key: Key = scope["auth"]
    given = queries.of(scope)
    flat, wait = queries.flat(given), queries.wait(given)
    if isinstance(flat, Fault) or isinstance(wait, Fault):
        faults = [part for part in (flat, wait) if isinstance(part, Fault)]
        return problems.reply(problems.invalid(faults), scope)
    match ids.read(scope["path_params"]["job"]):
        case ParentId(parent):
            found = await _parent(request, key, parent, wait)
        case ChildId() as child:
            found = await _child(services.of(scope), key, child, flat=flat)
        case None:
            found = None
    return problems.reply(problems.job_not_found(), scope) if found is None else found


async def _parent(request: AnyRequest, key: Key, parent: UUID, wait: int) -> Reply | None:
    known = ",".join(queries.headers(request.scope, b"if-none-match"))
    found = await polling.read(
        services.of(request.scope),
        key,
        parent,
        seconds=wait,
        known=known,
        receive=request.receive,
    )
    if found is None:
        return None
    return document(found, headers=((b"etag", polling.tag(found, parent).encode()),))


async def _child(here: Services, key: Key, child: ChildId, *, flat: bool) -> Reply | None:
    existing = await here.catalogue()
    async with here.reading() as connection:
        envelope = await reading.cell(connection, existing, key_id=key.id, child=child)
    if envelope is None:
        return None
    return document(cell_views.flat(envelope) if flat else envelope)
