"""Judges what was said by what is written: status, headers, body.

Every header has to be written but those that any message has; `README.md` names these.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import NamedTuple

from tests.contract.spoken import bodies, comparing, operations
from tests.contract.spoken.parsing import Headers, Turn

USUAL = {"date", "server", "content-length", "transfer-encoding", "connection"}
OF_CALLS = USUAL | {"host", "accept", "accept-encoding", "user-agent"}
COMMON = {"x-request-id", "x-parallax-version"}
RATE = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


class Said(NamedTuple):
    """A response, or a call with the status it was answered: headers by lower-case name."""

    status: int
    headers: Mapping[str, str]
    text: str


def reply(turn: Turn, said: Said, known: dict[str, str]) -> list[str]:
    """All that differs from the reply that is written; placeholders are noted in `known`."""
    written = turn.reply
    if said.status != written.status:
        return [f"status {said.status} instead of {written.status}: {said.text}"]
    known["request"] = said.headers.get("x-request-id", "")
    common = COMMON | (RATE if _rated(turn) else set())
    lacking = [f"no {name}" for name in sorted(common - said.headers.keys())]
    ignored = USUAL | COMMON | RATE
    return [
        *lacking,
        *_headers(written.headers, written.body, said, known, ignored),
        *_body(written.headers, written.body, said, known),
    ]


def call(turn: Turn, said: Said, known: dict[str, str]) -> list[str]:
    """All that differs from the request that is written, which the server made."""
    written = turn.request
    wrong = [] if said.status == turn.reply.status else [f"it was answered {said.status}"]
    return [
        *wrong,
        *_headers(written.headers, written.body, said, known, OF_CALLS),
        *_body(written.headers, written.body, said, known),
    ]


def _rated(turn: Turn) -> bool:
    """Whether it is answered to a key, as the OpenAPI document has it."""
    asked = operations.find(turn.request.method, turn.request.target)
    return asked is not None and asked.keyed and turn.reply.status != HTTPStatus.UNAUTHORIZED


def _media(headers: Headers, body: str) -> str | None:
    named = {name.lower(): value for name, value in headers}
    return named.get("content-type", bodies.JSON if body else None)


def _headers(
    headers: Headers, body: str, said: Said, known: dict[str, str], ignored: set[str]
) -> Iterator[str]:
    written = {name.lower(): value for name, value in headers}
    if media := _media(headers, body):
        written["content-type"] = media
    told = {name: value for name, value in said.headers.items() if name not in ignored}
    if written.keys() != told.keys():
        yield f"headers {sorted(told)} instead of {sorted(written)}"
    for name in written.keys() & told.keys():
        yield from comparing.of_line(written[name], told[name], known, name)


def _body(headers: Headers, body: str, said: Said, known: dict[str, str]) -> Iterator[str]:
    media = _media(headers, body) or ""
    if not body or not said.text:
        yield from [f"body: {said.text!r} instead of {body!r}"] if body != said.text else []
        return
    written = bodies.read(body.removesuffix(bodies.GOES_ON).rstrip("\n"), media)
    heard = bodies.read(said.text, media)
    if body.endswith(bodies.GOES_ON):
        heard = heard[: len(written)]
    yield from comparing.differences(written, heard, known, "body")
