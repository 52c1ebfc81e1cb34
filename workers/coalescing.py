"""Identical cells share one upstream call, if their surface and their keys let them.

In this process one of them leads and the others wait for it; of several processes one leads, by a
row of the database. A leader that is interrupted leaves the call to the next; one that fails fails
for all who wait. Without the database each process calls for itself.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from uuid import UUID, uuid4

import msgspec
import structlog
from psycopg_pool import AsyncConnectionPool

from admission.batches import Batcher, ClosedError
from orchestrator.domain.envelope import Capture, TokenUsage
from orchestrator.store import shared_calls
from orchestrator.store.shared_calls import Asked, Heard, Told
from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import Captured, CaptureRequest
from workers.errors import SurfaceError
from workers.holding import PASSING

LARGEST_FLUSH = 400
MOST_CHARACTERS = 16 * 1024 * 1024
"""Of captures that are told in one statement."""
FIRST_POLL_SECONDS = 0.05
POLL_SECONDS = 0.5
LATE_SECONDS = 10.0
"""A call that has not ended so long after its time-out is given up."""
_canonical = msgspec.json.Encoder(order="deterministic")
_log = structlog.get_logger()


class _Landed:
    """How a call ended; `theirs` says that somebody else made it for all of us."""

    def __init__(self, found: Captured | SurfaceError, *, theirs: bool) -> None:
        self._found = found
        self._theirs = theirs

    def mine(self) -> Captured:
        """For the cell that led it here; raises its failure."""
        return self.others if self._theirs else _raised(self._found)

    @cached_property
    def others(self) -> Captured:
        """For every other cell; raises its failure."""
        if isinstance(self._found, SurfaceError):
            raise self._found.for_another()
        return coalesced(self._found.capture)


class Coalescer:
    """The calls that this process makes or waits for. `run` must be running."""

    def __init__(self, pool: AsyncConnectionPool, *, node: int) -> None:
        self._pool = pool
        self._node = node
        self._flights: dict[bytes, asyncio.Future[_Landed]] = {}
        self._configured: dict[tuple[str, str], bytes] = {}
        self._asking: Batcher[Asked, Heard] = Batcher(self._ask, largest=LARGEST_FLUSH)
        self._telling: Batcher[Told, None] = Batcher(
            self._tell, largest=MOST_CHARACTERS, size=lambda told: len(told.capture or "")
        )

    async def run(self) -> None:
        """Serve `capture` until closed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._asking.run())
            tasks.create_task(self._telling.run())

    def close(self) -> None:
        """Tell what there is to tell, then let `run` return; no capture is running any more."""
        self._asking.close()
        self._telling.close()

    async def capture(
        self,
        config: SurfaceConfig,
        request: CaptureRequest,
        call: Callable[[], Awaitable[Captured]],
    ) -> Captured:
        """What `call` finds, here or for an identical cell; raises what it raises.

        The capture says whether it is another's (`provenance.coalesced`), and so does a
        `SurfaceError` (`shared`).
        """
        digest = self._digest(config, request)
        while (flight := self._flights.get(digest)) is not None:
            await asyncio.wait((flight,))
            if not flight.cancelled():
                return flight.result().others
        flight = self._flights[digest] = asyncio.get_running_loop().create_future()
        try:
            landed = await self._land(digest, config, call)
        except BaseException:
            flight.cancel()  # one of those who wait makes the call
            raise
        finally:
            del self._flights[digest]
        flight.set_result(landed)
        return landed.mine()

    async def _land(
        self, digest: bytes, config: SurfaceConfig, call: Callable[[], Awaitable[Captured]]
    ) -> _Landed:
        """The end of the call: that of another process, or of one made here."""
        token = uuid4()
        heard = await self._heard(digest, token, config.timeout_seconds + LATE_SECONDS)
        if heard.capture is not None:
            capture = msgspec.json.decode(heard.capture, type=Capture)
            return _Landed(Captured(capture, heard.capture.encode()), theirs=True)
        if heard.failure is not None:
            return _Landed(_read(heard.failure), theirs=True)
        told = Told(digest, token, 0)
        try:
            captured = await call()
        except SurfaceError as error:
            told = told._replace(seconds=shared_calls.GRACE_SECONDS, failure=_written(error))
            return _Landed(error, theirs=False)
        else:
            seconds = config.coalesce_seconds or 0.0
            told = told._replace(seconds=seconds, capture=captured.json.decode())
            return _Landed(captured, theirs=False)
        finally:
            self._telling.put(told)

    async def _heard(self, digest: bytes, token: UUID, seconds: float) -> Heard:
        """What becomes of the call, once that is known; without the database we lead."""
        followed: UUID | None = None
        pause = FIRST_POLL_SECONDS
        while True:
            answer = self._asking.put(Asked(digest, token, seconds, followed))
            try:
                heard = await asyncio.shield(answer)
            except PASSING as error:
                _log.warning("calls.not_shared", error=type(error).__name__)
                return Heard(digest, leads=True)
            except asyncio.CancelledError:
                answer.add_done_callback(partial(self._left, Told(digest, token, 0)))
                raise
            if heard.leads or heard.capture is not None or heard.failure is not None:
                return heard
            if heard.token != followed:
                _log.debug("call.followed", token=heard.token)
            followed = heard.token
            await asyncio.sleep(pause)
            pause = min(POLL_SECONDS, 2 * pause)

    def _left(self, told: Told, answer: asyncio.Future[Heard]) -> None:
        """Nobody is there any more to make a call that is ours to make."""
        if not answer.cancelled() and answer.exception() is None and answer.result().leads:
            with suppress(ClosedError):
                self._telling.put(told)

    async def _ask(self, asked: list[Asked]) -> Sequence[Heard]:
        async with self._pool.connection() as connection:
            heard = await shared_calls.ask(connection, self._node, asked)
        return [heard[one.digest] for one in asked]

    async def _tell(self, told: list[Told]) -> Sequence[None]:
        """What is lost of this is asked for again."""
        try:
            async with self._pool.connection() as connection:
                await shared_calls.tell(connection, told)
        except PASSING as error:
            _log.warning("calls.not_told", calls=len(told), error=type(error).__name__)
        return [None] * len(told)

    def _digest(self, config: SurfaceConfig, request: CaptureRequest) -> bytes:
        """The same for cells that one call can serve, and for no other."""
        place = config.name, request.country
        if (configured := self._configured.get(place)) is None:
            configured = self._configured[place] = _canonical.encode(
                (
                    *(config.name, config.adapter, config.options, config.raw, config.mentions),
                    msgspec.structs.asdict(config.region(request.country)),
                )
            )
        asked = (
            *(request.query, request.options),
            *(request.country, request.city, request.language),
        )
        return hashlib.sha256(configured + b"\0" + _canonical.encode(asked)).digest()


