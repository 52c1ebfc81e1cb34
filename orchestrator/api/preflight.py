"""Looking before the leap, over HTTP: the preflight, and places given back that it held."""

from typing import Annotated, Any, Literal, NamedTuple

from litestar import Request, delete, post
from litestar.types import Receive, Scope
from pydantic import BeforeValidator, Field, ValidationError

from admission import reservations
from admission.reservations import LONGEST_SECONDS
from orchestrator import preflight
from orchestrator.api import asking, bodies, problems, queries, requests, services, wording
from orchestrator.api.between import Rules
from orchestrator.api.capacity import observer
from orchestrator.api.catalogue import Catalogue
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.regions import Strict
from orchestrator.api.replies import NOTHING, Reply, document
from orchestrator.api.schemas import Regions, Surface, whole
from orchestrator.domain import ids
from orchestrator.domain.plan import Plan
from orchestrator.domain.preflight import Jobs
from orchestrator.preflight import Asker, Crowded

AnyRequest = Request[Any, Any, Any]
MOST_JOBS = 1_000_000
ALLOWED = "jobs, surfaces, regions, mode, reserveSeconds"
MATRIX = ("surfaces", "regions")
"""The fields that are read as a submission's are, with `QUERY` for what nobody has to tell yet."""
QUERY = "-"


class PreflightRequest(Strict):
    """The body of `POST /v1/async/preflight`: equal jobs, and for how long to hold their places."""

    jobs: Annotated[int, Field(ge=1, le=MOST_JOBS, description="How many."), BeforeValidator(whole)]
    surfaces: Annotated[
        list[Surface],
        Field(
            min_length=1,
            description="Configured surfaces, no repeats.",
            json_schema_extra={"uniqueItems": True},
        ),
    ]
    regions: Annotated[
        Regions | None,
        Field(description="Where from; the server's default country when left out."),
    ] = None
    mode: Annotated[
        Literal["async", "sync"] | None, Field(description="How they will be submitted; async.")
    ] = None
    reserve_seconds: Annotated[
        float | None,
        Field(
            ge=1,
            le=LONGEST_SECONDS,
            validation_alias="reserveSeconds",
            description="Hold the places of async jobs, if they would be admitted, for so long.",
        ),
    ] = None


class Asked(NamedTuple):
    """What a preflight is for: jobs of this plan, their places wanted for so long or not at all."""

    n: int
    plan: Plan
    sync: bool
    reserve_seconds: float | None

    def jobs(self, existing: Catalogue) -> Jobs:
        """The jobs, with what the surfaces say of them."""
        names = self.plan.surfaces
        credits_each = sum(existing.surfaces[name].credits for name in names)
        return Jobs(
            n=self.n,
            cells=self.plan.total,
            credits=credits_each * len(self.plan.regions),
            sync=self.sync,
            served=any(existing.workers.get(name) for name in names),
        )


def parse(body: bytes, rules: Rules) -> Asked | list[Fault]:
    """What the body of a preflight asks, or all that is wrong with it."""
    decoded = bodies.decode(body)
    if isinstance(decoded, Fault):
        return [decoded]
    if not isinstance(decoded.value, dict):
        return [Fault(path="", message="The body must be a JSON object.")]
    matrix = {name: decoded.value[name] for name in MATRIX if name in decoded.value}
    submitted = requests.read({"query": QUERY, **matrix}, rules)
    faults = submitted if isinstance(submitted, list) else []
    try:
        request = PreflightRequest.model_validate(decoded.value)
    except ValidationError as error:
        own = (detail for detail in error.errors() if detail["loc"][0] not in MATRIX)
        faults = [*map(_said, own), *faults]
    faults = [*decoded.faults, *faults][: requests.MOST_FAULTS]
    if faults or isinstance(submitted, list):
        return faults
    return Asked(request.jobs, submitted.plan, request.mode == "sync", request.reserve_seconds)


def _said(detail: Any) -> Fault:
    if detail["type"] == "extra_forbidden":
        return Fault(path=detail["loc"][0], message=f"Unknown field; allowed: {ALLOWED}.")
    return wording.said(detail, short=False)


@post("/v1/async/preflight")
async def foresee(request: AnyRequest) -> Reply:
    """`POST /v1/async/preflight`: what would become of jobs submitted now."""
    scope = request.scope
    here = services.of(scope)
    asked = await _read(scope, request.receive)
    if isinstance(asked, Problem):
        return problems.reply(asked, scope)
    existing = await here.catalogue()
    if elsewhere := asking.elsewhere(asked.plan, existing):  # its options nobody has told yet
        return problems.reply(elsewhere, scope)
    asker = Asker(scope["auth"], here.pace, here.presence.node_id, observer(scope))
    jobs, seconds = asked.jobs(existing), asked.reserve_seconds
    if seconds is None or jobs.sync:
        async with here.reading() as connection:
            return document(await preflight.look(connection, asker, jobs))
    async with here.pool.connection() as connection, connection.transaction():
        seen = await preflight.reserve(connection, asker, jobs, seconds=seconds)
    if isinstance(seen, Crowded):
        return problems.reply(_crowded(seen), scope)
    return document(seen)


async def _read(scope: Scope, receive: Receive) -> Asked | Problem:
    body = await bodies.read(scope, receive)
    if isinstance(body, Problem):
        return body
    here = services.of(scope)
    asked = parse(body, await here.rules())
    faults = [*queries.unknown(scope), *(asked if isinstance(asked, list) else ())]
    if not isinstance(asked, list) and asked.sync:
        faults += asking.too_wide(asked.plan, here.settings.sync_max_children)
    return problems.invalid(faults) if faults or isinstance(asked, list) else asked


def _crowded(seen: Crowded) -> Problem:
    message = (
        f"This API key has {seen.live} live reservations, the most there may be:"
        " use one, give one back or let one expire."
    )
    return problems.fault("reserveSeconds", message)


@delete("/v1/async/reservations/{reservation:str}", status_code=200)  # the reply has its own
async def give_back(request: AnyRequest) -> Reply:
    """`DELETE /v1/async/reservations/{reservation}`: what is left of it is free at once."""
    scope = request.scope
    if faults := queries.unknown(scope):
        return problems.reply(problems.invalid(faults), scope)
    reservation = ids.read_reservation(scope["path_params"]["reservation"])
    if reservation is not None:
        async with services.of(scope).pool.connection() as connection:
            if await reservations.cancel(connection, scope["auth"].id, reservation):
                return NOTHING
    return problems.reply(problems.reservation_not_found(), scope)
