"""One attempt at one child, from what was claimed to an outcome.

Workers die of themselves, or are killed, and what they ran is run again. But a child may be what
kills them: one that was lost twice is a suspect, captured in a process of its own (`Alone`). If
that dies too the child is what it died of, and fails `WORKER_LOST`; no other child was aboard.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple

import structlog

from orchestrator.domain import ids
from orchestrator.domain.envelope import Failure
from orchestrator.domain.plan import Cell, Plan
from orchestrator.store.children import (
    SUSPECT_AFTER,
    Claimed,
    Completed,
    Failed,
    Fence,
    GivenBack,
    Outcome,
    Retry,
)
from orchestrator.surfaces import SurfaceConfig
from workers import retry
from workers.adapters import base
from workers.adapters.base import Adapter, Captured, CaptureRequest
from workers.coalescing import Coalescer
from workers.errors import LostAloneError, SurfaceError, TooLateError

Alone = Callable[[SurfaceConfig, CaptureRequest], Awaitable[Captured]]
"""Captures in a process of its own; raises `SurfaceError`, or `LostAloneError` if that ended."""
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


async def attempt(
    claimed: Claimed,
    sheet: Sheet,
    surfaces: Mapping[str, Served],
    alone: Alone,
    *,
    coalescer: Coalescer | None = None,
    secret: str | None = None,
    may_begin: Callable[[], bool] = lambda: True,
) -> Outcome:
    """Capture the cell once and say how it ended; raises nothing but cancellation.

    When it may not begin at the moment it would it is given back. A task is signed with `secret`.
    Where surface and key allow it the cell shares its call with identical ones, by the `coalescer`.
    """
    cell = sheet.cells[claimed.ordinal - 1]
    served = surfaces[cell.surface]
    fence = Fence(claimed.parent_id, claimed.ordinal, claimed.claim)
    most = sheet.plan.max_attempts or served.config.attempts
    try:
        request = _request(claimed, sheet, cell, secret)
        if claimed.lost >= SUSPECT_AFTER:
            captured = await _alone(served, request, claimed.lost, alone)
        else:
            call = partial(
                base.run,
                served.adapter,
                request,
                timeout_seconds=served.config.timeout_seconds,
                may_begin=may_begin,
            )
            shares = served.config.coalesce_seconds is not None and sheet.plan.coalesce
            if shares and coalescer is not None:
                captured = await coalescer.capture(served.config, request, call)
            else:
                captured = await call()
    except TooLateError:
        return GivenBack(fence)
    except SurfaceError as error:
        return _failed(fence, error, served.config, attempt=claimed.attempt, most=most)
    except LostAloneError as error:
        _log.warning("child.lost_alone", child=name(sheet, claimed.ordinal), reason=str(error))
        return Failed(fence, _lost(claimed.lost, error))
    except Exception:  # noqa: BLE001 - raised it would end the worker, and its neighbours' runs
        _log.exception("child.broken", child=name(sheet, claimed.ordinal))
        return _failed(fence, _broken(), served.config, attempt=claimed.attempt, most=most)
    shown = captured.capture.provenance.surface_present is not False
    charge = sheet.plan.costs.get(cell.surface, 0) if shown else 0
    code = captured.capture.response_code
    shared = bool(captured.capture.provenance.coalesced)
    return Completed(fence, captured.json.decode(), code or None, charge, shared)


def _broken() -> SurfaceError:
    """Our own fault: whatever it is it ends one attempt, and harms no other child."""
    reason = "the worker could not run it; its log says why"
    return SurfaceError("ADAPTER_ERROR", reason, permanent=False)


async def _alone(served: Served, request: CaptureRequest, lost: int, alone: Alone) -> Captured:
    _log.info("child.runs_alone", child=request.child, lost=lost)
    return await alone(served.config, request)


def _lost(times: int, error: LostAloneError) -> Failure:
    message = (
        f"{times} worker processes that ran this cell died; run in a process of its own, that"
        f" {error}."
    )
    return Failure(code="WORKER_LOST", message=message, retryable=True)


def name(sheet: Sheet, ordinal: int) -> str:
    """The public id of a child."""
    cell = sheet.cells[ordinal - 1]
    return ids.child_text(sheet.text, cell.surface, cell.token)


def _request(claimed: Claimed, sheet: Sheet, cell: Cell, secret: str | None) -> CaptureRequest:
    region = cell.region
    return CaptureRequest(
        child=name(sheet, claimed.ordinal),
        query=sheet.plan.query,
        surface=cell.surface,
        country=region.country,
        city=region.city,
        language=region.language,
        options=sheet.plan.options.get(cell.surface, {}),
        attempt=claimed.attempt,
        secret=secret,
    )


def _failed(
    fence: Fence, error: SurfaceError, config: SurfaceConfig, *, attempt: int, most: int
) -> Outcome:
    failure = Failure(code=error.code, message=error.message, retryable=not error.permanent)
    floor = error.retry_after_seconds or 0.0
    match _next(error, config, attempt=attempt, most=most):
        case retry.Again(delay):
            return Retry(fence, failure, delay, error.response_code, floor, error.shared)
        case retry.GiveUp():
            return Failed(fence, failure, error.response_code, floor, error.shared)


def _next(
    error: SurfaceError, config: SurfaceConfig, *, attempt: int, most: int
) -> retry.Again | retry.GiveUp:
    if config.backoff == "doubling":
        return retry.doubling(attempt=attempt, most=most, permanent=error.permanent)
    return retry.decide(
        attempt=attempt,
        most=most,
        permanent=error.permanent,
        floor_seconds=error.retry_after_seconds or 0.0,
        chance=random.random(),  # noqa: S311 - jitter
    )
