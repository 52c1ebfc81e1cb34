"""The one exception of the client."""

import re

import httpx
import msgspec

from orchestrator.domain.envelope import Wire
from orchestrator.errors import ParallaxError

UNREACHABLE = "SERVER_UNREACHABLE"
NOT_UNDERSTOOD = "REPLY_NOT_UNDERSTOOD"
_INVALID = 400


class _Details(Wire):
    retry_after_seconds: float | None = None


class Fault(Wire):
    """One thing wrong with a request, and where: `regions[2].country`."""

    path: str
    message: str


class ErrorBody(Wire):
    """What the server says of a refusal, of a request or of one item of a batch."""

    code: str
    message: str
    status: int | None = None
    details: msgspec.Raw = msgspec.Raw(b"null")


class _Body(Wire):
    error: ErrorBody


class ApiError(ParallaxError):
    """The server said no, or did not say anything that could be understood.

    `code` is the server's stable one, or `SERVER_UNREACHABLE` or `REPLY_NOT_UNDERSTOOD`; `status`
    is None when there was no reply; `retry_after` is in seconds, None when the server named no
    time; `details` is the server's JSON, `null` without, and `faults` what it says of a request
    that is not valid.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        details: bytes = b"null",
        faults: tuple[Fault, ...] = (),
    ) -> None:
        said = "; ".join(f"{fault.path}: {fault.message}" for fault in faults) or message
        super().__init__(f"{code}: {said}" if status else message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.details = details
        self.faults = faults


def refused(response: httpx.Response) -> ApiError:
    """The error a reply with a status of 400 or more stands for."""
    try:
        error = msgspec.json.decode(response.content, type=_Body).error
    except msgspec.DecodeError:
        return not_understood(response)
    named = _retry_after(error)
    header = whole(response.headers.get("Retry-After"))
    return _told(error, response.status_code, header if named is None else named)


def rejected(error: ErrorBody) -> ApiError:
    """The error of one item of a batch."""
    return _told(error, error.status, _retry_after(error))


def _told(error: ErrorBody, status: int | None, retry_after: float | None) -> ApiError:
    return ApiError(
        error.code,
        error.message,
        status=status,
        retry_after=retry_after,
        details=bytes(error.details),
        faults=_faults(error) if status == _INVALID else (),
    )


def not_understood(response: httpx.Response) -> ApiError:
    """For a reply that is not this API's: a proxy's page, or another server on that port."""
    message = (
        f"The reply of {named(str(response.url))} ({response.status_code}) is not one of a"
        " Parallax server; check PARALLAX_URL."
    )
    return ApiError(
        NOT_UNDERSTOOD,
        message,
        status=response.status_code,
        retry_after=whole(response.headers.get("Retry-After")),
    )


def unreachable(url: str, error: httpx.TransportError) -> ApiError:
    """For a server that does not answer."""
    if isinstance(error, httpx.TimeoutException):
        return ApiError(UNREACHABLE, f"The Parallax server at {named(url)} did not answer in time.")
    return ApiError(
        UNREACHABLE,
        f"No Parallax server answers at {named(url)}. Start one with `parallax up`, or set"
        " PARALLAX_URL.",
    )


def named(url: str) -> str:
    """The URL as people are told it: without credentials, or a query that may hold some."""
    return re.sub("//.*@", "//", url).partition("?")[0]


def _faults(error: ErrorBody) -> tuple[Fault, ...]:
    try:
        return msgspec.json.decode(error.details, type=tuple[Fault, ...])
    except msgspec.DecodeError:
        return ()


def _retry_after(error: ErrorBody) -> float | None:
    try:
        named = msgspec.json.decode(error.details, type=_Details | None)
    except msgspec.DecodeError:
        return None  # a list of validation faults
    return named.retry_after_seconds if named else None


def whole(seconds: str | None) -> float | None:
    """The seconds of a `Retry-After`; None when it is none, or a date."""
    return float(seconds) if seconds is not None and seconds.isdecimal() else None