def coalesced(capture: Capture) -> Captured:
    """The capture as it is of another cell: it says so, and cost no more tokens."""
    seen = capture.provenance
    none = seen.usage and TokenUsage(
        input_tokens=seen.usage.input_tokens and 0,
        output_tokens=seen.usage.output_tokens and 0,
        estimated_cost=msgspec.structs.replace(
            seen.usage.estimated_cost, amount=seen.usage.estimated_cost.amount and 0.0
        ),
    )
    theirs = msgspec.structs.replace(
        capture, provenance=msgspec.structs.replace(seen, coalesced=True, usage=none)
    )
    return Captured(theirs, msgspec.json.encode(theirs))


class _Failure(msgspec.Struct, frozen=True):
    """A `SurfaceError` as it is stored."""

    code: str
    message: str
    permanent: bool
    retry_after_seconds: float | None
    response_code: int | None


def _written(error: SurfaceError) -> str:
    failure = msgspec.convert(error, _Failure, from_attributes=True)
    return msgspec.json.encode(failure).decode()


def _read(failure: str) -> SurfaceError:
    return SurfaceError(**msgspec.structs.asdict(msgspec.json.decode(failure, type=_Failure)))


def _raised(found: Captured | SurfaceError) -> Captured:
    if isinstance(found, SurfaceError):
        raise found
    return found
