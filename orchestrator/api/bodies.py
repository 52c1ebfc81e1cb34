"""Bodies: read within their bound, decoded as strict JSON, rid of what nothing can store."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from anyio import to_thread
from litestar.types import Receive, Scope

from orchestrator.api import problems
from orchestrator.api.problems import Fault, Problem
from orchestrator.api.stamps import header

LARGEST_BYTES = 256 * 1024
_JSON = re.compile(rb"application/([\w.-]+\+)?json *(;.*)?", re.IGNORECASE)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
NO_LIST = "The body must be a JSON list."
NO_OBJECT = "The body must be a JSON object."
_HEX = rb"[0-9a-fA-F]{2}"
_PAIR = rb"\\u[dD][89abAB]" + _HEX + rb"\\u[dD][c-fC-F]" + _HEX
_ESCAPED = re.compile(_PAIR + rb"|(\\u[dD][89a-fA-F]" + _HEX + rb")|\\.", re.DOTALL)
"""Whatever begins with a backslash: a pair of surrogates, a lone one (group 1), the rest."""
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


class Decoded(NamedTuple):
    """A JSON value and the faults of its characters; those were replaced, for checks to go on."""

    value: Any
    faults: list[Fault]


async def read(scope: Scope, receive: Receive, *, largest: int = LARGEST_BYTES) -> bytes | Problem:
    """The body, or why it is not wanted: not JSON by its headers, or more than `largest` bytes."""
    kind = header(scope, b"content-type")
    if kind is not None and not _JSON.fullmatch(kind):
        return problems.not_json()
    if header(scope, b"content-encoding") not in {None, b"identity"}:
        return problems.not_json("Send the body as it is, without Content-Encoding.")
    length = header(scope, b"content-length")
    if length is not None and length.isdigit() and int(length) > largest:
        return problems.too_large(largest)
    return await _receive(receive, largest)


async def read_any(scope: Scope, receive: Receive) -> bytes | Problem:
    """As `read`, of a body that may be left out: empty then, whatever else its headers say."""
    length = header(scope, b"content-length")
    chunked = header(scope, b"transfer-encoding") is not None
    bare = length == b"0" or (length is None and not chunked)
    return b"" if bare else await read(scope, receive)


async def _receive(receive: Receive, largest: int) -> bytes | Problem:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return problems.fault("", "The body ended early.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > largest:
            return problems.too_large(largest)
        if not message.get("more_body"):
            return b"".join(parts)


def decode(body: bytes) -> Decoded | Fault:
    """The JSON value of a body, or why it is none."""
    try:
        value = msgspec.json.decode(body)
    except RecursionError:
        return Fault(path="", message="The JSON is nested too deeply.")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _surrogates(body) or _malformed(body, error)
    if b"\\u0000" in body:
        faults: list[Fault] = []
        return Decoded(_scrub(value, "", faults), faults)
    return Decoded(value, [])


async def fields(body: bytes) -> dict[str, msgspec.Raw] | Fault:
    """The fields of a body that is an object, as the bytes they were sent in, or why it is none.

    In them each lone surrogate is a NUL: what may not stand there may not wherever it stands.
    """
    try:
        return _fields.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        tidy = await to_thread.run_sync(_paired, body)  # it may be large
    try:
        return _fields.decode(tidy)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        whole = decode(tidy)
        return whole if isinstance(whole, Fault) else Fault(path="", message=NO_OBJECT)


async def items(body: bytes) -> tuple[msgspec.Raw, ...] | Fault:
    """The items of a body that is a list, as `fields` has the fields of an object."""
    try:
        return _items.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        tidy = await to_thread.run_sync(_paired, body)
    try:
        return _items.decode(tidy)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        whole = decode(tidy)
        return whole if isinstance(whole, Fault) else Fault(path="", message=NO_LIST)


def _paired(body: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: found[0] if found[1] is None else b"\\u0000", body)


def _malformed(body: bytes, error: Exception) -> Fault:
    if not body.strip():
        return Fault(path="", message="The body is empty; send a JSON object.")
    said = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
    return Fault(path="", message=f"The body is not JSON: {said}.")


def _surrogates(body: bytes) -> Decoded | None:
    """A body whose only sin is lone surrogates, which the strict decoder does not place."""
    if b"\\ud" not in body.lower():
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    faults: list[Fault] = []
    value = _scrub(value, "", faults)
    return Decoded(value, faults) if faults else None


def _scrub(value: Any, path: str, faults: list[Fault]) -> Any:
    """The value with U+FFFD for each NUL and lone surrogate; `faults` gets their paths."""
    match value:
        case str():
            return _clean(value, path, faults)
        case list():
            return [_scrub(item, f"{path}[{n}]", faults) for n, item in enumerate(value)]
        case dict():
            return dict(_scrub_items(value, path, faults))
        case _:
            return value


def _scrub_items(
    value: dict[str, Any], path: str, faults: list[Fault]
) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        name = _UNSTORABLE.sub(_REPLACEMENT, key)
        inside = f"{path}.{name}" if path else name
        yield _clean(key, inside, faults), _scrub(item, inside, faults)


def _clean(text: str, path: str, faults: list[Fault]) -> str:
    clean = _UNSTORABLE.sub(_REPLACEMENT, text)
    if clean != text:
        faults.append(Fault(path=path, message="NUL and lone surrogates are not allowed."))
    return clean
