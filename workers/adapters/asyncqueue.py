"""The `asyncqueue` adapter: a task is the call of its client's URL, and done when that says so."""

from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from orchestrator.domain import queues
from orchestrator.domain.addresses import networks
from orchestrator.domain.dialects import asyncqueue
from orchestrator.domain.dialects.asyncqueue import QueueCall
from orchestrator.domain.envelope import Answer, Capture, Evidence, Method, Provenance, Seen
from orchestrator.surfaces import SurfaceConfig
from workers import signing
from workers.adapters.base import CaptureRequest, now_text
from workers.errors import OptionError, SurfaceError
from workers.outgoing import Outgoing
from workers.secrets import UNREADABLE
from workers.signing import Signer

KEPT_BYTES = 4 * 1024
"""Of a reply: read, so that its connection may be used again, and thrown away."""


class AsyncQueue:
    """Posts the payload of each task to the URL that came with it."""

    method: Method = "webhook"
    countries: tuple[str, ...] | None = (queues.GLOBAL,)
    instant = False
    options_schema: ClassVar[dict[str, Any]] = {"type": "object"}
    """Tasks are checked where they come in; nobody else sends any."""

    def __init__(self, config: SurfaceConfig) -> None:
        self._config = config
        self._outgoing = Outgoing(networks(" ".join(config.reachable)))

    async def capture(self, request: CaptureRequest) -> Capture:
        """Done by a reply of 2xx; any other is a `SurfaceError` that may pass."""
        body, signer = msgspec.json.encode(_call(request)), _signer(request.secret)
        reply = await self._outgoing.post(
            request.options["url"],
            headers=signing.asyncqueue_headers(body, signer, at=datetime.now(UTC)),
            body=body,
            seconds=self._config.timeout_seconds,
            keep_bytes=KEPT_BYTES,
            whole=False,
        )
        if not 200 <= reply.status < 300:  # noqa: PLR2004 - HTTP's
            message = f"the endpoint answered with status {reply.status}"
            raise SurfaceError(
                "UPSTREAM_STATUS", message, permanent=False, response_code=reply.status
            )
        return self._done(request, reply.status)

    async def close(self) -> None:
        """Closes the connections."""
        await self._outgoing.close()

    def _done(self, request: CaptureRequest, status: int) -> Capture:
        return Capture(
            answer=Answer(),
            evidence=Evidence(),
            provenance=Provenance(
                adapter=self._config.adapter,
                method=self.method,
                region=Seen(requested=request.country),
                surface_present=True,
                captured_at=now_text(),
            ),
            response_code=status,
        )


def build(config: SurfaceConfig) -> AsyncQueue:
    """The adapter of a queue; raises `OptionError` for any other surface."""
    if not queues.is_queue(config.name):
        reason = "it is for queues, which are configured as [queues.<name>]"
        raise OptionError(((), reason))
    return AsyncQueue(config)


def _signer(secret: str | None) -> Signer | None:
    """To call unsigned whoever expects a signature would be to lie."""
    if secret == UNREADABLE:
        message = (
            "the webhook secret of this API key cannot be read: PARALLAX_SECRET_KEY of the worker"
            " misses its key"
        )
        raise SurfaceError("SECRET_UNREADABLE", message, permanent=False)
    return None if secret is None else Signer(secret)


def _call(request: CaptureRequest) -> QueueCall:
    return QueueCall(
        task_id=asyncqueue.task_of(request.child),
        queue=request.options["queue"],
        payload=request.options.get("payload"),
        attempt=request.attempt,
    )
