"""A submission over HTTP: read, checked, taken in, and answered at once or by `answering`."""

from typing import NamedTuple
from uuid import UUID

from litestar.types import Receive, Scope

from admission.keys import Key
from admission.refusals import Refusal
from orchestrator import submission
from orchestrator.api import bodies, catalogue, denials, problems, queries, requests, services
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.prefer import Mode, Waits
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.queries import Beside
from orchestrator.api.replies import Header, Reply, document
from orchestrator.api.requests import Asked, Rules
from orchestrator.api.services import Services
from orchestrator.domain import ids
from orchestrator.domain.documents import Accepted
from orchestrator.domain.plan import Plan
from orchestrator.domain.states import ParentState
from orchestrator.submission import Conflict, Replayed

REPLAYED: Header = (b"idempotent-replayed", b"true")


class Question(NamedTuple):
    """A submission that may be taken in: what, by whom, and how it wants to be answered."""

    key: Key
    plan: Plan
    idempotency_key: str | None
    mode: Mode
    flat: bool
    existing: Catalogue

    @property
    def applied(self) -> tuple[Header, ...]:
        """The headers that say which preference was followed."""
        applied = self.mode.applied
        return ((b"preference-applied", applied.encode()),) if applied else ()


async def read(scope: Scope, receive: Receive, surface: str | None) -> Question | Problem:
    """The question of a request, or what is wrong with it; `surface` is the path's, if any."""
    here, key = services.of(scope), scope["auth"]
    body = await bodies.read(scope, receive)
    if isinstance(body, Problem):
        return body
    settings = here.settings
    beside = queries.of_submission(
        scope,
        default="async" if surface is None else "sync",
        waits=Waits(settings.sync_wait, settings.sync_wait_max),
    )
    rules = Rules(settings.default_country, settings.max_children)
    asked = (
        requests.parse(body, rules) if surface is None else requests.parse_for(surface, body, rules)
    )
    if isinstance(asked, list) or isinstance(beside, list):
        both = (part for part in (beside, asked) if isinstance(part, list))
        faults = [fault for part in both for fault in part]
        return problems.invalid(faults[: requests.MOST_FAULTS])
    if faults := _together(asked, beside, settings.sync_max_children):
        return problems.invalid(faults)
    existing = await here.catalogue()
    return _impossible(asked.plan, existing) or Question(
        key,
        asked.plan,
        asked.idempotency_key or beside.idempotency_key,
        beside.mode,
        beside.flat,
        existing,
    )


def _together(asked: Asked, beside: Beside, most_sync: int) -> list[Fault]:
    """What is wrong between a body and what stands beside it."""
    faults = []
    if None not in {asked.idempotency_key, beside.idempotency_key} and (
        asked.idempotency_key != beside.idempotency_key
    ):
        message = "Differs from the header Idempotency-Key; send one."
        faults.append(Fault(path="idempotencyKey", message=message))
    if beside.mode.wait_seconds is not None and asked.plan.total > most_sync:
        message = (
            f"{asked.plan.total} cells; at most {most_sync} can be waited for: submit it async."
        )
        faults.append(Fault(path="", message=message))
    return faults


def _impossible(plan: Plan, existing: Catalogue) -> Problem | None:
    """Why a plan cannot be captured here: cells that do not exist, options nobody takes."""
    if not existing.surfaces:
        return problems.no_surfaces()
    if problem := catalogue.unsupported(plan, existing):
        return problem
    if plan.options and (wrong := catalogue.option_faults(plan, existing)):
        return problems.invalid(wrong)
    return None


async def queue(here: Services, question: Question) -> Reply | Problem:
    """Take it in and answer at once: 202 when it is stored."""
    asked = submission.new(question.plan, idempotency_key=question.idempotency_key)
    outcome = await here.submitter.submit(question.key, asked, question.existing.surfaces)
    match outcome:
        case Refusal():
            return denials.refused(outcome)
        case Conflict(job):
            return denials.conflict(ids.text(job))
        case Replayed(job, state):
            return _accepted(question, job, state, REPLAYED)
    return _accepted(question, outcome.parent, ParentState.QUEUED)


def _accepted(question: Question, job: UUID, state: ParentState, *headers: Header) -> Reply:
    name = ids.text(job)
    accepted = Accepted(
        job_id=name,
        status=state.wire,
        children=tuple(
            ids.child_text(name, cell.surface, cell.token) for cell in question.plan.cells()
        ),
        warnings=catalogue.warnings(question.plan, question.existing),
    )
    where: Header = (b"location", f"/v1/jobs/{name}".encode())
    return document(accepted, status=202, headers=(where, *question.applied, *headers))
