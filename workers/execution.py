"""One attempt at one child, from what was claimed to an outcome."""

import random
from collections.abc import Mapping
from typing import NamedTuple

import structlog

from orchestrator.domain import ids
from orchestrator.domain.envelope import Failure
from orchestrator.domain.plan import Cell, Plan
from orchestrator.store.children import Claimed, Completed, Failed, Fence, Outcome, Retry
from orchestrator.surfaces import SurfaceConfig
from workers import retry
from workers.adapters import base
from workers.adapters.base import Adapter, CaptureRequest
from workers.errors import SurfaceError

_log = structlog.get_logger()


class Served(NamedTuple):
    """A surface this worker serves: how it is configured and what captures it."""

    config: SurfaceConfig
    adapter: Adapter


class Sheet(NamedTuple):
    """A parent as the worker remembers it: its plan, with ids and cells spelled out once."""

    text: str
    plan: Plan
    cells: tuple[Cell, ...]


def sheet(parent: str, plan: Plan) -> Sheet:
    """The sheet of the parent with this public id."""
    return Sheet(parent, plan, tuple(plan.cells()))


async def attempt(claimed: Claimed, sheet: Sheet, surfaces: Mapping[str, Served]) -> Outcome:
    """Capture the cell once and say how it ended; raises nothing but cancellation."""
    cell = sheet.cells[claimed.ordinal - 1]
    served = surfaces[cell.surface]
    fence = Fence(claimed.parent_id, claimed.ordinal, claimed.claim)
    try:
        captured = await base.run(
            served.adapter,
            _request(claimed, sheet, cell),
            timeout_seconds=served.config.timeout_seconds,
        )
    except SurfaceError as error:
        most = sheet.plan.max_attempts or served.config.attempts
        return _failed(fence, error, attempt=claimed.attempt, most=most)
    shown = captured.capture.provenance.surface_present is not False
    charge = sheet.plan.costs.get(cell.surface, 0) if shown else 0
    return Completed(fence, captured.json.decode(), charge=charge)


def _request(claimed: Claimed, sheet: Sheet, cell: Cell) -> CaptureRequest:
    region = cell.region
    return CaptureRequest(
        child=ids.child_text(sheet.text, cell.surface, cell.token),
        query=sheet.plan.query,
        surface=cell.surface,
        country=region.country,
        city=region.city,
        language=region.language,
        options=sheet.plan.options.get(cell.surface, {}),
        attempt=claimed.attempt,
    )


def _failed(fence: Fence, error: SurfaceError, *, attempt: int, most: int) -> Outcome:
    failure = Failure(code=error.code, message=error.message, retryable=not error.permanent)
    floor = error.retry_after_seconds or 0.0
    match retry.decide(
        attempt=attempt,
        most=most,
        permanent=error.permanent,
        floor_seconds=floor,
        chance=random.random(),  # noqa: S311 - jitter
    ):
        case retry.Again(delay):
            return Retry(fence, failure, delay, error.response_code, floor)
        case retry.GiveUp():
            return Failed(fence, failure, error.response_code, floor)
