"""Jobs over HTTP: submit one, read it."""

from typing import Any, cast
from uuid import UUID

from litestar import Request, asgi, get
from litestar.exceptions import MethodNotAllowedException
from litestar.types import HTTPScope, Receive, Scope, Send

from admission.keys import Key
from admission.refusals import Refusal
from orchestrator.api import bodies, catalogue, problems, queries, requests, services
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.replies import Reply, document
from orchestrator.api.requests import Rules
from orchestrator.api.services import Services
from orchestrator.domain import ids, views
from orchestrator.domain.documents import Accepted
from orchestrator.domain.ids import ChildId, ParentId
from orchestrator.domain.plan import Plan
from orchestrator.store import children, parents

AnyRequest = Request[Any, Any, Any]


@asgi("/v1/search", copy_scope=False)
async def search(scope: Scope, receive: Receive, send: Send) -> None:
    """`POST /v1/search`, without what Litestar does for a handler: a tenth of its cost."""
    if cast("HTTPScope", scope)["method"] != "POST":
        raise MethodNotAllowedException(headers={"allow": "POST"})
    reply = await submit(scope, receive)
    await reply(scope, receive, send)


async def submit(scope: Scope, receive: Receive) -> Reply:
    """Take a plan in: 202 once it is stored."""
    here, key = services.of(scope), scope["auth"]
    body = await bodies.read(scope, receive)
    if isinstance(body, Problem):
        return problems.reply(body, scope)
    existing = await here.catalogue()
    plan = checked(body, queries.of_submission(scope), here, existing)
    if isinstance(plan, Problem):
        return problems.reply(plan, scope)
    outcome = await here.submitter.submit(key, plan, existing.surfaces)
    if isinstance(outcome, Refusal):
        return problems.reply(problems.refused(outcome, key.limits), scope)
    return _accepted(ids.text(outcome.parent), plan, existing)


def checked(
    body: bytes, faults: list[Fault], here: Services, existing: Catalogue
) -> Plan | Problem:
    """The plan of a body, or why it cannot be: its faults, then cells that do not exist here."""
    rules = Rules(here.settings.default_country, here.settings.max_children)
    plan = requests.parse(body, rules)
    if isinstance(plan, list) or faults:
        return problems.invalid(faults + plan if isinstance(plan, list) else faults)
    if not existing.surfaces:
        return problems.no_surfaces()
    if problem := catalogue.unsupported(plan, existing):
        return problem
    if plan.options and (wrong := catalogue.option_faults(plan, existing)):
        return problems.invalid(wrong)
    return plan


def _accepted(job: str, plan: Plan, existing: Catalogue) -> Reply:
    accepted = Accepted(
        job_id=job,
        status="queued",
        children=tuple(ids.child_text(job, cell.surface, cell.token) for cell in plan.cells()),
        warnings=catalogue.warnings(plan, existing),
    )
    return document(accepted, status=202, headers=((b"location", f"/v1/jobs/{job}".encode()),))


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
