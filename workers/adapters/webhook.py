"""The `webhook` adapter: the caller's own endpoint is the surface, and its reply is the answer."""

from typing import Any, ClassVar

import msgspec

from orchestrator.domain import envelope
from orchestrator.domain.addresses import networks
from orchestrator.domain.envelope import Answer, Capture, Evidence, Method, Provenance, Seen
from orchestrator.domain.regions import Region
from orchestrator.domain.urls import LONGEST_URL
from orchestrator.surfaces import SurfaceConfig
from workers.adapters.base import CaptureRequest, Options, now_text, read_options
from workers.adapters.http_charset import decode
from workers.decoding import decoder
from workers.egress_errors import refused
from workers.errors import SurfaceError
from workers.outgoing import Outgoing, Reply

KEEP_BYTES = 64 * 1024
_HEADERS = {"content-type": "application/json"}
_TRUNCATED = (
    envelope.Warning(
        code="reply_truncated",
        message=f"the reply is longer than {KEEP_BYTES} bytes; the rest was not read",
    ),
)


class WebhookOptions(Options):
    """`[surfaces.<name>.options]`: there are none; whom to call is said with each job."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted: `id` names the cell, and is the same for each attempt at it."""

    id: str
    query: str
    surface: str
    region: Region
    payload: Any
    attempt: int


class Webhook:
    """Posts the question to the URL that came with it, and keeps the reply."""

    method: Method = "webhook"
    countries: tuple[str, ...] | None = None
    instant = False
    options_schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["url"],
        "properties": {
            "url": {
                "description": "Is called by POST, at least once for each cell",
                "type": "string",
                "format": "uri",
                "maxLength": LONGEST_URL,
            },
            "payload": {"description": "Is sent along as it is: any JSON"},
        },
    }

    def __init__(self, config: SurfaceConfig) -> None:
        self._config = config
        self._outgoing = Outgoing(networks(" ".join(config.reachable)))

    async def capture(self, request: CaptureRequest) -> Capture:
        """The text of a reply with a status of 2xx; any other status is a `SurfaceError`."""
        reply = await self._outgoing.post(
            request.options["url"],
            headers=_HEADERS,
            body=msgspec.json.encode(_question(request)),
            seconds=self._config.timeout_seconds,
            keep_bytes=KEEP_BYTES,
        )
        if not 200 <= reply.status < 300:  # noqa: PLR2004 - HTTP's
            raise _refused(reply)
        return self._captured(request, reply)

    async def close(self) -> None:
        """Closes the connections."""
        await self._outgoing.close()

    def _captured(self, request: CaptureRequest, reply: Reply) -> Capture:
        body, truncated = _undone(reply)
        text = decode(body, reply.headers.get("content-type", ""))
        return Capture(
            answer=Answer(text=text, markdown=text),
            evidence=Evidence(),
            provenance=Provenance(
                adapter=self._config.adapter,
                method=self.method,
                region=Seen(requested=request.country),
                surface_present=True,
                captured_at=now_text(),
            ),
            raw={"status": reply.status, "headers": reply.headers, "body": text},
            warnings=_TRUNCATED if truncated else (),
        )


def build(config: SurfaceConfig) -> Webhook:
    """The adapter of a configured surface; raises `OptionError`."""
    read_options(config, WebhookOptions)
    return Webhook(config)


def _question(request: CaptureRequest) -> Question:
    return Question(
        id=request.child,
        query=request.query.encode(errors="replace").decode(),
        surface=request.surface,
        region=Region(request.country, request.city, request.language),
        payload=request.options.get("payload"),
        attempt=request.attempt,
    )


def _undone(reply: Reply) -> tuple[bytes, bool]:
    """The first bytes of the body, its coding undone, and whether there are more."""
    coding = decoder(reply.headers.get("content-encoding", ""))
    body = bytearray()
    for piece in coding.feed(reply.body):
        body += piece
        if len(body) > KEEP_BYTES:
            break
    if reply.truncated or len(body) > KEEP_BYTES:
        return _whole(bytes(body[:KEEP_BYTES])), True
    coding.end()
    return bytes(body), False


def _whole(body: bytes) -> bytes:
    """Without the piece of a UTF-8 character at its end: the rest is still UTF-8 then."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return body[: error.start]
    return body


def _refused(reply: Reply) -> SurfaceError:
    if 300 <= reply.status < 400:  # noqa: PLR2004 - HTTP's
        message = f"the upstream answered with status {reply.status}: redirects are not followed"
        return SurfaceError("UPSTREAM_STATUS", message, permanent=True, response_code=reply.status)
    return refused(reply.status, reply.headers.get("retry-after"), reply.headers.get("date"))
