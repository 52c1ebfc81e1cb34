"""A submission over HTTP: read, checked, taken in, and answered at once or by `answering`."""

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from litestar.types import Receive, Scope

from admission.keys import Key
from orchestrator import submission
from orchestrator.api import bodies, catalogue, denials, problems, queries, requests, services
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.prefer import Mode, Waits
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.queries import Beside
from orchestrator.api.replies import Header, Reply, document
from orchestrator.api.requests import Asked
from orchestrator.api.services import Services
from orchestrator.domain import documents, ids
from orchestrator.domain.envelope import Wire
from orchestrator.domain.plan import Plan
from orchestrator.domain.rows import ChildRow, ParentRow
from orchestrator.domain.states import ParentState
from orchestrator.submission import Accepted, Outcomes, Replayed

REPLAYED: Header = (b"idempotent-replayed", b"true")


Shown = Callable[[ParentRow, list[ChildRow]], Wire | Problem]
"""Says what a parent that ended has found."""


class Question(NamedTuple):
    """A submission that may be taken in: what, by whom, and how it wants to be answered.

    Whoever waits for it is `shown` Envelopes if nothing else is said.
    """

    key: Key
    plan: Plan
    idempotency_key: str | None
    mode: Mode
    flat: bool
    existing: Catalogue
    reservation: UUID | None = None
    shown: Shown | None = None

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
    rules = await here.rules()
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
    return impossible(asked.plan, existing) or Question(
        key,
        asked.plan,
        asked.idempotency_key or beside.idempotency_key,
        beside.mode,
        beside.flat,
        existing,
        queries.reservation(scope),
    )


def _together(asked: Asked, beside: Beside, most_sync: int) -> list[Fault]:
    """What is wrong between a body and what stands beside it."""
    faults = []
    if None not in {asked.idempotency_key, beside.idempotency_key} and (
        asked.idempotency_key != beside.idempotency_key
    ):
        message = "Differs from the header Idempotency-Key; send one."
        faults.append(Fault(path="idempotencyKey", message=message))
    if beside.mode.wait_seconds is not None:
        faults += too_wide(asked.plan, most_sync)
        if asked.plan.delay:
            message = "What is delayed cannot be waited for: submit it async."
            faults.append(Fault(path="delay", message=message))
    return faults


def too_wide(plan: Plan, most_sync: int) -> list[Fault]:
    """The fault of a plan with more cells than can be waited for."""
    if plan.total <= most_sync:
        return []
    message = f"{plan.total} cells; at most {most_sync} can be waited for: submit it async."
    return [Fault(path="", message=message)]


def impossible(plan: Plan, existing: Catalogue) -> Problem | None:
    """Why a plan cannot be captured here: cells that do not exist, options nobody takes."""
    if problem := elsewhere(plan, existing):
        return problem
    if wrong := catalogue.option_faults(plan, existing):
        return problems.invalid(wrong)
    return None


def elsewhere(plan: Plan, existing: Catalogue) -> Problem | None:
    """Why some cells of a plan cannot be captured here, whatever its options: they do not exist."""
    if not existing.surfaces:
        return problems.no_surfaces()
    return catalogue.unsupported(plan, existing)


async def queue(here: Services, question: Question) -> Reply | Problem:
    """Take it in and answer at once: 202 when it is stored."""
    asked = submission.new(question.plan, idempotency_key=question.idempotency_key)
    taken = await here.submitter.submit_all(
        question.key, [asked], question.existing.surfaces, reservation=question.reservation
    )
    (outcome,) = taken.each
    left = remaining(taken)
    match outcome:
        case Accepted(job):
            return _accepted(question, job, ParentState.QUEUED, *left)
        case Replayed(job, state):
            return _accepted(question, job, state, REPLAYED, *left)
    return denials.denied(outcome).beside(*left)


def remaining(taken: Outcomes) -> tuple[Header, ...]:
    """The header that says what the key's live reservation still holds, if one was named."""
    if taken.reserved is None:
        return ()
    return ((b"x-reservation-remaining", b"%d" % taken.reserved),)


def _accepted(question: Question, job: UUID, state: ParentState, *headers: Header) -> Reply:
    name = ids.text(job)
    accepted = documents.Accepted(
        job_id=name,
        status=state.wire,
        children=tuple(
            ids.child_text(name, cell.surface, cell.token) for cell in question.plan.cells()
        ),
        warnings=catalogue.warnings(question.plan, question.existing),
    )
    where: Header = (b"location", f"/v1/jobs/{name}".encode())
    return document(accepted, status=202, headers=(where, *question.applied, *headers))
