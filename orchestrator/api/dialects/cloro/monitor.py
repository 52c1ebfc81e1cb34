"""cloro's monitors: a task that is waited for in the call."""

from contextlib import suppress
from typing import Any, Literal

from litestar import Request, post
from litestar.types import Receive, Scope

from admission import usage
from admission.policy import sync_headroom
from orchestrator.api import answering, bodies, problems, services
from orchestrator.api.asking import Question
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.codes import Code
from orchestrator.api.denials import Outlived
from orchestrator.api.dialects.cloro import requests
from orchestrator.api.prefer import Mode
from orchestrator.api.problems import Problem
from orchestrator.api.replies import Header, Reply
from orchestrator.api.services import Services
from orchestrator.domain.dialects import cloro
from orchestrator.domain.dialects.cloro import CloroFailed, CloroResult
from orchestrator.domain.envelope import Wire
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.patience import DATABASE_AWAY

LATER = "The answer is not there yet; its job goes on. Read Location: sent again it is made twice."


class CloroMonitored(Wire, kw_only=True):
    """What a monitor found."""

    success: Literal[True] = True
    result: CloroResult


@post("/v1/monitor/{provider:str}", status_code=200)
async def monitor(request: Request[Any, Any, Any]) -> Reply:
    """`POST /v1/monitor/{provider}`: the result, in the same call."""
    scope = request.scope
    here = services.of(scope)
    question = await _read(here, scope, request.receive)
    answer: Reply | Problem
    if isinstance(question, Problem):
        answer = question
    else:
        answer = await answering.answer(here, question, request.receive)
    if isinstance(answer, Problem) and isinstance(answer.details, Outlived):
        answer = answer._replace(message=LATER)
    reply = problems.reply(answer, scope) if isinstance(answer, Problem) else answer
    told = {name for name, _ in reply.headers}
    beside = await _concurrency(here, scope["auth"].id)
    reply.headers += [header for header in beside if header[0] not in told]
    return reply


async def _read(here: Services, scope: Scope, receive: Receive) -> Question | Problem:
    kind = requests.kind_of(scope["path_params"]["provider"])
    if kind is None:
        return problems.not_found()
    body = await bodies.read(scope, receive)
    if isinstance(body, Problem):
        return body
    existing = await here.catalogue()
    plan = requests.monitor(kind, body, await here.rules(), existing)
    if isinstance(plan, Problem):
        return plan
    settings = here.settings
    mode = Mode(min(settings.sync_wait, settings.sync_wait_max))
    return Question(
        scope["auth"], plan, None, mode, flat=False, existing=existing, shown=_shown(existing)
    )


def _shown(existing: Catalogue) -> Any:
    def shown(parent: ParentRow, rows: list[ChildRow]) -> Wire | Problem:
        row = next(iter(rows), None)
        surface = existing.surfaces.get(parent.plan.surfaces[0])
        response = cloro.task_read(parent, row, surface).response
        if isinstance(response, CloroResult):
            return CloroMonitored(result=response)
        why = response.error if isinstance(response, CloroFailed) else None
        told = f" {why.code}: {why.message}" if why else ""
        return Problem(Code.INTERNAL_SERVER_ERROR, f"The capture failed.{told}")

    return shown


async def _concurrency(here: Services, key_id: int) -> list[Header]:
    """What is taken of the sync budget, now that this call's place is free again."""
    taken = None
    with suppress(*DATABASE_AWAY):  # what was found is told all the same
        async with here.pool.connection() as connection:
            taken = await usage.read(connection, key_id)
    if taken is None:
        return []
    return [
        (b"x-concurrency-limit", b"%d" % taken.sync_limit),
        (b"x-concurrency-current", b"%d" % taken.sync_running),
        (b"x-concurrency-remaining", b"%d" % sync_headroom(taken)),
    ]
