"""Jobs and groups that were taken in, steered."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Literal

import httpx

from orchestrator.client import paths
from orchestrator.client.connection import Connection, decoded
from orchestrator.domain.documents import Envelope, JobRead
from orchestrator.domain.many import Cleared, Matched

Retryable = Literal["failed", "expired", "canceled"]


class Steering(Connection):
    """The methods of a client that cancel, repeat and erase."""

    async def cancel(self, job: str) -> JobRead | Envelope:
        """Cancel a parent, or one child; the read of the parent, or the child's Envelope.

        Cells that run stay `processing` until they are stopped, within two seconds. Canceling what
        is canceled changes nothing; what ended by itself is an `ApiError` `NOT_CANCELABLE`.
        """
        return _steered(job, await self.send("POST", paths.job(job, "/cancel")))

    async def retry(self, job: str, statuses: Sequence[Retryable] = ()) -> JobRead | Envelope:
        """Run those cells of an ended parent again that ended so: all without an answer by default.

        `job` may be one ended child. The next run takes a place of the queue, so this may be an
        `ApiError` with status 429 and `retry_after`; `NOT_RETRYABLE` when there is nothing to run,
        or the parent has not ended.
        """
        response = await self.send("POST", paths.job(job, "/retry"), json=_asked(statuses))
        return _steered(job, response)

    async def delete(self, job: str) -> JobRead | Envelope | None:
        """Erase an ended parent with all it found, None; or cancel what has not ended, its read."""
        response = await self.send("DELETE", paths.job(job))
        if response.status_code == HTTPStatus.NO_CONTENT:
            return None
        return _steered(job, response)

    async def clear_queue(self) -> int:
        """Cancel all that was accepted before and has not started; how many parents that was."""
        return (await self.typed(Cleared, "DELETE", "/v1/async/queue")).cleared

    async def cancel_group(self, name: str) -> int:
        """Have all parents of a group canceled, in batches; how many are to be."""
        path = paths.group(name, "/cancel")
        return (await self.typed(Matched, "POST", path)).matched

    async def retry_group(self, name: str, statuses: Sequence[Retryable] = ()) -> int:
        """Have all ended parents of a group retried, as there is room; how many are to be."""
        path = paths.group(name, "/retry")
        return (await self.typed(Matched, "POST", path, json=_asked(statuses))).matched


def _asked(statuses: Sequence[Retryable]) -> dict[str, list[Retryable]]:
    return {"statuses": list(statuses)} if statuses else {}


def _steered(job: str, response: httpx.Response) -> JobRead | Envelope:
    """A child's id has a dot, a parent's has none."""
    return decoded(Envelope, response) if "." in job else decoded(JobRead, response)
