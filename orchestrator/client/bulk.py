"""Jobs submitted many at a time."""

import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import anyio
import httpx

from orchestrator.client.connection import Connection, decoded
from orchestrator.client.errors import ApiError, not_understood, rejected, whole
from orchestrator.client.pace import AGAIN, Patience
from orchestrator.client.records import BatchAnswer, BatchItem, Outcome
from orchestrator.client.submitting import said

MOST_ITEMS = 500
LARGEST_BYTES = 16 * 1024 * 1024 - 64
"""What the items of a batch may have together: what the server reads, less the frame."""
FULL = "QUEUE_CAPACITY_EXCEEDED"

Item = Mapping[str, Any]


class Bulk(Connection):
    """The methods of a client that take many jobs in.

    An item is the body of a submission, with the names it has over HTTP: `maxAttempts`.
    """

    async def submit_batch(
        self,
        items: Sequence[Item],
        *,
        atomic: bool = False,
        idempotency_key: str | None = None,
        reservation: str | None = None,
    ) -> list[Outcome]:
        """Submit 1 to 500 items in one request: what became of each, in order.

        Each is stored or refused by itself; all or none when `atomic`, and then a refusal of any
        is an `ApiError` for all. `idempotency_key`, of ASCII, stands for the key `<it>#<index>` of
        each item without its own. A `reservation` of a preflight is drawn on first.
        """
        given = {"Idempotency-Key": idempotency_key, "X-Reservation": reservation}
        headers = {name: value for name, value in given.items() if value is not None}
        response = await self._batch(
            map(_encoded, items), headers=headers, params={"atomic": "true"} if atomic else {}
        )
        return [_outcome(item.index, item) for item in decoded(BatchAnswer, response).items]

    async def submit_all(
        self,
        items: Iterable[Item],
        *,
        key: str,
        group: str | None = None,
        batch: int = MOST_ITEMS,
        patience: float = 300.0,
    ) -> AsyncGenerator[Outcome]:
        """Submit any number of items, as fast as there is room: what became of each, in order.

        Item n has the idempotency key `<key>#<n>` unless it has its own, so a run that broke off is
        resumed by running it again with the same items and `key`: no job is made twice. What finds
        no room waits until the server says, so does all when the key's rate is used up; any other
        refusal is the item's outcome. `ApiError` when the server is away for `patience` seconds,
        and for what no patience mends. Holds one batch, of at most `batch` (1–500) items and
        16 MiB; one of half the queue's capacity keeps the queue from running dry.
        """
        index = 0
        for bodies in _batches(_bodies(items, key, group), batch):
            left = bodies
            while left:
                outcomes, rest = await self._some(left, index, patience)
                for outcome in outcomes:
                    yield outcome
                index += len(outcomes)
                left = left[len(outcomes) :]
                await anyio.sleep(rest)

    async def _some(
        self, bodies: Sequence[bytes], index: int, patience: float
    ) -> tuple[list[Outcome], float]:
        """What became of the first of these, up to one without room, and seconds until there is."""
        response = await self._sent(bodies, Patience(patience, time.monotonic()))
        met = decoded(BatchAnswer, response).items
        if len(met) != len(bodies):
            raise not_understood(response)
        outcomes = [_outcome(index + item.index, item) for item in met]
        full = [bool(one.error and one.error.code == FULL) for one in outcomes]
        if True not in full:
            return outcomes, 0.0
        seconds = whole(response.headers.get("Retry-After"))
        return outcomes[: full.index(True)], AGAIN if seconds is None else seconds

    async def _sent(self, bodies: Sequence[bytes], patient: Patience) -> httpx.Response:
        """The reply, however often that takes: it is the same jobs each time."""
        while True:
            try:
                return await self._batch(bodies)
            except ApiError as error:
                seconds = patient.rest(error, time.monotonic())
            await anyio.sleep(seconds)

    async def _batch(self, bodies: Iterable[bytes], **request: Any) -> httpx.Response:
        content = b'{"items":[%b]}' % b",".join(bodies)
        headers = {"Content-Type": "application/json", **request.pop("headers", {})}
        return await self.send(
            "POST", "/v1/search/batch", content=content, headers=headers, **request
        )


def _bodies(items: Iterable[Item], key: str, group: str | None) -> Iterator[bytes]:
    """The items as they are sent, each under a key that is its own whatever its batch."""
    for number, item in enumerate(items):
        named: dict[str, Any] = {"idempotencyKey": f"{key}#{number}"}
        if group is not None:
            named["group"] = group
        yield _encoded(named | said(item))


def _batches(bodies: Iterable[bytes], most: int) -> Iterator[list[bytes]]:
    held: list[bytes] = []
    size = 0
    for body in bodies:
        size += len(body) + 1
        if held and (len(held) == most or size > LARGEST_BYTES):
            yield held
            held, size = [], len(body) + 1
        held.append(body)
    if held:
        yield held


def _encoded(item: Item) -> bytes:
    return json.dumps(dict(item), separators=(",", ":"), allow_nan=False).encode()


def _outcome(index: int, item: BatchItem) -> Outcome:
    error = rejected(item.error) if item.error else None
    return Outcome(index=index, job=item.job, error=error)
