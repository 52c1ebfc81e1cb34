"""One attempt at a delivery, from a letter to what is recorded of it."""

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from orchestrator.domain import ids
from orchestrator.domain.ids import EventId
from orchestrator.store.deliveries import Attempted, Status
from workers import retry, signing
from workers.egress_errors import retry_after_seconds
from workers.errors import SurfaceError
from workers.letters import Letter
from workers.outgoing import Outgoing, Reply
from workers.signing import Signer

SECONDS = 10.0
"""For all of an attempt: name, connection, TLS, sending, the whole reply."""
KEPT_BYTES = 4 * 1024
"""Of a reply: read, so that its connection may be used again, and thrown away."""
_log = structlog.get_logger()


async def attempt(
    letter: Letter,
    outgoing: Outgoing,
    *,
    seconds: float = SECONDS,
    chance: Callable[[], float] = random.random,
) -> tuple[Attempted, bool | None]:
    """What came of it, and whether the endpoint acknowledged it; None: it was never asked."""
    if letter.signers is None:
        return _failed(letter, None, 0.0, chance()), None
    try:
        reply = await _post(letter, letter.signers, outgoing, seconds)
    except SurfaceError as error:
        _told(letter, error.code)
        return _failed(letter, None, 0.0, chance()), False
    except Exception:  # noqa: BLE001 - raised it would end the worker, and all that runs there
        _log.exception("delivery.broken", delivery=ids.delivery_text(_event(letter)))
        return _failed(letter, None, 0.0, chance()), None
    if 200 <= reply.status < 300:  # noqa: PLR2004 - HTTP's
        return _attempted(letter, "delivered", reply.status), True
    _told(letter, str(reply.status))
    asked = retry_after_seconds(reply.headers.get("retry-after"), reply.headers.get("date"))
    return _failed(letter, reply.status, asked or 0.0, chance()), False


async def _post(
    letter: Letter, signers: Sequence[Signer], outgoing: Outgoing, seconds: float
) -> Reply:
    return await outgoing.post(
        letter.url,
        headers=_headers(letter, signers),
        body=letter.body,
        seconds=seconds,
        keep_bytes=KEPT_BYTES,
        whole=False,
    )


def _headers(letter: Letter, signers: Sequence[Signer]) -> dict[str, str]:
    now = datetime.now(UTC)
    if letter.task is None:
        event = ids.event_text(_event(letter))
        return signing.headers(event, letter.body, signers, at=now)
    attempt = f"{letter.task}-{letter.claimed.attempt}"
    return signing.cloro_headers(attempt, letter.body, next(iter(signers), None), at=now)


def _failed(letter: Letter, code: int | None, floor: float, chance: float) -> Attempted:
    match retry.scheduled(
        attempt=letter.claimed.attempt,
        pauses=retry.DELIVERY_SECONDS if letter.task is None else retry.CLORO_SECONDS,
        floor_seconds=floor,
        chance=chance,
    ):
        case retry.Again(delay):
            return _attempted(letter, "pending", code, delay)
        case retry.GiveUp():
            return _attempted(letter, "dead", code)


def _attempted(
    letter: Letter, status: Status, code: int | None, delay_seconds: float = 0.0
) -> Attempted:
    claimed = letter.claimed
    fence = (claimed.parent_id, claimed.run, claimed.ordinal, claimed.claim)
    return Attempted(*fence, status, code, delay_seconds)


def _told(letter: Letter, why: str) -> None:
    _log.debug(
        "delivery.failed",
        delivery=ids.delivery_text(_event(letter)),
        attempt=letter.claimed.attempt,
        why=why,
    )


def _event(letter: Letter) -> EventId:
    claimed = letter.claimed
    return EventId(claimed.parent_id, claimed.ordinal, claimed.run)
